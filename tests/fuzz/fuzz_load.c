/*
** fuzz_load.c -- any bytes as a file of bdl.load: an error of a kind that is no InternalError, or values; nothing leaks.
** Seeds: corpus_load.  Zip archives are .npz, anything else is .safetensors.  Build: see `make fuzz`.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bdl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static bdl *b; /* the driver's one context; a new one for each input would take most of the time */
  char path[64], model[256];
  if (!b) b = bdl_open(&(bdl_options){.memory_limit = (size_t)64 << 20});
  if (!b) return 0;
  snprintf(path, sizeof path, "/tmp/bdl-fuzz-%ld.%s", (long)getpid(), size > 1 && memcmp(data, "PK", 2) == 0 ? "npz" : "safetensors");
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) abort();
  snprintf(model, sizeof model,
           "local s = bdl.State(bdl.zeros(2))\n"
           "for _, target in ipairs{false, {x = s}} do pcall(bdl.load, '%s', target or nil, target and {strict = false}) end\n"
           "bdl.load('%s')\ncollectgarbage()", path, path);
  if (bdl_run_string(b, model, "fuzz") != 0 && strcmp(bdl_error_kind(b), "InternalError") == 0) {
    fprintf(stderr, "%s\n", bdl_error_text(b));
    abort();
  }
  unlink(path);
  return 0;
}

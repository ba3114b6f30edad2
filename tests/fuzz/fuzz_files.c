/*
** fuzz_files.c -- any bytes as a file for every reader of bdl's Lua: an error with a kind that is no InternalError, or values; nothing
** leaks.  Seeds: corpus_files.  Zip archives are .npz, anything else .safetensors, CSV and a recording.  Build: see `make fuzz`.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bdl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char model[] =
  "local path, s = '%s', bdl.State(bdl.zeros(2))\n"
  "for _, read in ipairs{bdl.load, function(p) bdl.load(p, {x = s}, {strict = false}) end, bdl.data.csv, require 'bdl.replay'.read} do\n"
  "  local ok, e = pcall(read, path)\n"
  "  if not ok and (type(e) ~= 'table' or e.kind == 'InternalError') then error('fuzz: ' .. tostring(e)) end\n"
  "end\n"
  "collectgarbage()";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static bdl *b; /* the driver's one context; a new one for each input would take most of the time */
  char path[64], text[sizeof model + sizeof path];
  bdl_options options = bdl_defaults();
  options.memory_limit = (size_t)64 << 20;
  if (!b) b = bdl_open(&options);
  if (!b) return 0;
  snprintf(path, sizeof path, "/tmp/bdl-fuzz-%ld.%s", (long)getpid(), size > 1 && memcmp(data, "PK", 2) == 0 ? "npz" : "safetensors");
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) abort();
  snprintf(text, sizeof text, model, path);
  if (bdl_run_string(b, text, "fuzz") != 0) {
    fprintf(stderr, "%s\n", bdl_error_text(b));
    abort();
  }
  unlink(path);
  return 0;
}

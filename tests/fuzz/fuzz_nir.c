/*
** fuzz_nir.c -- any bytes as a file of HDF5: an error that names the file, or for NIR a graph that prints, and reads the
** same from the file that it is written to.  A child that libhdf5 kills is an error of the file, and so no finding.
** Seeds: tests/nir.  Build: clang -fsanitize=fuzzer,address,undefined, see `make fuzz`.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bdl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char script[] =
  "local bdl, path, copy = require 'bdl', %s, %s\n"
  "local function refused(e) assert(type(e) == 'table' and e.kind and tostring(e):find(path, 1, true), tostring(e)) end\n"
  "for _, read in ipairs{bdl.data.shd, function(p) return require 'bdl.save.h5'.open(p):header() end} do\n"
  "  local ok, e = pcall(read, path)\n"
  "  if not ok then refused(e) end\n"
  "end\n"
  "local ok, net = pcall(bdl.nir.read, path)\n"
  "if not ok then return refused(net) end\n"
  "local text = tostring(net)\n"
  "bdl.nir.write(copy, net)\n"
  "assert(tostring(bdl.nir.read(copy)) == text, text)\n";

static void store(const char *path, const uint8_t *data, size_t size) {
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, size, f) != size) abort();
  fclose(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[64], copy[64], quoted[2][80], text[2048];
  bdl_options options = bdl_defaults();
  options.memory_limit = (size_t)256 << 20;
  snprintf(path, sizeof path, "/tmp/bdl-fuzz-%ld.nir", (long)getpid());
  snprintf(copy, sizeof copy, "/tmp/bdl-fuzz-%ld-copy.nir", (long)getpid());
  snprintf(quoted[0], sizeof quoted[0], "'%s'", path);
  snprintf(quoted[1], sizeof quoted[1], "'%s'", copy);
  snprintf(text, sizeof text, script, quoted[0], quoted[1]);
  static bdl *b = NULL; /* opening one takes longer than what it is for */
  static int runs = 0;
  if (b && ++runs % 500 == 0) {
    bdl_close(b);
    b = NULL;
  }
  if (!b) b = bdl_open(&options);
  if (!b) abort();
  store(path, data, size);
  if (bdl_run_string(b, text, "fuzz.lua")) {
    fprintf(stderr, "%s\n", bdl_error_text(b));
    abort();
  }
  unlink(path);
  unlink(copy);
  return 0;
}

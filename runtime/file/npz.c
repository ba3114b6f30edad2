/*
** npz.c -- what file.h promises to readers: the arrays of a .npz, or the one of a .npy.
*/
#include <stdlib.h>
#include <string.h>

#include "file/file.h"
#include "file/npy.h"

struct bdl_npz {
  bdl_source source;
  bool alone; /* a .npy */
  bdl_zip zip;
  int64_t n; /* arrays in the archive */
  int64_t *member;   /* and of each its place in it, */
  const char **name; /* and its name: both in the archive's arena */
};

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bool ends_with(const char *s, const char *end) {
  const size_t n = strlen(s), k = strlen(end);
  return n > k && strcmp(s + n - k, end) == 0;
}

/* "a.npy" is the array a; "a.json" is none. */
static bdl_status name_arrays(bdl_npz *f) {
  const size_t all = (size_t)f->zip.n;
  f->member = bdl_arena_alloc(&f->zip.arena, all * sizeof *f->member);
  f->name = bdl_arena_alloc(&f->zip.arena, all * sizeof *f->name);
  const char **sorted = bdl_arena_alloc(&f->zip.arena, all * sizeof *sorted);
  if (!f->member || !f->name || !sorted) return BDL_ENOMEM;
  for (int64_t i = 0; i < f->zip.n; i++) {
    char *name = bdl_arena_strdup(&f->zip.arena, f->zip.entry[i].name);
    if (!name) return BDL_ENOMEM;
    if (ends_with(name, BDL_NPZ_TEXT)) continue;
    if (ends_with(name, ".npy")) name[strlen(name) - 4] = '\0';
    f->member[f->n] = i;
    f->name[f->n] = sorted[f->n] = name;
    f->n++;
  }
  const int64_t n = f->n;
  if (n > 0) qsort(sorted, (size_t)n, sizeof *sorted, by_name);
  for (int64_t i = 1; i < n; i++)
    if (!strcmp(sorted[i - 1], sorted[i]))
      return bdl_source_fail(&f->source, f->zip.directory, "two arrays have the name '%s'", sorted[i]);
  return BDL_OK;
}

static bdl_status recognise(bdl_npz *f) {
  uint8_t head[4];
  if (f->source.size == 0) return bdl_source_fail(&f->source, 0, "the file is empty");
  if (f->source.size >= sizeof head) {
    TRY(bdl_source_read(&f->source, 0, head, sizeof head));
    f->alone = head[0] == 0x93;
    if (f->alone) return BDL_OK;
    if (head[0] == 'P' && head[1] == 'K') {
      TRY(bdl_zip_open(&f->source, &f->zip));
      return name_arrays(f);
    }
  }
  return bdl_source_fail(&f->source, 0, "neither a .npy nor a .npz");
}

static bdl_status begin(bdl_context *c, bdl_npz **f) {
  *f = bdl_calloc(c, sizeof **f);
  if (!*f) return BDL_ENOMEM;
  (*f)->source = (bdl_source){.ctx = c, .fd = -1};
  bdl_arena_init(&(*f)->zip.arena, c);
  return BDL_OK;
}

static bdl_status opened(bdl_status s, bdl_npz **f) {
  if (s == BDL_OK) s = recognise(*f);
  if (s == BDL_OK) return s;
  bdl_npz_close(*f);
  *f = NULL;
  return s;
}

bdl_status bdl_npz_open(bdl_context *c, const char *path, bdl_npz **f) {
  TRY(begin(c, f));
  return opened(bdl_source_open(c, path, &(*f)->source), f);
}

bdl_status bdl_npz_open_bytes(bdl_context *c, const char *name, const void *bytes, size_t n, bdl_npz **f) {
  TRY(begin(c, f));
  return opened(bdl_source_bytes(c, name, bytes, n, &(*f)->source), f);
}

void bdl_npz_close(bdl_npz *f) {
  if (!f) return;
  bdl_context *c = f->source.ctx;
  bdl_zip_close(&f->zip);
  bdl_source_close(&f->source);
  bdl_free(c, f, sizeof *f);
}

bool bdl_npz_is_array(const bdl_npz *f) { return f->alone; }
int64_t bdl_npz_count(const bdl_npz *f) { return f->alone ? 1 : f->n; }

const char *bdl_npz_name(const bdl_npz *f, int64_t i) {
  BDL_ASSERT(i >= 0 && i < bdl_npz_count(f), "array %lld of %lld", (long long)i, (long long)bdl_npz_count(f));
  return f->alone ? "" : f->name[i];
}

/* Opens array i and reads its header; to be closed also after an error. */
static bdl_status open_array(bdl_npz *f, int64_t i, bdl_member *m, bdl_npy *h) {
  if (f->alone) bdl_member_of_file(&f->source, m);
  else TRY(bdl_member_open(&f->zip, f->member[i], m));
  return bdl_npy_header(m, h);
}

bdl_status bdl_npz_aval(bdl_npz *f, int64_t i, bdl_aval *a) {
  bdl_member m = {0};
  bdl_npy h;
  const bdl_status s = open_array(f, i, &m, &h);
  bdl_member_close(&m);
  if (s == BDL_OK) *a = h.aval;
  return s;
}

bdl_status bdl_npz_read(bdl_npz *f, int64_t i, const bdl_aval *a, void *data) {
  bdl_member m = {0};
  bdl_npy h;
  bdl_status s = open_array(f, i, &m, &h);
  if (s == BDL_OK && !bdl_aval_eq(a, &h.aval))
    s = bdl_member_fail(&m, BDL_EIO, 0, "the file changed while it was read");
  if (s == BDL_OK) s = bdl_npy_data(&m, &h, data);
  if (s == BDL_OK) s = bdl_member_end(&m);
  bdl_member_close(&m);
  return s;
}

int64_t bdl_npz_text_find(const bdl_npz *f, const char *name, size_t *n) {
  for (int64_t i = 0; i < f->zip.n; i++)
    if (!strcmp(f->zip.entry[i].name, name)) {
      *n = (size_t)f->zip.entry[i].size;
      return i;
    }
  return -1;
}

bdl_status bdl_npz_text_read(bdl_npz *f, int64_t text, char *data) {
  bdl_member m = {0};
  bdl_status s = bdl_member_open(&f->zip, text, &m);
  if (s == BDL_OK) s = bdl_member_read(&m, data, (size_t)f->zip.entry[text].size);
  if (s == BDL_OK) s = bdl_member_end(&m);
  bdl_member_close(&m);
  return s;
}

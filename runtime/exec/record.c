/*
** record.c -- rows that grow, and events out of dense rows.
*/
#define _POSIX_C_SOURCE 200809L /* sysconf */
#include "exec/record.h"

#include <string.h>
#include <unistd.h>

#include "base/context.h"
#include "exec/exec_context.h"

bdl_record bdl_record_make(bdl_device *d, const bdl_aval *row) {
  BDL_ASSERT(row->ndim < BDL_MAX_NDIM, "a row of %d axes", row->ndim);
  return (bdl_record){.device = d, .row = *row};
}

void bdl_record_fini(bdl_record *r) {
  bdl_buffer_unref(r->buf);
  r->buf = NULL;
  r->n = r->room = 0;
}

static bdl_aval rows(const bdl_record *r, int64_t n) {
  bdl_aval a = r->row;
  memmove(a.shape + 1, a.shape, (size_t)a.ndim * sizeof *a.shape);
  a.shape[0] = n;
  a.ndim++;
  return a;
}

/* What the machine does not have it may promise all the same; the run would end when the promise is called in. */
static bdl_status fits(bdl_context *c, size_t bytes) {
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || size <= 0 || bytes / (size_t)size < (size_t)pages) return BDL_OK;
  bdl_fail(c, BDL_ENOMEM, "a record takes %zu bytes, and this machine has %zu", bytes, (size_t)pages * (size_t)size);
  bdl_hint(c, "record less, or every n steps, or write it to a file");
  return BDL_ENOMEM;
}

bdl_status bdl_record_reserve(bdl_record *r, int64_t n) {
  const bdl_aval a = rows(r, n);
  bdl_buffer *buf;
  if (n <= r->room) return BDL_OK;
  TRY(bdl_aval_check(r->device->ctx, &a));
  TRY(fits(r->device->ctx, bdl_aval_bytes(&a)));
  TRY(bdl_buffer_new(r->device, bdl_aval_bytes(&a), &buf));
  if (r->n) memcpy(buf->data, r->buf->data, bdl_aval_bytes(&r->row) * (size_t)r->n);
  bdl_buffer_unref(r->buf);
  r->buf = buf;
  r->room = n;
  return BDL_OK;
}

/* Room for n more rows. */
static bdl_status grow(bdl_record *r, int64_t n) {
  return r->n + n <= r->room ? BDL_OK : bdl_record_reserve(r, BDL_MAX(r->n + n, 2 * r->room));
}

bdl_status bdl_record_append(bdl_record *r, const bdl_tensor *x, int64_t n) {
  const size_t size = bdl_aval_bytes(&r->row);
  BDL_ASSERT(bdl_tensor_contiguous(x) && n <= x->aval.shape[0], "%lld rows", (long long)n);
  TRY(bdl_tensor_fetch(x));
  TRY(grow(r, n));
  if (n && size) memcpy((char *)r->buf->data + size * (size_t)r->n, bdl_tensor_data(x), size * (size_t)n);
  r->n += n;
  return BDL_OK;
}

bdl_status bdl_record_view(const bdl_record *r, bdl_tensor *t) {
  const bdl_aval a = rows(r, r->n);
  if (!r->buf) return bdl_tensor_new(r->device, &a, t);
  *t = (bdl_tensor){.aval = a, .buf = r->buf};
  for (int64_t k = a.ndim - 1, size = 1; k >= 0; size *= a.shape[k--]) t->stride[k] = size;
  bdl_buffer_ref(r->buf);
  return BDL_OK;
}

bdl_status bdl_record_events(bdl_record *step, bdl_record *id, const bdl_tensor *x, int64_t n, int64_t first,
                             int64_t most) {
  bdl_context *c = step->device->ctx;
  bdl_exec_context *e;
  const int64_t before = step->n, m = x->aval.shape[0] ? bdl_aval_numel(&x->aval) / x->aval.shape[0] : 0;
  TRY(bdl_tensor_fetch(x));
  const char *row = bdl_tensor_data(x);
  bdl_status s = bdl_exec_get(c, &e);
  for (int64_t k = 0; k < n && s == BDL_OK; k++, row += m) {
    s = grow(id, m); /* every element may be an event */
    if (s != BDL_OK || m == 0) break;
    const int64_t found = e->k->compact[BDL_BOOL]((int32_t *)id->buf->data + id->n, row, m, 0);
    if (step->n + found > most) {
      const long long at = first + k;
      return bdl_fail(c, BDL_EBUDGET, "more than %lld events at step %lld", (long long)most, at);
    }
    s = grow(step, found);
    if (s != BDL_OK) break;
    for (int64_t i = 0; i < found; i++) ((int64_t *)step->buf->data)[step->n + i] = first + k;
    id->n = step->n += found;
  }
  if (s != BDL_OK) id->n = step->n = before;
  return s;
}

/*
** kernel.c -- a kernel as a call of its function of device.c: what the adapters of exec/lower_*.c do when it runs, done beforehand.
*/
#include <stdio.h>
#include <string.h>

#include "cpu/array.h"
#include "exec/emit_ops.h"
#include "exec/lower_linalg.h"
#include "exec/lower_util.h"
#include "export/build.h"
#include "prim/prim.h"

#define ADD BDL_ADD
#define LINE(...) (BDL_ADD("%*s", indent, ""), BDL_ADD(__VA_ARGS__))

/* ---- what devices do without ------------------------------------------------------------------------------------ */

const char *bdl_export_refusal(bdl_prim_id p) {
  switch (p) {
    case BDL_P_cholesky: case BDL_P_triangular_solve: case BDL_P_lu: case BDL_P_lu_permutation: case BDL_P_solve:
      return "factorisations come from a library (LAPACK)";
    case BDL_P_print: return "there is nowhere to print";
    case BDL_P_host_call: return "it calls functions of Lua";
    case BDL_P_psum: case BDL_P_all_gather: case BDL_P_own_lane: case BDL_P_ppermute: return "there is one process";
    case BDL_P_transposed: return "it never runs";
    default: return NULL;
  }
}

static bdl_status refuse(bdl_exporter *m, const bdl_inst *i, const char *why) {
  bdl_fail(m->c, BDL_ENOTSUP, "export: %s: %s", bdl_prims[i->prim].name, why);
  bdl_where(m->c, i->src);
  return BDL_ENOTSUP;
}

/* ---- text --------------------------------------------------------------------------------------------------------- */

static bdl_status in(bdl_exporter *m, const bdl_inst *i, int k) { return bdl_export_place(m, i->kernel.in[k]); }
static bdl_status out(bdl_exporter *m, const bdl_inst *i, int k) { return bdl_export_place(m, i->kernel.out[k]); }
static bdl_status comma_in(bdl_exporter *m, const bdl_inst *i, int k) {
  ADD(", ");
  return in(m, i, k);
}

/* Room for scratch, from element `from` on. */
static bdl_status room(bdl_exporter *m, const bdl_inst *i, int64_t from) {
  const int32_t slot = i->kernel.scratch;
  ADD(", ");
  return bdl_export_place(m, (bdl_ref){slot, from * (int64_t)bdl_dtype_size(m->dtype[slot])});
}

static const char *code_of(const bdl_aval *a) { return bdl_emit_code(a->dtype); }

/* `(const int32_t[]){1, 2}` */
static void list(bdl_exporter *m, const int64_t *v, int n) {
  bdl_export_open(m, "int32_t", BDL_MAX(n, 1));
  if (n == 0) ADD("0");
  for (int k = 0; k < n; k++) ADD("%s%" PRId64, k ? ", " : "", v[k]);
  bdl_export_close(m);
}
void bdl_export_around(bdl_exporter *m, bdl_around a) {
  bdl_export_open(m, "around", 0);
  ADD("%" PRId64 ", %" PRId64 ", %" PRId64, a.outer, a.n, a.inner);
  bdl_export_close(m);
}

/* ---- moving --------------------------------------------------------------------------------------------------------- */

/* `, 2, shape, zs, xs);`: axes that follow one another in both are one; at least one. */
static void axes(bdl_exporter *m, int ndim, const int64_t *shape, const int64_t *zs, const int64_t *xs) {
  int64_t extent[BDL_MAX_NDIM + 1] = {1}, to[BDL_MAX_NDIM + 1] = {0}, from[BDL_MAX_NDIM + 1] = {0};
  int n = 0;
  for (int k = 0; k < ndim; k++) {
    if (shape[k] == 1) continue;
    if (n && to[n - 1] == shape[k] * zs[k] && from[n - 1] == shape[k] * xs[k]) extent[n - 1] *= shape[k];
    else extent[n++] = shape[k];
    to[n - 1] = zs[k], from[n - 1] = xs[k];
  }
  n = BDL_MAX(n, 1);
  ADD(", %d, ", n);
  list(m, extent, n), ADD(", "), list(m, to, n), ADD(", "), list(m, from, n);
  ADD(");\n");
}

/* A strided copy: z + zo, x + xo are places. */
static bdl_status move(bdl_exporter *m, int indent, bdl_ref z, const int64_t *zs, bdl_ref x, const int64_t *xs, int ndim,
                       const int64_t *shape, bdl_dtype d) {
  LINE("move_%s(", bdl_emit_code(d));
  TRY(bdl_export_place(m, z));
  ADD(", ");
  TRY(bdl_export_place(m, x));
  axes(m, ndim, shape, zs, xs);
  return BDL_OK;
}

static bdl_ref moved(bdl_ref r, int64_t elements, bdl_dtype d) { return (bdl_ref){r.slot, r.offset + elements * (int64_t)bdl_dtype_size(d)}; }

/* params: lo hi inner; as bdl_k_pad */
static bdl_status pad(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *x = &i->kernel.in_aval[0], *z = &i->kernel.out_aval[0];
  const int64_t *lo = i->kernel.params[0].ints, *inner = i->kernel.params[2].ints;
  int64_t zs[BDL_MAX_NDIM], xs[BDL_MAX_NDIM], count[BDL_MAX_NDIM], from = 0, to = 0;
  LINE("fill_%s(", code_of(x));
  TRY(out(m, i, 0));
  ADD(", *(");
  TRY(in(m, i, 1));
  ADD("), %" PRId64 ");\n", bdl_aval_numel(z));
  bdl_export_sync(m, indent);
  bdl_k_row_major(z->ndim, z->shape, zs);
  bdl_k_row_major(x->ndim, x->shape, xs);
  for (int k = 0; k < x->ndim; k++) {
    const int64_t step = inner[k] + 1, first = lo[k] < 0 ? (-lo[k] + step - 1) / step : 0;
    const int64_t space = z->shape[k] - 1 - lo[k], last = space < 0 ? -1 : BDL_MIN(x->shape[k] - 1, space / step);
    if (last < first) return BDL_OK;
    count[k] = last - first + 1;
    from += first * xs[k], to += (lo[k] + first * step) * zs[k];
    zs[k] *= step;
  }
  return move(m, indent, moved(i->kernel.out[0], to, x->dtype), zs, moved(i->kernel.in[0], from, x->dtype), xs, x->ndim, count, x->dtype);
}

static bdl_status concatenate(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *z = &i->kernel.out_aval[0];
  const bdl_around a = bdl_axis_around(z, i->kernel.params[0].i);
  int64_t at = 0;
  for (int k = 0; k < i->kernel.n_in; k++) {
    const int64_t run = i->kernel.in_aval[k].shape[i->kernel.params[0].i] * a.inner;
    TRY(move(m, indent, moved(i->kernel.out[0], at, z->dtype), (int64_t[]){a.n * a.inner, 1}, i->kernel.in[k], (int64_t[]){run, 1}, 2,
             (int64_t[]){a.outer, run}, z->dtype));
    at += run;
  }
  return BDL_OK;
}

/* ` + clamped(*start, ..) * stride` for each axis; starts are operands from `first` on. */
static bdl_status starts(bdl_exporter *m, const bdl_inst *i, int first, const bdl_aval *whole, const bdl_aval *part) {
  int64_t stride[BDL_MAX_NDIM];
  bdl_k_row_major(whole->ndim, whole->shape, stride);
  for (int k = 0; k < whole->ndim; k++) {
    if (whole->shape[k] == part->shape[k]) continue;
    ADD(" + clamped(*(");
    TRY(in(m, i, first + k));
    ADD("), %" PRId64 ", %" PRId64 ") * %" PRId64, whole->shape[k], part->shape[k], stride[k]);
  }
  return BDL_OK;
}

/* Between z (in it where `update`) and x a block of the shape of `part`. */
static bdl_status dynamic(bdl_exporter *m, const bdl_inst *i, int indent, bool update) {
  const bdl_aval *whole = &i->kernel.in_aval[0], *part = update ? &i->kernel.in_aval[1] : &i->kernel.out_aval[0];
  int64_t ws[BDL_MAX_NDIM], ps[BDL_MAX_NDIM];
  bdl_k_row_major(whole->ndim, whole->shape, ws);
  bdl_k_row_major(part->ndim, part->shape, ps);
  LINE("move_%s(", code_of(whole));
  TRY(out(m, i, 0));
  if (update) TRY(starts(m, i, 2, whole, part));
  ADD(", ");
  TRY(in(m, i, update ? 1 : 0));
  if (!update) TRY(starts(m, i, 1, whole, part));
  axes(m, part->ndim, part->shape, update ? ws : ps, update ? ps : ws);
  return BDL_OK;
}

/* ---- indexing --------------------------------------------------------------------------------------------------------- */

static const char OUTSIDE[] = "an index is out of range";

static bool is_indexing(bdl_prim_id p) {
  return p == BDL_P_gather || p == BDL_P_gather_along || p == BDL_P_scatter || p == BDL_P_scatter_along;
}

bool bdl_export_can_fail(const bdl_exporter *m, const bdl_inst *i) {
  if (i->kind != BDL_I_KERNEL) return false;
  return i->prim == BDL_P_error_if || (is_indexing(i->prim) && !bdl_export_known(m, i->kernel.in[1]));
}

bdl_status bdl_export_fails(bdl_exporter *m, const bdl_inst *i, bdl_status status, const char *what) {
  const bdl_export_failure f = {status, i->src, what, i};
  int64_t number;
  if (!m->to->collective) {
    TRY(bdl_export_failure_of(m, status, i->src, what, &number));
    ADD(") return %" PRId64 ";\n", number);
    return BDL_OK;
  }
  if (!BDL_PUSH(m->c, m->failures, f)) return BDL_ENOMEM;
  ADD(") return failed_with(status, %" PRId64 ", ", m->failures.n);
  bdl_export_open(m, "const void *", i->kernel.n_in);
  for (int k = 0; k < i->kernel.n_in; k++) {
    ADD(k ? ", " : "");
    TRY(in(m, i, k));
  }
  bdl_export_close(m);
  ADD(", %d);\n", i->kernel.n_in);
  return BDL_OK;
}

/* In collective texts all threads agree, by a flag. */
static const char *agreed(const bdl_exporter *m) { return m->to->collective ? "flag, " : ""; }

bdl_status bdl_export_check_index(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *index = &i->kernel.in_aval[1];
  const int64_t n = bdl_aval_numel(index), extent = i->kernel.in_aval[0].shape[i->kernel.params[0].i];
  const void *known = bdl_export_known(m, i->kernel.in[1]);
  const bool outside = known && bdl_k_index_outside(known, index->dtype == BDL_I64, n, extent) >= 0;
  if (known && !outside) return BDL_OK;
  if (known && !m->to->collective) {
    bdl_fail(m->c, BDL_EINDEX, "export: %s: %s", bdl_prims[i->prim].name, OUTSIDE);
    bdl_where(m->c, i->src);
    return BDL_EINDEX;
  }
  LINE("if (outside_%s(%s", code_of(index), agreed(m));
  TRY(in(m, i, 1));
  ADD(", %" PRId64 ", %" PRId64 ")", n, extent);
  return bdl_export_fails(m, i, BDL_EINDEX, OUTSIDE);
}

/* operands x, i; as exec/lower_shape.c */
void bdl_export_indexing(bdl_exporter *m, const bdl_inst *i) {
  const bdl_aval *whole = &i->kernel.in_aval[0], *index = &i->kernel.in_aval[1];
  const bool along = i->prim == BDL_P_gather_along || i->prim == BDL_P_scatter_along;
  const int64_t axis = i->kernel.params[0].i;
  const bdl_around x = bdl_axis_around(whole, axis);
  const bool each = along && x.inner > 1 && bdl_axis_around(index, axis).inner == x.inner;
  int64_t stride[BDL_MAX_NDIM], extent[BDL_MAX_NDIM], step[BDL_MAX_NDIM], n_axes = 0;
  bdl_k_row_major(index->ndim, index->shape, stride);
  for (int k = 0; along && k < axis; k++) {
    if (whole->shape[k] == 1) continue;
    extent[n_axes] = whole->shape[k];
    step[n_axes++] = index->shape[k] == 1 ? 0 : stride[k];
  }
  bdl_export_open(m, "indexing", 0);
  ADD("%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %d, %" PRId64 ", {", x.outer, x.n, x.inner,
      along ? index->shape[axis] : bdl_aval_numel(index), each, n_axes);
  for (int k = 0; k < BDL_MAX(n_axes, 1); k++) ADD("%s%" PRId64, k ? ", " : "", n_axes ? extent[k] : 0);
  ADD("}, {");
  for (int k = 0; k < BDL_MAX(n_axes, 1); k++) ADD("%s%" PRId64, k ? ", " : "", n_axes ? step[k] : 0);
  ADD("}");
  bdl_export_close(m);
}

static bdl_status indexing(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *whole = &i->kernel.in_aval[0], *index = &i->kernel.in_aval[1];
  const bool gather = i->prim == BDL_P_gather || i->prim == BDL_P_gather_along;
  TRY(bdl_export_check_index(m, i, indent));
  if (gather) LINE("gather_%s_%s(", code_of(index), code_of(whole));
  else LINE("scatter_%s_%s_%s(", i->kernel.params[1].s, code_of(index), code_of(whole));
  TRY(out(m, i, 0));
  TRY(comma_in(m, i, gather ? 0 : 2));
  TRY(comma_in(m, i, 1));
  ADD(", ");
  bdl_export_indexing(m, i);
  ADD(");\n");
  return BDL_OK;
}

static bdl_status error_if(bdl_exporter *m, const bdl_inst *i, int indent) {
  LINE("if (any_of(%s", agreed(m));
  TRY(in(m, i, 0));
  ADD(", %" PRId64 ")", bdl_aval_numel(&i->kernel.in_aval[0]));
  return bdl_export_fails(m, i, BDL_EVALUE, i->kernel.params[0].s);
}

/* ---- sorting: the scratch has an order and room --------------------------------------------------------------------------- */

static bdl_status sort(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_around a = bdl_axis_around(&i->kernel.in_aval[0], i->kernel.params[0].i);
  if (a.outer * a.n * a.inner == 0) return BDL_OK;
  char order[BDL_EXPORT_PLACE], spare[BDL_EXPORT_PLACE], place[BDL_EXPORT_PLACE];
  TRY(bdl_export_place_text(m, (bdl_ref){i->kernel.scratch, 0}, order));
  TRY(bdl_export_place_text(m, (bdl_ref){i->kernel.scratch, a.n * 4}, spare));
  LINE("for (int32_t lane = 0; lane < %" PRId64 "; lane++) {\n", a.outer * a.inner);
  indent += 2;
  LINE("const int32_t from = lane / %" PRId64 " * %" PRId64 " + lane %% %" PRId64 ";\n", a.inner, a.n * a.inner, a.inner);
  LINE("int32_t *const order = %s;\n", order);
  LINE("for (int32_t k = 0; k < %" PRId64 "; k++) order[k] = k;\n", a.n);
  for (int64_t key = i->kernel.params[1].i - 1; key >= 0; key--) {
    TRY(bdl_export_place_text(m, i->kernel.in[key], place));
    LINE("sort_by_%s(order, %s, %" PRId64 ", %s + from, %" PRId64 ", %d);\n", code_of(&i->kernel.in_aval[key]), spare, a.n, place,
         a.inner, i->kernel.params[2].i != 0);
  }
  for (int k = 0; k < i->kernel.n_in; k++) {
    LINE("sort_apply_%s(", code_of(&i->kernel.in_aval[k]));
    TRY(out(m, i, k));
    ADD(" + from");
    TRY(comma_in(m, i, k));
    ADD(" + from, order, %" PRId64 ", %" PRId64 ");\n", a.n, a.inner);
  }
  indent -= 2;
  LINE("}\n");
  return BDL_OK;
}

static bdl_status top_k(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *x = &i->kernel.in_aval[0];
  const int64_t n = x->shape[x->ndim - 1], lanes = n ? bdl_aval_numel(x) / n : 0;
  if (lanes == 0) return BDL_OK;
  LINE("top_k_%s(", code_of(x));
  TRY(out(m, i, 0));
  ADD(", ");
  TRY(out(m, i, 1));
  TRY(comma_in(m, i, 0));
  ADD(", %" PRId64 ", %" PRId64 ", %" PRId64, lanes, n, i->kernel.params[0].i);
  TRY(room(m, i, 0));
  TRY(room(m, i, n));
  ADD(");\n");
  return BDL_OK;
}

/* ---- reductions --------------------------------------------------------------------------------------------------------------- */

int bdl_export_runs(const bdl_aval *x, const bdl_param *axes, int64_t extent[BDL_MAX_NDIM + 1]) {
  bool reduced[BDL_MAX_NDIM] = {false};
  int n = 1;
  extent[0] = 1;
  for (int i = 0; i < axes->n; i++) reduced[axes->ints[i]] = true;
  for (int i = 0; i < x->ndim; i++) {
    if ((n - 1) % 2 != reduced[i]) extent[n++] = 1;
    extent[n - 1] *= x->shape[i];
  }
  return n;
}

bdl_around bdl_export_take_run(int64_t *extent, int *n) {
  const int at = *n % 2 ? *n - 2 : *n - 1;
  bdl_around a = {1, extent[at], 1};
  for (int i = 0; i < at; i++) a.outer *= extent[i];
  if (at + 1 < *n) a.inner = extent[at + 1];
  extent[at - 1] *= a.inner;
  *n = at;
  return a;
}

static int64_t reduce_scratch(const bdl_inst *i) {
  int64_t extent[BDL_MAX_NDIM + 1];
  int n = bdl_export_runs(&i->kernel.in_aval[0], &i->kernel.params[0], extent);
  if (n < 4) return 0;
  const bdl_around a = bdl_export_take_run(extent, &n);
  return 2 * a.outer * a.inner;
}

static bdl_status reduce(bdl_exporter *m, const bdl_inst *i, int indent) {
  static const char *const names[] = {"sum", "prod", "max", "min", "and", "or"};
  const bdl_aval *x = &i->kernel.in_aval[0];
  int op = (int)(i->prim - BDL_P_reduce_sum), n;
  int64_t extent[BDL_MAX_NDIM + 1], half = 0;
  bdl_ref from = i->kernel.in[0];
  if (x->dtype == BDL_BOOL && op == BDL_RED_MAX) op = BDL_RED_OR;
  if (x->dtype == BDL_BOOL && op == BDL_RED_MIN) op = BDL_RED_AND;
  n = bdl_export_runs(x, &i->kernel.params[0], extent);
  if (n < 2) {
    char to[BDL_EXPORT_PLACE], from_place[BDL_EXPORT_PLACE];
    TRY(bdl_export_place_text(m, i->kernel.out[0], to));
    TRY(bdl_export_place_text(m, from, from_place));
    bdl_export_copy(m, indent, to, from_place, bdl_aval_bytes(x));
    return BDL_OK;
  }
  for (int step = 0; n >= 2; step++) {
    const bdl_around a = bdl_export_take_run(extent, &n);
    if (step == 0) half = a.outer * a.inner;
    const bdl_ref to = n < 2 ? i->kernel.out[0] : moved((bdl_ref){i->kernel.scratch, 0}, step % 2 ? half : 0, x->dtype);
    if (a.n == 0) {
      const bdl_scalar v = bdl_k_identity((bdl_reduce_op)op, x->dtype);
      LINE("fill_%s(", code_of(x));
      TRY(bdl_export_place(m, to));
      ADD(", ");
      bdl_export_literal(&m->text, x->dtype, &v, false);
      ADD(", %" PRId64 ");\n", a.outer * a.inner);
    } else {
      LINE("%s_%s_%s(", names[op], a.inner == 1 ? "rows" : "columns", code_of(x));
      TRY(bdl_export_place(m, to));
      ADD(", ");
      TRY(bdl_export_place(m, from));
      ADD(", ");
      bdl_export_around(m, a);
      ADD(");\n");
    }
    from = to;
  }
  return BDL_OK;
}

/* One result, one operand, an axis; cumulative ones may run in reverse. */
static bdl_status along_axis(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bool running = i->kernel.out_aval[0].ndim == i->kernel.in_aval[0].ndim;
  LINE("%s_%s(", bdl_prims[i->prim].name, code_of(&i->kernel.in_aval[0]));
  TRY(out(m, i, 0));
  TRY(comma_in(m, i, 0));
  ADD(", ");
  bdl_export_around(m, bdl_axis_around(&i->kernel.in_aval[0], i->kernel.params[0].i));
  if (running) ADD(", %d", i->kernel.params[1].i != 0);
  ADD(");\n");
  return BDL_OK;
}

/* ---- products -------------------------------------------------------------------------------------------------------------------- */

static void matmul(bdl_exporter *m, const bdl_k_matmul *g) {
  const int64_t v[] = {g->batch, g->m, g->n, g->k, g->xb, g->xi, g->xp, g->yb, g->yp, g->yj, g->zb, g->ldz};
  bdl_export_open(m, "matmul", 0);
  for (int k = 0; k < BDL_LEN(v); k++) ADD("%s%" PRId64, k ? ", " : "", v[k]);
  bdl_export_close(m);
}

static bdl_status product(bdl_exporter *m, const bdl_inst *i, int indent, bdl_ref z, bdl_ref x, bdl_ref y, const bdl_k_matmul *g) {
  const bdl_dtype d = i->kernel.out_aval[0].dtype;
  const bdl_dot_order order = bdl_k_dot_order(g, d);
  const bool plain = d != BDL_BOOL && order == BDL_DOT_ROUNDED;
  LINE("%s_%s(", plain || d == BDL_BOOL ? "dot" : order == BDL_DOT_FUSED ? "dot_fused" : "dot_by_8", bdl_emit_code(d));
  TRY(bdl_export_place(m, z));
  ADD(", ");
  TRY(bdl_export_place(m, x));
  ADD(", ");
  TRY(bdl_export_place(m, y));
  ADD(", ");
  matmul(m, g);
  if (plain && i->prim == BDL_P_sparse_dot && bdl_lower_is_rows(i->kernel.params, i->kernel.in_aval)) {
    ADD(", *(");
    TRY(in(m, i, 2)); /* is y finite? */
    ADD(")");
  } else if (plain) ADD(", false");
  if (d != BDL_BOOL && order == BDL_DOT_FUSED) {
    const bool sum = i->prim == BDL_P_dot_add && bdl_lower_adds(i->kernel.params, i->kernel.in_aval);
    ADD(", ");
    if (sum) TRY(in(m, i, 2));
    ADD(sum ? ", %s" : "NULL, %s", sum && i->kernel.in_aval[2].ndim == 1 ? "true" : "false");
  }
  ADD(");\n");
  return BDL_OK;
}

static bdl_status dot(bdl_exporter *m, const bdl_inst *i, int indent, bdl_ref z) {
  bdl_packing pack[2];
  bdl_k_matmul g = bdl_lower_matmul(i->kernel.params, i->kernel.in_aval, pack);
  bdl_ref operand[2] = {i->kernel.in[0], i->kernel.in[1]};
  int64_t stride[BDL_MAX_NDIM], at = 0;
  if (g.batch * g.m * g.n == 0) return BDL_OK;
  for (int k = 0; k < 2; k++) {
    const bdl_aval *x = &i->kernel.in_aval[k];
    if (!pack[k].needed) continue;
    const bdl_ref to = moved((bdl_ref){i->kernel.scratch, 0}, at, x->dtype);
    bdl_k_row_major(x->ndim, pack[k].shape, stride);
    TRY(move(m, indent, to, stride, operand[k], pack[k].from, x->ndim, pack[k].shape, x->dtype));
    operand[k] = to;
    at += bdl_aval_numel(x);
  }
  if (at > 0) bdl_export_sync(m, indent);
  return product(m, i, indent, z, operand[0], operand[1], &g);
}

static int64_t dot_scratch(const bdl_inst *i) {
  bdl_packing pack[2];
  int64_t n = 0;
  bdl_lower_matmul(i->kernel.params, i->kernel.in_aval, pack);
  for (int k = 0; k < 2; k++) n += pack[k].needed ? bdl_aval_numel(&i->kernel.in_aval[k]) : 0;
  return n;
}

/* Slivers of columns, the last one with zeros behind. */
static bdl_status dot_pack(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *y = &i->kernel.in_aval[0];
  const bdl_ref z = i->kernel.out[0];
  const bool turned = i->kernel.params[0].i == 1;
  const int64_t n = y->shape[turned ? 0 : 1], k = y->shape[turned ? 1 : 0], columns = i->kernel.params[1].i;
  const int64_t yp = turned ? 1 : n, yj = turned ? k : 1, whole = n / columns, rest = n % columns;
  TRY(move(m, indent, z, (int64_t[]){k * columns, columns, 1}, i->kernel.in[0], (int64_t[]){columns * yj, yp, yj}, 3,
           (int64_t[]){whole, k, columns}, y->dtype));
  if (!rest) return BDL_OK;
  const bdl_ref last = moved(z, whole * k * columns, y->dtype);
  LINE("fill_%s(", code_of(y));
  TRY(bdl_export_place(m, last));
  ADD(", 0, %" PRId64 ");\n", k * columns);
  bdl_export_sync(m, indent);
  return move(m, indent, last, (int64_t[]){columns, 1}, moved(i->kernel.in[0], whole * columns * yj, y->dtype), (int64_t[]){yp, yj}, 2,
              (int64_t[]){k, rest}, y->dtype);
}

/* At once, or the product by itself, then the sum. */
static bdl_status dot_add(bdl_exporter *m, const bdl_inst *i, int indent) {
  if (bdl_lower_adds(i->kernel.params, i->kernel.in_aval)) return dot(m, i, indent, i->kernel.out[0]);
  const bdl_ref y = moved((bdl_ref){i->kernel.scratch, 0}, dot_scratch(i), i->kernel.out_aval[0].dtype);
  TRY(dot(m, i, indent, y));
  bdl_export_sync(m, indent);
  ADD("%*s", indent, "");
  bdl_export_each(m, "e", bdl_aval_numel(&i->kernel.out_aval[0]));
  ADD(" (");
  TRY(bdl_export_place(m, i->kernel.out[0]));
  ADD(")[e] = (");
  TRY(bdl_export_place(m, y));
  ADD(")[e] + (");
  TRY(bdl_export_place(m, i->kernel.in[2]));
  ADD(")[e %% %" PRId64 "];\n", BDL_MAX(bdl_aval_numel(&i->kernel.in_aval[2]), 1));
  return BDL_OK;
}

static bdl_status conv(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *z = &i->kernel.out_aval[0];
  const bdl_k_window w = bdl_lower_window(i->kernel.params, &i->kernel.in_aval[0], &i->kernel.in_aval[1], z);
  const int64_t space = w.out[0] * w.out[1] * w.out[2], patch = w.taps[0] * w.taps[1] * w.taps[2] * (w.c_in / w.groups);
  bool pointwise;
  const int64_t block = BDL_MAX(bdl_k_conv_block(&w, z->dtype, &pointwise), 1), co = w.c_out / w.groups;
  bdl_k_matmul g = {.batch = 1, .m = w.batch * space, .n = w.c_out, .k = w.c_in, .xi = w.c_in, .xp = 1, .yp = w.c_out, .yj = 1,
                    .ldz = w.c_out};
  if (bdl_aval_numel(z) == 0) return BDL_OK;
  if (pointwise) return product(m, i, indent, i->kernel.out[0], i->kernel.in[0], i->kernel.in[1], &g);
  const bool narrow = w.groups > 1 && co < 8;
  g = (bdl_k_matmul){.batch = 1, .m = block, .n = co, .k = patch, .xi = patch, .xp = 1, .yp = w.c_out, .yj = 1, .ldz = w.c_out};
  const bool fused = !narrow && bdl_k_dot_order(&g, z->dtype) == BDL_DOT_FUSED;
  g.m = space % block;
  const bool last = !narrow && g.m && bdl_k_dot_order(&g, z->dtype) == BDL_DOT_FUSED;
  LINE("conv_%s(", code_of(z));
  TRY(out(m, i, 0));
  TRY(comma_in(m, i, 0));
  TRY(comma_in(m, i, 1));
  ADD(", ");
  bdl_export_open(m, "window", 0);
  ADD("%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64, w.batch, w.c_in, w.c_out, w.groups);
  const int64_t *const v[] = {w.in, w.taps, w.out, w.stride, w.lo, w.gap, w.step};
  for (int k = 0; k < BDL_LEN(v); k++) ADD(", {%" PRId64 ", %" PRId64 ", %" PRId64 "}", v[k][0], v[k][1], v[k][2]);
  ADD(", %" PRId64 ", %d, %d", block, fused, last);
  bdl_export_close(m);
  ADD(");\n");
  return BDL_OK;
}

/* ---- random ----------------------------------------------------------------------------------------------------------------------- */

static bdl_status of_keys(bdl_exporter *m, const bdl_inst *i, int indent) {
  const int64_t keys = bdl_aval_numel(&i->kernel.in_aval[0]) / 2, n = keys ? bdl_aval_numel(&i->kernel.out_aval[0]) / keys : 0;
  if (i->prim == BDL_P_random_int) LINE("random_int_%s(", code_of(&i->kernel.out_aval[0]));
  else LINE("%s(", bdl_prims[i->prim].name);
  TRY(out(m, i, 0));
  for (int k = 0; k < i->kernel.n_in; k++) TRY(comma_in(m, i, k));
  ADD(", %" PRId64, keys);
  if (i->prim == BDL_P_random_int) ADD(", %" PRId64, n);
  if (i->prim == BDL_P_random_split) ADD(", %" PRId64, i->kernel.params[0].i);
  ADD(");\n");
  return BDL_OK;
}

/* ---- eligibility traces -------------------------------------------------------------------------------------------------------------- */

/* `(const float *const[]){..}` of the operands at the places of a list, 0 elsewhere; *at: the next operand. */
static bdl_status table(bdl_exporter *m, const bdl_inst *i, const bdl_param *places, int64_t n, int *at) {
  ADD(", (const %s *const[]){", bdl_export_ctype(i->kernel.in_aval[0].dtype));
  for (int64_t k = 0, next = 0; k < n; k++) {
    ADD(k ? ", " : "");
    if (next < places->n && places->ints[next] == k) {
      TRY(in(m, i, (*at)++));
      next++;
    } else ADD("0");
  }
  ADD("}");
  return BDL_OK;
}

static bdl_status etrace(bdl_exporter *m, const bdl_inst *i, int indent) {
  const bdl_aval *e = &i->kernel.in_aval[0];
  const bdl_param *p = i->kernel.params;
  const int64_t *n = e->shape + e->ndim - 4, lanes = e->ndim == 5 ? e->shape[0] : 1;
  const bool learn = i->prim == BDL_P_etrace_learn, grad = i->prim == BDL_P_etrace_grad, sums = learn && p[5].i;
  const int64_t groups = learn ? p[3].i : grad ? p[0].i : 1;
  char place[BDL_EXPORT_PLACE];
  int at = 1 + sums;
  TRY(bdl_export_place_text(m, grad ? i->kernel.in[0] : i->kernel.out[0], place));
  LINE("etrace_%s(&(const trace){%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "}, ", code_of(e), lanes, n[0],
       n[1], n[2], n[3], groups);
  if (grad) ADD("(%s *)(", bdl_export_ctype(e->dtype)); /* read alone */
  ADD(grad ? "%s)" : "%s", place);
  if (grad) ADD(", 0, 0, 0, 0");
  else {
    TRY(comma_in(m, i, at++));
    if (p[2].i) TRY(comma_in(m, i, at++));
    else ADD(", 0");
    TRY(table(m, i, &p[0], n[0] * n[0], &at));
    TRY(table(m, i, &p[1], n[0], &at));
  }
  if (!learn && !grad) ADD(", 0, 0, 0);\n");
  else {
    TRY(table(m, i, learn ? &p[4] : &p[1], n[0], &at));
    ADD(", ");
    TRY(out(m, i, learn ? 1 : 0));
    ADD(", ");
    if (sums) TRY(out(m, i, 1)); /* which starts as s */
    else ADD("0");
    ADD(");\n");
  }
  return BDL_OK;
}

/* ---- which of them ------------------------------------------------------------------------------------------------------------------------ */

int64_t bdl_export_scratch(const bdl_exporter *m, const bdl_inst *i, bdl_dtype *d) {
  const bdl_aval *x = &i->kernel.in_aval[0];
  (void)m;
  *d = BDL_I32;
  switch (i->prim) {
    case BDL_P_sort: return 2 * x->shape[i->kernel.params[0].i];
    case BDL_P_top_k: return 2 * x->shape[x->ndim - 1];
    case BDL_P_dot: case BDL_P_sparse_dot: case BDL_P_packed_dot: *d = x->dtype; return dot_scratch(i);
    case BDL_P_dot_add: *d = x->dtype; return dot_scratch(i) + (bdl_lower_adds(i->kernel.params, i->kernel.in_aval) ? 0 : bdl_aval_numel(&i->kernel.out_aval[0]));
    case BDL_P_reduce_sum: case BDL_P_reduce_prod: case BDL_P_reduce_max: case BDL_P_reduce_min: case BDL_P_reduce_and:
    case BDL_P_reduce_or:
      *d = x->dtype;
      return reduce_scratch(i);
    case BDL_P_event_dot: return x->shape[x->ndim - 1];
    case BDL_P_csr_dot: return i->kernel.params[3].i ? x->shape[x->ndim - 1] : 0;
    case BDL_P_jitc_dot: /* who is active, as places or as 0 and 1 */
      if (i->kernel.params[2].i) *d = BDL_BOOL;
      return i->kernel.params[3].i ? x->shape[x->ndim - 1] : 0;
    case BDL_P_csr_outer: return i->kernel.params[2].i ? x->shape[x->ndim - 1] : 0;
    default: return 0;
  }
}

bdl_status bdl_export_kernel(bdl_exporter *m, const bdl_inst *i, int indent) {
  const char *why = bdl_export_refusal(i->prim);
  if (why) return refuse(m, i, why);
  switch (i->prim) {
    case BDL_P_pad: return pad(m, i, indent);
    case BDL_P_concatenate: return concatenate(m, i, indent);
    case BDL_P_dynamic_slice: return dynamic(m, i, indent, false);
    case BDL_P_dynamic_update_slice: return dynamic(m, i, indent, true);
    case BDL_P_gather: case BDL_P_gather_along: case BDL_P_scatter: case BDL_P_scatter_along: return indexing(m, i, indent);
    case BDL_P_error_if: return error_if(m, i, indent);
    case BDL_P_sort: return sort(m, i, indent);
    case BDL_P_top_k: return top_k(m, i, indent);
    case BDL_P_reduce_sum: case BDL_P_reduce_prod: case BDL_P_reduce_max: case BDL_P_reduce_min: case BDL_P_reduce_and:
    case BDL_P_reduce_or:
      return reduce(m, i, indent);
    case BDL_P_argmax: case BDL_P_argmin: case BDL_P_cumsum: case BDL_P_cumprod: case BDL_P_cummax: case BDL_P_cummin:
      return along_axis(m, i, indent);
    case BDL_P_dot_pack: return dot_pack(m, i, indent);
    case BDL_P_dot: case BDL_P_sparse_dot: case BDL_P_packed_dot: return dot(m, i, indent, i->kernel.out[0]);
    case BDL_P_dot_add: return dot_add(m, i, indent);
    case BDL_P_conv: return conv(m, i, indent);
    case BDL_P_random_split: case BDL_P_random_fold_in: case BDL_P_random_int: return of_keys(m, i, indent);
    case BDL_P_event_dot: case BDL_P_csr_dot: case BDL_P_csr_scatter: case BDL_P_csr_outer: case BDL_P_jitc_dot:
    case BDL_P_event_learn: case BDL_P_csr_learn:
      return bdl_export_sparse(m, i, indent);
    case BDL_P_etrace_step: case BDL_P_etrace_grad: case BDL_P_etrace_learn: return etrace(m, i, indent);
    default: return refuse(m, i, "it has no form in portable C");
  }
}

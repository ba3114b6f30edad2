/*
** cost.c -- bytes and operations of instructions, from their types.
*/
#include "plan/cost.h"

#include <math.h>
#include <stdio.h>

#include "prim/prim.h"

static double numel(const bdl_aval *a) { return (double)bdl_aval_numel(a); }
static double bytes(const bdl_aval *a) { return (double)bdl_aval_bytes(a); }

/* ---- element-wise: operations an element.  Those of functions: what their polynomials take (SLEEF; tile_math.inc). */

static double flops_of(bdl_prim_id p) {
  switch (p) {
    case BDL_P_copy: case BDL_P_stop_gradient: case BDL_P_cast: case BDL_P_bitcast: case BDL_P_broadcast: case BDL_P_iota: return 0;
    case BDL_P_exp: case BDL_P_exp2: case BDL_P_expm1: case BDL_P_exprel: return 12;
    case BDL_P_log: case BDL_P_log2: case BDL_P_log10: case BDL_P_log1p: case BDL_P_cbrt: return 16;
    case BDL_P_sigmoid: case BDL_P_tanh: case BDL_P_sinh: case BDL_P_cosh: case BDL_P_sin: case BDL_P_cos: return 20;
    case BDL_P_tan: case BDL_P_asin: case BDL_P_acos: case BDL_P_atan: case BDL_P_atan2: case BDL_P_softplus: case BDL_P_asinh:
    case BDL_P_acosh: case BDL_P_atanh: case BDL_P_erf: case BDL_P_erfc: case BDL_P_erfinv: case BDL_P_draw_erfinv: return 30;
    case BDL_P_pow: case BDL_P_lgamma: case BDL_P_digamma: case BDL_P_polygamma: return 50;
    case BDL_P_random_bits: return 50; /* half of 20 rounds of add, rotate, xor: they make two words */
    case BDL_P_integer_pow: return 2;
    default: return 1;
  }
}

static bdl_cost of_group(const bdl_group *g) {
  bdl_cost c = {0};
  const double n = (double)g->n;
  for (int32_t k = 0; k < g->n_insts; k++) {
    const bdl_tile_inst *t = &g->insts[k];
    if (t->kind == BDL_T_LOAD) {
      double elements = 1;
      for (int d = 0; d < t->load->ndim; d++)
        if (t->load->stride[d] != 0) elements *= (double)t->load->shape[d];
      c.read += elements * t->load->size;
    } else if (k >= g->n_prologue) {
      c.flops += n * (flops_of(t->prim) + (t->then ? flops_of(t->then) : 0));
    }
  }
  for (int32_t o = 0; o < g->n_operands; o++) {
    if (g->operands[o].kind != BDL_O_ARRAY) continue;
    bool is_read = false, stored = false;
    for (int32_t k = 0; k < g->n_insts; k++) {
      const bdl_tile_inst *t = &g->insts[k];
      if (t->kind == BDL_T_LOAD) continue;
      is_read |= (t->x == o || t->y == o || t->w == o) && !stored; /* what the group itself stored is still at hand */
      stored |= t->z == o;
    }
    if (is_read) c.read += n * g->operands[o].size;
    if (stored) c.written += n * g->operands[o].size;
  }
  return c;
}

/* ---- kernels */

static double product(const bdl_aval *a, const bdl_param *axes) {
  double n = 1;
  for (int32_t k = 0; k < axes->n; k++) n *= (double)a->shape[axes->ints[k]];
  return n;
}

static double inner(const bdl_aval *a) { return a->ndim ? (double)a->shape[a->ndim - 1] : 1; }

/* Steps of traces: pairs of states, fed states, signals, each a multiplication and an addition for every entry of the trace. */
static double of_trace(const bdl_aval *e, double terms) {
  const double states = e->ndim >= 4 ? (double)e->shape[e->ndim - 4] : 1;
  return 2 * numel(e) / states * terms;
}

static bdl_cost of_kernel(const bdl_inst *i) {
  const bdl_aval *in = i->kernel.in_aval, *out = i->kernel.out_aval;
  const bdl_param *p = i->kernel.params;
  bdl_cost c = {0};
  for (int32_t k = 0; k < i->kernel.n_in; k++) c.read += bytes(&in[k]);
  for (int32_t k = 0; k < i->kernel.n_out; k++) c.written += bytes(&out[k]);
  switch (i->prim) {
    case BDL_P_dot: c.flops = 2 * numel(&out[0]) * product(&in[0], &p[0]); break;
    case BDL_P_packed_dot:
      c.flops = 2 * numel(&out[0]) * product(&in[0], &p[0]);
      c.read -= bytes(&in[1]);
      break;
    case BDL_P_dot_add: c.flops = numel(&out[0]) * (2 * product(&in[0], &p[0]) + 1); break;
    case BDL_P_conv: c.flops = 2 * numel(&out[0]) * numel(&in[1]) / fmax(inner(&in[1]), 1); break;
    case BDL_P_event_dot: /* each entry of the matrix meets each row of the batch */
      c.flops = 2 * numel(&in[1]) * fmax(numel(&in[0]) / fmax(inner(&in[0]), 1), 1);
      c.at_most = true;
      break;
    case BDL_P_csr_dot: c.flops = 2 * numel(&in[2]) * fmax(numel(&in[0]) / fmax(inner(&in[0]), 1), 1), c.at_most = true; break;
    case BDL_P_csr_scatter: c.flops = numel(&in[4]), c.at_most = true; break;
    case BDL_P_csr_outer: c.flops = 2 * numel(&in[2]) * fmax(numel(&in[0]) / fmax(inner(&in[0]), 1), 1); break;
    case BDL_P_event_learn: case BDL_P_csr_learn: c.flops = 2 * numel(&in[0]), c.at_most = true; break;
    case BDL_P_jitc_dot: c.at_most = true; break;
    case BDL_P_etrace_step: c.flops = of_trace(&in[0], p[0].n / 2.0 + p[1].n); break;
    case BDL_P_etrace_grad: c.flops = of_trace(&in[0], p[1].n); break;
    case BDL_P_etrace_learn: c.flops = of_trace(&in[0], p[0].n / 2.0 + p[1].n + p[4].n); break;
    case BDL_P_cholesky: c.flops = numel(&in[0]) * inner(&in[0]) / 3; break;
    case BDL_P_lu: c.flops = numel(&in[0]) * inner(&in[0]) * 2 / 3; break;
    case BDL_P_solve: c.flops = numel(&in[0]) * inner(&in[0]) * 2 / 3 + 2 * numel(&in[1]) * inner(&in[0]); break;
    case BDL_P_triangular_solve: c.flops = numel(&in[1]) * inner(&in[0]); break;
    case BDL_P_reduce_sum: case BDL_P_reduce_prod: case BDL_P_reduce_max: case BDL_P_reduce_min: case BDL_P_argmax:
    case BDL_P_argmin: case BDL_P_cumsum: case BDL_P_cumprod: case BDL_P_cummax: case BDL_P_cummin: c.flops = numel(&in[0]); break;
    case BDL_P_sort: case BDL_P_top_k: c.flops = numel(&in[0]) * log2(fmax(numel(&in[0]), 2)); break;
    case BDL_P_gather: case BDL_P_gather_along: c.read = bytes(&out[0]) + bytes(&in[1]); break;
    case BDL_P_dynamic_slice: c.read = bytes(&out[0]); break;
    case BDL_P_dynamic_update_slice: c.read = c.written = bytes(&in[1]); break; /* the rest stays where it is */
    case BDL_P_scatter: case BDL_P_scatter_along:
      c.read = 2 * bytes(&in[2]) + bytes(&in[1]);
      c.written = bytes(&in[2]);
      c.flops = numel(&in[2]);
      break;
    default: break;
  }
  return c;
}

bdl_cost bdl_plan_cost(const bdl_inst *i) {
  switch (i->kind) {
    case BDL_I_GROUP: return of_group(i->group);
    case BDL_I_KERNEL: return of_kernel(i);
    case BDL_I_COPY: { /* at most: onto itself it is none */
      const double n = (double)i->copy.bytes;
      return (bdl_cost){.read = n, .written = n, .at_most = true};
    }
    default: return (bdl_cost){0};
  }
}

/* ---- text */

void bdl_plan_lines(const bdl_inst *i, bdl_str *out) {
  const bdl_src one = i->src, *v = i->kind == BDL_I_GROUP ? i->group->lines : &one;
  const int32_t n = i->kind == BDL_I_GROUP ? i->group->n_lines : one.file != NULL;
  for (int32_t k = 0; k < n; k++) {
    const bool same = k > 0 && v[k].file == v[k - 1].file;
    int32_t last = k;
    while (last + 1 < n && v[last + 1].file == v[k].file && v[last + 1].line == v[last].line + 1) last++;
    if (same) bdl_str_addf(out, ",%d", v[k].line);
    else bdl_str_addf(out, "%s%s:%d", k ? ", " : "", v[k].file, v[k].line);
    if (last > k) bdl_str_addf(out, "-%d", v[last].line);
    k = last;
  }
}

const char *bdl_scaled_text(double v, const char *unit, char buf[BDL_SCALED_TEXT]) {
  static const char *const prefix[] = {"", "k", "M", "G", "T"};
  int k = 0;
  while (v >= 999.5 && k < 4) v /= 1000, k++;
  snprintf(buf, BDL_SCALED_TEXT, k && v < 99.95 ? "%.1f %s%s" : "%.0f %s%s", v, prefix[k], unit);
  return buf;
}

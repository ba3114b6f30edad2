/*
** cases.c -- see cases.h.  A new element-wise row needs nothing here, unless it is not defined on [-2, 2]; another row needs
** a text in `texts`.  F stands for a float dtype.
*/
#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Values per operand where they are not [-2, 2] of floats, [0, 1] of integers. */
static const struct {
  bdl_prim_id prim;
  double lo[3], hi[3];
} ranges[] = {
  {BDL_P_log, {0.3}, {3}},
  {BDL_P_log2, {0.3}, {3}},
  {BDL_P_log10, {0.3}, {3}},
  {BDL_P_log1p, {-0.6}, {2}},
  {BDL_P_sqrt, {0.3}, {3}},
  {BDL_P_rsqrt, {0.3}, {3}},
  {BDL_P_cbrt, {0.3}, {3}},
  {BDL_P_lgamma, {0.3}, {3}},
  {BDL_P_digamma, {0.3}, {3}},
  {BDL_P_polygamma, {0.5}, {3}},
  {BDL_P_asin, {-0.8}, {0.8}},
  {BDL_P_acos, {-0.8}, {0.8}},
  {BDL_P_atanh, {-0.8}, {0.8}},
  {BDL_P_erfinv, {-0.8}, {0.8}},
  {BDL_P_draw_erfinv, {-0.8}, {0.8}},
  {BDL_P_acosh, {1.3}, {3}},
  {BDL_P_tan, {-1}, {1}},
  {BDL_P_integer_pow, {0.5}, {2}},
  {BDL_P_pow, {0.3, -2}, {2, 2}},
  {BDL_P_div, {-2, 0.5}, {2, 2}},
  {BDL_P_atan2, {0.3, 0.3}, {2, 2}},
  {BDL_P_rem, {4.1, 1.5}, {4.4, 1.8}}, /* 2 < x/y < 3 */
  {BDL_P_mod, {-4.4, 1.5}, {-4.1, 1.8}},
  {BDL_P_floordiv, {4.1, 1.5}, {4.4, 1.8}},
  {BDL_P_clamp, {-1, -2, 0.5}, {-0.5, 2, 1}},
  {BDL_P_sort, {-2, -2}, {2, 2}},
  {BDL_P_solve, {1, -2}, {2, 2}},
  {BDL_P_random_int, {0, -3, 4}, {1e9, 3, 9}},
  {BDL_P_jitc_dot, {-2, 0.5, 1}, {2, 1, 2}},
};

static const struct {
  bdl_prim_id prim;
  const char *text; /* inputs) { results = equation; return results */
} texts[] = {
  {BDL_P_iota, ") { z:i32[2,3] = iota[shape=(2,3) axis=1 dtype=i32]\n return z"},
  {BDL_P_iota, ") { z:F[5] = iota[shape=(5) axis=0 dtype=F]\n return z"},
  {BDL_P_random_bits, "k:u32[2]) { z:u32[7] = random_bits[shape=(7) dtype=u32] k\n return z"},
  {BDL_P_random_bits, "k:u32[2]) { z:i64[2,3] = random_bits[shape=(2,3) dtype=i64] k\n return z"},
  {BDL_P_random_split, "k:u32[2]) { z:u32[3,2] = random_split[n=3] k\n return z"},
  {BDL_P_random_fold_in, "k:u32[2], x:u32[]) { z:u32[2] = random_fold_in k x\n return z"},
  {BDL_P_random_int, "k:u32[2], lo:i32[], hi:i32[]) { z:i32[9] = random_int[shape=(9)] k lo hi\n return z"},
  {BDL_P_random_int, "k:u32[2], lo:i64[], hi:i64[]) { z:i64[2,2] = random_int[shape=(2,2)] k lo hi\n return z"},
  {BDL_P_reduce_sum, "x:F[2,3,4]) { z:F[3] = reduce_sum[axes=(0,2)] x\n return z"},
  {BDL_P_reduce_sum, "x:F[1100]) { z:F[] = reduce_sum[axes=(0)] x\n return z"},
  {BDL_P_reduce_sum, "x:i32[0,3]) { z:i32[3] = reduce_sum[axes=(0)] x\n return z"},
  {BDL_P_reduce_prod, "x:F[2,3]) { z:F[2] = reduce_prod[axes=(1)] x\n return z"},
  {BDL_P_reduce_max, "x:F[2,3]) { z:F[] = reduce_max[axes=(0,1)] x\n return z"},
  {BDL_P_reduce_max, "x:F[4,3]) { z:F[3] = reduce_max[axes=(0)] x\n return z"},
  {BDL_P_reduce_min, "x:F[2,3]) { z:F[2] = reduce_min[axes=(1)] x\n return z"},
  {BDL_P_reduce_and, "x:bool[2,3]) { z:bool[] = reduce_and[axes=(0,1)] x\n return z"},
  {BDL_P_reduce_or, "x:bool[2,3]) { z:bool[2] = reduce_or[axes=(1)] x\n return z"},
  {BDL_P_argmax, "x:F[2,3]) { z:i32[2] = argmax[axis=1] x\n return z"},
  {BDL_P_argmin, "x:i32[2,3]) { z:i32[3] = argmin[axis=0] x\n return z"},
  {BDL_P_cumsum, "x:F[2,3]) { z:F[2,3] = cumsum[axis=1 reverse=0] x\n return z"},
  {BDL_P_cumsum, "x:F[2,3]) { z:F[2,3] = cumsum[axis=0 reverse=1] x\n return z"},
  {BDL_P_cumprod, "x:F[2,3]) { z:F[2,3] = cumprod[axis=1 reverse=0] x\n return z"},
  {BDL_P_cumprod, "x:F[4]) { z:F[4] = cumprod[axis=0 reverse=1] x\n return z"},
  {BDL_P_cummax, "x:F[2,3]) { z:F[2,3] = cummax[axis=1 reverse=0] x\n return z"},
  {BDL_P_cummin, "x:F[2,3]) { z:F[2,3] = cummin[axis=0 reverse=1] x\n return z"},
  {BDL_P_reshape, "x:F[2,3]) { z:F[3,1,2] = reshape[shape=(3,1,2)] x\n return z"},
  {BDL_P_broadcast, "x:F[3,1]) { z:F[2,3,4] = broadcast[shape=(2,3,4) dims=(1,2)] x\n return z"},
  {BDL_P_broadcast, "x:F[]) { z:F[5] = broadcast[shape=(5) dims=()] x\n return z"},
  {BDL_P_permute, "x:F[2,3,4]) { z:F[4,2,3] = permute[axes=(2,0,1)] x\n return z"},
  {BDL_P_slice, "x:F[5,4]) { z:F[2,2] = slice[start=(1,0) stop=(4,3) step=(2,2)] x\n return z"},
  {BDL_P_reverse, "x:F[5,4]) { z:F[5,4] = reverse[axes=(0)] x\n return z"},
  {BDL_P_pad, "x:F[3], v:F[]) { z:F[8] = pad[lo=(1) hi=(2) inner=(1)] x v\n return z"},
  {BDL_P_pad, "x:F[4,2], v:F[]) { z:F[2,3] = pad[lo=(-1,0) hi=(-1,1) inner=(0,0)] x v\n return z"},
  {BDL_P_concatenate, "x:F[2,3], y:F[2,1], w:F[2,2]) { z:F[2,6] = concatenate[axis=1] x y w\n return z"},
  {BDL_P_dynamic_slice, "x:F[4,3], i:i32[], j:i32[]) { z:F[2,2] = dynamic_slice[sizes=(2,2)] x i j\n return z"},
  {BDL_P_dynamic_update_slice, "x:F[4,3], u:F[2,2], i:i32[], j:i32[]) { z:F[4,3] = dynamic_update_slice x u i j\n return z"},
  {BDL_P_gather, "x:F[4,3], i:i32[2,2]) { z:F[2,2,3] = gather[axis=0] x i\n return z"},
  {BDL_P_gather, "x:F[4,3], i:i32[]) { z:F[4] = gather[axis=1] x i\n return z"},
  {BDL_P_gather_along, "x:F[4,3], i:i32[2,3]) { z:F[2,3] = gather_along[axis=0] x i\n return z"},
  {BDL_P_scatter, "x:F[4,3], i:i32[2], u:F[2,3]) { z:F[4,3] = scatter[axis=0 op=\"add\"] x i u\n return z"},
  {BDL_P_scatter, "x:F[4,3], i:i32[1], u:F[1,3]) { z:F[4,3] = scatter[axis=0 op=\"set\"] x i u\n return z"},
  {BDL_P_scatter, "x:F[2,3], i:i32[3], u:F[3,3]) { z:F[2,3] = scatter[axis=0 op=\"max\"] x i u\n return z"},
  {BDL_P_scatter, "x:F[2], i:i32[3], u:F[3]) { z:F[2] = scatter[axis=0 op=\"mul\"] x i u\n return z"},
  {BDL_P_scatter_along, "x:F[2,3], i:i32[4,3], u:F[4,3]) { z:F[2,3] = scatter_along[axis=0 op=\"min\"] x i u\n return z"},
  {BDL_P_scatter_along, "x:F[2,3], i:i32[2,2], u:F[2,2]) { z:F[2,3] = scatter_along[axis=1 op=\"mul\"] x i u\n return z"},
  {BDL_P_scatter_along, "x:F[4,3], i:i32[2,3], u:F[2,3]) { z:F[4,3] = scatter_along[axis=0 op=\"add\"] x i u\n return z"},
  {BDL_P_sort, "x:F[5]) { z:F[5] = sort[axis=0 keys=1 descending=0] x\n return z"},
  {BDL_P_sort, "x:F[2,5], y:F[2,5]) { z:F[2,5], w:F[2,5] = sort[axis=1 keys=1 descending=1] x y\n return z, w"},
  {BDL_P_top_k, "x:F[2,5]) { z:F[2,3], i:i32[2,3] = top_k[k=3] x\n return z, i"},
  {BDL_P_dot, "x:F[2,3], y:F[3,4]) {"
   " z:F[2,4] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y\n return z"},
  {BDL_P_dot, "x:F[5,2,3], y:F[3,5,4]) {"
   " z:F[5,2,4] = dot[lhs_contract=(2) rhs_contract=(0) lhs_batch=(0) rhs_batch=(1)] x y\n return z"},
  {BDL_P_dot_add, "x:F[2,3], y:F[3,4], c:F[4]) {"
   " z:F[2,4] = dot_add[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=() onto=0] x y c\n return z"},
  {BDL_P_dot_add, "x:F[7,9], y:F[7,20], c:F[9,20]) {"
   " z:F[9,20] = dot_add[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=() onto=1] x y c\n return z"},
  {BDL_P_dot_pack, "y:F[3,20]) { z:F[3,3,8] = dot_pack[contract=0 columns=8] y\n return z"},
  {BDL_P_dot_pack, "y:F[20,3]) { z:F[2,3,16] = dot_pack[contract=1 columns=16] y\n return z"},
  {BDL_P_packed_dot, "x:F[4,90], y:F[90,50], p:F[10,90,5]) {"
   " z:F[4,50] = packed_dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y p\n return z"},
  {BDL_P_sparse_dot, "x:F[1,3], y:F[3,20], f:bool[]) {"
   " z:F[1,20] = sparse_dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] x y f\n return z"},
  {BDL_P_conv, "x:F[2,7,3], w:F[3,3,4]) { z:F[2,4,4] = conv[strides=(2) pad_lo=(1) pad_hi=(1)"
   " lhs_dilation=(1) rhs_dilation=(1) groups=1] x w\n return z"},
  {BDL_P_conv, "x:F[1,5,5,2], w:F[2,2,1,4]) { z:F[1,4,4,4] = conv[strides=(1,1) pad_lo=(0,0) pad_hi=(0,0)"
   " lhs_dilation=(1,1) rhs_dilation=(1,1) groups=2] x w\n return z"},
  {BDL_P_reduce_max, "x:F[0,3]) { z:F[0] = reduce_max[axes=(1)] x\n return z"},
  {BDL_P_reduce_prod, "x:F[1,0,2]) { z:F[2] = reduce_prod[axes=(0,1)] x\n return z"},
  {BDL_P_cumprod, "x:F[1,3]) { z:F[1,3] = cumprod[axis=0 reverse=0] x\n return z"},
  {BDL_P_cummax, "x:F[5,1]) { z:F[5,1] = cummax[axis=0 reverse=1] x\n return z"},
  {BDL_P_cummin, "x:F[0,3]) { z:F[0,3] = cummin[axis=1 reverse=0] x\n return z"},
  {BDL_P_gather, "x:F[1,3], i:i32[0]) { z:F[0,3] = gather[axis=0] x i\n return z"},
  {BDL_P_sort, "x:F[0]) { z:F[0] = sort[axis=0 keys=1 descending=0] x\n return z"},
  {BDL_P_cholesky, "x:F[0,0]) { z:F[0,0] = cholesky x\n return z"},
  {BDL_P_triangular_solve, "a:F[1,1], b:F[1,2]) { z:F[1,2] = triangular_solve[lower=1 trans=0 unit=0] a b\n return z"},
  {BDL_P_lu, "x:F[2,3,3]) { z:F[2,3,3], i:i32[2,3] = lu x\n return z, i"},
  {BDL_P_lu_permutation, "i:i32[2,2]) { p:i32[2,2] = lu_permutation i\n return p"},
  {BDL_P_lu, "x:F[2,2]) { z:F[2,2], i:i32[2] = lu x\n return z, i"},
  {BDL_P_solve, "a:F[1,1], b:F[1,2]) { z:F[1,2] = solve a b\n return z"},
  {BDL_P_event_ids, "s:bool[9]) { i:i32[9], n:i32[] = event_ids s\n return i, n"},
  {BDL_P_event_dot, "s:F[3], w:F[3,4]) { z:F[4] = event_dot[transpose=0] s w\n return z"},
  {BDL_P_event_dot, "s:bool[2,4], w:F[3,4]) { z:F[2,3] = event_dot[transpose=1] s w\n return z"},
  {BDL_P_csr_dot, "v:F[3], d:F[4]) { const i:i32[4] = [0 2 1 3]\n const p:i32[4] = [0 2 2 4]\n"
   " z:F[4] = csr_dot[rows=3 cols=4 transpose=0 event=0] v d i p\n return z"},
  {BDL_P_csr_dot, "v:bool[2,4], d:F[1]) { const i:i32[4] = [0 2 1 3]\n const p:i32[4] = [0 2 2 4]\n"
   " z:F[2,3] = csr_dot[rows=3 cols=4 transpose=1 event=1] v d i p\n return z"},
  {BDL_P_csr_scatter, "y:F[4], ids:i32[3], n:i32[], d:F[4]) { const i:i32[4] = [0 2 1 3]\n const p:i32[4] = [0 2 2 4]\n"
   " z:F[4] = csr_scatter[rows=3 cols=4 transpose=0] y ids n d i p\n return z"},
  {BDL_P_csr_scatter, "y:F[3], ids:i32[3], n:i32[], d:F[4]) { const i:i32[4] = [0 2 1 3]\n const p:i32[4] = [0 2 2 4]\n"
   " z:F[3] = csr_scatter[rows=3 cols=4 transpose=1] y ids n d i p\n return z"},
  {BDL_P_csr_outer, "a:F[3], b:F[4]) { const i:i32[4] = [0 2 1 3]\n const p:i32[4] = [0 2 2 4]\n"
   " z:F[4] = csr_outer[rows=3 cols=4 event=0] a b i p\n return z"},
  {BDL_P_event_learn, "w:F[3,4], s:bool[3], x:F[4], g:F[3], l:F[], h:F[]) { i:i32[3], n:i32[] = event_ids s\n"
   " z:F[3,4] = event_learn[transpose=0] w i n x g l h\n return z"},
  {BDL_P_event_learn, "w:F[3,4], s:bool[4], x:F[3], g:F[1], l:F[], h:F[]) { i:i32[4], n:i32[] = event_ids s\n"
   " z:F[3,4] = event_learn[transpose=1] w i n x g l h\n return z"},
  {BDL_P_csr_learn, "w:F[4], s:bool[3], x:F[4], g:F[1], l:F[], h:F[]) { const p:i32[4] = [0 2 1 3]\n const q:i32[4] = [0 2 2 4]\n"
   " i:i32[3], n:i32[] = event_ids s\n z:F[4] = csr_learn[rows=3 cols=4] w i n x g l h p q\n return z"},
  {BDL_P_csr_learn, "w:F[4], s:bool[3], x:F[4], g:F[3], l:F[], h:F[]) { const p:i32[4] = [0 2 1 3]\n const q:i32[4] = [0 2 2 4]\n"
   " const r:i32[4] = [2 0 3 1]\n i:i32[3], n:i32[] = event_ids s\n"
   " z:F[4] = csr_learn[rows=3 cols=4] w i n x g l h p q r\n return z"},
  {BDL_P_jitc_dot, "v:F[3], a:F[], b:F[]) {"
   " z:F[4] = jitc_dot[rows=3 cols=4 transpose=0 event=0 kind=\"uniform:0.5\"] v a b 42:i64\n return z"},
  {BDL_P_etrace_step, "e:F[2,3,2,5], x:F[3,2], d:F[3,5], f:F[3,5]) {"
   " z:F[2,3,2,5] = etrace_step[pairs=(2) fed=(0) scaled=0] e x d f\n return z"},
  {BDL_P_etrace_step, "e:F[1,2,3,9], x:F[2,3], s:F[3,9], f:F[2,9]) {"
   " z:F[1,2,3,9] = etrace_step[pairs=() fed=(0) scaled=1] e x s f\n return z"},
  {BDL_P_etrace_step, "e:F[2,3,1,2,4], x:F[2,1,2], d:F[2,1,4], b:F[2,1,4]) {"
   " z:F[2,3,1,2,4] = etrace_step[pairs=(0,8) fed=() scaled=0] e x d b\n return z"},
  {BDL_P_etrace_grad, "e:F[2,4,3,5], l:F[4,5], m:F[4,5]) { z:F[2,3,5] = etrace_grad[groups=2 fed=(0,1)] e l m\n return z"},
  {BDL_P_etrace_grad, "e:F[3,1,6,2,7], l:F[3,6,7]) { z:F[3,1,2,7] = etrace_grad[groups=1 fed=(0)] e l\n return z"},
  {BDL_P_etrace_learn, "e:F[2,4,3,5], x:F[4,3], d:F[4,5], f:F[4,5], l:F[4,5]) {"
   " z:F[2,4,3,5], g:F[2,3,5] = etrace_learn[pairs=(2) fed=(0) scaled=0 groups=2 signals=(1) summed=0] e x d f l\n return z, g"},
  {BDL_P_etrace_learn, "e:F[1,2,3,9], s:F[27], x:F[2,3], d:F[2,9], l:F[2,9]) {"
   " z:F[1,2,3,9], t:F[27] = etrace_learn[pairs=(0) fed=() scaled=0 groups=1 signals=(0) summed=1] e s x d l\n return z, t"},
  {BDL_P_scan, "c:F[], x:F[2], xs:F[3,2]) { y:F[2], ys:F[3,2] = scan[consts=1 carry=1 length=3 reverse=1 body={"
   "program b(c:F[], x:F[2], u:F[2]) { a:F[2] = add x u\n e:F[2] = mul a c\n return e, a }}] c x xs\n return y, ys"},
  {BDL_P_while, "n:i32[], x:F[]) { i:i32[], y:F[] = while[cond_consts=1 body_consts=0 programs={"
   "program c(n:i32[], i:i32[], x:F[]) { p:bool[] = lt i n\n return p },"
   "program b(i:i32[], x:F[]) { j:i32[] = add i 1:i32\n y:F[] = mul x x\n return j, y }}] n 0:i32 x\n return i, y"},
  {BDL_P_cond, "i:i32[], x:F[2]) { y:F[2] = cond[branches={program a(x:F[2]) { return x },"
   "program b(x:F[2]) { y:F[2] = neg x\n return y }}] i x\n return y"},
  {BDL_P_call, "x:F[2]) { y:F[2] = call[body={program b(x:F[2]) { y:F[2] = exp x\n return y }}] x\n return y"},
  {BDL_P_etrace_op, "x:F[2], w:F[2]) { y:F[2] = etrace_op[body={program b(x:F[2], w:F[2]) { y:F[2] = mul x w\n return y }} inputs=1 weights=1] x w\n return y"},
  {BDL_P_across, "x:F[2,3]) { z:F[] = across[op=\"max\"] x\n return z"},
  {BDL_P_barrier, "x:F[2], y:F[3]) { z:F[2] = barrier x y\n return z"},
  {BDL_P_checkpoint, "x:F[2]) { y:F[2] = checkpoint[body={program b(x:F[2]) { y:F[2] = exp x\n return y }}] x\n return y"},
  {BDL_P_custom_jvp, "x:F[2]) { y:F[2] = custom_jvp[programs={program f(x:F[2]) { y:F[2] = sin x\n return y },"
   "program r(x:F[2], t:F[2]) { c:F[2] = cos x\n z:F[2] = mul c t\n return z }}] x\n return y"},
  {BDL_P_custom_vjp, "x:F[2]) { y:F[2] = custom_vjp[programs={program f(x:F[2]) { y:F[2] = sin x\n return y },"
   "program g(x:F[2]) { y:F[2] = sin x\n c:F[2] = cos x\n return y, c },"
   "program r(c:F[2], t:F[2]) { z:F[2] = mul c t\n return z }}] x\n return y"},
  {BDL_P_transposed, "c:F[2], x:F[2]) { y:F[] = transposed[residuals=1 body={"
   "program r(c:F[2], t:F[]) { z:F[2] = mul c t\n return z }}] c x\n return y"},
  {BDL_P_psum, "x:F[2,3]) { z:F[2,3] = psum[axis=0] x\n return z"},
  {BDL_P_to_lanes, "x:F[2,3]) { z:F[2,3] = to_lanes[axis=0] x\n return z"},
  {BDL_P_from_lanes, "x:F[3]) { z:F[3] = from_lanes[axis=0 size=1] x\n return z"},
  {BDL_P_all_gather, "x:F[2,3]) { z:F[1,2,3] = all_gather[axis=0 size=1] x\n return z"},
  {BDL_P_own_lane, "x:F[1,3]) { z:F[3] = own_lane[axis=0 size=1] x\n return z"},
  {BDL_P_ppermute, "x:F[2]) { z:F[2] = ppermute[axis=0 source=(0)] x\n return z"},
  {BDL_P_ppermute, "x:F[2]) { z:F[2] = ppermute[axis=0 source=(-1)] x\n return z"},
  {BDL_P_print, "x:F[2]) { print[format=\"x = {0}\" host=nil] x\n return x"},
  {BDL_P_error_if, "p:bool[2], x:F[]) { error_if[message=\"x is {1}\"] p x\n return x"},
  {BDL_P_host_call, "x:F[2]) { y:f64[2], z:i32[] = host_call[results=(5,1,2,1,0) host=nil] x\n return y, z"},
};

static void values(bdl_prim_id prim, t_case *t) {
  for (int64_t i = 0; i < BDL_MIN(t->p->inputs.n, 8); i++) {
    const bool real = bdl_dtype_is_float(bdl_aval_of(t->p, t->p->inputs.v[i])->dtype);
    t->lo[i] = real ? -2 : 0;
    t->hi[i] = real ? 2 : 1;
    for (int k = 0; k < BDL_LEN(ranges); k++)
      if (ranges[k].prim == prim && i < 3 && (ranges[k].lo[i] != 0 || ranges[k].hi[i] != 0)) {
        t->lo[i] = ranges[k].lo[i];
        t->hi[i] = ranges[k].hi[i];
      }
  }
}

/* ---- from texts ---------------------------------------------------------------------------------- */

static bool from_text(bdl_context *c, bdl_prim_id prim, uint64_t seed, bdl_dtype floats, t_case *t) {
  const char *text = NULL;
  bdl_str s;
  uint64_t n = 0;
  for (int k = 0; k < BDL_LEN(texts); k++) n += texts[k].prim == prim;
  if (n == 0) return false;
  n = seed % n;
  for (int k = 0; !text; k++)
    if (texts[k].prim == prim && n-- == 0) text = texts[k].text;
  bdl_str_init(&s, c);
  bdl_str_addf(&s, "program t(");
  for (; *text; text++) {
    const bool dtype = *text == 'F' && (text[-1] == ':' || text[-1] == '=');
    if (dtype) bdl_str_addf(&s, "%s", floats == BDL_F64 || (floats != BDL_F32 && seed % 2) ? "f64" : "f32");
    else bdl_str_add(&s, text, 1);
  }
  bdl_str_addf(&s, "\n}");
  if (bdl_ir_parse(c, s.s, (size_t)s.n, &t->p) != BDL_OK) fail_msg("%s\n%s", c->error.message, s.s);
  bdl_str_fini(&s);
  return true;
}

/* ---- from type rules ------------------------------------------------------------------------------- */

static void random_param(bdl_param_kind kind, uint64_t *seed, bdl_param *x) {
  if (kind == BDL_PK_DTYPE) *x = bdl_pdtype((bdl_dtype)(t_random(seed) % BDL_DTYPE_COUNT));
  else *x = bdl_pint((int64_t)(t_random(seed) % 7) - 2);
}

/* Operands that broadcast to a random shape; extents of 0 are rare. */
static bool from_type_rule(bdl_context *c, bdl_prim_id prim, uint64_t seed, bdl_dtype floats, t_case *t) {
  const bdl_prim *row = &bdl_prims[prim];
  bdl_param params[2];
  bdl_aval in[3], out;
  bdl_atom x[3];
  for (int attempt = 0; attempt < 200; attempt++) {
    bdl_aval all = {.dtype = floats, .ndim = (int32_t)(t_random(&seed) % 4)};
    if (floats == BDL_DTYPE_COUNT) all.dtype = (bdl_dtype)(t_random(&seed) % BDL_DTYPE_COUNT);
    for (int i = 0; i < all.ndim; i++) all.shape[i] = t_random(&seed) % 16 ? (int64_t)(1 + t_random(&seed) % 5) : 0;
    for (int k = 0; k < row->n_in; k++) {
      const int drop = k == row->n_in - 1 || all.ndim == 0 ? 0 : (int)(t_random(&seed) % (uint64_t)(all.ndim + 1));
      in[k] = (bdl_aval){.dtype = prim == BDL_P_select && k == 0 ? BDL_BOOL : all.dtype, .ndim = all.ndim - drop};
      for (int i = 0; i < in[k].ndim; i++) in[k].shape[i] = t_random(&seed) % 4 ? all.shape[i + drop] : 1;
    }
    for (int k = 0; k < bdl_prim_n_params(prim); k++) random_param(bdl_prim_param_kind(prim, k), &seed, &params[k]);
    if (bdl_prim_type(c, prim, params, in, row->n_in, &out) != BDL_OK) continue;
    assert_int_equal(bdl_prog_new(c, "t", &t->p), BDL_OK);
    for (int k = 0; k < row->n_in; k++) assert_int_equal(bdl_ir_input(t->p, &in[k], &x[k]), BDL_OK);
    assert_int_equal(bdl_bind(t->p, prim, params, x, row->n_in, &x[0]), BDL_OK);
    assert_int_equal(bdl_prog_set_outputs(t->p, x, 1), BDL_OK);
    return true;
  }
  return false;
}

bool t_case_new(bdl_context *c, bdl_prim_id prim, uint64_t seed, bdl_dtype floats, t_case *t) {
  const bool elementwise = (bdl_prims[prim].flags & BDL_F_ELEMENTWISE) != 0;
  *t = (t_case){.p = NULL};
  if (!(elementwise ? from_type_rule : from_text)(c, prim, seed, floats, t)) return false;
  values(prim, t);
  return true;
}

/*
** sort.h -- stable sorting by several keys, and the largest k.
** NaN counts as equal to NaN and larger than everything; -0 equals +0.
*/
#ifndef BDL_K_SORT_H
#define BDL_K_SORT_H

#include "cpu/array.h"

/* One element while sorting: its key as an unsigned integer of the same order, and where it came from. */
typedef struct bdl_sort_item {
  uint64_t key;
  uint32_t from;
} bdl_sort_item;

/* order[n] of lane x[0], x[stride], ..: sorts items[n], which hold the order so far (stable), by this key.
** spare[n]: scratch.  descending: NaN still last. */
void bdl_k_sort_by(bdl_sort_item *items, bdl_sort_item *spare, int64_t n, const void *x, int64_t stride, bdl_dtype d,
                   bool descending);
void bdl_k_sort_start(bdl_sort_item *items, int64_t n);
/* z[base + j stride] = x[base + from[j] stride] */
void bdl_k_sort_apply(void *z, const void *x, const bdl_sort_item *items, int64_t n, int64_t base, int64_t stride, size_t size);

/* values[k], index[k]: the largest of x[n], descending, ties by index; NaN first.  items and spare [n]: scratch. */
void bdl_k_top_k(void *values, int32_t *index, const void *x, int64_t n, int64_t k, bdl_dtype d, bdl_sort_item *items,
                 bdl_sort_item *spare);

#endif

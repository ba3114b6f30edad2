/*
** event.h -- products of event vectors with dense, sparse and regenerated matrices.
** An element is active when true or > 0.  Work is proportional to the synapses of active rows where rows can be skipped.
** Events are taken in ascending order, whatever the number of threads: results repeat.
*/
#ifndef BDL_K_EVENT_H
#define BDL_K_EVENT_H

#include "cpu/array.h"

/* The active elements of a vector of n. */
typedef struct bdl_k_events {
  int32_t *ids; /* [count], ascending */
  int64_t count;
  uint32_t *bits; /* bit i % 32 of word i / 32: is element i active?  NULL where nobody asks for single ones */
} bdl_k_events;
/* In `room` of bdl_k_events_bytes(n, bits), t: element kernels. */
size_t bdl_k_events_bytes(int64_t n, bool bits);
bdl_k_events bdl_k_events_of(void *room, const void *s, bdl_dtype d, int64_t n, bool bits, const bdl_k_table *t);
/* The bits of a list of active elements, all below n, in words of room of their own. */
static inline int64_t bdl_k_event_words(int64_t n) { return (n + 31) / 32; }
void bdl_k_event_bits(uint32_t *bits, const int32_t *ids, int64_t count, int64_t n);
static inline bool bdl_k_is_active(const uint32_t *bits, uint32_t i) { return bits[i / 32] >> (i % 32) & 1; }

/* Products with dense matrices add in ascending order of the events, from 0, whatever way they go.  Up to BDL_PAD bytes behind w
** may be read.  t: element kernels. */
/* y[n] = sum of the active rows of w[m, n] */
void bdl_k_event_rows(void *y, const bdl_k_events *s, const void *w, int64_t n, bdl_dtype d, const bdl_k_table *t,
                      bdl_pool *pool);
/* y[i] = sum of w[i, j] over active j, w[m, n] */
void bdl_k_event_cols(void *y, const bdl_k_events *s, const void *w, int64_t m, int64_t n, bdl_dtype d, bdl_pool *pool);
/* y[b, i] of vectors s[b], b < batch.  Of many events, some rows of w at a time are transposed: in a room for each of `rooms`
** threads, room_bytes apart, of bdl_k_event_block_bytes(n, d), behind which may be read as behind w. */
size_t bdl_k_event_block_bytes(int64_t n, bdl_dtype d);
void bdl_k_event_cols_of_many(void *y, const bdl_k_events *s, int64_t batch, const void *w, int64_t m, int64_t n, bdl_dtype d,
                              const bdl_k_table *t, void *room, size_t room_bytes, int64_t rooms, bdl_pool *pool);

/* Weights changed by events: w <- min(max(w + gain x, low), high), gain [spiking side] or one for all, x [other side]. */
typedef struct bdl_k_learn {
  const int32_t *ids; /* [count] active rows (or columns) */
  int64_t count;
  const void *x, *gain;
  bool same;              /* one gain */
  const void *low, *high; /* one number each */
} bdl_k_learn;
/* NaN stays. */
#define BDL_K_AT_LEAST(low, x) ((x) < (low) ? (low) : (x))
#define BDL_K_AT_MOST(high, x) ((x) > (high) ? (high) : (x))
/* w[m, n] in its active rows; columns: in its active columns.  All of w's dtype; ids in range. */
void bdl_k_event_learn(void *w, const bdl_k_learn *l, int64_t m, int64_t n, bool columns, bdl_dtype d, bdl_pool *pool);

/* A sparse matrix by rows.  Row i holds entries indptr[i] .. indptr[i + 1], or i*fan .. (i + 1)*fan without indptr. */
typedef struct bdl_k_csr {
  int64_t rows, cols, nnz;
  const void *indices; /* [nnz] columns: i32, u16 when `narrow` */
  bool narrow;
  bool sound;         /* rows and columns are known to be in range */
  const void *indptr; /* [rows + 1]; NULL: rows of `fan` entries */
  bool wide;          /* indptr is i64, else i32 */
  int64_t fan;
  const void *data; /* [nnz], or one entry when `same` */
  bool same;
  const uint32_t *places; /* the weight of entry k is data[places[k]]; NULL: data[k] */
  /* Parts of the columns, so that threads add without meeting: part p of row i are its entries from cuts[i*(parts + 1) + p] to the
  ** next cut, counted from the first of the row.  Of sound matrices only; 0: none. */
  int64_t parts;
  const uint32_t *cuts;
} bdl_k_csr;

/* Entries of row i. */
static inline void bdl_k_csr_row(const bdl_k_csr *a, int64_t i, int64_t *lo, int64_t *hi) {
  if (!a->indptr)
    *lo = i * a->fan, *hi = *lo + a->fan;
  else if (a->wide)
    *lo = ((const int64_t *)a->indptr)[i], *hi = ((const int64_t *)a->indptr)[i + 1];
  else
    *lo = ((const int32_t *)a->indptr)[i], *hi = ((const int32_t *)a->indptr)[i + 1];
}

/* What is wrong with the rows or columns: where, the value and what it must stay below. */
typedef enum bdl_csr_fault { BDL_CSR_FINE, BDL_CSR_ROW, BDL_CSR_POINTER, BDL_CSR_COLUMN, BDL_CSR_FAN, BDL_CSR_PLACE, BDL_CSR_LISTED } bdl_csr_fault;
typedef struct bdl_csr_error {
  bdl_csr_fault fault;
  int64_t at, value, limit;
} bdl_csr_error;

/* Each product looks at the rows it uses first, unless the matrix is sound; after a fault the result is half written. */
bdl_csr_error bdl_k_csr_check(const bdl_k_csr *a); /* all rows and columns */

/* y[cols] += rows ids[0..count) of a.  Work: their entries. */
bdl_csr_error bdl_k_csr_scatter(void *y, const int32_t *ids, int64_t count, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool);
/* y[cols] = v A, v[rows] of the weights' dtype */
bdl_csr_error bdl_k_csr_left(void *y, const void *v, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool);
/* y[rows] = A v, v[cols] of the weights' dtype */
bdl_csr_error bdl_k_csr_right(void *y, const void *v, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool);
/* y[rows] += A s, with the bits of s, in ascending order of columns.  Work: all entries; the scatter of the transposed matrix
** costs those of active columns, and has the same bits. */
bdl_csr_error bdl_k_csr_gather(void *y, const bdl_k_events *s, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool);
/* z[nnz] += v[i] y[j] at every stored (i, j), v[rows]; of the rows active in s, as 1, where v is NULL. */
bdl_csr_error bdl_k_csr_outer(void *z, const void *v, const bdl_k_events *s, const void *y, const bdl_k_csr *a, bdl_dtype d,
                              bdl_pool *pool);

/* w[nnz] in the entries of active rows, at a's places, which are looked at first, too; a's data are not read. */
bdl_csr_error bdl_k_csr_learn(void *w, const bdl_k_learn *l, const bdl_k_csr *a, bdl_dtype d, bdl_pool *pool);

/* ---- just-in-time connectivity.
** Row i is read off hashes of counters (i, c) under the key (high, low word of seed), Threefry-2x32.  Synapse t of the row
** lies floor(ln((u + 1) / 2^32) / ln(1 - prob)) columns after the one that follows synapse t - 1; u is word t mod 2 of
** counter (i, t div 2).  Its weight is, with v and w the words of counter (i, 2^31 + t div 2),
**   scalar   p0
**   uniform  p0 + (p1 - p0) v / 2^32, w for odd t
**   normal   p0 + p1 sqrt(-2 ln((v + 1) / 2^32)) cos(2 pi w / 2^32), sin for odd t (Box & Muller 1958)
** A row costs as many hashes as it has synapses, half of that when scalar. */
typedef enum bdl_jitc_law { BDL_JITC_SCALAR, BDL_JITC_UNIFORM, BDL_JITC_NORMAL } bdl_jitc_law;
typedef struct bdl_k_jitc {
  int64_t rows, cols;
  uint64_t seed;
  double prob;
  bdl_jitc_law law;
  double p0, p1;
} bdl_k_jitc;

/* The next columns of a row, ascending; fewer than BDL_JITC_BATCH at its end.  *t starts as 0, *column as -1. */
enum { BDL_JITC_BATCH = 16 };
int bdl_k_jitc_columns(int32_t cols[BDL_JITC_BATCH], const bdl_k_jitc *g, int64_t row, uint32_t *t, int64_t *column);

/* y[cols] = v M (transpose: y[rows] = M v); s, with its bits where transposed, instead of v where not NULL.  d is f32 or f64.
** room: bdl_k_jitc_bytes(g, d) where threads are to draw the rows of v M, else NULL. */
size_t bdl_k_jitc_bytes(const bdl_k_jitc *g, bdl_dtype d);
void bdl_k_jitc_dot(void *y, const void *v, const bdl_k_events *s, const bdl_k_jitc *g, bool transpose, bdl_dtype d, void *room,
                    bdl_pool *pool);

#endif

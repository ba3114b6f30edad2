/*
** record.h -- what monitors keep: rows of one type, appended as a run goes on; events compacted out of dense rows.
*/
#ifndef BDL_RECORD_H
#define BDL_RECORD_H

#include "device/device.h"

typedef struct bdl_record {
  bdl_device *device;
  bdl_aval row;     /* type of one row; its rank is below BDL_MAX_NDIM */
  bdl_buffer *buf;  /* room for `room` rows; NULL: none yet */
  int64_t n, room;
} bdl_record;

bdl_record bdl_record_make(bdl_device *d, const bdl_aval *row);
void bdl_record_fini(bdl_record *r);

/* Room for n rows in all, exactly where there was less.
** Errors: BDL_ENOMEM, also for more than the machine has; BDL_EVALUE more than an array may have; r is as before. */
bdl_status bdl_record_reserve(bdl_record *r, int64_t n);

/* The first n rows of x [rows, row..], contiguous.  Room doubles.  Errors as above. */
bdl_status bdl_record_append(bdl_record *r, const bdl_tensor *x, int64_t n);

/* [n, row..], a view of what is there now: rows appended later stand behind it.  Owns a reference. */
bdl_status bdl_record_view(const bdl_record *r, bdl_tensor *t);

/*
** bdl_record_events -- the true elements of the first n rows of x, in order.
**   x      bool[rows, m..], contiguous      row k is step first + k
**   step   i64[]   id   i32[]               records; an element's id is its position in its row
**   most   events that the records may hold: what would pass it is an error, and they keep the steps before that one
** Errors: BDL_EBUDGET, BDL_ENOMEM (no event of x was added).
*/
bdl_status bdl_record_events(bdl_record *step, bdl_record *id, const bdl_tensor *x, int64_t n, int64_t first,
                             int64_t most);

#endif

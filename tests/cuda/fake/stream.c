/*
** stream.c -- streams and events.  What is asked of a stream is queued, and done when somebody waits for it: at a
** synchronisation of the stream or of an event, by another stream that waits for an event, a piece at a time at each
** query.  Nothing is done earlier than that, so that what a host forgets to wait for is not there.
**
** The default stream is one more stream: others neither wait for it nor it for them.
*/
#include <time.h>

#include "fake.h"

struct op {
  struct op *next;
  fake_work *run;
  void *owned;
  _Alignas(16) char args[];
};

/* Streams and events are kept once made, for the next of their kind: a late handle is an error, not a fault. */
struct CUstream_st {
  CUstream next;
  int device;
  bool live;
  uint64_t issued, done; /* pieces of work, since the stream was first made */
  struct op *first, *last;
};

struct CUevent_st {
  CUevent next;
  bool live, timed;
  CUstream stream; /* recorded there (NULL: nowhere), done with its ticket-th piece */
  uint64_t ticket;
  double ms;
};

static CUstream streams;
static CUevent events;
static struct CUstream_st defaults[FAKE_DEVICES];

static CUstream stream_of(CUstream s) {
  CUcontext c = fake_context();
  if (!c) return NULL;
  if (!s) {
    defaults[c->device].device = c->device;
    return &defaults[c->device];
  }
  for (CUstream i = streams; i; i = i->next)
    if (i == s) return s->live ? s : NULL;
  return NULL;
}

static CUevent event_of(CUevent e) {
  for (CUevent i = events; i; i = i->next)
    if (i == e) return e->live ? e : NULL;
  return NULL;
}

#define STREAM(s)        \
  (s) = stream_of(s);    \
  if (!(s)) return CUDA_ERROR_INVALID_HANDLE
#define EVENT(e) \
  if (!event_of(e)) return CUDA_ERROR_INVALID_HANDLE

/* ---- the queue --------------------------------------------------------------------------------------------------- */

CUresult fake_queue(CUstream s, fake_work *run, const void *args, size_t n, void *owned) {
  __attribute__((cleanup(fake_unlock))) const int entered = fake_lock();
  (void)entered;
  struct op *op = malloc(sizeof *op + n);
  s = stream_of(s);
  if (!s || !op) {
    free(owned);
    free(op);
    return s ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_HANDLE;
  }
  op->next = NULL;
  op->run = run;
  op->owned = owned;
  memcpy(op->args, args, n);
  if (s->first) s->last->next = op;
  else s->first = op;
  s->last = op;
  s->issued++;
  return CUDA_SUCCESS;
}

/* The pieces of s up to the ticket-th.  After one that failed the context is broken, and nothing else is done. */
static CUresult run_until(CUstream s, uint64_t ticket) {
  CUcontext c = fake_context_of(s->device);
  if (s->done >= ticket) return c->broken;
  fake_memory_show(true);
  while (s->done < ticket) {
    struct op *op = s->first;
    s->first = op->next;
    const CUresult e = c->broken ? c->broken : op->run(op->args);
    if (!c->broken) c->broken = e;
    s->done++;
    free(op->owned);
    free(op);
  }
  fake_memory_show(false);
  return c->broken;
}

CUresult fake_drain(CUstream s) {
  STREAM(s);
  return run_until(s, s->issued);
}

CUresult fake_drain_all(void) {
  for (int d = 0; d < FAKE_DEVICES; d++) run_until(&defaults[d], defaults[d].issued);
  for (CUstream s = streams; s; s = s->next) run_until(s, s->issued);
  return fake_context() ? fake_context()->broken : CUDA_SUCCESS;
}

void fake_streams_drop(int device) {
  for (CUstream s = streams; s; s = s->next)
    if (s->device == device) s->live = false;
}

/* One more piece is done at each query, so a loop of queries ends. */
static CUresult query(CUstream s, uint64_t ticket) {
  if (s->done >= ticket) return fake_context_of(s->device)->broken;
  const CUresult e = run_until(s, s->done + 1);
  return e ? e : CUDA_ERROR_NOT_READY;
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

CUresult cuStreamCreate(CUstream *s, unsigned flags) {
  ENTER_CONTEXT(cuStreamCreate);
  if (flags > 1) return CUDA_ERROR_INVALID_VALUE;
  CUstream i = streams;
  while (i && i->live) i = i->next;
  if (!i) {
    i = calloc(1, sizeof *i);
    if (!i) return CUDA_ERROR_OUT_OF_MEMORY;
    i->next = streams;
    streams = i;
  }
  i->live = true;
  i->device = fake_context()->device;
  *s = i;
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream s) {
  ENTER_CONTEXT(cuStreamDestroy);
  if (!s) return CUDA_ERROR_INVALID_HANDLE;
  STREAM(s);
  s->live = false;
  return run_until(s, s->issued);
}

CUresult cuStreamSynchronize(CUstream s) {
  ENTER_CONTEXT(cuStreamSynchronize);
  return fake_drain(s);
}

CUresult cuStreamQuery(CUstream s) {
  ENTER_CONTEXT(cuStreamQuery);
  STREAM(s);
  return query(s, s->issued);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

struct mark {
  CUevent event;
  CUstream stream;
  uint64_t ticket;
};

static CUresult do_record(void *args) {
  const struct mark *m = args;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  if (m->event->ticket == m->ticket && m->event->stream == m->stream) /* not recorded again since? */
    m->event->ms = (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
  return CUDA_SUCCESS;
}

static CUresult do_wait(void *args) {
  const struct mark *m = args;
  return run_until(m->stream, m->ticket);
}

static bool pending(const struct CUevent_st *e) { return e->stream && e->stream->done < e->ticket; }

CUresult cuEventCreate(CUevent *e, unsigned flags) {
  ENTER_CONTEXT(cuEventCreate);
  CUevent i = events;
  while (i && (i->live || pending(i))) i = i->next;
  if (!i) {
    i = calloc(1, sizeof *i);
    if (!i) return CUDA_ERROR_OUT_OF_MEMORY;
    i->next = events;
    events = i;
  }
  i->live = true;
  i->timed = !(flags & 2); /* CU_EVENT_DISABLE_TIMING */
  i->stream = NULL;
  *e = i;
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent e) {
  ENTER_CONTEXT(cuEventDestroy);
  EVENT(e);
  e->live = false;
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent e, CUstream s) {
  ENTER_CONTEXT(cuEventRecord);
  EVENT(e);
  STREAM(s);
  const struct mark m = {e, s, s->issued + 1};
  e->stream = s;
  e->ticket = m.ticket;
  return fake_queue(s == &defaults[s->device] ? NULL : s, do_record, &m, sizeof m, NULL);
}

CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags) {
  ENTER_CONTEXT(cuStreamWaitEvent);
  EVENT(e);
  if (flags) return CUDA_ERROR_INVALID_VALUE;
  if (!e->stream) return CUDA_SUCCESS;
  const struct mark m = {e, e->stream, e->ticket};
  return fake_queue(s, do_wait, &m, sizeof m, NULL);
}

CUresult cuEventQuery(CUevent e) {
  ENTER_CONTEXT(cuEventQuery);
  EVENT(e);
  return e->stream ? query(e->stream, e->ticket) : CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent e) {
  ENTER_CONTEXT(cuEventSynchronize);
  EVENT(e);
  return e->stream ? run_until(e->stream, e->ticket) : CUDA_SUCCESS;
}

CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to) {
  ENTER_CONTEXT(cuEventElapsedTime);
  EVENT(from);
  EVENT(to);
  if (!from->stream || !to->stream || !from->timed || !to->timed) return CUDA_ERROR_INVALID_HANDLE;
  if (pending(from) || pending(to)) return CUDA_ERROR_NOT_READY;
  *ms = (float)(to->ms - from->ms);
  return CUDA_SUCCESS;
}

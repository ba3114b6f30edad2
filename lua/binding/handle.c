/*
** handle.c -- what a host holds of a context: found again after it was freed, and freed with the context.
*/
#include "base/context.h"
#include "binding/host.h"

#define MAGIC UINT64_C(0x62646c2048616e64)
enum { FREED_KEPT = 256 }; /* handles that were freed and whose use is seen */

void *lbdl_handle_new(bdl *b, lbdl_handle_kind kind, size_t size) {
  lbdl_handle *h = bdl_calloc(b->b.ctx, size);
  if (!h) {
    lbdl_keep_status(b);
    return NULL;
  }
  *h = (lbdl_handle){.magic = MAGIC, .kind = kind, .b = b, .size = size, .next = b->handles};
  if (h->next) h->next->prev = h;
  b->handles = h;
  return h;
}

static void fini(lbdl_handle *h) {
  switch (h->kind) {
    case LBDL_FUNCTION: lbdl_function_fini(h->b, h); break;
    case LBDL_CELL: lbdl_cell_fini(h->b, h); break;
    case LBDL_PROGRAM: lbdl_program_fini(h->b, h); break;
    case LBDL_FREED: break;
  }
}

static void drop(lbdl_handle *h) {
  h->magic = 0;
  bdl_free(h->b->b.ctx, h, h->size);
}

void lbdl_handle_free(lbdl_handle *h) {
  bdl *b = h->b;
  fini(h);
  h->kind = LBDL_FREED;
  if (h->prev) h->prev->next = h->next;
  else b->handles = h->next;
  if (h->next) h->next->prev = h->prev;
  h->next = h->prev = NULL;
  if (b->last_freed) b->last_freed->next = h;
  else b->freed = h;
  b->last_freed = h;
  if (++b->n_freed > FREED_KEPT) {
    lbdl_handle *oldest = b->freed;
    b->freed = oldest->next;
    b->n_freed--;
    drop(oldest);
  }
}

void lbdl_handles_close(bdl *b) {
  while (b->handles) lbdl_handle_free(b->handles);
  while (b->freed) {
    lbdl_handle *h = b->freed;
    b->freed = h->next;
    drop(h);
  }
  b->last_freed = NULL;
}

bool lbdl_enter_handle(const void *handle, lbdl_handle_kind kind) {
  static const char *const what[] = {
    [LBDL_FUNCTION] = "bdl_function", [LBDL_CELL] = "bdl_cell", [LBDL_PROGRAM] = "bdl_program", [LBDL_FREED] = "handle",
  };
  const lbdl_handle *h = handle;
  if (!h || h->magic != MAGIC || !lbdl_enter(h->b)) return false;
  if (h->kind == kind) return true;
  if (h->kind == LBDL_FREED) lbdl_refuse(h->b, BDL_EVALUE, "a %s is used after it was freed", what[kind]);
  else lbdl_refuse(h->b, BDL_ETYPE, "a %s was given where a %s is needed", what[h->kind], what[kind]);
  lbdl_leave(h->b, false);
  return false;
}

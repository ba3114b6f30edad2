/*
** host_cell.c -- bdl.h: States, read and written by the host.
*/
#include <string.h>

#include "base/context.h"
#include "binding/host.h"
#include "binding/state_lua.h"

struct bdl_cell {
  lbdl_handle h;
  bdl_state *state; /* a reference */
  int leaf;
};

typedef struct request {
  const char *path;
  bdl_state *state;
  int leaf;
} request;

static int find_body(lua_State *L) {
  request *r = lua_touserdata(L, 1);
  lbdl_push_field(L, "bdl.host", "find_state");
  lua_pushstring(L, r->path);
  lua_call(L, 1, 2);
  r->leaf = (int)lua_tointeger(L, -1);
  bdl_state *s = lbdl_check_state(L, -2);
  bdl_state_ref(s);
  r->state = s;
  return 0;
}

static bdl_cell *find(bdl *b, const char *path) {
  request r = {.path = path};
  bdl_cell *c = NULL;
  if (!path) lbdl_refuse(b, BDL_EVALUE, "bdl_cell_find: no path was given");
  else if (lbdl_protect(b, find_body, &r)) {
    c = lbdl_handle_new(b, LBDL_CELL, sizeof *c);
    if (c) c->state = r.state, c->leaf = r.leaf;
    else bdl_state_unref(r.state);
  }
  return c;
}

bdl_cell *bdl_cell_find(bdl *b, const char *path) {
  if (!lbdl_enter(b)) return NULL;
  bdl_cell *c = find(b, path);
  lbdl_leave(b, true);
  return c;
}

void lbdl_cell_fini(bdl *b, void *p) {
  (void)b;
  bdl_state_unref(((bdl_cell *)p)->state);
}

void bdl_cell_free(bdl_cell *c) {
  if (!lbdl_enter_handle(c, LBDL_CELL)) return;
  bdl *b = c->h.b;
  lbdl_handle_free(&c->h);
  lbdl_leave(b, true);
}

/* ---- numbers -------------------------------------------------------------------------------------------------- */

typedef struct transfer {
  bdl_cell *cell;
  const bdl_array *a;
} transfer;

static bdl_leaf *leaf_of(lua_State *L, const bdl_cell *c) {
  lbdl_check(L, bdl_state_check_alive(c->state));
  return &c->state->leaf[c->leaf];
}

static int read_body(lua_State *L) {
  const transfer *t = lua_touserdata(L, 1);
  const bdl_leaf *leaf = leaf_of(L, t->cell);
  bdl_aval type;
  const bdl_unit *unit;
  bdl_tensor packed;
  lbdl_check_array(L, "array", 1, t->a, true, &type, &unit);
  const double factor = lbdl_fit(L, "State", t->cell->leaf + 1, &type, unit, &leaf->value.aval, leaf->unit);
  lbdl_check(L, bdl_tensor_pack(&leaf->value, &packed));
  lbdl_scaled(t->a->data, bdl_tensor_data(&packed), &type, factor);
  bdl_tensor_unref(&packed);
  return 0;
}

/* The leaf in memory that nobody shares, keep: with its numbers. */
static void make_own(lua_State *L, bdl_leaf *leaf, bool keep) {
  bdl_tensor t, packed;
  if (leaf->value.buf->refs == 1 && bdl_tensor_contiguous(&leaf->value)) return;
  lbdl_check(L, bdl_tensor_new(leaf->value.buf->device, &leaf->value.aval, &t));
  if (keep) {
    bdl_status s = bdl_tensor_pack(&leaf->value, &packed);
    if (s != BDL_OK) bdl_tensor_unref(&t);
    lbdl_check(L, s);
    memcpy(bdl_tensor_data(&t), bdl_tensor_data(&packed), bdl_aval_bytes(&t.aval));
    bdl_tensor_unref(&packed);
  }
  bdl_tensor_unref(&leaf->value);
  leaf->value = t;
}

static int write_body(lua_State *L) {
  const transfer *t = lua_touserdata(L, 1);
  bdl_leaf *leaf = leaf_of(L, t->cell);
  bdl_aval type;
  const bdl_unit *unit;
  lbdl_check_array(L, "array", 1, t->a, true, &type, &unit);
  lbdl_check(L, lbdl_check_booleans(lbdl_ctx(L), t->a->data, &type));
  const double factor = lbdl_fit(L, "State", t->cell->leaf + 1, &type, unit, &leaf->value.aval, leaf->unit);
  make_own(L, leaf, false);
  lbdl_check(L, bdl_tensor_fetch(&leaf->value));
  bdl_buffer_changed(leaf->value.buf);
  lbdl_scaled(bdl_tensor_data(&leaf->value), t->a->data, &type, 1 / factor);
  return 0;
}

static int view_body(lua_State *L) {
  bdl_leaf *leaf = leaf_of(L, lua_touserdata(L, 1));
  make_own(L, leaf, true);
  lbdl_check(L, bdl_tensor_fetch(&leaf->value));
  bdl_buffer_changed(leaf->value.buf); /* it may be, through the view */
  return 0;
}

static int move(bdl_cell *c, const bdl_array *a, lua_CFunction body) {
  if (!lbdl_enter_handle(c, LBDL_CELL)) return 1;
  bdl *b = c->h.b;
  if (!a) return lbdl_leave(b, lbdl_refuse(b, BDL_EVALUE, "no array was given"));
  return lbdl_leave(b, lbdl_protect(b, body, &(transfer){c, a}));
}

int bdl_cell_read(bdl_cell *c, const bdl_array *a) { return move(c, a, read_body); }
int bdl_cell_write(bdl_cell *c, const bdl_array *a) { return move(c, a, write_body); }

int bdl_cell_view(bdl_cell *c, bdl_array *a) {
  if (!lbdl_enter_handle(c, LBDL_CELL)) return 1;
  bdl *b = c->h.b;
  if (!a) return lbdl_leave(b, lbdl_refuse(b, BDL_EVALUE, "no array was given"));
  const bool done = lbdl_protect(b, view_body, c);
  if (done) {
    const bdl_leaf *leaf = &c->state->leaf[c->leaf];
    lbdl_describe(a, bdl_tensor_data(&leaf->value), &leaf->value.aval, leaf->unit, BDL_PADDED);
  }
  return lbdl_leave(b, done);
}

/*
** online_lua.c -- the structure of a step for lua/bdl/online.  Inputs, outputs, operations and operands are numbered from 1.
*/
#include <string.h>

#include "base/context.h"
#include "binding/traced.h"
#include "ir/edit.h"
#include "online/online.h"

static void set_int(lua_State *L, const char *key, lua_Integer v) {
  lua_pushinteger(L, v);
  lua_setfield(L, -2, key);
}

static int64_t number_at(lua_State *L, int list, int64_t i) {
  lua_rawgeti(L, list, i + 1);
  const int64_t n = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n;
}

static void *room(lua_State *L, int64_t n, size_t size) { return lua_newuserdatauv(L, ((size_t)n + 1) * size, 0); }

/* Lists of input and output numbers at ins and outs. */
static bdl_step step_at(lua_State *L, const bdl_prog *p, int ins, int outs) {
  const int n = (int)lua_rawlen(L, ins);
  bdl_atom *in = room(L, n, sizeof *in), *out = room(L, n, sizeof *out);
  for (int a = 0; a < n; a++) {
    in[a] = p->inputs.v[number_at(L, ins, a) - 1];
    out[a] = p->outputs[number_at(L, outs, a) - 1];
  }
  return (bdl_step){.p = p, .n_hidden = n, .in = in, .out = out};
}

/* core.online_flatten(program) -> program */
static int l_flatten(lua_State *L) {
  const bdl_prog *p = lbdl_check_program(L, 1);
  lbdl_check(L, bdl_online_flatten(p, lbdl_new_program(L)));
  return 1;
}

/* The number of the input that x is, perhaps cast; 0: none. */
static int64_t input_of(const bdl_prog *p, bdl_atom x) {
  for (const bdl_eqn *e; (e = bdl_ir_maker(p, x)) && (e->prim == BDL_P_cast || e->prim == BDL_P_copy);) x = e->in[0];
  return p->vars.v[x].kind == BDL_V_INPUT ? p->vars.v[x].index + 1 : 0;
}

/* {name, body, inputs, weights, leads, recurrent, operands = {{input, dtype, shape, atom}..}, result = .., file, line, first} */
static void push_op(lua_State *L, const bdl_prog *p, const bdl_eqn *e, int first, bool leads, bool recurrent) {
  lua_createtable(L, 0, 10);
  lua_pushboolean(L, leads);
  lua_setfield(L, -2, "leads");
  lua_pushboolean(L, recurrent);
  lua_setfield(L, -2, "recurrent");
  bdl_prog_ref(*lbdl_new_program(L) = e->params[0].progs[0]);
  lua_setfield(L, -2, "body");
  lua_pushstring(L, e->params[0].progs[0]->name);
  lua_setfield(L, -2, "name");
  set_int(L, "inputs", e->params[1].i);
  set_int(L, "weights", e->params[2].i);
  set_int(L, "first", first + 1);
  lua_createtable(L, e->n_in, 0);
  for (int k = 0; k <= e->n_in; k++) {
    const bdl_atom x = k < e->n_in ? e->in[k] : e->out[0];
    lbdl_push_type(L, bdl_aval_of(p, x));
    set_int(L, "atom", x);
    set_int(L, "input", input_of(p, x));
    if (k < e->n_in) lua_rawseti(L, -2, k + 1);
    else lua_setfield(L, -3, "result");
  }
  lua_setfield(L, -2, "operands");
  if (!e->src.file) return;
  lua_pushstring(L, e->src.file);
  lua_setfield(L, -2, "file");
  set_int(L, "line", e->src.line);
}

/* A matrix of output numbers, 0 where there is none. */
static void push_outputs(lua_State *L, const int *v, int rows, int cols) {
  lua_createtable(L, rows, 0);
  for (int a = 0; a < rows; a++) {
    lua_createtable(L, cols, 0);
    for (int b = 0; b < cols; b++) {
      lua_pushinteger(L, v[a * cols + b] + 1);
      lua_rawseti(L, -2, b + 1);
    }
    lua_rawseti(L, -2, a + 1);
  }
}

/* Operations inside of the equations of p, which have no traces: {name, inside, file, line} appended to the list on top. */
static void push_inner(lua_State *L, const bdl_prog *p, const char *inside) {
  for (int64_t i = 0; i < p->eqns.n; i++) {
    const bdl_eqn *e = &p->eqns.v[i];
    if (e->prim == BDL_P_etrace_op && inside) {
      lua_createtable(L, 0, 4);
      lua_pushstring(L, e->params[0].progs[0]->name);
      lua_setfield(L, -2, "name");
      lua_pushstring(L, inside);
      lua_setfield(L, -2, "inside");
      if (e->src.file) {
        lua_pushstring(L, e->src.file);
        lua_setfield(L, -2, "file");
        set_int(L, "line", e->src.line);
      }
      lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    if (e->prim == BDL_P_etrace_op) continue;
    for (int k = 0; k < e->n_params; k++)
      for (int b = 0; e->params[k].kind == BDL_PK_PROGS && b < e->params[k].n; b++)
        push_inner(L, e->params[k].progs[b], bdl_prims[e->prim].name);
  }
}

static int structure_gc(lua_State *L) {
  bdl_structure *z = lua_touserdata(L, 1);
  if (z->arena.ctx) bdl_online_structure_fini(z);
  return 0;
}

/*
** core.online_structure(flat program, {input of each hidden value..}, {output..}) ->
**   program       inputs -> outputs, operands of the operations, derivatives
**   d, df         d[a][b]: the output that is dh_a/dh_b; df[a][j]: dh_a/dy_j; 0: there is none
**   group         of each hidden value
**   ops           see push_op; first: the output that is the first operand
**   inner         operations inside of loops and branches: {name, inside, file, line}
**   cuts          {hidden =, op =, prim =, file =, line =}
**   before, after, inputs  atoms of the hidden values and of all inputs
*/
static int l_structure(lua_State *L) {
  const bdl_prog *p = lbdl_check_program(L, 1);
  const bdl_step s = step_at(L, p, 2, 3);
  bdl_structure *z = lua_newuserdatauv(L, sizeof *z, 0);
  *z = (bdl_structure){0};
  luaL_setmetatable(L, "bdl.Structure");
  lbdl_check(L, bdl_online_structure(&s, z));
  lua_createtable(L, 0, 8);
  bdl_prog_ref(*lbdl_new_program(L) = z->tangents);
  lua_setfield(L, -2, "program");
  push_outputs(L, z->d, z->n_hidden, z->n_hidden);
  lua_setfield(L, -2, "d");
  push_outputs(L, z->df, z->n_hidden, z->n_ops);
  lua_setfield(L, -2, "df");
  lua_createtable(L, z->n_ops, 0);
  for (int j = 0; j < z->n_ops; j++) {
    push_op(L, p, &p->eqns.v[z->op[j]], z->operand[j], z->leads[j], z->recurrent[j]);
    lua_rawseti(L, -2, j + 1);
  }
  lua_setfield(L, -2, "ops");
  const char *const lists[] = {"group", "before", "after"};
  for (int which = 0; which < 3; which++) {
    lua_createtable(L, z->n_hidden, 0);
    for (int a = 0; a < z->n_hidden; a++) {
      lua_pushinteger(L, which == 0 ? z->group[a] + 1 : which == 1 ? s.in[a] : s.out[a]);
      lua_rawseti(L, -2, a + 1);
    }
    lua_setfield(L, -2, lists[which]);
  }
  lua_createtable(L, (int)p->inputs.n, 0);
  for (int64_t i = 0; i < p->inputs.n; i++) {
    lua_pushinteger(L, p->inputs.v[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "inputs");
  lua_newtable(L);
  push_inner(L, p, NULL);
  lua_setfield(L, -2, "inner");
  lua_createtable(L, z->n_cuts, 0);
  for (int i = 0; i < z->n_cuts; i++) {
    const bdl_eqn *e = &p->eqns.v[z->cut[i].eqn];
    lua_createtable(L, 0, 5);
    set_int(L, "hidden", z->cut[i].hidden + 1);
    set_int(L, "op", z->cut[i].op + 1);
    lua_pushstring(L, bdl_prims[e->prim].name);
    lua_setfield(L, -2, "prim");
    if (e->src.file) {
      lua_pushstring(L, e->src.file);
      lua_setfield(L, -2, "file");
      set_int(L, "line", e->src.line);
    }
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "cuts");
  return 1;
}

/* core.online_perturb(flat program, {input..}, {output..}, {group..} or nil, {flag of each operand of each operation..}) -> program */
static int l_perturb(lua_State *L) {
  const bdl_prog *p = lbdl_check_program(L, 1);
  const bdl_step s = step_at(L, p, 2, 3);
  const int64_t n = (int64_t)lua_rawlen(L, 5);
  bool *detached = room(L, n, sizeof *detached);
  int *group = NULL, n_groups = 0;
  for (int64_t i = 0; i < n; i++) {
    lua_rawgeti(L, 5, i + 1);
    detached[i] = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  if (lua_istable(L, 4)) {
    group = room(L, s.n_hidden, sizeof *group);
    for (int a = 0; a < s.n_hidden; a++) {
      group[a] = (int)number_at(L, 4, a) - 1;
      n_groups = BDL_MAX(n_groups, group[a] + 1);
    }
  }
  lbdl_check(L, bdl_online_perturb(&s, group, n_groups, detached, lbdl_new_program(L)));
  return 1;
}

static int neighbours_gc(lua_State *L) {
  bdl_neighbours *z = lua_touserdata(L, 1);
  if (z->arena.ctx) bdl_online_neighbours_fini(z);
  return 0;
}

/* Sets the field `key` to a tensor of these elements. */
static void set_tensor(lua_State *L, const bdl_prog *p, const char *key, bdl_aval a, const void *data) {
  bdl_tensor t = {0};
  bdl_device *cpu = bdl_device_cpu(p->ctx);
  lbdl_check(L, cpu ? bdl_tensor_new(cpu, &a, &t) : BDL_ENOMEM);
  if (bdl_aval_bytes(&a)) memcpy(bdl_tensor_data(&t), data, bdl_aval_bytes(&a));
  lbdl_push_concrete(L, t, NULL);
  lua_setfield(L, -2, key);
}

/* core.online_neighbours(flat program, {input..}, {output..}, {members of a group..}, known, order, most) ->
** {width, lanes, at = i32[n, width], direct = bool[n, width, width], lane = i32[n]};  known: {[input] = tensor}, or false: all
** depends on all;  most: elements of the Jacobian */
static int l_neighbours(lua_State *L) {
  const bdl_prog *p = lbdl_check_program(L, 1);
  const bdl_step s = step_at(L, p, 2, 3);
  const int n_members = (int)lua_rawlen(L, 4);
  int *members = room(L, n_members, sizeof *members);
  const bdl_tensor **known = room(L, p->inputs.n, sizeof *known);
  for (int k = 0; k < n_members; k++) members[k] = (int)number_at(L, 4, k) - 1;
  for (int64_t i = 0; i < p->inputs.n; i++) {
    known[i] = NULL;
    if (!lua_istable(L, 5)) continue;
    lua_rawgeti(L, 5, i + 1);
    const lbdl_tensor *x = lbdl_test_tensor(L, -1);
    if (x && !lbdl_traced(x)) known[i] = &x->t;
    lua_pop(L, 1);
  }
  bdl_neighbours *z = lua_newuserdatauv(L, sizeof *z, 0);
  *z = (bdl_neighbours){0};
  luaL_setmetatable(L, "bdl.Neighbours");
  lbdl_check(L, bdl_online_neighbours(&s, members, n_members, lua_istable(L, 5) ? known : NULL, (int)luaL_checkinteger(L, 6),
                                      luaL_checkinteger(L, 7), z));
  lua_createtable(L, 0, 5);
  set_int(L, "width", z->width);
  set_int(L, "lanes", z->lanes);
  set_tensor(L, p, "at", bdl_aval_make(BDL_I32, 2, (int64_t[]){z->n, z->width}), z->at);
  set_tensor(L, p, "direct", bdl_aval_make(BDL_BOOL, 3, (int64_t[]){z->n, z->width, z->width}), z->direct);
  set_tensor(L, p, "lane", bdl_aval_make(BDL_I32, 1, &z->n), z->lane);
  return 1;
}

static int term_gc(lua_State *L) {
  bdl_online_term_fini(lua_touserdata(L, 1));
  return 0;
}

/* core.online_term(flat program, operation, operand) -> {lift, spread, fold, x, phi, psi, pairs, r, i, k, q}, or nil and why not */
static int l_term(lua_State *L) {
  const bdl_prog *p = lbdl_check_program(L, 1);
  int64_t left = luaL_checkinteger(L, 2), at = -1;
  while (left > 0 && ++at < p->eqns.n) left -= p->eqns.v[at].prim == BDL_P_etrace_op;
  if (left > 0 || at < 0) return lbdl_error(L, BDL_EINTERNAL, "online_term: no such operation");
  bdl_term *t = lua_newuserdatauv(L, sizeof *t, 0);
  *t = (bdl_term){0};
  luaL_setmetatable(L, "bdl.Term");
  lbdl_check(L, bdl_online_term(p, &p->eqns.v[at], (int)luaL_checkinteger(L, 3) - 1, t));
  if (t->unsupported) {
    lua_pushnil(L);
    lua_pushstring(L, t->unsupported);
    return 2;
  }
  lua_createtable(L, 0, 12);
  bdl_prog *const programs[] = {t->lift, t->spread, t->fold};
  static const char *const names[] = {"lift", "spread", "fold"};
  for (int k = 0; k < 3; k++) {
    bdl_prog_ref(*lbdl_new_program(L) = programs[k]);
    lua_setfield(L, -2, names[k]);
  }
  const bool flags[] = {t->has_x, t->has_phi, t->has_psi, t->pairs};
  static const char *const flag[] = {"x", "phi", "psi", "pairs"};
  for (int k = 0; k < 4; k++) {
    lua_pushboolean(L, flags[k]);
    lua_setfield(L, -2, flag[k]);
  }
  set_int(L, "r", t->r);
  set_int(L, "i", t->i);
  set_int(L, "k", t->k);
  set_int(L, "q", t->q);
  return 1;
}

/* core.program_text(program) -> what it looks like, constants abbreviated */
static int l_text(lua_State *L) {
  const bdl_prog *p = lbdl_check_program(L, 1);
  bdl_str text;
  bdl_str_init(&text, p->ctx);
  const bdl_status s = bdl_ir_print_short(p, 16, &text);
  lua_pushlstring(L, text.s ? text.s : "", (size_t)text.n);
  bdl_str_fini(&text);
  lbdl_check(L, s);
  return 1;
}

static void new_type(lua_State *L, const char *name, lua_CFunction gc) {
  luaL_newmetatable(L, name);
  lua_pushcfunction(L, gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

void lbdl_open_online(lua_State *L) {
  new_type(L, "bdl.Structure", structure_gc);
  new_type(L, "bdl.Term", term_gc);
  new_type(L, "bdl.Neighbours", neighbours_gc);
  static const luaL_Reg functions[] = {
    {"online_flatten", l_flatten}, {"online_structure", l_structure}, {"online_perturb", l_perturb}, {"online_term", l_term},
    {"online_neighbours", l_neighbours}, {"program_text", l_text}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

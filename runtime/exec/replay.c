/*
** replay.c -- hashes of results, written or compared.
*/
#include "exec/replay.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "prim/prim.h"

#define MAGIC "bdl recording 1\n"

enum { HEADER_MOST = 1 << 28 };
static const uint64_t PROGRAM = 1ull << 63, END = UINT64_MAX;

typedef struct entry {
  uint64_t key; /* PROGRAM, END, or number of the instruction in its plan */
  uint64_t hash;
} entry;

typedef struct bdl_replay {
  FILE *file;
  char *path;
  bool checks;
  int64_t n;                /* results so far */
  BDL_VEC(int64_t) runs;    /* of each instruction of the plan that runs */
} bdl_replay;

void bdl_replay_stop(bdl_exec_context *x) {
  bdl_replay *p = x->replay;
  if (!p) return;
  if (p->file) fclose(p->file);
  if (p->path) bdl_free(x->ctx, p->path, strlen(p->path) + 1);
  BDL_VEC_FREE(x->ctx, p->runs);
  bdl_free(x->ctx, p, sizeof *p);
  x->replay = NULL;
}

static bdl_status failed(const bdl_exec_context *x, const char *what) {
  return bdl_fail(x->ctx, BDL_EIO, "%s: %s", x->replay->path, what ? what : strerror(errno));
}

static bdl_status start(bdl_exec_context *x, const char *path, bool checks) {
  TRY(bdl_need_files(x->ctx, path));
  if (x->replay) return bdl_fail(x->ctx, BDL_EVALUE, "%s: a recording is made or compared already", path);
  bdl_replay *p = x->replay = bdl_calloc(x->ctx, sizeof *p);
  if (!p) return BDL_ENOMEM;
  p->checks = checks;
  p->path = bdl_strdup(x->ctx, path);
  if (!p->path) return BDL_ENOMEM;
  p->file = fopen(path, checks ? "rb" : "wb");
  return p->file ? BDL_OK : failed(x, NULL);
}

static bdl_status write_header(bdl_exec_context *x, const char *header, size_t n) {
  const uint64_t size = n;
  FILE *f = x->replay->file;
  const bool ok = fwrite(MAGIC, 1, sizeof MAGIC - 1, f) == sizeof MAGIC - 1 && fwrite(&size, sizeof size, 1, f) == 1 &&
                  fwrite(header, 1, n, f) == n;
  return ok ? BDL_OK : failed(x, NULL);
}

static bdl_status skip_header(bdl_exec_context *x) {
  char magic[sizeof MAGIC - 1];
  uint64_t size = 0;
  FILE *f = x->replay->file;
  const bool ok = fread(magic, 1, sizeof magic, f) == sizeof magic && memcmp(magic, MAGIC, sizeof magic) == 0 &&
                  fread(&size, sizeof size, 1, f) == 1 && size <= HEADER_MOST && fseek(f, (long)size, SEEK_CUR) == 0;
  return ok ? BDL_OK : failed(x, "no recording of bdl run --record");
}

bdl_status bdl_replay_record(bdl_exec_context *x, const char *path, const char *header, size_t n) {
  const bool own = !x->replay;
  bdl_status s = start(x, path, false);
  if (s == BDL_OK) s = write_header(x, header, n);
  if (s != BDL_OK && own) bdl_replay_stop(x);
  return s;
}

bdl_status bdl_replay_check(bdl_exec_context *x, const char *path) {
  const bool own = !x->replay;
  bdl_status s = start(x, path, true);
  if (s == BDL_OK) s = skip_header(x);
  if (s != BDL_OK && own) bdl_replay_stop(x);
  return s;
}

/* Writes e, or reads what the recording has in its place. */
static bdl_status exchange(bdl_exec_context *x, const entry *e, entry *there) {
  bdl_replay *p = x->replay;
  if (p->checks) return fread(there, sizeof *there, 1, p->file) == 1 ? BDL_OK : failed(x, "the recording was cut short");
  *there = *e;
  return fwrite(e, sizeof *e, 1, p->file) == 1 ? BDL_OK : failed(x, NULL);
}

bdl_status bdl_replay_end(bdl_exec_context *x, int64_t *n) {
  bdl_replay *p = x->replay;
  entry there;
  if (!p) return bdl_fail(x->ctx, BDL_EVALUE, "no recording is made or compared");
  const entry end = {END, (uint64_t)p->n};
  bdl_status s = exchange(x, &end, &there);
  *n = p->n;
  if (s == BDL_OK && (there.key != END || there.hash != end.hash))
    s = bdl_fail(x->ctx, BDL_EVALUE, "%s: the recording goes on where this run has ended, after %lld results", p->path, (long long)p->n);
  if (s == BDL_OK && !p->checks && fflush(p->file) != 0) s = failed(x, NULL);
  bdl_replay_stop(x);
  return s;
}

bdl_status bdl_replay_begin(bdl_exec_context *x, const bdl_plan *plan) {
  bdl_replay *p = x->replay;
  const entry e = {PROGRAM, bdl_ir_hash(plan->prog)};
  entry there;
  if (x->running == 0) {
    p->runs.n = 0;
    for (int32_t k = 0; k < plan->n_insts; k++)
      if (!BDL_PUSH(x->ctx, p->runs, 0)) return BDL_ENOMEM;
  }
  TRY(exchange(x, &e, &there));
  if (there.key == e.key && there.hash == e.hash) return BDL_OK;
  bdl_fail(x->ctx, BDL_EVALUE, "replay: %s, after %lld equal results",
           there.key == END ? "the recording ends here" : "another program runs here than in the recording", (long long)p->n);
  if (plan->block.n > 0) bdl_where(x->ctx, plan->block.v[0].src);
  return BDL_EVALUE;
}

/* ---- results ------------------------------------------------------------------------------------------ */

static const char *at(char *const *frame, bdl_ref r) { return frame[r.slot] + r.offset; }

static uint64_t hash_group(const bdl_group *g, char *const *frame, uint64_t h) {
  for (int32_t k = 0; k < g->n_insts; k++) {
    const bdl_tile_inst *t = &g->insts[k];
    const bdl_operand *z = &g->operands[t->z];
    if (t->kind == BDL_T_REDUCE) {
      h = bdl_hash(at(frame, g->operands[t->y].ref), (size_t)g->operands[t->y].size, h);
    } else if (t->kind == BDL_T_COMPACT) { /* indices behind their number are nobody's */
      int32_t n;
      memcpy(&n, at(frame, g->operands[t->y].ref), sizeof n);
      h = bdl_hash(at(frame, z->ref), (size_t)n * sizeof n, h + (uint64_t)n);
    } else if (z->kind == BDL_O_ARRAY) {
      h = bdl_hash(at(frame, z->ref), (size_t)g->n * (size_t)z->size, h);
    } else if (z->kind == BDL_O_SCALAR) {
      h = bdl_hash(at(frame, z->ref), (size_t)z->size, h);
    }
  }
  return h;
}

static bdl_prim_id prim_of(const bdl_inst *i) {
  if (i->kind != BDL_I_GROUP) return i->prim;
  for (int32_t k = i->group->n_prologue; k < i->group->n_insts; k++)
    if (i->group->insts[k].kind != BDL_T_LOAD) return i->group->insts[k].prim;
  return i->prim;
}

bdl_status bdl_replay_done(bdl_exec_context *x, const bdl_inst *i, char *const *frame) {
  bdl_replay *p = x->replay;
  entry e = {(uint64_t)i->id, 0}, there;
  if (i->kind == BDL_I_GROUP) e.hash = hash_group(i->group, frame, 0);
  else if (i->kind == BDL_I_KERNEL)
    for (int32_t k = 0; k < i->kernel.n_out; k++) e.hash = bdl_hash(at(frame, i->kernel.out[k]), bdl_aval_bytes(&i->kernel.out_aval[k]), e.hash);
  else return BDL_OK; /* what its body made was looked at */
  const int64_t runs = i->id < p->runs.n ? ++p->runs.v[i->id] : 0;
  TRY(exchange(x, &e, &there));
  if (there.key == e.key && there.hash == e.hash) {
    p->n++;
    return BDL_OK;
  }
  if (there.key != e.key)
    return bdl_fail(x->ctx, BDL_EVALUE, "replay: `%s` runs here, in the recording it was something else, after %lld equal results",
                    bdl_prims[prim_of(i)].name, (long long)p->n);
  return bdl_fail(x->ctx, BDL_EVALUE, "replay: `%s` gives other numbers than in the recording, at its run %lld in this call, after %lld equal results",
                  bdl_prims[prim_of(i)].name, (long long)runs, (long long)p->n);
}

/*
** describe.c -- what a plan becomes for a GPU, as text: the steps of the host as a comment, then the program.
*/
#include "gpu/program.h"
#include "prim/prim.h"

static void where(const bdl_inst *i, bdl_str *out) {
  if (i->src.file) bdl_str_addf(out, "; %s:%" PRId32, i->src.file, i->src.line);
  bdl_str_addf(out, "\n");
}

static void steps(const bdl_gpu_steps *b, int indent, bdl_str *out) {
  for (int64_t k = 0; k < b->n; k++) {
    const bdl_gpu_step *s = &b->v[k];
    bdl_str_addf(out, "** %*s", indent, "");
    switch (s->kind) {
      case BDL_G_KERNEL: bdl_str_addf(out, "launch k%" PRId32 ", at most %" PRId64 " threads", s->kernel, s->work); break;
      case BDL_G_SCAN: bdl_str_addf(out, "%" PRId64 " times", s->inst->scan.length); break;
      case BDL_G_WHILE: bdl_str_addf(out, "while"); break;
      case BDL_G_COND: bdl_str_addf(out, "one of %" PRId64 " branches", s->body.n); break;
      case BDL_G_PRODUCT:
        bdl_str_addf(out, "cuBLAS: %s", bdl_prims[s->inst->prim].name);
        if (s->kernel >= 0) bdl_str_addf(out, ", k%" PRId32 " where its epilogues cannot", s->kernel);
        break;
      case BDL_G_COLLECTIVE: bdl_str_addf(out, "between processes: %s", bdl_prims[s->inst->prim].name); break;
      case BDL_G_HOST: bdl_str_addf(out, "on the host: %s", bdl_prims[s->inst->prim].name); break;
    }
    where(s->inst, out);
    steps(&s->cond, indent + 2, out);
    if (s->kind != BDL_G_COND) steps(&s->body, indent + 2, out);
    for (int64_t j = 0; s->kind == BDL_G_COND && j < s->body.n; j++) {
      bdl_str_addf(out, "** %*sbranch %" PRId64 "\n", indent + 2, "", j);
      steps(&s->body.v[j].body, indent + 4, out);
    }
  }
}

bdl_status bdl_gpu_describe(bdl_plan *plan, bdl_str *out) {
  bdl_gpu_program p;
  TRY(bdl_gpu_emit(plan, false, &p));
  bdl_str_addf(out, "/*\n** the host:\n");
  steps(&p.steps, 2, out);
  bdl_str_addf(out, "*/\n");
  bdl_str_add(out, p.text.s, p.text.n);
  bdl_gpu_program_free(&p);
  return out->failed ? BDL_ENOMEM : BDL_OK;
}

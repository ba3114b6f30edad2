/*
** text.c -- what differs by target in a few words.
*/
#include "export/build.h"

#define ADD BDL_ADD

void bdl_export_sync(bdl_exporter *m, int indent) {
  if (m->to->collective) ADD("%*ssync();\n", indent, "");
}

void bdl_export_copy(bdl_exporter *m, int indent, const char *to, const char *from, size_t bytes) {
  ADD("%*s%s(%s, %s, %zu);\n", indent, "", m->to->collective ? "copy_bytes" : "memmove", to, from, bytes);
}

/* C++ has no compound literals: there, macros of the library stand for them. */
void bdl_export_open(bdl_exporter *m, const char *type, int64_t n) {
  if (!m->to->collective) ADD(n ? "(const %s[]){" : "&(const %s){", type);
  else if (n) ADD("LIST(%s, %" PRId64 ", ", type, n);
  else ADD("AT(%s, ", type);
}

void bdl_export_close(bdl_exporter *m) { ADD(m->to->collective ? ")" : "}"); }

void bdl_export_each(bdl_exporter *m, const char *i, int64_t n) {
  if (m->to->collective) ADD("for (int32_t %s = THREAD; %s < %" PRId64 "; %s += THREADS)", i, i, n, i);
  else ADD("for (int32_t %s = 0; %s < %" PRId64 "; %s++)", i, i, n, i);
}

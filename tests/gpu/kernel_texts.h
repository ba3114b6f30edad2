/*
** kernel_texts.h -- one equation a row, for tests of kernels over many shapes.
*/
#ifndef T_KERNEL_TEXTS_H
#define T_KERNEL_TEXTS_H

#include <stdbool.h>

typedef struct t_kernel_text {
  bool of_bool;     /* defined on bool, too */
  int extent;       /* operand 1 is an index below it; 0: none is */
  int starts;       /* operands from this one on are starts of a slice; 0: none are */
  const char *text; /* inputs) { results = equation; return results; T: a dtype */
} t_kernel_text;

extern const t_kernel_text t_kernel_texts[];
extern const int t_n_kernel_texts;

#endif

/*
** program.h -- the text of a plan on its way through the system's C compiler: names, flags, the shell that runs it, and
** what proves that a file is whole.
*/
#ifndef BDL_PROGRAM_H
#define BDL_PROGRAM_H

#include "base/base.h"

#include "native/abi.h"

enum { BDL_PROGRAM_KEY = 33, BDL_PROGRAM_FLAGS = 1024 };

/* An instruction set of the tile kernels; both tiers are compiled with the same flags. */
typedef struct bdl_program_target {
  const char *isa, *march, *flags; /* march: as C compilers call the least processor that has it */
} bdl_program_target;

/* Of this family of processors, by either name; NULL: there is none. */
const bdl_program_target *bdl_program_target_named(const char *name);
const bdl_program_target *bdl_program_targets(int *n);

/* BDL_CC, else cc. */
const char *bdl_program_compiler(void);
/* The compiler and its flags, for a shell. */
void bdl_program_command(const bdl_program_target *t, char command[BDL_PROGRAM_FLAGS]);

/* The sum of what all programs have in common: keys go on from it. */
void bdl_program_common(bdl_sha256 *s);
/* What a program is: 32 digits from its text, its flags and, where it matters whose work it is, the compiler (or ""). */
void bdl_program_key(const bdl_sha256 *common, const char *text, const bdl_program_target *t, const char *compiler,
                     char key[BDL_PROGRAM_KEY]);

/* The whole text into a file; what it exports is called bdl_native_<key>.  false: it cannot be written. */
bool bdl_program_write(const char *path, const char *key, const char *text);
/* The parts in turn into a file, whole or not at all. */
bool bdl_program_write_parts(const char *path, const char *const *parts, int n);

/* Appends the SHA-256 of file $SEALED to it, in a script. */
#define BDL_PROGRAM_SEAL "sum=$(sha256sum <\"$SEALED\") && printf %s \"$sum\" >>\"$SEALED\""
/* Is all of a sealed file there, as it was written?  A part of a program may kill the process that loads it. */
bool bdl_program_whole(const char *path);

/* The program of a key in an open library; NULL: it is not there. */
const bdl_native_code *bdl_program_in(void *library, const char *key);

/* A script of sh with arguments $1 .. to its end, in a process group of its own: Ctrl-C is not for it, but ends it where `interrupted`
** is given.  Its exit status; -1: it cannot be run. */
int bdl_program_shell(const char *script, const char *const *args, int n_args, const volatile int *interrupted);

#endif

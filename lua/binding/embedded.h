/*
** embedded.h -- the modules of lua/bdl and the data of models inside the library; tools/embed.c writes the tables while building.
*/
#ifndef BDL_EMBEDDED_H
#define BDL_EMBEDDED_H

#include <stddef.h>

struct bdl_embedded {
  const char *name;          /* "bdl.nn.lif", for require; NULL ends the table */
  const char *file;          /* "[bdl]/nn/lif.lua", for messages; lua/bdl/nn/lif.lua in the source */
  const unsigned char *data; /* bytecode of this build's Lua, with debug information; its chunk name is "@" file */
  size_t size;
  const char *docs;          /* of modules: the comments of the source, on their lines, each run with the line of code behind it */
};

extern const struct bdl_embedded bdl_embedded_modules[]; /* by name of file */
extern const struct bdl_embedded bdl_embedded_files[];   /* as they are; name and file: models/data/digits.npz */

#endif

/*
** world_lua.c -- the processes that run a program together (device/world.h), for lua/bdl/augment/pmap.lua and the command line.
*/
#include <limits.h>
#include <stdio.h>
#include <time.h>

#include "binding/lbdl.h"
#include "device/world.h"

/* core.world() -> number of processes, this one's rank from 0 */
static int l_world(lua_State *L) {
  bdl_world *w;
  lbdl_check(L, bdl_world_get(lbdl_ctx(L), &w));
  lua_pushinteger(L, w->size);
  lua_pushinteger(L, w->rank);
  return 2;
}

/* core.world_library() -> path of the MPI library; nil: none found */
static int l_library(lua_State *L) {
  char path[PATH_MAX];
  lua_pushstring(L, bdl_world_library(path, sizeof path));
  return 1;
}

/* core.world_end(status): the program of this process is done */
static int l_end(lua_State *L) {
  bdl_world_end(lbdl_ctx(L), (int)luaL_checkinteger(L, 1));
  return 0;
}

/* core.mute(): standard output goes nowhere */
static int l_mute(lua_State *L) {
  if (!freopen("/dev/null", "w", stdout)) return lbdl_error(L, BDL_EIO, "standard output cannot be closed");
  return 0;
}

/* core.sleep(seconds) */
static int l_sleep(lua_State *L) {
  const double s = luaL_checknumber(L, 1);
  const struct timespec t = {.tv_sec = (time_t)s, .tv_nsec = (long)(1e9 * (s - (double)(time_t)s))};
  nanosleep(&t, NULL);
  return 0;
}

void lbdl_open_world(lua_State *L) {
  static const luaL_Reg functions[] = {{"world", l_world}, {"world_library", l_library}, {"world_end", l_end}, {"mute", l_mute},
                                       {"sleep", l_sleep}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

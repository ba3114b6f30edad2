/*
** state_lua.h -- handles of States.
*/
#ifndef LBDL_STATE_H
#define LBDL_STATE_H

#include "binding/lbdl.h"

#define LBDL_STATE "bdl.StateHandle"
bdl_state *lbdl_check_state(lua_State *L, int arg);
void lbdl_push_state(lua_State *L, bdl_state *s); /* with a reference of its own */
void lbdl_push_state_value(lua_State *L, bdl_state *s);

#endif

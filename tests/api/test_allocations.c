/*
** test_allocations.c -- nothing allocates in a loop: a call of a compiled function takes as many blocks for 1,000 steps as for 10, in
** both tiers, with one thread and with two, for an event-driven network with delays, training through time, and online learning.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bdl.h"

/* Blocks taken from the system, by whichever thread. */
static void *counting(void *ud, void *p, size_t osize, size_t nsize) {
  (void)osize;
  if (nsize == 0) {
    free(p);
    return NULL;
  }
  if (!p || nsize > osize) __atomic_fetch_add((int64_t *)ud, 1, __ATOMIC_RELAXED);
  return realloc(p, nsize);
}

/* Each gives a function of no operand that makes `steps` steps. */
static const struct {
  const char *name, *text;
} models[] = {
  {"neurons", "local V = bdl.State(bdl.zeros(3000))\n"
              "local step = function() V.value = bdl.where(V.value:gt(1), 0, V.value*0.99 + bdl.tanh(V.value) + 0.02) end\n"
              "return function() bdl.for_loop(step, {length = steps}) end\n"},
  {"events", "local nn, u, conn = bdl.nn, bdl.units, bdl.conn\n"
             "bdl.environ.set{dt = 0.1*u.ms}\n"
             "local g, V, noise = bdl.State(bdl.zeros(2000)), bdl.State(bdl.zeros(2000)), bdl.random.uniform(0, 0.2, {size = 2000})\n"
             "local line = nn.init_all_states(nn.Delay{2000, entries = {late = 1*u.ms}})\n"
             "local net = conn.fixed_num_post(2000, 2000, 20, {weight = 0.05})\n"
             "return function() bdl.for_loop(function()\n"
             "  local s = V.value:gt(1)\n"
             "  g.value = g.value*0.9 + net(line:at('late'))\n"
             "  V.value = bdl.where(s, 0, V.value*0.98 + g.value + noise)\n"
             "  line:update(bdl.where(s, 1, 0.))\n"
             "end, {length = steps}) end\n"},
  {"training", "local nn = bdl.nn\n"
               "local net, out = nn.init_all_states(nn.GRUCell(4, 16), 8), nn.Linear(16, 2)\n"
               "local weights = nn.Sequential(net, out):states(bdl.ParamState)\n"
               "local adam = bdl.optim.Adam(1e-3)\n"
               "adam:register_trainable_weights(weights)\n"
               "local x = bdl.random.rand(steps, 8, 4)\n"
               "local function loss()\n"
               "  nn.reset_all_states(net, 8)\n"
               "  return bdl.mean(bdl.for_loop(function(x) return (out(net(x)) - 1)^2 end, x))\n"
               "end\n"
               "return function() adam:update(bdl.augment.grad(loss, weights)()) end\n"},
  {"online", "local nn, online = bdl.nn, bdl.online\n"
             "local Net = nn.Module:extend 'Net'\n"
             "function Net:__init() self.cell, self.out = online.nn.GRUCell(4, 16), online.nn.Linear(16, 2) end\n"
             "function Net:update(x) return self.out(self.cell(x)) end\n"
             "local learner = online.compile(Net(), 'D_RTRL', bdl.zeros(8, 4), {batch_size = 8})\n"
             "local adam = bdl.optim.Adam(1e-3)\n"
             "adam:register_trainable_weights(learner:param_states())\n"
             "local x, y = bdl.random.rand(steps, 8, 4), bdl.random.rand(steps, 8, 2)\n"
             "return function()\n"
             "  nn.reset_all_states(learner.model, 8)\n"
             "  learner:reset_state()\n"
             "  adam:update((learner:etrace_grad(x, y, function(x, y) return bdl.mean((learner(x) - y)^2) end)))\n"
             "end\n"},
};

/* Of one call; the least of several, as Lua's tables grow now and then. */
static int64_t blocks(const char *model, int steps, const char *tier, int threads) {
  char text[4096];
  int64_t n = 0, least = INT64_MAX;
  bdl *b = bdl_open(&(bdl_options){.alloc = counting, .alloc_ud = &n, .threads = threads});
  assert_non_null(b);
  snprintf(text, sizeof text, "require('bdl.core').tier('%s')\nlocal steps = %d\nlocal function model()\n%send\n"
           "rawset(_G, 'call', bdl.jit(model()))\n", tier, steps, model);
  if (bdl_run_string(b, text, "model.lua") != 0) fail_msg("%s", bdl_error_text(b));
  for (int call = 0; call < 6; call++) {
    const int64_t before = n;
    if (bdl_run_string(b, "call()", "call.lua") != 0) fail_msg("%s", bdl_error_text(b));
    if (call > 0 && n - before < least) least = n - before;
  }
  bdl_close(b);
  return least;
}

static void no_step_allocates(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof models / sizeof *models; k++)
    for (int how = 0; how < 4; how++) {
      const char *tier = how & 1 ? "native" : "interp";
      const int threads = how & 2 ? 2 : 1;
      const int64_t few = blocks(models[k].text, 10, tier, threads), many = blocks(models[k].text, 1000, tier, threads);
      if (few != many)
        fail_msg("%s, tier %s, %d threads: %lld blocks for 10 steps, %lld for 1,000", models[k].name, tier, threads, (long long)few,
                 (long long)many);
    }
}

static char folder[] = "/tmp/bdl-test-XXXXXX";

static int new_cache(void **state) {
  (void)state;
  return mkdtemp(folder) ? setenv("BDL_CACHE", folder, 1) : -1;
}

static int drop_cache(void **state) {
  (void)state;
  return system("rm -rf $BDL_CACHE");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(no_step_allocates)};
  return cmocka_run_group_tests(tests, new_cache, drop_cache);
}

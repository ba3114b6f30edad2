--- Limited-memory BFGS: the gradient times an estimate of the inverse Hessian from the last steps of weights and
--  gradients.
--  Source: Nocedal (1980), Updating quasi-Newton matrices with limited storage. Math Comput 35; Nocedal & Wright
--    (2006), Numerical Optimization. Springer, algorithm 7.4.
--  Example:
--    local w, opt = bdl.ParamState(bdl.ones(3)), bdl.optim.NAME()
--    opt:register_trainable_weights(w)
--    opt:update(bdl.tensor{0.1, 0.2, 0.3})
--    print(w.value)
local array = require "bdl.array"
local compile = require "bdl.compile"
local core = require "bdl.core"
local Optimizer = require "bdl.optim.optimizer".Optimizer
local OptimState = require "bdl.optim.scheduler".OptimState
local none = require "bdl.none".none

--- Quasi-Newton:  w <- w - lr H g, H the estimate of the inverse Hessian.  For full batches.
--  weight_decay is added to the direction.
--  memory_size : steps that the estimate remembers
--  scale_init_precond : it starts from <s,y>/<y,y>, at first min(1, 1/|g|); else from 1
--  linesearch : "backtracking", steps are shortened until the loss falls; see LBFGS.update
local LBFGS = Optimizer:extend "LBFGS"

LBFGS.rows = {
  {"memory_size", 10, least = 1, integer = true}, {"scale_init_precond", true},
    {"linesearch", none, one_of = {"backtracking"}},
}
LBFGS.default_lr = 1.0
LBFGS.decays = "update"

--- All leaves one after another, in the dtype of the first.
local function join(lists)
  local flat = {}
  for _, leaves in ipairs(lists) do
    for _, x in ipairs(leaves) do flat[#flat + 1] = core.cast(x, lists[1][1].dtype):reshape(-1) end
  end
  return array.concatenate(flat)
end

--- The vector back into the leaves.
local function split(x, lists)
  local at = 1
  for _, leaves in ipairs(lists) do
    for i, leaf in ipairs(leaves) do
      local last = at + leaf.size - 1
      leaves[i] = core.cast(x[{{at, last}}], leaf.dtype):reshape(leaf.shape)
      at = last + 1
    end
  end
end

--- Rows of steps and of changes of the gradient, the newest last.
function LBFGS:registered()
  local lists = {}
  for k, w in ipairs(self._weights) do
    lists[k] = core.flatten(w.state.value)
    for i, x in ipairs(lists[k]) do lists[k][i] = core.mantissa(x) end
  end
  local zero = array.zeros_like(join(lists))
  local rows = array.tile(zero:reshape(1, -1), self.memory_size, 1)
  self.history = {length = OptimState(core.tensor(1.0, zero.dtype)), weights = OptimState(zero),
                  gradient = OptimState(zero), steps = OptimState(rows), changes = OptimState(rows)}
end

local function push(rows, x) return array.concatenate{rows[{{2, rows.shape[1]}}], x:reshape(1, -1)} end

local DECREASE, INCREASE, SLOPE, ROUNDS = 0.8, 1.5, 1e-4, 100

--- d shortened until w - lr d lowers the loss by SLOPE of what the slope along it says, at most ROUNDS times; from
--  INCREASE the length of the step before, at most 1.  The gradient in place of a d that does not lead down.  Leaves
--  the weights anywhere.
--  Source: Nocedal & Wright (2006), Numerical Optimization. Springer, algorithm 3.1.
local function searched(self, d, values)
  local h, opts, rates = self.history, self._search, {}
  for k, w in ipairs(self._weights) do
    rates[k] = {}
    for i, x in ipairs(values[k]) do
      rates[k][i] = array.full_like(x, 1.0) * core.cast(self.groups[w.group].lr.value, x.dtype)
    end
  end
  local g, rate = h.gradient.value, join(rates)
  d = array.where((d * g):sum():gt(0), d, g)
  local slope = -(rate * d * g):sum()
  local function number(x) return core.cast(core.mantissa(core.is_tensor(x) and x or core.tensor(x)), d.dtype) end
  local now = number(opts.value == nil and opts.value_fn() or opts.value)
  local like = {}
  for k, w in ipairs(self._weights) do
    local leaves, def = core.flatten(w.state.value)
    like[k] = {def = def, units = {}}
    for i, x in ipairs(leaves) do like[k].units[i] = core.unit_of(x) or false end
  end
  local function loss_after(t)
    local moved = {}
    for k, leaves in ipairs(values) do moved[k] = table.move(leaves, 1, #leaves, 1, {}) end
    split(join(values) - t * rate * d, moved)
    for k, w in ipairs(self._weights) do
      for i, unit in ipairs(like[k].units) do
        moved[k][i] = unit and core.with_unit(moved[k][i], unit) or moved[k][i]
      end
      w.state.value = core.unflatten(like[k].def, moved[k])
    end
    return number(opts.value_fn())
  end
  local first = array.minimum(INCREASE * h.length.value, 1.0)
  local t = compile.while_loop(function(t, loss, n)
    return array.logical_and(array.logical_not(loss:le(now + SLOPE * t * slope)), n:lt(ROUNDS))
  end, function(t, _, n)
    t = DECREASE * t
    return t, loss_after(t), n + 1
  end, first, loss_after(first), core.tensor(0, "int32"))
  h.length.value = t
  return t * d
end

function LBFGS:prepare(lists, values)
  local h, g, w = self.history, join(lists), join(values)
  local first = self.step_count.value:le(1)
  local s, y = array.where(first, 0.0, w - h.weights.value), array.where(first, 0.0, g - h.gradient.value)
  h.weights.value, h.gradient.value = w, g
  h.steps.value, h.changes.value = push(h.steps.value, s), push(h.changes.value, y)
  local steps, changes, alpha = h.steps.value, h.changes.value, {}
  local curvature = (steps * changes):sum{axis = 2}
  local rho = array.where(curvature:eq(0), 0.0, 1 / curvature)
  for k = self.memory_size, 1, -1 do
    alpha[k] = rho[k] * (steps[k] * g):sum()
    g = g - alpha[k] * changes[k]
  end
  if self.scale_init_precond then
    local square = (y * y):sum()
    local known = array.where(square:gt(0), (s * y):sum() / square, 1.0)
    g = g * array.where(first, array.minimum(1 / Optimizer.norm(h.gradient.value), 1.0), known)
  end
  for k = 1, self.memory_size do
    g = g + (alpha[k] - rho[k] * (changes[k] * g):sum()) * steps[k]
  end
  if self._search then g = searched(self, g, values) end
  split(g, lists)
end

--- One step.  With linesearch = "backtracking" options are needed: value_fn, a function that gives the loss of the
--  weights as they are, and value, the loss now (by default value_fn()).
--  Errors: TypeError, no value_fn.
function LBFGS:update(grads, opts)
  if not self.linesearch then return Optimizer.update(self, grads) end
  if type(opts) ~= "table" or type(opts.value_fn) ~= "function" then
    core.fail("TypeError", 2, "optim.LBFGS: with a line search write update(grads, {value = loss, value_fn = f})")
  end
  rawset(self, "_search", opts)
  local ok, err = pcall(Optimizer.update, self, grads)
  rawset(self, "_search", nil)
  if not ok then error(err, 0) end
end

LBFGS.step = LBFGS.update

function LBFGS:rule(g) return g end

return {LBFGS = LBFGS}

--- Limited-memory BFGS: the gradient times an estimate of the inverse Hessian from the last steps of weights and gradients.
--  Source: Nocedal (1980), Updating quasi-Newton matrices with limited storage. Math Comput 35; Nocedal & Wright
--    (2006), Numerical
--    Optimization. Springer, algorithm 7.4.
--  Example:
--    local w, opt = bdl.ParamState(bdl.ones(3)), bdl.optim.NAME()
--    opt:register_trainable_weights(w)
--    opt:update(bdl.tensor{0.1, 0.2, 0.3})
--    print(w.value)
local array = require "bdl.array"
local core = require "bdl.core"
local Optimizer = require "bdl.optim.optimizer".Optimizer
local OptimState = require "bdl.optim.scheduler".OptimState

--- Quasi-Newton:  w <- w - lr H g, H the estimate of the inverse Hessian.  For full batches; without line search.
--  weight_decay
--  is added to the direction.
--  memory_size : steps that the estimate remembers
--  scale_init_precond : it starts from <s,y>/<y,y>, at first min(1, 1/|g|); else from 1
local LBFGS = Optimizer:extend "LBFGS"

LBFGS.rows = {{"memory_size", 10, least = 1, integer = true}, {"scale_init_precond", true}}
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
  self.history = {weights = OptimState(zero), gradient = OptimState(zero), steps = OptimState(rows), changes = OptimState(rows)}
end

local function push(rows, x) return array.concatenate{rows[{{2, rows.shape[1]}}], x:reshape(1, -1)} end

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
  split(g, lists)
end

function LBFGS:rule(g) return g end

return {LBFGS = LBFGS}

--- Is the online gradient right on this model?  Against backpropagation through time and finite differences.
--
--   online.verify_grad(learner, xs, .., step_fn, opts)       as etrace_grad; opts: steps (50), directions (2), seed (0), eps, before
--   online.verify_grad(learner, loss, opts)                  as grad(loss, parameters), in which loss() runs the learner
--
-- before: {xs, ..}, sequences that the learner runs over first, with traces and without.
-- Of each parameter: cosine of the online and the exact gradient, ratio of their norms, largest difference; and how well the exact
-- one agrees with central differences of the loss along random directions.  States are as before afterwards.

local array = require "bdl.array"
local class = require "bdl.class"
local compile = require "bdl.compile"
local core = require "bdl.core"
local graph = require "bdl.graph"
local random = require "bdl.random"
local state = require "bdl.state"
local t = require "bdl.augment.trace"
local tree = require "bdl.tree"

local Verification = class "Verification"

--- Puts the learner's States back when it is called.
local function snapshot(learner)
  local values = {}
  for _, s in graph.states(learner):items() do values[s] = s.value end
  return function()
    for s, value in pairs(values) do s:restore_value(value) end
  end
end

local function flat(x)
  local parts = {}
  for i, leaf in ipairs(core.flatten(x)) do
    parts[i] = core.cast(t.reshape(core.mantissa(leaf), {leaf.size}), "float64")
  end
  return array.concatenate(parts)
end

local function number(x) return core.item(x) end

local function compare(a, b)
  local x, y = flat(a), flat(b)
  local nx, ny = number(array.sqrt(array.sum(x * x))), number(array.sqrt(array.sum(y * y)))
  local dot = number(array.sum(x * y))
  return {online = nx, exact = ny, cosine = nx > 0 and ny > 0 and dot / (nx * ny) or (nx == ny and 1 or 0),
          ratio = ny > 0 and nx / ny or (nx > 0 and math.huge or 1), difference = number(array.max(array.abs(x - y)))}
end

--- sum of the losses of all steps, as etrace_grad with reduction = "sum" has it.
local function total_loss(xs, step_fn)
  return array.sum(compile.for_loop(function(...) return core.mantissa((step_fn(...))) end, table.unpack(xs)))
end

--- Slope of f along a random direction of the parameter, by central differences, and what the gradient says.
local function slopes(s, grad, f, key, eps, restore)
  local value = s.value
  local leaves, def = core.flatten(value)
  local gs = core.flatten(grad)
  local direction, predicted = {}, 0
  for i, leaf in ipairs(leaves) do
    local shape = table.move(leaf.shape, 1, leaf.ndim, 1, {})
    local v = random.normal(nil, nil, {size = shape, key = random.fold_in(key, i), dtype = leaf.dtype})
    direction[i] = v
    predicted = predicted + number(array.sum(v * core.mantissa(gs[i])))
  end
  local function at(h)
    restore()
    local moved = {}
    for i, leaf in ipairs(leaves) do
      local x = core.mantissa(leaf) + direction[i] * h
      moved[i] = core.unit_of(leaf) and core.with_unit(x, core.unit_of(leaf)) or x
    end
    s.value = core.unflatten(def, moved)
    return number(f())
  end
  local difference = (at(eps) - at(-eps)) / (2 * eps)
  s.value = value
  return difference, predicted
end

--- What is to be verified, as two functions: the gradient with traces, and the loss that it is the gradient of.
local function of_sequences(learner, xs, step_fn)
  return function()
    return (learner:etrace_grad(table.unpack(t.joined(xs, {step_fn, {reduction = "sum", return_value = false}}))))
  end, function() return total_loss(xs, step_fn) end
end

local function of_loss(learner, f, weights)
  local function loss() return core.mantissa((f())) end
  return compile.jit(function() return require "bdl.augment.grad".grad(loss, weights)() end), loss
end

function Verification:__init(learner, online, loss, opts)
  local describe = require "bdl.online.describe"
  local weights = learner:param_states()
  local restore = snapshot(learner)
  local grad = require "bdl.augment.grad".grad
  self.rule = class.typename(learner)
  self.expected, self.why = describe.prediction(learner)
  self.steps = opts.steps
  local function before()
    if opts.before then learner:etrace_evolve(table.unpack(opts.before)) end
  end
  before()
  online = online()
  restore()
  local function plain()
    return learner:without_traces(function()
      before()
      return loss()
    end)
  end
  local exact = compile.jit(function() return grad(plain, weights)() end)()
  restore()
  local value = compile.jit(plain)
  self.rows = {}
  for path, s in weights:items() do
    local row = compare(online:get(path), exact:get(path))
    row.path = path
    row.difference_quotient = {}
    for k = 1, opts.directions do
      local key = random.fold_in(random.key(opts.seed), #self.rows * opts.directions + k)
      row.difference_quotient[k] = {slopes(s, exact:get(path), value, key, opts.eps, restore)}
    end
    self.rows[#self.rows + 1] = row
  end
  restore()
end

--- Largest relative disagreement of the exact gradient with the difference quotients.
local function disagreement(row)
  local worst = 0
  for _, q in ipairs(row.difference_quotient) do
    local scale = math.max(math.abs(q[1]), math.abs(q[2]), 1e-12)
    worst = math.max(worst, math.abs(q[1] - q[2]) / scale)
  end
  return worst
end

function Verification:__tostring()
  local width = 9
  for _, row in ipairs(self.rows) do width = math.max(width, #row.path) end
  local lines = {("%s over %d steps; expected: %s (%s)"):format(self.rule, self.steps, self.expected, self.why), ""}
  local function add(format, ...) lines[#lines + 1] = ("%-" .. width .. "s" .. format):format(...) end
  add("  %10s  %10s  %12s  %12s  %14s", "parameter", "cosine", "norm ratio", "largest diff", "|exact|", "exact vs diff.")
  for _, row in ipairs(self.rows) do
    add("  %10.6f  %10.4g  %12.3g  %12.4g  %14.2g", row.path, row.cosine, row.ratio, row.difference, row.exact, disagreement(row))
  end
  lines[#lines + 1] = "\nexact: backpropagation through time of the same loss; exact vs diff.: relative, along random directions."
  lines[#lines + 1] = "A spike that appears or vanishes changes the loss by a jump that no surrogate gradient has."
  return table.concat(lines, "\n")
end

local M = {}

local function length(x) return core.flatten(x)[1].shape[1] end

--- (xs.., step_fn, opts) as of etrace_grad, or (loss, opts) with the function whose grad is the online gradient.  Returns an object
--  with .rows {path, cosine, ratio, difference, online, exact, difference_quotient}, .expected; tostring is the table.
--  Example:
--    local learner = bdl.online.compile(bdl.online.nn.ValinaRNNCell(2, 3), "D_RTRL", bdl.zeros(2))
--    local loss = function(x) return (learner(x)^2):mean() end
--    print(bdl.online.verify_grad(learner, bdl.ones(5, 2), loss))
--    print(bdl.online.verify_grad(learner, function() return loss(bdl.ones(2)) end, {before = {bdl.ones(4, 2)}}))
function M.verify_grad(learner, ...)
  local xs, step_fn, opts = {}, nil, {}
  for _, x in ipairs{...} do
    if type(x) == "function" then step_fn = x elseif t.is_plain(x) and (step_fn or x.step_fn) then opts = x else xs[#xs + 1] = x end
  end
  step_fn = step_fn or opts.step_fn
  if not step_fn then core.fail("TypeError", 2, "verify_grad: the function that runs the learner and returns the loss is needed") end
  t.check_options("verify_grad", opts, {"step_fn", "steps", "directions", "seed", "eps", "before", "mask", "chunk_size", "weights",
    "reduction", "loss_output", "has_aux", "return_value"})
  local most, before = opts.steps or 50, opts.before
  for k, x in ipairs(xs) do
    xs[k] = tree.map(function(leaf) return leaf.shape[1] > most and t.rows(leaf, 0, most) or leaf end, x)
  end
  local weights = learner:param_states()
  local precision = core.flatten(select(2, weights:items()()).value)[1].dtype
  local online, loss
  if #xs > 0 then online, loss = of_sequences(learner, xs, step_fn) else online, loss = of_loss(learner, step_fn, weights) end
  return Verification(learner, online, loss, {
    steps = (#xs > 0 and length(xs[1]) or 1) + (before and length(before[1]) or 0), before = before,
    directions = opts.directions or 2, seed = opts.seed or 0, eps = opts.eps or precision == "float64" and 1e-6 or 1e-3,
  })
end

M.snapshot = snapshot

class.qualify({Verification = Verification}, "online")
return M

--- Learning over sequences: gradients of all steps added up, in a compiled loop of constant memory.
--
--   learner:etrace_grad(xs, ys, step_fn, opts)      step_fn(x, y) runs the learner once and returns the loss of the step
--   learner:etrace_evolve(xs, opts)                 States and traces without gradients
--
-- opts of etrace_grad : mask [T] (weights of the losses; States and traces go on), chunk_size (steps a window; step_fn then gets
-- windows and returns [chunk_size] losses), weights (the learner's parameters), reduction ("mean": over the sum of the mask, or
-- "sum"), loss_output ("per_step" | "masked" | "scalar"), has_aux, return_value (true).

local class = require "bdl.class"
local core = require "bdl.core"
local input = require "bdl.online.input"
local state = require "bdl.state"
local t = require "bdl.augment.trace"
local tree = require "bdl.tree"

local learner = require "bdl.online.learner"
local Algorithm = learner.ETraceAlgorithm

local OPTIONS = {"mask", "chunk_size", "weights", "reduction", "loss_output", "has_aux", "return_value", "step_fn"}

local function check_choice(who, name, x, ...)
  for _, known in ipairs{...} do
    if x == known then return end
  end
  core.fail("ValueError", 4, "%s: %s is one of %s, not %s", who, name, table.concat({...}, ", "), tostring(x))
end

--- nil, or a number of steps from 2.
local function check_chunk(who, n)
  if n == nil or n == 1 then return nil end
  if math.type(n) ~= "integer" then core.fail("TypeError", 4, "%s: chunk_size is a whole number, not %s", who, tostring(n)) end
  if n < 1 then core.fail("ValueError", 4, "%s: chunk_size is at least 1, not %d", who, n) end
  return n
end

--- The common length of all sequences.
local function length_of(who, sequences)
  local length
  for k, x in ipairs(sequences) do
    if class.isa(x, input.MultiStepData) or class.isa(x, input.SingleStepData) then
      core.fail("TypeError", 4, "%s: sequence %d is a %s; give the array and wrap its slices in step_fn", who, k, class.typename(x))
    end
    for _, leaf in ipairs(core.flatten(x)) do
      if leaf.ndim == 0 then core.fail("ValueError", 4, "%s: sequence %d is a scalar, which has no axis of steps", who, k) end
      if length and leaf.shape[1] ~= length then
        core.fail("ValueError", 4, "%s: sequences of %d and %d steps", who, length, leaf.shape[1])
      end
      length = leaf.shape[1]
    end
  end
  if not length then core.fail("ValueError", 4, "%s: a sequence is needed", who) end
  if length == 0 then core.fail("ValueError", 4, "%s: the sequences have no step", who) end
  return length
end

local function check_window(who, self, chunk, length, grad)
  if not chunk then return end
  if grad and self.vjp_method ~= "multi-step" then
    core.hint "make the learner with vjp_method = 'multi-step'"
    core.fail("ValueError", 4, "%s: chunk_size = %d needs a learner of windows, this one is '%s'", who, chunk, self.vjp_method)
  end
  if length % chunk ~= 0 then
    core.fail("ValueError", 4, "%s: %d steps are no whole number of windows of %d", who, length, chunk)
  end
end

local function windows(x, n, chunk)
  return tree.map(function(leaf) return t.reshape(leaf, t.joined({n, chunk}, table.move(leaf.shape, 2, leaf.ndim, 1, {}))) end, x)
end

local function check_mask(mask, length)
  if mask == nil then return require "bdl.array".ones(length) end
  mask = core.is_tensor(mask) and mask or core.tensor(mask)
  if mask.ndim ~= 1 or mask.shape[1] ~= length then
    core.fail("ValueError", 4, "etrace_grad: the mask has one weight a step, [%d], not %s", length,
              t.type_text{dtype = mask.dtype, shape = table.move(mask.shape, 1, mask.ndim, 1, {})})
  end
  return core.cast(mask, require "bdl.array.base".real())
end

local function add(a, b)
  local x, def = core.flatten(a)
  local y = core.flatten(b)
  for i, leaf in ipairs(x) do x[i] = leaf + y[i] end
  return core.unflatten(def, x)
end

--- The values of what is differentiated by, as zeros, in its structure.
local function zeros_like(weights)
  if class.isa(weights, state.State) then return tree.map(function(x) return core.mantissa(x) * 0 end, weights.value) end
  local copy = class.isa(weights, require "bdl.util".PrettyMapping) and class.of(weights)() or {}
  for key, s in pairs(weights) do copy[key] = zeros_like(s) end
  return copy
end

local function gather(sequences, step_fn, opts)
  if type(step_fn) == "table" and getmetatable(step_fn) == nil then opts, step_fn = step_fn, step_fn.step_fn end
  return sequences, step_fn or opts and opts.step_fn, opts or {}
end

--- The arguments (xs.., step_fn, opts): sequences up to the function.
local function split(...)
  local args, n = {...}, select("#", ...)
  for k = 1, n do
    local x = args[k]
    local plain = type(x) == "table" and getmetatable(x) == nil and x.step_fn ~= nil
    if type(x) == "function" or plain then return gather(table.move(args, 1, k - 1, 1, {}), x, plain and x or args[k + 1]) end
  end
  core.fail("TypeError", 3, "etrace_grad: step_fn is needed, the function that runs the learner and returns the loss")
end

--- Returns gradients in the structure of the weights; then losses and auxiliary values as asked for.
function Algorithm:etrace_grad(...)
  local who = "etrace_grad"
  self:_need_compiled(who)
  if learner.on_grad then learner.on_grad(self, ...) end
  local sequences, step_fn, opts = split(...)
  t.check_options(who, opts, OPTIONS)
  check_choice(who, "reduction", opts.reduction or "mean", "mean", "sum")
  check_choice(who, "loss_output", opts.loss_output or "per_step", "per_step", "masked", "scalar")
  local length = length_of(who, sequences)
  local chunk = check_chunk(who, opts.chunk_size or self.config.window_size or self.config.update_schedule == "sequence_end" and length or nil)
  check_window(who, self, chunk, length, true)
  local mask = check_mask(opts.mask, length)
  local weights = opts.weights or self:param_states()
  local array, compile, grad = require "bdl.array", require "bdl.compile", require "bdl.augment.grad".grad
  local xs = t.joined(sequences, {mask})
  if chunk then
    for k, x in ipairs(xs) do xs[k] = windows(x, length // chunk, chunk) end
  end
  local want = chunk and {chunk} or {}

  local function objective(...)
    local args = {...}
    local weight = table.remove(args)
    local results = table.pack(step_fn(table.unpack(args)))
    if type(results[1]) ~= "number" and not core.is_tensor(results[1]) then
      core.fail("TypeError", 3, "%s: step_fn returns the loss of its step, not %s", who,
                results[1] == nil and "nothing" or "a " .. class.typename(results[1]))
    end
    local loss = core.mantissa(results[1])
    if loss.ndim ~= #want or chunk and loss.shape[1] ~= chunk then
      if not chunk then core.hint "bdl.mean or bdl.sum of it" end
      core.fail("ValueError", 3, "%s: step_fn returns %s, but this is %s", who,
                chunk and ("%d losses, one a step of the window"):format(chunk) or "the loss of its step, one number", t.type_text(loss))
    end
    return array.sum(weight * loss), loss, table.unpack(results, 2, results.n)
  end
  local g = grad(objective, weights, {has_aux = true})
  local function run(...)
    return table.pack(compile.scan(function(carry, ...)
      local results = table.pack(g(...))
      local ys = {}
      for k = 2, results.n do ys[k - 1] = results[k] end
      return add(carry, results[1]), ys
    end, zeros_like(weights), ...))
  end
  local out = core.tracing() and run(table.unpack(xs)) or table.pack(self:_kept_jit(step_fn, weights, run)(table.unpack(xs)))
  if not core.tracing() then out = out[1] end
  local total, ys = out[1], out[2]
  local denominator = array.maximum(array.sum(mask), 1.0)
  local mean = (opts.reduction or "mean") == "mean"
  if mean then total = tree.map(function(x) return x / denominator end, total) end
  local answer = {total}
  if opts.return_value ~= false then
    local losses = t.reshape(ys[1], {length})
    local kind = opts.loss_output or "per_step"
    if kind ~= "per_step" then losses = losses * mask end
    if kind == "scalar" then losses = array.sum(losses) / (mean and denominator or 1) end
    answer[2] = losses
  end
  if opts.has_aux then
    for k = 2, #ys do answer[#answer + 1] = ys[k] end
  end
  return table.unpack(answer)
end

--- A compiled loop for each step_fn, kept as long as the function is.
function Algorithm:_kept_jit(step_fn, weights, run)
  local kept = self._loops
  local mine = kept[step_fn]
  if not mine or mine.weights ~= weights then
    mine = {weights = weights, f = require "bdl.compile".jit(run)}
    kept[step_fn] = mine
  end
  return mine.f
end

--- The model's and the traces' States over a sequence.  opts : step_fn (the learner), chunk_size, return_outputs.
function Algorithm:etrace_evolve(...)
  local who = "etrace_evolve"
  self:_need_compiled(who)
  local args = {...}
  local last = args[#args]
  local opts = #args > 1 and type(last) == "table" and getmetatable(last) == nil and table.remove(args) or {}
  t.check_options(who, opts, {"step_fn", "chunk_size", "return_outputs"})
  local chunk = check_chunk(who, opts.chunk_size)
  local length = length_of(who, args)
  check_window(who, self, chunk, length, false)
  local xs = args
  if chunk then
    for k, x in ipairs(xs) do xs[k] = windows(x, length // chunk, chunk) end
  end
  local step_fn = opts.step_fn or function(...)
    local slices = {...}
    if chunk then
      for k, x in ipairs(slices) do slices[k] = input.MultiStepData(x) end
    end
    return self(table.unpack(slices))
  end
  local compile = require "bdl.compile"
  local function run(...)
    return compile.for_loop(function(...)
      local results = table.pack(step_fn(...))
      if opts.return_outputs then return table.unpack(results, 1, results.n) end
    end, ...)
  end
  return run(table.unpack(xs))
end

return Algorithm

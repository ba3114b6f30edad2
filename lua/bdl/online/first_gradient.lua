--- The first gradient through a learner that a model takes, verified: what `bdl verify-grad` does.
--
-- The model runs without compiling, so that the inputs of the learner's steps are at hand.  Those since its traces were last reset are
-- kept; the first etrace_grad, or the first grad of a function that runs the learner, is then verified over all of them.

local array = require "bdl.array"
local compile = require "bdl.compile"
local core = require "bdl.core"
local learners = require "bdl.online.learner"
local verify = require "bdl.online.verify"

--- learner -> the arguments of its steps, and .restore, which brings its States back to before them.
local function recorder()
  local history = setmetatable({}, {__mode = "k"})
  local function begin(learner)
    history[learner] = history[learner] or {restore = verify.snapshot(learner)}
    return history[learner]
  end
  return history, begin
end

--- The arguments of steps, each position stacked.
local function stacked(steps)
  if #steps == 0 then return nil end
  local sequences = {}
  for k = 1, #steps[1] do
    local rows = {}
    for i, args in ipairs(steps) do
      if not core.is_tensor(args[k]) then core.fail("NotSupportedError", 0, "verify-grad: input %d of the learner is no tensor", k) end
      rows[i] = args[k]
    end
    sequences[k] = array.stack(rows)
  end
  return sequences
end

--- Runs the model; the verification, or nil where it takes no gradient.  Errors: those of the model.
return function(run)
  local bdl = require "bdl"
  local history, begin = recorder()
  local known, touched, found = {}, nil, {}

  local function finish(learner, ...)
    local steps = begin(learner)
    learners.on_step, learners.on_reset, learners.on_grad = nil, nil, nil
    steps.restore()
    local _ <close> = compile.disable_jit(false)
    local args = table.pack(...)
    local opts = type(args[args.n]) == "table" and getmetatable(args[args.n]) == nil and table.remove(args) or {}
    opts.before = stacked(steps)
    args[#args + 1] = opts
    found.result = verify.verify_grad(learner, table.unpack(args))
    error(found, 0)
  end

  learners.on_compile = function(learner) known[#known + 1] = learner end
  learners.on_reset = function(learner) history[learner] = nil end
  learners.on_grad = finish
  learners.on_step = function(learner, ...)
    if core.tracing() then touched = learner else table.insert(begin(learner), {...}) end
  end
  local grad = bdl.grad
  local function watched(f, ...)
    local g = grad(f, ...)
    return function(...)
      local args = table.pack(...)
      touched = nil
      for _, learner in ipairs(known) do begin(learner) end
      local results = table.pack(g(...))
      if touched then finish(touched, function() return (f(table.unpack(args, 1, args.n))) end) end
      return table.unpack(results, 1, results.n)
    end
  end
  bdl.grad, bdl.augment.grad = watched, watched
  local no_jit <close> = compile.disable_jit(true)
  local ok, why = xpcall(run, function(e) return e == found and e or core.traceback(e) end)
  bdl.grad, bdl.augment.grad = grad, grad
  learners.on_compile, learners.on_step, learners.on_reset, learners.on_grad = nil, nil, nil, nil
  if not ok and why ~= found then error(why, 0) end
  return found.result
end

--- The learning signal of each hidden State, from dL/dh.
--
--   symmetric         dL/dh itself
--   random_feedback   B^T L/(|L| + 1e-8) along the last axis of the group, B fixed and random      (Bellec et al. 2020)
--   modulatory        a State that the user sets, in place of dL/dh                               (Fremaux & Gerstner 2016)
--   bootstrapped      dL/dh; what is learned acts elsewhere, see dni.lua

local class = require "bdl.class"
local core = require "bdl.core"
local t = require "bdl.augment.trace"

local M = {}

--- l : cotangents of all hidden States, in order.
local function symmetric()
  return function(l)
    return function(group, a) return l[group._members[a]] end
  end
end

local function check_feedback(b, j, n)
  local got = core.is_tensor(b) and t.type_text{dtype = b.dtype, shape = table.move(b.shape, 1, b.ndim, 1, {})} or class.typename(b)
  if not core.is_tensor(b) or b.ndim ~= 2 or b.shape[1] ~= n or b.shape[2] ~= n then
    core.fail("ShapeError", 4, "the feedback of hidden group %d is [%d,%d], not %s", j, n, n, got)
  end
end

local function random_feedback(learner, opts)
  local random = require "bdl.random"
  local array = require "bdl.array"
  if opts.random_feedback_key == nil and not opts.feedback then
    core.fail("ValueError", 4, "learning_signal = 'random_feedback' needs random_feedback_key")
  end
  local key = random.key(opts.random_feedback_key or 0)
  local feedback = {}
  for j, group in ipairs(learner.graph.hidden_groups) do
    local n = group.varshape[#group.varshape] or 1
    local type = learner.graph.info.step.hidden[group._members[1]].type
    local given = opts.feedback and opts.feedback[j]
    if opts.feedback then check_feedback(given, j, n) end
    feedback[j] = given or random.normal(nil, nil, {size = {n, n}, key = random.fold_in(key, j), dtype = type.dtype}) / math.sqrt(n)
  end
  learner.feedback = feedback
  return function(l)
    return function(group, a)
      local x = l[group._members[a]]
      if x.ndim == 0 then return x end
      local norm = array.sqrt(array.sum(x * x, {axis = -1, keepdims = true}))
      local unit = x / (norm + 1e-8)
      return array.matmul(unit, feedback[group.index])
    end
  end
end

local function modulatory(learner)
  return function()
    return function(group, a)
      local m, h = learner.modulator.value, learner.graph.info.step.hidden[group._members[a]].type
      m = core.cast(core.mantissa(m), h.dtype)
      local ok, x = pcall(t.broadcast, m, h.shape)
      if ok then return x end
      core.fail("ShapeError", 4, "the modulator is %s; it must broadcast to the hidden States' %s",
                t.type_text{dtype = m.dtype, shape = table.move(m.shape, 1, m.ndim, 1, {})}, t.type_text(h))
    end
  end
end

local MAKERS = {symmetric = symmetric, random_feedback = random_feedback, modulatory = modulatory, bootstrapped = symmetric}

function M.make(kind, learner, opts) return MAKERS[kind](learner, opts) end

return M

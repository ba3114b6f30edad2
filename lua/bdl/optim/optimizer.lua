--- What optimisers share: the weights, their memory, and the order of one step:
--
--   clip by the norm over all weights, clip by value, g + weight_decay w, the rule, w - lr * update
--
-- Everything that changes is a State, so a step may be compiled, mapped, saved.  Source of the order: optax, as braintools
-- chains it.  A subclass defines
--
--   rows                      arguments besides lr, weight_decay, grad_clip_norm, grad_clip_value, as bdl.parameters wants
--   default_lr, default_decay defaults of lr and weight_decay
--   slots(self)               -> {name = init, ..}: memory of a weight; init(w) -> a tensor, or a list of tensors
--   rule(self, g, w, slot, t, decay)
--                             g, w: tensors of numbers; slot: name -> memory, to be overwritten; t: steps from 1, in the
--                             dtype of g  ->  the update that is scaled by the learning rate
--   decays                    where weight_decay w is added: to the "gradient", to the "update", or by the "rule"

local core = require "bdl.core"
local array = require "bdl.array"
local class = require "bdl.class"
local graph = require "bdl.graph"
local none = require "bdl.none".none
local parameters = require "bdl.parameters"
local paths = require "bdl.path"
local scheduler = require "bdl.optim.scheduler"
local state = require "bdl.state"
local tree = require "bdl.tree"
local util = require "bdl.util"

local M = {}

local OptimState, LRScheduler = scheduler.OptimState, scheduler.LRScheduler

--- An optimiser, to be extended as the head of optim/optimizer.lua tells.
--  lr : the learning rate, a number or a schedule
--  States: step_count; memory, what the rule keeps of each weight; groups, the rates.
--  Example:
--    local Sign = bdl.optim.Optimizer:extend "Sign"
--    function Sign:rule(g) return bdl.sign(g) end
local Optimizer = graph.Node:extend "Optimizer"
M.Optimizer = Optimizer

Optimizer.rows = {}
Optimizer.default_lr = 1e-3
Optimizer.default_decay = 0.0
Optimizer.decays = "gradient"
function Optimizer:slots() return {} end

Optimizer.state_dict = scheduler.state_dict
Optimizer.load_state_dict = scheduler.load_state_dict

local LR, DECAY = {"lr", least = 0}, {"weight_decay", least = 0, named = true}
local NORM = {"grad_clip_norm", none, above = 0, named = true}
local VALUE = {"grad_clip_value", none, above = 0, named = true}

local function who(self) return class.qualified_name(class.of(self)) end

local function as_rate(lr) return core.is_tensor(lr) and lr or lr + 0.0 end

--- Arguments: lr (a number or a schedule) and those of the class, by position or name; by name weight_decay, grad_clip_norm,
--  grad_clip_value.  A class may have a `first` one, before lr.
function Optimizer:__init(...)
  local rows = {self.first}
  rows[#rows + 1] = {"lr", self.default_lr, free = true}
  table.move(self.rows, 1, #self.rows, #rows + 1, rows)
  rows[#rows + 1] = {"weight_decay", self.default_decay, least = 0, named = true}
  rows[#rows + 1] = NORM
  rows[#rows + 1] = VALUE
  local a = parameters.set(self, rows, ...)
  self.lr = nil
  if class.isa(a.lr, LRScheduler) then
    self.scheduler = a.lr
  else
    parameters.check_number(who(self), LR, a.lr)
  end
  self.step_count = OptimState(core.tensor(0, "int32"))
  self.memory = {}  -- slot -> path -> OptimState
  self.groups = {}  -- {lr = OptimState, weight_decay = number}
  self._weights = {} -- {path, keys, state, group (its number), leaves = paths} in the order of registration
  self:add_group(a.lr, a.weight_decay)
end

--- The number of one more group of weights; the schedule has one rate a group.
function Optimizer:add_group(lr, weight_decay)
  local k, s = #self.groups + 1, self.scheduler
  local rate
  if s then
    rate = s.lrs[k] or s:add_group(lr ~= s and lr or nil)
  else
    rate = OptimState(as_rate(lr))
  end
  self.groups[k] = {lr = rate, weight_decay = weight_decay}
  return k
end

--- The learning rate of the next step, of the first group.
function Optimizer:current_lr() return self.groups[1].lr.value end

function Optimizer:set_lr(lr)
  parameters.check_number(who(self), LR, lr)
  self.groups[1].lr.value = as_rate(lr)
end

-- ---- weights -----------------------------------------------------------------------------------------------------------------

--- A State with its path; one that is there already stays where it is.
local function add_weight(self, w)
  for _, other in ipairs(self._weights) do
    if other.state == w.state then return end
    if other.path == w.path then
      core.fail("ValueError", 4, "%s: two weights lie under '%s'; register maps with names of their own", who(self), w.path)
    end
  end
  self._weights[#self._weights + 1] = w
  w.leaves = {}
  local slots = self:slots()
  for path, leaf in tree.zip(w.state.value) do
    local at = path == "" and w.path or paths.join(w.path, path)
    w.leaves[#w.leaves + 1] = at
    for _, name in ipairs(util.sorted_keys(slots)) do
      self.memory[name] = self.memory[name] or {}
      self.memory[name][at] = OptimState(slots[name](core.mantissa(leaf)))
    end
  end
end

local function collect(self, x, group, path, keys)
  if class.isa(x, state.State) then
    add_weight(self, {path = path == "" and "weight" or path, keys = keys, state = x, group = group})
  elseif class.isa(x, util.PrettyMapping) or type(x) == "table" and getmetatable(x) == nil then
    for _, key in ipairs(util.sorted_keys(x)) do
      local inner = x[key]
      if class.isa(x, util.PrettyMapping) then inner = x:get(key) end
      collect(self, inner, group, path == "" and tostring(key) or paths.join(path, key),
              table.move(keys, 1, #keys, 1, {[#keys + 1] = key}))
    end
  else
    if class.isa(x, graph.Node) then core.hint "those of a model are model:states(bdl.ParamState)" end
    core.fail("TypeError", 3, "%s: the weights are States, one, a list or a map, not a %s", who(self), class.typename(x))
  end
end

--- The States that update changes: one, a list, a map or a tree.  May be called again with more.
--  Errors: TypeError, something else; ValueError, two States under one path.
function Optimizer:register_trainable_weights(states)
  collect(self, states, 1, "", {})
  self:registered()
end

--- (optional) After weights came; for memory that is not of single leaves.
function Optimizer:registered() end

--- More States, with a learning rate or a weight decay of their own: add_param_group(states, {lr = 1e-2, weight_decay = 0}).
--  With a schedule, lr is what it starts from.  The gradients of all groups come to update together.
function Optimizer:add_param_group(states, opts)
  opts = opts or {}
  for key in pairs(opts) do
    if key ~= "lr" and key ~= "weight_decay" then
      core.fail("TypeError", 2, "%s: a group has no option '%s'; it takes lr, weight_decay", who(self), tostring(key))
    end
  end
  if opts.lr ~= nil then parameters.check_number(who(self), LR, opts.lr) end
  if opts.weight_decay ~= nil then parameters.check_number(who(self), DECAY, opts.weight_decay) end
  local lr = opts.lr
  if lr == nil then lr = self.scheduler or self:current_lr() end
  collect(self, states, self:add_group(lr, opts.weight_decay or self.weight_decay), "", {})
  self:registered()
end

--- The gradient of a weight, as it lies in grads.
local function gradient_of(self, grads, w)
  local g = grads
  for _, key in ipairs(w.keys) do
    if type(g) ~= "table" then g = nil
    elseif class.isa(g, util.PrettyMapping) then g = g:get(key)
    else g = g[key] end
    if g == nil then core.fail("ValueError", 3, "%s: no gradient for '%s'", who(self), w.path) end
  end
  return g
end

-- ---- one step ----------------------------------------------------------------------------------------------------------------

--- All gradients (lists of leaves) scaled so that their common norm is at most `most`.
local function clip_norm(lists, most)
  local total = 0.0
  for _, leaves in ipairs(lists) do
    for _, g in ipairs(leaves) do total = total + (g * g):sum() end
  end
  local scale = most / array.maximum(array.sqrt(total), most)
  for _, leaves in ipairs(lists) do
    for i, g in ipairs(leaves) do leaves[i] = g * core.cast(scale, g.dtype) end
  end
end

local function clip_value(lists, most)
  for _, leaves in ipairs(lists) do
    for i, g in ipairs(leaves) do leaves[i] = array.minimum(array.maximum(g, -most), most) end
  end
end

--- The new weight, of numbers.
function Optimizer:move(g, w, slot, t, lr, decay)
  if decay ~= 0 and self.decays == "gradient" then g = g + decay * w end
  local update = self:rule(g, w, slot, t, decay)
  if decay ~= 0 and self.decays == "update" then update = update + decay * w end
  return w - lr * update
end

--- (optional) Changes gradients, a list of leaves for each State as the weights are, before they go leaf by leaf.
function Optimizer:prepare() end

--- One step with the gradients in the structure of the weights.
--  Errors: ValueError, a gradient that is missing or of another structure.
function Optimizer:update(grads)
  if #self._weights == 0 then
    core.fail("ValueError", 2, "%s: no weights; call register_trainable_weights first", who(self))
  end
  local lists, values, units, defs = {}, {}, {}, {}
  for k, w in ipairs(self._weights) do
    local g_def
    values[k], defs[k] = core.flatten(w.state.value)
    lists[k], g_def = core.flatten(gradient_of(self, grads, w))
    if g_def ~= defs[k] then
      core.fail("ValueError", 2, "%s: the gradient of '%s' has the structure %s, the weight %s", who(self), w.path, g_def,
                defs[k])
    end
    units[k] = {}
    for i, g in ipairs(lists[k]) do
      units[k][i] = core.unit_of(values[k][i])
      lists[k][i], values[k][i] = core.mantissa(g), core.mantissa(values[k][i])
    end
  end
  if self.grad_clip_norm then clip_norm(lists, self.grad_clip_norm) end
  if self.grad_clip_value then clip_value(lists, self.grad_clip_value) end
  self.step_count.value = self.step_count.value + 1
  self:prepare(lists, values)
  local slots = util.sorted_keys(self.memory)
  for k, w in ipairs(self._weights) do
    local group = self.groups[w.group]
    for i, x in ipairs(values[k]) do
      local g, slot = lists[k][i], {}
      local t, lr = core.cast(self.step_count.value, g.dtype), core.cast(group.lr.value, x.dtype)
      for _, name in ipairs(slots) do slot[name] = self.memory[name][w.leaves[i]].value end
      x = self:move(g, x, slot, t, lr, group.weight_decay)
      for _, name in ipairs(slots) do self.memory[name][w.leaves[i]].value = slot[name] end
      values[k][i] = units[k][i] and core.with_unit(x, units[k][i]) or x
    end
    w.state.value = core.unflatten(defs[k], values[k])
  end
end

Optimizer.step = Optimizer.update

-- ---- for rules ---------------------------------------------------------------------------------------------------------------

--- A slot that begins with one number everywhere.
function Optimizer.filled(value)
  return function(w) return array.full_like(w, value) end
end

--- A slot that begins with zeros.
Optimizer.zeros = Optimizer.filled(0.0)

--- b old + (1 - b) new
function Optimizer.average(b, old, new) return b * old + (1 - b) * new end

--- The Euclidean norm of a leaf.
function Optimizer.norm(x) return array.sqrt((x * x):sum()) end

--- x scaled by c |w| / (|x| + eps), as it is where a norm is 0.
function Optimizer.trust(x, w, c, eps)
  local size, target = Optimizer.norm(x), Optimizer.norm(w)
  local known = array.logical_and(size:gt(0), target:gt(0))
  return x * array.where(known, c * target / (size + eps), 1.0)
end

return M

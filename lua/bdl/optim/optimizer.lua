--- What optimisers share: the weights, their memory, and the order of one step:
--
--   clip by the norm over all weights, clip by value, g + weight_decay w, the rule, w - lr * update
--
-- Everything that changes is a State, so a step may be compiled, mapped, saved.  A subclass defines
--
--   slots = {name = init, ..}               memory of a weight: init(w) -> tensor
--   rule(self, g, w, slot, count)           g, w: tensors of numbers; slot: name -> tensor, to be overwritten; count: steps from 1
--                                           -> the update that is scaled by the learning rate

local core = require "bdl.core"
local class = require "bdl.class"
local graph = require "bdl.graph"
local none = require "bdl.none".none
local paths = require "bdl.path"
local state = require "bdl.state"
local tree = require "bdl.tree"
local util = require "bdl.util"

local M = {}

--- Memory of an optimiser.
local OptimState = state.LongTermState:extend "OptimState"
M.OptimState = OptimState

local Optimizer = graph.Node:extend "Optimizer"
M.Optimizer = Optimizer

Optimizer.slots = {}

--- Arguments of every optimiser, for bdl.args of a subclass: name -> default.
Optimizer.COMMON = {"lr", lr = 1e-3, weight_decay = 0.0, grad_clip_norm = none, grad_clip_value = none}

--- The specification of bdl.args with further names and defaults.
function Optimizer.arguments(more)
  local spec = {table.unpack(Optimizer.COMMON)}
  for key, value in pairs(Optimizer.COMMON) do spec[key] = value end
  for key, value in pairs(more) do
    if math.type(key) then spec[#spec + 1] = value else spec[key] = value end
  end
  return spec
end

local function check(self, name, value, least, open)
  if value == nil or value == none then return end
  local x = type(value) == "number" and value or core.is_tensor(value) and not core.is_traced(value) and value.ndim == 0 and core.item(value)
  if x == nil or x == false or x < least or open and x == least then
    core.fail("ValueError", 3, "%s: %s must be %s %g, not %s", class.qualified_name(class.of(self)), name, open and "greater than" or "at least",
              least, tostring(value))
  end
end

--- a : what bdl.args gave for Optimizer.arguments.
function Optimizer:__init(a)
  check(self, "lr", a.lr, 0)
  check(self, "weight_decay", a.weight_decay, 0)
  check(self, "grad_clip_norm", a.grad_clip_norm, 0, true)
  check(self, "grad_clip_value", a.grad_clip_value, 0, true)
  self.lr = OptimState(core.is_tensor(a.lr) and a.lr or a.lr + 0.0)
  self.weight_decay = a.weight_decay
  self.grad_clip_norm = a.grad_clip_norm ~= none and a.grad_clip_norm or nil
  self.grad_clip_value = a.grad_clip_value ~= none and a.grad_clip_value or nil
  self.step_count = OptimState(core.tensor(0, "int32"))
  self.memory = {}
  self._weights = {} -- {path, keys, state} in the order of registration
end

--- The learning rate of the next step.
function Optimizer:current_lr() return self.lr.value end

function Optimizer:set_lr(lr)
  check(self, "lr", lr, 0)
  self.lr.value = core.is_tensor(lr) and lr or lr + 0.0
end

local function collect(self, x, path, keys)
  if class.isa(x, state.State) then
    for _, w in ipairs(self._weights) do
      if w.state == x then return end
    end
    self._weights[#self._weights + 1] = {path = path, keys = keys, state = x}
  elseif class.isa(x, util.PrettyMapping) or type(x) == "table" and getmetatable(x) == nil then
    for _, key in ipairs(util.sorted_keys(x)) do
      local inner = x[key]
      if class.isa(x, util.PrettyMapping) then inner = x:get(key) end
      collect(self, inner, path == "" and tostring(key) or paths.join(path, key), table.move(keys, 1, #keys, 1, {[#keys + 1] = key}))
    end
  else
    core.fail("TypeError", 3, "%s: the weights are States, one, a list or a map, not a %s", class.qualified_name(class.of(self)), class.typename(x))
  end
end

--- The States that update changes: one, a list, a map or a tree.  May be called again with more.
function Optimizer:register_trainable_weights(states)
  local known = #self._weights
  collect(self, states, "", {})
  for i = known + 1, #self._weights do
    local w = self._weights[i]
    for name, init in pairs(self.slots) do
      self.memory[name] = self.memory[name] or {}
      self.memory[name][w.path == "" and "weight" or w.path] = OptimState(tree.map(function(x) return init(core.mantissa(x)) end, w.state.value))
    end
  end
end

--- The gradient of a weight, as it lies in grads.
local function gradient_of(self, grads, w)
  local g = grads
  for _, key in ipairs(w.keys) do
    if type(g) ~= "table" then g = nil
    elseif class.isa(g, util.PrettyMapping) then g = g:get(key)
    else g = g[key] end
    if g == nil then core.fail("ValueError", 3, "%s: no gradient for '%s'", class.qualified_name(class.of(self)), w.path) end
  end
  return g
end

local function sum(x) return x:sum() end

--- All gradients (lists of leaves) scaled so that their common norm is at most `most`.
local function clip_norm(lists, most)
  local total = 0.0
  for _, leaves in ipairs(lists) do
    for _, g in ipairs(leaves) do total = total + sum(g * g) end
  end
  local norm = core.bind("sqrt", {}, total)
  local small = core.bind("lt", {}, norm, most)
  for _, leaves in ipairs(lists) do
    for i, g in ipairs(leaves) do
      local scaled = g / norm * most
      local all = core.bind("broadcast", {shape = table.move(g.shape, 1, g.ndim, 1, {}), dims = {}}, small)
      leaves[i] = core.bind("select", {}, all, g, scaled)
    end
  end
end

local function clip_value(lists, most)
  for _, leaves in ipairs(lists) do
    for i, g in ipairs(leaves) do leaves[i] = core.bind("min", {}, core.bind("max", {}, g, -most), most) end
  end
end

--- One step with the gradients in the structure of the weights.  Errors: ValueError, a gradient that is missing or of another structure.
function Optimizer:update(grads)
  local name = class.qualified_name(class.of(self))
  if #self._weights == 0 then
    core.fail("ValueError", 2, "%s: no weights; call register_trainable_weights first", name)
  end
  local lists, values, defs = {}, {}, {}
  for k, w in ipairs(self._weights) do
    local g_def
    values[k], defs[k] = core.flatten(w.state.value)
    lists[k], g_def = core.flatten(gradient_of(self, grads, w))
    if g_def ~= defs[k] then core.fail("ValueError", 2, "%s: the gradient of '%s' has the structure %s, the weight %s", name, w.path, g_def, defs[k]) end
    for i, g in ipairs(lists[k]) do lists[k][i] = core.mantissa(g) end
  end
  if self.grad_clip_norm then clip_norm(lists, self.grad_clip_norm) end
  if self.grad_clip_value then clip_value(lists, self.grad_clip_value) end
  local count = self.step_count.value + 1
  self.step_count.value = count
  for k, w in ipairs(self._weights) do
    local key = w.path == "" and "weight" or w.path
    local old, new = {}, {}
    for slot in pairs(self.slots) do old[slot], new[slot] = core.flatten(self.memory[slot][key].value), {} end
    for i, x in ipairs(values[k]) do
      local g, m = lists[k][i], core.mantissa(x)
      local slots = {}
      for slot in pairs(self.slots) do slots[slot] = old[slot][i] end
      if self.weight_decay ~= 0 then g = g + self.weight_decay * m end
      m = m - core.cast(self.lr.value, m.dtype) * self:rule(g, m, slots, count)
      for slot in pairs(self.slots) do new[slot][i] = slots[slot] end
      local unit = core.unit_of(x)
      values[k][i] = unit and core.with_unit(m, unit) or m
    end
    for slot in pairs(self.slots) do self.memory[slot][key].value = core.unflatten(defs[k], new[slot]) end
    w.state.value = core.unflatten(defs[k], values[k])
  end
end

Optimizer.step = Optimizer.update

--- A slot that begins with zeros.
function Optimizer.zeros(w) return core.bind("broadcast", {shape = table.move(w.shape, 1, w.ndim, 1, {}), dims = {}}, core.tensor(0.0, w.dtype)) end

return M

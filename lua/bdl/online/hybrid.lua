--- For each relation the traces that take less memory: of the weights (per_param) or of inputs and outputs (io_factorized).
-- Of the weights where inputs + outputs of the operation have more elements than batch x weights, as with convolutions.
-- Source: brainscale 0.1.0, HybridDimVjpAlgorithm.

local class = require "bdl.class"
local IOFactorized = require "bdl.online.io_factorized"
local PerParam = require "bdl.online.per_param"
local ETraceConfig = require "bdl.online.config".ETraceConfig
local ETraceParam = require "bdl.online.state".ETraceParam
local util = require "bdl.util"

local Hybrid = class "Hybrid"

local function elements(shape)
  local n = 1
  for _, k in ipairs(shape) do n = n * k end
  return n
end

--- Does the parameter say what it wants (ETraceParam.grad)?  Else the smaller one.
local function full(relation)
  local op = relation._op
  local weights, xs, batch = 0, 0, 1
  for _, w in ipairs(relation._weights) do
    if w.excluded or not w.term then return false end
    local wish = class.isa(w.state, ETraceParam) and w.state.grad
    if wish == "full" then return true end
    if wish == "approx" then return false end
    weights = weights + elements(op.operands[w.operand].shape)
    batch = math.max(batch, w.term.r)
  end
  for k = 1, op.inputs do xs = xs + elements(op.operands[k].shape) end
  return xs + elements(op.result.shape) > batch * weights
end

function Hybrid:__init(graph, config, options)
  local part = {full = {}, approx = {}}
  for _, relation in ipairs(graph.relations) do table.insert(full(relation) and part.full or part.approx, relation) end
  local function some(relations) return setmetatable({relations = relations}, {__index = graph}) end
  self.params = PerParam(some(part.full), ETraceConfig(), options)
  self.factors = IOFactorized(some(part.approx), config, options)
  self.n = #self.params:types()
end

local function first(list, n) return table.move(list, 1, n, 1, {}) end
local function rest(list, n) return table.move(list, n + 1, #list, 1, {}) end

function Hybrid:types()
  local list = self.params:types()
  return table.move(self.factors:types(), 1, #self.factors:types(), #list + 1, list)
end

function Hybrid:advance(old, values)
  local list = self.params:advance(first(old, self.n), values)
  local more = self.factors:advance(rest(old, self.n), values)
  return table.move(more, 1, #more, #list + 1, list)
end

function Hybrid:gradient(traces, values, signal, steps)
  local of = self.params:gradient(first(traces, self.n), values, signal, steps)
  for i, g in pairs(self.factors:gradient(rest(traces, self.n), values, signal, steps)) do of[i] = of[i] and of[i] + g or g end
  return of
end

function Hybrid:maps(states)
  local maps = self.params:maps(first(states, self.n))
  for name, map in pairs(self.factors:maps(rest(states, self.n))) do maps[name] = map end
  return maps
end

function Hybrid:of(weight)
  local found = util.PrettyMapping()
  for _, part in ipairs{self.params, self.factors} do
    for key, s in part:of(weight):items() do found[key] = s end
  end
  return found
end

return Hybrid

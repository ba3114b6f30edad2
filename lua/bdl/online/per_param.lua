--- Traces of each element of a parameter: D-RTRL, e-prop, OSTL.
--
--   e_t = D_t e_t-1 + x_t (x) Df_t          dL_t/dW = sum over states of L_t e_t
--
-- D may be replaced by a leak, or left out.  kappa: the gradient uses ebar_t = kappa ebar_t-1 + e_t.
-- Memory: states x weights, of each element of the batch.
-- Source: Wang et al. 2024 (D-RTRL); Bellec et al. 2020 (e-prop); Bohnstingl et al. 2022 (OSTL).

local core = require "bdl.core"
local class = require "bdl.class"
local kernel = require "bdl.online.kernel"
local Values = require "bdl.online.values"
local t = require "bdl.augment.trace"

local PerParam = class "PerParam"

--- Errors: none; a weight whose operation has no canonical form is excluded with the reason.
function PerParam:__init(graph, config, options)
  self.graph = graph
  self.config = config
  self.options = options
  self.entries = {} -- {relation, weight, group, term, shape}
  for _, relation in ipairs(graph.relations) do
    for _, w in ipairs(relation._weights) do
      if not w.excluded then
        for _, group in ipairs(relation.hidden_groups) do
          local rows = w.term.r * Values.copies(relation, group)
          self.entries[#self.entries + 1] = {relation = relation, weight = w, group = group, term = w.term,
                                             shape = {group.num_state, rows, w.term.i, w.term.k}}
        end
      end
    end
  end
end

--- Types of the traces to keep, in the order in which advance takes and gives them.
function PerParam:types()
  local list = {}
  for i, e in ipairs(self.entries) do
    local like = {dtype = e.relation._op.result.dtype, shape = e.shape}
    list[#list + 1] = {type = like, name = ("etrace_bwg.%d"):format(i)}
    if self.config.kappa then list[#list + 1] = {type = like, name = ("etrace_filtered.%d"):format(i)} end
  end
  return list
end

local function scalar(x, like) return core.cast(core.tensor(x), like.dtype) end

--- d[a][c] in rows and outputs, by the rule's recursion.
function PerParam:transition(values, e, a, c)
  local kind = self.config.temporal_recursion
  if kind == "none" or kind == "scalar_leak" and a ~= c then return nil end
  local type = {dtype = e.relation._op.result.dtype, shape = {e.shape[2], e.term.k}}
  if kind == "scalar_leak" then return t.broadcast(scalar(self.config.decay, type), type.shape) end
  local d = self.options.coupled and self.options.coupled(values, e.group, a, c) or values:d(e.group, a, c)
  return Values.spread(e.term, Values.like_y(e.relation, d))
end

local function clip(x) -- x over its largest magnitude where that exceeds 1
  local axes = {}
  for k = 1, x.ndim do axes[k] = k - 1 end
  local most = core.bind("reduce_max", {axes = axes}, core.bind("abs", {}, x))
  return core.bind("div", {}, x, core.bind("max", {}, most, 1.0))
end

--- The traces of a step from those before it.
function PerParam:advance(old, values)
  local new, at = {}, 1
  for _, e in ipairs(self.entries) do
    local S = e.group.num_state
    local x, phi, psi = values:lift(e.term, e.relation)
    local f = {}
    for a = 1, S do
      local df = Values.like_y(e.relation, values:df(e.group, a, e.relation))
      if df and phi then df = core.bind("mul", {}, df, phi) end
      f[a] = Values.spread(e.term, df)
      if f[a] and e.term.pairs then f[a] = core.bind("mul", {}, f[a], x) end
    end
    if e.term.pairs then x = nil end
    new[at] = self:stepped(e, old[at], values, x, psi, f)
    if self.config.kappa then
      new[at + 1] = core.bind("add", {}, core.bind("mul", {}, old[at + 1], scalar(self.config.kappa, old[at + 1])), new[at])
      at = at + 1
    end
    at = at + 1
  end
  return new
end

--- A trace after a step.  x, psi : of the term;  f[a] : Df in rows and outputs, or nil.
function PerParam:stepped(e, old, values, x, psi, f)
  local d, S = {}, e.group.num_state
  for a = 1, S do
    d[a] = {}
    for c = 1, S do d[a][c] = self:transition(values, e, a, c) end
  end
  return self.options.clip and self:clipped(old, x, psi, d, f) or kernel.step(old, x, psi, d, f)
end

--- brainscale 0.1.0: what a step adds and the new trace are divided by their largest magnitude where that exceeds 1.
function PerParam:clipped(e, x, psi, d, f)
  local none = {}
  for a = 1, e.shape[1] do none[a] = {} end
  local added = clip(kernel.step(t.zeros{dtype = e.dtype, shape = table.move(e.shape, 1, 4, 1, {})}, x, psi, none, f))
  return clip(core.bind("add", {}, kernel.step(e, nil, nil, d, {}), added))
end

--- signal(group, a) : L at the positions of h, or nil.  Returns input number -> gradient of that leaf.
function PerParam:gradient(traces, values, signal)
  local of, at = {}, 1
  for _, e in ipairs(self.entries) do
    if self.config.kappa then at = at + 1 end
    local g = values:fold(e.term, e.relation, self:contracted(e, traces[at], signal))
    local i = e.weight.input
    of[i] = of[i] and core.bind("add", {}, of[i], g) or g
    at = at + 1
  end
  return of
end

--- sum over states and rows of L e: [Q, I, K].
function PerParam:contracted(e, trace, signal)
  local l = {}
  for a = 1, e.group.num_state do l[a] = Values.spread(e.term, Values.like_y(e.relation, signal(e.group, a))) end
  return kernel.grad(trace, l, e.term.q)
end

--- Trace k as users see it: the axes of y's rows, inputs and outputs, states last.
function PerParam:maps(states)
  local util = require "bdl.util"
  local bwg, at = util.PrettyMapping(), 1
  for _, e in ipairs(self.entries) do
    local r = e.relation
    local key = ("%s -> group %d"):format(r.path .. (e.weight.key ~= "" and "." .. e.weight.key or ""), e.group.index)
    while bwg[key] ~= nil do key = key .. "'" end
    bwg[key] = states[at]
    e.state = states[at]
    at = at + (self.config.kappa and 2 or 1)
  end
  return {etrace_bwg = bwg}
end

--- The traces of a parameter, by its path or itself.
function PerParam:of(weight)
  local found = require "bdl.util".PrettyMapping()
  for _, e in ipairs(self.entries) do
    if e.weight.state == weight or e.weight.path == weight then
      found[("%s -> group %d"):format(e.weight.key == "" and "weight" or e.weight.key, e.group.index)] = e.state
    end
  end
  return found
end

return PerParam

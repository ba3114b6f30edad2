--- Traces of the influence of a weight on the positions that its output reaches within n - 1 steps: SnAp-n.
--
--   e_t[(j,a)] = sum over (l,c) of D_t[(j,a),(l,c)] e_t-1[(l,c)] + (x (x) Df_a where j is the output's own position)
--   D_t[(j,a),(l,c)] = dh_a[at(p,j)]/dh_c[at(p,l)]          at(p, .) : p itself, then what it reaches, ascending
--
-- n large enough: all of the group, real-time recurrent learning.  Memory: states x neighbours x weights.
-- Source: Menick et al. 2021, Practical real time recurrent learning with a sparse approximation.

local core = require "bdl.core"
local coupled = require "bdl.online.coupled"
local kernel = require "bdl.online.kernel"
local PerParam = require "bdl.online.per_param"
local Values = require "bdl.online.values"
local t = require "bdl.augment.trace"

local SnAp = PerParam:extend "SnAp"

SnAp.MOST = 1 << 24 -- elements of the Jacobian of a group

--- The reference knows the pattern of a matrix product between hidden States alone; else everything reaches everything.
local function unknown_to_reference(g, group)
  local function shape(x) return table.concat(x, ",") end
  for _, op in ipairs(g.info.structure.ops) do
    local x = op.operands[1]
    if op.leads and (op.inputs ~= 1 or shape(x.shape) ~= shape(group.varshape)) then return true end
  end
  return false
end

--- The position of each element of y's canonical rows and outputs: int32 [rows outputs].
local function positions(e)
  local shape, dtype = e.group.varshape, e.relation._op.result.dtype
  return core.run_once(function()
    local all = core.bind("iota", {shape = {coupled.elements(shape)}, axis = 0, dtype = dtype})
    local at = Values.spread(e.term, Values.like_y(e.relation, t.reshape(all, shape)))
    return {core.cast(t.reshape(at, {at.size}), "int32")}
  end)[1]
end

--- options.most : elements of a Jacobian;  options.reference : patterns as in braintrace 0.2.6.
function SnAp:__init(graph, config, options)
  SnAp.super.__init(self, graph, config, options)
  self.jacobians = {}
  for _, e in ipairs(self.entries) do
    local group = e.group
    if not self.jacobians[group] then
      local whole = options.reference and unknown_to_reference(graph, group)
      local near = coupled.neighbours(graph, group, config.sparse_n, options.most or SnAp.MOST, whole)
      self.jacobians[group] = coupled.Jacobian(graph, group, near)
    end
    local g = self.jacobians[group].graph
    e.shape[1] = g.width * group.num_state
    e.positions = positions(e)
  end
  self.last = setmetatable({}, {__mode = "k"})
end

--- D of a group: [positions, neighbours and states, the same].
function SnAp:influence(values, group)
  self.last[values] = self.last[values] or {}
  local found = self.last[values][group]
  if found then return found end
  local jacobian = self.jacobians[group]
  local g, P, S = jacobian.graph, jacobian.n, group.num_state
  local K, C = g.width, g.lanes
  local rows = {}
  for a, x in ipairs(jacobian:columns(values)) do rows[a] = t.reshape(x, {1, S, C * P}) end
  local at = core.bind("max", {}, g.at, core.tensor(0, "int32"))
  local from = core.bind("gather", {axis = 0}, g.lane, at)
  local function along(x, axis) return core.bind("broadcast", {shape = {P, K, K}, dims = {0, axis}}, x) end
  local index = core.bind("add", {}, core.bind("mul", {}, along(from, 2), core.tensor(P, "int32")), along(at, 1))
  local all = core.bind("concatenate", {axis = 0}, table.unpack(rows))
  local d = core.bind("gather", {axis = 2}, all, index) -- [a, c, P, j, l]
  local direct = core.bind("broadcast", {shape = d.shape, dims = {2, 3, 4}}, g.direct)
  d = core.bind("select", {}, direct, d, t.zeros{dtype = d.dtype, shape = table.move(d.shape, 1, 5, 1, {})})
  d = t.reshape(core.bind("permute", {axes = {2, 3, 0, 4, 1}}, d), {P, K * S, K * S})
  self.last[values][group] = d
  return d
end

--- D e of an entry; slots are neighbours, then states.
function SnAp:carried(e, old, values)
  local M, R, I, K = table.unpack(e.shape)
  local d = core.cast(core.bind("gather", {axis = 0}, self:influence(values, e.group), e.positions), old.dtype)
  local rows = t.reshape(core.bind("permute", {axes = {1, 3, 0, 2}}, old), {R * K, M, I})
  local z = core.bind("dot", {lhs_contract = {2}, rhs_contract = {1}, lhs_batch = {0}, rhs_batch = {0}}, d, rows)
  return core.bind("permute", {axes = {2, 0, 3, 1}}, t.reshape(z, {R, K, M, I}))
end

function SnAp:stepped(e, old, values, x, psi, f)
  local M, R, I, K = table.unpack(e.shape)
  local S, none = e.group.num_state, {}
  for a = 1, S do none[a] = {} end
  local added = kernel.step(t.zeros{dtype = old.dtype, shape = {S, R, I, K}}, x, psi, none, f)
  local zero = core.cast(core.tensor(0.0), old.dtype)
  added = core.bind("pad", {lo = {0, 0, 0, 0}, hi = {M - S, 0, 0, 0}, inner = {0, 0, 0, 0}}, added, zero)
  return core.bind("add", {}, self:carried(e, old, values), added)
end

--- sum over slots and rows of L at the neighbours times e.
function SnAp:contracted(e, trace, signal)
  local M, R, I, K = table.unpack(e.shape)
  local S, Q = e.group.num_state, e.term.q
  local g, l = self.jacobians[e.group].graph, {}
  local at = core.bind("max", {}, g.at, core.tensor(0, "int32"))
  at = core.bind("gather", {axis = 0}, at, e.positions) -- [R K, neighbours]
  for a = 1, S do
    local x = signal(e.group, a)
    x = core.cast(t.reshape(x, {coupled.elements(e.group.varshape)}), trace.dtype)
    l[a] = t.reshape(core.bind("gather", {axis = 0}, x, at), {R, K, g.width, 1})
  end
  local all = S == 1 and l[1] or core.bind("concatenate", {axis = 3}, table.unpack(l))
  all = core.bind("permute", {axes = {2, 0, 1}}, t.reshape(all, {R, K, M}))
  all = core.bind("broadcast", {shape = {M, R, I, K}, dims = {0, 1, 3}}, all)
  local product = t.reshape(core.bind("mul", {}, all, trace), {M, R // Q, Q, I, K})
  return core.bind("reduce_sum", {axes = {0, 1}}, product)
end

return SnAp

--- Electrical synapses: currents in proportion to differences of potential.
--  Source: Connors & Long (2004), Electrical synapses in the mammalian brain. Annu Rev Neurosci 27.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local event = require "bdl.event"
local init = require "bdl.init"
local state = require "bdl.state"
local none = require "bdl.none".none
local module = require "bdl.nn.module"
local Dynamics = require "bdl.nn.dynamics".Dynamics

local M = {}

--- A pair i, j:  I_j = w (V_i - V_j),  I_i = w' (V_j - V_i).
local GapJunction = module.Module:extend "GapJunction"

--- conn : a connection of bdl.event or {pre_ids, post_ids}, indices from 0.
function GapJunction:make(pre, post, items, conn)
  for _, x in ipairs{pre, post} do
    if not class.isa(x, Dynamics) then
      core.fail("TypeError", 3, "%s: populations are Dynamics, not a %s", class.qualified_name(class.of(self)), class.typename(x))
    end
  end
  self.pre, self.post = pre, post
  self.pre_state, self.post_state = items[1], items[2]
  local weights
  if class.isa(conn, event.Connection) then
    if not class.method(conn, "tocoo") then
      core.hint "bdl.conn.from_dense(weights) lists the synapses of a matrix"
      core.fail("TypeError", 3, "%s: a %s has no list of its synapses", class.qualified_name(class.of(self)),
                class.typename(conn))
    end
    self.pre_ids, self.post_ids, weights = conn:tocoo()
  else
    self.pre_ids, self.post_ids = conn[1], conn[2]
  end
  local m, n = self.pre_ids.shape[1], self.post_ids.shape[1]
  if m ~= n then core.fail("ValueError", 3, "%s: %d pre and %d post indices", class.qualified_name(class.of(self)), m, n) end
  local key = ("gap %p"):format(self)
  class.rawfield(self, "_keys", {key .. " to post", key .. " to pre"})
  return weights
end

local function parameter(self, weight, given)
  if weight == nil then weight = given end
  local n = {self.pre_ids.shape[1]}
  return state.ParamState(init.Constant(init.param(weight, n, nil, {allow_none = false}))(n))
end

local function value_of(self, owner, item)
  local s = owner[item]
  if not class.isa(s, state.State) then
    core.fail("ValueError", 3, "%s: %s has no State '%s'", class.typename(self), class.typename(owner), tostring(item))
  end
  return s.value
end

--- The sum of x over the places ids, along the last axis of like.
local function gathered(x, ids, like)
  local zeros = core.bind("broadcast", {shape = {table.unpack(like.shape)}, dims = {}}, core.tensor(0.0, x.dtype))
  return core.with_unit(core.bind("scatter", {axis = like.ndim - 1, op = "add"}, zeros, ids, core.mantissa(x)), core.unit_of(x))
end

local function at(x, ids) return core.with_unit(core.bind("gather", {axis = x.ndim - 1}, core.mantissa(x), ids), core.unit_of(x)) end

--- Registers the currents of this step with both populations.
function GapJunction:update()
  local V, W = value_of(self, self.pre, self.pre_state), value_of(self, self.post, self.post_state)
  local difference = at(V, self.pre_ids) - at(W, self.post_ids)
  local forth, back = self:conductances()
  self.post:add_current_input(self._keys[1], gathered(difference * forth, self.post_ids, W))
  self.pre:add_current_input(self._keys[2], gathered(-difference * back, self.pre_ids, V))
end

--- The same conductance both ways:  I_j = w (V_i - V_j),  I_i = w (V_j - V_i) for each pair i, j.
--  couples : a population or {pre, post}
--  states : the State whose values differ, by name: "V", or {of pre, of post}
--  conn : a connection of bdl.event or {pre_ids, post_ids}, indices from 0
--  weight : conductances; those of conn where none are given
--  States: weight.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.LIF(2))
--    local gap = bdl.nn.NAME(cells, "V", {bdl.tensor{0}, bdl.tensor{1}}, 0.1*bdl.units.siemens)
--    gap()
--    print(cells())
local SymmetryGapJunction = GapJunction:extend "SymmetryGapJunction"
M.SymmetryGapJunction = SymmetryGapJunction

function SymmetryGapJunction:__init(...)
  local a = args({"couples", "states", "conn", "weight", states = "V", weight = none, name = none}, ...)
  SymmetryGapJunction.super.__init(self, a.name)
  local pair = class.isa(a.couples, Dynamics) and {a.couples, a.couples} or a.couples
  local given = self:make(pair[1], pair[2], type(a.states) == "string" and {a.states, a.states} or a.states, a.conn)
  self.weight = parameter(self, a.weight, given)
end

function SymmetryGapJunction:conductances() return self.weight.value, self.weight.value end

--- A conductance each way:  I_j = w (V_i - V_j),  I_i = w' (V_j - V_i) for each pair i, j.
--  pre, post : populations
--  pre_state, post_state : the States whose values differ, by name
--  conn : a connection of bdl.event or {pre_ids, post_ids}, indices from 0
--  weight : {to post, to pre}: w and w'
--  States: weight_post, weight_pre.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.LIF(2))
--    local gap = bdl.nn.NAME(cells, "V", cells, "V", {bdl.tensor{0}, bdl.tensor{1}}, {0.1*u.siemens, 0*u.siemens})
--    gap()
--    print(cells())
local AsymmetryGapJunction = GapJunction:extend "AsymmetryGapJunction"
M.AsymmetryGapJunction = AsymmetryGapJunction

function AsymmetryGapJunction:__init(...)
  local a = args({"pre", "pre_state", "post", "post_state", "conn", "weight", name = none}, ...)
  AsymmetryGapJunction.super.__init(self, a.name)
  if type(a.weight) ~= "table" or #a.weight ~= 2 then core.fail("ValueError", 2, "nn.AsymmetryGapJunction: weight is {to post, to pre}") end
  self:make(a.pre, a.post, {a.pre_state, a.post_state}, a.conn)
  self.weight_post, self.weight_pre = parameter(self, a.weight[1]), parameter(self, a.weight[2])
end

function AsymmetryGapJunction:conductances() return self.weight_post.value, self.weight_pre.value end

return M

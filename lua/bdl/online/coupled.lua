--- The Jacobian of a hidden group with its recurrent weights in it: dh_a[p]/dh_c[q], positions p, q, states a, c.
--
-- One batched forward-mode program.  Positions that reach nothing in common in a step share a lane: a group with an axis
-- of batch needs the lanes of one element, a group without recurrence one lane a state.
-- Source: Curtis, Powell & Reid 1974, compressed columns.

local class = require "bdl.class"
local core = require "bdl.core"
local t = require "bdl.augment.trace"

local M = {}

local function elements(shape)
  local n = 1
  for _, k in ipairs(shape) do n = n * k end
  return n
end
M.elements = elements

--- dh/dh of the group's members before, as a program: inputs, tangents in the order of `order`; results and tangents.
function M.forward(g, group)
  local s = g.info.step
  local active, order = {}, {}
  for k, a in ipairs(group._members) do
    active[s.hidden[a].input] = true
    order[k] = {k = k, input = s.hidden[a].input}
  end
  table.sort(order, function(x, y) return x.input < y.input end)
  local place, at = {}, #s.p.types
  for i, y in ipairs(s.p.types) do
    if t.is_float(y.dtype) then
      at = at + 1
      place[i] = at
    end
  end
  local program = core.derive(s.flat, "jvp", t.flags(#s.p.inputs, function(i) return active[i] end))
  return {program = program, order = order, place = place}
end

--- Positions of the group as a graph (runtime/online/online.h).  order : steps of influence, from 1;  most : elements that
--  the Jacobian may have, 0 any;  whole : everything depends on everything.
function M.neighbours(g, group, order, most, whole)
  local s, ins, outs, known = g.info.step, {}, {}, {}
  for a, h in ipairs(s.hidden) do
    ins[a] = h.input
    outs[a] = h.output
  end
  for i, like in ipairs(s.p.inputs) do
    if s.p.argument[i] <= 0 and s.p.state[i] <= 0 then known[i] = like end
  end
  return core.online_neighbours(s.flat, ins, outs, group._members, not whole and known, order, most)
end

local Jacobian = class "Jacobian"
M.Jacobian = Jacobian

--- graph : neighbours of the group.
function Jacobian:__init(g, group, graph)
  self.g, self.group, self.graph = g, group, graph
  self.n = elements(group.varshape)
  self.f = M.forward(g, group)
  local n_inputs, n = #g.info.step.p.inputs, group.num_state
  local lanes = t.flags(n_inputs + n, function(i) return i > n_inputs end)
  self.program, self.flags = core.batch(self.f.program, lanes, n * graph.lanes)
  self.last = setmetatable({}, {__mode = "k"})
end

--- 1 at the positions of lane l in state k of row (k, l), 0 elsewhere: [n lanes, positions].
local function seed(self, k, dtype)
  local C, P = self.graph.lanes, self.n
  local shape = {self.group.num_state * C, P}
  local row = core.bind("iota", {shape = shape, axis = 0, dtype = "int32"})
  local own = core.bind("add", {}, self.graph.lane, core.tensor((k - 1) * C, "int32"))
  local lane = core.bind("broadcast", {shape = shape, dims = {1}}, own)
  return core.cast(core.bind("eq", {}, row, lane), dtype)
end

--- For each state a: [states c, lanes, positions p], dh_a[p]/dh_c[q] at the lane of q where p depends on q.
function Jacobian:columns(values)
  if self.last[values] then return self.last[values] end
  local s, n, P = self.g.info.step, self.group.num_state, self.n
  local tangents = {}
  for slot, o in ipairs(self.f.order) do
    local h = s.hidden[self.group._members[o.k]]
    tangents[slot] = t.reshape(seed(self, o.k, h.type.dtype), t.joined({n * self.graph.lanes}, self.group.varshape))
  end
  local out = core.apply(self.program, t.joined(values.inputs, tangents))
  local rows = {}
  for k, a in ipairs(self.group._members) do
    local i = self.f.place[s.hidden[a].output]
    local x = self.flags[i] and out[i] or t.broadcast(out[i], t.joined({n * self.graph.lanes}, self.group.varshape))
    rows[k] = t.reshape(x, {n, self.graph.lanes, P})
  end
  self.last[values] = rows
  return rows
end

--- dh_a[p]/dh_c[p], of the group's shape.
function Jacobian:diagonal(values, a, c)
  local C, P = self.graph.lanes, self.n
  local block = t.reshape(t.rows(self:columns(values)[a], c - 1, c), {C, P})
  local own = core.bind("gather_along", {axis = 0}, block, t.reshape(self.graph.lane, {1, P}))
  return t.reshape(own, self.group.varshape)
end

--- A function for PerParam and IOFactorized: D_ac of a group at its positions.
function M.blocks(g)
  local of = {}
  return function(values, group, a, c)
    of[group] = of[group] or Jacobian(g, group, M.neighbours(g, group, 1, 0, false))
    return of[group]:diagonal(values, a, c)
  end
end

return M

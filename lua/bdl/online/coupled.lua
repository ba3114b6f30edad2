--- D with the recurrent weights in it: the blocks of the whole Jacobian at each position, states of a group by states.
-- The Jacobian is one batched forward-mode program, a lane for each position and state.

local core = require "bdl.core"
local t = require "bdl.augment.trace"

local M = {}

local function elements(shape)
  local n = 1
  for _, k in ipairs(shape) do n = n * k end
  return n
end

--- The program whose lanes are the columns of the group's Jacobian.
local function jacobian_program(g, group)
  local s = g.info.step
  local active, n = {}, group.num_state
  for _, a in ipairs(group._members) do active[s.hidden[a].input] = true end
  local p = core.derive(s.flat, "jvp", t.flags(#s.p.inputs, function(i) return active[i] end))
  local lanes = n * elements(group.varshape)
  local batched, flags = core.batch(p, t.flags(#s.p.inputs + n, function(i) return i > #s.p.inputs end), lanes)
  -- tangents come in the order of inputs, outputs' tangents in that of float outputs
  local order = {}
  for k, a in ipairs(group._members) do order[k] = {k = k, input = s.hidden[a].input} end
  table.sort(order, function(x, y) return x.input < y.input end)
  local place, at = {}, #s.p.types
  for i, y in ipairs(s.p.types) do
    if t.is_float(y.dtype) then
      at = at + 1
      place[i] = at
    end
  end
  return {program = batched, flags = flags, order = order, place = place, lanes = lanes}
end

--- [positions, states] of row and column: dh_a[p]/dh_c[q] as a list over a of tensors [states (c), positions (q), positions (p)].
function M.whole(g, group, made, operands)
  local s, n, P = g.info.step, group.num_state, elements(group.varshape)
  local tangents = {}
  for slot, o in ipairs(made.order) do
    local dtype = s.hidden[group._members[o.k]].type.dtype
    local one = core.bind("iota", {shape = {made.lanes, P}, axis = 0, dtype = "int32"})
    local at = core.bind("iota", {shape = {made.lanes, P}, axis = 1, dtype = "int32"})
    local hot = core.cast(core.bind("eq", {}, one, core.bind("add", {}, at, core.tensor((o.k - 1) * P, "int32"))), dtype)
    tangents[slot] = t.reshape(hot, t.joined({made.lanes}, group.varshape))
  end
  local out = core.apply(made.program, t.joined(operands, tangents))
  local rows = {}
  for k, a in ipairs(group._members) do
    local i = made.place[s.hidden[a].output]
    local x = made.flags[i] and out[i] or t.broadcast(out[i], t.joined({made.lanes}, group.varshape))
    rows[k] = t.reshape(x, {n, P, P})
  end
  return rows
end

--- A function for PerParam and IOFactorized: D_ac of a group at its positions.
function M.blocks(g)
  local made, last = {}, setmetatable({}, {__mode = "k"})
  return function(values, group, a, c)
    made[group] = made[group] or jacobian_program(g, group)
    last[values] = last[values] or {}
    local rows = last[values][group]
    if not rows then
      rows = M.whole(g, group, made[group], values.inputs)
      last[values][group] = rows
    end
    local P = elements(group.varshape)
    local block = t.reshape(t.rows(rows[a], c - 1, c), {P * P})
    local diagonal = core.bind("slice", {start = {0}, stop = {P * P}, step = {P + 1}}, block)
    return t.reshape(diagonal, group.varshape)
  end
end

M.jacobian_program, M.elements = jacobian_program, elements
return M

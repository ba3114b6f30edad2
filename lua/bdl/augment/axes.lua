--- Which axis of what is mapped: in_axes and out_axes over trees, in_states and out_states, StateAxes.
--
-- An axis is a position: from 1, or from -1 backwards; bdl.none: shared by all lanes.

local core = require "bdl.core"
local class = require "bdl.class"
local filters = require "bdl.filter"
local graph = require "bdl.graph"
local state = require "bdl.state"
local t = require "bdl.augment.trace"
local util = require "bdl.util"
local NONE, REST = require "bdl.none".none, require "bdl.none".rest

local M = {}

--- The axes of a Node's States: StateAxes{tag = axis, [Class] = axis, [bdl.rest] = axis}.  Tags are tried first, then classes,
--  derived ones before their parents, the rest last.
--  Example:
--    print(bdl.augment.StateAxes{new = 1, [bdl.rest] = bdl.none})
local StateAxes = class "StateAxes"
M.StateAxes = StateAxes

local function rank(key)
  if key == REST or key == "..." then return 3 end
  return class.is_class(key) and 2 or 1
end

local function before(a, b)
  if rank(a) ~= rank(b) then return rank(a) < rank(b) end
  if rank(a) ~= 2 then return tostring(a) < tostring(b) end
  if class.derives(a, b) ~= class.derives(b, a) then return class.derives(a, b) end
  return class.qualified_name(a) < class.qualified_name(b)
end

function StateAxes:__init(axes)
  if not t.is_plain(axes) then
    core.fail("TypeError", 2, "StateAxes: a table {filter = axis} is needed, not a %s", class.typename(axes))
  end
  local keys = {}
  for key in pairs(axes) do keys[#keys + 1] = key end
  table.sort(keys, before)
  self.rules = {}
  for i, key in ipairs(keys) do self.rules[i] = {filters.to_predicate(key), M.check("StateAxes", axes[key])} end
end

--- Position or false.  Errors: ValueError, no filter takes the State.
function StateAxes:of(path, s)
  for _, rule in ipairs(self.rules) do
    if rule[1](path, s) then return rule[2] end
  end
  core.hint "end with [bdl.rest] = bdl.none"
  core.fail("ValueError", 4, "StateAxes: no filter takes the %s", t.state_name(s))
end

--- A position, or false for bdl.none.  Errors: ValueError, TypeError.
function M.check(who, axis)
  if axis == NONE or axis == false then return false end
  if math.type(axis) ~= "integer" then
    core.fail("TypeError", 4, "%s: an axis is a position or bdl.none, not %s", who, type(axis) == "number" and tostring(axis) or "a " .. class.typename(axis))
  end
  if axis == 0 then core.fail("ValueError", 4, "%s: axis 0: positions start at 1 in bdl (Python's axis 0 is axis 1)", who) end
  return axis
end

--- The index from 0 of a position among n axes of `what`.  Errors: ValueError.
function M.index(who, axis, n, what)
  local i = axis > 0 and axis - 1 or n + axis
  if i < 0 or i >= n then core.fail("ValueError", 4, "%s: %s has no axis %d", who, what, axis) end
  return i
end

--- A Node or State: mapped by its States, not by its value.
function M.is_object(x) return class.isa(x, state.State) or class.isa(x, graph.Node) end

--- path -> State of a Node or State
function M.states_of(x)
  if class.isa(x, state.State) then return util.FlattedDict{[""] = x} end
  return graph.states(x)
end

--- Keys and values of an inner node of a tree in the order of its leaves; nothing for a leaf.
local function children(x)
  if type(x) ~= "table" or M.is_object(x) then return end
  if class.of(x) then
    local flatten = class.method(x, "__flatten")
    if not flatten then return end
    local _, keys, values = flatten(x)
    return keys, values
  end
  local keys, values = util.sorted_keys(x), {}
  for i, key in ipairs(keys) do values[i] = x[key] end
  return keys, values
end

--- Visits the leaves of x in the order of core.flatten: leaf(x, axis, path), object(x, axis or StateAxes, path).
--  spec : an axis, StateAxes, or a tree of these that x refines.  Errors: ValueError, TypeError naming the place.
function M.walk(who, spec, x, path, leaf, object)
  if x == NONE then return end
  local keys, values = children(x)
  local by_key = (t.is_plain(spec) or class.isa(spec, util.PrettyMapping)) and spec ~= NONE
  if not by_key and not class.isa(spec, StateAxes) then spec = M.check(who, spec) end
  if not keys then
    if by_key then core.fail("ValueError", 4, "%s: axes are given for parts of %s, which has none", who, path) end
    if M.is_object(x) then return object(x, spec, path) end
    if class.isa(spec, StateAxes) then core.fail("TypeError", 4, "%s: StateAxes are for Nodes; %s is not one", who, path) end
    return leaf(x, spec, path)
  end
  for i, key in ipairs(keys) do
    local inner = spec
    if by_key then
      inner = spec[key]
      if inner == nil then core.fail("ValueError", 4, "%s: no axis for '%s' of %s", who, tostring(key), path) end
    end
    M.walk(who, inner, values[i], ("%s[%s]"):format(path, type(key) == "string" and ("%q"):format(key) or tostring(key)), leaf, object)
  end
  if by_key then
    for key in pairs(spec) do
      local known = false
      for _, k in ipairs(keys) do known = known or k == key end
      if not known then core.fail("ValueError", 4, "%s: an axis for '%s', which %s does not have", who, tostring(key), path) end
    end
  end
end

--- The axes of n values: a list has one for each.  Errors: ValueError, another number.
function M.each(who, spec, n, what)
  local list = t.is_plain(spec) and spec ~= NONE and (#spec > 0 or next(spec) == nil)
  if list and #spec ~= n then core.fail("ValueError", 4, "%s: %d axes for %d %s", who, #spec, n, what) end
  local axes = {}
  for i = 1, n do axes[i] = list and spec[i] or spec end
  return axes
end

--- in_states or out_states as a list {State, position}: a State, a list, map or tree of States (axis 1), or {[axis] = tree}.
--  Errors: TypeError; ValueError, a mixture of both forms.
function M.states(who, x)
  local found = {}
  if x == nil or x == NONE then return found end
  local function visit(v, axis)
    if M.is_object(v) and class.isa(v, state.State) then
      found[#found + 1] = {v, axis}
    elseif t.is_plain(v) or class.isa(v, util.PrettyMapping) then
      for _, key in ipairs(util.sorted_keys(v)) do
        local inner = v[key]
        if class.isa(v, util.PrettyMapping) then inner = v:get(key) end
        visit(inner, axis)
      end
    else
      core.fail("TypeError", 4, "%s: States are one, a list, a map or {[axis] = States}, not a %s", who, class.typename(v))
    end
  end
  local by_axis, direct = 0, 0
  if t.is_plain(x) then
    for key, v in pairs(x) do
      if math.type(key) == "integer" and not class.isa(v, state.State) then by_axis = by_axis + 1 else direct = direct + 1 end
    end
  end
  if by_axis > 0 and direct > 0 then
    core.fail("ValueError", 4, "%s: a mixture of States and {[axis] = States}; write {[1] = .., [2] = ..} for all", who)
  end
  if by_axis == 0 then
    visit(x, 1)
  else
    for _, axis in ipairs(util.sorted_keys(x)) do visit(x[axis], M.check(who, axis)) end
  end
  return found
end

return M

--- Several hidden states in one State: parts of the last axis, by position or name.
--
--   s = bdl.HiddenGroupState(value)         value [.., n] of one unit;  s:get_value(1), s:get_value "1", s.num_state
--   s = bdl.HiddenTreeState{v = v, i = i}   parts [..] of any units, kept as plain numbers; names in sorted order
--   s:set_value{v = v}   s:set_value{x1, x2}        some parts, or all from the first on
--
-- Positions count from 1, negative ones from the end.  s.value is all of them, of a tree without units.
local core = require "bdl.core"
local class = require "bdl.class"
local state = require "bdl.state"
local suggest = require "bdl.suggest"
local util = require "bdl.util"

local M = {}

--- Several hidden states of one unit in one State, parts of the last axis: s:get_value(i), s:set_value{..},
--  s.num_state.
--  Example:
--    local s = bdl.HiddenGroupState(bdl.ones(3, 2))
--    print(s:get_value(2))
local HiddenGroupState = state.HiddenState:extend "HiddenGroupState"
M.HiddenGroupState = HiddenGroupState

function HiddenGroupState:__check(value)
  state.HiddenState.__check(self, value)
  if value.ndim < 2 then
    core.fail("ValueError", 3, "%s: the value is [.., n], n states in the last axis of at least 2, not of %d axes",
              class.of(self).name, value.ndim)
  end
end

local base_index = state.HiddenState.__index

--- The shape of one part of [.., n].
local function part_shape(x)
  local shape = {table.unpack(x.shape)}
  shape[#shape] = nil
  return shape
end

function HiddenGroupState.__index(self, key)
  if key == "varshape" then return part_shape(self) end
  if key == "num_state" then return self.shape[-1] end
  return base_index(self, key)
end

--- The position of a part.  Errors: IndexError, KeyError, TypeError.
local function position(self, who, item)
  local n, names = self.num_state, rawget(self, "names")
  if math.type(item) == "integer" then
    if item == 0 or math.abs(item) > n then
      core.fail("IndexError", 3, "%s: part %d of %d; positions count from 1", who, item, n)
    end
    return item < 0 and n + 1 + item or item
  elseif type(item) == "string" then
    for i = 1, n do
      if item == (names and names[i] or tostring(i)) then return i end
    end
    core.fail("KeyError", 3, "%s: no part '%s'%s", who, item, suggest.hint(item, names or {}))
  end
  core.fail("TypeError", 3, "%s: a part is a position or a name, not a %s", who, class.typename(item))
end

local function slice(x, i)
  local start, stop, step, shape = {}, {}, {}, {}
  for k = 1, x.ndim do
    start[k], stop[k], step[k] = 0, x.shape[k], 1
    shape[k] = k < x.ndim and x.shape[k] or nil
  end
  start[x.ndim], stop[x.ndim] = i - 1, i
  return core.bind("reshape", {shape = shape}, core.bind("slice", {start = start, stop = stop, step = step}, x))
end

--- Parts [..], plain numbers, beside each other: [.., n].
local function stacked(parts)
  local wide = {}
  for i, x in ipairs(parts) do
    local shape = {table.unpack(x.shape)}
    shape[#shape + 1] = 1
    wide[i] = core.bind("reshape", {shape = shape}, x)
  end
  return #wide == 1 and wide[1] or core.bind("concatenate", {axis = parts[1].ndim}, table.unpack(wide))
end

function HiddenGroupState:unit_of(i)
  local units = rawget(self, "units")
  if units then return units[i] or nil end
  return core.unit_of(self.value)
end

--- One part, with its unit.
function HiddenGroupState:get_value(item)
  local i = position(self, "get_value", item)
  return core.with_unit(slice(core.mantissa(self.value), i), self:unit_of(i))
end

--- Writes parts: a list from the first on, or a table by position and name.
--  Errors: TypeError no table; ValueError none given; ShapeError another shape than the parts'; UnitMismatchError.
function HiddenGroupState:set_value(values)
  if type(values) ~= "table" or getmetatable(values) ~= nil then
    core.fail("TypeError", 2, "set_value: a list of parts or a table by position and name is needed, not a %s",
              class.typename(values))
  end
  if next(values) == nil then core.fail("ValueError", 2, "set_value: no part is given") end
  local old = core.mantissa(self.value)
  local parts, shape = {}, part_shape(old)
  for i = 1, self.num_state do parts[i] = slice(old, i) end
  for _, key in ipairs(util.sorted_keys(values)) do
    local i, x = position(self, "set_value", key), values[key]
    x = core.is_tensor(x) and x or core.tensor(x)
    local unit = self:unit_of(i)
    if unit or core.unit_of(x) then x = core.convert(x, unit) end
    local same = x.ndim == #shape
    for k, n in ipairs(shape) do same = same and x.shape[k] == n end
    if not same then
      core.fail("ShapeError", 2, "set_value: part %s is [%s], not [%s]", tostring(key),
                table.concat({table.unpack(x.shape)}, ","), table.concat(shape, ","))
    end
    parts[i] = core.cast(core.mantissa(x), old.dtype)
  end
  self.value = core.with_unit(stacked(parts), core.unit_of(self.value))
end

--- Hidden states of any units in one State, kept as plain numbers.
--  parts : a list, or a table by name, of tensors and quantities of one shape
--  Errors: TypeError, ShapeError.
--  Example:
--    local s = bdl.HiddenTreeState{V = bdl.ones(3) * bdl.units.mV, w = bdl.zeros(3)}
--    print(s:get_value "V")
local HiddenTreeState = HiddenGroupState:extend "HiddenTreeState"
M.HiddenTreeState = HiddenTreeState

function HiddenTreeState:__init(parts, opts)
  if type(parts) ~= "table" or getmetatable(parts) ~= nil or next(parts) == nil then
    core.fail("TypeError", 2, "HiddenTreeState: a list or table of parts is needed, not a %s", class.typename(parts))
  end
  local names, units, list = util.sorted_keys(parts), {}, {}
  for i, key in ipairs(names) do
    local x = parts[key]
    if not core.is_tensor(x) then
      core.fail("TypeError", 2, "HiddenTreeState: part %s is one tensor or quantity, not a %s", tostring(key),
                class.typename(x))
    end
    units[i], list[i], names[i] = core.unit_of(x) or false, core.mantissa(x), tostring(key)
    local same = x.ndim == list[1].ndim
    for k = 1, x.ndim do same = same and x.shape[k] == list[1].shape[k] end
    if not same then
      core.fail("ShapeError", 2, "HiddenTreeState: part %s is [%s], part %s [%s]; all have one shape", names[i],
                table.concat({table.unpack(x.shape)}, ","), names[1], table.concat({table.unpack(list[1].shape)}, ","))
    end
  end
  local all = {names = names, units = units}   -- fields, so that copies have them
  for key, x in pairs(opts or {}) do all[key] = x end
  HiddenTreeState.super.__init(self, stacked(list), all)
end

return M

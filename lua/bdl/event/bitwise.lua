--- Logic of spikes: of booleans logical, of 0 and 1 as floats by arithmetic, which has a derivative.
local core = require "bdl.core"
local suggest = require "bdl.suggest"

local M = {}

local function tensor(x) return core.is_tensor(x) and x or core.tensor(x) end
local function bind(prim, ...) return core.bind(prim, {}, ...) end
local function negated(x) return bind("not", x) end

local function count(x) return core.cast(x, (core.precision())) end

--- name -> of floats, of booleans
local OPERATIONS = {
  add = {function(x, y) return x + y end, function(x, y) return count(x) + count(y) end},
  ["or"] = {function(x, y) return x + y - x * y end, function(x, y) return bind("or", x, y) end},
  ["and"] = {function(x, y) return x * y end, function(x, y) return bind("and", x, y) end},
  iand = {function(x, y) return (1 - x) * y end, function(x, y) return bind("and", negated(x), y) end},
  xor = {function(x, y) return x + y - 2 * x * y end, function(x, y) return bind("xor", x, y) end},
  ixor = {function(x, y) return x * (1 - y) + (1 - x) * y end, function(x, y) return bind("xor", x, y) end},
}

--- x op y, op one of "add", "or", "and", "iand" (not x and y), "xor", "ixor" (the same).  Errors: ValueError, no such
--  operation.
--  Example:
--    print(bdl.event.spike_bitwise(bdl.tensor{true, false}, bdl.tensor{true, true}, "xor"))
function M.spike_bitwise(x, y, op)
  local forms = OPERATIONS[op]
  if not forms then
    local names = require "bdl.util".sorted_keys(OPERATIONS)
    core.fail("ValueError", 2, "spike_bitwise: the operation is one of '%s', not '%s'%s", table.concat(names, "', '"),
              tostring(op),
              suggest.hint(tostring(op), names))
  end
  x, y = tensor(x), tensor(y)
  if x.dtype == "bool" and y.dtype == "bool" then return forms[2](x, y) end
  if x.dtype == "bool" then x = core.cast(x, y.dtype) elseif y.dtype == "bool" then y = core.cast(y, x.dtype) end
  return forms[1](x, y)
end

--- spike_bitwise_or: x or y, of spikes that are bool, or x + y - x y.
--  Example:
--    print(bdl.event.spike_bitwise_or(bdl.tensor{true, false}, bdl.tensor{true, true}))
--- spike_bitwise_and: x and y, of spikes that are bool, or x y.
--  Example:
--    print(bdl.event.spike_bitwise_and(bdl.tensor{true, false}, bdl.tensor{true, true}))
--- spike_bitwise_iand: not x and y, of spikes that are bool, or (1 - x) y.
--  Example:
--    print(bdl.event.spike_bitwise_iand(bdl.tensor{true, false}, bdl.tensor{true, true}))
--- spike_bitwise_xor: either x or y, of spikes that are bool, or x + y - 2 x y.
--  Example:
--    print(bdl.event.spike_bitwise_xor(bdl.tensor{true, false}, bdl.tensor{true, true}))
--- spike_bitwise_ixor: the same as spike_bitwise_xor, computed as x (1 - y) + (1 - x) y.
--  Example:
--    print(bdl.event.spike_bitwise_ixor(bdl.tensor{true, false}, bdl.tensor{true, true}))
for _, op in ipairs{"or", "and", "iand", "xor", "ixor"} do
  M["spike_bitwise_" .. op] = function(x, y) return M.spike_bitwise(x, y, op) end
end

--- not x, of spikes that are bool, or 1 - x.
--  Example:
--    print(bdl.event.spike_bitwise_not(bdl.tensor{true, false}))
function M.spike_bitwise_not(x)
  x = tensor(x)
  return x.dtype == "bool" and negated(x) or 1 - x
end

return M

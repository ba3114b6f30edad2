--- Array functions, as functions bdl.f(x, ..) and methods x:f(..).  Options come last: x:sum{axis = 1}, bdl.sum(x, {axis = 1}).
local core = require "bdl.core"
local base = require "bdl.array.base"
local suggest = require "bdl.suggest"

local array, methods = {}, core.methods

for name, f in pairs(require "bdl.array.make") do array[name] = f end
for _, module in ipairs{"math", "reduce", "shape", "index", "linalg"} do
  for name, f in pairs(require("bdl.array." .. module)) do
    methods[name] = f
    if name:sub(1, 2) ~= "__" then array[name] = f end
  end
end

-- ---- values ----------------------------------------------------------------------------------------------------------

--- The number of one element.  Errors: TypeError a quantity, whose number means nothing without its unit.
--  Example:
--    print(bdl.item(bdl.tensor(2.)))
function array.item(x)
  local unit = core.unit_of(x)
  if unit then
    local name = tostring(unit)
    core.hint(("write (x / u%s):item()"):format(name:match "^%a+$" and "." .. name or ("[%q]"):format(name)))
    core.fail("TypeError", 2, "item: a plain number is needed, got a value in %s", name)
  end
  return core.item(x)
end

--- The position of an index: item + 1.
--  Example:
--    print(bdl.pos(bdl.argmax(bdl.tensor{1., 3.})))
function array.pos(x)
  local i = core.item(x)
  if math.type(i) ~= "integer" then core.fail("TypeError", 2, "pos: an index is an integer, not %s", base.text(x)) end
  return i + 1
end

--- Nested lists of numbers.
--  Example:
--    print(#bdl.totable(bdl.ones(3)))
function array.totable(x) return core.totable(x) end

--- x with another dtype: "bool", "int32", "uint32", "int64", "float32", "float64".
--  Example:
--    print(bdl.astype(bdl.ones(2), "int32"))
function array.astype(x, dtype)
  if type(dtype) ~= "string" then
    core.fail("TypeError", 2, "astype: the name of a dtype is needed, not %s", base.text(dtype))
  end
  return core.cast(base.array(x), dtype)
end

--- The same quantity in another unit.
--  Example:
--    print(bdl.to(2 * bdl.units.ms, bdl.units.second))
function array.to(x, unit) return core.convert(base.array(x), unit) end

for _, name in ipairs{"item", "pos", "totable", "astype", "to"} do methods[name] = array[name] end

--- Tensors of a tree as values of the host.
--  Example:
--    print(bdl.device_get{x = bdl.ones(2)}.x)
function array.device_get(tree)
  for _, leaf in ipairs((core.flatten(tree))) do
    base.need_concrete("device_get", leaf, "a value is copied to the host", "return the tree from the traced function first")
  end
  return tree
end

--- A tree whose tensors pass no derivative.
--  Example:
--    print(bdl.grad(function(x) return (bdl.stop_gradient(x)*x):sum() end)(bdl.ones(2)))
function array.stop_gradient(tree)
  if core.is_tensor(tree) or type(tree) ~= "table" then return (core.bind("stop_gradient", base.NONE, tree)) end
  local leaves, treedef = core.flatten(tree)
  for i, leaf in ipairs(leaves) do leaves[i] = core.bind("stop_gradient", base.NONE, leaf) end
  return core.unflatten(treedef, leaves)
end
methods.stop_gradient = array.stop_gradient

-- ---- what has no other name ------------------------------------------------------------------------------------------

local FIELDS = {"shape", "dtype", "ndim", "size", "unit", "mantissa", "T"}

--- x.T, and activations as methods; else an error with the nearest name.
function methods.__missing(x, name)
  if name == "T" then return array.transpose(x) end
  local f = rawget(require "bdl.functional", name)
  if f then
    methods[name] = f
    return f
  end
  local names = table.move(FIELDS, 1, #FIELDS, 1, {})
  for k in pairs(methods) do names[#names + 1] = k end
  table.sort(names)
  core.fail("KeyError", 2, "a tensor has no field or method '%s'%s", tostring(name), suggest.hint(name, names))
end

return array

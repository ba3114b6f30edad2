--- What training cannot use: numbers that are none, labels that are no class.
local core = require "bdl.core"
local A = require "bdl.array"
local base = require "bdl.array.base"

local M = {}

--- " at [3, 5]", from 1, of the first element where the bool tensor is true.
local function first(where)
  local flat, place = core.item(A.argmax(core.cast(A.reshape(where, {where.size}), "int32"))), {}
  for k = where.ndim, 1, -1 do
    table.insert(place, 1, flat % where.shape[k] + 1)
    flat = flat // where.shape[k]
  end
  return where.ndim > 0 and (" at [%s]"):format(table.concat(place, ", ")) or ""
end

--- Stops where a count is not 0.
local function none_of(who, name, x, bad, what)
  if x.size == 0 then return end
  local n = core.item(A.sum(core.cast(bad, "int32")))
  if n > 0 then
    core.fail("ValueError", 3, "%s: %s has %s%s%s", who, name, what, first(bad),
              n > 1 and (" and %d more"):format(n - 1) or "")
  end
end

--- x, if all its numbers are finite and, of labels, classes 0 .. classes - 1.  Options: name (for messages), classes.
--  Errors: ValueError with name and place; TypeError, labels that are no integers.
--  Example:
--    print(bdl.data.check(bdl.tensor{0, 2, 1}, {name = "labels", classes = 3}))
function M.check(x, opts)
  opts = base.options("data.check", opts, base.names "name classes")
  local name, classes = opts.name or "the data", opts.classes
  x = base.array(x)
  base.need_concrete("data.check", x, "the values are looked at", "call it before the function that is compiled")
  local plain = core.mantissa(x)
  if base.KIND[x.dtype] == 2 then
    none_of("data.check", name, x, A.isnan(plain), "NaN")
    none_of("data.check", name, x, A.isinf(plain), "infinity")
  end
  if classes == nil then return x end
  if math.type(classes) ~= "integer" or classes < 1 then
    core.fail("ValueError", 2, "data.check: classes is their number, not %s", base.text(classes))
  end
  if base.KIND[x.dtype] ~= 1 then
    core.fail("TypeError", 2, "data.check: %s are labels, integers, not %s", name, base.text(x))
  end
  none_of("data.check", name, x, A.lt(plain, 0) | A.ge(plain, classes),
          ("a label outside of 0 to %d"):format(classes - 1))
  return x
end

return M

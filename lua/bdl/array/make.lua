--- Tensors from numbers and shapes.
--   bdl.zeros(3)   bdl.ones{2, 3}   bdl.full({2}, 1*u.mV)   bdl.zeros({4}, {dtype = "int32"})
local core = require "bdl.core"
local base = require "bdl.array.base"

local make = {}

local DTYPE = base.names "dtype"
local FILL = base.names "dtype unit"

local function filled(shape, value, unit)
  local z = core.bind("broadcast", {shape = shape, dims = {}}, value)
  return unit and core.with_unit(z, unit) or z
end

--- From a number, a boolean, nested lists of these or of tensors; a tensor is returned as it is.
--  Options: dtype.  Lists of integers are int32 (int64 with 64-bit precision), of booleans bool, others floats.
--  Example:
--    print(bdl.NAME{{1, 2}, {3, 4}})
function make.tensor(v, opts) return base.tensor(v, base.options("tensor", opts, DTYPE).dtype) end

make.array = make.tensor

local function constant(name, value)
  make[name] = function(...)
    local shape, opts = base.shape(name, FILL, false, ...)
    return filled(shape, core.tensor(value, opts.dtype or base.real()), opts.unit)
  end
end
--- Filled with 0:  zeros(2, 3), zeros{2, 3}.  Options: dtype, unit.
--  Example:
--    print(bdl.zeros(2, 3))
constant("zeros", 0)
--- Filled with 1.  Arguments as for zeros.
--  Example:
--    print(bdl.ones({2, 3}, {dtype = "int32"}))
constant("ones", 1)
--- Filled with 0, under the name that NumPy uses for arrays to be overwritten.  Arguments as for zeros.
--  Example:
--    print(bdl.empty(3))
constant("empty", 0)

--- A shape full of one value; its dtype is that of the value.
--  Example:
--    print(bdl.full({2}, 7.))
function make.full(shape, value, opts)
  opts = base.options("full", opts, FILL)
  shape = base.shape("full", DTYPE, false, shape)
  value = base.tensor(value, opts.dtype)
  if value.ndim == 0 then return filled(shape, value, opts.unit) end
  value = base.broadcast_to("full", value, shape)
  return opts.unit and core.with_unit(value, opts.unit) or value
end

--- The identity: n rows, m columns (n); ones on the k-th diagonal.  Options: k, dtype.
--  Example:
--    print(bdl.NAME(3))
function make.eye(n, m, opts)
  if opts == nil and base.is_options(m) then m, opts = nil, m end
  opts = base.options("eye", opts, base.names "k dtype unit")
  local shape = base.shape("eye", DTYPE, false, n, m or n)
  local on = core.bind("eq", base.NONE, base.iota(shape, 1), base.iota(shape, 0) + (opts.k or 0))
  local z = core.cast(on, opts.dtype or base.real())
  return opts.unit and core.with_unit(z, opts.unit) or z
end

make.identity = make.eye

--- Ones at and below the k-th diagonal of n rows and m columns (n).
--  Example:
--    print(bdl.NAME(3))
function make.tri(n, m, opts)
  if opts == nil and base.is_options(m) then m, opts = nil, m end
  opts = base.options("tri", opts, base.names "k dtype")
  local shape = base.shape("tri", DTYPE, false, n, m or n)
  local on = core.bind("le", base.NONE, base.iota(shape, 1), base.iota(shape, 0) + (opts.k or 0))
  return core.cast(on, opts.dtype or base.real())
end

-- ---- ranges ----------------------------------------------------------------------------------------------------------

--- Numbers of Lua and concrete scalars under the unit rule `rule`: their unit, then numbers of Lua.
local function ends(who, rule, ...)
  local n, list = select("#", ...), {...}
  for i = 1, n do
    local v = list[i]
    if type(v) == "userdata" and not core.is_tensor(v) then
      v = 1 * v -- a unit
      list[i] = v
    end
    if type(v) ~= "number" and not core.is_tensor(v) then
      core.fail("TypeError", 2, "%s: a number or a scalar quantity is needed, not %s", who, base.text(v))
    end
    base.need_concrete(who, v, "the shape depends on this number", "count to a fixed length and use bdl.where for the rest")
  end
  local unit
  for i = 1, n do
    if not unit then unit = core.unit_of(list[i]) end
  end
  if unit then
    local scaled = table.pack(core.units_rule(rule, nil, table.unpack(list, 1, n)))
    for i = 1, n do list[i] = core.mantissa(scaled[i]) end
    unit = scaled[n + 1]
  end
  for i = 1, n do
    if type(list[i]) ~= "number" then list[i] = core.item(list[i]) end
  end
  return unit, table.unpack(list, 1, n)
end

--- A double as text reads, when the text is short: 0.1f is 0.1, so that 0..1 in steps of 0.1 has ten.
local function decimal(v)
  local short = tonumber(("%.7g"):format(v))
  return math.type(v) == "float" and short and string.unpack("f", string.pack("f", short)) == v and short or v
end

--- start + step * i for i = 0..n-1, computed in double and rounded once.
local function count(start, step, n, dtype)
  local i = base.iota({n}, 0, "float64")
  return core.cast(i * core.tensor({step}, "float64") + core.tensor({start}, "float64"), dtype)
end

--- arange(n), arange(first, last, step): like Python's, from 0 and without the end; quantities give quantities.
--  Integers give integers.  Options: dtype.
--  Example:
--    print(bdl.arange(5), bdl.arange(0., 1., 0.25))
function make.arange(...)
  local args = table.pack(...)
  local opts = base.is_options(args[args.n]) and args[args.n] or nil
  if opts then args.n = args.n - 1 end
  opts = base.options("arange", opts, DTYPE)
  if args.n < 1 or args.n > 3 then core.fail("TypeError", 2, "arange: arange(n) or arange(first, last, step)") end
  local unit, a, b, c = ends("arange", "arange", table.unpack(args, 1, args.n))
  local start, stop, step = a, b, c or 1
  if args.n == 1 then start, stop = 0, a end
  local integers = math.type(start) == "integer" and math.type(stop) == "integer" and math.type(step) == "integer"
  if step == 0 then core.fail("ValueError", 2, "arange: a step of 0 never ends") end
  local n, z
  if integers then
    n = math.max(0, step > 0 and (stop - start + step - 1) // step or (start - stop - step - 1) // -step)
    z = base.iota({n}, 0, opts.dtype or base.integer())
    if step ~= 1 then z = z * step end
    if start ~= 0 then z = z + start end
  else
    start, stop, step = decimal(start), decimal(stop), decimal(step)
    local steps = math.ceil((stop - start) / step)
    n = math.tointeger(steps)
    if not n then core.fail("ValueError", 2, "arange: %s steps from %s to %s by %s are too many", steps, start, stop, step) end
    n = math.max(0, n)
    z = count(start, step, n, opts.dtype or base.real())
  end
  return unit and core.with_unit(z, unit) or z
end

--- n numbers from first to last, both included.  Options: num (50), endpoint (true), dtype.
--  Example:
--    print(bdl.linspace(0, 1, {num = 5}))
function make.linspace(first, last, num, opts)
  if base.is_options(num) then num, opts = nil, num end
  opts = base.options("linspace", opts, base.names "num endpoint dtype")
  num = num or opts.num or 50
  local shape = base.shape("linspace", DTYPE, false, num)
  local unit, a, b = ends("linspace", "linspace", first, last)
  local n = shape[1]
  local parts = opts.endpoint == false and n or n - 1
  local step = parts > 0 and (b - a) / parts or 0.0
  local z = count(a, step, n, "float64")
  if parts == n - 1 and n > 1 then -- exactly the end
    local at_end = core.bind("eq", base.NONE, base.iota({n}, 0), n - 1)
    z = core.bind("select", base.NONE, at_end, core.tensor({b}, "float64"), z)
  end
  z = core.cast(z, opts.dtype or base.real())
  return unit and core.with_unit(z, unit) or z
end

--- num powers of `base` (10) from base^first to base^last.
--  Example:
--    print(bdl.logspace(0, 2, {num = 3}))
function make.logspace(first, last, num, opts)
  if base.is_options(num) then num, opts = nil, num end
  opts = base.options("logspace", opts, base.names "num endpoint base dtype")
  local z = make.linspace(first, last, num, {num = opts.num, endpoint = opts.endpoint, dtype = opts.dtype})
  return core.bind("pow", base.NONE, opts.base or 10, z)
end

--- Coordinates of a grid over vectors x, y, ..: as many tensors.  Options: indexing = "xy" (the default) or "ij".
--  Example:
--    print(bdl.meshgrid(bdl.arange(2), bdl.arange(3)))
function make.meshgrid(...)
  local list = table.pack(...)
  local opts = base.is_options(list[list.n]) and list[list.n] or nil
  local n = opts and list.n - 1 or list.n
  opts = base.options("meshgrid", opts, base.names "indexing")
  if opts.indexing and opts.indexing ~= "xy" and opts.indexing ~= "ij" then
    core.fail("ValueError", 2, "meshgrid: indexing is 'xy' or 'ij', not '%s'", tostring(opts.indexing))
  end
  local swap = opts.indexing ~= "ij" and n > 1
  local shape, grid = {}, {}
  local function axis_of(i) return swap and i <= 2 and 3 - i or i end
  for i = 1, n do
    list[i] = base.array(list[i])
    if list[i].ndim > 1 then core.fail("ShapeError", 2, "meshgrid: vectors are needed, not %s", base.text(list[i])) end
    shape[axis_of(i)] = list[i].size
  end
  for i = 1, n do
    grid[i] = core.bind("broadcast", {shape = shape, dims = {axis_of(i) - 1}}, base.reshape(list[i], {list[i].size}))
  end
  return table.unpack(grid, 1, n)
end

return make

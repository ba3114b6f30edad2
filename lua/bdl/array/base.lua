--- What the array functions share: operands, options, axes and shapes, unit rules of functions made of several primitives.
--  Positions and axes of users count from 1, those of primitives from 0.
local core = require "bdl.core"
local suggest = require "bdl.suggest"

local base = {}

local bind, is_tensor, unit_of, mantissa, with_unit = core.bind, core.is_tensor, core.unit_of, core.mantissa, core.with_unit

base.KIND = {bool = 0, int32 = 1, uint32 = 1, int64 = 1, float32 = 2, float64 = 2}

--- No parameters.
base.NONE = {}

local function is_plain(v) return type(v) == "table" and getmetatable(v) == nil end

--- Whether a last argument holds options: a table with names and no positions.
function base.is_options(v) return is_plain(v) and v[1] == nil and next(v) ~= nil end

--- "float32[2,3] (State 'w', line 9)", for messages.
function base.text(x)
  if not is_tensor(x) then return tostring(x) end
  return ("%s[%s]%s"):format(x.dtype, table.concat(x.shape, ","), core.origin(x))
end

-- ---- options ---------------------------------------------------------------------------------------------------------

local EMPTY = {}

--- A set of names from a list of words.
function base.names(words)
  local set = {}
  for name in words:gmatch "%S+" do set[name] = true end
  return set
end

--- The options of a call; `known` is a set of names.  Errors: TypeError, naming the nearest option.
function base.options(who, opts, known)
  if opts == nil then return EMPTY end
  local function sorted()
    local names = {}
    for k in pairs(known) do names[#names + 1] = k end
    table.sort(names)
    return names
  end
  if not is_plain(opts) then
    core.fail("TypeError", 2, "%s: options are a table, {%s = ..}, not %s", who, sorted()[1] or "name", base.text(opts))
  end
  for name in pairs(opts) do
    if not known[name] then
      local names = sorted()
      core.fail("TypeError", 2, "%s: no option '%s'%s; it has %s", who, tostring(name), suggest.hint(name, names),
                table.concat(names, ", "))
    end
  end
  return opts
end

-- ---- operands --------------------------------------------------------------------------------------------------------

local function holds_tensor(list)
  for i = 1, #list do
    local v = list[i]
    local kind = type(v)
    if kind == "userdata" or kind == "table" and (not is_plain(v) or holds_tensor(v)) then return true end
  end
  return false
end

--- A tensor of numbers, booleans, nested lists of these or of tensors.
function base.tensor(v, dtype)
  if not is_plain(v) or not holds_tensor(v) then return core.tensor(v, dtype) end
  local parts = {}
  for i = 1, #v do parts[i] = base.tensor(v[i], dtype) end
  return base.stack("tensor", parts, 0)
end

--- An operand as core takes it: lists become tensors, numbers stay weak.
local function operand(v)
  if is_plain(v) then return base.tensor(v) end
  return v
end
base.operand = operand

--- An operand whose shape is needed.
function base.array(v)
  if is_tensor(v) then return v end
  if type(v) == "number" then return mantissa(v) end -- stays weak
  return base.tensor(v)
end

--- Joined along axis (from 0).  Any number of parts: core takes 64 at a time.
function base.concatenate(parts, axis)
  local params, n = {axis = axis}, #parts
  while n > 60 do
    local joined = {}
    for i = 1, n, 60 do joined[#joined + 1] = bind("concatenate", params, table.unpack(parts, i, math.min(i + 59, n))) end
    parts, n = joined, #joined
  end
  return bind("concatenate", params, table.unpack(parts))
end

--- Tensors of one shape joined along a new axis (from 0).
function base.stack(who, parts, axis)
  local rows = {}
  local first = base.array(parts[1])
  for i, v in ipairs(parts) do
    local x = base.array(v)
    if x.shape ~= first.shape then
      core.fail("ShapeError", 2, "%s: parts of different shapes: %s first, %s as number %d", who, base.text(first),
                base.text(x), i)
    end
    local shape = table.move(x.shape, 1, x.ndim, 1, {})
    table.insert(shape, axis + 1, 1)
    rows[i] = bind("reshape", {shape = shape}, x)
  end
  return base.concatenate(rows, axis)
end

--- dtypes of floats and integers under the precision in force.
function base.real() return (core.precision()) end
function base.integer() return (select(2, core.precision())) end

--- x as a float: integers and booleans become the float of the precision.
function base.float(x)
  x = base.array(x)
  return base.KIND[x.dtype] == 2 and x or core.cast(x, base.real())
end

--- x as booleans: what is not 0 is true.
function base.bool(x)
  x = base.array(x)
  return x.dtype == "bool" and x or bind("ne", base.NONE, mantissa(x), 0)
end

-- ---- axes and shapes -------------------------------------------------------------------------------------------------

--- Position of an axis as the user writes it -> axis from 0.  Errors: IndexError; TypeError.
function base.axis(who, axis, ndim, x)
  if math.type(axis) ~= "integer" then
    core.fail("TypeError", 2, "%s: an axis is a position from 1, not %s", who, base.text(axis))
  end
  if axis == 0 then
    core.fail("IndexError", 2, "%s: axis 0: positions start at 1 in bdl (Python's axis 0 is axis 1)", who)
  end
  if axis > ndim or axis < -ndim then
    core.fail("IndexError", 2, "%s: there is no axis %d in %s", who, axis, x and base.text(x) or ndim .. " axes")
  end
  return axis > 0 and axis - 1 or ndim + axis
end

--- One position, a list of them, or nil for all -> ascending axes from 0.
function base.axes(who, axis, x)
  local axes, ndim = {}, x.ndim
  if axis == nil then
    for k = 0, ndim - 1 do axes[k + 1] = k end
    return axes
  end
  if not is_plain(axis) then return {base.axis(who, axis, ndim, x)} end
  local seen = {}
  for i, a in ipairs(axis) do
    axes[i] = base.axis(who, a, ndim, x)
    if seen[axes[i]] then core.fail("ValueError", 2, "%s: axis %d is given twice", who, a) end
    seen[axes[i]] = true
  end
  table.sort(axes)
  return axes
end

local function size(who, v, i, infer)
  local n = math.type(v) == "float" and math.tointeger(v) or v
  if math.type(n) ~= "integer" then
    core.fail("TypeError", 2, "%s: size %d of the shape is an integer, not %s", who, i, base.text(v))
  end
  if n < 0 and not (infer and n == -1) then core.fail("ValueError", 2, "%s: size %d of axis %d is negative", who, n, i) end
  return n
end

--- Shape and options of f(2, 3), f{2, 3}, f({2, 3}, opts), f(2, 3, opts), f{2, 3, dtype = ..}.
--  infer: -1 is allowed.
function base.shape(who, known, infer, ...)
  local n = select("#", ...)
  local first, opts = ..., nil
  local list = {...}
  if n > 1 and base.is_options(list[n]) then
    opts = list[n]
    n, list[n] = n - 1, nil
  end
  if n == 1 and type(first) == "table" then
    if base.is_options(first) then
      opts, list = first, {}
    elseif is_plain(first) then
      for k, v in pairs(first) do
        if math.type(k) ~= "integer" then
          opts = opts or {}
          opts[k] = v
        end
      end
      list = first
    else
      list = first
    end
    n = #list
  end
  local shape = {}
  for i = 1, n do shape[i] = size(who, list[i], i, infer) end
  return shape, base.options(who, opts, known)
end

--- The shape that shapes a and b, of x and y, broadcast to.  Errors: ShapeError naming both.
function base.broadcast_shapes(who, a, b, x, y)
  local shape, na, nb = {}, #a, #b
  for k = 1, math.max(na, nb) do
    local i, j = na - k + 1, nb - k + 1
    local m, n = i > 0 and a[i] or 1, j > 0 and b[j] or 1
    if m ~= n and m ~= 1 and n ~= 1 then
      core.fail("ShapeError", 2, "%s: shapes of %s and %s do not broadcast together", who, x and base.text(x) or tostring(a), y and base.text(y) or tostring(b))
    end
    table.insert(shape, 1, m == 1 and n or m)
  end
  return shape
end

--- x with the given shape; extents 1 and missing leading axes repeat.
function base.broadcast_to(who, x, shape)
  x = base.array(x)
  local from, ndim, n = x.shape, x.ndim, #shape
  local dims, same = {}, ndim == n
  local fits = ndim <= n
  for k = 1, ndim do
    local to = shape[n - ndim + k]
    dims[k] = n - ndim + k - 1
    fits = fits and (from[k] == to or from[k] == 1)
    same = same and from[k] == to
  end
  if same then return x end
  if not fits then
    core.fail("ShapeError", 2, "%s: %s does not broadcast to the shape {%s}", who, base.text(x), table.concat(shape, ", "))
  end
  return bind("broadcast", {shape = shape, dims = dims}, x)
end

function base.reshape(x, shape) return bind("reshape", {shape = shape}, x) end

--- The shape as a list of its own.
function base.copy_shape(x) return table.move(x.shape, 1, x.ndim, 1, {}) end

function base.permute(x, axes)
  for i = 1, #axes do
    if axes[i] ~= i - 1 then return bind("permute", {axes = axes}, x) end
  end
  return x
end

--- Indices 0..n-1 along the axis (from 0) of a shape.
function base.iota(shape, axis, dtype) return bind("iota", {shape = shape, axis = axis, dtype = dtype or "int32"}) end

--- Part start..stop-1 of one axis, all from 0.
function base.slice_axis(x, axis, start, stop)
  local n = x.ndim
  local from, to, step = {}, base.copy_shape(x), {}
  for k = 1, n do
    from[k], step[k] = 0, 1
  end
  from[axis + 1], to[axis + 1] = start, stop
  return bind("slice", {start = from, stop = to, step = step}, x)
end

-- ---- values ----------------------------------------------------------------------------------------------------------

--- Stop where a value is needed and x has none yet.
function base.need_concrete(who, x, why, hint)
  if not core.is_traced(x) then return end
  core.hint(hint)
  core.fail("TraceContextError", 2, "%s: %s, but this %s has no value yet: the function is being traced", who, why,
            base.text(x))
end

-- ---- units -----------------------------------------------------------------------------------------------------------

--- f with the unit rule `name` for its first n arguments: f sees plain numbers, its result gets the unit of the rule.
function base.unit_rule(name, n, f)
  return function(...)
    local any = false
    for i = 1, math.min(n, select("#", ...)) do any = any or unit_of((select(i, ...))) ~= nil end
    if not any then return f(...) end
    local args, k = table.pack(...), 0
    while k < n and args[k + 1] ~= nil do
      k = k + 1
      args[k] = operand(args[k])
    end
    local scaled = table.pack(core.units_rule(name, nil, table.unpack(args, 1, k)))
    for i = 1, k do args[i] = mantissa(scaled[i]) end
    local z = f(table.unpack(args, 1, args.n))
    local unit, by = scaled[k + 1], scaled[k + 2]
    if by and by ~= 1 then z = z * by end
    if unit then return with_unit(z, unit) end
    return z
  end
end

return base

--- Views, joins, repeats: where elements are, not what they are.
local core = require "bdl.core"
local base = require "bdl.array.base"

local shape = {}

local bind, array, NONE = core.bind, base.array, base.NONE
local NO_OPTIONS = {}

-- ---- reshape ---------------------------------------------------------------------------------------------------------

--- The same elements in row-major order: x:reshape(2, 3), x:reshape{2, -1}.  One -1 is what is left.
--  Example:
--    print(bdl.reshape(bdl.arange(6), 2, 3))
function shape.reshape(x, ...)
  x = array(x)
  local to = base.shape("reshape", NO_OPTIONS, true, ...)
  local rest, known = nil, 1
  for i, n in ipairs(to) do
    if n == -1 then
      if rest then core.fail("ValueError", 2, "reshape: -1 twice in {%s}", table.concat(to, ", ")) end
      rest = i
    else
      known = known * n
    end
  end
  local fits = known == x.size
  if rest then
    fits = known > 0 and x.size % known == 0 or known == 0 and x.size == 0
    to[rest] = fits and known > 0 and x.size // known or 0
  end
  if not fits then
    if rest then to[rest] = -1 end
    core.fail("ShapeError", 2, "reshape: the %d elements of %s do not fit {%s}", x.size, base.text(x), table.concat(to, ", "))
  end
  return base.reshape(x, to)
end

--- flatten, ravel: all elements along one axis, row-major.
--  Example:
--    print(bdl.NAME(bdl.ones(2, 2)))
function shape.flatten(x)
  x = array(x)
  return base.reshape(x, {x.size})
end

shape.ravel = shape.flatten

local AXIS = base.names "axis"

--- Without axes of extent 1: all, or those of the option axis.
--  Example:
--    print(bdl.squeeze(bdl.ones(1, 3)).shape)
function shape.squeeze(x, opts)
  local given = base.options("squeeze", opts, AXIS).axis
  x = array(x)
  local drop, to = {}, {}
  if given ~= nil then
    for _, k in ipairs(base.axes("squeeze", given, x)) do
      if x.shape[k + 1] ~= 1 then
        core.fail("ShapeError", 2, "squeeze: axis %d of %s has extent %d, not 1", k + 1, base.text(x), x.shape[k + 1])
      end
      drop[k + 1] = true
    end
  end
  for k, n in ipairs(x.shape) do
    if not (drop[k] or given == nil and n == 1) then to[#to + 1] = n end
  end
  return base.reshape(x, to)
end

--- With axes of extent 1 at these positions of the result.
--  Example:
--    print(bdl.expand_dims(bdl.ones(3), 1).shape)
function shape.expand_dims(x, axis)
  if base.is_options(axis) then axis = base.options("expand_dims", axis, AXIS).axis end
  x = array(x)
  local list = type(axis) == "table" and axis or {axis == nil and 1 or axis}
  local n, new, to, k = x.ndim + #list, {}, {}, 0
  for _, a in ipairs(list) do new[base.axis("expand_dims", a, n) + 1] = true end
  for i = 1, n do
    if new[i] then
      to[i] = 1
    else
      k = k + 1
      to[i] = x.shape[k]
    end
  end
  return base.reshape(x, to)
end

-- ---- order of axes ---------------------------------------------------------------------------------------------------

--- Axes in the given order of positions, x:transpose(2, 1); without arguments reversed.
--  Example:
--    print(bdl.transpose(bdl.ones(2, 3)).shape)
function shape.transpose(x, ...)
  x = array(x)
  local first = ...
  local list = type(first) == "table" and first or {...}
  local axes = {}
  if first == nil then
    for k = 1, x.ndim do axes[k] = x.ndim - k end
  else
    if #list ~= x.ndim then core.fail("ShapeError", 2, "transpose: %d axes for %s", #list, base.text(x)) end
    local seen = {}
    for i, a in ipairs(list) do
      axes[i] = base.axis("transpose", a, x.ndim, x)
      if seen[axes[i]] then core.fail("ValueError", 2, "transpose: axis %d is given twice", a) end
      seen[axes[i]] = true
    end
  end
  return base.permute(x, axes)
end

--- The axes a and b exchanged.
--  Example:
--    print(bdl.swapaxes(bdl.ones(2, 3), 1, 2).shape)
function shape.swapaxes(x, a, b)
  x = array(x)
  local axes = {}
  for k = 1, x.ndim do axes[k] = k - 1 end
  a, b = base.axis("swapaxes", a, x.ndim, x) + 1, base.axis("swapaxes", b, x.ndim, x) + 1
  axes[a], axes[b] = axes[b], axes[a]
  return base.permute(x, axes)
end

--- Axes at positions `from` go to positions `to`; the others keep their order.
--  Example:
--    print(bdl.moveaxis(bdl.ones(2, 3, 4), 1, 3).shape)
function shape.moveaxis(x, from, to)
  x = array(x)
  from, to = type(from) == "table" and from or {from}, type(to) == "table" and to or {to}
  if #from ~= #to then core.fail("ValueError", 2, "moveaxis: %d axes go to %d places", #from, #to) end
  local axes, moved = {}, {}
  for i, a in ipairs(from) do
    local k = base.axis("moveaxis", a, x.ndim, x)
    local place = base.axis("moveaxis", to[i], x.ndim, x) + 1
    if moved[k] or axes[place] then core.fail("ValueError", 2, "moveaxis: an axis is given twice") end
    moved[k], axes[place] = true, k
  end
  local k = 0
  for i = 1, x.ndim do
    if not axes[i] then
      while moved[k] do k = k + 1 end
      axes[i] = k
      k = k + 1
    end
  end
  return base.permute(x, axes)
end

-- ---- repeats ---------------------------------------------------------------------------------------------------------

--- x with the given shape; extents 1 and missing leading axes repeat.
--  Example:
--    print(bdl.broadcast_to(bdl.ones(3), 2, 3))
function shape.broadcast_to(x, ...)
  return base.broadcast_to("broadcast_to", x, (base.shape("broadcast_to", NO_OPTIONS, false, ...)))
end

--- All operands with their common shape, as many results.
--  Example:
--    print(bdl.broadcast_arrays(bdl.ones(2, 1), bdl.zeros(3)))
function shape.broadcast_arrays(...)
  local list = table.pack(...)
  local to = {}
  for i = 1, list.n do
    list[i] = array(list[i])
    to = base.broadcast_shapes("broadcast_arrays", to, list[i].shape, nil, list[i])
  end
  for i = 1, list.n do list[i] = base.broadcast_to("broadcast_arrays", list[i], to) end
  return table.unpack(list, 1, list.n)
end

--- x repeated as a whole, x:tile(2, 3): counts of the last axes.
--  Example:
--    print(bdl.tile(bdl.arange(2), 3))
function shape.tile(x, ...)
  x = array(x)
  local counts = base.shape("tile", NO_OPTIONS, false, ...)
  local n = math.max(x.ndim, #counts)
  -- each axis becomes two, [count, extent]
  local from, wide, dims, to = {}, {}, {}, {}
  for k = 1, n do
    local i, j = k - (n - x.ndim), k - (n - #counts)
    local extent, count = i > 0 and x.shape[i] or 1, j > 0 and counts[j] or 1
    from[k], dims[k] = extent, 2 * k - 1
    wide[2 * k - 1], wide[2 * k] = count, extent
    to[k] = count * extent
  end
  return base.reshape(bind("broadcast", {shape = wide, dims = dims}, base.reshape(x, from)), to)
end

--- Each element n times, NumPy's repeat.  Options: axis (without it x is flattened).
--  Example:
--    print(bdl.repeat_each(bdl.arange(2), 3))
function shape.repeat_each(x, n, opts)
  local axis = base.options("repeat_each", opts, AXIS).axis
  x = array(x)
  if axis == nil then x, axis = base.reshape(x, {x.size}), 1 end
  local k = base.axis("repeat_each", axis, x.ndim, x) + 1
  if math.type(n) ~= "integer" or n < 0 then
    core.fail("ValueError", 2, "repeat_each: a number of repeats is needed, not %s", base.text(n))
  end
  local wide, dims, to = base.copy_shape(x), {}, base.copy_shape(x)
  for i = 1, x.ndim do dims[i] = i <= k and i - 1 or i end
  table.insert(wide, k + 1, n)
  to[k] = to[k] * n
  return base.reshape(bind("broadcast", {shape = wide, dims = dims}, x), to)
end

-- ---- joins and parts -------------------------------------------------------------------------------------------------

local function parts_of(who, list)
  if core.is_tensor(list) then
    local parts = {}
    for i = 1, #list do parts[i] = list[i] end
    return parts
  end
  if type(list) ~= "table" or #list == 0 then
    core.fail("TypeError", 2, "%s: a list of tensors is needed: %s({x, y})", who, who)
  end
  return list
end

local function join(who, list, axis)
  local parts = {}
  for i, v in ipairs(list) do parts[i] = array(v) end
  local first = parts[1]
  if first.ndim == 0 then core.fail("ShapeError", 2, "%s: scalars have no axis to join; use bdl.stack", who) end
  axis = base.axis(who, axis, first.ndim, first)
  for i = 2, #parts do
    local same = parts[i].ndim == first.ndim
    for k = 1, same and first.ndim or 0 do same = same and (k == axis + 1 or parts[i].shape[k] == first.shape[k]) end
    if not same then
      core.fail("ShapeError", 2, "%s: %s and %s (number %d) differ in more than axis %d", who, base.text(first),
                base.text(parts[i]), i,
                axis + 1)
    end
  end
  return base.concatenate(parts, axis)
end

--- concatenate({x, y}, {axis = 1})
--  Example:
--    print(bdl.concatenate{bdl.ones(2), bdl.zeros(1)})
function shape.concatenate(list, opts)
  return join("concatenate", parts_of("concatenate", list), base.options("concatenate", opts, AXIS).axis or 1)
end

--- x with v behind it.  Options: axis (without it both are flattened).
--  Example:
--    print(bdl.NAME(bdl.ones(2), bdl.zeros(1)))
function shape.append(x, v, opts)
  local axis = base.options("append", opts, AXIS).axis
  if axis == nil then return join("append", {shape.flatten(x), shape.flatten(v)}, 1) end
  return join("append", {x, v}, axis)
end

--- Joined along a new axis.
--  Example:
--    print(bdl.NAME{bdl.ones(2), bdl.zeros(2)})
function shape.stack(list, opts)
  local parts = parts_of("stack", list)
  local axis = base.options("stack", opts, AXIS).axis or 1
  return base.stack("stack", parts, base.axis("stack", axis, array(parts[1]).ndim + 1))
end

--- At least n axes: leading ones are added, for three axes one behind as well.
local function at_least(x, n)
  x = array(x)
  local to = base.copy_shape(x)
  while #to < math.min(n, 2) do table.insert(to, 1, 1) end
  if n == 3 and #to == 2 then to[3] = 1 end
  return base.reshape(x, to)
end

local function each(list, f)
  local parts = {}
  for i, v in ipairs(list) do parts[i] = f(v) end
  return parts
end

--- Rows under each other; vectors are rows.
--  Example:
--    print(bdl.NAME{bdl.ones(2), bdl.zeros(2)})
function shape.vstack(list) return join("vstack", each(parts_of("vstack", list), function(x) return at_least(x, 2) end), 1) end

--- Side by side: along axis 2, vectors along axis 1.
--  Example:
--    print(bdl.NAME{bdl.ones(2), bdl.zeros(2)})
function shape.hstack(list)
  local parts = each(parts_of("hstack", list), function(x) return at_least(x, 1) end)
  return join("hstack", parts, parts[1].ndim == 1 and 1 or 2)
end

--- In depth: along axis 3, which vectors and matrices get.
--  Example:
--    print(bdl.NAME{bdl.ones(2), bdl.zeros(2)})
function shape.dstack(list) return join("dstack", each(parts_of("dstack", list), function(x) return at_least(x, 3) end), 3) end

--- Vectors as columns.
--  Example:
--    print(bdl.NAME{bdl.ones(2), bdl.zeros(2)})
function shape.column_stack(list)
  return join("column_stack", each(parts_of("column_stack", list), function(x)
    x = array(x)
    return x.ndim < 2 and base.reshape(x, {x.size, 1}) or x
  end), 2)
end

local function cut(who, x, ends, axis)
  local parts, from, n = {}, 0, x.shape[axis + 1]
  for i, to in ipairs(ends) do
    if math.type(to) ~= "integer" or to < from or to > n then
      core.fail("IndexError", 2, "%s: ends ascend within 1..%d, not %s", who, n, tostring(to))
    end
    parts[i] = base.slice_axis(x, axis, from, to)
    from = to
  end
  parts[#parts + 1] = base.slice_axis(x, axis, from, n)
  return parts
end

local function split(who, x, n, opts, uneven)
  x = array(x)
  local axis = base.axis(who, base.options(who, opts, AXIS).axis or 1, x.ndim, x)
  if type(n) == "table" then return cut(who, x, n, axis) end
  local size = x.shape[axis + 1]
  if math.type(n) ~= "integer" or n < 1 then
    core.fail("ValueError", 2, "%s: a number of parts or a list of ends is needed", who)
  end
  if size % n ~= 0 and not uneven then
    core.fail("ShapeError", 2, "%s: axis %d of %s does not fall into %d equal parts; bdl.array_split does", who, axis + 1,
              base.text(x), n)
  end
  local ends, at = {}, 0
  for i = 1, n - 1 do
    at = at + size // n + (i <= size % n and 1 or 0)
    ends[i] = at
  end
  return cut(who, x, ends, axis)
end

--- A list of parts: n equal ones, or those that end at the given positions.  Options: axis (1).
--  Example:
--    print(bdl.NAME(bdl.arange(4), 2)[1])
function shape.split(x, n, opts) return split("split", x, n, opts, false) end

--- As split; the first parts are longer where x does not divide.
--  Example:
--    print(bdl.NAME(bdl.arange(4), 2)[1])
function shape.array_split(x, n, opts) return split("array_split", x, n, opts, true) end

-- ---- moves -----------------------------------------------------------------------------------------------------------

--- Reversed along axes (all).
--  Example:
--    print(bdl.flip(bdl.arange(3)))
function shape.flip(x, opts)
  x = array(x)
  return (bind("reverse", {axes = base.axes("flip", base.options("flip", opts, AXIS).axis, x)}, x))
end

local function roll_axis(x, n, k)
  local size = x.shape[k + 1]
  n = size > 0 and n % size or 0
  if n == 0 then return x end
  return base.concatenate({base.slice_axis(x, k, size - n, size), base.slice_axis(x, k, 0, size - n)}, k)
end

--- Shifted by n towards larger positions, around the end.  Options: axis, one or several (without it x is flattened).
--  Example:
--    print(bdl.roll(bdl.arange(4), 1))
function shape.roll(x, n, opts)
  local axis = base.options("roll", opts, AXIS).axis
  x = array(x)
  if axis == nil then
    if math.type(n) ~= "integer" then core.fail("TypeError", 2, "roll: an integer is needed, not %s", base.text(n)) end
    return base.reshape(roll_axis(base.reshape(x, {x.size}), n, 0), x.shape)
  end
  local axes = type(axis) == "table" and axis or {axis}
  for i, a in ipairs(axes) do
    local by = type(n) == "table" and n[i] or n
    if math.type(by) ~= "integer" then
      core.fail("TypeError", 2, "roll: an integer an axis is needed, not %s", base.text(by))
    end
    x = roll_axis(x, by, base.axis("roll", a, x.ndim, x))
  end
  return x
end

--- Index into an axis of n elements, for position i of the padded one (from 0, may be negative).
local SOURCE = {
  edge = function(i, n) return math.max(0, math.min(n - 1, i)) end,
  wrap = function(i, n) return i % n end,
  reflect = function(i, n)
    if n == 1 then return 0 end
    i = i % (2 * n - 2)
    return i < n and i or 2 * n - 2 - i
  end,
  symmetric = function(i, n)
    i = i % (2 * n)
    return i < n and i or 2 * n - 1 - i
  end,
}

--- Elements before and after each axis: n, {lo, hi}, or one {lo, hi} an axis.
--  Options: value (0), mode = "constant" (the default), "edge", "reflect", "symmetric", "wrap".
--  Example:
--    print(bdl.pad(bdl.ones(2), {1, 2}))
function shape.pad(x, widths, opts)
  opts = base.options("pad", opts, base.names "value mode")
  x = array(x)
  local lo, hi, inner = {}, {}, {}
  for k = 1, x.ndim do
    local w = widths
    if type(w) == "table" and type(w[1]) == "table" then w = w[k] end
    if type(w) == "number" then w = {w, w} end
    if type(w) ~= "table" or math.type(w[1]) ~= "integer" or math.type(w[2]) ~= "integer" or w[1] < 0 or w[2] < 0 then
      core.fail("ValueError", 2, "pad: widths are n, {lo, hi} or a list of {lo, hi} for each axis of %s", base.text(x))
    end
    lo[k], hi[k], inner[k] = w[1], w[2], 0
  end
  local mode = opts.mode or "constant"
  if mode == "constant" then
    local value = opts.value or 0
    if type(value) == "number" then value = core.tensor(value, x.dtype) end
    return (bind("pad", {lo = lo, hi = hi, inner = inner}, x, value))
  end
  local source = SOURCE[mode]
  if not source then
    core.fail("ValueError", 2, "pad: no mode '%s' (constant, edge, reflect, symmetric, wrap)", tostring(mode))
  end
  for k = 1, x.ndim do
    local n, index = x.shape[k], {}
    if lo[k] + hi[k] > 0 then
      if n == 0 then core.fail("ShapeError", 2, "pad: axis %d of %s has nothing to repeat", k, base.text(x)) end
      for i = 1, lo[k] + n + hi[k] do index[i] = source(i - 1 - lo[k], n) end
      x = bind("gather", {axis = k - 1}, x, core.tensor(index, "int32"))
    end
  end
  return x
end

-- ---- triangles and diagonals -----------------------------------------------------------------------------------------

local function triangle(who, prim, x, k)
  x = array(x)
  if x.ndim < 2 then core.fail("ShapeError", 2, "%s: a matrix is needed, not %s", who, base.text(x)) end
  local last = {x.shape[-2], x.shape[-1]}
  local on = bind(prim, NONE, base.iota(last, 1), base.iota(last, 0) + (k or 0))
  local zero = core.tensor(0, x.dtype)
  if core.unit_of(x) then zero = core.with_unit(zero, core.unit_of(x)) end
  return (bind("select", NONE, on, x, zero))
end

--- x at and below the k-th diagonal (0), 0 above it.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 2.}, {3., 4.}}))
function shape.tril(x, k) return triangle("tril", "le", x, k) end

--- x at and above the k-th diagonal (0), 0 below it.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 2.}, {3., 4.}}))
function shape.triu(x, k) return triangle("triu", "ge", x, k) end

--- The k-th diagonal of the last two axes.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 2.}, {3., 4.}}))
function shape.diagonal(x, k)
  x = array(x)
  k = k or 0
  if x.ndim < 2 then core.fail("ShapeError", 2, "diagonal: a matrix is needed, not %s", base.text(x)) end
  local rows, cols = x.shape[-2], x.shape[-1]
  local n = math.max(0, math.min(rows + math.min(k, 0), cols - math.max(k, 0)))
  local to = table.move(x.shape, 1, x.ndim - 2, 1, {})
  to[#to + 1] = rows * cols
  local flat, first = base.reshape(x, to), math.max(k, 0) + math.max(-k, 0) * cols
  local at = base.iota({n}, 0) * (cols + 1) + first
  return (bind("gather", {axis = #to - 1}, flat, at))
end

--- A vector on the k-th diagonal of a square matrix; of a matrix its k-th diagonal.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 2.}, {3., 4.}}))
function shape.diag(x, k)
  x = array(x)
  k = k or 0
  if x.ndim == 2 then return shape.diagonal(x, k) end
  if x.ndim ~= 1 then core.fail("ShapeError", 2, "diag: a vector or a matrix is needed, not %s", base.text(x)) end
  local n = x.size + math.abs(k)
  local zero = core.tensor(0, x.dtype)
  if core.unit_of(x) then zero = core.with_unit(zero, core.unit_of(x)) end
  local flat = bind("broadcast", {shape = {n * n}, dims = {}}, zero)
  local at = base.iota({x.size}, 0) * (n + 1) + (math.max(k, 0) + math.max(-k, 0) * n)
  return base.reshape(bind("scatter", {axis = 0, op = "set"}, flat, at, x), {n, n})
end

-- ---- like others -----------------------------------------------------------------------------------------------------

local LIKE = base.names "dtype shape"

local function like(who, x, value, opts)
  opts = base.options(who, opts, LIKE)
  x = array(x)
  local v = core.tensor(value, opts.dtype or x.dtype)
  return bind("broadcast", {shape = opts.shape or x.shape, dims = {}}, v), x
end

for name, value in pairs{zeros_like = 0, ones_like = 1, empty_like = 0} do
  --- With the shape, dtype and unit of x.  Options: dtype, shape.
  --  Example:
  --    print(bdl.NAME(bdl.tensor{1., 2.}))
  shape[name] = function(x, opts)
    local z, from = like(name, x, value, opts)
    return core.unit_of(from) and core.with_unit(z, core.unit_of(from)) or z
  end
end

--- The shape and dtype of x full of one value, whose unit it gets.
--  Example:
--    print(bdl.full_like(bdl.ones(2), 7))
function shape.full_like(x, value, opts)
  local unit = core.unit_of(value)
  local z = like("full_like", x, unit and core.mantissa(value) or value, opts)
  return unit and core.with_unit(z, unit) or z
end

return shape

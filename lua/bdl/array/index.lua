--- Indexing.  Numbers that are typed are positions: from 1, negative from the end.  Integers in tensors are data: from 0.
--
--   x[2]   x[-1]   x[{1, 3}]                    elements: one entry an axis
--   x[{1, {2, 5}}]   x[{{2}}]   x[{{5, 1, -1}}] ranges {first, last, step}, ends included and cut to the axis; {} is all
--   x[{bdl.none, 1}]   x[{bdl.rest, 1}]         a new axis; as many whole axes as are left
--   x[ids]   x[{i, j}]   x[mask]                tensors: gathers; several broadcast together
--
-- Axes indexed by tensors stay where they are when they are neighbours, else they come first.
local core = require "bdl.core"
local base = require "bdl.array.base"
local math_ = require "bdl.array.math"
local sentinels = require "bdl.none"

local index = {}

local bind, array, NONE, is_tensor = core.bind, base.array, base.NONE, core.is_tensor
local none, rest = sentinels.none, sentinels.rest

-- ---- nonzero ---------------------------------------------------------------------------------------------------------

--- Positions in row-major order (int32, from 0) of what is not 0.
local function flat_nonzero(who, x)
  base.need_concrete(who, x, "the number of results depends on the values", "use bdl.where, which keeps the shape")
  local p = base.bool(x)
  local ids, count = bind("event_ids", NONE, base.reshape(p, {p.size}))
  return base.slice_axis(ids, 0, 0, core.item(count))
end

--- Row-major positions as one index an axis.
local function unravel(flat, shape)
  local parts, ndim = {}, #shape
  for k = ndim, 1, -1 do
    parts[k] = k == 1 and flat or bind("mod", NONE, flat, shape[k])
    if k > 1 then flat = bind("floordiv", NONE, flat, shape[k]) end
  end
  return parts
end

--- Indices of what is not 0, one tensor an axis.
--  Example:
--    print(bdl.NAME(bdl.tensor{0, 3, 4}))
function index.nonzero(x)
  x = array(x)
  if x.ndim == 0 then core.fail("ShapeError", 2, "nonzero: a scalar has no axis") end
  return table.unpack(unravel(flat_nonzero("nonzero", x), x.shape))
end

--- The same as rows of one tensor [count, ndim].
--  Example:
--    print(bdl.NAME(bdl.tensor{0, 3, 4}))
function index.argwhere(x)
  x = array(x)
  return base.stack("argwhere", unravel(flat_nonzero("argwhere", x), x.shape), 1)
end

--- Positions of the flattened x.
--  Example:
--    print(bdl.NAME(bdl.tensor{0, 3, 4}))
function index.flatnonzero(x) return flat_nonzero("flatnonzero", array(x)) end

--- Tensors of indices for row-major positions, and back.
--  Example:
--    print(bdl.unravel_index(bdl.tensor{5}, {2, 3}))
function index.unravel_index(flat, shape)
  shape = base.shape("unravel_index", {}, false, shape)
  return table.unpack(unravel(array(flat), shape))
end

--- Positions in the flattened array from one tensor of positions an axis.
--  Example:
--    print(bdl.ravel_multi_index({bdl.tensor{1}, bdl.tensor{2}}, {2, 3}))
function index.ravel_multi_index(parts, shape)
  shape = base.shape("ravel_multi_index", {}, false, shape)
  local flat = array(parts[1])
  for k = 2, #shape do flat = flat * shape[k] + parts[k] end
  return flat
end

-- ---- keys ------------------------------------------------------------------------------------------------------------

local function is_list(v) return type(v) == "table" and getmetatable(v) == nil end

--- A typed position on an axis of n elements -> from 0.
local function position(who, i, n, x, axis)
  if math.type(i) ~= "integer" then core.fail("TypeError", 2, "%s: a position is an integer, not %s", who, base.text(i)) end
  if i == 0 then
    core.fail("IndexError", 2, "%s: index 0: positions start at 1 in bdl (Python's index 0 is index 1)", who)
  end
  if i > n or i < -n then
    core.fail("IndexError", 2, "%s: index %d is out of range for axis %d of %s", who, i, axis, base.text(x))
  end
  return i > 0 and i - 1 or n + i
end

local RANGE = base.names "first last step"

--- {first, last, step} on an axis of n elements -> start, stop, step from 0 with step > 0, and whether to flip.
local function range(who, r, n)
  local first, last, step = r[1], r[2], r[3]
  if r.first ~= nil or r.last ~= nil or r.step ~= nil then
    base.options(who, r, RANGE)
    first, last, step = r.first, r.last, r.step
  elseif #r > 3 then
    core.fail("IndexError", 2, "%s: a range is {first, last, step}, not %d numbers; a list of indices is bdl.tensor{..}",
              who, #r)
  end
  step = step or 1
  local function bound(v, default)
    if v == nil or rawequal(v, none) then return default end
    if is_tensor(v) then
      core.hint "index by a tensor: x[bdl.arange(n) + i]"
      core.fail("TypeError", 2, "%s: the ends of a range are numbers, so that the shape is known", who)
    end
    if math.type(v) ~= "integer" then core.fail("TypeError", 2, "%s: a position is an integer, not %s", who, base.text(v)) end
    if v == 0 then core.fail("IndexError", 2, "%s: index 0: positions start at 1 in bdl (Python's index 0 is index 1)", who) end
    return v > 0 and v or n + 1 + v
  end
  if math.type(step) ~= "integer" or step == 0 then
    core.fail("ValueError", 2, "%s: the step of a range is an integer other than 0, not %s", who, base.text(step))
  end
  if step > 0 then
    first, last = math.max(bound(first, 1), 1), math.min(bound(last, n), n)
    return math.min(first - 1, n), math.max(last, math.min(first - 1, n)), step, false
  end
  first, last = math.min(bound(first, n), n), math.max(bound(last, 1), 1)
  if first < last then return 0, 0, 1, false end
  return last - 1 + (first - last) % -step, first, -step, true
end

--- Entries of a key, one an axis but for none; a mask becomes index tensors.
local function entries(who, x, key)
  local list
  if is_list(key) then
    if key[1] == nil and next(key) ~= nil then
      core.fail("TypeError", 2, "%s: an index is a list with one entry an axis; a range is x[{{first, last}}]", who)
    end
    list = key
  else
    list = {key}
  end
  local used, gap = 0, nil
  for i, e in ipairs(list) do
    if rawequal(e, rest) or e == "..." then
      if gap then core.fail("IndexError", 2, "%s: bdl.rest stands once in an index", who) end
      gap = i
    elseif not rawequal(e, none) then
      used = used + (is_tensor(e) and e.dtype == "bool" and e.ndim or 1)
    end
  end
  if used > x.ndim then
    core.fail("IndexError", 2, "%s: %d indices for %s, which has %d axes", who, used, base.text(x), x.ndim)
  end
  local out = {}
  local function fill()
    for _ = 1, x.ndim - used do out[#out + 1] = {} end
  end
  local axis = 1
  for i, e in ipairs(list) do
    if i == gap then
      fill()
      axis = axis + x.ndim - used
    elseif is_tensor(e) and e.dtype == "bool" then
      for k = 1, e.ndim do
        if e.shape[k] ~= x.shape[axis + k - 1] then
          core.fail("IndexError", 2, "%s: the mask %s does not fit %s", who, base.text(e), base.text(x))
        end
      end
      table.move(unravel(flat_nonzero(who, e), e.shape), 1, e.ndim, #out + 1, out)
      axis = axis + e.ndim
    else
      out[#out + 1] = e
      if not rawequal(e, none) then axis = axis + 1 end
    end
  end
  if not gap then fill() end
  return out
end

--- What a key means on x, all from 0:
--    start stop step flip    of every axis of x
--    plain                   no range has a step
--    items                   of the result in order: {size =} a kept axis, {drop = true}, {new = true}, {ids = tensor}
--    n_ids, whole            number of id items; whether all other items are whole axes
local function plan_of(who, x, key)
  local plan = {start = {}, stop = {}, step = {}, flip = {}, items = {}, n_ids = 0, whole = true, plain = true, full = true}
  local axis, shape = 0, x.shape
  local function set(start, stop, step)
    axis = axis + 1
    plan.start[axis], plan.stop[axis], plan.step[axis] = start, stop, step
    if start ~= 0 or stop ~= shape[axis] or step ~= 1 then plan.full = false end
  end
  for _, e in ipairs(entries(who, x, key)) do
    local n, item = shape[axis + 1], nil
    if rawequal(e, none) then
      item = {new = true}
      plan.whole = false
    elseif type(e) == "number" then
      local i = position(who, e, n, x, axis + 1)
      set(i, i + 1, 1)
      item = {drop = true}
      plan.whole = false
    elseif is_tensor(e) then
      if base.KIND[e.dtype] ~= 1 then
        core.hint "x:astype \"int32\" makes integers"
        core.fail("TypeError", 2, "%s: indices are integers or booleans, not %s", who, base.text(e))
      end
      set(0, n, 1)
      item = {ids = e.dtype == "uint32" and core.cast(e, "int64") or e, size = n}
      plan.n_ids = plan.n_ids + 1
    elseif is_list(e) then
      local start, stop, step, flip = range(who, e, n)
      set(start, stop, step)
      if flip then plan.flip[#plan.flip + 1] = axis - 1 end
      plan.plain = plan.plain and step == 1 and not flip
      item = {size = (stop - start + step - 1) // step}
      plan.whole = plan.whole and not flip and item.size == n
    else
      core.fail("TypeError", 2, "%s: an index is a number, a range {first, last}, a tensor or bdl.none, not a %s", who, type(e))
    end
    plan.items[#plan.items + 1] = item
  end
  return plan
end

-- ---- several index tensors -------------------------------------------------------------------------------------------

--- Row-major index into axes of the given sizes; -1, which no axis has, where one of the indices is outside.
local function flat_index(ids, sizes)
  local total = 1
  for _, n in ipairs(sizes) do total = total * n end
  local flat, good
  for k, id in ipairs(ids) do
    if total > 0x7fffffff then id = core.cast(id, "int64") end
    local inside = bind("and", NONE, bind("ge", NONE, id, 0), bind("lt", NONE, id, sizes[k]))
    flat = flat and flat * sizes[k] + id or id
    good = good and bind("and", NONE, good, inside) or inside
  end
  return math_.where(good, flat, -1)
end

--- y, whose axes correspond to items, with its indexed axes merged into one: the result, that axis, and the index.
local function merge(y, items)
  local ids, sizes, at, k = {}, {}, {}, 0
  for _, item in ipairs(items) do
    if not item.drop then
      if item.ids then
        ids[#ids + 1], sizes[#sizes + 1], at[#at + 1] = item.ids, item.size, k
      end
      k = k + 1
    end
  end
  if #ids == 1 then return y, at[1], ids[1] end
  local neighbours = at[#at] - at[1] == #at - 1
  local axis = neighbours and at[1] or 0
  if not neighbours then
    local order, moved = {}, {}
    for _, a in ipairs(at) do
      order[#order + 1] = a
      moved[a] = true
    end
    for a = 0, y.ndim - 1 do
      if not moved[a] then order[#order + 1] = a end
    end
    y = base.permute(y, order)
  end
  local shape, total = base.copy_shape(y), 1
  for _, n in ipairs(sizes) do total = total * n end
  for _ = 2, #sizes do table.remove(shape, axis + 1) end
  shape[axis + 1] = total
  return base.reshape(y, shape), axis, flat_index(ids, sizes), not neighbours
end

local function get(who, x, key)
  local plan = plan_of(who, x, key)
  local y = x
  if not plan.full then y = bind("slice", {start = plan.start, stop = plan.stop, step = plan.step}, y) end
  if #plan.flip > 0 then y = bind("reverse", {axes = plan.flip}, y) end
  local shape, same = {}, true
  for _, item in ipairs(plan.items) do
    if item.drop then
      same = false
    else
      shape[#shape + 1] = item.size or 1
      same = same and not item.new
    end
  end
  if not same then y = base.reshape(y, shape) end
  if plan.n_ids == 0 then return y end
  local merged, axis, ids = merge(y, plan.items)
  return (bind("gather", {axis = axis}, merged, ids))
end

--- x[key]
function index.__index(x, key)
  if key == nil then core.fail("TypeError", 2, "x[nil]: an index is missing") end
  return get("x[i]", x, key)
end

-- ---- writing ---------------------------------------------------------------------------------------------------------

local COMBINE = {
  add = function(a, b) return a + b end,
  mul = function(a, b) return a * b end,
  min = function(a, b) return bind("min", NONE, a, b) end,
  max = function(a, b) return bind("max", NONE, a, b) end,
}

--- v, to be written into x: a tensor of its dtype.
local function update_of(who, x, v)
  v = array(v)
  if v.dtype == x.dtype then return v end
  if base.KIND[v.dtype] > base.KIND[x.dtype] then
    core.hint(("convert first: x:astype %q"):format(v.dtype))
    core.fail("TypeError", 2, "%s: %s does not go into %s", who,
              core.is_weak(v) and "the number " .. tostring(v) or base.text(v), base.text(x))
  end
  return core.cast(v, x.dtype)
end

local function scatter(x, axis, ids, v, op, who)
  local shape = {}
  for k = 1, axis do shape[k] = x.shape[k] end
  table.move(ids.shape, 1, ids.ndim, axis + 1, shape)
  table.move(x.shape, axis + 2, x.ndim, #shape + 1, shape)
  return (bind("scatter", {axis = axis, op = op}, x, ids, base.broadcast_to(who, v, shape)))
end

local function mask_write(who, x, mask, v, op)
  local shape = table.move(mask.shape, 1, mask.ndim, 1, {})
  for k = 1, mask.ndim do
    if mask.shape[k] ~= x.shape[k] then
      core.fail("IndexError", 2, "%s: the mask %s does not fit %s", who, base.text(mask), base.text(x))
    end
  end
  for k = mask.ndim + 1, x.ndim do shape[k] = 1 end
  return math_.where(base.reshape(mask, shape), op == "set" and v or COMBINE[op](x, v), x)
end

local function write(who, x, key, v, op)
  v = update_of(who, x, v)
  if is_tensor(key) and key.dtype == "bool" and key.ndim <= x.ndim and (v.ndim == 0 or core.is_traced(key)) then
    return mask_write(who, x, key, v, op)
  end
  local plan = plan_of(who, x, key)
  if plan.n_ids == 0 and plan.plain then
    local block, shown, starts = {}, {}, {}
    for k = 1, x.ndim do
      block[k] = plan.stop[k] - plan.start[k]
      starts[k] = core.tensor(plan.start[k], "int32")
    end
    for _, item in ipairs(plan.items) do
      if not item.drop then shown[#shown + 1] = item.size or 1 end
    end
    v = base.reshape(base.broadcast_to(who, v, shown), block)
    if op ~= "set" then v = COMBINE[op](bind("slice", {start = plan.start, stop = plan.stop, step = plan.step}, x), v) end
    return (bind("dynamic_update_slice", NONE, x, v, table.unpack(starts)))
  end
  if plan.n_ids > 0 and plan.whole then
    local y, axis, ids, permuted = merge(x, plan.items)
    if not permuted then return base.reshape(scatter(y, axis, ids, v, op, who), x.shape) end
  end
  -- anything else: the row-major positions of what the key selects
  local at = get(who, base.reshape(base.iota({x.size}, 0, x.size > 0x7fffffff and "int64" or "int32"), x.shape), key)
  v = base.broadcast_to(who, v, at.shape)
  local flat = bind("scatter", {axis = 0, op = op}, base.reshape(x, {x.size}), base.reshape(at, {at.size}),
                    base.reshape(v, {v.size}))
  return base.reshape(flat, x.shape)
end

--- x with v written at a key; v broadcasts.  Where indices repeat, the last one stays (set) or all act (add_at ..).
--- set: x with v written at a key:  x:set(1, v), x:set({{2, 4}}, v).  Where indices repeat, the last one stays.
--  Example:
--    print(bdl.NAME(bdl.ones(3), 2, 5.))
--- add_at: x with v added at a key; where indices repeat, all act.
--  Example:
--    print(bdl.NAME(bdl.ones(3), 2, 5.))
--- mul_at: x multiplied by v at a key; where indices repeat, all act.
--  Example:
--    print(bdl.NAME(bdl.ones(3), 2, 5.))
--- min_at: x with the smaller of x and v at a key.
--  Example:
--    print(bdl.NAME(bdl.ones(3), 2, 5.))
--- max_at: x with the larger of x and v at a key.
--  Example:
--    print(bdl.NAME(bdl.ones(3), 2, 5.))
for name, op in pairs{set = "set", add_at = "add", mul_at = "mul", min_at = "min", max_at = "max"} do
  index[name] = function(x, key, v)
    x = array(x)
    if key == nil or v == nil then core.fail("TypeError", 2, "%s: x:%s(index, value)", name, name) end
    v = base.operand(v)
    local ux, uv = core.unit_of(x), core.unit_of(v)
    if not ux and not uv then return write(name, x, key, v, op) end
    if op == "mul" and uv then
      core.fail("UnitMismatchError", 2, "mul_at: the factor has the unit %s; it must be plain", tostring(uv))
    end
    if op ~= "mul" then v = select(3, core.units_rule("scatter", nil, x, 0, v)) end
    local z = write(name, core.mantissa(x), key, core.mantissa(v), op)
    return ux and core.with_unit(z, ux) or z
  end
end

-- ---- by tensors along an axis ----------------------------------------------------------------------------------------

local AXIS = base.names "axis"

--- Typed numbers are positions from 1, tensors hold data from 0.
local function ids_of(who, ids, n, x, axis)
  if is_tensor(ids) then
    if base.KIND[ids.dtype] ~= 1 then core.fail("TypeError", 2, "%s: indices are integers, not %s", who, base.text(ids)) end
    return ids.dtype == "uint32" and core.cast(ids, "int64") or ids
  end
  local function from_zero(v)
    if type(v) ~= "table" then return position(who, v, n, x, axis) end
    local list = {}
    for i, e in ipairs(v) do list[i] = from_zero(e) end
    return list
  end
  local list = from_zero(ids)
  return core.tensor(list, "int32")
end

local function flat_or_axis(who, x, opts)
  local axis = base.options(who, opts, AXIS).axis
  x = array(x)
  if axis == nil then return base.reshape(x, {x.size}), 0 end
  return x, base.axis(who, axis, x.ndim, x)
end

--- Parts of x along an axis (without it x is flattened): take(x, ids, {axis = 1}).
--  Example:
--    print(bdl.take(bdl.tensor{5., 6., 7.}, bdl.tensor{0, 2}))
function index.take(x, ids, opts)
  local axis
  x, axis = flat_or_axis("take", x, opts)
  return (bind("gather", {axis = axis}, x, ids_of("take", ids, x.shape[axis + 1], x, axis + 1)))
end

--- z[.., k, ..] = x[.., ids[.., k, ..], ..]: ids has the rank of x.
--  Example:
--    print(bdl.take_along_axis(bdl.tensor{{5., 6.}}, bdl.tensor{{1}}, {axis = 2}))
function index.take_along_axis(x, ids, opts)
  local axis
  x, axis = flat_or_axis("take_along_axis", x, opts)
  return (bind("gather_along", {axis = axis}, x, ids_of("take_along_axis", ids, x.shape[axis + 1], x, axis + 1)))
end

--- x with v written at ids along an axis; ids has the rank of x.
--  Example:
--    print(bdl.put_along_axis(bdl.zeros(1, 2), bdl.tensor{{1}}, 5., {axis = 2}))
function index.put_along_axis(x, ids, v, opts)
  local axis
  x, axis = flat_or_axis("put_along_axis", x, opts)
  ids = ids_of("put_along_axis", ids, x.shape[axis + 1], x, axis + 1)
  v = base.broadcast_to("put_along_axis", array(v), ids.shape)
  if v.dtype ~= x.dtype then v = update_of("put_along_axis", x, v) end
  return (bind("scatter_along", {axis = axis, op = "set"}, x, ids, v))
end

--- x with v written at positions of its flattened form.
--  Example:
--    print(bdl.put(bdl.zeros(3), bdl.tensor{0, 2}, 1.))
function index.put(x, ids, v)
  x = array(x)
  local flat = base.reshape(x, {x.size})
  return base.reshape(index.set(flat, ids_of("put", ids, x.size, x, 1), v), x.shape)
end

-- ---- unique ----------------------------------------------------------------------------------------------------------

--- Distinct elements, ascending.  Options: return_index, return_inverse, return_counts; results in this order.
--  Example:
--    print(bdl.NAME(bdl.tensor{3, 1, 2}))
function index.unique(x, opts)
  opts = base.options("unique", opts, base.names "return_index return_inverse return_counts")
  x = array(x)
  base.need_concrete("unique", x, "the number of results depends on the values", "make it before the function is traced")
  local flat = base.reshape(x, {x.size})
  local n = flat.size
  local sorted, order = bind("sort", {axis = 0, keys = 1, descending = false}, flat, base.iota({n}, 0))
  local results = {}
  if n == 0 then return flat, order, order, order end
  local new = bind("ne", NONE, base.slice_axis(sorted, 0, 1, n), base.slice_axis(sorted, 0, 0, n - 1))
  new = base.concatenate({core.tensor{true}, new}, 0)
  local first = flat_nonzero("unique", new)
  results[1] = bind("gather", {axis = 0}, sorted, first)
  if opts.return_index then results[#results + 1] = bind("gather", {axis = 0}, order, first) end
  if opts.return_inverse then
    local rank = bind("cumsum", {axis = 0, reverse = false}, core.cast(new, "int32")) - 1
    local inverse = bind("scatter", {axis = 0, op = "set"}, base.iota({n}, 0), order, rank)
    results[#results + 1] = base.reshape(inverse, x.shape)
  end
  if opts.return_counts then
    local ends = base.concatenate({base.slice_axis(first, 0, 1, first.size), core.tensor({n}, "int32")}, 0)
    results[#results + 1] = ends - first
  end
  return table.unpack(results)
end

return index

--- Reductions, running sums, order statistics, sorting, counting.
--   x:sum()   x:mean{axis = 1}   x:max{axis = {1, -1}, keepdims = true}
local core = require "bdl.core"
local base = require "bdl.array.base"
local math_ = require "bdl.array.math"

local reduce = {}

local bind, array, NONE, where = core.bind, base.array, base.NONE, math_.where

local AXIS = base.names "axis keepdims"

-- ---- plumbing --------------------------------------------------------------------------------------------------------

--- z, a result without `axes` of x, with extents 1 in their place.
local function keep(z, x, axes)
  local shape = base.copy_shape(x)
  for _, k in ipairs(axes) do shape[k + 1] = 1 end
  return base.reshape(z, shape)
end

--- z without `axes`, which have extent 1.
local function drop(z, axes)
  local shape, gone = {}, {}
  for _, k in ipairs(axes) do gone[k + 1] = true end
  for k, n in ipairs(z.shape) do
    if not gone[k] then shape[#shape + 1] = n end
  end
  return base.reshape(z, shape)
end

local function fold(prim, x, axes, keepdims)
  local z = #axes == 0 and x.ndim > 0 and x or bind(prim, {axes = axes}, x)
  return keepdims and keep(z, x, axes) or z
end

--- Number of elements along axes.
local function extent(x, axes)
  local n = 1
  for _, k in ipairs(axes) do n = n * x.shape[k + 1] end
  return n
end

local function not_empty(who, x, axes)
  if extent(x, axes) == 0 then core.fail("ValueError", 2, "%s: %s has no elements along these axes", who, base.text(x)) end
end

--- x, options and axes of a call.
local function arguments(who, x, opts, known)
  opts = base.options(who, opts, known or AXIS)
  x = array(x)
  return x, opts, base.axes(who, opts.axis, x)
end

--- One axis, from 0; without the option x is flattened.
local function one_axis(who, x, axis)
  x = array(x)
  if axis == nil then return base.reshape(x, {x.size}), 0 end
  return x, base.axis(who, axis, x.ndim, x)
end

-- ---- sums ------------------------------------------------------------------------------------------------------------

--- Booleans are counted.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
function reduce.sum(x, opts)
  local axes
  x, opts, axes = arguments("sum", x, opts)
  if x.dtype == "bool" then x = core.cast(x, base.integer()) end
  return fold("reduce_sum", x, axes, opts.keepdims)
end

--- The product; booleans are counted.  Options: axis, keepdims.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
function reduce.prod(x, opts)
  local axes
  x, opts, axes = arguments("prod", x, opts)
  if x.dtype == "bool" then x = core.cast(x, base.integer()) end
  return fold("reduce_prod", x, axes, opts.keepdims)
end

local function mean(x, axes, keepdims) return fold("reduce_sum", base.float(x), axes, keepdims) / extent(x, axes) end

--- The mean.  Options: axis, keepdims.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
function reduce.mean(x, opts)
  local axes
  x, opts, axes = arguments("mean", x, opts)
  return mean(x, axes, opts.keepdims)
end

local VAR = base.names "axis keepdims ddof"

local function variance(who, x, opts)
  local axes
  x, opts, axes = arguments(who, x, opts, VAR)
  local d = base.float(x) - mean(x, axes, true)
  local n = math.max(extent(x, axes) - (opts.ddof or 0), 0)
  return fold("reduce_sum", bind("integer_pow", {y = 2}, d), axes, opts.keepdims) / n
end

--- Mean of the squared distances from the mean.  Options: ddof, taken from the number of elements.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
function reduce.var(x, opts) return variance("var", x, opts) end
--- The root of var.  Options: axis, keepdims, ddof.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
function reduce.std(x, opts) return (bind("sqrt", NONE, variance("std", x, opts))) end

--- Weighted mean.  Options: axis, weights (of the shape of x, or of that axis), keepdims.
--  Example:
--    print(bdl.average(bdl.tensor{1., 2.}, {weights = bdl.tensor{3., 1.}}))
function reduce.average(x, opts)
  local axes
  x, opts, axes = arguments("average", x, opts, base.names "axis keepdims weights")
  if opts.weights == nil then return mean(x, axes, opts.keepdims) end
  local w = base.float(opts.weights)
  if w.ndim == 1 and x.ndim > 1 and #axes == 1 then
    local shape = {}
    for k = 1, x.ndim do shape[k] = k == axes[1] + 1 and w.size or 1 end
    w = base.reshape(w, shape)
  end
  w = base.broadcast_to("average", w, x.shape)
  return fold("reduce_sum", x * w, axes, opts.keepdims) / fold("reduce_sum", w, axes, opts.keepdims)
end

-- ---- extremes --------------------------------------------------------------------------------------------------------

--- max: the largest element.  Options: axis, keepdims.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
--- min: the least element.  Options: axis, keepdims.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
for name, prim in pairs{max = "reduce_max", min = "reduce_min"} do
  reduce[name] = function(x, opts)
    local axes
    x, opts, axes = arguments(name, x, opts)
    not_empty(name, x, axes)
    return fold(prim, x, axes, opts.keepdims)
  end
end

--- Largest minus smallest.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
function reduce.ptp(x, opts) return reduce.max(x, opts) - reduce.min(x, opts) end

--- all: are all elements true (not 0)?  Options: axis, keepdims.
--  Example:
--    print(bdl.NAME(bdl.tensor{true, false}))
--- any: is an element true (not 0)?  Options: axis, keepdims.
--  Example:
--    print(bdl.NAME(bdl.tensor{true, false}))
for name, prim in pairs{all = "reduce_and", any = "reduce_or"} do
  reduce[name] = base.unit_rule(name, 1, function(x, opts)
    local axes
    x, opts, axes = arguments(name, x, opts)
    return fold(prim, base.bool(x), axes, opts.keepdims)
  end)
end

--- Index (int32, from 0: data) of the first largest or smallest element; of the flattened x without an axis.
for _, name in ipairs{"argmax", "argmin"} do
  reduce[name] = function(x, opts)
    opts = base.options(name, opts, AXIS)
    x = array(x)
    local flat, axis = one_axis(name, x, opts.axis)
    not_empty(name, flat, {axis})
    local z = bind(name, {axis = axis}, flat)
    if not opts.keepdims then return z end
    return keep(z, x, base.axes(name, opts.axis, x))
  end
end

--- How many elements are not 0.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
function reduce.count_nonzero(x, opts)
  local axes
  x, opts, axes = arguments("count_nonzero", x, opts)
  return fold("reduce_sum", core.cast(base.bool(x), base.integer()), axes, opts.keepdims)
end

-- ---- running ---------------------------------------------------------------------------------------------------------

local RUNNING = base.names "axis reverse"

--- cumsum: running sums along an axis.  Options: axis (without it x is flattened), reverse.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
--- cumprod: running products along an axis.  Options: as cumsum.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
--- cummax: running largest elements along an axis.  Options: as cumsum.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
--- cummin: running least elements along an axis.  Options: as cumsum.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
for _, name in ipairs{"cumsum", "cumprod", "cummax", "cummin"} do
  --- Options: axis (without it x is flattened), reverse (from the end).
  reduce[name] = function(x, opts)
    opts = base.options(name, opts, RUNNING)
    local axis
    x, axis = one_axis(name, x, opts.axis)
    if x.dtype == "bool" then x = core.cast(x, base.integer()) end
    return (bind(name, {axis = axis, reverse = opts.reverse or false}, x))
  end
end

--- Differences of neighbours, n times.  Options: n (1), axis (-1).
--  Example:
--    print(bdl.NAME(bdl.tensor{3, 1, 2}))
function reduce.diff(x, opts)
  opts = base.options("diff", opts, base.names "n axis")
  x = array(x)
  local axis = base.axis("diff", opts.axis or -1, x.ndim, x)
  for _ = 1, opts.n or 1 do
    local n = x.shape[axis + 1]
    if n == 0 then break end
    x = base.slice_axis(x, axis, 1, n) - base.slice_axis(x, axis, 0, n - 1)
  end
  return x
end

--- Integral of y by the trapezoidal rule.  Options: x (positions of the samples), dx (1), axis (-1).
--  Example:
--    print(bdl.NAME(bdl.tensor{3, 1, 2}))
function reduce.trapezoid(y, opts)
  opts = base.options("trapezoid", opts, base.names "x dx axis")
  y = base.float(y)
  local axis = base.axis("trapezoid", opts.axis or -1, y.ndim, y)
  local n = y.shape[axis + 1]
  if n < 2 then return reduce.sum(y * 0.0, {axis = axis + 1}) end
  local means = (base.slice_axis(y, axis, 1, n) + base.slice_axis(y, axis, 0, n - 1)) * 0.5
  local d = opts.dx or 1
  if opts.x ~= nil then
    d = reduce.diff(opts.x)
    if d.ndim == 1 then
      local shape = {}
      for k = 1, y.ndim do shape[k] = k == axis + 1 and d.size or 1 end
      d = base.reshape(d, shape)
    end
  end
  return reduce.sum(means * d, {axis = axis + 1})
end

-- ---- exponentials ----------------------------------------------------------------------------------------------------

--- The largest element along axes, for shifting: finite, no gradient.
local function shift_of(x, axes)
  local m = bind("stop_gradient", NONE, fold("reduce_max", x, axes, true))
  return where(bind("is_finite", NONE, m), m, 0.0)
end

--- log(sum(e^x)) without overflow.
--  Example:
--    print(bdl.NAME(bdl.tensor{1., 2., 3.}))
reduce.logsumexp = base.unit_rule("logsumexp", 1, function(x, opts)
  local axes
  x, opts, axes = arguments("logsumexp", x, opts)
  x = base.float(x)
  local m = shift_of(x, axes)
  local z = bind("log", NONE, fold("reduce_sum", bind("exp", NONE, x - m), axes, true)) + m
  return opts.keepdims and z or drop(z, axes)
end)

local SOFTMAX = base.names "axis"

--- e^x over its sum.  Options: axis (-1), one or several.
--  Example:
--    print(bdl.NAME(bdl.tensor{1., 2., 3.}))
reduce.softmax = base.unit_rule("softmax", 1, function(x, opts)
  local axis = base.options("softmax", opts, SOFTMAX).axis or -1
  x = base.float(x)
  local axes = base.axes("softmax", axis, x)
  local e = bind("exp", NONE, x - shift_of(x, axes))
  return e / fold("reduce_sum", e, axes, true)
end)

reduce.log_softmax = base.unit_rule("log_softmax", 1, function(x, opts)
  local axis = base.options("log_softmax", opts, SOFTMAX).axis or -1
  x = base.float(x)
  local axes = base.axes("log_softmax", axis, x)
  local shifted = x - shift_of(x, axes)
  return shifted - bind("log", NONE, fold("reduce_sum", bind("exp", NONE, shifted), axes, true))
end)

-- ---- norms -----------------------------------------------------------------------------------------------------------

local NORM = base.names "ord axis keepdims"

--- Norm of vectors (one axis), of matrices (two axes: "fro", 1, inf and their negatives), or of all elements.
--  Options: ord (2; "fro" for matrices), axis, keepdims.
--  Example:
--    print(bdl.norm(bdl.tensor{3., 4.}))
reduce.norm = base.unit_rule("norm", 1, function(x, opts)
  local axes
  x, opts, axes = arguments("norm", x, opts, NORM)
  local ord, kept = opts.ord, opts.keepdims
  x = base.float(x)
  if ord == nil or ord == "fro" or ord == 2 and #axes == 1 then
    return (bind("sqrt", NONE, fold("reduce_sum", bind("integer_pow", {y = 2}, x), axes, kept)))
  end
  local a = bind("abs", NONE, x)
  if type(ord) ~= "number" then core.fail("ValueError", 2, "norm: ord is a number or 'fro', not %s", tostring(ord)) end
  if #axes == 2 then
    if ord ~= 1 and ord ~= -1 and math.abs(ord) ~= math.huge then
      core.fail("NotSupportedError", 2, "norm: ord %s of matrices; 'fro', 1, -1, inf and -inf are there", tostring(ord))
    end
    local inner = math.abs(ord) == 1 and 1 or 2 -- summed first: columns for 1, rows for inf
    local sums = fold("reduce_sum", a, {axes[inner]}, true)
    local z = fold(ord > 0 and "reduce_max" or "reduce_min", sums, {axes[3 - inner]}, true)
    return kept and z or drop(z, axes)
  elseif ord == math.huge then
    return fold("reduce_max", a, axes, kept)
  elseif ord == -math.huge then
    return fold("reduce_min", a, axes, kept)
  elseif ord == 0 then
    return core.cast(reduce.count_nonzero(x, {axis = opts.axis, keepdims = kept}), x.dtype)
  elseif ord == 1 then
    return fold("reduce_sum", a, axes, kept)
  end
  return core.pow(fold("reduce_sum", core.pow(a, ord), axes, kept), 1 / ord)
end)

-- ---- order -----------------------------------------------------------------------------------------------------------

local SORT = base.names "axis descending"

local function sorted(who, prim_keys, x, opts, ...)
  opts = base.options(who, opts, SORT)
  x = array(x)
  local axis = base.axis(who, opts.axis or -1, x.ndim, x)
  return axis, {axis = axis, keys = prim_keys, descending = opts.descending or false}, x, ...
end

--- Stable, NaN last.  Options: axis (-1), descending.
--  Example:
--    print(bdl.NAME(bdl.tensor{3, 1, 2}))
function reduce.sort(x, opts)
  local _, params, y = sorted("sort", 1, x, opts)
  return (bind("sort", params, y))
end

--- Indices (int32, from 0) that sort x.
--  Example:
--    print(bdl.NAME(bdl.tensor{3, 1, 2}))
function reduce.argsort(x, opts)
  local axis, params, y = sorted("argsort", 1, x, opts)
  return (select(2, bind("sort", params, y, base.iota(y.shape, axis))))
end

--- The k largest of the last axis, descending, and their indices (int32, from 0).
--  Example:
--    print(bdl.top_k(bdl.tensor{3., 1., 2.}, 2))
function reduce.top_k(x, k)
  x = array(x)
  if math.type(k) ~= "integer" or k < 0 or x.ndim == 0 or k > x.shape[-1] then
    core.fail("ValueError", 2, "top_k: k is %s for the last axis of %s", tostring(k), base.text(x))
  end
  return bind("top_k", {k = k}, x)
end

local QUANTILE = base.names "axis keepdims method"
local METHODS = base.names "linear lower higher nearest midpoint"

--- Quantiles of q (a number or list of numbers) within 0..1: the axis of q comes first, if it has one.
local function quantile(who, x, q, opts)
  local axes
  x, opts, axes = arguments(who, x, opts, QUANTILE)
  local method = opts.method or "linear"
  if not METHODS[method] then core.fail("ValueError", 2, "%s: no method '%s'", who, tostring(method)) end
  x = base.float(x)
  not_empty(who, x, axes)
  -- the reduced axes become one, the last
  local order, shape, is_reduced = {}, {}, {}
  for _, k in ipairs(axes) do is_reduced[k] = true end
  for k = 0, x.ndim - 1 do
    if not is_reduced[k] then
      order[#order + 1] = k
      shape[#shape + 1] = x.shape[k + 1]
    end
  end
  for _, k in ipairs(axes) do order[#order + 1] = k end
  local n = extent(x, axes)
  shape[#shape + 1] = n
  local rows = bind("sort", {axis = #shape - 1, keys = 1, descending = false}, base.reshape(base.permute(x, order), shape))
  local last = {#shape - 1}
  local function at(p)
    local lo, hi = math.floor(p), math.ceil(p)
    local function row(i) return drop(base.slice_axis(rows, last[1], i, i + 1), last) end
    if method == "lower" then return row(lo) end
    if method == "higher" then return row(hi) end
    if method == "nearest" then return row(p - lo < 0.5 and lo or p - lo > 0.5 and hi or lo % 2 == 0 and lo or hi) end
    if lo == hi then return row(lo) end
    local part = method == "midpoint" and 0.5 or p - lo
    return row(lo) * (1 - part) + row(hi) * part
  end
  local bad = bind("reduce_or", {axes = last}, bind("is_nan", NONE, rows)) -- NaN anywhere: NaN
  local function one(v)
    if type(v) ~= "number" or not (v >= 0 and v <= 1) then
      core.fail("ValueError", 2, "%s: quantiles are numbers within the range, not %s", who, tostring(v))
    end
    local z = at(v * (n - 1))
    local nan = base.broadcast_to(who, core.tensor(0 / 0, z.dtype), z.shape)
    if core.unit_of(z) then nan = core.with_unit(nan, core.unit_of(z)) end
    z = where(bad, nan, z)
    return opts.keepdims and keep(z, x, axes) or z
  end
  if core.is_tensor(q) then q = core.totable(q) end
  if type(q) ~= "table" then return one(q) end
  local parts = {}
  for i, v in ipairs(q) do parts[i] = one(v) end
  return base.stack(who, parts, 0)
end

--- Options: axis, keepdims, method (linear, lower, higher, nearest, midpoint).
--- Quantiles q (a number or a list) within 0..1; the axis of q comes first.  Options: axis, keepdims, method
--  ("linear").
--  Example:
--    print(bdl.quantile(bdl.arange(5), 0.5))
function reduce.quantile(x, q, opts) return quantile("quantile", x, q, opts) end

--- Quantiles in percent.
--  Example:
--    print(bdl.percentile(bdl.arange(5), 25))
function reduce.percentile(x, q, opts)
  if core.is_tensor(q) then q = core.totable(q) end
  if type(q) ~= "table" then return quantile("percentile", x, type(q) == "number" and q / 100 or q, opts) end
  local parts = {}
  for i, v in ipairs(q) do parts[i] = type(v) == "number" and v / 100 or v end
  return quantile("percentile", x, parts, opts)
end

--- The middle, of an even number the mean of the two.  Options: axis, keepdims.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 4.}, {3., 2.}}, {axis = 1}))
function reduce.median(x, opts) return quantile("median", x, 0.5, opts) end

-- ---- search and count ------------------------------------------------------------------------------------------------

--- Where v goes into the ascending vector a: int32 indices from 0.  Options: side = "left" (the default) or "right".
--  Example:
--    print(bdl.searchsorted(bdl.tensor{1., 2., 3.}, bdl.tensor{2.5}))
function reduce.searchsorted(a, v, opts)
  local side = base.options("searchsorted", opts, base.names "side").side or "left"
  if side ~= "left" and side ~= "right" then
    core.fail("ValueError", 2, "searchsorted: side is 'left' or 'right', not '%s'", side)
  end
  a, v = array(a), array(v)
  if a.ndim ~= 1 then core.fail("ShapeError", 2, "searchsorted: a vector is needed, not %s", base.text(a)) end
  local n = a.size
  local lo = base.broadcast_to("searchsorted", core.tensor(0, "int32"), v.shape)
  if n == 0 then return lo end
  local hi, before = lo + n, side == "left" and "lt" or "le"
  for _ = 0, math.floor(math.log(n, 2)) do -- halves the range lo..hi
    local open = bind("lt", NONE, lo, hi)
    local mid = bind("sar", NONE, lo + hi, 1)
    local middle = bind("gather", {axis = 0}, a, bind("min", NONE, mid, n - 1))
    local right = bind(before, NONE, middle, v)
    lo = where(bind("and", NONE, open, right), mid + 1, lo)
    hi = where(bind("and", NONE, open, bind("not", NONE, right)), mid, hi)
  end
  return lo
end

--- Index of the bin of each x; bins ascend.  Options: right (the right edge belongs to the bin).
--  Example:
--    print(bdl.digitize(bdl.tensor{0.5, 2.5}, bdl.tensor{1., 2., 3.}))
function reduce.digitize(x, bins, opts)
  local right = base.options("digitize", opts, base.names "right").right
  return reduce.searchsorted(bins, x, {side = right and "left" or "right"})
end

local function largest(x) return x.size == 0 and -1 or core.item(bind("reduce_max", {axes = {0}}, x)) end

--- How often 0, 1, 2 .. occur in the integers x.  Options: weights, minlength, length (needed while tracing; larger
--  integers are dropped then).
--  Example:
--    print(bdl.bincount(bdl.tensor{0, 2, 2}))
function reduce.bincount(x, opts)
  opts = base.options("bincount", opts, base.names "weights minlength length")
  x = array(x)
  if x.ndim ~= 1 or base.KIND[x.dtype] ~= 1 then
    core.fail("TypeError", 2, "bincount: a vector of integers is needed, not %s", base.text(x))
  end
  local n = opts.length
  if not n then
    base.need_concrete("bincount", x, "the length depends on the largest integer", "give {length = n}")
    n = math.max(largest(x) + 1, opts.minlength or 0)
  end
  local w = opts.weights
  if w == nil then w = core.tensor(1, base.integer()) end
  w = base.broadcast_to("bincount", w, x.shape)
  local room = base.broadcast_to("bincount", core.tensor(0, w.dtype), {n + 1})
  if core.unit_of(w) then room = core.with_unit(room, core.unit_of(w)) end
  local at = opts.length and where(bind("ge", NONE, x, n), n, x) or x -- the last place is thrown away
  return base.slice_axis(bind("scatter", {axis = 0, op = "add"}, room, at, w), 0, 0, n)
end

--- Counts per bin, and the edges of the bins.  bins: a number of bins over the range, or the edges.
--  Options: range = {lo, hi} (from the data), weights, density.
--  Example:
--    print(bdl.histogram(bdl.tensor{0.1, 0.2, 0.9}, 2))
function reduce.histogram(x, bins, opts)
  if base.is_options(bins) then bins, opts = nil, bins end
  opts = base.options("histogram", opts, base.names "range weights density")
  x = array(x)
  x = base.reshape(x, {x.size})
  bins = bins or 10
  local edges = bins
  if math.type(bins) == "integer" then
    local lo, hi
    if bins < 1 then core.fail("ValueError", 2, "histogram: one bin is needed at least, not %d", bins) end
    if opts.range then
      lo, hi = opts.range[1], opts.range[2]
    elseif x.size == 0 then
      lo, hi = 0.0, 1.0
    else
      base.need_concrete("histogram", x, "the range depends on the data", "give {range = {lo, hi}}")
      lo, hi = reduce.min(x), reduce.max(x)
      local unit = core.unit_of(x)
      lo, hi = core.item(core.mantissa(lo)), core.item(core.mantissa(hi))
      if lo == hi then lo, hi = lo - 0.5, hi + 0.5 end
      if unit then lo, hi = core.with_unit(lo, unit), core.with_unit(hi, unit) end
    end
    edges = require "bdl.array.make".linspace(lo, hi, bins + 1)
  else
    edges = array(edges)
  end
  local n = edges.size - 1
  local bin = reduce.searchsorted(edges, x, {side = "right"}) - 1
  local last = base.slice_axis(edges, 0, n, n + 1)
  bin = where(bind("eq", NONE, x, last), n - 1, bin) -- the last bin has both its edges
  bin = where(bind("lt", NONE, bin, 0), n, bin)
  local counts = reduce.bincount(bin, {weights = opts.weights, length = n})
  if opts.density then counts = base.float(counts) / reduce.sum(counts) / reduce.diff(edges) end
  return counts, edges
end

return reduce

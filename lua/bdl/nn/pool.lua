--- Pooling: windows over the last axes of space of x [batch.., space.., c], one axis after the other (max, sum and mean allow it).
--  channel_axis: a position in x (-1); bdl.none: x has no channels.
--  Source: Boureau, Ponce & LeCun (2010), A theoretical analysis of feature pooling in visual recognition. ICML.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local base = require "bdl.array.base"
local field = require "bdl.nn.field"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none
local where = require "bdl.array.math".where
local reduce = require "bdl.array.reduce"
local shape = require "bdl.array.shape"
local Module = require "bdl.nn.module".Module

local M = {}

--- Axes of space of x, from 0.  Errors: ShapeError, x has too few axes.
local function space_of(self, x)
  local axes, channel = {}, self.channel_axis
  if x.ndim < self.dims + (channel and 1 or 0) then
    core.fail("ShapeError", 3, "%s: %d axes of space%s are needed, not %s", class.typename(self), self.dims,
              channel and " and channels" or "", base.text(x))
  end
  channel = channel and base.axis(class.typename(self), channel, x.ndim, x)
  for axis = 0, x.ndim - 1 do
    if axis ~= channel then axes[#axes + 1] = axis end
  end
  return table.move(axes, #axes - self.dims + 1, #axes, 1, {})
end

--- out_size from that of a result of in_size, where it is given.
local function set_size(self, in_size)
  if not in_size then return end
  self.in_size = in_size
  local y = require "bdl.compile".eval_shape(function(x) return (self:update(x)) end, base.broadcast_to("pool", 0.0, in_size))
  self.out_size = {table.unpack(y.shape)}
end

-- ---- windows -----------------------------------------------------------------------------------------------------------------

local Pool = Module:extend "Pool"

--- Positions and defaults of a pooling class; stride: by default the kernel_size.
local function spec(more)
  local copy = {"kernel_size", "stride", stride = none, padding = "VALID", channel_axis = -1, name = none, in_size = none}
  if more then table.insert(copy, 1, more) end
  return copy
end

function Pool:setup(a, stride)
  local who = class.qualified_name(class.of(self))
  Pool.super.__init(self, a.name)
  self.kernel_size = layer.each(who, "kernel_size", a.kernel_size, self.dims)
  self.stride = layer.each(who, "stride", a.stride or stride or a.kernel_size, self.dims)
  self.padding = field.padding(who, a.padding, self.dims)
  self.channel_axis = a.channel_axis ~= none and a.channel_axis or nil
  set_size(self, a.in_size)
end

--- The elements 0, 1, .. of every window along an axis: strided slices of x.
local function elements(x, axis, width, stride, count)
  local start, stop, step, list = {}, base.copy_shape(x), {}, {}
  for k = 1, x.ndim do start[k], step[k] = 0, 1 end
  step[axis + 1] = stride
  for i = 0, width - 1 do
    start[axis + 1], stop[axis + 1] = i, i + (count - 1) * stride + 1
    list[i + 1] = core.bind("slice", {start = start, stop = stop, step = step}, x)
  end
  return list
end

local function fold(list, combine)
  local total = list[1]
  for i = 2, #list do total = combine(total, list[i]) end
  return total
end

local function padded(x, axis, lo, hi, value)
  if lo == 0 and hi == 0 then return x end
  local widths = {}
  for k = 1, x.ndim do widths[k] = k == axis + 1 and {lo, hi} or {0, 0} end
  return shape.pad(x, widths, {value = value})
end

--- f(z, axis, width, stride, count, lo, hi, n) for every axis of space, on the numbers of x; z begins as x.
--  p: (optional) the mean of the p-th powers, and its p-th root.
function Pool:each_axis(x, f, p)
  x = layer.input(self, x, nil)
  local unit, z = core.unit_of(x), core.mantissa(x)
  if p then z = core.pow(core.bind("abs", {}, z), p) end
  for k, axis in ipairs(space_of(self, x)) do
    local n, width, stride = z.shape[axis + 1], self.kernel_size[k], self.stride[k]
    local lo, hi = field.amount(self.padding, k, n, width, stride)
    z = f(z, axis, width, stride, field.count(class.typename(self), n, lo, hi, width, stride), lo, hi, n)
    if p then z = z / width end
  end
  if p then
    local some = core.bind("gt", {}, z, 0)
    z = where(some, core.pow(where(some, z, 1.0), 1 / p), 0.0)
  end
  return unit and core.with_unit(z, unit) or z
end

local function sum(z, axis, width, stride, count, lo, hi)
  return fold(elements(padded(z, axis, lo, hi, 0.0), axis, width, stride, count), function(a, b) return a + b end)
end

local function max(z, axis, width, stride, count, lo, hi)
  return fold(elements(padded(z, axis, lo, hi, -math.huge), axis, width, stride, count), function(a, b)
    return (core.bind("max", {}, a, b))
  end)
end

--- The largest of each window and its row-major index in x (int32 from 0), of equal ones the first.
function Pool:max_with_indices(x)
  x = layer.input(self, x, nil)
  local n = x.size
  local at = base.reshape(base.iota({n}, 0), base.copy_shape(x))
  local y = self:each_axis(x, function(z, axis, width, stride, count, lo, hi)
    local values = elements(padded(z, axis, lo, hi, -math.huge), axis, width, stride, count)
    local places = elements(padded(at, axis, lo, hi, n), axis, width, stride, count)
    z, at = values[1], places[1]
    for i = 2, width do
      local v, p = values[i], places[i]
      local same = core.bind("and", {}, core.bind("eq", {}, v, z), core.bind("lt", {}, p, at))
      local better = core.bind("or", {}, core.bind("gt", {}, v, z), same)
      z, at = where(better, v, z), where(better, p, at)
    end
    return z
  end)
  return y, where(core.bind("eq", {}, at, n), 0, at)
end

--- Elements of x, not of the padding, in each window; a number where all are alike.
local function members(axis, width, stride, count, lo, hi, n, ndim)
  if lo == 0 and hi == 0 then return width end
  local list, sizes = {}, {}
  for i = 1, count do
    local first = (i - 1) * stride - lo
    list[i] = math.max(1, math.min(n, first + width) - math.max(0, first))
  end
  for k = 1, ndim do sizes[k] = k == axis + 1 and count or 1 end
  return base.reshape(core.tensor(list, base.real()), sizes)
end

local function mean_with_padding(z, axis, width, ...) return sum(z, axis, width, ...) / width end

local function mean(z, axis, width, stride, count, lo, hi, n)
  local by = members(axis, width, stride, count, lo, hi, n, z.ndim)
  return sum(z, axis, width, stride, count, lo, hi) / (core.is_tensor(by) and core.cast(by, z.dtype) or by)
end

-- ---- parts of equal size -----------------------------------------------------------------------------------------------------

local Adaptive = Module:extend "AdaptivePool"

--- target_size: windows an axis of space; bdl.none in its place leaves an axis as it is.
function Adaptive:setup(a)
  local who = class.qualified_name(class.of(self))
  Adaptive.super.__init(self, a.name)
  local target = a.target_size
  self.target_size = {}
  for k = 1, self.dims do
    local n = target
    if type(target) == "table" then n = target[k] end
    if n ~= none and (math.type(n) ~= "integer" or n < 1) or type(target) == "table" and #target ~= self.dims then
      core.fail("ValueError", 3, "%s: target_size is a whole number from 1, or a list of %d", who, self.dims)
    end
    self.target_size[k] = n
  end
  self.channel_axis = a.channel_axis ~= none and a.channel_axis or nil
  set_size(self, a.in_size)
end

--- Parts of an axis reduced: the first n % target have n // target + 1 elements, the others n // target.
local function parts(x, axis, target, f)
  local n = x.shape[axis + 1]
  local size, longer = n // target, n % target
  local function reduced(from, to, each)
    local z = base.slice_axis(x, axis, from, to)
    local sizes = base.copy_shape(z)
    sizes[axis + 1] = (to - from) // each
    table.insert(sizes, axis + 2, each)
    return f(base.reshape(z, sizes), {axis = axis + 2})
  end
  if longer == 0 then return reduced(0, n, size) end
  local split = longer * (size + 1)
  return base.concatenate({reduced(0, split, size + 1), reduced(split, n, size)}, axis)
end

function Adaptive:update(x)
  x = layer.input(self, x, nil)
  for k, axis in ipairs(space_of(self, x)) do
    local target, n = self.target_size[k], x.shape[axis + 1]
    if target ~= none then
      if n < target then core.fail("ShapeError", 2, "%s: %d windows on an axis of %d", class.typename(self), target, n) end
      x = parts(x, axis, target, self.operation)
    end
  end
  return x
end

-- ---- the classes -------------------------------------------------------------------------------------------------------------

for dims = 1, 3 do
  local function define(name, parent)
    name = ("%s%dd"):format(name, dims)
    local Class = parent:extend(name)
    M[name] = Class
    Class.dims = dims
    return Class
  end

  --- MaxPool1d, MaxPool2d, MaxPool3d: the largest of each window:  y = max of x over the window.
  --  kernel_size, stride : a number, or one an axis
  --  padding : "SAME", "VALID", a number, one or {lo, hi} an axis
  --  channel_axis : a position in x; bdl.none: x has no channels
  --  in_size : gives out_size
  --  return_indices : whether the row-major indices of the largest in x are returned, too
  --  Example:
  --    local layer = bdl.nn.MaxPool2d(2)
  --    print(layer(bdl.random.randn(1, 4, 4, 3)).shape)
  local MaxPool = define("MaxPool", Pool)
  function MaxPool:__init(...)
    local known = spec()
    known.return_indices = false
    local a = args(known, ...)
    self.return_indices = a.return_indices
    self:setup(a)
  end
  function MaxPool:update(x)
    if self.return_indices then return self:max_with_indices(x) end
    return self:each_axis(x, max)
  end

  --- MaxUnpool1d, MaxUnpool2d, MaxUnpool3d: undoes MaxPool:  y[indices] = x, 0 elsewhere.
  --  unpool(x, indices, output_size): sizes of space of what was pooled, by default n = (m - 1) stride - 2 padding +
  --  kernel_size.
  --  kernel_size, stride : a number, or one an axis
  --  padding : "SAME", "VALID", a number, one or {lo, hi} an axis
  --  channel_axis : a position in x; bdl.none: x has no channels
  --  in_size : gives out_size
  --  Source: Zeiler & Fergus (2014), Visualizing and understanding convolutional networks. ECCV.
  --  Example:
  --    local y, indices = bdl.nn.MaxPool2d{2, return_indices = true}(bdl.random.randn(1, 4, 4, 3))
  --    print(bdl.nn.MaxUnpool2d(2)(y, indices).shape)
  local MaxUnpool = define("MaxUnpool", Pool)
  function MaxUnpool:__init(...)
    local known = spec()
    known.padding = 0
    self:setup(args(known, ...))
  end
  function MaxUnpool:update(x, indices, output_size)
    x = layer.input(self, x, nil)
    local sizes = base.copy_shape(x)
    for k, axis in ipairs(space_of(self, x)) do
      local p = self.padding[k]
      sizes[axis + 1] = output_size and output_size[k] or (sizes[axis + 1] - 1) * self.stride[k] - p[1] - p[2] + self.kernel_size[k]
    end
    local n = 1
    for _, extent in ipairs(sizes) do n = n * extent end
    local zeros = core.bind("broadcast", {shape = {n}, dims = {}}, core.tensor(0.0, x.dtype))
    if core.unit_of(x) then zeros = core.with_unit(zeros, core.unit_of(x)) end
    return base.reshape(core.bind("scatter", {axis = 0, op = "set"}, zeros, indices:reshape(-1), x:reshape(-1)), sizes)
  end

  --- SumPool1d, SumPool2d, SumPool3d: the sum of each window:  y = sum of x over the window.
  --  kernel_size, stride : a number, or one an axis
  --  padding : "SAME", "VALID", a number, one or {lo, hi} an axis
  --  channel_axis : a position in x; bdl.none: x has no channels
  --  in_size : gives out_size
  --  Example:
  --    local layer = bdl.nn.SumPool2d(2)
  --    print(layer(bdl.random.randn(1, 4, 4, 3)).shape)
  local SumPool = define("SumPool", Pool)
  function SumPool:__init(...) self:setup(args(spec(), ...)) end
  function SumPool:update(x) return self:each_axis(x, sum) end

  --- AvgPool1d, AvgPool2d, AvgPool3d: the mean of each window:  y = sum of x / n, n the elements of the window.
  --  stride defaults to 1.
  --  count_include_pad : whether padding counts, as zeros
  --  kernel_size, stride : a number, or one an axis
  --  padding : "SAME", "VALID", a number, one or {lo, hi} an axis
  --  channel_axis : a position in x; bdl.none: x has no channels
  --  in_size : gives out_size
  --  Example:
  --    local layer = bdl.nn.AvgPool2d(2, 2)
  --    print(layer(bdl.random.randn(1, 4, 4, 3)).shape)
  local AvgPool = define("AvgPool", Pool)
  function AvgPool:__init(...)
    local known = spec()
    known.count_include_pad = false
    local a = args(known, ...)
    self.count_include_pad = a.count_include_pad
    self:setup(a, 1)
  end
  function AvgPool:update(x) return self:each_axis(x, self.count_include_pad and mean_with_padding or mean) end

  --- LPPool1d, LPPool2d, LPPool3d: the p-norm of each window:  y = (mean |x|^p)^(1/p), p = norm_type; its derivative is
  --  0 where all of a window is 0.
  --  norm_type : p, positive and finite
  --  kernel_size, stride : a number, or one an axis
  --  padding : "SAME", "VALID", a number, one or {lo, hi} an axis
  --  channel_axis : a position in x; bdl.none: x has no channels
  --  in_size : gives out_size
  --  Errors: ValueError, norm_type.
  --  Source: Gulcehre et al. (2014), Learned-norm pooling for deep feedforward and recurrent neural networks. ECML.
  --  Example:
  --    local layer = bdl.nn.LPPool2d(2, 2)
  --    print(layer(bdl.random.randn(1, 4, 4, 3)).shape)
  local LPPool = define("LPPool", Pool)
  function LPPool:__init(...)
    local a = args(spec "norm_type", ...)
    if type(a.norm_type) ~= "number" or not (a.norm_type > 0 and a.norm_type < math.huge) then
      core.fail("ValueError", 2, "nn.LPPool%dd: norm_type is positive and finite, not %s", dims, tostring(a.norm_type))
    end
    self.norm_type = a.norm_type
    self:setup(a)
  end
  function LPPool:update(x) return self:each_axis(x, sum, self.norm_type) end

  --- AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d: means of parts:  y = sum of x / n over each of
  --  target_size parts of an axis.
  --  target_size : parts, a number or one an axis; bdl.none leaves an axis as it is
  --  channel_axis : a position in x; bdl.none: x has no channels
  --  in_size : gives out_size
  --  Example:
  --    local layer = bdl.nn.AdaptiveAvgPool2d(2)
  --    print(layer(bdl.random.randn(1, 4, 4, 3)).shape)
  local AdaptiveAvgPool = define("AdaptiveAvgPool", Adaptive)
  AdaptiveAvgPool.operation = reduce.mean
  --- AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d: the largest of parts:  y = max of x over each of
  --  target_size parts of an axis.
  --  target_size : parts, a number or one an axis; bdl.none leaves an axis as it is
  --  channel_axis : a position in x; bdl.none: x has no channels
  --  in_size : gives out_size
  --  Example:
  --    local layer = bdl.nn.AdaptiveMaxPool2d(2)
  --    print(layer(bdl.random.randn(1, 4, 4, 3)).shape)
  local AdaptiveMaxPool = define("AdaptiveMaxPool", Adaptive)
  AdaptiveMaxPool.operation = reduce.max
  for _, Class in ipairs{AdaptiveAvgPool, AdaptiveMaxPool} do
    function Class:__init(...) self:setup(args({"target_size", channel_axis = -1, name = none, in_size = none}, ...)) end
  end
end

return M

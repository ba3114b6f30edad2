--- Convolutions over one to three axes of space.  x : [batch.., space.., c_in]  ->  [batch.., space.., c_out]; they correlate, as in
--  all deep-learning libraries.  channel_first: c stands before space, in in_size, x and y.
--  Source: LeCun et al. (1989), Backpropagation applied to handwritten zip code recognition. Neural Comput 1; Dumoulin
--    & Visin (2016), A guide to convolution arithmetic for deep learning. arXiv:1603.07285.
local core = require "bdl.core"
local args = require "bdl.args"
local base = require "bdl.array.base"
local field = require "bdl.nn.field"
local functional = require "bdl.functional"
local init = require "bdl.init"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none

local M = {}

--- Subclasses have dims, and set filter (sizes of the weight), then make the State.
local Conv = layer.Layer:extend "Conv"

local SPEC = {
  "in_size", "out_channels", "kernel_size", stride = 1, padding = "SAME", rhs_dilation = 1, groups = 1, w_init = init.XavierNormal(),
  b_init = none, w_mask = none, channel_first = false, name = none,
}

local function spec(more)
  local copy = {}
  for key, value in pairs(SPEC) do copy[key] = value end
  for key, value in pairs(more) do copy[key] = value end
  return copy
end

--- Errors: ValueError, sizes, padding, groups that do not divide the channels.
function Conv:setup(who, a)
  local dims = self.dims
  Conv.super.__init(self, a.name)
  self.in_size = a.in_size
  if #self.in_size ~= dims + 1 then
    core.fail("ValueError", 3, "%s: in_size is %d sizes of space and the channels, not %s", who, dims, tostring(self.in_size))
  end
  self.channel_first = a.channel_first
  local size = self.in_size
  rawset(self, "_space", table.move(size, a.channel_first and 2 or 1, a.channel_first and dims + 1 or dims, 1, {}))
  self.in_channels = a.channel_first and size[1] or size[dims + 1]
  self.out_channels = layer.each(who, "out_channels", a.out_channels, 1)[1]
  self.groups = layer.each(who, "groups", a.groups, 1)[1]
  self.kernel_size = layer.each(who, "kernel_size", a.kernel_size, dims)
  self.stride = layer.each(who, "stride", a.stride, dims)
  self.rhs_dilation = layer.each(who, "rhs_dilation", a.rhs_dilation, dims)
  self.padding = field.padding(who, a.padding, dims)
  for _, name in ipairs{"in_channels", "out_channels"} do
    if self[name] % self.groups ~= 0 then
      core.fail("ValueError", 3, "%s: %s %d is no multiple of %d groups", who, name, self[name], self.groups)
    end
  end
end

--- A shape of `ones` ones, and n behind them.
local function behind(ones, n)
  local shape = {}
  for k = 1, ones do shape[k] = 1 end
  shape[ones + 1] = n
  return shape
end

--- The State {weight, bias, gain}, and out_size.  from, to: the last two sizes of the weight.
function Conv:finish(who, a, from, to, ws_gain)
  local dims = self.dims
  local shape = table.move(self.kernel_size, 1, dims, 1, {})
  shape[dims + 1], shape[dims + 2] = from, to
  self.w_mask = init.param(a.w_mask, shape)
  local weight = layer.full(a.w_init, shape)
  self:keep{weight = weight, bias = layer.bias(a.b_init, behind(dims, self.out_channels), weight),
            gain = ws_gain and init.OneInit()(behind(dims + 1, to)) or nil}
  local out = {}
  for k, n in ipairs(self._space) do
    local stride, apart, lo, hi = self:geometry(k, n)
    out[k] = field.count(who, (n - 1) * apart + 1, lo, hi, self:width(k), stride)
  end
  table.insert(out, self.channel_first and 1 or dims + 1, self.out_channels)
  self.out_size = out
end

--- Extent of the filter along axis k of space.
function Conv:width(k) return (self.kernel_size[k] - 1) * self.rhs_dilation[k] + 1 end

--- For axis k of n elements: step of the filter, distance of the elements of x, padding before and after.
function Conv:geometry(k, n)
  local stride = self.stride[k]
  local lo, hi = field.amount(self.padding, k, n, self:width(k), stride)
  return stride, self.lhs_dilation[k], lo, hi
end

--- The filter [k.., c_in / groups, c_out] that acts, of the weight w.
function Conv:filter(w) return self.w_mask and w * self.w_mask or w end

--- The axes (from 0) of ndim when the channels go from axis `from` of the last dims + 1 to `to`.
local function moved_channels(ndim, dims, from, to)
  local axes, lead = {}, ndim - dims - 1
  for k = 1, ndim do axes[k] = k - 1 end
  table.insert(axes, lead + to, table.remove(axes, lead + from))
  return axes
end

--- x : [batch.., in_size] -> [batch.., out_size]
function Conv:update(x)
  local p, dims = self:params(), self.dims
  x = layer.input(self, x, self.in_size, p.weight)
  if self.channel_first then x = base.permute(x, moved_channels(x.ndim, dims, 1, dims + 1)) end
  local batch, stride, lo, hi, apart = {}, {}, {}, {}, {}
  for k = 1, x.ndim - dims - 1 do batch[k] = x.shape[k] end
  for k, n in ipairs(self._space) do stride[k], apart[k], lo[k], hi[k] = self:geometry(k, n) end
  local rest = table.move(self._space, 1, dims, 2, {-1})
  rest[dims + 2] = self.in_channels
  if #batch ~= 1 then x = x:reshape(rest) end
  local window = {strides = stride, pad_lo = lo, pad_hi = hi, lhs_dilation = apart, rhs_dilation = self.rhs_dilation,
                  groups = self.groups}
  local y = self.ops.conv(x, {weight = p.weight, bias = p.bias}, {
    window = window, axes = self.channel_first and moved_channels(dims + 2, dims, dims + 1, 1) or nil,
    weight_fn = function(w) return self:filter(w, p.gain) end,
  })
  return #batch == 1 and y or base.reshape(y, table.move(y.shape, 2, dims + 2, #batch + 1, batch))
end

-- ---- the classes -------------------------------------------------------------------------------------------------------------

--- Conv1d, Conv2d, Conv3d: convolution:  y = filter * x + b.
--  in_size : {space.., c_in}
--  kernel_size, stride, rhs_dilation : a number, or one an axis
--  padding : "SAME", "VALID", a number, one or {lo, hi} an axis
--  lhs_dilation : distance of the elements of x, a number or one an axis
--  groups : parts of the channels that do not see each other
--  w_mask : multiplies the weight
--  channel_first : whether c stands before space
--  States: weight, {weight [k.., c_in / groups, c_out], bias}.
--  Example:
--    local layer = bdl.nn.Conv2d({8, 8, 3}, 4, 3)
--    print(layer(bdl.ones(1, 8, 8, 3)).shape)
local function convolution(self, who, a)
  self:setup(who, a)
  self.lhs_dilation = layer.each(who, "lhs_dilation", a.lhs_dilation, self.dims)
  for _, apart in ipairs(self.lhs_dilation) do
    if apart ~= 1 and type(self.padding) == "string" then
      core.fail("ValueError", 3, "%s: with lhs_dilation padding is given in numbers, not '%s'", who, self.padding)
    end
  end
  self:finish(who, a, self.in_channels // self.groups, self.out_channels, a.ws_gain)
end

--- ScaledWSConv1d, ScaledWSConv2d, ScaledWSConv3d: convolution with a standardised filter:  y = f * x + b,
--  f = gain (W - mean)/sqrt(var fan_in) for each channel of y.
--  in_size : {space.., c_in}
--  kernel_size, stride, rhs_dilation : a number, or one an axis
--  padding : "SAME", "VALID", a number, one or {lo, hi} an axis
--  lhs_dilation : distance of the elements of x, a number or one an axis
--  groups : parts of the channels that do not see each other
--  w_mask : multiplies the weight
--  channel_first : whether c stands before space
--  ws_gain : whether there is a gain, which is learnt
--  eps : least value of var fan_in
--  States: weight, {weight [k.., c_in / groups, c_out], bias, gain}.
--  Source: Qiao et al. (2019), Micro-batch training with batch-channel normalization and weight standardization.
--    arXiv:1903.10520.
--  Example:
--    local layer = bdl.nn.ScaledWSConv2d({8, 8, 3}, 4, 3)
--    print(layer(bdl.ones(1, 8, 8, 3)).shape)
local function scaled_filter(self, w, gain)
  w = functional.weight_standardization(w, {eps = self.eps, gain = gain})
  return self.w_mask and w * self.w_mask or w
end

--- ConvTranspose1d, ConvTranspose2d, ConvTranspose3d: transpose of a convolution, which it undoes in shape:  y =
--  filter' x + b; stride puts stride - 1 zeros between the elements of x.
--  in_size : {space.., c_in}
--  kernel_size, stride, rhs_dilation : a number, or one an axis
--  padding : "SAME", "VALID", a number, one or {lo, hi} an axis
--  groups : parts of the channels that do not see each other
--  w_mask : multiplies the weight
--  channel_first : whether c stands before space
--  States: weight, {weight [k.., c_out, c_in / groups], bias}.
--  Source: Zeiler et al. (2010), Deconvolutional networks. CVPR.
--  Example:
--    local layer = bdl.nn.ConvTranspose2d({8, 8, 3}, 4, 3, {stride = 2})
--    print(layer(bdl.ones(1, 8, 8, 3)).shape)
local Transposed = Conv:extend "ConvTranspose"

function Transposed:geometry(k)
  local stride, width, padding = self.stride[k], self:width(k), self.padding
  if type(padding) == "table" then return 1, stride, padding[k][1], padding[k][2] end
  local total, lo = width + stride - 2, width - 1
  if padding == "VALID" then
    total = total + math.max(width - stride, 0)
  elseif stride <= width - 1 then
    lo = (total + 1) // 2
  end
  return 1, stride, lo, total - lo
end

function Transposed:filter(w)
  local dims = self.dims
  w = Conv.filter(self, w)
  local space, axes = {}, {}
  for k = 1, dims do space[k], axes[k] = k - 1, k - 1 end
  axes[dims + 1], axes[dims + 2] = dims + 1, dims
  return base.permute(core.bind("reverse", {axes = space}, w), axes)
end

for dims = 1, 3 do
  local function define(name, parent, more, make)
    local Class = parent:extend(name)
    M[name] = Class
    Class.dims = dims
    function Class:__init(...) make(self, "nn." .. name, args(spec(more), ...)) end
    return Class
  end
  define(("Conv%dd"):format(dims), Conv, {lhs_dilation = 1}, convolution)
  local standardised = {lhs_dilation = 1, ws_gain = true, eps = 1e-4}
  local Scaled = define(("ScaledWSConv%dd"):format(dims), Conv, standardised, function(self, who, a)
    self.eps = a.eps
    convolution(self, who, a)
  end)
  Scaled.filter = scaled_filter
  define(("ConvTranspose%dd"):format(dims), Transposed, {}, function(self, who, a)
    self:setup(who, a)
    self:finish(who, a, self.out_channels, self.in_channels // self.groups)
  end)
end

return M

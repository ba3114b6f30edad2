--- Normalisation:  y = (x - mean) / sqrt(var + epsilon) scale + bias,  over axes of x that the class chooses.
--  Example:
--    local layer = bdl.nn.NAME(4)
--    print(layer(bdl.random.randn(2, 4)))
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local base = require "bdl.array.base"
local environ = require "bdl.environ"
local init = require "bdl.init"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none
local reduce = require "bdl.array.reduce"
local state = require "bdl.state"
local Module = require "bdl.nn.module".Module

local M = {}

--- Subclasses call setup, and set up their own statistics.
local Norm = Module:extend "Norm"

--- in_size; axes that have parameters of their own (positions of in_size), as sizes with 1 for all others.
function Norm:setup(a, feature_axes)
  local who = class.qualified_name(class.of(self))
  Norm.super.__init(self, a.name)
  self.in_size = a.in_size
  self.out_size = self.in_size
  self.epsilon = a.epsilon
  self.use_fast_variance = a.use_fast_variance
  local sizes, n = {}, #self.in_size
  self.feature_axes = layer.axes_from_end(who, feature_axes, n)
  for k = 1, n do sizes[k] = 1 end
  for _, axis in ipairs(self.feature_axes) do sizes[n + axis + 1] = self.in_size[axis] end
  return who, sizes
end

--- Arguments that all classes take, in a spec of bdl.args.
local function spec(more)
  local copy = {"in_size", epsilon = 1e-6, use_fast_variance = true, name = none}
  for key, value in pairs(more) do copy[key] = value end
  return copy
end

--- The State of scale and bias, or nil without either.
local function parameters(scale, bias, sizes)
  if not scale and not bias then return nil end
  return state.ParamState{scale = scale and layer.full(scale, sizes) or nil, bias = bias and layer.full(bias, sizes) or nil}
end

--- mean and variance of x over axes, which stay with extent 1.  Fast: E[x^2] - E[x]^2, less exact where the mean is large.
local function statistics(x, axes, fast)
  local along = {axis = axes, keepdims = true}
  local mean = reduce.mean(x, along)
  if not fast then return mean, reduce.var(x, along) end
  return mean, core.bind("max", {}, reduce.mean(x * x, along) - mean * mean, 0.0)
end

--- (x - mean) / sqrt(var + epsilon), mean nil for 0.
local function normalise(self, x, mean, var)
  return (mean and x - mean or x) * core.bind("rsqrt", {}, var + self.epsilon)
end

--- y scale + bias
local function affine(p, y)
  if not p then return y end
  p = p.value
  if p.scale then y = y * p.scale end
  return p.bias and y + p.bias or y
end

-- ---- over a batch ------------------------------------------------------------------------------------------------------------

--- BatchNorm0d, BatchNorm1d, BatchNorm2d, BatchNorm3d: normalisation over a batch and space:
--  y = (x - mean) / sqrt(var + epsilon) scale + bias,  over all axes but feature_axis.  While fitting (environ fit) by
--  the statistics of the batch, which move the running ones:
--  running = momentum running + (1 - momentum) batch;  else by the running ones.
--  0d .. 3d: axes of space before the channels;  x : [in_size] or [batch, in_size].
--  in_size : {space.., channels}
--  track_running_stats : false: y = x
--  momentum : what the running statistics keep
--  affine : whether there are scale and bias
--  epsilon : added to the variance
--  use_fast_variance : E[x^2] - E[x]^2, less exact where the mean is large
--  States: running_mean, running_var; weight, {scale, bias}.
--  Source: Ioffe & Szegedy (2015), Batch normalization: accelerating deep network training by reducing internal
--    covariate shift. ICML.
--  Example:
--    local layer = bdl.nn.BatchNorm1d{in_size = {5, 3}}
--    print(bdl.environ.context({fit = true}, layer, bdl.random.randn(2, 5, 3)))
local BatchNorm = Norm:extend "BatchNorm"

function BatchNorm:__init(...)
  local a = args(spec{"in_size", "feature_axis", feature_axis = -1, track_running_stats = true, epsilon = 1e-5, momentum = 0.99,
                      affine = true, bias_initializer = init.Constant(0.0), scale_initializer = init.Constant(1.0)}, ...)
  local who, sizes = self:setup(a, a.feature_axis)
  if #self.in_size ~= self.dims + 1 then
    core.fail("ValueError", 2, "%s: in_size is %d sizes of space and the channels, not %s", who, self.dims, tostring(self.in_size))
  end
  if a.affine and not a.track_running_stats then
    core.fail("ValueError", 2, "%s: without running statistics x is not normalised: affine = false", who)
  end
  self.momentum = a.momentum
  self.track_running_stats = a.track_running_stats
  if a.track_running_stats then
    self.running_mean = state.LongTermState(init.ZeroInit()(sizes))
    self.running_var = state.LongTermState(init.OneInit()(sizes))
  end
  if a.affine then self.weight = parameters(a.scale_initializer, a.bias_initializer, sizes) end
end

function BatchNorm:update(x)
  x = layer.input(self, x, self.in_size)
  if x.ndim > self.dims + 2 then
    core.fail("ShapeError", 2, "%s: %s is neither in_size %s nor a batch of them", class.typename(self), base.text(x),
              tostring(self.in_size))
  end
  local fit = environ.get "fit"
  if not self.track_running_stats then return x end
  local mean, var = self.running_mean, self.running_var
  if not fit then return affine(self.weight, normalise(self, x, mean.value, var.value)) end
  local features, axes = {}, {}
  for _, axis in ipairs(self.feature_axes) do features[x.ndim + axis + 1] = true end
  for k = 1, x.ndim do
    if not features[k] then axes[#axes + 1] = k end
  end
  local m, v = statistics(x, axes, self.use_fast_variance)
  local function moved(running, batch)
    return self.momentum * running + (1 - self.momentum) * base.reshape(batch, base.copy_shape(running))
  end
  mean.value, var.value = moved(mean.value, m), moved(var.value, v)
  return affine(self.weight, normalise(self, x, m, v))
end

for dims = 0, 3 do
  local name = ("BatchNorm%dd"):format(dims)
  M[name] = BatchNorm:extend(name)
  M[name].dims = dims
end

-- ---- over each sample --------------------------------------------------------------------------------------------------------

local SAMPLE = {reduction_axes = -1, feature_axes = -1, use_scale = true, scale_init = init.Constant(1.0)}

local function sample_spec(more)
  for key, value in pairs(SAMPLE) do more[key] = value end
  return spec(more)
end

--- Layer normalisation:  y = (x - mean) / sqrt(var + epsilon) scale + bias,  over reduction_axes of each sample.
--  reduction_axes, feature_axes : those that are averaged over; those of scale and bias
--  use_bias, use_scale : whether they are learnt
--  epsilon : added to the variance
--  use_fast_variance : E[x^2] - E[x]^2, less exact where the mean is large
--  States: weight, {scale, bias}.
--  Source: Ba, Kiros & Hinton (2016), Layer normalization. arXiv:1607.06450.
local LayerNorm = Norm:extend "LayerNorm"
M.LayerNorm = LayerNorm

function LayerNorm:__init(...)
  local a = args(sample_spec{"in_size", "reduction_axes", "feature_axes", use_bias = true, bias_init = init.ZeroInit()}, ...)
  local who, sizes = self:setup(a, a.feature_axes)
  self.reduction_axes = layer.axes_from_end(who, a.reduction_axes, #self.in_size)
  self.weight = parameters(a.use_scale and a.scale_init, a.use_bias and a.bias_init, sizes)
end

--- x : [.., in_size]
function LayerNorm:update(x)
  x = layer.input(self, x, self.in_size)
  return affine(self.weight, normalise(self, x, statistics(x, self.reduction_axes, self.use_fast_variance)))
end

--- Root-mean-square normalisation:  y = x / sqrt(mean(x^2) + epsilon) scale,  over reduction_axes of each sample.
--  reduction_axes, feature_axes : those that are averaged over; those of the scale
--  use_scale : whether it is learnt
--  epsilon : added to the variance
--  use_fast_variance : E[x^2] - E[x]^2, less exact where the mean is large
--  States: scale, {scale}.
--  Source: Zhang & Sennrich (2019), Root mean square layer normalization. NeurIPS.
local RMSNorm = Norm:extend "RMSNorm"
M.RMSNorm = RMSNorm

function RMSNorm:__init(...)
  local a = args(sample_spec{"in_size"}, ...)
  local who, sizes = self:setup(a, a.feature_axes)
  self.reduction_axes = layer.axes_from_end(who, a.reduction_axes, #self.in_size)
  self.scale = parameters(a.use_scale and a.scale_init, nil, sizes)
end

function RMSNorm:update(x)
  x = layer.input(self, x, self.in_size)
  return affine(self.scale, normalise(self, x, nil, reduce.mean(x * x, {axis = self.reduction_axes, keepdims = true})))
end

--- Group normalisation:  y = (x - mean) / sqrt(var + epsilon) scale + bias,  over space and a group of channels of each
--  sample.
--  x : [batch, space.., channels]; the first axis is the batch, where there is more than one.
--  in_size : {channels}
--  num_groups, group_size : one of the two
--  use_bias, use_scale : whether they are learnt
--  epsilon : added to the variance
--  use_fast_variance : E[x^2] - E[x]^2, less exact where the mean is large
--  States: weight, {scale, bias}.
--  Source: Wu & He (2018), Group normalization. ECCV.
--  Example:
--    local layer = bdl.nn.NAME(4, 2)
--    print(layer(bdl.random.randn(2, 5, 4)))
local GroupNorm = Norm:extend "GroupNorm"
M.GroupNorm = GroupNorm

local function group_spec(more)
  more.use_bias, more.use_scale, more.bias_init, more.scale_init = true, true, init.ZeroInit(), init.Constant(1.0)
  return spec(more)
end

--- Errors: ValueError, both or neither of the two; groups that do not divide the channels; an in_size of more than the channels.
function GroupNorm:make(a)
  local who, sizes = self:setup(a, -1)
  local n, groups, size = self.in_size[-1], a.num_groups, a.group_size
  if #self.in_size ~= 1 then
    core.fail("ValueError", 3, "%s: in_size is the number of channels, not %s", who, tostring(self.in_size))
  end
  if (groups == nil) == (size == nil) then
    core.fail("ValueError", 3, "%s: give num_groups or group_size (with num_groups = bdl.none)", who)
  end
  local by = groups or size
  if math.type(by) ~= "integer" or by < 1 or n % by ~= 0 then
    core.fail("ValueError", 3, "%s: %s %s does not divide the %d channels", who, groups and "num_groups" or "group_size",
              tostring(by), n)
  end
  self.num_groups = groups or n // size
  self.group_size = n // self.num_groups
  self.weight = parameters(a.use_scale and a.scale_init, a.use_bias and a.bias_init, sizes)
end

function GroupNorm:__init(...)
  local a = args(group_spec{"in_size", "num_groups", num_groups = 32, group_size = none}, ...)
  if a.num_groups == none then a.num_groups = nil end
  self:make(a)
end

function GroupNorm:update(x)
  x = layer.input(self, x, self.in_size)
  local sizes, axes = base.copy_shape(x), {-1}
  for k = 2, x.ndim - 1 do axes[#axes + 1] = k end
  sizes[#sizes] = self.num_groups
  sizes[#sizes + 1] = self.group_size
  local z = base.reshape(x, sizes)
  z = normalise(self, z, statistics(z, axes, self.use_fast_variance))
  return affine(self.weight, base.reshape(z, base.copy_shape(x)))
end

--- Instance normalisation:  y = (x - mean) / sqrt(var + epsilon) scale + bias,  over space, for each channel of each
--  sample.
--  in_size : {channels}
--  use_bias, use_scale : whether they are learnt
--  epsilon : added to the variance
--  use_fast_variance : E[x^2] - E[x]^2, less exact where the mean is large
--  States: weight, {scale, bias}.
--  Source: Ulyanov, Vedaldi & Lempitsky (2016), Instance normalization: the missing ingredient for fast stylization.
--    arXiv:1607.08022.
--  Example:
--    local layer = bdl.nn.NAME(4)
--    print(layer(bdl.random.randn(2, 5, 4)))
local InstanceNorm = GroupNorm:extend "InstanceNorm"
M.InstanceNorm = InstanceNorm

function InstanceNorm:__init(...)
  local a = args(group_spec{"in_size"}, ...)
  a.group_size = 1
  self:make(a)
end

return M

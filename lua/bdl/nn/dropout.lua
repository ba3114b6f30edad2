--- Dropout: while fitting (environ fit) elements are kept with probability `prob` and the others silenced; else y = x.
--  Source: Srivastava et al. (2014), Dropout: a simple way to prevent neural networks from overfitting. J Mach Learn
--    Res 15.
--  Example:
--    local layer = bdl.nn.NAME(0.8)
--    print(bdl.environ.context({fit = true}, layer, bdl.ones(2, 4, 3)))
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local base = require "bdl.array.base"
local environ = require "bdl.environ"
local init = require "bdl.init"
local none = require "bdl.none".none
local state = require "bdl.state"
local where = require "bdl.array.math".where
local Module = require "bdl.nn.module".Module

local M = {}

--- Subclasses give mask_shape(x): the sizes of the mask, 1 where elements share their fate.
local Base = Module:extend "DropoutBase"

--- Errors: ValueError, prob outside 0..1.
function Base:setup(a)
  Base.super.__init(self, a.name)
  if type(a.prob) ~= "number" or not (a.prob >= 0 and a.prob <= 1) then
    core.fail("ValueError", 3, "%s: prob, the probability to keep, is within 0..1, not %s", class.qualified_name(class.of(self)),
              tostring(a.prob))
  end
  self.prob = a.prob
end

local function bernoulli(p, sizes) return require "bdl.random".bernoulli(p, {size = sizes}) end

--- Kept: x / prob;  else 0.
function Base:drop(keep, x) return where(keep, self.prob > 0 and x / self.prob or x, 0 * x) end

function Base:update(x)
  if not environ.get "fit" or self.prob == 1 then return x end
  x = base.float(x)
  return self:drop(base.broadcast_to(class.typename(self), bernoulli(self.prob, self:mask_shape(x)), base.copy_shape(x)), x)
end

function Base:mask_shape(x) return base.copy_shape(x) end

--- Dropout of elements:  y = x / prob with probability prob, else 0.
--  prob : the probability to keep
--  broadcast_dims : axes along which elements share their fate
local Dropout = Base:extend "Dropout"
M.Dropout = Dropout

function Dropout:__init(...)
  local a = args({"prob", "broadcast_dims", prob = 0.5, broadcast_dims = {}, name = none}, ...)
  self:setup(a)
  self.broadcast_dims = a.broadcast_dims
end

function Dropout:mask_shape(x)
  local sizes = base.copy_shape(x)
  for _, axis in ipairs(self.broadcast_dims) do sizes[base.axis("Dropout", axis, x.ndim, x) + 1] = 1 end
  return sizes
end

--- Dropout1d, Dropout2d, Dropout3d: dropout of whole channels of each sample:  y = x / prob with probability prob, else
--  0.
--  x : [sample] or [batch, sample], a sample having 1, 2 or 3 axes of space and the channels.
--  prob : the probability to keep
--  channel_axis : a position in a sample
--  Source: Tompson et al. (2015), Efficient object localization using convolutional networks. CVPR.
--  Example:
--    local layer = bdl.nn.Dropout1d(0.8)
--    print(bdl.environ.context({fit = true}, layer, bdl.ones(2, 4, 3)))
local ByChannel = Base:extend "DropoutByChannel"

function ByChannel:__init(...)
  local a = args({"prob", "channel_axis", prob = 0.5, channel_axis = -1, name = none}, ...)
  self:setup(a)
  self.channel_axis = a.channel_axis
end

function ByChannel:mask_shape(x)
  local dims, who = self.dims, class.typename(self)
  if dims and x.ndim ~= dims + 1 and x.ndim ~= dims + 2 then
    core.fail("ShapeError", 3, "%s: %s is no sample of %d axes, nor a batch of them", who, base.text(x), dims + 1)
  end
  local lead = dims and x.ndim - dims - 1 or 1
  local channel = base.axis(who, self.channel_axis, x.ndim - lead, x) + 1 + lead
  local sizes = {}
  for k = 1, x.ndim do sizes[k] = (k == channel or k == lead) and x.shape[k] or 1 end
  return sizes
end

for dims = 1, 3 do
  local name = ("Dropout%dd"):format(dims)
  M[name] = ByChannel:extend(name)
  M[name].dims = dims
end

--- What is silenced takes the value that SELU has far below 0, and the result is scaled to keep mean and variance:
--  y = a where(kept, x, alpha) + b.
local ALPHA <const> = -1.7580993408473766

local function alpha_drop(self, keep, x)
  local p, q = self.prob, 1 - self.prob
  if p == 0 then return 0 * x end
  local a = (p * (1 + q * ALPHA ^ 2)) ^ -0.5
  return where(keep, x, ALPHA) * a - a * q * ALPHA
end

--- Dropout of elements for SELU:  y = a (x with probability prob, else -1.758) + b, a and b such that mean and variance
--  stay.
--  prob : the probability to keep
--  Source: Klambauer et al. (2017), Self-normalizing neural networks. NIPS.
local AlphaDropout = Base:extend "AlphaDropout"
M.AlphaDropout = AlphaDropout
AlphaDropout.drop = alpha_drop
function AlphaDropout:__init(...) self:setup(args({"prob", prob = 0.5, name = none}, ...)) end

--- Dropout of whole channels for SELU:  y = a (x with probability prob, else -1.758) + b; the first axis is the batch.
--  prob : the probability to keep
--  channel_axis : a position in a sample
--  Source: Klambauer et al. (2017), Self-normalizing neural networks. NIPS.
local FeatureAlphaDropout = ByChannel:extend "FeatureAlphaDropout"
M.FeatureAlphaDropout = FeatureAlphaDropout
FeatureAlphaDropout.drop = alpha_drop

--- One mask for a whole sequence, drawn by init_state:  y = x / prob where the mask is set, else 0.
--  prob : the probability to keep
--  States: mask.
--  Source: Gal & Ghahramani (2016), A theoretically grounded application of dropout in recurrent neural networks. NIPS.
--  Example:
--    local layer = bdl.nn.init_all_states(bdl.nn.DropoutFixed(3, 0.8), 2)
--    print(bdl.environ.context({fit = true}, layer, bdl.ones(2, 3)))
local DropoutFixed = Base:extend "DropoutFixed"
M.DropoutFixed = DropoutFixed

function DropoutFixed:__init(...)
  local a = args({"in_size", "prob", prob = 0.5, name = none}, ...)
  self:setup(a)
  self.in_size = a.in_size
  self.out_size = self.in_size
end

function DropoutFixed:init_state(batch_size)
  self.mask = state.ShortTermState(init.param(function(sizes) return bernoulli(self.prob, sizes) end, self.in_size, batch_size))
end

--- Errors: ShapeError, x is not of the sizes of the mask.
function DropoutFixed:update(x)
  if not environ.get "fit" or self.prob == 1 then return x end
  x = base.float(x)
  local mask = self.mask.value
  if mask.shape ~= x.shape then
    core.hint "give init_state the batch_size of the input"
    core.fail("ShapeError", 2, "DropoutFixed: %s does not fit the mask of %s", base.text(x), base.text(mask))
  end
  return self:drop(mask, x)
end

return M

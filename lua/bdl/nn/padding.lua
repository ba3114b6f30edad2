--- Padding of the axes of space of x [batch, space.., c] or [space.., c].
--  Source: Dumoulin & Visin (2016), A guide to convolution arithmetic for deep learning. arXiv:1603.07285.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local base = require "bdl.array.base"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none
local pad = require "bdl.array.shape".pad
local Module = require "bdl.nn.module".Module

local M = {}

local Pad = Module:extend "Pad"

--- Errors: ValueError.
function Pad:__init(...)
  local spec = {"padding", in_size = none, name = none}
  if self.mode == "constant" and not self.zero then spec[2], spec.value = "value", 0 end
  local a = args(spec, ...)
  Pad.super.__init(self, a.name)
  local dims, p, who = self.dims, a.padding, class.qualified_name(class.of(self))
  self.padding = {}
  local both = type(p) == "table" and #p == 2 * dims
  local list = layer.each(who, "padding", p, both and 2 * dims or dims, 0)
  for k = 1, dims do self.padding[k] = both and {list[2 * k - 1], list[2 * k]} or {list[k], list[k]} end
  self.value = a.value
  if a.in_size then
    self.in_size = a.in_size
    local out = {table.unpack(self.in_size)}
    for k = 1, dims do out[k] = out[k] + self.padding[k][1] + self.padding[k][2] end
    self.out_size = out
  end
end

function Pad:update(x)
  x = base.array(x)
  local lead = x.ndim - self.dims - 1
  if lead < 0 or lead > 1 then
    core.fail("ShapeError", 2, "%s: %d axes of space and the channels are needed, a batch before them or not; got %s",
              class.typename(self), self.dims, base.text(x))
  end
  local widths = {}
  for k = 1, x.ndim do widths[k] = self.padding[k - lead] or {0, 0} end
  return pad(x, widths, {mode = self.mode, value = self.value})
end

--- ZeroPad1d, ZeroPad2d, ZeroPad3d: zeros around x:  y = 0 outside of x.
--  padding : a number, one an axis, or {lo, hi} of all axes in a row
--  in_size : {space.., c}; gives out_size
--  Example:
--    local layer = bdl.nn.ZeroPad2d(1)
--    print(layer(bdl.ones(2, 2, 1)).shape)
--- ConstantPad1d, ConstantPad2d, ConstantPad3d: a value around x:  y = value outside of x.
--  padding : a number, one an axis, or {lo, hi} of all axes in a row
--  in_size : {space.., c}; gives out_size
--  value : put around x
--  Example:
--    local layer = bdl.nn.ConstantPad2d(1, 0.5)
--    print(layer(bdl.ones(2, 2, 1)).shape)
--- ReflectionPad1d, ReflectionPad2d, ReflectionPad3d: x mirrored at its ends, which are not repeated:  y[-i] = x[i],
--  y[n - 1 + i] = x[n - 1 - i].
--  padding : a number, one an axis, or {lo, hi} of all axes in a row
--  in_size : {space.., c}; gives out_size
--  Example:
--    local layer = bdl.nn.ReflectionPad2d(1)
--    print(layer(bdl.ones(2, 2, 1)).shape)
--- ReplicationPad1d, ReplicationPad2d, ReplicationPad3d: the ends of x repeated:  y[-i] = x[0], y[n - 1 + i] = x[n -
--  1].
--  padding : a number, one an axis, or {lo, hi} of all axes in a row
--  in_size : {space.., c}; gives out_size
--  Example:
--    local layer = bdl.nn.ReplicationPad2d(1)
--    print(layer(bdl.ones(2, 2, 1)).shape)
--- CircularPad1d, CircularPad2d, CircularPad3d: x repeated:  y[i] = x[i mod n].
--  padding : a number, one an axis, or {lo, hi} of all axes in a row
--  in_size : {space.., c}; gives out_size
--  Example:
--    local layer = bdl.nn.CircularPad2d(1)
--    print(layer(bdl.ones(2, 2, 1)).shape)
for name, mode in pairs{
  ReflectionPad = "reflect", ReplicationPad = "edge", CircularPad = "wrap", ZeroPad = "constant", ConstantPad = "constant",
} do
  for dims = 1, 3 do
    local full = ("%s%dd"):format(name, dims)
    local Class = Pad:extend(full)
    M[full] = Class
    Class.dims, Class.mode, Class.zero = dims, mode, name == "ZeroPad"
  end
end

return M

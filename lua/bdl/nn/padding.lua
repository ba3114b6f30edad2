--- Padding of the axes of space of x [batch, space.., c] or [space.., c].
--  padding: n, one n an axis, or {lo, hi} of all axes in a row;  in_size {space.., c}, name.  ConstantPad: also value (0).
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

--- What layers share: checked inputs, values of parameters, axes behind any number of batch axes.
local core = require "bdl.core"
local class = require "bdl.class"
local base = require "bdl.array.base"
local init = require "bdl.init"
local none = require "bdl.none".none
local Module = require "bdl.nn.module".Module

local M = {}

--- A module whose parameters are one State: a value, or values by name.
local Layer = Module:extend "Layer"
M.Layer = Layer
Layer.ops = require "bdl.nn.ops"

--- Makes the State.
function Layer:keep(value) self[self.ops.field] = self.ops.ParamState(value) end

--- The parameters.
function Layer:params() return self[self.ops.field].value end

--- In place of a bias: zeros in the unit of the weight.
M.ZEROS = setmetatable({}, {__bdl = "zeros", __tostring = function() return "ZeroInit()" end})

local function check(self, x, size)
  local n, from = #size, x.ndim - #size
  local found, fits = {}, from >= 0
  for k = math.max(1, 1 - from), n do
    found[#found + 1] = x.shape[from + k]
    fits = fits and x.shape[from + k] == size[k]
  end
  if fits then return end
  local one = n == 1
  core.fail("ShapeError", 4, "%s: the last size%s of the input%s %s %s, not in_size %s", class.typename(self), one and "" or "s",
            core.origin(x), one and "is" or "are", #found == 0 and "none" or table.concat(found, ", "), one and size[1] or tostring(size))
end

--- x as a tensor of floats (spikes and counts become those of `like`) with `size` last, behind any number of axes.
--  Errors: ShapeError naming the layer and in_size.
function M.input(self, x, size, like)
  if not core.is_tensor(x) then x = base.tensor(x) end
  if size then check(self, x, size) end
  if base.KIND[x.dtype] ~= 2 then x = core.cast(x, like and core.mantissa(like).dtype or base.real()) end
  return x
end

--- A parameter of exactly these sizes: initialisers, scalars and arrays that broadcast.
function M.full(x, sizes)
  local value = init.param(x, sizes, nil, {allow_none = false})
  if core.is_tensor(value) and value.ndim == #sizes then return value end
  return init.Constant(value)(sizes)
end

--- The value of a bias, or nil: b_init may be nil, bdl.none, ZEROS, a value, an initialiser.
function M.bias(b_init, sizes, weight)
  if b_init == nil or b_init == none then return nil end
  if b_init == M.ZEROS then b_init = init.ZeroInit{unit = core.unit_of(weight) or none} end
  return M.full(b_init, sizes)
end

--- One whole number a dimension: n, {n}, or a list of `dims`.  Errors: ValueError naming what it is for.
function M.each(who, what, v, dims, least)
  local list = {}
  for k = 1, dims do
    list[k] = type(v) == "table" and v[#v > 1 and k or 1] or v
    if math.type(list[k]) ~= "integer" or list[k] < (least or 1) or (type(v) == "table" and #v ~= 1 and #v ~= dims) then
      core.fail("ValueError", 3, "%s: %s is a whole number from %d%s", who, what, least or 1, dims > 1 and ", or a list of " .. dims or "")
    end
  end
  return list
end

--- Positions of axes of in_size -> the same counted from the end, so that they hold behind batch axes.  Errors: ValueError.
function M.axes_from_end(who, axes, ndim)
  local list = {}
  for i, axis in ipairs(type(axes) == "table" and axes or {axes}) do
    if math.type(axis) ~= "integer" or axis == 0 or axis > ndim or axis < -ndim then
      core.fail("ValueError", 3, "%s: there is no axis %s in an in_size of %d", who, tostring(axis), ndim)
    end
    list[i] = axis > 0 and axis - ndim - 1 or axis
  end
  return list
end

return M

--- Linear layer:  y = x W + b  over the last axis.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local init = require "bdl.init"
local state = require "bdl.state"
local none = require "bdl.none".none
local module = require "bdl.nn.module"

local Linear = module.Module:extend "Linear"

local DEFAULT = {}  -- of b_init: zeros in the unit of the weight

--- in_size, out_size, w_init, b_init (bdl.none: no bias), w_mask (multiplies the weight), name.
--  The State `weight` holds {weight, bias}.  Errors: ValueError, leading sizes differ.
function Linear:__init(...)
  local a = args({"in_size", "out_size", w_init = init.KaimingNormal(), b_init = DEFAULT, w_mask = none, name = none}, ...)
  Linear.super.__init(self, a.name)
  self.in_size = a.in_size
  self.out_size = a.out_size
  local from, to = self.in_size, self.out_size
  local same = #from == #to and #from > 0
  for k = 1, #from - 1 do same = same and from[k] == to[k] end
  if not same then
    core.fail("ValueError", 2, "%s: leading sizes differ: in %s, out %s", class.qualified_name(class.of(self)), tostring(from), tostring(to))
  end
  local shape = {from[-1], to[-1]}
  self.w_mask = init.param(a.w_mask, shape)
  local weight = init.param(a.w_init, shape, nil, {allow_none = false})
  if not core.is_tensor(weight) or weight.ndim ~= 2 then weight = init.Constant(weight)(shape) end
  local value = {weight = weight}
  if a.b_init == DEFAULT then
    value.bias = init.ZeroInit{unit = core.unit_of(weight) or none}{shape[2]}
  elseif a.b_init ~= none then
    value.bias = init.param(a.b_init, {shape[2]})
  end
  self.weight = state.ParamState(value)
end

--- x : [.., in] -> [.., out]
function Linear:update(x)
  local p = self.weight.value
  local w = self.w_mask and p.weight * self.w_mask or p.weight
  if not core.is_tensor(x) then x = core.tensor(x) end
  local n = self.in_size[-1]
  if x.ndim == 0 or x.shape[-1] ~= n then
    core.fail("ShapeError", 2, "%s: the last size of the input%s is %s, not in_size %d", class.typename(self), core.origin(x),
              x.ndim == 0 and "none" or tostring(x.shape[-1]), n)
  end
  if x.dtype == "bool" then x = core.cast(x, core.mantissa(w).dtype) end
  local y = core.bind("dot", {lhs_contract = {x.ndim - 1}, rhs_contract = {0}, lhs_batch = {}, rhs_batch = {}}, x, w)
  return p.bias and y + p.bias or y
end

return {Linear = Linear}

--- What initialisers share: the sizes they are called with, and how they compose.
local core = require "bdl.core"
local class = require "bdl.class"
local array = require "bdl.array"
local none = require "bdl.none".none
local parameters = require "bdl.parameters"

local base = {}

--- The list of sizes of a shape, a count, or a list; a batch goes before them.
function base.sizes_of(who, size, batch_size)
  local list = type(size) == "number" and {size} or size
  if type(list) ~= "table" and type(list) ~= "userdata" then
    core.fail("TypeError", 3, "%s: a shape is a list of sizes, not a %s", who, class.typename(size))
  end
  local sizes = {batch_size}
  for i = 1, #list do
    local n = type(list[i]) == "number" and math.tointeger(list[i])
    if not n or n < 0 then core.fail("ValueError", 3, "%s: a size is a whole number >= 0, not %s", who, tostring(list[i])) end
    sizes[#sizes + 1] = n
  end
  return sizes
end

--- value repeated to the shape; leading axes may be missing.
function base.filled(value, sizes)
  local x = core.is_tensor(value) and value or core.tensor(value)
  local dims = {}
  for k = 1, x.ndim do dims[k] = #sizes - x.ndim + k - 1 end
  return core.bind("broadcast", {shape = sizes, dims = dims}, x)
end

--- A float, as parameters are: 3 and 3.0 fill alike, -65*u.mV is a potential.
function base.real(value)
  if type(value) == "number" then return value + 0.0 end
  if core.is_tensor(value) and value.dtype:find "int" then return core.cast(value, (core.precision())) end
  return value
end

-- ---- composition ----------------------------------------------------------------------------------------------------

--- Gives a class whose objects make arrays, make(self, what), the operations + - * / | unary minus, map, clip.
function base.composable(Class)
  --- f of what the parts make; other parts stay as they are.
  local Composed = Class:extend "Composed"

  function Composed:__init(f, ...)
    self.f = f
    self.parts = {...}
  end

  function Composed:make(what)
    local values = {}
    for i, part in ipairs(self.parts) do values[i] = class.isa(part, Class) and part:make(what) or part end
    return self.f(table.unpack(values))
  end

  for name, f in pairs{
    add = function(a, b) return a + b end, sub = function(a, b) return a - b end, mul = function(a, b) return a * b end,
    div = function(a, b) return a / b end,
  } do
    Class["__" .. name] = function(a, b) return Composed(f, a, b) end
  end

  function Class:__unm() return Composed(function(a) return -a end, self) end

  --- f applied to what is made; also x | f.  Errors: TypeError, f is no function.
  function Class:map(f)
    if type(f) ~= "function" then
      core.fail("TypeError", 2, "what is made goes through functions of arrays, not a %s", class.typename(f))
    end
    return Composed(f, self)
  end
  Class.apply = Class.map
  function Class.__bor(a, b) return class.isa(a, Class) and a:map(b) or b:map(a) end

  --- Within [lo, hi]; either may be nil.
  function Class:clip(lo, hi)
    return self:map(function(x)
      if lo ~= nil then x = array.maximum(x, lo) end
      return hi ~= nil and array.minimum(x, hi) or x
    end)
  end
end

-- ---- initialisers ---------------------------------------------------------------------------------------------------

--- What makes arrays of a shape, to be extended by make(sizes).
--  Example:
--    local Ramp = bdl.init.Initializer:extend "Ramp"
--    function Ramp:make(sizes) return bdl.broadcast_to(bdl.arange(sizes[#sizes]), sizes) end
--    print(Ramp(){2, 3})
local Initializer = class "Initializer"
base.Initializer = Initializer
base.composable(Initializer)

--- Subclasses define make(sizes).
function Initializer:__call(size, batch_size)
  return self:make(base.sizes_of(class.qualified_name(class.of(self)), size, batch_size))
end

function Initializer:make()
  core.fail("NotSupportedError", 2, "%s: an initialiser defines make(self, sizes)", class.typename(self))
end

--- A class Name(arguments.., unit) whose make(self, sizes) gives numbers or a quantity.
function base.initializer(module, name, rows, make)
  local Class = Initializer:extend(name)
  module[name] = Class
  rows[#rows + 1] = {"unit", none, free = true}
  Class.rows = rows
  function Class:__init(...)
    parameters.set(self, rows, ...)
    if Class.check then self:check() end
  end
  function Class:make(sizes)
    local x = make(self, sizes)
    return self.unit and x * self.unit or x
  end
  return Class
end

return base

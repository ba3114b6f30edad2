--- Initialisers: objects that make arrays of a shape.  init{n, m}, init(n) and init({n, m}, batch_size) give tensors.
--  They compose: 2*init, init + 1*u.mV, init1 - init2, init:clip(lo, hi), init:map(f).
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local none = require "bdl.none".none
local state = require "bdl.state"

local M = {}

local Initializer = class "Initializer"
M.Initializer = Initializer

local function random() return require "bdl.random" end

--- The list of sizes of a shape, a count, or a list; a batch goes before them.
local function sizes_of(who, size, batch_size)
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

local function with_unit(x, unit) return unit and x * unit or x end

--- value repeated to the shape; leading axes may be missing.
local function filled(value, sizes)
  local x = core.is_tensor(value) and value or core.tensor(value)
  local dims = {}
  for k = 1, x.ndim do dims[k] = #sizes - x.ndim + k - 1 end
  return core.bind("broadcast", {shape = sizes, dims = dims}, x)
end

--- A float, as parameters are: 3 and 3.0 fill alike, -65*u.mV is a potential.
local function real(value)
  if type(value) == "number" then return value + 0.0 end
  if core.is_tensor(value) and value.dtype:find "int" then return core.cast(value, (core.precision())) end
  return value
end

-- Subclasses define make(sizes).
function Initializer:__call(size, batch_size) return self:make(sizes_of(class.qualified_name(class.of(self)), size, batch_size)) end

-- ---- composition -------------------------------------------------------------------------------------------------------------

local Composed = Initializer:extend "Composed"

function Composed:__init(f, ...)
  self.f = f
  self.parts = {...}
end

function Composed:make(sizes)
  local values = {}
  for i, part in ipairs(self.parts) do values[i] = class.isa(part, Initializer) and part:make(sizes) or part end
  return self.f(table.unpack(values))
end

for name, f in pairs{
  add = function(a, b) return a + b end, sub = function(a, b) return a - b end, mul = function(a, b) return a * b end,
  div = function(a, b) return a / b end, unm = function(a) return -a end,
} do
  Initializer["__" .. name] = function(a, b) return name == "unm" and Composed(f, a) or Composed(f, a, b) end
end

--- f applied to what is made.
function Initializer:map(f) return Composed(f, self) end
function Initializer:clip(lo, hi)
  return self:map(function(x) return core.bind("min", {}, core.bind("max", {}, x, lo), hi) end)
end

-- ---- constants ---------------------------------------------------------------------------------------------------------------

--- Filled with a value, which may be a quantity.
local Constant = Initializer:extend "Constant"
M.Constant = Constant
function Constant:__init(...) self.value = real(args({"value"}, ...).value) end
function Constant:make(sizes) return filled(self.value, sizes) end

local ZeroInit = Initializer:extend "ZeroInit"
M.ZeroInit = ZeroInit
function ZeroInit:__init(...) self.unit = args({"unit", unit = none}, ...).unit end
function ZeroInit:make(sizes) return with_unit(filled(0.0, sizes), self.unit) end

local OneInit = Initializer:extend "OneInit"
M.OneInit = OneInit
function OneInit:__init(...) self.unit = args({"unit", unit = none}, ...).unit end
function OneInit:make(sizes) return with_unit(filled(1.0, sizes), self.unit) end

-- ---- random ------------------------------------------------------------------------------------------------------------------

local function normal(sizes) return random().randn(table.unpack(sizes)) end

--- mean + std N(0, 1), in `unit`.
local Normal = Initializer:extend "Normal"
M.Normal = Normal
function Normal:__init(...)
  local a = args({"mean", "std", mean = 0.0, std = 1.0, unit = none}, ...)
  self.mean = a.mean
  self.std = a.std
  self.unit = a.unit
end
function Normal:make(sizes) return with_unit(normal(sizes) * self.std + self.mean, self.unit) end

--- Between min and max, in `unit`.
local Uniform = Initializer:extend "Uniform"
M.Uniform = Uniform
function Uniform:__init(...)
  local a = args({"min", "max", min = 0.0, max = 1.0, unit = none}, ...)
  self.min = a.min
  self.max = a.max
  self.unit = a.unit
end
function Uniform:make(sizes)
  return with_unit(random().rand(table.unpack(sizes)) * (self.max - self.min) + self.min, self.unit)
end

--- fan_in, fan_out of a weight: rows and columns; of a filter [k.., in, out] times its extents.
local function fans(sizes)
  local n = #sizes
  if n == 0 then return 1, 1 end
  if n == 1 then return sizes[1], sizes[1] end
  local field = 1
  for i = 1, n - 2 do field = field * sizes[i] end
  return sizes[n - 1] * field, sizes[n] * field
end

--- The variance-scaling family: variance = scale / max(1, fan).
--  Source: He et al. (2015) for Kaiming, Glorot & Bengio (2010) for Xavier, LeCun et al. (1998).
local function variance_scaling(name, scale_of, fan_of, distribution)
  local Class = Initializer:extend(name)
  M[name] = Class
  function Class:__init(...)
    local a = args({"scale", scale = none, unit = none, nonlinearity = "relu", negative_slope = 0.01}, ...)
    self.scale = a.scale or scale_of(a)
    self.unit = a.unit
  end
  function Class:make(sizes)
    local std = math.sqrt(self.scale / math.max(1, fan_of(fans(sizes))))
    if distribution == "normal" then return with_unit(normal(sizes) * std, self.unit) end
    local limit = math.sqrt(3) * std
    return with_unit(random().rand(table.unpack(sizes)) * (2 * limit) - limit, self.unit)
  end
end

local function kaiming(a)
  if a.nonlinearity == "relu" then return 2.0 end
  if a.nonlinearity == "leaky_relu" then return 2.0 / (1 + a.negative_slope ^ 2) end
  if a.nonlinearity == "linear" then return 1.0 end
  core.fail("ValueError", 4, "KaimingNormal: nonlinearity is 'relu', 'leaky_relu' or 'linear', not '%s'", tostring(a.nonlinearity))
end
local function one() return 1.0 end
local function fan_in(n) return n end
local function fan_average(n, m) return (n + m) / 2 end

variance_scaling("KaimingNormal", kaiming, fan_in, "normal")
variance_scaling("KaimingUniform", kaiming, fan_in, "uniform")
variance_scaling("XavierNormal", one, fan_average, "normal")
variance_scaling("XavierUniform", one, fan_average, "uniform")
variance_scaling("LecunNormal", one, fan_in, "normal")
variance_scaling("LecunUniform", one, fan_in, "uniform")

-- ---- parameters ----------------------------------------------------------------------------------------------------------------

local function callable(x)
  local mt = type(x) == "table" and getmetatable(x)
  return type(x) == "function" or (mt and mt.__call ~= nil)
end

--- The array of a parameter.
--    nil stays nil ({allow_none = false}: ValueError); an initialiser or function is called with the sizes, batch first;
--    a scalar stays a scalar; an array must broadcast to the sizes, a batch repeats it along a new first axis;
--    a State is filled anew and returned.
--  Errors: ValueError, sizes that do not fit.
function M.param(x, sizes, batch_size, opts)
  if x == nil or x == none then
    if opts and opts.allow_none == false then core.fail("ValueError", 2, "param: a value or an initialiser is needed, not nil") end
    return nil
  end
  local shape = sizes_of("param", sizes)
  if class.isa(x, state.State) then
    x:restore_value(M.param(x.value, sizes, batch_size, opts))
    return x
  end
  if callable(x) then
    if class.isa(x, Initializer) then return x:make(sizes_of("param", sizes, batch_size)) end
    return x(sizes_of("param", sizes, batch_size))
  end
  if type(x) == "table" then x = core.tensor(x) end
  if type(x) == "userdata" and not core.is_tensor(x) and core.unit_of(x) then x = 1.0 * x end -- u.mV alone is one of it
  if type(x) ~= "number" and not core.is_tensor(x) then
    core.fail("TypeError", 2, "param: a number, an array or an initialiser is needed, not a %s", class.typename(x))
  end
  if type(x) == "number" or x.ndim == 0 then return real(x) end
  local from, fits = x.shape, x.ndim <= #shape
  for k = 1, x.ndim do
    local want = shape[#shape - x.ndim + k]
    fits = fits and (from[k] == want or from[k] == 1)
  end
  if not fits then
    core.fail("ValueError", 2, "param: an array [%s] does not broadcast to the sizes [%s]",
              table.concat({table.unpack(from)}, ","), table.concat(shape, ","))
  end
  if batch_size then x = filled(x, sizes_of("param", shape, batch_size)) end
  return x
end

return class.qualify(M, "init")

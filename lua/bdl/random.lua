--- Random numbers.  A key (uint32[2]) and a counter give the same bits everywhere; a RandomState is a State that holds a key.
--
--   random.rand(2, 3)   random.normal(0*u.mV, 1*u.mV, {size = 10})   random.randint(0, 10, {size = {2, 3}, key = 7})
--   random.seed(42)     random.split_key(5)                          local rng = random.RandomState(42); rng:rand(3)
--
-- A draw without `key` splits the key of its generator once: one half stays, the other is used.  The generator is a State,
-- so this holds in compiled functions and loops too.  Options of every draw: size (a number or list), key (a key or an
-- integer), dtype.  Size and key may also follow the parameters by position.
-- Sources: Salmon et al. 2011 (Threefry-2x32, 20 rounds); keys and layouts of draws as in JAX.
--  Example:
--    print(bdl.random.NAME{size = 3})

local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"
local scope = require "bdl.scope"
local state = require "bdl.state"
local clock = require "bdl.random.clock"
local draws = require "bdl.random.draws"

local random = {}

local bind, op = core.bind, draws.op

-- ---- keys ------------------------------------------------------------------------------------------------------------

--- The key of an integer, as JAX's PRNGKey: its high and low word.
local function key_of_seed(seed)
  return core.tensor({seed >> 32 & 0xffffffff, seed & 0xffffffff}, "uint32")
end

--- A key from an integer, a key or a list of two words.  Errors: TypeError.
local function to_key(who, x)
  if math.type(x) == "integer" then return key_of_seed(x) end
  if type(x) == "table" and getmetatable(x) == nil and #x == 2 then return core.tensor(x, "uint32") end
  if not core.is_tensor(x) then
    core.fail("TypeError", 3, "%s: a key is an integer or uint32[2], not a %s", who, class.typename(x))
  end
  if x.ndim == 1 and x.shape[1] == 2 and x.dtype == "uint32" then return x end
  if x.ndim ~= 0 or not x.dtype:find "int" then
    core.fail("TypeError", 3, "%s: a key is an integer or uint32[2], not %s[%s]", who, x.dtype, table.concat(x.shape, ","))
  end
  if not core.is_traced(x) then return key_of_seed(core.item(x)) end
  return bind("concatenate", {axis = 0}, core.tensor({0}, "uint32"), bind("reshape", {shape = {1}}, core.cast(x, "uint32")))
end

--- The key of an integer.
--  Example:
--    print(bdl.random.key(42))
function random.key(seed) return to_key("key", seed) end

--- n (2) keys derived from a key: uint32[n,2].
--  Example:
--    print(bdl.random.split(42, 3))
function random.split(key, n) return draws.split(to_key("split", key), n or 2) end

--- The key derived from a key and an integer.
--  Example:
--    print(bdl.random.fold_in(42, 7))
function random.fold_in(key, x) return draws.fold_in(to_key("fold_in", key), x) end

-- ---- generators ------------------------------------------------------------------------------------------------------

--- A generator: a State that holds a key; rng:normal(..) and all other draws.
--  Example:
--    local rng = bdl.random.RandomState(42)
--    print(rng:normal(0, 1, {size = 3}))
local RandomState = state.State:extend "RandomState"
random.RandomState = RandomState

--- seed : an integer or a key; without one it comes from the clock.
function RandomState:__init(seed, opts)
  if class.isa(seed, RandomState) then seed = seed.value end
  if seed == nil then seed = clock.seed() end
  RandomState.super.__init(self, to_key("RandomState", seed), opts)
end

--- seed: start anew from an integer or a key (nil: the clock).
--  Example:
--    bdl.random.seed(42)
function RandomState:seed(seed) self.value = to_key("seed", seed == nil and clock.seed() or seed) end

--- set_key: draws go on from this key.
--  Example:
--    bdl.random.set_key(42)
function RandomState:set_key(key) self.value = to_key("set_key", key) end
--- get_key: the key that the next draw starts from.
--  Example:
--    print(bdl.random.get_key())
function RandomState:get_key() return self.value end

--- backup_key: keeps the key until restore_key puts it back.  Errors: ValueError, one is kept already, none is kept.
function RandomState:backup_key()
  if rawget(self, "_backup") then core.fail("ValueError", 2, "backup_key: a key is kept already; restore_key first") end
  rawset(self, "_backup", self.value)
end

--- restore_key: puts back the key that backup_key kept.  Errors: ValueError, there is none.
function RandomState:restore_key()
  local kept = rawget(self, "_backup")
  if not kept then core.fail("ValueError", 2, "restore_key: no key was kept by backup_key") end
  self.value = kept
  rawset(self, "_backup", nil)
end

--- split_key: n new keys uint32[n,2], or one (uint32[2]) without n; the generator keeps another.
--  Errors: TypeError, ValueError where n is not a whole number from 1.
--  Example:
--    print(bdl.random.split_key(3))
function RandomState:split_key(n)
  if n == nil then
    local kept, new = draws.halves(self.value)
    self.value = kept
    return new
  end
  if math.type(n) ~= "integer" then core.fail("TypeError", 2, "split_key: n must be an integer, not %s", tostring(n)) end
  if n < 1 then core.fail("ValueError", 2, "split_key: n must be at least 1, not %d", n) end
  local keys = draws.split(self.value, n + 1)
  self.value = draws.row(keys, 0)
  return bind("slice", {start = {1, 0}, stop = {n + 1, 2}, step = {1, 1}}, keys)
end

--- A generator of its own that starts from a new key of this one.
function RandomState:clone() return RandomState(self:split_key()) end

--- The generator behind the functions of this module; seed 0 until it is seeded.
--  Example:
--    print(bdl.random.DEFAULT:normal())
random.DEFAULT = RandomState(0, {name = "random.DEFAULT"})

for _, name in ipairs{"seed", "set_key", "get_key", "split_key", "backup_key", "restore_key"} do
  random[name] = function(...) return random.DEFAULT[name](random.DEFAULT, ...) end
end

--- default_rng: the default generator, or a new one from a seed or key.
--  Example:
--    print(bdl.random.default_rng(42):normal())
--  Example:
--    print(bdl.random.default_rng(42):normal())
function random.default_rng(seed)
  if seed == nil then return random.DEFAULT end
  return RandomState(seed)
end

--- A new generator: from a seed or key, or split off the default one.
--  Example:
--    print(bdl.random.clone_rng(42):normal())
function random.clone_rng(seed)
  if seed == nil then return random.DEFAULT:clone() end
  return RandomState(seed)
end

--- Draws inside come from this seed or key; the default generator goes on afterwards as if they had not been.
--  `local _ <close> = seed_context(42)`, or seed_context(42, f, ...) which returns what f(...) returns.
--  Example:
--    print(bdl.random.seed_context(42, bdl.random.normal))
function random.seed_context(seed, f, ...)
  local before = random.DEFAULT.value
  random.set_key(seed)
  return scope.enter("bdl.random.seed_context(...)", function() random.DEFAULT.value = before end, nil, f, ...)
end

-- ---- arguments -------------------------------------------------------------------------------------------------------

local function is_plain(x) return type(x) == "table" and getmetatable(x) == nil end

--- A table of options has names and no positions.
local function is_options(x)
  if not is_plain(x) or next(x) == nil then return false end
  for key in next, x do
    if type(key) ~= "string" then return false end
  end
  return true
end

--- A shape from nil, a number or a list.  Errors: TypeError, ValueError.
local function to_shape(who, size)
  if size == nil then return nil end
  local shape = type(size) == "table" and table.move(size, 1, #size, 1, {}) or {size}
  for k, extent in ipairs(shape) do
    if core.is_tensor(extent) and extent.ndim == 0 and not core.is_traced(extent) then shape[k] = core.item(extent) end
    extent = math.tointeger(shape[k])
    if not extent then core.fail("TypeError", 4, "random.%s: sizes are integers, not %s", who, tostring(shape[k])) end
    if extent < 0 then core.fail("ValueError", 4, "random.%s: a size may not be negative, not %d", who, extent) end
    shape[k] = extent
  end
  return shape
end

local COMMON = {"size", "key", "dtype"}

--- Parameters that must lie in a range where they are numbers of Lua: least, most.
local RANGES = {
  p = {0, 1}, lam = {0, math.huge}, df = {0, math.huge}, kappa = {0, math.huge}, std = {0, math.huge}, sigma = {0, math.huge},
  scale = {0, math.huge},
}

--- Named arguments of a draw.  names: its parameters, by position; size and key follow them.
local function arguments(who, names, ...)
  local a, args = {}, table.pack(...)
  local opts = is_options(args[args.n]) and table.remove(args, args.n) or {}
  local all = table.move(COMMON, 1, 3, #names + 1, table.move(names, 1, #names, 1, {}))
  for i = 1, args.n do
    if args[i] ~= nil then
      if not all[i] then core.fail("TypeError", 3, "random.%s: at most %d arguments (%s)", who, #all, table.concat(all, ", ")) end
      a[all[i]] = args[i]
    end
  end
  for name, value in pairs(opts) do
    local known = false
    for _, n in ipairs(all) do known = known or n == name end
    if not known then core.fail("TypeError", 3, "random.%s: no argument '%s'%s", who, name, suggest.hint(name, all)) end
    if a[name] ~= nil then core.fail("TypeError", 3, "random.%s: '%s' is given twice", who, name) end
    a[name] = value
  end
  for _, name in ipairs(names) do
    local value, range = a[name], RANGES[name]
    if is_plain(value) and name ~= "size" then
      a[name] = core.tensor(value)
    elseif range and type(value) == "number" and not (value >= range[1] and value <= range[2]) then
      core.fail("ValueError", 3, "random.%s: '%s' is %s, outside of %g to %g", who, name, tostring(value), range[1], range[2])
    end
  end
  if a.dtype and a.dtype ~= "float32" and a.dtype ~= "float64" and not tostring(a.dtype):find "int" then
    core.fail("ValueError", 3, "random.%s: dtype is float32 or float64 (of integers int32 or int64), not %s", who, tostring(a.dtype))
  end
  a.size = to_shape(who, a.size)
  return a
end

--- Size as given, or the common shape of the parameters.
local function shape_of(who, a, ...)
  if a.size then return a.size end
  local shape = {}
  for i = 1, select("#", ...) do
    local x = (select(i, ...))
    local other = core.is_tensor(x) and x.shape or {}
    local wide = {}
    for k = 1, math.max(#shape, #other) do
      local m, n = shape[#shape + 1 - k] or 1, other[#other + 1 - k] or 1
      if m ~= n and m ~= 1 and n ~= 1 then
        core.fail("ShapeError", 4, "random.%s: parameters of %d and %d elements do not broadcast", who, m, n)
      end
      table.insert(wide, 1, m == 1 and n or m)
    end
    shape = wide
  end
  return shape
end

--- The dtype option, or that of a float tensor among the parameters, or the precision's.
local function float_of(a, ...)
  if a.dtype then return a.dtype end
  for i = 1, select("#", ...) do
    local x = (select(i, ...))
    if core.is_tensor(x) and not core.is_weak(x) and x.dtype:find "float" then return x.dtype end
  end
  return (core.precision())
end

local function key_for(who, rng, a)
  if a.key == nil then return rng:split_key() end
  return to_key("random." .. who, a.key)
end

--- random.name(...) draws from the default generator, rng:name(...) from rng.
local function define(name, names, draw)
  RandomState[name] = function(rng, ...)
    local a = arguments(name, names, ...)
    return draw(a, function() return key_for(name, rng, a) end, function(...) return shape_of(name, a, ...) end)
  end
  random[name] = function(...) return RandomState[name](random.DEFAULT, ...) end
end

local function need(name, a, ...)
  for _, key in ipairs{...} do
    if a[key] == nil then core.fail("TypeError", 4, "random.%s: argument '%s' is missing", name, key) end
  end
end

-- ---- location and scale ----------------------------------------------------------------------------------------------

--- z * scale + loc with the units of both.
local function placed(z, loc, scale)
  if scale ~= nil then z = z * scale end
  return loc ~= nil and z + loc or z
end

--- draw(key, shape, dtype): the standard distribution.  loc, scale: names of the two parameters, loc may be false.
local function family(name, draw, loc, scale)
  define(name, loc and {loc, scale} or {scale}, function(a, key, shape)
    local at, by = loc and a[loc] or nil, a[scale]
    return placed(draw(key(), shape(at, by), float_of(a, at, by)), at, by)
  end)
end

--- Normal:  mean + std z, z of N(0, 1).
family("normal", draws.normal, "mean", "std")
--- Laplace:  density e^(-|x - loc|/scale) / (2 scale).
family("laplace", draws.laplace, "loc", "scale")
--- Logistic:  distribution function 1/(1 + e^(-(x - loc)/scale)).
family("logistic", draws.logistic, "loc", "scale")
--- Gumbel:  distribution function exp(-e^(-(x - loc)/scale)).
family("gumbel", draws.gumbel, "loc", "scale")
--- Cauchy:  density 1/(pi scale (1 + ((x - loc)/scale)^2)).
family("cauchy", draws.cauchy, "loc", "scale")
--- Exponential:  density e^(-x/scale) / scale.
family("exponential", draws.exponential, false, "scale")
--- Rayleigh:  density x/scale^2 e^(-x^2/(2 scale^2)).
family("rayleigh", draws.rayleigh, false, "scale")

--- Standard distributions: only size, key and dtype.
local function standard(name, draw)
  define(name, {}, function(a, key, shape) return draw(key(), shape(), float_of(a)) end)
end

--- Normal, mean 0 and variance 1.
standard("standard_normal", draws.normal)
--- Cauchy:  density 1/(pi (1 + x^2)).
standard("standard_cauchy", draws.cauchy)
--- Exponential:  density e^-x.
standard("standard_exponential", draws.exponential)
--- Evenly in [0, 1).
standard("random", draws.uniform)
--- Evenly in [0, 1).
standard("random_sample", draws.uniform)
--- Evenly in [0, 1).
standard("ranf", draws.uniform)
--- Evenly in [0, 1).
standard("sample", draws.uniform)

--- rand: evenly in [0, 1):  rand(2, 3), rand{2, 3}, rand{size = {2, 3}}: dimensions by position.
--  Example:
--    print(bdl.random.rand(2, 3))
--- randn: normal, mean 0 and variance 1:  randn(2, 3), randn{2, 3}, randn{size = {2, 3}}: dimensions by position.
--  Example:
--    print(bdl.random.randn(2, 3))
local function dimensions(name, draw)
  RandomState[name] = function(rng, ...)
    local args = table.pack(...)
    local a = arguments(name, {}, is_options(args[args.n]) and table.remove(args, args.n) or nil)
    if #args == 1 and type(args[1]) == "table" then args = args[1] end
    a.size = a.size or to_shape(name, args)
    return draw(key_for(name, rng, a), a.size, float_of(a))
  end
  random[name] = function(...) return RandomState[name](random.DEFAULT, ...) end
end

dimensions("rand", draws.uniform)
dimensions("randn", draws.normal)

--- Evenly in [low, high), by default [0, 1).
define("uniform", {"low", "high"}, function(a, key, shape)
  local lo, hi = a.low, a.high
  if lo == nil and hi == nil then return draws.uniform(key(), shape(), float_of(a)) end
  lo, hi = lo == nil and 0.0 or lo, hi == nil and 1.0 or hi
  local unit = core.unit_of(hi) or core.unit_of(lo)
  if unit then lo, hi = core.mantissa(core.convert(lo, unit)), core.mantissa(core.convert(hi, unit)) end
  local x = draws.uniform(key(), shape(lo, hi), float_of(a, lo, hi), lo, hi)
  return unit and core.with_unit(x, unit) or x
end)

--- Restricted to [lower, upper]; mean and std of the whole normal.
--  Example:
--    print(bdl.random.truncated_normal(-1.0, 1.0))
define("truncated_normal", {"lower", "upper", "mean", "std"}, function(a, key, shape)
  need("truncated_normal", a, "lower", "upper")
  local lo, hi = a.lower, a.upper
  if a.mean ~= nil then lo, hi = lo - a.mean, hi - a.mean end
  if a.std ~= nil then lo, hi = lo / a.std, hi / a.std end
  local unit = core.unit_of(lo)
  if unit then lo, hi = core.mantissa(lo), core.mantissa(core.convert(hi, unit)) end
  local z = draws.truncated_normal(key(), shape(lo, hi, a.mean, a.std), float_of(a, lo, hi), lo, hi)
  return placed(unit and core.with_unit(z, unit) or z, a.mean, a.std)
end)

--- Log-normal:  e^(mean + sigma z), z of N(0, 1).
define("lognormal", {"mean", "sigma"}, function(a, key, shape)
  return op.exp(placed(draws.normal(key(), shape(a.mean, a.sigma), float_of(a, a.mean, a.sigma)), a.mean, a.sigma))
end)

-- ---- integers, booleans, choices -------------------------------------------------------------------------------------

local function integer_of(a) return a.dtype or (select(2, core.precision())) end

--- In [low, high); randint(n) is in [0, n).
--  Example:
--    print(bdl.random.randint(6))
define("randint", {"low", "high"}, function(a, key, shape)
  need("randint", a, "low")
  local lo, hi = a.low, a.high
  if hi == nil then lo, hi = 0, lo end
  if type(lo) == "number" and type(hi) == "number" and lo >= hi then
    core.fail("ValueError", 3, "random.randint: there is no whole number from %s to below %s", tostring(lo), tostring(hi))
  end
  return draws.integers(key(), shape(), integer_of(a), lo, hi)
end)

--- In [low, high].
--  Example:
--    print(bdl.random.random_integers(1, 6))
define("random_integers", {"low", "high"}, function(a, key, shape)
  need("random_integers", a, "low")
  local lo, hi = a.low, a.high
  if hi == nil then lo, hi = 1, lo end
  return draws.integers(key(), shape(), integer_of(a), lo, hi + 1)
end)

--- Words of 8, 16, 32 or 64 bits (uint32, int64).
define("bits", {"width"}, function(a, key, shape)
  local width = a.width or 32
  if width ~= 8 and width ~= 16 and width ~= 32 and width ~= 64 then
    core.fail("ValueError", 3, "random.bits: width is 8, 16, 32 or 64, not %s", tostring(width))
  end
  return draws.bits(key(), shape(), width)
end)

--- true with probability p, by default 0.5.
define("bernoulli", {"p"}, function(a, key, shape)
  local p = a.p == nil and 0.5 or a.p
  local dtype = float_of(a, p)
  return op.lt(draws.uniform(key(), shape(p), dtype), draws.real(p, dtype))
end)

local function numbers(who, x)
  if math.type(x) == "integer" then
    if x < 0 then core.fail("ValueError", 4, "random.%s: the number of elements is %d", who, x) end
    return draws.range(x)
  end
  if core.is_tensor(x) and x.ndim > 0 then return x end
  core.fail("TypeError", 4, "random.%s: a tensor or a number of elements is needed, not %s", who, tostring(x))
end

local function axis_of(who, axis, ndim)
  axis = axis or 1
  if math.type(axis) ~= "integer" or axis == 0 or axis > ndim or axis < -ndim then
    core.fail("ValueError", 4, "random.%s: axis %s; positions are 1..%d, or from -1 backwards", who, tostring(axis), ndim)
  end
  return axis > 0 and axis - 1 or ndim + axis
end

--- permutation, shuffle: x in random order along an axis; of a number n, the indices 0 .. n-1.
--  Example:
--    print(bdl.random.NAME(5))
local function permutation(a, key)
  local x = numbers("permutation", a.x)
  local axis = axis_of("permutation", a.axis, x.ndim)
  if x.ndim > 1 or core.unit_of(x) then
    return bind("gather", {axis = axis}, x, draws.shuffled(key(), draws.range(x.shape[axis + 1])))
  end
  return draws.shuffled(key(), x)
end

define("permutation", {"x", "axis"}, permutation)
define("shuffle", {"x", "axis"}, permutation)

--- Elements of a along an axis (of a number: indices below it).  Options: replace (true), p (probabilities), axis.
--  Example:
--    print(bdl.random.choice(10, {size = 3, replace = false}))
define("choice", {"a", "size", "replace", "p", "axis"}, function(a, key)
  local x, shape = numbers("choice", a.a), a.size or {}
  local axis = axis_of("choice", a.axis, x.ndim)
  local n, count, replace = x.shape[axis + 1], 1, a.replace ~= false
  for _, extent in ipairs(shape) do count = count * extent end
  if n == 0 and count > 0 then core.fail("ValueError", 3, "random.choice: there is nothing to choose from") end
  if not replace and count > n then
    core.fail("ValueError", 3, "random.choice: %d elements cannot be drawn from %d without replacement", count, n)
  end
  local p = a.p
  if p ~= nil then
    p = draws.real(p, float_of(a, p))
    if p.ndim ~= 1 or p.shape[1] ~= n then
      core.fail("ShapeError", 3, "random.choice: p is [%s] for %d elements", table.concat(p.shape, ","), n)
    end
  end
  local index = draws.choice(key(), n, shape, replace, p)
  return math.type(a.a) == "integer" and index or bind("gather", {axis = axis}, x, index)
end)

--- Indices along an axis (-1) of logits, with probabilities softmax(logits).
--  Example:
--    print(bdl.random.categorical(bdl.tensor{0.0, 1.0}))
define("categorical", {"logits", "axis"}, function(a, key)
  need("categorical", a, "logits")
  local logits = core.is_tensor(a.logits) and a.logits or core.tensor(a.logits)
  logits = draws.real(logits, float_of(a, logits))
  local axis, shape = axis_of("categorical", a.axis or -1, logits.ndim), {}
  for k = 1, logits.ndim do
    if k ~= axis + 1 then shape[#shape + 1] = logits.shape[k] end
  end
  return draws.categorical(key(), logits, axis, a.size or shape)
end)

-- ---- what is made of these -------------------------------------------------------------------------------------------

require "bdl.random.compound"{
  define = define, need = need, standard = standard, float_of = float_of, integer_of = integer_of, placed = placed,
}

-- ---- like another tensor ---------------------------------------------------------------------------------------------

--- Integers in [low, high) of the shape and, where it is one of integers, the dtype of x.  low 0, high the largest of x.
--  Example:
--    print(bdl.random.randint_like(bdl.zeros(3), 0, 6))
define("randint_like", {"x", "low", "high"}, function(a, key)
  need("randint_like", a, "x")
  local x, axes = a.x, {}
  for k = 1, x.ndim do axes[k] = k - 1 end
  local high = a.high == nil and bind("reduce_max", {axes = axes}, x) or a.high
  local dtype = a.dtype or x.dtype:find "int" and x.dtype or (select(2, core.precision()))
  return draws.integers(key(), {table.unpack(x.shape)}, dtype, a.low == nil and 0 or a.low, high)
end)

--- rand_like: evenly in [0, 1), of the shape and dtype of x.
--  Example:
--    print(bdl.random.rand_like(bdl.ones(3)))
--- randn_like: normal, mean 0 and variance 1, of the shape and dtype of x.
--  Example:
--    print(bdl.random.randn_like(bdl.ones(3)))
for name, draw in pairs{rand_like = draws.uniform, randn_like = draws.normal} do
  define(name, {"x"}, function(a, key)
    need(name, a, "x")
    return draw(key(), {table.unpack(a.x.shape)}, a.dtype or a.x.dtype:find "float" and a.x.dtype or (core.precision()))
  end)
end

return class.qualify(random, "random")

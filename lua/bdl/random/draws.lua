--- Draws from a key: pure functions (key uint32[2], shape, dtype, parameters) -> tensor.  No generator, no units.
--  Bits, integers and floats are those of JAX (jax/_src/random.py) from the same key.

local core = require "bdl.core"
local logs = require "bdl.random.log"

local draws = {}

local bind = core.bind
local NONE = {}

--- draws.log(x) and so on: primitives without parameters.
local op = {}
for name in ("abs and bitcast ceil clamp digamma div draw_erfinv eq erf exp floor ge gt le lgamma log log1p lt max min mod ne nextafter not or pow select"
             .. " shr sign sqrt tan cos"):gmatch "%S+" do
  op[name] = function(...) return bind(name, NONE, ...) end
end
draws.op = op

-- ---- keys ------------------------------------------------------------------------------------------------------------

--- Row i (from 0) of keys [n,2].
function draws.row(keys, i)
  return bind("reshape", {shape = {2}}, bind("slice", {start = {i, 0}, stop = {i + 1, 2}, step = {1, 1}}, keys))
end

function draws.split(key, n) return bind("random_split", {n = n}, key) end

--- Two keys from one.
function draws.halves(key)
  local keys = draws.split(key, 2)
  return draws.row(keys, 0), draws.row(keys, 1)
end

function draws.fold_in(key, x) return bind("random_fold_in", NONE, key, core.cast(x, "uint32")) end

-- ---- shapes and dtypes -----------------------------------------------------------------------------------------------

--- x, a number or a tensor, in that dtype.
function draws.real(x, dtype) return core.is_tensor(x) and core.cast(x, dtype) or core.tensor(x, dtype) end

--- x repeated to a shape whose last axes are its own.
function draws.broadcast(x, shape)
  local dims, first = {}, #shape - x.ndim
  for k = 1, x.ndim do dims[k] = first + k - 1 end
  return bind("broadcast", {shape = shape, dims = dims}, x)
end

function draws.full(shape, dtype, v) return draws.broadcast(draws.real(v, dtype), shape) end

--- 0 .. n-1; int32, int64 in 64-bit precision.
function draws.range(n)
  return bind("iota", {shape = {n}, axis = 0, dtype = select(2, core.precision())})
end

local real = draws.real

-- ---- floats ----------------------------------------------------------------------------------------------------------

local FLOAT = {
  float32 = {words = "uint32", shift = 9, one = 0x3f800000, eps = 2^-23, epsneg = 2^-24, tiny = 2^-126},
  float64 = {words = "int64", shift = 12, one = 0x3ff0000000000000, eps = 2^-52, epsneg = 2^-53, tiny = 2^-1022},
}

--- Words of 8, 16, 32 (uint32) or 64 (int64) bits.
function draws.bits(key, shape, width)
  local words = bind("random_bits", {shape = shape, dtype = width == 64 and "int64" or "uint32"}, key)
  return width < 32 and bind("and", NONE, words, (1 << width) - 1) or words
end

--- Is x a power of 2, so that products with it are exact?
local function is_power(x)
  if core.is_traced(x) or x.ndim > 0 then return false end
  local bytes = string.pack(">d", core.item(x))
  return bytes:byte(2) & 15 == 0 and bytes:sub(3) == ("\0"):rep(6)
end

--- In [lo, hi), [0, 1) without: the high bits of a word as mantissa under the exponent of 1, minus 1.
function draws.uniform(key, shape, dtype, lo, hi)
  local f = FLOAT[dtype]
  local bits = op["or"](op.shr(bind("random_bits", {shape = shape, dtype = f.words}, key), f.shift), f.one)
  local u = bind("bitcast", {dtype = dtype}, bits) - 1.0
  if lo == nil then return u end
  lo, hi = real(lo, dtype), real(hi, dtype)
  local width = hi - lo
  return op.max(lo, is_power(width) and u * width + lo or logs.fma(u, width, lo, dtype))
end

local uniform = draws.uniform

--- In (0, 1].
function draws.positive(key, shape, dtype) return 1.0 - uniform(key, shape, dtype) end

local ROOT2 = math.sqrt(2)

function draws.normal(key, shape, dtype)
  local below = op.nextafter(real(-1.0, dtype), real(0.0, dtype))
  return op.draw_erfinv(uniform(key, shape, dtype, below, 1.0)) * ROOT2
end

--- Standard normal restricted to [lo, hi].
function draws.truncated_normal(key, shape, dtype, lo, hi)
  lo, hi = real(lo, dtype), real(hi, dtype)
  local u = uniform(key, shape, dtype, op.erf(lo / ROOT2), op.erf(hi / ROOT2))
  local least, most = op.nextafter(lo, real(math.huge, dtype)), op.nextafter(hi, real(-math.huge, dtype))
  return op.min(op.max(op.draw_erfinv(u) * ROOT2, least), most)
end

function draws.exponential(key, shape, dtype) return -logs.log1p(-uniform(key, shape, dtype), dtype) end

function draws.gumbel(key, shape, dtype)
  return -logs.log(-logs.log(uniform(key, shape, dtype, FLOAT[dtype].tiny, 1.0), dtype), dtype)
end

--- sign(u) log(1 - |u|), u in (-1, 1)
function draws.laplace(key, shape, dtype)
  local u = uniform(key, shape, dtype, FLOAT[dtype].epsneg - 1, 1.0)
  return op.sign(u) * logs.log1p(-op.abs(u), dtype)
end

function draws.logistic(key, shape, dtype)
  local u = uniform(key, shape, dtype, FLOAT[dtype].tiny, 1.0)
  return logs.log(u, dtype) - logs.log1p(-u, dtype)
end

function draws.cauchy(key, shape, dtype)
  return op.tan(math.pi * (uniform(key, shape, dtype, FLOAT[dtype].eps, 1.0) - 0.5))
end

function draws.rayleigh(key, shape, dtype)
  return op.sqrt(-2.0 * logs.log(uniform(key, shape, dtype, FLOAT[dtype].tiny, 1.0), dtype))
end

--- Length of three standard normals.
function draws.maxwell(key, shape, dtype)
  local three = table.move(shape, 1, #shape, 1, {})
  three[#three + 1] = 3
  local x = draws.normal(key, three, dtype)
  return op.sqrt(bind("reduce_sum", {axes = {#shape}}, x * x))
end

-- ---- integers and orders ---------------------------------------------------------------------------------------------

--- In [lo, hi).
function draws.integers(key, shape, dtype, lo, hi)
  return bind("random_int", {shape = shape}, key, real(lo, dtype), real(hi, dtype))
end

--- x [n] in random order: sorted by random words, as often as needed for ties to be rare.
function draws.shuffled(key, x)
  local n = x.shape[1]
  for _ = 1, math.ceil(3 * math.log(math.max(1, n)) / math.log(0xffffffff)) do
    local sub, words
    key, sub = draws.halves(key)
    words, x = bind("sort", {axis = 0, keys = 1, descending = 0}, draws.bits(sub, {n}, 32), x)
  end
  return x
end

--- How many of the ascending sorted[n] are below x, for each x: by halving.
local function search(sorted, x)
  local n, at = sorted.shape[1], nil
  local step = 1
  while step * 2 <= n do step = step * 2 end
  at = bind("broadcast", {shape = x.shape, dims = {}}, core.tensor(0, "int32"))
  while step >= 1 do
    local to = at + step
    local value = bind("gather", {axis = 0}, sorted, op.min(to, n) - 1)
    at = op.select(op["and"](op.le(to, n), op.lt(value, x)), to, at)
    step = step // 2
  end
  return core.cast(at, select(2, core.precision()))
end

--- Indices below n with probabilities p (optional).
function draws.choice(key, n, shape, replace, p)
  local count = 1
  for _, extent in ipairs(shape) do count = count * extent end
  if replace and not p then return draws.integers(key, shape, select(2, core.precision()), 0, n) end
  local index
  if replace then
    local sums = bind("cumsum", {axis = 0, reverse = 0}, p)
    local last = bind("slice", {start = {n - 1}, stop = {n}, step = {1}}, sums)
    return search(sums, bind("reshape", {shape = {}}, last) * draws.positive(key, shape, p.dtype))
  elseif p then
    index = select(2, bind("top_k", {k = count}, draws.gumbel(key, {n}, p.dtype) + op.log(p)))
    index = core.cast(index, select(2, core.precision()))
  else
    index = bind("slice", {start = {0}, stop = {count}, step = {1}}, draws.shuffled(key, draws.range(n)))
  end
  return bind("reshape", {shape = shape}, index)
end

--- Index along `axis` (from 0) of logits with probability softmax; shape: of the result, whose last axes are the other ones
--  of the logits.
function draws.categorical(key, logits, axis, shape)
  local full, lead = {}, #shape - (logits.ndim - 1)
  for k = 1, lead do full[k] = shape[k] end
  for k = 1, logits.ndim do full[lead + k] = logits.shape[k] end
  return bind("argmax", {axis = lead + axis}, draws.gumbel(key, full, logits.dtype) + logits)
end

return draws

--- Logarithms with the rounding of the reference draws.  Gumbel and logistic variables are small differences of logarithms,
--  where an error of one unit in the last place becomes many: so these repeat what the reference computes.

local core = require "bdl.core"

local log = {}

local bind, NONE = core.bind, {}

local function horner(x, c)
  local sum = c[1]
  for k = 2, #c do sum = sum * x + c[k] end
  return sum
end

--- x * y + z, products without error: the halves of 26 bits (Dekker 1971).
local function halved(x)
  local c = x * 134217729.0
  local high = c - (c - x)
  return high, x - high
end

--- The rounding error of the product p = x * y.
local function lost(x, y, p)
  local xh, xl = halved(x)
  local yh, yl = halved(y)
  return xl * yl - (((p - xh * yh) - xl * yh) - xh * yl)
end

--- The rounding error of s = x + y (Knuth).
local function rest(x, y, s)
  local back = s - x
  return (x - (s - back)) + (y - back)
end

--- x * y + z rounded once, as a fused multiply-add.
function log.fma(x, y, z, dtype)
  if dtype == "float32" then -- the product is exact in float64
    return core.cast(core.cast(x, "float64") * core.cast(y, "float64") + core.cast(z, "float64"), dtype)
  end
  local p = x * y
  local s = p + z
  return s + (rest(p, z, s) + lost(x, y, p))
end

-- ---- float32: log of Cephes as in Eigen and XLA, with fused multiply-adds -------------------------------------------------

local A = {7.0376836292E-2, -1.1514610310E-1, 1.1676998740E-1, -1.2420140846E-1, 1.4249322787E-1, -1.6668057665E-1,
           2.0000714765E-1, -2.4999993993E-1, 3.3333331174E-1}
for k, a in ipairs(A) do A[k] = string.unpack("<f", string.pack("<f", a)) end
local LN2_LOW, LN2_HIGH = string.unpack("<f", string.pack("<f", -2.12194440e-4)), 0.693359375
local ROOT_HALF = string.unpack("<f", string.pack("<f", math.sqrt(0.5)))

--- Numbers of float32 in float64, where their products are exact.
local function rounded(x) return core.cast(core.cast(x, "float32"), "float64") end

local function log32(x)
  local bits = bind("bitcast", {dtype = "uint32"}, x)
  local m = bind("bitcast", {dtype = "float32"}, bind("or", NONE, bind("and", NONE, bits, 0x007fffff), 0x3f000000))
  m = core.cast(m, "float64")
  local low = bind("lt", NONE, m, ROOT_HALF)
  local e = core.cast(bind("shr", NONE, bits, 23), "float64") - 126.0 - core.cast(low, "float64")
  local f = bind("select", NONE, low, m + m, m) - 1.0
  local f2 = rounded(f * f)
  local f3 = rounded(f2 * f)
  local y = rounded(rounded(f * A[1] + A[2]) * f + A[3])
  local y1 = rounded(rounded(f * A[4] + A[5]) * f + A[6])
  local y2 = rounded(rounded(f * A[7] + A[8]) * f + A[9])
  y = rounded(rounded(y * f3 + y1) * f3 + y2)
  y = rounded(y * f3 + rounded(e * LN2_LOW))
  return core.cast(rounded(rounded(f - 0.5 * f2) + y) + e * LN2_HIGH, "float32")
end

-- ---- float64: rounded correctly but for a few in a hundred, as that of glibc ------------------------------------------------

local LN2 = {0x1.62e42fefa3800p-1, 0x1.ef35793c76730p-45} -- the first with zeros at the end
local SERIES = {}
for k = 11, 1, -1 do SERIES[#SERIES + 1] = 2.0 / (2 * k + 1) end

--- log(2^e m) = e ln 2 + 2 artanh(s), s = (m - 1)/(m + 1) in two parts.
local function log64(x)
  local bits = bind("bitcast", {dtype = "int64"}, x)
  local e = bind("sar", NONE, bits - 0x3fe6a09e667f3bcd, 52)
  local m = bind("bitcast", {dtype = "float64"}, bits - bind("shl", NONE, e, 52))
  e = core.cast(e, "float64")
  local f, g = m - 1.0, m + 1.0
  local s = f / g
  local p = s * g
  local s_low = ((f - p) - lost(s, g, p) - s * rest(core.tensor(1.0, "float64"), m, g)) / g
  local square = s * s
  local big, small = e * LN2[1], 2.0 * s
  local sum = big + small
  return sum + (rest(big, small, sum) + (e * LN2[2] + (2.0 * s_low + s * square * horner(square, SERIES))))
end

--- Of positive normal numbers.
function log.log(x, dtype) return dtype == "float32" and log32(x) or log64(x) end

-- ---- log1p of Cephes: log(1 + x) = x - x^2/2 + x^3 P(x)/Q(x) -----------------------------------------------------------------

local P = {4.5270000862445199635215E-5, 4.9854102823193375972212E-1, 6.5787325942061044846969E0, 2.9911919328553073277375E1,
           6.0949667980987787057556E1, 5.7112963590585538103336E1, 2.0039553499201281259648E1}
local Q = {1.0, 1.5062909083469192043167E1, 8.3047565967967209469434E1, 2.2176239823732856465394E2,
           3.0909872225312059774938E2, 2.1642788614495947685003E2, 6.0118660497603843919306E1}

--- Of x > -1.  The expansion holds where |x| < sqrt(2) - 1 for the reference, also below sqrt(1/2) - 1 where it is off by up
--  to 20 units in the last place.
function log.log1p(x, dtype)
  local square = x * x
  local near = x + (x * square * (horner(x, P) / horner(x, Q)) - 0.5 * square)
  return bind("select", NONE, bind("lt", NONE, bind("abs", NONE, x), math.sqrt(2) - 1), near, log.log(1.0 + x, dtype))
end

return log

-- How tensors read: NumPy's layout, shortest digits, units behind.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local u = bdl.units

local function text(v, dtype) return tostring(bdl.tensor(v, {dtype = dtype})) end

t.test("plain scalars read as numbers of Lua, with the digits of their dtype", function()
  t.eq(tostring(bdl.tensor(11.0)), "11.0")
  t.eq(tostring(bdl.tensor(55)), "55")
  t.eq(tostring(bdl.tensor(true)), "true")
  t.eq(tostring(bdl.tensor(0.1)), "0.1")
  t.eq(tostring(bdl.tensor(-0.0)), "-0.0")
  t.eq(tostring(bdl.tensor(1 / 3)), "0.33333334")
  t.eq(tostring(bdl.exp(bdl.tensor(2.0))), "7.389056")
  t.eq(text({1e20}, "float64"):sub(2, -2), "1.e+20")
  t.eq(tostring(bdl.tensor(1e20)), "1e+20")
  t.eq(tostring(bdl.tensor(1.5e-5)), "1.5e-05")
  t.eq({tostring(bdl.tensor(math.huge)), tostring(bdl.tensor(-math.huge)), tostring(bdl.tensor(0 / 0))}, {"inf", "-inf", "nan"})
  t.eq("loss = " .. bdl.tensor(0.5), "loss = 0.5")
end)

t.test("every float reads back, in the fewest digits", function()
  for i = 1, 400 do
    local v = math.sin(i * 1.7) * 10.0 ^ (i % 61 - 30)
    local single = string.unpack("f", string.pack("f", v))
    local s = tostring(bdl.tensor(v))
    t.eq(string.unpack("f", string.pack("f", tonumber(s))), single, s)
    local digits = s:gsub("e.*", ""):gsub("[-.]", ""):gsub("^0+", ""):gsub("0+$", "")
    for n = 1, #digits - 1 do
      t.ok(string.unpack("f", string.pack("f", tonumber(("%." .. n .. "g"):format(single)))) ~= single,
           s .. " has too many digits")
    end
  end
end)

t.test("arrays have one format", function()
  t.eq(text{1.0, 2.0, 3.0}, "[1. 2. 3.]")
  t.eq(text{1.5, -2.25}, "[ 1.5  -2.25]")
  t.eq(text{1.0, 0.125}, "[1.    0.125]")
  t.eq(text{1, 10, -100}, "[   1   10 -100]")
  t.eq(text{true, false}, "[ true false]")
  t.eq(text{{0.0, 0.0}, {0.0, 0.0}}, "[[0. 0.]\n [0. 0.]]")
  t.eq(text({1 / 3}, "float64"), "[0.33333333]")
  t.eq(text({2 / 3, 1}, "float64"), "[0.66666667 1.        ]")
  t.eq(text{0 / 0, 1.0, -math.huge}, "[ nan   1. -inf]")
  t.eq(text{-math.huge, 1.25}, "[-inf 1.25]")
  t.eq(text{0.0, -0.0}, "[ 0. -0.]")
end)

t.test("exponents where sizes differ by more than 1000, or are large or small", function()
  t.eq(text{1e-5, 1.0, 2.0}, "[1.e-05 1.e+00 2.e+00]")
  t.eq(text{1e8, 1.0}, "[1.e+08 1.e+00]")
  t.eq(text{1000.0, 1.0}, "[1000.    1.]")
  t.eq(text{1001.0, 1.0}, "[1.001e+03 1.000e+00]")
  t.eq(text{123456.789, 0.001}, "[1.2345679e+05 1.0000000e-03]")
  t.eq(text({1e-300, 1e100}, "float64"), "[1.e-300 1.e+100]")
  t.eq(text({1.0, 1e100}, "float64"), "[1.e+000 1.e+100]")
  t.eq(text{1e-5, 0 / 0}, "[1.e-05    nan]")
end)

t.test("nested arrays are separated by lines", function()
  t.eq(tostring(bdl.arange(8):reshape(2, 2, 2)), "[[[0 1]\n  [2 3]]\n\n [[4 5]\n  [6 7]]]")
  t.eq(tostring(bdl.zeros(0)), "[]")
  t.eq(tostring(bdl.zeros(2, 0)), "[]")
end)

t.test("long rows break before column 75, long arrays are summarised", function()
  t.eq(tostring(bdl.arange(30.0)), "[ 0.  1.  2.  3.  4.  5.  6.  7.  8.  9. 10. 11. 12. 13. 14. 15. 16. 17.\n"
       .. " 18. 19. 20. 21. 22. 23. 24. 25. 26. 27. 28. 29.]")
  t.eq(tostring(bdl.arange(2000)), "[   0    1    2 ... 1997 1998 1999]")
  t.ok(not tostring(bdl.arange(1000)):find("...", 1, true))
  t.eq(tostring(bdl.arange(4000):reshape(4, 1000)),
       "[[   0    1    2 ...  997  998  999]\n [1000 1001 1002 ... 1997 1998 1999]\n"
       .. " [2000 2001 2002 ... 2997 2998 2999]\n [3000 3001 3002 ... 3997 3998 3999]]")
  local cube = tostring(bdl.zeros(10, 10, 20))
  t.ok(cube:find("...,", 1, true) == nil and cube:find("\n\n ...\n\n", 1, true), cube)
  local long = bdl.arange(10000000) -- only what is shown is looked at
  local start = os.clock()
  t.eq(#tostring(long), #"[      0       1       2 ... 9999997 9999998 9999999]")
  t.ok(os.clock() - start < 0.1)
end)

t.test("units stand behind", function()
  t.eq(tostring(1.0 * u.mV), "1. mV")
  t.eq(tostring(5 * u.ms), "5 ms")
  t.eq(tostring(0.1 * u.ms), "0.1 ms")
  t.eq(tostring(-65.0 * u.mV), "-65. mV")
  t.eq(tostring(1e9 * u.mV), "1.e+09 mV")
  t.eq(tostring(bdl.zeros(2, 2) * u.nA), "[[0. 0.]\n [0. 0.]] nA")
  t.eq(tostring(2.0 * u.mV / (4.0 * u.ms)), "0.5 mV / ms")
end)

t.test("a traced tensor says so", function()
  local seen
  bdl.jit(function(x) seen = tostring(x * u.mV) return x end)(bdl.ones(3))
  t.eq(seen, "Traced<float32[3] mV>")
end)

-- Units through operators and array functions.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local u = bdl.units

local V = bdl.tensor{1.0, 4.0, 9.0} * u.mV

local function text(x) return tostring(x) end

t.test("sums convert to the left unit; what differs in dimension is an error with both sides", function()
  t.eq(text(3.0 * u.mV + 2.0 * u.volt), "2003. mV")
  t.eq(text(2.0 * u.volt + 3.0 * u.mV), "2.003 V")
  t.raises("UnitMismatchError", "cannot add 1%. mV and 1%. ms: units do not match %(mV, ms%)", function()
    return 1.0 * u.mV + 1.0 * u.ms
  end)
  t.raises("UnitMismatchError", nil, function() return 1.0 * u.mV + 1 end)
  t.eq(text(1.0 * u.mV + 0), "1. mV")
end)

t.test("products combine; what cancels is a plain number", function()
  t.eq(text((2.0 * u.mV) * (5.0 * u.nS)), "10. pA")
  t.close((5.0 * u.ms) / (1.0 * u.second), 0.005)
  t.eq(text((2.0 * u.mV) ^ 2), "4. mV^2")
  t.eq(text(1 / (2.0 * u.ms)), "0.5 kHz")
end)

t.test("functions of plain numbers refuse units and say how to scale", function()
  for _, name in ipairs{"exp", "log", "sin", "tanh", "softmax", "logsumexp", "hypot", "logaddexp", "sinc"} do
    local e = t.raises("TypeError", "dimensionless", bdl[name], V, V)
    t.ok(e.hint and e.hint:find("divide by a unit", 1, true), name)
  end
  t.close(bdl.exp(V / u.mV), {math.exp(1), math.exp(4), math.exp(9)}, 1e-5)
end)

t.test("functions keep, drop or change units", function()
  for name, want in pairs{
    sum = "14. mV", mean = "4.6666665 mV", max = "9. mV", min = "1. mV", abs = "[1. 4. 9.] mV", sqrt = "[1. 2. 3.] mV^0.5",
    square = "[ 1. 16. 81.] mV^2", reciprocal = "[1.         0.25       0.11111111] 1 / mV", sign = "[1. 1. 1.]", argmax = "2",
    cumsum = "[ 1.  5. 14.] mV", diff = "[3. 5.] mV", ptp = "8. mV", median = "4. mV", flip = "[9. 4. 1.] mV",
    sort = "[1. 4. 9.] mV",
    prod = "36. mV^3", isnan = "[false false false]", norm = "9.899495 mV", zeros_like = "[0. 0. 0.] mV",
    negative = "[-1. -4. -9.] mV",
    relu = "[1. 4. 9.] mV", nan_to_num = "[1. 4. 9.] mV", count_nonzero = "3",
  } do
    t.eq(text((rawget(bdl.functional, name) or bdl[name])(V)), want, name)
  end
  for name, unit in pairs{var = u.mV ^ 2, std = u.mV} do t.eq(bdl[name](V).unit, unit, name) end
  t.eq(text(bdl.clip(V, 2 * u.mV, 5 * u.mV)), "[2. 4. 5.] mV")
  t.eq(text(bdl.maximum(V, 0.005 * u.volt)), "[5. 5. 9.] mV")
  t.eq(text(bdl.where(V:gt(2 * u.mV), V, 0 * u.volt)), "[0. 4. 9.] mV")
  t.eq(text(bdl.concatenate{V, V * 1000}), "[1.e+00 4.e+00 9.e+00 1.e+03 4.e+03 9.e+03] mV")
  t.eq(text(bdl.quantile(V, 0.5)), "4. mV")
  t.eq(text(bdl.solve(bdl.eye(3) * u.ohm, V)), "[1. 4. 9.] mA")
  t.eq(text(bdl.inv(bdl.eye(1) * u.ms)), "[[1.]] kHz")
  t.eq(text(bdl.det(bdl.eye(2) * u.mV)), "1. mV^2")
  t.eq(text(bdl.pad(V, 1)), "[0. 1. 4. 9. 0.] mV")
  t.eq(text(bdl.logical_and(V:gt(0 * u.mV), true)), "[ true  true  true]")
  t.eq({V:eq(V):all():item(), bdl.allclose(V, V:to(u.volt))}, {true, true})
  local counts, edges = bdl.histogram(V, 2)
  t.eq({text(counts), text(edges)}, {"[2 1]", "[1. 5. 9.] mV"})
end)

t.test("a unit against a plain number", function()
  t.raises("TypeError", nil, bdl.where, true, V, 1.0)
  t.raises("TypeError", nil, bdl.maximum, V, 0.0)
  t.raises("UnitMismatchError", nil, bdl.clip, V, 0.0, 2.0)
  t.raises("UnitMismatchError", nil, bdl.concatenate, {V, V * u.ms})
  t.raises("UnitMismatchError", nil, bdl.lt, V, 1 * u.ms)
end)

t.test("units are settled while tracing: compiled code gives the same", function()
  local f = function(v, w) return (v + w):sum(), v * w, bdl.sqrt(v), v:lt(w) end
  local eager, compiled = table.pack(f(V, 2 * u.volt)), table.pack(bdl.jit(f)(V, 2 * u.volt))
  for i = 1, 4 do t.eq(text(compiled[i]), text(eager[i])) end
  t.raises("UnitMismatchError", nil, bdl.jit(function(v) return v + 1 * u.ms end), V)
end)

t.test("to, mantissa, unit", function()
  t.eq(text((1.0 * u.volt):to(u.mV)), "1000. mV")
  t.eq({tostring(V.unit), V.mantissa:totable()}, {"mV", {1, 4, 9}})
  t.raises("UnitMismatchError", "dimensions differ", V.to, V, u.nA)
  t.eq(u.math.concatenate, bdl.concatenate)
end)

t.test("a State keeps its unit; bdl.unit is bdl.units", function()
  t.ok(require "bdl.unit" == bdl.units)
  local s = bdl.State(1.0 * u.mV, {name = "v"})
  s.value = 1.0 * u.volt
  t.eq(text(s.value), "1000. mV")
  t.raises("UnitMismatchError", "State 'v' %(made at tests/lua/units.lua:%d+%) holds mV; a plain number was given", function() s.value = 1.0 end)
  t.raises("UnitMismatchError", "State 'v' %(made at tests/lua/units.lua:%d+%) holds mV; ms was given", function() s.value = 1.0 * u.ms end)
end)

-- Derivatives of functions of arguments.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local augment, u = bdl.augment, bdl.units

local function list(x) return core.totable(x) end

t.test("vjp pulls cotangents back to every argument", function()
  local out, pullback = augment.vjp(function(x, y) return x * y end, core.tensor{1.0, 2.0}, core.tensor{3.0, 4.0})
  t.eq(list(out), {3.0, 8.0})
  local dx, dy = pullback(core.tensor{1.0, 10.0})
  t.eq(list(dx), {3.0, 40.0})
  t.eq(list(dy), {1.0, 20.0})
  t.eq(list(pullback(core.tensor{2.0, 0.0})), {6.0, 0.0})
end)

t.test("vjp of trees, and of integers", function()
  local _, pullback = augment.vjp(function(p, k) return p.w * p.b * k end, {w = core.tensor{1.0, 2.0}, b = core.tensor(3.0)}, core.tensor{1, 2})
  local dp, dk = pullback(core.tensor{1.0, 1.0})
  t.eq(list(dp.w), {3.0, 6.0})
  t.eq(core.item(dp.b), 5.0)
  t.eq(dk, 0.0)
end)

t.test("jvp pushes tangents forward", function()
  local out, tangent = augment.jvp(function(x, y) return x:sin() * y end, {core.tensor(0.0), core.tensor(2.0)}, {core.tensor(1.0), core.tensor(5.0)})
  t.eq(core.item(out), 0.0)
  t.eq(core.item(tangent), 2.0)
  t.raises("ValueError", "2 values, 1 tangents", augment.jvp, function(x) return x end, {core.tensor(1.0), core.tensor(1.0)}, {core.tensor(1.0)})
end)

t.test("vector_grad has the derivative of each element", function()
  local x = core.tensor{1.0, 2.0, 3.0}
  t.eq(list(augment.vector_grad(function(v) return v^3 end)(x)), {3.0, 12.0, 27.0})
  local grads, value = augment.vector_grad(function(a, b) return a * b end, nil, {argnums = {1, -1}, return_value = true})(x, x)
  t.eq(list(grads[2]), {1.0, 2.0, 3.0})
  t.eq(list(value), {1.0, 4.0, 9.0})
  local g, aux = augment.vector_grad{has_aux = true}(function(v) return v * 2, v + 1 end)(x)
  t.eq(list(g), {2.0, 2.0, 2.0})
  t.eq(list(aux), {2.0, 3.0, 4.0})
  t.raises("TypeError", "did you mean 'argnums'", augment.vector_grad, function(v) return v end, nil, {argnum = 1})
  t.raises("ValueError", "positions", augment.vector_grad(function(v) return v end, nil, {argnums = 0}), x)
end)

t.test("units: numbers, or out/in where asked", function()
  local tau = 10 * u.ms
  local function f(v) return -v / tau end
  local x = core.tensor{1.0, 2.0} * u.mV
  t.eq(augment.vector_grad(f)(x).unit, nil)
  t.close(augment.vector_grad(f)(x), {-0.1, -0.1})
  t.eq(tostring(augment.vector_grad(f, nil, {unit_aware = true})(x).unit), "1 / ms")
  local fx, dfx = augment.value_and_derivative(f, x)
  t.eq(tostring(fx.unit), "mV / ms")
  t.close(core.mantissa(fx), {-0.1, -0.2})
  t.eq(tostring(dfx.unit), "1 / ms")
end)

t.test("inside a trace derivatives are equations of it", function()
  local s = bdl.State(core.tensor{1.0, 2.0})
  local step = bdl.jit(function(x)
    local fx, dfx = augment.value_and_derivative(function(v) return s.value * v * v end, x)
    s.value = s.value + 1
    return fx, dfx
  end)
  local x = core.tensor{1.0, 2.0}
  local fx, dfx = step(x)
  t.eq({list(fx), list(dfx)}, {{1.0, 8.0}, {2.0, 8.0}})
  fx, dfx = step(x)
  t.eq({list(fx), list(dfx)}, {{2.0, 12.0}, {4.0, 12.0}})
  local text = tostring(bdl.make_ir(function(v) return augment.value_and_derivative(function(w) return w * w end, v) end)(x))
  t.ok(not text:find "call", text)
end)

t.test("a pullback keeps the values that States had", function()
  local s = bdl.State(core.tensor(3.0))
  local out, pullback = augment.vjp(function(x) return s.value * x end, core.tensor(2.0))
  s.value = core.tensor(100.0)
  t.eq(core.item(out), 6.0)
  t.eq(core.item(pullback(core.tensor(1.0))), 3.0)
  local g = bdl.jit(function(x)
    local _, pull = augment.vjp(function(v) return s.value * v end, x)
    s.value = s.value * 2
    return pull(core.tensor(1.0))
  end)
  t.eq(core.item(g(core.tensor(1.0))), 100.0)
end)

t.test("derivatives nest", function()
  local function second(x)
    return augment.vector_grad(function(v) return augment.vector_grad(function(w) return w^4 end)(v) end)(x)
  end
  t.eq(list(second(core.tensor{1.0, 2.0})), {12.0, 48.0})
end)

t.test("what cannot be differentiated says so", function()
  local s = bdl.State(core.tensor(1.0), {name = "count"})
  t.raises("NotSupportedError", "State 'count'", augment.vjp, function(x) s.value = s.value + 1 return x end, core.tensor(1.0))
  t.raises("NotSupportedError", nil, augment.vjp, function(x) return bdl.for_loop(function(y) return y * y end, x) end, core.tensor{1.0, 2.0})
  t.raises("ValueError", "floats", augment.value_and_derivative, function(v) return v end, core.tensor{1, 2})
  t.raises("TypeError", "function", augment.vjp, 3)
  t.eq(core.item(s.value), 1.0)
end)

t.test("grad with respect to States, arguments, both; loss and auxiliary values", function()
  local w = bdl.ParamState({a = bdl.tensor{1., 2.}, b = bdl.tensor(3.)})
  local s = bdl.State(bdl.tensor(2.))
  local function f(x) return (w.value.a * x):sum() * w.value.b + s.value^2, x * 2 end
  local states = {w = w, s = s}
  local g, d, loss, aux = bdl.grad(f, states, {argnums = 1, return_value = true, has_aux = true})(bdl.tensor{4., 5.})
  t.close(g.w.a, {12, 15})
  t.close(g.w.b, 14)
  t.close(g.s, 4)
  t.close(d, {3, 6})
  t.close(loss, 46)
  t.close(aux, {8, 10})
  t.close(w.value.b, 3)
  t.close(bdl.grad(function(x) return (x^3):sum() end)(bdl.tensor{1., 2.}), {3, 12})
  t.close(bdl.grad{grad_states = s}(function() return s.value * 3 end)(), 3)
end)

t.test("grad wants a real scalar, and says what it got", function()
  t.raises("TypeError", "Output had shape float32%[2%]", function() bdl.grad(function(x) return x end)(bdl.ones(2)) end)
  t.raises("TypeError", "has_aux", function() bdl.grad(function(x) return x:sum(), x end)(bdl.ones(2)) end)
  t.raises("NotSupportedError", "", function()
    bdl.grad(function(x) return bdl.for_loop(function(i) return x * i end, bdl.arange(3)):sum() end)(bdl.tensor(1.))
  end)
end)

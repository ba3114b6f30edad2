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

t.test("cotangents may have the unit of their result", function()
  local _, pullback = augment.vjp(function(x) return (x * u.mV):sum() end, core.tensor{1.0, 2.0})
  t.eq(list(pullback(1.0 * u.mV)), {1.0, 1.0})
  t.close(pullback(1.0 * u.V), {1000.0, 1000.0})
  t.raises("UnitMismatchError", "ms to mV", pullback, 1.0 * u.ms)
end)

t.test("a rule that is not linear in its tangents has no reverse mode", function()
  local function reverse(rule)
    local f = bdl.custom_jvp(function(x) return x * 2 end)
    f:defjvp(function(p, d) return p[1] * 2, rule(p[1], d[1]) end)
    return bdl.grad(function(x) return f(x):sum() end), core.tensor{1.0, 2.0}
  end
  t.raises("NotSupportedError", "mul: .* linear", reverse(function(_, d) return d * d end))
  t.raises("NotSupportedError", "div: .* linear", reverse(function(p, d) return p / d end))
  t.raises("NotSupportedError", "dot: .* linear", reverse(function(p, d) return d:matmul(d) * p end))
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
  t.raises("ValueError", "floats", augment.value_and_derivative, function(v) return v end, core.tensor{1, 2})
  t.raises("TypeError", "function", augment.vjp, 3)
  t.raises("TypeError", "argument 1 holds int32", function() bdl.grad(function(x) return x * 1.0 end)(3) end)
  t.raises("NotSupportedError", "complex", bdl.grad, function(x) return x end, nil, {holomorphic = true})
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
  t.raises("TypeError", "Output had shape float32%[2%].-loss:mean%(%)", function() bdl.grad(function(x) return x end)(bdl.ones(2)) end)
  t.raises("TypeError", "has_aux", function() bdl.grad(function(x) return x:sum(), x end)(bdl.ones(2)) end)
end)

t.test("a recurrent network of no units has gradients of no numbers", function()
  local w, r = bdl.ParamState(bdl.zeros(3, 0)), bdl.ParamState(bdl.zeros(0, 0))
  local grads = bdl.grad(function(xs)
    local h = bdl.State(bdl.zeros(5, 0))
    bdl.for_loop(function(x) h.value = bdl.tanh(x:matmul(w.value) + h.value:matmul(r.value)) end, xs)
    return h.value:sum()
  end, {w = w, r = r})(bdl.ones(8, 5, 3))
  t.eq(grads.w.shape, {3, 0})
  t.eq(grads.r.shape, {0, 0})
end)

t.test("States written by the loss keep what it wrote", function()
  local w, n = bdl.ParamState(bdl.tensor(3.)), bdl.State(0)
  local last = bdl.State(bdl.zeros(2))
  local function loss(x)
    n.value = n.value + 1
    last.value = w.value * x
    return (last.value^2):sum()
  end
  local x = bdl.tensor{1., 2.}
  t.close(bdl.grad(loss, w)(x), 30)
  t.eq({n.value:item(), last.value:totable()}, {1, {3, 6}})
  local step = bdl.jit(function(v)
    local g = bdl.grad(loss, w)(v)
    w.value = w.value - 0.1 * g
    return g
  end)
  t.close(step(x), 30)
  t.close(step(x), 0)
  t.eq({n.value:item(), last.value:totable()}, {3, {0, 0}})
end)

t.test("a failing loss leaves every State as it was", function()
  local s = bdl.State(bdl.tensor(1.))
  local function loss(x)
    s.value = s.value + 1
    error "no"
  end
  t.raises(nil, "no", bdl.grad(loss), bdl.tensor(1.))
  t.eq(s.value:item(), 1)
end)

t.test("a State that is never read is an error, or zeros", function()
  local a, b = bdl.ParamState(bdl.tensor(2.), {name = "a"}), bdl.ParamState({x = bdl.ones(2), y = bdl.tensor(1.)}, {name = "b"})
  local function f() return a.value^2 end
  t.raises("ValueError", "never reads the ParamState 'b' %(made at tests/lua/augment.lua:%d+%)", bdl.grad(f, {a, b}))
  local g = bdl.grad(f, {a, b}, {check_states = false})()
  t.close(g[1], 4)
  t.eq({g[2].x, g[2].y}, {{0, 0}, 0})
  t.raises("TypeError", "State 'n' .* holds int32", bdl.grad(function() return f() end, bdl.State(1, {name = "n"}), {check_states = false}))
end)

t.test("derivatives have the structure of the States", function()
  local model = bdl.nn.Linear(2, 3)
  local x = bdl.ones(1, 2)
  local weights = model:states()
  local function loss() return (model(x)^2):sum() end
  local grads = bdl.grad(loss, weights)()
  t.eq(bdl.typename(grads), bdl.typename(weights))
  t.eq({table.unpack(grads.weight.weight.shape)}, {2, 3})
  t.eq({table.unpack(bdl.grad(loss, {deep = {model.weight}})().deep[1].bias.shape)}, {3})
  t.eq({table.unpack(bdl.grad(loss, model.weight)().bias.shape)}, {3})
end)

t.test("gradients of gradients, also of maps of them", function()
  local w = bdl.ParamState{a = bdl.tensor{1., 2.}, b = bdl.tensor(3.)}
  local function f() return (w.value.a^3):sum() * w.value.b end
  local first = bdl.grad(f, w)
  local second = bdl.grad(function()
    local g = first()
    return (g.a^2):sum() + g.b^2
  end, w)()
  -- g.a = 3 a^2 b, g.b = sum a^3: d/da = 2*g.a*6ab + 2*g.b*3a^2; d/db = 2 sum(g.a 3a^2)
  t.close(second.a, {2*9*18 + 2*9*3, 2*36*36 + 2*9*12})
  t.close(second.b, 2*(9*3 + 36*12))
  local by_aux = bdl.grad(function(x)
    local _, aux = bdl.grad(function(v) return (v^2):sum(), v^3 end, nil, {has_aux = true})(x)
    return aux:sum()
  end)
  t.close(by_aux(bdl.tensor{1., 2.}), {3, 12}) -- auxiliary values have derivatives outside
end)

t.test("a pullback runs the function once and may be called again", function()
  local n = bdl.State(0)
  local w = bdl.ParamState(bdl.tensor{1., 2.})
  local out, pull, aux = bdl.vjp(function(x)
    n.value = n.value + 1
    return w.value * x:exp(), x + 1
  end, bdl.tensor{0., 1.}, {grad_states = {w = w}, argnums = 1, has_aux = true})
  t.close(out, {1, 2*math.exp(1)})
  t.close(aux, {1, 2})
  for _ = 1, 2 do
    local dw, dx = pull(bdl.ones(2))
    t.close(dw.w, {1, math.exp(1)})
    t.close(dx, {1, 2*math.exp(1)})
  end
  t.eq(n.value:item(), 1)
end)

t.test("Jacobians: output axes first, trees outside, reverse as forward", function()
  local w = bdl.ParamState{a = bdl.tensor{1., 2.}, b = bdl.tensor(3.)}
  local function f(x) return {y = w.value.a * x, z = (w.value.a^2):sum() * w.value.b} end
  local x = bdl.tensor{5., 6.}
  for _, jac in ipairs{bdl.jacrev, bdl.jacfwd, bdl.jacobian} do
    local j, dx = jac(f, {w}, {argnums = 1})(x)
    t.close(j.y[1].a, {{5, 0}, {0, 6}})
    t.close(j.y[1].b, {0, 0})
    t.close(j.z[1].a, {6, 12})
    t.close(j.z[1].b, 5)
    t.close(dx.y, {{1, 0}, {0, 2}})
    t.close(dx.z, {0, 0})
  end
  local value, aux = select(2, bdl.jacrev(function(v) return v^2, v + 1 end, nil, {return_value = true, has_aux = true})(x))
  t.eq({value:totable(), aux:totable()}, {{25, 36}, {6, 7}})
  t.raises("TypeError", "not floats", bdl.jacfwd(function(v) return v:gt(0) end), x)
end)

t.test("a Hessian is a map of maps", function()
  local w = bdl.ParamState{a = bdl.tensor{1., 2.}, b = bdl.tensor(3.)}
  local n = bdl.State(0)
  local function loss()
    n.value = n.value + 1
    return (w.value.a^2):sum() * w.value.b
  end
  local h, l = bdl.hessian(loss, {layer = w}, {return_value = true})()
  t.close(h.layer.a.layer.a, {{6, 0}, {0, 6}})
  t.close(h.layer.a.layer.b, {2, 4})
  t.close(h.layer.b.layer.b, 0)
  t.close(l, 15)
  t.eq(n.value:item(), 1)
  t.raises("NotImplementedError", "together", bdl.hessian, loss, w, {argnums = 1})
end)

t.test("fwd_grad is right in the mean, exact on an axis of one", function()
  local s = bdl.ParamState(2.0)
  local g = bdl.fwd_grad(function(x) return (x^2):sum() * s.value end, nil, {tangent_size = 4000, key = 1})(bdl.tensor{1., -2.})
  t.close(g, {4, -8}, 0.15)
  t.close(bdl.fwd_grad(function() return s.value^2 end, s, {tangent_size = 4000, key = 2})(), 4, 0.15)
  local clipped = bdl.fwd_grad(function() return s.value^2 end, s, {key = 3, drct_der_clip = 0.0})()
  t.eq(clipped:item(), 0)
  t.raises("ValueError", "tangent_size", bdl.fwd_grad(function(x) return x end, nil, {tangent_size = 0}), bdl.tensor(1.))
end)

t.test("a function with a forward rule of its own", function()
  local k = bdl.ParamState(bdl.tensor(3.))
  local f = bdl.custom_jvp(function(x, n) return x * k.value * n end)
  t.raises("ValueError", "no rule yet", f, bdl.tensor(1.), 2)
  f:defjvp(function(primals, tangents)
    t.ok(tangents[2] == bdl.none, "an integer has no tangent")
    return f.f(table.unpack(primals)), tangents[1] * 100
  end)
  local x = bdl.tensor{1., 2.}
  t.eq(f(x, 2), {6, 12})
  t.eq(bdl.grad(function(v) return f(v, 2):sum() end)(x), {100, 100})
  t.eq(select(2, bdl.jvp(function(v) return f(v, 2) end, {x}, {bdl.ones(2)})), {100, 100})
  t.eq(bdl.grad(function(v) return f(v, 2):sum() end, k)(x):item(), 0) -- what it captures is constant to the rule
  t.eq(bdl.jit(bdl.vmap(bdl.grad(function(v) return f(v, 2) end)))(x), {100, 100})
  local loop = bdl.grad(function(v) return bdl.for_loop(function(y) return f(y, 1) end, v):sum() end)
  t.eq(loop(x), {100, 100})
  f:defjvp(function(primals) return primals[1], bdl.ones(5) end)
  t.raises("ShapeError", "derivative is float32%[5%]", bdl.grad(function(v) return f(v, 2):sum() end), x)
  local s = bdl.State(1.)
  local g = bdl.custom_jvp(function(v) s.value = s.value + 1; return v end):defjvp(function(p, d) return p[1], d[1] end)
  t.raises("NotSupportedError", "writes a State", bdl.grad(g), bdl.tensor(1.))
end)

t.test("a function with a backward rule of its own", function()
  local c = bdl.tensor(5.)
  local f = bdl.custom_vjp(function(x, p) return {y = x * p.w} end)
  f:defvjp(function(x, p) return {y = x * p.w}, {x, n = 7.} end, function(res, ct) return ct.y * res[1] * c, {w = res.n} end)
  local x, p = bdl.tensor{1., 2.}, {w = bdl.tensor{3., 4.}}
  t.eq(f(x, p).y, {3, 8})
  local g = bdl.grad(function(v, q) return f(v, q).y:sum() end, nil, {argnums = {1, 2}})(x, p)
  t.eq(g[1], {5, 10})
  t.eq(g[2].w, {7, 7})
  t.eq(bdl.jit(bdl.vmap(bdl.grad(function(v) return f(v, {w = bdl.tensor(1.)}).y end)))(x), {5, 10})
  t.raises("NotSupportedError", "custom_jvp", bdl.jvp, function(v) return f(v, p).y end, {x}, {bdl.ones(2)})
end)

t.test("a failed call leaves States and the generator as they were", function()
  local s, w = bdl.State(0), bdl.ParamState(bdl.ones(2))
  local function f(x)
    s.value = s.value + 1
    local r = bdl.random.rand()
    bdl.error_if(x:gt(1), "too big")
    return (r * w.value):sum()
  end
  local key = tostring(bdl.random.DEFAULT.value)
  for _, g in ipairs{bdl.grad(f, w), bdl.fwd_grad(f, w), bdl.jacfwd(f, w), bdl.hessian(f, w), bdl.checkpoint(f)} do
    t.raises("ValueError", "too big", g, bdl.tensor(5.))
    t.eq(s.value:item(), 0)
    t.eq(tostring(bdl.random.DEFAULT.value), key)
  end
end)

t.test("a call without arguments and without States has nothing to differentiate by", function()
  t.raises("ValueError", "no argument to differentiate by", bdl.grad(function() return bdl.tensor(1.) end))
end)

t.test("fwd_grad draws another direction at each call", function()
  local g = bdl.fwd_grad(function(x) return (x^2):sum() end)
  t.ok(tostring(g(bdl.ones(3))) ~= tostring(g(bdl.ones(3))))
end)

t.test("checkpoint changes no gradient; States written inside are written", function()
  local w, s = bdl.ParamState(bdl.tensor(0.7)), bdl.State(bdl.tensor(0.))
  local function block(x, scale)
    s.value = x:sin() * w.value
    return s.value:exp() * scale
  end
  for _, f in ipairs{block, bdl.checkpoint(block, {static_argnums = 2}), bdl.remat{policy = "everything"}(block), bdl.checkpoint{static_argnums = {2}}(block)} do
    t.close(bdl.grad(function(x) return f(f(x, 2), 2) end, w, {argnums = 1})(bdl.tensor(0.3)), bdl.grad(function(x) return block(block(x, 2), 2) end, w)(bdl.tensor(0.3)):item())
    s.value = bdl.tensor(0.)
    bdl.grad(function(x) return f(x, 2) end)(bdl.tensor(1.))
    t.close(s.value, math.sin(1) * 0.7)
  end
  t.raises("ValueError", "positions from 1", bdl.checkpoint, block, {static_argnums = -1})
  t.raises("ValueError", "policy", bdl.checkpoint, block, {policy = "dots"})
end)

t.test("loops in checkpoints: the same results and gradients", function()
  local w, s = bdl.ParamState(bdl.tensor(0.9)), bdl.State(bdl.tensor(0.))
  local function loss(loop, opts)
    return function()
      s.value = bdl.tensor(0.1)
      local ys = loop(function(x, z)
        s.value = (s.value * w.value + x):sin()
        return s.value * z
      end, bdl.arange(37.), bdl.ones(37), opts)
      return ys:sum()
    end
  end
  local want, value = bdl.grad(loss(bdl.for_loop), w, {return_value = true})()
  for _, base in ipairs{2, 3, 6, 37, 100} do
    local got, v = bdl.grad(loss(bdl.checkpointed_for_loop, {base = base}), w, {return_value = true})()
    t.close(got, want:item(), 1e-4)
    t.close(v, value:item(), 1e-5)
  end
  local carry, ys = bdl.checkpointed_scan(function(c, x) return c + x, c end, bdl.tensor(0.), bdl.arange(10.), {base = 3})
  t.eq({carry:item(), ys:totable()}, {45, {0, 0, 1, 3, 6, 10, 15, 21, 28, 36}})
  t.eq(bdl.checkpointed_scan(function(c) return c * 2 end, bdl.tensor(1.), {length = 20}):item(), 2^20)
  local none, rows = bdl.checkpointed_scan(function(c, x) return c + x, c end, bdl.tensor(5.), bdl.zeros(0))
  t.eq({none:item(), rows.shape}, {5, {0}})
  t.raises("ValueError", "from 0, not %-1", bdl.checkpointed_scan, function(c) return c end, bdl.tensor(0.), {length = -1})
  t.raises("ValueError", "base", bdl.compile.checkpointed_for_loop, function(x) return x end, bdl.ones(3), {base = 1})
end)

t.test("a while loop of bounded length goes backwards, also in lanes", function()
  local function double(x, most) return bdl.bounded_while_loop(function(v) return v:lt(10) end, function(v) return v * 2 end, x, {max_steps = most, base = 3}) end
  t.eq(double(bdl.tensor(1.), 20):item(), 16)
  t.eq(double(bdl.tensor(1.), 2):item(), 4)
  t.eq(double(bdl.tensor(1.), 0):item(), 1)
  t.eq(bdl.grad(function(x) return double(x, 20) end)(bdl.tensor(1.)):item(), 16)
  t.eq(bdl.vmap(bdl.grad(function(x) return double(x, 20) end))(bdl.tensor{1., 3., 30.}), {16, 4, 1})
  local n = bdl.State(0)
  t.eq({bdl.bounded_while_loop(function(a) return a:lt(3) end, function(a, b) n.value = n.value + 1; return a + 1, b * 3 end, 0, 1., {max_steps = 50})}, {3, 27})
  t.eq(n.value:item(), 3)
  t.raises("ValueError", "max_steps", bdl.bounded_while_loop, function() return true end, function(x) return x end, 1.)
  local e = t.raises("NotSupportedError", "while", bdl.grad(function(x) return bdl.while_loop(function(v) return v:lt(10) end, function(v) return v * 2 end, x) end), bdl.tensor(1.))
  t.ok(tostring(e.hint):find "bounded_while_loop", tostring(e.hint))
end)

t.test("nested checkpoints keep a logarithm of the steps", function()
  local w = bdl.ParamState(bdl.random.rand(16, 16))
  local function arena(loop, T)
    local g = bdl.grad(function(xs)
      local h = bdl.State(bdl.zeros(16))
      loop(function(x) h.value = (h.value:matmul(w.value) + x):tanh() end, xs)
      return (h.value^2):sum()
    end, w)
    return tonumber(tostring(bdl.compile.make_plan(g)(bdl.ones(T, 16))):match "arena (%d+) bytes")
  end
  t.ok(arena(bdl.for_loop, 4096) > 10 * arena(bdl.for_loop, 256), "a plain loop keeps every step")
  t.ok(arena(bdl.checkpointed_for_loop, 4096) < 2 * arena(bdl.checkpointed_for_loop, 256))
  t.ok(arena(bdl.checkpointed_for_loop, 4096) < arena(bdl.for_loop, 4096) / 10)
end)

--- The program of f(..) after all passes, without positions.
local function optimised(f, ...)
  local last
  core.make_ir(f, function(_, text)
    last = text or last
    return true
  end, false, ...)
  return (last:gsub("  @ [^\n]*", ""))
end

local function count(text, word) return select(2, text:gsub("= " .. word .. "%f[%W]", "")) end

t.test("the gradient of a network is the program that one would write", function()
  local m1, m2 = bdl.nn.Linear(3, 4), bdl.nn.Linear(4, 2)
  local function loss(x, y) return ((m2(m1(x):tanh()) - y)^2):mean() end
  t.eq(optimised(bdl.grad(loss, {m1.weight, m2.weight}), bdl.ones(5, 3), bdl.ones(5, 2)), [[
program jit(a:f32[5,3], b:f32[5,2], c:f32[4], d:f32[3,4], e:f32[2], f:f32[4,2]) {
  g:f32[5,4] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] a d
  h:f32[5,4] = add g c
  i:f32[5,4] = tanh h
  j:f32[5,4] = mul i i
  k:f32[5,4] = sub 1.0:f32 j
  l:f32[5,2] = dot[lhs_contract=(1) rhs_contract=(0) lhs_batch=() rhs_batch=()] i f
  m:f32[5,2] = add l e
  n:f32[5,2] = sub m b
  o:f32[5,2] = mul n 2.0:f32
  p:f32[5,2] = mul 0.1:f32 o
  q:f32[2] = reduce_sum[axes=(0)] p
  r:f32[4,2] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] i p
  s:f32[5,4] = dot[lhs_contract=(1) rhs_contract=(1) lhs_batch=() rhs_batch=()] p f
  t:f32[5,4] = mul s k
  u:f32[4] = reduce_sum[axes=(0)] t
  v:f32[3,4] = dot[lhs_contract=(0) rhs_contract=(0) lhs_batch=() rhs_batch=()] a t
  return u, v, q, r
}
]])
end)

t.test("a neuron over time: one loop each way, two slopes kept, products outside of both", function()
  local _ <close> = bdl.environ.context{dt = 0.1 * u.ms}
  local lif, w = bdl.nn.LIF(3), bdl.ParamState(bdl.ones(2, 3))
  lif:init_state()
  local text = optimised(bdl.grad(function(xs)
    return bdl.for_loop(function(x) return lif(x:matmul(w.value) * u.mA) end, xs):sum()
  end, w), bdl.ones(5, 2))
  t.eq({count(text, "scan"), count(text, "dot")}, {2, 2}, text)
  t.ok(text:find "\n  %w:f32%[3%], %w:f32%[5,3%], %w:f32%[5,3%] = scan", text)
  t.ok(select(2, text:gsub("\n    %w+:", "")) <= 25, text)
end)

t.test("a custom rule holds for derivatives of derivatives, whatever the function itself would give", function()
  local f = bdl.custom_jvp(function(a) return bdl.while_loop(function(x) return x:lt(10) end, function(x) return 2*x end, a) end)
  f:defjvp(function(p, tangents) return f.f(bdl.stop_gradient(p[1])), p[1] * p[1] * tangents[1] end)
  local function square(a) return f(a)^2 end
  local a = bdl.tensor(3.0)                        -- f = 12, f' = a^2 = 9, f'' = 2a = 6
  t.close(bdl.grad(square)(a):item(), 2*12*9)
  t.close(bdl.grad(bdl.grad(square))(a):item(), 2*9*9 + 2*12*6)
  t.close(select(2, bdl.jvp(bdl.grad(square), {a}, {bdl.tensor(1.0)})):item(), 2*9*9 + 2*12*6)
end)

--- jit, loops and branches: what is traced, kept, carried, refused.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local u = bdl.units

local function counter()
  local n = 0
  return function() n = n + 1 end, function() return n end
end

t.test("jit traces once per shapes, dtypes and structure of the arguments", function()
  local tick, count = counter()
  local f = bdl.jit(function(x) tick(); return x * 2 end)
  t.close(f(bdl.tensor{1., 2.}), {2, 4})
  f(bdl.tensor{3., 4.})
  t.eq(count(), 1)
  f(bdl.tensor{1., 2., 3.})
  t.eq(count(), 2)
  f(bdl.tensor{1, 2})
  t.eq(count(), 3)
  f(3.0)
  f(4.0)
  t.eq(count(), 4)
end)

t.test("jit sees a captured State that changed shape", function()
  local tick, count = counter()
  local s = bdl.State(bdl.zeros(3))
  local f = bdl.jit(function(x) tick(); s.value = s.value + x; return s.value:sum() end)
  t.close(f(bdl.ones(3)), 3)
  t.close(f(bdl.ones(3)), 6)
  f(bdl.ones(1))
  t.eq(count(), 2)
  s.value = bdl.zeros(5)
  f(bdl.ones(1))
  t.eq(count(), 3)
  t.eq(s.shape[1], 5)
end)

t.test("a value that is no State is constant after tracing", function()
  local k = 2
  local f = bdl.jit(function(x) return x * k end)
  t.close(f(3.), 6)
  k = 5
  t.close(f(3.), 6)
end)

t.test("static arguments take part in the key", function()
  local tick, count = counter()
  local f = bdl.jit(function(x, n) tick(); for _ = 1, n do x = x * 2 end; return x end, {static_argnums = 2})
  t.close(f(1., 3), 8)
  t.close(f(2., 3), 16)
  t.eq(count(), 1)
  t.close(f(1., 4), 16)
  t.eq(count(), 2)
  t.raises("TypeError", "static", function() f(1., bdl.ones(2)) end)
  t.raises("ValueError", "positions from 1", function() bdl.jit(function(x) return x end, {static_argnums = -1}) end)
  local g = bdl.jit(function(x, o) return o.flip and -x or x end, {static_argnames = "flip"})
  t.close(g(1., {flip = true}), -1)
  t.close(g(1., {flip = false}), 1)
end)

t.test("the cache holds 128 programs and can be cleared", function()
  local f = bdl.jit(function(x) return x + 1 end)
  for n = 1, 140 do f(bdl.zeros(n)) end
  t.eq(f:n_compiled(), 128)
  f:clear_cache()
  t.eq(f:n_compiled(), 0)
  t.close(f(1.), 2)
end)

t.test("States are no arguments and no results", function()
  local s = bdl.State(1.0)
  t.raises("ValueError", "State", function() bdl.jit(function(x) return x end)(s) end)
  t.raises("ValueError", "State", function() bdl.jit(function() return s end)() end)
end)

t.test("what the trace read of the environ is part of the key", function()
  local f = bdl.jit(function(x) return x * bdl.environ.get "k" end)
  local out = {}
  for i, k in ipairs{2, 3, 2} do
    local _ <close> = bdl.environ.context{k = k}
    out[i] = core.item(f(1.))
  end
  t.eq(out, {2., 3., 2.})
end)

t.test("trees go in and out of compiled functions", function()
  local f = bdl.jit(function(p) return {a = p.x + p.list[2], b = {p.list[1]}}, p.x end)
  local r, x = f({x = bdl.ones(2), list = {1., 2.}})
  t.close(r.a, {3, 3})
  t.close(r.b[1], 1)
  t.close(x, {1, 1})
end)

t.test("quantities keep their unit through jit; another unit is another program", function()
  local f = bdl.jit(function(v) return v * 2 end)
  t.eq(tostring(f(3. * u.mV)), "6. mV")
  t.eq(tostring(f(3. * u.ms)), "6. ms")
end)

t.test("for_loop carries States and stacks results; reverse keeps their order", function()
  local a = bdl.State(1.0)
  local y = bdl.for_loop(function(i) a.value = a.value + 1; return a.value * 2 end, bdl.arange(10))
  t.close(y, {4, 6, 8, 10, 12, 14, 16, 18, 20, 22})
  t.close(a.value, 11)
  local k = bdl.State(0.0)
  local r = bdl.for_loop(function(x) k.value = k.value * 0.5 + x; return k.value end, bdl.tensor{1., 2., 3.}, {reverse = true})
  t.close(r, {1 + (2 + 3 / 2) / 2, 2 + 3 / 2, 3})
  local p, q = bdl.for_loop(function(x, z) return x + z, x * z end, bdl.tensor{1., 2.}, bdl.tensor{3., 4.})
  t.close(p, {4, 6})
  t.close(q, {3, 8})
end)

t.test("for_loop refuses different lengths, no sequence, scalars", function()
  t.raises("ValueError", "differ in length", function() bdl.for_loop(function(x, y) return x end, bdl.ones(2), bdl.ones(3)) end)
  t.raises("ValueError", "no sequence", function() bdl.for_loop(function() end) end)
  t.raises("ValueError", "no axis", function() bdl.for_loop(function(x) return x end, bdl.tensor(1.)) end)
  t.raises("TypeError", "did you mean 'reverse'", function() bdl.for_loop(function(x) return x end, bdl.ones(2), {revers = true}) end)
end)

t.test("a loop of length 0 changes nothing", function()
  local s = bdl.State(1.0)
  local y = bdl.for_loop(function() s.value = s.value + 1; return s.value end, {length = 0})
  t.eq(#y, 0)
  t.close(s.value, 1)
end)

t.test("scan returns carry and results; a weak carry becomes a float", function()
  local c, ys = bdl.scan(function(c, x) return c + x, c end, 0, bdl.tensor{1.5, 2.5})
  t.close(c, 4)
  t.close(ys, {0, 1.5})
  t.raises("TypeError", "carry", function() bdl.scan(function(c, x) return bdl.ones(2), c end, 0., bdl.ones(3)) end)
end)

t.test("while_loop: carry of several, weak promotion, conditions that write", function()
  t.close(bdl.while_loop(function(j) return j:lt(10) end, function(j) return j * 1.5 + 1 end, 0), 13.1875)
  local i, s = bdl.while_loop(function(i, s) return i:lt(5) end, function(i, s) return i + 1, s + i end, 0, 0.0)
  t.close(i, 5)
  t.close(s, 10)
  local w = bdl.State(0.0)
  t.raises("ValueError", "cond_fun should not have any write states", function()
    bdl.while_loop(function(j) w.value = w.value + 1; return j:lt(3) end, function(j) return j + 1 end, 0)
  end)
  t.close(w.value, 0)
end)

t.test("loops nest; a State made inside is local to its iteration", function()
  local b = bdl.State(0.0)
  local c_seen = bdl.for_loop(function(i)
    local c = bdl.State(0.0)
    bdl.while_loop(function(j) return j:le(i) end, function(j) c.value = c.value + 1; return j + 1 end, 0.0)
    b.value = b.value + c.value
    return c.value
  end, bdl.arange(10))
  t.close(b.value, 55)
  t.close(c_seen, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
end)

t.test("cond traces both branches, joins their States, agrees on types", function()
  local s = bdl.State(bdl.zeros(3))
  local f = bdl.jit(function(x)
    return bdl.cond(x:gt(0), function() s.value = s.value + x; return s.value:sum() end, function()
      s.value = s.value * 0.5
      return -s.value:sum()
    end)
  end)
  t.close(f(2.), 6)
  t.close(f(-1.), -3)
  t.close(s.value, {1, 1, 1})
  t.raises("TypeError", "the false branch returns .*, the true branch returns", function()
    bdl.jit(function(x) return bdl.cond(x:gt(0), function() return bdl.ones(2) end, function() return bdl.ones(3) end) end)(1.)
  end)
  t.raises("TypeError", "predicate", function() bdl.cond(bdl.ones(2), function() end, function() end) end)
  t.eq(bdl.cond(0, function() return "t" end, function() return "f" end), "f")
end)

t.test("branches on plain values compile only what is taken", function()
  local f = bdl.jit(function(x)
    if x.ndim == 1 then return x:sum() end
    error "not taken"
  end)
  t.close(f(bdl.ones(3)), 3)
end)

t.test("switch clamps an index in a tensor; a number is a position", function()
  local pick = {function() return 10. end, function() return 20. end, function() return 30. end}
  local f = bdl.jit(function(i) return bdl.switch(i, pick) end)
  for i, want in ipairs{10, 20, 30, 30} do t.close(f(bdl.tensor(i - 1)), want) end
  t.close(f(bdl.tensor(-5)), 10)
  t.eq(bdl.switch(2, pick), 20.)
  t.raises("ValueError", "no branches", function() bdl.switch(1, {}) end)
  t.raises("TypeError", "integer", function() bdl.switch(bdl.tensor(0.5), pick) end)
end)

t.test("ifelse takes the one true condition", function()
  local f = bdl.jit(function(x) return bdl.ifelse({x:gt(2), x:le(2)}, {function() return x * 10 end, function() return x end}) end)
  t.close(f(3.), 30)
  t.close(f(1.), 1)
  t.raises("ValueError", "exactly one", function()
    bdl.ifelse({true, true}, {function() return 1 end, function() return 2 end})
  end)
end)

t.test("a State made in a trace is dead outside until it gets a value", function()
  local kept
  bdl.jit(function(x) kept = bdl.State(x); return x end)(1.)
  t.raises("TraceContextError", "compile.lua", function() return kept.value end)
  kept.value = 2.0
  t.close(kept.value, 2)
end)

t.test("a traced tensor that escapes is refused", function()
  local kept
  bdl.jit(function(x) kept = x * 2; return x end)(1.)
  t.raises("TraceContextError", "traced", function() return kept + 1 end)
end)

t.test("Lua's operators on traced tensors explain themselves", function()
  local f = function(body) return function() bdl.jit(body)(bdl.ones(2)) end end
  t.raises("TypeError", "x:lt%(y%)", f(function(x) return x < 1 end))
  t.raises("TraceContextError", "bdl.where", f(function(x) return x:sum():item() end))
  t.raises("TypeError", "ipairs", f(function(x) for _ in ipairs(x) do end; return x end))
  t.raises("TypeError", "pairs", f(function(x) for _ in pairs(x) do end; return x end))
  t.raises("TraceContextError", "bdl.where", f(function(x) return tonumber(x:sum()) end))
  t.eq(tonumber(bdl.tensor(2.5)), 2.5)
  t.raises("TypeError", "a plain number is needed, got a value in mV", tonumber, 3 * bdl.units.mV)
  t.raises("TraceContextError", "debug.print", f(function(x) return "x = " .. x end))
  t.eq(#bdl.ones(4), 4)
end)

t.test("a State keeps shape and dtype inside a compiled function", function()
  local s = bdl.State(bdl.zeros(3))
  t.raises("ShapeError", "may not become", function() bdl.jit(function() s.value = bdl.zeros(4) * s.value:sum() end)() end)
  t.raises("ValueError", "structure", function() s.value = {a = 1.} end)
end)

t.test("restore_value is a read: nothing is written", function()
  local s = bdl.State(1.0)
  local f = bdl.jit(function() s:restore_value(bdl.tensor(7.0)); return s.value * 2 end)
  t.close(f(), 14)
  t.close(s.value, 1)
end)

t.test("a failed call leaves the States as they were", function()
  local s = bdl.State(1.0)
  local f = bdl.jit(function(x)
    s.value = s.value + 1
    bdl.error_if(x:gt(0), "too large")
    return s.value
  end)
  f(-1.)
  t.close(s.value, 2)
  t.raises("ValueError", "too large", function() f(1.) end)
  t.close(s.value, 2)
end)

t.test("disable_jit runs the same code step by step", function()
  local a = bdl.State(1.0)
  do
    local _ <close> = bdl.disable_jit(true)
    local y = bdl.for_loop(function(i) a.value = a.value + i; return a.value end, bdl.arange(4))
    t.close(y, {1, 2, 4, 7})
    t.close(bdl.while_loop(function(j) return j:lt(3) end, function(j) return j + 1 end, 0), 3)
    t.close(bdl.jit(function(x) return x + 1 end)(1.), 2)
  end
  t.eq(bdl.disable_jit(), false)
end)

t.test("make_ir prints the program; eval_shape runs nothing", function()
  local text = tostring(bdl.make_ir(function(x) return x:exp() + 1 end)(bdl.ones(3)))
  t.eq(text:find("exp", 1, true) ~= nil and text:find("f32[3]", 1, true) ~= nil, true)
  local shape = bdl.eval_shape(function(x) return x:sum{axis = 1} end, bdl.ones(2, 3))
  t.eq(tostring(shape), "float32[3]")
end)

t.test("jit inside jit is one program", function()
  local g = bdl.jit(function(x) return x * 2 end)
  local f = bdl.jit(function(x) return g(x) + 1 end)
  t.close(f(3.), 7)
end)

t.test("a State replaced in a Node is seen at the next call", function()
  local tick, count = counter()
  local Net = bdl.graph.Node:extend "Net"
  function Net:__init() self.w = bdl.ParamState(bdl.ones(2)) end
  local net = Net()
  local f = bdl.jit(function(x) tick(); return net.w.value * x end)
  t.close(f(2.), {2, 2})
  local other = bdl.State(0.0) -- an unrelated State changes nothing
  t.close(f(3.), {3, 3})
  t.eq(count(), 1)
  net.w = bdl.ParamState(bdl.full({2}, 5.))
  t.close(f(2.), {10, 10})
  t.eq(count(), 2)
  t.eq(other.value:item(), 0.)
  local outer = {list = {net}}
  local g = bdl.jit(function() return outer.list[1].w.value * 1 end)
  t.close(g(), {5, 5})
  outer.list[1] = Net()
  t.close(g(), {1, 1})
end)

t.test("compiled functions show their program and plan and can be made ready", function()
  local tick, count = counter()
  local s = bdl.State(0.0)
  local f = bdl.jit(function(x, n)
    tick()
    for _ = 1, n do x = x * 2 end
    s.value = s.value + x
    return x
  end, {static_argnums = 2})
  local _, products = tostring(f:trace(3., 2)):gsub("mul", "")
  t.eq(products, 2)
  t.ok(tostring(f:lower(3., 2)):find "^plan")
  t.eq(tostring(f:eval_shape(3., 2)), "float32[]")
  local before = count()
  f:compile(3., 2):compile(3., 2)
  t.eq(count(), before + 1)
  t.eq(s.value:item(), 0.)
  t.close(f(3., 2), 12)
  t.eq(count(), before + 1)
  t.eq(s.value:item(), 12.)
  t.raises("ShapeError", "may not become", function() f:compile(bdl.ones(3), 2) end)
  t.close(f(1., 2), 4)
end)

t.test("ifelse counts the conditions that hold", function()
  local f = bdl.jit(function(x)
    return bdl.ifelse({x:lt(1), x:lt(2)}, {function() return 1. end, function() return 2. end})
  end)
  t.close(f(1.5), 2)
  t.raises("ValueError", "exactly one condition must be true; 2 are", f, 0.5)
end)

t.test("a loop that picks with its counter is as one over the sequence, gradients too", function()
  bdl.random.seed(11)
  local X, W = bdl.random.randn(6, 5), bdl.random.randn(5, 5)
  local h = bdl.State(bdl.zeros(5))
  local function run(x, w, by_index)
    h.value = bdl.zeros(5)
    local function step(r)
      h.value = bdl.tanh(w:matmul(h.value) + r)
      return h.value:sum()
    end
    if not by_index then return bdl.for_loop(step, x, {reverse = by_index == nil}):sum() end
    return bdl.for_loop(function(i) return step(x[i]) end, bdl.arange(6)):sum()
  end
  for _, wrap in ipairs{function(f) return f end, bdl.jit} do
    local function both(by_index)
      return wrap(bdl.grad(function(x, w) return run(x, w, by_index) end, nil, {argnums = {1, 2}, return_value = true}))(X, W)
    end
    local g, v = both(false)
    local g_index, v_index = both(true)
    t.close(v_index, v:item(), 1e-5)
    t.close(g_index[1], g[1]:totable(), 1e-5, 1e-6)
    t.close(g_index[2], g[2]:totable(), 1e-5, 1e-6)
  end
  local some = bdl.jit(function() return bdl.for_loop(function(i) return X[i], X.T[{{}, i}] end, bdl.arange(2, 5)) end)
  local a, b = some()
  t.eq(a:totable(), X[{{3, 5}}]:totable())
  t.eq(b:totable(), a:totable())
  t.raises("IndexError", "out of range", bdl.jit(function() return bdl.for_loop(function(i) return X[i] end, bdl.arange(7)) end))
end)

t.test("the gradient of what is picked with any index adds up", function()
  local E, at = bdl.ones(4, 2), bdl.tensor({2, 0, 2, 2, 1}, {dtype = "int32"})
  local g = bdl.jit(bdl.grad(function(e)
    local w = bdl.tensor{1., 2., 3., 4., 5.}
    return bdl.for_loop(function(k, c) return (e[k] * c):sum() end, at, w):sum()
  end))
  t.eq(g(E):totable(), {{2, 2}, {5, 5}, {8, 8}, {0, 0}})
end)

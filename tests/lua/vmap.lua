-- Functions over lanes: arguments, States, Nodes, generators, nesting; map; modules that are mapped.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local function shape(x) return table.move(x.shape, 1, x.ndim, 1, {}) end

t.test("axes of arguments and results: positions, from the end, shared, trees", function()
  local x, y = bdl.arange(6.):reshape(2, 3), bdl.tensor{10., 20.}
  t.eq(bdl.vmap(function(a, b) return a:sum() + b end)(x, y), {13, 32})
  t.eq(bdl.vmap(function(a) return a:sum() end, {in_axes = 2})(x), {3, 5, 7})
  t.eq(bdl.vmap(function(a) return a:sum() end, {in_axes = -1})(x), {3, 5, 7})
  t.eq(bdl.vmap(function(a, b) return a * b end, {in_axes = {2, bdl.none}, out_axes = 2})(x, y), {{0, 10, 20}, {60, 80, 100}})
  t.eq(shape(bdl.vmap(function(a) return a:reshape(3, 1) end, {out_axes = -1})(x)), {3, 1, 2})
  local p = {w = x, b = {y, y}}
  local spec = {w = 2, b = {bdl.none, bdl.none}}
  local out = bdl.vmap(function(q) return {s = q.w + q.b[1], k = q.b[2]} end, {in_axes = {spec}, out_axes = {{s = 1, k = bdl.none}}})(p)
  t.eq(out.s, {{10, 23}, {11, 24}, {12, 25}})
  t.eq(out.k, {10, 20})
  t.eq(shape(bdl.vmap(function(a) return a, bdl.tensor(1.) end, {out_axes = {1, 1}})(x)), {2, 3})
  local _, repeated = bdl.vmap(function(a) return a, bdl.tensor(1.) end)(x)
  t.eq(repeated, {1, 1})
end)

t.test("keyword arguments are a table that is mapped leaf by leaf", function()
  local f = bdl.vmap(function(x, opts) return x * opts.gain + opts.shift end)
  t.eq(f(bdl.tensor{1., 2.}, {gain = bdl.tensor{3., 4.}, shift = bdl.tensor{10., 20.}}), {13, 28})
end)

t.test("sizes and axes that do not fit name what has them", function()
  local f = function(a) return a end
  t.raises("ValueError", "Inconsistent batch sizes: argument 1 has 2, argument 2 has 3", bdl.vmap(function(a, b) return a + b end), bdl.ones(2), bdl.ones(3))
  t.raises("ValueError", "nothing is mapped", bdl.vmap(f, {in_axes = bdl.none}), bdl.ones(2))
  t.raises("ValueError", "axis_size is 3, but argument 1 has 2", bdl.vmap(f, {axis_size = 3}), bdl.ones(2))
  t.raises("ValueError", "Python's axis 0 is axis 1", bdl.vmap(f, {in_axes = 0}), bdl.ones(2))
  t.raises("ValueError", "argument 1 has no axis 2", bdl.vmap(f, {in_axes = 2}), bdl.ones(2))
  t.raises("ValueError", "argument 1 has no axis 1", bdl.vmap(f), 3.0)
  t.raises("ValueError", "2 axes for 1 arguments", bdl.vmap(f, {in_axes = {1, 1}}), bdl.ones(2))
  t.raises("ValueError", "no axis for 'b'", bdl.vmap(f, {in_axes = {{a = 1}}}), {a = bdl.ones(2), b = bdl.ones(2)})
  t.raises("ValueError", "an axis for 'c'", bdl.vmap(f, {in_axes = {{a = 1, c = 1}}}), {a = bdl.ones(2)})
  t.raises("ValueError", "result 1 differs between lanes", bdl.vmap(f, {out_axes = bdl.none}), bdl.ones(2))
  t.raises("ValueError", "axis_size is a whole number", bdl.vmap(function() return 1. end, {axis_size = 0}))
  t.raises("TypeError", "did you mean 'in_axes'", bdl.vmap, f, {in_axis = 1})
  t.raises("TypeError", "function", bdl.vmap, 3)
  t.eq(bdl.vmap(function() return bdl.tensor(2.) end, {axis_size = 3})(), {2, 2, 2})
end)

t.test("States: declared ones have lanes, others are shared", function()
  local a, b = bdl.State(bdl.tensor{1., 2., 3.}), bdl.State(bdl.tensor(0.))
  local seen
  t.eq(bdl.vmap(function() seen = {a.shape, a.value.ndim}; return a.value * 2 end, {in_states = a})(), {2, 4, 6})
  t.eq({#seen[1], seen[2]}, {0, 0})
  t.eq(bdl.vmap(function(x) return x + a.value:sum() end)(bdl.tensor{1., 2.}), {7, 8})
  bdl.vmap(function(x) a.value = a.value + x end, {in_states = {s = a}})(bdl.tensor{1., 1., 1.})
  t.eq(a.value, {2, 3, 4})
  bdl.vmap(function(x) b.value = b.value + 1 end)(bdl.ones(3))
  t.eq(b.value:item(), 1)
  bdl.vmap(function(x) b.value = b.value + x end, {out_states = b})(bdl.tensor{1., 2., 3.})
  t.eq(b.value, {2, 3, 4})
end)

t.test("States by axis, also of trees and from the end", function()
  local s = bdl.State{x = bdl.arange(6.):reshape(2, 3), y = bdl.arange(3.)}
  bdl.vmap(function(k) s.value = {x = s.value.x * k, y = s.value.y + k} end, {in_states = {[-1] = {s}}})(bdl.tensor{1., 10., 100.})
  t.eq(s.value.x, {{0, 10, 200}, {3, 40, 500}})
  t.eq(s.value.y, {1, 11, 102})
  local q = bdl.State(bdl.ones(2))
  t.raises("ValueError", "mixture", bdl.vmap(function() end, {in_states = {[1] = {s}, q = q}}))
  t.raises("TypeError", "not a Tensor", bdl.vmap(function() end, {in_states = bdl.ones(2)}))
  t.raises("ValueError", "has no axis 2", bdl.vmap(function() end, {in_states = {[2] = {q}}}))
  t.raises("ValueError", "the State 'q'.* has no axis 3", bdl.vmap(function(x) q.value = q.value * x end, {out_states = {[3] = {q}}}), bdl.ones(2))
end)

t.test("what is not declared may not get lanes; nothing changes then", function()
  local s, n = bdl.State(bdl.zeros(2), {name = "b"}), bdl.State(0)
  local function f(x)
    n.value = n.value + 1
    s.value = s.value + x
  end
  local e = t.raises("BatchAxisError", "State 'b' .*axis 1, size 3", bdl.vmap(f), bdl.ones(3, 2))
  t.ok(e.line > 0 and e.file:find "vmap.lua", "the line of the write")
  t.ok(tostring(e.hint):find "out_states", tostring(e.hint))
  t.eq({s.value:totable(), n.value:item()}, {{0, 0}, 0})
  local net = nn.Linear(1, 1)
  t.raises("BatchAxisError", "State 'net.weight'", bdl.vmap(function(x) net.weight.value = {weight = x:reshape(1, 1), bias = x:reshape(1)} end), bdl.ones(3))
  t.raises("BatchAxisError", "axis 1 in in_states, axis 2 in out_states", bdl.vmap(f, {in_states = s, out_states = {[2] = {s}}}), bdl.ones(3, 2))
end)

t.test("a constructor makes one Node with lanes", function()
  local create = bdl.vmap(function(key)
    bdl.random.set_key(key)
    return nn.Linear(2, 3)
  end)
  local m = create(bdl.random.split_key(5))
  t.eq(shape(m.weight.value.weight), {5, 2, 3})
  t.ok((m.weight.value.weight[1] - m.weight.value.weight[2]):abs():max():item() > 0, "lanes differ")
  t.eq(shape(bdl.vmap(function(l, x) return l(x) end)(m, bdl.ones(5, 2))), {5, 3})
  local pair = bdl.vmap(function(x) return {net = nn.Linear(1, 1), y = x} end)(bdl.ones(2))
  t.eq({shape(pair.net.weight.value.bias), pair.y}, {{2, 1}, {1, 1}})
  local compiled = bdl.jit(function(keys) return create(keys).weight.value.bias:sum() end)
  t.eq(compiled(bdl.random.split_key(4)):item(), 0)
end)

t.test("States made inside and not returned are gone", function()
  local kept
  bdl.vmap(function(x) kept = bdl.State(x) end)(bdl.ones(2))
  t.raises("TraceContextError", "finished trace", function() return kept.value end)
end)

t.test("States of lanes of lanes; States that nobody holds", function()
  local s = bdl.State(bdl.arange(6.):reshape(2, 3))
  local inner = bdl.vmap(function(x)
    local c = bdl.State(x)
    c = nil
    collectgarbage()
    s.value = s.value * x
    return s.value
  end, {in_states = s})
  local outer = bdl.vmap(inner, {in_states = s})
  t.eq(outer(bdl.ones(2, 3) * 2), {{0, 2, 4}, {6, 8, 10}})
  t.eq(s.value, {{0, 2, 4}, {6, 8, 10}})
  t.eq(bdl.jit(outer)(bdl.ones(2, 3)), {{0, 2, 4}, {6, 8, 10}})
end)

t.test("a State that grows", function()
  local s = bdl.State(bdl.zeros(2))
  local grow = bdl.vmap(function(x) s.value = s.value + x end, {out_states = s})
  local f = bdl.jit(function(x)
    grow(x)
    return s.value:sum()
  end)
  t.eq(f(bdl.tensor{1., 2., 3.}):item(), 12)
  t.eq(s.value, {{1, 1}, {2, 2}, {3, 3}})
  s.value = bdl.zeros(2)
  t.raises(nil, "State", bdl.for_loop, function(x) grow(x + bdl.ones(3)) end, bdl.arange(4.))
  t.eq(s.value, {0, 0})
end)

t.test("a Node as argument gives its States and takes back what is written", function()
  local Counter = nn.Module:extend "Counter"
  function Counter:__init(n) self.n, self.k = bdl.State(bdl.zeros(n)), bdl.State(bdl.tensor(1.), {tag = "shared"}) end
  function Counter:update(x) self.n.value = self.n.value + x * self.k.value; return self.n.value end
  local c = Counter(3)
  local axes = bdl.augment.StateAxes{shared = bdl.none, [bdl.rest] = 1}
  t.eq(bdl.vmap(function(m, x) return m(x) end, {in_axes = {axes, 1}})(c, bdl.tensor{1., 2., 3.}), {1, 2, 3})
  t.eq({c.n.value:totable(), c.k.value:item()}, {{1, 2, 3}, 1})
  t.raises("ValueError", "no filter takes", bdl.vmap(function(m) return m(1.) end, {in_axes = {bdl.augment.StateAxes{shared = bdl.none}}}), c)
  t.raises("ValueError", "has no axis 1", bdl.vmap(function(m) return m(1.) end), c)
end)

t.test("States made inside by tag, into a Node from outside", function()
  local net = nn.LIF(3)
  local axes = bdl.augment.StateAxes{new = 1, [bdl.rest] = bdl.none}
  net = bdl.vmap(function()
    local _ <close> = bdl.catch_new_states "new"
    nn.init_all_states(net)
    return net
  end, {out_axes = axes, axis_size = 4})()
  t.eq(shape(net.V.value), {4, 3})
  local spikes = bdl.vmap(function(m, x)
    local _ <close> = bdl.environ.context{dt = 0.1 * u.ms}
    return m(x)
  end, {in_axes = {axes, 1}})(net, bdl.ones(4, 3) * u.mA)
  t.eq(shape(spikes), {4, 3})
end)

t.test("vmap_new_states: all that is made has lanes, but what says no", function()
  local a, b, c
  bdl.vmap_new_states(function()
    a = bdl.State(bdl.random.rand(2))
    b = bdl.NonBatchState(bdl.zeros(2))
    c = bdl.State(bdl.zeros(1), {tag = "INIT_NO_BATCHING"})
  end, {axis_size = 3, state_tag = "mine"})()
  t.eq({shape(a.value), shape(b.value), shape(c.value)}, {{3, 2}, {2}, {1}})
  t.ok(a.tag.mine and b.tag.mine)
  t.raises("ValueError", "in_states", bdl.vmap_new_states, function() end, {in_states = a})
  t.raises("ValueError", "axis_size", bdl.vmap_new_states(function() a = bdl.State(1.) end, {axis_size = 0}))
end)

t.test("every lane draws from its own key; the generator keeps one of n + 1", function()
  local rng = bdl.random.RandomState(7)
  local keys = bdl.random.split(rng.value, 4)
  local x = bdl.vmap(function() return rng:rand(2) end, {axis_size = 3})()
  t.eq(rng.value:totable(), keys[1]:totable())
  local one = bdl.random.RandomState(keys[2])
  t.eq(x[1]:totable(), one:rand(2):totable())
  t.ok((x[1] - x[2]):abs():max():item() > 0)
  local again = bdl.random.RandomState(7)
  t.eq(bdl.jit(bdl.vmap(function() return again:rand(2) end, {axis_size = 3}))():totable(), x:totable())
end)

t.test("lanes of lanes, gradients of lanes, lanes of gradients, compiled", function()
  local w = bdl.ParamState(bdl.tensor{1., 2.})
  local A = bdl.arange(12.):reshape(3, 2, 2)
  local function loss(x) return (x:matmul(w.value)):sin():sum() end
  local each = bdl.vmap(bdl.grad(loss, w))(A)
  local total = bdl.grad(function(x) return bdl.vmap(loss)(x):sum() end, w)(A)
  t.close(each:sum{axis = 1}, total:totable(), 1e-5)
  t.close(bdl.jit(bdl.vmap(bdl.grad(loss, w)))(A), each:totable())
  t.close(bdl.jit(bdl.grad(function(x) return bdl.vmap(loss)(x):sum() end, w))(A), total:totable(), 1e-5)
  t.close(bdl.vmap(bdl.vmap(function(r) return (r * w.value):sum() end))(A), A:matmul(w.value):totable())
  local h = bdl.hessian(function(x) return bdl.vmap(loss)(x):sum() end, w)(A)
  t.eq(shape(h), {2, 2})
  t.close(h, bdl.vmap(bdl.hessian(loss, w))(A):sum{axis = 1}:totable(), 1e-4, 1e-5)
end)

t.test("loops, branches and States inside lanes", function()
  local s = bdl.State(bdl.zeros(3))
  local run = bdl.vmap(function(x)
    bdl.for_loop(function(k)
      s.value = s.value + bdl.cond((x + k):gt(3), function() return x end, function() return -x end)
    end, bdl.arange(4.))
    return bdl.while_loop(function(v) return v:lt(10) end, function(v) return v * 2 end, x)
  end, {in_states = s})
  t.eq(run(bdl.tensor{1., 2., 3.}), {16, 16, 12})
  t.eq(s.value, {-2, 0, 6})
end)

t.test("matrix-vector products of lanes are one matrix product", function()
  local w = bdl.ones(4, 5)
  local text = tostring(bdl.make_ir(bdl.vmap(function(x) return w:matmul(x) end))(bdl.ones(7, 5)))
  t.eq(select(2, text:gsub(" dot", "")), 1, text)
  t.ok(not text:find "scan", text)
end)

t.test("map: one at a time, or in batches with a remainder", function()
  local xs = bdl.arange(14.):reshape(7, 2)
  local want = (xs * xs):sum{axis = 2}:totable()
  local n = bdl.State(0)
  t.eq(bdl.map(function(x) n.value = n.value + 1; return (x * x):sum() end, xs), want)
  t.eq(n.value:item(), 7)
  for _, size in ipairs{1, 3, 7, 100} do
    t.eq(bdl.map(function(x, y) return (x * y):sum() end, xs, xs, {batch_size = size}), want)
  end
  local p, q = bdl.map(function(x) return x[1], {a = x} end, xs, {batch_size = 2})
  t.eq({shape(p), shape(q.a)}, {{7}, {7, 2}})
  t.raises("ValueError", "may not write States", bdl.map, function(x) n.value = n.value + 1; return x end, xs, {batch_size = 2})
  t.raises("ValueError", "batch_size", bdl.map, function(x) return x end, xs, {batch_size = 0})
  t.raises("ValueError", "differ in length", bdl.map, function(x) return x end, xs, bdl.ones(3))
  t.raises("ValueError", "scalar", bdl.map, function(x) return x end, bdl.tensor(1.))
end)

t.test("vmap_init_all_states, Vmap and Map", function()
  local _ <close> = bdl.environ.context{dt = 0.1 * u.ms}
  local Net = nn.Module:extend "Net"
  function Net:__init() self.fc, self.lif = nn.Linear(2, 3), nn.LIF(3) end
  function Net:update(x) return self.lif(self.fc(x) * u.mA) end
  local x = bdl.ones(4, 2)

  local net = nn.vmap_init_all_states(Net(), {axis_size = 4, state_tag = "lane"})
  t.eq(shape(net.lif.V.value), {4, 3})
  t.eq(shape(nn.Vmap{net, vmap_states = "lane"}(x)), {4, 3})
  t.eq(shape(nn.Vmap(net, {vmap_states = {[1] = bdl.HiddenState}})(x)), {4, 3})
  t.raises("BatchAxisError", "State 'lif.V'", nn.Vmap(net, {vmap_states = bdl.none}), x)
  t.raises("ValueError", "axis_size", nn.vmap_init_all_states, Net())

  local map = nn.Map{Net(), 4}
  t.raises("ValueError", "before init_all_states", map, x)
  map:init_all_states()
  t.eq(shape(map(x)), {4, 3})
  t.eq(shape(map.module.lif.V.value), {4, 3})
  t.eq(shape(map:map("update")(x)), {4, 3})
  t.raises("ValueError", "no method 'nope'", map.map, map, "nope")
end)

t.test("unvmap: one value for all lanes, also of lanes of lanes", function()
  local x = bdl.tensor{{1., 5.}, {7., 2.}}
  t.eq({bdl.unvmap(x:gt(6)):item(), bdl.unvmap(x:gt(6), {op = "all"}):item(), bdl.unvmap(x, {op = "max"}):item()}, {true, false, 7})
  local f = function(op) return function(v) return bdl.unvmap(v, {op = op}) end end
  t.eq(bdl.vmap(f "max", {out_axes = bdl.none})(x):item(), 7)
  t.eq(bdl.jit(bdl.vmap(bdl.vmap(f "max", {out_axes = bdl.none}), {out_axes = bdl.none}))(x):item(), 7)
  t.eq(bdl.vmap(function(v) return bdl.where(bdl.unvmap(v:gt(6)), v, -v) end)(x), x:totable())
  t.eq(bdl.vmap(f "none")(x), x:totable())
  t.raises("ValueError", "op is", bdl.unvmap, x, {op = "sum"})
end)

t.test("a State that is replaced in a Node is seen through every transformation", function()
  local Net = nn.Module:extend "Net"
  function Net:__init() self.w = bdl.ParamState(bdl.tensor(2.)) end
  function Net:update(x) return x * self.w.value end
  local x = bdl.tensor{1., 2.}
  for _, make in ipairs{
    function(net) return bdl.vmap(net) end,
    function(net) return bdl.vmap(bdl.jit(net)) end,
    function(net) return bdl.vmap{in_axes = 1}(bdl.checkpoint(net)) end,
    function(net) return bdl.vmap(bdl.grad(function(v) return net(v)^2 / 2 / v end)) end,
    function(net) return bdl.vmap(bdl.hessian(function(v) return net(v) * v^2 / 6 end)) end,
  } do
    local net = Net()
    local f = bdl.jit(make(net))
    local first = f(x)
    net.w = bdl.ParamState(bdl.tensor(6.))
    local second = f(x)
    t.ok((second - first):abs():min():item() > 0.1, ("%s, then %s"):format(tostring(first), tostring(second)))
  end
end)

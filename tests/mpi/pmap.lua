-- pmap over several processes against vmap in each: mpirun -n 4 bdl run tests/lua/run.lua tests/mpi/pmap.lua
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local A, nn, u = bdl.augment, bdl.nn, bdl.units

local n = A.device_count()
local _, rank = core.world()

--- Lists of the leaves of the results of f(..).
local function results(f, ...)
  local out = {}
  for i, x in ipairs((core.flatten(table.pack(f(...))))) do out[i] = core.totable(core.mantissa(x)) end
  return out
end

--- The same from pmap and vmap.
local function agree(f, opts, ...)
  opts = opts or {}
  opts.axis_name = "lanes"
  bdl.random.seed(5)
  local want = results(A.vmap(f, opts), ...)
  bdl.random.seed(5)
  t.close(results(A.pmap(f, opts), ...), want, 1e-6)
end

local x = bdl.tensor(bdl.arange(3 * n)):reshape(n, 3):sin()
local y = bdl.tensor(bdl.arange(3 * n)):reshape(3, n):cos()

t.test("there are as many devices as processes", function()
  t.ok(n > 1)
  t.eq(A.pmap(function(v) return A.axis_index(), A.axis_size() + 0 * v end, {out_axes = {1, 1}})(bdl.zeros(n)), core.totable(bdl.arange(n)))
  t.raises("ValueError", ("pmap: %d lanes, but there are %d devices"):format(n + 1, n), A.pmap(function(v) return v end), bdl.zeros(n + 1))
end)

t.test("lanes along any axis, in and out", function()
  agree(function(a, b) return a * b, a:sum() end, {in_axes = {1, 2}, out_axes = {2, 1}}, x, y)
  agree(function(p, c) return {s = p.a * c, t = {p.b[1]}} end, {in_axes = {{a = 1, b = bdl.none}, bdl.none}}, {a = x, b = {y}}, bdl.tensor(2.))
  agree(function(a) return a * u.mV end, nil, x * u.ms)
end)

t.test("what goes between lanes", function()
  agree(function(v) return A.psum(v), A.pmean(v), A.pmax(v), A.pmin(v), A.all_gather(v), A.all_gather(v, {axis = -1}) end, nil, x)
  agree(function(v) return A.psum(v, "lanes"), A.psum(1) + A.axis_index() end, {out_axes = {bdl.none, 1}}, x)
  agree(function(v) return A.ppermute(v, {{1, 2}}) end, nil, x)
  local ring = {}
  for k = 1, n do ring[k] = {k, k % n + 1} end
  agree(function(v) return A.ppermute(v, ring), A.ppermute(v * 2, ring) end, nil, x)
end)

t.test("every dtype", function()
  for _, dtype in ipairs{"int32", "int64", "uint32", "float32", "float64"} do
    agree(function(v) return A.psum(v), A.pmax(v), A.all_gather(v), A.ppermute(v, {{1, 2}}) end, nil, bdl.arange(4 * n):reshape(n, 4):astype(dtype))
  end
  agree(function(v) return A.all_gather(v), A.ppermute(v, {{2, 1}}) end, nil, x:gt(0))
  agree(function(v) return A.psum(v), A.all_gather(v) end, nil, bdl.zeros(n, 0))
end)

t.test("large values", function()
  local big = bdl.random.rand(n, 300000)
  local total = A.pmap(function(v) return A.psum(v) end, {out_axes = bdl.none})(big)
  t.close(bdl.max(bdl.abs(total - big:sum{axis = 1})), 0, 0, 1e-5)
end)

t.test("in loops and branches that all lanes go, inside jit", function()
  local function f(v)
    local s = bdl.compile.for_loop(function(i) return A.psum(v * i) end, bdl.arange(3))
    local w = bdl.compile.while_loop(function(c) return A.pmax(c):max():lt(20) end, function(c) return c * 2 + A.psum(c) end, v:abs())
    local c = bdl.compile.cond(A.psum(v):sum():gt(0), function() return A.psum(v) end, function() return v end)
    return s, w, c
  end
  agree(f, nil, x)
  local compiled = bdl.compile.jit(A.pmap(f))
  t.close(results(compiled, x), results(A.vmap(f, {axis_name = "i"}), x), 1e-6)
  t.close(results(compiled, x * 2), results(A.vmap(f, {axis_name = "i"}), x * 2), 1e-6)
  t.raises("NotSupportedError", "where lanes go different ways", A.pmap(function(v)
    return bdl.compile.cond(v:gt(0), function() return A.psum(v) end, function() return v end)
  end), bdl.arange(n))
end)

t.test("one value for all lanes", function()
  agree(function(v) return A.unvmap(v:gt(0.9)), A.unvmap(v, {op = "max"}), A.unvmap(v:lt(2), {op = "all"}) end, nil, x)
  agree(A.vmap(function(v) return A.unvmap(v, {op = "max"}) + v end), nil, x)
end)

t.test("with vmap inside and around", function()
  local deep = bdl.random.rand(n, 2, 3)
  agree(A.vmap(function(v) return A.psum(v, "lanes") * v, A.all_gather(v, "lanes") end), nil, deep)
  local function both(map)
    return A.vmap(function(v) return map(function(w) return A.psum(w) * w, A.axis_index(), A.ppermute(w, {{1, 2}}), A.all_gather(w) end, {axis_name = "i"})(v) end)
  end
  t.close(results(both(A.pmap), deep:swapaxes(1, 2)), results(both(A.vmap), deep:swapaxes(1, 2)), 1e-6)
end)

t.test("derivatives inside and around", function()
  local function loss(v) return (A.psum(v^2) * v + A.pmax(v) + A.ppermute(v:sin(), {{1, 2}}) + A.all_gather(v):sum{axis = 1} * v):sum() end
  agree(function(v) return A.grad(loss)(v), A.grad(function(w) return (A.grad(loss)(w)^2):sum() end)(v) end, nil, x)
  local function around(map)
    return A.grad(function(v, w) return map(function(a) return loss(a * w) end, {axis_name = "i"})(v):sum() end, nil, {argnums = {1, 2}})
  end
  t.close(results(around(A.pmap), x, bdl.tensor{1., 2., 3.}), results(around(A.vmap), x, bdl.tensor{1., 2., 3.}), 1e-5)
  local function scanned(map)
    return A.grad(function(w)
      return map(function(a)
        return bdl.compile.for_loop(function(i) return A.psum((a * w * i):sin()):sum() end, bdl.arange(4)):sum()
      end, {axis_name = "i"})(x):sum()
    end)
  end
  t.close(results(scanned(A.pmap), bdl.tensor(0.5)), results(scanned(A.vmap), bdl.tensor(0.5)), 1e-5)
  local function tangents(map) return A.jvp(map(loss, {axis_name = "i"}), {x}, {y.T}) end
  t.close(results(tangents, A.pmap), results(tangents, A.vmap), 1e-5)
end)

t.test("lanes draw as those of vmap", function()
  agree(function(v) return bdl.random.normal({size = {3}}) + v, bdl.random.rand(2) end, nil, x)
  local next_of = {}
  for k, map in ipairs{A.pmap, A.vmap} do
    bdl.random.seed(9)
    map(function(v) return bdl.random.rand(2) + v end)(bdl.zeros(n))
    next_of[k] = core.totable(bdl.random.rand(3))
  end
  t.eq(next_of[1], next_of[2])
end)

t.test("States come out the same in all processes", function()
  local function run(map)
    local own = bdl.State(bdl.tensor(x), {name = "own"})
    local total, seen = bdl.State(bdl.zeros(3)), bdl.State(bdl.tensor(0.))
    local f = map(function(v)
      own.value = own.value + v
      total.value = A.psum(own.value)
    end, {in_states = own, axis_name = "i"})
    for _ = 1, 2 do f(bdl.arange(n) * 1.0) end
    map(function(v) seen.value = v + A.axis_index() end, {out_states = seen, axis_name = "i"})(bdl.ones(n))
    return own.value, total.value, seen.value
  end
  t.close(results(run, A.pmap), results(run, A.vmap))
  local s = bdl.State(bdl.zeros(3), {name = "s"})
  t.raises("BatchAxisError", "'s'.* not in out_states", A.pmap(function(v) s.value = s.value + v end), x)
end)

local Net = nn.Module:extend "Net"
function Net:__init() self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 1) end
function Net:__call(v) return self.second(self.first(v):tanh()) end

--- Losses of some steps of training; data: batches of examples.
local function train(step_of)
  bdl.random.seed(7)
  local model = Net()
  local weights = model:states(bdl.ParamState)
  local opt = bdl.optim.Adam(1e-2)
  opt:register_trainable_weights(weights)
  local function loss(a, b) return bdl.mean((model(a) - b)^2) end
  local step = bdl.compile.jit(step_of(loss, weights, opt))
  local input = bdl.random.normal({size = {n * 4, 3}})
  local target = (input:sum{axis = -1, keepdims = true}):sin()
  local losses = {}
  for k = 1, 20 do losses[k] = core.item(step(input, target)) end
  return losses
end

t.test("training on parts of the data has the losses of training on all of it", function()
  local alone = train(function(loss, weights, opt)
    return function(a, b)
      local grads, l = A.grad(loss, weights, {return_value = true})(a, b)
      opt:update(grads)
      return l
    end
  end)
  local together = train(function(loss, weights, opt)
    local step = A.pmap(function(a, b)
      local grads, l = A.grad(loss, weights, {return_value = true})(a, b)
      opt:update(A.pmean(grads))
      return A.pmean(l)
    end, {out_axes = bdl.none})
    return function(a, b) return step(a:reshape(n, 4, 3), b:reshape(n, 4, 1)) end
  end)
  t.close(together, alone, 1e-4)
  t.ok(alone[20] < 0.9 * alone[1], "it learns")
end)

t.test("a network of neurons, a lane each", function()
  agree(function(i)
    local _ <close> = bdl.environ.context{dt = 0.1 * u.ms}
    local cell = nn.LIF(4, {tau = 5 * u.ms})
    cell:init_state()
    return bdl.compile.for_loop(function(k) return cell(i * (1 + k) * u.mA) end, bdl.arange(5))
  end, nil, bdl.random.rand(n, 4))
end)

t.test("all processes come to the end together", function()
  t.eq(A.pmap(function(v) return A.psum(v) end, {out_axes = bdl.none})(bdl.ones(n)), n)
  t.ok(rank < n)
end)

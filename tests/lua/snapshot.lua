--- Snapshots: a net that goes back to one runs on with the same bits, as often as it does.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

bdl.environ.set{dt = 0.1*u.ms}

--- Recurrent neurons whose spikes come 1.5 ms late, with noise; and what monitors them.
local function network(n)
  bdl.random.seed(3)
  local net = nn.Module()
  net.N = nn.LIFRef{n, tau = 20*u.ms, tau_ref = 5*u.ms, V_rest = -60*u.mV, V_th = -50*u.mV, V_reset = -60*u.mV, spk_reset = "hard",
                    V_initializer = bdl.init.Normal{-55, 2, unit = u.mV}}
  net.late = net.N:output_delay(1.5*u.ms)
  net.proj = nn.DeltaProj{comm = nn.Linear{n, n, w_init = bdl.init.Normal{0, 3, unit = u.mV}}, post = net.N}
  nn.init_all_states(net)
  local spikes, V = bdl.monitor.SpikeMonitor(net.N), bdl.monitor.StateMonitor(net.N, "V")
  local sim = bdl.Simulation(function()
    net.proj(net.late())
    net.N((12 + 3*bdl.random.randn(n)) * u.mA)
  end, {monitors = {spikes, V}})
  return sim, net, spikes, V
end

local function recorded(spikes, V) return {i = spikes.i:totable(), step = spikes.step:totable(), V = V.V:totable()} end

t.test("a delayed, noisy net runs on with the same bits", function()
  local sim, _, spikes, V = network(20)
  sim:run(50*u.ms)
  local before = bdl.snapshot(sim)
  local n = spikes.n
  sim:run(50*u.ms)
  local want = recorded(spikes, V)
  t.ok(#want.i > n, "nothing was in flight")
  for _ = 1, 2 do
    before:restore()
    t.eq({sim.i, spikes.n, V.V.shape[1]}, {500, n, 500})
    sim:run(20*u.ms)
    sim:run(30*u.ms)
    t.eq(recorded(spikes, V), want)
  end
end)

t.test("snapshots of models need no simulation", function()
  local sim, net, spikes, V = network(10)
  sim:run(300)
  local before = bdl.snapshot(net)
  sim:run(200)
  local want = recorded(spikes, V)
  before:restore()
  spikes:clear()
  V:clear()
  sim:run(200)
  local got = recorded(spikes, V)
  t.eq(got.V, table.move(want.V, 301, 500, 1, {}))
end)

t.test("what a snapshot holds does not change with the States", function()
  local a, b = bdl.State(bdl.zeros(3)), bdl.State({x = 1., y = bdl.ones(2)})
  local first = bdl.snapshot({a, b})
  local step = bdl.jit(function() a.value = a.value + 1; b.value = {x = b.value.x * 2, y = b.value.y} end)
  step()
  local second = bdl.snapshot(a, b)
  for _ = 1, 3 do step() end
  t.eq(a.value, {4, 4, 4})
  second:restore()
  t.eq(a.value, {1, 1, 1})
  t.close(b.value.x, 2)
  step()
  first:restore()
  t.eq(a.value, {0, 0, 0})
  second:restore()
  t.eq(a.value, {1, 1, 1})
end)

t.test("the generator goes back too", function()
  local s = bdl.State(1.)
  local before = bdl.snapshot(s)
  local x = bdl.random.rand(3):totable()
  before:restore()
  t.eq(bdl.random.rand(3), x)
end)

t.test("inputs that wait for their neuron are kept", function()
  local N = nn.LIF{2, tau = 10*u.ms, V_th = 100*u.mV}
  N:init_state()
  N:add_delta_input("kick", bdl.tensor{1., 2.} * u.mV)
  local before = bdl.snapshot(N)
  local function run()
    N(bdl.zeros(2) * u.mA)
    return (N.V.value / u.mV):totable()
  end
  local once, without = run(), run()
  t.ok(once[2] ~= without[2])
  before:restore()
  t.eq(run(), once)
end)

t.test("a State that was replaced is found by its path", function()
  local net = nn.Module()
  net.x = bdl.ShortTermState(bdl.zeros(2))
  local before = bdl.snapshot(net)
  net.x = bdl.ShortTermState(bdl.ones(2))
  before:restore()
  t.eq(net.x.value, {0, 0})
  net.x = nil
  t.raises("KeyError", "the model has lost a State", before.restore, before)
end)

t.test("a restore that fails changes nothing", function()
  local net = nn.Module()
  net.x = bdl.ShortTermState(bdl.zeros(2))
  net.y = bdl.ShortTermState(bdl.zeros(2))
  local before = bdl.snapshot(net)
  net.x.value = bdl.ones(2)
  net.y = bdl.ShortTermState({z = bdl.ones(3)})
  t.raises(nil, nil, before.restore, before)
  t.eq(net.x.value, {1, 1})
end)

t.test("monitors that came later are emptied", function()
  local x = bdl.State(0)
  local m = bdl.monitor.StateMonitor(x, "x")
  local sim = bdl.Simulation(function() x.value = x.value + 1 end, {monitors = {m}})
  local before = bdl.snapshot(sim)
  sim:run(3)
  before:restore()
  sim:run(2)
  t.eq(m.x, {1, 2})
  t.eq(m.step, {0, 1})
end)

t.test("bad input", function()
  t.raises("TypeError", "a Simulation, a model, a State or a list of them is needed, not a number", bdl.snapshot, 3)
  t.raises("TypeError", "of what", bdl.snapshot)
  local s = bdl.State(1.)
  t.raises("TraceContextError", "no values to keep", bdl.jit(function() bdl.snapshot(s) end))
  local before = bdl.snapshot(s)
  t.raises("TraceContextError", "not inside of compiled code", bdl.jit(function() before:restore() end))
end)

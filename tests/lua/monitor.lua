--- Simulations and their monitors: what is recorded equals what a loop returns.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units
local StateMonitor, SpikeMonitor, RateMonitor = bdl.monitor.StateMonitor, bdl.monitor.SpikeMonitor, bdl.monitor.RateMonitor

bdl.environ.set{dt = 0.1*u.ms}

local function neurons(n, batch)
  bdl.random.seed(1)
  local N = nn.LIFRef{n, tau = 20*u.ms, tau_ref = 5*u.ms, V_rest = -60*u.mV, V_th = -50*u.mV, V_reset = -60*u.mV, spk_reset = "hard",
                      V_initializer = bdl.init.Normal{-55, 2, unit = u.mV}}
  N:init_state(batch)
  return N, (12 + 8*bdl.random.rand(n)) * u.mA
end

--- Steps and ids of a raster [steps, n], in order.
local function events(raster)
  local step, id = {}, {}
  for i, row in ipairs(raster:totable()) do
    for k, s in ipairs(row) do
      if s == true or s ~= false and s > 0 then step[#step + 1], id[#id + 1] = i - 1, k - 1 end
    end
  end
  return step, id
end

t.test("what monitors record is what a loop returns", function()
  local N, I = neurons(30)
  local spikes, V = bdl.for_loop(function() return N(I), N.V.value end, {length = 700})
  N, I = neurons(30)
  local V_all, V_some = StateMonitor(N, "V"), StateMonitor{N, {"V"}, record = {{2, 10, 4}}, every = 7}
  local one, all, rate = StateMonitor(N.V, "v", {record = -1}), SpikeMonitor(N), RateMonitor(N)
  local sim = bdl.Simulation(function() return N(I) end, {monitors = {V_all, V_some, one, all, rate}})
  sim:run(70*u.ms)
  t.eq(sim.i, 700)
  t.close(sim.t / u.ms, 70)
  t.eq(V_all.V, V)
  t.eq(tostring(V_all.V.unit), "mV")
  t.eq(V_some.V, V[{{1, 700, 7}, {2, 10, 4}}])
  t.eq(one.v, V[{{}, -1}])
  local step, id = events(spikes)
  t.ok(#step > 50)
  t.eq(all.step, step)
  t.eq(all.i, id)
  t.eq(all.count, spikes:sum{axis = 1})
  t.eq(rate.count, spikes:sum{axis = 2})
  t.close(rate.rate / u.Hz, spikes:mean{axis = 2} / 1e-4, 1e-5)
  t.eq(V_some.step[{{1, 3}}], {0, 7, 14})
  t.close(V_some.t[{{1, 3}}] / u.ms, {0, 0.7, 1.4}, 1e-14, 0, "times are not those of a float32")
end)

t.test("runs go on, in chunks of any size", function()
  local n = 5000                                 -- rows of 20 kB and 5 kB: a chunk has 40 steps
  local N, I = neurons(n)
  local spikes, V = bdl.for_loop(function() return N(I):gt(0), N.V.value[{{1, 3}}] end, {length = 150})
  N, I = neurons(n)
  local full, part, all = StateMonitor(N, "V"), StateMonitor{N, "V", record = {{1, 3}}, every = 3}, SpikeMonitor(N)
  local sim = bdl.Simulation(function() N(I) end, {monitors = {full, part, all}})
  for _, k in ipairs{1, 45, 0, 2, 61, 41} do sim:run(k) end
  t.eq(full.V[{{}, {1, 3}}], V)
  t.eq(part.V, V[{{1, 150, 3}}])
  local step, id = events(spikes)
  t.eq(all.step, step)
  t.eq(all.i, id)
  t.eq(full.step[-1]:item(), 149)
end)

t.test("step by step records the same", function()
  local N, I = neurons(4)
  local function run()
    local V, S = StateMonitor(N, "V", {every = 2}), SpikeMonitor(N)
    bdl.run(function() N(I) end, 300, {monitors = {V, S}})
    return V.V:totable(), S.i:totable(), S.step:totable()
  end
  local start = bdl.snapshot(N)
  local V, i, step = run()
  start:restore()
  local _ <close> = bdl.compile.disable_jit(true)
  local V2, i2, step2 = run()
  t.close(V2, V)
  t.eq(i2, i)
  t.eq(step2, step)
end)

t.test("the step sees its number and its time", function()
  local m = StateMonitor(function(i, time) return bdl.stack{i:astype "float32", time / u.ms} end, "x")
  bdl.run(function(i) return i, bdl.environ.get "t" end, 3, {monitors = {m}})
  t.close(m.x, {{0, 0}, {1, 0.1}, {2, 0.2}})
end)

t.test("ids of a part of a population are those of the whole", function()
  local N, I = neurons(12)
  local all, part = SpikeMonitor(N), SpikeMonitor(N, {record = bdl.tensor{7, 2}})
  bdl.run(function() N(I) end, 500, {monitors = {all, part}})
  t.eq(part.count[3]:item(), all.count[3]:item())
  t.eq(part.count:sum():item(), all.count[3]:item() + all.count[8]:item())
  local trains, some = all:spike_trains(), part:spike_trains()
  t.eq(#trains, 12)
  t.eq(trains[3], some[3])
  t.eq(trains[8] / u.ms, (all.t / u.ms)[all.i:eq(7)])
  t.ok(some[1] == nil and some[8].size > 0)
end)

t.test("events of a batch have lanes", function()
  local N, I = neurons(4, 3)
  local all, part, rate = SpikeMonitor(N), SpikeMonitor(N, {record = {{2, 3}}}), RateMonitor(N)
  local dense = StateMonitor(function(s) return s:gt(0) end, "s")
  bdl.run(function() return N(I) end, 400, {monitors = {all, part, rate, dense}})
  local count = dense.s:astype "int32":sum{axis = 1}
  t.eq(all.count, count)
  t.eq(all.count.shape, {3, 4})
  t.eq(part.count[{{}, {2, 3}}], count[{{}, {2, 3}}])
  t.eq(part.count[{{}, 1}], {0, 0, 0})
  t.eq(rate.count:sum{axis = 1}, count:sum{axis = -1})
  t.eq(rate.rate.shape, {400, 3})
  t.eq(#all:spike_trains(2)[1].shape, 1)
  t.eq(all:spike_trains(3)[4].size, count[{3, 4}]:item())
  local lanes = {0, 0, 0}
  for _, lane in ipairs(all.lane:totable()) do lanes[lane + 1] = lanes[lane + 1] + 1 end
  t.eq(lanes, count:sum{axis = -1})
  t.raises("ValueError", "which of 3 lanes", all.spike_trains, all)
  t.raises("IndexError", "lane 4 of 3", all.spike_trains, all, 4)
end)

t.test("a mapped step is recorded with its lanes", function()
  local x = bdl.ShortTermState(bdl.zeros(2, 3))
  local step = bdl.vmap(function(d) x.value = x.value + d; return x.value:gt(2) end, {in_states = x, out_states = x})
  local S = SpikeMonitor(function(s) return s end, {lanes = 1})
  local X = StateMonitor(x, "x")
  bdl.run(function() return step(bdl.tensor{1., 2.}) end, 3, {monitors = {S, X}})
  t.eq(X.x[{{}, {}, 1}], {{1, 2}, {2, 4}, {3, 6}})
  t.eq(S.count, {{1, 1, 1}, {2, 2, 2}})
  t.eq(S.lane[{{1, 3}}], {1, 1, 1})
end)

t.test("rates are smoothed over a window", function()
  local S = bdl.State(bdl.tensor{0., 0.})
  local rate = RateMonitor(S)
  bdl.run(function(i) S.value = bdl.where(i:eq(4), bdl.ones(2), bdl.zeros(2)) end, 9, {monitors = {rate}})
  t.close(rate.rate / u.Hz, {0, 0, 0, 0, 1e4, 0, 0, 0, 0}, 1e-5)
  t.close(rate:smooth_rate{width = 0.3*u.ms, window = "flat"} / u.Hz, {0, 0, 0, 1e4/3, 1e4/3, 1e4/3, 0, 0, 0}, 1e-5)
  local smooth = (rate:smooth_rate{width = 0.1*u.ms} / u.Hz):totable()
  t.close(smooth[4] / smooth[5], math.exp(-0.5), 1e-3)         -- the window is cut where the record ends
  t.raises("ValueError", "'gaussian' or 'flat'", rate.smooth_rate, rate, {width = 1*u.ms, window = "box"})
  t.raises("ValueError", "width is a time", rate.smooth_rate, rate, {width = 1*u.mV})
end)

t.test("a file has what memory would have", function()
  local path = os.tmpname()
  os.remove(path)
  path = path .. ".npz"
  local N, I = neurons(4000)
  local start = bdl.snapshot(N)
  local S, V, R = SpikeMonitor(N), StateMonitor{N, "V", record = {{1, 5}}, every = 4}, RateMonitor(N)
  local sim = bdl.Simulation(function() N(I) end, {monitors = {spikes = S, trace = V, rate = R}})
  sim:run(300)
  local want = {S.i:totable(), S.step:totable(), (V.V / u.mV):totable(), V.step:totable(), R.count:totable()}
  start:restore()
  sim = bdl.Simulation(function() N(I) end, {monitors = {spikes = SpikeMonitor(N), trace = StateMonitor{N, "V", record = {{1, 5}}, every = 4},
                                                         rate = RateMonitor(N)}})
  sim:run(300, {to = path})
  local f = bdl.data.load(path)
  os.remove(path)
  for k, name in ipairs{"spikes.i", "spikes.step", "trace.V (mV)", "trace.step", "rate.count"} do t.eq(f[name], want[k], name) end
  t.close(f["dt (ms)"], 0.1)
end)

t.test("a run to a file leaves the memory alone, and after an error the file has what there was", function()
  local path = os.tmpname()
  os.remove(path)
  path = path .. ".npz"
  local x = bdl.State(0)
  local m = StateMonitor(x, "x")
  local sim = bdl.Simulation(function()
    x.value = x.value + 1
    bdl.error_if(x.value:gt(70005), "too far")
  end, {monitors = {m}})
  sim:run(2)
  t.raises("ValueError", "too far", sim.run, sim, 100000, {to = path})
  t.eq(m.x, {1, 2})
  local f = bdl.data.load(path)
  t.eq(f["1.x"].shape[1], 65536)                 -- the first chunk
  t.eq(f["1.step"][-1]:item(), 65537)
  t.eq(sim.i, 65538)
  sim:run(1)
  t.eq(m.x, {1, 2, 65539})
  t.raises("ValueError", "ends neither in .npz nor in .npy", sim.run, sim, 1, {to = "run.mat"})
  t.raises("IOError", "cannot write /nowhere/run.npz", sim.run, sim, 1, {to = "/nowhere/run.npz"})
  sim:run(1)
  t.eq(m.x, {1, 2, 65539, 65540})
  os.remove(path)
end)

t.test("memory is known before a run", function()
  local N, I = neurons(10)
  local V, S = StateMonitor(N, "V", {every = 10}), SpikeMonitor(N, {most = 1000})
  local sim = bdl.Simulation(function() N(I) end, {monitors = {V, S}})
  t.eq(sim:bytes(100*u.ms), 100 * (4*10 + 8) + 12 * 1000)
  sim:run(100*u.ms)
  t.eq(V.V.shape, {100, 10})
  t.eq(sim:bytes(0), 0)
end)

t.test("more events than allowed are an error that keeps the steps before", function()
  local S = SpikeMonitor(function() return bdl.ones(3) end, {most = 10})
  local sim = bdl.Simulation(function() end, {monitors = {S}})
  t.raises("BudgetError", "more than 10 events at step 3; it keeps those of the steps before", sim.run, sim, 100)
  t.eq(S.n, 9)
  t.eq(S.step[-1]:item(), 2)
  t.raises("BudgetError", "more than 10 events", sim.run, sim, 1)
  S:clear()
  sim:run(2)
  t.eq(S.n, 6)
end)

t.test("an error in a step leaves everything as before its chunk", function()
  local x = bdl.State(0)
  local m = StateMonitor(x, "x")
  local sim = bdl.Simulation(function()
    x.value = x.value + 1
    bdl.error_if(x.value:gt(7), "x is {x}", {x = x.value})
  end, {monitors = {m}})
  sim:run(3)
  t.raises("ValueError", "x is 8", sim.run, sim, 10)
  t.eq({sim.i, x.value:item(), m.x.shape[1]}, {3, 3, 3})
  sim:run(4)
  t.eq(m.x, {1, 2, 3, 4, 5, 6, 7})
end)

t.test("States that are replaced are seen", function()
  local net = nn.Module()
  net.x = bdl.ShortTermState(bdl.zeros(2))
  local m = StateMonitor(net, "x")
  local sim = bdl.Simulation(function() net.x.value = net.x.value + 1 end, {monitors = {m}})
  sim:run(2)
  net.x = bdl.ShortTermState(bdl.full({2}, 10.))
  sim:run(1)
  t.eq(m.x, {{1, 1}, {2, 2}, {11, 11}})
  net.x = bdl.ShortTermState(bdl.zeros(3))
  t.raises("ShapeError", "records float32%[2%], and the value is float32%[3%] now", sim.run, sim, 1)
end)

t.test("what cannot be recorded is refused", function()
  local N, I = neurons(3)
  t.raises("TypeError", "a source is a module, a State or a function, not a number", SpikeMonitor, 3)
  t.raises("ValueError", "which States of LIFRef", StateMonitor, N)
  t.raises("ValueError", "every is a whole number from 1, not 0", StateMonitor, N, "V", {every = 0})
  t.raises("ValueError", "most is a whole number", SpikeMonitor, N, {most = 0.5})
  t.raises("ValueError", "lanes are a number of axes", SpikeMonitor, N, {lanes = -1})
  t.raises("ValueError", "the name 't' is taken", StateMonitor, N.V, "t")
  t.raises("TypeError", "no argument 'evry'", StateMonitor, N, "V", {evry = 2})
  local function run(m, step) return bdl.run(step or function() N(I) end, 5, {monitors = {m}}) end
  t.raises("KeyError", "LIFRef has no State 'v'", run, StateMonitor(N, "v"))
  t.raises("IndexError", "out of range", run, StateMonitor(N, "V", {record = 4}))
  t.raises("TypeError", "the source gave a string", run, StateMonitor(function() return "x" end))
  t.raises("ValueError", "LIFRef was called 2 times in the step", run, SpikeMonitor(N), function() N(I); N(I) end)
  t.raises("ValueError", "LIFRef was called 0 times in the step", run, RateMonitor(N), function() end)
  t.raises("ShapeError", "2 axes of lanes", run, SpikeMonitor(N.V, {lanes = 2}))
  local m = StateMonitor(N, "V")
  t.raises("ValueError", "nothing was recorded yet", function() return m.V end)
  run(m)
  t.raises("KeyError", "no field 'W'.*have V, step, t", function() return m.W end)
  t.raises("ValueError", "it records another simulation", run, m)
end)

t.test("what cannot be run is refused", function()
  local sim = bdl.Simulation(function() end)
  t.raises("TypeError", "the step is a function of its number, not a Module", bdl.Simulation, nn.Module())
  t.raises("TypeError", "a monitor is needed, not a number", bdl.Simulation, function() end, {monitors = {1}})
  t.raises("ValueError", "no whole number of steps", sim.run, sim, 1.05*u.ms)
  t.raises("UnitMismatchError", "a duration in <mV>", sim.run, sim, 1*u.mV)
  t.raises("TypeError", "a duration is a time or a whole number of steps, not a string", sim.run, sim, "1 ms")
  t.raises("ValueError", "a duration is >= 0", sim.run, sim, -1)
  t.raises("ValueError", "more than the clock counts", sim.run, sim, 1 << 31)
  t.raises("TraceContextError", "runs compiled code of its own", bdl.jit(function() sim:run(1) end))
  local m = StateMonitor(function(i) return i end, "k")
  sim = bdl.Simulation(function(i) return i end, {monitors = {m}})
  bdl.environ.context({dt = 0.2*u.ms}, function() sim:run(2) end)
  t.raises("ValueError", "dt was 0.2 ms when the recording began and is 0.1 ms now", function()
    sim = bdl.Simulation(function(i) return i end, {monitors = {}})
    m:prepare(m._types)
  end)
end)

t.test("without dt there are steps, but no times", function()
  local dt = bdl.environ.pop "dt"
  local m = StateMonitor(function(i) return i end, "k")
  local sim = bdl.run(function(i) return i end, 3, {monitors = {m}})
  local ok, e = pcall(function() return m.t end)
  local ok2, e2 = pcall(sim.run, sim, 1*u.ms)
  bdl.environ.set{dt = dt}
  t.eq(m.step, {0, 1, 2})
  t.ok(not ok and e.kind == "KeyError" and not ok2 and e2.kind == "KeyError")
end)

t.test("a raster is drawn from events as from rows", function()
  local N, I = neurons(8)
  local S, D = SpikeMonitor(N), StateMonitor(function(s) return s end, "s")
  bdl.run(function() return N(I) end, 600, {monitors = {S, D}})
  t.eq(bdl.plot.raster(S, {width = 40}), bdl.plot.raster(D.s, {width = 40}))
  t.eq(bdl.plot.raster(S, {width = 40, rows = bdl.tensor{3, 4}}), bdl.plot.raster(D.s[{{}, {4, 5}}], {width = 40}))
end)

t.test("Ctrl-C keeps every whole step", function()
  if os.execute "command -v timeout >/dev/null" ~= true then return t.skip("Ctrl-C", "no timeout") end
  local file = os.tmpname()
  local f = assert(io.open(file, "w"))
  f:write[[
    local x = bdl.State(0)
    local m = bdl.monitor.StateMonitor(function() return x.value end, "x", {every = 1000})
    local sim = bdl.Simulation(function() x.value = x.value + 1 end, {monitors = {m}})
    local ok, e = pcall(sim.run, sim, 2000000000)
    assert(not ok and e.kind == "InterruptError", e)
    assert(e.message:find "interrupted after %d+ of 2000000000 steps; the States and the monitors", e.message)
    local rows = m.x.shape[1]
    assert(sim.i > 0 and x.value:item() == sim.i and rows == (sim.i + 999) // 1000)
    assert(m.x[-1]:item() == (rows - 1) * 1000 + 1 and m.step[-1]:item() == (rows - 1) * 1000)
    sim:run(5)
    print("kept", x.value:item() == sim.i)
  ]]
  f:close()
  local text = t.shell(("timeout --preserve-status -k 20 -s INT 1 %s run %s"):format(os.getenv "BDL" or "bdl", file))
  os.remove(file)
  t.ok(text:find "kept\ttrue", text)
end)

t.test("the recording of README.md prints what README.md says", function()
  local section = assert(io.open "README.md"):read "a":match "## Recording a run.-\n## "
  local model, output = section:match "```lua\n(.-)```.-```\n(.-)```"
  t.eq(t.prints(assert(load(model, "=README.md", "t", setmetatable({}, {__index = _G})))) .. "\n", output)
end)

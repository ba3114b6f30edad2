--- Delays: what is read is what was written, in batches, lanes, copies and gradients; delays of neurons and projections.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local function within(dt, f, ...) return bdl.environ.context({dt = dt}, f, ...) end
local function made(d, batch) return nn.init_all_states(d, batch) end

--- Values 1, 2, .. n written and `read` after each, compiled as one loop.
local function counted(d, n, read)
  return bdl.for_loop(function(i)
    d:update(bdl.zeros_like(d:at "now") + 1 + i)
    return read(i)
  end, bdl.arange(n))
end

t.test("entries and steps give what was written so many updates ago, zeros before", function()
  within(0.1*u.ms, function()
    for _, eager in ipairs{false, true} do
      local _ <close> = bdl.disable_jit(eager)
      local d = made(nn.Delay{2, entries = {now = 0*u.ms, late = 0.3*u.ms, most = 0.45*u.ms}})
      t.eq(d:max_length(), 6)
      local late, most, two = counted(d, 9, function() return d:at "late", d:at "most", d:retrieve_at_step(2) end)
      t.eq(late.T:totable()[1], {0, 0, 0, 1, 2, 3, 4, 5, 6})
      t.eq(most.T:totable()[2], {0, 0, 0, 0, 0, 1, 2, 3, 4})
      t.eq(two.T:totable()[1], {0, 0, 1, 2, 3, 4, 5, 6, 7})
    end
  end)
end)

t.test("delays are whole steps, whatever the rounding of times", function()
  for _, case in ipairs{{0.3, 0.1, 3}, {1.1, 0.1, 11}, {0.07, 0.01, 7}, {2.22, 0.02, 111}, {0.25, 0.1, 3}, {0.11, 0.1, 2}, {0, 0.1, 0}} do
    within(case[2]*u.ms, function()
      t.eq(made(nn.Delay{1, time = case[1]*u.ms}):max_length(), case[3] + 1, case[1])
    end)
  end
end)

t.test("the values before the first update: a value, a quantity, an initialiser, a function of the shape", function()
  within(0.1*u.ms, function()
    t.eq(made(nn.Delay{2, time = 0.2*u.ms, init = 1.5}):retrieve_at_step(2):totable(), {1.5, 1.5})
    local V = made(nn.Delay{bdl.zeros(2)*u.mV, time = 0.2*u.ms, init = -0.065*u.volt}):retrieve_at_step(1)
    t.close((V / u.mV):totable(), {-65, -65}, 1e-5)
    t.eq(made(nn.Delay{2, time = 0.2*u.ms, init = bdl.init.Constant(2.0)}):retrieve_at_step(0):totable(), {2, 2})
    local seen
    made(nn.Delay{{2, 3}, time = 0.2*u.ms, init = function(shape)
      seen = shape
      return bdl.zeros(table.unpack(shape))
    end})
    t.eq(seen, {3, 2, 3})
  end)
end)

t.test("delays of whole steps, one a neuron, take no part of a neighbouring step", function()
  within(0.1*u.ms, function()
    local d = made(nn.InputDelay(2, bdl.tensor{0.1, 0.3}*u.ms))
    local out = bdl.for_loop(function(x) return d(bdl.broadcast_to(x, {2})) end, bdl.tensor{1., math.huge, 2., math.huge, 3.})
    t.eq(out.T:totable(), {{0, 1, math.huge, 2, math.huge}, {0, 0, 0, 1, math.huge}})
  end)
end)

t.test("indices take elements: one delay a neuron, one delay a synapse, single places", function()
  within(0.1*u.ms, function()
    local pre = bdl.tensor({2, 0, 0, 1}, {dtype = "int32"})
    local d = nn.Delay{3, entries = {now = 0*u.ms}}
    d:register_entry("neurons", bdl.tensor{0.0, 0.1, 0.2}*u.ms, bdl.arange(3))
    d:register_entry("synapses", bdl.tensor{0.1, 0.3, 0.0, 0.2}*u.ms, pre)
    d:register_entry("one", 0.2*u.ms, 1)
    d:register_entry("frames", bdl.tensor{0.1, 0.3}*u.ms)
    for _, batch in ipairs{false, 2} do
      made(d, batch or nil)
      local function row(i) return bdl.tensor{1.0, 10.0, 100.0} * i end
      for i = 1, 5 do d:update(batch and bdl.stack{row(i), -row(i)} or row(i)) end
      local function first(x) return (batch and x[1] or x):totable() end
      t.eq(first(d:at "neurons"), {5, 40, 300})
      t.eq(first(d:at "synapses"), {400, 2, 5, 30})
      t.close(first(d:at "one"), 30)
      t.eq(first(d:at "frames"[1]), {4, 40, 400})
      if batch then
        t.eq(d:at "synapses"[2]:totable(), {-400, -2, -5, -30})
        t.eq(d:at "frames"[2][2]:totable(), {-2, -20, -200})
      end
    end
    local two = made(nn.Delay{{2, 2}, time = 0.1*u.ms})
    two:update(bdl.tensor{{1.0, 2.0}, {3.0, 4.0}})
    t.eq(two:retrieve_at_step(0, 1):totable(), {3, 4})
    t.eq(two:retrieve_at_step(0, bdl.arange(2), bdl.arange(2)):totable(), {1, 4})
  end)
end)

t.test("times between steps: a line is kept by all methods but the nearest", function()
  within(0.5*u.ms, function()
    for _, method in ipairs(nn.InterpolationRegistry.list_methods()) do
      local d = made(nn.Delay{2, time = 5*u.ms, interpolation = method, entries = {now = 0*u.ms}})
      counted(d, 40, function() return d:at "now" end)
      bdl.environ.context({t = 20*u.ms}, function()
        local got = d:retrieve_at_time(20*u.ms - 1.15*u.ms)[1]:item()
        t.close(got, method == "nearest" and 38 or 37.7, 1e-4, 1e-4, method)
        local both = d:retrieve_at_time(bdl.tensor{19.0, 18.5}*u.ms, bdl.arange(2)):totable()
        t.close(both, {38, 37}, 1e-5, 1e-5, method)
        t.raises("ValueError", "steps back; the buffer holds 0 to 10", function() d:retrieve_at_time(14*u.ms) end)
      end)
    end
    nn.InterpolationRegistry.register("previous", function(at) return at(0) end)
    local d = made(nn.Delay{1, time = 5*u.ms, interpolation = "previous", entries = {now = 0*u.ms}})
    counted(d, 20, function() return d:at "now" end)
    t.close(bdl.environ.context({t = 10*u.ms}, d.retrieve_at_time, d, 9.3*u.ms):totable(), {18})
    t.raises("KeyError", "'previous' is registered already", nn.InterpolationRegistry.register, "previous", print)
  end)
end)

t.test("spikes in flight survive saving, restoring and resetting", function()
  within(0.1*u.ms, function()
    local net = nn.Module()
    net.delay = nn.InputDelay(3, bdl.tensor{0.1, 0.25, 0.5}*u.ms)
    made(net)
    local function run(from, to)
      return bdl.for_loop(function(i) return net.delay((i + 1.0) * bdl.ones(3)) end, bdl.arange(from, to)):totable()
    end
    run(0, 7)
    local saved = bdl.graph.treefy_states(net)
    local want = run(7, 15)
    run(0, 3)
    bdl.graph.update_states(net, saved)
    t.eq(run(7, 15), want)
    nn.reset_all_states(net)
    t.eq(run(0, 1), {{0, 0, 0}})
    local copy = bdl.graph.clone(net)
    t.close(copy.delay(bdl.ones(3)):totable(), net.delay(bdl.ones(3)):totable())
  end)
end)

t.test("InputDelay: linear between steps, per element, per connection, or nothing", function()
  within(0.1*u.ms, function()
    local x = bdl.arange(1, 9):astype "float32"
    local function out(delay, ...)
      local d = made(nn.InputDelay(2, delay, ...))
      return bdl.for_loop(function(v) return d(v * bdl.tensor{1.0, 10.0}) end, x).T:totable()
    end
    t.close(out(0.25*u.ms)[1], {0, 0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5}, 1e-5)
    t.close(out(bdl.tensor{0.0, 0.3}*u.ms), {{1, 2, 3, 4, 5, 6, 7, 8}, {0, 0, 0, 10, 20, 30, 40, 50}}, 1e-5)
    local synapses = out(bdl.tensor{0.1, 0.2, 0.3}*u.ms, {indices = bdl.tensor({1, 0, 1}, {dtype = "int32"})})
    t.close(synapses, {{0, 10, 20, 30, 40, 50, 60, 70}, {0, 0, 1, 2, 3, 4, 5, 6}, {0, 0, 0, 10, 20, 30, 40, 50}}, 1e-5)
    t.eq(out(bdl.none)[1], {1, 2, 3, 4, 5, 6, 7, 8})
    t.raises("ValueError", "delays %[3%] for inputs %[2%]", nn.InputDelay, 2, bdl.tensor{0.1, 0.2, 0.3}*u.ms)
  end)
end)

t.test("a neuron's past is written after its update", function()
  within(1*u.ms, function()
    local net = nn.Module()
    net.lif = nn.LIF{2, V_initializer = bdl.init.Constant(0.5*u.mV)}
    net.V, net.V2, net.out = net.lif:prefetch_delay("V", 2*u.ms), net.lif:prefetch_delay("V", 0*u.ms), net.lif:output_delay(1*u.ms)
    for _, batch in ipairs{false, 3} do
      made(net, batch or nil)
      local V, V2, now = bdl.for_loop(function()
        local a, b, _ = net.V(), net.V2(), net.out()
        net.lif(0.3*u.mA)
        return a / u.mV, b / u.mV, net.lif.V.value / u.mV
      end, bdl.arange(8))
      t.eq(V.shape[2], batch or 2)
      t.close(V[{{4, 8}}]:totable(), now[{{1, 5}}]:totable())
      t.close(V2[{{2, 8}}]:totable(), now[{{1, 7}}]:totable())
      t.close(V[{{1, 3}}]:sum():item(), 0)
    end
    t.raises("TypeError", "'tau' of LIF is no State", function()
      local n = nn.LIF(1)
      n:prefetch_delay("tau", 1*u.ms)
      made(n)
    end)
  end)
end)

t.test("projections deliver after their delay", function()
  within(0.1*u.ms, function()
    local function response(class, options, delay)
      local net = nn.Module()
      net.post = nn.LIF{1, tau = 1e6*u.ms, V_th = 100*u.mV}
      options.comm = nn.Linear{2, 1, w_init = bdl.ones(2, 1) * options.unit, b_init = bdl.none}
      options.unit, options.post, options.delay = nil, net.post, delay
      net.proj = nn[class](options)
      made(net)
      local V = bdl.for_loop(function(i)
        net.proj((i:eq(0)):astype "float32" * bdl.ones(2))
        net.post(0*u.mA)
        return net.post.V.value / u.mV
      end, bdl.arange(12)):totable()
      for i, v in ipairs(V) do
        if v[1] ~= 0 then return i - 1 end
      end
    end
    for _, delay in ipairs{bdl.none, 0.4*u.ms, bdl.tensor{0.4, 0.7}*u.ms} do
      local want = delay == bdl.none and 0 or 4
      t.eq(response("DeltaProj", {unit = u.mV}, delay), want)
      t.eq(response("CurrentProj", {unit = u.mA, out = nn.CUBA(1.0)}, delay), want)
      t.eq(response("AlignPreProj", {unit = u.mA, syn = nn.Expon:desc{2, g_initializer = bdl.init.Constant(0.0)}, out = nn.CUBA:desc(1.0)}, delay), want)
      t.eq(response("AlignPostProj", {unit = u.mA, syn = nn.Expon:desc{1, g_initializer = bdl.init.Constant(0*u.mA)}, out = nn.CUBA:desc(1.0)}, delay), want)
    end
    t.raises("ValueError", "nn.DeltaProj: a delay needs to know the in_size of comm, a function", function()
      nn.DeltaProj{comm = function(x) return x end, post = nn.LIF(1), delay = 1*u.ms}
    end)
  end)
end)

t.test("gradients reach back through a delay; lanes have their own past", function()
  within(0.1*u.ms, function()
    local function loss(x)
      local d = made(nn.Delay{1, time = 0.3*u.ms})
      local y = bdl.for_loop(function(v)
        d:update(v)
        return d:retrieve_at_step(3)
      end, x)
      return (y:reshape(6) * bdl.tensor{1.0, 2.0, 3.0, 4.0, 5.0, 6.0}):sum()
    end
    t.close(bdl.augment.grad(loss)(bdl.ones(6, 1)):totable(), {{4}, {5}, {6}, {0}, {0}, {0}})
    local lanes = bdl.augment.vmap(loss)(bdl.stack{bdl.ones(6, 1), 2 * bdl.ones(6, 1)})
    t.close(lanes:totable(), {15, 30})
  end)
end)

t.test("a delay shorter than a step is refused, one of many that are not is a step", function()
  local function made(dt, time)
    return bdl.environ.context({dt = dt}, function()
      local N = nn.LIF(2)
      N:output_delay(time)
      nn.init_all_states(N)
    end)
  end
  t.raises("ValueError", "a delay of 1 ms is shorter than a step, dt = 2 ms", made, 2*u.ms, 1*u.ms)
  made(1*u.ms, 1*u.ms)
  made(0.1*u.ms, 0*u.ms)
  made(1*u.ms, bdl.tensor{0.2, 3.} * u.ms)
  t.raises("ValueError", "shorter than a step", made, 1*u.ms, bdl.tensor{0.2, 0.3} * u.ms)
end)

t.test("what cannot be read is refused by name", function()
  within(0.1*u.ms, function()
    local d = nn.Delay{2, entries = {early = 0.1*u.ms}}
    t.raises("ValueError", "no state 'write_ptr'", function() d:at "early" end)
    t.raises("KeyError", "entry 'early' is registered already, for 0%.1 ms", function() d:register_entry("early", 0.2*u.ms) end)
    t.raises("TypeError", "an index of a delay is an integer", function() d:register_entry("x", 0.2*u.ms, 1.5) end)
    made(d)
    t.raises("KeyError", "no entry 'earyl' %(did you mean 'early'%?%)", function() d:at "earyl" end)
    t.raises("ValueError", "needs 5 steps; the buffer holds 1", function() d:register_entry("late", 0.5*u.ms) end)
    t.raises("ValueError", "2 steps back; the buffer holds 0 to 1", function() d:retrieve_at_step(2) end)
    t.raises("ValueError", "%-1 steps back", function() d:retrieve_at_step(-1) end)
    t.raises("TypeError", "delay steps are integers", function() d:retrieve_at_step(1.5) end)
    t.raises("ShapeError", "a value %[3%] came, the buffer holds values %[2%]", function() d:update(bdl.ones(3)) end)
    t.raises("ValueError", "made for dt = 0%.1 ms, and dt is 0%.2 ms now", function()
      within(0.2*u.ms, function() d:at "early" end)
    end)
    t.raises("ValueError", "a delay is a time >= 0, not %-1", function() made(nn.Delay{2, time = -1*u.ms}) end)
    t.raises("ValueError", "a delay is a time >= 0", function() made(nn.Delay{2, time = (0/0)*u.ms}) end)
    t.raises("UnitMismatchError", "a delay of <mV> with dt in <ms>", function() made(nn.Delay{2, time = 1*u.mV}) end)
    t.raises("ValueError", "no interpolation 'cubik' %(did you mean 'cubic'%?%)", function() nn.Delay{2, interpolation = "cubik"} end)
    local unset = bdl.environ.context
    t.raises("ValueError", "5 steps back; the buffer holds 0 to 1", function()
      unset({jit_error_check = true}, function()
        bdl.for_loop(function(i) return d:retrieve_at_step(i) end, bdl.tensor({0, 1, 5}, {dtype = "int32"}))
      end)
    end)
  end)
  t.raises("KeyError", "dt", function() made(nn.Delay{2, time = 1*u.ms}) end)
end)

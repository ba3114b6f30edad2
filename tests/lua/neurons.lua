--- Neurons: a step by hand, resets, refractoriness in whole steps, compiled = eager, batches.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local function within(dt, f, ...) return bdl.environ.context({dt = dt}, f, ...) end
local function mV(s) return (s.value / u.mV):totable() end

t.test("LIF: reset of the stored spike, then the exact solution, then delta inputs", function()
  within(1*u.ms, function()
    local n = nn.LIF{3, tau = 5*u.ms, V_rest = 0.2*u.mV}
    n:init_state()
    n.V.value = bdl.tensor{0.5, 1.25, -1.0}*u.mV
    n:add_delta_input("d", bdl.tensor{0.0, 0.0, 9.0}*u.mV)
    local spike = n(0.3*u.mA)
    local e = math.exp(-0.2)
    t.close(mV(n.V), {0.5*e + 0.5*(1 - e), 0.25*e + 0.5*(1 - e), -1*e + 0.5*(1 - e) + 9}, 1e-5)
    t.eq(spike:totable(), {0.0, 0.0, 1.0})
    t.eq(spike.dtype, n.V.value.dtype)
  end)
end)

t.test("soft resets keep the overshoot, hard ones do not", function()
  within(0.1*u.ms, function()
    for mode, want in pairs{soft = 0.5, hard = 0.0} do
      local n = nn.LIF{1, spk_reset = mode, tau = 1e9*u.ms}
      n:init_state()
      n.V.value = bdl.tensor{1.5}*u.mV
      n()
      t.close(mV(n.V), {want}, 1e-5, 1e-6, mode)
    end
  end)
  t.raises("ValueError", "'soft' or 'hard', not 'medium'", function() nn.LIF{1, spk_reset = "medium"} end)
end)

--- Steps between spikes of a LIFRef that would otherwise fire at every step.
local function interval(tau_ref, dt, steps)
  return within(dt, function()
    local n = nn.LIFRef{1, tau = 0.01*u.ms, tau_ref = tau_ref, spk_reset = "hard"}
    n:init_state()
    local spikes = bdl.for_loop(function() return n(100*u.mA) end, bdl.arange(steps)):totable()
    local last, seen = nil, {}
    for i, s in ipairs(spikes) do
      if s[1] > 0 then
        if last then seen[i - last] = true end
        last = i
      end
    end
    local list = {}
    for k in pairs(seen) do list[#list + 1] = k end
    return list
  end)
end

t.test("a refractory period is always the same number of whole steps", function()
  t.eq(interval(0.3*u.ms, 0.1*u.ms, 400), {3})
  t.eq(interval(0.7*u.ms, 0.01*u.ms, 900), {70})
  t.eq(interval(0.25*u.ms, 0.1*u.ms, 100), {3})
  t.eq(interval(0.05*u.ms, 0.1*u.ms, 20), {1})
  t.eq(interval(5*u.ms, 0.1*u.ms, 300), {50})
end)

t.test("window_steps: ceil(w/dt) - 1, whatever the rounding, per element too", function()
  within(0.1*u.ms, function()
    t.eq(nn.window_steps(5*u.ms), 49)
    t.eq(nn.window_steps(1.65*u.ms), 16)
    t.eq(nn.window_steps(0*u.ms), 0)
    t.eq(nn.window_steps(bdl.tensor{0.3, 0.35}*u.ms):totable(), {2, 3})
  end)
  within(1e-9*u.ms, function() t.raises("ValueError", "at most 2%^24", function() nn.window_steps(5*u.ms) end) end)
end)

t.test("the count since a spike stops instead of overflowing", function()
  within(0.1*u.ms, function()
    local n = nn.LIFRef(1)
    n:init_state()
    local far = n.since_spike.value
    n()
    t.eq(n.since_spike.value:totable(), far:totable())
    t.close((bdl.environ.context({t = 3*u.ms}, n.last_spike_time, n) / u.ms):totable(), {-1e7})
    n(1e4*u.mA)
    t.close((bdl.environ.context({t = 3*u.ms}, n.last_spike_time, n) / u.ms):totable(), {3})
  end)
end)

t.test("compiled and eager steps agree", function()
  within(0.1*u.ms, function()
    for _, make in ipairs{
      function() return nn.IF(5), u.mA end, function() return nn.LIF(5), u.mA end, function() return nn.LIFRef(5), u.mA end,
      function() return nn.ALIF(5), u.mA end, function() return nn.HH(5), u.uA end, function() return nn.AdExIFRef(5), 20*u.mA end,
      function() return nn.AdQuaIF(5), 20*u.mA end, function() return nn.GifRef(5), u.mA end, function() return nn.CobaLIF(5), u.mA end,
      function() return nn.IzhikevichRef(5), u.mV/u.ms end, function() return nn.WangBuzsakiHH(5), u.uA end,
      function() return nn.MorrisLecar{5, V_initializer = bdl.init.Constant(-60*u.mV)}, 20*u.uA end,
    } do
      local function run(eager)
        local n, unit = make()
        n:init_state()
        local old <close> = bdl.disable_jit(eager)
        local V, s = bdl.for_loop(function(x)
          local spike = n(x * (bdl.arange(5) * unit))
          return n.V.value / u.mV, spike
        end, bdl.linspace(0, 9, 60))
        return V:totable(), s:totable()
      end
      local V1, s1 = run(false)
      local V2, s2 = run(true)
      t.close(V1, V2, 1e-4, 1e-4)
      t.eq(s1, s2)
    end
  end)
end)

--- Spikes of n for `steps` steps of a constant input: [n.size] counts, and the steps of the first element.
local function fire(n, input, steps, batch)
  nn.init_all_states(n, batch)
  local spikes = bdl.for_loop(function() return n(input) end, bdl.arange(steps))
  local at = {}
  for i = 1, steps do
    local s = spikes[i]
    while s.ndim > 0 do s = s[1] end
    if s:item() > 0 then at[#at + 1] = i end
  end
  return at
end

t.test("refractory variants wait for whole steps, with every State at what the reset left", function()
  within(0.1*u.ms, function()
    local strong = {ExpIFRef = 1e4*u.mA, QuaIFRef = 1e4*u.mA, AdExIFRef = 1e4*u.mA, AdQuaIFRef = 1e4*u.mA, GifRef = 1e4*u.mA,
                    IzhikevichRef = 1e4*u.mV/u.ms}
    for name, input in pairs(strong) do
      local at = fire(nn[name]{2, tau_ref = 0.7*u.ms, spk_reset = "hard"}, input, 60)
      t.ok(#at > 5, name)
      for k = 2, #at do t.eq(at[k] - at[k - 1], 7, name) end
    end
    local n = nn.AdExIFRef{1, tau_ref = 1*u.ms, spk_reset = "hard"}
    n:init_state()
    n(1e4*u.mA)
    t.eq(n:refractory():totable(), {true})
    n(0*u.mA)
    local w = n.w.value
    n(0*u.mA)
    t.eq((n.w.value / u.mA):totable(), (w / u.mA):totable())
    t.ok((w / u.mA):item() > 1)
  end)
end)

t.test("every neuron fires under a strong input, batched too, and rests without one", function()
  local cases = {
    IF = u.mA, LIF = u.mA, LIFRef = u.mA, ALIF = u.mA, ExpIF = 9*u.mA, QuaIF = 9*u.mA, AdExIF = 30*u.mA, AdQuaIF = 30*u.mA, Gif = u.mA,
    CubaLIF = u.mA, CobaLIF = u.mA, Izhikevich = 2*u.mV/u.ms, HH = 2*u.uA, WangBuzsakiHH = 0.2*u.uA, MorrisLecar = 20*u.uA,
    FitzHughNagumo = 0.05, HindmarshRose = 0.4,
  }
  within(0.1*u.ms, function()
    for name, unit in pairs(cases) do
      local many = fire(nn[name](3), 10.0 * unit, 1000)
      t.ok(#many >= 2, name)
      t.ok(#fire(nn[name](2), 10.0 * unit, 1000, 2) >= 2, name)
      if name ~= "HindmarshRose" then t.ok(#fire(nn[name](3), 0.0 * unit, 1000) <= 1, name) end
    end
  end)
end)

t.test("constants that no equation has room for are refused by name", function()
  local function bad(kind, message, class, a)
    a[1] = 2
    t.raises(kind, message, function() nn[class](a) end)
  end
  bad("ValueError", "nn.LIF: tau must be > 0, not %-5%. ms", "LIF", {tau = -5*u.ms})
  bad("ValueError", "nn.LIF: tau must be > 0", "LIF", {tau = bdl.tensor{1.0, 0/0}*u.ms})
  bad("ValueError", "nn.AdExIF: tau_w must be > 0", "AdExIF", {tau_w = 0*u.ms})
  bad("ValueError", "delta_T must be > 0", "ExpIF", {delta_T = 0*u.mV})
  bad("ValueError", "tau_ref must be >= 0, not %-1%. ms", "GifRef", {tau_ref = -1*u.ms})
  bad("ValueError", "nn.HH: C must be > 0", "HH", {C = 0*u.uF})
  bad("ValueError", "V_th must lie above V_reset; they are 0%. mV and 0%. mV", "LIF", {V_th = 0*u.mV})
  bad("UnitMismatchError", "tau_w is a time, not in <mV>", "AdExIF", {tau_w = 3*u.mV})
  bad("UnitMismatchError", "V_reset is in <ms>, V_th in <mV>", "AdExIF", {V_reset = 3*u.ms})
  bad("TypeError", "nn.QuaIF: no argument 'tua' %(did you mean 'tau'%?%)", "QuaIF", {tua = 3*u.ms})
  within(0.1*u.ms, function()
    local n = nn.LIF{2, tau = 5}
    n:init_state()
    t.raises("UnitMismatchError", "a time constant of <1> with dt in <ms>", function() n(1*u.mA) end)
  end)
end)

t.test("a batch is a leading axis", function()
  within(0.1*u.ms, function()
    local n = nn.LIFRef{3, tau = bdl.tensor{5.0, 10.0, 20.0}*u.ms}
    n:init_state(2)
    local spike = n(bdl.ones(2, 3)*u.mA)
    t.eq({table.unpack(spike.shape)}, {2, 3})
    local V = mV(n.V)
    t.close(V[1], V[2])
    t.close(V[1][1], 1 - math.exp(-0.02), 1e-5)
  end)
end)

t.test("a threshold that adapts: a rises by one at a spike, then decays", function()
  within(1*u.ms, function()
    local n = nn.ALIF{1, tau_a = 10*u.ms, beta = 0.5*u.mV}
    n:init_state()
    n.V.value = bdl.tensor{1.2}*u.mV
    n()
    t.close(n.a.value:totable(), {math.exp(-0.1)}, 1e-6)
    n.V.value = bdl.tensor{1.2}*u.mV
    t.eq(n:get_spike():totable(), {0.0})
  end)
end)

t.test("HH gates start at rest; one pulse gives one spike", function()
  within(0.01*u.ms, function()
    local n = nn.HH{1, gL = 0.3*u.mS}
    n:init_state()
    t.close({n.m.value[1]:item(), n.h.value[1]:item(), n.n.value[1]:item()}, {0.0529, 0.5961, 0.3177}, 1e-3)
    local spikes = bdl.for_loop(function(i) return n(bdl.where(i:lt(100), 20.0, 0.0)*u.uA) end, bdl.arange(2000))
    t.eq(spikes:sum():item(), 1.0)
    t.close(mV(n.V), {-65}, 0.05)
  end)
end)

t.test("a neuron of one's own, with a spike function of one's own", function()
  local Own = nn.Neuron:extend "Own"
  function Own:__init(n)
    Own.super.__init(self, {n, spk_fun = function(x) return bdl.where(x:gt(1), 1.0, 0.0) end})
    self.V_th, self.V_reset = 1*u.mV, 0*u.mV
  end
  function Own:init_state() self.V = bdl.HiddenState(bdl.zeros(2)*u.mV) end
  function Own:update(x)
    self.V.value = self:reset(self.V.value) + x
    return self:get_spike()
  end
  local n = Own(2)
  n:init_state()
  t.eq(n(bdl.tensor{1.5, 2.5}*u.mV):totable(), {0.0, 1.0})
  n(bdl.zeros(2)*u.mV)
  t.close(mV(n.V), {1.5, 1.5})
end)

t.test("names and shapes that do not fit are errors", function()
  t.raises("TypeError", "no argument 'tua' %(did you mean 'tau'", function() nn.LIF{2, tua = 5*u.ms} end)
  t.raises("ValueError", "%[3%] does not broadcast to the sizes %[2%]", function() nn.LIF{2, tau = bdl.ones(3)*u.ms} end)
  t.raises("ValueError", "whole number", function() nn.LIF(-2) end)
  t.raises("ValueError", "whole number", function() nn.LIF(2.5) end)
  within(0.1*u.ms, function()
    local n = nn.init_all_states(nn.LIF(2))
    t.raises("UnitMismatchError", nil, function() n(1*u.mV) end)
  end)
end)

t.test("a clone is initialised and runs as its model", function()
  within(0.1*u.ms, function()
    for _, name in ipairs{"IF", "LIFRef", "HH", "AdExIFRef", "Gif", "CobaLIF", "MorrisLecar"} do
      local n = nn.init_all_states(nn[name]{2, V_initializer = bdl.init.Constant(-60*u.mV)})
      local clone = bdl.graph.clone(n)
      nn.init_all_states(clone)
      clone()
      t.eq(mV(n.V), {-60, -60}, name)
      n()
      t.eq(mV(n.V), mV(clone.V), name)
    end
    local net = nn.Module()
    net.pre, net.post = nn.LIF(3), nn.LIF(2)
    net.proj = nn.DeltaProj{comm = nn.Linear{3, 2, w_init = bdl.ones(3, 2)*u.mV, b_init = bdl.none}, post = net.post}
    nn.init_all_states(net)
    local clone = bdl.graph.clone(net)
    clone.proj(bdl.ones(3))
    clone.post()
    t.eq(mV(clone.post.V), {3, 3})
    t.eq(mV(net.post.V), {0, 0})
  end)
end)

t.test("a neuron of one's own is its constants and the end of a step", function()
  local Theta = nn.Spiking:extend "Theta"
  function Theta:defaults()
    return {R = 1*u.ohm, tau = 10*u.ms, V_s = 1*u.mV, V_th = 10*u.mV, V_reset = -10*u.mV, V_initializer = bdl.init.Constant(-1*u.mV)}
  end
  function Theta:advance(from, I)
    return {V = self:membrane(function(v) return v * v / self.V_s end, from.V, I)}
  end
  within(0.1*u.ms, function()
    local n = Theta{2, tau = 5*u.ms}
    t.eq(#fire(n, 0*u.mA, 300), 0)
    t.ok(#fire(n, 2*u.mA, 500, 3) > 2)
    t.raises("TypeError", "no argument 'taw' %(did you mean 'tau'%?%)", function() Theta{2, taw = 1*u.ms} end)
  end)
end)

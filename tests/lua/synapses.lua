--- Synapses and outputs: decay and jumps by hand, pulses in whole steps, plasticity, batches, compiled = eager.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local function within(dt, f) return bdl.environ.context({dt = dt}, f) end
local function mS(x) return (x / u.mS):totable() end

t.test("Expon: decay, then delta inputs, then the input of the call", function()
  within(1*u.ms, function()
    local s = nn.Expon{2, tau = 10*u.ms, g_initializer = bdl.init.Constant(2*u.mS)}
    s:init_state()
    s:add_delta_input("a", bdl.tensor{1.0, 0.0}*u.mS)
    local e = 2 * math.exp(-0.1)
    t.close(mS(s(bdl.tensor{0.0, 5.0}*u.mS)), {e + 1, e + 5}, 1e-6)
  end)
end)

t.test("Alpha peaks after tau with 1/e of the input", function()
  within(0.01*u.ms, function()
    local s = nn.Alpha{1, tau = 4*u.ms}
    s:init_state()
    s(1*u.mS)
    local g = mS(bdl.for_loop(function() return s() end, bdl.arange(800)))
    local top = 1
    for i = 1, #g do top = g[i][1] > g[top][1] and i or top end
    t.close(top, 400, 0, 5)
    t.close(g[top][1], math.exp(-1), 1e-2)
  end)
end)

t.test("DualExpon: the peak of a normalised one is 1; equal time constants are refused", function()
  within(0.01*u.ms, function()
    local s = nn.DualExpon{1, tau_decay = 10*u.ms, tau_rise = 1*u.ms}
    s:init_state()
    s(1*u.mS)
    t.close((bdl.for_loop(function() return s() end, bdl.arange(1000)):max() / u.mS):item(), 1, 1e-3)
  end)
  t.raises("ValueError", "use nn.Alpha", function() nn.DualExpon{1, tau_decay = 2*u.ms, tau_rise = 2*u.ms} end)
end)

t.test("AMPA: transmitter is there for whole steps, the spike's own included", function()
  within(0.1*u.ms, function()
    for window, steps in pairs{[0.3] = 3, [0.35] = 4, [0.5] = 5} do
      local s = nn.AMPA{1, T_dur = window*u.ms, beta = 0*u.kHz}
      s:init_state()
      local g = mS(bdl.for_loop(function(i) return s(i:eq(2)) end, bdl.arange(12)))
      local rising = 0
      for i = 2, #g do rising = rising + (g[i][1] > g[i - 1][1] and 1 or 0) end
      t.eq(rising, steps, ("window %g"):format(window))
    end
  end)
end)

t.test("STP and STD: the jumps use the stored values", function()
  within(1*u.ms, function()
    local p = nn.STP{1, U = 0.5, tau_f = 1e9*u.ms, tau_d = 1e9*u.ms}
    p:init_state()
    t.close(p(bdl.ones(1)):totable(), {0.75}, 1e-5)
    t.close({p.u.value[1]:item(), p.x.value[1]:item()}, {0.75, 0.25}, 1e-5)
    local d = nn.STD{1, U = 0.2, tau = 1e9*u.ms}
    d:init_state()
    t.close(d(bdl.ones(1)):totable(), {1}, 1e-5)
    t.close(d(bdl.ones(1)):totable(), {0.8}, 1e-5)
  end)
end)

t.test("outputs", function()
  local g, V = 2*u.mS, -60*u.mV
  t.close((nn.COBA(0*u.mV):update(g, V) / u.uA):item(), 120, 1e-6)
  t.close((nn.CUBA():update(g) / u.mA):item(), 2, 1e-6)
  t.close((nn.CUBA{scale = u.mV}:update(g) / u.uA):item(), 2, 1e-6)
  t.close((nn.MgBlock{E = 0*u.mV, cc_Mg = 0*u.mM, alpha = 0.062/u.mV, beta = 3.57*u.mM, V_offset = 0*u.mV}:update(g, V) / u.uA):item(), 120, 1e-6)
end)

t.test("a conductance is part of the slope: the step is exact for a constant one", function()
  within(1*u.ms, function()
    local n = nn.LIF{1, tau = 10*u.ms, V_th = 1000*u.mV}
    local out = nn.COBA(50*u.mV)
    n:add_current_input("syn", out)
    n:init_state()
    out:bind_cond(bdl.tensor{3.0}*u.siemens)
    n(0*u.mA)
    t.close((n.V.value / u.mV):totable(), {37.5 * (1 - math.exp(-0.4))}, 1e-5)
  end)
end)

t.test("compiled and eager agree", function()
  within(0.1*u.ms, function()
    for _, make in ipairs{
      function() return nn.Expon(3) end, function() return nn.DualExpon(3) end, function() return nn.Alpha(3) end,
    } do
      local function run(eager)
        local s = make()
        s:init_state()
        local old <close> = bdl.disable_jit(eager)
        return mS(bdl.for_loop(function(i) return s((i % 5 + bdl.arange(3)) * u.mS) end, bdl.arange(30)))
      end
      t.close(run(false), run(true), 1e-4, 1e-5)
    end
  end)
end)

t.test("EventLinear: spikes times a matrix, one weight for all, floats by value", function()
  local s = bdl.tensor{{1.0, 0.0, 1.0}, {0.0, 0.0, 0.0}}
  local w = bdl.tensor{{1.0, 2.0}, {3.0, 4.0}, {5.0, 6.0}}
  t.close(nn.EventLinear(3, 2, w*u.mS)(s) / u.mS, {{6, 8}, {0, 0}})
  t.close(nn.EventLinear(3, 2, 0.5)(s:gt(0)), {{1, 1}, {0, 0}})
  t.close(nn.EventLinear(3, 2, 0.5*u.mS)(2*s) / u.mS, {{1, 1}, {0, 0}})
  t.close(nn.EventLinear{3, 2, w, float_as_event = false}(2*s[1]), {12, 16})
  t.close(nn.EventLinear{3, 2, 0.5, float_as_event = false}(2*s[1]), {2, 2})
  local layer = nn.EventLinear(3, 2, 0.5)
  t.close(bdl.grad(function() return layer(s):sum() end, layer.weight)(), 4)
  t.close(bdl.grad(function(x) return layer(x):sum() end)(s), bdl.ones(2, 3))
  t.eq(#nn.EventLinear{3, 2, 0.5, param_type = bdl.LongTermState}:states(bdl.ParamState), 0)
  t.raises("ShapeError", "an input of 3 neurons was expected, not %[2%]", layer, bdl.ones(2))
  t.raises("TypeError", "param_type is a class of States", nn.EventLinear, {3, 2, 0.5, param_type = 3})
end)

t.test("fixed numbers of connections: counts, parts, sources, a part of the neurons, gradients", function()
  local x = bdl.random.rand(2, 40, {key = 1})
  for _, case in ipairs{
    {nn.FixedNumConn{40, 30, 6, 0.5, seed = 1}, 6 * 40}, {nn.EventFixedProb{40, 30, 0.2, bdl.init.Normal(0, 1), seed = 1}, 6 * 40},
    {nn.FixedNumConn{40, 30, 5, 0.5*u.mS, efferent_target = "pre", allow_multi_conn = false}, 5 * 30},
    {nn.EventFixedNumConn{40, 30, 0, 0.5}, 0},
  } do
    local layer, nnz = table.unpack(case)
    t.eq(layer.conn.nnz, nnz)
    local A = layer.conn:with_data(layer.weight.value:reshape(-1)):todense()
    local unit = bdl.units.get_unit(layer.weight.value)
    local events = layer:is(nn.EventFixedNumConn)
    t.close(layer(x) / (1.0*unit), (events and bdl.ones(2, 40) or x):matmul(A / (1.0*unit)), 1e-5, 1e-5)
  end
  local distinct = nn.FixedNumConn{40, 30, 1.0, 1.0, allow_multi_conn = false}
  t.eq(distinct.conn:todense(), bdl.ones(40, 30))
  local half = nn.EventFixedProb{200, 50, 0.1, 1.0, afferent_ratio = 0.5, seed = 3}
  local rows = half.conn:todense():sum{axis = 2}
  t.eq(bdl.unique(rows), {0, 5})
  t.ok(math.abs(rows:gt(0):astype "float32":mean():item() - 0.5) < 0.12)
  t.eq(nn.FixedNumConn{40, 30, 6, 0.5, seed = 1}.conn.indices, nn.FixedNumConn{40, 30, 6, 0.5, seed = 1}.conn.indices)
  local layer = nn.EventFixedNumConn{4, 3, 2, bdl.init.Constant(1.0), seed = 1}
  t.eq({table.unpack(layer.weight.shape)}, {4, 2})
  t.close(bdl.grad(function() return layer(bdl.tensor{1.0, 0.0, 1.0, 0.0}):sum() end, layer.weight)(), {{1, 1}, {0, 0}, {1, 1}, {0, 0}})
  t.raises("ValueError", "conn_num as a part is from 0.0 to 1.0", nn.FixedNumConn, 4, 3, 1.5, 1.0)
  t.raises("ValueError", "2 different ones of", nn.FixedNumConn, {4, 1, 2, 1.0, allow_multi_conn = false})
  t.raises("ValueError", "efferent_target is 'pre' or 'post'", nn.FixedNumConn, {4, 3, 1, 1.0, efferent_target = "both"})
  t.raises("ValueError", "afferent_ratio is from 0 to 1", nn.FixedNumConn, {4, 3, 1, 1.0, afferent_ratio = 2})
  t.raises("ShapeError", "an input of 4 neurons", layer, bdl.ones(3))
end)


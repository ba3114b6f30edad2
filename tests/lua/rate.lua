--- Rate models and gap junctions.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local function within(dt, f, ...) return bdl.environ.context({dt = dt}, f, ...) end

t.test("Wilson-Cowan: rest, a limit cycle under drive, one step by hand", function()
  within(0.1*u.ms, function()
    local function run(P, n, batch)
      local m = nn.WilsonCowan(2)
      nn.init_all_states(m, batch)
      return bdl.for_loop(function() return m(P) end, bdl.arange(n))
    end
    t.close(run(0.0, 500):abs():max():item(), 0, 0, 1e-6)
    local late = run(1.25, 3000)[{{2000, 3000}}]
    t.ok(late:max():item() - late:min():item() > 0.1, "it oscillates")
    t.eq({table.unpack(run(1.25, 2, 3).shape)}, {2, 3, 2})
    local function S(x, a, theta) return 1 / (1 + math.exp(-a * (x - theta))) - 1 / (1 + math.exp(a * theta)) end
    local m = nn.WilsonCowan(1)
    m:init_state()
    m.E.value, m.I.value = bdl.tensor{0.2}, bdl.tensor{0.1}
    m(1.0, 0.5)
    local e, i = S(16 * 0.2 - 12 * 0.1 + 1, 1.3, 4), S(15 * 0.2 - 3 * 0.1 + 0.5, 2, 3.7)
    local function relaxed(x, s) return s / (1 + s) + (x - s / (1 + s)) * math.exp(-0.01 * (1 + s)) end
    t.close(m.E.value:item(), relaxed(0.2, e), 1e-5)
    t.close(m.I.value:item(), relaxed(0.1, i), 1e-5)
    t.raises("ValueError", "nn.WilsonCowan: tau_E must be > 0", function() nn.WilsonCowan{2, tau_E = 0*u.ms} end)
  end)
end)

t.test("CANN1D: the bump stays where the stimulus was", function()
  within(0.1*u.ms, function()
    local ring = nn.CANN1D{64, k = 0.1}
    nn.init_all_states(ring)
    bdl.for_loop(function() ring(ring:stimulus(1.0)) end, bdl.arange(300))
    bdl.for_loop(function() ring() end, bdl.arange(300))
    local at = ring.x[ring.u.value:argmax()]:item()
    t.ok(ring.u.value:max():item() > 0.1)
    t.close(at, 1.0, 0, 0.11)
  end)
end)

t.test("gap junctions: currents that cancel, or not, between the two sides", function()
  within(0.1*u.ms, function()
    local function setup(make)
      local a, b = nn.LIF{3, tau = 10*u.ms, V_th = 100*u.mV}, nn.LIF{2, tau = 10*u.ms, V_th = 100*u.mV}
      local gap = make(a, b)
      nn.init_all_states(a)
      nn.init_all_states(b)
      a.V.value, b.V.value = bdl.tensor{1.0, 2.0, 4.0}*u.mV, bdl.tensor{0.0, 10.0}*u.mV
      gap()
      return (a:sum_current_inputs(0*u.uA, a.V.value) / u.uA):totable(), (b:sum_current_inputs(0*u.uA, b.V.value) / u.uA):totable()
    end
    local pairs_ = {bdl.tensor({0, 2, 2}, {dtype = "int32"}), bdl.tensor({0, 0, 1}, {dtype = "int32"})}
    local ia, ib = setup(function(a, b) return nn.SymmetryGapJunction{{a, b}, "V", pairs_, weight = bdl.tensor{1.0, 2.0, 3.0}*u.mS} end)
    t.close(ia, {-1, 0, -8 + 18}, 1e-5)
    t.close(ib, {1 + 8, -18}, 1e-5)
    ia, ib = setup(function(a, b) return nn.AsymmetryGapJunction{a, "V", b, "V", pairs_, {1*u.mS, 2*u.mS}} end)
    t.close(ia, {-2, 0, -8 + 12}, 1e-5)
    t.close(ib, {1 + 4, -6}, 1e-5)
    local pop = nn.LIF{2, tau = 10*u.ms}
    local gap = nn.SymmetryGapJunction{pop, conn = bdl.conn.from_dense(bdl.tensor{{0.0, 1.0}, {0.0, 0.0}}*u.mS)}
    nn.init_all_states(pop)
    pop.V.value = bdl.tensor{0.5, -0.5}*u.mV
    bdl.for_loop(function()
      gap()
      pop(0*u.mA)
    end, bdl.arange(3))
    t.close((pop.V.value / u.mV):sum():item(), 0, 0, 1e-6)
    t.raises("ValueError", "LIF has no State 'W'", function() setup(function(a, b) return nn.SymmetryGapJunction{{a, b}, "W", pairs_, weight = 1*u.mS} end) end)
    t.raises("TypeError", "populations are Dynamics", function() nn.SymmetryGapJunction{{1, 2}, "V", pairs_, weight = 1*u.mS} end)
  end)
end)

t.test("a gap junction wants the list of its synapses", function()
  t.raises("TypeError", "SymmetryGapJunction: a AllToAll has no list of its synapses", function()
    nn.SymmetryGapJunction{nn.LIF(2), "V", conn = bdl.conn.all_to_all(2, 2), weight = 1*u.mS}
  end)
end)

t.test("a reservoir by its equation, dense and sparse alike, internal and external activation", function()
  for _, kind in ipairs{"internal", "external"} do
    local outs = {}
    for _, comp in ipairs{"dense", "sparse"} do
      bdl.random.seed(2)
      local m = nn.Reservoir{3, 20, activation_type = kind, comp_type = comp, in_connectivity = 0.5, rec_connectivity = 0.2, leaky_rate = 0.4,
                             b_initializer = bdl.init.Constant(0.1)}
      nn.init_all_states(m)
      outs[comp] = bdl.for_loop(m, bdl.random.randn(5, 3, {key = 1}))
      if comp == "dense" then
        local x, r = bdl.random.randn(5, 3, {key = 1})[1], bdl.zeros(20)
        local h = x:matmul(m.W_in.value) + 0.1
        local want = kind == "internal" and 0.4 * bdl.tanh(h) or bdl.tanh(0.4 * h)
        t.close(outs.dense[1], want, 1e-5, 1e-6)
        local part = m.W_rec.value:ne(0):astype "float32":mean():item()
        t.ok(math.abs(part - 0.2) < 0.08, "the part of weights kept is " .. part)
      end
    end
    t.close(outs.sparse, outs.dense, 1e-5, 1e-6)
  end
  t.close(require "bdl.nn.reservoir".spectral_radius(bdl.tensor{{0.0, -2.0}, {2.0, 0.0}}), 2, 1e-7)
  t.close(require "bdl.nn.reservoir".spectral_radius(bdl.tensor{{3.0, 1.0}, {0.0, -0.5}}), 3, 1e-7)
  bdl.random.seed(3)
  local m = nn.Reservoir{1, 60, spectral_radius = 0.9}
  t.close(require "bdl.nn.reservoir".spectral_radius(m.W_rec.value), 0.9, 1e-5)
end)

t.test("a reservoir remembers: a linear readout by ridge regression gives the input of three steps ago", function()
  bdl.random.seed(1)
  local m = nn.Reservoir{1, 100, spectral_radius = 0.9, leaky_rate = 1.0, in_connectivity = 1.0, W_in_initializer = bdl.init.Uniform(-0.3, 0.3)}
  nn.init_all_states(m)
  local x = bdl.random.uniform(-0.5, 0.5, {size = {600, 1}})
  local r = bdl.for_loop(m, x)[{{101, 600}}]
  local y = x[{{98, 597}}]
  local readout = bdl.solve(r.T:matmul(r) + 1e-6 * bdl.eye(100), r.T:matmul(y))
  local wrong = (r:matmul(readout) - y):std():item() / y:std():item()
  t.ok(wrong < 0.1, "normalised error " .. wrong)
  t.eq(#m:states(bdl.ParamState), 0)
  t.eq(#nn.Reservoir{1, 5, trainable = true}:states(bdl.ParamState), 3)
  t.eq(#nn.Reservoir{1, 5, trainable = true, b_initializer = bdl.none}:states(bdl.ParamState), 2)
end)

t.test("bad reservoirs", function()
  t.raises("ValueError", "leaky_rate is a number from 0 to 1, not 1.5", nn.Reservoir, {1, 5, leaky_rate = 1.5})
  t.raises("ValueError", "activation_type is 'internal' or 'external'", nn.Reservoir, {1, 5, activation_type = "inner"})
  t.raises("ValueError", "activation is a function", nn.Reservoir, {1, 5, activation = "tanhh"})
  t.raises("ValueError", "noise_in is a number from 0", nn.Reservoir, {1, 5, noise_in = -1})
  t.raises("ValueError", "cannot be scaled", nn.Reservoir, {1, 5, rec_connectivity = 0.0, spectral_radius = 0.9})
  local m = nn.init_all_states(nn.Reservoir{2, 5, noise_in = 0.1, noise_rec = 0.1, noise_type = "uniform"}, 3)
  t.eq({table.unpack(m(bdl.ones(3, 2)).shape)}, {3, 5})
  t.raises("ShapeError", "inputs of 2 numbers", m, bdl.ones(3))
end)


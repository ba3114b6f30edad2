--- Small networks with explicit connectivity: E/I CUBA and COBA, a ring attractor, HH neurons alone and coupled.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units
local core = require "bdl.core"

local function constants(v, t, first)
  local a = {first}
  for name, x in pairs(v) do
    if name ~= "class" and name ~= "spk_fun" then a[name] = t.quantity(x) end
  end
  return a
end

local function indices(n)
  local steps = {}
  for i = 1, n do steps[i] = i - 1 end
  return core.tensor(steps, "int32")
end

--- Rows 1, 1 + every, .. of a stack.
local function thinned(x, every)
  local rows = {}
  for i = 0, x.shape[1] - 1, every do rows[#rows + 1] = i end
  return core.bind("gather", {axis = 0}, x, core.tensor(rows, "int32"))
end

local function row(x, i)
  local start, stop, step = {i}, {i + 1}, {1}
  for k = 2, x.ndim do start[k], stop[k], step[k] = 0, x.shape[k], 1 end
  return core.bind("reshape", {shape = {table.unpack(x.shape, 2)}}, core.bind("slice", {start = start, stop = stop, step = step}, x))
end

local function part(x, from, to)
  return core.bind("slice", {start = {from}, stop = {to}, step = {1}}, x)
end

local function count(case, t, name, spikes)
  local total = core.item(core.bind("reduce_sum", {axes = {0, 1}}, spikes))
  t.eq(name, total, case.scalars[name])
end

--- One E and one I projection with masks times a weight.
local function projections(case, t, post, n, out)
  local p = case.params
  local function projection(name, weight, tau, at)
    local mask = t.array(case, name)
    return nn.AlignPostProj{
      comm = nn.Linear{mask.shape[1], n, w_init = mask * t.quantity(weight), b_init = bdl.none},
      syn = nn.Expon:desc{n, tau = t.quantity(tau)}, out = out(at), post = post,
    }
  end
  return projection("mask_exc", p.w_exc, p.tau_exc, "exc"), projection("mask_inh", p.w_inh, p.tau_inh, "inh")
end

local function ei(case, t)
  local p = case.params
  local n, dt = p.n_exc + p.n_inh, t.quantity(p.dt)
  local net = nn.Module()
  net.N = nn[p.neuron.class](constants(p.neuron, t, n))
  net.E, net.I = projections(case, t, net.N, n, function(at) return nn[p.out]:desc(t.quantity(p["out_" .. at])) end)
  nn.init_all_states(net)
  net.N.V.value = t.array(case, "V0")
  local drive = t.quantity(p.input)
  local spike, V, ge, gi = bdl.for_loop(function(i)
    local _ <close> = bdl.environ.context{i = i, t = i * dt}
    local s = net.N:get_spike()
    net.E(part(s, 0, p.n_exc))
    net.I(part(s, p.n_exc, n))
    net.N(drive)
    return net.N:get_spike(), net.N.V.value, net.E.syn.g.value, net.I.syn.g.value
  end, indices(p.T))
  t.compare("spike", spike, case.arrays.spike)
  t.compare("V", V, case.arrays.V)
  t.compare("g_exc", thinned(ge, p.g_every), case.arrays.g_exc)
  t.compare("g_inh", thinned(gi, p.g_every), case.arrays.g_inh)
  count(case, t, "n_spikes", spike)
end

local function hh_ei(case, t)
  local p = case.params
  local dt, n = t.quantity(p.dt), p.n
  local net = nn.Module()
  net.N = nn.HH(constants(p.neuron, t, n))
  net.E, net.I = projections(case, t, net.N, n, function(at) return nn.COBA:desc{E = t.quantity(p["E_" .. at])} end)
  nn.init_all_states(net)
  for _, name in ipairs{"V", "m", "h", "n"} do net.N[name].value = t.array(case, "init." .. name) end
  local last = bdl.ShortTermState(bdl.init.ZeroInit(){n})
  local drive = t.array(case, "I")
  local spike, V = bdl.for_loop(function(i)
    local _ <close> = bdl.environ.context{i = i, t = i * dt}
    local s = last.value
    net.E(part(s, 0, p.n_exc))
    net.I(part(s, p.n_exc, n))
    last.value = net.N(drive)
    return last.value, net.N.V.value
  end, indices(p.T))
  t.compare("spike", spike, case.arrays.spike)
  t.compare("V", thinned(V, p.every), case.arrays.V)
  t.compare("V_last", row(V, p.T - 1), case.arrays.V_last)
  count(case, t, "n_spikes", spike)
end

--- HH with densities per area, its own constants: the neuron of nn with other units.
local function hh_density(case, t)
  local p = case.params
  local a = {case.arrays.I.shape[2]}
  for _, name in ipairs{"ENa", "gNa", "EK", "gK", "EL", "gL", "C"} do a[name] = t.quantity(p[name]) end
  local N = nn.HH(a)
  nn.init_all_states(N)
  local V, m, h, n = bdl.for_loop(function(I)
    N(I)
    return N.V.value, N.m.value, N.h.value, N.n.value
  end, t.array(case, "I"))
  for name, x in pairs{V = V, m = m, h = h, n = n} do t.compare(name, thinned(x, p.every), case.arrays[name]) end
end

--- tau du/dt = -u + J r + I - v,  tau_v dv/dt = -v + m u,  r = u^2/(1 + k sum u^2); forward Euler, v with the new u.
local function cann(case, t)
  local p = case.params
  local ring = nn.CANN1D{p.num, tau = p.tau, tau_v = p.tau_v, m = p.m, k = p.k, a = p.a, A = p.A, J0 = p.J0}
  nn.init_all_states(ring)
  t.compare("x", ring.x, case.arrays.x)
  t.compare("conn", ring.conn, case.arrays.conn)
  local us, vs, rs, inputs = bdl.for_loop(function(at)
    local input = ring:stimulus(at)
    ring(input)
    return ring.u.value, ring.v.value, ring.r.value, input
  end, t.array(case, "pos"))
  for name, y in pairs{u = us, v = vs, r = rs} do t.compare(name, thinned(y, p.every), case.arrays[name]) end
  for name, y in pairs{u_last = us, v_last = vs, stimulus_last = inputs} do t.compare(name, row(y, p.T - 1), case.arrays[name]) end
end

return function(case, t)
  local p = case.params
  local kind = p.tau_v and cann or p.ENa and hh_density or p.n_inh and ei or hh_ei
  local _ <close> = bdl.environ.context{dt = t.quantity(p.dt)}
  kind(case, t)
end

--- W2: the COBA and CUBA networks.  w2.lua coba|cuba scale steps repeats
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"
local nn, u = bdl.nn, bdl.units

local net, scale, steps, repeats = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local coba = net == "coba"
local n_exc, n_inh = 3200*scale // 1 | 0, 800*scale // 1 | 0
local n = n_exc + n_inh

bdl.random.seed(1)
bdl.environ.set{dt = 0.1*u.ms}
local N = nn.LIFRef{n, tau = 20*u.ms, tau_ref = 5*u.ms, V_rest = (coba and -60 or -49)*u.mV, V_reset = -60*u.mV, V_th = -50*u.mV,
                    spk_reset = "hard", V_initializer = bdl.init.Normal{-55, 2, unit = u.mV}}
local function projection(n_pre, weight, tau, E)
  return nn.AlignPostProj{
    comm = bdl.conn.fixed_num_post(n_pre, n, 80, {weight = weight}),
    syn = nn.Expon:desc{n, tau = tau, g_initializer = bdl.init.ZeroInit{unit = u.siemens}},
    out = coba and nn.COBA:desc{E = E} or nn.CUBA:desc{scale = u.mV},
    post = N,
  }
end
local exc = projection(n_exc, (coba and 0.6 or 1.62)*u.siemens, 5*u.ms, 0*u.mV)
local inh = projection(n_inh, (coba and 6.7 or -9.0)*u.siemens, 10*u.ms, -80*u.mV)
nn.init_all_states(N)
local count = bdl.ShortTermState(bdl.zeros(n))
local V0, zero = N.V.value, bdl.zeros(n)

local run = bdl.jit(function()
  bdl.for_loop(function()
    local spikes = N:get_spike()
    exc(spikes[{{1, n_exc}}])
    inh(spikes[{{n_exc + 1, n}}])
    count.value = count.value + N(20*u.mA)
  end, bdl.arange(steps))
end)

local m = common.measure(repeats, run, function()
  nn.reset_all_states(N)
  N.V.value, count.value = V0, zero
end)
common.emit(m, {
  workload = "W2-" .. net, n = n, steps = steps, scale = scale, check = count.value:mean():item() / (steps * 1e-4),
})

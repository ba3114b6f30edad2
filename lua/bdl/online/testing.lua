--- A model with every kind of hidden state that traces meet, for examples and tests.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units
local online_nn = require "bdl.online.nn"

local M = {}

--- A recurrent layer of adaptive neurons:  [x, STP(spikes)] -> Linear (mS) -> Expon -> CUBA -> ALIF.
--  n_in, n_rec; inp_stp (false: the input has no STP), tau_mem (5 ms), tau_syn (10 ms), tau_a (100 ms), V_th (1 mV), beta (0.1 mV),
--  tau_f (500 ms), tau_d (100 ms), spk_fun, spk_reset ("soft"), rec_init, ff_init (KaimingNormal, in mS).
local ALIF_STPExpCu_Dense_Layer = nn.Module:extend "ALIF_STPExpCu_Dense_Layer"
M.ALIF_STPExpCu_Dense_Layer = ALIF_STPExpCu_Dense_Layer

function ALIF_STPExpCu_Dense_Layer:__init(...)
  local a = bdl.args({
    "n_in", "n_rec",
    inp_stp = false, tau_mem = 5*u.ms, tau_syn = 10*u.ms, V_th = 1*u.mV, beta = 0.1*u.mV, tau_f = 500*u.ms, tau_d = 100*u.ms,
    tau_a = 100*u.ms, spk_fun = bdl.surrogate.ReluGrad(), spk_reset = "soft", rec_init = bdl.init.KaimingNormal(),
    ff_init = bdl.init.KaimingNormal(),
  }, ...)
  self.inp_stp = a.inp_stp
  self.neu = online_nn.ALIF{a.n_rec, tau = a.tau_mem, tau_a = a.tau_a, V_th = a.V_th, beta = a.beta, spk_fun = a.spk_fun,
                            spk_reset = a.spk_reset}
  self.stp = online_nn.STP{a.n_rec, tau_f = a.tau_f, tau_d = a.tau_d}
  if a.inp_stp then self.stp_inp = online_nn.STP{a.n_in, tau_f = a.tau_f, tau_d = a.tau_d} end
  local w = bdl.concatenate({a.ff_init{a.n_in, a.n_rec}, a.rec_init{a.n_rec, a.n_rec}}, {axis = 1}) * u.mS
  self.syn = nn.AlignPostProj{
    comm = online_nn.Linear{a.n_in + a.n_rec, a.n_rec, w_init = w, b_init = bdl.init.ZeroInit{unit = u.mS}},
    syn = online_nn.Expon:desc{a.n_rec, tau = a.tau_syn}, out = nn.CUBA:desc(), post = self.neu,
  }
end

--- inp_spk : [n_in] 0 or 1  ->  [n_rec], 1 where spiking
function ALIF_STPExpCu_Dense_Layer:update(inp_spk)
  if self.inp_stp then inp_spk = self.stp_inp(inp_spk) end
  local released = self.stp(self.neu:get_spike())
  self.syn(bdl.concatenate({inp_spk, released}, {axis = -1}))
  self.neu()
  return self.neu:get_spike()
end

return M

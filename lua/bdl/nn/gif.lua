--- Generalized integrate-and-fire: two internal currents and a moving threshold.
--  Source: Mihalas & Niebur (2009), A generalized linear integrate-and-fire neural model produces diverse spiking behaviors.
--    Neural Comput 21.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(cells(2*bdl.units.mA), cells.V.value)
local core = require "bdl.core"
local init = require "bdl.init"
local u = require "bdl.units"
local integrate = require "bdl.nn.integrate"
local spiking = require "bdl.nn.spiking"

local M = {}

--- Generalised integrate-and-fire:  tau dV/dt = -(V - V_rest) + R (I1 + I2 + I),  dI1/dt = -k1 I1,  dI2/dt = -k2 I2,
--  dV_th/dt = a (V - V_rest) - b (V_th - V_th_inf);  V >= V_th: spike, V is reset, I1 = R1 I1 + A1, I2 = R2 I2 + A2,
--  V_th = max(V_th_reset, V_th).
--  R, tau : resistance; time constant of the membrane
--  V_rest, V_reset : resting potential; potential after a spike
--  V_th_inf, V_th_reset : the threshold at rest; its least value after a spike
--  a, b : rates at which the threshold follows V and returns
--  k1, k2 : rates of decay of the internal currents
--  R1, R2, A1, A2 : what a spike multiplies them by, and adds
--  States: V, the membrane potential; V_th, the threshold; I1, I2, internal currents.
local Gif = spiking.Spiking:extend "Gif"
M.Gif = Gif

function Gif:defaults()
  return {R = 20*u.ohm, tau = 20*u.ms, V_rest = -70*u.mV, V_reset = -70*u.mV, V_th_inf = -50*u.mV, V_th_reset = -60*u.mV,
          a = 0/u.ms, b = 0.01/u.ms, k1 = 0.2/u.ms, k2 = 0.02/u.ms, R1 = 0.0, R2 = 1.0, A1 = 0*u.mA, A2 = 0*u.mA,
          V_initializer = init.Constant(-70*u.mV), V_th_initializer = init.Constant(-50*u.mV),
          I1_initializer = init.Constant(0*u.mA), I2_initializer = init.Constant(0*u.mA)}
end

function Gif:threshold() return self.V_th.value end

function Gif:get_spike(V, V_th)
  V_th = V_th or self.V_th.value
  return self.spk_fun(((V or self.V.value) - V_th) / (V_th - self.V_reset))
end

function Gif:after_spike()
  local V, V_th, I1, I2 = self.V.value, self.V_th.value, self.I1.value, self.I2.value
  local s = self:get_spike(V, V_th)
  local top = self.spk_reset == "soft" and V_th or core.bind("stop_gradient", {}, V)
  return {
    V = V - (top - self.V_reset) * s,
    V_th = V_th + s * (core.bind("max", {}, self.V_th_reset, V_th) - V_th),
    I1 = I1 + s * (self.R1 * I1 + self.A1 - I1),
    I2 = I2 + s * (self.R2 * I2 + self.A2 - I2),
  }
end

function Gif:advance(from, I)
  local new = {}
  new.I1 = integrate.step(function(i) return -self.k1 * i end, from.I1)
  new.I2 = integrate.step(function(i) return -self.k2 * i end, from.I2)
  new.V_th = integrate.step(function(v_th) return self.a * (from.V - self.V_rest) - self.b * (v_th - self.V_th_inf) end, from.V_th)
  local pushed = self.R * self:internal(from, new)
  new.V = self:membrane(function(v) return self.V_rest - v + pushed end, from.V, I)
  return new
end

--- The internal current that drives V: that of the end of the step.
function Gif:internal(_, new) return new.I1 + new.I2 end

--- Gif with a refractory period, tau_ref 1.7 ms, in which all States keep what the reset left; the internal currents of the
--  start of a step drive V.
--- Gif with a refractory period:  its States keep what the reset left for tau_ref after a spike: dV/dt = 0 in the steps
--  k > i with (k - i) dt < tau_ref after a spike at i.
--  tau_ref : refractory period
--  States: V, the membrane potential; V_th, the threshold; I1, I2, internal currents; since_spike, steps since the last
--    spike.
M.GifRef = spiking.refractory(Gif, "GifRef", 1.7)

function M.GifRef:internal(from) return from.I1 + from.I2 end

return M

--- Conductance-based neurons with two or three variables.  None is reset: a spike is an upward crossing of V_th.
--  Example:
--    bdl.environ.set{dt = 0.01*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(cells(10*bdl.units.uA), cells.V.value)
local core = require "bdl.core"
local init = require "bdl.init"
local u = require "bdl.units"
local step = require "bdl.nn.integrate".step
local Spiking = require "bdl.nn.spiking".Spiking

local M = {}

local function bind(prim, ...) return core.bind(prim, {}, ...) end
local function exp(x) return bind("exp", x) end

--- Neurons that are not reset.
local Crossing = Spiking:extend "Crossing"
M.Crossing = Crossing

function Crossing:get_spike(V) return self:spike(V or self.V.value, self.V_th, self:above_zero "V_th") end

--- I : [n]  ->  [n], 1 where V crosses V_th upwards
function Crossing:update(I)
  local V = self.V.value
  local from = {}
  for _, name in ipairs(self._states) do from[name] = self[name].value end
  local new = self:advance(from, self:sum_current_inputs(I or self:no_input(), V))
  new.V = self:sum_delta_inputs(new.V)
  for _, name in ipairs(self._states) do self[name].value = new[name] end
  return self:get_spike(new.V) * (1 - self:get_spike(V))
end

--- Fast-spiking interneuron:  C dV/dt = -gNa m_inf^3 h (V - ENa) - gK n^4 (V - EK) - gL (V - EL) + I,
--  dx/dt = phi (alpha_x (1 - x) - beta_x x) for x = h, n,  m_inf = alpha_m/(alpha_m + beta_m).
--  ENa, EK, EL : reversal potentials of sodium, potassium, leak
--  gNa, gK, gL : their largest conductances
--  C : capacitance
--  phi : how much faster the gates are than at the temperature of their rates
--  V_th : potential whose crossing counts as a spike
--  States: V, the membrane potential; h, n, gates within 0..1.
--  Source: Wang & Buzsaki (1996), Gamma oscillation by synaptic inhibition in a hippocampal interneuronal network model.
--    J Neurosci 16.
local WangBuzsakiHH = Crossing:extend "WangBuzsakiHH"
M.WangBuzsakiHH = WangBuzsakiHH

function WangBuzsakiHH:defaults()
  return {ENa = 55*u.mV, EK = -90*u.mV, EL = -65*u.mV, gNa = 35*u.mS, gK = 9*u.mS, gL = 0.1*u.mS, C = 1*u.uF, phi = 5.0, V_th = 20*u.mV,
          V_initializer = init.Constant(-65*u.mV), h_initializer = init.Constant(0.6), n_initializer = init.Constant(0.32)}
end

function WangBuzsakiHH:no_input() return 0 * u.uA end

--- Rates of opening and closing in 1/ms at v mV.
local RATES = {
  m = function(v) return 1 / bind("exprel", v * -0.1 - 3.5), 4 * exp((v + 60) * (-1 / 18)) end,
  h = function(v) return 0.07 * exp((v + 58) * (-1 / 20)), bind("sigmoid", (v + 28) * 0.1) end,
  n = function(v) return 0.1 / bind("exprel", v * -0.1 - 3.4), 0.125 * exp((v + 44) * (-1 / 80)) end,
}

function WangBuzsakiHH:advance(from, I)
  local v = from.V / u.mV
  local open, close = RATES.m(v)
  local m = open / (open + close)
  local gNa, gK = self.gNa * (m * m * m * from.h), self.gK * core.bind("integer_pow", {y = 4}, from.n)
  local new = {}
  new.V = step(function(x)
    return (I - gNa * (x - self.ENa) - gK * (x - self.EK) - self.gL * (x - self.EL)) / self.C
  end, from.V)
  for _, name in ipairs{"h", "n"} do
    local up, down = RATES[name](v)
    local both = up + down
    new[name] = step(function(x) return up - both * x end, from[name], self.phi / u.ms)
  end
  return new
end

--- Barnacle muscle fibre:  C dV/dt = -g_Ca M_inf (V - V_Ca) - g_K W (V - V_K) - g_leak (V - V_leak) + I,
--  dW/dt = phi cosh((V - V3)/(2 V4)) (W_inf - W),  M_inf = (1 + tanh((V - V1)/V2))/2,  W_inf = (1 + tanh((V - V3)/V4))/2.
--  V_Ca, V_K, V_leak : reversal potentials
--  g_Ca, g_K, g_leak : largest conductances
--  C : capacitance
--  V1, V2, V3, V4 : middle and width of the activation of calcium, then of potassium
--  phi : rate of W
--  V_th : potential whose crossing counts as a spike
--  States: V, the membrane potential; W, the part of potassium channels that is open.
--  Source: Morris & Lecar (1981), Voltage oscillations in the barnacle giant muscle fiber. Biophys J 35.
local MorrisLecar = Crossing:extend "MorrisLecar"
M.MorrisLecar = MorrisLecar

function MorrisLecar:defaults()
  return {V_Ca = 130*u.mV, g_Ca = 4.4*u.mS, V_K = -84*u.mV, g_K = 8*u.mS, V_leak = -60*u.mV, g_leak = 2*u.mS, C = 20*u.uF, V1 = -1.2*u.mV,
          V2 = 18*u.mV, V3 = 2*u.mV, V4 = 30*u.mV, phi = 0.04/u.ms, V_th = 10*u.mV,
          V_initializer = init.Uniform(-70*u.mV, -60*u.mV), W_initializer = init.Constant(0.02)}
end

function MorrisLecar:no_input() return 0 * u.uA end

function MorrisLecar:advance(from, I)
  local V = from.V
  local g_Ca = self.g_Ca * (0.5 * (1 + bind("tanh", (V - self.V1) / self.V2)))
  local g_K = self.g_K * from.W
  local W_inf = 0.5 * (1 + bind("tanh", (V - self.V3) / self.V4))
  local rate = self.phi * bind("cosh", (V - self.V3) / (2 * self.V4))
  return {
    V = step(function(x)
      return (I - g_Ca * (x - self.V_Ca) - g_K * (x - self.V_K) - self.g_leak * (x - self.V_leak)) / self.C
    end, V),
    W = step(function(x) return rate * (W_inf - x) end, from.W),
  }
end

return M

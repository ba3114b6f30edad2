--- Hodgkin and Huxley's neuron.
local core = require "bdl.core"
local args = require "bdl.args"
local init = require "bdl.init"
local state = require "bdl.state"
local u = require "bdl.units"
local step = require "bdl.nn.integrate".step
local Neuron = require "bdl.nn.neuron".Neuron

local function bind(prim, ...) return core.bind(prim, {}, ...) end
local function exp(x) return bind("exp", x) end

--- Rates of opening and closing in 1/ms at v mV.
local RATES = {
  m = function(v) return 1 / bind("exprel", v * -0.1 - 4.0), 4 * exp((v + 65) * (-1 / 18)) end,
  h = function(v) return 0.07 * exp((v + 65) * (-1 / 20)), bind("sigmoid", (v + 35) * 0.1) end,
  n = function(v) return 0.1 / bind("exprel", v * -0.1 - 5.5), 0.125 * exp((v + 65) * (-1 / 80)) end,
}

local GATES = {"m", "h", "n"}

--- Squid axon:  C dV/dt = -gNa m^3 h (V - ENa) - gK n^4 (V - EK) - gL (V - EL) + I,  dx/dt = alpha_x (1 - x) - beta_x x
--  for x = m, h, n.  V and gates advance by exponential Euler from the values at the start of the step.  A spike is an
--  upward crossing of V_th.
--  ENa, EK, EL : reversal potentials of sodium, potassium, leak
--  gNa, gK, gL : their largest conductances
--  C : capacitance
--  V_th : potential whose crossing counts as a spike
--  m_initializer, h_initializer, n_initializer : the steady state at V where none is given
--  States: V, the membrane potential; m, h, n, gates within 0..1.
--  Source: Hodgkin & Huxley (1952), A quantitative description of membrane current and its application to conduction
--    and excitation in nerve. J Physiol 117; in the form of Gerstner et al. (2014), Neuronal Dynamics, section 2.2.
--  Example:
--    bdl.environ.set{dt = 0.01*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(cells(10*bdl.units.uA), cells.V.value)
local HH = Neuron:extend "HH"

function HH:__init(...)
  local a = args(Neuron.spec{
    ENa = 50*u.mV, gNa = 120*u.mS, EK = -77*u.mV, gK = 36*u.mS, EL = -54.387*u.mV, gL = 0.03*u.mS, V_th = 20*u.mV, C = 1*u.uF,
    V_initializer = init.Constant(-65*u.mV), m_initializer = require "bdl.none".none, h_initializer = require "bdl.none".none,
    n_initializer = require "bdl.none".none}, ...)
  HH.super.__init(self, Neuron.common(a))
  self:set_params(a, "ENa EK EL gNa gK gL C V_th")
  for _, x in ipairs{"V", "m", "h", "n"} do self[x .. "_initializer"] = a[x .. "_initializer"] end
end

--- Gates without an initialiser start at their steady state.
function HH:init_state(batch_size)
  self.V = state.HiddenState(init.param(self.V_initializer, self.varshape, batch_size))
  local v = self.V.value / u.mV
  for _, x in ipairs(GATES) do
    local open, close = RATES[x](v)
    local start = self[x .. "_initializer"]
    self[x] = state.HiddenState(start and init.param(start, self.varshape, batch_size) or open / (open + close))
  end
end

function HH:get_spike(V) return self:spike(V or self.V.value, self.V_th, self:above_zero "V_th") end

--- I : [n] uA  ->  [n], 1 where V crosses V_th upwards
function HH:update(I)
  local V, m, h, n = self.V.value, self.m.value, self.h.value, self.n.value
  I = self:sum_current_inputs(I or 0*u.uA, V)  -- constant over the step, as in brainpy.state: not part of the slope
  local gNa, gK = self.gNa * (m * m * m * h), self.gK * bind("mul", n * n, n * n)
  local new = step(function(v)
    return (I - gNa * (v - self.ENa) - gK * (v - self.EK) - self.gL * (v - self.EL)) / self.C
  end, V)
  new = self:sum_delta_inputs(new)
  local v = V / u.mV
  for i, value in ipairs{m, h, n} do
    local x = GATES[i]
    local open, close = RATES[x](v)
    local both = open + close
    self[x].value = step(function(y) return open - both * y end, value, 1 / u.ms)
  end
  self.V.value = new
  return self:get_spike(new) * (1 - self:get_spike(V))
end

return {HH = HH}

--- Dimensionless reductions of conductance-based neurons.  None is reset: a spike is an upward crossing of V_th.
--  Example:
--    bdl.environ.set{dt = 0.01*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.NAME(2))
--    print(cells(0.5), cells.V.value)
local core = require "bdl.core"
local init = require "bdl.init"
local u = require "bdl.units"
local step = require "bdl.nn.integrate".step
local Crossing = require "bdl.nn.conductance".Crossing

local M = {}

local function power(x, n) return core.bind("integer_pow", {y = n}, x) end

--- Oscillator of two variables:  tau dV/dt = V - V^3/3 - w + I,  tau_w dw/dt = V + a - b w.
--  a, b : offset and damping of the recovery
--  tau, tau_w : time constants of V and of w
--  V_th : value whose crossing counts as a spike
--  States: V, the excitation; w, the recovery; both, and I, without unit.
--  Source: FitzHugh (1961), Impulses and physiological states in theoretical models of nerve membrane. Biophys J 1;
--    Nagumo, Arimoto & Yoshizawa (1962), An active pulse transmission line simulating nerve axon. Proc IRE 50.
local FitzHughNagumo = Crossing:extend "FitzHughNagumo"
M.FitzHughNagumo = FitzHughNagumo

function FitzHughNagumo:defaults()
  return {a = 0.7, b = 0.8, tau = 1*u.ms, tau_w = 12.5*u.ms, V_th = 1.0, V_initializer = init.Constant(-1.2), w_initializer = init.Constant(-0.62)}
end

function FitzHughNagumo:no_input() return 0.0 end

function FitzHughNagumo:advance(from, I)
  local V, w = from.V, from.w
  return {
    V = step(function(v) return v - power(v, 3) / 3 - w + I end, V, 1 / self.tau),
    w = step(function(x) return V + self.a - self.b * x end, w, 1 / self.tau_w),
  }
end

--- Bursting:  tau dV/dt = y - a V^3 + b V^2 - z + I,  tau dy/dt = c - d V^2 - y,  tau dz/dt = r (s (V - V_r) - z).
--  a, b, c, d : coefficients of the upstroke and of y
--  r, s, V_r : of the slow current: rate; coupling to V; V at rest
--  tau : time constant
--  V_th : value whose crossing counts as a spike
--  States: V, the potential; y, the fast recovery; z, the slow current; all, and I, without unit.
--  Source: Hindmarsh & Rose (1984), A model of neuronal bursting using three coupled first order differential equations.
--    Proc R Soc B 221.
local HindmarshRose = Crossing:extend "HindmarshRose"
M.HindmarshRose = HindmarshRose

function HindmarshRose:defaults()
  return {a = 1.0, b = 3.0, c = 1.0, d = 5.0, r = 0.006, s = 4.0, V_r = -1.6, tau = 1*u.ms, V_th = 1.0,
          V_initializer = init.Constant(-1.6), y_initializer = init.Constant(-10.0), z_initializer = init.Constant(0.0)}
end

function HindmarshRose:no_input() return 0.0 end

function HindmarshRose:advance(from, I)
  local V, rate = from.V, 1 / self.tau
  return {
    V = step(function(v) return from.y - self.a * power(v, 3) + self.b * power(v, 2) - from.z + I end, V, rate),
    y = step(function(y) return self.c - self.d * power(V, 2) - y end, from.y, rate),
    z = step(function(z) return self.s * (V - self.V_r) - z end, from.z, self.r * rate),
  }
end

return M

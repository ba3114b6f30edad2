--- Rate models.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local m = bdl.nn.init_all_states(bdl.nn.NAME(4))
--    print(m(1.0))
local core = require "bdl.core"
local args = require "bdl.args"
local environ = require "bdl.environ"
local init = require "bdl.init"
local state = require "bdl.state"
local u = require "bdl.units"
local constants = require "bdl.nn.constants"
local step = require "bdl.nn.integrate".step
local none = require "bdl.none".none
local Dynamics = require "bdl.nn.dynamics".Dynamics

local M = {}

local function bind(prim, ...) return core.bind(prim, {}, ...) end

--- Excitation and inhibition:  tau_E dE/dt = -E + (1 - r E) S_E(w_EE E - w_IE I + P),
--  tau_I dI/dt = -I + (1 - r I) S_I(w_EI E - w_II I + Q),  S(x) = 1/(1 + e^(-a (x - theta))) - 1/(1 + e^(a theta)).
--  Exponential Euler, S from the start of the step.
--  tau_E, tau_I : time constants
--  w_EE, w_IE, w_EI, w_II : weights: of excitation on itself, inhibition on excitation, excitation on inhibition,
--    inhibition on itself
--  a_E, theta_E, a_I, theta_I : slope and threshold of the responses
--  r : refractoriness
--  States: E, I, the active shares of excitatory and inhibitory cells.
--  Source: Wilson & Cowan (1972), Excitatory and inhibitory interactions in localized populations of model neurons.
--    Biophys J 12.
local WilsonCowan = Dynamics:extend "WilsonCowan"
M.WilsonCowan = WilsonCowan

local CONSTANTS = "tau_E tau_I w_EE w_IE w_EI w_II a_E theta_E a_I theta_I r"

function WilsonCowan:__init(...)
  local a = args({"size", tau_E = 10*u.ms, tau_I = 10*u.ms, w_EE = 16.0, w_IE = 12.0, w_EI = 15.0, w_II = 3.0, a_E = 1.3, theta_E = 4.0,
                  a_I = 2.0, theta_I = 3.7, r = 1.0, E_initializer = init.Constant(0.0), I_initializer = init.Constant(0.0), name = none}, ...)
  WilsonCowan.super.__init(self, {a.size, name = a.name or none})
  constants.set(self, a, CONSTANTS)
  self.E_initializer, self.I_initializer = a.E_initializer, a.I_initializer
end

function WilsonCowan:init_state(batch_size)
  self.E = state.HiddenState(init.param(self.E_initializer, self.varshape, batch_size))
  self.I = state.HiddenState(init.param(self.I_initializer, self.varshape, batch_size))
end

local function response(x, a, theta) return bind("sigmoid", a * (x - theta)) - 1 / (1 + bind("exp", a * theta)) end

--- P, Q : [n], inputs of excitation and inhibition  ->  E
function WilsonCowan:update(P, Q)
  local E, I = self.E.value, self.I.value
  local e = response(self.w_EE * E - self.w_IE * I + self:sum_current_inputs(P or 0.0, E), self.a_E, self.theta_E)
  local i = response(self.w_EI * E - self.w_II * I + (Q or 0.0), self.a_I, self.theta_I)
  self.E.value = step(function(x) return (1 - self.r * x) * e - x end, E, 1 / self.tau_E)
  self.I.value = step(function(x) return (1 - self.r * x) * i - x end, I, 1 / self.tau_I)
  return self.E.value
end

--- Continuous attractor on a ring:  tau du/dt = -u + J r + I - v,  tau_v dv/dt = -v + m u,  r = u^2/(1 + k sum u^2),
--  J(d) = J0 e^(-d^2/(2 a^2))/(sqrt(2 pi) a),  d the distance on the ring of num places from z_min to z_max (both ends).
--  Forward Euler, v with the new u.
--  num : places on the ring
--  tau, tau_v : time constants of u and of the adaptation
--  m : strength of the adaptation
--  k : strength of the divisive inhibition
--  a, J0 : width and strength of the connections
--  A : height of stimuli
--  z_min, z_max : ends of the ring
--  States: u, the input; v, the adaptation; r, the rates.
--  Source: Wu, Hamaguchi & Amari (2008), Dynamics and computation of continuous attractors. Neural Comput 20; Mi et al.
--    (2014), Spike frequency adaptation implements anticipative tracking in continuous attractor neural networks. NIPS,
--    for v.
local CANN1D = Dynamics:extend "CANN1D"
M.CANN1D = CANN1D

function CANN1D:__init(...)
  local a = args({"num", tau = 1*u.ms, tau_v = 48*u.ms, m = 0.0, k = 8.1, a = 0.5, A = 10.0, J0 = 4.0, z_min = -math.pi, z_max = math.pi,
                  name = none}, ...)
  CANN1D.super.__init(self, {a.num, name = a.name or none})
  constants.set(self, a, "z_min z_max", {})
  local ring = self.z_max - self.z_min
  if not (constants.least(ring) > 0) then
    core.fail("ValueError", 2, "nn.CANN1D: z_min (%s) lies above z_max (%s)", tostring(a.z_min), tostring(a.z_max))
  end
  constants.set(self, a, "tau tau_v m k a A J0")
  local i = core.bind("iota", {shape = {a.num}, axis = 0, dtype = (core.precision())})
  self.x = i * (ring / math.max(a.num - 1, 1)) + self.z_min
  local d = self:distance(core.bind("reshape", {shape = {a.num, 1}}, self.x) - self.x)
  self.conn = self.J0 * bind("exp", -0.5 * (d / self.a) ^ 2) / (math.sqrt(2 * math.pi) * self.a)
end

--- d brought into half the ring.
function CANN1D:distance(d)
  local ring = self.z_max - self.z_min
  d = bind("mod", d, ring)
  return bind("select", bind("gt", d, 0.5 * ring), d - ring, d)
end

--- The bump of a stimulus at a place of the ring.
function CANN1D:stimulus(place) return self.A * bind("exp", -0.25 * (self:distance(self.x - place) / self.a) ^ 2) end

function CANN1D:init_state(batch_size)
  for _, name in ipairs{"u", "v", "r"} do
    self[name] = state.HiddenState(init.Constant(0.0)(self.varshape, batch_size))
  end
end

--- I : [num]  ->  u
function CANN1D:update(I)
  local dt, x, v = environ.get "dt", self.u.value, self.v.value
  local squares = x * x
  self.r.value = squares / (1 + self.k * squares:sum{axis = -1, keepdims = true})
  local new = x + (self.r.value:matmul(self.conn) - x + (I or 0.0) - v) * (dt / self.tau)
  self.v.value = v + (self.m * new - v) * (dt / self.tau_v)
  self.u.value = new
  return new
end

return M

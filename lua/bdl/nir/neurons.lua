--- The neurons of NIR.  Numbers have no unit, times without one are seconds; parameters may differ between neurons.
--  method: "exact", the solution for an input that is constant over dt, or "euler".  Spikes where v > v_threshold.
--  dt: of a step; the environ's where none is given.
--  Source: Pedersen et al. (2024), Neuromorphic intermediate representation. Nat Commun 15, 8122, table 1.
--  Example:
--    bdl.environ.set{dt = 1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nir.NAME(2))
--    print(cells(bdl.ones(2)))
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local constants = require "bdl.nn.constants"
local environ = require "bdl.environ"
local init = require "bdl.init"
local none = require "bdl.none".none
local state = require "bdl.state"
local surrogate = require "bdl.surrogate"
local trace = require "bdl.augment.trace"
local u = require "bdl.units"
local Dynamics = require "bdl.nn.dynamics".Dynamics
local InputDelay = require "bdl.nn.delay".InputDelay

local M = {}

local NONE = {}
local TIMES = {tau = true, tau_syn = true, tau_mem = true}

local function exp(x) return core.bind("exp", NONE, x) end

local function dt_of(self)
  if self.dt == nil then return environ.get "dt" end
  return self.dt
end

--- Errors: ValueError, UnitMismatchError.
local function check_dt(who, dt)
  if dt == nil then return nil end
  if not core.unit_of(dt) then dt = dt * u.second end
  if not pcall(core.convert, dt, u.second) or not (core.item(core.mantissa(dt)) > 0) then
    core.fail("ValueError", 4, "%s: dt is a time > 0, not %s", who, tostring(dt))
  end
  return dt
end

-- ---- what they share ------------------------------------------------------------------------------------------------

--- A class sets `parameters`, names and defaults; step(I), the new values of its States by name.
local Neuron = Dynamics:extend "NIRNeuron"

--- Errors: TypeError; ValueError; UnitMismatchError, a parameter that is no time has a unit.
function Neuron:__init(...)
  local spec = {"size", method = "exact", dt = none, name = none}
  for name, default in pairs(self.parameters) do spec[name] = default end
  if self.spikes then spec.spk_fun = none end
  local a = args(spec, ...)
  local who = class.qualified_name(class.of(self))
  Neuron.super.__init(self, {a.size, name = a.name or none})
  if a.method ~= "exact" and a.method ~= "euler" then
    core.fail("ValueError", 3, "%s: method is 'exact' or 'euler', not '%s'", who, tostring(a.method))
  end
  for name in pairs(self.parameters) do
    if TIMES[name] and not core.unit_of(a[name]) then a[name] = a[name] * u.second end
    if not TIMES[name] and core.unit_of(a[name]) then
      core.fail("UnitMismatchError", 3, "%s: %s is a number without unit, not in <%s>", who, name,
                tostring(core.unit_of(a[name])))
    end
  end
  constants.set(self, a, table.concat(require "bdl.util".sorted_keys(self.parameters), " "))
  self.method = a.method
  self.dt = check_dt(who, a.dt)
  if self.spikes then self.spk_fun = a.spk_fun or surrogate.ReluGrad() end
end

--- v begins at rest.
function Neuron:init_state(batch_size)
  local rest = 0.0 * self.r + (self.v_leak or 0.0)
  self.v = state.HiddenState(init.param(init.Constant(rest), self.varshape, batch_size))
  if self.tau_syn then self.i = state.HiddenState(init.param(init.Constant(0.0 * rest), self.varshape, batch_size)) end
end

--- [v > threshold], with the surrogate's derivative.
local function spike(self, v, threshold)
  if class.isa(self.spk_fun, surrogate.Surrogate) and not trace.differentiating() then
    return core.cast(core.bind("gt", NONE, v, threshold), v.dtype)
  end
  return 1 - self.spk_fun(threshold - v)         -- spk_fun says >=
end

local function keep(s, x) s.value = core.cast(x, s.value.dtype) end

--- I : [.., size] -> [.., size]: 0 or 1 where it spikes, else v
function Neuron:update(I)
  local v, i = self:step(self:sum_current_inputs(I))
  if i then keep(self.i, i) end
  if not self.spikes then
    keep(self.v, v)
    return v
  end
  local z = spike(self, v, self.v_threshold)
  if trace.differentiating() then
    keep(self.v, v - core.bind("stop_gradient", NONE, v - self.v_reset) * z)
  else
    keep(self.v, core.bind("select", NONE, core.bind("gt", NONE, z, 0), self.v_reset, v))
  end
  return z
end

--- dt / tau, a plain number.  Errors: UnitMismatchError, dt is no time.
local function steps_per(self, tau)
  local z = dt_of(self) / tau
  if not u.is_dimensionless(z) then
    core.fail("UnitMismatchError", 4, "%s: dt is a time, 0.1*bdl.units.ms, not %s",
              class.qualified_name(class.of(self)), tostring(dt_of(self)))
  end
  return z
end

-- ---- their steps ----------------------------------------------------------------------------------------------------

local function integrator(self, I)
  return self.v.value + steps_per(self, 1.0 * u.second) * (self.r * I)
end

local function leaky(self, I)
  local v, target, z = self.v.value, self.v_leak + self.r * I, steps_per(self, self.tau)
  if self.method == "euler" then return v + z * (target - v) end
  return v * exp(-z) - core.bind("expm1", NONE, -z) * target
end

--- Both equations are linear: with a = dt/tau_syn, b = dt/tau_mem, i* = w_in S, v* = v_leak + r i*
--    v' = v* + (v - v*) e^-b + r (i - i*) b e^-b exprel(b - a)
local function current_based(self, S)
  local a, b, v, i = steps_per(self, self.tau_syn), steps_per(self, self.tau_mem), self.v.value, self.i.value
  local i_end = self.w_in * S
  if self.method == "euler" then
    i = i + a * (i_end - i)
    return v + b * (self.v_leak + self.r * i - v), i
  end
  local v_end, keeps = self.v_leak + self.r * i_end, exp(-b)
  local passes = self.r * (b * keeps) * core.bind("exprel", NONE, b - a)
  return v_end + (v - v_end) * keeps + (i - i_end) * passes, i_end + (i - i_end) * exp(-a)
end

-- ---- the classes ----------------------------------------------------------------------------------------------------

--- Integrator:  dv/dt = r I.
--  r : gain, per second
--  method : "exact" or "euler", here the same
--  dt : of a step; the environ's where none is given
--  States: v.
local I = Neuron:extend "I"
I.parameters = {r = 1.0}
I.step = integrator
M.I = I

--- Leaky integrator:  tau dv/dt = v_leak - v + r I.
--  tau : time constant
--  r, v_leak : resistance; rest
--  method : "exact" for an I that is constant over dt, or "euler"
--  dt : of a step; the environ's where none is given
--  States: v.
local LI = Neuron:extend "LI"
LI.parameters = {tau = 20*u.ms, r = 1.0, v_leak = 0.0}
LI.step = leaky
M.LI = LI

--- Integrate-and-fire:  dv/dt = r I;  v > v_threshold: spike, v = v_reset.
--  r : gain, per second
--  v_threshold, v_reset : threshold; v after a spike
--  method : "exact" or "euler", here the same
--  dt : of a step; the environ's where none is given
--  spk_fun : the surrogate of the derivative; ReluGrad where none is given
--  States: v.
local IF = Neuron:extend "IF"
IF.parameters = {r = 1.0, v_threshold = 1.0, v_reset = 0.0}
IF.step, IF.spikes = integrator, true
M.IF = IF

--- Leaky integrate-and-fire:  tau dv/dt = v_leak - v + r I;  v > v_threshold: spike, v = v_reset.
--  tau : time constant
--  r, v_leak : resistance; rest
--  v_threshold, v_reset : threshold; v after a spike
--  method : "exact" between spikes for an I that is constant over dt, or "euler"
--  dt : of a step; the environ's where none is given
--  spk_fun : the surrogate of the derivative; ReluGrad where none is given
--  States: v.
local LIF = Neuron:extend "LIF"
LIF.parameters = {tau = 20*u.ms, r = 1.0, v_leak = 0.0, v_threshold = 1.0, v_reset = 0.0}
LIF.step, LIF.spikes = leaky, true
M.LIF = LIF

--- Leaky integrator with a current:  tau_syn di/dt = -i + w_in S,  tau_mem dv/dt = v_leak - v + r i.
--  tau_syn, tau_mem : time constants of i and v
--  r, v_leak, w_in : resistance; rest; weight of the input
--  method : "exact" for an S that is constant over dt, or "euler", first i, then v with the new i
--  dt : of a step; the environ's where none is given
--  States: v; i.
local CubaLI = Neuron:extend "CubaLI"
CubaLI.parameters = {tau_syn = 5*u.ms, tau_mem = 20*u.ms, r = 1.0, v_leak = 0.0, w_in = 1.0}
CubaLI.step = current_based
M.CubaLI = CubaLI

--- Leaky integrate-and-fire with a current:  tau_syn di/dt = -i + w_in S,  tau_mem dv/dt = v_leak - v + r i;  v >
--  v_threshold: spike, v = v_reset.
--  tau_syn, tau_mem : time constants of i and v
--  r, v_leak, w_in : resistance; rest; weight of the input
--  v_threshold, v_reset : threshold; v after a spike
--  method : "exact" between spikes for an S that is constant over dt, or "euler", first i, then v with the new i
--  dt : of a step; the environ's where none is given
--  spk_fun : the surrogate of the derivative; ReluGrad where none is given
--  States: v; i.
local CubaLIF = Neuron:extend "CubaLIF"
CubaLIF.parameters = {tau_syn = 5*u.ms, tau_mem = 20*u.ms, r = 1.0, v_leak = 0.0, w_in = 1.0, v_threshold = 1.0,
                      v_reset = 0.0}
CubaLIF.step, CubaLIF.spikes = current_based, true
M.CubaLIF = CubaLIF

--- A step:  z = 1 where x > threshold, else 0.
--  threshold : of x
--  spk_fun : the surrogate of the derivative; ReluGrad where none is given
local Threshold = Dynamics:extend "Threshold"
M.Threshold = Threshold

function Threshold:__init(...)
  local a = args({"size", threshold = 1.0, spk_fun = none, name = none}, ...)
  Threshold.super.__init(self, {a.size, name = a.name or none})
  constants.set(self, a, "threshold")
  self.spk_fun = a.spk_fun or surrogate.ReluGrad()
end

--- x : [.., size] -> [.., size]
function Threshold:update(x) return spike(self, x, self.threshold) end

--- A delay:  y(t) = x(t - delay), 0 before the first x; between steps by linear interpolation.
--  delay : a time, or times [size]
--  States: history, the last values; write_ptr, the row that is written next.
--  Example:
--    bdl.environ.set{dt = 1*bdl.units.ms}
--    local late = bdl.nn.init_all_states(bdl.nir.Delay(2, 3*bdl.units.ms))
--    print(late(bdl.ones(2)))
local Delay = InputDelay:extend "Delay"
M.Delay = Delay

--- Errors: ValueError, a delay < 0.
function Delay:__init(...)
  local a = args({"size", "delay", dt = none, name = none}, ...)
  local delay = core.unit_of(a.delay) and a.delay or a.delay * u.second
  if not ((constants.least(delay) or 0) >= 0) then
    core.fail("ValueError", 2, "nir.Delay: a delay is a time >= 0, not %s", tostring(delay))
  end
  InputDelay.__init(self, {a.size, delay, name = a.name or none})
  self.out_size = self.in_size
  self.dt = check_dt("nir.Delay", a.dt)
end

local function in_dt(self, f, ...)
  if self.dt == nil then return f(self, ...) end
  return environ.context({dt = self.dt}, f, self, ...)
end

function Delay:init_state(batch_size) return in_dt(self, InputDelay.init_state, batch_size) end

function Delay:is_past() return in_dt(self, InputDelay.is_past) end
function Delay:ahead() return in_dt(self, InputDelay.ahead) end

--- x : [.., size] -> what it was
function Delay:update(x) return in_dt(self, InputDelay.update, x) end

return M

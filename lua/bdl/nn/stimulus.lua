--- Inputs that follow the clock: currents as functions of the step, alike for all neurons, or noise, for each its own.
--  The clock is `i` of the environ (else t/dt); times count whole steps: a window [a, b) holds the steps i with a <= i dt < b.
--  Source: Gerstner, Kistler, Naud & Paninski (2014), Neuronal Dynamics. Cambridge University Press, section 1.3.
local core = require "bdl.core"
local args = require "bdl.args"
local environ = require "bdl.environ"
local state = require "bdl.state"
local u = require "bdl.units"
local none = require "bdl.none".none
local window = require "bdl.nn.window"
local Dynamics = require "bdl.nn.dynamics".Dynamics

local M = {}

local function bind(prim, ...) return core.bind(prim, {}, ...) end

local Stimulus = Dynamics:extend "Stimulus"

function Stimulus:keep(a, names)
  Stimulus.super.__init(self, {a.size, name = a.name or none})
  for name in names:gmatch "%S+" do self[name] = a[name] end
end

--- x, a float, for each neuron.
function Stimulus:spread(x)
  x = core.is_tensor(x) and x or core.tensor(x)
  if x.dtype:find "int" then x = core.cast(x, (core.precision())) end
  return core.bind("broadcast", {shape = {table.unpack(self.varshape)}, dims = {}}, x)
end

--- x where `inside`, else 0.
local function only(inside, x)
  return bind("select", inside, x, core.with_unit(core.tensor(0.0, x.dtype), core.unit_of(x)))
end

--- x in the window of steps [from, to), else 0.
local function within(i, from, to, x)
  local inside = bind("lt", i, math.ceil(to))
  if from > 0 then inside = bind("and", inside, bind("ge", i, math.ceil(from))) end
  return only(inside, x)
end

local function duration(self) return window.in_steps("a duration", self.duration) end

--- The index as a float.
local function float(i) return core.cast(core.is_tensor(i) and i or core.tensor(i), (core.precision())) end

--- values[k] where k of the ascending numbers `edges` are <= i.
local function staircase(i, edges, values)
  local steps = {}
  for k, q in ipairs(edges) do steps[k] = math.ceil(q) end
  local passed = bind("ge", i, core.tensor(steps, "int32"))
  local k = core.bind("reduce_sum", {axes = {0}}, core.cast(passed, "int32"))
  return core.with_unit(core.bind("gather", {axis = 0}, core.mantissa(values), k), core.unit_of(values))
end

--- 0 put before (or after) the values.
local function padded(values, before)
  local zero = core.tensor({0.0}, values.dtype)
  local list = before and {zero, core.mantissa(values)} or {core.mantissa(values), zero}
  return core.with_unit(core.bind("concatenate", {axis = 0}, list[1], list[2]), core.unit_of(values))
end

local function check_lengths(who, a, b)
  local n, m = core.is_tensor(a) and a.size or #a, core.is_tensor(b) and b.size or #b
  if n ~= m or n == 0 then core.fail("ValueError", 3, "%s: %d values and %d times; one time each", who, n, m) end
end

--- A constant:  I = value for a duration, then 0.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms, i = 3}
--    local input = bdl.nn.ConstantInput(2, 1*u.mA, 10*u.ms)
--    print(input())
local ConstantInput = Stimulus:extend "ConstantInput"
M.ConstantInput = ConstantInput
function ConstantInput:__init(...) self:keep(args({"size", "value", "duration", name = none}, ...), "value duration") end
function ConstantInput:update() return within(window.step_now(), 0, duration(self), self:spread(self.value)) end

--- Sections:  I = values[k] for durations[k], one after the other, then 0.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms, i = 3}
--    local input = bdl.nn.SectionInput(2, {0*u.mA, 1*u.mA}, {0.1*u.ms, 10*u.ms})
--    print(input())
local SectionInput = Stimulus:extend "SectionInput"
M.SectionInput = SectionInput

function SectionInput:__init(...)
  local a = args({"size", "values", "durations", name = none}, ...)
  check_lengths("nn.SectionInput", a.values, a.durations)
  a.values, a.durations = window.vector(a.values), window.vector(a.durations)
  self:keep(a, "values durations")
end

function SectionInput:update()
  local edges, total = {}, 0
  for k, q in ipairs(window.in_steps("a duration", self.durations)) do
    total = total + q
    edges[k] = math.abs(total - math.floor(total + 0.5)) < 1e-6 * total and math.floor(total + 0.5) or total
  end
  return self:spread(staircase(window.step_now(), edges, padded(self.values, false)))
end

--- Steps:  I = 0, then amplitudes[k] from step_times[k] on; the last one stays.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms, i = 3}
--    local input = bdl.nn.StepInput(2, {1*u.mA, 2*u.mA}, {0.1*u.ms, 10*u.ms})
--    print(input())
local StepInput = Stimulus:extend "StepInput"
M.StepInput = StepInput

function StepInput:__init(...)
  local a = args({"size", "amplitudes", "step_times", name = none}, ...)
  check_lengths("nn.StepInput", a.amplitudes, a.step_times)
  a.amplitudes, a.step_times = window.vector(a.amplitudes), window.vector(a.step_times)
  self:keep(a, "amplitudes step_times")
end

function StepInput:update()
  local edges, order = window.in_steps("a step time", self.step_times), {}
  for k = 1, #edges do order[k] = k end
  table.sort(order, function(a, b) return edges[a] < edges[b] or edges[a] == edges[b] and a < b end)
  local sorted, places = {}, {}
  for k, from in ipairs(order) do sorted[k], places[k] = edges[from], from - 1 end
  local ordered = core.bind("gather", {axis = 0}, core.mantissa(self.amplitudes), core.tensor(places, "int32"))
  ordered = core.with_unit(ordered, core.unit_of(self.amplitudes))
  return self:spread(staircase(window.step_now(), sorted, padded(ordered, true)))
end

--- A ramp:  I = c_start + (c_end - c_start) (t - t_start)/duration within the duration, 0 outside.
--  c_start, c_end : first and last value
--  t_start : 0 where none is given
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms, i = 3}
--    local input = bdl.nn.RampInput(2, 0*u.mA, 1*u.mA, 1*u.ms)
--    print(input())
local RampInput = Stimulus:extend "RampInput"
M.RampInput = RampInput

function RampInput:__init(...)
  self:keep(args({"size", "c_start", "c_end", "duration", t_start = none, name = none}, ...), "c_start c_end duration t_start")
end

function RampInput:update()
  local i, span = window.step_now(), duration(self)
  local from = self.t_start and window.in_steps("a start", self.t_start) or 0
  local part = (float(i) - from) / span
  return within(i, from, from + span, self:spread(self.c_start + (self.c_end - self.c_start) * part))
end

--- A sine:  I = bias + amplitude sin(2 pi frequency t) for a duration, then 0.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms, i = 3}
--    local input = bdl.nn.SinusoidalInput(2, 1*u.mA, 50*u.Hz, 100*u.ms)
--    print(input())
local SinusoidalInput = Stimulus:extend "SinusoidalInput"
M.SinusoidalInput = SinusoidalInput

function SinusoidalInput:__init(...)
  self:keep(args({"size", "amplitude", "frequency", "duration", bias = none, name = none}, ...), "amplitude frequency duration bias")
end

function SinusoidalInput:update()
  local i = window.step_now()
  local x = self.amplitude * bind("sin", float(i) * (2 * math.pi * self.frequency * environ.get "dt"))
  return within(i, 0, duration(self), self:spread(self.bias and x + self.bias or x))
end

local function noise(sizes) return require "bdl.random".randn(table.unpack(sizes)) end

--- sqrt(dt), dt in ms.
local function root_dt() return bind("sqrt", core.tensor(environ.get "dt" / u.ms)) end

--- White noise:  I = sigma sqrt(dt/ms) N(0, 1), for each neuron its own, for a duration, then 0.
--  Source: Wiener (1923), Differential-space. J Math Phys 2.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms, i = 3}
--    local input = bdl.nn.WienerProcessInput(2, 1*u.mA, 100*u.ms)
--    print(input())
local WienerProcessInput = Stimulus:extend "WienerProcessInput"
M.WienerProcessInput = WienerProcessInput
function WienerProcessInput:__init(...) self:keep(args({"size", "sigma", "duration", name = none}, ...), "sigma duration") end
function WienerProcessInput:update()
  return within(window.step_now(), 0, duration(self), noise(self.varshape) * root_dt() * self.sigma)
end

--- Coloured noise:  dx = (mean - x) dt/tau + sigma sqrt(dt/ms) N(0, 1), for each neuron its own, for a duration, then 0.
--  Euler and Maruyama's step; the variance tends to sigma^2 tau/2, tau in ms.
--  States: x, the current; mean at first.
--  Source: Uhlenbeck & Ornstein (1930), On the theory of the Brownian motion. Phys Rev 36.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms, i = 3}
--    local input = bdl.nn.init_all_states(bdl.nn.OUProcessInput(2, 1*u.mA, 0.1*u.mA, 10*u.ms, 100*u.ms))
--    print(input())
local OUProcessInput = Stimulus:extend "OUProcessInput"
M.OUProcessInput = OUProcessInput

function OUProcessInput:__init(...)
  self:keep(args({"size", "mean", "sigma", "tau", "duration", name = none}, ...), "mean sigma tau duration")
end

function OUProcessInput:init_state(batch_size)
  self.x = state.HiddenState(require "bdl.init".Constant(self.mean)(self.varshape, batch_size))
end

function OUProcessInput:update()
  local x, i, span = self.x.value, window.step_now(), duration(self)
  local new = x + (self.mean - x) * (environ.get "dt" / self.tau) + noise(x.shape) * root_dt() * self.sigma
  local inside = bind("lt", i, math.ceil(span))
  self.x.value = bind("select", inside, new, x)
  return only(inside, new)
end

return M

--- Neurons that are told when to spike: at given times, or at random.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local environ = require "bdl.environ"
local init = require "bdl.init"
local state = require "bdl.state"
local none = require "bdl.none".none
local window = require "bdl.nn.window"
local Module = require "bdl.nn.module".Module
local Dynamics = require "bdl.nn.dynamics".Dynamics

local M = {}

local function bind(prim, ...) return core.bind(prim, {}, ...) end
local function random() return require "bdl.random" end

-- ---- given times ---------------------------------------------------------------------------------------------------------------

local ROUNDINGS = {floor = math.floor, ceil = math.ceil, round = function(q)
  local low = math.floor(q)
  local up = q - low > 0.5 or (q - low == 0.5 and low % 2 == 1)
  return up and low + 1 or low
end}

--- A list of numbers from a list or tensor of them.
local function numbers(x) return core.is_tensor(x) and core.totable(x) or x end

--- Spikes at given times:  s_i(t) = the weights of the spikes of i in the step of t;  two spikes of a neuron in one
--  step add up.
--  size : neurons, of one axis
--  indices : the neuron of each spike, from 0
--  times : of the spikes, a list or tensor
--  weights : what a spike counts, a number or one each
--  time_as_step : "round" (halves to even), "floor", "ceil", of times between steps
--  Source: Brette et al. (2007), Simulation of networks of spiking neurons. J Comput Neurosci 23.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 1*u.ms, i = 2}
--    local source = bdl.nn.SpikeTime{2, indices = {0, 1, 0}, times = {1*u.ms, 2*u.ms, 3*u.ms}}
--    print(source())
--  Errors: ValueError lists of different lengths, indices out of range, negative times.
local SpikeTime = Dynamics:extend "SpikeTime"
M.SpikeTime = SpikeTime

function SpikeTime:__init(...)
  local a = args({"size", "indices", "times", weights = 1.0, time_as_step = "round", name = none}, ...)
  SpikeTime.super.__init(self, {a.size, name = a.name or none})
  local function bad(...) core.fail("ValueError", 3, "nn.SpikeTime: " .. ...) end
  local indices, n = numbers(a.indices), self.in_size[1]
  local n_times = core.is_tensor(a.times) and a.times.size or #a.times
  if #self.in_size ~= 1 then bad "neurons of one axis have spike times" end
  if #indices ~= n_times then bad(("%d indices and %d times"):format(#indices, n_times)) end
  if not ROUNDINGS[a.time_as_step] then bad(("time_as_step is 'round', 'floor' or 'ceil', not '%s'"):format(tostring(a.time_as_step))) end
  local weights = numbers(a.weights)
  if type(weights) == "table" and #weights ~= #indices then bad(("%d weights for %d spikes"):format(#weights, #indices)) end
  for _, i in ipairs(indices) do
    if not math.tointeger(i) or i < 0 or i >= n then bad(("index %s of %d neurons; indices count from 0"):format(tostring(i), n)) end
  end
  self.time_as_step = a.time_as_step
  self.weights = type(weights) == "table" and core.tensor(weights, (core.precision())) or weights
  self.indices = core.tensor(indices, "int32")
  self.times = window.vector(a.times)
end

--- For dt: row [steps + 1] i32, the row of events of each step (0: none, as after the last), and the events [rows, most] of a row:
--  neurons, and weights, 0 where a row is shorter.
local function schedule(self)
  local made, dt, precision = rawget(self, "_schedule"), environ.get "dt", core.precision()
  if made and rawequal(made.dt, dt) and made.precision == precision then return made end
  local q = window.in_steps("a spike time", self.times)
  local indices, weights = numbers(self.indices), numbers(self.weights)
  local events, last, most = {}, -1, 1
  for k, x in ipairs(q) do
    local step = math.tointeger(ROUNDINGS[self.time_as_step](x))
    if not step or step < 0 then core.fail("ValueError", 3, "nn.SpikeTime: a spike time is >= 0, not %s of dt", tostring(x)) end
    events[step] = events[step] or {}
    table.insert(events[step], {math.tointeger(indices[k]), (type(weights) == "table" and weights[k] or weights) + 0.0})
    last, most = math.max(last, step), math.max(most, #events[step])
  end
  local rows, neurons, counts = {}, {{}}, {{}}
  for step = 0, last + 1 do
    rows[step + 1] = events[step] and #neurons or 0
    if events[step] then neurons[#neurons + 1], counts[#counts + 1] = {}, {} end
    for k, event in ipairs(events[step] or {}) do neurons[#neurons][k], counts[#counts][k] = event[1], event[2] end
  end
  for r = 1, #neurons do
    for k = #neurons[r] + 1, most do neurons[r][k], counts[r][k] = 0, 0.0 end
  end
  made = {core.tensor(rows, "int32"), core.tensor(neurons, "int32"), core.tensor(counts, precision), last + 1, dt = dt, precision = precision}
  rawset(self, "_schedule", made)
  return made
end

--- ->  [n], the weights of what spikes in this step
function SpikeTime:update()
  local row, neurons, weights, beyond = table.unpack(schedule(self))
  local i = window.step_now()
  local known = bind("min", bind("max", i, -1), beyond)
  local at = core.bind("gather", {axis = 0}, row, bind("select", bind("lt", known, 0), beyond, known))
  local zeros = core.bind("broadcast", {shape = {self.in_size[1]}, dims = {}}, core.tensor(0.0, (core.precision())))
  return core.bind("scatter", {axis = 0, op = "add"}, zeros, core.bind("gather", {axis = 0}, neurons, at),
                   core.bind("gather", {axis = 0}, weights, at))
end

-- ---- chance --------------------------------------------------------------------------------------------------------------------

--- The probability of a spike of a Poisson process in a step:  1 - e^(-rate dt).
local function probability(who, rate)
  local z = rate * environ.get "dt"
  if core.is_tensor(z) and core.unit_of(z) then
    core.fail("UnitMismatchError", 3, "%s: a rate is in 1/time, not in <%s>", who, tostring(core.unit_of(rate) or 1))
  end
  return -bind("expm1", -z)
end

local function draw(who, sizes, rate, spk_type)
  local spikes = bind("lt", random().rand(table.unpack(sizes)), probability(who, rate))
  return spk_type == "bool" and spikes or core.cast(spikes, spk_type)
end

--- Poisson spikes of given rates:  in each step with probability p = 1 - e^(-freqs dt).
--  freqs : a rate or [n]
--  spk_type : the dtype of spikes
--  Source: Dayan & Abbott (2001), Theoretical Neuroscience. MIT Press, section 1.4.
--  Example:
--    bdl.environ.set{dt = 1*bdl.units.ms}
--    local source = bdl.nn.PoissonSpike(4, 100*bdl.units.Hz)
--    print(source())
local PoissonSpike = Dynamics:extend "PoissonSpike"
M.PoissonSpike = PoissonSpike

--- Errors: ValueError, a rate is negative.
function PoissonSpike:__init(...)
  local a = args({"size", "freqs", spk_type = "bool", name = none}, ...)
  PoissonSpike.super.__init(self, {a.size, name = a.name or none})
  self.spk_type = a.spk_type
  self.freqs = init.param(a.freqs, self.varshape, nil, {allow_none = false})
  if core.is_tensor(self.freqs) and not core.is_traced(self.freqs) and bind("lt", core.mantissa(self.freqs), 0):any():item() then
    core.fail("ValueError", 2, "nn.PoissonSpike: a rate is >= 0, not %s", tostring(self.freqs))
  end
end

--- ->  [n]
function PoissonSpike:update() return draw("nn.PoissonSpike", self.varshape, self.freqs, self.spk_type) end

--- Poisson spikes of rates that are given at each step:  with probability p = 1 - e^(-freqs dt).
--  spk_type : the dtype of spikes
--  Source: Dayan & Abbott (2001), Theoretical Neuroscience. MIT Press, section 1.4.
--  Example:
--    bdl.environ.set{dt = 1*bdl.units.ms}
--    local encoder = bdl.nn.PoissonEncoder(4)
--    print(encoder(bdl.tensor{0., 50., 100., 1000.}*bdl.units.Hz))
local PoissonEncoder = Dynamics:extend "PoissonEncoder"
M.PoissonEncoder = PoissonEncoder

function PoissonEncoder:__init(...)
  local a = args({"size", spk_type = "bool", name = none}, ...)
  PoissonEncoder.super.__init(self, {a.size, name = a.name or none})
  self.spk_type = a.spk_type
end

--- freqs : rates, a number or [.., n]  ->  spikes of that shape
function PoissonEncoder:update(freqs)
  local many = core.is_tensor(freqs) and freqs.ndim > #self.varshape and freqs.shape or self.varshape
  return draw("nn.PoissonEncoder", many, freqs, self.spk_type)
end

--- Adds weight times the number of spikes that num_input Poisson sources of rate freq send in this step to a State.
--  poisson_input{target = State, freq =, num_input =, weight =, indices = i32[m]?, refractory = bool[n]?}: to those indices alone,
--  and not where refractory.  Numbers are binomial; where both num_input p and num_input (1 - p) exceed 5, rounded normal ones.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms}
--    local V = bdl.State(bdl.zeros(3)*u.mV)
--    bdl.nn.poisson_input{target = V, freq = 20*u.Hz, num_input = 100, weight = 0.1*u.mV}
--    print(V.value)
function M.poisson_input(...)
  local a = args({[0] = "nn.poisson_input", "target", "freq", "num_input", "weight", indices = none, refractory = none}, ...)
  if not class.isa(a.target, state.State) then core.fail("TypeError", 2, "nn.poisson_input: target is a State, not a %s", class.typename(a.target)) end
  local old, n, p = a.target.value, a.num_input, probability("nn.poisson_input", a.freq)
  local sizes = a.indices and {a.indices.shape[1]} or {table.unpack(old.shape)}
  local known = not core.is_traced(p) and core.item(p)
  local counts
  if known and n * known > 5 and n * (1 - known) > 5 then
    counts = bind("max", bind("round", n * known + math.sqrt(n * known * (1 - known)) * random().randn(table.unpack(sizes))), 0)
  else
    counts = random().binomial(n, p, {size = sizes})
  end
  local jump = core.cast(counts, old.dtype) * a.weight
  local new = a.indices and old:add_at(a.indices, jump) or old + jump
  a.target.value = a.refractory and bind("select", a.refractory, old, new) or new
end

--- Background input:  V += weight k, k the number of spikes of num_input Poisson sources of rate freq in this step.
--  target : neurons
--  item : the State that gets the input, by name
--  num_input, freq, weight : sources for each neuron; their rate; what a spike adds
--  indices : the neurons that get input; all where none are given
--  Source: Brunel (2000), Dynamics of sparsely connected networks of excitatory and inhibitory spiking neurons. J
--    Comput Neurosci 8.
--  Example:
--    local u = bdl.units
--    bdl.environ.set{dt = 0.1*u.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.LIF(3))
--    local input = bdl.nn.PoissonInput{cells, num_input = 100, freq = 20*u.Hz, weight = 0.1*u.mV}
--    input()
--    print(cells.V.value)
local PoissonInput = Module:extend "PoissonInput"
M.PoissonInput = PoissonInput

function PoissonInput:__init(...)
  local a = args({"target", "num_input", "freq", "weight", item = "V", indices = none, name = none}, ...)
  PoissonInput.super.__init(self, a.name)
  if math.type(a.num_input) ~= "integer" or a.num_input < 0 then
    core.fail("ValueError", 2, "nn.PoissonInput: num_input is a count, not %s", tostring(a.num_input))
  end
  for _, name in ipairs{"target", "item", "num_input", "freq", "weight", "indices"} do self[name] = a[name] end
end

function PoissonInput:update()
  M.poisson_input{target = self.target[self.item], freq = self.freq, num_input = self.num_input, weight = self.weight,
                  indices = self.indices or none}
end

return M

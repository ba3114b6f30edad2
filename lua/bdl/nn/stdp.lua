--- Plasticity by spike times.  A module is the comm of a projection, weights and all:  syn(pre) is the product with the spikes,
--  syn:learn(pre, post) changes the weights after a step.  Only rows and columns of spikes are touched (bdl/plasticity.lua).
--  Traces decay, act on the spikes of the other side, then take up the spikes of the step: two spikes of one step do not pair.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local syn = bdl.nn.init_all_states(bdl.nn.NAME(3, 2, 0.5))
--    local pre, post = bdl.tensor{1., 0., 1.}, bdl.tensor{0., 1.}
--    print(syn(pre))
--    syn:learn(pre, post)
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local event = require "bdl.event"
local init = require "bdl.init"
local state = require "bdl.state"
local u = require "bdl.units"
local constants = require "bdl.nn.constants"
local integrate = require "bdl.nn.integrate"
local none = require "bdl.none".none
local Module = require "bdl.nn.module".Module

local M = {}

--- Plasticity by pairs of spikes:  at a spike of i  w_ij -= A_minus w_max y_j,  at a spike of j  w_ij += A_plus w_max
--  x_i,  within w_min..w_max; tau_pre dx/dt = -x,  x += 1 at a spike of i;  tau_post dy/dt = -y,  y += 1 at a spike of
--  j.
--  weight : [n_pre, n_post], a number, an initialiser, or an event.CSR, whose stored entries learn
--  tau_pre, tau_post : time constants of the traces
--  A_plus, A_minus : change of a weight by one pair, in parts of w_max
--  w_min, w_max : bounds, in the unit of the weight
--  States: weight; x, y, traces of the spikes before and behind.
--  Source: Song, Miller & Abbott (2000), Competitive Hebbian learning through spike-timing-dependent synaptic plasticity.
--    Nat Neurosci 3.
local STDP = Module:extend "STDP"
M.STDP = STDP

function STDP.spec(spec)
  spec[1], spec[2], spec[3] = "n_pre", "n_post", "weight"
  for name, default in pairs{tau_pre = 20*u.ms, tau_post = 20*u.ms, A_plus = 0.01, A_minus = 0.0105, w_min = 0.0, w_max = 1.0, name = none} do
    if spec[name] == nil then spec[name] = default end
  end
  return spec
end

--- Errors: ValueError a time constant <= 0, w_min above w_max; ShapeError weights of another shape.
function STDP:make(a, names)
  Module.__init(self, a.name)
  self.in_size, self.out_size = a.n_pre, a.n_post
  local m, n, who = self.in_size[-1], self.out_size[-1], class.qualified_name(class.of(self))
  local sparse = class.isa(a.weight, event.CSR)
  local weight = sparse and a.weight.data or init.param(a.weight, {m, n}, nil, {allow_none = false})
  if not core.is_tensor(weight) or weight.ndim == 0 then weight = init.Constant(weight) {m, n} end
  if sparse then
    if weight.size == 1 and a.weight.indices.size ~= 1 then weight = init.Constant(core.item(core.mantissa(weight))) {a.weight.indices.size} end
    local shape = a.weight.shape
    if shape[1] ~= m or shape[2] ~= n then
      core.fail("ShapeError", 3, "%s: a matrix [%d,%d] for %d by %d neurons", who, shape[1], shape[2], m, n)
    end
    local rows, pointers, places = event.csr_to_csc_index(a.weight.indices, a.weight.indptr, shape)
    self.connection = a.weight
    class.rawfield(self, "_columns", {rows, pointers, places})
  end
  constants.set(self, a, "w_min w_max " .. names, {})
  local gap = constants.least(self.w_max - self.w_min)
  if gap and not (gap >= 0) then
    core.fail("ValueError", 3, "%s: w_min (%s) lies above w_max (%s)", who, tostring(a.w_min), tostring(a.w_max))
  end
  self.weight = state.LongTermState(weight)
end

function STDP:__init(...) self:make(args(STDP.spec{}, ...), "tau_pre tau_post A_plus A_minus") end

local function traces(self, names)
  for name, n in pairs(names) do self[name] = state.ShortTermState(init.Constant(0.0){n}) end
end

function STDP:init_state(batch_size)
  if batch_size then core.fail("ValueError", 2, "%s: weights learn from one trial at a time, not from a batch", class.typename(self)) end
  traces(self, {x = self.in_size[-1], y = self.out_size[-1]})
end

--- pre : spikes [n_pre]  ->  [n_post]
function STDP:update(pre)
  local w = self.weight.value
  return event.BinaryArray(pre):matmul(self.connection and self.connection:with_data(w) or w)
end

--- w[i, :] += jump [n_post] where i spikes; w[:, j] += jump [n_pre] where j spikes.
local function on_pre(self, w, pre, jump, ...)
  local c = self.connection
  if c then return event.update_csr_on_binary_pre(w, c.indices, c.indptr, pre, jump, ...) end
  return event.update_dense_on_binary_pre(w, pre, jump, ...)
end

local function on_post(self, w, post, jump, ...)
  if self.connection then
    local rows, pointers, places = table.unpack(self._columns)
    return event.update_csr_on_binary_post(w, rows, pointers, places, jump, post, ...)
  end
  return event.update_dense_on_binary_post(w, jump, post, ...)
end

local function spikes_of(x) return x.dtype == "bool" and core.cast(x, (core.precision())) or x end

--- pre [n_pre], post [n_post]: the spikes of this step.
function STDP:learn(pre, post)
  local x, y = integrate.decay(self.x.value, self.tau_pre), integrate.decay(self.y.value, self.tau_post)
  local w = on_pre(self, self.weight.value, pre, (-self.A_minus * self.w_max) * y, self.w_min, self.w_max)
  self.weight.value = on_post(self, w, post, (self.A_plus * self.w_max) * x, self.w_min, self.w_max)
  self.x.value, self.y.value = x + spikes_of(pre), y + spikes_of(post)
end

--- Plasticity by triplets of spikes:  at a spike of i  w_ij -= w_max y_j (A_minus + A3_minus x2_i),  at a spike of j
--  w_ij += w_max x_i (A_plus + A3_plus y2_j),
--  with slow traces x2 and y2 beside x and y.  The defaults are for visual cortex, all to all.
--  weight : [n_pre, n_post], a number, an initialiser, or an event.CSR, whose stored entries learn
--  tau_pre, tau_post, tau_x, tau_y : time constants of x, y, x2, y2
--  A_plus, A_minus, A3_plus, A3_minus : change of a weight by pairs and by triplets, in parts of w_max
--  w_min, w_max : bounds, in the unit of the weight
--  States: weight; x, y, x2, y2, traces of the spikes before and behind.
--  Source: Pfister & Gerstner (2006), Triplets of spikes in a model of spike timing-dependent plasticity. J Neurosci
--    26.
local TripletSTDP = STDP:extend "TripletSTDP"
M.TripletSTDP = TripletSTDP

function TripletSTDP:__init(...)
  self:make(args(STDP.spec{tau_pre = 16.8*u.ms, tau_post = 33.7*u.ms, tau_x = 101*u.ms, tau_y = 125*u.ms, A_plus = 5e-10, A_minus = 7e-3,
                           A3_plus = 6.2e-3, A3_minus = 2.3e-4}, ...),
            "tau_pre tau_post tau_x tau_y A_plus A_minus A3_plus A3_minus")
end

function TripletSTDP:init_state(batch_size)
  STDP.init_state(self, batch_size)
  traces(self, {x2 = self.in_size[-1], y2 = self.out_size[-1]})
end

function TripletSTDP:learn(pre, post)
  local x, y = integrate.decay(self.x.value, self.tau_pre), integrate.decay(self.y.value, self.tau_post)
  local x2, y2 = integrate.decay(self.x2.value, self.tau_x), integrate.decay(self.y2.value, self.tau_y)
  local lo, hi = self.w_min, self.w_max
  local w = on_pre(self, self.weight.value, pre, -hi * y, lo, hi, {factor = self.A_minus + self.A3_minus * x2})
  self.weight.value = on_post(self, w, post, hi * x, lo, hi, {factor = self.A_plus + self.A3_plus * y2})
  local s, r = spikes_of(pre), spikes_of(post)
  self.x.value, self.y.value, self.x2.value, self.y2.value = x + s, y + r, x2 + s, y2 + r
end

--- Plasticity by dopamine:  pairs change an eligibility c instead of the weight, as in STDP;  tau_c dc/dt = -c,  dw/dt
--  = c d within w_min..w_max, tau_d dd/dt = -d,  d += reward.
--  weight : [n_pre, n_post], a number, an initialiser, or an event.CSR, whose stored entries learn
--  tau_pre, tau_post, tau_c, tau_d : time constants of the traces, the eligibility, the dopamine
--  A_plus, A_minus : change of the eligibility by one pair, in parts of w_max
--  w_min, w_max : bounds, in the unit of the weight
--  States: weight; x, y, traces of the spikes before and behind; c, eligibility; d, dopamine, in 1/s.
--  Source: Izhikevich (2007), Solving the distal reward problem through linkage of STDP and dopamine signaling. Cereb
--    Cortex 17.
local DopamineSTDP = STDP:extend "DopamineSTDP"
M.DopamineSTDP = DopamineSTDP

function DopamineSTDP:__init(...)
  self:make(args(STDP.spec{tau_c = 1000*u.ms, tau_d = 200*u.ms}, ...), "tau_pre tau_post tau_c tau_d A_plus A_minus")
end

function DopamineSTDP:init_state(batch_size)
  STDP.init_state(self, batch_size)
  self.c = state.ShortTermState(0 * self.weight.value)
  self.d = state.ShortTermState(core.tensor(0.0, (core.precision())))
end

--- reward : (optional) a number or scalar, what d gains in this step.
function DopamineSTDP:learn(pre, post, reward)
  local x, y = integrate.decay(self.x.value, self.tau_pre), integrate.decay(self.y.value, self.tau_post)
  local c = on_pre(self, integrate.decay(self.c.value, self.tau_c), pre, (-self.A_minus * self.w_max) * y)
  c = on_post(self, c, post, (self.A_plus * self.w_max) * x)
  local d = integrate.decay(self.d.value, self.tau_d)
  if reward then d = d + reward end
  local w = self.weight.value + c * (d * (require "bdl.environ".get "dt" / u.second))
  self.weight.value = core.bind("min", {}, core.bind("max", {}, w, self.w_min), self.w_max)
  self.x.value, self.y.value, self.c.value, self.d.value = x + spikes_of(pre), y + spikes_of(post), c, d
end

return M

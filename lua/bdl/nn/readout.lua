--- Readouts: units at the end of a network that integrate spikes, without and with a threshold.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local readout = bdl.nn.init_all_states(bdl.nn.NAME(3, 2))
--    print(readout(bdl.ones(3)))
local core = require "bdl.core"
local args = require "bdl.args"
local init = require "bdl.init"
local constants = require "bdl.nn.constants"
local integrate = require "bdl.nn.integrate"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none
local environ = require "bdl.environ"
local state = require "bdl.state"
local u = require "bdl.units"
local module = require "bdl.nn.module"
local Neuron = require "bdl.nn.neuron".Neuron
local Layer = layer.Layer

local M = {}

local function product(self, x)
  local w = Layer.params(self)
  return self.ops.matmul(layer.input(self, x, {self.in_size[-1]}, w), {weight = w}, {})
end

--- Leaky integrators:  r' = e^(-dt / tau) r + x W.
--  tau : time constant
--  w_init, r_init : of W and r
--  States: r, the output; weight, W.
--  Source: Bellec et al. (2020), A solution to the learning dilemma for recurrent networks of spiking neurons. Nat
--    Commun 11, eq. 10.
local LeakyRateReadout = Layer:extend "LeakyRateReadout"
M.LeakyRateReadout = LeakyRateReadout

function LeakyRateReadout:__init(...)
  local a = args({"in_size", "out_size", tau = 5*u.ms, w_init = init.KaimingNormal(), r_init = init.ZeroInit(), name = none}, ...)
  LeakyRateReadout.super.__init(self, a.name)
  self.in_size = a.in_size
  self.out_size = a.out_size
  constants.set(self, a, "tau", self.out_size)
  self.r_init = a.r_init
  self:keep(layer.full(a.w_init, {self.in_size[-1], self.out_size[-1]}))
end

function LeakyRateReadout:init_state(batch_size) self.r = state.HiddenState(init.param(self.r_init, self.out_size, batch_size)) end

--- x : [.., in] -> r [.., out]
function LeakyRateReadout:update(x)
  local keep = core.bind("exp", {}, -(environ.get "dt" / self.tau))
  self.r.value = keep * self.r.value + product(self, x)
  return self.r.value
end

--- Leaky integrate-and-fire units:  tau dV/dt = -V + x W + I;  V >= V_th: spike; the next step starts from the reset V.
--  tau, V_th : time constant; threshold
--  w_init : of W, with the unit of V
--  States: V, the membrane potential; weight, W.
--  Source: Neftci, Mostafa & Zenke (2019), Surrogate gradient learning in spiking neural networks. IEEE Signal Process
--    Mag 36.
local LeakySpikeReadout = Neuron:extend "LeakySpikeReadout"
M.LeakySpikeReadout = LeakySpikeReadout
LeakySpikeReadout.ops = Layer.ops

function LeakySpikeReadout:__init(...)
  local a = args({"in_size", "out_size", tau = 5*u.ms, V_th = 1*u.mV, V_initializer = init.ZeroInit{unit = u.mV},
                  w_init = init.KaimingNormal{unit = u.mV}, spk_fun = none, spk_reset = "soft", keep_size = false, name = none}, ...)
  a.size = a.out_size
  LeakySpikeReadout.super.__init(self, Neuron.common(a))
  self:set_params(a, "tau V_th")
  self.V_reset = 0 * self.V_th
  self:check_reset()
  self.V_initializer = a.V_initializer
  self.in_size = module.size(a.in_size)
  Layer.keep(self, layer.full(a.w_init, {self.in_size[-1], self.out_size[-1]}))
end

function LeakySpikeReadout:init_state(batch_size)
  self.V = state.HiddenState(init.param(self.V_initializer, self.out_size, batch_size))
end

--- x : [.., in] -> [.., out], 1 where spiking
function LeakySpikeReadout:update(x)
  local V = self:reset(self.V.value)
  local drive = self:sum_current_inputs(product(self, x), V)
  V = self:sum_delta_inputs(integrate.relax(V, drive, self.tau))
  self.V.value = V
  return self:get_spike(V)
end

return M

--- The layers, cells, neurons and synapses of bdl.nn for online learning: the same classes, whose parameters are traced (their State
--  is `weight_op`) and whose hidden states are ETraceStates.  What has neither is that of bdl.nn.
local core = require "bdl.core"
local class = require "bdl.class"
local nn = require "bdl.nn"
local state = require "bdl.state"
local traced = require "bdl.online.traced"

local ETraceState = require "bdl.online.state".ETraceState

local function words(text)
  local set = {}
  for name in text:gmatch "%S+" do set[name] = true end
  return set
end

--- Layers that differ in nothing but their operations.
local LAYERS = words "Linear GroupedLinear ScaledWSLinear SignedWLinear SparseLinear Conv1d Conv2d Conv3d LeakyRateReadout LeakySpikeReadout"

--- Files under online/nn: what else has to differ.
local HOME = {}
for file, names in pairs{
  layers = "LoRA Embedding",
  cells = "RNNCell ValinaRNNCell VanillaRNNCell GRUCell MGUCell LSTMCell URLSTMCell CFNCell MinimalRNNCell MiniGRU MiniLSTM LRUCell",
} do
  for name in pairs(words(names)) do HOME[name] = file end
end

--- Classes with hidden states and no parameters of layers.
local DYNAMICS = words [[Neuron Spiking IF LIF LIFRef ALIF HH ExpIF ExpIFRef AdExIF AdExIFRef QuaIF QuaIFRef AdQuaIF AdQuaIFRef Gif GifRef
  CubaLIF CobaLIF Izhikevich IzhikevichRef WangBuzsakiHH MorrisLecar FitzHughNagumo HindmarshRose Expon DualExpon Alpha AMPA GABAa
  BioNMDA STP STD WilsonCowan]]

--- Layers whose weights no operation can trace.
local UNTRACED = words "AllToAll OneToOne ScaledWSConv1d ScaledWSConv2d ScaledWSConv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d"

local M = {}

--- The subclass of the same name whose hidden states are ETraceStates.
local function with_traces(parent)
  local cls = parent:extend(parent.name)
  function cls:init_state(...)
    parent.init_state(self, ...)
    for _, name in ipairs(class.fields(self)) do
      local s = rawget(self, name)
      if class.of(s) == state.HiddenState then class.narrow(s, ETraceState) end
    end
  end
  return cls
end
M.with_traces = with_traces

local function find(name)
  if LAYERS[name] then
    local cls = with_traces(nn[name])
    cls.ops = traced
    return cls
  elseif HOME[name] then
    return require("bdl.online.nn." .. HOME[name])[name]
  elseif UNTRACED[name] then
    core.hint(("nn.%s takes part with the direct gradient of each step"):format(name))
    core.fail("KeyError", 3, "bdl.online.nn has no '%s': its weights cannot be traced", name)
  end
  return DYNAMICS[name] and with_traces(nn[name]) or nn[name]
end

return setmetatable(M, {
  __name = "bdl.online.nn",
  __index = function(_, name)
    local found = find(name)
    class.qualify({found}, "online.nn")
    rawset(M, name, found)
    return found
  end,
})

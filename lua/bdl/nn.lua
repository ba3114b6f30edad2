--- Neural building blocks: modules, neurons, synapses, outputs, projections, layers.
--  A class is loaded when it is first named: nn.LIF comes from nn/lif.lua.
local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"

--- Name -> file under nn/.
local HOME = {}
for file, names in pairs{
  module = "Module init_all_states reset_all_states call_order size desc Description",
  mapped = "Vmap Map vmap_init_all_states",
  dynamics = "Dynamics receive_update_input not_receive_update_output",
  integrate = "exp_euler_step",
  window = "window_steps",
  neuron = "Neuron",
  spiking = "Spiking",
  linear = "Linear",
  lif = "IF LIF LIFRef ALIF",
  hh = "HH",
  expif = "ExpIF ExpIFRef AdExIF AdExIFRef QuaIF QuaIFRef AdQuaIF AdQuaIFRef",
  gif = "Gif GifRef",
  synlif = "CubaLIF CobaLIF",
  izhikevich = "Izhikevich IzhikevichRef",
  conductance = "WangBuzsakiHH MorrisLecar",
  reduced = "FitzHughNagumo HindmarshRose",
  expon = "Expon DualExpon Alpha",
  receptor = "AMPA GABAa BioNMDA",
  plasticity = "STP STD",
  output = "SynOut COBA CUBA MgBlock",
  projection = "DeltaProj CurrentProj AlignPostProj",
} do
  for name in names:gmatch "%S+" do HOME[name] = file end
end

local nn = {}

return setmetatable(nn, {
  __name = "bdl.nn",
  __index = function(_, name)
    local file = HOME[name]
    if not file then
      local names = {}
      for known in pairs(HOME) do names[#names + 1] = known end
      core.fail("KeyError", 2, "bdl.nn has no '%s'%s", tostring(name), suggest.hint(tostring(name), names))
    end
    for key, value in pairs(class.qualify(require("bdl.nn." .. file), "nn")) do rawset(nn, key, value) end
    return rawget(nn, name)
  end,
})

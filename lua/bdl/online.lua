--- Online learning by eligibility traces: traceable operations, parameters and layers, the compiler's view of a model, learners.
--  A file of online/ is loaded when one of its names is first used.
--  Source: Wang et al. (2024), BrainScale: scalable online learning in spiking neural networks.
local class = require "bdl.class"
local core = require "bdl.core"
local suggest = require "bdl.suggest"

--- Name -> file under online/.
local HOME = {}
for file, names in pairs{
  state = "ETraceState ETraceParam ETraceOp ETraceParamOp",
  info = "extract_module_info ModuleInfo",
  graph = "find_hidden_groups_from_minfo find_hidden_param_op_relations_from_minfo add_hidden_perturbation_from_minfo",
  config = "ETraceConfig",
  input = "SingleStepData MultiStepData",
  algorithms = "ETraceAlgorithm D_RTRL DiagParamDimAlgorithm ES_D_RTRL pp_prop DiagIODimAlgorithm DiagHybridDimAlgorithm EProp OSTLRecurrent"
    .. " OSTLFeedforward SnAp UORO ThreeFactor",
  dni = "DNI SyntheticGradient",
  compile = "compile",
  verify = "verify_grad",
  ops = "matmul grouped_matmul einsum embedding element_wise conv sparse_matmul lora_matmul",
} do
  for name in names:gmatch "%S+" do HOME[name] = file end
end

--- nn: the layers, cells, neurons and synapses of bdl.nn whose parameters and hidden states are traced.
--- testing: a model with every kind of hidden state, for examples and tests.
local SUBMODULES = {nn = "bdl.online.nn", testing = "bdl.online.testing"}

local online = {}

local function names()
  local list = {}
  for _, set in ipairs{HOME, SUBMODULES} do
    for known in pairs(set) do list[#list + 1] = known end
  end
  return list
end

return setmetatable(online, {
  __name = "bdl.online",
  __names = names,
  __index = function(_, name)
    local value
    if SUBMODULES[name] then
      value = require(SUBMODULES[name])
    elseif HOME[name] then
      local file = require("bdl.online." .. HOME[name])
      value = type(file) == "function" and file or class.qualify(file, "online")[name]
    else
      core.fail("KeyError", 2, "bdl.online has no '%s'%s", tostring(name), suggest.hint(tostring(name), names()))
    end
    rawset(online, name, value)
    return value
  end,
})

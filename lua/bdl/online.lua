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
  ops = "matmul grouped_matmul einsum embedding element_wise conv sparse_matmul lora_matmul",
} do
  for name in names:gmatch "%S+" do HOME[name] = file end
end

--- Submodules.
local SUBMODULES = {nn = "bdl.online.nn", testing = "bdl.online.testing"}

local online = {}

return setmetatable(online, {
  __name = "bdl.online",
  __index = function(_, name)
    local value
    if SUBMODULES[name] then
      value = require(SUBMODULES[name])
    elseif HOME[name] then
      value = class.qualify(require("bdl.online." .. HOME[name]), "online")[name]
    else
      local names = {}
      for _, set in ipairs{HOME, SUBMODULES} do
        for known in pairs(set) do names[#names + 1] = known end
      end
      core.fail("KeyError", 2, "bdl.online has no '%s'%s", tostring(name), suggest.hint(tostring(name), names))
    end
    rawset(online, name, value)
    return value
  end,
})

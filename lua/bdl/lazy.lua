--- Modules whose names come from files that are loaded when one of them is first used.
--
--   return lazy("nn", {lif = "IF LIF LIFRef ALIF", ..})     nn.LIF is what bdl/nn/lif.lua returns as LIF
local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"

return function(prefix, files)
  local home, module = {}, {}
  for file, names in pairs(files) do
    for name in names:gmatch "%S+" do home[name] = file end
  end
  local function names()
    local list = {}
    for name in pairs(home) do list[#list + 1] = name end
    return list
  end
  return setmetatable(module, {
    __name = "bdl." .. prefix,
    __names = names,
    __index = function(_, name)
      local file = home[name]
      if not file then
        core.fail("KeyError", 2, "bdl.%s has no '%s'%s", prefix, tostring(name), suggest.hint(tostring(name), names()))
      end
      for key, value in pairs(class.qualify(require(("bdl.%s.%s"):format(prefix, file)), prefix)) do
        if home[key] == file then rawset(module, key, value) end
      end
      return rawget(module, name)
    end,
  })
end

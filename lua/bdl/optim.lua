--- Optimisers of trainable States.  A class is loaded when it is first named: optim.Adam comes from optim/adam.lua.
--
--   opt = bdl.optim.Adam(1e-3)    opt:register_trainable_weights(model:states(bdl.ParamState))    opt:update(grads)

local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"

--- Name -> file under optim/.
local HOME = {Optimizer = "optimizer", OptimState = "optimizer", SGD = "sgd", Adam = "adam"}

local optim = {}

return setmetatable(optim, {
  __name = "bdl.optim",
  __index = function(_, name)
    local file = HOME[name]
    if not file then
      local names = {}
      for known in pairs(HOME) do names[#names + 1] = known end
      core.fail("KeyError", 2, "bdl.optim has no '%s'%s", tostring(name), suggest.hint(tostring(name), names))
    end
    for key, value in pairs(class.qualify(require("bdl.optim." .. file), "optim")) do rawset(optim, key, value) end
    return rawget(optim, name)
  end,
})

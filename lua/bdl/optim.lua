--- Optimisers of trainable States and schedules of their rates.  A class is loaded when it is first named: optim.Adam comes from
--  optim/adam.lua.
--
--   opt = bdl.optim.Adam(1e-3)    opt:register_trainable_weights(model:states(bdl.ParamState))    opt:update(grads)

local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"

--- Names by their file under optim/.
local HOME = {}
for file, names in pairs{
  optimizer = "Optimizer", sgd = "SGD Momentum MomentumNesterov",
  adam = "Adam AdamW Adamax Nadam RAdam Yogi AdaBelief Lamb Novograd", adagrad = "Adagrad Adadelta RMSprop SM3 Adafactor",
  sign = "Lion Rprop", trust = "Lars Fromage", lookahead = "Lookahead", lbfgs = "LBFGS",
  scheduler = "OptimState LRScheduler StepLR MultiStepLR ConstantLR PiecewiseConstantSchedule ExponentialLR ExponentialDecayLR "
    .. "PolynomialLR LinearLR CosineAnnealingLR CosineAnnealingWarmRestarts WarmupScheduler WarmupCosineSchedule CyclicLR "
    .. "OneCycleLR ReduceLROnPlateau ChainedScheduler SequentialLR",
} do
  for name in names:gmatch "%w+" do HOME[name] = file end
end

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

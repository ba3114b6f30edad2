--- Optimisers of trainable States and schedules of their rates.  A class is loaded when it is first named: optim.Adam comes from
--  optim/adam.lua.
--
--   opt = bdl.optim.Adam(1e-3)    opt:register_trainable_weights(model:states(bdl.ParamState))    opt:update(grads)

return require "bdl.lazy"("optim", {
  optimizer = "Optimizer", sgd = "SGD Momentum MomentumNesterov",
  adam = "Adam AdamW Adamax Nadam RAdam Yogi AdaBelief Lamb Novograd", adagrad = "Adagrad Adadelta RMSprop SM3 Adafactor",
  sign = "Lion Rprop", trust = "Lars Fromage", lookahead = "Lookahead", lbfgs = "LBFGS",
  scheduler = "OptimState LRScheduler StepLR MultiStepLR ConstantLR PiecewiseConstantSchedule ExponentialLR ExponentialDecayLR "
    .. "PolynomialLR LinearLR CosineAnnealingLR CosineAnnealingWarmRestarts WarmupScheduler WarmupCosineSchedule CyclicLR "
    .. "OneCycleLR ReduceLROnPlateau ChainedScheduler SequentialLR",
})

--- Stochastic gradient descent, with momentum:  m <- momentum m + g;  update m, with nesterov g + momentum m.
--  Source: Polyak (1964); Sutskever et al. (2013).
local args = require "bdl.args"
local Optimizer = require "bdl.optim.optimizer".Optimizer

local SGD = Optimizer:extend "SGD"

--- lr, momentum (0), nesterov, weight_decay, grad_clip_norm, grad_clip_value.
function SGD:__init(...)
  local a = args(Optimizer.arguments{momentum = 0.0, nesterov = false}, ...)
  SGD.super.__init(self, a)
  self.momentum = a.momentum
  self.nesterov = a.nesterov
  if a.momentum ~= 0 then self.slots = {momentum = Optimizer.zeros} end
end

function SGD:rule(g, _, slot)
  if self.momentum == 0 then return g end
  slot.momentum = g + self.momentum * slot.momentum
  return self.nesterov and g + self.momentum * slot.momentum or slot.momentum
end

return {SGD = SGD}

--- Stochastic gradient descent.
--  Source: Polyak (1964); Sutskever et al. (2013).
local Optimizer = require "bdl.optim.optimizer".Optimizer

local M = {}

local function momentum_slots(self) return {momentum = self.momentum ~= 0 and Optimizer.zeros or nil} end

--- Update g; with momentum m <- momentum m + g: update m, with nesterov g + momentum m.
--  lr (1e-3), momentum (0), nesterov (false).
local SGD = Optimizer:extend "SGD"
M.SGD = SGD

SGD.rows = {{"momentum", 0.0, least = 0}, {"nesterov", false}}
SGD.slots = momentum_slots

function SGD:rule(g, _, slot)
  if self.momentum == 0 then return g end
  slot.momentum = g + self.momentum * slot.momentum
  return self.nesterov and g + self.momentum * slot.momentum or slot.momentum
end

--- SGD with momentum 0.9.  lr (1e-3), momentum (0.9).
local Momentum = SGD:extend "Momentum"
M.Momentum = Momentum
Momentum.rows = {{"momentum", 0.9, least = 0}}

--- SGD with momentum 0.9 that looks ahead.  lr (1e-3), momentum (0.9).
--  Source: Nesterov (1983).
local MomentumNesterov = Momentum:extend "MomentumNesterov"
M.MomentumNesterov = MomentumNesterov
MomentumNesterov.nesterov = true

return M

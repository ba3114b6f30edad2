--- Stochastic gradient descent.
--  Source: Polyak (1964), Some methods of speeding up the convergence of iteration methods. USSR Comput Math Math Phys
--    4; Sutskever et al. (2013), On the importance of initialization and momentum in deep learning. ICML.
--  Example:
--    local w, opt = bdl.ParamState(bdl.ones(3)), bdl.optim.NAME()
--    opt:register_trainable_weights(w)
--    opt:update(bdl.tensor{0.1, 0.2, 0.3})
--    print(w.value)
local Optimizer = require "bdl.optim.optimizer".Optimizer

local M = {}

local function momentum_slots(self) return {momentum = self.momentum ~= 0 and Optimizer.zeros or nil} end

--- w <- w - lr g; with momentum  m <- momentum m + g,  w <- w - lr m, with nesterov  w <- w - lr (g + momentum m).
local SGD = Optimizer:extend "SGD"
M.SGD = SGD

SGD.rows = {{"momentum", 0.0, least = 0}, {"nesterov", false}}
SGD.slots = momentum_slots

function SGD:rule(g, _, slot)
  if self.momentum == 0 then return g end
  slot.momentum = g + self.momentum * slot.momentum
  return self.nesterov and g + self.momentum * slot.momentum or slot.momentum
end

--- SGD with momentum:  m <- momentum m + g,  w <- w - lr m.
local Momentum = SGD:extend "Momentum"
M.Momentum = Momentum
Momentum.rows = {{"momentum", 0.9, least = 0}}

--- SGD with momentum that looks ahead:  m <- momentum m + g,  w <- w - lr (g + momentum m).
--  Source: Nesterov (1983), A method of solving a convex programming problem with convergence rate O(1/k^2). Sov Math
--    Dokl 27.
local MomentumNesterov = Momentum:extend "MomentumNesterov"
M.MomentumNesterov = MomentumNesterov
MomentumNesterov.nesterov = true

return M

--- Optimisers that scale the update of a weight by the norm of the weight.
--  Example:
--    local w, opt = bdl.ParamState(bdl.ones(3)), bdl.optim.NAME()
--    opt:register_trainable_weights(w)
--    opt:update(bdl.tensor{0.1, 0.2, 0.3})
--    print(w.value)
local array = require "bdl.array"
local Optimizer = require "bdl.optim.optimizer".Optimizer

local norm = Optimizer.norm

local M = {}

--- w <- w - lr m,  m <- momentum m + u, u = (g + weight_decay w) trust_coefficient |w| / (|g + weight_decay w| + eps).
--  Source: You, Gitman & Ginsburg (2017), Large batch training of convolutional networks. arXiv:1708.03888.
local Lars = Optimizer:extend "Lars"
M.Lars = Lars
Lars.rows = {{"momentum", 0.9, least = 0}, {"trust_coefficient", 1e-3, above = 0}, {"eps", 1e-8, least = 0}}
Lars.default_lr = 1.0
function Lars.slots() return {momentum = Optimizer.zeros} end
function Lars:rule(g, w, slot)
  slot.momentum = Optimizer.trust(g, w, self.trust_coefficient, self.eps) + self.momentum * slot.momentum
  return slot.momentum
end

--- w <- (w - lr g |w|/|g|) / sqrt(1 + lr^2), norms at least 1e-6.
--  Source: Bernstein et al. (2020), On the distance between two neural networks and the stability of learning. NeurIPS.
local Fromage = Optimizer:extend "Fromage"
M.Fromage = Fromage
Fromage.default_lr = 1.0
function Fromage:move(g, w, _, _, lr, decay)
  if decay ~= 0 then g = g + decay * w end
  local update = g * (array.maximum(norm(w), 1e-6) / array.maximum(norm(g), 1e-6))
  return (w - lr * update) / array.sqrt(1 + lr * lr)
end

return M

--- Optimisers that go by the sign of the gradient.
--  Example:
--    local w, opt = bdl.ParamState(bdl.ones(3)), bdl.optim.NAME()
--    opt:register_trainable_weights(w)
--    opt:update(bdl.tensor{0.1, 0.2, 0.3})
--    print(w.value)
local array = require "bdl.array"
local Optimizer = require "bdl.optim.optimizer".Optimizer

local average, zeros = Optimizer.average, Optimizer.zeros
local sign, where = array.sign, array.where

local M = {}

--- w <- w - lr (sign(b1 m + (1 - b1) g) + weight_decay w),  then m <- b2 m + (1 - b2) g.
--  betas : {b1, b2}
--  Source: Chen et al. (2023), Symbolic discovery of optimization algorithms. NeurIPS.
local Lion = Optimizer:extend "Lion"
M.Lion = Lion
Lion.rows = {{"betas", {0.9, 0.99}, least = 0, below = 1}}
Lion.default_lr = 1e-4
Lion.decays = "update"
function Lion.slots() return {mean = zeros} end
function Lion:rule(g, _, slot)
  local update = sign(average(self.betas[1], slot.mean, g))
  slot.mean = average(self.betas[2], slot.mean, g)
  return update
end

--- A step size d for each entry:  w <- w - d sign(g), d = lr at first: times etas[2] where g keeps its sign, times
--  etas[1] where it turned, within step_sizes.  The move d sign(g) of a step is made in the next one, unless the sign
--  turns there.  For full batches.
--  Source: Riedmiller & Braun (1993), A direct adaptive method for faster backpropagation learning: the RPROP
--    algorithm. ICNN.
local Rprop = Optimizer:extend "Rprop"
M.Rprop = Rprop
Rprop.rows = {{"etas", {0.5, 1.2}, above = 0}, {"step_sizes", {1e-6, 50.0}, above = 0}}
Rprop.default_lr = 1e-2

function Rprop:slots()
  local lr = self:current_lr()
  return {size = function(w) return array.zeros_like(w) + lr end, move = zeros}
end

function Rprop:rule(g, _, slot)
  local kept, before = g * slot.move, slot.move
  local turned = kept:lt(0)
  local size = slot.size * where(turned, self.etas[1], self.etas[2])
  size = array.minimum(array.maximum(size, self.step_sizes[1]), self.step_sizes[2])
  slot.size = where(kept:eq(0), slot.size, size)
  slot.move = where(turned, 0.0, slot.size * sign(g))
  return where(turned, 0.0, before)
end

--- The rate is in the step sizes.
function Rprop:move(g, w, slot, t, _, decay)
  if decay ~= 0 then g = g + decay * w end
  return w - self:rule(g, w, slot, t)
end

return M

--- Adam:  m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2;  update m^ / (sqrt(v^) + eps), m^ = m / (1 - b1^t), v^ likewise.
--  amsgrad: the largest v^ so far in place of v^.
--  Source: Kingma & Ba (2015); Reddi et al. (2018).
local core = require "bdl.core"
local args = require "bdl.args"
local Optimizer = require "bdl.optim.optimizer".Optimizer

local Adam = Optimizer:extend "Adam"

--- lr, betas ({0.9, 0.999}), eps (1e-8), amsgrad, weight_decay (added to the gradient), grad_clip_norm, grad_clip_value.
function Adam:__init(...)
  local a = args(Optimizer.arguments{betas = {0.9, 0.999}, eps = 1e-8, amsgrad = false}, ...)
  Adam.super.__init(self, a)
  for _, b in ipairs(a.betas) do
    if type(b) ~= "number" or b < 0 or b >= 1 then core.fail("ValueError", 2, "optim.Adam: betas lie in [0, 1), not %s", tostring(b)) end
  end
  self.betas = a.betas
  self.eps = a.eps
  self.amsgrad = a.amsgrad
  self.slots = {mean = Optimizer.zeros, square = Optimizer.zeros, largest = a.amsgrad and Optimizer.zeros or nil}
end

function Adam:rule(g, _, slot, count)
  local b1, b2 = self.betas[1], self.betas[2]
  local t = core.cast(count, g.dtype)
  slot.mean = (1 - b1) * g + b1 * slot.mean
  slot.square = (1 - b2) * (g * g) + b2 * slot.square
  local m, v = slot.mean / (1 - b1 ^ t), slot.square / (1 - b2 ^ t)
  if self.amsgrad then
    v = core.bind("max", {}, slot.largest, v)
    slot.largest = v
  end
  return m / (core.bind("sqrt", {}, v) + self.eps)
end

return {Adam = Adam}

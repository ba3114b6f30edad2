--- Lookahead: a fast optimiser runs sync_period steps, then slow weights s <- s + alpha (w - s), and w <- s.
--  Source: Zhang et al. (2019), Lookahead optimizer: k steps forward, 1 step back. NeurIPS.
local array = require "bdl.array"
local class = require "bdl.class"
local core = require "bdl.core"
local none = require "bdl.none".none
local Optimizer = require "bdl.optim.optimizer".Optimizer

--- A fast optimiser runs sync_period steps, then slow weights  s <- s + alpha (w - s),  w <- s.  The rule, rate and
--  decay are those of the base_optimizer, and its clipping unless another is given here.
--  base_optimizer : an optimiser
--  lr : multiplies the rate of the base
--  Example:
--    local w, opt = bdl.ParamState(bdl.ones(3)), bdl.optim.Lookahead(bdl.optim.SGD(0.1))
--    opt:register_trainable_weights(w)
--    opt:update(bdl.tensor{0.1, 0.2, 0.3})
--    print(w.value)
local Lookahead = Optimizer:extend "Lookahead"

Lookahead.first = {"base_optimizer", none, free = true}
Lookahead.rows = {{"sync_period", 5, least = 1, integer = true}, {"alpha", 0.5, least = 0, most = 1}}
Lookahead.default_lr = 1.0

function Lookahead:__init(...)
  Lookahead.super.__init(self, ...)
  local base = self.base_optimizer
  if not class.isa(base, Optimizer) then
    core.fail("TypeError", 2, "optim.Lookahead: base_optimizer is an optimiser, not a %s", class.typename(base))
  end
  self.grad_clip_norm = self.grad_clip_norm or base.grad_clip_norm
  self.grad_clip_value = self.grad_clip_value or base.grad_clip_value
end

function Lookahead:slots()
  local slots = self.base_optimizer:slots()
  slots.slow = array.copy
  return slots
end

function Lookahead:move(g, w, slot, t, lr, decay)
  local base = self.base_optimizer
  if decay ~= 0 then g = g + decay * w end
  local fast = base:move(g, w, slot, t, lr * core.cast(base:current_lr(), w.dtype), base.weight_decay)
  local sync = (t % self.sync_period):eq(0)
  slot.slow = array.where(sync, slot.slow + self.alpha * (fast - slot.slow), slot.slow)
  return array.where(sync, slot.slow, fast)
end

return {Lookahead = Lookahead}

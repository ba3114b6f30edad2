--- Optimisers that divide by the root of past squared gradients.
--  Example:
--    local w, opt = bdl.ParamState(bdl.ones(3)), bdl.optim.NAME()
--    opt:register_trainable_weights(w)
--    opt:update(bdl.tensor{0.1, 0.2, 0.3})
--    print(w.value)
local array = require "bdl.array"
local none = require "bdl.none".none
local Optimizer = require "bdl.optim.optimizer".Optimizer

local average, zeros = Optimizer.average, Optimizer.zeros
local sqrt, rsqrt, where = array.sqrt, array.rsqrt, array.where

local M = {}

local function eps(value) return {"eps", value, least = 0} end

--- 1/sqrt(s + eps), 0 where s is 0.
local function inverse_root(s, e) return where(s:gt(0), rsqrt(s + e), 0.0) end

--- w <- w - lr g / sqrt(s + eps),  s <- s + g^2; the rate falls by 1/(1 + lr_decay (t - 1)).
--  initial_accumulator_value : s at first
--  Source: Duchi, Hazan & Singer (2011), Adaptive subgradient methods for online learning and stochastic optimization.
--    J Mach Learn Res 12.
local Adagrad = Optimizer:extend "Adagrad"
M.Adagrad = Adagrad
Adagrad.rows = {{"lr_decay", 0.0, least = 0}, {"initial_accumulator_value", 0.0, least = 0}, eps(1e-10)}
Adagrad.default_lr = 1e-2
function Adagrad:slots() return {square = Optimizer.filled(self.initial_accumulator_value)} end
function Adagrad:rule(g, _, slot, t)
  slot.square = g * g + slot.square
  local update = inverse_root(slot.square, self.eps) * g
  return self.lr_decay == 0 and update or update / (1 + self.lr_decay * (t - 1))
end

--- w <- w - lr u,  u = sqrt(d + eps)/sqrt(v + eps) g, v and d the means of g^2 and u^2.
--  rho : what the means keep
--  Source: Zeiler (2012), ADADELTA: an adaptive learning rate method. arXiv:1212.5701.
local Adadelta = Optimizer:extend "Adadelta"
M.Adadelta = Adadelta
Adadelta.rows = {{"rho", 0.9, least = 0, below = 1}, eps(1e-6)}
Adadelta.default_lr = 1.0
function Adadelta.slots() return {square = zeros, change = zeros} end
function Adadelta:rule(g, _, slot)
  slot.square = average(self.rho, slot.square, g * g)
  local update = sqrt(slot.change + self.eps) / sqrt(slot.square + self.eps) * g
  slot.change = average(self.rho, slot.change, update * update)
  return update
end

--- w <- w - lr u,  u = g / sqrt(v + eps), v the mean of g^2; with momentum  m <- momentum m + u,  w <- w - lr m.
--  alpha : what the mean keeps
--  centered : v less the square of the mean of g
--  Source: Tieleman & Hinton (2012), Lecture 6.5, Neural networks for machine learning. Coursera; Graves (2013),
--    Generating sequences with recurrent neural networks. arXiv:1308.0850, for centered.
local RMSprop = Optimizer:extend "RMSprop"
M.RMSprop = RMSprop
RMSprop.rows = {{"alpha", 0.99, least = 0, below = 1}, eps(1e-8), {"momentum", 0.0, least = 0}, {"centered", false}}
RMSprop.default_lr = 1e-2
function RMSprop:slots()
  return {square = zeros, mean = self.centered and zeros or nil, momentum = self.momentum ~= 0 and zeros or nil}
end
function RMSprop:rule(g, _, slot)
  slot.square = average(self.alpha, slot.square, g * g)
  local variance = slot.square
  if self.centered then
    slot.mean = average(self.alpha, slot.mean, g)
    variance = variance - slot.mean * slot.mean
  end
  local update = rsqrt(variance + self.eps) * g
  if self.momentum == 0 then return update end
  slot.momentum = update + self.momentum * slot.momentum
  return slot.momentum
end

--- s = g^2 + min over axes of c_k, c_k <- max of s over the other axes; m <- momentum m + (1 - momentum) g/sqrt(s + eps);
--  update m.  Memory: one number for each row, column, .., and m.
--  Source: Anil et al. (2019), Memory-efficient adaptive optimization. NeurIPS.
local SM3 = Optimizer:extend "SM3"
M.SM3 = SM3
SM3.rows = {{"momentum", 0.9, least = 0, below = 1}, eps(1e-8)}
SM3.default_lr = 1.0

--- The largest entries along each axis, as tensors that broadcast against x.
local function covers(x)
  if x.ndim < 2 then return {x} end
  local list = {}
  for k = 1, x.ndim do
    local others = {}
    for j = 1, x.ndim do
      if j ~= k then others[#others + 1] = j end
    end
    list[k] = x:max{axis = others, keepdims = true}
  end
  return list
end

function SM3.slots() return {mean = zeros, covers = function(w) return covers(zeros(w)) end} end
function SM3:rule(g, _, slot)
  local least = slot.covers[1]
  for k = 2, #slot.covers do least = array.minimum(least, slot.covers[k]) end
  local square = g * g + least
  slot.covers = covers(square)
  slot.mean = average(self.momentum, slot.mean, g * inverse_root(square, self.eps))
  return slot.mean
end

--- w <- w - lr g / sqrt(v), v the mean of g^2 + eps with the rate 1 - t^-decay_rate.  Of a weight with two axes of at
--  least min_dim_size_to_factor only the means over each of its two longest axes are kept: v = row col / mean(row).
--  clip_threshold d: the update divided by max(1, rms(update)/d).  The decay is added to the update.
--  Source: Shazeer & Stern (2018), Adafactor: adaptive learning rates with sublinear memory cost. ICML.
local Adafactor = Optimizer:extend "Adafactor"
M.Adafactor = Adafactor
Adafactor.rows = {
  eps(1e-30), {"decay_rate", 0.8, above = 0}, {"clip_threshold", none, above = 0}, {"factored", true},
  {"min_dim_size_to_factor", 128, least = 1, integer = true},
}
Adafactor.decays = "update"

--- The two longest axes, the longest last; nil where v is kept whole.
local function factored_axes(self, shape)
  local axes = {}
  for k = 1, #shape do axes[k] = k end
  table.sort(axes, function(a, b) return shape[a] < shape[b] or shape[a] == shape[b] and a < b end)
  local n = #axes
  if self.factored and n >= 2 and shape[axes[n - 1]] >= self.min_dim_size_to_factor then return axes[n - 1], axes[n] end
end

--- Means of x over the longest and over the second axis; x itself where v is kept whole.
local function means(x, second, longest)
  if not second then return {x} end
  return {x:mean{axis = longest, keepdims = true}, x:mean{axis = second, keepdims = true}}
end

function Adafactor:slots()
  return {square = function(w) return means(zeros(w), factored_axes(self, w.shape)) end}
end

function Adafactor:rule(g, _, slot, t)
  local second, longest = factored_axes(self, g.shape)
  local keep, new = 1 - t ^ -self.decay_rate, {}
  for k, x in ipairs(means(g * g + self.eps, second, longest)) do new[k] = average(keep, slot.square[k], x) end
  slot.square = new
  local row, col = new[1], new[2]
  local update = g * rsqrt(row)
  if second then update = g * rsqrt(row / row:mean{axis = second, keepdims = true}) * rsqrt(col) end
  if not self.clip_threshold then return update end
  return update / array.maximum(sqrt((update * update):mean()) / self.clip_threshold, 1.0)
end

return M

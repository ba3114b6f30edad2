--- Optimisers with a mean m <- b1 m + (1 - b1) g and a mean square v <- b2 v + (1 - b2) g^2 of the gradients.
--  m^ = m / (1 - b1^t), v^ = v / (1 - b2^t) at step t; {b1, b2} = betas.
--  Example:
--    local w, opt = bdl.ParamState(bdl.ones(3)), bdl.optim.NAME()
--    opt:register_trainable_weights(w)
--    opt:update(bdl.tensor{0.1, 0.2, 0.3})
--    print(w.value)
local array = require "bdl.array"
local Optimizer = require "bdl.optim.optimizer".Optimizer

local average, zeros = Optimizer.average, Optimizer.zeros
local sqrt, where = array.sqrt, array.where

local M = {}

local function betas(b2) return {"betas", {0.9, b2 or 0.999}, least = 0, below = 1} end
local function eps(value) return {"eps", value, least = 0} end

--- x / (1 - b^t), with one division for all elements.
local function unbiased(x, b, t) return x * (1 / (1 - b ^ t)) end

--- w <- w - lr m^ / (sqrt(v^) + eps),  m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2.
--  betas : {b1, b2}
--  amsgrad : the largest v^ so far in place of v^
--  Source: Kingma & Ba (2015), Adam: a method for stochastic optimization. ICLR; Reddi, Kale & Kumar (2018), On the
--    convergence of Adam and beyond. ICLR.
local Adam = Optimizer:extend "Adam"
M.Adam = Adam

Adam.rows = {betas(), eps(1e-8), {"amsgrad", false}}

function Adam:slots() return {mean = zeros, square = zeros, largest = self.amsgrad and zeros or nil} end

--- m^ and v^ after this step.
function Adam:moments(g, slot, t)
  local b1, b2 = self.betas[1], self.betas[2]
  slot.mean = average(b1, slot.mean, g)
  slot.square = average(b2, slot.square, g * g)
  return unbiased(slot.mean, b1, t), unbiased(slot.square, b2, t)
end

function Adam:rule(g, _, slot, t)
  local m, v = self:moments(g, slot, t)
  if self.amsgrad then
    slot.largest = array.maximum(slot.largest, v)
    v = slot.largest
  end
  return m / (sqrt(v) + self.eps)
end

--- Adam, the decay of the weights added to the update:  w <- w - lr (m^ / (sqrt(v^) + eps) + weight_decay w).
--  betas : {b1, b2}
--  Source: Loshchilov & Hutter (2019), Decoupled weight decay regularization. ICLR.
local AdamW = Adam:extend "AdamW"
M.AdamW = AdamW
AdamW.rows = {betas(), eps(1e-8)}
AdamW.default_decay = 0.01
AdamW.decays = "update"

--- w <- w - lr m^ / u,  u <- max(b2 u, |g| + eps).
--  betas : {b1, b2}
--  Source: Kingma & Ba (2015), Adam: a method for stochastic optimization. ICLR, section 7.1.
local Adamax = Optimizer:extend "Adamax"
M.Adamax = Adamax
Adamax.rows = {betas(), eps(1e-8)}
Adamax.default_lr = 2e-3
function Adamax:slots() return {mean = zeros, largest = zeros} end
function Adamax:rule(g, _, slot, t)
  local b1, b2 = self.betas[1], self.betas[2]
  slot.mean = average(b1, slot.mean, g)
  slot.largest = array.maximum(array.abs(g) + self.eps, b2 * slot.largest)
  return unbiased(slot.mean, b1, t) / slot.largest
end

--- Adam with Nesterov's momentum:  update = ((1 - mu_t) g / (1 - P_t) + mu_t+1 m / (1 - P_t mu_t+1)) / (sqrt(v^) +
--  eps), mu_t = b1 (1 - 0.96^(t momentum_decay) / 2), P_t = mu_1 .. mu_t.
--  betas : {b1, b2}
--  Source: Dozat (2016), Incorporating Nesterov momentum into Adam. ICLR workshop.
local Nadam = Adam:extend "Nadam"
M.Nadam = Nadam
Nadam.rows = {betas(), eps(1e-8), {"momentum_decay", 4e-3, least = 0}}
Nadam.default_lr = 2e-3
function Nadam.slots()
  return {mean = zeros, square = zeros, product = function(w) return array.ones_like(w:sum()) end}
end
function Nadam:rule(g, _, slot, t)
  local function mu(k) return self.betas[1] * (1 - 0.5 * 0.96 ^ (k * self.momentum_decay)) end
  local _, v = self:moments(g, slot, t)
  local now, next = mu(t), mu(t + 1)
  slot.product = slot.product * now
  local direct = (1 - now) / (1 - slot.product) * g
  return (direct + next / (1 - slot.product * next) * slot.mean) / (sqrt(v) + self.eps)
end

--- Rectified Adam:  update = r m^ / (sqrt(v^) + eps) once r, which corrects the variance of the first steps, is known,
--  before that m^:
--  rho = rho_inf - 2 t b2^t/(1 - b2^t), rho_inf = 2/(1 - b2) - 1; r^2 = (rho-4)(rho-2) rho_inf / ((rho_inf-4)(rho_inf-2) rho)
--  where rho >= 5.
--  betas : {b1, b2}
--  Source: Liu et al. (2020), On the variance of the adaptive learning rate and beyond. ICLR.
local RAdam = Adam:extend "RAdam"
M.RAdam = RAdam
RAdam.rows = {betas(), eps(1e-8)}
function RAdam:rule(g, _, slot, t)
  local m, v = self:moments(g, slot, t)
  local power, limit = self.betas[2] ^ t, 2 / (1 - self.betas[2]) - 1
  local rho = limit - 2 * t * power / (1 - power)
  local known = array.maximum(rho, 5.0)
  local r = sqrt((known - 4) * (known - 2) * limit / ((limit - 4) * (limit - 2) * known))
  return where(rho:ge(5.0), r * m / (sqrt(v) + self.eps), m)
end

--- Adam with v <- v - (1 - b2) sign(v - g^2) g^2; m and v begin at 1e-6.
--  betas : {b1, b2}
--  Source: Zaheer et al. (2018), Adaptive methods for nonconvex optimization. NeurIPS.
local Yogi = Optimizer:extend "Yogi"
M.Yogi = Yogi
Yogi.rows = {betas(), eps(1e-3)}
function Yogi.slots() return {mean = Optimizer.filled(1e-6), square = Optimizer.filled(1e-6)} end
function Yogi:rule(g, _, slot, t)
  local b1, b2, g2 = self.betas[1], self.betas[2], g * g
  slot.mean = average(b1, slot.mean, g)
  slot.square = slot.square - (1 - b2) * array.sign(slot.square - g2) * g2
  return unbiased(slot.mean, b1, t) / (sqrt(unbiased(slot.square, b2, t)) + self.eps)
end

--- Adam with v <- b2 v + (1 - b2) (g - m)^2 + 1e-16: small where the gradient is as expected.
--  betas : {b1, b2}
--  Source: Zhuang et al. (2020), AdaBelief optimizer: adapting stepsizes by the belief in observed gradients. NeurIPS.
local AdaBelief = Optimizer:extend "AdaBelief"
M.AdaBelief = AdaBelief
AdaBelief.rows = {betas(), eps(1e-16)}
function AdaBelief.slots() return {mean = zeros, square = zeros} end
function AdaBelief:rule(g, _, slot, t)
  local b1, b2 = self.betas[1], self.betas[2]
  slot.mean = average(b1, slot.mean, g)
  local surprise = g - slot.mean
  slot.square = average(b2, slot.square, surprise * surprise) + 1e-16
  return unbiased(slot.mean, b1, t) / (sqrt(unbiased(slot.square, b2, t)) + self.eps)
end

--- Adam by layers:  w <- w - lr u |w|/|u|,  u = m^ / (sqrt(v^) + eps) + weight_decay w;  |w|/|u| = 1 where a norm is 0.
--  betas : {b1, b2}
--  Source: You et al. (2020), Large batch optimization for deep learning: training BERT in 76 minutes. ICLR.
local Lamb = Adam:extend "Lamb"
M.Lamb = Lamb
Lamb.rows = {betas(), eps(1e-6)}
Lamb.decays = "rule"
function Lamb:rule(g, w, slot, t, decay)
  local update = Adam.rule(self, g, w, slot, t)
  if decay ~= 0 then update = update + decay * w end
  return Optimizer.trust(update, w, 1.0, 0.0)
end

--- m <- b1 m + g/(sqrt(n) + eps) + weight_decay w, n <- b2 n + (1 - b2) |g|^2, one number a weight, |g|^2 at first; update m.
--  betas : {b1, b2}
--  Source: Ginsburg et al. (2019), Stochastic gradient methods with layer-wise adaptive moments for training of deep
--    networks.
--    arXiv:1905.11286.
local Novograd = Optimizer:extend "Novograd"
M.Novograd = Novograd
Novograd.rows = {betas(), eps(1e-8)}
Novograd.decays = "rule"
function Novograd.slots()
  return {mean = zeros, square = function(w) return array.zeros_like(w:sum()) end}
end
function Novograd:rule(g, w, slot, t, decay)
  local square = (g * g):sum()
  slot.square = where(t:le(1), square, average(self.betas[2], slot.square, square))
  local step = g / (sqrt(slot.square) + self.eps)
  if decay ~= 0 then step = step + decay * w end
  slot.mean = self.betas[1] * slot.mean + step
  return slot.mean
end

return M

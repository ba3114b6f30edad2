--- Schedules of the learning rate: a rate as a function of the epoch, which the caller advances.
--
--   local schedule = bdl.optim.StepLR(0.1, 30, 0.5)
--   local opt = bdl.optim.SGD{lr = schedule}               for .. do  opt:update(grads)  schedule:step()  end
--
--  The rate is a State that the schedule and the optimiser both hold, one for each group of weights, so a step may be compiled.
--  base_lr (and max_lr, min_lr) is a number, or a list with one for each group; the last stands for the groups beyond.
--  A new one is a subclass of LRScheduler: `rows` as bdl.parameters wants them, rate(self, base, epoch, group) -> the rate.
--  Epochs count from 0 and are float64 there, whatever the precision.
--  Source: Paszke et al. (2019), PyTorch: an imperative style, high-performance deep learning library. NeurIPS, where
--    no other stands.
--  Example:
--    local schedule = bdl.optim.NAME(0.1)
--    schedule:step()
--    print(schedule:get_lr())
local core = require "bdl.core"
local class = require "bdl.class"
local array = require "bdl.array"
local graph = require "bdl.graph"
local none = require "bdl.none".none
local parameters = require "bdl.parameters"
local state = require "bdl.state"
local util = require "bdl.util"

local cos, floor, maximum, minimum, where = array.cos, array.floor, array.maximum, array.minimum, array.where
local pi = math.pi

local M = {}

--- Memory of an optimiser or a schedule: a State of long term.
--  Example:
--    local count = bdl.optim.OptimState(bdl.zeros(1))
--    print(count.value)
local OptimState = state.LongTermState:extend "OptimState"
M.OptimState = OptimState

--- What both save: path -> value of every OptimState.
function M.state_dict(self)
  local values = {}
  for path, s in self:states(OptimState):items() do values[path] = s.value end
  return values
end

--- Errors: KeyError, a path that one side lacks.
function M.load_state_dict(self, values)
  local who, states = class.qualified_name(class.of(self)), self:states(OptimState)
  for _, path in ipairs(util.sorted_keys(values)) do
    if states[path] == nil then core.fail("KeyError", 2, "%s: the saved value '%s' belongs to nothing here", who, path) end
  end
  for path, s in states:items() do
    if values[path] == nil then core.fail("KeyError", 2, "%s: no saved value for '%s'", who, path) end
    s.value = values[path]
  end
end

--- A schedule, to be extended as the head of optim/scheduler.lua tells: the constant one.
--  base_lr : a rate, or one for each group of weights
--  States: lrs, last_epoch.
local LRScheduler = graph.Node:extend "LRScheduler"
M.LRScheduler = LRScheduler

LRScheduler.rows = {}
LRScheduler.state_dict = M.state_dict
LRScheduler.load_state_dict = M.load_state_dict

local BASE = {"base_lr", 1e-3, least = 0, list = true}
local LAST = {"last_epoch", 0, least = 0, integer = true, named = true}

--- Of a number or a list, what belongs to a group.
local function pick(x, group)
  if type(x) ~= "table" then return x end
  return x[group] or x[#x]
end

--- The first argument is base_lr, unless a class has another.
function LRScheduler:__init(...)
  local rows = table.move(self.rows, 1, #self.rows, 2, {self.first or BASE})
  rows[#rows + 1] = LAST
  local a = parameters.set(self, rows, ...)
  self.last_epoch = OptimState(core.tensor(a.last_epoch, "int32"))
  self:prepare()
  self.lrs = {}
  for _ = 1, type(self.base_lr) == "table" and #self.base_lr or 1 do self:add_group() end
end

--- What a class checks or computes from its arguments.
function LRScheduler:prepare() end

--- The rate of every epoch is base_lr.
function LRScheduler:rate(base) return base end

--- The rate of a group at the present epoch.
local function rate_of(self, group)
  local lr = self:rate(pick(self.base_lr, group), core.cast(self.last_epoch.value, "float64"), group)
  return core.cast(core.is_tensor(lr) and lr or core.tensor(lr + 0.0), (core.precision()))
end

--- The State with the rate of one more group; lr: its base rate.
function LRScheduler:add_group(lr)
  local group = #self.lrs + 1
  if lr then
    local bases = {}
    for k = 1, group - 1 do bases[k] = pick(self.base_lr, k) end
    bases[group] = lr
    self.base_lr = bases
  end
  self.lrs[group] = OptimState(rate_of(self, group))
  return self.lrs[group]
end

--- The next epoch, or the one given.
function LRScheduler:step(epoch)
  self.last_epoch.value = epoch or self.last_epoch.value + 1
  for group, lr in ipairs(self.lrs) do lr.value = rate_of(self, group) end
end

local function plain(x) return core.is_traced(x) and x or core.item(x) end

--- The rate of the first group: a number, where it is known.
function LRScheduler:get_lr() return plain(self.lrs[1].value) end

--- The rates of all groups.
function LRScheduler:get_last_lr()
  local list = {}
  for group, lr in ipairs(self.lrs) do list[group] = plain(lr.value) end
  return list
end

local function schedule(name, rows, rate)
  local Class = LRScheduler:extend(name)
  M[name] = Class
  Class.rows = rows
  Class.rate = rate
  return Class
end

local function check(self, good, fmt, ...)
  if not good then core.fail("ValueError", 4, "%s: " .. fmt, class.qualified_name(class.of(self)), ...) end
end

--- From 1 at x = 0 to 0 at x = 1, half a cosine.
local function half_cosine(x) return (1 + cos(pi * x)) / 2 end

local function unit_interval(x) return minimum(maximum(x, 0.0), 1.0) end

-- ---- steps ----------------------------------------------------------------------------------------------------------

--- Steps of equal length:  rate = base gamma^floor(e / step_size), e the epoch.
schedule("StepLR", {{"step_size", 30, above = 0}, {"gamma", 0.1}}, function(self, base, e)
  return base * self.gamma ^ floor(e / self.step_size)
end)

--- Steps at milestones:  rate = base gamma^k, k the milestones that are reached.
schedule("MultiStepLR", {{"milestones", {30, 60, 90}, list = true}, {"gamma", 0.1}}, function(self, base, e)
  local lr = base
  for _, milestone in ipairs(self.milestones) do lr = lr * where(e:ge(milestone), self.gamma, 1.0) end
  return lr
end)

--- A factor at first:  rate = factor base for total_iters epochs, then base.
schedule("ConstantLR", {{"factor", 1 / 3}, {"total_iters", 5, least = 0}}, function(self, base, e)
  return base * where(e:lt(self.total_iters), self.factor, 1.0)
end)

--- Given values:  rate = values[1 + k], k the boundaries that are reached, whatever base_lr.
local Piecewise = schedule("PiecewiseConstantSchedule", {
  {"boundaries", {1000, 2000}, list = true}, {"values", {1.0, 0.1, 0.01}, list = true},
}, function(self, _, e)
  local lr = self.values[1]
  for k, boundary in ipairs(self.boundaries) do lr = where(e:ge(boundary), self.values[k + 1], lr) end
  return lr
end)
function Piecewise:prepare()
  local n, m = #self.boundaries, #self.values
  check(self, m == n + 1, "%d boundaries need %d values, not %d", n, n + 1, m)
end

-- ---- decays ---------------------------------------------------------------------------------------------------------

--- Exponential decay:  rate = base gamma^e, e the epoch.
schedule("ExponentialLR", {{"gamma", 0.95}}, function(self, base, e) return base * self.gamma ^ e end)

--- Exponential decay over steps:  rate = base decay_rate^(max(e - transition_begin, 0) / decay_steps), no further than
--  end_value.
--  staircase : floors the exponent
local Decay = schedule("ExponentialDecayLR", {
  {"decay_steps", 1000, above = 0}, {"decay_rate", 0.96}, {"transition_begin", 0, least = 0}, {"staircase", false},
  {"end_value", none},
}, function(self, base, e)
  local n = maximum(e - self.transition_begin, 0.0) / self.decay_steps
  local lr = base * self.decay_rate ^ (self.staircase and floor(n) or n)
  if not self.end_value then return lr end
  return (self.decay_rate < 1 and maximum or minimum)(lr, self.end_value)
end)
function Decay:prepare() check(self, self.decay_rate ~= 0, "decay_rate must not be 0") end

--- Polynomial decay:  rate = base (1 - e/total_iters)^power, then 0.
schedule("PolynomialLR", {{"total_iters", 5, above = 0}, {"power", 1.0}}, function(self, base, e)
  return base * (1 - minimum(e, self.total_iters) / self.total_iters) ^ self.power
end)

--- A line:  rate = base f, f from start_factor to end_factor in total_iters epochs.
schedule("LinearLR", {{"start_factor", 1 / 3}, {"end_factor", 1.0}, {"total_iters", 5, least = 0}}, function(self, base, e)
  local x = self.total_iters == 0 and 1.0 or unit_interval(e / self.total_iters)
  return base * (self.start_factor + (self.end_factor - self.start_factor) * x)
end)

--- Half a cosine:  rate = eta_min + (base - eta_min) (1 + cos(pi e/T_max))/2, then eta_min.
--  Source: Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts. ICLR.
schedule("CosineAnnealingLR", {{"T_max", 50, above = 0}, {"eta_min", 0.0, least = 0}}, function(self, base, e)
  return self.eta_min + (base - self.eta_min) * half_cosine(minimum(e, self.T_max) / self.T_max)
end)

--- Half cosines, rate = eta_min + (base - eta_min) (1 + cos(pi x))/2, in periods of T_0, T_0 T_mult, T_0 T_mult^2, ..
--  epochs.
--  Source: Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts. ICLR.
schedule("CosineAnnealingWarmRestarts", {
  {"T_0", 10, above = 0, integer = true}, {"T_mult", 1, least = 1, integer = true}, {"eta_min", 0.0, least = 0},
}, function(self, base, e)
  local m, first, length = self.T_mult, floor(e / self.T_0) * self.T_0, self.T_0
  if m > 1 then  -- period n begins at T_0 (m^n - 1)/(m - 1); the small term outweighs the rounding of the logarithm
    local power = m ^ floor(array.log(e / self.T_0 * (m - 1) + 1) / math.log(m) + 1e-9)
    first, length = self.T_0 * (power - 1) / (m - 1), self.T_0 * power
  end
  return self.eta_min + (base - self.eta_min) * half_cosine((e - first) / length)
end)

-- ---- warm-up and cycles ---------------------------------------------------------------------------------------------

local function linear(from, to, x) return from + (to - from) * x end

--- Warm-up:  rate = warmup_start_lr + (base - warmup_start_lr) min(e/warmup_epochs, 1).
--  Source: Goyal et al. (2017), Accurate, large minibatch SGD: training ImageNet in 1 hour. arXiv:1706.02677.
schedule("WarmupScheduler", {{"warmup_epochs", 5, least = 0}, {"warmup_start_lr", 0.0, least = 0}}, function(self, base, e)
  if self.warmup_epochs == 0 then return base end
  return linear(self.warmup_start_lr, base, minimum(e / self.warmup_epochs, 1.0))
end)

--- Warm-up and half a cosine:  rate = warmup_start_lr .. base in a line for warmup_steps, then by a cosine to eta_min
--  at total_steps.
--  Source: Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts. ICLR.
schedule("WarmupCosineSchedule", {
  {"warmup_steps", 1000, least = 0}, {"total_steps", 10000, above = 0}, {"warmup_start_lr", 0.0, least = 0},
  {"eta_min", 0.0, least = 0},
}, function(self, base, e)
  local warm = unit_interval(e / math.max(self.warmup_steps, 1))
  local progress = unit_interval((e - self.warmup_steps) / math.max(self.total_steps - self.warmup_steps, 1))
  local cosine = linear(self.eta_min, base, half_cosine(progress))
  return where(e:lt(self.warmup_steps), linear(self.warmup_start_lr, base, warm), cosine)
end)

--- Triangles:  rate = base + (max_lr - base) s max(0, 1 - |e/up - 2c + 1|), cycle c = floor(1 + e/(up + down));
--  s by mode: 1, 2^(1 - c), gamma^e; or scale_fn(c), scale_fn(e) by scale_mode.
--  Source: Smith (2017), Cyclical learning rates for training neural networks. WACV.
local Cyclic = schedule("CyclicLR", {
  {"max_lr", 0.01, least = 0, list = true}, {"step_size_up", 2000, above = 0}, {"step_size_down", none, above = 0},
  {"mode", "triangular", one_of = {"triangular", "triangular2", "exp_range"}}, {"gamma", 1.0}, {"scale_fn", none, free = true},
  {"scale_mode", "cycle", one_of = {"cycle", "iterations"}},
}, function(self, base, e, group)
  local up = self.step_size_up
  local cycle = floor(1 + e / (up + (self.step_size_down or up)))
  local x = array.abs(e / up - 2 * cycle + 1)
  local scale = 1.0
  if self.scale_fn then scale = self.scale_fn(self.scale_mode == "cycle" and cycle or e)
  elseif self.mode == "triangular2" then scale = 2.0 ^ (1 - cycle)
  elseif self.mode == "exp_range" then scale = self.gamma ^ e end
  return base + (pick(self.max_lr, group) - base) * scale * maximum(1 - x, 0.0)
end)
function Cyclic:prepare()
  local f = self.scale_fn
  check(self, f == nil or type(f) == "function", "scale_fn is a function, not a %s", class.typename(f))
end

--- One cycle:  rate = max_lr/div_factor .. max_lr in a line for the first pct_start of the steps, then by a cosine, or
--  a line, to max_lr/final_div_factor.  The length is total_steps, or epochs steps_per_epoch.
--  Source: Smith & Topin (2018), Super-convergence: very fast training of neural networks using large learning rates.
--    arXiv:1708.07120.
--  Example:
--    local schedule = bdl.optim.NAME(0.1, {total_steps = 100})
--    schedule:step()
--    print(schedule:get_lr())
local OneCycle = schedule("OneCycleLR", {
  {"total_steps", none, above = 0, integer = true}, {"epochs", none, above = 0, integer = true},
  {"steps_per_epoch", none, above = 0, integer = true}, {"pct_start", 0.3, above = 0, below = 1},
  {"anneal_strategy", "cos", one_of = {"cos", "linear"}}, {"div_factor", 25.0, above = 0}, {"final_div_factor", 1e4, above = 0},
}, function(self, base, e, group)
  local max, turn = pick(self.max_lr, group), self.pct_start * self.total_steps
  local x = unit_interval((e - turn) / (self.total_steps - turn))
  local down = linear(max / self.final_div_factor, max, self.anneal_strategy == "cos" and half_cosine(x) or 1 - x)
  return where(e:le(turn), linear(base, max, minimum(e / turn, 1.0)), down)
end)
OneCycle.first = {"max_lr", 0.01, least = 0, list = true}
function OneCycle:prepare()
  if not self.total_steps then
    check(self, self.epochs and self.steps_per_epoch, "give total_steps, or both epochs and steps_per_epoch")
    self.total_steps = self.epochs * self.steps_per_epoch
  end
  self.base_lr = {}
  for group = 1, type(self.max_lr) == "table" and #self.max_lr or 1 do
    self.base_lr[group] = pick(self.max_lr, group) / self.div_factor
  end
end

-- ---- by a metric ----------------------------------------------------------------------------------------------------

--- By a metric:  step(metric): rate <- max(factor rate, min_lr) after more than `patience` epochs without a better
--  metric, then `cooldown` epochs of rest.  Better by more than threshold, relative ("rel") or absolute ("abs").
--  States: best, bad_epochs, resting; last_epoch, lrs.
--  Example:
--    local schedule = bdl.optim.NAME(0.1)
--    schedule:step(0.7)
--    print(schedule:get_lr())
local Plateau = schedule("ReduceLROnPlateau", {
  {"mode", "min", one_of = {"min", "max"}}, {"factor", 0.1, above = 0, below = 1}, {"patience", 10, least = 0},
  {"threshold", 1e-4}, {"threshold_mode", "rel", one_of = {"rel", "abs"}}, {"cooldown", 0, least = 0, integer = true},
  {"min_lr", 0.0, least = 0, list = true},
})
function Plateau:prepare()
  self.best = OptimState(core.tensor(self.mode == "min" and math.huge or -math.huge, "float64"))
  self.bad_epochs = OptimState(core.tensor(0, "int32"))
  self.resting = OptimState(core.tensor(0, "int32"))
end

function Plateau:rate(base) return base end

local function better(self, metric, best)
  local sign = self.mode == "min" and -1 or 1
  local bar = self.threshold_mode == "rel" and best * (1 + sign * self.threshold) or best + sign * self.threshold
  return self.mode == "min" and metric:lt(bar) or metric:gt(bar)
end

--- Errors: TypeError without a metric.
function Plateau:step(metric, epoch)
  if type(metric) ~= "number" and not core.is_tensor(metric) then
    core.fail("TypeError", 2, "optim.ReduceLROnPlateau: step(metric) takes a number, not a %s", class.typename(metric))
  end
  self.last_epoch.value = epoch or self.last_epoch.value + 1
  metric = core.cast(core.is_tensor(metric) and metric or core.tensor(metric + 0.0), "float64")
  local resting, best, bad = self.resting.value, self.best.value, self.bad_epochs.value
  local awake, good = resting:le(0), better(self, metric, best)
  local counted = where(awake, where(good, 0, bad + 1), bad)
  local reduce = array.logical_and(awake, counted:gt(self.patience))
  self.best.value = where(array.logical_and(awake, good), metric, best)
  self.resting.value = where(reduce, self.cooldown, where(awake, resting, resting - 1))
  self.bad_epochs.value = where(reduce, 0, counted)
  for group, lr in ipairs(self.lrs) do
    lr.value = where(reduce, maximum(lr.value * self.factor, pick(self.min_lr, group)), lr.value)
  end
end

-- ---- composition ----------------------------------------------------------------------------------------------------

--- Schedules as functions of the epoch; their own epochs do not count.
local function check_schedulers(self)
  local list = self.schedulers
  check(self, type(list) == "table" and getmetatable(list) == nil and #list > 0, "schedulers is a list of at least one")
  for i, s in ipairs(list) do
    if not class.isa(s, LRScheduler) then
      core.fail("TypeError", 4, "%s: schedulers[%d] is a schedule, not a %s", class.qualified_name(class.of(self)), i,
                class.typename(s))
    end
    check(self, not class.isa(s, Plateau), "schedulers[%d] goes by a metric, not by the epoch; step it on its own", i)
  end
  self.base_lr = list[1].base_lr
end

local function rate_in(s, e, group) return s:rate(pick(s.base_lr, group), e, group) end

--- Schedules at once:  rate = base times rate/base of each, base that of the first.
--  Source: Paszke et al. (2019), PyTorch: an imperative style, high-performance deep learning library. NeurIPS.
--  Example:
--    local optim = bdl.optim
--    local schedule = optim.ChainedScheduler{optim.WarmupScheduler(0.1, 5), optim.ExponentialLR(0.1, 0.9)}
--    print(schedule:get_lr())
local Chained = schedule("ChainedScheduler", {}, function(self, base, e, group)
  for _, s in ipairs(self.schedulers) do
    local own = pick(s.base_lr, group)
    base = own == 0 and 0.0 or base * (rate_in(s, e, group) / own)
  end
  return base
end)
Chained.first = {"schedulers", free = true}

--- ChainedScheduler{s1, s2, ..}
function Chained:__init(...)
  local list = ...
  if select("#", ...) == 1 and type(list) == "table" and list.schedulers == nil then list = {schedulers = list} end
  Chained.super.__init(self, list)
end
Chained.prepare = check_schedulers

--- Schedules one after another:  rate = that of the k-th from its own epoch 0; the next takes over at each milestone.
--  Source: Paszke et al. (2019), PyTorch: an imperative style, high-performance deep learning library. NeurIPS.
--  Example:
--    local optim = bdl.optim
--    local schedule = optim.SequentialLR({optim.ConstantLR(0.1), optim.ExponentialLR(0.1, 0.9)}, {10})
--    print(schedule:get_lr())
local Sequential = schedule("SequentialLR", {{"milestones", free = true}}, function(self, _, e, group)
  local lr = rate_in(self.schedulers[1], e, group)
  for k, milestone in ipairs(self.milestones) do
    lr = where(e:ge(milestone), rate_in(self.schedulers[k + 1], maximum(e - milestone, 0.0), group), lr)
  end
  return lr
end)
Sequential.first = {"schedulers", free = true}
function Sequential:prepare()
  check_schedulers(self)
  local n, m = #self.schedulers, self.milestones
  m = type(m) == "table" and #m or tostring(m)
  check(self, m == n - 1, "%d schedulers need %d milestones, not %s", n, n - 1, m)
end

return M

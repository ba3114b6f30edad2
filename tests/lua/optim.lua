--- Optimisers and schedules beyond the reference data: groups, compilation, lanes, saving, units, errors.
local bdl = require "bdl"
local t = require "tests.lua.harness"

local optim, u = bdl.optim, bdl.units

local OPTIMIZERS = {
  "SGD", "Momentum", "MomentumNesterov", "Adam", "AdamW", "Adagrad", "Adadelta", "RMSprop", "Adamax", "Nadam", "RAdam", "Lamb", "Lars", "Yogi",
  "Rprop", "Adafactor", "AdaBelief", "Lion", "SM3", "Novograd", "Fromage", "LBFGS",
}
local SCHEDULES = {
  StepLR = {}, MultiStepLR = {}, ConstantLR = {}, PiecewiseConstantSchedule = {}, ExponentialLR = {}, ExponentialDecayLR = {}, PolynomialLR = {},
  LinearLR = {}, CosineAnnealingLR = {}, CosineAnnealingWarmRestarts = {}, WarmupScheduler = {}, WarmupCosineSchedule = {}, CyclicLR = {},
  OneCycleLR = {total_steps = 10}, ReduceLROnPlateau = {},
}

local function every(f)
  for _, name in ipairs(OPTIMIZERS) do f(name, function(opts) return optim[name](opts or {}) end) end
  f("Lookahead", function(opts)
    opts = opts or {}
    opts.base_optimizer = optim.Adam(0.1)
    return optim.Lookahead(opts)
  end)
end

local RATES = {Lookahead = 1.0, Lars = 10.0, Adadelta = 20.0}

local START, TARGET = bdl.tensor{{2.0, -3.0}, {0.5, 1.0}}, bdl.tensor{{1.0, 1.0}, {0.25, -2.0}}
local scales = bdl.tensor{{1.0, 3.0}, {2.0, 0.5}}

--- A bowl: the weights, the loss, its gradients.
local function bowl()
  local w = {a = bdl.ParamState(START), b = bdl.ParamState{c = bdl.tensor{1.0, 2.0}, d = bdl.tensor(3.0)}}
  local function loss()
    return (scales * (w.a.value - TARGET)^2):sum() + (w.b.value.c^2):sum() + w.b.value.d^2
  end
  return w, loss, bdl.grad(loss, w)
end

t.test("every optimiser goes down, compiled as by hand", function()
  every(function(name, make)
    local results = {}
    for _, compiled in ipairs{true, false} do
      local w, loss, grad = bowl()
      local opt = make{lr = RATES[name] or 0.05}
      opt:register_trainable_weights(w)
      local first = loss():item()
      local step = function() opt:update(grad()) end
      if compiled then step = bdl.jit(step) end
      for _ = 1, 12 do step() end
      t.ok(loss():item() < 0.97 * first, ("%s: %g from %g"):format(name, loss():item(), first))
      t.eq(opt.step_count.value:item(), 12)
      results[#results + 1] = {w.a.value, w.b.value.c, w.b.value.d}
    end
    for k = 1, 3 do t.close(results[1][k], results[2][k], 1e-4, 1e-5, name) end
  end)
end)

t.test("a step runs in lanes", function()
  for _, name in ipairs{"Adam", "SM3", "Lars", "Nadam"} do
    local rates = bdl.tensor{0.1, 0.2}
    local function train(x)
      local w = bdl.ParamState(START * x)
      local opt = optim[name](0.1)
      opt:register_trainable_weights{w = w}
      for _ = 1, 3 do opt:update{w = scales * w.value} end
      return w.value
    end
    local all = bdl.vmap(train)(rates)
    t.close(all[1], train(rates[1]), 1e-5, 1e-6, name)
    t.close(all[2], train(rates[2]), 1e-5, 1e-6, name)
  end
end)

t.test("groups have a rate and a decay of their own", function()
  local a, b = bdl.ParamState(bdl.ones(2)), bdl.ParamState(bdl.ones(2))
  local opt = optim.SGD(0.1)
  opt:register_trainable_weights{a = a}
  opt:add_param_group({b = b}, {lr = 0.5, weight_decay = 1.0})
  opt:update{a = bdl.ones(2), b = bdl.zeros(2)}
  t.close(a.value, {0.9, 0.9})
  t.close(b.value, {0.5, 0.5})
  t.eq(#opt.groups, 2)
  t.raises("TypeError", "not a Linear.-model:states%(bdl.ParamState%)", function() opt:register_trainable_weights(bdl.nn.Linear(1, 1)) end)
  t.raises("TypeError", "a group has no option 'rate'", function() opt:add_param_group({c = a}, {rate = 1}) end)
end)

--- Five steps with the gradient cos(w t + n), by braintools 0.3.0.
t.test("further parameters, and classes without a case of their own, equal the reference", function()
  for _, case in ipairs{
    {"LBFGS", {lr = 0.1, memory_size = 2}, {-0.350115544, 0.952171899, 1.186662419, 0.478387639}},
    {"LBFGS", {lr = 0.1, memory_size = 2, scale_init_precond = false}, {-3.351005705, 2.652831644, 3.778325406, 3.455134546}},
    {"Adafactor", {lr = 0.1, decay_rate = 0.6, weight_decay = 0.1}, {-0.314542477, 0.872832934, 0.735296201, 0.344897756}},
    {"Adagrad", {lr = 0.1, lr_decay = 0.3, initial_accumulator_value = 0.2}, {-0.209547644, 0.958782746, 0.970283382, 0.327955339}},
    {"Nadam", {lr = 0.1, momentum_decay = 0.1}, {-0.321463735, 0.982214279, 0.907093359, 0.394865082}},
    {"Rprop", {lr = 0.1, etas = {0.4, 1.5}, step_sizes = {0.08, 0.15}}, {-0.4, 1.091470985, 0.929297427, 0.541120008}},
    {"Novograd", {lr = 0.1, weight_decay = 0.1}, {-0.548686799, 1.017770939, 0.947515707, 0.594947392}},
    {"Fromage", {lr = 0.3, grad_clip_norm = 0.5}, {-0.31277318, 0.548887766, 0.413998404, 0.320031938}},
  } do
    bdl.environ.context({precision = 64}, function()
      local n = bdl.arange(0.0, 4.0)
      local w = bdl.ParamState(n:sin())
      local opt = optim[case[1]](case[2])
      opt:register_trainable_weights{w = w}
      for k = 1, 5 do opt:update{w = (w.value * k + n):cos()} end
      t.close(w.value, case[3], 1e-5, 1e-8, case[1])
    end)
  end
end)

t.test("arguments go by position too", function()
  t.eq(optim.SGD(0.1, 0.9, true).momentum, 0.9)
  t.eq(optim.Adam(0.1, {0.5, 0.6}).betas, {0.5, 0.6})
  t.eq(optim.Lookahead(optim.SGD(0.1), 0.5, 3).sync_period, 3)
end)

t.test("clipping by norm looks at all weights, before that by value", function()
  local a, b = bdl.ParamState(bdl.zeros(1)), bdl.ParamState(bdl.zeros(1))
  local opt = optim.SGD{lr = 1.0, grad_clip_norm = 1.0, grad_clip_value = 0.7}
  opt:register_trainable_weights{a = a, b = b}
  opt:update{a = bdl.tensor{3.0}, b = bdl.tensor{4.0}}
  t.close(a.value, {-0.6})
  t.close(b.value, {-0.7})
  opt:update{a = bdl.zeros(1), b = bdl.zeros(1)}
  t.close(a.value, {-0.6})
end)

t.test("schedules drive the rate of every group, also compiled", function()
  local a, b = bdl.ParamState(bdl.zeros(1)), bdl.ParamState(bdl.zeros(1))
  local schedule = optim.StepLR(0.1, 2, 0.5)
  local opt = optim.SGD(schedule)
  opt:register_trainable_weights{a = a}
  opt:add_param_group({b = b}, {lr = 1.0})
  local step = bdl.jit(function()
    opt:update{a = bdl.ones(1), b = bdl.ones(1)}
    schedule:step()
  end)
  for _ = 1, 4 do step() end
  t.close(a.value, {-0.3})
  t.close(b.value, {-3.0})
  t.close(schedule:get_last_lr(), {0.025, 0.25})
  t.close(schedule:get_lr(), 0.025)
  t.close(opt:current_lr(), 0.025)
  schedule:step(0)
  t.close(opt:current_lr(), 0.1)
end)

t.test("the first update has the rate of epoch 0", function()
  local w = bdl.ParamState(bdl.zeros(1))
  local opt = optim.SGD{lr = optim.ConstantLR{0.4, factor = 0.25}}
  opt:register_trainable_weights(w)
  opt:update(bdl.ones(1))
  t.close(w.value, {-0.1})
end)

t.test("every schedule prints a number, takes lists, saves and loads", function()
  for name, options in pairs(SCHEDULES) do
    local function make(base)
      local copy = {}
      for key, value in pairs(options) do copy[key] = value end
      copy[name == "OneCycleLR" and "max_lr" or "base_lr"] = base
      return optim[name](copy)
    end
    local s = make{0.1, 0.2}
    t.eq(#s:get_last_lr(), 2, name)
    t.eq(type(s:get_lr()), "number", name)
    for _ = 1, 3 do s:step(name == "ReduceLROnPlateau" and 1.0 or nil) end
    local other = make{0.1, 0.2}
    other:load_state_dict(s:state_dict())
    t.eq(other:get_last_lr(), s:get_last_lr(), name)
    t.eq(other.last_epoch.value:item(), 3, name)
  end
end)

t.test("schedules compose", function()
  local function rates(s, n)
    local list = {}
    for i = 1, n do
      list[i] = s:get_lr()
      s:step()
    end
    return list
  end
  t.close(rates(optim.ChainedScheduler{optim.ConstantLR(0.8, 0.5, 2), optim.ExponentialLR(1.0, 0.5)}, 4), {0.4, 0.2, 0.2, 0.1})
  t.close(rates(optim.SequentialLR({optim.WarmupScheduler(0.4, 2), optim.StepLR(1.0, 1, 0.5)}, {2}), 5), {0, 0.2, 1.0, 0.5, 0.25})
  t.close(rates(optim.CyclicLR{1.0, 2.0, 2, scale_fn = function(c) return 1 / c end}, 7), {1, 1.5, 2, 1.5, 1, 1.25, 1.5})
  local Linear = optim.LRScheduler:extend "Linear"
  function Linear:rate(base, epoch) return base * (epoch + 1) end
  t.close(rates(Linear(0.5), 3), {0.5, 1.0, 1.5})
end)

t.test("periods of restarts begin on whole epochs", function()
  local s = optim.CosineAnnealingWarmRestarts(1.0, 1, 3)
  local starts = {}
  for e = 0, 400 do
    s:step(e)
    if s:get_lr() == 1 then starts[#starts + 1] = e end
  end
  t.eq(starts, {0, 1, 4, 13, 40, 121, 364})
end)

t.test("an optimiser is saved and goes on where it was", function()
  every(function(name, make)
    local w, _, grad = bowl()
    local opt = make()
    opt:register_trainable_weights(w)
    for _ = 1, 3 do opt:update(grad()) end
    local v = bowl()
    for key, s in pairs(v) do s.value = w[key].value end
    local other = make()
    other:register_trainable_weights(v)
    other:load_state_dict(opt:state_dict())
    local g = grad()
    opt:update(g)
    other:update(g)
    t.eq(v.a.value, w.a.value, name)
    t.eq(v.b.value.c, w.b.value.c, name)
  end)
  local opt = optim.Adam()
  t.raises("KeyError", "'nonsense' belongs to nothing here", function() opt:load_state_dict{nonsense = 1} end)
  t.raises("KeyError", "no saved value for", function() opt:load_state_dict{} end)
end)

t.test("what is saved has the paths of the weights", function()
  local opt = optim.Momentum(0.1)
  opt:register_trainable_weights{layer = bdl.ParamState{weight = bdl.ones(2), bias = bdl.ones(1)}}
  local saved = {}
  for path in pairs(opt:state_dict()) do saved[#saved + 1] = path end
  table.sort(saved)
  t.eq(saved, {"groups[1].lr", 'memory.momentum["layer.bias"]', 'memory.momentum["layer.weight"]', "step_count"})
end)

t.test("weights keep their unit and dtype", function()
  every(function(name, make)
    local w = bdl.ParamState(bdl.tensor({1.0, 2.0}, {dtype = "float32"}) * u.mV)
    local opt = make()
    opt:register_trainable_weights(w)
    opt:update(bdl.tensor({0.1, -0.1}, {dtype = "float32"}))
    t.eq(w.value.dtype, "float32", name)
    t.ok((w.value / u.mV):sum():item() > 0, name)
  end)
end)

t.test("factored second moments equal the reference", function()
  bdl.environ.context({precision = 64}, function()
    local n = bdl.arange(0.0, 60.0):reshape(3, 5, 4)
    local w = bdl.ParamState(n:sin())
    local opt = optim.Adafactor{0.1, eps = 1e-3, min_dim_size_to_factor = 4}
    opt:register_trainable_weights{w = w}
    for k = 1, 4 do opt:update{w = (w.value * k + n):cos()} end
    local v = w.value:reshape(-1)
    t.close({v[1]:item(), v[8]:item(), v[24]:item(), v[42]:item(), v[60]:item()},
            {-0.35121681, 0.90018903, -0.5241808, 0.27290726, 0.68732738}, 1e-5)  -- optax 0.2.8
  end)
end)

t.test("factored second moments equal whole ones of rank one", function()
  local g = bdl.outer(bdl.arange(1.0, 5.0), bdl.arange(1.0, 4.0))
  local moved = {}
  for i, least in ipairs{2, 100} do
    local w = bdl.ParamState(bdl.zeros(4, 3))
    local opt = optim.Adafactor{0.1, min_dim_size_to_factor = least}
    opt:register_trainable_weights{w = w}
    for _ = 1, 3 do opt:update{w = g} end
    moved[i] = w.value
  end
  t.close(moved[1], moved[2], 1e-4)
end)

t.test("LBFGS with one remembered step minimises a parabola in few", function()
  local w = bdl.ParamState(bdl.tensor{3.0, -2.0})
  local opt = optim.LBFGS{memory_size = 1}
  opt:register_trainable_weights{w = w}
  for _ = 1, 3 do opt:update{w = 4 * w.value} end
  t.close(w.value, {0, 0}, 0, 1e-5)
end)

t.test("bad arguments are named", function()
  t.raises("ValueError", "optim.Adam: betas must be a number at least 0 and less than 1, not 1.5", function() optim.Adam{betas = {0.9, 1.5}} end)
  t.raises("TypeError", "betas is a list of 2 numbers", function() optim.Adam{betas = 0.9} end)
  t.raises("ValueError", "optim.SGD: lr must be a number at least 0, not %-1", function() optim.SGD(-1) end)
  t.raises("TypeError", "optim.SGD: lr is a number at least 0, not a string", function() optim.SGD "fast" end)
  t.raises("ValueError", "grad_clip_norm must be a number greater than 0", function() optim.SGD{grad_clip_norm = 0} end)
  t.raises("TypeError", "no argument 'momentun'.*momentum", function() optim.SGD{momentun = 0.9} end)
  t.raises("KeyError", "Adam", function() return optim.Adma end)
  t.raises("TypeError", "base_optimizer is an optimiser", function() optim.Lookahead() end)
  t.raises("ValueError", "call register_trainable_weights first", function() optim.SGD():update{} end)
  local opt = optim.SGD()
  opt:register_trainable_weights{a = bdl.ParamState(bdl.ones(1))}
  t.raises("ValueError", "no gradient for 'a'", function() opt:update{b = bdl.ones(1)} end)
  t.raises("ValueError", "two weights lie under 'a'", function() opt:register_trainable_weights{a = bdl.ParamState(bdl.ones(1))} end)
  t.raises("TypeError", "the weights are States", function() opt:register_trainable_weights(3) end)
  t.raises("ValueError", "optim.StepLR: step_size must be", function() optim.StepLR(0.1, 0) end)
  t.raises("ValueError", "mode is one of 'triangular'", function() optim.CyclicLR{mode = "triangle"} end)
  t.raises("ValueError", "give total_steps", function() optim.OneCycleLR(0.1) end)
  t.raises("ValueError", "2 boundaries need 3 values", function() optim.PiecewiseConstantSchedule{boundaries = {1, 2}, values = {1, 2}} end)
  t.raises("ValueError", "2 schedulers need 1 milestones", function() optim.SequentialLR({optim.StepLR(), optim.StepLR()}, {1, 2}) end)
  t.raises("TypeError", "schedulers%[1%] is a schedule, not a number", function() optim.ChainedScheduler{1} end)
  t.raises("ValueError", "goes by a metric", function() optim.ChainedScheduler{optim.ReduceLROnPlateau()} end)
  t.raises("TypeError", "step%(metric%) takes a number", function() optim.ReduceLROnPlateau():step() end)
end)

t.test("set_lr: the rate of the updates from then on, of compiled ones too", function()
  local w = bdl.ParamState(bdl.tensor{1.0})
  local opt = bdl.optim.SGD(0.5)
  opt:register_trainable_weights(w)
  local step = bdl.jit(function() opt:update(bdl.ones(1)) end)
  step()
  opt:set_lr(0.125)
  step()
  t.close(w.value, {1 - 0.5 - 0.125})
  t.close(opt:current_lr(), 0.125)
  t.raises("ValueError", "optim.SGD: lr", opt.set_lr, opt, -1)
  t.raises("TypeError", "optim.SGD: lr", opt.set_lr, opt, "fast")
end)

t.test("LBFGS with a line search: the reference's first steps, and down to the minimum of a curved valley", function()
  bdl.environ.context({precision = 64}, function()
    local w = bdl.ParamState{x = bdl.tensor(-1.2), y = bdl.tensor{1.0}*u.mV}
    local function loss() return (1 - w.value.x)^2 + 5*(w.value.y[1]/u.mV - w.value.x^2)^2 end
    local opt = optim.LBFGS{1.0, memory_size = 3, linesearch = "backtracking"}
    opt:register_trainable_weights(w)
    local step = bdl.jit(function()
      local g, l = bdl.grad(loss, w, {return_value = true})()
      opt:update(g, {value = l, value_fn = loss})
    end)
    for _, want in ipairs{{-0.708804863195509, 1.14446915788367}, {-0.804360264289164, 1.06276771835893}, {-0.914863554599372, 0.90978437799267},
                          {-0.862778142038124, 0.873073904361157}, {-0.476303594878239, 0.411424584954178}} do
      step()
      t.close({w.value.x:item(), (w.value.y / u.mV):totable()[1]}, want, 1e-9)
    end
    for _ = 1, 20 do step() end
    t.close(loss():item(), 0, 0, 1e-12)
    t.raises("TypeError", "with a line search write update%(grads, {value = loss", opt.update, opt, {x = bdl.tensor(0.0), y = bdl.zeros(1)})
    t.raises("ValueError", "linesearch is one of 'backtracking', not 'zoom'", optim.LBFGS, {linesearch = "zoom"})
  end)
end)

--- Learning rules on random models: against backpropagation through time where they are exact, everywhere against
--  their equations
--  on dense Jacobians.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local models = require "tests.lua.support.online_models"
local oracle = require "tests.lua.support.online_oracle"
local nn, online, random = bdl.nn, bdl.online, bdl.random

local function test(name, f) t.test(name, function() return bdl.environ.context({precision = 64}, f) end) end

local OPS = {"biased", "conv", "einsum", "grouped", "lora", "matmul", "sparse"}
local DYNAMICS = {"adaptive", "gated", "leaky", "mixed", "spiking"}

--- The sum over steps of the learner's gradients, in the order of oracle.weights.
local function learned(spec, make, xs, ys, opts)
  nn.reset_all_states(spec.net)
  local learner = make(spec.net)
  if not learner._compiled then learner:compile_graph(xs[1]) end
  local chunk = opts and opts.chunk_size
  local grads = learner:etrace_grad(xs, ys, function(x, y)
    if chunk then return bdl.sum((learner(online.MultiStepData(x)) - y)^2, {axis = #spec.lead > 0 and {2, 3} or 2}) end
    return models.loss(learner(x), y)
  end, {reduction = "sum", weights = oracle.weights(spec), chunk_size = chunk})
  return grads, learner
end

local function through_time(spec, xs, ys)
  nn.reset_all_states(spec.net)
  return bdl.grad(function()
    return bdl.sum((bdl.for_loop(function(x, y) return models.loss(spec.net(x), y) end, xs, ys)))
  end, oracle.weights(spec))()
end

local function compare(spec, what, got, want, rtol)
  for k, g in ipairs(want) do t.close(got[k], g, rtol or 1e-8, 1e-10, ("%s, %s, parameter %d"):format(spec.text, what,
    k)) end
end

--- The step's own L.
local function symmetric(one) return one.L end

-- ---- exact ----------------------------------------------------------------------------------------------------------

test("D-RTRL is BPTT where hidden States do not mix", function()
  local seed = 0
  for _, op in ipairs(OPS) do
    for _, dynamics in ipairs(DYNAMICS) do
      seed = seed + 1
      local spec = models.draw(seed, {recurrent = false, chained = false, op = op, dynamics = dynamics})
      local xs, ys = models.sequences(spec, 5)
      compare(spec, "D-RTRL", learned(spec, online.D_RTRL, xs, ys), through_time(spec, xs, ys))
    end
  end
end)

test("a window over the whole sequence is BPTT for every rule", function()
  local rules = {
    function(net) return online.D_RTRL(net, {vjp_method = "multi-step"}) end,
    function(net) return online.ES_D_RTRL(net, {decay_or_rank = 0.9, vjp_method = "multi-step"}) end,
    function(net) return online.OSTLRecurrent(net, {vjp_method = "multi-step"}) end,
    function(net) return online.SnAp(net, {sparse_n = 2, vjp_method = "multi-step"}) end,
    function(net) return online.UORO(net) end,
  }
  for seed = 101, 110 do
    local spec = models.draw(seed)
    local xs, ys = models.sequences(spec, 4)
    local exact = through_time(spec, xs, ys)
    for k, make in ipairs(rules) do
      if seed % #rules == k - 1 then compare(spec, "window of rule " .. k, learned(spec, make, xs, ys,
        {chunk_size = 4}), exact) end
    end
  end
end)

test("SnAp of a high order is BPTT for one recurrent group", function()
  for seed = 201, 207 do
    local spec = models.draw(seed, {layers = 1, recurrent = true, op = OPS[seed - 200]})
    local xs, ys = models.sequences(spec, 5)
    compare(spec, "SnAp-9", learned(spec, function(net) return online.SnAp(net, {sparse_n = 9}) end, xs, ys),
      through_time(spec, xs, ys))
  end
end)

-- ---- every axis -----------------------------------------------------------------------------------------------------

local PER_PARAM = {
  {},
  {temporal_recursion = "scalar_leak", decay = 0.7},
  {temporal_recursion = "none"},
  {recurrence_scope = "coupled"},
  {trace_filter = "kappa", kappa = 0.6},
  {recurrence_scope = "coupled", trace_filter = "kappa", kappa = 0.3},
}

test("traces of weights follow their equations", function()
  for seed = 301, 312 do
    local spec = models.draw(seed)
    local xs, ys = models.sequences(spec, 4)
    local steps = oracle.record(spec, xs, ys)
    for k, given in ipairs(PER_PARAM) do
      local config = online.ETraceConfig(given)
      local got = learned(spec, function(net) return online.D_RTRL(net, {config = config}) end, xs, ys)
      compare(spec, "config " .. k, got, oracle.per_param(spec, steps, config, symmetric))
    end
  end
end)

test("SnAp keeps what is reached within its order", function()
  for seed = 401, 408 do
    local spec = models.draw(seed, {op = OPS[seed % 7 + 1], batch = seed % 4 == 0, dynamics = seed % 4 == 0
      and "adaptive" or nil})
    local xs, ys = models.sequences(spec, 4)
    local steps = oracle.record(spec, xs, ys)
    for n = 1, 3 do
      local got = learned(spec, function(net) return online.SnAp(net, {sparse_n = n}) end, xs, ys)
      compare(spec, "SnAp-" .. n, got, oracle.snap(spec, steps, n, symmetric))
    end
    compare(spec, "OSTL", learned(spec, online.OSTLRecurrent, xs, ys), learned(spec,
      function(net) return online.SnAp(net, {sparse_n = 1}) end, xs, ys), 0)
  end
end)

local FACTORIZED = {
  {decay = 0.9}, {decay = {0.5, 0.8}}, {decay = {0.5, 0.8}, temporal_recursion = {"none", "jacobian"}},
  {decay = {0.5, 0.8}, temporal_recursion = {"scalar_leak", "scalar_leak"}}, {decay = 0.7,
    recurrence_scope = "coupled"}, {decay = {0.6, 0.0}},
}

test("traces of inputs and outputs follow their equations", function()
  for seed = 501, 510 do
    local spec = models.draw(seed, {dynamics = DYNAMICS[seed % 5 + 1]})
    local xs, ys = models.sequences(spec, 4)
    local steps = oracle.record(spec, xs, ys)
    for k, given in ipairs(FACTORIZED) do
      given.trace_factorization = "io_factorized"
      if given.temporal_recursion and given.temporal_recursion[1] == "none" then given.decay = {0.0, 0.8} end
      local config = online.ETraceConfig(given)
      local got = learned(spec, function(net) return online.ES_D_RTRL(net, {config = config}) end, xs, ys)
      compare(spec, "factors " .. k, got, oracle.io_factorized(spec, steps, config, symmetric))
    end
  end
end)

test("learning signals replace L as they say", function()
  for seed = 601, 604 do
    local spec = models.draw(seed, {dynamics = seed % 2 == 0 and "adaptive" or "mixed"})
    local xs, ys = models.sequences(spec, 4)
    local steps = oracle.record(spec, xs, ys)
    local config = online.ETraceConfig()
    local feedback = {}
    for l, layer in ipairs(spec.layers) do feedback[l] = random.randn(layer.n, layer.n) end
    local function projected(one, l)
      local rows = one.L:reshape(-1, spec.layers[l].n) -- each state, each element of the batch
      return (rows / (bdl.sqrt(bdl.sum(rows * rows, {axis = 2,
        keepdims = true})) + 1e-8)):matmul(feedback[l]):reshape(one.H)
    end
    compare(spec, "random feedback", learned(spec, function(net) return online.EProp(net, {feedback = feedback}) end,
      xs, ys),
            oracle.per_param(spec, steps, config, projected))
    local factor = random.randn(spec.layers[1].n)
    compare(spec, "modulator", learned(spec, function(net) return online.ThreeFactor(net, {modulator = factor}) end,
      xs, ys),
            oracle.per_param(spec, steps, config, function(one) return bdl.tile(factor, {one.H // factor.size}) end))
  end
end)

test("a hybrid keeps for each weight what is smaller", function()
  local kept = {}
  for seed = 701, 708 do
    local spec = models.draw(seed, {layers = 1, op = seed % 2 == 0 and "sparse" or "matmul", dynamics = "adaptive"})
    local xs, ys = models.sequences(spec, 4)
    local steps = oracle.record(spec, xs, ys)
    local o = steps[1].layers[1].ops[1]
    local full = o.X.size + o.y.size > (spec.lead[1] or 1) * o.values[1].size
    local got = learned(spec, function(net) return online.DiagHybridDimAlgorithm(net, {decay_or_rank = 0.8}) end, xs,
      ys)
    local config = online.ETraceConfig{trace_factorization = "io_factorized", decay = 0.8}
    compare(spec, "hybrid", got, full and oracle.per_param(spec, steps, online.ETraceConfig(), symmetric)
      or oracle.io_factorized(spec, steps, config, symmetric))
    kept[full] = true
  end
  t.eq(kept, {[true] = true, [false] = true})
end)

test("UORO follows its equations for given signs", function()
  for seed = 801, 808 do
    local spec = models.draw(seed, {op = OPS[seed % 7 + 1]})
    local xs, ys = models.sequences(spec, 4)
    local steps = oracle.record(spec, xs, ys)
    local nu, given = {}, {}
    for l, one in ipairs(steps[1].layers) do
      nu[l] = bdl.where(random.rand(4, one.H):lt(0.5), 1.0, -1.0)
      local S = one.H // one.P
      given[l] = bdl.moveaxis(nu[l]:reshape(#spec.lead > 0 and {4, S, 2, -1} or {4, S, -1}), 2, -1)
    end
    local got = learned(spec, function(net) return online.UORO(net, {nu = given, vjp_method = "single-step"}) end, xs,
      ys)
    compare(spec, "UORO", got, oracle.uoro(spec, steps, nu, 1e-12), 1e-5)
  end
end)

test("UORO is right on average over all signs", function()
  local spec = models.draw(21, {layers = 1, recurrent = true, op = "matmul", dynamics = "mixed", batch = false, n = 2})
  local xs, ys = models.sequences(spec, 3)
  local total
  for code = 0, 63 do -- signs of three steps of two units
    local signs = {}
    for k = 0, 5 do signs[k + 1] = code >> k & 1 == 1 and 1.0 or -1.0 end
    local nu = bdl.tensor(signs):reshape(3, 2, 1)
    local g = learned(spec, function(net) return online.UORO(net, {nu = {nu}, vjp_method = "single-step"}) end, xs, ys)
    total = total and bdl.tree.map(function(a, b) return a + b end, total, g) or g
  end
  compare(spec, "mean", bdl.tree.map(function(x) return x / 64 end, total), through_time(spec, xs, ys), 1e-5)
end)

test("UORO draws other signs for another key", function()
  local spec = models.draw(22, {layers = 1, recurrent = true, op = "matmul"})
  local xs, ys = models.sequences(spec, 4)
  local function run(key) return learned(spec, function(net) return online.UORO(net, {projection_key = key,
    vjp_method = "single-step"}) end, xs, ys) end
  local a, b = run(1), run(2)
  t.eq(run(1)[1], a[1])
  t.ok(bdl.any(a[1]:ne(b[1])):item())
end)

-- ---- windows --------------------------------------------------------------------------------------------------------

test("windows are reverse mode within, and the traces of before", function()
  for seed = 951, 956 do
    local spec = models.draw(seed)
    local net, size = spec.net, 2
    local xs, ys = models.sequences(spec, 6)
    local steps = oracle.record(spec, xs, ys)
    local weights, hidden = oracle.weights(spec), {}
    for l in ipairs(spec.layers) do hidden[l] = net.h[l] end
    nn.reset_all_states(net)
    local within, start = nil, {}
    for w = 1, 3 do
      local rows = {(w - 1) * size + 1, w * size}
      local g = bdl.grad(function()
        return bdl.sum((bdl.for_loop(function(x, y) return models.loss(net(x), y) end, xs[{rows}], ys[{rows}])))
      end, {weights = weights, hidden = hidden})()
      within = within and bdl.tree.map(function(a, b) return a + b end, within, g.weights) or g.weights
      start[w] = {}
      for l, list in ipairs(g.hidden) do
        local flat = {}
        for a, x in ipairs(list) do flat[a] = x:reshape(x.size) end
        start[w][l] = bdl.concatenate(flat)
      end
    end
    local function check(what, config, before)
      local got = learned(spec, function(model)
        return online[config.trace_factorization == "per_param" and "D_RTRL" or "ES_D_RTRL"](model, {config = config,
          vjp_method = "multi-step"})
      end, xs, ys, {chunk_size = size})
      compare(spec, what, got, bdl.tree.map(function(a, b) return a + b end, within, before(spec, steps, config, size,
        start)))
    end
    check("D-RTRL", online.ETraceConfig(), oracle.before_windows)
    check("OSTL", online.ETraceConfig{recurrence_scope = "coupled"}, oracle.before_windows)
    check("ES-D-RTRL", online.ETraceConfig{trace_factorization = "io_factorized", decay = 0.8},
      oracle.io_before_windows)
  end
end)

test("DNI with the true gradient of the future is BPTT for a parameter without traces", function()
  for seed = 901, 904 do
    local spec = models.draw(seed, {chained = false})
    local net, shift = spec.net, spec.net.shift
    local xs, ys = models.sequences(spec, 6)
    nn.reset_all_states(net)
    local learner = online.DNI(net)
    learner:compile_graph(xs[1])
    local Known, future = online.SyntheticGradient:extend "Known", {}
    function Known:update()
      local list = {}
      for j, x in ipairs(future) do list[j] = x.value end
      return list
    end
    for j, shape in ipairs(learner:group_signal_shapes()) do future[j] = bdl.ShortTermState(bdl.zeros(shape)) end
    learner:attach_synthesizer(Known(learner:group_signal_shapes()))

    local function rest(first, by) -- of the losses from a step on
      local rows = {first, 6}
      return bdl.grad(function()
        return bdl.sum((bdl.for_loop(function(x, y) return models.loss(net(x), y) end, xs[{rows}], ys[{rows}])))
      end, by)()
    end
    local hidden = net:states(bdl.HiddenState)
    local want = rest(1, shift)
    nn.reset_all_states(net)
    local total = 0
    for first = 1, 5, 2 do
      local rows, kept = {first, first + 1}, {}
      for path, s in hidden:items() do kept[path] = s.value end
      for k = first, first + 1 do net(xs[k]) end
      local g = first < 5 and rest(first + 2, hidden)
      for j, group in ipairs(learner.graph.hidden_groups) do
        local own = {}
        for k, path in ipairs(group.hidden_paths) do own[k] = g and g[path] or kept[path] * 0 end
        future[j].value = group:concat_hidden(own)
      end
      for path, s in hidden:items() do s.value = kept[path] end
      local function window() return bdl.sum((learner(online.MultiStepData(xs[{rows}])) - ys[{rows}])^2) end
      total = total + bdl.grad(window, shift)()
    end
    t.close(total, want, 1e-8, 1e-10, spec.text)
  end
end)

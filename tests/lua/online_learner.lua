--- Learners as objects: what they refuse, inside of transformations, saved, in a changed environ, and what they keep
--  in memory.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local models = require "tests.lua.support.online_models"
local nn, online, random, u = bdl.nn, bdl.online, bdl.random, bdl.units

local function test(name, f)
  t.test(name, function() return bdl.environ.context({precision = 64, dt = 0.1 * u.ms}, f) end)
end

local Net = nn.Module:extend "Net"

--- h' = tanh(x W + h V + 0.5 h), traced; out = h' R, plain.
function Net:__init(m, n)
  self.w = bdl.ParamState(random.randn(m, n) / 2)
  self.v = bdl.ParamState(random.randn(n, n) / 2)
  self.r = bdl.ParamState(random.randn(n, 2) / 2)
  rawset(self, "n", n)
end

function Net:init_state(batch) self.h = bdl.HiddenState(batch and bdl.zeros(batch, self.n) or bdl.zeros(self.n)) end
function Net:reset_state() self.h.value = self.h.value * 0 end

function Net:update(x)
  local h = self.h.value
  self.h.value = bdl.tanh(online.matmul(x, self.w) + online.matmul(h, self.v) + 0.5 * h)
  return self.h.value:matmul(self.r.value)
end

local function net(batch)
  random.seed(7)
  local made = Net(3, 4)
  nn.init_all_states(made, batch)
  return made
end

local RULES = {
  D_RTRL = {}, ES_D_RTRL = {decay_or_rank = 0.9}, DiagHybridDimAlgorithm = {}, OSTLRecurrent = {},
    OSTLFeedforward = {}, SnAp = {sparse_n = 2},
  UORO = {vjp_method = "single-step"}, ThreeFactor = {}, EProp = {feedback = "random", random_feedback_key = 3,
    kappa_filter_decay = 0.5},
}
local NAMES = bdl.util.sorted_keys(RULES)

local function learner_of(name, model, x)
  local learner = online[name](model, RULES[name])
  return learner:compile_graph(x)
end

local function loss_of(learner) return function(x, y) return bdl.sum((learner(x) - y)^2) end end

local function same(a, b, what)
  for path, x in a:items() do t.eq(x, b[path], what .. " " .. path) end
end

-- ---- configurations -------------------------------------------------------------------------------------------------

test("combinations that mean nothing are refused with the reason", function()
  local cases = {
    {{trace_filter = "kappa", kappa = 0.5, trace_factorization = "io_factorized", decay = 0.9}, "ValueError",
      "trace_filter = 'kappa' is of trace_factorization = 'per_param'"},
    {{recurrence_scope = "coupled", temporal_recursion = "none"}, "ValueError",
      "recurrence_scope = 'coupled' says what enters the Jacobian, but temporal_recursion is 'none'"},
    {{recurrence_scope = "coupled", trace_factorization = "io_factorized", decay = 0.9,
      temporal_recursion = {"scalar_leak", "scalar_leak"}}, "ValueError", "but temporal_recursion is 'scalar_leak'"},
    {{trace_factorization = "io_factorized", decay = 0.9, temporal_recursion = {"jacobian", "jacobian"}}, "ValueError",
      "the trace of inputs has no Jacobian"},
    {{decay = 0.9}, "ValueError", "temporal_recursion = 'jacobian' has no decay"},
    {{temporal_recursion = "scalar_leak"}, "ValueError", "temporal_recursion = 'scalar_leak' needs decay"},
    {{trace_factorization = "io_factorized"}, "ValueError", "trace_factorization = 'io_factorized' needs decay"},
    {{kappa = 0.5}, "ValueError", "kappa = 0.5 is set, but trace_filter is 'none'"},
    {{trace_filter = "kappa"}, "ValueError", "trace_filter = 'kappa' needs kappa"},
    {{update_schedule = "window"}, "ValueError", "update_schedule = 'window' needs window_size"},
    {{sparse_n = 2}, "ValueError", "sparse_n = 2 is set, but recurrence_scope is 'diagonal'"},
    {{recurrence_scope = "sparse_n", sparse_n = 2, trace_factorization = "io_factorized", decay = 0.9}, "ValueError",
      "recurrence_scope = 'sparse_n' is of trace_factorization = 'per_param'"},
    {{recurrence_scope = "sparse_n", sparse_n = 0}, "ValueError", "sparse_n is a whole number from 1, not 0"},
    {{recurrence_scope = "sparse_n", sparse_n = 1.5}, "TypeError", "sparse_n is a whole number from 1, not 1.5"},
    {{recurrence_scope = "sparse_n", sparse_n = true}, "TypeError", "sparse_n is a whole number from 1, not true"},
    {{update_schedule = "window", window_size = 0}, "ValueError", "window_size is a whole number from 1, not 0"},
    {{trace_factorization = "random_projection"}, "ValueError", "recurrence_scope = 'coupled'"},
    {{trace_factorization = "random_projection", recurrence_scope = "sparse_n", sparse_n = 2}, "ValueError",
      "recurrence_scope = 'coupled'"},
    {{trace_factorization = "io_factorized", decay = 1.0}, "ValueError", "is in %[0, 1%), not 1.0"},
    {{temporal_recursion = "scalar_leak", decay = -0.1}, "ValueError", "is in %[0, 1%), not %-0.1"},
    {{trace_filter = "kappa", kappa = 0/0}, "ValueError", "kappa is in %[0, 1%)"},
    {{temporal_recursion = "scalar_leak", decay = "a"}, "TypeError", "decay is a number in %[0, 1%), not a string"},
    {{decay = {0.5, 0.5}}, "ValueError", "pairs are of trace_factorization = 'io_factorized'"},
    {{learning_signal = "symetric"}, "ValueError", "learning_signal = \"symetric\"; it is symmetric"},
    {{traces = 1}, "TypeError", "no argument 'traces'"},
  }
  for _, case in ipairs(cases) do t.raises(case[2], case[3], online.ETraceConfig, case[1]) end
end)

test("equal rules have one spelling", function()
  local config = online.ETraceConfig{recurrence_scope = "sparse_n", sparse_n = 1}
  t.eq({config.recurrence_scope, config.sparse_n}, {"coupled"})
  t.eq(online.ETraceConfig{trace_filter = "kappa", kappa = 0}.trace_filter, "none")
  t.eq(online.ETraceConfig{temporal_recursion = "scalar_leak", decay = 0}.temporal_recursion, "none")
  t.eq(online.ETraceConfig{trace_factorization = "io_factorized", decay = 0.9}.temporal_recursion, {"scalar_leak",
    "jacobian"})
end)

test("options of rules are checked", function()
  local model = net()
  local cases = {
    {"ValueError", "a decay in %[0, 1%) or a rank from 1, not 1.0", online.ES_D_RTRL, {decay_or_rank = 1.0}},
    {"ValueError", "a decay in %[0, 1%) or a rank from 1, not 0", online.ES_D_RTRL, {decay_or_rank = 0}},
    {"TypeError", "decay_or_rank is a number or a pair, not a string", online.ES_D_RTRL, {decay_or_rank = "a"}},
    {"TypeError", "no argument 'decay'", online.ES_D_RTRL, {decay = 0.9}},
    {"ValueError", "vjp_method is 'single%-step' or 'multi%-step', not 'both'", online.D_RTRL, {vjp_method = "both"}},
    {"ValueError", "compat is 'braintrace%-0.2.6' or", online.D_RTRL, {compat = "braintrace"}},
    {"ValueError", "kappa is in %[0, 1%), not 1.5", online.EProp, {kappa_filter_decay = 1.5}},
    {"ValueError", "feedback = 'random' needs random_feedback_key", online.EProp, {feedback = "random"}},
    {"ValueError", "feedback is 'symmetric', 'random' or matrices, not 'none'", online.EProp, {feedback = "none"}},
    {"ValueError", "ThreeFactor learns step by step", online.ThreeFactor, {vjp_method = "multi-step"}},
    {"ValueError", "D_RTRL: learning_signal = 'modulatory' is of ThreeFactor", online.D_RTRL,
      {config = {learning_signal = "modulatory"}}},
    {"ValueError", "D_RTRL: learning_signal = 'bootstrapped' is of DNI", online.D_RTRL,
      {config = {learning_signal = "bootstrapped"}}},
    {"ValueError", "D_RTRL keeps its traces per_param, the config io_factorized", online.D_RTRL,
      {config = {trace_factorization = "io_factorized", decay = 0.5}}},
    {"ValueError", "DNI learns by windows", online.DNI, {vjp_method = "single-step"}},
    {"TypeError", "a SyntheticGradient was expected, not a number", online.DNI, {synthesizer = 1}},
    {"ValueError", "sparse_n is a whole number from 1, not %-1", online.SnAp, {sparse_n = -1}},
    {"ValueError", "snap_max_jacobian_elements is a whole number from 1, not 0", online.SnAp,
      {snap_max_jacobian_elements = 0}},
    {"ValueError", "projection_eps is a number above 0, not 0", online.UORO, {projection_eps = 0}},
    {"ValueError", "update_schedule = 'window' needs vjp_method = 'multi%-step'", online.D_RTRL,
     {vjp_method = "single-step", config = {update_schedule = "window", window_size = 2}}},
  }
  for _, case in ipairs(cases) do t.raises(case[1], case[2], case[3], model, case[4]) end
  t.raises("TypeError", "D_RTRL: a Module was expected, not a number", online.D_RTRL, 1)
  t.raises("ValueError", "no rule is called 'drtl'", online.compile, model, "drtl", bdl.ones(3))
  t.raises("ValueError", "an example of the step's input is needed", online.compile, model, "D_RTRL")
  t.raises("NotSupportedError", "4 positions of each of 4, with 1 state: a Jacobian of 64 elements, more than 63",
    function()
    online.SnAp(net(), {sparse_n = 2, snap_max_jacobian_elements = 63}):compile_graph(bdl.ones(3))
  end)
  t.raises("ShapeError", "the feedback of hidden group 1 is %[4,4%], not float64%[3,3%]", function()
    online.EProp(net(), {feedback = bdl.ones(3, 3)}):compile_graph(bdl.ones(3))
  end)
end)

test("a config chooses the class that has it", function()
  local x = bdl.ones(3)
  local cases = {
    {{}, "D_RTRL"}, {{trace_factorization = "io_factorized", decay = 0.5}, "ES_D_RTRL"},
      {{learning_signal = "modulatory"}, "ThreeFactor"},
    {{learning_signal = "bootstrapped"}, "DNI"}, {{trace_factorization = "random_projection",
      recurrence_scope = "coupled"}, "UORO"},
  }
  for _, case in ipairs(cases) do
    local learner = online.compile(net(), online.ETraceConfig(case[1]), x)
    t.ok(learner:is(online[case[2]]), case[2])
    t.eq(learner.config.trace_factorization, online.ETraceConfig(case[1]).trace_factorization)
  end
  t.raises("ValueError", "learning_signal = 'random_feedback' needs random_feedback_key", online.compile, net(),
           online.ETraceConfig{learning_signal = "random_feedback"}, x)
  t.eq(#online.compile(net(), online.ETraceConfig{learning_signal = "random_feedback"}, x,
    {random_feedback_key = 1}).feedback, 1)
  for rule, cls in pairs{snap = "SnAp", UORO = "UORO", dni = "DNI", three_factor = "ThreeFactor"} do
    t.ok(online.compile(net(), rule, x):is(online[cls]), rule)
  end
end)

test("a hidden State may be a single number", function()
  for _, name in ipairs(NAMES) do
    local m = nn.Module()
    m.w, m.a, m.h = bdl.ParamState(bdl.tensor(0.7)), bdl.ParamState(bdl.tensor(-0.2)), bdl.HiddenState(bdl.tensor(0.1))
    rawset(m, "update", function(self, x)
      self.h.value = 0.5 * self.h.value + bdl.tanh(x * online.element_wise(self.w) + online.element_wise(self.a))
      return self.h.value
    end)
    local xs = random.randn(3)
    local learner = learner_of(name, m, xs[1])
    local g = learner:etrace_grad(xs, function(x) return learner(x)^2 end, {reduction = "sum"})
    t.ok(bdl.isfinite(g.w):item() and g.w:item() ~= 0, name)
  end
end)

-- ---- misuse ---------------------------------------------------------------------------------------------------------

test("a learner that is not compiled says so", function()
  local learner = online.D_RTRL(net())
  t.raises("ValueError", "the learner is not compiled yet", learner, bdl.ones(3))
  t.raises("ValueError", "reset_state: the learner is not compiled yet", learner.reset_state, learner)
  t.raises("ValueError", "get_etrace_of: the learner is not compiled yet", learner.get_etrace_of, learner, "w")
  t.raises("ValueError", "etrace_grad: the learner is not compiled yet", learner.etrace_grad, learner, bdl.ones(2, 3),
    function() end)
  t.raises("ValueError", "an example of the step's input is needed", learner.compile_graph, learner)
end)

test("another input than the example is refused, compiling twice does nothing", function()
  local learner = online.D_RTRL(net())
  learner:compile_graph(bdl.ones(3))
  local traces = learner.traces
  t.ok(rawequal(learner:compile_graph(bdl.ones(5)), learner) and rawequal(learner.traces, traces))
  t.raises("ShapeError", "compiled for float64%[3%], but argument 1 is float64%[2,3%]", learner, bdl.ones(2, 3))
  t.raises("KeyError", "no trace belongs to 'nothing'", learner.get_etrace_of, learner, "nothing")
  t.raises("KeyError", "no trace belongs to", learner.get_etrace_of, learner, learner.model.r)
  t.eq(#learner:get_etrace_of "w", 1)
  t.raises("ValueError", "the traces' batch is fixed", learner.reset_state, learner, 4)
end)

test("reset_state forgets traces that are not numbers any more", function()
  local learner = online.D_RTRL(net())
  learner:compile_graph(bdl.ones(3))
  learner(bdl.tensor{0/0, 1, 1})
  t.ok(bdl.isnan(learner.traces[1].value):any():item())
  learner:reset_state()
  t.eq(bdl.abs(learner.traces[1].value):max():item(), 0.0)
end)

test("a model that calls its learner is refused", function()
  local model = net()
  local learner = online.D_RTRL(model)
  local update = model.update
  rawset(model, "update", function(self, x)
    learner:compile_graph(x)
    return update(self, x)
  end)
  t.raises("NotImplementedError", "compile_graph calls itself", learner.compile_graph, learner, bdl.ones(3))
  rawset(model, "update", update)
  learner:compile_graph(bdl.ones(3))
  t.eq(learner(bdl.ones(3)).shape[1], 2)
end)

local function step_of(f)
  local m = nn.Module()
  m.w, m.b = bdl.ParamState(bdl.ones(3, 4)), bdl.ParamState(bdl.ones(4))
  m.h = bdl.HiddenState(bdl.zeros(4))
  rawset(m, "update", f)
  return m
end

test("what cannot be learned is an error or a line of the report", function()
  local x = bdl.ones(3)
  t.raises("CompilationError", "besides its own weight; one operation has one parameter", function()
    local op = nil
    local m = step_of(function(self, z)
      op = op or online.ETraceOp(function(v, w) return v:matmul(w) + self.b.value end)
      self.h.value = op(z, self.w)
    end)
    online.D_RTRL(m):compile_graph(x)
  end)
  t.raises("NotSupportedError", "the step writes the parameter 'w'", function()
    local m = step_of(function(self, z)
      self.h.value = online.matmul(z, self.w)
      self.w.value = self.w.value * 2
    end)
    online.D_RTRL(m):compile_graph(x)
  end)
  t.raises("CompilationError", "no parameter of the model has a trace", function()
    online.compile(step_of(function(self, z) self.h.value = 0.5 * self.h.value + bdl.sum(z) end), "D_RTRL", x)
  end)
  local other = bdl.ParamState(bdl.ones(4))
  t.raises("ValueError", "not among the model's States", function()
    online.D_RTRL(step_of(function(self, z) self.h.value = online.matmul(z, self.w) * other.value end)):compile_graph(x)
  end)
  local m = step_of(function(self, z) -- w reaches h through another weighted operation; b reaches no hidden State
    local y = online.matmul(z, self.w)
    self.h.value = 0.5 * self.h.value + online.matmul(y, self.v)
    return self.h.value + online.element_wise(self.b)
  end)
  m.v = bdl.ParamState(bdl.ones(4, 4))
  local learner = online.D_RTRL(m)
  learner:compile_graph(x)
  local kind = {}
  for _, d in ipairs(learner.report.diagnostics) do kind[d.weight_path] = d.kind end
  t.eq(kind, {w = "excluded_weight_to_weight", v = "included", b = "excluded_non_temporal"})
  local g = bdl.grad(function() return bdl.sum(learner(x)) end, m:states(bdl.ParamState))()
  for _, path in ipairs{"w", "v", "b"} do t.ok(bdl.all(g[path]:ne(0)):item(), path) end
end)

test("what a step gives to etrace_grad is a number", function()
  local learner = online.compile(net(), "D_RTRL", bdl.ones(3))
  local function gives(f) return learner.etrace_grad, learner, bdl.ones(4, 3), function(x) return f(learner(x)) end end
  t.raises("ValueError", "etrace_grad: step_fn returns the loss of its step, one number, but this is float%d+%[2%]",
    gives(function(y) return y end))
  t.raises("TypeError", "etrace_grad: step_fn returns the loss of its step, not nothing", gives(function() end))
  t.raises("TypeError", "etrace_grad: step_fn returns the loss of its step, not a string", gives(function() return "loss" end))
  t.raises("TypeError", "online.compile: a Module was expected, not a number", online.compile, 3, "D_RTRL", bdl.ones(3))
end)

test("windows of another size than the schedule's are refused", function()
  local learner = online.D_RTRL(net(), {config = {update_schedule = "window", window_size = 3}})
  learner:compile_graph(bdl.ones(3))
  t.raises("ValueError", "window_size = 3 of the config, but this window has 2 steps", learner,
    online.MultiStepData(bdl.ones(2, 3)))
  t.eq(learner(online.MultiStepData(bdl.ones(3, 3))).shape[1], 3)
  t.raises("ValueError", "4 steps are no whole number of windows of 3", learner.etrace_grad, learner, bdl.ones(4, 3),
    bdl.ones(4, 2), loss_of(learner))
end)

test("a schedule gives the windows of a sequence", function()
  local xs, ys = random.randn(6, 3), random.randn(6, 2)
  local function run(opts, chunk)
    local learner = online.D_RTRL(net(), opts)
    learner:compile_graph(xs[1])
    return (learner:etrace_grad(xs, ys, function(x, y) return bdl.sum((learner(online.MultiStepData(x)) - y)^2,
      {axis = 2}) end, {chunk_size = chunk}))
  end
  same(run({config = {update_schedule = "window", window_size = 3}}), run({vjp_method = "multi-step"}, 3), "window")
  same(run({config = {update_schedule = "sequence_end"}}), run({vjp_method = "multi-step"}, 6), "sequence_end")
end)

-- ---- DNI ------------------------------------------------------------------------------------------------------------

test("DNI needs a synthesizer of its shapes; one of zeros changes nothing", function()
  local xs = random.randn(4, 3)
  local learner = online.DNI(net())
  learner:compile_graph(xs[1])
  t.eq(learner:group_signal_shapes(), {{4, 1}})
  t.raises("ValueError", "there is no synthesizer", learner, online.MultiStepData(xs))
  t.raises("TypeError", "the shapes of the hidden groups are needed", online.SyntheticGradient, {4, 1})
  learner:attach_synthesizer(online.SyntheticGradient{{5, 1}})
  t.raises("ShapeError", "the synthesizer is for %[5,1%] in hidden group 1, which is %[4,1%]", learner,
    online.MultiStepData(xs))
  learner:attach_synthesizer(online.SyntheticGradient(learner:group_signal_shapes()))
  local plain = online.D_RTRL(net(), {vjp_method = "multi-step"})
  plain:compile_graph(xs[1])
  local function gradient(l) return bdl.grad(function() return bdl.sum(l(online.MultiStepData(xs))^2) end,
    l.model:states(bdl.ParamState))() end
  same(gradient(learner), gradient(plain), "zero estimate")
end)

test("training a synthesizer lowers its error and leaves the model alone", function()
  local xs = random.randn(8, 3)
  local model = net()
  local learner = online.DNI(model)
  learner:compile_graph(xs[1])
  learner:attach_synthesizer(online.SyntheticGradient(learner:group_signal_shapes(), {scale = 0.1, seed = 3}))
  local before = model.v.value
  local history = learner:train_synthetic_gradient(xs, {chunk_size = 2, epochs = 60, lr = 0.2})
  t.eq(#history, 60)
  t.ok(history[60] < 0.5 * history[1], ("error %g, then %g"):format(history[1], history[60]))
  t.eq(model.v.value, before)
  t.raises("ValueError", "8 steps are no whole number of windows of 3", learner.train_synthetic_gradient, learner, xs,
    {chunk_size = 3})
  t.raises("TypeError", "no argument 'epoch'", learner.train_synthetic_gradient, learner, xs, {epoch = 3})
end)

-- ---- inside of transformations --------------------------------------------------------------------------------------

test("a learner gives the same bits twice, at once, compiled and in a loop", function()
  local xs, ys = random.randn(5, 3), random.randn(5, 2)
  for _, name in ipairs(NAMES) do
    local function run(way)
      local learner = learner_of(name, net(), xs[1])
      local params = learner.model:states(bdl.ParamState)
      if way == "sequence" then return (learner:etrace_grad(xs, ys, loss_of(learner), {reduction = "sum"})) end
      local g = bdl.grad(loss_of(learner), params)
      if way == "jit" then g = bdl.jit(g) end
      local total
      for k = 1, #xs do
        local one = g(xs[k], ys[k])
        total = total and bdl.tree.map(function(a, b) return a + b end, total, one) or one
      end
      return total
    end
    local first = run "jit"
    same(run "jit", first, name)
    same(run "sequence", run "sequence", name)
    for path, x in run("sequence"):items() do t.close(x, first[path], 1e-12, 1e-14, name .. " " .. path) end
    for path, x in run("calls"):items() do t.close(x, first[path], 1e-12, 1e-14, name .. " " .. path) end
  end
end)

test("lanes of learners are learners", function()
  local N, xs, ys = 3, random.randn(3, 4, 3), random.randn(3, 4, 2)
  for _, name in ipairs(NAMES) do
    local learner = learner_of(name, net(), xs[1][1])
    local params = learner.model:states(bdl.ParamState)
    local moving = {learner.model.h, learner.running_index, table.unpack(learner.traces)}
    local start = {}
    for k, s in ipairs(moving) do start[k] = s.value end
    local want = {}
    for lane = 1, N do
      for k, s in ipairs(moving) do s.value = start[k] end
      want[lane] = learner:etrace_grad(xs[lane], ys[lane], loss_of(learner), {reduction = "sum"})
    end
    for k, s in ipairs(moving) do s:restore_value(bdl.stack{start[k], start[k], start[k]}) end
    local got = bdl.vmap(function(x, y) return (learner:etrace_grad(x, y, loss_of(learner), {reduction = "sum"})) end,
                         {in_states = moving, out_states = moving})(xs, ys)
    for lane = 1, N do
      for path in params:items() do
        t.close(got[path][lane], want[lane][path], 1e-10, 1e-12, ("%s, lane %d, %s"):format(name, lane, path))
      end
    end
  end
end)

test("a learner saved in the middle of a sequence goes on bit for bit", function()
  local xs, ys = random.randn(8, 3), random.randn(8, 2)
  for _, name in ipairs(NAMES) do
    local learner = learner_of(name, net(), xs[1])
    local function rest(l) return (l:etrace_grad(xs[{{4, 8}}], ys[{{4, 8}}], loss_of(l), {reduction = "sum"})) end
    for k = 1, 3 do learner(xs[k]) end
    local saved = {}
    for path, s in learner:states():items() do saved[path] = s.value end
    local want = rest(learner)
    local other = learner_of(name, net(), xs[1])
    for path, s in other:states():items() do s.value = saved[path] end
    same(rest(other), want, name)
    for path, s in other:states():items() do t.eq(s.value, learner:states()[path].value, name .. " " .. path) end
  end
end)

--- Within 1 MiB: short loops collect what a product over all steps then sums.
test("memory does not grow with the sequence", function()
  for _, name in ipairs(NAMES) do
    local function bytes(steps)
      local learner = learner_of(name, net(), bdl.ones(3))
      local params = learner.model:states(bdl.ParamState)
      local f = bdl.jit(function()
        local g = bdl.grad(function(i) return bdl.sum(learner(bdl.sin(bdl.arange(3) + i))^2) end, params)
        local total = bdl.ShortTermState(bdl.zeros(4, 4))
        bdl.for_loop(function(i) total.value = total.value + g(i:astype "float64").v end, bdl.arange(steps))
        return total.value
      end)
      f()
      return tonumber(tostring(f:lower()):match "arena (%d+) bytes")
    end
    local few, many = bytes(100), bytes(10000)
    t.ok(many - few <= 1 << 20, ("%s: %d bytes for 100 steps, %d for 10,000"):format(name, few, many))
  end
end)

-- ---- environ --------------------------------------------------------------------------------------------------------

local Spiking = nn.Module:extend "Spiking"

function Spiking:__init()
  self.w = online.nn.Linear{3, 4, w_init = bdl.init.Normal(8), b_init = bdl.none}
  self.neu = nn.LIFRef{4, tau_ref = 0.35 * u.ms, tau = 5 * u.ms, V_th = 1 * u.mV, V_reset = 0 * u.mV}
end

function Spiking:update(x) return self.neu(self.w(x) * u.mA) end

test("a model that reads t learns inside of loops", function()
  random.seed(3)
  local model = Spiking()
  local xs = bdl.abs(random.randn(30, 3))
  local function sequence(f)
    nn.init_all_states(model)
    return (bdl.for_loop(function(i, x) return bdl.environ.context({i = i, t = i * bdl.environ.get "dt"}, f, x) end,
      bdl.arange(30), xs))
  end
  local spikes = sequence(function(x) return model(x) end)
  nn.init_all_states(model)
  local learner = online.D_RTRL(model)
  bdl.environ.context({i = 0, t = 0 * u.ms}, learner.compile_graph, learner, xs[1])
  local learned = sequence(function(x) return learner(x) end)
  t.eq(learned, spikes)
  t.ok(bdl.sum(spikes):item() > 10, "some spikes")
  t.raises("KeyError", "environ 'i' was set when the learner was compiled, but is not now", learner, xs[1])
end)

test("dt may change after compilation", function()
  local cell = nn.Module()
  cell.w = online.nn.Linear{3, 4, w_init = bdl.init.Normal(1), b_init = bdl.none}
  cell.neu = nn.LIF{4, tau = 5 * u.ms, V_th = 100 * u.mV}
  rawset(cell, "update", function(self, x)
    self.neu(self.w(x) * u.mA)
    return self.neu.V.value
  end)
  nn.init_all_states(cell)
  local xs = random.randn(4, 3)
  local learner = online.D_RTRL(cell)
  learner:compile_graph(xs[1])
  local params = cell:states(bdl.ParamState)
  local function exact()
    nn.init_all_states(cell)
    return bdl.grad(function() return bdl.sum((bdl.for_loop(function(x) return bdl.sum(cell(x).mantissa^2) end,
      xs))) end, params)()
  end
  for _, dt in ipairs{0.1, 0.5, 0.1} do
    local _ <close> = bdl.environ.context{dt = dt * u.ms}
    local want = exact()
    nn.init_all_states(cell)
    learner:reset_state()
    local got = learner:etrace_grad(xs, function(x) return bdl.sum(learner(x).mantissa^2) end, {reduction = "sum"})
    for path, g in want:items() do t.close(got[path].weight, g.weight, 1e-10, 1e-12, ("dt %g"):format(dt)) end
  end
end)

test("a learner gives the same without compiling", function()
  local xs = random.randn(5, 3)
  for _, rule in ipairs{"D_RTRL", "ES_D_RTRL", "UORO", "SnAp"} do
    local net = Net(3, 4)
    local learner = online.compile(net, rule, bdl.zeros(3))
    local function run()
      nn.reset_all_states(net)
      learner:reset_state()
      random.seed(3)
      learner:etrace_evolve(xs[{{1, 3}}])
      local y = learner(xs[4])
      return y, bdl.grad(function() return bdl.sum(learner(xs[5])^2) end, learner:param_states())()
    end
    local y, compiled = run()
    local no_jit <close> = bdl.compile.disable_jit(true)
    local z, eager = run()
    t.close(z, y, 1e-13, 1e-13, rule)
    for path, g in compiled:items() do t.close(eager:get(path), g, 1e-12, 1e-12, rule .. ": " .. path) end
  end
end)

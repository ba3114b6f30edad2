--- Online gradients of every traced layer against backpropagation through time, where theory says that they are equal.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, online, random, u = bdl.nn, bdl.online, bdl.random, bdl.units

local MASK = bdl.tensor{{1, 0, 1}, {0, 1, 1}, {1, 1, 0}, {1, 1, 1}}

local function csr()
  return bdl.event.CSR(bdl.tensor{1.0, -2, 3, 0.5}, bdl.tensor({0, 2, 1, 0}, {dtype = "int32"}), bdl.tensor({0, 2, 2, 3, 4}, {dtype = "int32"}), {4, 3})
end

local some = bdl.init.Normal()

--- A module of one parameter whose update is f(parameter, x).
local function made(p, f)
  local m = nn.Module()
  m.p = p
  rawset(m, "update", function(self, x) return f(self.p, x) end)
  return m
end

--- name -> {layer, sizes of an input, sizes of its output, integers?}
local LAYERS = {
  Linear = {function() return online.nn.Linear{4, 3, b_init = some} end, {4}, {3}},
  batch = {function() return online.nn.Linear{4, 3, b_init = some} end, {2, 4}, {2, 3}},
  more_axes = {function() return online.nn.Linear{4, 3, b_init = some} end, {2, 5, 4}, {2, 5, 3}},
  mask = {function() return online.nn.Linear{4, 3, w_mask = MASK} end, {4}, {3}},
  SignedWLinear = {function() return online.nn.SignedWLinear{4, 3, w_sign = 2 * MASK - 1} end, {4}, {3}},
  GroupedLinear = {function() return online.nn.GroupedLinear{2, 4, 3, b_init = some} end, {5, 2, 4}, {5, 2, 3}},
  SparseLinear = {function() return online.nn.SparseLinear{csr(), b_init = some} end, {2, 4}, {2, 3}},
  fixed_post = {function()
    local C = bdl.event.FixedPostNumConn{bdl.tensor{{1.0, 2}, {3, 4}, {5, 6}, {-1, 1}}, bdl.tensor({{0, 2}, {1, 1}, {2, 0}, {0, 1}}, {dtype = "int32"}),
                                         shape = {4, 3}}
    return online.nn.SparseLinear{C}
  end, {2, 4}, {2, 3}},
  fixed_pre = {function()
    local C = bdl.event.FixedPreNumConn{bdl.tensor{{1.0, 2}, {3, 4}, {5, 6}}, bdl.tensor({{0, 2}, {1, 3}, {2, 0}}, {dtype = "int32"}), shape = {4, 3}}
    return online.nn.SparseLinear{C}
  end, {4}, {3}},
  LoRA = {function() return online.nn.LoRA{4, 2, 3, base_module = online.nn.Linear(4, 3)} end, {2, 4}, {2, 3}},
  Conv1d = {function() return online.nn.Conv1d{{6, 2}, 3, 3, stride = 2, b_init = some} end, {6, 2}, {3, 3}},
  Conv2d = {function() return online.nn.Conv2d{{4, 4, 2}, 3, 3, b_init = some} end, {2, 4, 4, 2}, {2, 4, 4, 3}},
  channel_first = {function() return online.nn.Conv2d{{2, 4, 5}, 3, 3, channel_first = true, b_init = some} end, {2, 4, 5}, {3, 4, 5}},
  Embedding = {function() return online.nn.Embedding(5, 3) end, {4}, {4, 3}, true},
  einsum = {function()
    return made(bdl.ParamState(random.randn(4, 3)), function(w, x) return online.einsum("btk,kn->btn", x, w, {weight_fn = bdl.tanh}) end)
  end, {2, 5, 4}, {2, 5, 3}},
  user = {function()
    local p = online.ETraceParamOp({weight = random.randn(4, 3), gain = random.rand(3)}, function(x, w) return x:matmul(w.weight) * w.gain end)
    return made(p, function(w, x) return w:execute(x) end)
  end, {4}, {3}},
  without_input = {function()
    return made(online.ETraceParam(random.randn(3), function(w) return bdl.exp(w) end), function(w, x) return w:execute() * x end)
  end, {3}, {3}},
  one_for_lanes = {function()
    return made(bdl.ParamState(random.randn(3)), function(w, x)
      local leak = bdl.functional.sigmoid(online.element_wise(w, {weight_fn = bdl.exp}))
      return leak * x + (1 - leak) * bdl.broadcast_to(leak, 2, 5, 3)
    end)
  end, {2, 5, 3}, {2, 5, 3}},
  one_for_all = {function()
    return made(bdl.ParamState(0.3), function(w, x) return online.element_wise(w) * x end)
  end, {2, 3}, {2, 3}},
}

--- h' = 0.7 h + tanh(layer(x)): states that do not mix.
local Net = nn.Module:extend "Net"

function Net:__init(layer, sizes)
  self.layer = layer
  self._sizes = sizes
end

function Net:init_state() self.h = bdl.HiddenState(bdl.zeros(self._sizes)) end

function Net:update(x)
  self.h.value = 0.7 * self.h.value + bdl.tanh(self.layer(x))
  return self.h.value
end

local function loss_of(out, target) return bdl.sum((out - target)^2) end

--- Gradients by path: through time, and the sum of those of a learner that `make` makes of the net.
local function both(net, make, xs, ys)
  local params = net:states(bdl.ParamState)
  nn.init_all_states(net)
  local exact = bdl.grad(function()
    nn.reset_all_states(net)
    return bdl.sum((bdl.for_loop(function(x, y) return loss_of(net(x), y) end, xs, ys)))
  end, params)()
  nn.reset_all_states(net)
  local learner = make(net)
  learner:compile_graph(xs[1])
  local total
  for k = 1, #xs do
    local g = bdl.grad(function() return loss_of(learner(xs[k]), ys[k]) end, params)()
    total = total and bdl.tree.map(function(a, b) return a + b end, total, g) or g
  end
  return exact, total, learner
end

local function compare(name, exact, total)
  for path, want in exact:items() do
    for key, g in pairs(type(want) == "table" and want or {value = want}) do
      t.close(type(want) == "table" and total[path][key] or total[path], g, 1e-9, 1e-11, ("%s: %s.%s"):format(name, path, key))
    end
  end
end

local function each_layer(T, make)
  local _ <close> = bdl.environ.context{precision = 64, dt = 1 * u.ms}
  for name, case in pairs(LAYERS) do
    local xs = case[4] and random.randint(0, 5, {size = {T, table.unpack(case[2])}}) or random.randn(T, table.unpack(case[2]))
    local exact, total, learner = both(Net(case[1](), case[3]), make, xs, random.randn(T, table.unpack(case[3])))
    compare(name, exact, total)
    for _, d in ipairs(learner.report.diagnostics) do t.eq(d.kind, "included", name) end
  end
end

t.test("D-RTRL is backpropagation through time where states do not mix, for every layer", function()
  each_layer(5, function(net) return online.D_RTRL(net) end)
end)

t.test("at the first step ES-D-RTRL is the gradient of the step, for every layer", function()
  each_layer(1, function(net) return online.ES_D_RTRL(net, {decay_or_rank = 0.9}) end)
end)

t.test("an input for one lane of states with more lanes has no trace, and its direct gradient", function()
  local _ <close> = bdl.environ.context{precision = 64, dt = 1 * u.ms}
  local net = Net(online.nn.Linear(4, 3), {2, 3})
  local exact, total, learner = both(net, function(m) return online.D_RTRL(m) end, random.randn(1, 4), random.randn(1, 2, 3))
  compare("Linear", exact, total)
  t.eq(learner.report.counts, {excluded_structure = 2})
end)

t.test("a weight without a trace of its own is reported and has its direct gradient", function()
  local _ <close> = bdl.environ.context{precision = 64, dt = 1 * u.ms}
  local net = Net(online.nn.ScaledWSLinear{4, 3, b_init = some}, {3})
  local exact, total, learner = both(net, function(m) return online.D_RTRL(m) end, random.randn(1, 4), random.randn(1, 3))
  compare("ScaledWSLinear", exact, total)
  t.eq(learner.report.counts, {included = 2, excluded_structure = 1})
end)

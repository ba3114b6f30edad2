--- Online learning, cell by cell: models, neurons and parameters of one's own, a learner and its traces.
--  Source: document 002 of BrainScale on the concepts of online learning, in bdl's words.
-- In [11]
local bdl = require "bdl"
local nn, random, u, online = bdl.nn, bdl.random, bdl.units, bdl.online

-- In [12]
local LIF_Delta_Net = nn.Module:extend "LIF_Delta_Net"
function LIF_Delta_Net:__init(...)
  local a = bdl.args({
    "n_in", "n_rec",
    tau_mem = 5 * u.ms,
    V_th = 1 * u.mV,
    spk_fun = bdl.surrogate.ReluGrad(),
    spk_reset = "soft",
    rec_scale = 1.0,
    ff_scale = 1.0,
  }, ...)
  -- the LIF of bdl.online.nn
  self.neu = online.nn.LIF{a.n_rec, tau = a.tau_mem, spk_fun = a.spk_fun, spk_reset = a.spk_reset, V_th = a.V_th}
  -- input and recurrent weights
  local rec_init = bdl.init.KaimingNormal{a.rec_scale, unit = u.mV}
  local ff_init = bdl.init.KaimingNormal{a.ff_scale, unit = u.mV}
  local w_init = u.math.concatenate({ff_init{a.n_in, a.n_rec}, rec_init{a.n_rec, a.n_rec}}, {axis = 1})
  -- input and recurrent connections through a delta synapse
  self.syn = nn.DeltaProj{
    comm = online.nn.Linear{a.n_in + a.n_rec, a.n_rec, w_init = w_init, b_init = bdl.init.ZeroInit{unit = u.mV}},
    post = self.neu,
  }
end
function LIF_Delta_Net:update(spk)
  local inp = u.math.concatenate({spk, self.neu:get_spike()}, {axis = -1})
  self.syn(inp)
  self.neu()
  return self.neu:get_spike()
end

-- In [13]
local GRU_Net = nn.Module:extend "GRU_Net"
function GRU_Net:__init(n_in, n_rec, n_out, n_layer)
  self.layers = {}
  for i = 1, n_layer - 1 do
    self.layers[i] = online.nn.GRUCell(n_in, n_rec)
    n_in = n_rec
  end
  self.layers[n_layer] = online.nn.GRUCell(n_in, n_out)
end
function GRU_Net:update(x)
  for _, layer in ipairs(self.layers) do
    x = layer(x)
  end
  return x
end

-- In [14]  a neuron of one's own
local LIF = nn.Neuron:extend "LIF"               -- leaky integrate-and-fire
function LIF:__init(...)
  local a = bdl.args({
    "size",
    keep_size = false,
    R = 1 * u.ohm,
    tau = 5 * u.ms,
    V_th = 1 * u.mV,
    V_reset = 0 * u.mV,
    V_rest = 0 * u.mV,
    V_initializer = bdl.init.Constant(0 * u.mV),
    spk_fun = bdl.surrogate.ReluGrad(),
    spk_reset = "soft",
    name = bdl.none,
  }, ...)
  LIF.super.__init(self, {a.size, keep_size = a.keep_size, name = a.name, spk_fun = a.spk_fun, spk_reset = a.spk_reset})
  self.R = bdl.init.param(a.R, self.varshape)
  self.tau = bdl.init.param(a.tau, self.varshape)
  self.V_th = bdl.init.param(a.V_th, self.varshape)
  self.V_rest = bdl.init.param(a.V_rest, self.varshape)
  self.V_reset = bdl.init.param(a.V_reset, self.varshape)
  self.V_initializer = a.V_initializer
end
function LIF:init_state(batch_size)
  -- the step that matters: an ETraceState describes the membrane potential
  self.V = online.ETraceState(bdl.init.param(self.V_initializer, self.varshape, batch_size))
end
function LIF:reset_state(batch_size)
  self.V.value = bdl.init.param(self.V_initializer, self.varshape, batch_size)
end
function LIF:get_spike(V)
  V = V or self.V.value
  local v_scaled = (V - self.V_th) / (self.V_th - self.V_reset)
  return self.spk_fun(v_scaled)
end
function LIF:update(x)
  x = x or 0 * u.mA
  local last_v = self.V.value
  local lst_spk = self:get_spike(last_v)
  local V_th = self.spk_reset == "soft" and self.V_th or bdl.stop_gradient(last_v)
  local V = last_v - (V_th - self.V_reset) * lst_spk
  -- membrane potential
  local function dv(v)
    return (-v + self.V_rest + self.R * self:sum_current_inputs(x, v)) / self.tau
  end
  V = nn.exp_euler_step(dv, V)
  V = self:sum_delta_inputs(V)
  self.V.value = V
  return self:get_spike(V)
end

-- In [15]
local function generate_weight(n_in, n_out, init)
  init = init or bdl.init.KaimingNormal()
  local weight = init{n_in, n_out}
  local bias = bdl.init.ZeroInit(){n_out}
  -- an ETraceParam describes weight and bias
  return online.ETraceParam({weight = weight, bias = bias})
end

-- In [16]
local matmul = online.ETraceOp(function(x, w)
  return x:matmul(w.weight) + w.bias
end)

-- In [17]
local Linear = nn.Module:extend "Linear"
function Linear:__init(in_size, out_size, w_init)
  self.in_size = in_size
  self.out_size = out_size
  local weight = bdl.init.param(w_init or bdl.init.KaimingNormal(), {self.in_size[-1], self.out_size[-1]}, nil,
                                {allow_none = false})
  local function op(x, w) return u.math.matmul(x, w) end
  -- parameter and operation together
  self.weight_op = online.ETraceParamOp(weight, op)
end
function Linear:update(x)
  return self.weight_op:execute(x)
end

-- In [18]
local model, example_input
do
  local _ <close> = bdl.environ.context{dt = 0.1 * u.ms}
  model = LIF_Delta_Net(10, 10)
  nn.init_all_states(model)
  model = online.DiagIODimAlgorithm(model, {decay_or_rank = 0.99})
  example_input = random.random(10):lt(0.1)
  model:compile_graph(example_input)
end

-- In [19]
local out
do
  local _ <close> = bdl.environ.context{dt = 0.1 * u.ms}
  out = model(example_input)
end
print(bdl.util.PrettyMapping(model.etrace_xs))   --> one entry float32[20]: the input trace

-- In [20]
print(bdl.util.PrettyMapping(model.etrace_dfs))  --> one entry float32[10], all 0.01 after one call (0.019703973 after two, 0.029120661 after three, silent input)
for _, trace in model.etrace_dfs:items() do
  assert((trace.value - 0.01):abs():max():item() < 1e-7)
end

-- the other models of the text: a network of GRUs, a neuron of one's own, parameters with their operations
do
  local _ <close> = bdl.environ.context{dt = 0.1 * u.ms}
  local gru = GRU_Net(2, 3, 1, 2)
  nn.init_all_states(gru)
  print(gru(bdl.ones(2)).shape)                  --> {1}
  local neuron = LIF(4)
  neuron:init_state()
  print(neuron(3 * bdl.ones(4) * u.mA), bdl.typename(neuron.V)) --> [0. 0. 0. 0.]	ETraceState
  print(matmul(bdl.ones(2), generate_weight(2, 3)).shape)       --> {3}
  print(Linear({2}, {3})(bdl.ones(2)).shape)     --> {3}
end

--- The key-concept documents: loops over States, graphs of Nodes, the neuron written out by the user.
local bdl = require "bdl"
local augmentation = require "tests.golden.areas.augmentation"
local etrace = require "tests.golden.areas.etrace"
local etrace_ir = require "tests.golden.areas.etrace_ir"
local nn = bdl.nn

-- ---- loops -----------------------------------------------------------------------------------------------------------------

local function loops(case, t)
  local p, arrays, scalars = case.params, case.arrays, case.scalars
  local a = bdl.State(p.a0)
  t.compare("counter_stacked", bdl.for_loop(function()
    a.value = a.value + p.inc
    return a.value * 2
  end, bdl.arange(p.n)), arrays.counter_stacked)
  t.eq("counter", a.value:item(), scalars.counter)

  local b = bdl.State(0.0)
  local bs, cs = bdl.for_loop(function(i)
    local c = bdl.State(0.0)
    bdl.while_loop(function(j) return j:le(i) end, function(j)
      c.value = c.value + 1
      return j + 1
    end, 0)
    b.value = b.value + c.value
    return b.value, c.value
  end, bdl.arange(p.n))
  t.compare("nested_b", bs, arrays.nested_b)
  t.compare("nested_c", cs, arrays.nested_c)
  t.eq("nested", b.value:item(), scalars.nested)

  local xs, k = t.array(case, "scan_xs"), bdl.State(p.k0)
  local carry, ys = bdl.scan(function(carry, x)
    k.value = 0.5*k.value + x
    return 0.9*carry + k.value, carry
  end, p.carry0, xs)
  t.compare("scan_ys", ys, arrays.scan_ys)
  t.compare("scan_k", k.value, arrays.scan_k)
  t.compare("scan_carry", carry, arrays.scan_carry)

  local s = bdl.State(bdl.zeros(#arrays.cond_s.data))
  t.compare("cond_ys", bdl.for_loop(function(x)
    return bdl.cond(x:gt(0), function()
      s.value = s.value + x
      return s.value:sum()
    end, function()
      s.value = 0.5 * s.value
      return -s.value:sum()
    end)
  end, xs), arrays.cond_ys)
  t.compare("cond_s", s.value, arrays.cond_s)

  local w = bdl.State(1.0)
  local steps = bdl.while_loop(function() return w.value:lt(scalars.while_max) end, function(i)
    w.value = 1.7*w.value + 0.1
    return i + 1
  end, 0)
  t.eq("while_iters", bdl.tensor(steps):item(), scalars.while_iters)
  t.compare("while_w", w.value, {shape = {}, dtype = "f64", data = {scalars.while_w}})

  local function constant(x) return function() return bdl.tensor(x) end end
  t.compare("switch_out", bdl.for_loop(function(i) return bdl.switch(i, {constant(10.0), constant(20.0), constant(30.0)}) end,
                                       bdl.arange(#arrays.switch_out.data)), arrays.switch_out)

  local z = bdl.State(0.0)
  t.compare("reverse_ys", bdl.for_loop(function(x)
    z.value = 0.5*z.value + x
    return z.value
  end, xs, {reverse = true}), arrays.reverse_ys)
end

-- ---- graph -----------------------------------------------------------------------------------------------------------------

--- A path of the reference, whose lists count from 0, as bdl writes it.
local function path_of(list)
  local s = ""
  for _, key in ipairs(list) do
    if math.type(key) == "integer" then s = ("%s[%d]"):format(s, key + 1) else s = s == "" and key or s .. "." .. key end
  end
  return s
end

local function shape(x) return table.move(x.shape, 1, x.ndim, 1, {}) end

--- States as {path, type, leaves}, in order.
local function described(states)
  local list = {}
  for path, s in states:items() do
    local leaves, value = {}, s.value
    if type(value) == "table" then
      for name, x in pairs(value) do leaves[name] = shape(x) end
    else
      leaves[""] = shape(value)
    end
    list[#list + 1] = {path = path, type = bdl.typename(s), leaves = leaves}
  end
  return list
end

local function translated(list)
  local out = {}
  for i, x in ipairs(list) do out[i] = {path = path_of(x.path), type = x.type, leaves = x.leaves} end
  return out
end

local function paths(map)
  local list = {}
  for path in map:keys() do list[#list + 1] = path end
  return list
end

local function translated_paths(list)
  local out = {}
  for i, x in ipairs(list) do out[i] = path_of(x.path or x) end
  return out
end

local function graph(case, t)
  local p, want = case.params, case.structure
  local Lin = bdl.graph.Node:extend "Lin"
  function Lin:__init(din, dout)
    self.w = bdl.ParamState(bdl.ones(din, dout))
    self.b = bdl.ParamState(bdl.zeros(dout))
  end
  local lin = Lin(table.unpack(p.linear))
  lin.self = lin
  t.eq("linear_states", described(bdl.graph.states(lin)), translated(want.linear_states))
  t.eq("linear_nodes", paths(bdl.graph.nodes(lin)), translated_paths(want.linear_nodes))

  local MLP = bdl.graph.Node:extend "MLP"
  function MLP:__init(din, dmid, dout, n)
    self.input = nn.Linear(din, dmid)
    self.layers = {}
    for i = 1, n do self.layers[i] = nn.Linear(dmid, dmid) end
    self.output = nn.Linear(dmid, dout)
  end
  function MLP:__call(x)
    x = bdl.functional.relu(self.input(x))
    for _, layer in ipairs(self.layers) do x = bdl.functional.relu(layer(x)) end
    return self.output(x)
  end
  local mlp = MLP(p.mlp.din, p.mlp.dmid, p.mlp.dout, p.mlp.n_layer)
  t.eq("mlp_states", described(bdl.graph.states(mlp)), translated(want.mlp_states))
  local nodes = {}
  for path, node in bdl.graph.nodes(mlp):items() do nodes[#nodes + 1] = {path = path, type = bdl.typename(node)} end
  t.eq("mlp_nodes", nodes, translated(want.mlp_nodes))
  local states = bdl.graph.states(mlp)
  for _, s in ipairs(want.mlp_states) do
    local name = "w." .. table.concat(s.path, ".")
    states[path_of(s.path)].value = {weight = t.array(case, name .. ".weight"), bias = t.array(case, name .. ".bias")}
  end
  t.compare("y", mlp(t.array(case, "x")), case.arrays.y)

  local Two = nn.Module:extend "Two"
  function Two:__init()
    self.a = nn.Linear(2, 2)
    self.b = self.a
    self.c = bdl.ShortTermState(bdl.zeros(3))
  end
  local two = Two()
  t.eq("shared_states", described(bdl.graph.states(two)), translated(want.shared_states))
  t.eq("shared_nodes", paths(bdl.graph.nodes(two)), translated_paths(want.shared_nodes))
  t.eq("filter_param", paths(two:states(bdl.ParamState)), translated_paths(want.filter_param))
  t.eq("filter_short", paths(two:states(bdl.ShortTermState)), translated_paths(want.filter_short))
  local merged = bdl.graph.treefy_merge(bdl.graph.treefy_split(two))
  t.eq("split_merge_shares", rawequal(merged.a, merged.b), want.split_merge_shares)
end

-- ---- the neuron of the text --------------------------------------------------------------------------------------------------

local LIF = nn.Neuron:extend "LIF"

function LIF:__init(size, p)
  LIF.super.__init(self, {size, spk_reset = p.spk_reset})
  for _, name in ipairs{"R", "tau", "V_th", "V_rest", "V_reset"} do self[name] = bdl.init.param(p[name], self.varshape) end
end

function LIF:update(x)
  local last_v = self.V.value
  local V_th = self.spk_reset == "soft" and self.V_th or bdl.stop_gradient(last_v)
  local V = last_v - (V_th - self.V_reset) * self:get_spike(last_v)
  V = nn.exp_euler_step(function(v) return (-v + self.V_rest + self.R * self:sum_current_inputs(x, v)) / self.tau end, V)
  self.V.value = self:sum_delta_inputs(V)
  return self:get_spike()
end

local function custom_lif(case, t)
  local p = t.quantity(case.params)
  local _ <close> = bdl.environ.context{dt = p.dt}
  local V0 = t.array(case, "V0")
  local neuron = LIF(V0.shape[1], p)
  neuron.V = bdl.HiddenState(V0)
  local spike, V = bdl.for_loop(function(x, jump)
    neuron:add_delta_input("d", jump)
    return neuron(x), neuron.V.value
  end, t.array(case, "I"), t.array(case, "delta"))
  t.compare("spike", spike, case.arrays.spike)
  t.compare("V", V, case.arrays.V)
end

-- ---- online learning -----------------------------------------------------------------------------------------------------------

--- The operation of the text, with and without a bias.
local function etrace_op(case, t)
  local online, x = bdl.online, t.array(case, "x")
  local matmul = online.ETraceOp(function(z, w) return z:matmul(w.weight) + w.bias end)
  t.compare("y", matmul(x, online.ETraceParam{weight = t.array(case, "weight"), bias = t.array(case, "bias")}), case.arrays.y)
  local op = online.ETraceParamOp(t.array(case, "weight"), function(z, w) return z:matmul(w) end)
  t.compare("y_nobias", op:execute(x), case.arrays.y_nobias)
end

return function(case, t)
  if case.arrays.y_nobias then return etrace_op(case, t) end
  if case.params.algorithm then return etrace(case, t) end
  if case.structure.n_hidden then return etrace_ir(case, t) end
  if case.arrays.counter_stacked then return loops(case, t) end
  if case.structure.mlp_states then return graph(case, t) end
  if case.arrays.delta and case.params.V_th then return custom_lif(case, t) end
  local a = case.arrays
  if a.vec_jacrev or a["jacrev.weight.bias"] then return augmentation.gradients(case, t) end
  if a["accumulated.weight.bias"] then return augmentation.accumulate(case, t) end
  if a.spike and case.params.batch then return augmentation.vmap_lif(case, t) end
  if a.b_in_a_out_b then return augmentation.vmap_states(case, t) end
  if a["grad.weight.bias"] then return augmentation.batched_linears(case, t) end
  if a.first_spike then return augmentation.train_lif(case, t) end
  if a.losses and a["w0.weight.bias"] then return augmentation.train_linear(case, t) end
  t.skip "of no known kind"
end

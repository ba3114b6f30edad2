--- Traced layers, cells and neurons: they compute what those of bdl.nn compute; the names and kinds of their States; errors.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, online, u, random = bdl.nn, bdl.online, bdl.units, bdl.random

local function test(name, f)
  t.test(name, function() return bdl.environ.context({precision = 64, dt = 1 * u.ms}, f) end)
end

local function paths(map)
  local list = {}
  for path in map:keys() do list[#list + 1] = path end
  return list
end

local MASK = bdl.tensor{{1, 0, 1}, {0, 1, 1}, {1, 1, 0}, {1, 1, 1}}
local SIGN = 2 * MASK - 1

local function csr()
  return bdl.event.CSR(bdl.tensor{1.0, -2, 3, 0.5}, bdl.tensor({0, 2, 1, 0}, {dtype = "int32"}), bdl.tensor({0, 2, 2, 3, 4}, {dtype = "int32"}), {4, 3})
end

--- class -> arguments, sizes of an input
local LAYERS = {
  Linear = {{4, 3, b_init = bdl.init.Normal()}, {2, 4}},
  GroupedLinear = {{2, 4, 3}, {5, 2, 4}},
  SignedWLinear = {{4, 3, w_sign = SIGN}, {2, 4}},
  ScaledWSLinear = {{4, 3, b_init = bdl.init.Normal(), w_mask = MASK}, {2, 4}},
  SparseLinear = {{csr(), b_init = bdl.init.Normal()}, {2, 4}},
  Conv1d = {{{6, 2}, 3, 3, stride = 2, b_init = bdl.init.Normal()}, {6, 2}},
  Conv2d = {{{5, 4, 2}, 3, 3, channel_first = false, w_mask = bdl.ones(3, 3, 2, 3)}, {2, 5, 4, 2}},
  Conv3d = {{{3, 3, 3, 2}, 2, 2, padding = "VALID"}, {2, 3, 3, 3, 2}},
  LeakyRateReadout = {{4, 3, tau = 5 * u.ms}, {4}},
}

test("traced layers give what the layers of nn give, and the same gradients", function()
  for name, case in pairs(LAYERS) do
    local plain, traced = nn[name](case[1]), online.nn[name](case[1])
    nn.init_all_states(plain)
    nn.init_all_states(traced)
    traced.weight_op.value = plain.weight.value
    local x = random.randn(table.unpack(case[2]))
    t.close(traced(x), plain(x), 1e-12, 1e-12, name)
    t.close(bdl.jit(traced)(2 * x), plain(2 * x), 1e-12, 1e-12, name)
    local function gradient(layer)
      nn.reset_all_states(layer)
      return bdl.grad(function() return bdl.sum(bdl.sin(layer(x))) end, layer:states(bdl.ParamState))()
    end
    local got, want = gradient(traced).weight_op, gradient(plain).weight
    if type(want) == "table" then
      for key, g in pairs(want) do t.close(got[key], g, 1e-10, 1e-12, name .. "." .. key) end
    else
      t.close(got, want, 1e-10, 1e-12, name)
    end
    t.eq(bdl.typename(traced.weight_op), "ETraceParam", name)
    t.eq(bdl.class.qualified_name(bdl.class.of(traced)), "online.nn." .. name)
  end
end)

test("a mask or a sign acts in a traced layer", function()
  local layer = online.nn.Linear{4, 3, w_mask = MASK}
  local x, w = random.randn(4), layer.weight_op.value
  t.close(layer(x), x:matmul(w.weight * MASK), 1e-12, 1e-12)
  local g = bdl.grad(function() return bdl.sum(layer(x)) end, layer:states(bdl.ParamState))().weight_op
  t.close(g.weight * (1 - MASK), bdl.zeros(4, 3), 0, 0)
end)

test("LoRA divides by the rank and adds to a base", function()
  local base = nn.Linear(4, 3)
  local layer = online.nn.LoRA{4, 2, 3, base_module = base}
  local x, p = random.randn(5, 4), layer.weight_op.value
  t.close(layer(x), base(x) + x:matmul(p.lora_a):matmul(p.lora_b) / 2, 1e-12, 1e-12)
end)

test("a traced embedding looks up, and refuses what it cannot trace", function()
  local layer = online.nn.Embedding(5, 3)
  local ids = bdl.tensor({{1, 4}, {0, 1}}, {dtype = "int32"})
  t.close(layer(ids), layer.weight_op.value[ids], 0, 0)
  local of = online.nn.Embedding.from_pretrained(bdl.ones(4, 2))
  t.eq(bdl.typename(of.weight_op), "ETraceParam")
  t.eq(of(ids[1] * 0):totable(), {{1, 1}, {1, 1}})
  t.raises("NotSupportedError", "online.nn.Embedding cannot trace max_norm = 1.0, padding_idx = 0", function()
    return online.nn.Embedding{5, 3, max_norm = 1.0, padding_idx = 0}
  end)
  layer.freeze = true
  t.raises("NotSupportedError", "cannot trace freeze = true", layer, ids)
end)

--- Weights of a traced cell, put together as nn has them.
local MERGED = {
  GRUCell = {Wrz = {"Wr", "Wz"}, Wh = {"Wh"}},
  LSTMCell = {W = {"Wi", "Wg", "Wf", "Wo"}},
  URLSTMCell = {W = {"Wf", "Wr", "Wu", "Wo"}},
}

test("traced cells step as those of nn, with one Linear a gate", function()
  for _, name in ipairs{"ValinaRNNCell", "GRUCell", "MGUCell", "LSTMCell", "URLSTMCell", "CFNCell", "MinimalRNNCell", "MiniGRU", "MiniLSTM",
                        "LRUCell"} do
    local plain, traced = nn[name](3, 4), online.nn[name](3, 4)
    for path, s in plain:states(bdl.ParamState):items() do
      local field = path:match "^(.-)%.weight$" or path
      local gates = MERGED[name] and MERGED[name][field] or {field}
      local weights, biases = {}, {}
      for i, gate in ipairs(gates) do
        local p = traced[gate]:is(bdl.State) and traced[gate] or traced[gate].weight_op
        if type(p.value) == "table" then weights[i], biases[i] = p.value.weight, p.value.bias else weights[i] = p.value end
      end
      local function joined(list) return #list > 0 and bdl.concatenate(list, {axis = -1}) or nil end
      if type(s.value) == "table" then s.value = {weight = joined(weights), bias = joined(biases)} else s.value = joined(weights) end
    end
    nn.init_all_states(plain, 2)
    nn.init_all_states(traced, 2)
    local x = random.randn(2, 3)
    for _ = 1, 3 do t.close(traced(x), plain(x), 1e-12, 1e-12, name) end
    for path, s in traced:states(bdl.HiddenState):items() do t.eq(bdl.typename(s), "ETraceState", name .. "." .. path) end
    for path, s in traced:states(bdl.ParamState):items() do t.eq(bdl.typename(s), "ETraceParam", name .. "." .. path) end
  end
  t.eq(paths(online.nn.GRUCell(2, 3):states()), {"Wh.weight_op", "Wr.weight_op", "Wz.weight_op"})
  t.eq(paths(online.nn.LSTMCell(2, 3):states()), {"Wf.weight_op", "Wg.weight_op", "Wi.weight_op", "Wo.weight_op"})
  t.eq(online.nn.LSTMCell{2, 3, b_init = bdl.none}.Wf.weight_op.value.bias, nil)
  t.ok(rawequal(online.nn.VanillaRNNCell, online.nn.ValinaRNNCell))
end)

test("hidden states of neurons and synapses are ETraceStates and stay the same object", function()
  local net = online.testing.ALIF_STPExpCu_Dense_Layer{3, 4, inp_stp = true}
  nn.init_all_states(net)
  local states = net:states(bdl.HiddenState)
  t.eq(#states, 7)
  for path, s in states:items() do t.eq(bdl.typename(s), "ETraceState", path) end
  local V = net.neu.V
  V.value = V.value + 1 * u.mV
  nn.reset_all_states(net)
  t.ok(rawequal(net.neu.V, V))
  t.eq(V.value.mantissa:totable(), {0, 0, 0, 0})
  t.eq(bdl.typename(V), "ETraceState")
  local c <close> = bdl.catch_new_states()
  nn.init_all_states(net, 2)
  t.eq(#c, 7)
  t.eq(bdl.typename(net.neu.V), "ETraceState")
  t.eq(net.neu.V.shape[1], 2)
end)

test("a neuron of online.nn runs as that of nn, and readouts too", function()
  for _, name in ipairs{"LIF", "ALIF", "AdExIF", "GifRef", "HH"} do
    local plain, traced = nn[name](3), online.nn[name](3)
    nn.init_all_states(plain)
    nn.init_all_states(traced)
    local I = bdl.arange(3) * 1.0 * (name == "HH" and u.uA or u.mA)
    for _ = 1, 5 do t.close(traced(I), plain(I), 1e-12, 1e-12, name) end
    t.eq(bdl.typename(traced.V), "ETraceState")
  end
  local out = online.nn.LeakySpikeReadout{4, 2, tau = 5 * u.ms}
  nn.init_all_states(out)
  t.eq(out(bdl.ones(4)).shape[1], 2)
  t.eq(paths(out:states()), {"V", "weight_op"})
end)

test("models with traced layers can be cloned", function()
  local layer = online.nn.Linear(3, 2)
  local copy = bdl.graph.clone(layer)
  t.eq(bdl.typename(copy.weight_op), "ETraceParam")
  copy.weight_op.value = bdl.tree.map(function(x) return 0 * x end, copy.weight_op.value)
  t.eq(copy(bdl.ones(3)):totable(), {0, 0})
  t.ok(layer.weight_op.value.weight:abs():sum():item() > 0)
end)

test("what has nothing to trace is that of nn; what cannot be traced is refused", function()
  t.ok(rawequal(online.nn.ReLU, nn.ReLU))
  t.ok(rawequal(online.nn.MaxPool2d, nn.MaxPool2d))
  t.raises("KeyError", "bdl.online.nn has no 'AllToAll': its weights cannot be traced", function() return online.nn.AllToAll end)
  t.raises("KeyError", "has no 'Liner' %(did you mean 'Linear'%?%)", function() return online.nn.Liner end)
  t.raises("TypeError", "online.nn.GRUCell: argument 'num_out'", online.nn.GRUCell, 3)
  t.raises("ShapeError", "Linear: the last size of the input.* is 2, not in_size 3", online.nn.Linear(3, 2), bdl.ones(2))
end)

--- Layers: values by hand, gradients, lanes, shapes, errors.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local function shape(x) return {table.unpack(x.shape)} end
local function size(s) return {table.unpack(s)} end
local function fit(on, f, ...) return bdl.environ.context({fit = on}, f, ...) end

--- layer : constructor, sizes of an input with a batch in front.
local LAYERS = {
  Linear = {function() return nn.Linear(4, 3) end, {5, 4}},
  ScaledWSLinear = {function() return nn.ScaledWSLinear(4, 3) end, {5, 4}},
  SignedWLinear = {function() return nn.SignedWLinear(4, 3) end, {5, 4}},
  AllToAll = {function() return nn.AllToAll{4, 4, include_self = false, w_init = 0.3} end, {5, 4}},
  LoRA = {function() return nn.LoRA{4, 2, 3, base_module = nn.Linear(4, 3)} end, {5, 4}},
  Conv2d = {function() return nn.Conv2d{{5, 6, 2}, 3, 3, stride = 2, b_init = 0.1} end, {4, 5, 6, 2}},
  ConvTranspose1d = {function() return nn.ConvTranspose1d{{5, 2}, 3, 3, stride = 2} end, {4, 5, 2}},
  MaxPool2d = {function() return nn.MaxPool2d(2) end, {3, 4, 6, 2}},
  SumPool2d = {function() return nn.SumPool2d(2) end, {3, 4, 6, 2}},
  AvgPool1d = {function() return nn.AvgPool1d{3, padding = "SAME"} end, {3, 6, 2}},
  LPPool1d = {function() return nn.LPPool1d(2.0, 2) end, {3, 6, 2}},
  LayerNorm = {function() return nn.LayerNorm{{4}} end, {5, 4}},
  RMSNorm = {function() return nn.RMSNorm{{4}} end, {5, 4}},
  InstanceNorm = {function() return nn.InstanceNorm{{2}} end, {3, 5, 2}, "batch"},
  ReflectionPad1d = {function() return nn.ReflectionPad1d(2) end, {3, 6, 2}},
  GELU = {function() return nn.GELU() end, {5, 4}},
}

t.test("every layer over lanes gives what it gives for a batch, compiled or not", function()
  local _ <close> = bdl.environ.context{precision = 64}
  for name, case in pairs(LAYERS) do
    local layer, x = case[1](), bdl.random.randn(table.unpack(case[2]))
    local y = layer(x)
    t.close(bdl.jit(layer)(x), y, 1e-12, 1e-12, name)
    if not case[3] then t.close(bdl.vmap(layer)(x), y, 1e-12, 1e-12, name) end
    if layer.in_size and not case[3] then t.eq({table.unpack(shape(y), 2)}, size(layer.out_size), name) end
  end
end)

t.test("gradients of every layer agree with finite differences", function()
  local _ <close> = bdl.environ.context{precision = 64}
  for name, case in pairs(LAYERS) do
    local layer, x = case[1](), bdl.random.randn(table.unpack(case[2]))
    local d, e = bdl.random.randn(table.unpack(case[2])), 1e-6
    local function f(z) return bdl.sum(bdl.sin(layer(z))) end
    local g = bdl.grad(f, nil, {argnums = 1})(x)
    local slope = bdl.sum((type(g) == "table" and g[1] or g) * d):item()
    t.close(slope, (f(x + d * e) - f(x - d * e)):item() / (2 * e), 1e-5, 1e-6, name)
  end
end)

t.test("a wrong input names the layer and its in_size", function()
  t.raises("ShapeError", "Conv2d: the last sizes of the input .* 5, 6, 3, not in_size {5, 6, 2}", function()
    nn.Conv2d({5, 6, 2}, 3, 3)(bdl.ones(1, 5, 6, 3))
  end)
  t.raises("ShapeError", "LayerNorm: the last size of the input is 3, not in_size 4", function() nn.LayerNorm{{4}}(bdl.ones(2, 3)) end)
  t.raises("ShapeError", "MaxPool2d: 2 axes of space and channels are needed", function() nn.MaxPool2d(2)(bdl.ones(3, 3)) end)
  t.raises("ShapeError", "a window of 5 on an axis of 3", function() nn.AvgPool1d(5)(bdl.ones(3, 1)) end)
  t.raises("ShapeError", "ZeroPad2d", function() nn.ZeroPad2d(1)(bdl.ones(3, 3)) end)
end)

t.test("wrong arguments say what is expected", function()
  t.raises("TypeError", "did you mean 'kernel_size'", function() nn.Conv1d{{5, 2}, 3, kernel_sise = 3} end)
  t.raises("ValueError", "in_size is 2 sizes of space and the channels", function() nn.Conv2d({5, 2}, 3, 3) end)
  t.raises("ValueError", "in_channels 3 is no multiple of 2 groups", function() nn.Conv1d{{5, 3}, 4, 3, groups = 2} end)
  t.raises("ValueError", "stride is a whole number from 1", function() nn.Conv1d{{5, 3}, 4, 3, stride = 0} end)
  t.raises("ValueError", "padding is 'SAME'", function() nn.Conv1d{{5, 3}, 4, 3, padding = "SAMME"} end)
  t.raises("ValueError", "padding is given in numbers", function() nn.Conv1d{{5, 3}, 4, 3, lhs_dilation = 2} end)
  t.raises("ValueError", "num_groups 4 does not divide the 6 channels", function() nn.GroupNorm{{6}, num_groups = 4} end)
  t.raises("ValueError", "num_groups or group_size", function() nn.GroupNorm{{6}, group_size = 2} end)
  t.raises("ValueError", "within 0..1, not 1.5", function() nn.Dropout(1.5) end)
  t.raises("ValueError", "padding_idx 7", function() nn.Embedding{5, 2, padding_idx = 7} end)
  t.raises("ValueError", "norm_type is positive", function() nn.LPPool1d(0.0, 2) end)
  t.raises("ValueError", "max_val", function() nn.Hardtanh(1.0, -1.0) end)
  t.raises("TypeError", "SparseLinear: spar_mat is a connection", function() nn.SparseLinear(bdl.ones(2, 2)) end)
  t.raises("KeyError", "did you mean 'Conv2d'", function() return nn.Conv2 end)
end)

t.test("AllToAll without itself and with one weight: w times the sum of the others", function()
  t.close(nn.AllToAll{3, 3, include_self = false, w_init = 2.0}(bdl.tensor{1.0, 10.0, 100.0}), {220, 202, 22})
  t.close(nn.OneToOne{3, w_init = 2.0, b_init = 1.0}(bdl.tensor{1.0, 2.0, 3.0}), {3, 5, 7})
end)

t.test("units go through: weights in mS make currents of potentials", function()
  local y = nn.Linear{2, 1, w_init = 2 * u.mS, b_init = bdl.none}(bdl.ones(2) * u.mV)
  t.close((y / (u.mS * u.mV)):totable(), {4})
  t.close((nn.MaxPool1d(2)(bdl.tensor{{1.0}, {-2.0}} * u.mV) / u.mV):totable(), {{1}})
  t.close((nn.Conv1d{{2, 1}, 1, 1, w_init = 3 * u.nS}(bdl.ones(2, 1)) / u.nS):totable(), {{3}, {3}})
end)

t.test("spikes as booleans drive all layers of weights; sparse ones as events", function()
  local s = bdl.tensor{true, false, true}
  t.close(nn.Linear{3, 1, w_init = 1.0}(s), {2})
  t.close(nn.Conv1d{{3, 1}, 1, 3, w_init = 1.0}(s:reshape(3, 1)), {{1}, {2}, {1}})
  local A = bdl.event.CSR.fromdense(bdl.tensor{{1.0, 0.0}, {5.0, 2.0}, {0.0, 3.0}})
  local sparse = nn.SparseLinear{A, b_init = 1.0}
  t.close(sparse(s), {2, 4})
  t.close(sparse(bdl.tensor{1.0, 1.0, 0.0}), {7, 3})
  local g = bdl.grad(function() return bdl.sum(sparse(bdl.tensor{1.0, 2.0, 3.0})) end, sparse:states(bdl.ParamState))()
  t.close(g.weight.weight, {1, 2, 2, 3})
end)

t.test("convolutions: by hand; the transpose is the adjoint", function()
  local c = nn.Conv1d{{5, 1}, 1, 3, padding = "VALID", w_init = bdl.tensor{{{1.0}}, {{0.0}}, {{-1.0}}}}
  t.close(c(bdl.tensor{{1.0}, {4.0}, {9.0}, {16.0}, {25.0}}), {{-8}, {-12}, {-16}})
  t.eq(size(c.out_size), {3, 1})
  t.eq(shape(nn.Conv2d{{4, 5, 2}, 3, 3}(bdl.ones(2, 3, 4, 5, 2))), {2, 3, 4, 5, 3}, "any batch axes")
end)

t.test("pooling: SAME padding does not count in means; adaptive parts; in_size gives out_size", function()
  local x = bdl.tensor{{1.0}, {2.0}, {3.0}, {4.0}, {5.0}}
  t.close(nn.AvgPool1d{3, padding = "SAME"}(x), {{1.5}, {2}, {3}, {4}, {4.5}})
  t.close(nn.AvgPool1d{3, padding = "SAME", count_include_pad = true}(x), {{1}, {2}, {3}, {4}, {3}})
  t.close(nn.SumPool1d{3, stride = 1, padding = 1}(x), {{3}, {6}, {9}, {12}, {9}})
  t.close(nn.SumPool1d(2)(x), {{3}, {7}})
  t.close(nn.SumPool2d(2)(bdl.ones(2, 4, 1)), {{{4}, {4}}})
  t.close(nn.SumPool3d(2)(bdl.ones(2, 2, 2, 1)), {{{{8}}}})
  t.close(nn.AdaptiveAvgPool1d(2)(x), {{2}, {4.5}})
  t.close(nn.AdaptiveMaxPool1d(3)(x), {{2}, {4}, {5}})
  t.eq(size(nn.MaxPool2d{2, in_size = {6, 7, 3}}.out_size), {3, 3, 3})
  t.close(nn.MaxPool1d{2, channel_axis = bdl.none}(bdl.tensor{1.0, 3.0, 2.0, 0.0}), {3, 2})
  t.raises("ShapeError", "9 windows on an axis of 5", function() nn.AdaptiveAvgPool1d(9)(x) end)
end)

t.test("MaxUnpool puts the largest back where MaxPool found them", function()
  local x = bdl.tensor{{{1.0}, {5.0}, {2.0}}, {{4.0}, {3.0}, {9.0}}, {{7.0}, {7.0}, {0.0}}}
  local y, at = nn.MaxPool2d{2, stride = 1, return_indices = true}(x)
  t.eq({y:totable(), at:totable()}, {{{{5}, {9}}, {{7}, {9}}}, {{{1}, {5}}, {{6}, {5}}}})
  local z, places = nn.MaxPool2d{{1, 3}, return_indices = true}(x)
  t.close(nn.MaxUnpool2d{{1, 3}}(z, places), {{{0}, {5}, {0}}, {{0}, {0}, {9}}, {{7}, {0}, {0}}})
  local odd, where = nn.MaxPool1d{2, return_indices = true}(bdl.tensor{{1.0}, {2.0}, {4.0}, {3.0}, {8.0}})
  t.close(nn.MaxUnpool1d(2)(odd, where, {5}), {{0}, {2}, {4}, {0}, {0}})
end)

t.test("BatchNorm: running statistics are States of long term, moved while fitting", function()
  local bn = nn.BatchNorm0d{{2}, momentum = 0.5, affine = false}
  local x = bdl.tensor{{1.0, 10.0}, {3.0, 30.0}}
  t.raises("KeyError", "environ 'fit' is not set", function() bn(x) end)
  t.close(fit(true, bn, x), {{-1, -1}, {1, 1}}, 1e-4)
  t.close(bn.running_mean.value, {1, 10})
  t.close(bn.running_var.value, {1, 50.5})
  nn.init_all_states(bn)
  t.close(bn.running_mean.value, {1, 10}, 1e-6, 1e-8, "not reset")
  t.close(fit(false, bn, bdl.tensor{1.0, 10.0}), {0, 0}, 1e-4, 1e-6)
  t.eq(#bn:states(bdl.ParamState), 0)
  t.close(fit(true, bdl.jit(bn), x), {{-1, -1}, {1, 1}}, 1e-4)
  t.close(bn.running_mean.value, {1.5, 15})
end)

t.test("norms: mean 0 and variance 1 where they should be", function()
  local x = bdl.random.randn(4, 6, 6) * 3 + 5
  local function check(y, axis, what)
    t.close(bdl.mean(y, {axis = axis}), bdl.mean(y, {axis = axis}) * 0, 1e-4, 1e-4, what)
    t.close(bdl.var(y, {axis = axis}), bdl.var(y, {axis = axis}) * 0 + 1, 1e-2, 1e-2, what)
  end
  check(nn.LayerNorm{{6}}(x), -1, "layer")
  check(nn.InstanceNorm{{6}}(x), 2, "instance")
  check(nn.GroupNorm{{6}, num_groups = 2}(x):reshape(4, 6, 2, 3), {2, 4}, "group")
  check(nn.LayerNorm{{6, 6}, {1, 2}, {1, 2}}(x), {2, 3}, "layer over two axes")
  t.close(bdl.mean(nn.RMSNorm{{6}}(x)^2, {axis = -1}), bdl.ones(4, 6), 1e-4)
end)

t.test("dropouts keep the mean, and leave x alone when not fitting", function()
  bdl.random.seed(1)
  local x = bdl.ones(200, 50)
  for _, d in ipairs{nn.Dropout(0.7), nn.AlphaDropout(0.7), nn.Dropout1d(0.7), nn.FeatureAlphaDropout(0.7)} do
    t.eq(fit(false, d, x), x)
    local y = fit(true, d, bdl.random.randn(100, 40, 20) + (bdl.typename(d):find "Alpha" and 0 or 1))
    t.close(bdl.mean(y), bdl.typename(d):find "Alpha" and 0 or 1, 0, 0.1, bdl.typename(d))
  end
  local y = fit(true, nn.Dropout1d(0.5), bdl.ones(8, 5, 6))
  t.close(bdl.var(y, {axis = 2}), bdl.zeros(8, 6), 1e-6, 1e-6, "channels share their fate")
  t.close(fit(true, nn.Dropout{0.5, {2}}, bdl.ones(9, 7)):var{axis = 2}, bdl.zeros(9), 1e-6, 1e-6)
  t.close(fit(true, nn.Dropout(0.0), bdl.ones(3)), {0, 0, 0})
  local fixed = nn.DropoutFixed{{4}, 0.5}
  fixed:init_state(3)
  t.eq(fit(true, fixed, bdl.ones(3, 4)), fit(true, fixed, bdl.ones(3, 4)))
  t.raises("ShapeError", "does not fit the mask", function() fit(true, fixed, bdl.ones(4)) end)
end)

t.test("Embedding: ids from 0, gradients by row, padding, frequency, norm, freezing", function()
  local ids = bdl.tensor{0, 2, 2}
  local function grad_of(opts)
    local e = nn.Embedding{3, 2, embedding_init = bdl.tensor{{3.0, 4.0}, {1.0, 1.0}, {0.3, 0.4}},
                           padding_idx = opts.padding_idx, scale_grad_by_freq = opts.scale_grad_by_freq, freeze = opts.freeze}
    return bdl.grad(function() return bdl.sum(e(ids)) end, e:states(bdl.ParamState))().weight
  end
  t.close(grad_of{}, {{1, 1}, {0, 0}, {2, 2}})
  t.close(grad_of{scale_grad_by_freq = true}, {{1, 1}, {0, 0}, {1, 1}})
  t.close(grad_of{padding_idx = 2}, {{1, 1}, {0, 0}, {0, 0}})
  t.close(grad_of{freeze = true}, {{0, 0}, {0, 0}, {0, 0}})
  local short = nn.Embedding{3, 2, embedding_init = bdl.tensor{{3.0, 4.0}, {1.0, 1.0}, {0.3, 0.4}}, max_norm = 1.0}
  t.close(short(ids), {{0.6, 0.8}, {0.3, 0.4}, {0.3, 0.4}}, 1e-5)
  t.close(short.weight.value, {{0.6, 0.8}, {1, 1}, {0.3, 0.4}}, 1e-5)
  local kept = nn.Embedding.from_pretrained(bdl.tensor{{1.0, 2.0}, {3.0, 4.0}})
  t.close(kept(bdl.tensor{{1}, {0}}), {{{3, 4}}, {{1, 2}}})
  t.raises("TypeError", "ids are integers", function() kept(bdl.tensor{1.0}) end)
  t.raises("IndexError", nil, function() kept(bdl.tensor{2}) end)
end)

t.test("Sequential: descriptions get the size before them; positions; failures name the layer", function()
  local seq = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear:desc{out_size = 2}, function(x) return x * 2 end)
  t.eq({size(seq.in_size), size(seq.out_size)}, {{3}, {2}})
  t.eq(shape(seq(bdl.ones(5, 3))), {5, 2})
  t.eq(#seq, 4)
  t.eq(seq[-2], seq.layers[3])
  t.eq(#seq:slice(1, 2), 2)
  seq:append(nn.Linear:desc{out_size = 7})
  t.eq(size(seq.out_size), {7})
  seq:insert(2, nn.LayerNorm:desc{})
  t.eq(shape(seq(bdl.ones(3))), {7})
  t.ok(seq[2]:is(nn.LayerNorm))
  t.raises("IndexError", "there is no layer 9 of 6", function() return seq[9] end)
  t.raises("TypeError", "the first layer is a module", function() nn.Sequential(math.sin) end)
  t.raises("TypeError", "layer 2 is a module, a function or a description, not a number", function() nn.Sequential(nn.ReLU(), 3) end)
  t.raises("ShapeError", "in layer 1: Linear: the last size", function() seq(bdl.ones(4)) end)
  t.raises("ValueError", "layer 2 is a description", function() nn.Sequential(nn.ReLU(), nn.Linear:desc{out_size = 2}) end)
  t.eq(#seq:states(bdl.ParamState), 4)
end)

t.test("Flatten and Unflatten, with positions of in_size behind any batch", function()
  t.eq(shape(nn.Flatten(2)(bdl.ones(2, 3, 4))), {2, 12})
  local f = nn.Flatten{in_size = {3, 4}}
  t.eq({size(f.out_size), shape(f(bdl.ones(5, 6, 3, 4)))}, {{12}, {5, 6, 12}})
  t.eq(shape(nn.Unflatten(2, {2, -1})(bdl.ones(3, 6))), {3, 2, 3})
  t.raises("ShapeError", "an axis of 6 is not {4, 2}", function() nn.Unflatten(2, {4, 2})(bdl.ones(3, 6)) end)
  local inner = nn.EnvironContext(nn.Dropout(0.5), {fit = false})
  t.eq(inner(bdl.ones(4)), bdl.ones(4))
end)

t.test("activation layers: parameters, and a learnt slope", function()
  local x = bdl.tensor{-2.0, 0.5, 3.0}
  t.close(nn.LeakyReLU(0.1)(x), {-0.2, 0.5, 3})
  t.close(nn.Hardtanh(-1.0, 2.0)(x), {-1, 0.5, 2})
  t.close(nn.Threshold(0.6, 9.0)(x), {9, 9, 3})
  t.close((nn.Threshold(0.6 * u.mV, 9.0 * u.mV)(x * u.mV) / u.mV):totable(), {9, 9, 3})
  t.close(nn.Softmax()(bdl.zeros(2, 4)), bdl.ones(2, 4) / 4)
  t.close(nn.GLU()(bdl.tensor{2.0, 0.0}), {1})
  t.eq(nn.relu(x), x:relu())
  local p = nn.PReLU()
  t.close(p(x), {-0.5, 0.5, 3})
  t.close(bdl.grad(function() return bdl.sum(p(x)) end, p:states(bdl.ParamState))().weight, {-2})
  local y = nn.RReLU()(bdl.zeros(100) - 1)
  t.ok(y:max():item() <= -1 / 8 and y:min():item() >= -1 / 3 and bdl.std(y):item() > 0, "slopes")
end)

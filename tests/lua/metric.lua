--- Losses and measures: values known by hand or from the reference, units, gradients, errors.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local metric, u = bdl.metric, bdl.units

local function tensor(v) return bdl.tensor(v) end

t.test("cross entropies: uniform logits give log n; labels and their one-hot agree", function()
  t.close(metric.softmax_cross_entropy_with_integer_labels(bdl.zeros(2, 4), tensor{1, 3}), {math.log(4), math.log(4)})
  local x, labels = bdl.random.randn(5, 3), tensor{0, 2, 1, 1, 0}
  t.close(metric.softmax_cross_entropy(x, bdl.functional.one_hot(labels, 3)), metric.softmax_cross_entropy_with_integer_labels(x, labels), 1e-5)
  t.close(metric.sigmoid_binary_cross_entropy(tensor{0.0, 200.0, -200.0}, tensor{1, 1, 1}), {math.log(2), 0, 200}, 1e-6)
  t.close(metric.nll_loss(bdl.functional.log_softmax(x), labels), metric.softmax_cross_entropy_with_integer_labels(x, labels), 1e-5)
end)

t.test("the gradient of the cross entropy is softmax less one-hot", function()
  local x, labels = bdl.random.randn(3, 4), tensor{3, 0, 1}
  local g = bdl.grad(function(z) return metric.softmax_cross_entropy_with_integer_labels(z, labels):sum() end, nil, {argnums = 1})(x)
  g = type(g) == "table" and g[1] or g
  t.close(g, bdl.functional.softmax(x) - bdl.functional.one_hot(labels, 4), 1e-5, 1e-6)
end)

t.test("a label that is no class is an error, wrong kinds too", function()
  local x = bdl.zeros(2, 3)
  t.raises("IndexError", "the label 3 is none of 0 to 2", metric.softmax_cross_entropy_with_integer_labels, x, tensor{0, 3})
  t.raises("IndexError", "the label %-1 is none of 0 to 2", metric.multiclass_hinge_loss, x, tensor{-1, 0})
  for _, name in ipairs{"softmax_cross_entropy_with_integer_labels", "nll_loss", "multiclass_hinge_loss",
                        "multiclass_perceptron_loss"} do
    local f = metric[name]
    t.raises("ValueError", "metric." .. name .. ": the label 3 is none of 0 to 2", bdl.jit(f), x, tensor{0, 3})
    t.raises("ValueError", name .. ": the label %-2 is none of 0 to 2", bdl.jit(f), x, tensor{-2, 0})
    t.raises("ValueError", name .. ": the label 7 is none", bdl.jit(bdl.grad(function(z, l) return f(z, l):sum() end)),
             x, tensor{0, 7})
    t.raises("ValueError", name .. ": the label .*3.* is none", bdl.vmap(f), x, tensor{0, 3})
    t.raises("ValueError", name .. ": the label 3 is none", bdl.jit(function(ls)
      return bdl.for_loop(function(l) return f(x, l):sum() end, ls)
    end), tensor{{0, 1}, {3, 0}})
  end
  t.raises("TypeError", "labels are integers", metric.softmax_cross_entropy_with_integer_labels, x, tensor{0.0, 1.0})
  t.raises("TypeError", "logits are floats", metric.softmax_cross_entropy, bdl.ones({2, 3}, {dtype = "int32"}), x)
  t.raises("ShapeError", "shapes differ", metric.squared_error, x, bdl.zeros(3))
  t.raises("ValueError", "reduction is .* not 'meen' %(did you mean 'mean'", metric.squared_error, x, x, {reduction = "meen"})
  t.raises("KeyError", "did you mean 'hinge_loss'", function() return metric.hinge_los end)
  t.raises("TypeError", "delta", metric.huber_loss, x, x, {delat = 1.0})
end)

t.test("windows, costs and labels that make no sense", function()
  bdl.environ.context({dt = 1*u.ms}, function()
    t.raises("UnitMismatchError", "a window of <mV> of steps of <ms>", metric.firing_rate, bdl.zeros(9, 2), 3*u.mV)
    t.eq(metric.firing_rate(bdl.zeros(9, 2), 3*u.ms):sum():item(), 0)
  end)
  t.raises("ValueError", "cost_factor is >= 0, not %-1", metric.victor_purpura_distance, {1.}, {2.}, {cost_factor = -1})
  t.raises("IndexError", "metric.ctc_loss: the label 7 is none of 0 to 2", metric.ctc_loss, bdl.zeros(1, 5, 3),
           bdl.zeros(1, 5), tensor{{7, 1}}, bdl.zeros(1, 2))
end)

t.test("regression: values, reductions, units", function()
  local x, y = tensor{1.0, 2.0, 5.0}, tensor{0.5, 2.0, 2.0}
  t.close(metric.squared_error(x, y), {0.25, 0, 9})
  t.close(metric.huber_loss(x, y), {0.125, 0, 2.5})
  t.close(metric.absolute_error(x, y), 3.5 / 3)
  t.close(metric.l2_loss(x, y, {reduction = "sum"}), 4.625)
  t.close((metric.squared_error(x * u.mV, y * u.mV) / u.mV^2):totable(), {0.25, 0, 9})
  t.close(metric.log_cosh(tensor{1000.0, 0.0}), {1000 - math.log(2), 0})
  t.close(metric.cosine_similarity(tensor{{1.0, 0.0}, {0.0, 0.0}}, tensor{{1.0, 1.0}, {1.0, 2.0}}), {math.sqrt(0.5), 0}, 1e-6)
end)

t.test("accuracy counts the samples whose largest logit is right", function()
  t.eq(metric.accuracy(tensor{{0.1, 2.0}, {3.0, 1.0}, {0.0, 1.0}}, tensor{1, 0, 0}):item() > 0.66, true)
  t.eq(metric.accuracy(tensor{1, 0}, tensor{1, 0}):item(), 1.0)
end)

t.test("CTC: one label, two steps, by hand", function()
  local logits = tensor{{{0.0, 0.0}, {0.0, 0.0}}} -- all paths have probability 1/4; a a, a -, - a give the label
  t.close(metric.ctc_loss(logits, bdl.zeros(1, 2), tensor{{1}}, bdl.zeros(1, 1)), {-math.log(0.75)}, 1e-5)
end)

t.test("a Fenchel-Young loss of logsumexp is the cross entropy", function()
  local x, y = bdl.random.randn(4, 3), bdl.functional.one_hot(tensor{0, 2, 1, 1}, 3)
  local loss = metric.make_fenchel_young_loss(function(row) return bdl.functional.logsumexp(row) end)
  t.close(loss(x, y), metric.softmax_cross_entropy(x, y), 1e-5, 1e-6)
end)

t.test("spike distances: moving costs q, taking and putting 1; units", function()
  t.close(metric.victor_purpura_distance({1.0, 5.0}, {1.5}, {cost_factor = 0.5}), 1.25)
  t.close(metric.victor_purpura_distance({}, {1.0, 2.0}), 2)
  t.close(metric.victor_purpura_distance(tensor{1.0, 5.0} * u.ms, tensor{0.0015} * u.second, {cost_factor = 0.5 / u.ms}), 1.25, 1e-5)
  t.eq(metric.van_rossum_distance({1.0, 2.0}, {1.0, 2.0}), 0.0)
  t.close(metric.van_rossum_distance({1.0}, {}, {tau = 1.0}), math.sqrt(0.5), 0.05)
  t.close(metric.van_rossum_distance(tensor{1.0} * u.ms, {}, {tau = 1 * u.ms}), metric.van_rossum_distance({1.0}, {}))
end)

local regular = {}
for i = 1, 40 do regular[i] = {i % 4 == 0 and 1 or 0, i % 4 == 0 and 1 or 0, 0} end
regular = tensor(regular)

t.test("synchrony, CV and Fano factor of clocks", function()
  local o = {dt = 1 * u.ms}
  t.eq(metric.spike_train_synchrony(regular, 2 * u.ms, o), 1.0)
  t.close(metric.cross_correlation(regular, 2 * u.ms, o), 1 / 3, 1e-6)
  local cv = metric.cv(regular):totable()
  t.eq({cv[1], cv[2]}, {0, 0})
  t.ok(cv[3] ~= cv[3], "no spikes: NaN")
  t.eq(metric.fano_factor(regular, 8 * u.ms, o)[1]:item(), 0.0)
  t.close(metric.spike_time_tiling_coefficient(regular, {dt = 1 * u.ms, tau = 1 * u.ms}), {{1, 1, 0}, {1, 1, 0}, {0, 0, 1}})
  t.close(metric.phase_locking_value(regular, 250 * u.Hz, o), {1, 1, 0}, 1e-4)
  t.close(metric.burst_synchrony_index(regular, {dt = 1 * u.ms, max_isi = 4 * u.ms}), 1)
  t.raises("ValueError", "shorter than dt", metric.cross_correlation, regular, 0.1 * u.ms, o)
  t.raises("ShapeError", "spikes have 2 axes", metric.cv, tensor{1.0, 2.0})
  t.raises("KeyError", "dt", metric.spike_train_synchrony, regular, 2 * u.ms)
end)

t.test("Poisson trains have CV and Fano factor 1", function()
  bdl.random.seed(3)
  local spikes = bdl.random.bernoulli(0.02, {size = {20000, 4}})
  t.close(metric.cv(spikes):mean(), 1, 0.1)
  t.close(metric.fano_factor(spikes, 200, {dt = 1}):mean(), 1, 0.15)
end)

t.test("the firing rate is in Hz, and compiles", function()
  local f = bdl.jit(function(s) return metric.firing_rate(s, 4 * u.ms, {dt = 1 * u.ms}) end)
  t.close(f(tensor{{0.0, 0.0}, {1.0, 0.0}, {0.0, 0.0}, {0.0, 0.0}, {0.0, 0.0}, {0.0, 0.0}}), {100, 100, 100, 100, 0, 0}, 1e-5)
end)

t.test("correlations: equal signals 1, opposite ones -1, flat ones 0", function()
  local x = bdl.random.randn(50)
  local r = metric.functional_connectivity(bdl.stack({x, 2 * x, -x, 0 * x}, {axis = 2}))
  t.close(r, {{1, 1, -1, 0}, {1, 1, -1, 0}, {-1, -1, 1, 0}, {0, 0, 0, 1}}, 1e-5, 1e-6)
  t.close(metric.weighted_correlation(x, -3 * x, bdl.ones(50)), -1, 1e-5)
  t.close(metric.voltage_fluctuation(bdl.stack({x, x}, {axis = 2}) * u.mV), 1, 1e-5)
end)

t.test("spectra: a sine has its power at its frequency", function()
  local _ <close> = bdl.environ.context{precision = 64}
  local time = bdl.arange(1000) * 0.001
  local frequencies, p = metric.power_spectral_density(bdl.sin(time * (2 * math.pi * 40)), 1 * u.ms, {nperseg = 200})
  t.eq(frequencies[p:argmax()]:item(), 40.0)
  t.close((p:sum() * 5):item(), 0.5, 1e-2, 0, "variance")
  local _, same = metric.coherence_analysis(bdl.random.randn(400), bdl.random.randn(400), 0.001, {nperseg = 400})
  t.close(same:mean(), 1, 1e-6)
  t.close(metric.lfp_phase_coherence(bdl.stack({bdl.sin(time * 63), bdl.cos(time * 63)}, {axis = 2}), 0.001), {{1, 1}, {1, 1}}, 1e-2)
  t.raises("ValueError", "three electrodes", metric.current_source_density, bdl.zeros(4, 2), 0.1 * u.mm)
  t.close(metric.current_source_density((bdl.arange(5) * 1.0)^2, 1.0), {-2, -2, -2})
end)

t.test("the field of one spike peaks after its delay", function()
  local spikes = bdl.zeros(400, 1):set({1, 1}, 1.0)
  local field = metric.unitary_LFP(bdl.arange(400) * 0.1, spikes, "exc", {seed = 1})
  local peak = field:argmax():item() * 0.1
  t.ok(peak > 10.4 and peak < 11.2, "peak at " .. peak)
  t.raises("ValueError", "did you mean 'surface'", metric.unitary_LFP, bdl.arange(400) * 0.1, spikes, "exc", {location = "surfce"})
end)

t.test("cosine distances, divergence of what does not sum to 1, coupling of theta and gamma: the reference's numbers", function()
  local _ <close> = bdl.environ.context{precision = 64}
  local x, y = tensor{{1.0, 2.0, 3.0}, {-1.0, 0.5, 0.0}}, tensor{{2.0, -1.0, 0.5}, {0.3, 0.3, 4.0}}
  t.close(metric.cosine_distance(x, y), {0.8250364469440588, 1.0333539285366165}, 1e-12)
  t.close(metric.pairwise_cosine_distance(x, y), {{0.8250364469440586, 0.1428902531558377}, {1.9759000729485332, 1.0333539285366165}}, 1e-12)
  t.close(metric.pairwise_cosine_distance(x), {{0, 1}, {1, 0}}, 0, 1e-12)
  local predictions, targets = bdl.log(tensor{{0.2, 0.3, 0.6}, {0.1, 0.1, 0.1}}), tensor{{0.5, 0.2, 0.2}, {0.0, 0.4, 0.7}}
  t.close(metric.convex_kl_divergence(predictions, targets), {0.3573298865818227, 1.1166548487866752}, 1e-12)
  local w = bdl.arange(2000) * (0.001 * 2 * math.pi)
  local lfp = bdl.sin(6*w) + (1 + bdl.sin(6*w)) * 0.4 * bdl.sin(50*w) + 0.3 * bdl.cos(11*w)
  t.close(metric.theta_gamma_coupling(lfp, 1*u.ms), 0.10451607133057585, 1e-9)
  t.raises("ShapeError", nil, metric.cosine_distance, x, bdl.ones(2, 2))
  t.raises("ShapeError", "rows", metric.pairwise_cosine_distance, bdl.ones(3))
end)

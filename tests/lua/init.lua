--- Initialisers: moments, shapes, units, composition, errors.
local bdl = require "bdl"
local t = require "tests.lua.harness"

local init, u = bdl.init, bdl.units

local function sizes(x) return {table.unpack(x.shape)} end

--- Mean and standard deviation of many draws, in the unit.
local function moments(f, unit)
  bdl.random.seed(7)
  local x = f{40000}
  if unit then x = x / unit end
  return x:mean():item(), x:std():item()
end

t.test("distributions have their moments", function()
  local gamma = 0.8862269254527580  -- Gamma(3/2)
  for name, case in pairs{
    Normal = {init.Normal(0.5, 2.0), 0.5, 2.0}, Uniform = {init.Uniform(-1, 3), 1, 4 / math.sqrt(12)},
    LogNormal = {init.LogNormal(2.0, 0.7), 2.0, 0.7}, Gamma = {init.Gamma(2.5, 2.0), 5.0, 2 * math.sqrt(2.5)},
    Exponential = {init.Exponential(1.5), 1.5, 1.5}, Weibull = {init.Weibull(2.0, 3.0), 3 * gamma, 3 * math.sqrt(1 - gamma^2)},
    Beta = {init.Beta(2.0, 2.0, -1.0, 1.0), 0.0, 2 * math.sqrt(0.05)},
    TruncatedNormal = {init.TruncatedNormal{0.0, 1.0, low = 0.0}, math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi)},
    Mixture = {init.Mixture{distributions = {init.Constant(1.0), init.Constant(5.0)}, weights = {0.25, 0.75}}, 4.0, math.sqrt(3)},
  } do
    local mean, std = moments(case[1])
    t.close(mean, case[2], 0.02, 0.03, name)
    t.close(std, case[3], 0.02, 0.03, name)
  end
end)

--- Entries of the draws of seed 42 in float64, by braintools 0.3.0.
t.test("draws equal the reference", function()
  for i, case in ipairs{
    {init.Normal(0.5, 2.0), {3, 4}, 2, 0.736957216049, 11, -0.881062517229},
    {init.Uniform(-0.5, 2.0), {7}, 2, 0.867889444968, 6, -0.253268560647},
    {init.LogNormal(2.0, 0.7), {7}, 2, 1.96529719443, 6, 1.21795635824},
    {init.Exponential(1.5), {7}, 2, 1.18831064011, 6, 0.155863314263},
    {init.Weibull(1.5, 2.0), {7}, 2, 1.71233662882, 6, 0.442043586784},
    {init.TruncatedNormal(0.3, 2.0, -1.0, 2.0), {9}, 2, 0.580494587159, 8, -0.613783556693},
    {init.TruncatedNormal{0.3, 2.0, low = 0.0}, {9}, 2, 1.62753453955, 8, 0.341336870766},
    {init.KaimingUniform{mode = "fan_out", nonlinearity = "leaky_relu", negative_slope = 0.2}, {3, 4}, 2, 0.113264515055, 11, -0.612658131268},
    {init.KaimingNormal(), {3, 4}, 2, 0.0967373783652, 11, -0.563816411682},
    {init.XavierNormal(1.3), {3, 4, 5}, 2, 0.0322918253497, 59, 0.095880090059},
    {init.LecunUniform(), {3, 4}, 2, 0.0943115559742, 11, -0.510139840463},
    {init.VarianceScaling(1.5, "fan_avg", "truncated_normal"), {5, 4}, 2, 0.0742107220141, 19, 0.271838018423},
    {init.Orthogonal(1.5), {5, 4}, 2, 0.00202719735365, 19, 0.521878393545},
    {init.Orthogonal(), {3, 7}, 2, 0.0426879997762, 20, -0.0459035891526},
    {init.DeltaOrthogonal(2.0), {3, 3, 3, 4}, 19, 1.30508021025, 91, -0.863512896959},
  } do
    bdl.environ.context({precision = 64}, function()
      bdl.random.seed(42)
      local x = case[1](case[2]):reshape(-1)
      t.close({x[case[3]]:item(), x[case[5]]:item()}, {case[4], case[6]}, 1e-9, 1e-10, "case " .. i)
    end)
  end
end)

t.test("weights have the variance of their fan", function()
  bdl.random.seed(1)
  local function std(f, shape) return f(shape):std():item() end
  for _, kind in ipairs{"Normal", "Uniform"} do
    t.close(std(init["Kaiming" .. kind](), {200, 100}), math.sqrt(2 / 200), 0.03)
    t.close(std(init["Kaiming" .. kind]{mode = "fan_out", nonlinearity = "leaky_relu", negative_slope = 1.0}, {200, 100}), 0.1, 0.03)
    t.close(std(init["Xavier" .. kind](), {200, 100}), math.sqrt(1 / 150), 0.03)
    t.close(std(init["Lecun" .. kind](), {200, 100}), math.sqrt(1 / 200), 0.03)
    t.close(std(init["Lecun" .. kind](), {3, 100, 50}), math.sqrt(1 / 5000), 0.03)
    t.close(std(init["Lecun" .. kind](), {5000}), math.sqrt(1 / 5000), 0.03)
  end
  local cut = init.VarianceScaling{4.0, distribution = "truncated_normal"}{100, 100}
  t.close(cut:std():item(), 0.2, 0.03)
  t.ok(cut:abs():max():item() <= 2 * 0.2 / 0.879)
end)

t.test("orthogonal matrices are, in either direction", function()
  bdl.random.seed(2)
  local tall, wide = init.Orthogonal(2.0){6, 4}, init.Orthogonal(){3, 2, 20}:reshape(6, 20)
  t.close(tall.T:matmul(tall), 4 * bdl.eye(4), 1e-5, 1e-5)
  t.close(wide:matmul(wide.T), bdl.eye(6), 1e-5, 1e-5)
  local filter = init.DeltaOrthogonal(){4, 4, 3, 2}
  t.close(filter[{{}, {}, 2, 2}]:matmul(filter[{{}, {}, 2, 2}].T), bdl.eye(4), 1e-5, 1e-5)
  t.close(filter:abs():sum():item(), filter[{{}, {}, 2, 2}]:abs():sum():item())
  t.eq(init.Identity(3.0){2, 3}, {{3.0, 0.0, 0.0}, {0.0, 3.0, 0.0}})
  t.eq(init.Identity(){2}, {1.0, 1.0})
end)

t.test("units come from the parameters or from the argument", function()
  local mean, std = moments(init.Normal(-60*u.mV, 0.002*u.volt), u.mV)
  t.close(mean, -60, 0.01)
  t.close(std, 2, 0.02)
  t.close(moments(init.Uniform{0, 2, unit = u.nS}, u.nS), 1.0, 0.02)
  t.close((init.LecunNormal(1*u.mV){100, 100} / u.mV):std():item(), 0.1, 0.03)
  t.close((init.LecunNormal{unit = u.mV}{100, 100} / u.mV):std():item(), 0.1, 0.03)
  t.close((init.TruncatedNormal(1*u.mV, 1*u.mV, 0*u.mV, 2*u.mV){9} / u.mV):min():item() >= 0, true)
  t.eq(init.ZeroInit{unit = u.mV}{2} / u.mV, {0.0, 0.0})
  t.eq((init.Orthogonal{unit = u.mV}{2, 2} / u.mV).ndim, 2)
  t.eq((1*u.mV + init.Constant(2*u.mV)){1} / u.mV, {3.0}, "a quantity on the left")
end)

t.test("initialisers are an algebra", function()
  local one, two = init.Constant(1.0), init.Constant(2.0)
  t.eq((-(two + one) * 4 / two - 1){2}, {-7.0, -7.0})
  t.eq((3 - two){1}, {1.0})
  t.eq((two | bdl.square | bdl.sqrt){1}, {2.0})
  t.eq(init.Compose(two, bdl.square){1}, {4.0})
  t.eq(init.Scaled(two, 3*u.mV){1} / u.mV, {6.0})
  t.eq(init.Clipped(init.Constant(5*u.mV), nil, 0.002*u.volt){1} / u.mV, {2.0})
  t.eq(init.Constant(5.0):clip(6){1}, {6.0})
  t.eq(init.Conditional(function(i) return i:le(2) end, one, two){2, 2}, {{1.0, 1.0}, {2.0, 2.0}})
  t.eq(sizes(init.Normal()({2, 3}, 4)), {4, 2, 3})
  t.eq(sizes(init.Normal()(5)), {5})
  t.eq(sizes(init.Normal(bdl.tensor{1.0, 2.0, 3.0}, 1.0){2, 3}), {2, 3})
  local Ramp = init.Initializer:extend "Ramp"
  function Ramp:make(shape) return bdl.arange(1.0, shape[1] + 1) end
  t.eq((Ramp() * 2){3}, {2.0, 4.0, 6.0})
end)

t.test("profiles of the distance", function()
  local d = bdl.tensor{0.0, 1.0, 2.0, 4.0}
  local e, norm = math.exp, function(x) return 1 / (1 + math.exp(-x)) end
  for name, case in pairs{
    GaussianProfile = {{2.0}, {1, e(-0.125), e(-0.5), e(-2)}}, ExponentialProfile = {{2.0, max_distance = 3.0}, {1, e(-0.5), e(-1), 0}},
    PowerLawProfile = {{2.0}, {1, 1, 0.25, 0.0625}}, LinearProfile = {{2.0}, {1, 0.5, 0, 0}}, StepProfile = {{1.0, 0.8, 0.1}, {0.8, 0.8, 0.1, 0.1}},
    SigmoidProfile = {{2.0, 1.5}, {norm(3), norm(1.5), 0.5, norm(-3)}}, LogisticProfile = {{1.5, 2.0}, {norm(3), norm(1.5), 0.5, norm(-3)}},
    DoGProfile = {{1.0, 2.0}, {0.5, e(-0.5) - 0.5 * e(-0.125), 0, 0}},
    BimodalProfile = {{1.0, 2.0, 0.0, 4.0}, {1 + e(-2), e(-0.5) + e(-1.125), e(-2) + e(-0.5), e(-8) + 1}},
    MexicanHatProfile = {{2.0}, {1, 0.75 * e(-0.125), 0, 0}},
  } do
    t.close(init[name](case[1])(d), case[2], 1e-5, 1e-6, name)
  end
  t.close(init.GaussianProfile(2*u.mm)(d * 1000*u.um), {1, e(-0.125), e(-0.5), e(-2)}, 1e-5)
  t.close(init.SigmoidProfile(2*u.um, 1.5 / u.um)(d * u.um), init.SigmoidProfile(2*u.um, 1.5)(d * u.um), 1e-5)
  t.close((2 * init.LinearProfile(2.0) - 1 | bdl.square):clip(0, 0.5)(d), {0.5, 0, 0.5, 0.5})
  local w = init.DistanceModulated{init.Constant(3*u.nS), init.LinearProfile(2*u.um), pre_positions = bdl.tensor{{0.0, 0.0}, {3.0, 4.0}} * u.um,
                                   post_positions = bdl.tensor{{0.0, 1.0}, {3.0, 4.0}, {9.0, 9.0}} * u.um}
  t.close(w{2, 3} / u.nS, {{1.5, 0, 0}, {0, 3, 0}}, 1e-5)
  t.raises("ValueError", "distances, or pre_positions and post_positions", function() init.DistanceModulated(init.Normal(), init.LinearProfile(1.0)) end)
  t.raises("ValueError", "init.GaussianProfile: sigma must be", function() init.GaussianProfile(0) end)
end)

t.test("bad arguments are named", function()
  t.raises("ValueError", "init.Normal: std must be a number at least 0, not %-1", function() init.Normal(0, -1) end)
  t.raises("ValueError", "init.Normal: std must be .* mV", function() init.Normal(0*u.mV, -1*u.mV) end)
  t.raises("ValueError", "init.Uniform: low must be less than high, not 2 and 1", function() init.Uniform(2, 1) end)
  t.raises("UnitMismatchError", nil, function() init.Uniform(1*u.mV, 2*u.nA) end)
  t.raises("TypeError", "init.Gamma: argument 'shape'", function() init.Gamma() end)
  t.raises("ValueError", "init.VarianceScaling: mode is one of .*did you mean 'fan_in'", function() init.VarianceScaling(1.0, "fanin") end)
  t.raises("ValueError", "nonlinearity is one of 'relu'", function() init.KaimingNormal{nonlinearity = "tanh"} end)
  t.raises("ValueError", "init.Orthogonal: a shape of at least 2 sizes is needed, not %[3%]", function() init.Orthogonal(){3} end)
  t.raises("ValueError", "2 weights of the sum 1, not 2 of the sum 2", function()
    init.Mixture{distributions = {init.Normal(), init.Normal()}, weights = {1, 1}}
  end)
  t.raises("TypeError", "part 2 is an initialiser, not a number", function() init.Mixture{distributions = {init.Normal(), 3}} end)
  t.raises("TypeError", "functions of arrays, not a Normal", function() return init.Normal() | init.Normal() end)
  t.raises("ValueError", "a bool for each of the 3 positions", function()
    init.Conditional(function() return bdl.tensor{true} end, init.Normal(), init.Normal()){3}
  end)
  t.raises("ValueError", "a size is a whole number >= 0, not %-2", function() init.Normal(){-2} end)
  t.raises("KeyError", "KaimingNormal", function() return init.KaimingNormall end)
end)

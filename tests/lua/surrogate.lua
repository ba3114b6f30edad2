--- Surrogate gradients beyond the reference data: functions, transformations, precision, errors.
local bdl = require "bdl"
local t = require "tests.lua.harness"

local surrogate = bdl.surrogate

local NAMES = {
  Sigmoid = "sigmoid", PiecewiseQuadratic = "piecewise_quadratic", PiecewiseExp = "piecewise_exp", SoftSign = "soft_sign", Arctan = "arctan",
  NonzeroSignLog = "nonzero_sign_log", ERF = "erf", PiecewiseLeakyRelu = "piecewise_leaky_relu",
  SquarewaveFourierSeries = "squarewave_fourier_series", S2NN = "s2nn", QPseudoSpike = "q_pseudo_spike", LeakyRelu = "leaky_relu",
  LogTailedRelu = "log_tailed_relu", ReluGrad = "relu_grad", GaussianGrad = "gaussian_grad", InvSquareGrad = "inv_square_grad",
  MultiGaussianGrad = "multi_gaussian_grad", SlayerGrad = "slayer_grad",
}

local x = bdl.tensor{-1.3, -0.4, 0.0, 0.2, 1.7}

local function slope(f) return bdl.grad(function(v) return f(v):sum() end) end

t.test("every class has a function; both spike and have the same slope", function()
  local n = 0
  for class, name in pairs(NAMES) do
    n = n + 1
    local f = surrogate[class]()
    t.close(surrogate[name](x), {0, 0, 1, 1, 1})
    t.close(slope(surrogate[name])(x), slope(f)(x))
  end
  t.eq(n, 18)
end)

t.test("the gradient is the derivative of the smooth function", function()
  for class in pairs(NAMES) do
    local f = surrogate[class]()
    local ok, fun = pcall(f.surrogate_fun, f, x)
    if ok then
      local at = bdl.tensor{-1.3, -0.4, 0.2, 0.7}
      t.close(slope(function(v) return f:surrogate_fun(v) end)(at), f:surrogate_grad(at), 1e-5, 1e-7, class)
      t.eq(fun.shape[1], 5)
    end
  end
end)

t.test("precision and transformations keep", function()
  for class in pairs(NAMES) do
    local f = surrogate[class]()
    local half = bdl.tensor({-0.5, 0.5}, {dtype = "float32"})
    t.eq(f(half).dtype, "float32")
    t.eq(slope(f)(half).dtype, "float32")
    local want = slope(f)(x)
    t.close(bdl.jit(slope(f))(x), want, 1e-6, 1e-8, class)
    t.close(bdl.vmap(bdl.grad(function(v) return f(v) end))(x), want, 1e-6, 1e-8, class)
    local _, tangent = bdl.jvp(f, {x}, {bdl.ones(5)})
    t.close(tangent, want, 1e-6, 1e-8, class)
  end
end)

t.test("a surrogate of one's own needs only a gradient", function()
  local Tent = surrogate.Surrogate:extend "Tent"
  function Tent:surrogate_grad(v) return 0 * v + 3 end
  t.close(slope(Tent())(x), {3, 3, 3, 3, 3})
  t.raises("NotSupportedError", "no smooth function", function() Tent():surrogate_fun(x) end)
  t.raises("NotSupportedError", "defines surrogate_grad", function() slope(surrogate.Surrogate())(x) end)
end)

t.test("bad arguments are named", function()
  t.raises("ValueError", "surrogate.GaussianGrad: sigma must be a number greater than 0, not 0", function() surrogate.GaussianGrad(0) end)
  t.raises("ValueError", "surrogate.SquarewaveFourierSeries: n must be a whole number greater than 0, not 1.5",
           function() surrogate.SquarewaveFourierSeries(1.5) end)
  t.raises("TypeError", "surrogate.Sigmoid: alpha is a number, not a string", function() surrogate.Sigmoid "4" end)
  t.raises("TypeError", "alpah", function() surrogate.Sigmoid{alpah = 4} end)
  t.raises("KeyError", "sigmoid", function() return surrogate.sigmod end)
  t.raises("TypeError", "spikes come from floats", function() surrogate.Sigmoid()(bdl.tensor({1, 2}, {dtype = "int32"})) end)
end)

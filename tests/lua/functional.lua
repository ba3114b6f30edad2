-- Activations against their formulas, and shapes of those along an axis.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local F = bdl.functional

local exp, log, abs, max, min = math.exp, math.log, math.abs, math.max, math.min
local function sigmoid(x) return 1 / (1 + exp(-x)) end
local function tanh(x) return 1 - 2 / (exp(2 * x) + 1) end

local FORMULAS = {
  relu = function(x) return max(x, 0) end, relu6 = function(x) return min(max(x, 0), 6) end, sigmoid = sigmoid, tanh = tanh,
  softplus = function(x) return log(1 + exp(x)) end, silu = function(x) return x * sigmoid(x) end,
  swish = function(x) return x * sigmoid(x) end,
  elu = function(x) return x > 0 and x or exp(x) - 1 end, celu = function(x) return x > 0 and x or exp(x) - 1 end,
  selu = function(x) return 1.0507009873554805 * (x > 0 and x or 1.6732632423543772 * (exp(x) - 1)) end,
  leaky_relu = function(x) return x >= 0 and x or 0.01 * x end, prelu = function(x) return x >= 0 and x or 0.25 * x end,
  gelu = function(x) return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ^ 3))) end,
  log_sigmoid = function(x) return log(sigmoid(x)) end, soft_sign = function(x) return x / (1 + abs(x)) end,
  hard_tanh = function(x) return max(-1, min(1, x)) end, hard_sigmoid = function(x) return min(max(x + 3, 0), 6) / 6 end,
  hard_silu = function(x) return x * min(max(x + 3, 0), 6) / 6 end,
  hard_swish = function(x) return x * min(max(x + 3, 0), 6) / 6 end,
  mish = function(x) return x * tanh(log(1 + exp(x))) end, squareplus = function(x) return 0.5 * (x + math.sqrt(x * x + 4)) end,
  tanh_shrink = function(x) return x - tanh(x) end, hard_shrink = function(x) return abs(x) > 0.5 and x or 0 end,
  soft_shrink = function(x) return x > 0.5 and x - 0.5 or x < -0.5 and x + 0.5 or 0 end,
  sparse_plus = function(x) return x <= -1 and 0 or x >= 1 and x or (x + 1) ^ 2 / 4 end,
  sparse_sigmoid = function(x) return x <= -1 and 0 or x >= 1 and 1 or 0.5 * (x + 1) end,
}

local GRID = {}
for i = -20, 20 do GRID[#GRID + 1] = i * 0.35 end

t.test("activations follow their formulas, eager, compiled and as methods", function()
  local x = bdl.tensor(GRID)
  for name, f in pairs(FORMULAS) do
    local want = {}
    for i, v in ipairs(GRID) do want[i] = f(v) end
    t.close(F[name](x), want, 5e-6, 1e-6, name)
    t.close(bdl.jit(F[name])(x), want, 5e-6, 1e-6, name)
    t.close(x[name](x), want, 5e-6, 1e-6, name)
  end
end)

t.test("parameters", function()
  local x = bdl.tensor{-1.0, 2.0}
  t.close(F.leaky_relu(x, 0.2), {-0.2, 2})
  t.close(F.leaky_relu(x, {negative_slope = 0.2}), {-0.2, 2})
  t.close(F.elu(x, 2), {2 * (exp(-1) - 1), 2})
  t.close(F.celu(x, {alpha = 2}), {2 * (exp(-0.5) - 1), 2})
  t.close(F.gelu(x, {approximate = false}), {-0.15865525, 1.9544997}, 1e-5)
  t.raises("TypeError", "did you mean 'approximate'", F.gelu, x, {aproximate = true})
end)

t.test("large arguments stay finite", function()
  local x = bdl.tensor{-1e4, 1e4}
  for name in pairs(FORMULAS) do t.ok(F[name](x):isfinite():all():item(), name) end
end)

t.test("functions along an axis", function()
  local x = bdl.tensor{{1.0, 2.0, 3.0, 4.0}, {0.0, 0.0, 2.0, -2.0}}
  t.close(F.softmin(x), bdl.softmax(-x))
  t.close(F.glu(x), {{1 * sigmoid(3), 2 * sigmoid(4)}, {0, 0}}, 1e-5)
  t.close(F.standardize(x):mean{axis = -1}, {0, 0}, 0, 1e-6)
  t.close(F.standardize(x):std{axis = -1}, {1, 1}, 1e-4)
  t.raises("ShapeError", "no halves", F.glu, bdl.ones(3))
end)

t.test("one_hot puts a 1 at each label", function()
  t.eq(F.one_hot({0, 2}, 3), {{1, 0, 0}, {0, 0, 1}})
  t.eq(F.one_hot({0, 2}, 3, {axis = 1}), {{1, 0}, {0, 0}, {0, 1}})
  t.eq(F.one_hot(bdl.tensor(5), 3), {0, 0, 0})
  t.eq(F.one_hot({1}, 2, {dtype = "bool"}).dtype, "bool")
  t.raises("TypeError", "labels are integers", F.one_hot, bdl.tensor{1.0}, 3)
end)

--- Draws of the counter-based generator.  threefry_*: every array is drawn from the one key of the seed; stateful_*: draws in
--  order from the default generator after seeding.
local bdl = require "bdl"
local core = require "bdl.core"
local random = bdl.random

--- Unsigned words of the file are larger than its dtype says; comparison is of integers anyway.
local function from_one_key(case, t)
  local key, n, size = random.key(case.scalars.seed), case.scalars.n, case.params.shape
  local function compare(name, x) t.compare(name, x, case.arrays[name]) end
  compare("key", key)
  compare("split_2", random.split(key))
  compare("split_n", random.split(key, n))
  compare("fold_in_7", random.fold_in(key, 7))
  for _, width in ipairs{8, 16, 32} do compare("bits" .. width, random.bits{width = width, size = n, key = key}) end
  local halves, words = {}, core.totable(random.bits{width = 64, size = n, key = key})
  for i, w in ipairs(words) do halves[i] = {w >> 32, w & 0xffffffff} end
  compare("bits64_halves", core.tensor(halves, "int64"))
  for short, dtype in pairs{f32 = "float32", f64 = "float64"} do
    local opts = {size = size, key = key, dtype = dtype}
    compare("uniform_" .. short, random.uniform(opts))
    compare("uniform_m2p5_4_" .. short, random.uniform(-2.5, 4.0, opts))
    compare("truncated_normal_m2_2_" .. short, random.truncated_normal(-2.0, 2.0, opts))
    for _, name in ipairs{"normal", "exponential", "gumbel", "laplace", "logistic", "cauchy"} do
      compare(name .. "_" .. short, random[name](opts))
    end
  end
  compare("randint_0_10", random.randint(0, 10, {size = n, key = key, dtype = "int32"}))
  compare("randint_m5_1000", random.randint(-5, 1000, {size = n, key = key, dtype = "int32"}))
  compare("bernoulli_0p3", random.bernoulli(0.3, {size = n, key = key, dtype = "float32"}))
  compare("permutation_n", random.permutation(n, {key = key}))
  compare("choice_half_without_replacement", random.choice(n, {size = math.max(2, n // 2), replace = false, key = key}))
  local logits = core.tensor({0.0, 1.0, 2.0, 3.0, 4.0}, "float32") * 0.3
  compare("categorical_logits_0p3i", random.categorical(logits, {size = n, key = key}))
end

local function from_the_default(case, t)
  local function compare(name, x) t.compare(name, x, case.arrays[name]) end
  random.seed(case.scalars.seed)
  compare("rand_3", random.rand(3))
  compare("rand_2x2", random.rand(2, 2))
  compare("normal_4", random.normal{size = 4})
  compare("randint_5", random.randint(0, 10, {size = 5}))
  compare("split_key_3", random.split_key(3))
  compare("random_after_split", random.random(3))
end

return function(case, t)
  local draw = case.arrays.key and from_one_key or case.arrays.rand_3 and from_the_default
  if not draw then t.skip("neither draws from one key nor from the default generator") end
  draw(case, t)
end

--- ETraceConfig: a learning rule as a point on six axes.  Combinations that mean nothing cannot be made.
--
--   trace_factorization   per_param | io_factorized | random_projection
--   temporal_recursion    jacobian | scalar_leak | none; of io_factorized a pair {of x, of f}
--   recurrence_scope      diagonal | coupled | sparse_n
--   learning_signal       symmetric | random_feedback | modulatory | bootstrapped
--   trace_filter          none | kappa
--   update_schedule       per_step | window | sequence_end
--
-- decay (a number, or {x, f}), kappa, sparse_n, window_size : the coefficients of scalar_leak and io_factorized, kappa, sparse_n,
-- window.  What means the same is kept in one spelling: a leak of 0 is none, kappa 0 no filter, sparse_n 1 is coupled.
--  Example:
--    print(bdl.online.ETraceConfig{trace_filter = "kappa", kappa = 0.9})

local class = require "bdl.class"
local core = require "bdl.core"
local suggest = require "bdl.suggest"

local AXES = {
  {"trace_factorization", {"per_param", "io_factorized", "random_projection"}},
  {"temporal_recursion", {"jacobian", "scalar_leak", "none"}},
  {"recurrence_scope", {"diagonal", "coupled", "sparse_n"}},
  {"learning_signal", {"symmetric", "random_feedback", "modulatory", "bootstrapped"}},
  {"trace_filter", {"none", "kappa"}},
  {"update_schedule", {"per_step", "window", "sequence_end"}},
}
local COEFFICIENTS = {"decay", "kappa", "sparse_n", "window_size"}

local ETraceConfig = class "ETraceConfig"

local function fail(fmt, ...) core.fail("ValueError", 4, "ETraceConfig: " .. fmt, ...) end

local function check_value(axis, values, x)
  for _, v in ipairs(values) do
    if x == v then return end
  end
  fail("%s = %q; it is %s%s", axis, tostring(x), table.concat(values, ", "), suggest.hint(tostring(x), values))
end

local function check_decay(name, x)
  if type(x) ~= "number" then
    core.fail("TypeError", 4, "ETraceConfig: %s is a number in [0, 1), not a %s", name, class.typename(x))
  end
  if not (x >= 0 and x < 1) then
    core.hint "a rank n is decay (n - 1)/(n + 1); algorithms take it as decay_or_rank"
    fail("%s is in [0, 1), not %s", name, tostring(x))
  end
end

--- One side's recursion and decay in their one spelling.
local function canonical(recursion, decay, any)
  if decay == 0 and (any or recursion == "scalar_leak") then recursion = "none" end
  if recursion == "none" then
    if decay and decay ~= 0 then
      fail("temporal_recursion = 'none' keeps nothing of the trace before, so decay = %s says nothing", decay)
    end
    decay = 0
  end
  return recursion, decay
end

local function pair(x) return type(x) == "table" and {x[1], x[2]} or {x, x} end

local function canonical_factors(self, given)
  local was_pair = type(given.temporal_recursion) == "table"
  local recursion, decay = pair(self.temporal_recursion), pair(self.decay)
  if not was_pair and recursion[1] == "jacobian" then recursion[1] = "scalar_leak" end
  if recursion[1] == "jacobian" then
    fail "temporal_recursion: the trace of inputs has no Jacobian; write {'scalar_leak', 'jacobian'}"
  end
  for k, side in ipairs{"x", "f"} do
    if decay[k] == nil then
      fail("trace_factorization = 'io_factorized' needs decay, a number or {x, f}; that of %s lacks", side)
    end
    check_decay("decay of " .. side, decay[k])
    recursion[k], decay[k] = canonical(recursion[k], decay[k], true)
  end
  self.temporal_recursion, self.decay = recursion, decay
end

local function canonical_single(self)
  if type(self.temporal_recursion) == "table" or type(self.decay) == "table" then
    fail("pairs are of trace_factorization = 'io_factorized'; '%s' has one trace", self.trace_factorization)
  end
  if self.decay then check_decay("decay", self.decay) end
  self.temporal_recursion, self.decay = canonical(self.temporal_recursion, self.decay)
  if self.temporal_recursion == "jacobian" and self.decay then
    fail("temporal_recursion = 'jacobian' has no decay; decay = %s belongs to 'scalar_leak'", self.decay)
  end
  if self.temporal_recursion == "scalar_leak" and not self.decay then fail "temporal_recursion = 'scalar_leak' needs decay" end
end

local function check_count(name, n)
  if n == nil then return end
  if math.type(n) ~= "integer" then
    core.fail("TypeError", 4, "ETraceConfig: %s is a whole number from 1, not %s", name, tostring(n))
  end
  if n < 1 then fail("%s is a whole number from 1, not %d", name, n) end
end

--- Which coefficient belongs to which choice.
local OWNERS = {
  {"kappa", "trace_filter", "kappa"}, {"sparse_n", "recurrence_scope", "sparse_n"}, {"window_size", "update_schedule", "window"},
}

local function check(self)
  local factors = self.trace_factorization
  for _, o in ipairs(OWNERS) do
    local coefficient, axis, choice = table.unpack(o)
    if self[coefficient] ~= nil and self[axis] ~= choice then
      fail("%s = %s is set, but %s is '%s'", coefficient, tostring(self[coefficient]), axis, self[axis])
    end
    if self[coefficient] == nil and self[axis] == choice then fail("%s = '%s' needs %s", axis, choice, coefficient) end
  end
  if self.kappa then check_decay("kappa", self.kappa) end
  if self.trace_filter == "kappa" and factors ~= "per_param" then
    fail("trace_filter = 'kappa' is of trace_factorization = 'per_param': the sum of traces is no product of factors")
  end
  local uses = factors == "io_factorized" and self.temporal_recursion[2] or self.temporal_recursion
  if self.recurrence_scope ~= "diagonal" and uses ~= "jacobian" then
    fail("recurrence_scope = '%s' says what enters the Jacobian, but temporal_recursion is '%s'", self.recurrence_scope, uses)
  end
  if factors == "random_projection" and self.recurrence_scope ~= "coupled" then
    fail "trace_factorization = 'random_projection' (UORO) carries the whole Jacobian: recurrence_scope = 'coupled'"
  end
  if self.recurrence_scope == "sparse_n" and factors ~= "per_param" then
    fail "recurrence_scope = 'sparse_n' is of trace_factorization = 'per_param'"
  end
end

function ETraceConfig:__init(given)
  given = given or {}
  local known = table.move(COEFFICIENTS, 1, #COEFFICIENTS, 1, {})
  for _, axis in ipairs(AXES) do known[#known + 1] = axis[1] end
  require "bdl.augment.trace".check_options("ETraceConfig", given, known)
  for _, axis in ipairs(AXES) do
    local name, values = axis[1], axis[2]
    self[name] = given[name] == nil and values[1] or given[name]
    local pair_of = name == "temporal_recursion" and type(self[name]) == "table" and self[name]
    for _, x in ipairs(pair_of or {self[name]}) do check_value(name, values, x) end
  end
  for _, name in ipairs(COEFFICIENTS) do self[name] = given[name] end
  check_count("sparse_n", self.sparse_n)
  check_count("window_size", self.window_size)
  if self.sparse_n == 1 and self.recurrence_scope == "sparse_n" then self.recurrence_scope, self.sparse_n = "coupled", nil end
  if self.trace_filter == "kappa" and self.kappa == 0 then self.trace_filter, self.kappa = "none", nil end
  if self.trace_factorization == "io_factorized" then canonical_factors(self, given) else canonical_single(self) end
  check(self)
end

return {ETraceConfig = class.qualify({ETraceConfig = ETraceConfig}, "online").ETraceConfig}

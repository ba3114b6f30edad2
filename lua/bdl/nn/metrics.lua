--- Metrics that are gathered over batches:  m:update{logits = .., labels = ..},  m:compute(),  m:reset().  What they
--  count are States, so they work in compiled functions.  labels, predictions : classes, integers from 0.
local core = require "bdl.core"
local array = require "bdl.array"
local args = require "bdl.args"
local class = require "bdl.class"
local debug_ = require "bdl.debug"
local graph = require "bdl.graph"
local state = require "bdl.state"
local none = require "bdl.none".none

local M = {}

local function bind(prim, ...) return core.bind(prim, {}, ...) end
local function tensor(x) return core.is_tensor(x) and x or core.tensor(x) end
local function zeros(shape, dtype) return core.bind("broadcast", {shape = shape, dims = {}}, core.tensor(0, dtype)) end
local function total(x) return array.sum(core.cast(x, "int32")) end

--- What a metric keeps: a LongTermState, 0 after reset.
--  Example:
--    local m = bdl.nn.AverageMetric()
--    print(m:states(bdl.nn.MetricState))
local MetricState = state.LongTermState:extend "MetricState"
M.MetricState = MetricState

--- What metrics share: subclasses define reset, update(named values), compute.  Metrics that get more names than they
--  know leave them.
--  Example:
--    local Most = bdl.nn.Metric:extend "Most"
--    function Most:reset() self.most = bdl.nn.MetricState(bdl.tensor(0.)) end
--    function Most:update(values) self.most.value = bdl.maximum(self.most.value, values.values:max()) end
--    function Most:compute() return self.most.value end
local Metric = graph.Node:extend "Metric"
M.Metric = Metric

for _, method in ipairs{"reset", "update", "compute"} do
  Metric[method] = function(self)
    core.fail("NotImplementedError", 2, "%s: a metric defines %s(self%s)", class.typename(self), method,
              method == "update" and ", values" or "")
  end
end

--- States by name -> shape and dtype, all 0.
local function count(self, fields)
  class.rawfield(self, "_fields", fields)
  for _, f in ipairs(fields) do self[f[1]] = MetricState(zeros(f[2], f[3])) end
end

local function cleared(self)
  for _, f in ipairs(self._fields) do self[f[1]].value = zeros(f[2], f[3]) end
end

--- The named value.  Errors: TypeError, it is missing.
local function given(self, values, name)
  if type(values) ~= "table" or getmetatable(values) ~= nil or values[name] == nil then
    core.fail("TypeError", 3, "%s: update{%s = ..} is missing its '%s'", class.qualified_name(class.of(self)), name,
              name)
  end
  return tensor(values[name])
end

local function add(s, x) s.value = s.value + core.cast(x, s.value.dtype) end

-- ---- means ----------------------------------------------------------------------------------------------------------

--- The mean of all numbers of all updates, total / count:  m:update{values = losses}.
--  argname : the name in update
--  States: total, count.  Source: the arithmetic mean
--  Example:
--    local m = bdl.nn.AverageMetric()
--    m:update{values = bdl.tensor{1., 2., 6.}}
--    print(m:compute())
local AverageMetric = Metric:extend "AverageMetric"
M.AverageMetric = AverageMetric

function AverageMetric:__init(...)
  self.argname = args({"argname", argname = "values"}, ...).argname
  count(self, {{"total", {}, "float32"}, {"count", {}, "int32"}})
end

AverageMetric.reset = cleared

local function average(self, x)
  add(self.total, array.sum(core.cast(core.mantissa(x), "float32")))
  add(self.count, core.tensor(x.size, "int32"))
end

function AverageMetric:update(values) average(self, given(self, values, self.argname)) end
function AverageMetric:compute() return self.total.value / self.count.value end

--- Mean, standard deviation and its error over all numbers, stable for large means:  compute() gives {mean =,
--  standard_deviation =, standard_error_of_mean =}.
--  argname : the name in update
--  States: count, mean, m2.  Source: Welford (1962), Technometrics 4; Chan, Golub & LeVeque (1983) for batches.
--  Example:
--    local m = bdl.nn.WelfordMetric()
--    m:update{values = bdl.tensor{1., 2., 6.}}
--    print(m:compute().standard_deviation)
local WelfordMetric = Metric:extend "WelfordMetric"
M.WelfordMetric = WelfordMetric

function WelfordMetric:__init(...)
  self.argname = args({"argname", argname = "values"}, ...).argname
  count(self, {{"count", {}, "int32"}, {"mean", {}, "float32"}, {"m2", {}, "float32"}})
end

WelfordMetric.reset = cleared

function WelfordMetric:update(values)
  local x = core.cast(core.mantissa(given(self, values, self.argname)), "float32")
  local n, before = x.size, core.cast(self.count.value, "float32")
  if n == 0 then return end
  add(self.count, core.tensor(n, "int32"))
  local after = core.cast(self.count.value, "float32")
  local delta = array.mean(x) - self.mean.value
  add(self.mean, delta * n / after)
  add(self.m2, array.var(x) * n + delta * delta * n * before / after)
end

function WelfordMetric:compute()
  local n = core.cast(self.count.value, "float32")
  local deviation = array.sqrt(self.m2.value / n)
  return {mean = self.mean.value, standard_deviation = deviation, standard_error_of_mean = deviation / array.sqrt(n)}
end

-- ---- classes --------------------------------------------------------------------------------------------------------

--- Errors: TypeError, no integers.
local function integers(self, name, x)
  if not x.dtype:find "int" then
    core.fail("TypeError", 3, "%s: %s are classes, integers from 0, not %s", class.qualified_name(class.of(self)), name,
              x.dtype)
  end
  return core.cast(x, "int32")
end

--- The part of samples whose largest logit is that of the label:  update{logits = [.., n], labels = [..]}.
--  States: total, count.  Source: Kohavi & Provost (1998), Glossary of terms, Machine Learning 30:271
--  Example:
--    local m = bdl.nn.AccuracyMetric()
--    m:update{logits = bdl.tensor{{0., 1.}, {2., 1.}}, labels = bdl.tensor{1, 1}}
--    print(m:compute())
local AccuracyMetric = AverageMetric:extend "AccuracyMetric"
M.AccuracyMetric = AccuracyMetric

function AccuracyMetric:update(values)
  local logits, labels = given(self, values, "logits"), given(self, values, "labels")
  if logits.ndim ~= labels.ndim + 1 then
    core.fail("ShapeError", 2, "nn.AccuracyMetric: logits of %d axes need labels of one less, not %d", logits.ndim,
              labels.ndim)
  end
  average(self, bind("eq", array.argmax(logits, {axis = -1}), integers(self, "labels", labels)))
end

--- Flat predictions and labels.  Errors: ShapeError, other numbers of them.
local function pairs_of(self, values)
  local p, y = integers(self, "predictions", given(self, values, "predictions")),
    integers(self, "labels", given(self, values, "labels"))
  if p.size ~= y.size then
    core.fail("ShapeError", 3, "%s: %d predictions and %d labels", class.qualified_name(class.of(self)), p.size, y.size)
  end
  return core.bind("reshape", {shape = {p.size}}, p), core.bind("reshape", {shape = {y.size}}, y)
end

--- [m, n]: whether each of m classes is that of a sample.
local function is_class(x, n)
  local row = core.bind("broadcast", {shape = {x.size, n}, dims = {0}}, x)
  return core.cast(bind("eq", row, core.bind("iota", {shape = {x.size, n}, axis = 1, dtype = "int32"})), "int32")
end

local function column_sums(x) return core.bind("reduce_sum", {axes = {0}}, x) end

--- a / b, 0 where b is 0.
local function ratio(a, b)
  local float = core.cast(b, "float32")
  local some = bind("gt", float, 0.0)
  return bind("select", some, core.cast(a, "float32") / bind("select", some, float, 1.0), 0.0)
end

local AVERAGES = {micro = true, macro = true, weighted = true}

--- What precision, recall and F1 count: num_classes (nil: two classes, 1 is positive), average = "macro", "micro" or
--  "weighted".
local Counted = Metric:extend "Counted"

function Counted:__init(...)
  local a = args({"num_classes", "average", num_classes = none, average = "macro"}, ...)
  if not AVERAGES[a.average] then
    core.fail("ValueError", 2, "%s: average is 'micro', 'macro' or 'weighted', not '%s'",
              class.qualified_name(class.of(self)), tostring(a.average))
  end
  if a.num_classes ~= nil and not (math.type(a.num_classes) == "integer" and a.num_classes > 0) then
    core.fail("ValueError", 2, "%s: num_classes is a whole number > 0, not %s", class.qualified_name(class.of(self)),
              tostring(a.num_classes))
  end
  self.num_classes = a.num_classes
  self.average = a.average
  local shape = {a.num_classes}
  count(self, {{"true_positives", shape, "int32"}, {"false_positives", shape, "int32"},
               {"false_negatives", shape, "int32"}})
end

Counted.reset = cleared

--- update{predictions = [..], labels = [..]}
function Counted:update(values)
  local p, y = pairs_of(self, values)
  if not self.num_classes then
    local yes, is = bind("eq", p, 1), bind("eq", y, 1)
    add(self.true_positives, total(bind("and", yes, is)))
    add(self.false_positives, total(bind("and", yes, bind("eq", y, 0))))
    add(self.false_negatives, total(bind("and", bind("eq", p, 0), is)))
    return
  end
  local yes, is = is_class(p, self.num_classes), is_class(y, self.num_classes)
  local both = column_sums(yes * is)
  add(self.true_positives, both)
  add(self.false_positives, column_sums(yes) - both)
  add(self.false_negatives, column_sums(is) - both)
end

--- f of the counts, averaged over classes.
local function averaged(self, f)
  local tp, fp, fn = self.true_positives.value, self.false_positives.value, self.false_negatives.value
  if self.num_classes and self.average == "micro" then return f(total(tp), total(fp), total(fn)) end
  local each = f(tp, fp, fn)
  if not self.num_classes then return each end
  if self.average == "macro" then return array.mean(each) end
  local support = tp + fn
  return ratio(array.sum(each * core.cast(support, "float32")), total(support))
end

local function precision(tp, fp) return ratio(tp, tp + fp) end
local function recall(tp, _, fn) return ratio(tp, tp + fn) end

--- The class that computes f of the counts.
local function counted(name, f)
  M[name] = Counted:extend(name)
  M[name].compute = function(self) return averaged(self, f) end
end

--- PrecisionMetric: of what was predicted as a class, the part that is it:  p = tp / (tp + fp);  update{predictions =
--  [..], labels = [..]}.
--  num_classes : absent: two classes, 1 is positive
--  average : over classes: "macro" the mean, "weighted" by how many there are, "micro" all samples together
--  States: true_positives, false_positives, false_negatives.  Source: van Rijsbergen (1979), Information Retrieval
--  Example:
--    local m = bdl.nn.PrecisionMetric()
--    m:update{predictions = bdl.tensor{1, 1, 0}, labels = bdl.tensor{1, 0, 0}}
--    print(m:compute())
counted("PrecisionMetric", precision)

--- RecallMetric: of what is of a class, the part that was predicted as it:  r = tp / (tp + fn).  As PrecisionMetric.
--  num_classes : absent: two classes, 1 is positive
--  average : "macro", "weighted" or "micro"
--  States: true_positives, false_positives, false_negatives.  Source: van Rijsbergen (1979), Information Retrieval
--  Example:
--    local m = bdl.nn.RecallMetric(3)
--    m:update{predictions = bdl.tensor{1, 2, 0}, labels = bdl.tensor{1, 0, 0}}
--    print(m:compute())
counted("RecallMetric", recall)

--- F1ScoreMetric: the harmonic mean of precision p and recall r:  F1 = 2 p r / (p + r).  As PrecisionMetric.
--  num_classes : absent: two classes, 1 is positive
--  average : "macro", "weighted" or "micro"
--  States: true_positives, false_positives, false_negatives.  Source: van Rijsbergen (1979), Information Retrieval
--  Example:
--    local m = bdl.nn.F1ScoreMetric{3, average = "micro"}
--    m:update{predictions = bdl.tensor{1, 2, 0}, labels = bdl.tensor{1, 0, 0}}
--    print(m:compute())
counted("F1ScoreMetric", function(tp, fp, fn)
  local p, r = precision(tp, fp), recall(tp, fp, fn)
  return ratio(2 * p * r, p + r)
end)

--- How often each class was predicted for each:  matrix[label, prediction] += 1;  update{predictions = [..], labels =
--  [..]}.
--  num_classes : n; the result is int32[n, n]
--  States: matrix.  Errors: ValueError, a class is not in 0..num_classes - 1.
--  Source: Kohavi & Provost (1998), Glossary of terms, Machine Learning 30:271
--  Example:
--    local m = bdl.nn.ConfusionMatrix(2)
--    m:update{predictions = bdl.tensor{1, 1, 0}, labels = bdl.tensor{1, 0, 0}}
--    print(m:compute())
local ConfusionMatrix = Metric:extend "ConfusionMatrix"
M.ConfusionMatrix = ConfusionMatrix

function ConfusionMatrix:__init(...)
  local n = args({"num_classes"}, ...).num_classes
  if not (math.type(n) == "integer" and n > 0) then
    core.fail("ValueError", 2, "nn.ConfusionMatrix: num_classes is a whole number > 0, not %s", tostring(n))
  end
  self.num_classes = n
  count(self, {{"matrix", {n, n}, "int32"}})
end

ConfusionMatrix.reset = cleared

function ConfusionMatrix:update(values)
  local p, y = pairs_of(self, values)
  local n = self.num_classes
  for what, x in pairs{predictions = p, labels = y} do
    debug_.error_if(array.any(bind("or", bind("lt", x, 0), bind("ge", x, n))),
                    ("nn.ConfusionMatrix: %s lie outside of 0 to %d"):format(what, n - 1))
  end
  add(self.matrix, core.bind("dot", {lhs_contract = {0}, rhs_contract = {0}, lhs_batch = {}, rhs_batch = {}},
                             is_class(y, n), is_class(p, n)))
end

function ConfusionMatrix:compute() return self.matrix.value end

-- ---- several --------------------------------------------------------------------------------------------------------

--- Metrics by name, updated together; compute() gives a table by name.
--  Example:
--    local m = bdl.nn.MultiMetric{accuracy = bdl.nn.AccuracyMetric(), loss = bdl.nn.AverageMetric "loss"}
--    m:update{logits = bdl.tensor{{0., 1.}}, labels = bdl.tensor{1}, loss = bdl.tensor{0.5}}
--    print(m:compute().accuracy)
local MultiMetric = Metric:extend "MultiMetric"
M.MultiMetric = MultiMetric

function MultiMetric:__init(metrics)
  if type(metrics) ~= "table" or getmetatable(metrics) ~= nil then
    core.fail("TypeError", 2, "nn.MultiMetric: a table of metrics by name is needed, not a %s", class.typename(metrics))
  end
  local names = require "bdl.util".sorted_keys(metrics)
  class.rawfield(self, "_names", names)
  for _, name in ipairs(names) do
    if type(name) ~= "string" or Metric[name] ~= nil then
      core.fail("ValueError", 2, "nn.MultiMetric: '%s' cannot be the name of a metric", tostring(name))
    elseif not class.isa(metrics[name], Metric) then
      core.fail("TypeError", 2, "nn.MultiMetric: '%s' is a %s, not a metric", name, class.typename(metrics[name]))
    end
    self[name] = metrics[name]
  end
end

function MultiMetric:reset()
  for _, name in ipairs(self._names) do self[name]:reset() end
end

function MultiMetric:update(values)
  for _, name in ipairs(self._names) do self[name]:update(values) end
end

function MultiMetric:compute()
  local all = {}
  for _, name in ipairs(self._names) do all[name] = self[name]:compute() end
  return all
end

return M

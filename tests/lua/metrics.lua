--- Metrics gathered over batches: numbers of brainstate 0.5.4; in compiled functions; bad input.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn = bdl.nn

local function int(list) return bdl.tensor(list, {dtype = "int32"}) end

local BATCHES = {
  {predictions = int{0, 1, 2, 2, 1, 0, 3}, labels = int{0, 2, 2, 2, 1, 1, 0}},
  {predictions = int{1, 1, 3, 0}, labels = int{1, 0, 3, 3}},
}

t.test("precision, recall and F1 of five classes, one of them absent, and of two", function()
  for average, want in pairs{
    macro = {0.466666698, 0.433333367, 0.44095239}, micro = {0.545454562, 0.545454562, 0.545454562},
    weighted = {0.590909064, 0.545454562, 0.555844128},
  } do
    for i, name in ipairs{"PrecisionMetric", "RecallMetric", "F1ScoreMetric"} do
      local m = nn[name](5, average)
      local update = bdl.jit(function(batch) m:update(batch) end)
      for _, batch in ipairs(BATCHES) do update(batch) end
      t.close(m:compute():item(), want[i], 1e-6, 0, average .. name)
      m:reset()
      t.eq(m:compute():item(), 0.0)
    end
  end
  for _, name in ipairs{"PrecisionMetric", "RecallMetric", "F1ScoreMetric"} do
    local m = nn[name]()
    m:update{predictions = int{1, 0, 1, 1, 0}, labels = int{1, 1, 0, 1, 0}}
    t.close(m:compute():item(), 2/3, 1e-6)
  end
end)

t.test("confusion matrix, averages, accuracy", function()
  local m = nn.ConfusionMatrix(4)
  for _, batch in ipairs(BATCHES) do m:update(batch) end
  t.eq(m:compute(), {{1, 1, 0, 1}, {1, 2, 0, 0}, {0, 1, 2, 0}, {1, 0, 0, 1}})
  t.raises("ValueError", "labels lie outside of 0 to 3", m.update, m, {predictions = int{0}, labels = int{4}})
  local compiled = bdl.jit(function(p, y) m:update{predictions = p, labels = y} end)
  t.raises("ValueError", "predictions lie outside of 0 to 3", compiled, int{-1}, int{0})
  t.eq(m:compute():sum():item(), 11)
  local a = nn.AverageMetric()
  a:update{values = int{1, 2, 3, 4}}
  a:update{values = bdl.tensor{3.0, 2.0, 1.0, 0.0}}
  t.eq(a:compute():item(), 2.0)
  a:reset()
  a:update{values = 5, other = 1}
  t.eq(a:compute():item(), 5.0)
  local w = nn.WelfordMetric()
  w:update{values = bdl.tensor{1.0, 2.0, 4.0}}
  w:update{values = 10.0}
  w:update{values = bdl.tensor{{0.5}, {3.0}}}
  local s = w:compute()
  t.close({s.mean:item(), s.standard_deviation:item(), s.standard_error_of_mean:item()}, {3.41666675, 3.16776299, 1.29323375}, 1e-6)
  local far = nn.WelfordMetric()
  for k = 0, 9 do far:update{values = bdl.tensor{1e4 + k % 2, 1e4 + k % 2}} end
  t.close(far:compute().standard_deviation:item(), 0.5, 1e-3)
end)

t.test("several metrics together, their States, their prints", function()
  local all = nn.MultiMetric{accuracy = nn.AccuracyMetric(), loss = nn.AverageMetric "loss"}
  bdl.for_loop(function(logits, labels)
    all:update{logits = logits, labels = labels, loss = bdl.metric.softmax_cross_entropy_with_integer_labels(logits, labels)}
  end, bdl.tensor{{{1.0, 0.0}, {0.0, 3.0}}, {{0.0, 1.0}, {2.0, 0.0}}}, int{{0, 1}, {0, 0}})
  local r = all:compute()
  t.eq(r.accuracy:item(), 0.75)
  t.close(r.loss:item(), (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3)) + math.log(1 + math.exp(1)) + math.log(1 + math.exp(-2))) / 4, 1e-6)
  t.eq(#bdl.graph.states(all), 4)
  t.eq(bdl.graph.states(all, nn.MetricState):keys()(), "accuracy.count")
  all:reset()
  t.eq(all.accuracy.count.value:item(), 0)
end)

t.test("bad metrics", function()
  t.raises("TypeError", "nn.AverageMetric: update{loss = ..} is missing its 'loss'", function() nn.AverageMetric "loss":update{values = 1} end)
  t.raises("ShapeError", "logits of 1 axes", function() nn.AccuracyMetric():update{logits = bdl.ones(2), labels = int{1, 0}} end)
  t.raises("TypeError", "labels are classes, integers from 0, not float32", function() nn.AccuracyMetric():update{logits = bdl.ones(2, 2), labels = bdl.ones(2)} end)
  t.raises("ShapeError", "2 predictions and 1 labels", function() nn.RecallMetric():update{predictions = int{1, 0}, labels = int{1}} end)
  t.raises("ValueError", "average is 'micro', 'macro' or 'weighted', not 'mean'", nn.F1ScoreMetric, 3, "mean")
  t.raises("ValueError", "num_classes", nn.ConfusionMatrix, 0)
  t.raises("TypeError", "'a' is a number, not a metric", nn.MultiMetric, {a = 1})
  t.raises("ValueError", "'update' cannot be the name", nn.MultiMetric, {update = nn.AverageMetric()})
  t.raises("NotImplementedError", "a metric defines compute", function() nn.Metric():compute() end)
end)

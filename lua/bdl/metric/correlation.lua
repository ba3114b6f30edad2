--- Correlations of activity.  Time comes first: [T, n].
local core = require "bdl.core"
local A = require "bdl.array"
local base = require "bdl.array.base"
local operand = require "bdl.metric.operand"

local M = {}

local plain = operand.plain

--- 1 below the diagonal of [n, n], else 0.
local function below(n, dtype)
  return core.cast(core.bind("gt", base.NONE, base.iota({n, n}, 0), base.iota({n, n}, 1)), dtype)
end

--- x / y, or `other` where y is 0, without a derivative of NaN there.
local function ratio(x, y, other)
  local zero = A.eq(y, 0)
  return A.where(zero, other, x / A.where(zero, 1.0, y))
end

--- Mean coherence kappa of all pairs of neurons: spikes that share a bin, over the geometric mean of the numbers of bins with spikes.
--  bin: a time.  Options: dt.
--  Source: Wang & Buzsaki (1996), Gamma oscillation by synaptic inhibition in a hippocampal interneuronal network model.
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.cross_correlation(spikes, 5*bdl.units.ms, {dt = 1*bdl.units.ms}))
function M.cross_correlation(spikes, bin, opts)
  opts = base.options("cross_correlation", opts, base.names "dt")
  local steps = math.floor(operand.ratio(bin, operand.dt(opts)) + 0.5)
  if steps < 1 then core.fail("ValueError", 2, "metric.cross_correlation: the bin %s is shorter than dt", tostring(bin)) end
  spikes = plain("cross_correlation", "spikes", spikes, 2)
  local T, n = spikes.shape[1], spikes.shape[2]
  local bins = (T + steps - 1) // steps
  spikes = A.pad(spikes, {{0, bins * steps - T}, {0, 0}})
  local some = core.cast(A.gt(A.sum(A.reshape(spikes, {bins, steps, n}), {axis = 2}), 0), spikes.dtype)
  if n < 2 then return A.sum(some) * 0 end
  local counts = A.sum(some, {axis = 1})
  local norm = A.sqrt(A.outer(counts, counts))
  return A.sum(ratio(A.matmul(A.transpose(some), some), norm, 0.0) * below(n, some.dtype)) / (n * (n - 1) / 2)
end

--- Variance of the mean potential over the mean of the variances: 1 for full synchrony, 1/n without any.
--  Source: Golomb & Rinzel (1993), Dynamics of globally coupled inhibitory neurons with heterogeneity.
--  Example:
--    local x = bdl.random.randn(200, 3)
--    print(bdl.metric.voltage_fluctuation(x))
function M.voltage_fluctuation(potentials)
  potentials = plain("voltage_fluctuation", "potentials", potentials, 2)
  return ratio(A.var(A.mean(potentials, {axis = 2})), A.mean(A.var(potentials, {axis = 1})), 1.0)
end

--- Rows of x less their mean, over their length; a row without variance becomes 0.
local function unit_rows(x)
  local centred = x - A.mean(x, {axis = -1, keepdims = true})
  local square = A.sum(centred * centred, {axis = -1, keepdims = true})
  local zero = A.eq(square, 0)
  return A.where(zero, 0.0, centred / A.sqrt(A.where(zero, 1.0, square)))
end

--- Correlations of all pairs of rows, within -1..1, 1 on the diagonal: [.., n, T] -> [.., n, n].
local function correlations(x)
  local z = unit_rows(x)
  local r = A.clip(A.matmul(z, A.swapaxes(z, -1, -2)), -1.0, 1.0)
  local n = x.shape[-2]
  return A.where(core.bind("eq", base.NONE, base.iota({n, n}, 0), base.iota({n, n}, 1)), 1.0, r)
end

--- Flat indices of what is above the diagonal of [n, m].
local function above(n, m)
  local list = {}
  for i = 0, n - 1 do
    for j = i + 1, m - 1 do list[#list + 1] = i * m + j end
  end
  return core.tensor(list, "int32")
end

--- Correlation of two matrices of one shape over what is above their diagonals; 0 without variance.
--  Example:
--    print(bdl.metric.matrix_correlation(bdl.random.randn(3, 3), bdl.random.randn(3, 3)))
function M.matrix_correlation(x, y)
  x, y = plain("matrix_correlation", "matrices", x, 2), plain("matrix_correlation", "matrices", y, 2)
  operand.same_shape("matrix_correlation", x, y)
  local function vector(m) return A.take(A.reshape(m, {-1}), above(m.shape[1], m.shape[2])) end
  return A.sum(unit_rows(vector(x)) * unit_rows(vector(y)))
end

--- Correlation matrix of signals [T, n] -> [n, n]; 0 without variance, 1 on the diagonal.
--  Example:
--    local x = bdl.random.randn(200, 3)
--    print(bdl.metric.functional_connectivity(x))
function M.functional_connectivity(activities)
  return correlations(A.transpose(plain("functional_connectivity", "activities", activities, 2)))
end

--- Correlations between the functional connectivities of all pairs of windows: [windows, windows].
--  Options: window_size (30 steps), step_size (5).
--  Source: Hansen et al. (2015), Functional connectivity dynamics: modeling the switching behavior of the resting state.
--  Example:
--    local x = bdl.random.randn(200, 3)
--    print(bdl.metric.functional_connectivity_dynamics(x).shape)
function M.functional_connectivity_dynamics(activities, opts)
  opts = base.options("functional_connectivity_dynamics", opts, base.names "window_size step_size")
  local width, step = opts.window_size or 30, opts.step_size or 5
  activities = plain("functional_connectivity_dynamics", "activities", activities, 2)
  local T, n = activities.shape[1], activities.shape[2]
  if width < 2 or step < 1 then
    core.fail("ValueError", 2, "metric.functional_connectivity_dynamics: a window of %d in steps of %d", width, step)
  end
  if n < 2 then
    core.fail("ValueError", 2, "metric.functional_connectivity_dynamics: two signals are needed at least, not %d", n)
  end
  if T < width then return A.zeros(0, 0) end
  local windows = (T - width) // step + 1
  local parts = A.swapaxes(operand.windows(activities, windows, width, step), -1, -2)
  return correlations(A.take(A.reshape(correlations(parts), {windows, n * n}), above(n, n), {axis = 2}))
end

--- Correlation of x and y with weights w, [T] each, within -1..1; 0 without variance.
--  Example:
--    local w = bdl.tensor{1., 1., 2.}
--    print(bdl.metric.weighted_correlation(bdl.tensor{1., 2., 4.}, bdl.tensor{2., 1., 5.}, w))
function M.weighted_correlation(x, y, w)
  local who = "weighted_correlation"
  x, y, w = plain(who, "values", x, 1), plain(who, "values", y, 1), plain(who, "weights", w, 1)
  operand.same_shape(who, x, y)
  operand.same_shape(who, x, w)
  local function mean(z) return ratio(A.sum(z * w), A.sum(w), 0.0) end
  local function covariance(a, b) return mean((a - mean(a)) * (b - mean(b))) end
  return A.clip(ratio(covariance(x, y), A.sqrt(covariance(x, x) * covariance(y, y)), 0.0), -1.0, 1.0)
end

return M

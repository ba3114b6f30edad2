--- Measures of spike trains.  spikes : [T, n], an entry > 0 is a spike.  Options: dt (that of the environ).
--  Where spikes are taken one by one they must be known; the result is then a number of Lua.
local core = require "bdl.core"
local A = require "bdl.array"
local base = require "bdl.array.base"
local operand = require "bdl.metric.operand"
local units = require "bdl.units"

local M = {}

local DT = base.names "dt"

--- Indices of neurons and times of all spikes, for a raster plot.  times : [T].
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.raster_plot(spikes, bdl.arange(200)*bdl.units.ms))
function M.raster_plot(sp_matrix, times)
  local rows, columns = A.nonzero(A.gt(operand.plain("raster_plot", "spikes", sp_matrix, 2), 0))
  return columns, A.take(times, rows)
end

--- Mean rate of all neurons in Hz around each step, in windows of the odd number of steps next to width.  [T]
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.firing_rate(spikes, 10*bdl.units.ms, {dt = 1*bdl.units.ms}))
function M.firing_rate(spikes, width, opts)
  opts = base.options("firing_rate", opts, DT)
  local dt = operand.dt(opts)
  spikes = operand.plain("firing_rate", "spikes", spikes, 2)
  local half = math.tointeger(operand.ratio(width, dt) // 2)
  local n = 2 * half + 1
  local hertz = 1 / (n * dt)
  if core.unit_of(hertz) then hertz = core.mantissa(core.convert(hertz, units.Hz)) end
  local rate = A.reshape(A.mean(spikes, {axis = 2}), {1, -1, 1})
  local window = core.cast(A.ones(n, 1, 1), rate.dtype) * hertz
  local slide = {strides = {1}, pad_lo = {half}, pad_hi = {half}, lhs_dilation = {1}, rhs_dilation = {1}, groups = 1}
  return A.reshape(core.bind("conv", slide, rate, window), {-1})
end

-- ---- distances of two trains -------------------------------------------------------------------------------------------------

--- A list of the times, as numbers in `unit`.
local function times_of(who, t, unit)
  if type(t) == "table" and #t == 0 then return {} end
  t = base.tensor(t)
  base.need_concrete("metric." .. who, t, "spikes are taken one by one", "return them from the traced function first")
  if unit and core.unit_of(t) then t = core.convert(t, unit) end
  return core.totable(core.mantissa(base.float(t)))
end

local function unit_of(...)
  for i = 1, select("#", ...) do
    local unit = core.unit_of((select(i, ...)))
    if unit then return unit end
  end
end

--- Least cost of turning one train into the other: 1 for each spike taken or put, cost_factor for moving one by a unit of time.
--  Options: cost_factor (1.0, or a rate).  Source: Victor & Purpura (1996), Nature and precision of temporal coding in visual cortex.
--  Example:
--    print(bdl.metric.victor_purpura_distance(bdl.tensor{1., 5.}, bdl.tensor{1.5, 4.}, {cost_factor = 0.5}))
function M.victor_purpura_distance(spike_times_1, spike_times_2, opts)
  opts = base.options("victor_purpura_distance", opts, base.names "cost_factor")
  local unit, q = unit_of(spike_times_1, spike_times_2), opts.cost_factor or 1.0
  local a, b = times_of("victor_purpura_distance", spike_times_1, unit), times_of("victor_purpura_distance", spike_times_2, unit)
  if core.unit_of(q) then q = core.mantissa(core.convert(q, unit and 1 / unit or nil)) end
  if core.is_tensor(q) then q = core.item(q) end
  if not (q >= 0) then
    core.fail("ValueError", 2, "metric.victor_purpura_distance: cost_factor is >= 0, not %s", tostring(opts.cost_factor))
  end
  local before = {}
  for j = 0, #b do before[j] = j end
  for i = 1, #a do
    local now = {[0] = i}
    for j = 1, #b do
      now[j] = math.min(before[j - 1] + q * math.abs(a[i] - b[j]), before[j] + 1, now[j - 1] + 1)
    end
    before = now
  end
  return before[#b] + 0.0
end

--- Root of the integral of the squared difference of the trains, each filtered by e^(-t/tau)/tau; on a grid of tau / 20 up to t_max.
--  Options: tau (1.0), t_max (5 tau after the last spike).  Source: van Rossum (2001), A novel spike distance.
--  Example:
--    print(bdl.metric.van_rossum_distance(bdl.tensor{1., 5.}, bdl.tensor{1.5, 4.}, {tau = 2.0}))
function M.van_rossum_distance(spike_times_1, spike_times_2, opts)
  opts = base.options("van_rossum_distance", opts, base.names "tau t_max")
  local unit = unit_of(spike_times_1, spike_times_2, opts.tau, opts.t_max)
  local function number(t)
    if t ~= nil and core.unit_of(t) then t = core.mantissa(core.convert(t, unit)) end
    return core.is_tensor(t) and core.item(t) or t
  end
  local a, b = times_of("van_rossum_distance", spike_times_1, unit), times_of("van_rossum_distance", spike_times_2, unit)
  if #a + #b == 0 and opts.t_max == nil then return 0.0 end
  local tau, t_max = number(opts.tau) or 1.0, number(opts.t_max)
  if not (tau > 0) then core.fail("ValueError", 2, "metric.van_rossum_distance: tau is positive, not %g", tau) end
  if not t_max then
    t_max = -math.huge
    for _, list in ipairs{a, b} do
      for _, t in ipairs(list) do t_max = math.max(t_max, t) end
    end
    t_max = t_max + 5 * tau
  end
  local dt = tau / 20
  local grid = A.arange(math.ceil((t_max + dt) / dt)) * dt
  local function filtered(list)
    if #list == 0 then return 0.0 end
    local since = A.expand_dims(grid, 2) - A.expand_dims(core.tensor(list), 1)
    local late = A.ge(since, 0)
    return A.sum(A.where(late, A.exp(A.where(late, since, 0.0) / -tau) / tau, 0.0), {axis = 2})
  end
  local difference = filtered(a) - filtered(b)
  if not core.is_tensor(difference) then return 0.0 end
  return math.sqrt(core.item(A.sum(difference * difference)) * dt)
end

-- ---- many trains -------------------------------------------------------------------------------------------------------------

--- How many of a have one of b within `reach` steps; both ascend.
local function coincidences(a, b, reach)
  local count, first = 0, 1
  for _, s in ipairs(a) do
    while b[first] and b[first] < s - reach do first = first + 1 end
    if b[first] and b[first] <= s + reach then count = count + 1 end
  end
  return count
end

--- Mean over all pairs of neurons of the share of spikes that have one of the other within window_size / 2.
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.spike_train_synchrony(spikes, 5*bdl.units.ms, {dt = 1*bdl.units.ms}))
function M.spike_train_synchrony(spike_matrix, window_size, opts)
  opts = base.options("spike_train_synchrony", opts, DT)
  local trains = operand.trains("spike_train_synchrony", spike_matrix)
  local reach, total, pairs_ = operand.ratio(window_size, operand.dt(opts)) / 2, 0, 0
  for i, a in ipairs(trains) do
    for j = i + 1, #trains do
      local b = trains[j]
      if #a > 0 and #b > 0 then
        total = total + (coincidences(a, b, reach) + coincidences(b, a, reach)) / (#a + #b)
        pairs_ = pairs_ + 1
      end
    end
  end
  return pairs_ > 0 and total / pairs_ or 0.0
end

--- Runs of spikes no further than `gap` steps apart, of `least` spikes or more: {first, last}.
local function bursts_of(train, least, gap)
  local bursts, from = {}, 1
  for i = 1, #train do
    if i == #train or train[i + 1] - train[i] > gap then
      if i - from + 1 >= least then bursts[#bursts + 1] = {train[from], train[i]} end
      from = i + 1
    end
  end
  return bursts
end

--- Share of bursts that overlap one of another neuron.  Options: burst_threshold (3 spikes), max_isi (100, in the unit of dt).
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.burst_synchrony_index(spikes, {dt = 1*bdl.units.ms}))
function M.burst_synchrony_index(spike_matrix, opts)
  opts = base.options("burst_synchrony_index", opts, base.names "dt burst_threshold max_isi")
  local gap = operand.ratio(opts.max_isi or 100.0, operand.dt(opts)) * (1 + 1e-12)
  local all = {}
  for i, train in ipairs(operand.trains("burst_synchrony_index", spike_matrix)) do
    for _, b in ipairs(bursts_of(train, opts.burst_threshold or 3, gap)) do all[#all + 1] = {i, b[1], b[2]} end
  end
  local together = 0
  for _, a in ipairs(all) do
    for _, b in ipairs(all) do
      if a[1] ~= b[1] and math.min(a[3], b[3]) >= math.max(a[2], b[2]) then
        together = together + 1
        break
      end
    end
  end
  return #all > 0 and together / #all or 0.0
end

--- Length of the mean of e^(i 2 pi f t) over the spikes of each neuron, 0 without spikes.  reference_freq: Hz.  [n]
--  Source: Lachaux et al. (1999), Measuring phase synchrony in brain signals.
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.phase_locking_value(spikes, 10*bdl.units.Hz, {dt = 1*bdl.units.ms}))
function M.phase_locking_value(spike_matrix, reference_freq, opts)
  opts = base.options("phase_locking_value", opts, DT)
  local spikes = operand.plain("phase_locking_value", "spikes", spike_matrix, 2)
  if core.unit_of(reference_freq) then reference_freq = core.mantissa(core.convert(reference_freq, units.Hz)) end
  local phase = core.cast(A.arange(spikes.shape[1]), spikes.dtype) * (operand.seconds(operand.dt(opts)) * 2 * math.pi * reference_freq)
  local s = core.cast(A.gt(spikes, 0), spikes.dtype)
  local count = A.maximum(A.sum(s, {axis = 1}), 1.0)
  return A.hypot(A.matmul(A.cos(phase), s), A.matmul(A.sin(phase), s)) / count
end

--- Spike time tiling coefficient of all pairs, [n, n]: coincidences within tau less those by chance; not biased by rates.
--  Options: tau (5 ms; a plain number is in the unit of dt).
--  Source: Cutts & Eglen (2014), Detecting pairwise correlations in spike trains.
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.spike_time_tiling_coefficient(spikes, {dt = 1*bdl.units.ms}))
function M.spike_time_tiling_coefficient(spike_matrix, opts)
  opts = base.options("spike_time_tiling_coefficient", opts, base.names "dt tau")
  local dt = operand.dt(opts)
  local tau = opts.tau or core.unit_of(dt) and 5 * units.ms or 0.005
  local reach = math.tointeger(math.floor(operand.ratio(tau, dt) + 0.5))
  local trains, T = operand.trains("spike_time_tiling_coefficient", spike_matrix)
  local covered, rows = {}, {}
  for i, train in ipairs(trains) do
    local steps, last = 0, -1
    for _, s in ipairs(train) do
      local lo, hi = math.max(last + 1, s - reach), math.min(T - 1, s + reach)
      steps, last = steps + math.max(0, hi - lo + 1), math.max(last, hi)
    end
    covered[i], rows[i] = steps / T, {}
  end
  local function term(p, t) return 1 - p * t ~= 0 and (p - t) / (1 - p * t) or 0.0 end
  for i, a in ipairs(trains) do
    rows[i][i] = 1.0
    for j = i + 1, #trains do
      local b, c = trains[j], 0.0
      if #a > 0 and #b > 0 then
        c = 0.5 * (term(coincidences(a, b, reach) / #a, covered[j]) + term(coincidences(b, a, reach) / #b, covered[i]))
      end
      rows[i][j], rows[j][i] = c, c
    end
  end
  return core.tensor(rows)
end

--- Counts in windows of whole steps, what is left over dropped: [windows, n].
local function binned(spikes, steps)
  local n = spikes.shape[1] // steps
  return A.sum(A.reshape(base.slice_axis(spikes, 0, 0, n * steps), {n, steps, spikes.shape[2]}), {axis = 2})
end

--- Mean correlation of the spike counts of all pairs in windows of window_size, within -1..1; 0 for less than two neurons or windows.
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.correlation_index(spikes, 20*bdl.units.ms, {dt = 1*bdl.units.ms}))
function M.correlation_index(spike_matrix, window_size, opts)
  opts = base.options("correlation_index", opts, DT)
  local spikes = operand.plain("correlation_index", "spikes", spike_matrix, 2)
  local steps, n = math.max(1, math.tointeger(operand.ratio(window_size, operand.dt(opts)) // 1)), spikes.shape[2]
  if n < 2 or spikes.shape[1] // steps < 2 then return A.sum(spikes) * 0 end
  local r = require "bdl.metric.correlation".functional_connectivity(binned(spikes, steps))
  return A.clip((A.sum(r) - n) / (n * (n - 1)), -1.0, 1.0)
end

--- Standard deviation over mean of the intervals between the spikes of each neuron, NaN for less than three spikes.  [n]
--  1 for a Poisson process, 0 for a clock.  Source: Softky & Koch (1993), The highly irregular firing of cortical cells.
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.cv(spikes))
function M.cv(spike_matrix)
  local list = {}
  for i, train in ipairs(operand.trains("cv", spike_matrix)) do
    local n, mean, square = #train - 1, 0, 0
    if n > 0 then mean = (train[n + 1] - train[1]) / n end
    for k = 1, n do square = square + (train[k + 1] - train[k] - mean) ^ 2 / n end
    list[i] = n < 2 and 0 / 0 or math.sqrt(square) / mean
  end
  return core.tensor(list)
end

--- Variance over mean of the spike counts of each neuron in windows of window_size, NaN without spikes.  [n]
--  1 for a Poisson process.  Source: Fano (1947), Ionization yield of radiations.
--  Example:
--    local spikes = bdl.random.bernoulli(0.1, {size = {200, 3}})
--    print(bdl.metric.fano_factor(spikes, 20*bdl.units.ms, {dt = 1*bdl.units.ms}))
function M.fano_factor(spike_matrix, window_size, opts)
  opts = base.options("fano_factor", opts, DT)
  local spikes = operand.plain("fano_factor", "spikes", spike_matrix, 2)
  local steps = math.max(1, math.tointeger(math.floor(operand.ratio(window_size, operand.dt(opts)) + 0.5)))
  local counts = binned(spikes, steps)
  return A.var(counts, {axis = 1}) / A.mean(counts, {axis = 1})
end

return M

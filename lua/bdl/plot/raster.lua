--- Rasters: a dot for each spike.
local core = require "bdl.core"
local class = require "bdl.class"
local figure = require "bdl.plot.figure"
local none = require "bdl.none".none
local numbers = require "bdl.plot.numbers"

local M = {}

--- Spikes of a monitor: times, rows, how many rows, the axis of time.
local function of_monitor(m)
  local step, row, n, steps, dt = m:raster_points()
  if dt == nil then return step, row, n, {label = "step", from = 0, to = steps} end
  local unit = core.is_tensor(dt) and core.unit_of(dt) or nil
  local value = numbers.scalar("plot.raster", "dt", dt, unit)
  local times = step
  for k, s in ipairs(step) do times[k] = s * value end
  times[#times + 1] = steps * value                -- the end, in the unit that suits it
  times, unit = numbers.handy_time(times, unit)
  local last = table.remove(times)
  return times, row, n, {label = "time", unit = unit, from = 0, to = last}
end

--- The same of [steps, n]; a spike where true or > 0.  duration : of all steps, or nil.
local function of_dense(spikes, duration)
  local array = require "bdl.array"
  spikes = numbers.checked("plot.raster", "spikes", spikes, 2, "spikes are [steps, neurons]")
  local shape = spikes.shape
  local step, unit = 1, nil
  if duration ~= nil then
    unit = core.is_tensor(duration) and core.unit_of(duration) or nil
    step = numbers.scalar("plot.raster", "duration", duration, unit) / shape[1]
  end
  local steps, rows = array.nonzero(core.bind("gt", {}, core.mantissa(spikes), core.tensor(0, spikes.dtype)))
  local times = core.totable(steps)
  rows = core.totable(rows)
  for k, i in ipairs(times) do times[k] = i * step end
  return times, rows, shape[2], {label = duration == nil and "step" or nil, unit = unit, from = 0, to = shape[1] * step}
end

--- The same of a list of spike trains.
local function of_trains(trains)
  local times, rows, unit = {}, {}, nil
  for k, train in ipairs(trains) do
    local empty = core.is_tensor(train) and train.size == 0 or type(train) == "table" and #train == 0
    if not empty then
      local list, _, own = numbers.read("plot.raster", "train " .. k, train, 1)
      if #times == 0 then unit = own end
      for _, t in ipairs(numbers.convert("plot.raster", "train " .. k, list, own, unit)) do
        times[#times + 1], rows[#rows + 1] = t, k - 1
      end
    end
  end
  return times, rows, #trains, {label = unit == nil and "time" or nil, unit = unit}
end

--- Spikes of one population: times, rows from 0, how many rows, the axis of time.
local function of_population(spikes, duration)
  if class.isa(spikes, require "bdl.monitor".SpikeMonitor) then return of_monitor(spikes) end
  local first = type(spikes) == "table" and getmetatable(spikes) == nil and spikes[1]
  if first and (core.is_tensor(first) and first.ndim == 1 or type(first) == "table") then return of_trains(spikes) end
  if not core.is_tensor(spikes) and not class.isa(spikes, require "bdl.state".State) then
    core.hint "of several populations: {E = spikes_e, I = spikes_i}"
    core.fail("TypeError", 2,
              "plot.raster: spikes are a SpikeMonitor, [steps, neurons] or a list of spike trains, not a %s",
              class.typename(spikes))
  end
  return of_dense(spikes, duration)
end

--- What is there of several populations, in order, and their names; nil: it is one.
local function several(spikes, names)
  if type(spikes) ~= "table" or getmetatable(spikes) ~= nil or next(spikes) == nil then return nil end
  local first = spikes[1]
  if first == nil then
    local list, keys = {}, require "bdl.util".sorted_keys(spikes)
    for k, name in ipairs(keys) do list[k], keys[k] = spikes[name], tostring(name) end
    return list, names or keys
  end
  local one = core.is_tensor(first) and first.ndim < 2 or type(first) ~= "userdata" and not class.of(first)
  if one then return nil end
  local counted = {}
  for k = 1, #spikes do counted[k] = tostring(k) end
  return spikes, names or counted
end

--- of_population, and groups or nil; several populations stand above each other, from the first at the bottom.
local function points_of(spikes, a)
  local list, names = several(spikes, a.names)
  if not list then
    if a.names then core.fail("ValueError", 2, "plot.raster: names are those of several populations; of one: groups") end
    return of_population(spikes, a.duration)
  end
  if type(names) ~= "table" or #names ~= #list then
    core.fail("ValueError", 2, "plot.raster: %d populations need as many names", #list)
  end
  local times, rows, n, time, groups = {}, {}, 0, nil, {}
  for k, population in ipairs(list) do
    local t, r, size, axis = of_population(population, a.duration)
    local what = ("the times of '%s'"):format(tostring(names[k]))
    time = time or axis
    t[#t + 1] = axis.to or 0
    t = numbers.convert("plot.raster", what, t, axis.unit, time.unit)
    if (axis.label == "step") ~= (time.label == "step") then
      core.fail("ValueError", 2, "plot.raster: %s: all populations have times, or all steps", what)
    end
    local last = table.remove(t)
    time.to = time.to and math.max(time.to, last)
    for e = 1, #t do times[#times + 1], rows[#rows + 1] = t[e], r[e] + n end
    groups[k], n = {names[k], size}, n + size
  end
  return times, rows, n, time, groups
end

--- Layers of points, one for each of groups {{name, rows}, ..}.
local function grouped(times, rows, n, groups)
  if groups == nil then return {{kind = "dots", x = times, y = rows}} end
  local layers, group_of, last = {}, {}, 0
  for k, group in ipairs(groups) do
    local name, size = group[1], group[2]
    if type(name) ~= "string" or math.type(size) ~= "integer" or size < 1 then
      core.fail("TypeError", 3, "plot.raster: groups are {{name, number of rows}, ..} from row 0 on")
    end
    layers[k] = {kind = "dots", x = {}, y = {}, name = name, color = k, middle = last + (size - 1) / 2}
    for row = last, last + size - 1 do group_of[row] = layers[k] end
    last = last + size
  end
  if last ~= n then core.fail("ValueError", 3, "plot.raster: the groups have %d rows, the raster has %d", last, n) end
  for e, row in ipairs(rows) do
    local layer = group_of[row]
    layer.x[#layer.x + 1], layer.y[#layer.y + 1] = times[e], row
  end
  return layers
end

--- A raster: time to the right, a row of dots for each neuron, from the first at the bottom.
--  spikes : a SpikeMonitor; or [steps, n], a spike where true or > 0; or a list of spike trains, the times of each.
--    Of several populations, one above the other in colours: {E = spikes_e, I = spikes_i}, or a list of them
--  Options: names (of a list of populations), rows (ids to show, from 0, in that order; those of the second population
--    go on from the first), groups ({{"E", 60}, {"I", 20}}: rows of each, in colours), duration (of all steps of [steps, n]), title, x_label, y_label, x_limits, y_limits, width, height (in
--    characters).
--  Example:
--    local spikes = bdl.random.rand(100, 8):lt(0.1)
--    print(bdl.plot.raster(spikes, {duration = 100*bdl.units.ms, width = 60}))
function M.raster(spikes, opts)
  local a = figure.options("plot.raster", {duration = none, rows = none, groups = none, names = none}, opts)
  if core.tracing() then numbers.read(a.who, "spikes", 0) end -- the error of all builders
  local times, rows, n, time, groups = points_of(spikes, a)
  if a.rows then
    local place, ids = {}, numbers.flat(a.who, "rows", a.rows)
    for k, id in ipairs(ids) do
      if math.type(id) ~= "integer" and id % 1 ~= 0 or id < 0 or id >= n then
        core.fail("IndexError", 2, "plot.raster: rows are ids from 0 to %d, not %g", n - 1, id)
      end
      place[id // 1 | 0] = k - 1
    end
    local t, r = {}, {}
    for e, row in ipairs(rows) do
      if place[row] then t[#t + 1], r[#r + 1] = times[e], place[row] end
    end
    times, rows, n = t, r, #ids
  end
  local layers = grouped(times, rows, n, a.groups or not a.rows and groups or nil)
  time.tight = true
  return figure.single(a, {x = time, y = {label = "neuron", from = -0.5, to = n - 0.5, integer = true}, layers = layers,
                           rows = n, note = #times == 0 and "no spikes" or nil})
end

return M

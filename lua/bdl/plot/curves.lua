--- Curves and bars: traces over time, losses, tuning curves, histograms.
local core = require "bdl.core"
local class = require "bdl.class"
local figure = require "bdl.plot.figure"
local none = require "bdl.none".none
local numbers = require "bdl.plot.numbers"

local M = {}

--- Numbers 0 .. n - 1, or from `first`.
local function count(n, first)
  local list = {}
  for i = 1, n do list[i] = i - 1 + (first or 0) end
  return list
end

--- Layers of a kind over shared x values; without those, x counts from `first`.  Returns the layers and the unit of x.
local function layers_of(a, kind, curves, first)
  local x, unit
  if a.x ~= nil then
    local shape
    x, shape, unit = numbers.read(a.who, "x", a.x, 1)
    for k, y in ipairs(curves) do
      if #y ~= shape[1] then
        core.hint "x has one number for each row of y"
        core.fail("ShapeError", 3, "%s: %d values of x for %d of curve %d", a.who, shape[1], #y, k)
      end
    end
  end
  local layers = {}
  for k, y in ipairs(curves) do layers[k] = {kind = kind, x = x or count(#y, first), y = y, color = k} end
  return layers, unit
end

--- What to write where no number can be drawn.
local function note_on(layers)
  local n = 0
  for _, layer in ipairs(layers) do
    for i, v in ipairs(layer.y) do
      if numbers.is_finite(v) and numbers.is_finite(layer.x[i]) then return nil end
      n = n + 1
    end
  end
  return ("all %d values are NaN or infinite"):format(n)
end

local function time_axis(m)
  local ok, t = pcall(function() return m.t end)
  if not ok then return core.totable(m.step), {label = "step", tight = true} end
  local list, unit = numbers.handy_time(core.totable(core.mantissa(t)), core.unit_of(t))
  return list, {label = "time", unit = unit, tight = true}
end

--- What a monitor recorded under a name, over time.  Values [rows, ..] are one curve each.
local function recorded(m, name, a)
  local y = m[name]
  if y.ndim ~= 1 then y = core.bind("reshape", {shape = {y.shape[1], y.size // math.max(1, y.shape[1])}}, y) end
  local curves, _, unit = numbers.curves(a.who, name, y)
  local x, time = time_axis(m)
  local layers = {}
  for k, values in ipairs(curves) do layers[k] = {kind = "line", x = x, y = values, color = k} end
  figure.name_layers(a, layers, a.names)
  return figure.single(a, {x = time, y = {label = name, unit = unit}, layers = layers, note = note_on(layers)})
end

--- Curves, such as traces of a run.
--  y : a StateMonitor (a panel for each variable) or RateMonitor; or [steps], [steps, n], a list of curves, a table of
--    them by name.
--  Options: x (values of the rows, steps from 0), variable (of a monitor), names (of the curves), log (of the y axis),
--    title, x_label, y_label, x_limits, y_limits, width, height (characters in a terminal).
--  Errors: ShapeError, x and y do not fit; ValueError, nothing is there; UnitMismatchError; TraceContextError.
--  Example:
--    local t = bdl.linspace(0, 20, 200) * bdl.units.ms
--    print(bdl.plot.lines(bdl.exp(-t / (5*bdl.units.ms)) * bdl.units.mV, {x = t, y_label = "V", width = 60}))
function M.lines(y, opts)
  local a = figure.options("plot.lines", {x = none, variable = none, names = none, log = false}, opts)
  local monitor = require "bdl.monitor"
  if class.isa(y, monitor.StateMonitor) then
    if a.variable then return recorded(y, a.variable, a) end
    local figures = {}
    for k, name in ipairs(y:names()) do figures[k] = recorded(y, name, a) end
    return #figures == 1 and figures[1] or figure.figure(figures, {width = a.width, height = a.height})
  elseif class.isa(y, monitor.RateMonitor) then
    return recorded(y, "rate", a)
  end
  local curves, names, unit = numbers.curves(a.who, "y", y)
  local layers, x_unit = layers_of(a, "line", curves)
  figure.name_layers(a, layers, a.names or names)
  return figure.single(a, {x = {label = a.x == nil and "step" or nil, unit = x_unit, tight = true},
                           y = {unit = unit, log = a.log}, layers = layers, note = note_on(layers)})
end

--- A loss over the course of training, from 1; the axis is logarithmic where the values go over more than a decade.
--  y : as of bdl.plot.lines, such as {train = .., test = ..}
--  Options: log (true or false, by the values), x_label ("epoch"), and those of bdl.plot.lines.
--  Example:
--    print(bdl.plot.loss({train = {1, 0.3, 0.02}, test = {1.1, 0.4, 0.1}}, {width = 60}))
function M.loss(y, opts)
  local a = figure.options("plot.loss", {x = none, names = none, log = none}, opts)
  local curves, names, unit = numbers.curves(a.who, "y", y)
  local layers, x_unit = layers_of(a, "line", curves, 1)
  figure.name_layers(a, layers, a.names or names)
  local low, high = math.huge, -math.huge
  for _, curve in ipairs(curves) do
    for _, v in ipairs(curve) do
      if numbers.is_finite(v) then low, high = math.min(low, v), math.max(high, v) end
    end
  end
  if a.log == nil then a.log = low > 0 and high > 10 * low end
  return figure.single(a, {x = {label = "epoch", unit = x_unit, tight = true, integer = a.x == nil},
                           y = {label = "loss", unit = unit, log = a.log}, layers = layers, note = note_on(layers)})
end

--- Tuning curves: a response for each stimulus.
--  x, y : stimuli [n]; responses [n], [n, cells], a list of curves, a table of them by name
--  Options: error (half the length of the bars, as y), names, title, x_label, y_label, x_limits, y_limits, width,
--    height.
--  Example:
--    local current = bdl.linspace(0, 2, 9) * bdl.units.nA
--    print(bdl.plot.tuning(current, bdl.maximum(current / bdl.units.nA - 1, 0) * 40 * bdl.units.Hz, {width = 60}))
function M.tuning(x, y, opts)
  local a = figure.options("plot.tuning", {error = none, names = none}, opts)
  a.x = x
  if x == nil or y == nil then
    core.fail("TypeError", 2, "plot.tuning: stimuli and responses are needed: tuning(x, y)")
  end
  local curves, names, unit = numbers.curves(a.who, "y", y)
  local layers, x_unit = layers_of(a, "marks", curves)
  if a.error ~= nil then
    local errors, _, error_unit = numbers.curves(a.who, "error", a.error)
    for k, layer in ipairs(layers) do
      if not errors[k] or #errors[k] ~= #layer.y then
        core.fail("ShapeError", 2, "plot.tuning: error has the shape of y, a number for each")
      end
      layer.error = numbers.convert(a.who, "error", errors[k], error_unit, unit)
    end
  end
  figure.name_layers(a, layers, a.names or names)
  return figure.single(a, {x = {label = "stimulus", unit = x_unit}, y = {label = "response", unit = unit},
                           layers = layers, note = note_on(layers)})
end

--- Points, such as one quantity of each neuron over another.
--  x, y : numbers [n]; [n], [n, sets], a list of sets, a table of them by name
--  Options: names, log (of the y axis), title, x_label, y_label, x_limits, y_limits, width, height.
--  Example:
--    local x = bdl.random.randn(200)
--    print(bdl.plot.points(x, x + 0.3*bdl.random.randn(200), {width = 60}))
function M.points(x, y, opts)
  local a = figure.options("plot.points", {names = none, log = false}, opts)
  a.x = x
  if x == nil or y == nil then
    core.fail("TypeError", 2, "plot.points: two numbers of each point are needed: points(x, y)")
  end
  local curves, names, unit = numbers.curves(a.who, "y", y)
  local layers, x_unit = layers_of(a, "dots", curves)
  figure.name_layers(a, layers, a.names or names)
  return figure.single(a, {x = {unit = x_unit}, y = {unit = unit, log = a.log}, layers = layers,
                           note = note_on(layers)})
end

--- Width of bins.  Source: Freedman & Diaconis (1981), Z. Wahrscheinlichkeitstheorie 57:453; where half of the values
--  are alike, Sturges (1926), J. Am. Stat. Assoc. 21:65.
local function bins_for(sorted)
  local n = #sorted
  local span = sorted[n] - sorted[1]
  local spread = sorted[math.max(1, (3 * n + 3) // 4)] - sorted[math.max(1, (n + 3) // 4)]
  local width = 2 * spread / n^(1/3)
  local bins = width > 0 and math.ceil(span / width) or math.ceil(math.log(n, 2)) + 1
  return math.min(math.max(bins, 5), 100)
end

local function check_bins(who, bins)
  if bins ~= nil and (math.type(bins) ~= "integer" or bins < 1 or bins > 10000) then
    core.fail("ValueError", 4, "%s: bins are a whole number from 1 to 10000, not %s", who, tostring(bins))
  end
end

--- A histogram.  Values that are NaN are left out, those beyond x_limits, too.
--  y : numbers of any shape, a list of several, or a table of these by name, which share their bins
--  Options: bins (a number; by the values), density (the area is 1), names, title, x_label, y_label, x_limits,
--    y_limits, width, height.
--  Example:
--    print(bdl.plot.hist(bdl.random.randn(1000) * bdl.units.mV, {bins = 20, x_label = "V", width = 60}))
function M.hist(y, opts)
  local a = figure.options("plot.hist", {bins = none, density = false, names = none}, opts)
  check_bins(a.who, a.bins)
  local sets, names, unit = {}, nil, nil
  local plain = type(y) == "table" and getmetatable(y) == nil and next(y) ~= nil
  if plain and #y == 0 then
    names = require "bdl.util".sorted_keys(y)
  elseif not plain or type(y[1]) == "number" or core.is_tensor(y[1]) and y[1].ndim == 0 then
    y = {y}
  end
  local all = {}
  for k, key in ipairs(names or count(#y, 1)) do
    local list, _, own = numbers.flat(a.who, names and tostring(key) or "y", y[key])
    if k == 1 then unit = own end
    sets[k] = numbers.convert(a.who, "y", list, own, unit)
    for _, v in ipairs(sets[k]) do
      if numbers.is_finite(v) then all[#all + 1] = v end
    end
  end
  table.sort(all)
  local ax = {unit = unit, tight = true, label = "value"}
  local layers = {}
  for k in ipairs(sets) do layers[k] = {kind = "bars", edges = {}, y = {}, color = k} end
  figure.name_layers(a, layers, a.names or names)
  local fig = figure.single(a, {x = ax, y = {label = a.density and "density" or "count"}, layers = layers})
  if #all == 0 then
    fig.rows[1][1].note = "all values are NaN or infinite"
    return fig
  end
  local from, to = ax.from or all[1], ax.to or all[#all]
  if from == to then from, to = from - 0.5, to + 0.5 end
  local bins = a.bins or bins_for(all)
  local width = (to - from) / bins
  for k, set in ipairs(sets) do
    local edges, counts, total = layers[k].edges, layers[k].y, 0
    for i = 0, bins do edges[i + 1] = from + i * width end
    for i = 1, bins do counts[i] = 0 end
    for _, v in ipairs(set) do
      if v >= from and v <= to then -- the last bin holds its upper edge
        local i = math.min(bins, math.floor((v - from) / width) + 1)
        counts[i], total = counts[i] + 1, total + 1
      end
    end
    for i = 1, a.density and total > 0 and bins or 0 do counts[i] = counts[i] / (total * width) end
  end
  return fig
end

return M

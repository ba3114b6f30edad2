--- Maps: numbers over a plane, weights between populations.
local core = require "bdl.core"
local class = require "bdl.class"
local figure = require "bdl.plot.figure"
local none = require "bdl.none".none
local numbers = require "bdl.plot.numbers"
local palette = require "bdl.plot.palette"
local suggest = require "bdl.suggest"

local M = {}

--- First and last edge of n cells whose middles x are.
local function edges(a, name, x, n)
  if x == nil then return -0.5, n - 0.5, nil end
  local list, shape, unit = numbers.read(a.who, name, x, 1)
  if shape[1] ~= n then
    core.fail("ShapeError", 3, "%s: %d values of %s for %d %s", a.who, shape[1], name, n,
              name == "x" and "columns" or "rows")
  end
  local half = n > 1 and (list[n] - list[1]) / (n - 1) / 2 or 0.5
  for i = 2, n do
    if not (math.abs(list[i] - list[i - 1] - 2 * half) <= 0.01 * math.abs(half)) then
      core.fail("ValueError", 3, "%s: %s has equal steps; from %g to %g it has another", a.who, name,
                list[i - 1], list[i])
    end
  end
  return list[1] - half, list[n] + half, unit
end

--- Range of the colours: as given, else what is there; signed ones around 0.  Returns the axis, the name of the
--  colours, and a note where there is nothing.
function M.colors(a, rows, unit)
  if a.map ~= nil and not palette.maps[a.map] then
    local known = require "bdl.util".sorted_keys(palette.maps)
    core.fail("ValueError", 3, "%s: map is one of %s, not '%s'%s", a.who, table.concat(known, ", "), tostring(a.map),
              suggest.hint(tostring(a.map), known))
  end
  local low, high = math.huge, -math.huge
  for _, row in ipairs(rows) do
    for _, v in ipairs(row) do
      if numbers.is_finite(v) then low, high = math.min(low, v), math.max(high, v) end
    end
  end
  local color = {label = figure.line(a.who, "label", a.label), unit = unit}
  local nothing = low > high
  if nothing then low, high = 0, 1 end
  local map = a.map or low < 0 and high > 0 and a.signed and "signed" or "viridis"
  if map == "signed" and not a.limits then
    high = math.max(math.abs(low), math.abs(high))
    low = -high
  elseif a.signed and low >= 0 and not a.limits then
    low = 0
  end
  if a.limits then
    local pair = {v_limits = a.limits, who = a.who}
    figure.limit(pair, "v", color)
    low, high = color.from, color.to
  end
  if low == high then high = low + (low == 0 and 1 or math.abs(low)) end
  color.from, color.to = low, high
  return color, map, nothing and "all values are NaN or infinite" or nil
end

local function map_figure(a, z, defaults)
  local rows, shape, unit = numbers.read(a.who, defaults.what, z, 2, "a vector is a map of one row: z:reshape(1, -1)")
  local x0, x1, x_unit = edges(a, "x", a.x, shape[2])
  local y0, y1, y_unit = edges(a, "y", a.y, shape[1])
  if y0 > y1 or x0 > x1 then
    core.fail("ValueError", 3, "%s: x and y of a map increase", a.who)
  end
  local color, map, note = M.colors(a, rows, unit)
  return figure.single(a, {
    x = {label = a.x == nil and defaults.x or nil, unit = x_unit, tight = true, integer = a.x == nil},
    y = {label = a.y == nil and defaults.y or nil, unit = y_unit, tight = true, integer = a.y == nil,
         reverse = defaults.reverse},
    layers = {{kind = "map", rows = rows, x0 = x0, x1 = x1, y0 = y0, y1 = y1}}, map = map, color = color, note = note,
    aspect = defaults.aspect and shape[1] / shape[2] or nil,
  })
end

--- Numbers over a plane, in colours; in a terminal without colours, in shades.  Row 1 is at the bottom.
--  z : [rows, columns]
--  Options: x, y (values of columns and rows, in equal steps), label (of the colours), limits ({from, to}, of the
--    colours), map ("viridis", "cividis", "signed", "grey"), title, x_label, y_label, x_limits, y_limits, width,
--    height.
--  Errors: ShapeError, z has not two axes, x or y do not fit; ValueError, x or y have no equal steps.
--  Example:
--    local x = bdl.linspace(-2, 2, 40)
--    print(bdl.plot.heatmap(bdl.exp(-x:reshape(-1, 1)^2 - x^2), {x = x, y = x, width = 50, height = 10}))
function M.heatmap(z, opts)
  local a = figure.options("plot.heatmap", {x = none, y = none, label = none, limits = none, map = none}, opts)
  return map_figure(a, z, {what = "z", x = "column", y = "row"})
end

--- A matrix of weights as it is written, the first row on top; weights of both signs are blue and red around white.
--  w : [pre, post], a State of that shape, or a connection of bdl.event
--  Options: as of bdl.plot.heatmap, without x and y.
--  Example:
--    print(bdl.plot.weights(bdl.random.randn(6, 8) * bdl.units.mS, {width = 50}))
function M.weights(w, opts)
  local a = figure.options("plot.weights", {label = "weight", limits = none, map = none}, opts)
  a.signed = true
  if class.isa(w, require "bdl.state".State) then w = w.value end
  if class.isa(w, require "bdl.event".Connection) then w = w:todense() end
  return map_figure(a, w, {what = "weights", x = "postsynaptic neuron", y = "presynaptic neuron", reverse = true,
                           aspect = true})
end

return M

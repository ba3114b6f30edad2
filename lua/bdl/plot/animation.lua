--- Activity of a population that moves.
local core = require "bdl.core"
local axis = require "bdl.plot.axis"
local figure = require "bdl.plot.figure"
local maps = require "bdl.plot.maps"
local none = require "bdl.none".none
local numbers = require "bdl.plot.numbers"

local M = {}

--- Titles of the frames: "12 ms", "step 12".
local function titles(a, n)
  if a.t == nil then return function(i) return ("step %d"):format(i - 1) end end
  local list, shape, unit = numbers.read(a.who, "t", a.t, 1)
  if shape[1] ~= n then core.fail("ShapeError", 3, "%s: %d times for %d steps", a.who, shape[1], n) end
  return function(i) return axis.number(list[i]) .. (unit and " " .. axis.unit_text(unit) or "") end
end

--- The activity of a population, step after step: saved as .gif it moves, fig:show() plays it in a terminal; elsewhere
--  six steps of it stand side by side.
--  y : [steps, n], a curve over the population; or [steps, rows, columns], a map
--  Options: t (times of the steps), every (show each so-manyth; about 100 are shown), size ({rows, columns}, of
--    [steps, n] as a map), x (values of the neurons), label, limits (of the values), map (colours), title, x_label,
--    y_label, width, height.
--  Example:
--    local x, t = bdl.linspace(-3, 3, 40), bdl.arange(60):reshape(-1, 1) / 20
--    print(#bdl.plot.animate(bdl.exp(-(x - t)^2), {x = x, t = bdl.arange(60)*bdl.units.ms, width = 90}):text())
function M.animate(y, opts)
  local a = figure.options("plot.animate", {t = none, every = none, size = none, x = none, label = none, limits = none,
                                            map = none}, opts)
  local values, shape, unit = numbers.read(a.who, "y", y, {2, 3})
  local n = shape[1]
  a.every = a.every or math.max(1, n // 100)
  if math.type(a.every) ~= "integer" or a.every < 1 then
    core.fail("ValueError", 2, "plot.animate: every is a whole number from 1, not %s", tostring(a.every))
  end
  local title = titles(a, n)
  local size = #shape == 3 and {shape[2], shape[3]} or a.size
  if a.size and (#shape == 3 or type(a.size) ~= "table" or a.size[1] * (a.size[2] or 0) ~= shape[2]) then
    core.fail("ShapeError", 2, "plot.animate: size = {rows, columns} cuts [steps, n] with n = rows*columns; y is [%s]",
              table.concat(shape, ","))
  end
  if size then
    local frames = {}
    for i = 1, n, a.every do
      local rows = values[i]
      if a.size then
        rows = {}
        for r = 1, size[1] do rows[r] = table.move(values[i], (r - 1) * size[2] + 1, r * size[2], 1, {}) end
      end
      frames[#frames + 1] = {kind = "map", rows = rows, x0 = -0.5, x1 = size[2] - 0.5, y0 = -0.5, y1 = size[1] - 0.5,
                             title = title(i)}
    end
    local rows = {}
    for _, frame in ipairs(frames) do table.move(frame.rows, 1, #frame.rows, #rows + 1, rows) end
    local color, map, note = maps.colors(a, rows, unit)
    return figure.single(a, {
      x = {label = "column", tight = true, integer = true}, y = {label = "row", tight = true, integer = true},
      layers = {{frames = frames}}, map = map, color = color, note = note, aspect = size[1] / size[2],
    })
  end
  local x, x_unit
  if a.x ~= nil then
    local x_shape
    x, x_shape, x_unit = numbers.read(a.who, "x", a.x, 1)
    if x_shape[1] ~= shape[2] then
      core.fail("ShapeError", 2, "plot.animate: %d values of x for %d neurons", x_shape[1], shape[2])
    end
  else
    x = {}
    for k = 1, shape[2] do x[k] = k - 1 end
  end
  local frames = {}
  for i = 1, n, a.every do frames[#frames + 1] = {kind = "line", x = x, y = values[i], color = 1, title = title(i)} end
  local ax = {label = figure.line(a.who, "label", a.label), unit = unit}
  if a.limits then figure.limit({v_limits = a.limits, who = a.who}, "v", ax) end
  return figure.single(a, {x = {label = a.x == nil and "neuron" or nil, unit = x_unit, tight = true}, y = ax,
                           layers = {{frames = frames}}})
end

return M

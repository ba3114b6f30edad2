--- Layers on a canvas of characters.
local numbers = require "bdl.plot.numbers"
local palette = require "bdl.plot.palette"

local M = {}

M.SHADES = {[0] = " ", "░", "▒", "▓", "█"}
local EIGHTHS = {[0] = " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}
local ARROWS = {[0] = "→", "↗", "↑", "↖", "←", "↙", "↓", "↘"}
local BLACK, GREY, NAN = palette.line(7), "#999999", 0 / 0

--- x, y of a view as dots of its canvas, fractions too.
function M.scales(view, canvas)
  local function scale(a, from, to, last)
    local f = a.log and function(v) return v > 0 and math.log(v, 10) or 0 / 0 end or function(v) return v end
    local low, high = f(from), f(to)
    return function(v) return (f(v) - low) / (high - low) * last end
  end
  local sx = scale(view.panel.x, view.x0, view.x1, 2 * canvas.width - 1)
  local sy = scale(view.panel.y, view.y0, view.y1, 4 * canvas.height - 1)
  return sx, function(v) return 4 * canvas.height - 1 - sy(v) end
end

function M.color_of(layer)
  local color = layer.color and palette.line(layer.color)
  return color ~= BLACK and color or nil -- the terminal's own in place of black
end

--- Kind of layer -> draw(canvas, layer, sx, sy, view, is it the first?, colours?)
local draw = {}
M.draw = draw

function draw.line(canvas, layer, sx, sy)
  local xs, ys = numbers.thin(layer.x, layer.y, 2 * canvas.width)
  local color, px, py = M.color_of(layer), nil, nil
  for i = 1, #xs do
    local x, y = sx(xs[i]), sy(ys[i])
    if not numbers.is_finite(x) or not numbers.is_finite(y) then
      px = nil
    else
      canvas:line(px or x, px and py or y, x, y, color)
      px, py = x, y
    end
  end
end

function draw.dots(canvas, layer, sx, sy)
  local color = M.color_of(layer)
  for i = 1, #layer.x do
    local x, y = sx(layer.x[i]), sy(layer.y[i])
    if numbers.is_finite(x) and numbers.is_finite(y) then
      canvas:dot(math.floor(x + 0.5), math.floor(y + 0.5), color)
    end
  end
end

function draw.marks(canvas, layer, sx, sy)
  draw.line(canvas, layer, sx, sy)
  local color = M.color_of(layer)
  for i = 1, #layer.x do
    local x, y = sx(layer.x[i]), sy(layer.y[i])
    if numbers.is_finite(x) and numbers.is_finite(y) then
      local e = layer.error and layer.error[i]
      if e and numbers.is_finite(e) then canvas:line(x, sy(layer.y[i] - e), x, sy(layer.y[i] + e), color) end
      canvas:put(math.floor(x + 0.5) // 2, math.floor(y + 0.5) // 4, "●", color, nil, true)
    end
  end
end

--- The first histogram is filled, others are outlines over it.
function draw.bars(canvas, layer, sx, sy, _, first)
  local color, edges, xs, ys = M.color_of(layer), layer.edges, {}, {}
  if not first then
    for i, y in ipairs(layer.y) do
      for k = 0, 1 do xs[#xs + 1], ys[#ys + 1] = edges[i + k], y end
    end
    return draw.line(canvas, {x = xs, y = ys, color = layer.color}, sx, sy)
  end
  local base, bin, eighth = sy(0), 1, 8 * canvas.height / (4 * canvas.height - 1)
  for column = 0, canvas.width - 1 do
    while bin < #layer.y and sx(edges[bin + 1]) <= 2 * column + 0.5 do bin = bin + 1 end
    local inside = #edges > 0 and sx(edges[1]) <= 2 * column + 1 and sx(edges[#edges]) >= 2 * column
    local y = inside and layer.y[bin] or 0
    local eighths = y > 0 and math.max(1, math.floor(eighth * (base - sy(y)) + 0.5)) or 0
    for row = canvas.height - 1, canvas.height - math.min(canvas.height, (eighths + 7) // 8), -1 do
      canvas:put(column, row, EIGHTHS[math.min(8, eighths)], color)
      eighths = eighths - 8
    end
  end
end

function draw.arrows(canvas, layer, sx, sy)
  for i = 1, #layer.x do
    local x, y = sx(layer.x[i] + layer.u[i] / 2), sy(layer.y[i] + layer.v[i] / 2)
    local dx, dy = sx(layer.x[i] + layer.u[i]) - sx(layer.x[i]), sy(layer.y[i]) - sy(layer.y[i] + layer.v[i])
    local way = math.floor(math.atan(dy, dx) / (math.pi / 4) + 0.5) % 8
    canvas:put(math.floor(x + 0.5) // 2, math.floor(y + 0.5) // 4, ARROWS[way], GREY)
  end
end

--- Two values a character, one above the other, in colours; one in shades, a point where it is NaN.
function draw.map(canvas, layer, _, _, view, _, colored)
  local w, h = canvas.width, canvas.height * (colored and 2 or 1)
  local whole = view.x0 == layer.x0 and view.x1 == layer.x1
  local rows = whole and numbers.shrink(layer.rows, h, w) or layer.rows
  local m, n = #rows, #rows[1]
  local function value(i, j) -- cell i from the top, j from the left
    local x = view.x0 + (j + 0.5) / w * (view.x1 - view.x0)
    local y = view.y1 + (i + 0.5) / h * (view.y0 - view.y1)
    local column = math.floor((x - layer.x0) / (layer.x1 - layer.x0) * n)
    local row = math.floor((y - layer.y0) / (layer.y1 - layer.y0) * m)
    local v = rows[row + 1] and rows[row + 1][column + 1]
    if not v then return nil end
    return numbers.is_finite(v) and (v - view.c0) / (view.c1 - view.c0) or NAN
  end
  local function color(v) return v and v == v and palette.at(view.panel.map, v) or nil end
  for row = 0, canvas.height - 1 do
    for column = 0, w - 1 do
      if not colored then
        local v = value(row, column)
        local shade = v and v == v and M.SHADES[math.min(4, math.max(0, math.floor(5 * v)))]
        if v then canvas:put(column, row, shade or "·") end
      else
        local top, bottom = color(value(2 * row, column)), color(value(2 * row + 1, column))
        if top then canvas:put(column, row, "▀", top, bottom)
        elseif bottom then canvas:put(column, row, "▄", bottom) end
      end
    end
  end
end

return M

--- Where the panels of a picture stand, in inches from its lower left corner.
local core = require "bdl.core"
local axis = require "bdl.plot.axis"
local numbers = require "bdl.plot.numbers"
local terminal = require "bdl.plot.terminal"

local M = {}

local LETTER = 0.083                             -- inches
M.KEY = 0.17                                     -- of a row of names

--- Rows and columns of the names of the curves, in so many inches.
function M.key(view, width)
  local n, most = 0, 0
  for _, layer in ipairs(view.layers) do
    if layer.name then n, most = n + 1, math.max(most, utf8.len(layer.name) or #layer.name) end
  end
  local columns = math.max(1, math.floor(width / ((most + 6) * LETTER)))
  return (n + columns - 1) // columns, columns
end

local RIGHT, SCALE = 0.2, 0.72                   -- inches beside axes: without, and for the scale of a map

--- What all panels of a figure share: inches left of the axes, and whether a row of one panel has a scale.
local function common(views, w)
  local c = {w = w, left = 0, wide = false}
  for _, row in ipairs(views) do
    c.wide = c.wide or #row == 1 and row[1].panel.color ~= nil
    for _, view in ipairs(row) do
      local most = 0
      for _, tick in ipairs(axis.ticks(view.panel.y, view.y0, view.y1, 6)) do
        most = math.max(most, utf8.len(tick.text))
      end
      c.left = math.max(c.left, 0.27 + most * LETTER + (axis.title(view.panel.y) ~= "" and 0.22 or 0))
    end
  end
  return c
end

--- Inches that the axes of panel j of a row may be wide, and where they begin.
local function width_in(row, j, c)
  local strip = row[1].before and row[1].panel.color -- one scale for all
  local cell = (c.w - (strip and SCALE or 0)) / #row
  local scale = not strip and (row[j].panel.color or #row == 1 and c.wide)
  return math.max(0.2, cell - c.left - RIGHT - (scale and SCALE or 0)), cell * (j - 1) + c.left
end

--- Inches above and below the axes of a row.
local function around(row, c)
  local head, foot = 0.12, 0.12
  for j, view in ipairs(row) do
    head = math.max(head, 0.12 + (view.title and 0.2 or 0) + M.KEY * M.key(view, (width_in(row, j, c))))
    if view.labelled then foot = math.max(foot, axis.title(view.panel.x) ~= "" and 0.58 or 0.38) end
  end
  return head, foot
end

--- Inches of axes that a row is high where nobody says: 2, a panel alone more, a map as its cells are.
local function natural(fig, views, i, c)
  local row, square = views[i], math.huge
  for j, view in ipairs(fig.heights and {} or row) do
    square = math.min(square, view.panel.aspect and view.panel.aspect * (width_in(row, j, c)) or math.huge)
  end
  if square < math.huge then return math.min(#row == 1 and 4.2 or 2.5, math.max(square, 0.8)) end
  return (#views == 1 and #row == 1 and 2.9 or 1.9) * (fig.heights and fig.heights[i] or 1)
end

--- The boxes of all panels.
function M.boxes(fig, views, w, h)
  local boxes, total, c = {}, 0, common(views, w)
  local top = h - 0.03 - (fig.title and 0.25 or 0)
  local space = top
  for i, row in ipairs(views) do
    local head, foot = around(row, c)
    space, total = space - head - foot, total + natural(fig, views, i, c)
  end
  for i, row in ipairs(views) do
    boxes[i] = {}
    local head, foot = around(row, c)
    local inner = math.max(0.1, space * natural(fig, views, i, c) / total)
    for j, view in ipairs(row) do
      local aspect, width, left = view.panel.aspect, width_in(row, j, c)
      local box = {head = top, top = top - head, bottom = top - head - inner, left = left, right = left + width}
      if aspect then                             -- square cells: the box shrinks around its left upper corner
        width = math.min(width, inner / aspect)
        box.right, box.bottom = left + width, box.top - width * aspect
      end
      boxes[i][j] = box
    end
    top = top - head - inner - foot
  end
  return boxes
end

--- A length in inches.
function M.inches(name, x, default)
  if x == nil then return default end
  local v = numbers.scalar("figure:save", name, x, core.is_tensor(x) and require "bdl.units".inch or nil)
  if not (v > 0.5 and v < 200) then
    core.fail("ValueError", 3, "figure:save: the %s is from 0.5 to 200 inches, not %s", name, tostring(x))
  end
  return v
end

--- Width and height, as given, else by the rows.
function M.size(fig, a)
  local views = terminal.strip(fig)
  local w, h = M.inches("width", a.width, 6.5), fig.title and 0.3 or 0.05
  local c = common(views, w)
  for i, row in ipairs(views) do
    local head, foot = around(row, c)
    h = h + head + foot + natural(fig, views, i, c)
  end
  return w, M.inches("height", a.height, math.min(h, 60))
end

return M

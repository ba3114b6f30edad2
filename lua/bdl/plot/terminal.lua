--- Figures as text: braille dots, blocks, shades; in 24-bit colours where the output is a terminal.
--
--        title
--   V (mV)
--    20 ┤                  ⣀⠤
--     0 ┤⠤⠤⠤⠒⠒⠊⠉           name of a curve, at its end
--       └┬─────────┬──────
--        0        50
--             time (ms)
local core = require "bdl.core"
local axis = require "bdl.plot.axis"
local figure = require "bdl.plot.figure"
local numbers = require "bdl.plot.numbers"
local palette = require "bdl.plot.palette"
local strokes = require "bdl.plot.strokes"
local Canvas = require "bdl.plot.canvas"

local M = {}

--- Columns that a text takes, without colours.
local function width_of(text) return utf8.len((text:gsub("\27%[[%d;]*m", ""))) or #text end

local function pad(text, width) return text .. (" "):rep(width - width_of(text)) end

--- text cut to so many columns.
local function fit(text, width)
  if width_of(text) <= width then return text end
  return width < 1 and "" or text:sub(1, utf8.offset(text, width) - 1) .. "…"
end

local function centred(text, width)
  text = fit(text, width)
  return pad((" "):rep((width - width_of(text)) // 2) .. text, width)
end

-- ---- a panel --------------------------------------------------------------------------------------------------------

--- Rows that a panel takes where nobody says.
local function default_height(view)
  local n, map = view.panel.rows, view.panel.map and view.layers[1].rows
  if n then return math.min(math.max((n + 3) // 4, 4), 25) end
  return map and math.min(math.max(#map, 6), 16) or 12
end

--- {row, name, color} of the layers with names: where a curve ends, in the middle of the rows of a group.
local function names_of(view, canvas, sy)
  local list = {}
  for k, layer in ipairs(view.layers) do
    if layer.name then
      local y
      for i = #(layer.x or {}), 1, -1 do
        if numbers.is_finite(layer.y[i]) then
          y = sy(layer.y[i])
          break
        end
      end
      if layer.middle then y = sy(layer.middle) end
      local row = y and numbers.is_finite(y) and math.floor(y + 0.5) // 4 or k - 1
      list[#list + 1] = {row = math.min(math.max(row, 0), canvas.height - 1), name = layer.name,
                         color = strokes.color_of(layer), k = k}
    end
  end
  table.sort(list, function(a, b) return a.row < b.row or a.row == b.row and a.k < b.k end)
  local next_row = 0
  for _, item in ipairs(list) do
    item.row = math.max(item.row, next_row)
    next_row = item.row + 1
  end
  local spare = math.max(0, next_row - canvas.height) -- moved up where they would leave the canvas
  for i = #list, 1, -1 do
    local most = canvas.height - 1 - (#list - i)
    if spare > 0 and list[i].row > most then list[i].row = math.max(0, most) end
  end
  return list
end

--- The line that says what the colours are.
local function scale_of(view, colored)
  local color, bar = view.panel.color, {}
  for k = 0, 9 do
    if colored then bar[#bar + 1] = Canvas.paint("█", palette.at(view.panel.map, k / 9))
    elseif k < 5 then bar[#bar + 1] = strokes.SHADES[k] end
  end
  local title = axis.title(color)
  local span = view.c1 - view.c0
  return ("%s%s [%s] %s"):format(title ~= "" and title .. ": " or "", axis.number(view.c0, span), table.concat(bar),
                                 axis.number(view.c1, span))
end

--- Columns that the ticks of a view take on the left and the names on the right; its ticks.
local function margins(view, width, height)
  local panel, name_width, left = view.panel, 0, 0
  for _, layer in ipairs(view.layers) do
    if layer.name then name_width = math.max(name_width, 1 + width_of(fit(layer.name, width // 3))) end
  end
  local spare = panel.rows and 4 * height - panel.rows
  if spare and spare >= 0 and spare < 4 and view.y1 == panel.rows - 0.5 and view.y0 == -0.5 then
    view.y1 = 4 * height - 0.5                   -- a row of dots is a neuron
  end
  local ticks = axis.ticks(panel.y, view.y0, view.y1, math.max(2, height // 3))
  for _, tick in ipairs(ticks) do left = math.max(left, width_of(tick.text)) end
  return left, name_width, ticks
end

--- Lines of a view, each of so many columns; left, name_width : of its margins, at least.
local function panel_lines(view, width, height, colored, left, name_width)
  local panel = view.panel
  local own_left, own_names, y_ticks = margins(view, width, height)
  left, name_width = math.max(left, own_left), math.max(name_width, own_names)
  local w = width - left - 2 - name_width
  if w < 4 then core.fail("ValueError", 2, "plot: %d characters are too few for a panel", width) end
  local canvas = Canvas.new(w, height)
  local sx, sy = strokes.scales(view, canvas)
  for k, layer in ipairs(view.layers) do strokes.draw[layer.kind](canvas, layer, sx, sy, view, k == 1, colored) end
  if panel.note then
    local k, text = 0, centred(panel.note, w)
    for _, code in utf8.codes(text) do
      if code ~= 32 then canvas:put(k, height // 2, utf8.char(code), nil, nil, true) end
      k = k + 1
    end
  end

  local labels = {}
  for _, tick in ipairs(y_ticks) do
    local row = math.floor(sy(tick.at) + 0.5) // 4
    if row >= 0 and row < height then labels[row] = tick.text end
  end
  local right = {}
  for _, item in ipairs(names_of(view, canvas, sy)) do
    right[item.row] = " " .. Canvas.paint(fit(item.name, width // 3), colored and item.color or nil)
  end

  local lines, margin = {}, (" "):rep(left + 2)
  if view.title then lines[1] = pad(margin .. centred(view.title, w), width) end
  local y_title, scale = axis.title(panel.y), panel.color and not view.before and scale_of(view, colored) or ""
  if y_title ~= "" or scale ~= "" then
    local space = width - name_width - width_of(y_title) - width_of(scale)
    if space < 1 and scale ~= "" and y_title ~= "" then
      lines[#lines + 1] = pad(scale, width)
      scale = ""
    end
    lines[#lines + 1] = pad(y_title .. (" "):rep(space) .. scale, width)
  end
  for row, text in ipairs(canvas:lines(colored)) do
    local label = labels[row - 1]
    local start = label and (" "):rep(left - width_of(label)) .. label .. " ┤" or (" "):rep(left) .. " │"
    lines[#lines + 1] = pad(start .. text .. (right[row - 1] or ""), width)
  end

  local x_ticks = axis.ticks(panel.x, view.x0, view.x1, math.max(2, w // 10))
  local at, texts, last = {}, {}, 0
  local function place(tick) return math.min(w - 1, math.max(0, math.floor(sx(tick.at) + 0.5) // 2)) end
  for _, tick in ipairs(x_ticks) do at[place(tick)] = true end
  local line = {}
  for column = 0, w - 1 do line[column + 1] = at[column] and "┬" or "─" end
  lines[#lines + 1] = pad((" "):rep(left) .. " └" .. table.concat(line), width)
  if not view.labelled then return lines end
  for _, tick in ipairs(x_ticks) do
    local n = width_of(tick.text)
    local start = math.min(left + 2 + place(tick) - (n - 1) // 2, width - n)
    if start > last or last == 0 then
      texts[#texts + 1] = (" "):rep(start - last) .. tick.text
      last = start + n
    end
  end
  lines[#lines + 1] = pad(table.concat(texts), width)
  local x_title = axis.title(panel.x)
  if x_title ~= "" then lines[#lines + 1] = pad(margin .. centred(x_title, w), width) end
  return lines
end

-- ---- a figure -------------------------------------------------------------------------------------------------------

--- Six frames of what moves, side by side.
local function strip(fig)
  local frames = figure.frames(fig)
  if not frames then return figure.views(fig) end
  local rows, n = {}, math.min(6, #frames)
  for k = 1, n do
    local frame = n == 1 and 1 or 1 + (k - 1) * (#frames - 1) // (n - 1)
    local row = (k - 1) // 3 + 1
    rows[row] = rows[row] or {}
    local view = figure.views(fig, frame)[1][1]
    view.after, view.before = k % 3 ~= 1, k % 3 ~= 0 and k < n -- the axis stands once in a row, so does the scale
    table.insert(rows[row], view)
  end
  return rows
end
M.strip = strip

local function default_width()
  local columns = core.columns(1)
  return columns and math.max(40, math.min(columns, 120)) or 80
end

local function has_colors()
  local no, term = os.getenv "NO_COLOR", os.getenv "TERM"
  return core.columns(1) ~= nil and (no == nil or no == "") and term ~= "dumb"
end

local function size(name, x, least, default)
  if x == nil then return default end
  if math.type(x) ~= "integer" or x < least or x > 1000 then
    core.fail("ValueError", 3, "plot: the %s is a whole number of characters from %d to 1000, not %s", name, least,
              tostring(x))
  end
  return x
end

local function render(views, fig, opts)
  local width = size("width", opts.width or fig.width, 20, default_width())
  local colored = opts.color
  if colored == nil then colored = has_colors() end
  local out = {}
  if fig.title then out[1] = (centred(fig.title, width):gsub("%s+$", "")) end
  local heights, left, names = {}, 0, 0
  for i, row in ipairs(views) do
    local height = fig.heights and 12 or 0
    for _, view in ipairs(fig.heights and {} or row) do height = math.max(height, default_height(view)) end
    height = size("height", opts.height or fig.height, 1, height)
    heights[i] = fig.heights and math.max(1, math.floor(height * fig.heights[i] + 0.5)) or height
    if fig.share_x then                          -- one under the other
      local own_left, own_names = margins(row[1], width, heights[i])
      left, names = math.max(left, own_left), math.max(names, own_names)
    end
  end
  for i, row in ipairs(views) do
    local own, blocks, most = (width - 2 * (#row - 1)) // #row, {}, 0
    for k, view in ipairs(row) do
      blocks[k] = panel_lines(view, own, heights[i], colored, left, names)
      most = math.max(most, #blocks[k])
    end
    for k = 1, most do
      local parts = {}
      for j, block in ipairs(blocks) do -- panels without a title begin lower
        local skip = most - #block
        parts[j] = block[k - skip] or (" "):rep(own)
      end
      out[#out + 1] = (table.concat(parts, "  "):gsub("%s+$", ""))
    end
    if i < #views and not fig.share_x then out[#out + 1] = "" end
  end
  return table.concat(out, "\n")
end

function M.text(fig, opts)
  require "bdl.args"({[0] = "figure:text", width = false, height = false, color = false}, opts)
  return render(strip(fig), fig, opts)
end

--- Prints a figure; one that moves plays where the output is a terminal.
function M.show(fig)
  local frames = figure.frames(fig)
  if not frames or not core.columns(1) then return print(fig) end
  for k = 1, #frames do
    local text = render(figure.views(fig, k), fig, {})
    local _, lines = text:gsub("\n", "\n")
    io.stdout:write(k > 1 and ("\27[%dA"):format(lines + 1) or "", "\27[J", text, "\n")
    io.stdout:flush()
    core.sleep(0.1)
  end
end

return M

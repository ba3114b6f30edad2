--- Figures through gnuplot: the script of a figure, files, windows.  gnuplot is found at run time; Debian: gnuplot-nox.
--
-- The script has data and all; what users wrote stands in it with every character that could mean something to gnuplot
-- as its octal number, and the shell sees names of temporary files alone.  Sizes are in inches; a point is 1/72.
local core = require "bdl.core"
local args = require "bdl.args"
local axis = require "bdl.plot.axis"
local figure = require "bdl.plot.figure"
local layout = require "bdl.plot.layout"
local none = require "bdl.none".none
local numbers = require "bdl.plot.numbers"
local palette = require "bdl.plot.palette"
local program = require "bdl.plot.program"
local suggest = require "bdl.suggest"
local textfile = require "bdl.textfile"
local terminal = require "bdl.plot.terminal"

local M = {}

--- Ending -> the terminal of gnuplot, for width and height in inches and dots an inch; how much larger its fonts
--  must be, and how many characters nearer to an axis it has to write, to look alike.
local TERMINALS = {
  png = function(w, h, dpi)
    local scale = dpi / 72
    return ("pngcairo noenhanced rounded size %d,%d font 'Sans,8' fontscale %.4g linewidth %.4g pointscale %.4g "
            .. "background '#FFFFFF'"):format(w * dpi // 1, h * dpi // 1, scale, scale, scale), 1
  end,
  svg = function(w, h)
    return ("svg noenhanced rounded size %g,%g dynamic font 'Sans,10.5' background '#FFFFFF'")
      :format(w * 72, h * 72), 4 / 3, 0.5
  end,
  pdf = function(w, h)
    return ("pdfcairo noenhanced rounded size %gin,%gin font 'Sans,8' fontscale 1 linewidth 2 pointscale 1.6")
      :format(w, h), 1
  end,
  gif = function(w, h, dpi, delay)
    local scale = dpi / 72
    return ("gif noenhanced %s size %d,%d font 'Sans,%.3g' linewidth %.3g background '#FFFFFF'")
      :format(delay and ("animate delay %d loop 0"):format(delay) or "", w * dpi // 1, h * dpi // 1, 8 * scale, scale),
      scale
  end,
}
local WINDOWS = {"qt", "wxt", "x11", "aqua", "windows"}
local MOST = {curve = 4000, map = 1000, dots = 1000} -- points across a picture, cells along an axis
local MANY = 20000                               -- dots; more of them are cells of a picture, which gnuplot draws at once

--- text as gnuplot reads it, whatever it holds.
local function quoted(text)
  return '"' .. text:gsub("%c", " "):gsub("[^%w %.,:=()/%%+<>_\128-\255-]", function(c)
    return ("\\%03o"):format(c:byte())
  end) .. '"'
end

-- ---- data -----------------------------------------------------------------------------------------------------------

local function number(v) return v ~= v and "NaN" or ("%.9g"):format(v) end

--- Names a block of data; rows : iterator of texts.
local function block(out, lines)
  out.blocks = out.blocks + 1
  local name = ("$d%d"):format(out.blocks)
  out[#out + 1] = name .. " << EOD"
  out[#out + 1] = table.concat(lines, "\n")
  out[#out + 1] = "EOD"
  return name
end

--- Columns side by side; a row with a number that is none is a gap.
local function columns(out, ...)
  local lists, lines = {...}, {}
  for i = 1, #lists[1] do
    local parts, whole = {}, true
    for k, list in ipairs(lists) do
      whole = whole and numbers.is_finite(list[i])
      parts[k] = number(list[i])
    end
    lines[i] = whole and table.concat(parts, " ") or ""
  end
  return block(out, lines)
end

local function color_of(layer) return layer.color and palette.line(layer.color) or "#333333" end

local function title_of(layer) return layer.name and "title " .. quoted(layer.name) or "notitle" end

--- Kind of layer -> what `plot` draws, a list.
local draw = {}

function draw.line(out, layer)
  local x, y = numbers.thin(layer.x, layer.y, MOST.curve)
  return {("%s using 1:2 with lines lw %g lc rgb '%s' %s")
            :format(columns(out, x, y), #x < #layer.x and 0.8 or 1.2, color_of(layer), title_of(layer))}
end

--- The m x n cells of lists of words as a picture over the axes.  Where they stand is data: gnuplot needs microseconds for
--  each expression.
local function image(out, layer, rows, n)
  local function middle(from, to, k, of) return number(from + (k - 0.5) * (to - from) / of) end
  local m, lines, head = #rows, {}, {tostring(n)}
  for j = 1, n do head[j + 1] = middle(layer.x0, layer.x1, j, n) end
  lines[1] = table.concat(head, " ")
  for i, row in ipairs(rows) do lines[i + 1] = middle(layer.y0, layer.y1, i, m) .. " " .. table.concat(row, " ", 1, n) end
  return block(out, lines) .. " nonuniform matrix with image notitle"
end

--- Dots as cells of a picture, finer where there are more in the panel; value: in the palette.
local function bitmap(out, layer, view, dots, value)
  local n = math.min(MOST.dots, (8 * dots) ^ 0.5 // 1 | 0)
  local cells, x, y, x0, y0 = {}, layer.x, layer.y, view.x0, view.y0
  local m = math.min(view.panel.rows or n, n // 2)
  local per_x, per_y = n / (view.x1 - x0), m / (view.y1 - y0)
  for i = 1, m do
    cells[i] = {}
    for j = 1, n do cells[i][j] = "NaN" end
  end
  for e = 1, #x do
    local row, j = cells[(y[e] - y0) * per_y // 1 + 1], (x[e] - x0) * per_x // 1 + 1
    if row and j >= 1 and j <= n then row[j] = value end
  end
  return image(out, {x0 = x0, x1 = view.x1, y0 = y0, y1 = view.y1}, cells, n)
end

--- Colours of the layers whose dots are cells, and how many dots; nil: gnuplot draws each dot.
local function dense(view)
  local dots, colors = 0, {}
  for k, layer in ipairs(view.layers) do
    colors[k] = color_of(layer)
    if layer.kind == "dots" then dots = dots + #layer.x end
  end
  local panel = view.panel
  return dots > MANY and not panel.color and not panel.x.log and not panel.y.log and colors or nil, dots
end

function draw.dots(out, layer, view, height, k)
  local rows = view.panel.rows or 40             -- a dot fits its row
  local size = math.min(0.35, math.max(0.15, height * 72 / rows / 12))
  local cells, dots = dense(view)
  return {cells and bitmap(out, layer, view, dots, tostring(k))
            or ("%s using 1:2 with points pt 7 ps %.3g lc rgb '%s' notitle")
                 :format(columns(out, layer.x, layer.y), size, color_of(layer)),
          layer.name and ("NaN with points pt 7 ps 0.6 lc rgb '%s' %s"):format(color_of(layer), title_of(layer)) or nil}
end

function draw.marks(out, layer)
  local style = ("lw 1.2 pt 7 ps 0.45 lc rgb '%s'"):format(color_of(layer))
  local list = {("%s using 1:2 with linespoints %s %s"):format(columns(out, layer.x, layer.y), style, title_of(layer))}
  if layer.error then
    list[2] = ("%s using 1:2:3 with yerrorbars %s notitle"):format(columns(out, layer.x, layer.y, layer.error), style)
  end
  return list
end

function draw.bars(out, layer)
  local x, y, width = {}, {}, {}
  for i, v in ipairs(layer.y) do
    x[i], y[i], width[i] = (layer.edges[i] + layer.edges[i + 1]) / 2, v, layer.edges[i + 1] - layer.edges[i]
  end
  return {("%s using 1:2:3 with boxes fs transparent solid 0.6 noborder lc rgb '%s' %s")
            :format(columns(out, x, y, width), color_of(layer), title_of(layer))}
end

function draw.arrows(out, layer)
  return {("%s using 1:2:3:4 with vectors head filled size graph 0.012,20,60 lw 0.6 lc rgb '#999999' notitle")
            :format(columns(out, layer.x, layer.y, layer.u, layer.v))}
end

--- Cells are repeated where they are few: some viewers smooth pictures that they enlarge, and gnuplot needs 2 x 2.
function draw.map(out, layer)
  local rows, cells = numbers.shrink(layer.rows, MOST.map, MOST.map), {}
  local times = math.max(1, 200 // math.max(#rows, #rows[1]), 2 // math.min(#rows, #rows[1]))
  local n = times * #rows[1]
  for i, row in ipairs(rows) do
    local words = {}
    for j = 1, n do
      local v = row[(j - 1) // times + 1]
      words[j] = numbers.is_finite(v) and number(v) or "NaN"
    end
    for k = 1, times do cells[(i - 1) * times + k] = words end
  end
  return {image(out, layer, cells, n)}
end

-- ---- panels ---------------------------------------------------------------------------------------------------------

local function ticks(out, which, a, from, to, room, shown)
  local words = {}
  for i, tick in ipairs(axis.ticks(a, from, to, math.max(2, math.floor(room)))) do
    words[i] = ("%s %s"):format(shown and quoted(tick.text) or '""', number(tick.at))
  end
  out[#out + 1] = ("set %stics scale 0.5 out nomirror offset 0,%g (%s)"):format(which, which == "x" and out.lift or 0,
                                                                                table.concat(words, ", "))
end

--- Where a panel stands in the picture: left, right, bottom, top of its axes, in inches from the lower left corner.
local function place_panel(out, view, box, w, h)
  local panel, x_title = view.panel, axis.title(view.panel.x)
  local function put(fmt, ...) out[#out + 1] = fmt:format(...) end
  put("set lmargin at screen %.5g; set rmargin at screen %.5g", box.left / w, box.right / w)
  put("set bmargin at screen %.5g; set tmargin at screen %.5g", box.bottom / h, box.top / h)
  put("unset label; unset logscale; unset key; unset colorbox; set border %d lw 0.7", panel.map and 15 or 3)
  if view.title then
    put("set label 1 %s at screen %.5g,%.5g left %s", quoted(view.title), box.left / w, (box.head - 0.1) / h,
        out.font(9))
  end
  if panel.note then put("set label 2 %s at graph 0.5,0.5 center front tc rgb '#777777'", quoted(panel.note)) end
  for _, which in ipairs{"x", "y"} do
    local a, from, to = panel[which], view[which .. "0"], view[which .. "1"]
    put("set %srange [%s:%s]", which, number(from), number(to))
    if a.log then put("set logscale %s 10", which) end
    local room = which == "x" and (box.right - box.left) / 0.5 or (box.top - box.bottom) / 0.28
    ticks(out, which, a, from, to, room, which == "y" or view.labelled)
  end
  put("set xlabel %s offset 0,%g; set ylabel %s offset %g,0", quoted(view.labelled and x_title or ""),
      2 * out.lift, quoted(view.after and "" or axis.title(panel.y)), out.lift)
  local colors = panel.color and palette.maps[panel.map] or dense(view)
  if colors then
    local stops = {"0 '#FFFFFF'"}
    for k, color in ipairs(colors) do stops[panel.color and k or k + 1] = ("%d '%s'"):format(k, color) end
    put("set palette defined (%s)", table.concat(stops, ", "))
    put("set cbrange [%s:%s]", number(panel.color and view.c0 or 0), number(panel.color and view.c1 or #colors))
  end
  if panel.color and not view.before then
    put("set colorbox user origin %.5g,%.5g size %.5g,%.5g noborder", (box.right + 0.1) / w, box.bottom / h, 0.12 / w,
        (box.top - box.bottom) / h)
    put("set cblabel %s offset 0.8,0", quoted(axis.title(panel.color)))
    ticks(out, "cb", panel.color, view.c0, view.c1, (box.top - box.bottom) / 0.28, true)
  end
end

local function draw_panel(out, view, box, w, h)
  local list = {}
  for k, layer in ipairs(view.layers) do
    if #(layer.rows or layer.x or layer.y) > 0 then
      for _, text in ipairs(draw[layer.kind](out, layer, view, box.top - box.bottom, k)) do list[#list + 1] = text end
    end
  end
  place_panel(out, view, box, w, h)
  if layout.key(view, 1) > 0 then
    local rows, columns = layout.key(view, box.right - box.left)
    out[#out + 1] = ("set key at screen %.5g,%.5g left top horizontal maxcols %d Left reverse samplen 1.5 width 1 %s")
      :format((box.left - 0.1) / w, (box.top + 0.07 + layout.KEY * rows) / h, columns, out.font(7.5))
  end
  if #list == 0 then list[1] = "NaN notitle" end
  out[#out + 1] = "plot " .. table.concat(list, ", \\\n     ")
end

--- One picture.
local function page(out, fig, views, w, h)
  local boxes = layout.boxes(fig, views, w, h)
  out[#out + 1] = "set multiplot"
  for i, row in ipairs(views) do
    for j, view in ipairs(row) do draw_panel(out, view, boxes[i][j], w, h) end
  end
  if fig.title then
    out[#out + 1] = "reset; unset tics; unset border; unset key; set lmargin at screen 0; set rmargin at screen 1"
    out[#out + 1] = "set bmargin at screen 0; set tmargin at screen 1; set xrange [0:1]; set yrange [0:1]"
    out[#out + 1] = ("set label 1 %s at screen 0.5,%.5g center %s; plot NaN notitle")
      :format(quoted(fig.title), (h - 0.16) / h, out.font(10))
  end
  out[#out + 1] = "unset multiplot"
  out[#out + 1] = "reset"
end

--- The script of a figure for a terminal of gnuplot, which writes to its standard output.  larger, lift : as in
--  TERMINALS;  frames : all that there are, a picture each.
function M.script(fig, setting, larger, lift, w, h, frames)
  local out = {"set encoding utf8", "set terminal " .. setting, blocks = 0, lift = lift or 0}
  function out.font(size) return ("font ',%.3g'"):format(size * larger) end
  if frames then
    for k = 1, #frames do page(out, fig, figure.views(fig, k), w, h) end
  else
    page(out, fig, terminal.strip(fig), w, h)
  end
  return table.concat(out, "\n") .. "\n"
end

-- ---- files and windows ----------------------------------------------------------------------------------------------

--- The ending of a path that gnuplot can write.  Errors: TypeError, ValueError.
function M.ending(who, path)
  if type(path) ~= "string" or path == "" or path:find "%z" then
    core.fail("TypeError", 3, "%s: the path is a string, not %s", who,
              path == "" and "an empty one" or type(path) == "string" and "one with a zero byte" or "a " .. type(path))
  end
  local ending, known = (path:match "%.([%w]+)$" or ""):lower(), require "bdl.util".sorted_keys(TERMINALS)
  if not TERMINALS[ending] then
    core.fail("ValueError", 3, "%s: '%s' does not end in .%s%s", who, path, table.concat(known, ", ."),
              suggest.hint(ending, known))
  end
  return ending
end

--- Fails where a figure could not be written to the path, before there is one.
function M.check(who, path)
  M.ending(who, path)
  program.need(who)
  textfile.check(path)
end

--- Figure:save.
function M.save(fig, path, opts)
  local a = args({[0] = "figure:save", width = none, height = none, dpi = 150, fps = 10}, opts)
  local ending = M.ending("figure:save", path)
  for name, most in pairs{dpi = 2400, fps = 100} do
    local x = a[name]
    if type(x) ~= "number" or not (x >= 1 and x <= most) then
      core.fail("ValueError", 2, "figure:save: %s is a number from 1 to %d, not %s", name, most, tostring(x))
    end
  end
  local w, h = layout.size(fig, a)
  local frames = ending == "gif" and figure.frames(fig) or nil
  if ending == "gif" and opts.dpi == nil then a.dpi = 96 end
  if frames then
    w, h = layout.inches("width", a.width, 5), layout.inches("height", a.height, 4)
  end
  local setting, larger, lift = TERMINALS[ending](w, h, a.dpi, frames and math.floor(100 / a.fps + 0.5))
  textfile.check(path)
  textfile.write(path, program.run("figure:save", M.script(fig, setting, larger, lift, w, h, frames)))
end

--- Figure:show: opens a window and gives true; false where there is none to open.
function M.window(fig)
  local function set(name) return (os.getenv(name) or "") ~= "" end
  if not (set "DISPLAY" or set "WAYLAND_DISPLAY") or not program.version() then return false end
  local known = program.terminals()
  for _, name in ipairs(WINDOWS) do
    if known[name] then
      local w, h = layout.size(fig, {})
      local setting = ("%s noenhanced size %d,%d font 'Sans,10'"):format(name, w * 120 // 1, h * 120 // 1)
      program.run("figure:show", M.script(fig, setting, 1.2, 0, w, h), true)
      return true
    end
  end
  return false
end

return M

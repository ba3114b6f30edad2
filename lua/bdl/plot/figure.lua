--- Figures: rows of panels, and what every builder of them shares.
--
--   Figure  rows = {{panel, ..}, ..}, share_x, heights, width, height
--   panel   x, y : axes (plot/axis.lua);  layers, the first drawn first;  title, note;
--           map, color : name of the colours of its maps, and the axis of their numbers;  aspect : height over width
--   layer   line {x, y}, dots {x, y}, marks {x, y, error}, bars {edges, y}, arrows {x, y, u, v},
--           map {rows, x0, x1, y0, y1};  with name, color;  or frames = {layer, ..}, of which one is shown at a time
--
-- Back ends: plot/terminal.lua, plot/gnuplot.lua.  A NaN in a line or a map is a gap.
local core = require "bdl.core"
local args = require "bdl.args"
local axis = require "bdl.plot.axis"
local class = require "bdl.class"
local none = require "bdl.none".none
local numbers = require "bdl.plot.numbers"

local M = {}

--- Rows of panels.  print shows them as text; made by bdl.plot.lines, raster, .. and bdl.plot.figure.
--  a + b draws both into one panel.
--  Example:
--    local fig = bdl.plot.lines{1, 4, 9}
--    print(bdl.class.isa(fig, bdl.plot.Figure), #fig:text{width = 40})
local Figure = class "Figure"
M.Figure = Figure

-- ---- options --------------------------------------------------------------------------------------------------------

local COMMON = {title = none, x_label = none, y_label = none, x_limits = none, y_limits = none, width = none,
                height = none}

--- Options of a builder: those of all, and its own with their defaults.
function M.options(who, own, opts)
  local spec = {[0] = who}
  for name, default in pairs(COMMON) do spec[name] = default end
  for name, default in pairs(own) do spec[name] = default end
  if opts ~= nil and (type(opts) ~= "table" or getmetatable(opts) ~= nil) then
    core.fail("TypeError", 3, "%s: options are a table, as in {title = \"..\"}, not a %s", who, class.typename(opts))
  end
  local a = args(spec, opts or {})
  a.who = who
  return a
end

--- a[name .. "_limits"] as the limits of an axis.
function M.limit(a, name, ax)
  local pair = a[name .. "_limits"]
  if pair == nil then return end
  if type(pair) ~= "table" or getmetatable(pair) ~= nil or pair[1] == nil or pair[2] == nil then
    core.fail("TypeError", 4, "%s: %s_limits are {from, to}", a.who, name)
  end
  local what = name .. "_limits"
  local from, to = numbers.scalar(a.who, what, pair[1], ax.unit), numbers.scalar(a.who, what, pair[2], ax.unit)
  if not (from < to) or not numbers.is_finite(from) or not numbers.is_finite(to) or ax.log and from <= 0 then
    core.fail("ValueError", 4, "%s: %s go from a number to a larger one%s, not from %g to %g", a.who, what,
              ax.log and ", both above 0" or "", from, to)
  end
  ax.from, ax.to = from, to
end

--- A text as one line; numbers too.
function M.line(who, what, x)
  if x == nil then return nil end
  if type(x) ~= "string" and type(x) ~= "number" then
    core.fail("TypeError", 4, "%s: %s is a text, not a %s", who, what, class.typename(x))
  end
  return (tostring(x):gsub("%c", " "))
end

--- The figure of a panel, with what the options of a say of it.
function M.single(a, panel)
  panel.title = M.line(a.who, "title", a.title)
  for _, name in ipairs{"x", "y"} do
    local ax = panel[name]
    ax.label = M.line(a.who, name .. "_label", a[name .. "_label"]) or ax.label
    if ax.label == nil and axis.is_time(ax.unit) then ax.label = "time" end
    M.limit(a, name, ax)
  end
  local fig = class.alloc(Figure)
  fig.rows = {{panel}}
  fig.width, fig.height = a.width, a.height
  return fig
end

--- names of layers, as many as there are layers.
function M.name_layers(a, layers, names)
  if names == nil then return layers end
  if type(names) ~= "table" or #names ~= #layers then
    core.fail("ValueError", 3, "%s: %s names for %d curves", a.who, type(names) == "table" and #names or "no list of",
              #layers)
  end
  for k, layer in ipairs(layers) do layer.name = M.line(a.who, "a name", names[k]) end
  return layers
end

-- ---- combining ------------------------------------------------------------------------------------------------------

local function panels_of(fig)
  local list = {}
  for _, row in ipairs(fig.rows) do table.move(row, 1, #row, #list + 1, list) end
  return list
end

local function shares(rows)
  if #rows < 2 then return false end
  for _, row in ipairs(rows) do
    local a, b = row[1].x, rows[1][1].x
    if #row ~= 1 or axis.title(a) ~= axis.title(b) or axis.title(a) == "" or a.log ~= b.log then return false end
  end
  return true
end

local function check_figure(x)
  if not class.isa(x, Figure) then
    core.hint "plot.figure{a, {b, c}}: a on top, b and c side by side below"
    core.fail("TypeError", 3, "plot.figure: a figure is needed, not a %s", class.typename(x))
  end
  return x
end

--- Figures as one: each is a row, or a list of those that stand side by side.
--  Options: share_x (rows of one panel have the same x axis; the default where their labels are the same), heights
--    (a list, of rows, relative), title, width, height (characters in a terminal).
--  Example:
--    local t = bdl.linspace(0, 10, 50)
--    print(bdl.plot.figure({bdl.plot.lines(bdl.sin(t), {x = t}), bdl.plot.lines(bdl.cos(t), {x = t})}, {width = 60}))
function M.figure(figures, opts)
  local a = args({[0] = "plot.figure", share_x = none, heights = none, title = none, width = none, height = none},
                 opts or {})
  if type(figures) ~= "table" or class.of(figures) or #figures == 0 then
    core.hint "plot.figure{a, {b, c}}: a on top, b and c side by side below"
    core.fail("TypeError", 2, "plot.figure: a list of figures is needed, not %s",
              type(figures) == "table" and not class.of(figures) and "an empty one" or "a " .. class.typename(figures))
  end
  local rows = {}
  for _, item in ipairs(figures) do
    if type(item) == "table" and class.of(item) == nil then
      local row = {}
      for _, part in ipairs(item) do
        local panels = panels_of(check_figure(part))
        table.move(panels, 1, #panels, #row + 1, row)
      end
      rows[#rows + 1] = #row > 0 and row or core.fail("TypeError", 2, "plot.figure: row %d is empty", #rows + 1)
    else
      local own = check_figure(item).rows
      table.move(own, 1, #own, #rows + 1, rows)
    end
  end
  local heights = a.heights and numbers.flat("plot.figure", "heights", a.heights)
  if heights and #heights ~= #rows then
    core.fail("ValueError", 2, "plot.figure: %d heights for %d rows", #heights, #rows)
  end
  for _, h in ipairs(heights or {}) do
    if not (h > 0 and h < 1000) then core.fail("ValueError", 2, "plot.figure: heights are above 0, not %g", h) end
  end
  local fig = class.alloc(Figure)
  fig.rows, fig.title, fig.heights = rows, M.line("plot.figure", "title", a.title), heights
  fig.width, fig.height = a.width, a.height
  if a.share_x == nil then fig.share_x = shares(rows) else fig.share_x = a.share_x end
  return fig
end

--- Both in one panel; numbers of the second in the units of the first.
function Figure.__add(a, b)
  for _, x in ipairs{a, b} do
    if not class.isa(x, Figure) then
      core.fail("TypeError", 2, "a figure is added to a figure, not a %s", class.typename(x))
    elseif #panels_of(x) ~= 1 then
      core.fail("ValueError", 2, "figures of one panel can be added; plot.figure combines others")
    end
  end
  local p, q = a.rows[1][1], b.rows[1][1]
  local panel = setmetatable({layers = table.move(p.layers, 1, #p.layers, 1, {}), note = p.note and q.note,
                              map = p.map or q.map, color = p.color or q.color}, {__index = p})
  for _, layer in ipairs(q.layers) do
    local moved = setmetatable({}, {__index = layer})
    if layer.kind ~= "map" then
      for _, name in ipairs{"x", "y"} do
        local list = name == "x" and layer.kind == "bars" and "edges" or name
        moved[list] = numbers.convert("plot", name .. " of the second", layer[list], q[name].unit, p[name].unit)
      end
    end
    if layer.color then moved.color = #panel.layers + 1 end
    panel.layers[#panel.layers + 1] = moved
  end
  local fig = class.alloc(Figure)
  fig.rows, fig.width, fig.height = {{panel}}, a.width, a.height
  return fig
end

-- ---- for the back ends ----------------------------------------------------------------------------------------------

--- The layers of a panel that are shown, of those with frames the k-th.
local function shown(panel, k)
  local layers = {}
  for i, layer in ipairs(panel.layers) do layers[i] = layer.frames and layer.frames[k] or layer end
  return layers
end

--- Numbers of frames; nil where nothing moves.
function M.frames(fig)
  for _, panel in ipairs(panels_of(fig)) do
    for _, layer in ipairs(panel.layers) do
      if layer.frames then return layer.frames end
    end
  end
end

--- Rows of {panel, title, layers, x0, x1, y0, y1, c0, c1, labelled}: ranges of the axes and of the colours;
--  labelled: does the x axis have its label here?  frame : which one, 1.
function M.views(fig, frame)
  local rows, column = {}, {}
  for i, row in ipairs(fig.rows) do column[i] = row[1] end
  for i, row in ipairs(fig.rows) do
    rows[i] = {}
    for j, panel in ipairs(row) do
      local v = {panel = panel, layers = shown(panel, frame or 1), labelled = not fig.share_x or i == #fig.rows}
      v.title = frame and v.layers[1].title or panel.title
      v.x0, v.x1 = axis.range(fig.share_x and column or {panel}, "x")
      v.y0, v.y1 = axis.range({panel}, "y")
      if panel.y.reverse then v.y0, v.y1 = v.y1, v.y0 end
      if panel.color then v.c0, v.c1 = panel.color.from, panel.color.to end
      rows[i][j] = v
    end
  end
  return rows
end

-- ---- showing --------------------------------------------------------------------------------------------------------

--- The picture as text.  Options: width, height (characters; height of a panel), color (24-bit colours of a terminal).
function Figure:text(opts) return require "bdl.plot.terminal".text(self, opts or {}) end

function Figure:__tostring() return self:text() end

--- Writes the picture to a file by its ending, with gnuplot: .png, .svg, .pdf; .gif moves.
--  Options: width, height (a length, or inches), dpi (150, of .png and .gif), fps (10, of .gif).
--  Errors: ValueError, another ending; NotSupportedError, there is no gnuplot; IOError, the file cannot be written.
function Figure:save(path, opts) require "bdl.plot.gnuplot".save(self, path, opts or {}) end

--- Opens a window where gnuplot has one to open; else the picture is printed, one that moves plays.
function Figure:show()
  if not require "bdl.plot.gnuplot".window(self) then require "bdl.plot.terminal".show(self) end
end

return M

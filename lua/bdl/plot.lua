--- Pictures in the terminal, as text.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local none = require "bdl.none".none

local plot = {}

--- The bit of a dot in a braille character: column 0..1, row 0..3.
local DOT = {[0] = {[0] = 0x01, 0x02, 0x04, 0x40}, {[0] = 0x08, 0x10, 0x20, 0x80}}

--- Text of width x height characters; dot(x, y) says whether the dot at column x (0..2 width - 1), row y (0..4 height -
--  1) is set.
local function braille(width, height, dot)
  local lines = {}
  for row = 0, height - 1 do
    local line = {}
    for column = 0, width - 1 do
      local bits = 0
      for x = 0, 1 do
        for y = 0, 3 do
          if dot(2 * column + x, 4 * row + y) then bits = bits | DOT[x][y] end
        end
      end
      line[column + 1] = utf8.char(0x2800 + bits)
    end
    lines[row + 1] = table.concat(line)
  end
  return lines
end

--- Steps and rows of the spikes in a dense raster, its rows, its steps.
local function dense_points(spikes)
  local step, row = {}, {}
  for i, values in ipairs(core.totable(core.bind("gt", {}, core.cast(spikes, "float32"), 0))) do
    for k, value in ipairs(values) do
      if value then step[#step + 1], row[#row + 1] = i - 1, k - 1 end
    end
  end
  return step, row, spikes.shape[2], spikes.shape[1]
end

--- A raster: time to the right, one row of dots a neuron, the first on top.
--  spikes : a SpikeMonitor, or [steps, n], a spike where true or > 0;  opts: width (characters, 100), duration (a
--  quantity, for the axis), rows (ids to show, from 0, in that order).
function plot.raster(spikes, opts)
  local a = args({[0] = "plot.raster", width = 100, duration = none, rows = none}, opts or {})
  local is_monitor = class.of(spikes) and class.isa(spikes, require "bdl.monitor".SpikeMonitor)
  if not is_monitor and (not core.is_tensor(spikes) or spikes.ndim ~= 2) then
    core.fail("ShapeError", 2, "plot.raster: spikes are a SpikeMonitor or [steps, neurons], not %s",
              core.is_tensor(spikes) and ("[%s]"):format(table.concat(spikes.shape, ","))
                or "a " .. class.typename(spikes))
  end
  local step, row, n, steps
  if is_monitor then step, row, n, steps = spikes:raster_points() else step, row, n, steps = dense_points(spikes) end
  local columns, seen, place = 2 * a.width, {}, nil
  if a.rows then
    place, n = {}, 0
    for _, id in ipairs(core.totable(core.is_tensor(a.rows) and a.rows or core.tensor(a.rows))) do
      place[id], n = n, n + 1
    end
  end
  for k = 1, #step do
    local y = row[k]
    if place then y = place[y] end
    if y then seen[step[k] * columns // steps * n + y] = true end
  end
  local lines = braille(a.width, (n + 3) // 4, function(x, y) return y < n and seen[x * n + y] end)
  if a.duration then
    local text = tostring(a.duration)
    lines[#lines + 1] = "0" .. (" "):rep(a.width - 1 - #text) .. text
  end
  return table.concat(lines, "\n")
end

return plot

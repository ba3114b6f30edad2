--- Pictures in the terminal, as text.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local none = require "bdl.none".none

local plot = {}

--- The bit of a dot in a braille character: column 0..1, row 0..3.
local DOT = {[0] = {[0] = 0x01, 0x02, 0x04, 0x40}, {[0] = 0x08, 0x10, 0x20, 0x80}}

--- Text of width x height characters; dot(x, y) says whether the dot at column x (0..2 width - 1), row y (0..4 height - 1) is set.
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

--- A raster: time to the right, one row of dots a neuron, the first on top.
--  spikes : [steps, n], a spike where true or > 0;  opts: width (characters, 100), duration (a quantity, for the axis).
function plot.raster(spikes, opts)
  local a = args({[0] = "plot.raster", width = 100, duration = none}, opts or {})
  if not core.is_tensor(spikes) or spikes.ndim ~= 2 then
    core.fail("ShapeError", 2, "plot.raster: spikes are [steps, neurons], not %s",
              core.is_tensor(spikes) and ("[%s]"):format(table.concat(spikes.shape, ",")) or "a " .. class.typename(spikes))
  end
  local steps, n, columns = spikes.shape[1], spikes.shape[2], 2 * a.width
  local seen = {}
  for i, row in ipairs(core.totable(core.bind("gt", {}, core.cast(spikes, "float32"), 0))) do
    local x = (i - 1) * columns // steps
    for y = 1, n do
      if row[y] then seen[x * n + y - 1] = true end
    end
  end
  local lines = braille(a.width, (n + 3) // 4, function(x, y) return y < n and seen[x * n + y] end)
  if a.duration then
    local text = tostring(a.duration)
    lines[#lines + 1] = "0" .. (" "):rep(a.width - 1 - #text) .. text
  end
  return table.concat(lines, "\n")
end

return plot

--- A canvas of characters: dots of Unicode's braille, 2 x 4 a character, or a character itself, each with a colour.
local Canvas = {}
Canvas.__index = Canvas

--- The bit of a dot in a braille character: column 0..1, row 0..3.
local DOT = {[0] = {[0] = 0x01, 0x02, 0x04, 0x40}, {[0] = 0x08, 0x10, 0x20, 0x80}}

--- width x height characters.
function Canvas.new(width, height)
  return setmetatable({width = width, height = height, dots = {}, color = {}, glyph = {}, over = {}}, Canvas)
end

--- The dot at column x in 0..2 width - 1, row y in 0..4 height - 1 from the top; others are not there.
function Canvas:dot(x, y, color)
  if x < 0 or y < 0 or x >= 2 * self.width or y >= 4 * self.height then return end
  local cell = (y // 4) * self.width + x // 2
  self.dots[cell] = (self.dots[cell] or 0) | DOT[x % 2][y % 4]
  self.color[cell] = color
end

--- A character at a cell, under the dots or `above` them.  colors : of the character and behind it, both or none.
function Canvas:put(column, row, text, color, behind, above)
  if column < 0 or row < 0 or column >= self.width or row >= self.height then return end
  local cell = row * self.width + column
  self[above and "over" or "glyph"][cell] = {text, color, behind}
end

--- The part of a line inside 0..w, 0..h, nil where there is none.  Source: Liang & Barsky (1984), ACM Trans.
--  Graph. 3:1.
local function clip(x0, y0, x1, y1, w, h)
  local from, to, dx, dy = 0, 1, x1 - x0, y1 - y0
  for _, edge in ipairs{{-dx, x0}, {dx, w - x0}, {-dy, y0}, {dy, h - y0}} do
    local p, q = edge[1], edge[2]
    if p == 0 and q < 0 then return nil end
    if p < 0 then from = math.max(from, q / p) elseif p > 0 then to = math.min(to, q / p) end
  end
  if from > to then return nil end
  return x0 + from * dx, y0 + from * dy, x0 + to * dx, y0 + to * dy
end

--- A line between two places, in dots.
function Canvas:line(x0, y0, x1, y1, color)
  x0, y0, x1, y1 = clip(x0, y0, x1, y1, 2 * self.width - 1, 4 * self.height - 1)
  if not x0 then return end
  local n = math.max(1, math.ceil(math.max(math.abs(x1 - x0), math.abs(y1 - y0))))
  for k = 0, n do
    self:dot(math.floor(x0 + (x1 - x0) * k / n + 0.5), math.floor(y0 + (y1 - y0) * k / n + 0.5), color)
  end
end

local function escape(kind, color)
  local r, g, b = tonumber(color:sub(2, 3), 16), tonumber(color:sub(4, 5), 16), tonumber(color:sub(6, 7), 16)
  return ("\27[%d;2;%d;%d;%dm"):format(kind, r, g, b)
end

--- text in a colour, "#RRGGBB"; `behind` too.
function Canvas.paint(text, color, behind)
  if not color and not behind then return text end
  return (color and escape(38, color) or "") .. (behind and escape(48, behind) or "") .. text .. "\27[0m"
end

--- The lines; colours where `colored`.
function Canvas:lines(colored)
  local lines = {}
  for row = 0, self.height - 1 do
    local line, run, color, behind = {}, {}, nil, nil
    local function flush()
      if #run > 0 then line[#line + 1] = Canvas.paint(table.concat(run), color, behind) end
      run = {}
    end
    for column = 0, self.width - 1 do
      local cell = row * self.width + column
      local own, dots = self.over[cell] or self.glyph[cell], self.dots[cell]
      local text, c, b = " ", nil, nil
      if dots and not self.over[cell] then
        text, c, b = utf8.char(0x2800 + dots), self.color[cell], own and own[3]
      elseif own then
        text, c, b = own[1], own[2], own[3]
      end
      if not colored then c, b = nil, nil end
      if c ~= color or b ~= behind then flush() end
      run[#run + 1], color, behind = text, c, b
    end
    flush()
    lines[row + 1] = table.concat(line)
  end
  return lines
end

return Canvas

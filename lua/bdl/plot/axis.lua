--- Axes: what they say, how far they go, where ticks stand.
--
--   {label, unit, from, to (nil: by what is drawn), log, integer, tight, reverse}
local core = require "bdl.core"
local numbers = require "bdl.plot.numbers"

local axis = {}

function axis.is_time(unit) return unit ~= nil and core.same_dim(unit, require "bdl.units".ms) end

--- "V (mV)", "current (µA/cm²)"
function axis.title(a)
  if not a.unit then return a.label or "" end
  local unit = axis.unit_text(a.unit)
  return a.label and ("%s (%s)"):format(a.label, unit) or unit
end

local SUPERSCRIPT = {["-"] = "⁻", ["."] = "·"}
for k, digit in ipairs{"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"} do SUPERSCRIPT[tostring(k - 1)] = digit end

local function raised(text) return (text:gsub(".", SUPERSCRIPT)) end

--- A unit as one prints it: uA / cm ^ 2 -> µA/cm².
function axis.unit_text(unit)
  return (tostring(unit):gsub("%f[%w]u(%a)", "µ%1"):gsub("%f[%w]ohm%f[%W]", "Ω")
    :gsub("%s*/%s*", "/"):gsub("%s*%*%s*", "·"):gsub("%s*%^%s*(%-?%d+)", raised))
end

-- ---- ranges ---------------------------------------------------------------------------------------------------------

local function each(lists, take)
  for _, list in ipairs(lists) do
    for _, v in ipairs(list) do take(v) end
  end
end

--- Everything that a layer has on an axis.
local function extent(layer, name, take)
  if layer.kind == "map" then
    take(layer[name .. "0"])
    take(layer[name .. "1"])
  elseif layer.kind == "bars" then
    each({name == "x" and layer.edges or layer.y}, take)
    if name == "y" then take(0) end
  else
    each({layer[name]}, take)
    if name == "y" and layer.error then
      for i, v in ipairs(layer.y) do
        take(v - layer.error[i])
        take(v + layer.error[i])
      end
    end
  end
end

--- From and to of an axis over some panels: what is drawn, and some space where it is not tight; limits that
--  were given win.
function axis.range(panels, name)
  local a, low, high = panels[1][name], math.huge, -math.huge
  local function take(v)
    if numbers.is_finite(v) and (not a.log or v > 0) then low, high = math.min(low, v), math.max(high, v) end
  end
  for _, panel in ipairs(panels) do
    for _, layer in ipairs(panel.layers) do
      for _, part in ipairs(layer.frames or {layer}) do extent(part, name, take) end
    end
  end
  if low > high then low, high = a.log and 1 or 0, a.log and 10 or 1 end
  local bottom = low
  if a.log then low, high = math.log(low, 10), math.log(high, 10) end
  if low == high then
    local half = a.log and 0.5 or low == 0 and 1 or math.abs(low) * 0.1
    low, high = (name ~= "y" or low ~= 0 or a.log) and low - half or 0, high + half
  elseif not a.tight then
    local pad = 0.05 * (high - low)
    low, high = low - pad, high + pad
    if name == "y" and bottom == 0 and not a.log then low = 0 end -- what is never negative starts at 0
  end
  if a.log then low, high = 10^low, 10^high end
  low, high = a.from or low, a.to or high
  if low == high then high = high + (low == 0 and 1 or math.abs(low)) end
  return low, high
end

-- ---- ticks ----------------------------------------------------------------------------------------------------------

--- Decimals that `step` needs.
local function decimals(step) return math.max(0, math.ceil(-math.log(step, 10) - 1e-9)) end

--- Numbers too long or too small to print in full: 2·10⁻⁵.
local function scientific(v)
  if v == 0 then return "0" end
  local mantissa, exponent = ("%.2e"):format(v):match "^(.-)e(.*)$"
  mantissa, exponent = mantissa:gsub("%.?0+$", ""), raised(("%d"):format(tonumber(exponent)))
  if mantissa == "1" or mantissa == "-1" then return mantissa:gsub("1", "10") .. exponent end
  return mantissa .. "·10" .. exponent
end

--- A number alone; next to a span one that is far smaller is 0.
function axis.number(v, span)
  local size = math.abs(v)
  if size < 1e-3 * (span or 0) then return "0" end
  if size ~= 0 and (size < 1e-3 or size >= 1e5) then return scientific(v) end
  return (("%.4g"):format(v))
end

local function log_ticks(from, to, most)
  local ticks, first, last = {}, math.ceil(math.log(from, 10) - 1e-9), math.floor(math.log(to, 10) + 1e-9)
  local between = last - first < 2 and {1, 2, 5} or {1}
  local step = math.max(1, math.ceil((last - first + 1) / most))
  for power = first - 1, last + 1 do
    for _, m in ipairs(between) do
      local v = m * 10.0^power
      if v >= from * (1 - 1e-9) and v <= to * (1 + 1e-9) and (power - first) % step == 0 then
        ticks[#ticks + 1] = {at = v, text = (v < 1e-3 or v >= 1e5) and scientific(v) or ("%g"):format(v)}
      end
    end
  end
  return ticks
end

--- Ticks of a range, at most about so many: steps of 1, 2 or 5.
function axis.ticks(a, from, to, most)
  if a.log then return log_ticks(from, to, most) end
  local raw, ticks = math.abs(to - from) / most, {}
  local power = 10.0^math.floor(math.log(raw, 10))
  local step = 10 * power
  for _, m in ipairs{5, 2, 1} do
    if m * power >= 0.8 * raw then step = m * power end
  end
  if a.integer then step = math.max(1, step) end
  local low, high = math.min(from, to), math.max(from, to)
  local size, places = math.max(math.abs(low), math.abs(high)), decimals(step)
  local long = (size >= 1e6 or places > 4) and size < 500 * step -- three digits tell them apart
  for k = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) do
    local v = k * step
    ticks[#ticks + 1] = {at = v, text = long and scientific(v) or ("%%.%df"):format(places):format(v)}
  end
  return ticks
end

return axis

--- Colours that the colour-blind tell apart too.
local palette = {}

--- For curves.  Source: Okabe & Ito (2008), Color universal design.
palette.lines = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"}

function palette.line(k) return palette.lines[(k - 1) % #palette.lines + 1] end

--- For numbers, from the least to the most; `signed` has its middle in the middle.
--  Source: viridis: Smith & van der Walt (2015), matplotlib; cividis: Nunez, Anderton & Renslow (2018), PLoS ONE
--  13:e0199239; signed: RdBu of Brewer (2003), ColorBrewer, reversed.
palette.maps = {
  viridis = {"#440154", "#472D7B", "#3B528B", "#2C728E", "#21918C", "#28AE80", "#5EC962", "#ADDC30", "#FDE725"},
  cividis = {"#00204D", "#00336F", "#39486B", "#575C6D", "#707173", "#8A8779", "#A69D75", "#C4B56C", "#E4CF5B",
             "#FFEA46"},
  signed = {"#053061", "#2166AC", "#4393C3", "#92C5DE", "#D1E5F0", "#F7F7F7", "#FDDBC7", "#F4A582", "#D6604D",
            "#B2182B", "#67001F"},
  grey = {"#FFFFFF", "#000000"},
}

local function rgb(hex)
  return tonumber(hex:sub(2, 3), 16), tonumber(hex:sub(4, 5), 16), tonumber(hex:sub(6, 7), 16)
end

--- Colour of x in 0..1 on a map, "#RRGGBB".
function palette.at(map, x)
  local stops = palette.maps[map]
  local place = math.min(math.max(x, 0), 1) * (#stops - 1)
  local k = math.min(math.floor(place), #stops - 2)
  local f, out = place - k, {}
  local a, b = {rgb(stops[k + 1])}, {rgb(stops[k + 2])}
  for i = 1, 3 do out[i] = math.floor(a[i] + f * (b[i] - a[i]) + 0.5) end
  return ("#%02X%02X%02X"):format(table.unpack(out))
end

return palette

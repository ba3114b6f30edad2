--- What is drawn, as Lua numbers: tensors, States, lists, with their units.
local core = require "bdl.core"
local class = require "bdl.class"

local M = {}

--- Can it be drawn?  Larger numbers have differences that are infinite.
function M.is_finite(v) return math.abs(v) < 1e300 end

--- What a builder was given, as a concrete tensor.  who, what : for messages, "plot.lines", "y".
function M.tensor(who, what, x)
  if class.isa(x, require "bdl.state".State) then x = x.value end
  if core.is_tensor(x) and core.is_traced(x) or core.tracing() then
    core.hint "give the values out of the compiled function and draw them there"
    core.fail("TraceContextError", 2, "%s: inside of compiled code there are no values to draw", who)
  end
  if not core.is_tensor(x) then
    local kind = type(x)
    if kind ~= "number" and not (kind == "table" and getmetatable(x) == nil) then
      if class.isa(x, require "bdl.monitor".Monitor) then core.hint "what a monitor recorded are fields of it: m.t" end
      core.fail("TypeError", 2, "%s: %s: numbers, a tensor or a list, not a %s", who, what, class.typename(x))
    end
    local first = x
    while type(first) == "table" do first = first[1] end
    local ok, made
    if core.is_tensor(first) then ok, made = pcall(core.tensor, x) else ok, made = pcall(core.tensor, x, "float64") end
    if not ok then
      core.fail("TypeError", 2, "%s: %s: no list of numbers: %s", who, what,
                type(made) == "table" and made.message or tostring(made))
    end
    x = made
  end
  if x.dtype == "bool" then x = core.cast(x, "float32") end
  return x
end

--- Numbers as (nested) lists, their shape, their unit (nil: none).  ndim : a number of axes, or two, {1, 2}.
--  Errors: TraceContextError; TypeError no numbers; ShapeError another number of axes; ValueError none at all.
function M.read(who, what, x, ndim, hint)
  x = M.checked(who, what, x, ndim, hint)
  return core.totable(core.mantissa(x)), {table.unpack(x.shape)}, core.unit_of(x)
end

--- The same as a tensor.
function M.checked(who, what, x, ndim, hint)
  x = M.tensor(who, what, x)
  local most = type(ndim) == "table" and ndim[2] or ndim
  local least = type(ndim) == "table" and ndim[1] or ndim
  if ndim and (x.ndim < least or x.ndim > most) then
    if hint then core.hint(hint) end
    core.fail("ShapeError", 2, "%s: %s: %s expected, not the shape [%s]", who, what,
              least == most and (least == 1 and "one axis" or least .. " axes") or least .. " or " .. most .. " axes",
              table.concat(x.shape, ","))
  end
  if x.size == 0 then
    core.fail("ValueError", 2, "%s: there is nothing to draw, %s: the shape is [%s]", who, what,
              table.concat(x.shape, ","))
  end
  return x
end

--- All numbers in one list.
function M.flat(who, what, x)
  x = M.tensor(who, what, x)
  return M.read(who, what, core.bind("reshape", {shape = {x.size}}, x), 1)
end

--- How many of `unit` a `from` is.  Errors: UnitMismatchError.
local function factor(who, what, from, unit)
  if rawequal(from, unit) or from == nil and unit == nil then return 1 end
  local ok, f = pcall(function()
    return core.item(core.mantissa(core.convert(core.with_unit(core.tensor(1, "float64"), from), unit)))
  end)
  if not from or not unit or not ok then
    local function text(u) return u and "<" .. tostring(u) .. ">" or "a plain number" end
    core.fail("UnitMismatchError", 2, "%s: %s: %s does not fit %s", who, what, text(from), text(unit))
  end
  return f
end

--- list in `from`, in `unit` then.
function M.convert(who, what, list, from, unit)
  local f = factor(who, what, from, unit)
  if f == 1 then return list end
  local out = {}
  for i, v in ipairs(list) do out[i] = v * f end
  return out
end

--- A number of an axis: a plain one, or a quantity.
function M.scalar(who, what, x, unit)
  if type(x) == "number" then return x end
  local v, _, from = M.read(who, what, x, 0)
  return tonumber(("%.7g"):format(v * factor(who, what, from, unit))) -- 0.1, not the nearest float32
end

--- Times of a monitor, in the unit of time whose numbers are handy.
function M.handy_time(list, unit)
  if not unit then return list, nil end
  local units = require "bdl.units"
  if not core.same_dim(unit, units.ms) then return list, unit end
  local to = factor("plot", "times", unit, units.ms)
  local last = math.abs(list[#list] or 0) * to
  local best = last > 1e4 and units.second or last < 1 and last > 0 and units.us or units.ms
  return M.convert("plot", "times", list, unit, best), best
end

-- ---- curves ---------------------------------------------------------------------------------------------------------

local function columns_of(rows, n)
  local columns = {}
  for k = 1, n do
    local column = {}
    for i = 1, #rows do column[i] = rows[i][k] end
    columns[k] = column
  end
  return columns
end

--- Curves in one unit: of [steps] one, of [steps, n] its n columns, of a list of tensors or lists each, of a table with
--  names each by its name.  Returns {values, ..}, names or nil, unit.
function M.curves(who, what, y)
  local plain = type(y) == "table" and getmetatable(y) == nil
  local names
  if plain and next(y) ~= nil and #y == 0 then
    names = require "bdl.util".sorted_keys(y)
    local list = {}
    for k, name in ipairs(names) do list[k], names[k] = y[name], tostring(name) end
    y = list
  end
  if not plain or type(y[1]) == "number" or core.is_tensor(y[1]) and y[1].ndim == 0 or #y == 0 then
    local values, shape, unit = M.read(who, what, y, {1, 2}, "y:reshape(steps, -1) makes each a curve")
    return #shape == 1 and {values} or columns_of(values, shape[2]), nil, unit
  end
  local list, unit = {}, nil
  for k, curve in ipairs(y) do
    local which = names and ("%s '%s'"):format(what, names[k]) or ("%s %d"):format(what, k)
    local values, _, own = M.read(who, which, curve, 1)
    if k == 1 then unit = own end
    list[k] = M.convert(who, which, values, own, unit)
  end
  return list, names, unit
end

--- Points of a long curve that a picture of so many columns shows: first, least, most and last of each column,
--  in order.
function M.thin(xs, ys, columns)
  local n = #xs
  if n <= 4 * columns then return xs, ys end
  for i = 2, n do
    if xs[i] < xs[i - 1] then return xs, ys end
  end
  local x, y, i = {}, {}, 1
  local from, width = xs[1], (xs[n] - xs[1]) / columns
  local function keep(k)
    x[#x + 1], y[#y + 1] = xs[k], ys[k]
  end
  while i <= n do
    local last = from + width * ((xs[i] - from) // width + 1)
    local low, high, j = i, i, i
    while j < n and xs[j + 1] < last do
      j = j + 1
      if not (ys[j] >= ys[low]) then low = j end -- a NaN is kept, for the gap
      if ys[j] > ys[high] then high = j end
    end
    local picked = {i, math.min(low, high), math.max(low, high), j}
    for k, p in ipairs(picked) do
      if p ~= picked[k - 1] then keep(p) end
    end
    i = j + 1
  end
  return x, y
end

--- rows of a map made smaller to at most h x w: means of blocks, without what is NaN.
function M.shrink(rows, h, w)
  local m, n = #rows, #rows[1]
  h, w = math.min(h, m), math.min(w, n)
  if h == m and w == n then return rows end
  local out = {}
  for i = 0, h - 1 do
    local row = {}
    for j = 0, w - 1 do
      local total, count = 0, 0
      for a = i * m // h + 1, math.max(i * m // h + 1, (i + 1) * m // h) do
        for b = j * n // w + 1, math.max(j * n // w + 1, (j + 1) * n // w) do
          local v = rows[a][b]
          if v == v then total, count = total + v, count + 1 end
        end
      end
      row[j + 1] = count > 0 and total / count or 0 / 0
    end
    out[i + 1] = row
  end
  return out
end

return M

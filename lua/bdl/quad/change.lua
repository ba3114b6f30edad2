--- What the integrators share: arguments, and the changes of a state over a step as trees like the state.
local core = require "bdl.core"
local class = require "bdl.class"
local environ = require "bdl.environ"
local tree = require "bdl.tree"
local units = require "bdl.units"
local options = require "bdl.options"

local M = {}

local function callable(x)
  return type(x) == "function" or type(x) == "table" and getmetatable(x) and getmetatable(x).__call ~= nil
end

--- Errors: TypeError, f is no function.
function M.check_function(who, what, f)
  if not callable(f) then core.fail("TypeError", 3, "%s: %s is a function, not a %s", who, what, class.typename(f)) end
end

--- dt, the further arguments and the options of a call; `known`: name -> default.
--  Errors: TypeError, there is no time; ValueError, an option that is no choice, no count.
function M.begin(who, known, y, t, ...)
  if y == nil then core.fail("TypeError", 3, "%s: y, the state, is missing", who) end
  if type(t) ~= "number" and not core.is_tensor(t) then
    core.fail("TypeError", 3, "%s: t, the time of y, is a number or a quantity, not a %s", who, class.typename(t))
  end
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  local more, opts = options(names, ...)
  for name, default in pairs(known) do
    if opts[name] == nil then opts[name] = default end
  end
  if opts.max_iter and not (math.type(opts.max_iter) == "integer" and opts.max_iter >= 1) then
    core.fail("ValueError", 3, "%s: max_iter is a whole number >= 1, not %s", who, tostring(opts.max_iter))
  end
  if opts.sde_type and opts.sde_type ~= "ito" and opts.sde_type ~= "stra" then
    core.fail("ValueError", 3, "%s: sde_type is 'ito' or 'stra' (Stratonovich), not '%s'", who, tostring(opts.sde_type))
  end
  return environ.get "dt", opts, table.unpack(more, 1, more.n)
end

local function extents(x) return core.is_tensor(x) and x.shape or {} end

--- Stops where the change k = slope span cannot be added to y: another unit, or a shape that y would have to grow to.
local function check_change(who, what, per, path, y, slope, k)
  local at = path == "" and "" or " at " .. path
  if units.get_dim(k) ~= units.get_dim(y) then
    core.fail("UnitMismatchError", 4, "%s: %s gives <%s>%s for y in <%s> and dt in <%s>; it must give y per %s", who,
              what,
              tostring(units.get_unit(slope)), at, tostring(units.get_unit(y)),
                tostring(units.get_unit(environ.get "dt")), per)
  end
  if type(y) == "number" then return end
  local a, b = extents(y), extents(k)
  for i = 0, #b - 1 do
    local n = i < #a and a[#a - i]
    if not n or b[#b - i] ~= n and b[#b - i] ~= 1 then
      core.fail("ShapeError", 4, "%s: %s gives the shape [%s]%s for y of [%s]", who, what,
                table.concat({table.unpack(b)}, ","), at,
                table.concat({table.unpack(a)}, ","))
    end
  end
end

--- slope times span, a change of y;  span : the time `per` which the slope is, "time", or its root, "root of time".
function M.of(who, what, y, slope, span, per)
  local slopes, def = tree.flatten(slope)
  local like = tree.structure(y)
  if def ~= like then
    core.fail("ValueError", 4, "%s: %s gives the structure %s for y of %s", who, what, tostring(def), tostring(like))
  end
  local changes, i = {}, 0
  for path, leaf in tree.zip(y) do
    i = i + 1
    changes[i] = slopes[i] * span
    check_change(who, what, per or "time", path, leaf, slopes[i], changes[i])
  end
  return tree.unflatten(like, changes, i)
end

--- y + sum over s of weights[s] k[s]; zero weights cost nothing.
function M.add(y, weights, k)
  local w, used = {}, {}
  for s, weight in ipairs(weights) do
    if weight ~= 0 then w[#w + 1], used[#used + 1] = weight, k[s] end
  end
  if #w == 0 then return y end
  return tree.map(function(x, ...)
    for s = 1, #w do
      local change = select(s, ...)
      x = x + (w[s] == 1 and change or w[s] * change)
    end
    return x
  end, y, table.unpack(used))
end

--- N(0, 1) for each number of y, leaf by leaf from the default generator.
function M.normal(y)
  local randn = require "bdl.random".randn
  return tree.map(function(x)
    local float = core.is_tensor(x) and (x.dtype == "float32" or x.dtype == "float64")
    local shape = extents(x)
    return float and randn(table.unpack(shape, 1, #shape), {dtype = x.dtype}) or randn(table.unpack(shape, 1, #shape))
  end, y)
end

return M

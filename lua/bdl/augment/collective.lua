--- Values between the lanes of an axis that has a name: vmap{axis_name = "i"}, pmap.
--
--   psum(x, "i")  pmean  pmax  pmin        all_gather(x, "i")  [n, ..]      ppermute(x, "i", {{1, 2}, {2, 1}})      axis_index "i"
--
-- Without a name the innermost axis is meant.  x may be a tree.  Lanes count from 0 (they are data), pairs of ppermute are positions.

local core = require "bdl.core"
local tree = require "bdl.tree"

local M = {}

local axes = {} -- {name, size, lane} of the mapped functions that are being traced, outermost first

--- f(...) as a lane of an axis; lane: i32[] its number.
function M.inside(name, size, lane, f, ...)
  axes[#axes + 1] = {name = name, size = size, lane = lane}
  local depth = #axes
  local leave <close> = setmetatable({}, {__close = function() for k = #axes, depth, -1 do axes[k] = nil end end})
  return f(...)
end

local function axis_of(who, name)
  for k = #axes, 1, -1 do
    if name == nil or axes[k].name == name then return axes[k] end
  end
  core.hint "vmap and pmap take axis_name"
  core.fail("ValueError", 3, "%s: no axis %s", who, name == nil and "is mapped here" or ("'%s' is mapped here"):format(tostring(name)))
end

local function each(who, x, name, op, from, change)
  local axis = axis_of(who, name)
  return tree.map(function(leaf)
    leaf = core.is_tensor(leaf) and leaf or core.tensor(leaf)
    local y = core.bind("collective", {op = op, n = axis.size, from = from or {}}, change and change(leaf) or leaf, axis.lane)
    return y
  end, x), axis
end

local function number(x) return x.dtype == "bool" and core.cast(x, "int32") or x end

function M.psum(x, name) return (each("psum", x, name, "sum", nil, number)) end
function M.pmax(x, name) return (each("pmax", x, name, "max", nil, number)) end
function M.pmin(x, name) return (each("pmin", x, name, "min", nil, number)) end

function M.pmean(x, name)
  local sum, axis = each("pmean", x, name, "sum", nil, number)
  return tree.map(function(y) return y / axis.size end, sum)
end

--- The values of all lanes, along a new first axis.
function M.all_gather(x, name) return (each("all_gather", x, name, "gather")) end

--- pairs : {{source, destination}, ..}, positions from 1; a lane that is no destination gets zeros.
function M.ppermute(x, name, pairs_)
  local axis, from = axis_of("ppermute", name), {}
  for k = 1, axis.size do from[k] = -1 end
  for _, pair in ipairs(pairs_) do
    local a, b = pair[1], pair[2]
    for _, i in ipairs{a, b} do
      if math.type(i) ~= "integer" or i < 1 or i > axis.size then
        core.fail("ValueError", 2, "ppermute: lanes are positions from 1 to %d, not %s", axis.size, tostring(i))
      end
    end
    if from[b] >= 0 then core.fail("ValueError", 2, "ppermute: lane %d is the destination of two", b) end
    from[b] = a - 1
  end
  return (each("ppermute", x, name, "permute", from))
end

--- The number of this lane, from 0.
function M.axis_index(name) return axis_of("axis_index", name).lane end

function M.axis_size(name) return axis_of("axis_size", name).size end

return M

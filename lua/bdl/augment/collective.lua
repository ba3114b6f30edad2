--- Between the lanes of a mapped axis: in a function under pmap, or under vmap with an axis_name.
--
-- x is a tensor or a tree of them; axis_name (optional) says which mapping, else it is the innermost of those.
-- Every lane gets the same result, but for ppermute and axis_index.

local core = require "bdl.core"
local lanes = require "bdl.augment.lanes"
local t = require "bdl.augment.trace"
local tree = require "bdl.tree"

local M = {}

--- Truth values are counted.
local function psum(axis, x)
  if core.is_tensor(x) and x.dtype == "bool" then x = core.cast(x, "int32") end
  return core.bind("to_lanes", {axis = axis.id}, core.bind("psum", {axis = axis.id}, x))
end

local function all_gather(axis, x)
  return core.bind("to_lanes", {axis = axis.id}, core.bind("all_gather", {axis = axis.id, size = axis.size}, x))
end

--- f(axis, leaf) over the leaves of x.
local function over_leaves(who, f)
  return function(x, axis_name)
    local axis = lanes.find(who, axis_name)
    return tree.map(function(leaf) return f(axis, leaf) end, x)
  end
end

--- psum, pmean, pmax, pmin: the sum, mean, largest, least of x over the lanes:  psum(x, axis_name?).
--  Example:
--    print(bdl.vmap(function(x) return bdl.augment.NAME(x) end, {axis_name = "n"})(bdl.tensor{1., 2., 4.}))
M.psum = over_leaves("psum", psum)
M.pmean = over_leaves("pmean", function(axis, x) return psum(axis, x) / axis.size end)
M.pmax = over_leaves("pmax", function(axis, x) return core.bind("reduce_max", {axes = {0}}, all_gather(axis, x)) end)
M.pmin = over_leaves("pmin", function(axis, x) return core.bind("reduce_min", {axes = {0}}, all_gather(axis, x)) end)

--- all_gather(x, axis_name?, {axis = 1}?): x of every lane, stacked along a new axis.
--  Example:
--    print(bdl.vmap(function(x) return bdl.augment.all_gather(x) end, {axis_name = "n"})(bdl.tensor{1., 2.}))
function M.all_gather(x, axis_name, opts)
  if t.is_plain(axis_name) then axis_name, opts = nil, axis_name end
  t.check_options("all_gather", opts or {}, {"axis"})
  local axis, at = lanes.find("all_gather", axis_name), opts and opts.axis or 1
  return tree.map(function(leaf)
    local all = all_gather(axis, leaf)
    return t.move(all, 0, require "bdl.augment.axes".index("all_gather", at, all.ndim, "the result"))
  end, x)
end

--- source[k]: the lane whose x lane k gets, from 0; -1: none.  Errors: TypeError, ValueError.
local function sources(pairs_, size)
  local source, seen = {}, {}
  for k = 1, size do source[k] = -1 end
  if not t.is_plain(pairs_) then core.fail("TypeError", 4, "ppermute: a list {{source, destination}, ..} is needed") end
  for _, pair in ipairs(pairs_) do
    local from, to = (t.is_plain(pair) and pair or {})[1], (t.is_plain(pair) and pair or {})[2]
    for _, lane in ipairs{from or false, to or false} do
      if math.type(lane) ~= "integer" or lane < 1 or lane > size then
        core.fail("ValueError", 4, "ppermute: a pair holds two of the lanes 1 to %d, not %s", size, tostring(lane or nil))
      end
    end
    if seen[from] or source[to] ~= -1 then
      core.fail("ValueError", 4, "ppermute: lane %d is the %s twice", seen[from] and from or to, seen[from] and "source" or "destination")
    end
    seen[from], source[to] = true, from - 1
  end
  return source
end

--- ppermute(x, axis_name?, {{source, destination}, ..}): x of another lane, lanes from 1; zeros where no pair leads to.
--  Example:
--    local turn = function(x) return bdl.augment.ppermute(x, {{1, 2}, {2, 1}}) end
--    print(bdl.vmap(turn, {axis_name = "n"})(bdl.tensor{1., 2.}))
function M.ppermute(x, axis_name, pairs_)
  if pairs_ == nil then axis_name, pairs_ = nil, axis_name end
  local axis = lanes.find("ppermute", axis_name)
  local params = {axis = axis.id, source = sources(pairs_, axis.size)}
  return tree.map(function(leaf) return core.bind("ppermute", params, leaf) end, x)
end

--- axis_index(axis_name?): the number of the lane, from 0, as a tensor.
--  Example:
--    print(bdl.vmap(function(x) return x + bdl.augment.axis_index() end, {axis_name = "n"})(bdl.zeros(3)))
function M.axis_index(axis_name) return lanes.find("axis_index", axis_name).index end

--- axis_size(axis_name?): how many lanes there are.
--  Example:
--    print(bdl.vmap(function(x) return x / bdl.augment.axis_size() end, {axis_name = "n"})(bdl.ones(4)))
function M.axis_size(axis_name) return lanes.find("axis_size", axis_name).size end

return M

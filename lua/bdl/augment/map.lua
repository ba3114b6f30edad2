--- map: f over the first axis of sequences, one element after the other, or some at a time.

local core = require "bdl.core"
local compile = require "bdl.compile"
local t = require "bdl.augment.trace"
local tree = require "bdl.tree"
local vmap = require "bdl.augment.vmap"

local M = {}

local function length_of(xs)
  local n
  for k, x in ipairs(xs) do
    for _, leaf in ipairs((core.flatten(x))) do
      if leaf.ndim == 0 then core.fail("ValueError", 4, "map: argument %d has a scalar, which has no axis to map", k) end
      n = n or leaf.shape[1]
      if leaf.shape[1] ~= n then core.fail("ValueError", 4, "map: arguments differ in length: %d and %d", n, leaf.shape[1]) end
    end
  end
  if not n then core.fail("ValueError", 4, "map: at least one array is needed") end
  return n
end

local function each_leaf(f, trees)
  local out = {}
  for k, x in ipairs(trees) do out[k] = tree.map(f, x) end
  return out
end

local function reshaped(x, lead, drop)
  return t.reshape(x, t.joined(lead, table.move(x.shape, drop + 1, x.ndim, 1, {})))
end

--- Whole batches in a loop of mapped calls, then what is left over.
local function by_batches(f, xs, n, size)
  local function lanes(...) return vmap.call("map", f, {no_writes = true}, table.pack(...)) end
  local whole = n // size
  if whole == 0 then return table.pack(lanes(table.unpack(xs))) end
  local head = each_leaf(function(x) return reshaped(t.rows(x, 0, whole * size), {whole, size}, 1) end, xs)
  local out = table.pack(compile.for_loop(lanes, table.unpack(head)))
  out = each_leaf(function(y) return reshaped(y, {whole * size}, 2) end, out)
  if whole * size == n then return out end
  local rest = table.pack(lanes(table.unpack(each_leaf(function(x) return t.rows(x, whole * size, n) end, xs))))
  for k, y in ipairs(rest) do
    out[k] = tree.map(function(a, b) return require "bdl.array.base".concatenate({a, b}, 0) end, out[k], y)
  end
  return out
end

--- map(f, xs, ys, .., {batch_size =}?): results stacked along a new first axis.  With batch_size f may not write States.
--  Example:
--    print(bdl.augment.map(function(x) return x:sum() end, bdl.ones(4, 2), {batch_size = 2}))
function M.map(f, ...)
  t.check_callable("map", f)
  local xs, opts = {...}, {}
  local last = xs[#xs]
  if t.is_plain(last) and last.batch_size ~= nil and next(last, next(last)) == nil then
    opts = last
    xs[#xs] = nil
  end
  local size = opts.batch_size
  if size ~= nil and (math.type(size) ~= "integer" or size < 1) then
    core.fail("ValueError", 2, "map: batch_size is a whole number from 1, not %s", tostring(size))
  end
  local n = length_of(xs)
  if size == nil then return compile.for_loop(f, table.unpack(xs)) end
  local out = by_batches(f, xs, n, size)
  return table.unpack(out, 1, #out)
end

return M

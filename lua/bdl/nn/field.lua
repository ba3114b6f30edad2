--- Windows that slide over space: their extents, steps and padding, for convolutions and pooling.
local core = require "bdl.core"

local M = {}

local function bad(who, dims)
  core.fail("ValueError", 4, "%s: padding is 'SAME', 'VALID', a whole number, or for each of %d axes a whole number or {lo, hi}", who, dims)
end

--- "SAME", "VALID", n, {n, ..} one a dimension, {{lo, hi}, ..} ({lo, hi} alone for one dimension) -> the name, or a list of {lo, hi}.
function M.padding(who, padding, dims)
  if padding == "SAME" or padding == "VALID" then return padding end
  local list = {}
  local one = math.type(padding) == "integer"
  if not one and type(padding) ~= "table" then bad(who, dims) end
  if not one and dims == 1 and #padding == 2 and math.type(padding[1]) then padding = {padding} end
  for k = 1, dims do
    local p = one and padding or padding[#padding == 1 and type(padding[1]) == "table" and 1 or k]
    p = math.type(p) == "integer" and {p, p} or p
    if type(p) ~= "table" or math.type(p[1]) ~= "integer" or math.type(p[2]) ~= "integer" then bad(who, dims) end
    list[k] = {p[1], p[2]}
  end
  if not one and #padding ~= 1 and #padding ~= dims then bad(who, dims) end
  return list
end

--- Elements before and after axis k of n elements for a window of `width` in steps of `stride`.
--  "SAME": as many windows as steps fit, the odd element behind.
function M.amount(padding, k, n, width, stride)
  if padding == "VALID" then return 0, 0 end
  if padding ~= "SAME" then return padding[k][1], padding[k][2] end
  local total = math.max(0, ((n + stride - 1) // stride - 1) * stride + width - n)
  return total // 2, total - total // 2
end

--- Number of windows.  Errors: ShapeError, none fits.
function M.count(who, n, lo, hi, width, stride)
  if n + lo + hi < width then
    core.fail("ShapeError", 4, "%s: a window of %d on an axis of %d, padded by %d and %d", who, width, n, lo, hi)
  end
  return (n + lo + hi - width) // stride + 1
end

return M

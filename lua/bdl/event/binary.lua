--- Spikes as operands of products, and packed: 32 a word, or the list of those that are active.
local core = require "bdl.core"
local class = require "bdl.class"
local base = require "bdl.array.base"

local M = {}

local function bind(prim, ...) return core.bind(prim, {}, ...) end

--- Spikes: a tensor whose entries > 0 (or true) are events of strength 1.
--  Example:
--    local s = bdl.event.BinaryArray(bdl.tensor{true, false, true})
--    print(s:matmul(bdl.ones(3, 2)))
local BinaryArray = class "BinaryArray"
M.BinaryArray = BinaryArray

function BinaryArray:__init(value)
  if class.isa(value, BinaryArray) then value = value.value end
  if not core.is_tensor(value) then value = core.tensor(value) end
  if core.unit_of(value) then
    core.fail("TypeError", 2, "%s: events have no unit, not %s", class.typename(self), tostring(core.unit_of(value)))
  end
  self.value = value
end

--- s @ a: a is a connection or a matrix.
function BinaryArray:matmul(a)
  if class.isa(a, require "bdl.event".Connection) then return a:rmatmul(self) end
  return core.bind("event_dot", {transpose = false}, self.value, a)
end

--- w @ s for a matrix w.
function BinaryArray:rmatmul(w)
  if class.isa(w, require "bdl.event".Connection) then return w:matmul(self) end
  return core.bind("event_dot", {transpose = true}, self.value, w)
end

-- ---- words ----------------------------------------------------------------------------------------------------------

local WIDTH = 32

--- x [.., m, ..] as [.., a, b, ..], m = a b at the axis from 0.
local function cut(x, axis, a, b)
  local shape = {table.unpack(x.shape)}
  shape[axis + 1] = a
  table.insert(shape, axis + 2, b)
  return base.reshape(x, shape)
end

--- The numbers of the bits, along the axis after `axis`.
local function bit_numbers(x, axis)
  return core.bind("iota", {shape = {table.unpack(x.shape)}, axis = axis + 1, dtype = "uint32"})
end

--- Which entries are active, 32 a word along the axis (1): uint32 [.., ceil(n/32), ..]; bit k of word j is entry 32 j +
--  k.
--  Example:
--    print(bdl.event.bitpack(bdl.tensor{true, false, true}))
function M.bitpack(x, axis)
  if class.isa(x, BinaryArray) then x = x.value end
  x = base.array(x)
  local k = base.axis("bitpack", axis or 1, x.ndim)
  local n = x.shape[k + 1]
  local words = (n + WIDTH - 1) // WIDTH
  local bits = core.cast(x.dtype == "bool" and x or bind("gt", x, 0), "uint32")
  local lo, hi, inner = {}, {}, {}
  for i = 1, x.ndim do lo[i], hi[i], inner[i] = 0, i == k + 1 and words * WIDTH - n or 0, 0 end
  bits = cut(core.bind("pad", {lo = lo, hi = hi, inner = inner}, bits, core.tensor(0, "uint32")), k, words, WIDTH)
  return core.bind("reduce_sum", {axes = {k + 1}}, bind("shl", bits, bit_numbers(bits, k)))
end

--- The n entries that bitpack packed along the axis (1), as booleans.  Errors: TypeError no words; ShapeError too few
--  words.
--  Example:
--    print(bdl.event.bitunpack(bdl.event.bitpack(bdl.tensor{true, false, true}), 3))
function M.bitunpack(words, n, axis)
  if not core.is_tensor(words) or words.dtype ~= "uint32" then
    core.fail("TypeError", 2, "bitunpack: words of bitpack are uint32, not %s", core.is_tensor(words) and words.dtype
              or class.typename(words))
  end
  local k = base.axis("bitunpack", axis or 1, words.ndim)
  local shape = {table.unpack(words.shape)}
  if math.type(n) ~= "integer" or n < 0 or n > shape[k + 1] * WIDTH then
    core.fail("ShapeError", 2, "bitunpack: %d words hold at most %d entries, not %s", shape[k + 1],
              shape[k + 1] * WIDTH, tostring(n))
  end
  table.insert(shape, k + 2, WIDTH)
  local dims = {}
  for i = 1, words.ndim do dims[i] = i <= k + 1 and i - 1 or i end
  local all = core.bind("broadcast", {shape = shape, dims = dims}, words)
  local bits = bind("and", bind("shr", all, bit_numbers(all, k)), core.tensor(1, "uint32"))
  shape[k + 1] = shape[k + 1] * WIDTH
  table.remove(shape, k + 2)
  local start, stop, step = {}, {}, {}
  for i = 1, #shape do start[i], stop[i], step[i] = 0, i == k + 1 and n or shape[i], 1 end
  return bind("ne", core.bind("slice", {start = start, stop = stop, step = step}, base.reshape(bits, shape)),
              core.tensor(0, "uint32"))
end

--- Spikes with their words: packed[k] along axis k.
--  Example:
--    local s = bdl.event.BitPackedBinary(bdl.tensor{true, false, true})
--    print(s:matmul(bdl.ones(3, 2)))
local BitPackedBinary = BinaryArray:extend "BitPackedBinary"
M.BitPackedBinary = BitPackedBinary

function BitPackedBinary:__init(value)
  BinaryArray.__init(self, value)
  self.packed = {}
  for k = 1, self.value.ndim do self.packed[k] = M.bitpack(self.value, k) end
end

--- Spikes [n] or [n, batch] with the list of the active: active_ids i32[n], of which the first n_active count,
--  ascending; of [n, batch] the rows with a spike.  packed : words, along the last axis.
--  Example:
--    local s = bdl.event.CompactBinary(bdl.tensor{true, false, true})
--    print(s.active_ids, s.n_active)
local CompactBinary = BinaryArray:extend "CompactBinary"
M.CompactBinary = CompactBinary

function CompactBinary:__init(value)
  BinaryArray.__init(self, value)
  local x = self.value
  if x.ndim ~= 1 and x.ndim ~= 2 then
    core.fail("ShapeError", 2, "CompactBinary: spikes are [n] or [n, batch], not of %d axes", x.ndim)
  end
  self.packed = M.bitpack(x, x.ndim)
  local active = x.dtype == "bool" and x or bind("gt", x, 0)
  if x.ndim == 2 then active = bind("gt", core.bind("reduce_sum", {axes = {1}}, core.cast(active, "int32")), 0) end
  self.active_ids, self.n_active = core.bind("event_ids", {}, active)
end

function CompactBinary.from_array(x) return CompactBinary(x) end
function CompactBinary:to_dense() return self.value end

return M

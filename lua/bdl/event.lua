--- Event-driven operators: products that cost what the active events cost.
--
--   local A = event.CSR{data, indices, indptr, shape = {m, n}}        indices count from 0; data: nnz weights, or one for all
--   event.BinaryArray(spikes):matmul(A)                               [m] -> [n], only rows of active spikes are touched
--   A:matmul(event.BinaryArray(s)), A:matmul(x), A:rmatmul(x)         A s; the ordinary products A x and x A
--
-- An element is active when it is true or > 0; its value does not matter.  Vectors may have a leading batch axis.
-- Boolean tensors count as events everywhere.  Source: brainevent (formats), Knight & Nowotny 2021 (procedural connectivity).

local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local suggest = require "bdl.suggest"

local event = {}

for _, part in ipairs{"binary", "bitwise"} do
  for name, f in pairs(class.qualify(require("bdl.event." .. part), "event")) do event[name] = f end
end

local BinaryArray = event.BinaryArray

--- x @ a or a @ x, whichever side the connection or the events are on.
--  Example:
--    local a = bdl.event.CSR(bdl.tensor{1., 2., 3.}, bdl.tensor{2, 0, 1}, bdl.tensor{0, 1, 3}, {2, 3})
--    print(bdl.event.matmul(bdl.event.BinaryArray(bdl.tensor{true, false}), a))
function event.matmul(x, a)
  if class.isa(x, BinaryArray) then return x:matmul(a) end
  if class.isa(a, BinaryArray) then return class.isa(x, event.Connection) and x:matmul(a) or a:rmatmul(x) end
  if class.isa(a, event.Connection) then return a:rmatmul(x) end
  return x:matmul(a)
end

--- The vector and whether it is one of events.
local function operand(x)
  if class.isa(x, BinaryArray) then return x.value, true end
  if not core.is_tensor(x) then x = core.tensor(x) end
  return x, x.dtype == "bool"
end

-- ---- connections -----------------------------------------------------------------------------------------------------------

--- A matrix [m, n] from pre to post.  Subclasses give product(x, is_event, transpose): x A, or A x.
--  Events are added in ascending order, in whatever order a row of a CSR stores its columns: the bits of a product are the
--  same at once and compiled.  A s by a CSR that is no constant of a compiled function takes up to three times as long where
--  rows do not ascend.
--  Example:
--    local a = bdl.conn.fixed_prob(4, 3, 0.5)
--    print(a:is(bdl.event.Connection), a.shape)
local Connection = class "Connection"
event.Connection = Connection

--- x @ A: pre -> post.
function Connection:rmatmul(x)
  local v, events = operand(x)
  return self:product(v, events, false)
end

--- A @ x: post -> pre.
function Connection:matmul(x)
  local v, events = operand(x)
  return self:product(v, events, true)
end

--- As the communication of a projection: spikes of pre to post.
function Connection:__call(spikes) return self:rmatmul(BinaryArray(spikes)) end

--- The dense matrix.
function Connection:todense()
  local m = self.shape[1]
  local function index(axis) return core.bind("iota", {shape = {m, m}, axis = axis, dtype = "int32"}) end
  return self:product(core.cast(core.bind("eq", {}, index(0), index(1)), (self.data or self.p0).dtype), false, false)
end

local function shape_of(who, shape)
  if type(shape) ~= "table" or #shape ~= 2 then core.fail("TypeError", 3, "%s: shape = {rows, columns} is needed", who) end
  for k = 1, 2 do
    if math.type(shape[k]) ~= "integer" or shape[k] < 0 or shape[k] >= 2 ^ 31 then
      core.fail("ValueError", 3, "%s: an extent of the shape is a whole number from 0 to 2^31 - 1, not %s", who, tostring(shape[k]))
    end
  end
  return shape[1], shape[2]
end

local function concrete(who, what, x)
  if not core.is_tensor(x) then x = core.tensor(x) end
  if core.is_traced(x) then core.fail("TraceContextError", 3, "%s: %s must be known when the connection is made", who, what) end
  return x
end

local function extreme(op, x) return core.item(core.bind(op, {axes = {0}}, x)) end

--- Indices as int32 in [0, limit).
local function check_indices(who, what, x, limit)
  x = concrete(who, what, x)
  if not x.dtype:find "int" then core.fail("TypeError", 3, "%s: %s are integers, not %s", who, what, x.dtype) end
  if x.ndim ~= 1 then core.fail("ShapeError", 3, "%s: %s are a vector, not of %d axes", who, what, x.ndim) end
  if x.size > 0 then
    local lo, hi = extreme("reduce_min", x), extreme("reduce_max", x)
    if lo < 0 or hi >= limit then
      core.fail("IndexError", 3, "%s: %s reach from %d to %d; they count from 0 to %d", who, what, lo, hi, limit - 1)
    end
  end
  return core.cast(x, "int32")
end

--- One weight for all, or one an entry ([nnz], or [rows, k] with k entries in every row), as floats [1] or [nnz].
local function check_data(who, data, nnz, rows)
  if not core.is_tensor(data) then data = core.tensor(data) end
  if not data.dtype:find "float" then data = core.cast(data, (core.precision())) end
  local matrix = data.ndim == 2 and data.size == nnz and data.shape[1] == rows
  if data.ndim == 0 or matrix then return core.bind("reshape", {shape = {data.size}}, data) end
  if data.ndim ~= 1 or (data.size ~= nnz and data.size ~= 1) then
    core.fail("ShapeError", 3, "%s: %d entries need %d weights, or one for all, not [%s]", who, nnz, nnz, table.concat(data.shape, ","))
  end
  return data
end

--- Rows stored one after the other; indptr of two entries {0, k}: k entries in every row.
local Rows = Connection:extend "Rows"

function Rows:setup(data, indices, indptr, rows, cols, transposed)
  self.data, self.indices, self.indptr = data, indices, indptr
  self.rows, self.cols, self.transposed = rows, cols, transposed
  self.shape = transposed and {cols, rows} or {rows, cols}
  self.nnz = indices.size
end

local function like(self, cls)
  local other = class.alloc(cls)
  for _, name in ipairs{"data", "indices", "indptr", "rows", "cols", "nnz", "transposed", "shape", "fan", "delay", "_columns"} do
    other[name] = rawget(self, name)
  end
  return other
end

--- The same pattern with other weights: where the weights are an argument of a gradient or a State's value.
function Rows:with_data(data)
  local other = like(self, class.of(self))
  other.data = check_data(class.typename(self), data, self.nnz, self.fan and self.rows)
  return other
end

function Rows:product(v, events, post_side)
  local data = self.data
  if not events and v.dtype ~= data.dtype then v = core.cast(v, data.dtype) end
  local transpose = post_side ~= self.transposed
  return core.bind("csr_dot", {rows = self.rows, cols = self.cols, transpose = transpose, event = events}, v, data, self.indices, self.indptr)
end

--- The transposed matrix over the same arrays: rows of the one are columns of the other.
function Rows:transpose()
  local other = like(self, event[self.partner])
  other.transposed = not self.transposed
  other.shape = {self.shape[2], self.shape[1]}
  return other
end

local function full(n, value) return core.bind("broadcast", {shape = {n}, dims = {}}, value) end

local function range(n) return core.bind("iota", {shape = {n}, axis = 0, dtype = "int32"}) end

--- a[i] b[j] of every stored (i, j), a by stored rows.
function Rows:outer(a, b)
  return core.bind("csr_outer", {rows = self.rows, cols = self.cols, event = false}, a, b, self.indices, self.indptr)
end

--- pre, post and weight of every stored entry.
function Rows:tocoo()
  local row = core.cast(self:outer(core.cast(range(self.rows), "float64"), full(self.cols, core.tensor(1.0, "float64"))), "int32")
  local data = self.data
  if data.size ~= self.nnz then data = core.bind("broadcast", {shape = {self.nnz}, dims = {0}}, data) end
  if self.transposed then return self.indices, row, data end
  return row, self.indices, data
end

--- w of every stored entry times the element of v at its pre neuron (dt2t), or at its post neuron (dt2t_transposed).
local function scaled(self, v, w, by_row)
  local one = core.tensor(1.0, v.dtype)
  return w * (by_row and self:outer(v, full(self.cols, one)) or self:outer(full(self.rows, one), v))
end

function Rows:dt2t(v, w) return scaled(self, v, w, not self.transposed) end
function Rows:dt2t_transposed(v, w) return scaled(self, v, w, self.transposed) end

--- New weights: those of the stored rows of `spikes`, or of the entries in the columns of `spikes`, changed by plasticity.
local function learned(self, by_row, spikes, trace, ...)
  if self.data.size ~= self.nnz then
    core.fail("ValueError", 3, "%s: one weight stands for all %d entries; give each its own by with_data before they learn", class.typename(self), self.nnz)
  end
  local plasticity = require "bdl.plasticity"
  if by_row and self.fan then
    local function matrix(x) return core.bind("reshape", {shape = {self.rows, self.fan}}, x) end
    local w = plasticity.update_fixed_post_conn_on_binary_pre(matrix(self.data), matrix(self.indices), spikes, trace, ...)
    return self:with_data(core.bind("reshape", {shape = {self.nnz}}, w))
  elseif by_row then
    return self:with_data(plasticity.update_csr_on_binary_pre(self.data, self.indices, self.indptr, spikes, trace, ...))
  end
  local index = rawget(self, "_columns")
  if not index then
    local indptr = self.fan and range(self.rows + 1) * self.fan or self.indptr
    index = {plasticity.csr_to_csc_index(self.indices, indptr, {self.rows, self.cols})}
    rawset(self, "_columns", index)
  end
  return self:with_data(plasticity.update_csr_on_binary_post(self.data, index[1], index[2], index[3], trace, spikes, ...))
end

--- The connection after  w_ij += post_trace[j]  for each active i of pre_spike, kept in w_min..w_max.
function Rows:update_on_pre(pre_spike, post_trace, w_min, w_max, opts)
  return learned(self, not self.transposed, pre_spike, post_trace, w_min, w_max, opts)
end

--- The connection after  w_ij += pre_trace[i]  for each active j of post_spike, kept in w_min..w_max.
function Rows:update_on_post(pre_trace, post_spike, w_min, w_max, opts)
  return learned(self, self.transposed, post_spike, pre_trace, w_min, w_max, opts)
end

local function check_indptr(who, indptr, rows, nnz)
  indptr = concrete(who, "indptr", indptr)
  if not indptr.dtype:find "int" or indptr.ndim ~= 1 or indptr.size ~= rows + 1 then
    core.fail("ShapeError", 3, "%s: indptr is %s[%s]; %d rows need %d integers", who, indptr.dtype, table.concat(indptr.shape, ","), rows, rows + 1)
  end
  local last = indptr.size
  local function at(i) return core.item(core.bind("reshape", {shape = {}}, core.bind("slice", {start = {i}, stop = {i + 1}, step = {1}}, indptr))) end
  if at(0) ~= 0 or at(last - 1) ~= nnz then
    core.fail("ValueError", 3, "%s: indptr runs from %d to %d; it must run from 0 to %d, the number of indices", who, at(0), at(last - 1), nnz)
  end
  if rows > 0 then
    local function part(a, b) return core.bind("slice", {start = {a}, stop = {b}, step = {1}}, indptr) end
    if extreme("reduce_min", core.bind("sub", {}, part(1, last), part(0, last - 1))) < 0 then
      core.fail("ValueError", 3, "%s: indptr must not decrease", who)
    end
  end
  return core.cast(indptr, nnz < 2 ^ 31 and "int32" or "int64")
end

--- Compressed sparse rows.  CSR(data, indices, indptr, shape) or CSR{data, indices, indptr, shape = {m, n}}.
--  Example:
--    local a = bdl.event.CSR(bdl.tensor{1., 2., 3.}, bdl.tensor{2, 0, 1}, bdl.tensor{0, 1, 3}, {2, 3})
--    print(bdl.event.BinaryArray(bdl.tensor{true, true}):matmul(a))
local CSR = Rows:extend "CSR"
event.CSR = CSR
local function compressed(self, who, transposed, ...)
  local a = args({"data", "indices", "indptr", "shape"}, ...)
  local m, n = shape_of(who, a.shape)
  local rows, cols = transposed and n or m, transposed and m or n
  local indices = check_indices(who, "indices", a.indices, cols)
  self:setup(check_data(who, a.data, indices.size), indices, check_indptr(who, a.indptr, rows, indices.size), rows, cols, transposed)
end
function CSR:__init(...) compressed(self, "CSR", false, ...) end

--- Compressed sparse columns: indices are rows, indptr runs over columns.
--  Example:
--    local a = bdl.event.CSC(bdl.tensor{1., 2., 3.}, bdl.tensor{1, 1, 0}, bdl.tensor{0, 1, 2, 3}, {2, 3})
--    print(bdl.event.BinaryArray(bdl.tensor{true, true}):matmul(a))
local CSC = Rows:extend "CSC"
event.CSC = CSC
CSR.partner, CSC.partner = "CSC", "CSR"
function CSC:__init(...) compressed(self, "CSC", true, ...) end

--- The entries of a dense matrix that are not 0.
function CSR.fromdense(matrix)
  local w = concrete("CSR.fromdense", "the matrix", matrix)
  if w.ndim ~= 2 then core.fail("ShapeError", 2, "CSR.fromdense: a matrix is needed, not %d axes", w.ndim) end
  local m, n = w.shape[1], w.shape[2]
  local flat = core.bind("reshape", {shape = {m * n}}, w)
  local stored = core.bind("ne", {}, core.mantissa(flat), core.tensor(0, w.dtype))
  local ids, count = core.bind("event_ids", {}, stored)
  ids = core.bind("slice", {start = {0}, stop = {core.item(count)}, step = {1}}, ids)
  local counts = core.bind("reduce_sum", {axes = {1}}, core.cast(core.bind("reshape", {shape = {m, n}}, stored), "int32"))
  local indptr = core.bind("pad", {lo = {1}, hi = {0}, inner = {0}}, core.bind("cumsum", {axis = 0, reverse = false}, counts), core.tensor(0, "int32"))
  return CSR(core.bind("gather", {axis = 0}, flat, ids), core.bind("rem", {}, ids, n), indptr, {m, n})
end

--- Every row of k entries: indices [m, k], weights [m, k] or one for all.
local function fixed(self, who, transposed, ...)
  local a = args({"data", "indices", "shape"}, ...)
  local m, n = shape_of(who, a.shape)
  local rows, cols = transposed and n or m, transposed and m or n
  local indices = concrete(who, "indices", a.indices)
  if indices.ndim ~= 2 or indices.shape[1] ~= rows then
    core.fail("ShapeError", 2, "%s: indices are [%s]; a matrix [%d,%d] needs [%d,k]", who, table.concat(indices.shape, ","), m, n, rows)
  end
  local k = indices.shape[2]
  indices = check_indices(who, "indices", core.bind("reshape", {shape = {rows * k}}, indices), cols)
  self.fan = k
  self:setup(check_data(who, a.data, rows * k, rows), indices, core.tensor({0, k}, "int32"), rows, cols, transposed)
end

--- k targets for each pre neuron: indices [m, k].
--  Example:
--    local a = bdl.event.NAME(0.5, bdl.tensor{{0, 2}, {1, 2}}, {2, 3})
--    print(bdl.event.BinaryArray(bdl.tensor{true, true}):matmul(a))
local FixedPostNumConn = Rows:extend "FixedPostNumConn"
event.FixedPostNumConn, event.FixedNumPerPre = FixedPostNumConn, FixedPostNumConn
function FixedPostNumConn:__init(...) fixed(self, "FixedPostNumConn", false, ...) end

--- k sources for each post neuron: indices [n, k].
--  Example:
--    local a = bdl.event.NAME(0.5, bdl.tensor{{0}, {1}, {0}}, {2, 3})
--    print(bdl.event.BinaryArray(bdl.tensor{true, true}):matmul(a))
local FixedPreNumConn = Rows:extend "FixedPreNumConn"
event.FixedPreNumConn, event.FixedNumPerPost = FixedPreNumConn, FixedPreNumConn
function FixedPreNumConn:__init(...) fixed(self, "FixedPreNumConn", true, ...) end
FixedPostNumConn.partner, FixedPreNumConn.partner = "FixedPreNumConn", "FixedPostNumConn"

--- A connection whose arrays are known to be right: indices int32 by rows (by columns where transposed); indptr int32 or
--  int64, or the number of entries in every row.
function event.unchecked(name, data, indices, indptr, shape)
  local self, transposed = class.alloc(event[name]), name == "CSC" or name == "FixedPreNumConn"
  if type(indptr) == "number" then
    self.fan = indptr
    indptr = core.tensor({0, indptr}, "int32")
  end
  local rows, cols = shape[transposed and 2 or 1], shape[transposed and 1 or 2]
  self:setup(check_data(name, data, indices.size, self.fan and rows), indices, indptr, rows, cols, transposed)
  return self
end

--- A dense matrix [m, n] as a connection.
--  Example:
--    local a = bdl.event.Dense(bdl.ones(2, 3))
--    print(bdl.event.BinaryArray(bdl.tensor{true, true}):matmul(a))
local Dense = Connection:extend "Dense"
event.Dense = Dense
function Dense:__init(data)
  if not core.is_tensor(data) then data = core.tensor(data) end
  if data.ndim ~= 2 then core.fail("ShapeError", 2, "Dense: a matrix is needed, not %d axes", data.ndim) end
  self.data, self.shape = data, {data.shape[1], data.shape[2]}
end
function Dense:product(v, events, post_side)
  if events then return core.bind("event_dot", {transpose = post_side}, v, self.data) end
  return core.bind("dot", {lhs_contract = {v.ndim - 1}, rhs_contract = {post_side and 1 or 0}, lhs_batch = {}, rhs_batch = {}}, v, self.data)
end
function Dense:todense() return self.data end
function Dense:update_on_pre(pre_spike, post_trace, ...)
  return Dense(require "bdl.plasticity".update_dense_on_binary_pre(self.data, pre_spike, post_trace, ...))
end
function Dense:update_on_post(pre_trace, post_spike, ...)
  return Dense(require "bdl.plasticity".update_dense_on_binary_post(self.data, pre_trace, post_spike, ...))
end

-- ---- connectivity made on the fly -------------------------------------------------------------------------------------------

--- A matrix that is regenerated from a seed at each product: each entry exists with probability p.
local Procedural = Connection:extend "Procedural"

function Procedural:setup(who, law, p0, p1, p, seed, shape, by_columns)
  if type(p) ~= "number" or p < 0 or p > 1 then core.fail("ValueError", 3, "%s: a probability is from 0 to 1, not %s", who, tostring(p)) end
  if not (type(seed) == "number" and math.tointeger(seed) or core.is_tensor(seed)) then
    core.fail("TypeError", 3, "%s: a seed is an integer, not %s", who, tostring(seed))
  end
  local m, n = shape_of(who, shape)
  self.rows, self.cols = by_columns and n or m, by_columns and m or n
  self.shape, self.transposed, self.prob, self.seed = {m, n}, by_columns, p, seed
  self.kind = ("%s:%.17g"):format(law, p)
  local function float(x)
    if not core.is_tensor(x) then x = core.tensor(x) end
    if not x.dtype:find "float" then x = core.cast(x, (core.precision())) end
    if x.size ~= 1 then core.fail("ShapeError", 3, "%s: one number for all weights is needed, not [%s]", who, table.concat(x.shape, ",")) end
    return core.bind("reshape", {shape = {}}, x)
  end
  self.p0, self.p1 = float(p0), float(p1)
  core.bind("add", {}, self.p0, self.p1) -- one unit
end

function Procedural:product(v, events, post_side)
  if not events and v.dtype ~= self.p0.dtype then v = core.cast(v, self.p0.dtype) end
  return core.bind("jitc_dot", {rows = self.rows, cols = self.cols, transpose = post_side ~= self.transposed, event = events, kind = self.kind},
    v, self.p0, self.p1, core.tensor(self.seed, "int64"))
end

local function zero_like(p0)
  local unit = core.unit_of(p0)
  return unit and 0.0 * unit or 0.0
end

--- JITCScalarR, JITCScalarC: connections with probability p and one weight w, made anew from the seed at each use:
--  R by rows (fast for s A), C by columns (fast for A s).
--  Example:
--    local a = bdl.event.NAME{0.5, 0.2, 42, shape = {10, 8}}
--    print(bdl.event.BinaryArray(bdl.ones(10)):matmul(a))
--- JITCNormalR, JITCNormalC: connections with probability p and weights of N(mean, std), made anew from the seed at each use:
--  R by rows (fast for s A), C by columns (fast for A s).
--  Example:
--    local a = bdl.event.NAME{0.5, 0.1, 0.2, 42, shape = {10, 8}}
--    print(bdl.event.BinaryArray(bdl.ones(10)):matmul(a))
--- JITCUniformR, JITCUniformC: connections with probability p and weights within low..high, made anew from the seed at each use:
--  R by rows (fast for s A), C by columns (fast for A s).
--  Example:
--    local a = bdl.event.NAME{0.1, 0.5, 0.2, 42, shape = {10, 8}}
--    print(bdl.event.BinaryArray(bdl.ones(10)):matmul(a))
for suffix, by_columns in pairs{R = false, C = true} do
  local Scalar = Procedural:extend("JITCScalar" .. suffix)
  event["JITCScalar" .. suffix] = Scalar
  function Scalar:__init(...)
    local a = args({"w", "p", "seed", "shape"}, ...)
    self:setup(class.typename(self), "scalar", a.w, zero_like(a.w), a.p, a.seed, a.shape, by_columns)
  end
  local Normal = Procedural:extend("JITCNormal" .. suffix)
  event["JITCNormal" .. suffix] = Normal
  function Normal:__init(...)
    local a = args({"mean", "std", "p", "seed", "shape"}, ...)
    self:setup(class.typename(self), "normal", a.mean, a.std, a.p, a.seed, a.shape, by_columns)
  end
  local Uniform = Procedural:extend("JITCUniform" .. suffix)
  event["JITCUniform" .. suffix] = Uniform
  function Uniform:__init(...)
    local a = args({"low", "high", "p", "seed", "shape"}, ...)
    self:setup(class.typename(self), "uniform", a.low, a.high, a.p, a.seed, a.shape, by_columns)
  end
end

for name, f in pairs(require "bdl.plasticity") do event[name] = f end

setmetatable(event, {__index = function(_, name)
  core.fail("KeyError", 2, "bdl.event has no '%s'%s", tostring(name), suggest.hint(tostring(name), require "bdl.util".sorted_keys(event)))
end})

return event

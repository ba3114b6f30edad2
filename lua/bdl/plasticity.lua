--- Event-driven changes of weights: only the rows of presynaptic or the columns of postsynaptic events are read and written.
--  Weights touched are kept in w_min..w_max (either may be nil).  Spikes [n] are active where true or > 0.  The loop runs over the
--  active ones, so reverse mode does not pass through it.  opts.factor [n] multiplies what each active one adds.  Source: brainevent; Knight & Nowotny (2018) for the split by rows.
local core = require "bdl.core"

local M = {}

local NONE = {}

local function bind(prim, ...) return core.bind(prim, NONE, ...) end
local function reshape(x, ...) return core.bind("reshape", {shape = {...}}, x) end

--- x as plain numbers in the unit of w.
local function like(w, x)
  if x == nil then return nil end
  if not core.is_tensor(x) then x = core.tensor(x) end
  if core.unit_of(w) or core.unit_of(x) then x = core.convert(x, core.unit_of(w)) end
  x = core.mantissa(x)
  return x.dtype ~= w.dtype and core.cast(x, w.dtype) or x
end

local function check(who, w, spikes, trace, rows, cols)
  for name, x in pairs{spikes = {spikes, rows}, trace = {trace, cols}} do
    if x[1].ndim ~= 1 or x[2] and x[1].shape[1] ~= x[2] then
      core.fail("ShapeError", 3, "%s: %s [%s] for weights [%s]", who, name, table.concat({table.unpack(x[1].shape)}, ","),
                table.concat({table.unpack(w.shape)}, ","))
    end
  end
end

--- w after w = change(w, i, add) for each active i; add(old, jump) is the bounded sum of i.
local function each_active(w, spikes, w_min, w_max, opts, change)
  local unit, lo, hi = core.unit_of(w), like(w, w_min), like(w, w_max)
  local factor = opts and opts.factor
  if factor then factor = core.cast(factor, w.dtype) end
  local function add(old, jump, i)
    local new = old + (factor and jump * reshape(core.bind("dynamic_slice", {sizes = {1}}, factor, i)) or jump)
    if lo then new = bind("max", new, lo) end
    return hi and bind("min", new, hi) or new
  end
  local ids, count = core.bind("event_ids", NONE, spikes)
  local _, after = require "bdl.compile".while_loop(function(k) return bind("lt", k, count) end, function(k, x)
    return k + 1, change(x, reshape(core.bind("dynamic_slice", {sizes = {1}}, ids, k)), add)
  end, core.tensor(0, "int32"), core.mantissa(w))
  return core.with_unit(after, unit)
end

local function zero() return core.tensor(0, "int32") end

--- w [m, n]:  w[i, :] += post_trace [n] for each active i of pre_spike [m].
function M.update_dense_on_binary_pre(w, pre_spike, post_trace, w_min, w_max, opts)
  check("update_dense_on_binary_pre", w, pre_spike, post_trace, w.shape[1], w.shape[2])
  local n = w.shape[2]
  local jump = reshape(like(w, post_trace), 1, n)
  return each_active(w, pre_spike, w_min, w_max, opts, function(x, i, add)
    local row = core.bind("dynamic_slice", {sizes = {1, n}}, x, i, zero())
    return bind("dynamic_update_slice", x, add(row, jump, i), i, zero())
  end)
end

--- w [m, n]:  w[:, j] += pre_trace [m] for each active j of post_spike [n].
function M.update_dense_on_binary_post(w, pre_trace, post_spike, w_min, w_max, opts)
  check("update_dense_on_binary_post", w, post_spike, pre_trace, w.shape[2], w.shape[1])
  local m = w.shape[1]
  local jump = reshape(like(w, pre_trace), m, 1)
  return each_active(w, post_spike, w_min, w_max, opts, function(x, j, add)
    local column = core.bind("dynamic_slice", {sizes = {m, 1}}, x, zero(), j)
    return bind("dynamic_update_slice", x, add(column, jump, j), zero(), j)
  end)
end

--- The longest row, at least 1.  Errors: TraceContextError, a traced indptr.
local function longest(indptr)
  if core.is_traced(indptr) then core.fail("TraceContextError", 3, "plasticity: indptr must be known while tracing") end
  local p, most = core.totable(indptr), 1
  for i = 2, #p do most = math.max(most, p[i] - p[i - 1]) end
  return most
end

--- For row i: where a window of `size` entries that holds it begins, and which of them belong to it.
local function window(indptr, i, size, nnz)
  local ends = core.bind("dynamic_slice", {sizes = {2}}, indptr, i)
  local function at(k) return reshape(core.bind("slice", {start = {k}, stop = {k + 1}, step = {1}}, ends)) end
  local from = bind("min", at(0), nnz - size)
  local p = from + core.bind("iota", {shape = {size}, axis = 0, dtype = "int32"})
  return from, bind("and", bind("ge", p, at(0)), bind("lt", p, at(1)))
end

local function cut(x, size, from) return core.bind("dynamic_slice", {sizes = {size}}, x, from) end

--- w [nnz] of a matrix by rows:  w[i, j] += post_trace[j] for each stored (i, j) of each active i of pre_spike.
function M.update_csr_on_binary_pre(w, indices, indptr, pre_spike, post_trace, w_min, w_max, opts)
  check("update_csr_on_binary_pre", w, pre_spike, post_trace, indptr.shape[1] - 1)
  local nnz, size, jumps = w.shape[1], longest(indptr), like(w, post_trace)
  if nnz == 0 then return w end
  indptr = core.cast(indptr, "int32")
  return each_active(w, pre_spike, w_min, w_max, opts, function(x, i, add)
    local from, mine = window(indptr, i, size, nnz)
    local old = cut(x, size, from)
    local new = add(old, core.bind("gather", {axis = 0}, jumps, cut(indices, size, from)), i)
    return bind("dynamic_update_slice", x, bind("select", mine, new, old), from)
  end)
end

--- The same matrix by columns, as csr_to_csc_index gives it (indices: rows; weight_indices: places in w):
--  w[i, j] += pre_trace[i] for each stored (i, j) of each active j of post_spike.
function M.update_csr_on_binary_post(w, indices, indptr, weight_indices, pre_trace, post_spike, w_min, w_max, opts)
  check("update_csr_on_binary_post", w, post_spike, pre_trace, indptr.shape[1] - 1)
  local nnz, size, jumps = w.shape[1], longest(indptr), like(w, pre_trace)
  if nnz == 0 then return w end
  indptr = core.cast(indptr, "int32")
  return each_active(w, post_spike, w_min, w_max, opts, function(x, j, add)
    local from, mine = window(indptr, j, size, nnz)
    local places = cut(weight_indices, size, from)
    local old = core.bind("gather", {axis = 0}, x, places)
    local new = add(old, core.bind("gather", {axis = 0}, jumps, cut(indices, size, from)), j)
    return core.bind("scatter", {axis = 0, op = "set"}, x, places, bind("select", mine, new, old))
  end)
end

--- A matrix by rows, by columns:  indices, indptr, shape -> rows [nnz], column pointers [n + 1], places in the data by rows [nnz].
function M.csr_to_csc_index(indices, indptr, shape)
  local rows, p = {}, core.totable(indptr)
  for i = 1, #p - 1 do
    for k = p[i] + 1, p[i + 1] do rows[k] = i - 1 end
  end
  local columns, pointers = core.totable(indices), {0}
  local counts = {}
  for _, j in ipairs(columns) do counts[j] = (counts[j] or 0) + 1 end
  for j = 0, shape[2] - 1 do pointers[j + 2] = pointers[j + 1] + (counts[j] or 0) end
  local order = {}
  for k = 1, #columns do order[k] = k - 1 end
  table.sort(order, function(a, b)
    local c, d = columns[a + 1], columns[b + 1]
    return c < d or c == d and a < b
  end)
  local by_column = {}
  for k, place in ipairs(order) do by_column[k] = rows[place + 1] end
  return core.tensor(by_column, "int32"), core.tensor(pointers, "int32"), core.tensor(order, "int32")
end

return M

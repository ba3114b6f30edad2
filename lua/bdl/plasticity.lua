--- Event-driven changes of weights: only the rows of presynaptic or the columns of postsynaptic events are read and
--  written. Weights touched are kept in w_min..w_max (either may be nil), constants.  Spikes [n] are active where true
--  or > 0. opts.factor [n] multiplies what each active one adds.
--  Forward the loop runs over the active ones.  A derivative goes by all stored weights: to w and the trace where an
--  update kept within the bounds, to the factor, and to float spikes as if they were multiplied in, as in products with
--  events.
--  Source: brainevent; Knight & Nowotny (2018) for the split by rows.
local core = require "bdl.core"
local none = require "bdl.none".none

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

local function text(x) return "[" .. table.concat({table.unpack(x.shape)}, ",") .. "]" end

local function check(who, w, spikes, trace, n_spikes, n_trace)
  for name, x in pairs{spikes = {spikes, n_spikes}, trace = {trace, n_trace}} do
    if x[1].ndim ~= 1 or x[2] and x[1].shape[1] ~= x[2] then
      core.fail("ShapeError", 3, "%s: %s %s for weights %s", who, name, text(x[1]), text(w))
    end
  end
end

--- w changed by the events of `spikes`.  rule says how w is stored:
--    change(x, i, jump, add)  x after event i, where add(old, jump, i) is what becomes of old weights;
--    by_event(v), by_trace(v)  for each weight its element of a vector over the spiking side, over the other side.
local function update(w, spikes, trace, w_min, w_max, opts, rule)
  local unit, lo, hi = core.unit_of(w), like(w, w_min), like(w, w_max)
  local function bounded(x)
    if lo then x = bind("max", x, lo) end
    return hi and bind("min", x, hi) or x
  end

  local function by_events(x, events, jump, factor)
    local function add(old, change, i)
      return bounded(old + (factor and change * reshape(core.bind("dynamic_slice", {sizes = {1}}, factor, i))
                            or change))
    end
    local ids, count = core.bind("event_ids", NONE, events)
    local _, after = require "bdl.compile".while_loop(function(k) return bind("lt", k, count) end, function(k, y)
      return k + 1, rule.change(y, reshape(core.bind("dynamic_slice", {sizes = {1}}, ids, k)), jump, add)
    end, core.tensor(0, "int32"), x)
    return after
  end

  local function by_weights(primals, tangents)
    local x, events, jump, factor = table.unpack(primals)
    local dx, devents, djump, dfactor = table.unpack(tangents)
    local active = events.dtype == "bool" and events or bind("gt", events, 0)
    local ones = core.cast(active, x.dtype)
    local gain, change = rule.by_event(factor and ones * factor or ones), rule.by_trace(jump)
    local raw, touched = x + gain * change, bind("gt", rule.by_event(ones), 0.0)
    local within = bounded(raw)
    local slope = dx + gain * rule.by_trace(djump)
    if devents ~= none then
      devents = core.cast(devents, x.dtype)
      slope = slope + rule.by_event(factor and devents * factor or devents) * change
    end
    if factor then slope = slope + rule.by_event(ones * dfactor) * change end
    local held = bind("and", touched, bind("ne", within, raw))
    return bind("select", touched, within, x), bind("select", held, 0.0 * slope, slope)
  end

  local f = require "bdl.augment".custom_jvp(by_events):defjvp(by_weights)
  local factor = opts and opts.factor
  local jump = like(w, trace)
  if factor then return core.with_unit(f(core.mantissa(w), spikes, jump, core.cast(factor, w.dtype)), unit) end
  return core.with_unit(f(core.mantissa(w), spikes, jump), unit)
end

-- ---- dense ----------------------------------------------------------------------------------------------------------

local function zero() return core.tensor(0, "int32") end

--- A vector over one axis of w [m, n], for each weight.
local function along(w, axis)
  return function(v) return core.bind("broadcast", {shape = {w.shape[1], w.shape[2]}, dims = {axis}}, v) end
end

--- w [m, n]:  w[i, :] += post_trace [n] for each active i of pre_spike [m].
--  Example:
--    print(bdl.event.update_dense_on_binary_pre(bdl.zeros(2, 3), bdl.tensor{1., 0.}, bdl.ones(3), 0.0, 0.5))
function M.update_dense_on_binary_pre(w, pre_spike, post_trace, w_min, w_max, opts)
  local n = w.shape[2]
  check("update_dense_on_binary_pre", w, pre_spike, post_trace, w.shape[1], n)
  return update(w, pre_spike, post_trace, w_min, w_max, opts, {
    by_event = along(w, 0), by_trace = along(w, 1),
    change = function(x, i, jump, add)
      local row = core.bind("dynamic_slice", {sizes = {1, n}}, x, i, zero())
      return bind("dynamic_update_slice", x, add(row, reshape(jump, 1, n), i), i, zero())
    end,
  })
end

--- w [m, n]:  w[:, j] += pre_trace [m] for each active j of post_spike [n].
--  Example:
--    print(bdl.event.update_dense_on_binary_post(bdl.zeros(2, 3), bdl.ones(2), bdl.tensor{0., 1., 1.}, 0.0, 0.5))
function M.update_dense_on_binary_post(w, pre_trace, post_spike, w_min, w_max, opts)
  local m = w.shape[1]
  check("update_dense_on_binary_post", w, post_spike, pre_trace, w.shape[2], m)
  return update(w, post_spike, pre_trace, w_min, w_max, opts, {
    by_event = along(w, 1), by_trace = along(w, 0),
    change = function(x, j, jump, add)
      local column = core.bind("dynamic_slice", {sizes = {m, 1}}, x, zero(), j)
      return bind("dynamic_update_slice", x, add(column, reshape(jump, m, 1), j), zero(), j)
    end,
  })
end

-- ---- compressed rows and columns ------------------------------------------------------------------------------------

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
local function gather(x, ids) return core.bind("gather", {axis = 0}, x, ids) end

--- The element of a vector over rows that belongs to each stored entry.
local function of_rows(indices, indptr, cols)
  return function(v)
    local ones = core.bind("broadcast", {shape = {cols}, dims = {}}, core.tensor(1.0, v.dtype))
    return core.bind("csr_outer", {rows = v.shape[1], cols = cols, event = false}, v, ones, indices, indptr)
  end
end

--- w [nnz] of a matrix by rows:  w[i, j] += post_trace[j] for each stored (i, j) of each active i of pre_spike.
--  Example:
--    local indices, indptr = bdl.tensor{2, 0, 1}, bdl.tensor{0, 1, 3}
--    print(bdl.event.update_csr_on_binary_pre(bdl.zeros(3), indices, indptr, bdl.tensor{1., 0.}, bdl.ones(3), 0.0, 0.5))
function M.update_csr_on_binary_pre(w, indices, indptr, pre_spike, post_trace, w_min, w_max, opts)
  check("update_csr_on_binary_pre", w, pre_spike, post_trace, indptr.shape[1] - 1)
  local nnz, size = w.shape[1], longest(indptr)
  if nnz == 0 then return w end
  indptr = core.cast(indptr, "int32")
  return update(w, pre_spike, post_trace, w_min, w_max, opts, {
    by_event = of_rows(indices, indptr, post_trace.shape[1]), by_trace = function(v) return gather(v, indices) end,
    change = function(x, i, jump, add)
      local from, mine = window(indptr, i, size, nnz)
      local old = cut(x, size, from)
      local new = add(old, gather(jump, cut(indices, size, from)), i)
      return bind("dynamic_update_slice", x, bind("select", mine, new, old), from)
    end,
  })
end

--- The same matrix by columns, as csr_to_csc_index gives it (indices: rows; weight_indices: places in w):
--  w[i, j] += pre_trace[i] for each stored (i, j) of each active j of post_spike.
--  Example:
--    local indices, indptr = bdl.tensor{2, 0, 1}, bdl.tensor{0, 1, 3}
--    local rows, pointers, places = bdl.event.csr_to_csc_index(indices, indptr, {2, 3})
--    local post = bdl.tensor{0., 1., 1.}
--    print(bdl.event.update_csr_on_binary_post(bdl.zeros(3), rows, pointers, places, bdl.ones(2), post, 0.0, 0.5))
function M.update_csr_on_binary_post(w, indices, indptr, weight_indices, pre_trace, post_spike, w_min, w_max, opts)
  check("update_csr_on_binary_post", w, post_spike, pre_trace, indptr.shape[1] - 1)
  local nnz, size = w.shape[1], longest(indptr)
  if nnz == 0 then return w end
  indptr = core.cast(indptr, "int32")
  local function in_place(v)
    local zeros = core.bind("broadcast", {shape = {nnz}, dims = {}}, core.tensor(0.0, v.dtype))
    return core.bind("scatter", {axis = 0, op = "add"}, zeros, weight_indices, v)
  end
  local by_columns = of_rows(indices, indptr, pre_trace.shape[1])
  return update(w, post_spike, pre_trace, w_min, w_max, opts, {
    by_event = function(v) return in_place(by_columns(v)) end, by_trace = function(v) return in_place(gather(v,
        indices)) end,
    change = function(x, j, jump, add)
      local from, mine = window(indptr, j, size, nnz)
      local places = cut(weight_indices, size, from)
      local old = gather(x, places)
      local new = add(old, gather(jump, cut(indices, size, from)), j)
      return core.bind("scatter", {axis = 0, op = "set"}, x, places, bind("select", mine, new, old))
    end,
  })
end

--- w [nnz] of a matrix by columns (indices: rows; indptr over columns), shape {m, n}: as the two before.
--  Example:
--    local rows, pointers = bdl.tensor{1, 1, 0}, bdl.tensor{0, 1, 2, 3}
--    local post = bdl.tensor{0., 1., 1.}
--    print(bdl.event.update_csc_on_binary_post(bdl.zeros(3), rows, pointers, bdl.ones(2), post, 0.0, 0.5))
function M.update_csc_on_binary_post(w, indices, indptr, pre_trace, post_spike, w_min, w_max, opts)
  return M.update_csr_on_binary_pre(w, indices, indptr, post_spike, pre_trace, w_min, w_max, opts)
end

--- opts.shape = {m, n} is needed.  Errors: TypeError, it is missing.
--  Example:
--    local rows, pointers, shape = bdl.tensor{1, 1, 0}, bdl.tensor{0, 1, 2, 3}, {2, 3}
--    local pre = bdl.tensor{1., 0.}
--    print(bdl.event.update_csc_on_binary_pre(bdl.zeros(3), rows, pointers, pre, bdl.ones(3), 0.0, 0.5, {shape = shape}))
function M.update_csc_on_binary_pre(w, indices, indptr, pre_spike, post_trace, w_min, w_max, opts)
  local shape = opts and opts.shape
  if type(shape) ~= "table" or #shape ~= 2 then
    core.fail("TypeError", 2, "update_csc_on_binary_pre: the option shape = {rows, columns} is needed")
  end
  local columns, pointers, places = M.csr_to_csc_index(indices, indptr, {shape[2], shape[1]})
  return M.update_csr_on_binary_post(w, columns, pointers, places, post_trace, pre_spike, w_min, w_max, opts)
end

-- ---- rows of a fixed number of entries ------------------------------------------------------------------------------

--- w and indices [rows, k]:  w[r, :] += trace[indices[r, :]] for each active r.
local function fixed(who, w, indices, spikes, trace, w_min, w_max, opts)
  if w.ndim ~= 2 or indices.ndim ~= 2 or w.shape[1] ~= indices.shape[1] or w.shape[2] ~= indices.shape[2] then
    core.fail("ShapeError", 3, "%s: weights %s and indices %s; both are [rows, k]", who, text(w), text(indices))
  end
  local rows, k = w.shape[1], w.shape[2]
  check(who, w, spikes, trace, rows)
  if rows * k == 0 then return w end
  indices = core.cast(indices, "int32")
  local flat = reshape(indices, rows * k)
  return update(w, spikes, trace, w_min, w_max, opts, {
    by_event = along(w, 0), by_trace = function(v) return reshape(gather(v, flat), rows, k) end,
    change = function(x, r, jump, add)
      local targets = reshape(core.bind("dynamic_slice", {sizes = {1, k}}, indices, r, zero()), k)
      local old = core.bind("dynamic_slice", {sizes = {1, k}}, x, r, zero())
      return bind("dynamic_update_slice", x, add(old, reshape(gather(jump, targets), 1, k), r), r, zero())
    end,
  })
end

--- w, indices [m, k] of k targets for each pre neuron:  w[i, :] += post_trace[indices[i, :]] for each active i of
--  pre_spike.
--  Example:
--    local indices = bdl.tensor{{0, 2}, {1, 2}}
--    print(bdl.event.update_fixed_post_conn_on_binary_pre(bdl.zeros(2, 2), indices, bdl.tensor{1., 0.}, bdl.ones(3), 0.0, 0.5))
function M.update_fixed_post_conn_on_binary_pre(w, indices, pre_spike, post_trace, w_min, w_max, opts)
  return fixed("update_fixed_post_conn_on_binary_pre", w, indices, pre_spike, post_trace, w_min, w_max, opts)
end

--- w, indices [n, k] of k sources for each post neuron:  w[j, :] += pre_trace[indices[j, :]] for each active j of
--  post_spike.
--  Example:
--    local indices = bdl.tensor{{0}, {1}, {0}}
--    print(bdl.event.update_fixed_pre_conn_on_binary_post(bdl.zeros(3, 1), indices, bdl.ones(2), bdl.tensor{0., 1., 1.}, 0.0, 0.5))
function M.update_fixed_pre_conn_on_binary_post(w, indices, pre_trace, post_spike, w_min, w_max, opts)
  return fixed("update_fixed_pre_conn_on_binary_post", w, indices, post_spike, pre_trace, w_min, w_max, opts)
end

--- A matrix by rows, by columns:  indices, indptr, shape -> rows [nnz], column pointers [n + 1], places in the data by
--  rows [nnz].
--  Example:
--    print(bdl.event.csr_to_csc_index(bdl.tensor{2, 0, 1}, bdl.tensor{0, 1, 3}, {2, 3}))
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

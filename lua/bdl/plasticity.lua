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
--    learn(x, ..)  x after the events; the rest is operands of event_learn and csr_learn: ids to high;
--    by_event(v), by_trace(v)  for each weight its element of a vector over the spiking side, over the other side.
local function update(w, spikes, trace, w_min, w_max, opts, rule)
  local unit, lo, hi = core.unit_of(w), like(w, w_min), like(w, w_max)
  local function bounded(x)
    if lo then x = bind("max", x, lo) end
    return hi and bind("min", x, hi) or x
  end

  local low, high = lo or core.tensor(-math.huge, w.dtype), hi or core.tensor(math.huge, w.dtype)
  local function by_events(x, events, jump, factor)
    local ids, count = core.bind("event_ids", NONE, events)
    return rule.learn(x, ids, count, jump, factor or core.tensor({1.0}, w.dtype), low, high)
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

--- A vector over one axis of w [m, n], for each weight.
local function along(w, axis)
  return function(v) return core.bind("broadcast", {shape = {w.shape[1], w.shape[2]}, dims = {axis}}, v) end
end

--- w [m, n]:  w[i, :] += post_trace [n] for each active i of pre_spike [m].
--  Example:
--    print(bdl.event.update_dense_on_binary_pre(bdl.zeros(2, 3), bdl.tensor{1., 0.}, bdl.ones(3), 0.0, 0.5))
function M.update_dense_on_binary_pre(w, pre_spike, post_trace, w_min, w_max, opts)
  check("update_dense_on_binary_pre", w, pre_spike, post_trace, w.shape[1], w.shape[2])
  return update(w, pre_spike, post_trace, w_min, w_max, opts, {
    by_event = along(w, 0), by_trace = along(w, 1),
    learn = function(...) return core.bind("event_learn", {transpose = false}, ...) end,
  })
end

--- w [m, n]:  w[:, j] += pre_trace [m] for each active j of post_spike [n].
--  Example:
--    print(bdl.event.update_dense_on_binary_post(bdl.zeros(2, 3), bdl.ones(2), bdl.tensor{0., 1., 1.}, 0.0, 0.5))
function M.update_dense_on_binary_post(w, pre_trace, post_spike, w_min, w_max, opts)
  check("update_dense_on_binary_post", w, post_spike, pre_trace, w.shape[2], w.shape[1])
  return update(w, post_spike, pre_trace, w_min, w_max, opts, {
    by_event = along(w, 1), by_trace = along(w, 0),
    learn = function(...) return core.bind("event_learn", {transpose = true}, ...) end,
  })
end

-- ---- compressed rows and columns ------------------------------------------------------------------------------------

local function gather(x, ids) return core.bind("gather", {axis = 0}, x, ids) end

--- csr_learn of a matrix by rows; places: where its weights stand, nil: in order.
local function learner(indices, indptr, rows, cols, places)
  return function(x, ids, count, jump, gain, low, high)
    local operands = {x, ids, count, jump, gain, low, high, indices, indptr, places}
    return core.bind("csr_learn", {rows = rows, cols = cols}, table.unpack(operands))
  end
end

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
  local rows, cols = indptr.shape[1] - 1, post_trace.shape[1]
  indices = core.cast(indices, "int32")
  check("update_csr_on_binary_pre", w, pre_spike, post_trace, rows)
  return update(w, pre_spike, post_trace, w_min, w_max, opts, {
    by_event = of_rows(indices, indptr, cols), by_trace = function(v) return gather(v, indices) end,
    learn = learner(indices, indptr, rows, cols),
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
  local nnz, rows, cols = w.shape[1], indptr.shape[1] - 1, pre_trace.shape[1]
  indices, weight_indices = core.cast(indices, "int32"), core.cast(weight_indices, "int32")
  check("update_csr_on_binary_post", w, post_spike, pre_trace, rows)
  local function in_place(v)
    local zeros = core.bind("broadcast", {shape = {nnz}, dims = {}}, core.tensor(0.0, v.dtype))
    return core.bind("scatter", {axis = 0, op = "add"}, zeros, weight_indices, v)
  end
  local by_columns = of_rows(indices, indptr, cols)
  return update(w, post_spike, pre_trace, w_min, w_max, opts, {
    by_event = function(v) return in_place(by_columns(v)) end,
    by_trace = function(v) return in_place(gather(v, indices)) end,
    learn = learner(indices, indptr, rows, cols, weight_indices),
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
  local flat = reshape(core.cast(indices, "int32"), rows * k)
  local learn = learner(flat, core.tensor({0, k}, "int32"), rows, trace.shape[1])
  return update(w, spikes, trace, w_min, w_max, opts, {
    by_event = along(w, 0), by_trace = function(v) return reshape(gather(v, flat), rows, k) end,
    learn = function(x, ...) return reshape(learn(reshape(x, rows * k), ...), rows, k) end,
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
  local nnz, n = indices.shape[1], shape[2]
  local function count(size) return core.bind("iota", {shape = {size}, axis = 0, dtype = "int32"}) end
  local function full(size, x) return core.bind("broadcast", {shape = {size}, dims = {}}, core.tensor(x, "int32")) end
  local columns, order = core.bind("sort", {axis = 0, keys = 1, descending = false}, core.cast(indices, "int32"), count(nnz))
  local rows = core.cast(of_rows(core.cast(indices, "int32"), core.cast(indptr, "int32"), n)(core.cast(count(shape[1]), "float64")), "int32")
  local lengths = core.bind("scatter", {axis = 0, op = "add"}, full(n + 1, 0), columns + 1, full(nnz, 1))
  return gather(rows, order), core.bind("cumsum", {axis = 0, reverse = false}, lengths), order
end

return M

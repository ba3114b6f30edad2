--- Event-driven products: forward results, and vjps with respect to the weights and the vector.
--  A group of arrays `<tag>.y .ct .dw .dv` is one product; the tag says which operands it has.
local bdl = require "bdl"
local event = bdl.event

--- The products of one file by tag: {f(w, v), weights, vector}.
local function check(case, t, products)
  for tag, p in pairs(products) do
    local y = case.arrays[tag .. ".y"]
    if y and not case.arrays[tag .. ".ct"] then
      t.compare(tag .. ".y", p[1](p[2], p[3]), y)
    elseif y then
      local out, pullback = bdl.augment.vjp(p[1], p[2], p[3])
      t.compare(tag .. ".y", out, y)
      local dw, dv = pullback(t.array(case, tag .. ".ct"))
      t.compare(tag .. ".dw", dw, case.arrays[tag .. ".dw"])
      t.compare(tag .. ".dv", dv, case.arrays[tag .. ".dv"])
    end
  end
end

local function events_of(v) return event.BinaryArray(v) end

local function dense(case, t)
  local function a(name) return t.array(case, name) end
  local W = a "W"
  local function left(w, v) return events_of(v):matmul(w) end
  check(case, t, {
    s_W = {left, W, a "s"},
    W_s = {function(w, v) return events_of(v):rmatmul(w) end, W, a "s_post"},
    batch = {left, W, a "s_batch"},
    bool = {left, W, a "s":gt(0.5)},
    float_events = {left, W, a "s_float"},
    float_dense = {function(w, v) return v:matmul(w) end, W, a "s_float"},
    scalar_weight = {left, W * 0 + 0.7, a "s"},
  })
end

local function sparse(case, t)
  local function a(name) return t.array(case, name) end
  local shape = case.arrays.dense.shape
  local indices, indptr = a "indices", a "indptr"
  local function csr(w) return event.CSR(w, indices, indptr, shape) end
  local function left(w, v) return events_of(v):matmul(csr(w)) end
  local A = csr(a "data")
  check(case, t, {
    s_A = {left, a "data", a "s"},
    A_s = {function(w, v) return csr(w):matmul(events_of(v)) end, a "data", a "s_post"},
    x_A = {function(w, v) return csr(w):rmatmul(v) end, a "data", a "x"},
    A_x = {function(w, v) return csr(w):matmul(v) end, a "data", a "x_post"},
    batch = {left, a "data", a "s_batch"},
    homo_s_A = {left, bdl.tensor{case.params.homo}, a "s"},
  })
  t.compare("dense", A:todense(), case.arrays.dense)
  local row, col = A:tocoo()
  t.compare("coo_row", row, case.arrays.coo_row)
  t.compare("coo_col", col, case.arrays.coo_col)
  local from = event.CSR.fromdense(a "dense")
  t.compare("data", from.data, case.arrays.data)
  t.compare("indices", from.indices, case.arrays.indices)
  t.compare("indptr", from.indptr, case.arrays.indptr)
  for name, vector in pairs{dt2t = true, dt2t_transposed = true} do
    if case.arrays[name] and vector then -- data times the vector's entry at the row (transposed: at the column)
      local at = name == "dt2t" and row or col
      t.compare(name, a "data" * a(name .. "_vec"):take(at), case.arrays[name])
    end
  end
end

local function fixed(case, t)
  local function a(name) return t.array(case, name) end
  local m, n = case.params.m, case.params.n
  local shape = {m, n}
  local post, pre = a "post_indices", a "pre_indices"
  local function per_pre(w) return event.FixedPostNumConn(w, post, shape) end
  local function per_post(w) return event.FixedPreNumConn(w, pre, shape) end
  check(case, t, {
    ["post.s_A"] = {function(w, v) return events_of(v):matmul(per_pre(w)) end, a "post_w", a "s"},
    ["post.A_s"] = {function(w, v) return per_pre(w):matmul(events_of(v)) end, a "post_w", a "s_post"},
    ["post.x_A"] = {function(w, v) return per_pre(w):rmatmul(v) end, a "post_w", a "x"},
    ["post.A_x"] = {function(w, v) return per_pre(w):matmul(v) end, a "post_w", a "x_post"},
    ["post.homo_s_A"] = {function(w, v) return events_of(v):matmul(per_pre(w)) end, bdl.tensor{case.params.homo}, a "s"},
    ["pre.s_A"] = {function(w, v) return events_of(v):matmul(per_post(w)) end, a "pre_w", a "s"},
    ["pre.A_s"] = {function(w, v) return per_post(w):matmul(events_of(v)) end, a "pre_w", a "s_post"},
  })
  t.compare("post.dense", per_pre(a "post_w"):todense(), case.arrays["post.dense"])
  t.compare("pre.dense", per_post(a "pre_w"):todense(), case.arrays["pre.dense"])
end

return function(case, t)
  local kind = case.arrays.W and dense or case.arrays.indptr and sparse or case.arrays.post_indices and fixed
  if not kind then t.skip("no dense, CSR or fixed-number matrix") end
  kind(case, t)
end

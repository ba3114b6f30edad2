--- Traceable operations between an input and weights, which online learning finds in a model.
--  A weight is a parameter (its value is read) or what was read from one; weight_fn, a function of single weights, acts on it before.
--  Errors of all: TypeError, an operand that is no tensor of floats, an unknown option; ShapeError; UnitMismatchError.
local core = require "bdl.core"
local args = require "bdl.args"
local base = require "bdl.array.base"
local class = require "bdl.class"
local event = require "bdl.event"
local field = require "bdl.nn.field"
local layer = require "bdl.nn.layer"
local linalg = require "bdl.array.linalg"
local mark = require "bdl.online.mark"
local none = require "bdl.none".none
local state = require "bdl.state"
local traced = require "bdl.online.traced"

local M = {}

-- ---- operands --------------------------------------------------------------------------------------------------------------

--- The value of a weight.
local function weight(who, what, w)
  w = state.maybe_state(w)
  if type(w) == "number" then w = core.tensor(w) end
  if type(w) == "table" and getmetatable(w) == nil and next(w) ~= nil then
    core.hint "give one tensor of the parameter, for example p.value.weight"
    core.fail("TypeError", 3, "online.%s: %s is a tensor, not a table", who, what)
  end
  if not core.is_tensor(w) then core.fail("TypeError", 3, "online.%s: %s is a tensor or a State, not a %s", who, what, class.typename(w)) end
  if base.KIND[w.dtype] ~= 2 then
    core.fail("TypeError", 3, "online.%s: %s is a tensor of floats, not %s", who, what, base.text(w))
  end
  return w
end

--- An input as floats of the weight's dtype.
local function input(who, x, w)
  x = state.maybe_state(x)
  if not core.is_tensor(x) then
    if type(x) ~= "number" and type(x) ~= "table" then
      core.fail("TypeError", 3, "online.%s: the input is a tensor, not a %s", who, class.typename(x))
    end
    x = base.tensor(x)
  end
  return base.KIND[x.dtype] == 2 and x or core.cast(x, core.mantissa(w).dtype)
end

local function check_ndim(who, what, w, ndim, axes)
  if w.ndim ~= ndim then core.fail("ShapeError", 3, "online.%s: %s is [%s], not %s", who, what, axes, base.text(w)) end
end

--- x must end in the sizes of w from axis 1 to `last`.
local function check_last(who, x, w, first, last)
  local from, fits = x.ndim - (last - first + 1), x.ndim > last - first
  for k = first, last do fits = fits and x.shape[from + k - first + 1] == w.shape[k] end
  if not fits then
    core.fail("ShapeError", 3, "online.%s: the last size%s of the input %s must be %s of the weight %s", who, first == last and "" or "s",
              base.text(x), table.concat({table.unpack(w.shape, first, last)}, ", "), base.text(w))
  end
end

--- f, held to the shape that it is given.
local function shaped(who, name, f)
  if f == nil then return nil end
  if type(f) ~= "function" then core.fail("TypeError", 3, "online.%s: %s is a function, not a %s", who, name, class.typename(f)) end
  return function(w)
    local changed = f(w)
    if not core.is_tensor(changed) or changed.shape ~= w.shape then
      core.fail("ShapeError", 2, "online.%s: %s must keep the shape of %s, but gives %s", who, name, base.text(w), base.text(changed))
    end
    return changed
  end
end

local function bias(who, b, sizes)
  if b == nil then return nil end
  b = weight(who, "the bias", b)
  local fits = b.ndim == #sizes
  for k, n in ipairs(sizes) do fits = fits and b.shape[k] == n end
  if not fits then
    core.fail("ShapeError", 3, "online.%s: the bias is [%s], not %s", who, table.concat(sizes, ","), base.text(b))
  end
  return b
end

--- Arguments of a call: positions, and options that are absent unless given.
local function read(who, positions, options, ...)
  local spec = {[0] = "online." .. who, table.unpack(positions)}
  for name in options:gmatch "%S+" do spec[name] = none end
  return args(spec, ...)
end

-- ---- operations --------------------------------------------------------------------------------------------------------------

--- matmul(x, w, {bias =, weight_fn =, bias_fn =}):  y = x f(W) + b.  x [.., in], w [in, out], bias [out]  ->  [.., out]
--  Example:
--    print(bdl.online.matmul(bdl.ones(2), bdl.ParamState(bdl.ones(2, 3)), {bias = bdl.zeros(3)}))
function M.matmul(...)
  local a = read("matmul", {"x", "weight"}, "bias weight_fn bias_fn", ...)
  local w = weight("matmul", "the weight", a.weight)
  local x = input("matmul", a.x, w)
  check_ndim("matmul", "the weight", w, 2, "in, out")
  check_last("matmul", x, w, 1, 1)
  return traced.matmul(x, {weight = w, bias = bias("matmul", a.bias, {w.shape[2]})},
                       {weight_fn = shaped("matmul", "weight_fn", a.weight_fn), bias_fn = shaped("matmul", "bias_fn", a.bias_fn)})
end

--- grouped_matmul(x, w, {bias =, weight_fn =, bias_fn =}):  y_g = x_g f(W_g) + b_g.  x [.., g, in], w [g, in, out], bias [g, out]
--  Example:
--    print(bdl.online.grouped_matmul(bdl.ones(4, 2), bdl.ParamState(bdl.ones(4, 2, 3))))
function M.grouped_matmul(...)
  local a = read("grouped_matmul", {"x", "weight"}, "bias weight_fn bias_fn", ...)
  local w = weight("grouped_matmul", "the weight", a.weight)
  local x = input("grouped_matmul", a.x, w)
  check_ndim("grouped_matmul", "the weight", w, 3, "groups, in, out")
  check_last("grouped_matmul", x, w, 1, 2)
  return traced.grouped_matmul(x, {weight = w, bias = bias("grouped_matmul", a.bias, {w.shape[1], w.shape[3]})}, {
    weight_fn = shaped("grouped_matmul", "weight_fn", a.weight_fn), bias_fn = shaped("grouped_matmul", "bias_fn", a.bias_fn),
  })
end

--- Labels of an equation "x,w->y" whose result is linear in w with one product for each pair of entries.
local function check_equation(eq)
  local function bad(...) core.fail("ValueError", 3, "online.einsum: '%s': %s", tostring(eq), string.format(...)) end
  if type(eq) ~= "string" then
    core.fail("TypeError", 3, "online.einsum: einsum(\"bi,ij->bj\", x, w): the equation comes first, not a %s", class.typename(eq))
  end
  local x, w, y = eq:gsub("%s", ""):match "^(%a+),(%a+)%->(%a+)$"
  if not x then bad "an equation of two operands and a result is needed, letters alone: \"bi,ij->bj\"" end
  for _, term in ipairs{x, w, y} do
    for c in term:gmatch "." do
      if select(2, term:gsub(c, "")) > 1 then bad("'%s' stands twice in '%s'", c, term) end
    end
  end
  for c in y:gmatch "." do
    if not (x .. w):find(c, 1, true) then bad("'%s' of the result is in no operand", c) end
  end
  for c in w:gmatch "." do
    if not (x .. y):find(c, 1, true) then bad("'%s' of the weight is neither in the input nor in the result", c) end
  end
  for c in x:gmatch "." do
    if not (w .. y):find(c, 1, true) then bad("'%s' of the input is neither in the weight nor in the result", c) end
  end
  return x, w
end

--- einsum("bi,ij->bj", x, w, {weight_fn =})
--  Example:
--    print(bdl.online.einsum("bi,ij->bj", bdl.ones(4, 2), bdl.ParamState(bdl.ones(2, 3))))
function M.einsum(eq, ...)
  local in_x, in_w = check_equation(eq)
  local a = read("einsum", {"x", "weight"}, "weight_fn", ...)
  local w = weight("einsum", "the weight", a.weight)
  local x = input("einsum", a.x, w)
  check_ndim("einsum", "the weight", w, #in_w, in_w)
  check_ndim("einsum", "the input", x, #in_x, in_x)
  local f = shaped("einsum", "weight_fn", a.weight_fn)
  return mark("einsum", function(z, p) return linalg.einsum(eq, z, f and f(p.weight) or p.weight) end, {x}, {weight = w})
end

--- embedding(ids, w, {weight_fn =}):  rows of w [n, size..] by whole numbers from 0.  ids [..]  ->  [.., size..]
--  Example:
--    print(bdl.online.embedding(bdl.tensor{0, 2}, bdl.ParamState(bdl.random.rand(3, 4))))
function M.embedding(...)
  local a = read("embedding", {"ids", "weight"}, "weight_fn", ...)
  local w = weight("embedding", "the weight", a.weight)
  local ids = state.maybe_state(a.ids)
  if not core.is_tensor(ids) then ids = base.tensor(ids) end
  if base.KIND[ids.dtype] ~= 1 then core.fail("TypeError", 2, "online.embedding: ids are integers, not %s", base.text(ids)) end
  if w.ndim < 2 then core.fail("ShapeError", 2, "online.embedding: the weight is [n, size..], not %s", base.text(w)) end
  return traced.embedding(ids, {weight = w}, {weight_fn = shaped("embedding", "weight_fn", a.weight_fn)})
end

--- element_wise(w, {weight_fn =}):  f(w), for weights that meet the states one by one.
--  Example:
--    print(bdl.online.element_wise(bdl.ParamState(bdl.zeros(3)), {weight_fn = bdl.sigmoid}))
function M.element_wise(...)
  local a = read("element_wise", {"weight"}, "weight_fn", ...)
  return traced.element_wise({weight = weight("element_wise", "the weight", a.weight)},
                             {weight_fn = shaped("element_wise", "weight_fn", a.weight_fn)})
end

--- conv(x, k, {strides = 1, padding = "SAME", bias =, lhs_dilation = 1, rhs_dilation = 1, groups = 1, kernel_fn =, bias_fn =}):
--  x [batch, space.., c_in], k [k.., c_in / groups, c_out], bias [c_out], one to three axes of space; see nn.Conv2d.
--  Without a batch, x [space.., c_in]  ->  [space.., c_out].
--  Example:
--    print(bdl.online.conv(bdl.ones(8, 2), bdl.ParamState(bdl.ones(3, 2, 4))).shape)
function M.conv(...)
  local a = read("conv", {"x", "kernel"}, "bias strides padding lhs_dilation rhs_dilation groups kernel_fn bias_fn", ...)
  local w = weight("conv", "the kernel", a.kernel)
  local x, who, dims = input("conv", a.x, w), "online.conv", w.ndim - 2
  if dims < 1 or dims > 3 then core.fail("ShapeError", 2, "online.conv: the kernel is [k.., c_in / groups, c_out], not %s", base.text(w)) end
  if x.ndim ~= dims + 1 and x.ndim ~= dims + 2 then
    core.fail("ShapeError", 2, "online.conv: for the kernel %s the input is [batch, %d sizes of space, c_in], not %s", base.text(w), dims,
              base.text(x))
  end
  local groups = layer.each(who, "groups", a.groups or 1, 1)[1]
  if x.shape[-1] ~= groups * w.shape[-2] or w.shape[-1] % groups ~= 0 then
    core.fail("ShapeError", 2, "online.conv: %d groups of the kernel %s do not fit the channels of %s", groups, base.text(w), base.text(x))
  end
  local apart = layer.each(who, "lhs_dilation", a.lhs_dilation or 1, dims)
  local window = {strides = layer.each(who, "strides", a.strides or 1, dims), lhs_dilation = apart, groups = groups,
                  rhs_dilation = layer.each(who, "rhs_dilation", a.rhs_dilation or 1, dims), pad_lo = {}, pad_hi = {}}
  local padding = field.padding(who, a.padding or "SAME", dims)
  local lead = x.ndim - dims - 1
  for k = 1, dims do
    local n = (x.shape[lead + k] - 1) * apart[k] + 1
    local width = (w.shape[k] - 1) * window.rhs_dilation[k] + 1
    window.pad_lo[k], window.pad_hi[k] = field.amount(padding, k, n, width, window.strides[k])
    field.count(who, n, window.pad_lo[k], window.pad_hi[k], width, window.strides[k])
  end
  local sizes = base.copy_shape(x)
  if lead == 0 then x = base.reshape(x, {1, table.unpack(sizes)}) end
  local y = traced.conv(x, {weight = w, bias = bias("conv", a.bias, {w.shape[-1]})},
                        {window = window, weight_fn = shaped("conv", "kernel_fn", a.kernel_fn), bias_fn = shaped("conv", "bias_fn", a.bias_fn)})
  return lead == 0 and base.reshape(y, {table.unpack(y.shape, 2, y.ndim)}) or y
end

--- sparse_matmul(x, w, {sparse_mat = connection, bias =, weight_fn =, bias_fn =}):  y = x A + b, the stored entries of A being f(w).
--  x [.., m], w [nnz], A [m, n], bias [n].  Errors: also TypeError, not a connection.
--  Example:
--    local csr = bdl.event.CSR.fromdense(bdl.eye(3))
--    print(bdl.online.sparse_matmul(bdl.ones(3), bdl.ParamState(bdl.ones(3)), {sparse_mat = csr}))
function M.sparse_matmul(...)
  local a = read("sparse_matmul", {"x", "weight"}, "sparse_mat bias weight_fn bias_fn", ...)
  local A = a.sparse_mat
  if not class.isa(A, event.Connection) or not A.with_data then
    core.fail("TypeError", 2, "online.sparse_matmul: sparse_mat is a connection, event.CSR(..), not a %s", class.typename(A))
  end
  local w = weight("sparse_matmul", "the weight", a.weight)
  local x = input("sparse_matmul", a.x, w)
  if x.ndim == 0 or x.shape[-1] ~= A.shape[1] then
    core.fail("ShapeError", 2, "online.sparse_matmul: the last size of the input %s must be the %d rows of the connection", base.text(x), A.shape[1])
  end
  return traced.sparse_matmul(x, {weight = w, bias = bias("sparse_matmul", a.bias, {A.shape[2]})}, {
    sparse_mat = A, weight_fn = shaped("sparse_matmul", "weight_fn", a.weight_fn), bias_fn = shaped("sparse_matmul", "bias_fn", a.bias_fn),
  })
end

--- lora_matmul(x, B, A, {alpha = 1, bias =, b_fn =, a_fn =, bias_fn =}):  y = alpha x B A + b.
--  x [.., in], B [in, rank], A [rank, out], bias [out]
--  Example:
--    local B, A = bdl.ParamState(bdl.ones(4, 1)), bdl.ParamState(bdl.ones(1, 3))
--    print(bdl.online.lora_matmul(bdl.ones(4), B, A, {alpha = 0.5}))
function M.lora_matmul(...)
  local a = read("lora_matmul", {"x", "B", "A"}, "alpha bias b_fn a_fn bias_fn", ...)
  local B, A = weight("lora_matmul", "B", a.B), weight("lora_matmul", "A", a.A)
  local x = input("lora_matmul", a.x, B)
  check_ndim("lora_matmul", "B", B, 2, "in, rank")
  check_ndim("lora_matmul", "A", A, 2, "rank, out")
  check_last("lora_matmul", x, B, 1, 1)
  if B.shape[2] ~= A.shape[1] then core.fail("ShapeError", 2, "online.lora_matmul: ranks differ: B %s, A %s", base.text(B), base.text(A)) end
  if a.alpha and type(a.alpha) ~= "number" then
    core.fail("TypeError", 2, "online.lora_matmul: alpha is a number, not a %s", class.typename(a.alpha))
  end
  return traced.lora_matmul(x, {lora_b = B, lora_a = A, bias = bias("lora_matmul", a.bias, {A.shape[2]})}, {
    alpha = a.alpha, b_fn = shaped("lora_matmul", "b_fn", a.b_fn), a_fn = shaped("lora_matmul", "a_fn", a.a_fn),
    bias_fn = shaped("lora_matmul", "bias_fn", a.bias_fn),
  })
end

return M

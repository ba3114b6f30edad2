--- Products and factorisations.  Leading axes are batches; booleans in products count as numbers.
local core = require "bdl.core"
local base = require "bdl.array.base"
local math_ = require "bdl.array.math"
local shapes = require "bdl.array.shape"

local linalg = {}

local bind, array, NONE = core.bind, base.array, base.NONE

--- Product over pairs of axes, from 0.  The result has the batch axes, the rest of x, the rest of y.
local function contract(x, y, x_axes, y_axes, x_batch, y_batch)
  local params = {lhs_contract = x_axes, rhs_contract = y_axes, lhs_batch = x_batch or NONE, rhs_batch = y_batch or NONE}
  return (bind("dot", params, x, y))
end

local function range(first, last)
  local list = {}
  for k = first, last do list[#list + 1] = k end
  return list
end

-- ---- products --------------------------------------------------------------------------------------------------------

local function inner_sizes(who, x, y)
  core.fail("ShapeError", 3, "%s: inner sizes differ: x %s, w %s", who, base.text(x), base.text(y))
end

--- x @ w: matrices [n, k] [k, m]; vectors drop their axis; leading axes of both broadcast.  w may be a connection.
--  Example:
--    print(bdl.NAME(bdl.ones(2, 3), bdl.ones(3)))
function linalg.matmul(x, w)
  if type(w) == "table" and w.rmatmul then return w:rmatmul(x) end
  x, w = array(x), array(w)
  local nx, nw = x.ndim, w.ndim
  if nx == 0 or nw == 0 then
    core.hint "scale with x * w"
    core.fail("ShapeError", 2, "matmul: a scalar is no matrix: x %s, w %s", base.text(x), base.text(w))
  end
  local kw = nw == 1 and 1 or nw - 1 -- position of the summed axis of w
  if x.shape[nx] ~= w.shape[kw] then inner_sizes("matmul", x, w) end
  if nw <= 2 then return contract(x, w, {nx - 1}, {kw - 1}) end
  if nx == 1 then return contract(x, w, {0}, {kw - 1}) end
  local batch = base.broadcast_shapes("matmul", table.move(x.shape, 1, nx - 2, 1, {}), table.move(w.shape, 1, nw - 2, 1, {}), x, w)
  local n = #batch
  local function batched(v)
    local to = table.move(batch, 1, n, 1, {})
    to[n + 1], to[n + 2] = v.shape[-2], v.shape[-1]
    return base.broadcast_to("matmul", v, to)
  end
  return contract(batched(x), batched(w), {n + 1}, {n}, range(0, n - 1), range(0, n - 1))
end

--- Product of vectors and matrices: the last axis of x with the last but one (the only one) of y.
--  Example:
--    print(bdl.NAME(bdl.ones(2, 3), bdl.ones(3)))
function linalg.dot(x, y)
  x, y = array(x), array(y)
  if x.ndim == 0 or y.ndim == 0 then return x * y end
  local k = y.ndim == 1 and 0 or y.ndim - 2
  if x.shape[-1] ~= y.shape[k + 1] then inner_sizes("dot", x, y) end
  return contract(x, y, {x.ndim - 1}, {k})
end

--- Sum over all products of elements.
--  Example:
--    print(bdl.NAME(bdl.tensor{1., 2.}, bdl.tensor{3., 4.}))
function linalg.vdot(x, y)
  x, y = array(x), array(y)
  if x.size ~= y.size then inner_sizes("vdot", x, y) end
  return contract(base.reshape(x, {x.size}), base.reshape(y, {y.size}), {0}, {0})
end

--- Sum over the last axes of both.
--  Example:
--    print(bdl.NAME(bdl.tensor{1., 2.}, bdl.tensor{3., 4.}))
function linalg.inner(x, y)
  x, y = array(x), array(y)
  if x.ndim == 0 or y.ndim == 0 then return x * y end
  if x.shape[-1] ~= y.shape[-1] then inner_sizes("inner", x, y) end
  return contract(x, y, {x.ndim - 1}, {y.ndim - 1})
end

--- x[i] y[j] of the flattened operands.
--  Example:
--    print(bdl.NAME(bdl.tensor{1., 2.}, bdl.tensor{3., 4.}))
function linalg.outer(x, y)
  x, y = array(x), array(y)
  return base.reshape(x, {x.size, 1}) * base.reshape(y, {1, y.size})
end

--- Sum over pairs of axes: the last n of x with the first n of y (2), or {{axes of x}, {axes of y}}.
--  Example:
--    print(bdl.tensordot(bdl.ones(2, 3), bdl.ones(3, 2), 1))
function linalg.tensordot(x, y, axes)
  x, y = array(x), array(y)
  if base.is_options(axes) then axes = base.options("tensordot", axes, base.names "axes").axes end
  axes = axes or 2
  local ax, ay
  if type(axes) == "number" then
    if axes < 0 or axes > x.ndim or axes > y.ndim then
      core.fail("ShapeError", 2, "tensordot: %s pairs of axes of %s and %s", tostring(axes), base.text(x), base.text(y))
    end
    ax, ay = range(x.ndim - axes, x.ndim - 1), range(0, axes - 1)
  else
    local function list(v, z)
      local out = {}
      for i, a in ipairs(type(v) == "table" and v or {v}) do out[i] = base.axis("tensordot", a, z.ndim, z) end
      return out
    end
    ax, ay = list(axes[1], x), list(axes[2], y)
  end
  for i = 1, math.max(#ax, #ay) do
    if not ax[i] or not ay[i] or x.shape[ax[i] + 1] ~= y.shape[ay[i] + 1] then
      core.fail("ShapeError", 2, "tensordot: the summed axes of %s and %s differ", base.text(x), base.text(y))
    end
  end
  return contract(x, y, ax, ay)
end

--- Kronecker product of vectors or matrices.
--  Example:
--    print(bdl.NAME(bdl.tensor{1., 2.}, bdl.tensor{3., 4.}))
function linalg.kron(x, y)
  x, y = array(x), array(y)
  local n = math.max(x.ndim, y.ndim)
  local xs, ys, to = {}, {}, {}
  for k = 1, n do
    local i, j = k - (n - x.ndim), k - (n - y.ndim)
    local a, b = i > 0 and x.shape[i] or 1, j > 0 and y.shape[j] or 1
    xs[2 * k - 1], xs[2 * k] = a, 1
    ys[2 * k - 1], ys[2 * k] = 1, b
    to[k] = a * b
  end
  return base.reshape(base.reshape(x, xs) * base.reshape(y, ys), to)
end

--- Cross product of vectors of three along the last axis.
--  Example:
--    print(bdl.cross(bdl.tensor{1., 0., 0.}, bdl.tensor{0., 1., 0.}))
function linalg.cross(x, y)
  x, y = array(x), array(y)
  if x.shape[-1] ~= 3 or y.shape[-1] ~= 3 then
    core.fail("ShapeError", 2, "cross: the last axes have three entries, not %s and %s", base.text(x), base.text(y))
  end
  local function turned(v, by) return shapes.roll(v, by, {axis = -1}) end
  return turned(x, -1) * turned(y, 1) - turned(x, 1) * turned(y, -1)
end

-- ---- einsum ----------------------------------------------------------------------------------------------------------

--- Labels of "ij,...jk->...ik" for operands of these ranks: one list an operand, one of the result.  The axes of an
--  ellipsis get numbers, counted from the right.
local function parse(eq, list)
  local function bad(fmt, ...) core.fail("ValueError", 3, "einsum: '%s': %s", eq, fmt:format(...)) end
  local text = eq:gsub("%s", "")
  local lhs, rhs = text:match "^(.-)%->(.*)$"
  lhs = lhs or text
  local terms, most = {}, 0
  for term in (lhs .. ","):gmatch "(.-)," do terms[#terms + 1] = term end
  if #terms ~= #list then bad("%d operands are named, %d are given", #terms, #list) end
  local function labels(term, hidden)
    local out, dots = {}, false
    local i = 1
    while i <= #term do
      local c = term:sub(i, i)
      if term:sub(i, i + 2) == "..." then
        if dots then bad "two ellipses in one operand" end
        dots = true
        for k = hidden, 1, -1 do out[#out + 1] = k end
        i = i + 3
      elseif c:match "%a" then
        out[#out + 1] = c
        i = i + 1
      else
        bad("'%s' is no label", c)
      end
    end
    return out, dots
  end
  local operands, count = {}, {}
  for i, term in ipairs(terms) do
    local named = #term:gsub("%.%.%.", "")
    local has_dots = term:find("...", 1, true)
    local hidden = list[i].ndim - named
    if hidden < 0 or hidden > 0 and not has_dots then bad("'%s' does not fit %s", term, base.text(list[i])) end
    most = math.max(most, has_dots and hidden or 0)
    operands[i] = labels(term, hidden)
    for _, c in ipairs(operands[i]) do count[c] = (count[c] or 0) + 1 end
  end
  local result
  if rhs then
    result = labels(rhs, most)
    local seen = {}
    for _, c in ipairs(result) do
      if not count[c] then bad("'%s' of the result is in no operand", tostring(c)) end
      if seen[c] then bad("'%s' is twice in the result", tostring(c)) end
      seen[c] = true
    end
  else -- the labels that stand once, in alphabetical order, behind the ellipsis
    result = {}
    for k = most, 1, -1 do result[#result + 1] = k end
    local once = {}
    for c, n in pairs(count) do
      if type(c) == "string" and n == 1 then once[#once + 1] = c end
    end
    table.sort(once)
    table.move(once, 1, #once, #result + 1, result)
  end
  return operands, result
end

local function position_of(list, c)
  for i, v in ipairs(list) do
    if v == c then return i end
  end
end

--- Labels that stand twice in an operand: its diagonal over them.
local function take_diagonals(x, labels)
  local i = 1
  while i <= #labels do
    local j
    for k = i + 1, #labels do j = j or labels[k] == labels[i] and k end
    if j then
      local a, b = i - 1, j - 1
      local n = x.shape[i]
      if x.shape[j] ~= n then
        core.fail("ShapeError", 3, "einsum: label '%s' has sizes %d and %d in %s", tostring(labels[i]), n, x.shape[j],
                  base.text(x))
      end
      local on = bind("eq", NONE, base.iota({n, n}, 0), base.iota({n, n}, 1))
      local mask = bind("broadcast", {shape = x.shape, dims = {a, b}}, on)
      local zero = core.tensor(0, x.dtype)
      if core.unit_of(x) then zero = core.with_unit(zero, core.unit_of(x)) end
      x = bind("reduce_sum", {axes = {b}}, bind("select", NONE, mask, x, zero))
      table.remove(labels, j)
    else
      i = i + 1
    end
  end
  return x
end

--- Sums over the labels that nobody else has.
local function sum_out(x, labels, needed)
  local axes = {}
  for i = #labels, 1, -1 do
    if not needed[labels[i]] then
      table.insert(axes, 1, i - 1)
      table.remove(labels, i)
    end
  end
  return #axes > 0 and bind("reduce_sum", {axes = axes}, x) or x
end

--- Axes of extent 1 whose label is longer elsewhere are dropped: they broadcast.
local function drop_ones(x, labels, size)
  local to = {}
  for i = #labels, 1, -1 do
    if x.shape[i] == 1 and size[labels[i]] ~= 1 then
      table.remove(labels, i)
    else
      table.insert(to, 1, x.shape[i])
    end
  end
  return #to < x.ndim and base.reshape(x, to) or x
end

local function counted(operands, result)
  local needed = {}
  for _, c in ipairs(result) do needed[c] = (needed[c] or 0) + 1 end
  for _, o in ipairs(operands) do
    for _, c in ipairs(o.labels) do needed[c] = (needed[c] or 0) + 1 end
  end
  return needed
end

--- Sums of products by an equation, einsum("bi,ij->bj", x, w); pairs with the smallest result are contracted first.
--  Example:
--    print(bdl.einsum("bi,ij->bj", bdl.ones(2, 3), bdl.ones(3, 4)).shape)
function linalg.einsum(eq, ...)
  if type(eq) ~= "string" then core.fail("TypeError", 2, "einsum: einsum(\"ij,jk->ik\", x, y): the equation comes first") end
  local list = table.pack(...)
  for i = 1, list.n do list[i] = array(list[i]) end
  local labels, result = parse(eq, list)
  local size, operands = {}, {}
  for i, x in ipairs(list) do
    for k, c in ipairs(labels[i]) do
      local n, known = x.shape[k], size[c]
      if known and n ~= known and n ~= 1 and known ~= 1 then
        core.fail("ShapeError", 2, "einsum: '%s': label '%s' has size %d in %s and %d before", eq, tostring(c), n,
                  base.text(x), known)
      end
      size[c] = (not known or known == 1) and n or known
    end
  end
  for i, x in ipairs(list) do
    if x.dtype == "bool" then x = core.cast(x, base.integer()) end
    x = drop_ones(x, labels[i], size)
    operands[i] = {x = take_diagonals(x, labels[i]), labels = labels[i]}
  end

  --- The labels of a pair: shared and kept, shared and summed, the rest of each; and the size of the result.
  local function pairing(a, b, needed)
    local batch, summed, rest_a, rest_b, cost = {}, {}, {}, {}, 1
    for _, c in ipairs(a.labels) do
      if not position_of(b.labels, c) then
        rest_a[#rest_a + 1] = c
      elseif needed[c] > 2 then
        batch[#batch + 1] = c
      else
        summed[#summed + 1] = c
      end
    end
    for _, c in ipairs(b.labels) do
      if not position_of(a.labels, c) then rest_b[#rest_b + 1] = c end
    end
    for _, part in ipairs{batch, rest_a, rest_b} do
      for _, c in ipairs(part) do cost = cost * size[c] end
    end
    return {batch = batch, summed = summed, rest_a = rest_a, rest_b = rest_b, cost = cost}
  end

  local function axes_of(o, names)
    local axes = {}
    for i, c in ipairs(names) do axes[i] = position_of(o.labels, c) - 1 end
    return axes
  end

  local needed = counted(operands, result)
  for _, o in ipairs(operands) do
    local mine = {}
    for _, c in ipairs(o.labels) do mine[c] = needed[c] > 1 or nil end
    o.x = sum_out(o.x, o.labels, mine)
  end
  while #operands > 1 do
    needed = counted(operands, result)
    local best, at_a, at_b
    for i = 1, #operands do
      for j = i + 1, #operands do
        local p = pairing(operands[i], operands[j], needed)
        if not best or p.cost < best.cost then best, at_a, at_b = p, i, j end
      end
    end
    local a, b = operands[at_a], operands[at_b]
    local joined = {labels = best.batch}
    joined.x = contract(a.x, b.x, axes_of(a, best.summed), axes_of(b, best.summed), axes_of(a, best.batch),
                        axes_of(b, best.batch))
    table.move(best.rest_a, 1, #best.rest_a, #joined.labels + 1, joined.labels)
    table.move(best.rest_b, 1, #best.rest_b, #joined.labels + 1, joined.labels)
    table.remove(operands, at_b)
    operands[at_a] = joined
  end
  local z = operands[1]
  local keep = {}
  for _, c in ipairs(result) do keep[c] = true end
  z.x = sum_out(z.x, z.labels, keep)
  local axes = {}
  for i, c in ipairs(result) do axes[i] = position_of(z.labels, c) - 1 end
  return base.permute(z.x, axes)
end

-- ---- factorisations --------------------------------------------------------------------------------------------------

local function square(who, x)
  x = base.float(x)
  if x.ndim < 2 or x.shape[-1] ~= x.shape[-2] then
    core.fail("ShapeError", 2, "%s: a square matrix is needed, not %s", who, base.text(x))
  end
  return x
end

--- Sum of the k-th diagonal of the last two axes.
--  Example:
--    print(bdl.NAME(bdl.tensor{{1., 2.}, {3., 4.}}))
function linalg.trace(x, k)
  local d = shapes.diagonal(x, k)
  if d.dtype == "bool" then d = core.cast(d, base.integer()) end
  return (bind("reduce_sum", {axes = {d.ndim - 1}}, d))
end

--- Lower L with L L' = x; NaN where x is not positive definite.
--  Example:
--    print(bdl.NAME(bdl.tensor{{2., 1.}, {1., 3.}}))
function linalg.cholesky(x) return (bind("cholesky", NONE, square("cholesky", x))) end

--- Both sides of a z = b with the same leading axes; b a vector becomes a column, which `back` undoes.
local function both_sides(who, a, b)
  a, b = square(who, a), base.float(b)
  local vector = b.ndim == 1
  if b.ndim == 0 or b.shape[vector and 1 or b.ndim - 1] ~= a.shape[-1] then
    core.fail("ShapeError", 3, "%s: %s and the right side %s do not fit", who, base.text(a), base.text(b))
  end
  if vector then b = base.reshape(b, {b.size, 1}) end
  local batch = base.broadcast_shapes(who, table.move(a.shape, 1, a.ndim - 2, 1, {}), table.move(b.shape, 1, b.ndim - 2, 1, {}), a, b)
  local function batched(v)
    local to = table.move(batch, 1, #batch, 1, {})
    to[#to + 1], to[#to + 2] = v.shape[-2], v.shape[-1]
    return base.broadcast_to(who, v, to)
  end
  return batched(a), batched(b), function(z)
    return vector and base.reshape(z, table.move(z.shape, 1, z.ndim - 1, 1, {})) or z
  end
end

--- z with a z = b; b a vector or a matrix of columns.  NaN where a is singular.
--  Example:
--    print(bdl.NAME(bdl.tensor{{2., 1.}, {1., 3.}}, bdl.ones(2)))
function linalg.solve(a, b)
  local x, y, back = both_sides("solve", a, b)
  return back((bind("solve", NONE, x, y)))
end

--- The same for triangular a.  Options: lower (true), trans (a' z = b), unit_diagonal.
--  Example:
--    print(bdl.NAME(bdl.tensor{{2., 1.}, {1., 3.}}, bdl.ones(2)))
function linalg.triangular_solve(a, b, opts)
  opts = base.options("triangular_solve", opts, base.names "lower trans unit_diagonal")
  local x, y, back = both_sides("triangular_solve", a, b)
  local params = {lower = opts.lower ~= false, trans = opts.trans or false, unit = opts.unit_diagonal or false}
  return back((bind("triangular_solve", params, x, y)))
end

--- The inverse matrix, of the last two axes.
--  Example:
--    print(bdl.NAME(bdl.tensor{{2., 1.}, {1., 3.}}))
function linalg.inv(x)
  x = square("inv", x)
  local n = x.shape[-1]
  local eye = core.cast(bind("eq", NONE, base.iota({n, n}, 0), base.iota({n, n}, 1)), x.dtype)
  return (bind("solve", NONE, x, base.broadcast_to("inv", eye, x.shape)))
end

--- Diagonal of U and the sign of the row exchanges of the factors of x.
local function factors(x)
  local lu, pivots = bind("lu", NONE, x)
  local swapped = bind("ne", NONE, pivots, base.iota(pivots.shape, pivots.ndim - 1))
  local n = bind("reduce_sum", {axes = {pivots.ndim - 1}}, core.cast(swapped, "int32"))
  local odd = bind("eq", NONE, bind("and", NONE, n, 1), 1)
  return shapes.diagonal(lu), math_.where(odd, core.tensor(-1, x.dtype), core.tensor(1, x.dtype))
end

--- Determinant; a matrix in mV has one in mV^n.
--  Example:
--    print(bdl.NAME(bdl.tensor{{2., 1.}, {1., 3.}}))
function linalg.det(x)
  x = square("det", x)
  local unit = core.unit_of(x)
  local d, sign = factors(core.mantissa(x))
  local z = bind("reduce_prod", {axes = {d.ndim - 1}}, d) * sign
  return unit and z * unit ^ x.shape[-1] or z
end

--- Sign of the determinant and logarithm of its size.
--  Example:
--    print(bdl.NAME(bdl.tensor{{2., 1.}, {1., 3.}}))
function linalg.slogdet(x)
  x = square("slogdet", x)
  if core.unit_of(x) then
    core.fail("TypeError", 2, "slogdet: plain numbers are needed, not %s %s", base.text(x), tostring(core.unit_of(x)))
  end
  local d, sign = factors(x)
  local axes = {axes = {d.ndim - 1}}
  local signs = bind("reduce_prod", axes, bind("sign", NONE, d))
  return signs * sign, (bind("reduce_sum", axes, bind("log", NONE, bind("abs", NONE, d))))
end

--- x^n of square matrices by repeated squaring; n < 0 of the inverse.
--  Example:
--    print(bdl.matrix_power(bdl.tensor{{2., 1.}, {1., 3.}}, 3))
function linalg.matrix_power(x, n)
  x = square("matrix_power", x)
  if math.type(n) ~= "integer" then core.fail("TypeError", 2, "matrix_power: an integer is needed, not %s", base.text(n)) end
  if n < 0 then x, n = linalg.inv(x), -n end
  if n == 0 then
    local k = x.shape[-1]
    local eye = core.cast(bind("eq", NONE, base.iota({k, k}, 0), base.iota({k, k}, 1)), x.dtype)
    return base.broadcast_to("matrix_power", eye, x.shape)
  end
  local z
  while n > 0 do
    if n % 2 == 1 then z = z and linalg.matmul(z, x) or x end
    n = n // 2
    if n > 0 then x = linalg.matmul(x, x) end
  end
  return z
end

return linalg

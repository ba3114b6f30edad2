--- jacrev, jacfwd, jacobian, hessian.  A Jacobian is one program: the reverse (forward) derivative, batched over the rows of an
--  identity; what does not depend on the row is computed once.  Output axes come first; for trees, outputs outside.

local core = require "bdl.core"
local reach = require "bdl.reach"
local t = require "bdl.augment.trace"
local derivative = require "bdl.augment.derivative"

local M = {}

local function size_of(leaf)
  local n = 1
  for _, extent in ipairs(leaf.shape) do n = n * extent end
  return n
end

--- For leaves with `size`: their part of an identity over all of them, [total, shape..]; and their first rows.
local function seeds(leaves)
  local total, first = 0, {}
  for i, leaf in ipairs(leaves) do
    first[i] = total
    total = total + size_of(leaf)
  end
  return total, first, function(i)
    local leaf, n = leaves[i], size_of(leaves[i])
    local row = core.bind("iota", {shape = {total, n}, axis = 0, dtype = "int32"})
    local column = core.bind("iota", {shape = {total, n}, axis = 1, dtype = "int32"})
    local unit = core.cast(core.bind("eq", {}, row, core.bind("add", {}, column, first[i])), leaf.dtype)
    return t.reshape(unit, t.joined({total}, leaf.shape))
  end
end

local function check_floats(d)
  for i = 1, d.n_main do
    local y = d.p.types[i]
    if not t.is_float(y.dtype) then core.fail("TypeError", 4, "%s: the function returns %s, not floats", d.who, t.type_text(y)) end
  end
end

--- x with a first axis of n, if it has none of its own.
local function lanes(x, batched, n)
  return batched and x or t.broadcast(x, t.joined({n}, table.move(x.shape, 1, x.ndim, 1, {})))
end

--- jacrev: a row a backward pass; for functions with few outputs.
--  Example:
--    print(bdl.augment.NAME(function(x) return x^2 end)(bdl.arange(3)*1.))
M.jacrev = derivative.define("jacrev", function(d)
  check_floats(d)
  local p, n_out = d.p, #d.p.types
  local outputs = table.move(p.types, 1, d.n_main, 1, {})
  local total, first, seed = seeds(outputs)
  local flags = t.joined(t.flags(#p.inputs, function() return false end), derivative.cotangents(d, function() return true end, false))
  local batched, out_flags = core.batch(derivative.reverse(d), flags, total)
  local list = t.inside(function()
    local out = core.apply(batched, t.joined(p.inputs, derivative.cotangents(d, seed, 0.0)))
    for k = n_out + 1, #out do out[k] = lanes(out[k], out_flags[k], total) end
    return out
  end)
  local rows = derivative.by_input(d, function(k) return list[n_out + k] end)
  return list, function(leaf, i)
    local y = outputs[i]
    local shape = t.joined(y.shape, leaf.shape)
    if not leaf.input then return t.zeros{dtype = leaf.dtype, shape = shape} end
    return t.reshape(t.rows(rows[leaf.input], first[i], first[i] + size_of(y)), shape)
  end
end, {by_output = true})

--- jacfwd: a column a forward pass; for functions with few inputs.
--  Example:
--    print(bdl.augment.NAME(function(x) return x^2 end)(bdl.arange(3)*1.))
M.jacfwd = derivative.define("jacfwd", function(d)
  check_floats(d)
  local p, n_out = d.p, #d.p.types
  local columns = {}
  local number = derivative.by_input(d, function(k, leaf)
    columns[k] = leaf
    return k
  end)
  local total, first, seed = seeds(columns)
  local program = core.derive(p.program, "jvp", d.active)
  local batched, flags = core.batch(program, t.flags(#p.inputs + #columns, function(i) return i > #p.inputs end), total)
  local list = t.inside(function()
    local operands = {}
    for k in ipairs(columns) do operands[k] = seed(k) end
    local out = core.apply(batched, t.joined(p.inputs, operands))
    for k = n_out + 1, #out do out[k] = lanes(out[k], flags[k], total) end
    return out
  end)
  local tangent, at = {}, n_out
  for i, y in ipairs(p.types) do
    if t.is_float(y.dtype) then
      at = at + 1
      tangent[i] = list[at]
    end
  end
  return list, function(leaf, i)
    local y = p.types[i]
    local shape = t.joined(y.shape, leaf.shape)
    if not leaf.input then return t.zeros{dtype = leaf.dtype, shape = shape} end
    local k, axes = number[leaf.input], {}
    local part = t.rows(tangent[i], first[k], first[k] + size_of(leaf))
    for j = 1, #y.shape do axes[j] = j end
    axes[#axes + 1] = 0
    return t.reshape(core.bind("permute", {axes = axes}, part), shape)
  end
end, {by_output = true})

--- jacobian: jacrev under the common name.
--  Example:
--    print(bdl.augment.jacobian(function(x) return x^2 end)(bdl.arange(3)*1.))
M.jacobian = M.jacrev

--- hessian(f, states, opts): forward over reverse.  Maps nest: h["layer.weight"].bias["layer.weight"].bias.
--  With States, argnums is refused.
--  Example:
--    print(bdl.augment.hessian(function(x) return (x^3):sum() end)(bdl.ones(2)))
function M.hessian(f, states, opts)
  if t.is_plain(f) then return function(g) return M.hessian(g, f.grad_states, f) end end
  t.check_callable("hessian", f)
  opts = opts or {}
  t.check_options("hessian", opts, {"argnums", "return_value", "has_aux", "unit_aware", "check_states", "grad_states", "holomorphic"})
  if states == nil then states = opts.grad_states end
  if states ~= nil and opts.argnums ~= nil then
    core.fail("NotImplementedError", 2, "hessian: States and argnums together are not supported; pass the argument in a State")
  end
  local common = {argnums = opts.argnums, unit_aware = opts.unit_aware, check_states = opts.check_states, holomorphic = opts.holomorphic}
  local inner, outer = {return_value = true, has_aux = opts.has_aux}, {has_aux = true}
  for key, value in pairs(common) do inner[key], outer[key] = value, value end
  local h = M.jacfwd(require "bdl.augment.grad".grad(f, states, inner), states, outer)
  return reach.made_from(function(...)
    local out = table.pack(h(...)) -- hessian, loss, aux..
    if not opts.return_value then table.remove(out, 2) end
    return table.unpack(out)
  end, h)
end

return M

--- grad, vector_grad: reverse mode with a cotangent of one.  fwd_grad: its estimate by random directions, forward mode.

local core = require "bdl.core"
local t = require "bdl.augment.trace"
local derivative = require "bdl.augment.derivative"

local M = {}

--- The gradient of the first result, all its elements counted with cotangent one.
local function pull_ones(d)
  local program, ones = derivative.reverse(d), derivative.cotangents(d, function() return 1.0 end, 0.0)
  local list
  if d.opts.debug_nan then
    list = require "bdl.checkify".guarded(d.who .. " [debug_nan]", program, d.p, ones, #d.p.types + 1)
  else
    list = t.apply(program, d.p, ones)
  end
  local grads = derivative.by_input(d, function(k) return list[#d.p.types + k] end)
  return list, function(leaf) return leaf.input and grads[leaf.input] or t.zeros(leaf) end
end

local function check_scalar(d)
  local p = d.p
  local y = p.types[1]
  if p.defs[1] == "*" and #y.shape == 0 and t.is_float(y.dtype) then return end
  core.hint "write loss:mean() or loss:sum(); several outputs have augment.vector_grad and augment.jacobian"
  core.fail("TypeError", 4, "%s: the loss must be a real scalar. Output had shape %s", d.who, p.defs[1] == "*" and t.type_text(y) or p.defs[1])
end

--- Option debug_nan of both: a NaN or Inf in the gradient is an error that names the primitive that made it, and its line.

--- grad(f, states, opts): the gradient of the scalar f(...) with respect to the States, in their structure; without States, to
--  the argument in argnums (1); with both, first one, then the other.
--  Example:
--    local w = bdl.ParamState(bdl.ones(2))
--    print(bdl.augment.grad(function() return (w.value^2):sum() end, w)())
M.grad = derivative.define("grad", function(d)
  check_scalar(d)
  return pull_ones(d)
end, {known = {"debug_nan"}})

--- vector_grad: as grad of the sum of all elements of f(...); for an element-wise f the derivative of each element.
--  Example:
--    print(bdl.augment.vector_grad(bdl.sin)(bdl.zeros(3)))
M.vector_grad = derivative.define("vector_grad", function(d)
  for i = 1, d.n_main do
    if not t.is_float(d.p.types[i].dtype) then
      core.fail("TypeError", 4, "vector_grad: the function returns %s, not floats", t.type_text(d.p.types[i]))
    end
    if d.opts.unit_aware and d.p.units[i] ~= d.p.units[1] then
      core.fail("UnitMismatchError", 4, "vector_grad: the leaves of the value differ in unit, %s and %s", tostring(d.p.units[1] or 1), tostring(d.p.units[i] or 1))
    end
  end
  return pull_ones(d)
end, {known = {"debug_nan"}})

--- fwd_grad: v (df . v) for a random direction v, whose mean is the gradient.  One pass forward, no memory of it.
--  opts : tangent_size (directions to average over, 1), drct_der_clip (bound of the directional derivatives), key.
--  Source: Baydin et al. (2022), Gradients without Backpropagation.
--  Example:
--    local f = function(x) return (x^2):sum() end
--    print(bdl.augment.fwd_grad(f, nil, {tangent_size = 8})(bdl.ones(3)))
M.fwd_grad = derivative.define("fwd_grad", function(d)
  check_scalar(d)
  local p, n, clip = d.p, d.opts.tangent_size or 1, d.opts.drct_der_clip
  if math.type(n) ~= "integer" or n < 1 then core.fail("ValueError", 4, "fwd_grad: tangent_size is a whole number from 1, not %s", tostring(n)) end
  local random = require "bdl.random"
  -- a key of its own, which the keys that f draws do not repeat
  local key = d.opts.key == nil and random.fold_in(random.DEFAULT.value, n) or random.key(d.opts.key)
  local leaves, at = {}, #p.types -- the loss's tangent comes first behind the outputs
  local number = derivative.by_input(d, function(k, leaf)
    leaves[k] = leaf
    return k
  end)
  local program = core.derive(p.program, "jvp", d.active)
  local batched, flags = core.batch(program, t.flags(#p.inputs + #leaves, function(i) return i > #p.inputs end), n)
  local list = t.inside(function()
    local tangents = {}
    local keys = random.split(key, math.max(1, #leaves))
    for j, leaf in ipairs(leaves) do
      tangents[j] = random.normal(nil, nil, {size = t.joined({n}, leaf.shape), dtype = leaf.dtype, key = t.reshape(t.rows(keys, j - 1, j), {2})})
    end
    local out = core.apply(batched, t.joined(p.inputs, tangents))
    local slope = flags[at + 1] and out[at + 1] or t.broadcast(out[at + 1], {n})
    if clip then slope = core.bind("min", {}, core.bind("max", {}, slope, -clip), clip) end
    local results = table.move(out, 1, at, 1, {})
    for j, v in ipairs(tangents) do
      results[at + j] = core.bind("dot", {lhs_contract = {0}, rhs_contract = {0}, lhs_batch = {}, rhs_batch = {}}, slope, v) / n
    end
    return results
  end)
  if d.opts.key == nil then random.split_key() end -- after all that can fail
  return list, function(leaf) return leaf.input and list[at + number[leaf.input]] or t.zeros(leaf) end
end, {known = {"tangent_size", "drct_der_clip", "key"}})

return M

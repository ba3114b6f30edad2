--- Derivatives of functions of their arguments: jvp, vjp, vector_grad, value_and_derivative.
--
-- The function is traced, its program transformed, and the result becomes plain equations of the trace around, if there is
-- one.  States that it reads and values that it captures are constants; a function that writes a State is an error, and so
-- is a primitive on the way that has no derivative.
-- Tangents and cotangents belong to the numbers; the unit of a derivative, out/in, is added where `unit_aware` asks for it.

local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"

local augment = {}

local function check_callable(who, f)
  local mt = type(f) ~= "function" and debug.getmetatable(f)
  if type(f) ~= "function" and not (mt and mt.__call) then
    core.fail("TypeError", 3, "%s: a function was expected, not a %s", who, class.typename(f))
  end
end

local depth = 0
local leave = setmetatable({}, {__close = function() depth = depth - 1 end})

--- Is a function being traced that will be differentiated?  Surrogate gradients record more then.
function augment.differentiating() return depth > 0 end

local function is_float(x) return x.dtype:find "^float" ~= nil end

--- f(args..) as a program: {program, inputs, argument, defs, units}, see core.trace_function; active[i]: input i is a float
--  leaf of a wanted argument (a set of positions).
local function trace(who, f, args, wanted)
  local p = {active = {}}
  depth = depth + 1
  local _ <close> = leave
  p.program, p.inputs, p.argument, p.defs, p.units = core.trace_function(who, f, args)
  for i, x in ipairs(p.inputs) do p.active[i] = wanted[p.argument[i]] and is_float(x) or false end
  return p
end

--- The program over p's inputs and further operands, in the trace being made or in one that is made for this call alone.
local function apply(program, p, further)
  local operands = table.move(further, 1, #further, #p.inputs + 1, table.move(p.inputs, 1, #p.inputs, 1, {}))
  if core.tracing() then return core.apply(program, operands) end
  return core.run_once(core.apply, program, operands)
end

--- p's results (a list of trees) over `leaves`; units: of the leaves, false: plain.
local function results(p, leaves, units)
  local values, at = {}, 0
  for r, def in ipairs(p.defs) do
    local own = {}
    for i = 1, select(2, def:gsub("%*", "")) do
      at = at + 1
      own[i] = units and units[at] and core.with_unit(leaves[at], units[at]) or leaves[at]
    end
    values[r] = core.unflatten(def, own)
  end
  return values
end

local function flatten_all(values)
  local leaves = {}
  for _, value in ipairs(values) do
    local own = core.flatten(value)
    table.move(own, 1, #own, #leaves + 1, leaves)
  end
  return leaves
end

local function list_of(x) return type(x) == "table" and getmetatable(x) == nil and x or {x} end

local function all(n)
  local set = {}
  for i = 1, n do set[i] = true end
  return set
end

--- out, tangent = jvp(f, {x, y, ..}, {dx, dy, ..}): f at x and its derivative along dx; f has one result.
--  A tangent may have the unit of its value; those of integers are ignored.
function augment.jvp(f, primals, tangents)
  check_callable("jvp", f)
  primals, tangents = list_of(primals), list_of(tangents)
  if #primals ~= #tangents then core.fail("ValueError", 2, "jvp: %d values, %d tangents", #primals, #tangents) end
  local p = trace("jvp", f, primals, all(#primals))
  local dx, given = {}, flatten_all(tangents)
  for i, x in ipairs(flatten_all(primals)) do
    if p.active[i] then dx[#dx + 1] = core.mantissa(core.unit_of(given[i]) and core.convert(given[i], x.unit) or given[i]) end
  end
  local list = apply(core.derive(p.program, "jvp", p.active), p, dx)
  local n, out, tangent = #p.units, {}, {}
  local at = n
  for i = 1, n do
    out[i], tangent[i] = list[i], 0.0
    if is_float(list[i]) then
      at = at + 1
      tangent[i] = list[at]
    end
  end
  return results(p, out, p.units)[1], results(p, tangent, p.units)[1]
end

--- f(x) and df/dx for an f of one float argument that works element by element; of the shape of f(x), unit out/in.
--  One pass forward; inside a trace its equations are plain equations there.
function augment.value_and_derivative(f, x)
  x = core.is_tensor(x) and x or core.tensor(x)
  if not is_float(x) then core.fail("ValueError", 2, "a derivative needs floats, not %s", x.dtype) end
  local p = trace("value_and_derivative", f, {x}, {true})
  if #p.units ~= 1 then core.fail("ValueError", 2, "value_and_derivative: the function returns %d tensors, not one", #p.units) end
  local list = apply(core.derive(p.program, "jvp", p.active), p, {1.0})
  if not list[2] then core.fail("ValueError", 2, "value_and_derivative: the function returns %s, not floats", list[1].dtype) end
  return results(p, list, p.units)[1], augment.derivative_unit(list[2], p.units[1], core.unit_of(x))
end

--- The numbers dy under the unit out/inp; each may be false or nil for a plain number.
function augment.derivative_unit(dy, out, inp)
  if out then dy = dy * out end
  if inp then dy = dy / inp end
  return dy
end

--- p's results as a list of leaves, and pull(cotangents of the leaves) -> cotangents of the active inputs.
local function reverse(p)
  local out = apply(p.program, p, {})
  local program = core.derive(p.program, "vjp", p.active)
  return out, function(cotangents)
    local ct = {}
    for i, y in ipairs(out) do
      local c = cotangents[i]
      if is_float(y) then ct[#ct + 1] = type(c) == "number" and c or core.mantissa(c) end
    end
    local list = apply(program, p, ct)
    return table.move(list, #out + 1, #list, 1, {})
  end
end

--- Cotangents of the arguments in `positions` (a list), as trees like them; integers get 0.  units_of(leaf): of a cotangent.
local function gather(p, args, positions, cotangents, unit)
  local trees, taken = {}, {}
  for i, on in ipairs(p.active) do
    if on then
      taken[i] = table.remove(cotangents, 1)
    end
  end
  for k, a in ipairs(positions) do
    local leaves, def = core.flatten(args[a])
    local own = {}
    for i, arg in ipairs(p.argument) do
      if arg == a then
        local ct = taken[i] or 0.0
        own[#own + 1] = unit and taken[i] and unit(ct, leaves[#own + 1]) or ct
      end
    end
    trees[k] = core.unflatten(def, own)
  end
  return trees
end

--- out, pullback = vjp(f, x, y, ..): f at x, y and the function that takes a cotangent like out to those of x, y, ..
--  The pullback uses the values that States and captured tensors had here.
function augment.vjp(f, ...)
  check_callable("vjp", f)
  local args, positions = {...}, {}
  for i = 1, #args do positions[i] = i end
  local p = trace("vjp", f, args, all(#args))
  local out, pull = reverse(p)
  local values = results(p, out, p.units)
  values[#values + 1] = function(...)
    local ct = flatten_all{...}
    if #ct ~= #out then core.fail("ValueError", 2, "pullback: %d cotangents for %d results", #ct, #out) end
    return table.unpack(gather(p, args, positions, pull(ct)))
  end
  return table.unpack(values)
end

local OPTIONS = {"argnums", "return_value", "has_aux", "unit_aware", "grad_states"}

--- The positions in argnums (a number or a list; -1 is the last of n), as a list.
local function positions_of(who, argnums, n)
  local list = {}
  for k, i in ipairs(list_of(argnums or 1)) do
    if math.type(i) ~= "integer" or i == 0 or i > n or i < -n then
      core.fail("ValueError", 4, "%s: argnums are positions from 1 to %d, or from -1 backwards, not %s", who, n, tostring(i))
    end
    list[k] = i < 0 and n + 1 + i or i
  end
  return list
end

--- A transformation (f, states, opts) or (opts)(f) from make(f, states, opts), with its arguments checked.
local function transformation(who, make)
  local function transform(f, states, opts)
    if type(f) == "table" and getmetatable(f) == nil then
      return function(g) return transform(g, f.grad_states, f) end
    end
    check_callable(who, f)
    for key in pairs(opts or {}) do
      local known = false
      for _, name in ipairs(OPTIONS) do known = known or key == name end
      if not known then core.fail("TypeError", 2, "%s: no argument '%s'%s", who, tostring(key), suggest.hint(tostring(key), OPTIONS)) end
    end
    return make(f, states, opts or {})
  end
  return transform
end

--- vector_grad(f, nil, opts) or vector_grad(opts)(f) -> g; g(...) is the derivative in reverse mode with cotangents of one: for
--  an element-wise f the derivative of each element.  f may return any shape.
--  opts : argnums (1), return_value, has_aux, unit_aware (results have the unit out/in, else numbers).
augment.vector_grad = transformation("vector_grad", function(f, states, opts)
  if states ~= nil then
    core.fail("NotSupportedError", 2, "vector_grad: derivatives with respect to States are not supported, only to arguments")
  end
  return function(...)
    local args = {...}
    local positions = positions_of("vector_grad", opts.argnums, #args)
    local wanted = {}
    for _, i in ipairs(positions) do wanted[i] = true end
    local p = trace("vector_grad", f, args, wanted)
    local out, pull = reverse(p)
    local n_out = opts.has_aux and select(2, p.defs[1]:gsub("%*", "")) or #out
    local ct = {}
    for i = 1, #out do
      ct[i] = i <= n_out and 1.0 or 0.0
    end
    local unit = opts.unit_aware and function(g, x) return augment.derivative_unit(g, p.units[1], core.unit_of(x)) end
    local grads = gather(p, args, positions, pull(ct), unit)
    local list = {type(opts.argnums) == "table" and grads or grads[1]}
    local values = results(p, out, p.units)
    if opts.return_value then list[#list + 1] = values[1] end
    if opts.has_aux then table.move(values, 2, #values, #list + 1, list) end
    return table.unpack(list)
  end
end)

-- ---- States ---------------------------------------------------------------------------------------------------------------

--- The States in `states` (one, a list, a map) as a list, and a function that builds the same structure from a list.
local function listed(who, states)
  local State, Map = require "bdl.state".State, require "bdl.util".PrettyMapping
  if class.isa(states, State) then return {states}, function(list) return list[1] end end
  local keys, list = {}, {}
  if class.isa(states, Map) then
    for key, s in states:items() do keys[#keys + 1], list[#list + 1] = key, s end
  elseif type(states) == "table" and getmetatable(states) == nil then
    for _, key in ipairs(require "bdl.util".sorted_keys(states)) do keys[#keys + 1], list[#list + 1] = key, states[key] end
  end
  for _, s in ipairs(list) do
    if not class.isa(s, State) then core.fail("TypeError", 4, "%s: a State was expected, not a %s", who, class.typename(s)) end
  end
  if #list == 0 then core.fail("TypeError", 4, "%s: States are one, a list or a map of them, not a %s", who, class.typename(states)) end
  return list, function(values)
    local out = class.isa(states, Map) and class.of(states)() or {}
    for k, key in ipairs(keys) do out[key] = values[k] end
    return out
  end
end

--- grad(f, states, opts) or grad(opts)(f) -> g; g(...) gives the gradient of the scalar f(...) with respect to the States, in
--  their structure; without States, to the arguments in argnums; with both, first one, then the other.
--  opts : argnums, return_value (then the loss), has_aux (f returns loss, aux..; then aux..), unit_aware, grad_states.
augment.grad = transformation("grad", function(f, states, opts)
  local list, build
  if states ~= nil then list, build = listed("grad", states) end
  return function(...)
    local args, positions, wanted = {...}, {}, {}
    if opts.argnums or not list then positions = positions_of("grad", opts.argnums, #args) end
    local g = f
    if list then -- the values of the States are arguments in front
      local values = {}
      for k, s in ipairs(list) do values[k] = s.value end
      g = function(now, ...)
        for k, s in ipairs(list) do s:restore_value(now[k]) end
        return f(...)
      end
      args = {values, ...}
      for k, a in ipairs(positions) do positions[k] = a + 1 end
      table.insert(positions, 1, 1)
    end
    for _, i in ipairs(positions) do wanted[i] = true end
    local p = trace("grad", g, args, wanted)
    local out, pull = reverse(p)
    if #out == 0 or p.defs[1] ~= "*" or out[1].ndim ~= 0 or not is_float(out[1]) then
      local got = #out > 0 and ("%s[%s]"):format(out[1].dtype, table.concat(out[1].shape, ",")) or "nothing"
      core.fail("TypeError", 2, "grad: the loss must be a real scalar. Output had shape %s", p.defs[1] == "*" and got or tostring(p.defs[1]))
    end
    if #p.defs > 1 and not opts.has_aux then
      core.fail("TypeError", 2, "grad: the function returned %d values; with has_aux = true it returns loss, aux..", #p.defs)
    end
    local ct = {1.0}
    for i = 2, #out do ct[i] = 0.0 end
    local unit = opts.unit_aware and function(d, x) return augment.derivative_unit(d, p.units[1], core.unit_of(x)) end
    local grads, results_ = gather(p, args, positions, pull(ct), unit), {}
    if list then results_[1] = build(table.remove(grads, 1)) end
    if #grads > 0 then results_[#results_ + 1] = type(opts.argnums) == "table" and grads or grads[1] end
    local values = results(p, out, p.units)
    if opts.return_value then results_[#results_ + 1] = values[1] end
    if opts.has_aux then table.move(values, 2, #values, #results_ + 1, results_) end
    return table.unpack(results_)
  end
end)

return augment

--- jvp and vjp: derivatives along a direction, and against a cotangent.

local core = require "bdl.core"
local t = require "bdl.augment.trace"
local derivative = require "bdl.augment.derivative"
local options = require "bdl.options"

local M = {}

local function active_of(p, wanted)
  local active = {}
  for i, x in ipairs(p.inputs) do active[i] = wanted(i) and t.is_float(x.dtype) or false end
  return active
end

--- The numbers of a tangent or cotangent, which may have the unit of its value.  Errors: UnitMismatchError, another one.
local function numbers(dx, unit) return core.mantissa(core.unit_of(dx) and core.convert(dx, unit or nil) or dx) end

--- The value that is differentiated, and what follows it, of f's results.
local function check_aux(who, p, has_aux)
  if has_aux and #p.defs < 2 then core.fail("TypeError", 3, "%s: with has_aux = true the function returns value, aux..", who) end
  local n = 0
  for r = 1, has_aux and 1 or #p.defs do n = n + t.leaves_of(p.defs[r]) end
  return n
end

--- out, tangent, aux.. = jvp(f, {x, y, ..}, {dx, dy, ..}, {has_aux =}?): f at x and its derivative along dx.
--  A tangent may have the unit of its value; those of integers are ignored.  States that f reads are constants.
--  Example:
--    print(bdl.augment.jvp(bdl.sin, {bdl.zeros(2)}, {bdl.ones(2)}))
function M.jvp(f, primals, tangents, opts)
  t.check_callable("jvp", f)
  opts = opts or {}
  t.check_options("jvp", opts, {"has_aux"})
  primals, tangents = t.list_of(primals), t.list_of(tangents)
  if #primals ~= #tangents then core.fail("ValueError", 2, "jvp: %d values, %d tangents", #primals, #tangents) end
  local p = t.differentiated("jvp", f, primals)
  local n_main = check_aux("jvp", p, opts.has_aux)
  local active = active_of(p, function(i) return p.argument[i] > 0 end)
  local dx, given, values = {}, t.flatten_all(tangents), t.flatten_all(primals)
  if #given ~= #values then core.fail("ValueError", 2, "jvp: %d tangents for the %d leaves of the values", #given, #values) end
  for i, x in ipairs(values) do
    if active[i] then dx[#dx + 1] = numbers(given[i], x.unit) end
  end
  local list = t.apply(core.derive(p.program, "jvp", active), p, dx)
  local tangent, at = {}, #p.types
  for i, y in ipairs(p.types) do
    tangent[i] = 0.0
    if t.is_float(y.dtype) then
      at = at + 1
      tangent[i] = list[at]
    end
  end
  t.write_back(p, list)
  local out, dout = t.results(p, list), t.results(p, tangent)
  local results = {}
  for r = 1, opts.has_aux and 1 or #p.defs do results[#results + 1] = out[r] end
  for r = 1, opts.has_aux and 1 or #p.defs do results[#results + 1] = dout[r] end
  if opts.has_aux then table.move(out, 2, #out, #results + 1, results) end
  return table.unpack(results)
end

--- f(x) and df/dx for an f of one float argument that works element by element; of the shape of f(x), unit out/in.
--  One pass forward; inside a trace its equations are plain equations there.
--  Example:
--    print(bdl.augment.value_and_derivative(bdl.sin, bdl.zeros(2)))
function M.value_and_derivative(f, x)
  x = core.is_tensor(x) and x or core.tensor(x)
  if not t.is_float(x.dtype) then core.fail("ValueError", 2, "a derivative needs floats, not %s", x.dtype) end
  local p = t.differentiated("value_and_derivative", f, {x})
  if #p.units ~= 1 then core.fail("ValueError", 2, "value_and_derivative: the function returns %d tensors, not one", #p.units) end
  if not t.is_float(p.types[1].dtype) then
    core.fail("ValueError", 2, "value_and_derivative: the function returns %s, not floats", p.types[1].dtype)
  end
  local list = t.apply(core.derive(p.program, "jvp", active_of(p, function(i) return p.argument[i] > 0 end)), p, {1.0})
  t.write_back(p, list)
  return t.results(p, list)[1], derivative.with_unit(list[#p.types + 1], p.units[1], core.unit_of(x))
end

--- The cotangents of the leaves with input numbers, from `list` in the order of the active inputs; integers have 0.
local function gather(p, active, list, first, def, inputs)
  local number, k, own = {}, first, {}
  for i, on in ipairs(active) do
    if on then number[i], k = k, k + 1 end
  end
  for leaf, i in ipairs(inputs) do own[leaf] = i and number[i] and list[number[i]] or 0.0 end
  return core.unflatten(def, own)
end

--- out.., pullback, aux.. = vjp(f, x, y, .., opts?): f at x, y and the function from a cotangent like out to those of x, y, ..
--  opts (a last table of nothing else) : grad_states (their cotangents come first), argnums (all), has_aux.
--  The pullback has the values that were there when f ran; it may be called many times.  A cotangent may have the unit of its result.
--  Example:
--    local y, pullback = bdl.augment.vjp(bdl.sin, bdl.zeros(2))
--    print(y, pullback(bdl.ones(2)))
function M.vjp(f, ...)
  t.check_callable("vjp", f)
  local args, opts = options({"grad_states", "argnums", "has_aux"}, ...)
  local positions = {}
  if opts.argnums ~= nil then positions = derivative.positions("vjp", opts.argnums, args.n)
  elseif opts.grad_states == nil then
    for i = 1, args.n do positions[i] = i end
  end
  local list, build
  if opts.grad_states ~= nil then list, build = derivative.states_of("vjp", opts.grad_states) end
  if #positions == 0 and not list then core.fail("ValueError", 2, "vjp: nothing to differentiate by: give arguments or grad_states") end
  local p = t.differentiated("vjp", f, args)
  local n_main = check_aux("vjp", p, opts.has_aux)
  local targets, wanted = {}, {}
  for _, s in ipairs(list or {}) do
    local handle = rawget(s, "_handle")
    local target = {def = core.state_treedef(handle), inputs = {}}
    for k = 1, #core.state_leaves(handle) do target.inputs[k] = false end
    for i, k in ipairs(p.state) do
      if k > 0 and p.states[k].id == core.state_id(handle) then target.inputs[p.leaf[i]], wanted[i], target.read = i, true, true end
    end
    if not target.read then core.fail("ValueError", 2, "vjp: the function never reads the %s", t.state_name(s, f)) end
    targets[#targets + 1] = target
  end
  for _, position in ipairs(positions) do
    local target = {def = select(2, core.flatten(args[position])), inputs = {}}
    for i, a in ipairs(p.argument) do
      if a == position then target.inputs[p.leaf[i]], wanted[i] = i, true end
    end
    targets[#targets + 1] = target
  end
  local active = active_of(p, function(i) return wanted[i] end)
  local main = t.flags(#p.types, function(i) return i <= n_main end)
  local program = core.derive(p.program, "vjp", active, main)
  local late = {}
  for i = 1, #p.inputs do late[i] = false end
  for _, y in ipairs(p.types) do
    if t.is_float(y.dtype) then late[#late + 1] = true end
  end
  local early, pull = core.split(program, late, #p.types)
  local forward = t.apply(early, p, {})
  local residuals = table.move(forward, #p.types + 1, #forward, 1, {})
  t.write_back(p, forward)
  local function pullback(...)
    local given, ct = t.flatten_all{...}, {}
    if #given ~= n_main then core.fail("ValueError", 2, "pullback: %d cotangents for %d results", #given, n_main) end
    for i, y in ipairs(p.types) do
      if t.is_float(y.dtype) then ct[#ct + 1] = i <= n_main and numbers(given[i], p.units[i]) or 0.0 end
    end
    local pulled = t.inside(core.apply, pull, t.joined(residuals, ct))
    local out = {}
    for k, target in ipairs(targets) do out[k] = gather(p, active, pulled, 1, target.def, target.inputs) end
    if not list then return table.unpack(out) end
    return build(out), table.unpack(out, #list + 1)
  end
  local values = t.results(p, forward)
  table.insert(values, opts.has_aux and 2 or #values + 1, pullback)
  return table.unpack(values)
end

return M

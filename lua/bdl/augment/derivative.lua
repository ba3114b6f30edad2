--- The frame of grad, vector_grad, jacrev, jacfwd, fwd_grad: what is differentiated, by what, and what comes back.
--
--   d(f, states, opts)(...)    d(f, nil, opts)    d{grad_states = .., ...}(f)
--
-- opts : argnums, return_value, has_aux, unit_aware, check_states (true), grad_states, holomorphic (refused).
-- Results: derivatives by the States in their structure, then by the arguments, then the value, then auxiliary values.

local core = require "bdl.core"
local class = require "bdl.class"
local reach = require "bdl.reach"
local t = require "bdl.augment.trace"

local M = {}

local OPTIONS = {"argnums", "return_value", "has_aux", "unit_aware", "check_states", "grad_states", "holomorphic"}

--- The positions in argnums (a number or a list; -1 is the last of n), as a list.
function M.positions(who, argnums, n)
  local list = {}
  if n == 0 then core.fail("ValueError", 4, "%s: the call has no argument to differentiate by", who) end
  for k, i in ipairs(t.list_of(argnums)) do
    if math.type(i) ~= "integer" or i == 0 or i > n or i < -n then
      core.fail("ValueError", 4, "%s: argnums are positions from 1 to %d, or from -1 backwards, not %s", who, n, tostring(i))
    end
    list[k] = i < 0 and n + 1 + i or i
  end
  return list
end

--- The States in one, a list, a map or a tree of them, as a list; and a function that builds that structure from a list.
function M.states_of(who, states)
  local State, Map = require "bdl.state".State, require "bdl.util".PrettyMapping
  local list = {}
  local function visit(x)
    if class.isa(x, State) then
      list[#list + 1] = x
      local at = #list
      return function(values) return values[at] end
    end
    local is_map = class.isa(x, Map)
    if not is_map and not t.is_plain(x) then
      core.fail("TypeError", 4, "%s: States are one, a list or a map of them, not a %s", who, class.typename(x))
    end
    local keys, builders = require "bdl.util".sorted_keys(x), {}
    for i, key in ipairs(keys) do
      local inner = x[key]
      if is_map then inner = x:get(key) end
      builders[i] = visit(inner)
    end
    return function(values)
      local out = is_map and class.of(x)() or {}
      for i, key in ipairs(keys) do out[key] = builders[i](values) end
      return out
    end
  end
  local build = visit(states)
  if #list == 0 then core.fail("TypeError", 4, "%s: no State to differentiate by", who) end
  return list, build
end

local function need_float(who, dtype, what, ...)
  if t.is_float(dtype) then return end
  core.hint "derivatives need floats: x:astype \"float32\", or 3.0 for 3"
  core.fail("TypeError", 4, "%s: " .. what .. " holds %s", who, ...)
end

--- What f is differentiated by, of its trace p: {def, {input =, dtype =, shape =, unit =} a leaf}.
local function state_target(who, f, p, s, check)
  local handle = rawget(s, "_handle")
  local id, target = core.state_id(handle), {def = core.state_treedef(handle), leaves = core.state_leaves(handle)}
  local read = false
  for i, k in ipairs(p.state) do
    if k > 0 and p.states[k].id == id then target.leaves[p.leaf[i]].input, read = i, true end
  end
  if not read and check then
    core.hint "check_states = false gives zeros"
    core.fail("ValueError", 4, "%s: the function never reads the %s", who, t.state_name(s, f))
  end
  for _, leaf in ipairs(target.leaves) do need_float(who, leaf.dtype, "the %s", t.state_name(s, f), leaf.dtype) end
  return target
end

local function argument_target(who, p, args, position)
  local leaves, def = core.flatten(args[position])
  local target = {def = def, leaves = {}}
  for i, a in ipairs(p.argument) do
    if a == position then
      local x = leaves[p.leaf[i]]
      need_float(who, x.dtype, "argument %d", position, x.dtype)
      target.leaves[p.leaf[i]] = {input = i, dtype = x.dtype, shape = table.move(x.shape, 1, x.ndim, 1, {}), unit = core.unit_of(x)}
    end
  end
  return target
end

--- The number of leaves of what is differentiated, p's first result.  Errors: TypeError.
local function check_results(who, p, has_aux)
  if #p.defs == 0 then core.fail("TypeError", 4, "%s: the function returned nothing", who) end
  if has_aux and #p.defs < 2 then
    core.fail("TypeError", 4, "%s: with has_aux = true the function returns loss, aux..; it returned one value", who)
  end
  if not has_aux and #p.defs > 1 then
    core.fail("TypeError", 4, "%s: the function returned %d values; with has_aux = true it returns loss, aux..", who, #p.defs)
  end
  return t.leaves_of(p.defs[1])
end

--- d: {p, n_main (leaves of the value), active (flag an input), targets}
local function prepare(who, f, states, opts, args)
  local positions = (opts.argnums ~= nil or not states) and M.positions(who, opts.argnums or 1, #args) or {}
  local p = t.differentiated(who, f, args)
  local d = {who = who, p = p, opts = opts, n_main = check_results(who, p, opts.has_aux), targets = {}}
  for _, s in ipairs(states or {}) do d.targets[#d.targets + 1] = state_target(who, f, p, s, opts.check_states ~= false) end
  for _, position in ipairs(positions) do d.targets[#d.targets + 1] = argument_target(who, p, args, position) end
  local wanted = {}
  for _, target in ipairs(d.targets) do
    for _, leaf in ipairs(target.leaves) do
      if leaf.input then wanted[leaf.input] = true end
    end
  end
  d.active = t.flags(#p.inputs, function(i) return wanted[i] end)
  return d
end

--- The derivative program in reverse mode; only the value's cotangents count.
function M.reverse(d)
  return core.derive(d.p.program, "vjp", d.active, t.flags(#d.p.types, function(i) return i <= d.n_main end))
end

--- One entry a cotangent that it takes: f(i) for leaf i of the value, `other` for the rest.
function M.cotangents(d, f, other)
  local list = {}
  for i, y in ipairs(d.p.types) do
    if t.is_float(y.dtype) then
      if i <= d.n_main then list[#list + 1] = f(i) else list[#list + 1] = other end
    end
  end
  return list
end

--- f over the active inputs in their order: input -> f(k, leaf), leaf the target's.
function M.by_input(d, f)
  local of, k = {}, 0
  local leaf_of = {}
  for _, target in ipairs(d.targets) do
    for _, leaf in ipairs(target.leaves) do
      if leaf.input then leaf_of[leaf.input] = leaf end
    end
  end
  for i, on in ipairs(d.active) do
    if on then
      k = k + 1
      of[i] = f(k, leaf_of[i])
    end
  end
  return of
end

--- The numbers dy under the unit out/inp; each may be false or nil for a plain number.
function M.with_unit(dy, out, inp)
  if out then dy = dy * out end
  if inp then dy = dy / inp end
  return dy
end

--- Trees of the targets over value(leaf).
local function trees(d, value)
  local list = {}
  for k, target in ipairs(d.targets) do
    local own = {}
    for i, leaf in ipairs(target.leaves) do own[i] = value(leaf) end
    list[k] = core.unflatten(target.def, own)
  end
  return list
end

--- What the call gives back: derivatives by the States, by the arguments, then value and auxiliary values.
local function answer(d, build, n_states, outputs, value, by_output)
  local p, opts, of = d.p, d.opts, {}
  for i = 1, by_output and d.n_main or 1 do
    of[i] = trees(d, function(leaf)
      local dy = value(leaf, i)
      return opts.unit_aware and M.with_unit(dy, p.units[i], leaf.unit) or dy
    end)
  end
  --- Outputs outside; arrange puts the trees of one output into the structure of what it is differentiated by.
  local function structured(arrange)
    local own = {}
    for i, list in ipairs(of) do own[i] = arrange(list) end
    return by_output and core.unflatten(p.defs[1], own) or own[1]
  end
  local out = {}
  if build then out[1] = structured(build) end
  if #d.targets > n_states then
    out[#out + 1] = structured(function(list)
      return t.is_plain(opts.argnums) and table.move(list, n_states + 1, #list, 1, {}) or list[n_states + 1]
    end)
  end
  local values = t.results(p, outputs)
  if opts.return_value then out[#out + 1] = values[1] end
  if opts.has_aux then table.move(values, 2, #values, #out + 1, out) end
  return table.unpack(out)
end

--- A transformation.  compute(d) -> the outputs of f, and value(leaf, i): the derivative of leaf i of f's value by a leaf of a target,
--  as numbers; leaf.input is nil where f does not read it.
--  more : known (further options), by_output (f's value is a tree; else it counts as one scalar).
function M.define(who, compute, more)
  more = more or {}
  local known = t.joined(OPTIONS, more.known or {})
  local function transform(f, states, opts)
    if t.is_plain(f) then return function(g) return transform(g, f.grad_states, f) end end
    t.check_callable(who, f)
    opts = opts or {}
    if not t.is_plain(opts) then core.fail("TypeError", 2, "%s: options are a table, not a %s", who, class.typename(opts)) end
    t.check_options(who, opts, known)
    if opts.holomorphic then core.fail("NotSupportedError", 2, "%s: holomorphic functions need complex numbers, which bdl does not have", who) end
    if states == nil then states = opts.grad_states end
    local list, build = {}, nil
    if states ~= nil then list, build = M.states_of(who, states) end
    return reach.made_from(function(...)
      local d = prepare(who, f, states ~= nil and list, opts, {...})
      local outputs, value = compute(d)
      t.write_back(d.p, outputs)
      return answer(d, build, #list, outputs, value, more.by_output)
    end, f, states)
  end
  return transform
end

return M

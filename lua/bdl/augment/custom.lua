--- Functions with derivatives of their own.
--
--   f = bdl.custom_jvp(function(x, y) .. return z end)
--   f:defjvp(function(primals, tangents) .. return z, dz end)          primals {x, y}, tangents {dx, dy}
--
--   f = bdl.custom_vjp(function(x, y) .. return z end)
--   f:defvjp(function(x, y) .. return z, residuals end, function(residuals, dz) .. return dx, dy end)
--
-- Rules are traced where a derivative is taken; elsewhere the function is just called.  Integers have the tangent bdl.none.
-- What the functions capture and the States that they read are constants to a rule; States may not be written.

local core = require "bdl.core"
local class = require "bdl.class"
local t = require "bdl.augment.trace"
local tree = require "bdl.tree"
local util = require "bdl.util"
local NONE = require "bdl.none".none

local M = {}

local function traced(who, f, args)
  local p = t.differentiated(who, f, args)
  for _, s in ipairs(p.states) do
    if s.written then core.fail("NotSupportedError", 4, "%s: the function writes a State, of which its derivative knows nothing", who) end
  end
  return p
end

-- ---- trees -------------------------------------------------------------------------------------------------------------------

--- x with bdl.none in place of what is no float.
local function floats_only(x)
  return tree.map(function(leaf) return t.is_float(leaf.dtype) and leaf or NONE end, x)
end

--- The leaves of x where those of `like` stand; bdl.none where x ends early.
local function aligned(x, like, out)
  if not t.is_plain(like) then
    out[#out + 1] = x == nil and NONE or x
  elseif like ~= NONE then
    for _, key in ipairs(util.sorted_keys(like)) do aligned(t.is_plain(x) and x ~= NONE and x[key] or nil, like[key], out) end
  end
  return out
end

--- dy as numbers of the type {dtype, shape} and in the unit of what it belongs to: scalars repeat, bdl.none is zero.
local function conform(who, dy, like, unit)
  if dy == NONE then return t.zeros(like) end
  dy = core.is_tensor(dy) and dy or core.tensor(dy)
  if core.unit_of(dy) then dy = core.mantissa(unit and core.convert(dy, unit) or dy) end
  dy = core.cast(dy, like.dtype)
  if dy.ndim == 0 then dy = t.broadcast(dy, like.shape) end
  local got = t.type_text{dtype = dy.dtype, shape = dy.shape}
  if got ~= t.type_text(like) then
    core.fail("ShapeError", 4, "%s: the derivative is %s, but what it belongs to %s", who, got, t.type_text(like))
  end
  return dy
end

-- ---- programs ----------------------------------------------------------------------------------------------------------------

local function same(_, _, i) return i end

local Custom = class "Custom"

function Custom:__init(f) self.f = f end

function Custom:__call(...)
  if not self.rule then
    core.hint("give it by f:" .. self.define)
    core.fail("ValueError", 2, "%s: the function has no rule yet", self.who)
  end
  if not (t.differentiating() and core.tracing()) then return self.f(...) end
  local args = {...}
  for k, x in ipairs(args) do args[k] = tree.map(function(leaf) return core.is_tensor(leaf) and leaf or core.tensor(leaf) end, x) end
  local leaves = t.flatten_all(args)
  local p = traced(self.who, self.f, args)
  return table.unpack(t.results(p, self:bind(p, args, leaves)))
end

local CustomJvp = Custom:extend "custom_jvp"
CustomJvp.who, CustomJvp.define = "custom_jvp", "defjvp(rule)"

function CustomJvp:defjvp(rule)
  t.check_callable("defjvp", rule)
  self.rule = rule
  return self
end

--- The tangents of the float results, leaf by leaf, of out: results, then their tangents.
local function result_tangents(p, out)
  local n, list, at = #p.defs, {}, 0
  if out.n ~= 2 * n then core.fail("TypeError", 4, "defjvp: the rule returns %d values; %d results and their tangents are wanted", out.n, n) end
  for r = 1, n do
    for _, dy in ipairs(aligned(out[n + r], out[r], {})) do
      at = at + 1
      local y = p.types[at]
      if t.is_float(y.dtype) then list[#list + 1] = conform("defjvp", dy, y, p.units[at]) end
    end
  end
  return list
end

--- Operands: leaves of the arguments, captures of the function, captures of the rule.
function CustomJvp:bind(p, args, leaves)
  local directions = {}
  for k, x in ipairs(args) do directions[k] = floats_only(x) end
  local q = traced(self.who, function(primals, tangents) return result_tangents(p, table.pack(self.rule(primals, tangents))) end,
                   {args, directions})
  local operands = t.joined(leaves, {})
  local place_p = t.places(p, operands, same)
  local place_q = t.places(q, operands, function(_, leaf) return leaf end)
  local inputs, tangent_of = t.joined(operands, {}), {}
  for k, x in ipairs(operands) do
    if t.is_float(x.dtype) then
      inputs[#inputs + 1] = x
      if k <= #leaves then tangent_of[#tangent_of + 1] = #inputs end
    end
  end
  for i, argument in ipairs(q.argument) do
    if argument == 2 then place_q[i] = tangent_of[q.leaf[i]] end
  end
  local f = core.rewire(p.program, operands, place_p, #p.units, {}, {})
  local rule = core.rewire(q.program, inputs, place_q, #q.units, {}, {})
  return core.bind_programs("custom_jvp", {f, rule}, operands)
end

local CustomVjp = Custom:extend "custom_vjp"
CustomVjp.who, CustomVjp.define = "custom_vjp", "defvjp(forward, backward)"

function CustomVjp:defvjp(forward, backward)
  t.check_callable("defvjp", forward)
  t.check_callable("defvjp", backward)
  self.rule, self.backward = forward, backward
  return self
end

local function check_forward(p, forward)
  local n = #p.defs
  if #forward.defs < n or #forward.defs > n + 1 then
    core.fail("TypeError", 4, "defvjp: forward returns %d values; %d results and one tree of residuals are wanted", #forward.defs, n)
  end
  for r = 1, n do
    if forward.defs[r] ~= p.defs[r] then core.fail("TypeError", 4, "defvjp: forward returns %s, the function %s", forward.defs[r], p.defs[r]) end
  end
end

--- The cotangents of the float leaves of the arguments, of those that backward returned.
local function argument_cotangents(args, out)
  if out.n > #args then core.fail("TypeError", 4, "defvjp: backward returns %d cotangents for %d arguments", out.n, #args) end
  local list = {}
  for k, x in ipairs(args) do
    local like = core.flatten(x)
    for i, dx in ipairs(aligned(out[k], x, {})) do
      local shape = table.move(like[i].shape, 1, like[i].ndim, 1, {})
      if t.is_float(like[i].dtype) then list[#list + 1] = conform("defvjp", dx, {dtype = like[i].dtype, shape = shape}, core.unit_of(like[i])) end
    end
  end
  return list
end

--- Operands: leaves of the arguments, captures of the function, of forward, of backward; the last are residuals too.
function CustomVjp:bind(p, args, leaves)
  local forward = traced(self.who, self.rule, args)
  check_forward(p, forward)
  local examples = {} -- numbers of the types of results and residuals, for the trace of backward
  for i in ipairs(forward.units) do examples[i] = t.zeros(forward.types[i]) end
  local values = t.results(forward, examples)
  local residuals = table.remove(values, #p.defs + 1)
  for r, y in ipairs(values) do values[r] = floats_only(y) end
  table.insert(values, 1, residuals == nil and NONE or residuals)
  local q = traced(self.who, function(...) return argument_cotangents(args, table.pack(self.backward(...))) end, values)

  local operands = t.joined(leaves, {})
  local place_p, place_f = t.places(p, operands, same), t.places(forward, operands, same)
  local n_before, captured = #operands, {}
  local inputs, place_q = {}, {}
  for pass, wanted in ipairs{function(a) return a == 1 end, function(a) return a == 0 end, function(a) return a > 1 end} do
    for i, x in ipairs(q.inputs) do -- residuals, what backward captures, cotangents
      if wanted(q.argument[i]) then
        inputs[#inputs + 1] = x
        place_q[i] = #inputs
        if pass == 2 then
          operands[#operands + 1] = x
          captured[#captured + 1] = n_before + #captured + 1
        end
      end
    end
  end
  local constants = {}
  for k = #leaves + 1, #operands do
    if t.is_float(operands[k].dtype) then constants[#constants + 1] = operands[k] end
  end
  local f = core.rewire(p.program, operands, place_p, #p.units, {}, {})
  local ahead = core.rewire(forward.program, operands, place_f, #forward.units, captured, {})
  local back = core.rewire(q.program, inputs, place_q, #q.units, {}, constants)
  return core.bind_programs("custom_vjp", {f, ahead, back}, operands)
end

--- custom_jvp(f) -> an object that is called like f; :defjvp(rule) gives its derivative.
--  Example:
--    local f = bdl.augment.custom_jvp(bdl.abs)
--    f:defjvp(function(x, dx) return bdl.abs(x[1]), 2*dx[1] end)
--    print(bdl.grad(function(x) return f(x):sum() end)(bdl.ones(2)))
function M.custom_jvp(f)
  t.check_callable("custom_jvp", f)
  return CustomJvp(f)
end

--- custom_vjp(f) -> an object that is called like f; :defvjp(forward, backward) gives its reverse derivative.
--  Example:
--    local f = bdl.augment.custom_vjp(bdl.sin)
--    f:defvjp(function(x) return bdl.sin(x), x end, function(x, dy) return bdl.cos(x)*dy end)
--    print(bdl.grad(function(x) return f(x):sum() end)(bdl.zeros(2)))
function M.custom_vjp(f)
  t.check_callable("custom_vjp", f)
  return CustomVjp(f)
end

return M

--- What all transformations share: trace a function to a program, apply a transformed program, write States back.
--
-- A program's inputs are arguments, captured values and States read; its outputs results, States written, States made.
-- Inside a trace it becomes plain equations there, outside it runs once.

local core = require "bdl.core"
local class = require "bdl.class"
local reach = require "bdl.reach"
local suggest = require "bdl.suggest"

local M = {}

--- Errors: TypeError, f cannot be called.
function M.check_callable(who, f, level)
  local mt = type(f) ~= "function" and debug.getmetatable(f)
  if type(f) ~= "function" and not (mt and mt.__call) then
    core.fail("TypeError", (level or 1) + 2, "%s: a function was expected, not a %s", who, class.typename(f))
  end
end

--- Errors: TypeError naming the option that is nearest to a misspelt one.
function M.check_options(who, opts, known)
  for key in pairs(opts) do
    local found = false
    for _, name in ipairs(known) do found = found or key == name end
    if not found then
      core.fail("TypeError", 3, "%s: no argument '%s'%s", who, tostring(key), suggest.hint(tostring(key), known))
    end
  end
end

--- Is x a plain table, without a metatable?
function M.is_plain(x) return type(x) == "table" and getmetatable(x) == nil end

function M.list_of(x) return M.is_plain(x) and x or {x} end

function M.is_float(dtype) return dtype:find "^float" ~= nil end

--- make(f, opts) as a transformation (f, opts) or, as a decorator, (opts)(f).
function M.transformation(who, known, make)
  return function(f, opts)
    if f == nil or M.is_plain(f) and not (M.is_plain(opts)) then
      local options = f or {}
      M.check_options(who, options, known)
      return function(g)
        M.check_callable(who, g)
        return reach.made_from(make(g, options), g, options)
      end
    end
    M.check_callable(who, f)
    M.check_options(who, opts or {}, known)
    return reach.made_from(make(f, opts or {}), f, opts)
  end
end

local depth = 0
local leave = setmetatable({}, {__close = function() depth = depth - 1 end})

--- Is a function being traced that will be differentiated?  Then custom derivatives are recorded.
--  Example:
--    bdl.grad(function(x) print(bdl.augment.differentiating()) return x:sum() end)(bdl.ones(2))
function M.differentiating() return depth > 0 end

--- core.trace_function(who, f, args), for a derivative.
function M.differentiated(who, f, args)
  depth = depth + 1
  local _ <close> = leave
  return core.trace_function(who, f, args)
end

--- f(...) in the trace being made, or in one that is made and run for this call alone.  Returns a list of tensors.
function M.inside(f, ...)
  if core.tracing() then return f(...) end
  return core.run_once(f, ...)
end

--- For each input of p its number in `inputs`: own(argument, leaf) of an argument's; what p captures is appended.
function M.places(p, inputs, own)
  local place = {}
  for i, x in ipairs(p.inputs) do
    if p.argument[i] > 0 then
      place[i] = own(p.argument[i], p.leaf[i], i)
    else
      inputs[#inputs + 1] = x
      place[i] = #inputs
    end
  end
  return place
end

--- Outputs of a program over the inputs of p and `further` operands.
function M.apply(program, p, further)
  local operands = table.move(further, 1, #further, #p.inputs + 1, table.move(p.inputs, 1, #p.inputs, 1, {}))
  return M.inside(core.apply, program, operands)
end

--- The States that p's function wrote take their values from `list`, the outputs.
function M.write_back(p, list)
  for _, s in ipairs(p.states) do
    if s.written then core.state_give(s.handle, table.move(list, s.first, s.first + s.n - 1, 1, {})) end
  end
end

--- p's results (trees) over the leaves of `list`; with their units unless plain.
function M.results(p, list, plain)
  local values, at = {}, 0
  for r, def in ipairs(p.defs) do
    local own = {}
    for i = 1, M.leaves_of(def) do
      at = at + 1
      own[i] = not plain and p.units[at] and core.with_unit(list[at], p.units[at]) or list[at]
    end
    values[r] = core.unflatten(def, own)
  end
  return values
end

--- The number of leaves of a structure; keys in quotes do not count.
function M.leaves_of(def) return select(2, def:gsub('"[^"]*"', ""):gsub("%*", "")) end

--- The leaves of several values.
function M.flatten_all(values)
  local leaves = {}
  for _, value in ipairs(values) do
    local own = core.flatten(value)
    table.move(own, 1, #own, #leaves + 1, leaves)
  end
  return leaves
end

function M.flags(n, f)
  local set = {}
  for i = 1, n do set[i] = f(i) and true or false end
  return set
end

--- Where the function f, a Node or a plain function that refers to one, holds the State: "weight", "net.weight"; nil if unknown.
local function path_in(f, s)
  local graph = require "bdl.graph"
  local function search(x, prefix)
    if rawequal(x, s) then return prefix end
    if not class.isa(x, graph.Node) then return end
    for path, found in graph.states(x):items() do
      if found == s then return prefix == "" and path or prefix .. (path:find "^%[" and "" or ".") .. path end
    end
  end
  if type(f) ~= "function" then return search(f, "") end
  for i = 1, 60 do
    local name, value = debug.getupvalue(f, i)
    if not name then return end
    local path = type(value) == "table" and search(value, name)
    if path then return path end
  end
end

--- "ParamState 'w' (made at model.lua:3)"; without a name of its own by its place in f (optional).
function M.state_name(s, f)
  local file, line = core.state_where(rawget(s, "_handle"))
  local name = s.name or f and path_in(f, s)
  return class.typename(s) .. (name and (" '%s'"):format(name) or "") .. (file and (" (made at %s:%d)"):format(file, line) or "")
end

--- "float32[2,3]"
function M.type_text(t) return ("%s[%s]"):format(t.dtype, table.concat(t.shape, ",")) end

--- x repeated along new first axes up to the shape.
function M.broadcast(x, shape)
  local dims = {}
  for k = 1, x.ndim do dims[k] = #shape - x.ndim + k - 1 end
  return core.bind("broadcast", {shape = shape, dims = dims}, x)
end

function M.zeros(t) return M.broadcast(core.tensor(0.0, t.dtype), t.shape) end

function M.reshape(x, shape) return core.bind("reshape", {shape = shape}, x) end

--- Axis `from` of x becomes axis `to` (from 0).
function M.move(x, from, to)
  if from == to then return x end
  local order = {}
  for k = 0, x.ndim - 1 do
    if k ~= from then order[#order + 1] = k end
  end
  table.insert(order, to + 1, from)
  return core.bind("permute", {axes = order}, x)
end

--- Rows first .. last-1 (from 0) along the first axis.
function M.rows(x, first, last)
  local start, stop, step = {first}, {last}, {1}
  for k = 2, x.ndim do start[k], stop[k], step[k] = 0, x.shape[k], 1 end
  return core.bind("slice", {start = start, stop = stop, step = step}, x)
end

--- {a.., b..}
function M.joined(a, b) return table.move(b, 1, #b, #a + 1, table.move(a, 1, #a, 1, {})) end

return M

--- Compilation and control flow: jit, for_loop, scan, while_loop, cond, switch, ifelse.
--
-- Functions of Lua are traced once into a program; the program runs without Lua.  With disable_jit(true) the same calls
-- run step by step on concrete values.

local core = require "bdl.core"
local class = require "bdl.class"
local environ = require "bdl.environ"
local reach = require "bdl.reach"
local tree = require "bdl.tree"

local compile = {}

--- Switch for debugging: with true, everything runs eagerly.  Returns the setting; closes back to the old one.
--  Example:
--    do
--      local _ <close> = bdl.compile.disable_jit(true)
--      bdl.jit(function(x) print(x) end)(bdl.ones(2))
--    end
function compile.disable_jit(on)
  local old = core.eager()
  if on == nil then return old end
  core.eager(on)
  return setmetatable({}, {__close = function() core.eager(old) end})
end

-- ---- jit -----------------------------------------------------------------------------------------------------------

environ.on_version(core.environ_version)

--- Runs trace(guard) while recording what is read of the environ.  guard(touched) gives the function that tells whether a
--  kept program of f still holds: the environ has the values that were read, f reaches the same States as before.
local function with_guard(f, trace)
  local read = {}
  local before = environ.listen(function(key, value)
    if not core.is_traced(value) then read[key] = value end
  end)
  local function guard(touched)
    environ.listen(before)
    local places = reach.places(f, touched)
    if next(read) == nil and #places == 0 then return nil end
    return function()
      for key, value in pairs(read) do
        local now = environ.peek(key)
        if not rawequal(now, value) and tostring(now) ~= tostring(value) then return false end
      end
      return reach.unchanged(places)
    end
  end
  local results = table.pack(pcall(trace, guard))
  environ.listen(before)
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- Static arguments as text that is equal when they are: numbers, strings, booleans; functions and objects by identity.
local function static_text(v)
  local kind = type(v)
  if core.is_tensor(v) then
    core.hint "pass arrays as ordinary arguments; static ones must be plain Lua values"
    core.fail("TypeError", 2, "jit: a static argument may not be a tensor")
  end
  if kind == "string" then return ("%q"):format(v) end
  return kind == "table" and ("table %p"):format(v) or tostring(v)
end

local jit_options = {static_argnums = true, static_argnames = true, name = true}

local function positions(opts)
  local at = opts.static_argnums
  if at == nil then return {} end
  if type(at) == "number" then at = {at} end
  local set = {}
  for _, i in ipairs(at) do
    if math.type(i) ~= "integer" or i < 1 then
      core.fail("ValueError", 2, "jit: static_argnums are positions from 1, not %s", tostring(i))
    end
    set[i] = true
  end
  return set
end

--- Compiled function -> (arguments -> what is traced for them, the arguments that are not static).
local traced_call = setmetatable({}, {__mode = "k"})

local function make(f, opts)
  local at = positions(opts)
  local names = {}
  for _, name in ipairs(type(opts.static_argnames) == "string" and {opts.static_argnames} or opts.static_argnames or {}) do
    names[name] = true
  end
  local slow = next(at) ~= nil or next(names) ~= nil

  --- Arguments without the static ones; their text; and f with them put back.
  local function split(...)
    local n, rest, text, fixed = select("#", ...), {}, {}, {}
    local args = {...}
    for i = 1, n do
      local v = args[i]
      if at[i] then
        text[#text + 1] = i .. "=" .. static_text(v)
        fixed[i] = v
      elseif next(names) and type(v) == "table" and getmetatable(v) == nil then
        local kept = {}
        for k, x in pairs(v) do
          if names[k] then
            text[#text + 1] = i .. "." .. k .. "=" .. static_text(x)
          else
            kept[k] = x
          end
        end
        table.sort(text)
        rest[#rest + 1] = kept
        fixed[-i] = v
      else
        rest[#rest + 1] = v
      end
    end
    local function g(...)
      local dynamic, k, all = {...}, 0, {}
      for i = 1, n do
        if at[i] then
          all[i] = fixed[i]
        else
          k = k + 1
          all[i] = dynamic[k]
          if fixed[-i] then
            for name in pairs(names) do all[i][name] = fixed[-i][name] end
          end
        end
      end
      return f(table.unpack(all, 1, n))
    end
    return table.concat(text, ";"), g, table.unpack(rest, 1, #rest)
  end

  local function miss(self, ...)
    if core.tracing() or core.eager() then return f(...) end
    if not slow then
      local args = table.pack(...)
      return with_guard(f, function(guard) return core.jit_make(self, f, nil, guard, table.unpack(args, 1, args.n)) end)
    end
    local parts = table.pack(split(...))
    local found = table.pack(core.jit_run(self, parts[1], table.unpack(parts, 3, parts.n)))
    if found[1] then return table.unpack(found, 2, found.n) end
    return with_guard(f, function(guard)
      return core.jit_make(self, parts[2], parts[1], guard, table.unpack(parts, 3, parts.n))
    end)
  end
  local compiled = core.jit_new(miss, slow)
  reach.made_from(compiled, f)
  traced_call[compiled] = function(...)
    if slow then return select(2, split(...)) end
    return f, ...
  end
  return compiled
end

--- Is x a function or an object that is called like one?
local function callable(x)
  if type(x) == "function" then return true end
  local mt = debug.getmetatable(x)
  return mt ~= nil and mt.__call ~= nil
end

--- f : a function; opts: static_argnums (positions from 1), static_argnames (keys of a table argument).
--  jit(f, opts) or jit(opts)(f).  The result is called like f; it has :clear_cache(), :eval_shape(...), :trace(...) and
--  :lower(...), the program and the plan for these arguments, :compile(...), which makes both ready for the next call.
--  Example:
--    local f = bdl.compile.jit(function(x) return bdl.exp(-x):sum() end)
--    print(f(bdl.ones(3)))
function compile.jit(f, opts)
  if not callable(f) then
    if type(f) ~= "table" or getmetatable(f) then
      core.fail("TypeError", 2, "jit: a function was expected, not a %s", class.typename(f))
    end
    local options = f
    return function(g) return compile.jit(g, options) end
  end
  opts = opts or {}
  for key in pairs(opts) do
    if not jit_options[key] then
      core.fail("TypeError", 2, "jit: no argument '%s'%s", tostring(key), require "bdl.suggest".hint(key, {"static_argnums", "static_argnames", "name"}))
    end
  end
  return make(f, opts)
end

local Ir = {__name = "IR"}
Ir.__index = Ir
Ir.__tostring = function(ir) return ir.text end

--- The program of f(...), or its plan, printable; nothing runs.
local function text_of(plan, f, ...) return setmetatable({text = core.make_ir(f, nil, plan, ...)}, Ir) end

function core.jit_methods:clear_cache() core.jit_clear(self) end
function core.jit_methods:n_compiled() return core.jit_cached(self) end
function core.jit_methods:eval_shape(...) return compile.eval_shape(traced_call[self](...)) end
function core.jit_methods:trace(...) return text_of(false, traced_call[self](...)) end
function core.jit_methods:lower(...) return text_of(true, traced_call[self](...)) end
core.jit_methods.ir = core.jit_methods.trace

function core.jit_methods:compile(...)
  if not core.tracing() and not core.eager() then core.jit_prepare(self, ...) end
  return self
end

--- f -> a function that returns the program of f(...).
--  Example:
--    print(bdl.compile.NAME(function(x) return 2*x + 1 end)(bdl.ones(3)))
function compile.make_ir(f)
  return function(...) return text_of(false, f, ...) end
end
compile.make_jaxpr = compile.make_ir

--- The plan that f(...) would run, as text: fused groups, kernels, loops, buffers.
--  Example:
--    print(bdl.compile.make_plan(function(x) return 2*x + 1 end)(bdl.ones(3)))
function compile.make_plan(f)
  return function(...) return text_of(true, f, ...) end
end

-- ---- control flow ------------------------------------------------------------------------------------------------------

--- Control flow needs a trace around it: the one being made, or one made and run for this call alone.
local function in_trace(f, ...)
  if core.tracing() then return f(...) end
  return core.run_once(f, ...)
end

local loop_options = {length = true, reverse = true, unroll = true, pbar = true, jit = true}

--- Sequences, and the options where the last argument is a table of nothing else.
local function loop_arguments(who, ...)
  local xs, opts = {...}, {}
  local last = xs[#xs]
  if type(last) == "table" and getmetatable(last) == nil and next(last) ~= nil and #last == 0 then
    local plain = true
    for key in pairs(last) do plain = plain and loop_options[key] ~= nil end
    if plain then
      opts = last
      xs[#xs] = nil
    elseif not core.is_tensor(select(2, next(last))) and type(select(2, next(last))) ~= "table" then
      local key = next(last)
      core.fail("TypeError", 3, "%s: no argument '%s'%s", who, tostring(key), require "bdl.suggest".hint(tostring(key), {"length", "reverse", "unroll", "pbar"}))
    end
  end
  local length = opts.length
  if length ~= nil and (math.type(length) ~= "integer" or length < 0) then
    core.fail("ValueError", 3, "%s: length must be a whole number >= 0, not %s", who, tostring(length))
  end
  return xs, length, opts.reverse or false, opts
end

local function slice(xs, i)
  return tree.map(function(x) return core.bind("reshape", {shape = {table.unpack(x.shape, 2)}},
    core.bind("slice", {start = (function() local s = {i - 1}; for k = 2, x.ndim do s[k] = 0 end; return s end)(),
                        stop = (function() local s = {i}; for k = 2, x.ndim do s[k] = x.shape[k] end; return s end)(),
                        step = (function() local s = {}; for k = 1, x.ndim do s[k] = 1 end; return s end)()}, x)) end, xs)
end

local function stack(list)
  return tree.map(function(...)
    local parts = {...}
    for k, x in ipairs(parts) do
      x = core.is_tensor(x) and x or core.tensor(x)
      parts[k] = core.bind("reshape", {shape = {1, table.unpack(x.shape)}}, x)
    end
    return require "bdl.array.base".concatenate(parts, 0)
  end, table.unpack(list))
end

--- The steps of a loop over the sequences.
local function length_of(xs, length)
  for _, x in ipairs(xs) do
    for _, leaf in ipairs((core.flatten(x))) do length = length or leaf.shape[1] end
  end
  return length
end

--- The loop of scan, step by step.
local function eager_scan(f, has_carry, carry, xs, length, reverse)
  length = length_of(xs, length)
  local columns, width = {}, 0
  for step = 1, length do
    local i = reverse and length + 1 - step or step
    local args = {}
    for k, x in ipairs(xs) do args[k] = slice(x, i) end
    local out = has_carry and table.pack(f(carry, table.unpack(args))) or table.pack(f(table.unpack(args)))
    local first = 1
    if has_carry then carry, first = out[1], 2 end
    for k = first, out.n do
      if out[k] ~= nil then
        columns[k - first + 1] = columns[k - first + 1] or {}
        columns[k - first + 1][i] = out[k]
        width = k - first + 1
      end
    end
  end
  local results = {}
  for k = 1, width do results[k] = stack(columns[k]) end
  if has_carry then return carry, table.unpack(results, 1, width) end
  return table.unpack(results, 1, width)
end

local function eager_now() return core.eager() and not core.tracing() end

--- The loop over f, compiled or step by step, with its bar.
local function looped(who, opts, f, has_carry, carry, xs, length, reverse)
  local bar = opts.pbar
  if class.of(bar) then
    if not class.isa(bar, require "bdl.progress".ProgressBar) then
      core.fail("TypeError", 3, "%s: pbar is true, a name or a ProgressBar, not a %s", who, class.typename(bar))
    end
    f, xs = require "bdl.progress".counted(bar, f, has_carry, xs, length_of(xs, length), reverse)
    bar = nil
  end
  if eager_now() then return eager_scan(f, has_carry, carry, xs, length, reverse) end
  return require "bdl.progress".run(bar, in_trace, core.scan, who, f, has_carry, carry, xs, length, reverse)
end

--- f(x, y, ..) for each slice of the sequences along their first axis; the results are stacked.  States written carry over.
--  Options (last): length, reverse (results stay in the order of the input), unroll (no effect on results), pbar.
--  Example:
--    print(bdl.compile.for_loop(function(x) return x^2 end, bdl.arange(5)))
function compile.for_loop(f, ...)
  if not callable(f) then core.fail("TypeError", 2, "for_loop: a function was expected, not a %s", class.typename(f)) end
  local xs, length, reverse, opts = loop_arguments("for_loop", ...)
  return looped("for_loop", opts, f, false, nil, xs, length, reverse)
end

--- carry, ys = scan(f, init, xs, opts) with f(carry, x) -> carry, y.
--  Example:
--    print(bdl.compile.scan(function(c, x) return c + x, c end, bdl.tensor(0), bdl.arange(5)))
function compile.scan(f, init, ...)
  if not callable(f) then core.fail("TypeError", 2, "scan: a function was expected, not a %s", class.typename(f)) end
  local xs, length, reverse, opts = loop_arguments("scan", ...)
  return looped("scan", opts, f, true, init, xs, length, reverse)
end

local function truth(x)
  if type(x) == "boolean" then return x end
  return core.item(core.bind("ne", {}, x, core.cast(core.tensor(0), core.is_tensor(x) and x.dtype or "int32"))) ~= false
end

--- while cond(c): c = body(c).  cond may read States but not write them.  One or several carries.
--  Example:
--    print(bdl.compile.while_loop(function(x) return x:lt(100) end, function(x) return 2*x end, bdl.tensor(1)))
function compile.while_loop(cond, body, ...)
  if not callable(cond) or not callable(body) then core.fail("TypeError", 2, "while_loop: needs two functions, cond and body") end
  local n = select("#", ...)
  if n == 0 then core.fail("ValueError", 2, "while_loop: needs an initial value") end
  local one = n == 1
  local carry = one and ... or {...}
  local function spread(f)
    if one then return f end
    return function(c) return f(table.unpack(c, 1, n)) end
  end
  local function gather(f)
    if one then return f end
    return function(c) return {f(table.unpack(c, 1, n))} end
  end
  if eager_now() then
    local c, b = spread(cond), gather(body)
    local leaves, treedef = core.flatten(carry) -- numbers of Lua become tensors, as in a trace
    carry = core.unflatten(treedef, leaves)
    while truth(c(carry)) do carry = b(carry) end
  else
    carry = in_trace(core.while_loop, spread(cond), gather(body), carry)
  end
  if one then return carry end
  return table.unpack(carry, 1, n)
end

local function scalar(who, x, what)
  if core.is_tensor(x) then
    if x.size ~= 1 then core.fail("TypeError", 3, "%s: %s must be a scalar, not %s[%s]", who, what, x.dtype, table.concat(x.shape, ",")) end
    return x
  end
  if type(x) ~= "boolean" and type(x) ~= "number" then
    core.fail("TypeError", 3, "%s: %s must be a boolean or a number, not a %s", who, what, class.typename(x))
  end
  return x
end

--- t(...) where pred is true (or a number other than 0), else f(...).  A plain Lua pred compiles only the branch taken.
--  Example:
--    local f = function(x) return bdl.compile.cond(x:gt(0), function() return x end, function() return -x end) end
--    print(bdl.jit(f)(bdl.tensor(-2.)))
function compile.cond(pred, t, f, ...)
  scalar("cond", pred, "the predicate")
  if not core.is_traced(pred) then
    local taken
    if type(pred) == "boolean" then taken = pred
    elseif type(pred) == "number" then taken = pred ~= 0
    else taken = truth(pred) end
    return (taken and t or f)(...)
  end
  local index = core.cast(core.bind("ne", {}, pred, core.cast(0, pred.dtype)), "int32")
  return core.cond(index, {f, t, two_way = true}, ...)
end

--- branches[i](...).  i: a Lua number is a position from 1; a tensor is an index from 0.  Out of range: the nearest.
--  Example:
--    local branches = {function(x) return x end, function(x) return -x end}
--    print(bdl.compile.switch(bdl.tensor(1), branches, bdl.ones(2)))
function compile.switch(i, branches, ...)
  if type(branches) ~= "table" or #branches == 0 then core.fail("ValueError", 2, "switch: no branches") end
  if type(i) == "number" then
    if math.type(i) ~= "integer" then core.fail("TypeError", 2, "switch: the index must be an integer, not %s", tostring(i)) end
    return branches[math.max(1, math.min(i, #branches))](...)
  end
  scalar("switch", i, "the index")
  if not i.dtype:find "int" then core.fail("TypeError", 2, "switch: the index must be an integer, not %s", i.dtype) end
  if #branches == 1 then return branches[1](...) end
  if not core.is_traced(i) then
    return branches[math.max(1, math.min(core.item(i) + 1, #branches))](...)
  end
  return core.cond(i, branches, ...)
end

--- The branch of the one condition that is true.  opts.check (default true): exactly one must be; without the check the
--  first true one counts, or else the last branch.
--  Example:
--    local x = bdl.tensor(2.)
--    print(bdl.compile.ifelse({x:lt(0), x:ge(0)}, {function() return -x end, function() return x end}))
function compile.ifelse(conditions, branches, ...)
  local args, opts = table.pack(...), {}
  local last = args[args.n]
  if type(last) == "table" and getmetatable(last) == nil and last.check ~= nil then
    opts, args.n = last, args.n - 1
  end
  local n = #conditions
  if n ~= #branches then
    core.fail("ValueError", 2, "ifelse: %d conditions for %d branches", n, #branches)
  end
  local plain = true
  for _, c in ipairs(conditions) do plain = plain and not core.is_traced(c) end
  if plain then
    local taken, count
    count = 0
    for k = n, 1, -1 do
      if truth(conditions[k]) then taken, count = k, count + 1 end
    end
    if opts.check ~= false and count ~= 1 then
      core.fail("ValueError", 2, "ifelse: exactly one condition must be true; %d are", count)
    end
    return branches[taken or n](table.unpack(args, 1, args.n))
  end
  local index, count = core.tensor(n - 1), core.tensor(0)
  for k = n, 1, -1 do
    local c = core.cast(conditions[k], "bool")
    index = core.bind("select", {}, c, core.cast(k - 1, "int32"), core.cast(index, "int32"))
    count = core.bind("add", {}, count, core.cast(c, "int32"))
  end
  if opts.check ~= false then
    core.error_if("ifelse: exactly one condition must be true; {1} are", core.bind("ne", {}, count, 1), count)
  end
  return core.cond(index, branches, table.unpack(args, 1, args.n))
end

--- Which dtypes and shapes f(...) gives, without running it.
--  Example:
--    print(bdl.compile.eval_shape(function(x) return x:sum{axis = 1} end, bdl.ones(3, 2)))
function compile.eval_shape(f, ...)
  local shapes
  core.make_ir(function(...)
    local out = table.pack(f(...))
    shapes = {n = out.n}
    for k = 1, out.n do
      shapes[k] = tree.map(function(x)
        x = core.is_tensor(x) and x or core.tensor(x)
        return setmetatable({shape = x.shape, dtype = x.dtype, unit = x.unit}, {
          __name = "ShapedArray",
          __tostring = function(a) return ("%s[%s]"):format(a.dtype, table.concat(a.shape, ",")) end,
        })
      end, out[k])
    end
    return table.unpack(out, 1, out.n)
  end, nil, false, ...)
  return table.unpack(shapes, 1, shapes.n)
end

--- Loops that are made of these and of checkpoints.
for _, name in ipairs{"checkpointed_scan", "checkpointed_for_loop", "bounded_while_loop"} do
  compile[name] = function(...) return require "bdl.augment.checkpoint"[name](...) end
end

return compile

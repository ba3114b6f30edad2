--- Looking into compiled code: print, checks, callbacks.  All are effects of the program: in order, once per iteration.

local core = require "bdl.core"
local class = require "bdl.class"
local compile = require "bdl.compile"
local filter = require "bdl.filter"
local pretty = require "bdl.pretty"
local state = require "bdl.state"
local suggest = require "bdl.suggest"
local tree = require "bdl.tree"
local util = require "bdl.util"

local debug_ = {}

local function usual(text)
  if core.log then return core.log(text) end -- the host's
  io.write(text, "\n")
end

local output = usual

--- Where debug.print writes: a function of the text; nil: standard output, or the log of a host program.  Returns the function before.
function debug_.set_output(f)
  local old = output
  output = f or usual
  return old
end

--- The names in braces of a format, each once; `{{` and `}}` are braces.
local function fields(format)
  local names = {}
  for name in format:gsub("{{", ""):gsub("}}", ""):gmatch "{([^{}]*)}" do names[#names + 1] = tonumber(name) or name end
  return names
end

local function check_fields(who, format, values)
  if type(values) ~= "table" then
    core.hint "give the values by name: {x = x}"
    core.fail("TypeError", 3, "%s: the values are a table, not a %s", who, core.is_tensor(values) and "tensor" or type(values))
  end
  for _, name in ipairs(fields(format)) do
    if values[name] == nil then
      core.fail("KeyError", 3, "%s: the format names {%s}, but no such value is given%s", who, tostring(name),
        suggest.hint(tostring(name), util.sorted_keys(values)))
    end
  end
end

local function fill(format, text)
  local out = format:gsub("{{", "\1"):gsub("}}", "\2"):gsub("{([^{}]*)}", function(name) return text[tonumber(name) or name] end)
  return (out:gsub("\1", "{"):gsub("\2", "}"))
end

--- Calls f(values) whenever the program passes here, with the run-time values of a tree, in their units; format: for dumps.
local function at_run_time(format, values, f)
  local leaves, treedef = tree.flatten(values)
  local units, plain = {}, {}
  for i, x in ipairs(leaves) do
    x = core.is_tensor(x) and x or core.tensor(x)
    units[i], plain[i] = core.unit_of(x) or false, core.mantissa(x)
  end
  core.print((format:gsub("[{}]", {["{"] = "<", ["}"] = ">"})), function(...) -- the values are put in by f, not there
    local now = {...}
    for i, x in ipairs(now) do
      if units[i] then now[i] = core.with_unit(x, units[i]) end
    end
    f(tree.unflatten(treedef, now))
  end, table.unpack(plain))
end

--- print("b = {b}, loss = {loss}", {b = x, loss = l}): the run-time values, from inside compiled code too.  Values may be
--  trees; positions count from 1: print("{1} and {2}", {x, y}).
function debug_.print(format, values)
  if type(format) ~= "string" then core.fail("TypeError", 2, "debug.print: the format is a string, not a %s", type(format)) end
  values = values or {}
  check_fields("debug.print", format, values)
  at_run_time(format, values, function(now)
    local text = {}
    for name, value in pairs(now) do
      text[name] = core.is_tensor(value) and core.text(value) or pretty.text(value, {values = true})
    end
    output(fill(format, text))
  end)
end

--- Stops where the program passes here, in compiled code and loops too, and opens the prompt with the values at hand, by their names; what
--  is typed reads from standard input.  `:continue` or the end of the input goes on, `:stop` ends the run with an InterruptError.
--  values : name -> tensor or tree;  opts : when, stop only where any element of it is true
--  States have the values from before the compiled call: give those that matter, {V = net.V.value}.
--  Example:
--    bdl.for_loop(function(i) bdl.debug.NAME({i = i}, {when = i:gt(100)}) end, bdl.arange(10))
function debug_.breakpoint(values, opts)
  if values ~= nil and (type(values) ~= "table" or getmetatable(values) ~= nil) then
    core.hint "give the values by name: {V = V}"
    core.fail("TypeError", 2, "debug.breakpoint: the values are a table, not a %s", class.typename(values))
  end
  opts = require "bdl.array.base".options("debug.breakpoint", opts, {when = true})
  local file, line = core.where()
  local function stop()
    at_run_time("breakpoint", values or {}, function(now)
      local repl = require "bdl.repl".Repl{names = now, prompt = "stop>",
        greeting = ("stopped at %s:%d with %s; :continue, :stop"):format(file or "?", line or 0, table.concat(util.sorted_keys(now), ", "))}
      repl.at_breakpoint, repl.stopped = true, false
      repl:loop()
      if repl.stopped then core.fail_at("InterruptError", file or "?", line or 0, "stopped at a breakpoint") end
    end)
  end
  if opts.when == nil then return stop() end
  local when = core.is_tensor(opts.when) and opts.when or core.tensor(opts.when)
  local axes = {}
  for k = 1, when.ndim do axes[k] = k - 1 end
  compile.cond(core.bind("reduce_or", {axes = axes}, core.cast(when, "bool")), stop, function() end)
end

--- A ValueError with the formatted message where any element of pred is true, also in compiled code.
--  Example:
--    local f = bdl.jit(function(x) bdl.NAME(x:lt(0), "negative: {x}", {x = x}) return bdl.sqrt(x) end)
--    print(pcall(f, bdl.tensor{-1.}))
function debug_.error_if(pred, message, values)
  values = values or {}
  check_fields("error_if", message, values)
  local operands, position = {}, {}
  for _, name in ipairs(fields(message)) do
    if not position[name] then
      local x = values[name]
      x = core.is_tensor(x) and x or core.tensor(x)
      operands[#operands + 1] = core.mantissa(x)
      position[name] = ("{%d}%s"):format(#operands, core.unit_of(x) and " " .. tostring(core.unit_of(x)) or "")
    end
  end
  if not core.is_tensor(pred) then pred = core.tensor(pred) end
  core.error_if(fill(message, position), pred, table.unpack(operands))
end

--- As error_if, where pred is not true.
--  Example:
--    local f = bdl.jit(function(x) bdl.check(x:ge(0), "negative: {x}", {x = x}) return bdl.sqrt(x) end)
--    print(pcall(f, bdl.tensor{-1.}))
function debug_.check(pred, message, values)
  if not core.is_tensor(pred) then pred = core.tensor(pred) end
  return debug_.error_if(core.bind("not", {}, core.cast(pred, "bool")), message, values)
end

--- The arguments of f, and the name of the phase from a last {phase = ..}.
local function with_phase(...)
  local args = table.pack(...)
  local last = args[args.n]
  local phase = type(last) == "table" and getmetatable(last) == nil and last.phase
  if type(phase) ~= "string" then return "debug_nan", args end
  return ("debug_nan [%s]"):format(phase), {n = args.n - 1, table.unpack(args, 1, args.n - 1)}
end

--- Runs f(x, ..) to find the first primitive that makes a NaN or Inf, if one comes out of f, in its results or States: a
--  ValueError at its line, with counts, least and largest.  What is masked away is no error; States stay as they are.
--  debug_nan(f, x, .., {phase = "forward"})
--  Example:
--    print(pcall(bdl.debug_nan, bdl.log, bdl.tensor{-1.}))
function debug_.debug_nan(f, ...)
  local t = require "bdl.augment.trace"
  t.check_callable("debug_nan", f)
  local who, args = with_phase(...)
  local p = t.differentiated("debug_nan", f, {table.unpack(args, 1, args.n)})
  require "bdl.checkify".guarded(who, p.program, p, {})
end

--- The same where has_nan is true (in any element), in compiled code too.
--  Example:
--    print(pcall(bdl.debug_nan_if, true, bdl.log, bdl.tensor{-1.}))
function debug_.debug_nan_if(has_nan, f, ...)
  if not core.is_tensor(has_nan) then has_nan = core.tensor(has_nan) end
  local axes = {}
  for k = 1, has_nan.ndim do axes[k] = k - 1 end
  local args = table.pack(...)
  local is_any = core.bind("reduce_or", {axes = axes}, core.cast(has_nan, "bool"))
  compile.cond(is_any, function() debug_.debug_nan(f, table.unpack(args, 1, args.n)) end, function() end)
end

--- f(x, ..) called with concrete values whenever the program passes here; its results have the types of `like`, a tensor
--  or a list of them.
function debug_.callback(f, like, ...)
  return core.host_call(f, core.is_tensor(like) and {like} or like or {}, ...)
end

--- Calls of f under a name: errors raised inside end with it.  named_scope(f, {name =}) or named_scope{name =}(f).
--  Example:
--    print(pcall(bdl.named_scope(function(x) return x + "a" end, {name = "encoder"}), 1))
function debug_.named_scope(f, opts)
  if opts == nil and type(f) == "table" and getmetatable(f) == nil then
    return function(g) return debug_.named_scope(g, f) end
  end
  local name = opts and opts.name
  if type(name) ~= "string" then core.fail("TypeError", 2, "named_scope: the name is a string, not a %s", class.typename(name)) end
  return function(...)
    local results = table.pack(pcall(f, ...))
    if results[1] then return table.unpack(results, 2, results.n) end
    local err = results[2]
    if type(err) == "table" and type(err.message) == "string" then err.message = ("%s (in %s)"):format(err.message, name) end
    error(err, 0)
  end
end

--- StateFinder(f, opts)(...) -> list of the States from outside that f(...) touches, in the order of first use; nothing runs.
--  opts: usage "all" (default), "read", "write" or "both" (read and written); filter.
--  Example:
--    local s = bdl.State(1.)
--    print(#bdl.StateFinder(function() return s.value end)())
function debug_.StateFinder(f, opts)
  opts = opts or {}
  local usage, wanted = opts.usage or "all", filter.to_predicate(opts.filter or true)
  if usage ~= "all" and usage ~= "read" and usage ~= "write" and usage ~= "both" then
    core.fail("ValueError", 2, "StateFinder: usage is 'all', 'read', 'write' or 'both', not '%s'", tostring(usage))
  end
  return function(...)
    local order, made, used = {}, {}, {read = {}, write = {}}
    local function note(how)
      return function(ctx)
        local s = ctx.state
        if made[s] then return end
        if not used.read[s] and not used.write[s] then order[#order + 1] = s end
        used[how][s] = true
      end
    end
    local hooks = {
      state.register_state_hook("init", function(ctx) made[ctx.state] = true end), state.register_state_hook("read", note "read"),
      state.register_state_hook("restore", note "read"), state.register_state_hook("write_after", note "write"),
    }
    local _ <close> = setmetatable({}, {__close = function()
      for _, h in ipairs(hooks) do h:remove() end
    end})
    compile.make_ir(f)(...)
    local found = {}
    for _, s in ipairs(order) do
      local read, written = used.read[s], used.write[s]
      if (usage == "all" or usage == "read" and read or usage == "write" and written or read and written) and wanted("", s) then
        found[#found + 1] = s
      end
    end
    return found
  end
end

return debug_

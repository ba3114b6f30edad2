--- What begins with a colon at the prompt: f(repl, argument text).
--
-- repl: a Repl; its read_on is set to false to end it.

local core = require "bdl.core"
local class = require "bdl.class"
local compile = require "bdl.compile"
local graph = require "bdl.graph"
local model = require "bdl.model"
local state = require "bdl.state"
local util = require "bdl.util"

local commands = {}

local rows = {}                                  -- {name, argument, what it does}, in the order of :help

local function command(name, argument, text, run)
  rows[#rows + 1] = {":" .. name, argument, text}
  commands[name] = run
end

--- Results of a text, or nil and it was told why not.
local function evaluate(repl, text)
  local results, failure = repl.session:run(text, "command")
  if results == "more" then repl:say(("'%s' is not complete"):format(text))
  elseif results then return results
  else repl:fail(failure) end
end

local function seconds(x)
  for _, scale in ipairs{{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}} do
    if x >= scale[1] then return ("%.3g %s"):format(x / scale[1], scale[2]) end
  end
  return ("%.3g ns"):format(x * 1e9)
end

local function bytes(n)
  for _, scale in ipairs{{2^30, "GiB"}, {2^20, "MiB"}, {2^10, "KiB"}} do
    if n >= scale[1] then return ("%.1f %s"):format(n / scale[1], scale[2]) end
  end
  return ("%d bytes"):format(n)
end

command("help", "", "this list; help(x) and help 'name' tell what a name of bdl means", function(repl)
  local a, b = 0, 0
  for _, row in ipairs(rows) do a, b = math.max(a, #row[1]), math.max(b, #row[2]) end
  for _, row in ipairs(rows) do repl:say(("  %-" .. a .. "s %-" .. b .. "s  %s"):format(table.unpack(row))) end
  repl:say "  Tab completes names, Ctrl-C ends what runs, Ctrl-D the session.  A line may go on: function f(x)"
end)

command("load", "file [arguments]", "run a file; its locals become names here", function(repl, text)
  local words = {}
  for word in text:gmatch "%S+" do words[#words + 1] = word end
  local path = table.remove(words, 1)
  if not path then return repl:say ":load needs a file" end
  local names, failure = repl.session:load(path, words)
  if not names then return repl:fail(failure) end
  repl:say("names: " .. (next(names) and table.concat(util.sorted_keys(names), ", ") or "none"))
end)

command("reload", "[file]", "run it again, and go on with the States of the same path, shape and unit", function(repl, text)
  local path = text ~= "" and text or repl.session.last
  if not path or not repl.session.files[path] then
    return repl:say(path and (":load %s comes first"):format(path) or "nothing was loaded; :load file comes first")
  end
  local lines, failure = require "bdl.repl.reload"(repl.session, path, model.modules)
  if not lines then return repl:fail(failure) end
  repl:say(table.concat(lines, "\n"))
end)

command("time", "[n:] code", "how long it takes; with n, the shortest of n times", function(repl, text)
  local n, code = text:match "^(%d+):%s*(.+)$"
  n, code = math.tointeger(n) or 1, code or text
  if code == "" then return repl:say ":time needs some code" end
  local f = repl.session:expression(code, "command") or load(code, "@command", "t", repl.session.names)
  if not f then return evaluate(repl, code) end
  local best, first, result = math.huge, nil, nil
  local failure = model.try(function()
    for _ = 1, n do
      local start = core.clock()
      result = f()
      local took = core.clock() - start
      first, best = first or took, math.min(best, took)
    end
  end)
  if failure then return repl:fail(failure) end
  if result then repl:show(result) end
  repl:say(n > 1 and ("%s the first time, %s at best of %d"):format(seconds(first), seconds(best), n) or seconds(first))
end)

--- "f(x, y)" -> f, {x, y, n =}; nil: told what is wrong.
local function call_of(repl, name, text)
  local callee, arguments = text:match "^(.-)%s*(%b())%s*;?$"
  if not callee or callee == "" then
    repl:say((":%s needs a call, as :%s f(x); nothing of it runs"):format(name, name))
    return nil
  end
  local f = evaluate(repl, callee)
  local values = f and evaluate(repl, "table.pack" .. arguments)
  return values and f[1], values and values[1]
end

local function printer(name, make)
  return function(repl, text)
    local f, values = call_of(repl, name, text)
    if not values then return end
    local program
    local failure = model.try(function() program = make(f)(table.unpack(values, 1, values.n)) end)
    if failure then repl:fail(failure) else repl:say(tostring(program)) end
  end
end

command("ir", "f(x)", "the program that a call traces to", printer("ir", compile.make_ir))
command("plan", "f(x)", "the plan of it: passes over memory, kernels, loops", printer("plan", compile.make_plan))

--- "bfloat16" -> 2
local function width(dtype)
  return dtype == "bool" and 1 or tonumber(dtype:match "%d+$") // 8
end

local function array_bytes(dtype, shape)
  local n = width(tostring(dtype))
  for _, extent in ipairs(shape) do n = n * extent end
  return n
end

--- Bytes of a tensor, or of the States below a value; nil for anything else.
local function size_of(x)
  if core.is_tensor(x) then return array_bytes(x.dtype, x.shape) end
  if not (class.isa(x, state.State) or class.isa(x, graph.Node)) then return nil end
  local total = 0
  for _, s in graph.states(x):items() do
    for _, leaf in ipairs(state.abstract(s)) do total = total + array_bytes(leaf.dtype, leaf.shape) end
  end
  return total
end

command("mem", "", "memory in use, and by which names", function(repl)
  local memory = core.memory()
  repl:say(("tensors and programs %s (at most %s so far), Lua %s%s"):format(bytes(memory.used), bytes(memory.peak),
    bytes(collectgarbage "count" * 1024), memory.limit > 0 and ", limit " .. bytes(memory.limit) or ""))
  if memory.gpu then repl:say(("on the GPU %s (at most %s so far)"):format(bytes(memory.gpu.used), bytes(memory.gpu.peak))) end
  for _, name in ipairs(util.sorted_keys(repl.session.names)) do
    local n = size_of(rawget(repl.session.names, name))
    if n and n > 0 then repl:say(("  %-20s %s"):format(name, bytes(n))) end
  end
end)

command("names", "", "the names of this session", function(repl)
  for _, name in ipairs(util.sorted_keys(repl.session.names)) do
    local x = rawget(repl.session.names, name)
    local cls = class.is_class(x) and "class " .. class.qualified_name(x)
    repl:say(("  %-20s %s"):format(name, cls or core.is_tensor(x) and require "bdl.pretty".abstract(x.dtype, x.shape, core.unit_of(x))
      or class.typename(x)))
  end
end)

local function leave(repl) repl.read_on = false end

command("quit", "", "end the session; at a breakpoint, go on", leave)
command("continue", "", "the same", leave)
command("stop", "", "at a breakpoint, end the run with an error", function(repl)
  if not repl.at_breakpoint then return repl:say "no breakpoint is reached; :quit ends the session" end
  repl.stopped, repl.read_on = true, false
end)

return commands

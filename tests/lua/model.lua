-- Models: strict globals, modules beside the model, errors in the user's terms.  Each model runs in a process of its own.
local t = require "tests.lua.harness"

local BDL = os.getenv "BDL" or "build/bdl"
local DIR = os.tmpname()
os.remove(DIR)
assert(os.execute("mkdir -p " .. DIR .. "/lib"))
local cleanup <close> = setmetatable({}, {__close = function() os.execute("rm -rf " .. DIR) end})

local function file(name, text)
  local f = assert(io.open(DIR .. "/" .. name, "wb"))
  f:write(text)
  f:close()
end

--- Output of a model of this text, the folder taken out of paths.
local function run(text, environment)
  file("m.lua", text)
  local out, status = t.shell(("%s %s run %s/m.lua"):format(environment or "", BDL, DIR))
  return out:gsub(DIR .. "/", ""), status
end

local function prints(text, want)
  local out, status = run(text)
  t.eq({out, status}, {want .. "\n", 0})
end

local function fails(text, ...)
  local out, status = run(text)
  t.eq(status, 1, "exit status")
  for _, want in ipairs{...} do
    if not out:find(want, 1, true) then t.ok(false, ("%q lacks %q"):format(out, want)) end
  end
  return out
end

t.test("setting an undeclared global is an error with line and name", function()
  fails("local a = 1\nx = 3", "m.lua:2: NameError: assignment to undeclared global 'x'", "write local x = ..")
  fails("local rate = 1\nraet = 3", "(did you mean 'rate'?)")
  fails("local function f() y = 1 end\nf()", "m.lua:1: NameError: assignment to undeclared global 'y'")
end)

t.test("reading an undeclared global is an error with a suggestion", function()
  fails("local tau = 1\nlocal function f() return tua end\nf()", "m.lua:2: NameError: undeclared global 'tua' (did you mean 'tau'?)",
    "m.lua:3: in main chunk")
  fails("pritn(1)", "did you mean 'print'?")
  fails("local x = zeros(3)", "did you mean 'bdl.zeros'?")
end)

t.test("globals that are meant, and bdl, are there", function()
  prints("rawset(_G, 'g', 2)\ng = g + 1\nprint(g, rawget(_G, 'h'))", "3\tnil")
  prints("print(bdl == require 'bdl')", "true")
  prints("bdl = require 'bdl'\nprint(bdl.typename(1))", "number")
end)

t.test("a module of bdl can be required alone", function()
  prints("local u = require 'bdl.units'\nprint((5*u.ms):sum(), require 'bdl.unit' == u)", "5 ms\ttrue")
  for _, name in ipairs{"unit", "graph", "compile", "augment", "nn", "functional", "init", "surrogate", "random", "environ", "tree",
                        "util", "debug", "event", "conn", "plot", "optim"} do
    prints(("print(type(require 'bdl.%s'))"):format(name), "table")
  end
end)

t.test("require finds modules beside the model, as text", function()
  file("lib/part.lua", "return {name = ..., value = 5}")
  file("near.lua", "return require 'lib.part'.value + 1")
  prints("print(require 'near', require 'lib.part'.name)", "6\tlib.part")
  file("bad.lua", "\nreturn nil + 1")
  fails("require 'bad'", "bad.lua:2: attempt to perform arithmetic", "m.lua:1: in main chunk")
  file("code.lua", string.dump(function() return 1 end))
  fails("require 'code'", "code.lua is compiled Lua, not text")
  fails("assert(load(string.dump(function() end)))", "attempt to load a binary chunk")
  fails("require 'nothing'", "module 'nothing' not found", "no file 'nothing.lua'")
end)

t.test("modules are strict and walked too", function()
  file("walked.lua", "local s = bdl.State(bdl.zeros(1))\nif s.value then end\nreturn 1")
  local out = run "require 'walked'"
  t.ok(out:find("walked.lua:2:4: warning", 1, true), out)
  file("leaks.lua", "count = 1")
  fails("require 'leaks'", "leaks.lua:1: NameError: assignment to undeclared global 'count'")
end)

t.test("tracebacks show the user's lines only", function()
  local text = "local u = bdl.units\nlocal function f()\n  return 1 * u.mV + 1 * u.ms\nend\nlocal x = f()"
  local out = fails(text, "m.lua:3: UnitMismatchError", "m.lua:5: in main chunk")
  t.ok(not out:find("[bdl]", 1, true) and not out:find("[C]", 1, true), out)
  out = run(text, "BDL_TRACEBACK=full")
  t.ok(out:find("[bdl]", 1, true), out)
end)

t.test("an error inside a traced function keeps its lines", function()
  local out = fails([[
local function inner(x)
  local none = nil
  return none.field
end
local step = bdl.jit(function(x)
  local y = inner(x)
  return y
end)
local function loop()
  local ys = bdl.for_loop(function() return (step(bdl.ones(2))) end, {length = 3})
  return ys
end
local y = loop() + 1]], "m.lua:3: attempt to index a nil value (local 'none')", "m.lua:6: in", "m.lua:10: in",
    "m.lua:13: in main chunk")
  t.ok(not out:find("[bdl]", 1, true), out)
end)

t.test("a tensor given to string.format comes with a hint", function()
  fails("print(('%.2f'):format(bdl.ones(1)))", "m.lua:1: bad argument #1 to 'format' (number expected, got bdl.Tensor)\n    write x:item()")
end)

t.test("a field that init_state would have set comes with a hint", function()
  fails("local n = bdl.nn.LIF(2)\nprint(n.V.value)", "m.lua:2: attempt to index a nil value (field 'V')\n    LIF has no States yet: call nn.init")
  t.ok(not fails("local n = bdl.nn.init_all_states(bdl.nn.LIF(2))\nprint(n.W.value)", "m.lua:2: attempt to index"):find "init_state")
  t.ok(not fails("local n = bdl.nn.LIF(2)\nlocal v, o = n.V, {}\nprint(o.W.value)", "m.lua:3: attempt to index"):find "init_state")
end)

t.test("error values of all kinds are shown", function()
  fails("error 'text'", "m.lua:1: text")
  fails("error('no position', 0)", "no position")
  fails("error({})", "error object is a table value")
  fails("error(setmetatable({}, {__tostring = function() return 'an object' end}))", "an object")
  fails("error()", "nil")
  fails("local function f() return f() + 1 end\nrawset(_G, 'f', f)\nfunction g() end", "NameError")
  fails("local function f(n) return 1 + f(n) end\nf(1)", "stack overflow")
end)

t.test("errors are objects for pcall", function()
  prints([[
local ok, e = pcall(function() return 1 * bdl.units.mV + 1 * bdl.units.ms end)
print(ok, e.kind, e.line, e.file:match "[^/]*$")]], "false\tUnitMismatchError\t1\tm.lua")
end)

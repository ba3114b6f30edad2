-- The prompt, as its user sees it: from a pipe, and on a terminal (of `script`, where there is one).
local t = require "tests.lua.harness"
local complete = require "bdl.repl.complete"
local caret = require "bdl.repl.caret"

local BDL = os.getenv "BDL" or "build/bdl"
local absolute = BDL:find "^/" and BDL or io.popen("pwd"):read "l" .. "/" .. BDL
local DIR = os.tmpname()
os.remove(DIR)
assert(os.execute("mkdir -p " .. DIR))
local cleanup <close> = setmetatable({}, {__close = function() os.execute("rm -rf " .. DIR) end})

local function file(name, text)
  local f = assert(io.open(DIR .. "/" .. name, "wb"))
  f:write(text)
  f:close()
  return name
end

--- Output and status of a session that reads these lines.
local function session(text, arguments)
  file("input", text)
  return t.shell(("cd %s && %s repl %s < input 2>&1"):format(DIR, absolute, arguments or ""))
end

local function gives(text, want)
  local got, code = session(text)
  t.eq(got, want)
  return code
end

local function has(text, ...)
  local got, code = session(text)
  for _, piece in ipairs{...} do
    if not got:find(piece, 1, true) then t.ok(false, ("%q gives %q, want %q in it"):format(text, got, piece)) end
  end
  return code
end

t.test("expressions are printed, statements are not", function()
  t.eq(gives("1 + 1\nx = 3\nx, 'a', nil\nx;\nprint(x)\n", "2\n3\na\nnil\n3\n"), 0)
  gives("bdl.ones(2)\nbdl.tensor{1., 2.}*u.mV\nbdl.ones(2):sum()\n", "[1. 1.]  float32[2]\n[1. 2.] mV  float32[2]\n2.0\n")
  gives("{1, {2}, a = 3}\nu.mV\nnn.LIF\n", "{[1]=1, [2]={2}, a=3}\nmV\nnn.LIF\n")
end)

t.test("_ is the last value, names and locals stay", function()
  gives("20\n_ + 1\n_\n30;\n_\n", "20\n21\n21\n30\n")
  gives("local a, b = 1, 2\nlocal function f() return a + b end\nf()\na = 5\na\n", "3\n5\n")
end)

t.test("a piece of code goes on until it is whole", function()
  gives("function f(x)\n  return 2*x\nend\nf(4)\n{\n  1,\n  2,\n}\n", "8\n{1, 2}\n")
  t.eq(has("x = (\n", "in[1]:1: unexpected symbol near <eof>"), 1)
end)

t.test("errors show their line and its place, and the session goes on", function()
  t.eq(has("y = 1\nnope + y\n1\n", "in[2]:1: NameError: undeclared global 'nope'\n    nope + y\n    ^\n1\n"), 1)
  has("nn.LIF{3, taus = 1}\n", "in[1]:1: TypeError: nn.LIF: no argument 'taus' (did you mean 'tau'?)\n    nn.LIF{3, taus = 1}\n              ^\n")
  has("x = = 3\n", "in[1]:1: unexpected symbol near '='\n    x = = 3\n      ^\n")
  has("function f()\n  error 'boo'\nend\nf()\n", "in[1]:2: boo\n      error 'boo'\n", "called from\n    in[2]:1: in main chunk")
  has("1*u.mV + 1\n", "units do not match (mV, 1)\n    1*u.mV + 1\n           ^\n    give the plain number a unit")
end)

t.test("the caret points at what a message names", function()
  t.eq(caret("y = foo.bar + 1", "attempt to index a nil value (global 'foo')"), 5)
  t.eq(caret("local food, foo = 1", "undeclared global 'foo'"), 13)
  t.eq(caret("a @ b", "unexpected symbol near '@'"), 3)
  t.eq(caret("return x + y", "UnitMismatchError: cannot add 1 mV and 1"), 10)
  t.eq(caret("nothing here", "interrupted"), nil)
end)

t.test("commands", function()
  has(":help\n", ":reload", "Ctrl-C")
  t.eq(has(":tiem 3\n", ":tiem is no command (did you mean 'time'?)"), 1)
  has(":ir bdl.exp(bdl.ones(3))\n", "b:f32[3] = exp a")
  has(":ir 3\n", ":ir needs a call")
  has(":plan bdl.exp(bdl.ones(3))\n", "group [3]")
  has(":time bdl.ones(2)\n", "[1. 1.]  float32[2]\n", "s\n")
  has(":time 5: error 'no'\n", "command:1: no")
  has("x = bdl.ones(1000)\n:mem\n", "x                    3.9 KiB\n", "tensors and programs")
  has("x = bdl.ones(3)*u.mV\nl = nn.LIF(2)\n:names\n", "x                    float32[3] mV\n", "l                    LIF\n")
  gives("1\n:quit\n2\n", "1\n")
  gives("1\nexit\n2\n", "1\n")
end)

t.test("a file leaves its locals, and sees none of the session's", function()
  file("net.lua", "local a, b = 1, bdl.State(2.)\nlocal function f() return a end\n")
  gives(":load net.lua\nf() + a\nb.value\n", "names: a, b, f\n2\n2.0\n")
  gives("one = 1\n:load net.lua\none\n", "names: a, b, f\n1\n")
  file("uses.lua", "print(one)")
  t.eq(has("one = 1\n:load uses.lua\n", "uses.lua:1: NameError: undeclared global 'one'\n    print(one)\n          ^"), 1)
  file("returns.lua", "print(arg[1], ...)\nlocal a = 1\nreturn {n = a, [1] = 2}")
  gives(":load returns.lua x y\nn\n", "x\tx\ty\nnames: n\n1\n")
  has(":load missing.lua\n", "cannot read missing.lua")
  t.eq((session("a\n", "net.lua")), "names: a, b, f\n1\n")
end)

t.test("reload keeps States of the same path, shape and unit", function()
  local text = [[
local helper = require "helper"
local u = bdl.units
local net = bdl.graph.Node()
local table = {bdl.State(0.)}
table.itself = table
net.a = bdl.State(bdl.zeros(2)*u.mV)
net.b = bdl.State(bdl.zeros(2))
net.c = bdl.State(bdl.zeros(3))
local n = helper.n
]]
  file("helper.lua", "return {n = 1}")
  file("net.lua", text)
  file("edited.lua", text:gsub("zeros%(3%)", "zeros(4)"):gsub("net%.b", "net.d"))
  file("input", "")
  local got = t.shell(("cd %s && (echo ':load net.lua'; echo 'table[1].value = 5.; net.a.value = bdl.ones(2)*u.mV; net.b.value = bdl.ones(2)'; echo n; sleep 0.5; "
    .. "cp edited.lua net.lua; echo 'return {n = 2}' > helper.lua; echo :reload; echo net.a.value; echo net.d.value; echo 'n, table[1].value'; sleep 0.5; "
    .. "echo 'x = = 1' > net.lua; echo :reload; echo net.a.value; echo n) | %s repl"):format(DIR, absolute))
  t.eq(got, [[
names: helper, n, net, table, u
1
net.lua: 2 States kept
  changed  net.c: float32[4], it was float32[3]
  dropped  net.b: float32[2]
  new      net.d: float32[2]
[1. 1.] mV  float32[2]
[0. 0.]  float32[2]
2
5.0
net.lua:1: unexpected symbol near '='
    x = = 1
      ^
[1. 1.] mV  float32[2]
2
]])
  has(":reload\n", "nothing was loaded")
  has(":reload x.lua\n", ":load x.lua comes first")
end)

t.test("completion", function()
  local names = require "bdl.repl.session"().names
  for name, x in next, {model = {layer = 1, lamp = 2}, lif = bdl.nn.LIF(3), s = bdl.State(bdl.ones(2)), x = bdl.ones(3), list = {{deep = 1}}} do names[name] = x end
  local f = complete(names, {"load", "reload", "time"}, function() return 40 end)
  local function to(line, more, list)
    local got, shown = f(line)
    t.eq(got, more, line)
    t.eq(shown, list, line)
  end
  to("model.lay", "er")
  to("y = model.l", "a")
  to("model.la", "", "lamp   layer")
  to("mode", "l")
  to("print(mode", "l")
  to("nn.LIFR", "ef")
  to("bdl.nn.LIFR", "ef")
  to("list[1].d", "eep")
  to("lif.V_res", "", "V_reset  V_rest")
  to("lif:init_s", "tate")
  to("s.val", "ue")
  to("s:val", "")
  to("x:cums", "um")
  to("u.mins", "")
  to("u.minut", "e")
  to("whi", "le")
  to(":re", "load")
  to("model.none.x", "")
  to("nosuch.x", "")
  to("1 + ", "")
end)

t.test("a breakpoint in compiled code opens the prompt with the values at hand", function()
  file("stops.lua", [[
local s = bdl.State(bdl.zeros(2)*bdl.units.mV)
bdl.for_loop(function(i)
  s.value = s.value + 1*bdl.units.mV
  bdl.debug.breakpoint({i = i, V = s.value}, {when = i:ge(8)})
end, bdl.arange(10))
print("V", s.value)
bdl.debug.breakpoint{x = {1, 2}}
print "end"]])
  local function run(input)
    file("input", input)
    return t.shell(("cd %s && %s run stops.lua < input 2>&1"):format(DIR, absolute))
  end
  t.eq(run "i\nV*2\n:continue\ni\n:quit\nx[2] + 1\n",
       "8\n[18. 18.] mV  float32[2]\n9\nV\t[10. 10.] mV\n3\nend\n")
  t.eq(run "", "V\t[10. 10.] mV\nend\n")
  local text, code = run "nope\n:stop\n"
  t.ok(text:find("undeclared global 'nope'", 1, true) and text:find("stops.lua:4: InterruptError: stopped at a breakpoint", 1, true), text)
  t.eq(code, 130)
  has(":stop\n1\n", "no breakpoint is reached", "1\n")
  t.raises("TypeError", "the values are a table, not a Tensor", bdl.debug.breakpoint, bdl.ones(2))
  t.raises("TypeError", "no option 'wen'", bdl.debug.breakpoint, {}, {wen = true})
end)

-- ---- on a terminal ---------------------------------------------------------------------------------------------------------------

local _, has_script = t.shell "script -qec true /dev/null </dev/null"
local _, has_libedit = t.shell("ls /usr/lib/*/libedit.so.2 /usr/lib64/libedit.so.2 2>/dev/null | grep -q .")

--- What the terminal shows of a session in which these pieces are typed, one after the other.
local function typed(...)
  local parts = {}
  for i, piece in ipairs{...} do parts[i] = ("printf '%s'; sleep 0.6"):format(piece) end
  file("type.sh", "sleep 1\n" .. table.concat(parts, "\n") .. "\n")
  local command = ("BDL_HISTORY=%s/history TERM=xterm NO_COLOR= %s"):format(DIR, absolute)
  return t.shell(("cd %s && sh type.sh | script -qec '%s' /dev/null"):format(DIR, command))
end

if has_script == 0 and has_libedit == 0 then
  t.test("on a terminal lines are edited, completed and remembered", function()
    local shown = typed("x = nn.LIFR\\t(3)\\n", "x.in_si\\t[1]\\n", "\\020\\n", "\\004")
    t.ok(shown:find "bdl %d", "no greeting: " .. shown)
    t.ok(shown:find "\27%[1mbdl>\27%[0m ", "no bold prompt")
    t.ok(shown:find "\n3\r", "no size: " .. shown)
    local history = assert(io.open(DIR .. "/history")):read "a"
    t.ok(history:find("x.in_size[1]", 1, true), history)
  end)

  t.test("Ctrl-C gives up a line, and ends what runs but not the session", function()
    local shown = typed("1 + ", "\\003", "20 + 1\\n", "while true do end\\n", "\\003", "30 + 1\\n",
                        "bdl.for_loop(function() end, {length = 2000000000})\\n", "\\003", "40 + 1\\n", "\\004")
    for _, piece in ipairs{"\n21\r", "\n31\r", "\n41\r", "InterruptError: interrupted"} do
      t.ok(shown:find(piece, 1, true), ("no %q in %s"):format(piece, shown))
    end
  end)
else
  t.skip("the prompt on a terminal", "script or libedit is missing")
end

-- The program bdl, as a shell sees it: exit statuses, messages, options, Ctrl-C.
local t = require "tests.lua.harness"
local core = require "bdl.core"

local BDL = os.getenv "BDL" or "build/bdl"
local DIR = os.tmpname()
os.remove(DIR)
assert(os.execute("mkdir -p " .. DIR .. "/sub"))
local cleanup <close> = setmetatable({}, {__close = function() os.execute("rm -rf " .. DIR) end})

--- Writes a file into the folder of the tests.
local function file(name, text)
  local f = assert(io.open(DIR .. "/" .. name, "wb"))
  f:write(text)
  f:close()
  return name
end

--- Output and exit status of bdl with these arguments, run in the folder; `before` stands in front of the program.
local absolute = BDL:find "^/" and BDL or io.popen("pwd"):read "l" .. "/" .. BDL
local function bdl(arguments, before)
  return t.shell(("cd %s && %s %s %s"):format(DIR, before or "", absolute, arguments))
end

--- Status and a piece of the output.
local function gives(arguments, status, piece, before)
  local text, code = bdl(arguments, before)
  if code ~= status or not text:find(piece, 1, true) then
    t.ok(false, ("bdl %s: status %s, want %d; output %q, want %q in it"):format(arguments, code, status, text, piece))
  end
  return text
end

file("args.lua", "print(arg[0], #arg, table.concat(arg, '|'), ...)")
file("quiet.lua", "")
file("settings.lua", [[
local s = bdl.settings{scale = 1, rate = 0.5, fast = true, name = "x", tau = 20*bdl.units.ms, net = {g = 2}}
print(s.scale, s.rate, s.fast, s.name, s.tau, s.net.g)]])
file("warns.lua", "local s = bdl.State(bdl.zeros(3))\nif s.value then print 'ran' end\n")
file("forever.lua", "while true do end")
file("loop.lua", [[
local s = bdl.State(bdl.zeros(1))
local ok, e = pcall(bdl.for_loop, function() s.value = s.value + 1 end, {length = 2000000000})
local done = tonumber(tostring(e):match "after (%d+) of 2000000000 steps")
assert(done and done > 0, e)
assert(done > 2^24 or s.value[1]:item() == done, "the State is not of the last whole step")
error(e, 0)]])

t.test("a model that is done gives 0, one that fails 1 with its file and line", function()
  t.eq(select(2, bdl "run quiet.lua"), 0)
  file("fails.lua", "local x = 1\nlocal y = x + nil\n")
  gives("run fails.lua", 1, "fails.lua:2: attempt to perform arithmetic on a nil value")
  gives("run sub/../fails.lua", 1, "sub/../fails.lua:2: attempt")
end)

t.test("a model ends with the status that it asks for", function()
  file("exit.lua", "os.exit(7)")
  t.eq(select(2, bdl "run exit.lua"), 7)
end)

t.test("arguments behind the model are its own", function()
  t.eq((bdl "run args.lua a b"), "args.lua\t2\ta|b\ta\tb\n")
  t.eq((bdl "run args.lua --quiet a -- --seed x"), "args.lua\t3\ta|--seed|x\ta\t--seed\tx\n")
  t.eq((bdl "run args.lua --epochs 3"), "args.lua\t2\t--epochs|3\t--epochs\t3\n")
end)

t.test("wrong usage gives 2 and a suggestion", function()
  gives("rnu quiet.lua", 2, "unknown command 'rnu' (did you mean 'run'?)")
  gives("quiet.lua", 2, "did you mean 'bdl run quiet.lua'?")
  gives("run", 2, "bdl run: which model?")
  gives("run --sede 3 quiet.lua", 2, "unknown option '--sede' (did you mean '--seed'?)")
  gives("run quiet.lua --sede 3", 2, "arguments of the model go behind --")
  gives("run --seed", 2, "--seed needs a value")
  gives("run --seed x quiet.lua", 2, "expected a whole number from 0")
  gives("run --threads 0 quiet.lua", 2, "expected 1 to 1024")
  gives("run --precision 31 quiet.lua", 2, "expected 8, 16, 32, 64, bf16")
  gives("run --platform gpu quiet.lua", 2, "gpu")
  gives("run --quiet=1 quiet.lua", 2, "takes no value")
  gives("run --set scale quiet.lua", 2, "expected name=value")
  gives("help runn", 2, "did you mean 'run'?")
  gives("dump --after=cze quiet.lua", 2, "did you mean 'cse'?")
end)

t.test("what cannot be read is named", function()
  gives("run missing.lua", 1, "cannot read missing.lua: No such file or directory")
  gives("run sub", 1, "cannot read sub: Is a directory")
  file("syntax.lua", "local a = 1\nlocal b = = 2\n")
  gives("run syntax.lua", 1, "syntax.lua:2: unexpected symbol near '='")
  file("binary.lua", string.dump(function() end))
  gives("run binary.lua", 1, "binary.lua is compiled Lua, not text")
  file("hashbang.lua", "#!/usr/bin/env -S bdl run\nerror 'here'\n")
  gives("run hashbang.lua", 1, "hashbang.lua:2: here")
end)

t.test("long paths are not cut in messages", function()
  local long = ("x"):rep(90) .. ".lua"
  file(long, "local function f() return nil + 1 end\nf()")
  gives("run " .. long, 1, long .. ":1: attempt")
  file(long, "=")
  gives("run " .. long, 1, long .. ":1: unexpected symbol")
end)

t.test("settings take the kind of their default", function()
  t.eq((bdl "run settings.lua"), "1\t0.5\ttrue\tx\t20 ms\t2\n")
  t.eq((bdl "run --set scale=10 --set rate=2 --set fast=false --set name=true --set tau=30ms --set net.g=3 settings.lua"),
    "10\t2.0\tfalse\ttrue\t30 ms\t3\n")
  t.eq((bdl "run settings.lua --set tau='0.5 s' --set scale=2.5"), "2.5\t0.5\ttrue\tx\t0.5 s\t2\n")
end)

t.test("wrong settings are usage errors", function()
  gives("run settings.lua --set scael=2", 2, "the model has no setting 'scael' (did you mean 'scale'?)")
  gives("run settings.lua --set tau=30", 2, "a quantity was expected, as in tau='30 ms'")
  gives("run settings.lua --set tau=30mV", 2, "dimensions differ")
  gives("run settings.lua --set tau=30xyz", 2, "no unit 'xyz'")
  gives("run settings.lua --set scale=2ms", 2, "a number without a unit was expected")
  gives("run settings.lua --set scale=abc", 2, "a number was expected; the default is 1")
  gives("run settings.lua --set fast=2", 2, "true or false was expected")
  gives("run settings.lua --set net=2", 2, "--set net.g=..")
  gives("run settings.lua --set scale=2 --set scale=3", 2, "given twice")
  gives("run quiet.lua --set scale=2", 2, "--set scale: the model never asked for it")
end)

t.test("the options act on the model", function()
  file("env.lua", "print(bdl.environ.dftype(), bdl.zeros(1).dtype)")
  t.eq((bdl "run --precision 64 env.lua"), "float64\tfloat64\n")
  t.eq((bdl "run env.lua"), "float32\tfloat32\n")
  file("draw.lua", "print(bdl.random.rand(3))")
  local one, two, other = bdl "run --seed 1 draw.lua", bdl "run --seed=1 draw.lua", bdl "run --seed 2 draw.lua"
  t.eq(one, two)
  t.ok(one ~= other, "the seed does not change what is drawn")
end)

t.test("warnings of the walk come before the run, not with --quiet", function()
  local text = gives("run warns.lua", 0, "warns.lua:2:4: warning: s.value is a tensor")
  t.ok(text:find "warning.*ran", text)
  t.eq((bdl "run --quiet warns.lua"), "ran\n")
end)

t.test("warn() is heard, but with --quiet", function()
  file("open.lua", "do bdl.environ.context{dt = 1} end\ncollectgarbage() collectgarbage()\nprint 'ran'")
  gives("run open.lua", 0, "bdl: open.lua:1: bdl.environ.context{...} was never closed")
  t.eq((bdl "run --quiet open.lua"), "ran\n")
end)

t.test("check finds what a run would stop at, and runs nothing", function()
  gives("check warns.lua", 1, "warns.lua:2:4: warning")
  file("mismatch.lua", [[
local u = bdl.units
local V = bdl.State(bdl.zeros(3) * u.mV)
print "output"
bdl.for_loop(function() V.value = V.value + 1 * u.ms end, {length = 1000000000})]])
  local text = gives("check mismatch.lua", 1, "mismatch.lua:4: UnitMismatchError")
  t.ok(not text:find "output", text)
  file("shapes.lua", "local f = bdl.jit(function(x, y) return x + y end)\nf(bdl.zeros(3), bdl.zeros(4))")
  gives("check shapes.lua", 1, "shapes.lua:1: ShapeError")
  file("fine.lua", [[
local s = bdl.State(bdl.zeros(3))
local out = bdl.for_loop(function() s.value = s.value + 1; return s.value:sum() end, {length = 1000000})
assert(out[1]:item() < 0, "values are not computed, so this is not for check to say")
os.exit(out.shape[1] == 1000000 and 0 or 9)]])
  gives("check fine.lua", 0, "fine.lua: nothing found, 1 program traced")
end)

t.test("dump prints programs that parse, stage by stage, and the plan", function()
  file("dumped.lua", [[
local s = bdl.State(bdl.zeros(3))
bdl.for_loop(function() s.value = s.value * 2 + 1 end, {length = 10})]])
  local text = gives("dump dumped.lua", 0, "# program 1, dumped.lua:2: after dce")
  t.ok(text:find("scan", 1, true) and text:find("# program 1, dumped.lua:2: plan", 1, true), text)
  t.ok(not bdl "dump --plan dumped.lua":find "after dce", "--plan prints more than the plan")
  local traced = bdl "dump --after=trace dumped.lua"
  t.ok(traced:find("as traced", 1, true) and not traced:find("after", 1, true), traced)
  local all = bdl "dump --after=all dumped.lua"
  for pass in ("inline simplify fold cse hoist counter accumulate products dce"):gmatch "%a+" do
    t.ok(all:find(": after " .. pass, 1, true), pass .. " is missing")
  end
end)

--- A test in which Ctrl-C comes while no function of the C library is called.
local function interrupts(name, f)
  if (os.getenv "SAN" or ""):find "thread" then
    t.skip(name, "the thread sanitizer holds signals back until the next call of the C library")
  else
    t.test(name, f)
  end
end

interrupts("Ctrl-C ends a script of plain Lua", function()
  gives("run forever.lua", 130, "forever.lua:1: InterruptError: interrupted", "timeout --preserve-status -k 20 -s INT 1")
end)

interrupts("Ctrl-C ends the making of connections", function()
  for _, call in ipairs{"fixed_prob(200000, 2000000, 0.05)", "fixed_prob(1, 2^31 - 1 | 0, 1.0)", "scale_free(200000, 1000)",
                        "fixed_num_post(10000, 1000000, 20000, {replace = false})", "fixed_num_post(1, 500000000, 500000000)"} do
    file("connect.lua", ("local ok, e = pcall(function() return bdl.conn.%s end)\nerror(e, 0)"):format(call))
    local start = core.clock()
    gives("run connect.lua", 130, "connect.lua:1: InterruptError: interrupted while connections", "timeout --preserve-status -k 20 -s INT 0.3")
    t.ok(core.clock() - start < 5, call .. (" took %.1f s"):format(core.clock() - start))
  end
end)

t.test("Ctrl-C ends a compiled loop after a whole step", function()
  gives("run loop.lua", 130, "of 2000000000 steps; States are those after the last of them",
    "timeout --preserve-status -k 20 -s INT 1")
end)

t.test("Ctrl-C in a function of loops and more leaves all States alone", function()
  file("more.lua", [[
local s, n = bdl.State(bdl.zeros(1)), bdl.State(bdl.zeros(1))
local f = bdl.jit(function()
  bdl.for_loop(function() s.value = s.value + 1 end, {length = 2000000000})
  n.value = (n.value + s.value):sin()
end)
local ok, e = pcall(f)
assert(s.value:item() == 0 and n.value:item() == 0, "a State has changed")
error(e, 0)]])
  gives("run more.lua", 130, "more.lua:3: InterruptError: interrupted after", "timeout --preserve-status -k 20 -s INT 1")
end)

t.test("progress shows on a terminal only", function()
  local text = bdl("run loop.lua", "timeout --preserve-status -k 20 -s INT 1.5")
  t.ok(not text:find "\r" and not text:find "steps/s", text)
  if t.shell "command -v script" == "" then return end
  local command = ("timeout --foreground -k 20 -s INT 2 %s run loop.lua"):format(absolute)
  text = t.shell(("cd %s && script -qec '%s' /dev/null </dev/null"):format(DIR, command))
  t.ok(text:find "\r%s*%d+%% %[.*/2000000000 steps, [%d.]+[kMG]?/s" and text:find "\r\27%[K", ("%q"):format(text))

  -- simulated time is told of loops whose step is one of dt, not of those around others
  file("inner.lua", [[
bdl.environ.set{dt = 1*bdl.units.ms}
local s = bdl.State(0.)
local function step() s.value = s.value + 1 end
if arg[1] then bdl.for_loop(step, {length = 2000000000, pbar = "outer"}) end
bdl.for_loop(function() bdl.for_loop(step, {length = 1000}) end, {length = 2000000000, pbar = "outer"})]])
  for arguments, has in pairs{x = true, [""] = false} do
    text = t.shell(("cd %s && script -qec '%s' /dev/null </dev/null"):format(DIR, (command:gsub("loop.lua", "inner.lua " .. arguments))))
    t.ok(text:find "\router +%d+%% " and (text:find "x real time" ~= nil) == has, ("%q"):format(text))
  end
end)

t.test("a line of progress fits and says what it knows", function()
  local line = require "bdl.progress".line
  t.eq(line(100, nil, 0, 2500, 10000, 5, nil), " 25% [#######-----------------------] 2500/10000 steps, 500/s, 0:15 left")
  local long = line(120, "train", 0, 90, 100, 3600, 1e-4)
  t.ok(long:find("train  90% [", 1, true) and long:find("2.5e-06x real time, 6:40 left", 1, true), long)
  t.eq(#line(40, nil, 0, 2500, 10000, 5, 0.1), 39)
end)

local PROFILED = [[
local x = bdl.arange(4000) * 0.5
local f = bdl.jit(function(x)
  local y = bdl.exp(x) + 1
  return y / y:sum()
end)
for _ = 1, 5 do f(x) end]]

t.test("--profile prints times, rates and lines of passes", function()
  file("profiled.lua", PROFILED)
  local text = gives("run --profile profiled.lua", 0, "ns/call")
  local gb, gflop = text:match "([%d.]+) GB/s from memory, ([%d.]+) GFLOP/s"
  t.ok(tonumber(gb) > 0 and tonumber(gflop) > 0, text)
  t.ok(text:find "5 +%d+ +[%d.]+ +%d+%% +[%d.]+ +%d+%%  fused 3: exp add reduce_sum over %[4000%]  profiled.lua:3%-4\n", text)
  t.ok(text:find "div over %[4000%]  profiled.lua:4\n", text)
  t.ok(not gives("run profiled.lua", 0, ""):find "GFLOP", "asked for only")
end)

t.test("--trace-file writes calls on a time line", function()
  local function events_of(name)
    local f <close> = assert(io.open(DIR .. "/" .. name))
    return require "bdl.json".decode(f:read "a").traceEvents
  end
  file("profiled.lua", PROFILED)
  file('a "quoted" name.lua', PROFILED)
  gives("run --trace-file time.json profiled.lua", 0, "")
  local events = events_of "time.json"
  local calls, last = 0, 0
  for _, e in ipairs(events) do
    if e.name and e.name:find "^fused 3" then
      calls = calls + 1
      t.ok(e.ph == "X" and e.ts >= last and e.dur > 0, "in order")
      t.eq(e.args.where, "profiled.lua:3-4")
      t.eq(e.args.bytes, 3 * 4 * 4000 - 4 * 4000) -- x is read, y written
      last = e.ts
    end
  end
  t.eq(calls, 5)
  gives([[run --trace-file time.json 'a "quoted" name.lua']], 0, "")
  events = events_of "time.json"
  t.eq(events[#events].args.where:match "^[^:]*", 'a "quoted" name.lua')
  gives("run --trace-file no/such/folder/x.json profiled.lua", 2, "--trace-file no/such/folder/x.json: ")
end)

t.test("explain says what runs together, and what ends a pass", function()
  file("explained.lua", [[
local V, w = bdl.HiddenState(bdl.zeros(6)), bdl.ones(6, 6)
bdl.for_loop(function(i)
  local v = 0.9*V.value + 1
  local most = v:max()
  V.value = v - most
  return bdl.tanh(v:matmul(w)), (v:reshape(2, 3) * 2):sum{axis = 1}
end, bdl.arange(20))]])
  local text = gives("explain explained.lua", 0, "loop of 20 steps at explained.lua:2")
  local function has(s) t.ok(text:find(s, 1, true), s .. "\n" .. text) end
  has "1.1  one pass over [6], 3 equations: mul add reduce_max; explained.lua:3-4"
  has "24 B read, 24 B written, 18 flop"
  has "not with 1.1: it reads `reduce_max` at explained.lua:4, which is complete only when every element was seen"
  has "alone: each result needs many elements of both operands"
  has "168 B read, 24 B written, 72 flop"
  has "which runs alone: each result needs"
  has "made over [6], not [2,3]"
  has "alone: a reduction over some axes"
  has "a step: "
  has "a call: "
  gives("explain", 2, "which model")
  file("plain.lua", "local x = 1")
  gives("explain plain.lua", 1, "nothing is compiled")
  file("broken.lua", "local x = bdl.jit(function(x) return x + nothing end)(1)")
  gives("explain broken.lua", 1, "nothing")
end)

t.test("prims, env, version and help answer", function()
  local text = gives("prims", 0, "scan")
  t.ok(text:find "add +2 %-> 1", text)
  gives("env", 0, "BDL_TRACEBACK")
  gives("env x", 2, "no argument is taken, but 'x'")
  gives("prims add", 2, "no argument is taken, but 'add'")
  t.ok(bdl "--version":find "^bdl %d+%.%d+%.%d+\n$")
  gives("help", 0, "bdl check")
  gives("help run", 0, "--threads N")
  gives("help", 0, "WangBuzsakiHH")
  gives("help nn", 0, "Leaky integrate-and-fire")
  gives("help lif", 0, "tau dV/dt = V_rest - V + R I")
  gives("help bdl.nn.LIF", 0, "threshold")
  gives("help nn.LIF.update", 0, "1 where spiking")
  gives("help mV", 0, "m^2 kg s^-3 A^-1")
  gives("help nn.Deelay", 2, "nothing is called 'nn.Deelay' (did you mean 'Delay'?)")
  gives("help LIF ALIF", 2, "one name at a time")
  gives("check --help", 0, "Exit status 1 if anything was found")
end)

t.test("a folder of modules that is none is named", function()
  gives("env", 1, "bdl: cannot read nodir/cli.lua", "BDL_LUA=nodir")
end)

t.test("a full disk is reported", function()
  local text, status = t.shell(("(%s prims > /dev/full)"):format(absolute))
  t.eq(status, 1)
  t.ok(text:find "standard output: No space left", text)
end)

t.test("the model of README.md prints what README.md says", function()
  local readme = assert(io.open "README.md"):read "a"
  local model, output = readme:match "```lua\n(.-)```.-```\n(.-)```"
  file("lif.lua", model)
  t.eq((bdl "run lif.lua"), output)
  local mismatch = readme:match("```\n(lif%.lua:6: .-)\n```")
  file("lif.lua", (model:gsub("(\n[^\n]*\n[^\n]*) %* u%.mV ", "%1 ", 1)))
  gives("run lif.lua", 1, mismatch)
  file("learns.lua", (readme:match "## A model that learns.-```lua\n(.-)```"))
  t.eq((bdl "run learns.lua"), readme:match "It prints `([^`]*)`" .. "\n")
end)

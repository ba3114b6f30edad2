-- Models of strangers: what they cannot reach, what they cannot spend, and that everything else runs.
local t = require "tests.lua.harness"

local BDL = os.getenv "BDL" or "build/bdl"
local absolute = BDL:find "^/" and BDL or io.popen("pwd"):read "l" .. "/" .. BDL
local DIR = os.tmpname()
os.remove(DIR)
assert(os.execute("mkdir -p " .. DIR .. "/parts"))
local cleanup <close> = setmetatable({}, {__close = function() os.execute("rm -rf " .. DIR) end})

local function file(name, text)
  local f <close> = assert(io.open(DIR .. "/" .. name, "wb"))
  f:write(text)
end

local function run(text, options)
  file("model.lua", text)
  return t.shell(("cd %s && timeout 60 %s run --quiet --sandbox %s model.lua a b"):format(DIR, absolute, options or ""))
end

local function gives(text, want, options)
  local got, status = run(text, options)
  t.eq(got, want, text)
  t.eq(status, 0, text)
end

--- The model fails with a text that has `piece`.
local function fails(text, piece, options)
  local got, status = run(text, options)
  t.eq(status, 1, text .. ": " .. got)
  t.ok(got:find(piece, 1, true), ("%s: %q, want %q"):format(text, got, piece))
end

t.test("what only computes is there", function()
  file("helper.lua", "return {n = 3, name = ...}")
  file("parts/more.lua", "local helper = require 'helper'\nreturn helper.n + 1")
  gives([[
local bdl = require "bdl"
local nn, u = require "bdl.nn", bdl.units
print(arg[1], #arg, ..., math.floor(2.5), ("x"):rep(3), table.concat{1, 2}, utf8.char(65), select("#", 1, 2))
print(require("helper").n, require("helper").name, require "parts.more", load("return 1 + 1")(), type(os.time()))
bdl.environ.set{dt = 0.1*u.ms}
local net = nn.init_all_states(nn.LIF(3))
print(bdl.for_loop(function() return net(3*u.mA) end, {length = 10}).shape[1])
print(bdl.grad(function(x) return x^2 end)(3.), bdl.data.digits().y_test.shape[1])
print(coroutine.wrap(function() coroutine.yield(7) end)(), pcall(error, "x"))
print(getmetatable(setmetatable({}, {a = 1})).a)]],
    "a\t2\ta\t2\txxx\t12\tA\t2\n3\thelper\t4\t2\tnumber\n10\n6.0\t360\n7\tfalse\tx\n1\n")
end)

t.test("files, programs, libraries, internals and binary chunks are not", function()
  for _, case in ipairs{
    {"io.open '/etc/passwd'", "'io' is not there in a sandbox"}, {"debug.getinfo(1)", "'debug' is not there in a sandbox"},
    {"print(package.path)", "'package' is not there in a sandbox"}, {"dofile 'x'", "'dofile' is not there in a sandbox"},
    {"loadfile 'x'", "'loadfile' is not there in a sandbox"}, {"os.execute 'ls'", "field 'execute'"}, {"os.remove 'x'", "field 'remove'"},
    {"os.exit(0)", "field 'exit'"}, {"print(os.getenv 'HOME')", "field 'getenv'"}, {"require 'bdl.core'", "there is no bdl/core.lua"},
    {"require '../secret'", "a sandboxed model has modules of bdl"}, {"require 'a..b'", "a sandboxed model has modules of bdl"},
    {"require '/etc/x'", "a sandboxed model has modules of bdl"}, {"load('return io')()", "'io' is not there in a sandbox"},
    {"assert(load(('').dump(function() end)))", "attempt to load a binary chunk"}, {"getmetatable('').__index = nil", "attempt to index a nil value"},
    {"getmetatable(bdl.ones(2)).__gc()", "attempt to index a nil value"}, {"setmetatable(_G, {})", "protected metatable"},
    {"bdl.ffi.load 'libm.so.6'", "opens no files"}, {"bdl.save('x.npz', bdl.State(1.))", "opens no files"}, {"bdl.load 'x.npz'", "opens no files"},
    {"bdl.save('x.safetensors', bdl.State(1.))", "opens no files"}, {"bdl.data.csv 'x'", "opens no files"}, {"bdl.data.load 'x.npy'", "opens no files"},
    {"bdl.data.save('x.npz', {x = 1})", "opens no files"}, {"bdl.run(function() end, 3, {to = 'x.npz'})", "opens no files"},
    {"bdl.plot.lines{1, 2}:save 'x.svg'", "opens no files"}, {"bdl.nir.read 'x.nir'", "opens no files"}, {"print(bdl.core)", "bdl has no 'core'"}, {"foo = 3", "assignment to undeclared global 'foo'"},
    {"setmetatable({}, {__gc = print})", "no finalizers"}, {"local C = bdl.class 'C' function C:__gc() end", "no finalizers"},
    {"collectgarbage 'stop'", "can collect and count"},
  } do fails(case[1], case[2]) end
  t.eq((t.shell("ls " .. DIR)), "helper.lua\nmodel.lua\nparts\n")
end)

t.test("budgets end whatever runs, and nothing catches that", function()
  local time, steps = "--time-limit 0.3", "--step-limit 2000"
  for _, text in ipairs{
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "coroutine.wrap(function() while true do end end)()",
    "bdl.while_loop(function(x) return x:ge(0) end, function(x) return x end, bdl.tensor(0))",
    "local s = bdl.State(0.) bdl.for_loop(function() s.value = s.value + bdl.while_loop(function(x) return x:ge(0) end, "
      .. "function(x) return x end, bdl.tensor(0.)) end, {length = 10})",
    "local s = bdl.State(0.) bdl.for_loop(function() s.value = s.value + 1 end, {length = 2000000000})",
    "bdl.jit(function(x) for i = 1, 1e9 do x = x + 1 end return x end)(bdl.ones(2))",
    "while true do bdl.exp(bdl.ones(3)) end",
  } do
    fails(text, "model.lua:1: BudgetError: the budget of 0.3 s is spent", time)
    fails(text, "model.lua:1: BudgetError: the budget of 2000 steps is spent", steps)
  end
  gives("for i = 1, 1000 do end print(bdl.for_loop(function(i) return i end, bdl.arange(100))[-1])", "99\n", steps)
end)

t.test("memory counts tensors and Lua alike", function()
  fails("bdl.zeros(10000, 10000)", "MemoryError: out of memory", "--memory-limit 50M")
  fails("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end", "not enough memory", "--memory-limit 50M")
  fails("local t = {} for i = 1, 1e6 do t[i] = bdl.zeros(1000) end", "emory", "--memory-limit 50M")
  fails("print(#('x'):rep(1 << 30))", "not enough memory")
  gives("print(bdl.zeros(1000, 1000):sum())", "0.0\n", "--memory-limit 50M")
end)

t.test("limits without a sandbox, and odd ones, are usage errors", function()
  local function usage(options, piece)
    local got, status = t.shell(("%s run %s x.lua"):format(absolute, options))
    t.eq(status, 2, options)
    t.ok(got:find(piece, 1, true), got)
  end
  usage("--step-limit 3", "--step-limit holds in a sandbox")
  usage("--sandbox --time-limit 0", "expected seconds, more than 0")
  usage("--sandbox --memory-limit 3x", "expected bytes: 1000000, 512M, 2G")
  usage("--sandbox --step-limit 0", "expected a whole number from 1")
end)

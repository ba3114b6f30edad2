-- Results tell what made them, and are made again with the same bits; recordings find the first equation that differs.
local t = require "tests.lua.harness"

local BDL = os.getenv "BDL" or "build/bdl"
local absolute = BDL:find "^/" and BDL or io.popen("pwd"):read "l" .. "/" .. BDL
local DIR = os.tmpname()
os.remove(DIR)
assert(os.execute("mkdir -p " .. DIR))
local cleanup <close> = setmetatable({}, {__close = function() os.execute("rm -rf " .. DIR) end})

local function file(name, text)
  local f <close> = assert(io.open(DIR .. "/" .. name, "wb"))
  f:write(text)
end

local function read(name)
  local f <close> = assert(io.open(DIR .. "/" .. name, "rb"))
  return f:read "a"
end

local function bdl_(arguments) return t.shell(("cd %s && %s %s"):format(DIR, absolute, arguments)) end

local function gives(arguments, status, ...)
  local text, code = bdl_(arguments)
  for _, piece in ipairs{...} do
    if not text:find(piece, 1, true) then t.ok(false, ("bdl %s: %q, want %q in it"):format(arguments, text, piece)) end
  end
  t.eq(code, status, "status of bdl " .. arguments)
  return text
end

local MODEL = [[
local u = bdl.units
local s = bdl.settings{n = 10, gain = 1.0}
bdl.environ.set{dt = 0.1*u.ms}
local helper = require "helper"
local clocked = bdl.random.RandomState()
local net = bdl.nn.init_all_states(bdl.nn.LIF(s.n))
local V = bdl.monitor.StateMonitor(net, "V")
local sim = bdl.Simulation(function() net((s.gain*helper.g + bdl.random.randn(s.n) + clocked:rand(s.n))*u.mA) end, {monitors = {V}})
sim:run(10*u.ms, {to = "trace.npz"})
bdl.save("run.npz", sim)
bdl.save("run.safetensors", {net = net, clocked = clocked})
if require "bdl.core".hdf5_built() then bdl.save("run.h5", net) end
print(net.V.value:sum(), arg[1])
]]
file("model.lua", MODEL)
file("helper.lua", "return {g = 3}")

t.test("a result is made again from its own file", function()
  local printed = gives("run --set gain=2 --seed 5 --precision 64 model.lua hello", 0, "hello")
  file("model.lua", "error 'another model'")
  file("helper.lua", "return {g = 4}")
  local text = gives("rerun run.npz", 0, "run.npz: the same bits in", "helper.lua has changed since", "model.lua has changed since")
  t.ok(text:find(printed, 1, true), text)
  file("model.lua", MODEL)
  file("helper.lua", "return {g = 3}")
  t.eq(gives("rerun --threads 1 trace.npz", 0), printed .. "trace.npz: the same bits in 3 arrays\n")
  t.eq(gives("rerun run.safetensors", 0), printed .. "run.safetensors: the same bits in 2 arrays\n")
  if require "bdl.core".hdf5_built() then t.eq(gives("rerun run.h5", 0), printed .. "run.h5: the same bits in 1 arrays\n") end
end)

t.test("a result that is not what its file says is found out", function()
  gives("run --seed 5 model.lua", 0)
  local bdl = require "bdl"
  local arrays = bdl.data.load(DIR .. "/run.npz")
  t.ok(#arrays > 1)
  file("damaged.lua", [[
local file = require "bdl.core".file_open "run.npz"
local core = require "bdl.core"
local out = core.file_create("changed.npz", false)
for i, name in ipairs(core.file_names(file)) do
  local x = core.file_read(file, i)
  core.file_put(out, name, i == 1 and x + core.cast(core.tensor(1), x.dtype) or x)
end
core.file_put_text(out, "bdl.json", core.file_text(file, "bdl.json"))
core.file_finish(out)
os.rename("changed.npz", "run.npz")]])
  gives("run damaged.lua", 0)
  gives("rerun run.npz", 1, "is not the same in run.rerun.npz")
end)

t.test("what has no provenance, or a damaged one, is refused", function()
  gives("rerun", 2, "which file?")
  gives("rerun none.npz", 1, "No such file")
  gives("rerun model.lua", 1, "does not end in .npz")
  file("plain.lua", "require 'bdl.core'.file_finish((function() local f = require 'bdl.core'.file_create('plain.npz', false) "
    .. "require 'bdl.core'.file_put(f, 'x', bdl.ones(2)) return f end)())")
  gives("run plain.lua", 0)
  gives("rerun plain.npz", 1, "plain.npz does not tell what made it")
  file("typed", "bdl.save('typed.npz', bdl.State(1.))\n")
  gives("repl < typed", 0)
  gives("rerun typed.npz", 1, "no model file made it")
  for _, text in ipairs{"{}", '{"settings": 3}', '{"settings": {}, "options": {}, "programs": {}, "clock": "x", "versions": {}}',
                        '{"settings": {}, "options": {}, "programs": {}, "clock": 1, "versions": {}, "modules": {}, "model": {"path": 3}}',
                        '{"settings": {}, "options": {}, "programs": {}, "clock": 1, "versions": {}, "modules": {"a": 3}, "model": {}}'} do
    file("bad.bdl", ("bdl recording 1\n%s%s"):format(("<I8"):pack(#text), text))
    gives("replay bad.bdl", 1, "bad.bdl: its provenance is damaged")
  end
end)

t.test("a recording is made again with the same bits", function()
  local printed = gives("run --quiet --set gain=2 --seed 5 --record run.bdl model.lua hello", 0, "hello")
  t.eq(gives("run --quiet --set gain=2 --seed 5 --record again.bdl model.lua hello", 0) == printed, false) -- the clock is another
  t.eq(gives("replay run.bdl", 0), printed)
  gives("replay --check run.bdl", 0, printed, "results of equations, all with the same bits")
  gives("replay --check --threads 2 run.bdl", 0, "all with the same bits")
end)

t.test("the first equation that differs is named", function()
  file("plain.lua", "local x = bdl.State(bdl.zeros(3))\nlocal k = 1\nbdl.for_loop(function(i)\n  local y = bdl.exp(x.value)\n"
    .. "  x.value = x.value + bdl.where(i:gt(5), y*k, 0)\nend, bdl.arange(10))\n")
  gives("run --record p.bdl plain.lua", 0, "p.bdl: ")
  gives("replay --check p.bdl", 0, "all with the same bits")
  local function version(text, by, ...)
    file("other.lua", (read "plain.lua":gsub(text, by)))
    gives("replay --check p.bdl other.lua", 1, ...)
  end
  version("gt%(5%)", "gt(4)", "another program runs here")
  version("zeros%(3%)", "ones(3)", "other.lua:1: ValueError: replay: `copy` gives other numbers than in the recording")
  version("arange%(10%)", "arange(10) + 1", "replay: ")
  version("$", "bdl.ones(3):sum()\n", "other.lua:7: ValueError: replay: the recording ends here")
  version("bdl.for_loop.*", "", "the recording goes on where this run has ended")
end)

t.test("damaged recordings are errors", function()
  gives("replay", 2, "which recording?")
  gives("replay --check none.bdl", 1, "cannot read none.bdl")
  local bytes = read "p.bdl"
  for _, n in ipairs{0, 5, 16, 20, 30} do
    file("cut.bdl", bytes:sub(1, n))
    gives("replay --check cut.bdl", 1, "no recording of bdl run --record")
  end
  for _, n in ipairs{#bytes - 1, #bytes - 16, #bytes - 40} do
    file("cut.bdl", bytes:sub(1, n))
    gives("replay --check cut.bdl", 1, "the recording was cut short")
  end
  file("cut.bdl", bytes:sub(1, -100) .. "\xff" .. bytes:sub(-98))
  gives("replay --check cut.bdl", 1, "replay: ")
  gives("run --record /none/x.bdl plain.lua", 1, "/none/x.bdl: No such file or directory")
end)

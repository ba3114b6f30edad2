-- Native code as a user meets it: `bdl compile`, and a cache that several processes share.
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

--- A command of a shell in the folder of the tests, BDL the program: output and status.
local function shell(command)
  return t.shell(("{ cd %s && BDL='%s'; export BDL_CACHE=cache; unset BDL_TIER\n%s\n}"):format(DIR, absolute, command))
end

local function gives(command, status, piece)
  local text, code = shell(command)
  if code ~= status or not text:find(piece, 1, true) then
    t.ok(false, ("%s: status %s, want %d; output %q, want %q in it"):format(command, code, status, text, piece))
  end
  return text
end

file("model.lua", [[
local s = bdl.settings{rate = 0.99, steps = 50}
local x = bdl.State(bdl.random.normal(0, 1, {size = 500}))
local step = bdl.jit(function() x.value = bdl.tanh(x.value * s.rate) + 0.01 end)
bdl.for_loop(step, {length = s.steps})
step()
print(bdl.sum(x.value):item(), bdl.sum(x.value^2):item())]])

t.test("a compiled model needs no compiler and no cache, and gives the same bits", function()
  gives("$BDL compile model.lua -o model.so", 0, "model.so: 2 programs")
  local want = shell "$BDL run --tier interp --seed 3 model.lua"
  -- each program that were not in the file would say so
  t.eq((shell "BDL_CC=/none BDL_CACHE=/none $BDL run --tier native --native model.so --seed 3 model.lua"), want)
  t.eq((shell "BDL_CC=/none BDL_NATIVE=model.so BDL_TIER=native $BDL run --seed 3 model.lua"), want)
  gives("$BDL compile --run --seed 3 model.lua -o ran.so", 0, "ran.so: 2 programs")
  t.eq((shell "BDL_CC=/none $BDL run --tier native --native ./ran.so --seed 3 model.lua"), want)
  gives("ls cache ran.so.* model.so.*", 2, "")
end)

t.test("what changed since is said, and runs", function()
  local want = shell "$BDL run --tier interp --set rate=0.5 --seed 3 model.lua"
  t.eq((shell "BDL_CC=/none $BDL run --native model.so --set rate=0.5 --seed 3 model.lua"),
    "bdl: a program of model.lua:4 is not in model.so: other settings, or another model, were compiled to it\n" .. want)
  t.eq((shell "BDL_CC=/none $BDL run --quiet --native model.so --set rate=0.5 --seed 3 model.lua"), want)
end)

t.test("files that are not to be run, and places that are not to be written", function()
  gives("$BDL run --native none.so model.lua", 2, "bdl run: none.so: No such file or directory")
  gives("$BDL run --native . model.lua", 2, "bdl run: . is no file")
  gives("$BDL run --native model.lua model.lua", 2, "model.lua was not written by bdl compile, or is damaged")
  gives("head -c 4000 model.so >cut.so; $BDL run --native cut.so model.lua", 2, "or is damaged")
  gives("cp model.so open.so; chmod 666 open.so; $BDL run --native open.so model.lua", 2, "may be written by everybody")
  gives("$BDL run --tier interp --native model.so model.lua", 2, "--native model.so: tier interp runs no native code")
  gives("BDL_NATIVE=cut.so $BDL run model.lua", 0, "bdl: without native code: cut.so was not written by bdl compile")
  gives("$BDL compile model.lua", 2, "-o says where to: bdl compile model.lua -o model.so")
  gives("$BDL compile model.lua -o /dev/null", 2, "/dev/null is no file")
  gives("$BDL compile model.lua -o none/x.so", 2, "none/x.so: No such file or directory")
  gives("$BDL compile model.lua --march z80 -o x.so", 2, "--march z80: expected native, ")
  gives("BDL_CC=/none $BDL compile model.lua -o x.so", 1, "x.so was not made by /none")
  gives("$BDL compile none.lua -o x.so", 1, "cannot read none.lua")
  gives("echo 'print(1)' >plain.lua; $BDL compile plain.lua -o x.so", 1, "plain.lua: nothing is compiled")
  gives("ls x.so*", 2, "")
end)

t.test("-o behind the model of another command is the model's own", function()
  gives("echo 'print(#arg, arg[1])' >args.lua; $BDL run args.lua -o x", 0, "2\t-o")
end)

t.test("several processes fill one cache, another clears it: all results are the same", function()
  local want = shell "$BDL run --tier interp --seed 3 model.lua"
  local text = shell([[rm -rf cache
for i in 1 2 3 4; do
  for k in 1 2 3; do $BDL run --tier native --seed 3 model.lua; done >out.$i 2>&1 &
done
for i in 1 2 3 4 5 6; do $BDL cache --clear >/dev/null; done
wait
cat out.*; ls cache | grep -v 'so$']])
  t.eq(text, want:rep(12))
  gives("$BDL run --tier native --seed 3 model.lua >/dev/null; $BDL cache", 0, "2 programs")
  gives("$BDL cache --clear; ls cache", 0, "0 programs, 0.0 MiB")
end)

t.test("a compiler that is killed, a disk that is full, a process that is killed", function()
  local want = shell "$BDL run --tier interp --seed 3 model.lua"
  file("dies", "#!/bin/sh\nkill -9 $$\n")
  file("full", "#!/bin/sh\nulimit -f 8\nexec cc \"$@\"\n")
  for _, cc in ipairs{"dies", "full"} do
    local text = shell("chmod 755 " .. cc .. "; BDL_CC=$PWD/" .. cc
      .. " $BDL run --tier native --seed 3 model.lua; ls cache | grep -v so$")
    t.ok(text:find("bdl: without native code: the compiler (", 1, true) and text:find(want, 1, true), text)
    t.ok(not text:find "%.tmp" and not text:find "%.c\n", text)
  end
  local text = shell "ulimit -f 8; trap '' XFSZ; $BDL run --tier native --seed 3 model.lua"
  t.eq(text, "bdl: without native code: the cache cannot be written\n" .. want)
  shell "rm -rf cache; ($BDL run --tier native --seed 3 model.lua & sleep 0.1; kill -9 $!) >/dev/null 2>&1"
  t.eq((shell "$BDL run --tier native --seed 3 model.lua"), want)
end)

t.test("a clock that was wrong does not keep programs", function()
  gives("$BDL run --tier native model.lua >/dev/null; touch -d '2090-01-01' cache/*.so; $BDL cache", 0, "2 programs")
  gives("$BDL cache --clear; ls cache", 0, "0 programs")
end)

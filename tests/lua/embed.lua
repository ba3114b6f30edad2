-- bdl in other programs: installed into a folder, found by pkg-config, in C, C++, Python and in stock Lua; the Debian package.
local t = require "tests.lua.harness"

local OUT, SAN = os.getenv "OUT" or "build", os.getenv "SAN" or ""
local CC, LIBS = os.getenv "CC" or "cc", os.getenv "LIBS" or ""
local DIR = os.tmpname()
os.remove(DIR)
assert(os.execute("mkdir -p " .. DIR))
local cleanup <close> = setmetatable({}, {__close = function() os.execute("rm -rf " .. DIR) end})
local EXAMPLES = DIR .. "/share/bdl/examples"

local function found(tool) return select(2, t.shell("command -v " .. tool)) == 0 end

--- Output of a command that must end with 0; libraries are those that were installed.
local function shell(command, ...)
  local text, status = t.shell(("export LD_LIBRARY_PATH=%s/lib PKG_CONFIG_PATH=%s/lib/pkgconfig; "):format(DIR, DIR) .. command:format(...))
  t.eq(status, 0, text)
  return text
end

local missing = SAN ~= "" and "programs of other compilers are not built with sanitizers"
  or not io.open(OUT .. "/libbdl.so") and "libbdl.so is not built"
  or not found "pkg-config" and "no pkg-config"

local function test(name, tool, f)
  local why = missing or tool and not found(tool) and tool .. " is not installed"
  if why then t.skip(name, why) else t.test(name, f) end
end

test("make install leaves a tree without the folder it was built in", nil, function()
  shell("OUT=%s PREFIX=%s LIBS='%s' sh tools/install.sh", OUT, DIR, LIBS)
  t.eq(shell("%s/bin/bdl --version", DIR), shell("%s --version", os.getenv "BDL"))
  shell("OUT=%s PREFIX=/usr DESTDIR=%s/root LIBS='%s' sh tools/install.sh", OUT, DIR, LIBS)
  t.ok(io.open(DIR .. "/root/usr/lib/pkgconfig/bdl.pc"):read "a":find("prefix=/usr\n", 1, true))
end)

test("the host of README.md builds as it says there, and runs", CC, function()
  local text = io.open "README.md":read "a":match "```c\n(.-)```"
  local f = io.open(DIR .. "/host.c", "w")
  f:write(text)
  f:close()
  shell("cd %s && %s host.c -o host $(pkg-config --cflags --libs bdl)", DIR, CC)
  t.eq(shell("%s/host", DIR), "[2. 2. 2.]\n")
  shell("cd %s && %s host.c -o host $(pkg-config --cflags bdl) -Llib -l:libbdl.a $(pkg-config --static --libs-only-other bdl) %s", DIR, CC, LIBS)
  t.eq(shell("%s/host", DIR), "[2. 2. 2.]\n")
end)

test("the controller learns in a closed loop", CC, function()
  shell("cd %s && %s -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wpedantic -Werror controller.c -o controller $(pkg-config --cflags --libs bdl) -lm",
    EXAMPLES, CC)
  local text = shell("cd %s && BDL_CACHE=%s/cache ./controller 4", EXAMPLES, DIR)
  local first, last = text:match "rms error ([%d.]+) rad in the first 2.0 s, ([%d.]+) rad in the last"
  t.ok(first and tonumber(last) < 0.7 * tonumber(first), text)
  t.ok(text:find "steps: 4000, mean", text)
  local _, status = t.shell(("LD_LIBRARY_PATH=%s/lib %s/controller 1 no.lua"):format(DIR, EXAMPLES))
  t.eq(status, 1)
end)

--- What net.cpp and net.py print, from the same network.
local SPIKES = "^%d+ spikes in 1 s; V%[0%] = %-?[%d.e-]+ V\n"

test("the C++ example runs, and its exceptions have a kind", "g++", function()
  shell("cd %s && g++ -std=c++17 -O1 -Wall -Wextra -Wpedantic -Werror net.cpp -o net $(pkg-config --cflags --libs bdl)", EXAMPLES)
  local text = shell("cd %s && ./net", EXAMPLES)
  t.ok(text:find(SPIKES) and text:find("ShapeError: .*result 1 is float32%[32%]"), text)
end)

test("Python calls bdl through ctypes", "python3", function()
  local text = shell("cd %s && python3 net.py ../../../lib/libbdl.so", EXAMPLES)
  t.ok(text:find(SPIKES), text)
  if found "g++" then t.eq(text, shell("cd %s && ./net", EXAMPLES):match "[^\n]*\n") end
end)

test("stock Lua requires bdl", "lua5.4", function()
  local function lua(code) return t.shell(("LUA_CPATH=%s/lib/lua/5.4/?.so lua5.4 -e '%s' 2>&1"):format(DIR, code)) end
  t.eq(lua [[local bdl = require "bdl"
    local s = bdl.State(bdl.zeros(2))
    local f = bdl.jit(function(x) s.value = s.value + x return s.value * bdl.units.mV end)
    f(1.) print(coroutine.wrap(function() return f(2.) end)(), bdl.nn.LIF(3).R, x)]], "[3. 3.] mV\t1. ohm\tnil\n")
  local text, status = lua 'local bdl = require "bdl" print(bdl.ones(2) + bdl.ones(3))'
  t.ok(status ~= 0 and text:find "ShapeError", text)
end)

test("make deb builds a package that lists what it needs", "dpkg-deb", function()
  local text = shell("mkdir -p %s/out && cp -R %s/bdl %s/libbdl.a %s/libbdl.so %s/lua %s/out/ && OUT=%s/out LIBS='%s' sh tools/deb.sh", DIR, OUT, OUT,
    OUT, OUT, DIR, DIR, LIBS)
  local package = text:match "in '([^']+)'"
  t.ok(package, text)
  local info = shell("dpkg-deb --info %s", package)
  t.ok(info:find "Depends: .*libc6 %(>= 2%.%d+%).*liblua5%.4%-0", info)
  t.ok(not info:find "Depends:.*, ,", info)
  local list = shell("dpkg-deb --contents %s", package)
  for _, path in ipairs{"./usr/bin/bdl", "./usr/include/bdl.h", "./usr/lib/lua/5.4/bdl.so", "./usr/share/doc/bdl/copyright"} do
    t.ok(list:find(path, 1, true), path)
  end
  for line in list:gmatch "[^\n]+" do t.ok(line:find "^%S+ root/root ", line) end
  shell("cd %s && dpkg-deb --extract %s unpacked && LD_LIBRARY_PATH=unpacked/usr/lib unpacked/usr/bin/bdl --version", DIR, package)
end)

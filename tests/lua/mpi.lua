-- The program under mpirun: the suites of tests/mpi with 2 and 4 processes, what is printed, how failures end.
local t = require "tests.lua.harness"

local BDL, SAN = os.getenv "BDL" or "build/bdl", os.getenv "SAN" or ""
local where, found = t.shell "command -v mpirun && mpirun --version"
local missing = found ~= 0 and "mpirun is not installed" or not where:find "Open MPI" and "mpirun is not that of Open MPI"
  or SAN:find "thread" and "the thread sanitizer takes the library's threads for ours"

local FLAGS = "--allow-run-as-root --oversubscribe --mca btl_vader_single_copy_mechanism none" -- containers may not read each other

--- Output and status of bdl under mpirun.
local function run(n, arguments)
  local leaks = SAN ~= "" and "ASAN_OPTIONS=detect_leaks=0 " or "" -- of the library, at its end
  return t.shell(("%stimeout -k 5 %d mpirun %s -n %d %s %s"):format(leaks, SAN ~= "" and 400 or 120, FLAGS, n, BDL, arguments))
end

local function test(name, f)
  if missing then t.skip(name, missing) else t.test(name, f) end
end

local FILE = os.tmpname()
local cleanup <close> = setmetatable({}, {__close = function() os.remove(FILE) end})

--- The same of a model.
local function run_model(n, text, options)
  local f = assert(io.open(FILE, "wb"))
  f:write(text)
  f:close()
  return run(n, ("run %s %s"):format(options or "", FILE))
end

for _, n in ipairs{2, 4} do
  test(("tests/mpi/pmap.lua with %d processes"):format(n), function()
    local text, status = run(n, "run --quiet tests/lua/run.lua tests/mpi/pmap.lua")
    local passed = text:match "(%d+) passed, 0 failed"
    t.ok(status == 0 and tonumber(passed or 0) > 10, ("status %s\n%s"):format(status, text))
  end)
end

test("the training of README.md has the same losses in 1, 2 and 4 processes", function()
  local model = assert(io.open "README.md"):read "a":match "## Several processes.-```lua\n(.-)```"
  local losses = {}
  for k, n in ipairs{1, 2, 4} do
    local text, status = run_model(n, model)
    t.eq(status, 0, text)
    losses[k] = {}
    for number in text:gmatch "%S+" do table.insert(losses[k], tonumber(number)) end
    t.eq(#losses[k], 3)
    t.close(losses[k], losses[1], 1e-5)
  end
  t.ok(losses[1][3] < 0.5 * losses[1][1])
end)

test("the first process prints, or all", function()
  local text, status = run_model(3, "print 'hello' io.write(bdl.augment.device_count(), '\\n')")
  t.eq(status, 0)
  t.eq(text, "hello\n3\n")
  t.eq(select(2, run_model(3, "print 'hello'", "--ranks all"):gsub("hello\n", "")), 3)
  t.eq(select(2, run_model(2, "", "--ranks some")), 2)
end)

local SUM = "local n = bdl.augment.device_count() bdl.augment.pmap(function(x) return bdl.augment.psum(x) end)(bdl.ones(n))\n"
local LAST = "if os.getenv 'OMPI_COMM_WORLD_RANK' == '1' then %s end\n"

test("a failure of one process ends all, with its message", function()
  for _, begin in ipairs{"", SUM} do -- before they talk, and behind
    local text, status = run_model(2, begin .. LAST:format "error 'the second is ill'" .. SUM)
    t.eq(status, 1)
    t.ok(text:find("process 2 of 2: .*the second is ill"), text)
  end
end)

test("a failure of all is told once", function()
  local text, status = run_model(2, SUM .. "bdl.augment.pmap(function(x) return x end)(bdl.ones(5))")
  t.eq(status, 1)
  t.ok(text:find "process 1 of 2: .*ValueError: pmap: 5 lanes, but there are 2 devices", text)
end)

test("os.exit is the end, too", function()
  t.eq({run_model(2, SUM .. "print 'done' os.exit(true)")}, {"done\n", 0})
  t.eq(select(2, run_model(2, SUM .. "os.exit(3)")), 3)
end)

test("bdl env tells of it", function()
  local text, status = run(2, "env")
  t.eq(status, 0)
  t.ok(text:find "MPI +/.*libmpi" and text:find "processes +2, this is 1", text)
end)

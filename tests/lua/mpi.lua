-- The program under mpirun: the suites of tests/mpi with 2 and 4 processes, what is printed, how failures end; the same on GPUs
-- (tests/cuda).
local t = require "tests.lua.harness"

local BDL, SAN = os.getenv "BDL" or "build/bdl", os.getenv "SAN" or ""
local where, found = t.shell "command -v mpirun && mpirun --version"
local missing = found ~= 0 and "mpirun is not installed" or not where:find "Open MPI" and "mpirun is not that of Open MPI"
  or SAN:find "thread" and "the thread sanitizer takes the library's threads for ours"

local FLAGS = "--allow-run-as-root --oversubscribe --mca btl_vader_single_copy_mechanism none" -- containers may not read each other

--- Output and status of bdl under mpirun.  settings: of the environment.
local function run(n, arguments, settings)
  local leaks = SAN ~= "" and "ASAN_OPTIONS=detect_leaks=0 " or "" -- of the library, at its end
  return t.shell(("%s%s timeout -k 5 %d mpirun %s -n %d %s %s"):format(leaks, settings or "", SAN ~= "" and 400 or 120, FLAGS, n, BDL, arguments))
end

local function test(name, f)
  if missing then t.skip(name, missing) else t.test(name, f) end
end

local FILE = os.tmpname()
local cleanup <close> = setmetatable({}, {__close = function() os.remove(FILE) end})

local function write(text)
  local f = assert(io.open(FILE, "wb"))
  f:write(text)
  f:close()
end

--- The same of a model.
local function run_model(n, text, options, settings)
  write(text)
  return run(n, ("run %s %s"):format(options or "", FILE), settings)
end

local SUITE = "run --quiet tests/lua/run.lua tests/mpi/pmap.lua"
local function pass(text, status)
  local passed = text:match "(%d+) passed, 0 failed"
  t.ok(status == 0 and tonumber(passed or 0) > 10, ("status %s\n%s"):format(status, text))
end

for _, n in ipairs{2, 4} do
  test(("tests/mpi/pmap.lua with %d processes"):format(n), function() pass(run(n, SUITE)) end)
end

--- The losses that the training of README.md prints.
local function losses(n, settings)
  local model = assert(io.open "README.md"):read "a":match "## Several processes.-```lua\n(.-)```"
  local text, status = run_model(n, model, nil, settings)
  t.eq(status, 0, text)
  local numbers = {}
  for number in text:gmatch "%S+" do table.insert(numbers, tonumber(number)) end
  t.eq(#numbers, 3, text)
  return numbers
end

test("the training of README.md has the same losses in 1, 2 and 4 processes", function()
  local alone = losses(1)
  for _, n in ipairs{2, 4} do t.close(losses(n), alone, 1e-5) end
  t.ok(alone[3] < 0.5 * alone[1])
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

-- ---- a GPU for each process -----------------------------------------------------------------------------------------------

local FAKE = (BDL:match "^(.*)/" or ".") .. "/fake-cuda"
local there = io.open(FAKE .. "/libnccl.so.2")
if there then there:close() end
local FOLDER = t.shell "mktemp -d":gsub("%s+$", "")
local left <close> = setmetatable({}, {__close = function() t.shell("rm -rf " .. FOLDER) end})
local HOST = "; what goes between processes goes through the host"

--- Settings of the environment: `devices` GPUs, and more.
local function on(devices, more)
  local all = "BDL_PLATFORM=gpu BDL_CUDA=%s FAKE_CUDA_DEVICES=%d FAKE_CUDA_NVRTC= BDL_CACHE=%s/cache TMPDIR=%s %s"
  return all:format(FAKE, devices, FOLDER, FOLDER, more or "")
end

local function gpu_test(name, f)
  local why = missing or SAN ~= "" and "the fake GPU changes stacks" or not there and FAKE .. " is not built"
  if why then t.skip(name, why) else t.test(name, f) end
end

local ALL = [[
local A = bdl.augment
local n = A.device_count()
local f = bdl.jit(A.pmap(function(v) return A.psum(v), A.all_gather(v:gt(1)), A.ppermute(v, {{1, 2}}), A.psum(1) + 0*v end))
print(f(bdl.arange(3*n):reshape(n, 3)))
print(bdl.for_loop(function(i) return A.pmap(function(v) return A.psum(v * i) end)(bdl.ones(n)) end, bdl.arange(3.)))
]]

gpu_test("tests/mpi/pmap.lua with 2 GPUs", function()
  local text, status = run(2, SUITE, on(2))
  pass(text, status)
  t.ok(not text:find "through the host", text)
end)

gpu_test("training with 2 GPUs has the losses of the CPU", function() t.close(losses(2, on(2)), losses(2), 1e-5) end)

--- mpirun mixes what processes print and what they warn of: the warnings first.
local function warnings_first(text)
  local warnings = {}
  local rest = text:gsub("pmap: [^\n]*\n", function(line)
    warnings[#warnings + 1] = line
    return ""
  end)
  return table.concat(warnings) .. rest
end

gpu_test("NCCL between GPUs, the host between processes on one: the same values", function()
  local want = run_model(2, ALL)
  t.eq((run_model(2, ALL, nil, on(2))), want)
  t.eq(warnings_first((run_model(2, ALL, nil, on(1)))), "pmap: processes 1 and 2 of 2 share a GPU (fake GPU 0)" .. HOST .. "\n" .. want)
  want = run_model(3, ALL)
  t.eq(warnings_first((run_model(3, ALL, nil, on(2)))), "pmap: processes 1 and 3 of 3 share a GPU (fake GPU 0)" .. HOST .. "\n" .. want)
end)

gpu_test("without NCCL what goes between processes goes through the host", function()
  local old = FOLDER .. "/old" -- some other library in its place
  t.shell(("mkdir -p %s && cp %s/libnvrtc.so.12 %s/libnccl.so.2"):format(old, FAKE, old))
  local want, setting = run_model(2, ALL), ("BDL_CUDA=%s:%s"):format(old, FAKE)
  t.eq(warnings_first((run_model(2, ALL, nil, on(2, setting)))), ("pmap: %s/libnccl.so.2 has no ncclGetVersion: it is too old%s\n%s"):format(old, HOST, want))
  t.ok(run(1, "env", on(2, setting)):find("no NCCL: " .. old .. "/libnccl.so.2 has no ncclGetVersion", 1, true))
end)

--- Two processes with an environment each.
local function differ(first, second)
  write(ALL)
  local one = ("-n 1 env %%s %s run %s"):format(BDL, FILE)
  return t.shell(("%s timeout -k 5 120 mpirun %s %s : %s"):format(on(2), FLAGS, one:format(first), one:format(second)))
end

gpu_test("each process may see a GPU of its own", function()
  t.eq((differ("CUDA_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=1")), (run_model(2, ALL)))
  t.ok(differ("CUDA_VISIBLE_DEVICES=1", "CUDA_VISIBLE_DEVICES=1"):find("share a GPU (fake GPU 1)", 1, true))
end)

gpu_test("all processes need the same NCCL", function()
  t.eq(warnings_first((differ("FAKE_CUDA_NCCL=22809", "FAKE_CUDA_NCCL=2708"))), "pmap: processes 1 and 2 have NCCL 2.28.9 and 2.7.8" .. HOST .. "\n" .. run_model(2, ALL))
end)

gpu_test("a failure of NCCL leaves States as they were", function()
  local text = run_model(2, [[
    local A = bdl.augment
    local s = bdl.State(bdl.zeros(2))
    local f = bdl.jit(A.pmap(function(v) s.value = s.value + A.psum(v) end))
    f(bdl.ones(2, 2))
    for _ = 1, 2 do print(select(2, pcall(f, bdl.ones(2, 2)))) end
    print(s.value)
  ]], nil, on(2, "FAKE_CUDA_FAIL=ncclAllReduce:2"))
  t.ok(text:find "IOError: GPU 0: NCCL: sum: unhandled system error\n.*NCCL_DEBUG=WARN", text)
  t.ok(text:find "IOError: GPU 0: NCCL: an earlier call has failed", text)
  t.ok(text:find "%[2%. 2%.%]\n$", text)
end)

gpu_test("a failure of NCCL in one process ends all, with its message", function()
  for _, call in ipairs{"ncclCommInitRank", "ncclAllGather", "ncclRecv"} do
    local text, status = run_model(2, ALL, nil, on(2, ("FAKE_CUDA_FAIL=%s:1"):format(call)))
    t.eq(status, 1, text)
    t.ok(text:find "process [12] of 2: .*IOError: GPU [01]: NCCL: %a+: unhandled system error", text)
  end
end)

gpu_test("bdl env names the GPU of a process", function()
  local text = run(2, "env", on(2))
  t.ok(text:find "GPU +1: fake GPU 1,.*free on 0, the one of this process" and text:find "NCCL 2%.21%.5, ", text)
  t.ok(run(1, "env", on(1)):find "GPU +fake GPU 0,.*GiB free\n")
end)

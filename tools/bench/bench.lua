--- `make bench`: runs the workloads W1 to W10 of README.md for bdl, the C references and the peers that are installed,
--  one after the other, and prints one table.  Every program prints JSON lines (see README.md).
--  Environment: BUILD, BDL (the program), ONLY (a Lua pattern over workload, peer, command),
--  THREADS.
local BUILD = os.getenv "BUILD" or "build"
local BDL = os.getenv "BDL" or BUILD .. "/bdl"
local ONLY = os.getenv "ONLY" or ""
local THREADS = tonumber(os.getenv "THREADS" or "1")
local HERE, BIN = "tools/bench/", BUILD .. "/bench/"

-- ---- what there is to run ------------------------------------------------------------------------------------------------

local function succeeds(command)
  return (os.execute(command .. " >/dev/null 2>&1")) == true
end

--- The Python that has a module: of the virtual environment that PEERS=1 makes, or the system's; nil if neither.
local pythons = {}
local function python(venv, module)
  local key = venv .. "/" .. module
  if pythons[key] == nil then
    pythons[key] = false
    for _, exe in ipairs{BIN .. "venv-" .. venv .. "/bin/python", "python3"} do
      local spec = "import importlib.util as i, sys; sys.exit(i.find_spec(\"%s\") is None)"
      if succeeds(("%s -c '%s'"):format(exe, spec:format(module))) then
        pythons[key] = exe
        break
      end
    end
  end
  return pythons[key]
end

local progress = os.execute "test -t 2"           -- shown on a terminal only

local jobs = {}                                  -- {workload, peer, command}, in the order of running

local function job(workload, peer, command, ...)
  jobs[#jobs + 1] = {workload = workload, peer = peer, command = command:format(...)}
end

local function peer(workload, name, venv, module, script, ...)
  local exe = python(venv, module)
  if exe then job(workload, name, exe .. " " .. HERE .. script .. " --threads " .. THREADS, ...) end
end

local function bdl(workload, script, ...)
  job(workload, "bdl", "%s run --quiet --threads %d %s%s", BDL, THREADS, HERE, script:format(...))
end

job("W1", "bdl", "%stimer 15 bdl-%dt W1 100 1000 %s run --quiet --threads %d %sw1.lua", BIN, THREADS, BDL, THREADS, HERE)
for _, p in ipairs{{"jax", "jax"}, {"brainpy.state", "jax", "brainpy_state"}, {"brian2-cython", "brian2"}, {"nest", "nest"}} do
  local exe = python(p[2], p[3] or p[2])
  if exe then job("W1", p[1], "%s %sw1_startup.py --peers %s --repeat 3", exe, HERE, p[1]) end
end

for _, net in ipairs{"coba", "cuba"} do
  for _, s in ipairs{{1, 9}, {10, 5}, {50, 3}} do
    local scale, times = s[1], s[2]
    local w = ("W2-%s"):format(net)
    job(w, "C-ref", "%sw2_ref %s %d 10000 %d %d", BIN, net, scale, times, THREADS)
    bdl(w, "w2.lua %s %d 10000 %d %d", net, scale, times, THREADS)
    local options = ("--net %s --scale %d --repeat %d"):format(net, scale, times // 2 + 1)
    peer(w, "brainstate", "jax", "brainpy_state", "w2_brainstate.py --peer fcn --backend numba " .. options)
    peer(w, "brian2", "brian2", "brian2", "w2_brian2.py --peer cpp_standalone --float 32 " .. options)
    peer(w, "genn", "genn", "pygenn", "w2_genn.py " .. options)
    if scale == 1 then peer(w, "nest", "nest", "nest", "w2_nest.py --net %s --repeat 1", net) end -- 300 s at scale 50
  end
end

for _, model in ipairs{"hh", "lif"} do
  for _, s in ipairs{{1000, 1000, 9}, {10000, 1000, 7}, {100000, 1000, 3}, {1000000, 200, 3}} do
    local n, steps, times = s[1], s[2], s[3]
    local w = "W3-" .. model
    job(w, "C-ref", "%sw3_ref %s %d %d %d %d 0", BIN, model, n, steps, times, THREADS)
    bdl(w, "w3.lua %s %d %d %d %d", model, n, steps, times, THREADS)
    local options = ("--model %s --n %d --steps %d --repeat %d"):format(model, n, steps, times // 2 + 1)
    peer(w, "jax", "jax", "jax", "w3_jax.py --peer jax " .. options)
    peer(w, "brainstate", "jax", "brainpy_state", "w3_jax.py --peer brainstate " .. options)
    peer(w, "brian2", "brian2", "brian2", "w3_brian2.py --peer cpp_standalone " .. options)
  end
end

for _, w in ipairs{{"W4-gru", "w4", "gru", "--cell", {"brainstate", "jax"}}, {"W4-rnn", "w4", "rnn", "--cell", {"brainstate", "jax"}},
                   {"W5-alif", "w5", "alif", "--neuron", {"jax", "brainstate"}}, {"W5-lif", "w5", "lif", "--neuron", {"jax", "brainstate"}}} do
  local script = {w4 = "w4_rnn.py", w5 = "w5_snn.py"}
  bdl(w[1], "%s.lua %s 9 %d", w[2], w[3], THREADS)
  for _, p in ipairs(w[5]) do peer(w[1], p, "jax", p, "%s --peer %s %s %s", script[w[2]], p, w[4], w[3]) end
end

-- D-RTRL at 1024 and 64 keeps a trace of 590 MB; its C reference as much.
for _, rule in ipairs{"d_rtrl", "pp_prop", "bptt"} do
  for _, s in ipairs{{256, 1, 9}, {256, 16, 9}, {256, 64, 5}, {1024, 1, 7}, {1024, 16, 3}, {1024, 64, 3}} do
    local hidden, batch, times = s[1], s[2], s[3]
    local w = ("W6-%s-b%d"):format(rule, batch)
    if rule ~= "bptt" then job(w, "C-ref", "%sw6_ref %s %d %d 100 %d", BIN, rule, hidden, batch, times) end
    bdl(w, "w6.lua %s %d %d 100 %d %d", rule, hidden, batch, times, THREADS)
    peer(w, rule == "bptt" and "brainstate" or "braintrace", "jax", "braintrace",
         "w6_online.py --peer %s --n %d --batch %d --steps 100 --repeat %d", rule, hidden, batch, times // 2 + 1)
  end
end

for _, w in ipairs{{"lif", 1000, 1000, 9}, {"hh", 1000, 1000, 9}, {"mlp", 32, 1, 200}} do
  bdl("W7-" .. w[1], "w7.lua %s %d %d %d %d", w[1], w[2], w[3], w[4], THREADS)
  for _, p in ipairs{"jax", "brainstate"} do
    peer("W7-" .. w[1], p, "jax", p, "w7_vmap.py --peer %s --what %s --n %d --steps %d --repeat %d", p, w[1], w[2], w[3], w[4])
  end
end

bdl("W8", "w8.lua 10000 9 %d", THREADS)
peer("W8", "jax", "jax", "jax", "w8_dispatch.py --peer jax")
peer("W8", "brainstate", "jax", "brainstate", "w8_dispatch.py --peer brainstate")
peer("W8", "numpy", "jax", "numpy", "w8_dispatch.py --peer numpy")

-- 100 entries a row; the gather (post) reads them all, the scatter those of active rows.
for _, direction in ipairs{"pre", "post"} do
  for _, n in ipairs{1000, 10000, 100000} do
    for _, density in ipairs{0.001, 0.01, 0.2} do
      local steps = math.max(4, math.min(20000, 1e7 // (n * 100 * (direction == "pre" and density or 1)) | 0))
      for het = 0, 1 do
        local w, post = ("W10-%s-%s-%g"):format(direction, het == 1 and "het" or "hom", density), direction == "post" and 1 or 0
        job(w, "C-ref", "%sw10_ref %d %g %d %d 5 %d", BIN, n, density, het, steps, post)
        bdl(w, "w10.lua %d %g %d %d 5 %d %d", n, density, het, steps, post, THREADS)
        peer(w, "brainevent", "jax", "brainevent", "w10_spmv.py --n %d --density %g --hetero %d --steps %d --repeat 5 --direction %s",
             n, density, het, steps, direction)
      end
    end
  end
end

job("W9", "bdl, openblas", "%sw9_dot 9", BIN)
job("W9-peak", "C-ref", "%sw9_peak", BIN)

-- ---- running ---------------------------------------------------------------------------------------------------------------

--- A flat JSON object: numbers, strings, lists as their text.
local function parse(line)
  local row = {}
  for key, rest in line:gmatch '"([%w_]+)"%s*:%s*()' do
    local text = line:match('^"([^"]*)"', rest) or line:match("^%b[]", rest) or line:match("^[^,}]*", rest)
    row[key] = tonumber(text) or text ~= "null" and text or nil
  end
  row.run_s = row.run_s or row.gflops_best and 0 -- a limit of the machine: no time of its own
  return row.peer and row.run_s and row
end

--- Rows by case (workload and size), in order of running.
local cases, by_name = {}, {}
local failed = {}

for i, j in ipairs(jobs) do
  if (j.workload .. " " .. j.peer .. " " .. j.command):find(ONLY) then
    if progress then io.stderr:write(("\r\27[K%d/%d %s"):format(i, #jobs, j.command)) end
    local p = assert(io.popen(j.command .. " 2>" .. BIN .. "stderr"))
    local n = 0
    for line in p:lines() do
      local row = parse(line)
      if row then
        n = n + 1
        local name = row.k and ("W9  %d x %d x %d%s"):format(row.m, row.n, row.k, row.form)
          or ("%s  n %d  steps %d"):format(j.workload, row.n or 0, row.steps or 0)
        if not by_name[name] then
          by_name[name] = {name = name}
          cases[#cases + 1] = by_name[name]
        end
        table.insert(by_name[name], row)
      end
    end
    if not p:close() or n == 0 then
      local f = io.open(BIN .. "stderr")
      failed[#failed + 1] = ("%s\n    %s"):format(j.command, f and f:read "a":gsub("%s+$", ""):match "[^\n]*$" or "")
      if f then f:close() end
    end
  end
end
if progress then io.stderr:write "\r\27[K" end

-- ---- the table -------------------------------------------------------------------------------------------------------------

local function seconds(s)
  if not s then return "-" end
  if s < 1e-3 then return ("%.1f us"):format(s * 1e6) end
  if s < 1 then return ("%.2f ms"):format(s * 1e3) end
  return ("%.2f s"):format(s)
end

local function ratio(a, b)
  return ((a < 99.995 * b and "%.2fx" or "%.0fx"):format(a / b))
end

local function per_step(row)
  if row.gflops or row.gflops_best then return ("%.1f GFLOP/s"):format(row.gflops or row.gflops_best) end
  if row.us_per_call then return ("%.3g us/call"):format(row.us_per_call) end
  if row.workload ~= "W1" and row.n and row.steps then return ("%.3g ns"):format(row.run_s / row.n / row.steps * 1e9) end
  return "-"
end

local ROW = "  %-28s %10s %10s %10s %21s %13s %8s %7s %7s  %s"
print(ROW:format("", "setup", "compile", "run", "min .. max", "a neuron step", "MB", "run x", "all x", "check"))
for _, case in ipairs(cases) do
  local ref                                      -- the C reference, or bdl where there is none
  for _, row in ipairs(case) do
    if row.peer:find "^C%-ref" then ref = row end
  end
  for _, row in ipairs(case) do
    if not ref and row.peer:find "^bdl" then ref = row end
  end
  print(("%s%s"):format(case.name, ref and "  (ratios to " .. ref.peer .. ")" or ""))
  for _, row in ipairs(case) do
    local all = row.run_s + (row.setup_s or 0) + (row.compile_s or 0)
    print(ROW:format(row.peer, seconds(row.setup_s), seconds(row.compile_s), seconds(row.run_s),
      seconds(row.min_s) .. " .. " .. seconds(row.max_s), per_step(row),
      row.peak_rss_mb and ("%.1f"):format(row.peak_rss_mb) or "-",
      ref and ratio(row.run_s, ref.run_s) or "-", ref and ratio(all, ref.run_s) or "-", tostring(row.check or "-")))
  end
end
for _, f in ipairs(failed) do print("failed: " .. f) end
os.exit(#failed == 0, true)

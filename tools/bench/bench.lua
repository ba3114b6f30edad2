--- `make bench`: runs workloads.lua for both tiers of bdl, the C references and the peers that are installed, one program after
--  the other; prints one table and writes BUILD/bench.json.  ../../tests/bench/README.md explains the numbers.
--  Environment: BUILD, BDL (the program), ONLY (words of label and column that must all be there), THREADS,
--  ROUNDS (times that the programs of a row take turns), PYTHON, GPU (a column of bdl on the GPU; w2 to w7 and w10, larger sizes, too).
package.path = "tools/bench/?.lua;" .. package.path
local core = require "bdl.core"
local json = require "bdl.json"
local workloads = require "workloads"

local BUILD = os.getenv "BUILD" or "build"
local BDL = os.getenv "BDL" or BUILD .. "/bdl"
local ONLY = (os.getenv "ONLY" or ""):lower()
local THREADS = tonumber(os.getenv "THREADS" or "1")
local ROUNDS = tonumber(os.getenv "ROUNDS" or "1")
local HERE, BIN = "tools/bench", BUILD .. "/bench"
local RUN = ("%s run --quiet --threads %d %s"):format(BDL, THREADS, HERE)

-- ---- programs ------------------------------------------------------------------------------------------------------------

--- The columns of the table.  BrainX: brainpy.state, brainstate, braintrace or brainevent, whichever has the workload.
local GPU = (os.getenv "GPU" or "") ~= ""
local COLUMNS = {"C", "interp", "native", "gpu", "jax", "BrainX", "torch", "brian2", "nest", "genn", "numpy"}
local TIERS = {interp = "BDL_TIER=interp", native = "BDL_TIER=native", gpu = GPU and "BDL_TIER=interp BDL_PLATFORM=gpu" or nil}
--- A peer's virtual environment, and the module that must be there.
local PEERS = {
  jax = {"jax", "jax"}, BrainX = {"jax", "brainpy_state"}, numpy = {"jax", "numpy"}, torch = {"torch", "torch"}, brian2 = {"brian2", "brian2"},
  nest = {"nest", "nest"}, genn = {"genn", "pygenn"},
}

local function succeeds(command) return (os.execute(command .. " >/dev/null 2>&1")) == true end

--- The Python that has the peer: of the environment that PEERS=1 makes, PYTHON, or the system's; nil: none has.
local pythons = {}
local function python(peer)
  local venv, module = table.unpack(PEERS[peer])
  if pythons[peer] == nil then
    pythons[peer] = false
    for _, exe in ipairs{("%s/venv-%s/bin/python"):format(BIN, venv), os.getenv "PYTHON" or "python3"} do
      if succeeds(("%s -c 'import importlib.util as i, sys; sys.exit(i.find_spec(\"%s\") is None)'"):format(exe, module)) then
        pythons[peer] = exe
        break
      end
    end
  end
  return pythons[peer] or nil
end

local function of_size(x, size)
  if type(x) == "function" then return x(size) or nil end
  return x
end

--- $field of the first table that has it.
local function fill(template, ...)
  local from = {...}
  return (template:gsub("%$(%a+)", function(name)
    for _, t in ipairs(from) do
      if t[name] ~= nil then return tostring(t[name]) end
    end
  end))
end

local PLACES = {run = RUN, bin = BIN, threads = THREADS}

--- The command of a column; nil: the workload does not have it, or it is not installed.
local function command(w, size, column)
  local template = of_size(w[column] or TIERS[column] and w.bdl, size)
  if not template then return nil end
  local text = fill(template, size, PLACES)
  if TIERS[column] then return ("%s BDL_CACHE=%s/cache %s"):format(TIERS[column], BIN, text) end
  if column == "C" then return text end
  local exe = python(column)
  return exe and ("%s %s/%s%s"):format(exe, HERE, text, text:find "^w1_" and "" or " --threads " .. THREADS)
end

local function wanted(label, column)
  local text = (label .. " " .. column):lower()
  for word in ONLY:gmatch "%S+" do
    if not text:find("%f[%w]" .. word:gsub("%W", "%%%0") .. "%f[%W]") then return false end
  end
  return true
end

--- What a command prints as JSON lines, and the last line of its standard error if it fails.
local function measure(text)
  local errors = BIN .. "/stderr"
  local p = assert(io.popen(text .. " 2>" .. errors))
  local rows = {}
  for line in p:lines() do
    local ok, row = pcall(json.decode, line, "bench")
    if ok and type(row) == "table" and row.peer then rows[#rows + 1] = row end
  end
  if p:close() and #rows > 0 then return rows end
  local f <close> = assert(io.open(errors))
  return rows, f:read "a":gsub("%s+$", ""):match "[^\n]*$"
end

-- ---- agreement -----------------------------------------------------------------------------------------------------------

local function numbers(check) return type(check) == "table" and check or {check} end

--- nil, or why the result of a program is not the one of the workload.
local function disagreement(case, column, row)
  local got = numbers(row.check)
  local expected = of_size(case.w.check, case.size)
  if expected == "C" then
    local reference = case.rows.C and numbers(case.rows.C.check)[1]
    expected = reference and {{reference, 1e-3 * (1 + math.abs(reference))}} or {}
  end
  for i, e in ipairs(expected) do
    local value = tonumber(got[i])
    if e and not (value and math.abs(value - e[1]) <= e[2]) then
      return ("check %d is %s, expected %.4g within %.2g"):format(i, tostring(got[i]), e[1], e[2])
    end
  end
  if column == "native" and case.rows.interp then
    for i, value in ipairs(numbers(case.rows.interp.check)) do
      if value ~= got[i] then return ("check %d is %s, in the interpreter tier %s"):format(i, tostring(got[i]), tostring(value)) end
    end
  end
end

-- ---- figures -------------------------------------------------------------------------------------------------------------

--- Seconds of what the workload counts; nil: not run, or not to be trusted.
local function seconds(case, column)
  local row = case.rows[column]
  if not row or case.wrong[column] then return nil end
  local each = case.w.of == "step" or case.w.of == "call"
  return row.min_s / (each and row.steps or 1)
end

local function fastest_peer(case)
  local best
  for column in pairs(PEERS) do
    local s = seconds(case, column)
    if s and (not best or s < best) then best = s end
  end
  return best
end

local function ratio(a, b) return a and b and a / b or nil end

--- Ratios, and whether the aim is reached (nil: nobody there to compare with).
local function evaluate(case)
  local native, C = seconds(case, "native"), seconds(case, "C")
  local gpu = seconds(case, "gpu")
  local r = {native_gpu = ratio(native, gpu), peer_gpu = ratio(fastest_peer(case), gpu), interp_C = ratio(seconds(case, "interp"), C), native_C = ratio(native, C),
             peer_native = ratio(fastest_peer(case), native)}
  local aim = of_size(case.w.aim, case.size)
  if aim and aim.C then
    r.aim = ("<= %.3g C"):format(aim.C)
    if r.native_C then r.reached = r.native_C <= aim.C end
  elseif aim and aim.peer then
    r.aim = (">= %.3g peer"):format(aim.peer)
    if r.peer_native then r.reached = r.peer_native >= aim.peer end
  elseif aim then
    r.aim = ("<= %.3g us"):format(aim.us)
    if native then r.reached = native * 1e6 <= aim.us end
  end
  return r
end

-- ---- running ---------------------------------------------------------------------------------------------------------------

local cases, by_label, failures = {}, {}, {}
local terminal = os.execute "test -t 2"

local function case_of(w, size, row)
  local label = fill(w.name, size, row)
  if not by_label[label] then
    by_label[label] = {label = label, w = w, size = size, rows = {}, wrong = {}}
    cases[#cases + 1] = by_label[label]
  end
  return by_label[label]
end

local function run(w, size, column)
  local text = command(w, size, column)
  if not text or not wanted(fill(w.name, size), column) then return end
  if terminal then io.stderr:write(("\r\27[K%s: %s"):format(fill(w.name, size), column)) end
  local rows, why = measure(text)
  if why then failures[#failures + 1] = ("%s\n    %s"):format(text, why) end
  for _, row in ipairs(rows) do
    local case = case_of(w, size, row)
    local column = w.rows_of and w.rows_of[row.peer:match "^%a+"] or column
    local before = case.rows[column]
    if not before or row.min_s < before.min_s then case.rows[column] = row end
    case.wrong[column] = case.wrong[column] or disagreement(case, column, row)
  end
end

local limits = wanted("W9 limits of the machine", "C") and measure(BIN .. "/w9_peak") or {}
for _, w in ipairs(workloads) do
  for _, size in ipairs(w.sizes) do
    for _ = 1, ROUNDS do
      for _, column in ipairs(COLUMNS) do run(w, size, column) end
    end
  end
end
if terminal then io.stderr:write "\r\27[K" end

-- ---- the table -------------------------------------------------------------------------------------------------------------

local function processor()
  for line in io.lines "/proc/cpuinfo" do
    local name = line:match "^model name%s*:%s*(.*)"
    if name then return name end
  end
end

local function duration(s)
  for _, unit in ipairs{{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}} do
    if s >= unit[1] then return ("%.3g %s"):format(s / unit[1], unit[2]) end
  end
  return "0"
end

local function cell(case, column)
  if case.wrong[column] then return "differs" end
  local s = seconds(case, column)
  return s and duration(s) or ""
end

local function times(x) return x and ("%.2f"):format(x) or "" end

--- Rows of texts as a table of Markdown, the first column to the left.
local function print_table(rows)
  local width, rule = {}, {}
  for _, row in ipairs(rows) do
    for i, text in ipairs(row) do width[i] = math.max(width[i] or 3, #text) end
  end
  for i, w in ipairs(width) do rule[i] = ("-"):rep(w - 1) .. (i == 1 and "-" or ":") end
  table.insert(rows, 2, rule)
  for _, row in ipairs(rows) do
    local parts = {}
    for i, text in ipairs(row) do parts[i] = ("%" .. (i == 1 and "-" or "") .. width[i] .. "s"):format(text) end
    print("| " .. table.concat(parts, " | ") .. " |")
  end
end

local shown = {}                                  -- columns that anything ran in
for _, column in ipairs(COLUMNS) do
  for _, case in ipairs(cases) do
    if case.rows[column] then
      shown[#shown + 1] = column
      break
    end
  end
end

local function report()
  local rows = {{"workload", "time of a"}}
  table.move(shown, 1, #shown, 3, rows[1])
  local titles = {"interp / C", "native / C", "peer / native", "aim", "reached"}
  if GPU then titles = {"native / gpu", "peer / gpu"} end
  for _, title in ipairs(titles) do table.insert(rows[1], title) end
  for _, case in ipairs(cases) do
    local r = case.ratios
    local row = {case.label, case.w.of}
    for _, column in ipairs(shown) do row[#row + 1] = cell(case, column) end
    local texts = {times(r.interp_C), times(r.native_C), times(r.peer_native), r.aim or "",
                   r.reached == nil and "" or r.reached and "yes" or "no"}
    if GPU then texts = {times(r.native_gpu), times(r.peer_gpu)} end
    for _, text in ipairs(texts) do row[#row + 1] = text end
    rows[#rows + 1] = row
  end
  print_table(rows)
end

--- Time of a step against synapses, both on logarithmic scales, and over neurons and synaptic events.
local function plot()
  local drawn, from = {}, math.huge
  for _, case in ipairs(cases) do
    local s = case.w.plot and seconds(case, "native")
    if s then
      drawn[#drawn + 1] = {case = case, s = s}
      from = math.min(from, s)
    end
  end
  if #drawn == 0 then return end
  print "\ntime of a step in the native tier (#: a tenth of a decade), and over neurons and synaptic events:"
  for _, d in ipairs(drawn) do
    local row, per_second = d.case.rows.native, 1e4
    local work = row.n + d.case.size.synapses * row.check / per_second
    local bar = ("#"):rep(1 + math.floor(10 * math.log(d.s / from, 10) + 0.5))
    print(("%10d synapses %10s %8.3g ns  %s"):format(d.case.size.synapses, duration(d.s), d.s / work * 1e9, bar))
  end
end

-- ---- the end ---------------------------------------------------------------------------------------------------------------

for _, case in ipairs(cases) do case.ratios = evaluate(case) end
local machine = {processor = processor() or "unknown", instructions = core.isa(), threads = THREADS}
print(("%s, %s, %d thread%s\n"):format(machine.processor, machine.instructions, THREADS, THREADS == 1 and "" or "s"))
if #cases > 0 then report() end
plot()
if #limits > 0 then print "\nlimits of one core:" end
for _, row in ipairs(limits) do
  print(row.gflops_best and ("  multiply-add %.1f GFLOP/s"):format(row.gflops_best)
        or ("  streaming update of %d MB: %.1f GB/s"):format(row.mb, row.gb_per_s_best))
end

local out = json.list{}
for i, case in ipairs(cases) do
  out[i] = {label = case.label, of = case.w.of, programs = case.rows, disagreements = case.wrong, ratios = case.ratios}
  for _, column in ipairs(COLUMNS) do
    local why = case.wrong[column]
    if why then failures[#failures + 1] = ("%s, %s: %s"):format(case.label, column, why) end
  end
end
local f <close> = assert(io.open(BUILD .. "/bench.json", "w"))
f:write(json.encode{machine = machine, limits = json.list(limits), cases = out}, "\n")
for _, failure in ipairs(failures) do print("failed: " .. failure) end
os.exit(#failures == 0, true)

--- Timing and the JSON line of bdl's own programs (w2.lua to w10.lua); common.py does the same for Python.
local bdl = require "bdl"
local core = require "bdl.core"
local json = require "bdl.json"
local clock = bdl.util.clock

local common = {}
local begin = clock()

--- Peak resident memory of this process in MB.
local function peak_rss_mb()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmHWM:%s*(%d+)"
    if kb then return kb / 1024 end
  end
end

--- Calls run() once cold, which compiles, and `repeats` times warm, each after reset().
--  -> {[0] = seconds cold, seconds, .., setup_s = seconds up to here, results = {[0] = .., ..}}
function common.measure(repeats, run, reset)
  local m = {results = {}, setup_s = clock() - begin}
  for k = 0, repeats do
    if reset then reset() end
    local start = clock()
    m.results[k] = run()
    core.wait()                                   -- a GPU goes on when the call is back
    m[k] = clock() - start
  end
  begin = clock()
  return m
end

--- Prints the line of a measurement.  fields: workload, n, steps, check (a number or a list) and any other; with `calls` a
--  measured time is that of so many.
function common.emit(m, fields)
  local t = table.move(m, 1, #m, 1, {})
  table.sort(t)
  local median, calls = t[(#t + 1) // 2], fields.calls or 1
  fields.peer = ("bdl-%s-%dt"):format(core.tier(), core.threads())
  fields.run_s, fields.min_s, fields.max_s, fields.repeats = median / calls, t[1] / calls, t[#t] / calls, #t
  fields.setup_s, fields.compile_s = m.setup_s, math.max(m[0] - median, 0)
  fields.peak_rss_mb = peak_rss_mb()
  print((json.encode(fields):gsub("\n%s*", "")))
end

return common

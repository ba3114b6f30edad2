--- Cost of a step against size: the COBA network of W2 with 80 synapses a neuron, 1,200 to 10 million synapses.
--  Environment: BDL (the program), TIER (interp, native), THREADS.
local BDL = os.getenv "BDL" or "build/bdl"
local TIER, THREADS = os.getenv "TIER" or "native", os.getenv "THREADS" or "1"
local FAN, STEP = 80, 1e-4                       -- synapses a neuron, seconds a step

print(("%10s %9s %12s %12s %16s %14s"):format("synapses", "neurons", "us a step", "events/step", "ns/neuron, step", "ns/(n + ev)"))
for _, s in ipairs{{0.00375, 100000}, {0.03125, 40000}, {0.3125, 10000}, {3.125, 2000}, {31.25, 300}} do
  local scale, steps = s[1], s[2]
  local command = ("%s run --quiet --tier %s --threads %s tools/bench/w2.lua coba %g %d 5 %s"):format(BDL, TIER, THREADS, scale, steps, THREADS)
  local f <close> = assert(io.popen(command))
  local line = f:read "a"
  local function field(name) return tonumber(line:match('"' .. name .. '":([%d.e+-]+)')) or error(line, 0) end
  local n, step = field "n", field "min_s" / steps
  local events = field "check" * STEP * n * FAN
  print(("%10d %9d %12.3f %12.1f %16.3f %14.3f"):format(n * FAN, n, step * 1e6, events, step * 1e9 / n, step * 1e9 / (n + events)))
end

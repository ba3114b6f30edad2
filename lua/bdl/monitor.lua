--- Monitors: what a Simulation records, in memory or streamed to a file.
--
--   StateMonitor(net.N, {"V", "w"}, {record = ids, every = 10})    values:  m.V [rows, n], m.t, m.step
--   SpikeMonitor(net.N)                                            events:  m.i, m.t, m.step, m.count, m:spike_trains()
--   RateMonitor(net.N)                                             rates:  m.rate [steps], m.t, m:smooth_rate{width = ..}
--
-- A source is a module, a State, or a function of what the step returned, which is called at the end of each step.
-- Rows carry the number of their step i, as an integer, and the time i*dt that the step saw.  Memory: rows of a
-- StateMonitor are reserved before a run, which fails there or not at all; events grow as they come, up to `most`, and
-- one more is an error.
local class = require "bdl.class"

return class.qualify({
  Monitor = require "bdl.monitor.base".Monitor,
  StateMonitor = require "bdl.monitor.values".StateMonitor,
  SpikeMonitor = require "bdl.monitor.spikes".SpikeMonitor,
  RateMonitor = require "bdl.monitor.rate".RateMonitor,
}, "monitor")

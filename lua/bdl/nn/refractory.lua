--- Counting steps since an event, for refractoriness and transmitter pulses.
--
-- The count is a State of whole numbers that rises by one a step: a window of length w that starts with the event of step i
-- covers steps k > i with (k - i) dt < w, whatever the rounding of times.  It is kept in float32, where 2^24 + 1 is 2^24: so
-- it stops there by itself, and never overflows.
local core = require "bdl.core"
local environ = require "bdl.environ"
local state = require "bdl.state"
local u = require "bdl.units"
local window = require "bdl.nn.window"

local M = {}

local NEVER <const> = 2.0 ^ 24
local NONE = {}

--- The State: steps completed since the last event, 0 in the step of the event, NEVER before the first.
function M.count(varshape, batch_size)
  local sizes = batch_size and {batch_size, table.unpack(varshape)} or {table.unpack(varshape)}
  return state.ShortTermState(core.bind("broadcast", {shape = sizes, dims = {}}, core.tensor(NEVER, "float32")))
end

--- Does the step now beginning lie in the window w of the last event?
function M.within(since, w) return core.bind("lt", NONE, since.value, window.window_steps(w)) end

--- The same for a count that this step has advanced: the step of the event lies within.
function M.within_now(since, w) return core.bind("le", NONE, since.value, window.window_steps(w)) end

--- The count after this step.
function M.advance(since, event)
  since.value = core.bind("select", NONE, event, 0, since.value + 1)
end

--- The time of the last event, -1e7 ms before the first; t from the environ is the time of the step just made.
function M.time_of(since)
  local n, dt, t = since.value, environ.get "dt", environ.get "t"
  local time = t - core.cast(n, (core.precision())) * dt
  return core.bind("select", NONE, core.bind("ge", NONE, n, NEVER), -1e7 * u.ms, time)
end

return M

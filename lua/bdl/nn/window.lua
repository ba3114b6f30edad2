--- Windows of time as whole steps.
local core = require "bdl.core"
local environ = require "bdl.environ"

local M = {}

--- The number of steps k > i with (k - i) dt < w for a window w that starts with the event of step i: ceil(w/dt) - 1.
--  w : a time or a tensor of times, concrete -> an integer, or i32 of the shape of w.
--  w/dt within rounding of a whole number is that number, so 0.3 ms at 0.1 ms is always 3 steps.
function M.window_steps(w)
  local dt = environ.get "dt"
  if core.is_traced(w) or core.is_traced(dt) then
    core.fail("TraceContextError", 2, "a window of time counts whole steps, so its length and dt must be known while tracing")
  end
  local function steps(q)
    local whole = math.floor(q + 0.5)
    local n = math.abs(q - whole) <= math.min(1e-6 * math.abs(q), 0.1) and whole or math.ceil(q)
    if not (n < 2 ^ 24) then
      core.fail("ValueError", 2, "a window of %s is %.0f steps of %s; at most 2^24 are counted", tostring(w), n, tostring(dt))
    end
    return math.max(math.tointeger(n) - 1, 0)
  end
  local function map(q)
    if type(q) ~= "table" then return steps(q) end
    local list = {}
    for i, x in ipairs(q) do list[i] = map(x) end
    return list
  end
  local q = core.totable(core.is_tensor(w / dt) and w / dt or core.tensor(w / dt))
  return type(q) == "table" and core.tensor(map(q), "int32") or steps(q)
end

return M

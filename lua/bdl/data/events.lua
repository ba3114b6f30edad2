--- Lists of events (time, unit) to frames: how many events of each unit fall into each step.
local core = require "bdl.core"
local A = require "bdl.array"
local base = require "bdl.array.base"

local M = {}

local KNOWN = base.names "n_steps dt n_units start binary"

local function vector(who, what, x)
  x = base.array(x)
  if x.ndim ~= 1 then core.fail("ShapeError", 4, "%s: %s of a sample are a vector, not %s", who, what, base.text(x)) end
  return x
end

local function count(who, opts, name)
  local n = opts[name]
  if math.type(n) ~= "integer" or n < 1 then
    core.fail("ValueError", 4, "%s: %s is a number from 1, not %s", who, name, base.text(n))
  end
  return n
end

--- x in the unit of dt, in double precision: a step is a quotient, and single precision takes 0.3/0.1 for 2.99.
local function plain_time(who, name, x, dt)
  local unit = core.unit_of(dt)
  local ok, converted = pcall(core.convert, core.is_tensor(x) and x or core.tensor(x), unit)
  if not ok then
    core.fail("UnitMismatchError", 4, "%s: %s are in <%s>, dt in <%s>", who, name, tostring(core.unit_of(x) or 1),
              tostring(unit or 1))
  end
  return core.cast(core.mantissa(converted), "float64")
end

--- Positions in frames [n_steps, n_samples, n_units], laid out in a row, of the events of sample b (from 0).
local function positions(who, times, units, opts, b, n_samples)
  local label = n_samples > 1 and (" of sample %d"):format(b + 1) or ""
  times, units = vector(who, "times", times), vector(who, "units", units)
  if #times ~= #units then core.fail("ShapeError", 3, "%s: %d times and %d units%s", who, #times, #units, label) end
  if #times == 0 then return A.zeros({0}, {dtype = "int64"}) end
  if base.KIND[units.dtype] ~= 1 then
    core.fail("TypeError", 3, "%s: units are integers, not %s%s", who, base.text(units), label)
  end
  local lo, hi = core.item(A.min(units)), core.item(A.max(units))
  if lo < 0 or hi >= opts.n_units then
    core.fail("IndexError", 3, "%s: unit %d%s is none of 0 to %d", who, lo < 0 and lo or hi, label, opts.n_units - 1)
  end
  local start = opts.start == nil and 0 or plain_time(who, "start", opts.start, opts.dt)
  local t = (plain_time(who, "times", times, opts.dt) - start) / plain_time(who, "dt", opts.dt, opts.dt)
  if core.item(A.any(A.isnan(t))) then core.fail("ValueError", 3, "%s: a time%s is NaN", who, label) end
  local inside = A.ge(t, 0) & A.lt(t, opts.n_steps)
  local step = core.cast(A.where(inside, t, opts.n_steps), "int64")
  return (step * n_samples + b) * opts.n_units + core.cast(units, "int64")
end

local function is_list(x) return type(x) == "table" and getmetatable(x) == nil and type(x[1]) ~= "number" end

--- Counts [n_steps, n_units] of a sample's events: of unit i at times from k dt to below (k + 1) dt, after `start` (0),
--  in step k; events outside of the n_steps steps are left out.  Of lists of times and of units, a sample each:
--  [n_steps, samples, n_units].
--  times : [k], with the unit of a time if dt has one;  units : integers [k] from 0.
--  Options: n_steps, dt, n_units; start; binary = true: 1 where there is any event.
--  Errors: IndexError a unit that is none; ValueError a time that is NaN.
--  Example:
--    local u = bdl.units
--    print(bdl.data.frames(bdl.tensor{1., 2., 5.}*u.ms, bdl.tensor{0, 1, 0}, {n_steps = 3, dt = 2*u.ms, n_units = 2}))
function M.frames(times, units, opts)
  local who = "data.frames"
  opts = base.options(who, opts, KNOWN)
  local n_steps, n_units, dt = count(who, opts, "n_steps"), count(who, opts, "n_units"), opts.dt
  if dt == nil then core.fail("TypeError", 2, "%s: option dt, the length of a step, is missing", who) end
  local scalar = type(dt) == "number" or core.is_tensor(dt) and dt.ndim == 0
  if not scalar or not (core.item(core.tensor(core.mantissa(dt))) > 0) then
    core.fail("ValueError", 2, "%s: dt is a time greater than 0, not %s", who, base.text(dt))
  end
  local list = is_list(times)
  if list ~= is_list(units) then
    core.fail("TypeError", 2, "%s: times and units are both of one sample, or both lists of samples", who)
  end
  if not list then times, units = {times}, {units} end
  if #times ~= #units then core.fail("ValueError", 2, "%s: times of %d samples, units of %d", who, #times, #units) end
  local n, parts = #times, {A.zeros({0}, {dtype = "int64"})}
  for b = 1, n do parts[b + 1] = positions(who, times[b], units[b], opts, b - 1, n) end
  local counts = A.bincount(A.concatenate(parts), {length = n_steps * n * n_units})
  if opts.binary then counts = A.minimum(counts, 1) end
  local frames = core.cast(counts, base.real())
  return A.reshape(frames, list and {n_steps, n, n_units} or {n_steps, n_units})
end

return M

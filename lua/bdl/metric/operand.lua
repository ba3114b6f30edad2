--- What metrics share: checked operands, reductions, times as steps.
local core = require "bdl.core"
local base = require "bdl.array.base"
local environ = require "bdl.environ"
local reduce = require "bdl.array.reduce"
local suggest = require "bdl.suggest"
local units = require "bdl.units"

local M = {}

--- x as a tensor of floats.  Errors: TypeError.
function M.float(who, what, x)
  if not core.is_tensor(x) then x = base.tensor(x) end
  if base.KIND[x.dtype] ~= 2 then core.fail("TypeError", 3, "metric.%s: %s are floats, not %s", who, what, base.text(x)) end
  return x
end

--- x as a tensor of integers.  Errors: TypeError.
function M.integers(who, what, x)
  if not core.is_tensor(x) then x = base.tensor(x) end
  if base.KIND[x.dtype] ~= 1 then core.fail("TypeError", 3, "metric.%s: %s are integers, not %s", who, what, base.text(x)) end
  return x
end

--- Errors: ShapeError naming both.
function M.same_shape(who, x, y)
  if x.shape ~= y.shape then core.fail("ShapeError", 3, "metric.%s: shapes differ: %s and %s", who, base.text(x), base.text(y)) end
end

--- The numbers of x, floats, with as many axes as said.  Errors: ShapeError.
function M.plain(who, what, x, ndim)
  x = core.mantissa(base.float(x))
  if ndim and x.ndim ~= ndim then
    core.fail("ShapeError", 3, "metric.%s: %s have %d axes, not %s", who, what, ndim, base.text(x))
  end
  return x
end

--- Mean, sum or none of it over an axis (all).  Errors: ValueError.
function M.reduced(who, x, reduction, axis)
  if reduction == "none" then return x end
  if reduction == "mean" or reduction == "sum" then return reduce[reduction](x, {axis = axis}) end
  core.fail("ValueError", 3, "metric.%s: reduction is 'mean', 'sum' or 'none', not '%s'%s", who, tostring(reduction),
            suggest.hint(tostring(reduction), {"mean", "sum", "none"}))
end

--- dt of the options, or of the environ.
function M.dt(opts)
  if opts.dt ~= nil then return opts.dt end
  return environ.get "dt"
end

--- A quotient of two times as a Lua number; a plain number counts in the unit of the other.
function M.ratio(span, dt)
  if not core.unit_of(span) then dt = core.mantissa(dt) end
  if not core.unit_of(dt) then span = core.mantissa(span) end
  local q = span / dt
  if core.is_tensor(q) and core.unit_of(q) and not core.same_dim(core.unit_of(span), core.unit_of(dt)) then
    core.fail("UnitMismatchError", 4, "a window of <%s> of steps of <%s>", tostring(core.unit_of(span)),
              tostring(core.unit_of(dt)))
  end
  return core.is_tensor(q) and core.item(core.mantissa(q)) or q
end

--- Seconds of a time; plain numbers are seconds.
function M.seconds(t)
  if not core.unit_of(t) then return core.is_tensor(t) and core.item(t) or t end
  return core.item(core.mantissa(core.convert(t, units.second)))
end

--- Windows of a sequence [T, ..]: [count, width, ..], window k from step k * step on.
function M.windows(x, count, width, step)
  local sizes = {count, width}
  return core.bind("gather", {axis = 0}, x, base.iota(sizes, 0) * step + base.iota(sizes, 1))
end

--- Spikes [T, n] as one list of steps (from 0) a neuron, and T.
function M.trains(who, spikes)
  spikes = M.plain(who, "spikes", spikes, 2)
  base.need_concrete("metric." .. who, spikes, "spikes are counted one by one", "return them from the traced function first")
  local rows, n = core.totable(spikes), spikes.shape[2]
  local trains = {}
  for j = 1, n do trains[j] = {} end
  for i, row in ipairs(rows) do
    for j = 1, n do
      if row[j] > 0 then table.insert(trains[j], i - 1) end
    end
  end
  return trains, #rows
end

return M

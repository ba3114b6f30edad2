--- Steps of  dy/dt = f(t, y, y(t - delays[1]), y(t - delays[2]), .., ...).
--  history(t) gives y at an earlier time, like  function(t) return delay:retrieve_at_time(t) end  of a Delay;
--  delays : a time or a list of times.  A delay shorter than dt asks the history of heun, rk4 and the corrected methods
--    for times after t.
--  Source: Bellen & Zennaro, Numerical Methods for Delay Differential Equations (2003), 3.
--  Example:
--    bdl.environ.set{dt = 0.1}
--    print(bdl.quad.NAME(function(t, y, late) return -late end, bdl.ones(2), 0.0, function(t) return bdl.ones(2) end, 0.5))
local core = require "bdl.core"
local change = require "bdl.quad.change"
local tableau = require "bdl.quad.tableau"

local M = {}

local function list_of(who, delays)
  local list = type(delays) == "table" and getmetatable(delays) == nil and delays or {delays}
  if #list == 0 then core.fail("TypeError", 3, "%s: delays is a time or a list of times", who) end
  for _, delay in ipairs(list) do
    local number = core.mantissa(core.is_tensor(delay) and delay or core.tensor(delay))
    if not core.is_traced(number) and number.ndim == 0 and not (core.item(number) >= 0) then
      core.fail("ValueError", 3, "%s: a delay is a time >= 0, not %s", who, tostring(delay))
    end
  end
  return list
end

--- dde_<name>_step by  step(y, t, h, F, opts):  F(y, t) = h f(t, y, history..), a change of y.
local function define(name, known, step)
  local who = ("dde_%s_step"):format(name)
  M[who] = function(f, y, t, history, delays, ...)
    change.check_function(who, "f", f)
    change.check_function(who, "history", history)
    local args = table.pack(change.begin(who, known, y, t, ...))
    local h, opts = args[1], args[2]
    delays = list_of(who, delays)
    local function F(x, at)
      local given = {}
      for i, delay in ipairs(delays) do given[i] = history(at - delay) end
      table.move(args, 3, args.n, #delays + 1, given)
      return change.of(who, "f", x, f(at, x, table.unpack(given, 1, #delays + args.n - 2)), h)
    end
    return step(y, t, h, F, opts)
  end
end

--- dde_euler_step, dde_heun_step, dde_rk4_step: the Runge-Kutta methods of orders 1, 2, 4.
for name, method in pairs{euler = "euler", heun = "rk2", rk4 = "rk4"} do
  define(name, {}, function(y, t, h, F) return (tableau.step(tableau.METHODS[method], y, t, h, F)) end)
end

--- dde_euler_pc_step: predicted by Euler's method, corrected max_iter times with the slope at the end of the step.
define("euler_pc", {max_iter = 3}, function(y, t, h, F, opts)
  local new = change.add(y, {1}, {F(y, t)})
  for _ = 1, opts.max_iter do new = change.add(y, {1}, {F(new, t + h)}) end
  return new
end)

--- dde_heun_pc_step: predicted by Heun's method, corrected max_iter times with the mean of the slopes.
define("heun_pc", {max_iter = 3}, function(y, t, h, F, opts)
  local first = F(y, t)
  local new = change.add(y, {0.5, 0.5}, {first, F(change.add(y, {1}, {first}), t + h)})
  for _ = 1, opts.max_iter do new = change.add(y, {0.5, 0.5}, {first, F(new, t + h)}) end
  return new
end)

return M

--- Steps of  dy/dt = f(y, t, ...).  y : a number, tensor or tree.  With {return_error = true} the embedded methods return an
--  estimate of the error of the step, too.
local core = require "bdl.core"
local tree = require "bdl.tree"
local integrate = require "bdl.nn.integrate"
local change = require "bdl.quad.change"
local tableau = require "bdl.quad.tableau"

local M = {}

--- The estimate of DOP853: that of order 5, less where that of order 3 is larger.  |e5|^2 / sqrt(|e5|^2 + 0.01 |e3|^2), signed.
local function error_of_dopri8(method, zero, k)
  local third = {}
  for s, b in ipairs(method.b) do third[s] = b - method.third[s] end
  local e5, e3 = change.add(zero, method.error, k), change.add(zero, third, k)
  return tree.map(function(a, b)
    a = core.is_tensor(a) and a or core.tensor(a)
    local unit = core.unit_of(a)
    local x, y = core.mantissa(a), core.is_tensor(b) and core.mantissa(unit and core.convert(b, unit) or b) or b
    local square = x * x
    local size = core.bind("sqrt", {}, square + 0.01 * (y * y))
    local part = core.bind("div", {}, core.bind("abs", {}, x), core.bind("select", {}, core.bind("gt", {}, size, 0.0), size, 1.0))
    return core.with_unit(x * core.bind("select", {}, core.bind("gt", {}, size, 0.0), part, 1.0), unit)
  end, e5, e3)
end

local function error_estimate(method, y, t, h, k, new, increment)
  local zero = tree.map(function(x) return x - x end, y)
  if method.third then return error_of_dopri8(method, zero, k) end
  if #method.error > #method.b then k[#method.b + 1] = increment(new, t + h) end
  return change.add(zero, method.error, k)
end

local function explicit(name, method)
  local who = ("ode_%s_step"):format(name)
  local known = method.error and {return_error = false} or {}
  M[who] = function(f, y, t, ...)
    change.check_function(who, "f", f)
    local args = table.pack(change.begin(who, known, y, t, ...))
    local h, opts = args[1], args[2]
    local function increment(x, at) return change.of(who, "f", x, f(x, at, table.unpack(args, 3, args.n)), h) end
    local new, k = tableau.step(method, y, t, h, increment)
    if not opts.return_error then return new end
    return new, error_estimate(method, y, t, h, k, new, increment)
  end
end

for name, method in pairs(tableau.METHODS) do explicit(name, method) end
for alias, name in pairs{bs32 = "rk23", rk45_dopri = "dopri5", rk87_dopri = "dopri8"} do explicit(alias, tableau.METHODS[name]) end

--- Exponential Euler, y one tensor:  y + dt exprel(dt J) f(y, t),  J = df/dy element by element.  Exact where f is linear in y.
function M.ode_expeuler_step(f, y, t, ...)
  change.check_function("ode_expeuler_step", "f", f)
  change.begin("ode_expeuler_step", {}, y, t)
  return integrate.step(f, y, nil, t, ...)
end

return M

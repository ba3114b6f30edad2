--- Steps of  dy/dt = f(y, t, ...).  y : a number, tensor or tree.  With {return_error = true} the embedded methods
--  return an estimate of the error of the step, too.
--  Example:
--    bdl.environ.set{dt = 0.1}
--    print(bdl.quad.NAME(function(y, t) return -y end, bdl.ones(2), 0.0))
local core = require "bdl.core"
local tree = require "bdl.tree"
local integrate = require "bdl.nn.integrate"
local change = require "bdl.quad.change"
local tableau = require "bdl.quad.tableau"

local M = {}

--- The estimate of DOP853: that of order 5, less where that of order 3 is larger.  |e5|^2 / sqrt(|e5|^2 + 0.01 |e3|^2),
--  signed.
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
    local part = core.bind("div", {}, core.bind("abs", {}, x), core.bind("select", {}, core.bind("gt", {}, size, 0.0),
                                                                         size, 1.0))
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

--- ode_euler_step: Euler's method, order 1:  y' = y + h f(y, t).
--- ode_rk2_step: Heun's method of order 2:  y' = y + h (k1 + k2)/2,  k2 at y + h k1.
--- ode_midpoint_step: The midpoint method, order 2.
--- ode_ralston2_step: Ralston's method, order 2, of the least error.
--  Source: Ralston (1962), Math Comp 16.
--- ode_rk3_step: Kutta's method, order 3.
--- ode_heun_step: Heun's method of order 3.
--- ode_ralston3_step: Ralston's method, order 3, of the least error.
--  Source: Ralston (1962), Math Comp 16.
--- ode_ssprk33_step: Strong-stability-preserving, order 3.
--  Source: Shu & Osher (1988), J Comput Phys 77.
--- ode_rk4_step: The classical method of Runge and Kutta, order 4.
--- ode_rk4_38_step: The 3/8 rule, order 4.
--- ode_rk23_step, ode_bs32_step: Order 3 with an estimate of the error from order 2.
--  Source: Bogacki & Shampine (1989), Appl Math Lett 2.
--- ode_rk45_step: Order 5 with an estimate of the error from order 4.
--  Source: Cash & Karp (1990), ACM Trans Math Softw 16.
--- ode_rkf45_step: Order 5 with an estimate of the error from order 4.
--  Source: Fehlberg (1969), NASA TR R-315.
--- ode_dopri5_step, ode_rk45_dopri_step: Order 5 with an estimate of the error from order 4.
--  Source: Dormand & Prince (1980), J Comput Appl Math 6.
--- ode_dopri8_step, ode_rk87_dopri_step: Order 8 with an estimate of the error.
--  Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I.
for name, method in pairs(tableau.METHODS) do explicit(name, method) end
for alias, name in pairs{bs32 = "rk23", rk45_dopri = "dopri5", rk87_dopri = "dopri8"} do
  explicit(alias, tableau.METHODS[name])
end

--- Exponential Euler, y one tensor:  y + dt exprel(dt J) f(y, t),  J = df/dy element by element.  Exact where f is
--  linear in y.
function M.ode_expeuler_step(f, y, t, ...)
  change.check_function("ode_expeuler_step", "f", f)
  change.begin("ode_expeuler_step", {}, y, t)
  return integrate.step(f, y, nil, t, ...)
end

return M

--- Steps of  dy/dt = f(y, t, ...) + g(y, t, ...):  f explicit, g, the stiff part, implicit, by max_iter (2) fixed-point
--  iterations; these converge where dt |dg/dy| < 1.
--  Sources: Ascher, Ruuth & Wetton (1995), SIAM J. Numer. Anal. 32 (euler, cnab);  Ascher, Ruuth & Spiteri (1997),
--  Appl. Numer. Math. 25, 2.6 (ars222).
--  Example:
--    bdl.environ.set{dt = 0.1}
--    print(bdl.quad.NAME(function(y, t) return 1 - y end, function(y, t) return -y end, bdl.ones(2), 0.0))
local change = require "bdl.quad.change"

local M = {}

--- imex_<name>_step by  step(y, t, h, F, G, solve, previous?):  F, G(y, t) the changes f h, g h;
--  solve(x, from, part, at) the solution of  z = x + part G(z, at),  iterated from `from`.
local function define(name, before, step)
  local who = ("imex_%s_step"):format(name)
  local function run(f, g, y, previous, t, ...)
    change.check_function(who, "the explicit part f", f)
    change.check_function(who, "the implicit part g", g)
    local args = table.pack(change.begin(who, {max_iter = 2}, y, t, ...))
    local h, opts = args[1], args[2]
    local function F(x, at) return change.of(who, "f", x, f(x, at, table.unpack(args, 3, args.n)), h) end
    local function G(x, at) return change.of(who, "g", x, g(x, at, table.unpack(args, 3, args.n)), h) end
    local function solve(x, from, part, at)
      local z = from
      for _ = 1, opts.max_iter do z = change.add(x, {part}, {G(z, at)}) end
      return z
    end
    return step(y, t, h, F, G, solve, previous)
  end
  M[who] = before and run or function(f, g, y, t, ...) return run(f, g, y, nil, t, ...) end
end

--- imex_euler_step: order 1:  y' = y + h f(y, t) + h g(y', t + h).
define("euler", false, function(y, t, h, F, _, solve) return solve(change.add(y, {1}, {F(y, t)}), y, 1, t + h) end)

--- imex_ars222_step: order 2, L-stable.
define("ars222", false, function(y, t, h, F, G, solve)
  local gamma = 1 - 1 / math.sqrt(2)
  local delta = 1 - 1 / (2 * gamma)
  local f1 = F(y, t)
  local y2 = solve(change.add(y, {gamma}, {f1}), y, gamma, t + gamma * h)
  local f2, g2 = F(y2, t + gamma * h), G(y2, t + gamma * h)
  return solve(change.add(y, {delta, 1 - delta, 1 - gamma}, {f1, f2, g2}), y2, gamma, t + h)
end)

--- imex_cnab_step: imex_cnab_step(f, g, y, y_previous, t, ...): Crank-Nicolson and Adams-Bashforth, order 2; y_previous
--  is y at t - dt.
--  Example:
--    bdl.environ.set{dt = 0.1}
--    local y = bdl.ones(2)
--    print(bdl.quad.imex_cnab_step(function(y, t) return 1 - y end, function(y, t) return -y end, y, y, 0.0))
define("cnab", true, function(y, t, h, F, G, solve, previous)
  local known = change.add(y, {1.5, -0.5, 0.5}, {F(y, t), F(previous, t - h), G(y, t)})
  return solve(known, known, 0.5, t + h)
end)

return M

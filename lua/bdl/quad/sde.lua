--- Steps of  dy = f(y, t, ...) dt + g(y, t, ...) dW,  where g gives y per root of time and dW is sqrt(dt) N(0, 1), for
--  each number of y its own, from the default generator, the leaves of y in order.
--  sde_type: "ito", the default of methods that can be both, or "stra" (Stratonovich); srk2, srk3 and srk4 are of
--  Stratonovich's.
--  Sources: Kloeden & Platen, Numerical Solution of Stochastic Differential Equations (1992), 9.1, 11.1, 12.2;
--  tamed_euler: Hutzenthaler, Jentzen & Kloeden (2012), Ann. Appl. Probab. 22;  heun, srk: Rumelin (1982), SIAM J.
--  Numer. Anal. 19.
--  Example:
--    bdl.environ.set{dt = 0.1}
--    print(bdl.quad.NAME(function(y, t) return -y end, function(y, t) return 0.1 * y end, bdl.ones(2), 0.0))
local core = require "bdl.core"
local tree = require "bdl.tree"
local integrate = require "bdl.nn.integrate"
local change = require "bdl.quad.change"
local tableau = require "bdl.quad.tableau"

local M = {}

--- sde_<name>_step by  step(y, t, h, F, G, normal, opts, f, ...):  F(y, t) = f h and G(y, t) = g sqrt(h), changes of y;
--  normal : N(0, 1) like y;  what follows is the drift and its further arguments.
local function define(name, known, step)
  local who = ("sde_%s_step"):format(name)
  M[who] = function(f, g, y, t, ...)
    change.check_function(who, "the drift f", f)
    change.check_function(who, "the diffusion g", g)
    local args = table.pack(change.begin(who, known, y, t, ...))
    local h, opts = args[1], args[2]
    local number = core.mantissa(core.is_tensor(h) and h or core.tensor(h))
    if not core.is_traced(number) and not (core.item(number) > 0) then
      core.fail("ValueError", 2, "%s: noise needs dt > 0, not %s", who, tostring(h))
    end
    local root = core.pow(h, 0.5)
    local function F(x, at) return change.of(who, "the drift f", x, f(x, at, table.unpack(args, 3, args.n)), h) end
    local function G(x, at)
      return change.of(who, "the diffusion g", x, g(x, at, table.unpack(args, 3, args.n)), root, "root of time")
    end
    return step(y, t, h, F, G, change.normal(y), opts, f, table.unpack(args, 3, args.n))
  end
end

local function times(a, b) return tree.map(function(x, z) return x * z end, a, b) end

--- sde_euler_step: Euler and Maruyama's method:  y' = y + f h + g dW.
define("euler", {}, function(y, t, _, F, G, normal) return change.add(y, {1, 1}, {F(y, t), times(G(y, t), normal)}) end)

--- sde_milstein_step: Milstein's method, without the derivative of g: its difference along a step with dW = sqrt(dt)
--  stands for it.
define("milstein", {sde_type = "ito"}, function(y, t, _, F, G, normal, opts)
  local drift, g = F(y, t), G(y, t)
  local ahead = G(change.add(y, {1, 1}, {drift, g}), t)
  local mean = opts.sde_type == "ito" and 1 or 0
  local square = tree.map(function(a, b, z) return (b - a) * (z * z - mean) end, g, ahead, normal)
  return change.add(y, {1, 1, 0.5}, {drift, times(g, normal), square})
end)

--- sde_heun_step: Heun's method: the mean of the slopes at both ends of a step of Euler's.
define("heun", {sde_type = "ito"}, function(y, t, h, F, G, normal, opts)
  local drift, noise = F(y, t), times(G(y, t), normal)
  local ahead = change.add(y, {1, 1}, {drift, noise})
  local later = F(ahead, t + h)
  if opts.sde_type == "ito" then return change.add(y, {0.5, 0.5, 1}, {drift, later, noise}) end
  return change.add(y, {0.5, 0.5, 0.5, 0.5}, {drift, later, noise, times(G(ahead, t + h), normal)})
end)

--- sde_tamed_euler_step: the drift's change d is tamed to d / (1 + |d|), d in the unit of y, so that steep drifts do
--  not run away.
define("tamed_euler", {}, function(y, t, _, F, G, normal)
  local tamed = tree.map(function(x, d)
    local unit = core.unit_of(x)
    local plain = core.mantissa(unit and core.convert(d, unit) or d)
    return d / (1.0 + core.bind("abs", {}, plain))
  end, y, F(y, t))
  return change.add(y, {1, 1}, {tamed, times(G(y, t), normal)})
end)

--- sde_implicit_euler_step: the drift at the end of the step, found by max_iter iterations from a step of Euler's.
define("implicit_euler", {max_iter = 2}, function(y, t, h, F, G, normal, opts)
  local noise = times(G(y, t), normal)
  local new = change.add(y, {1, 1}, {F(y, t), noise})
  for _ = 1, opts.max_iter do new = change.add(y, {1, 1}, {noise, F(new, t + h)}) end
  return new
end)

--- sde_expeuler_step: exponential Euler for the drift, y one tensor, and Euler for the noise.
define("expeuler", {}, function(y, t, _, _, G, normal, _, f, ...)
  return change.add(integrate.step(f, y, nil, t, ...), {1}, {times(G(y, t), normal)})
end)

--- sde_srk2_step, sde_srk3_step, sde_srk4_step: the Runge-Kutta methods of these orders with dW as part of the slope.
for name, method in pairs{srk2 = "rk2", srk3 = "rk3", srk4 = "rk4"} do
  define(name, {}, function(y, t, h, F, G, normal)
    return (tableau.step(tableau.METHODS[method], y, t, h, function(x, at) return change.add(F(x, at), {1},
        {times(G(x, at), normal)}) end))
  end)
end

return M

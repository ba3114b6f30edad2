--- One step of a differential equation:  y = quad.ode_rk4_step(f, y, t, ...),  dt from the environ.
--
--  y : a number, a tensor or a tree of them;  t : the time of y;  what follows goes to the functions.
--    ode_*_step(f, y, t, ...)                  dy/dt = f(y, t, ...)                             quad/ode.lua
--    sde_*_step(f, g, y, t, ...)               dy = f(y, t, ...) dt + g(y, t, ...) dW           quad/sde.lua
--    imex_*_step(f, g, y, t, ...)              dy/dt = f, explicit + g, stiff                   quad/imex.lua
--    dde_*_step(f, y, t, history, delays, ...) dy/dt = f(t, y, history(t - delay).., ...)       quad/dde.lua
--  Options are a last plain table: {return_error = true}, {sde_type = "stra"}, {max_iter = 3}.
--  Errors: TypeError no function, no time; ValueError another structure than y's; UnitMismatchError, ShapeError f does
--    not fit y; KeyError dt is not set.
local quad = {}

for _, family in ipairs{"ode", "sde", "imex", "dde"} do
  for name, step in pairs(require("bdl.quad." .. family)) do quad[name] = step end
end

return quad

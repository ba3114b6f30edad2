--- Phase planes: where a system of two variables goes, and where one of them stands still.
local core = require "bdl.core"
local figure = require "bdl.plot.figure"
local none = require "bdl.none".none
local numbers = require "bdl.plot.numbers"

local M = {}

local ARROWS, CELLS = 16, 120                    -- arrows along an axis; cells that nullclines are looked for in

--- Rates at the points of an n x n grid: two lists of rows.  f takes and gives tensors [n, n].
local function rates_on(f, x, y, n)
  local array = require "bdl.array"
  local function along(ax, shape)
    local t = core.bind("reshape", {shape = shape}, array.linspace(core.tensor(ax.from), core.tensor(ax.to), n))
    t = array.broadcast_to(t, n, n)
    return ax.unit and core.with_unit(t, ax.unit) or t
  end
  local dx, dy = f(along(x, {1, n}), along(y, {n, 1}))
  local out = {}
  for k = 1, 2 do
    local d
    if k == 1 then d = dx else d = dy end
    if type(d) == "number" then d = array.full({n, n}, d) end
    if not core.is_tensor(d) or d.ndim ~= 2 and d.ndim ~= 0 then
      core.hint "function(x, y) return x - x^3/3 - y, 0.08*(x + 0.7 - 0.8*y) end"
      core.fail("TypeError", 3, "plot.phase: the function gives dx/dt and dy/dt, elementwise; number %d is %s", k,
                core.is_tensor(d) and ("[%s]"):format(table.concat(d.shape, ",")) or "a " .. type(d))
    end
    if d.ndim == 0 or d.shape[1] ~= n or d.shape[2] ~= n then d = array.broadcast_to(d, n, n) end
    out[k] = numbers.read("plot.phase", k == 1 and "dx/dt" or "dy/dt", d, 2)
  end
  return out[1], out[2]
end

--- Where z, on n x n points from x.from, y.from to x.to, y.to, changes its sign: pieces of a line, NaN between.
--  Each square is cut along a diagonal; in a triangle the zero of the linear interpolation is one piece.
local function zero_line(z, x, y)
  local n, xs, ys = #z, {}, {}
  local wx, wy = (x.to - x.from) / (n - 1), (y.to - y.from) / (n - 1)
  local function crossing(a, b)
    local f = a.z / (a.z - b.z)
    return x.from + wx * (a.j + f * (b.j - a.j)), y.from + wy * (a.i + f * (b.i - a.i))
  end
  local function triangle(p)
    local found = {}
    for k = 1, 3 do
      local a, b = p[k], p[k % 3 + 1]
      if (a.z > 0) ~= (b.z > 0) then found[#found + 1] = {crossing(a, b)} end
    end
    if #found < 2 then return end
    for _, c in ipairs(found) do xs[#xs + 1], ys[#ys + 1] = c[1], c[2] end
    xs[#xs + 1], ys[#ys + 1] = 0 / 0, 0 / 0
  end
  for i = 1, n - 1 do
    for j = 1, n - 1 do
      local function corner(a, b) return {i = i - 1 + a, j = j - 1 + b, z = z[i + a][j + b]} end
      local a, b, c, d = corner(0, 0), corner(0, 1), corner(1, 0), corner(1, 1)
      triangle{a, b, d}
      triangle{a, c, d}
    end
  end
  return xs, ys
end

--- Arrows in the middles of n x n cells, as long as a cell allows; longer where the system is faster, by the
--  square root.
local function arrows(dx, dy, x, y)
  local n, layer, fastest = #dx, {kind = "arrows", x = {}, y = {}, u = {}, v = {}}, 0
  local wx, wy = (x.to - x.from) / n, (y.to - y.from) / n
  local function speed(i, j) return math.sqrt((dx[i][j] / wx)^2 + (dy[i][j] / wy)^2) end
  for i = 1, n do
    for j = 1, n do
      local s = speed(i, j)
      if numbers.is_finite(s) then fastest = math.max(fastest, s) end
    end
  end
  for i = 1, n do
    for j = 1, n do
      local s = speed(i, j)
      if s > 0 and numbers.is_finite(s) then
        local length = 0.8 * math.max(0.25, math.sqrt(s / fastest)) / s
        local u, v, k = dx[i][j] * length, dy[i][j] * length, #layer.x + 1
        layer.x[k], layer.y[k] = x.from + (j - 0.5) * wx - u / 2, y.from + (i - 0.5) * wy - v / 2
        layer.u[k], layer.v[k] = u, v
      end
    end
  end
  return layer
end

--- The axis of a range {from, to}.
local function axis_of(name, range)
  if type(range) ~= "table" or getmetatable(range) ~= nil or range[1] == nil or range[2] == nil then
    core.fail("TypeError", 3, "plot.phase: %s is a range {from, to}", name)
  end
  local from, _, unit = numbers.read("plot.phase", name, range[1], 0)
  local to = numbers.scalar("plot.phase", name, range[2], unit)
  if not (from < to) then core.fail("ValueError", 3, "plot.phase: %s goes from a number to a larger one", name) end
  return {from = from, to = to, unit = unit, label = name}
end

--- A system of two variables: its direction field, its nullclines, and a trajectory.
--  f : a function of x and y, tensors of one shape, that gives dx/dt and dy/dt
--  Options: x, y (ranges {from, to}, with units), trajectory ({x, y}, or a list of these), nullclines, field (true),
--    names (of the nullclines and trajectories, false: none), title, x_label, y_label, width, height.
--  Example:
--    print(bdl.plot.phase(function(v, w) return v - v^3/3 - w + 0.5, 0.08*(v + 0.7 - 0.8*w) end,
--                         {x = {-2.5, 2.5}, y = {-1, 2}, x_label = "v", y_label = "w", width = 60}))
function M.phase(f, opts)
  local a = figure.options("plot.phase", {x = none, y = none, trajectory = none, nullclines = true, field = true,
                                          names = none}, opts)
  if core.tracing() then numbers.read(a.who, "values", 0) end
  if type(f) ~= "function" then
    core.fail("TypeError", 2, "plot.phase: a function of x and y that gives dx/dt and dy/dt is needed, not a %s",
              type(f))
  end
  if a.x == nil or a.y == nil then
    core.hint "plot.phase(f, {x = {-2, 2}, y = {-1, 1}})"
    core.fail("TypeError", 2, "plot.phase: the ranges x and y are needed")
  end
  local x, y = axis_of("x", a.x), axis_of("y", a.y)
  local layers, names = {}, a.names ~= false
  local x_name, y_name = a.x_label or "x", a.y_label or "y"
  if a.field then
    local wx, wy = (x.to - x.from) / ARROWS / 2, (y.to - y.from) / ARROWS / 2
    local dx, dy = rates_on(f, {from = x.from + wx, to = x.to - wx, unit = x.unit},
                            {from = y.from + wy, to = y.to - wy, unit = y.unit}, ARROWS)
    layers[1] = arrows(dx, dy, x, y)
  end
  if a.nullclines then
    for k, z in ipairs{rates_on(f, x, y, CELLS)} do
      local xs, ys = zero_line(z, x, y)
      layers[#layers + 1] = {kind = "line", x = xs, y = ys, color = k,
                             name = names and ("d%s/dt = 0"):format(k == 1 and x_name or y_name) or nil}
    end
  end
  local paths = a.trajectory
  local first = type(paths) == "table" and paths[1]
  if first and (core.is_tensor(first) or type(first) == "table" and type(first[1]) == "number") then paths = {paths} end
  for k, path in ipairs(paths or {}) do
    if type(path) ~= "table" or path[1] == nil or path[2] == nil then
      core.fail("TypeError", 2, "plot.phase: a trajectory is {x, y}")
    end
    local xs, _, x_unit = numbers.read(a.who, "x of the trajectory", path[1], 1)
    local ys, _, y_unit = numbers.read(a.who, "y of the trajectory", path[2], 1)
    if #xs ~= #ys then
      core.fail("ShapeError", 2, "plot.phase: %d values of x and %d of y in a trajectory", #xs, #ys)
    end
    layers[#layers + 1] = {
      kind = "line", color = 2 + k, name = names and "trajectory" .. (#paths > 1 and " " .. k or "") or nil,
      x = numbers.convert(a.who, "x of the trajectory", xs, x_unit, x.unit),
      y = numbers.convert(a.who, "y of the trajectory", ys, y_unit, y.unit),
    }
  end
  return figure.single(a, {x = x, y = y, layers = layers})
end

return M

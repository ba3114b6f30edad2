--- Figures: what is drawn of what data, as text, as scripts of gnuplot, as files where gnuplot is there.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local axis = require "bdl.plot.axis"
local gnuplot = require "bdl.plot.gnuplot"
local numbers = require "bdl.plot.numbers"
local plot, u, nn = bdl.plot, bdl.units, bdl.nn

local NAN = 0 / 0
local has_gnuplot = require "bdl.plot.program".version() ~= nil

--- The text without colours, also on a terminal.
local function text(fig, width, height) return fig:text{width = width or 30, height = height, color = false} end

local function script(fig) return gnuplot.script(fig, "unknown", 1, 0, 6, 4) end

--- A part of a text, without magic characters.
local function has(where, what) t.ok(where:find(what, 1, true), ("no '%s' in\n%s"):format(what, where)) end

--- A drawing, one line a string.
local function draws(fig, width, height, lines) t.eq(text(fig, width, height), table.concat(lines, "\n")) end

local function contents(path)
  local file = assert(io.open(path, "rb"))
  local all = file:read "a"
  file:close()
  return all
end

local spikes = bdl.eye(8)[{{}, {1, 6}}]

-- ---- text -----------------------------------------------------------------------------------------------------------

t.test("a curve", function()
  draws(plot.lines({0, 1, 2, 3}, {title = "up"}), 24, 3, {
    "            up",
    "  │               ⣀⣀⠤⠤⠒⠒",
    "2 ┤       ⢀⣀⡠⠤⠒⠒⠉⠉",
    "0 ┤⣀⡠⠤⠔⠒⠊⠉⠁",
    "  └┬────────────┬───────",
    "   0            2",
    "           step",
  })
end)

t.test("curves have their names at their ends, a NaN is a gap", function()
  draws(plot.lines({a = {1, 0, 1}, b = {3, 2, NAN}}, {x = bdl.tensor{0., 1., 2.}*u.ms, y_label = "V"}), 30, 4, {
    "V",
    "  │⠒⠒⠢⠤⠤⣀⣀⡀",
    "2 ┤       ⠈⠉⠉⠒⠒⠒             b",
    "  │⠤⣀⣀⡀                 ⢀⣀⣀⠤ a",
    "0 ┤   ⠈⠉⠉⠒⠒⠒⠤⠤⢄⣀⡠⠤⠤⠒⠒⠒⠉⠉⠁",
    "  └┬───────────┬───────────┬",
    "   0           1           2",
    "           time (ms)",
  })
end)

t.test("a raster has a row of dots for each neuron, the first at the bottom", function()
  draws(plot.raster(spikes, {duration = 8*u.ms}), 24, nil, {
    "neuron",
    "5 ┤             ⠂",
    "  │       ⠠  ⠈",
    "  │  ⢀  ⠂",
    "0 ┤⠄",
    "  └┬────────────┬───────",
    "   0            5",
    "         time (ms)",
  })
  draws(plot.raster(spikes, {rows = {5, 0}, groups = {{"x", 1}, {"y", 1}}}), 24, 2, {
    "neuron",
    "1 ┤⠄                   y",
    "0 ┤           ⠐        x",
    "  └┬──────────┬───────",
    "   0          5",
    "          step",
  })
end)

t.test("populations stand above each other, with names", function()
  local few = bdl.tensor{{1, 0}, {0, 1}, {0, 0}, {1, 1}, {0, 0}, {0, 0}, {0, 0}, {0, 0}}
  local both = plot.raster({E = spikes, I = few}, {duration = 8*u.ms}).rows[1][1]
  t.eq({both.rows, #both.layers, both.layers[1].name, both.layers[2].name, both.x.to}, {8, 2, "E", "I", 8})
  t.eq({both.layers[2].x, both.layers[2].y}, {{0, 1, 3, 3}, {6, 7, 6, 7}})
  local named = plot.raster({few, spikes}, {names = {"I", "E"}}).rows[1][1]
  t.eq({named.layers[1].name, named.layers[1].y}, {"I", {0, 1, 0, 1}})
  t.eq(plot.raster{few, few}.rows[1][1].layers[2].name, "2")
  t.eq(#plot.raster({few, spikes}, {rows = {0, 2}}).rows[1][1].layers, 1)
  t.raises("ValueError", "2 populations need as many names", plot.raster, {few, few}, {names = {"a"}})
  t.raises("ValueError", "names are those of several populations", plot.raster, few, {names = {"a"}})
  t.raises("UnitMismatchError", "the times of 'b': a plain number does not fit <ms>", plot.raster,
           {a = {bdl.tensor{1.} * u.ms, {}}, b = few})
  t.raises("ValueError", "the times of 'b': all populations have times, or all steps", plot.raster, {a = {{1.}, {}}, b = few})
end)

t.test("bars of a histogram", function()
  draws(plot.hist({1, 1, 1, 1, 2, 2, 3}, {bins = 3}), 24, 4, {
    "count",
    "4 ┤▆▆▆▆▆▆▆",
    "  │███████",
    "2 ┤███████▇▇▇▇▇▇▇",
    "0 ┤█████████████████████",
    "  └┬─────────┬─────────┬",
    "   1         2         3",
    "           value",
  })
end)

t.test("shades of a map", function()
  draws(plot.heatmap({{0, 1}, {2, 3}}, {label = "rate"}), 24, 4, {
    "row    rate: 0 [ ░▒▓█] 3",
    "  │▓▓▓▓▓▓▓▓▓▓███████████",
    "1 ┤▓▓▓▓▓▓▓▓▓▓███████████",
    "0 ┤          ░░░░░░░░░░░",
    "  │          ░░░░░░░░░░░",
    "  └─────┬─────────┬─────",
    "        0         1",
    "          column",
  })
end)

t.test("weights stand as they are written, around 0, a point where there is none", function()
  draws(plot.weights(bdl.tensor{{-1., 0.}, {0.5, NAN}}*u.mS), 30, 4, {
    "weight (mS): -1 [ ░▒▓█] 1",
    "presynaptic neuron",
    "  │             ▒▒▒▒▒▒▒▒▒▒▒▒▒▒",
    "0 ┤             ▒▒▒▒▒▒▒▒▒▒▒▒▒▒",
    "1 ┤▓▓▓▓▓▓▓▓▓▓▓▓▓··············",
    "  │▓▓▓▓▓▓▓▓▓▓▓▓▓··············",
    "  └──────┬─────────────┬──────",
    "         0             1",
    "       postsynaptic neuron",
  })
end)

t.test("marks with bars of errors", function()
  draws(plot.tuning({0, 1, 2}, bdl.tensor{0., 4., 8.}*u.Hz, {error = bdl.tensor{1., 1., 2.}*u.Hz}), 24, 5, {
    "response (Hz)",
    "10 ┤                  ⢰",
    "   │             ⢀⣀⠤⠔⠒●",
    " 5 ┤        ⢀⣀●⠒⠊⠁",
    "   │ ⡀ ⣀⠤⠔⠒⠉⠁ ⠁",
    " 0 ┤ ●⠉",
    "   └─┬────────┬───────┬─",
    "     0        1       2",
    "          stimulus",
  })
end)

t.test("rows with one time axis share it; panels stand side by side", function()
  draws(plot.figure{plot.lines({1, 2}, {x_label = "x"}), plot.lines({2, 1}, {x_label = "x"})}, 24, 2, {
    "2.0 ┤         ⢀⣀⣀⡠⠤⠤⠔⠒⠒⠉",
    "1.0 ┤⣀⠤⠤⠔⠒⠒⠊⠉⠉⠁",
    "    └┬────────┬────────┬",
    "2.0 ┤⠉⠒⠒⠢⠤⠤⢄⣀⣀⡀",
    "1.0 ┤         ⠈⠉⠉⠑⠒⠒⠢⠤⠤⣀",
    "    └┬────────┬────────┬",
    "    0.0      0.5     1.0",
    "              x",
  })
  draws(plot.figure{{plot.lines{1, 2}, plot.lines{2, 1}}}, 40, 2, {
    "2.0 ┤       ⣀⣀⠤⠤⠒⠒⠊  2.0 ┤⠑⠒⠒⠤⠤⣀⣀",
    "1.0 ┤⡠⠤⠤⠒⠒⠉⠉         1.0 ┤       ⠉⠉⠒⠒⠤⠤⢄",
    "    └┬──────┬─────┬      └┬──────┬─────┬",
    "    0.0    0.5  1.0      0.0    0.5  1.0",
    "          step                 step",
  })
end)

t.test("colours of a terminal", function()
  local colored = plot.lines{a = {1, 2}, b = {2, 1}}:text{width = 30, height = 3, color = true}
  has(colored, "\27[38;2;0;114;178m")
  t.eq(colored:gsub("\27%[[%d;]*m", ""), text(plot.lines{a = {1, 2}, b = {2, 1}}, 30, 3))
  local map = plot.heatmap({{0, 1}, {NAN, 1}}, {map = "viridis"}):text{width = 30, height = 1, color = true}
  has(map, "\27[38;2;253;231;37m\27[48;2;253;231;37m▀")
  has(map, "\27[38;2;68;1;84m▄")
end)

t.test("every line of a text fits its width", function()
  for _, width in ipairs{20, 33, 80} do
    for line in text(plot.figure{plot.lines({name = {1e6, -2e6}}), {plot.hist{1, 2, 3}, plot.weights(bdl.eye(3)*u.mS)}},
                     math.max(width, 60)):gmatch "[^\n]+" do
      t.ok(utf8.len(line) <= math.max(width, 60), line)
    end
    for line in text(plot.lines({name = {1e6, -2e6}}), width):gmatch "[^\n]+" do t.ok(utf8.len(line) <= width, line) end
  end
end)

-- ---- axes -----------------------------------------------------------------------------------------------------------

local function labels(a, from, to, most)
  local list = {}
  for k, tick in ipairs(axis.ticks(a, from, to, most)) do list[k] = tick.text end
  return table.concat(list, " ")
end

t.test("ticks are steps of 1, 2 and 5", function()
  t.eq(labels({}, 0, 1, 5), "0.0 0.2 0.4 0.6 0.8 1.0")
  t.eq(labels({}, -0.03, 0.12, 3), "0.00 0.05 0.10")
  t.eq(labels({}, 0, 1000, 4), "0 200 400 600 800 1000")
  t.eq(labels({}, 10, 0, 2), "0 5 10")
  t.eq(labels({integer = true}, 0, 2, 10), "0 1 2")
  t.eq(labels({}, -2e6, 2e6, 4), "-2·10⁶ -10⁶ 0 10⁶ 2·10⁶")
  t.eq(labels({}, 2000000, 2000002, 2), "2000000 2000001 2000002")
  t.eq(labels({}, 0, 3e-7, 3), "0 10⁻⁷ 2·10⁻⁷ 3·10⁻⁷")
  t.eq(labels({log = true}, 1e-4, 100, 10), "10⁻⁴ 0.001 0.01 0.1 1 10 100")
  t.eq(labels({log = true}, 0.9, 30, 10), "1 2 5 10 20")
end)

t.test("ticks lie in their range, whatever it is", function()
  bdl.random.seed(3)
  for _ = 1, 200 do
    local from = (bdl.random.randn():item()) * 10.0^(bdl.random.randint(-8, 9):item())
    local to = from + math.abs(from) * 10.0^(bdl.random.randint(-3, 3):item())
    local ticks = axis.ticks({}, from, to, 6)
    t.ok(#ticks >= 1 and #ticks <= 9, ("%g %g: %d"):format(from, to, #ticks))
    for k, tick in ipairs(ticks) do
      t.ok(tick.at >= from - 1e-6 * (to - from) and tick.at <= to + 1e-6 * (to - from))
      t.ok(k == 1 or ticks[k - 1].at < tick.at)
    end
  end
end)

t.test("axes are named by the units of the data", function()
  local x = bdl.linspace(0, 1, 5)
  has(text(plot.lines(x*u.uA/u.cm^2, {x = x*u.second, y_label = "I"})), "I (µA/cm²)")
  has(text(plot.lines(x, {x = x*u.second})), "time (s)")
  has(text(plot.lines(x, {x = x*u.second, x_label = "delay"})), "delay (s)")
  has(text(plot.lines(x*u.ohm)), "Ω")
  has(text(plot.heatmap(bdl.ones(2, 5)*u.Hz, {x = x*u.mm}), 40), "Hz: 1")
  t.eq(axis.unit_text(u.mS/u.cm^2), "mS/cm²")
end)

t.test("limits have units, and cut", function()
  local ten = bdl.arange(10)
  local fig = plot.lines(ten*u.mV, {x = ten*u.ms, x_limits = {0*u.ms, 0.005*u.second}, y_limits = {-1, 5}})
  local v = require "bdl.plot.figure".views(fig)[1][1]
  t.close({v.x0, v.x1, v.y0, v.y1}, {0, 5, -1, 5})
  has(script(fig), "set xrange [0:5]\n")
end)

t.test("a loss over decades is logarithmic", function()
  t.eq(plot.loss{1, 0.5, 0.01}.rows[1][1].y.log, true)
  t.eq(plot.loss{1, 0.5, 0.2}.rows[1][1].y.log, false)
  t.eq(plot.loss{1, 0, 0.01}.rows[1][1].y.log, false)
  t.eq(plot.loss({1, 0.5, 0.01}, {log = false}).rows[1][1].y.log, false)
end)

-- ---- data -----------------------------------------------------------------------------------------------------------

t.test("a long curve keeps its extremes and its gaps", function()
  local xs, ys = {}, {}
  for i = 1, 10000 do xs[i], ys[i] = i, math.sin(i / 50) end
  ys[5003], ys[777] = 9, -7
  for i = 6000, 6500 do ys[i] = NAN end
  local x, y = numbers.thin(xs, ys, 100)
  t.ok(#x <= 404 and x[1] == 1 and x[#x] == 10000)
  local high, low, gap = false, false, false
  for i, v in ipairs(y) do
    high, low, gap = high or v == 9 and x[i] == 5003, low or v == -7, gap or v ~= v
    t.ok(i == 1 or x[i] > x[i - 1])
  end
  t.ok(high and low and gap)
  t.eq(#(numbers.thin({2, 1, 3}, {1, 2, 3}, 1)), 3)
end)

t.test("a large map shrinks to means of its blocks", function()
  t.eq(numbers.shrink({{1, 3, 5, 7}, {1, 3, NAN, 7}}, 1, 2), {{2, 19 / 3}})
  t.eq(numbers.shrink({{1, 2}}, 5, 5), {{1, 2}})
  t.eq(tostring(numbers.shrink({{NAN, NAN}}, 1, 1)[1][1]):gsub("-", ""), "nan")
end)

t.test("bins hold every value once", function()
  bdl.random.seed(5)
  local x = bdl.random.randn(1000)
  local layer = plot.hist(x).rows[1][1].layers[1]
  local total = 0
  for _, n in ipairs(layer.y) do total = total + n end
  t.eq(total, 1000)
  t.ok(#layer.y > 15 and #layer.y < 60)            -- Freedman and Diaconis: 2 IQR n^(-1/3) = 0.27
  t.close({layer.edges[1], layer.edges[#layer.edges]}, {x:min():item(), x:max():item()})
  layer = plot.hist(x, {density = true, bins = 7}).rows[1][1].layers[1]
  local area = 0
  for i, n in ipairs(layer.y) do area = area + n * (layer.edges[i + 1] - layer.edges[i]) end
  t.close(area, 1)
  local two = plot.hist({a = {1, 2}, b = bdl.tensor{3.}}).rows[1][1].layers
  t.eq(two[1].edges, two[2].edges)
  t.eq(plot.hist({{1, 2}, {3, NAN}}, {bins = 2}).rows[1][1].layers[2].y, {0, 1})
end)

t.test("the maps of colours begin and end at their colours", function()
  local palette = require "bdl.plot.palette"
  for name, stops in pairs(palette.maps) do
    t.eq({palette.at(name, 0), palette.at(name, 1), palette.at(name, -3)}, {stops[1], stops[#stops], stops[1]}, name)
  end
  t.eq(palette.at("grey", 0.5), "#808080")
end)

t.test("a nullcline lies where the rate is 0", function()
  local fig = plot.phase(function(x, y) return x^2 + y^2 - 1, y - x end, {x = {-2, 2}, y = {-2, 2}, field = false})
  local circle, line = fig.rows[1][1].layers[1], fig.rows[1][1].layers[2]
  local n = 0
  for i, x in ipairs(circle.x) do
    if x == x then
      n = n + 1
      t.close(x^2 + circle.y[i]^2, 1, 0, 2e-3)
    end
  end
  t.ok(n > 200)
  for i, x in ipairs(line.x) do t.ok(x ~= x or math.abs(x - line.y[i]) < 1e-6) end
end)

t.test("arrows point where the system goes", function()
  local range = {-1*u.mV, 1*u.mV}
  local function f(x, y) return (x + y) / u.ms, -y / u.ms end
  local fig = plot.phase(f, {x = range, y = range, nullclines = false})
  local a = fig.rows[1][1].layers[1]
  for i, x in ipairs(a.x) do
    local mx, my = x + a.u[i] / 2, a.y[i] + a.v[i] / 2
    t.ok((mx + my) * a.u[i] >= -1e-9 and -my * a.v[i] >= -1e-9)
  end
  t.eq(fig.rows[1][1].x.unit, u.mV)
end)

-- ---- monitors -------------------------------------------------------------------------------------------------------

local function recorded()
  bdl.environ.set{dt = 0.1*u.ms}
  local N = nn.init_all_states(nn.ALIF{4, tau = 20*u.ms, V_th = 1*u.mV, beta = 0.1*u.mV})
  local M = bdl.monitor
  local S, V, R = M.SpikeMonitor(N), M.StateMonitor(N, {"V", "a"}, {every = 10}), M.RateMonitor(N)
  bdl.run(function() return N(bdl.tensor{0.8, 1.2, 1.6, 2.} * u.mA) end, 100*u.ms, {monitors = {S, V, R}})
  bdl.environ.pop "dt"
  return S, V, R
end

t.test("monitors give times in ms and names", function()
  local S, V, R = recorded()
  local raster = plot.raster(S)
  local panel = raster.rows[1][1]
  t.eq({panel.x.from, panel.x.to, tostring(panel.x.unit)}, {0, 100, "ms"})
  t.close(panel.layers[1].x, S.t:totable(), 1e-6)
  t.eq(panel.layers[1].y, S.i:totable())
  local both = plot.lines(V)
  t.eq(#both.rows, 2)
  t.eq(both.share_x, true)
  has(text(both, 60), "V (mV)")
  local one = plot.lines(V, {variable = "V", names = {"a", "b", "c", "d"}})
  t.eq(#one.rows[1][1].layers, 4)
  t.close(one.rows[1][1].layers[2].y, V.V[{{}, 2}].mantissa:totable())
  has(text(plot.lines(R)), "rate (Hz)")
  t.raises("KeyError", "no field 'W'", plot.lines, V, {variable = "W"})
  t.raises("ValueError", "nothing was recorded yet", plot.lines, bdl.monitor.StateMonitor(bdl.State(1.), "x"))
end)

t.test("times of long runs are in seconds", function()
  t.eq({numbers.handy_time({0, 20000}, u.ms)}, {{0, 20}, u.second})
  t.eq({numbers.handy_time({0, 0.5}, u.ms)}, {{0, 500}, u.us})
  t.eq({numbers.handy_time({0, 0.5}, u.second)}, {{0, 500}, u.ms})
end)

t.test("a raster of spike trains is that of the matrix", function()
  local trains = {bdl.tensor{0.}, {1}, {2}, {3}, {4}, {5}}
  local a, b = plot.raster(trains).rows[1][1].layers[1], plot.raster(spikes).rows[1][1].layers[1]
  t.eq({a.x, a.y}, {b.x, b.y})
end)

t.test("weights of States and connections", function()
  local w = bdl.ParamState(bdl.tensor{{1., 2.}, {3., 4.}} * u.mS)
  t.eq(plot.weights(w).rows[1][1].layers[1].rows, {{1, 2}, {3, 4}})
  local csr = bdl.event.CSR.fromdense(bdl.tensor{{0., 2.}, {3., 0.}})
  t.eq(plot.weights(csr).rows[1][1].layers[1].rows, {{0, 2}, {3, 0}})
end)

-- ---- combining ------------------------------------------------------------------------------------------------------

t.test("two figures in one panel, in the units of the first", function()
  local x = bdl.tensor{0., 1.}
  local sum = plot.lines(x*u.mV, {x = x*u.ms}) + plot.lines(x*u.volt, {x = x*u.second})
  local layers = sum.rows[1][1].layers
  t.close(layers[2].y, {0, 1000})
  t.close(layers[2].x, {0, 1000})
  t.eq({layers[1].color, layers[2].color}, {1, 2})
  t.raises("UnitMismatchError", "x of the second: <mV> does not fit a plain number", function()
    return plot.lines(x) + plot.lines(x, {x = x*u.mV})
  end)
  t.raises("TypeError", "not a number", function() return plot.lines(x) + 1 end)
  local two = plot.figure{plot.lines(x), plot.lines(x)}
  t.raises("ValueError", "of one panel", function() return plot.lines(x) + two end)
end)

t.test("a figure is shown by tostring and print", function()
  local fig = plot.lines({1, 2}, {width = 30})
  t.eq(t.prints(function() print(fig) end), tostring(fig))
  t.ok(#fig:text{width = 60} > #fig:text{width = 30})
end)

t.test("what moves: a strip of six as text, all frames for a file", function()
  local y = bdl.arange(200):reshape(100, 2)
  local fig = plot.animate(y, {t = bdl.arange(100)*u.ms})
  local drawn = text(fig, 80)
  for _, when in ipairs{"0 ms", "19 ms", "39 ms", "59 ms", "79 ms", "99 ms"} do has(drawn, " " .. when) end
  t.eq(#require "bdl.plot.figure".frames(fig), 100)
  local maps = plot.animate(bdl.ones(3, 6), {size = {2, 3}})
  t.eq(maps.rows[1][1].layers[1].frames[3].rows, {{1, 1, 1}, {1, 1, 1}})
  t.eq(#require "bdl.plot.figure".frames(plot.animate(bdl.ones(1000, 3))), 100)
end)

-- ---- gnuplot --------------------------------------------------------------------------------------------------------

t.test("the script of a figure", function()
  local s = script(plot.lines({1, NAN, 3}, {title = "it's", y_label = "V"}))
  has(s, "$d1 << EOD\n0 1\n\n2 3\nEOD\n")
  has(s, [[set label 1 "it\047s" at screen]])
  has(s, [[set ylabel "V"]])
  has(s, "plot $d1 using 1:2 with lines lw 1.2 lc rgb '#0072B2' notitle\n")
  has(s, "set xtics scale 0.5 out nomirror offset 0,0 (\"0.0\" 0, \"0.2\" 0.2")
  s = script(plot.loss{train = {1, 0.1, 0.001}, test = {1, 0.2, 0.1}})
  has(s, "set logscale y 10")
  has(s, 'title "test", \\\n')
  s = script(plot.heatmap({{0, 1}, {2, 3}}))
  has(s, "with image notitle")
  has(s, "set palette defined (1 '#440154'")
end)

t.test("very many dots are cells of a picture", function()
  local s = script(plot.raster({a = bdl.ones(250, 100), b = bdl.zeros(250, 1)}))
  has(s, "set palette defined (0 '#FFFFFF', 1 '#0072B2', 2 '#")
  has(s, "set cbrange [0:2]")
  has(s, "\n0 1 1 NaN 1 NaN")                     -- row 0, 250 steps in 447 cells
  has(s, "nonuniform matrix with image notitle")
  t.ok(not script(plot.raster(bdl.ones(150, 100))):find "image")
end)

t.test("what users write stays text", function()
  local s = script(plot.lines({1, 2}, {title = "a'; system 'x';\n`id` \"b\" @c 5 %", y_label = "'", x_label = "\\"}))
  has(s, [["a\047\073 system \047x\047\073 \140id\140 \042b\042 \100c 5 %"]])
  has(s, [[set xlabel "\134" offset 0,0; set ylabel "\047" offset 0,0]])
end)

--- A program gnuplot in a folder of its own, the PATH to which it is given.
local function with_program(lines, f)
  local dir = os.tmpname()
  os.remove(dir)
  assert(os.execute("mkdir " .. dir))
  if lines then
    local file = assert(io.open(dir .. "/gnuplot", "w"))
    file:write("#!/bin/sh\n", lines, "\n")
    file:close()
    os.execute("chmod +x " .. dir .. "/gnuplot")
  end
  for _, name in ipairs{"sh", "cat"} do os.execute(("ln -s /bin/%s %s/%s"):format(name, dir, name)) end
  local ok, e = pcall(f, dir)
  os.execute("rm -r " .. dir)
  if not ok then error(e, 0) end
end

--- Text and status of a script of bdl with a PATH.
local function bdl_with(path, code)
  local file = os.tmpname()
  local f = assert(io.open(file, "w"))
  f:write(code)
  f:close()
  local program = t.shell("realpath " .. os.getenv "BDL"):gsub("\n", "")
  local said, status = t.shell(("PATH=%s %s run --quiet %s"):format(path, program, file))
  os.remove(file)
  return said, status
end

t.test("without gnuplot the error says what to do, and text is drawn", function()
  if not os.getenv "BDL" then return end
  with_program(nil, function(dir)
    local said, status = bdl_with(dir, [[
      local fig = bdl.plot.lines({1, 2}, {width = 30})
      fig:show()
      fig:save "never.png"]])
    t.eq(status, 1)
    has(said, "0.5")
    has(said, "NotSupportedError: figure:save: the program gnuplot is not found")
    has(said, "apt-get install gnuplot-nox")
  end)
end)

t.test("where gnuplot fails its words are passed on, and no file is left", function()
  if not os.getenv "BDL" then return end
  local failing = [[
    case "$1" in --version) echo "gnuplot 5.4";; *) echo '"script", line 7: no such thing' >&2; exit 1;; esac]]
  with_program(failing, function(dir)
    local said, status = bdl_with(dir, ([[
      local out = %q
      local ok, e = pcall(function() bdl.plot.lines{1, 2}:save(out) end)
      print(e.kind, e.message)
      assert(not io.open(out) and not io.open(out .. ".part"))]]):format(dir .. "/out.png"))
    t.eq(status, 0, said)
    has(said, "IOError\tfigure:save: gnuplot failed: line 7: no such thing")
  end)
end)

t.test("a window is opened where there is a display and gnuplot has one", function()
  if not os.getenv "BDL" then return end
  local windows = [[
    case "$1$2" in --version) echo "gnuplot 5.4";; -d-e) echo "png qt x11" >&2;; *) cat "$3" > ${0%/*}/seen;; esac]]
  with_program(windows, function(dir)
    local show = "bdl.plot.lines({1, 2}, {width = 30}):show()"
    local said, status = bdl_with(dir .. " DISPLAY=:9", show)
    t.eq({said, status}, {"", 0})
    has(contents(dir .. "/seen"), "set terminal qt noenhanced size")
    said = bdl_with(dir .. " DISPLAY= WAYLAND_DISPLAY=", show)
    has(said, "step")
  end)
end)

if has_gnuplot then
  local HEAD = {png = "\137PNG\r\n\26\n", svg = "<?xml", pdf = "%PDF-", gif = "GIF8"}
  for ending, head in pairs(HEAD) do
    t.test("a file ." .. ending, function()
      local path = os.tmpname()
      os.remove(path)
      path = ("%s it's | a 'test'.%s"):format(path, ending)
      plot.figure({plot.raster(spikes), {plot.lines{a = {1, NAN, 2}, b = {3, 1, 2}}, plot.weights(bdl.eye(3) - 0.3)}},
                  {title = "'; system 'touch never'; \"$(id)\" `id`"}):save(path, {width = 10*u.cm, height = 2})
      local data = contents(path)
      os.remove(path)
      t.eq(data:sub(1, #head), head)
      t.ok(#data > 1000 and not io.open(path .. ".part") and not io.open "never")
    end)
  end

  t.test("a file .png is as large as asked for", function()
    local path = os.tmpname() .. ".png"
    plot.lines{1, 2}:save(path, {width = 3, height = 2, dpi = 100})
    local w, h = (">I4I4"):unpack(contents(path), 17)
    os.remove(path)
    t.eq({w, h}, {300, 200})
  end)

  t.test("every frame is in a file .gif", function()
    local path = os.tmpname() .. ".gif"
    plot.animate(bdl.arange(21):reshape(7, 3)):save(path, {fps = 5})
    local _, frames = contents(path):gsub("!\249\4", "")
    os.remove(path)
    t.eq(frames, 7)
  end)

  t.test("whatever is drawn as text is drawn by gnuplot", function()
    local path = os.tmpname() .. ".png"
    for _, fig in ipairs{
      plot.lines{NAN, NAN}, plot.lines{5}, plot.lines{1 / 0, 1}, plot.lines{1e299, -1e299}, plot.lines{1e308, -1e308},
      plot.loss{1, 1e-9}, plot.hist{NAN}, plot.hist{1, 1}, plot.heatmap(bdl.full({2, 3}, NAN)), plot.heatmap(bdl.zeros(1, 1)),
      plot.raster(bdl.zeros(5, 2)), plot.raster(bdl.ones(250, 100)), plot.heatmap(bdl.ones(1, 300)), plot.points({1, 2}, {3, 4}), plot.lines({1, 2}, {x_label = "", title = ""}),
      plot.phase(function(x, y) return x*0, y*0 end, {x = {0, 1}, y = {0, 1}}),
    } do
      t.ok(#tostring(fig) > 50)
      fig:save(path, {width = 2, height = 2, dpi = 50})
    end
    os.remove(path)
  end)
else
  t.skip("files of figures", "no gnuplot")
end

-- ---- bad input ------------------------------------------------------------------------------------------------------

t.test("nothing, NaNs, wrong shapes and units", function()
  t.raises("ValueError", "nothing to draw, y: the shape is %[0%]", plot.lines, bdl.zeros(0))
  t.raises("ValueError", "nothing to draw", plot.hist, {})
  t.raises("ValueError", "nothing to draw", plot.heatmap, bdl.zeros(0, 3))
  has(text(plot.lines{NAN, NAN}, 50), "all 2 values are NaN or infinite")
  has(text(plot.raster(bdl.zeros(9, 2)), 40), "no spikes")
  t.raises("ShapeError", "y: 1 or 2 axes expected, not the shape %[2,3,4%]", plot.lines, bdl.zeros(2, 3, 4))
  t.raises("ShapeError", "spikes: 2 axes expected, not the shape %[3%]", plot.raster, bdl.ones(3))
  t.raises("ShapeError", "z: 2 axes expected", plot.heatmap, bdl.ones(3))
  t.raises("ShapeError", "2 values of x for 3 of curve 1", plot.lines, {1, 2, 3}, {x = {1, 2}})
  t.raises("ShapeError", "2 values of x for 4 columns", plot.heatmap, bdl.ones(3, 4), {x = {1, 2}})
  t.raises("ShapeError", "error has the shape of y", plot.tuning, {1, 2}, {1, 2}, {error = {1}})
  t.raises("ShapeError", "size = {rows, columns}", plot.animate, bdl.ones(4, 6), {size = {2, 2}})
  t.raises("UnitMismatchError", "y 2: <ms> does not fit <mV>", plot.lines, {bdl.ones(2)*u.mV, bdl.ones(2)*u.ms})
  t.raises("UnitMismatchError", "x_limits", plot.lines, {1, 2}, {x_limits = {1*u.mV, 2*u.mV}})
end)

t.test("wrong kinds and options", function()
  t.raises("TypeError", "y: numbers, a tensor or a list, not a string", plot.lines, "x")
  t.raises("TypeError", "a SpikeMonitor, %[steps, neurons%] or a list of spike trains, not a number", plot.raster, 3)
  t.raises("TypeError", "no argument 'titel' %(did you mean 'title'%?%)", plot.lines, {1}, {titel = "x"})
  t.raises("TypeError", "options are a table", plot.lines, {1}, "x")
  t.raises("TypeError", "a function of x and y", plot.phase, 1)
  t.raises("TypeError", "number 2 is a nil", plot.phase, function(x) return x end, {x = {0, 1}, y = {0, 1}})
  t.raises("TypeError", "the ranges x and y", plot.phase, function(x, y) return x, y end)
  t.raises("TypeError", "a list of figures is needed, not an empty one", plot.figure, {})
  t.raises("TypeError", "a figure is needed, not a number", plot.figure, {1})
  t.raises("ValueError", "1 heights for 2 rows", plot.figure, {plot.lines{1}, plot.lines{1}}, {heights = {1}})
  t.raises("ValueError", "1 names for 2 curves", plot.lines, bdl.zeros(3, 2), {names = {"a"}})
  t.raises("ValueError", "from a number to a larger one", plot.lines, {1, 2}, {x_limits = {2, 1}})
  t.raises("ValueError", "equal steps", plot.heatmap, bdl.ones(3, 4), {x = {1, 2, 4, 9}})
  t.raises("ValueError", "not 'viridiss' %(did you mean 'viridis'%?%)", plot.heatmap, {{1}}, {map = "viridiss"})
  t.raises("ValueError", "bins are a whole number", plot.hist, {1}, {bins = 0.5})
  t.raises("ValueError", "the groups have 2 rows, the raster has 6", plot.raster, spikes, {groups = {{"a", 2}}})
  t.raises("IndexError", "ids from 0 to 5, not 6", plot.raster, spikes, {rows = {6}})
  t.raises("ValueError", "characters from 20 to 1000, not 5", function() return plot.lines{1}:text{width = 5} end)
  t.raises("KeyError", "bdl.plot has no 'line' %(did you mean 'lines'%?%)", function() return plot.line end)
end)

t.test("texts are one line", function()
  has(text(plot.lines({1, 2}, {title = "a\nb", x_label = 3, names = {"c\td"}})), "a b")
  t.raises("TypeError", "title is a text, not a table", plot.lines, {1}, {title = {}})
  t.raises("TypeError", "label is a text, not a boolean", plot.heatmap, {{1}}, {label = true})
  t.raises("TypeError", "a name is a text, not a boolean", plot.lines, {1}, {names = {true}})
  t.raises("ValueError", "heights are above 0, not 0", plot.figure, {plot.lines{1}}, {heights = {0}})
  t.ok(#text(plot.lines({1, 2}, {title = ("\xff\x80"):rep(40), y_label = "\xc3"})) > 100) -- no UTF-8
end)

t.test("inside of compiled code there is nothing to draw", function()
  for _, f in ipairs{plot.lines, plot.heatmap, plot.raster, plot.hist} do
    t.raises("TraceContextError", "no values to draw", bdl.jit(function(x) f(x) return x end), bdl.ones(3, 2))
  end
end)

t.test("paths that cannot be written", function()
  local fig = plot.lines{1, 2}
  t.raises("ValueError", "'x.jpg' does not end in .gif, .pdf, .png, .svg", fig.save, fig, "x.jpg")
  t.raises("ValueError", "'x.pgn' .*%(did you mean 'png'%?%)", fig.save, fig, "x.pgn")
  t.raises("TypeError", "the path is a string, not a nil", fig.save, fig)
  t.raises("IOError", "/nodir/x.png: No such file or directory", fig.save, fig, "/nodir/x.png")
  t.raises("ValueError", "dpi is a number from 1", fig.save, fig, "x.png", {dpi = 0})
  t.raises("UnitMismatchError", "width: <ms> does not fit <in>", fig.save, fig, "x.png", {width = 1*u.ms})
  t.raises("ValueError", "from 0.5 to 200 inches", fig.save, fig, "x.png", {height = 0})
end)

-- ---- models ---------------------------------------------------------------------------------------------------------

t.test("bdl run --plot says where the figure of a model goes", function()
  local program = os.getenv "BDL"
  if not program then return end
  local model = os.tmpname()
  local f = assert(io.open(model, "w"))
  f:write [[
    local fig = bdl.plot.lines({1, 2}, {width = 30})
    bdl.plot.output(fig)
    bdl.plot.output(function() return fig end)]]
  f:close()
  local function run(options) return t.shell(("%s run %s %s"):format(program, model, options)) end
  local _, figures = run "":gsub("step", "")
  t.eq(figures, 2)
  t.eq(run "--plot none", "")
  local said, status = run "--plot x.bmp"
  t.eq(status, 2)
  has(said, "--plot: 'x.bmp' does not end in .gif")
  if has_gnuplot then
    local out = os.tmpname()
    said, status = run(("--plot %s.svg"):format(out))
    t.eq(status, 0, said)
    t.eq(contents(out .. ".svg"):sub(1, 5), "<?xml")
    t.eq(contents(out .. "-2.svg"):sub(1, 5), "<?xml")
    for _, name in ipairs{"", ".svg", "-2.svg"} do os.remove(out .. name) end
    said, status = run "--plot /nodir/x.png"
    t.eq(status, 2)
    has(said, "/nodir/x.png: No such file or directory")
    f = assert(io.open(model, "w"))
    f:write "print(1)"
    f:close()
    said, status = run "--plot x.png"
    t.eq(status, 2)
    has(said, "the model has no figure")
  end
  os.remove(model)
end)

t.test("the figure of README.md is what README.md shows", function()
  local section = assert(io.open "README.md"):read "a":match "## Figures.-\n## "
  local model, output = section:match "```lua\n(.-)```.-```\n(.-)```"
  local colors = bdl.plot.Figure.text
  bdl.plot.Figure.__tostring = function(fig) return colors(fig, {color = false}) end
  local ok, drawn = pcall(t.prints, assert(load(model, "=README.md", "t", setmetatable({}, {__index = _G}))))
  bdl.plot.Figure.__tostring = function(fig) return fig:text() end
  bdl.environ.pop "dt"
  t.eq(ok and drawn .. "\n" or drawn, output)
end)

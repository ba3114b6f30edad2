-- Lanes over devices: values between lanes in one process, and the same under mpirun where it is installed.
local t = require "tests.lua.harness"
local bdl = require "bdl"

local function lanes(f) return bdl.vmap(f, {axis_name = "i"}) end

local x = bdl.tensor{{1., 2.}, {3., 4.}, {5., 7.}}

t.test("sums, extrema, all values, moved values, the lane's number", function()
  t.eq(lanes(function(v) return v - bdl.psum(v, "i") end)(x), {{-8, -11}, {-6, -9}, {-4, -6}})
  t.close(lanes(function(v) return bdl.pmean(v:sum()) end)(x), {22 / 3, 22 / 3, 22 / 3})
  t.eq(lanes(function(v) return bdl.pmax(v:sum(), "i") - bdl.pmin(v:sum(), "i") end)(x), {9, 9, 9})
  t.eq(bdl.vmap(function(v) return bdl.all_gather({s = v:sum()}).s end, {axis_name = "i", out_axes = bdl.none})(x), {3, 7, 12})
  t.eq(lanes(function(v) return bdl.ppermute(v:sum(), "i", {{1, 2}, {2, 3}}) end)(x), {0, 3, 7})
  t.eq(lanes(function(v) return bdl.axis_index "i" * 10 + bdl.axis_size "i" end)(x), {3, 13, 23})
  t.eq(bdl.jit(lanes(function() return bdl.psum(1, "i") end))(x), {3, 3, 3})
end)

t.test("axes have names; the innermost needs none", function()
  local f = lanes(function(v) return bdl.vmap(function(s) return bdl.psum(s) + 100 * bdl.psum(s, "i") end, {axis_name = "j"})(v) end)
  t.eq(f(x), {{903, 1303}, {907, 1307}, {912, 1312}})
  local inner_first = lanes(function(v) return bdl.vmap(function(s) return bdl.all_gather(s, "i") end, {axis_name = "j"})(v) end)
  t.eq(inner_first(x)[2]:totable(), {{1, 3, 5}, {2, 4, 7}})
  t.raises("ValueError", "no axis 'k'", lanes(function(v) return bdl.psum(v, "k") end), x)
  t.raises("ValueError", "no axis is mapped", bdl.psum, x)
  t.raises("ValueError", "positions from 1 to 3", lanes(function(v) return bdl.ppermute(v, "i", {{1, 4}}) end), x)
  t.raises("ValueError", "destination of two", lanes(function(v) return bdl.ppermute(v, "i", {{1, 2}, {3, 2}}) end), x)
end)

t.test("derivatives go through", function()
  local function check(f) -- of the sum over lanes, against differences
    local function total(v) return lanes(f)(v):sum() end
    local g = bdl.environ.context({precision = 64}, function() return bdl.grad(total)(x:astype "float64") end):totable()
    for i = 1, 3 do
      local h = bdl.environ.context({precision = 64}, function()
        local up = bdl.zeros(3, 2):set({i, 1}, 1e-6)
        return ((total(x:astype "float64" + up) - total(x:astype "float64" - up)) / 2e-6):item()
      end)
      t.close(g[i][1], h, 1e-6)
    end
  end
  check(function(v) return (v * bdl.psum(v:sin(), "i")):sum() end)
  check(function(v) return (bdl.all_gather(v, "i")^2):sum() * v[1] end)
  check(function(v) return (bdl.ppermute(v^2, "i", {{1, 3}, {3, 1}}) * v):sum() end)
  check(function(v) return bdl.pmax(v:sum(), "i") * v[1] end)
  -- inside of the lanes: what all lanes lose together
  t.eq(lanes(bdl.grad(function(v) return bdl.psum((v^2):sum(), "i") end))(x), (6 * x):totable())
  t.eq(lanes(bdl.grad(function(v) return bdl.all_gather((v^2):sum(), "i"):sum() end))(x), (6 * x):totable())
end)

local SCRIPT = [[
local bdl = require "bdl"
local n = %d
local x = bdl.arange(2. * n):reshape(n, 2) / n
local shown = {}
local function show(...)
  for _, v in ipairs{...} do shown[#shown + 1] = tostring(v) end
end
show(bdl.pmap(function(v) return v * bdl.psum(v), bdl.pmax(v), bdl.all_gather(v:sum()), bdl.ppermute(v, nil, {{1, 2}}), bdl.axis_index() end)(x))
local w, rng, s = bdl.ParamState(bdl.ones(2)), bdl.random.RandomState(3), bdl.State(bdl.zeros(n))
local step = bdl.jit(function(xs)
  local g, l = bdl.pmap(function(v)
    local g, l = bdl.grad(function(u) return ((u * w.value):sum() - 1)^2 end, w, {return_value = true})(v)
    return bdl.pmean(g), bdl.pmean(l)
  end, {out_axes = bdl.none})(xs)
  w.value = w.value - 0.1 * g
  return l
end)
for _ = 1, 5 do show(step(x)) end
show(bdl.pmap(function(v) s.value = s.value + v:sum() + rng:rand() return s.value end, {in_states = s})(x), s.value, w.value)
local me
bdl.pmap(function() me = bdl.axis_index() end, {axis_size = n})()
if require "bdl.core".ranks() == 0 then print(table.concat(shown, "\n")) end
]]

local function numbers(text)
  local list = {}
  for word in text:gmatch "[%d.e+-]+" do list[#list + 1] = assert(tonumber(word), text) end
  return list
end

t.test("the processes of mpirun compute what one process does", function()
  local program = os.getenv "BDL"
  local _, missing = t.shell "command -v mpirun"
  if missing ~= 0 or not program then return end
  local path = os.tmpname()
  local mpirun = "ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=exitcode=0 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,vader,tcp timeout 60 mpirun --oversubscribe -n %d %s run --quiet %s"
  for _, n in ipairs{2, 4} do
    local file = assert(io.open(path, "w"))
    file:write(SCRIPT:format(n))
    file:close()
    local one, ok = t.shell(("(%s run --quiet %s 2>/dev/null)"):format(program, path))
    t.eq(ok, 0, one)
    local many, status = t.shell(mpirun:format(n, program, path))
    t.eq(status, 0, many)
    t.close(numbers(many), numbers(one), 1e-5) -- sums of lanes in another order
  end
  local text, status = t.shell(mpirun:format(3, program, path))
  t.ok(status ~= 0 and text:find "4 lanes, but there are 3 devices", text)
  os.remove(path)
end)

t.test("without mpirun one device computes all lanes", function()
  t.eq(bdl.pmap(function(v) return v * 2 end)(bdl.tensor{3.}), {6})
  t.eq(require "bdl.core".ranks(), 0)
end)

-- pmap with one process, and what goes between lanes, under vmap.  tests/mpi has pmap with several.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local A = bdl.augment

--- f over the lanes of an axis named i.
local function over(f, opts)
  opts = opts or {}
  opts.axis_name = "i"
  return A.vmap(f, opts)
end

local x = bdl.tensor{{1., 2.}, {3., -4.}, {5., 6.}}

t.test("psum, pmean, pmax, pmin: every lane has the same", function()
  local f = over(function(v) return A.psum(v), A.pmean(v, "i"), A.pmax(v), A.pmin(v) end)
  local s, m, hi, lo = f(x)
  t.eq(s, {{9, 4}, {9, 4}, {9, 4}})
  t.close(m, {{3, 4 / 3}, {3, 4 / 3}, {3, 4 / 3}})
  t.eq(hi, {{5, 6}, {5, 6}, {5, 6}})
  t.eq(lo, {{1, -4}, {1, -4}, {1, -4}})
end)

t.test("truth values are counted", function()
  t.eq(over(function(v) return A.psum(v:gt(2)) end, {out_axes = bdl.none})(x), {2, 1})
end)

t.test("the same on every lane is one value, which out_axes may leave alone", function()
  t.eq(over(function(v) return A.psum(v) end, {out_axes = bdl.none})(x), {9, 4})
  t.eq(over(function(v) return A.all_gather(v) end, {out_axes = bdl.none})(x), core.totable(x))
  t.raises("ValueError", "differs between lanes", over(function(v) return A.psum(v) + v end, {out_axes = bdl.none}), x)
end)

t.test("of a value without lanes psum is a multiple", function()
  local f = over(function(v) return A.psum(bdl.tensor(2.)) + v * 0, A.all_gather(bdl.tensor(2.)), A.psum(1) end, {out_axes = {1, bdl.none, bdl.none}})
  local a, b, n = f(bdl.tensor{1., 1., 1.})
  t.eq(a, {6, 6, 6})
  t.eq(b, {2, 2, 2})
  t.eq(n, 3)
end)

t.test("axis_index counts from 0, axis_size is a number", function()
  local f = over(function(v)
    t.eq(A.axis_size(), 3)
    return A.axis_index() + 0 * v:sum(), A.axis_index "i"
  end)
  local a, b = f(x)
  t.eq(a, {0, 1, 2})
  t.eq(b, {0, 1, 2})
  t.eq(b.dtype, "int32")
end)

t.test("ppermute: lanes from 1, zeros where nothing comes from", function()
  t.eq(over(function(v) return A.ppermute(v, {{1, 2}, {2, 3}}) end)(x), {{0, 0}, {1, 2}, {3, -4}})
  t.eq(over(function(v) return A.ppermute(v, "i", {{1, 2}, {2, 3}, {3, 1}}) end)(x), {{5, 6}, {1, 2}, {3, -4}})
  local function bad(pairs_) return over(function(v) return A.ppermute(v, pairs_) end) end
  t.raises("ValueError", "lanes 1 to 3, not 4", bad{{1, 4}}, x)
  t.raises("ValueError", "lanes 1 to 3, not 0", bad{{0, 1}}, x)
  t.raises("ValueError", "lanes 1 to 3, not nil", bad{{1}}, x)
  t.raises("ValueError", "lane 2 is the destination twice", bad{{1, 2}, {3, 2}}, x)
  t.raises("ValueError", "lane 1 is the source twice", bad{{1, 2}, {1, 3}}, x)
  t.raises("TypeError", "list", bad(3), x)
end)

t.test("all_gather stacks along an axis", function()
  local first, last = over(function(v) return A.all_gather(v), A.all_gather(v, {axis = -1}) end, {out_axes = bdl.none})(x)
  t.eq(first, core.totable(x))
  t.eq(last, core.totable(x.T))
  t.raises("TypeError", "did you mean 'axis'", over(function(v) return A.all_gather(v, {axes = 1}) end), x)
end)

t.test("trees and units go through", function()
  local u = bdl.units
  local out = over(function(v) return A.pmean{a = v * u.mV, b = {v}} end, {out_axes = bdl.none})(bdl.tensor{1., 2., 6.})
  t.eq(tostring(out.a.unit), "mV")
  t.eq(core.mantissa(out.a), 3)
  t.eq(out.b[1], 3)
end)

t.test("names: the innermost, or the one that is asked for", function()
  local f = A.vmap(function(a)
    return A.vmap(function(b) return A.psum(a * b, "outer"), A.psum(a * b, "inner"), A.psum(a * b) end, {axis_name = "inner"})(bdl.tensor{1., 10.})
  end, {axis_name = "outer"})
  local outer, inner, innermost = f(bdl.tensor{1., 2., 3.})
  t.eq(outer, {{6, 60}, {6, 60}, {6, 60}})
  t.eq(inner, {{11, 11}, {22, 22}, {33, 33}})
  t.eq(innermost, core.totable(inner))
  t.eq(over(function(a) return A.vmap(function(b) return A.psum(a * b) end)(bdl.tensor{1., 10.}) end)(bdl.tensor{1., 2.}), {{3, 30}, {3, 30}})
end)

t.test("bad input: where nothing is mapped, an unknown name", function()
  for _, name in ipairs{"psum", "pmean", "pmax", "pmin", "all_gather"} do
    t.raises("ValueError", name .. ": no axis is mapped here", A[name], bdl.ones(2))
  end
  t.raises("ValueError", "axis_index: no axis 'i' is mapped here", A.axis_index, "i")
  t.raises("ValueError", "axis_size: no axis is mapped here", A.axis_size)
  t.raises("TypeError", "axis_name is a text", A.axis_index, 1)
  t.raises("ValueError", "no axis is mapped", A.ppermute, bdl.ones(2), {{1, 2}})
  t.raises("ValueError", "no axis is mapped", A.vmap(function(v) return A.psum(v) end), x)
  t.raises("ValueError", "no axis 'j' is mapped here; there is 'i'", over(function(v) return A.psum(v, "j") end), x)
  t.raises("TypeError", "axis_name is a text", A.vmap(function(v) return v end, {axis_name = 3}), x)
  t.raises("ValueError", "no axis is mapped", function() -- what was mapped when f failed is so no more
    pcall(over(function() error "stop" end), x)
    A.psum(x)
  end)
end)

t.test("derivatives inside: the cotangents of all lanes come together", function()
  local f = over(function(v)
    return A.grad(function(w) return (A.psum(w^2) * v):sum() end)(v), A.grad(function(w) return A.pmax(w):sum() end)(v)
  end)
  local a, b = f(x)
  local total = {9, 4}
  for k, row in ipairs(core.totable(x)) do
    for j = 1, 2 do t.close(a[k][j], 2 * row[j] * total[j]) end -- d/dw_k of sum over lanes of v_l psum(w^2)
  end
  t.eq(b, {{0, 0}, {0, 0}, {3, 3}})
end)

t.test("derivatives against differences", function()
  local function check(f)
    local function total(v) return over(f)(v):sum() end
    local wide = x:astype "float64"
    local _ <close> = bdl.environ.context{precision = 64}
    local g = core.totable(A.grad(total)(wide))
    for i = 1, 3 do
      local up = bdl.zeros(3, 2):set({i, 1}, 1e-6)
      t.close(g[i][1], core.item((total(wide + up) - total(wide - up)) / 2e-6), 1e-6)
    end
  end
  check(function(v) return (v * A.psum(v:sin())):sum() end)
  check(function(v) return (A.all_gather(v)^2):sum() * v[1] end)
  check(function(v) return (A.ppermute(v^2, {{1, 3}, {3, 1}}) * v):sum() end)
  check(function(v) return A.pmax(v:sum()) * v[1] + A.pmin(v:sum()) end)
end)

t.test("derivatives of the mapped function", function()
  local function f(v) return (over(function(w) return A.psum(w^2) * w end)(v)):sum() end
  local g = core.totable(A.grad(f)(x))
  local plain = core.totable(A.grad(function(v) return ((v^2):sum{axis = 1, keepdims = true} * v):sum() end)(x))
  t.close(g, plain)
  t.close(A.grad(function(v) return (over(function(w) return A.ppermute(w, {{1, 2}}) * w end)(v)):sum() end)(x), {{3, -4}, {1, 2}, {0, 0}})
  local _, dot = A.jvp(over(function(w) return A.pmean(w^2) end), {x}, {bdl.ones_like(x)})
  t.close(dot, {{6, 8 / 3}, {6, 8 / 3}, {6, 8 / 3}})
  local shared = A.grad(function(w) return over(function(v) return A.psum(w * v) * v end)(x):sum() end)(bdl.tensor(2.))
  t.close(shared, 9 * 9 + 4 * 4)
end)

t.test("in loops and branches that all lanes go", function()
  local f = over(function(v)
    local s = bdl.compile.for_loop(function(i) return A.psum(v * i) end, bdl.arange(3))
    local w = bdl.compile.while_loop(function(c) return A.pmax(c):lt(20) end, function(c) return c * 2 end, v)
    local c = bdl.compile.cond(A.psum(v):gt(8), function() return A.psum(v) end, function() return v end)
    return s, w, c
  end)
  local s, w, c = f(bdl.tensor{1., 2., 6.})
  t.eq(s, {{0, 9, 18}, {0, 9, 18}, {0, 9, 18}})
  t.eq(w, {4, 8, 24})
  t.eq(c, {9, 9, 9})
  t.raises("NotSupportedError", "where lanes go different ways", over(function(v)
    return bdl.compile.cond(v:gt(1), function() return A.psum(v) end, function() return v end)
  end), bdl.tensor{1., 2.})
end)

t.test("inside jit, and jit inside", function()
  local inner = bdl.compile.jit(function(v) return A.psum(v) * 2 end)
  local f = bdl.compile.jit(over(function(v) return inner(v) end))
  t.eq(f(x), {{18, 8}, {18, 8}, {18, 8}})
  t.eq(f(x + 1), {{24, 14}, {24, 14}, {24, 14}})
  t.raises("ValueError", "no axis is mapped", inner, x)
end)

t.test("one device runs all lanes, and says so once", function()
  local model = os.tmpname()
  local file <close> = assert(io.open(model, "w"))
  file:write [[
local f = bdl.augment.pmap(function(v) return v * bdl.augment.psum(v) end)
print(f(bdl.tensor{1., 2., 3.}), f(bdl.tensor{1., 2.}))]]
  file:flush()
  local text, status = t.shell(("%s run --quiet %s"):format(os.getenv "BDL" or "build/bdl", model))
  os.remove(model)
  t.eq(status, 0)
  t.eq(text, "pmap: there is 1 device, which runs all 3 lanes; mpirun -n 3 bdl run model.lua has 3\n[ 6. 12. 18.]\t[3. 6.]\n")
end)

t.test("pmap with one device", function()
  t.eq(A.device_count(), 1)
  local f = A.pmap(function(v) return v * 2, A.psum(v), A.axis_index() end)
  local a, b, i = f(bdl.tensor{{1., 2.}})
  t.eq(a, {{2, 4}})
  t.eq(b, {{1, 2}})
  t.eq(i, {0})
  t.raises("ValueError", "axis_size is 4", A.pmap(function(v) return v end, {axis_size = 4}), bdl.ones(1))
  t.raises("NotSupportedError", "pmap inside a pmap", A.pmap(function(v) return A.pmap(function(w) return w end)(bdl.ones(1)) end), bdl.ones(1))
end)

t.test("pmap maps States as vmap does", function()
  local s, total = bdl.State(bdl.tensor{{1., 2.}}, {name = "s"}), bdl.State(bdl.tensor(0.))
  local f = A.pmap(function(v)
    s.value = s.value + v
    total.value = A.psum(s.value:sum())
  end, {in_states = s})
  f(bdl.tensor{10.})
  t.eq(s.value, {{11, 12}})
  t.eq(total.value, 23)
  t.raises("BatchAxisError", "not in out_states", A.pmap(function(v) total.value = v end), bdl.tensor{1.})
end)

t.test("pmap draws as vmap does", function()
  local function draw(map)
    bdl.random.seed(3)
    return map(function(v) return bdl.random.rand(2) + v end)(bdl.zeros(1)), bdl.random.rand(2)
  end
  local a, after_a = draw(A.pmap)
  local b, after_b = draw(A.vmap)
  t.eq(a, core.totable(b))
  t.eq(after_a, core.totable(after_b))
end)

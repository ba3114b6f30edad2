--- checkify: checks as values, through loops, branches and transformations; debug_nan: which primitive made a NaN, and where.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local u = bdl.units

local function line() return debug.getinfo(2, "l").currentline end

t.test("a check that fails is a value, and what follows is computed on", function()
  local s = bdl.State(1.)
  local at = line() + 2
  local f = bdl.checkify(function(x)
    bdl.check(x:gt(0), "x must be positive, it is {x}", {x = x})
    s.value = s.value + 1
    return x * 2
  end)
  local err, y = f(bdl.tensor(3.))
  t.eq(err:get(), nil)
  err:throw()
  t.close(y, 6)
  err, y = f(bdl.tensor(-3.))
  t.close(y, -6)
  t.close(s.value, 3)
  t.ok(err:get():find(("checkify.lua:%d: x must be positive, it is -3.0"):format(at), 1, true), err:get())
  t.raises("ValueError", ("checkify.lua:%d: .*x must be positive"):format(at), err.throw, err)
  t.eq(tostring(err):match "^CheckError%(", "CheckError(")
end)

t.test("the first of several is kept, with its values and units", function()
  local f = bdl.checkify(function(x)
    bdl.error_if(x:gt(1 * u.mV), "too high: {x}", {x = x})
    bdl.error_if(x:gt(2 * u.mV), "far too high: {x}", {x = x})
    return x
  end)
  t.eq((f(bdl.tensor(0.5) * u.mV)):get(), nil)
  t.ok((f(bdl.tensor(3.) * u.mV)):get():find "too high: 3%.0? mV$")
  t.ok(not (f(bdl.tensor(3.) * u.mV)):get():find "far")
end)

t.test("the sets of errors", function()
  local function first(errors, f, ...) return (bdl.checkify(f, {errors = errors})(...)):get() end
  local log = function(x) return bdl.log(x) end
  t.ok(first("nan", log, bdl.tensor{1., -1.}):find "log made NaN$")
  t.ok(first("float", log, bdl.tensor{1., -1.}):find "log made NaN$")
  t.eq(first("nan", log, bdl.tensor{1., 0.}), nil)
  t.eq(first("div", log, bdl.tensor{1., -1.}), nil)
  t.ok(first("nan", function(x) return x * 2 end, bdl.tensor(0/0)):find "is NaN$")
  local inverse = function(x) return 1 / x end
  t.ok(first("div", inverse, bdl.tensor{1., 0.}):find "div: a divisor is 0$")
  t.ok(first("all", function(x, y) return x % y end, bdl.tensor{5, 3}, bdl.tensor{2, 0}):find "mod: a divisor is 0$")
  t.eq(first("nan", inverse, bdl.tensor{1., 0.}), nil)
  local index = function(x, i) return x[i] end
  t.ok(first("index", index, bdl.arange(3), bdl.tensor{1, 7, -9}):find "gather: index 7 is out of range, 0 to 2$")
  t.eq(first({"div", "index"}, index, bdl.arange(3), bdl.tensor{1, 2}), nil)
  t.raises("IndexError", nil, bdl.checkify(index, {errors = "float"}), bdl.arange(3), bdl.tensor{7})
  t.raises("IndexError", "gather: index 9 is out of range", function()
    (bdl.checkify(index, {errors = "automatic"})(bdl.arange(3), bdl.tensor{9})):throw()
  end)
  t.raises("ValueError", "its own", bdl.checkify(function(x) bdl.error_if(x:gt(0), "its own") end, {errors = "float"}), 1.)
end)

t.test("a NaN that came in is not blamed on what it passes through", function()
  local f = bdl.checkify(function(x, y) return (bdl.log(x) + 1):sum() * y end, {errors = "nan"})
  t.ok((f(bdl.tensor{-1.}, 2.)):get():find "log made NaN$")
  t.ok((f(bdl.tensor{1.}, bdl.tensor(0/0))):get():find "is NaN$")
end)

t.test("loops keep the round that failed first", function()
  local s = bdl.State(1.)
  local f = bdl.checkify(function(top)
    return bdl.for_loop(function(k)
      s.value = s.value * 2
      bdl.error_if(s.value:gt(top), "{v} in round {k}", {v = s.value, k = k})
      return s.value
    end, bdl.arange(6))
  end)
  local err, ys = f(7.)
  t.ok(err:get():find "8%.0 in round 2$", err:get())
  t.eq(ys, {2, 4, 8, 16, 32, 64})
  t.close(s.value, 64)
  s.value = 1.
  t.eq((f(100.)):get(), nil)
  local carried = bdl.checkify(function(x) return (bdl.scan(function(c, y) bdl.error_if(c:lt(0), "c {c}", {c = c}); return c - y, c end, x, bdl.ones(4))) end)
  t.ok((carried(1.5)):get():find "c %-0.5$")
end)

t.test("loops of unknown length: of condition and body whichever was first", function()
  local f = bdl.checkify(function(x)
    return bdl.while_loop(function(v)
      bdl.error_if(v:gt(50), "condition {v}", {v = v})
      return v:lt(100)
    end, function(v)
      bdl.error_if(v:gt(30), "body {v}", {v = v})
      return v * 2
    end, x)
  end)
  local function of(x)
    local err, y = f(x)
    return (err:get() or "none"):match "[%w]+ ?[%d.]*$", y
  end
  t.eq({of(1.)}, {"body 32.0", bdl.tensor(128.)})
  t.eq({of(60.)}, {"condition 60.0", bdl.tensor(120.)})
  t.eq({of(26.)}, {"condition 52.0", bdl.tensor(104.)})
  t.eq({of(200.)}, {"condition 200.0", bdl.tensor(200.)})
  local none = bdl.checkify(function(x) return bdl.while_loop(function(v) return v:lt(9) end, function(v) return v * 2 end, x) end)
  t.eq((none(1.)):get(), nil)
end)

t.test("branches: the one that runs", function()
  local f = bdl.jit(bdl.checkify(function(p, x)
    return bdl.cond(p, function(v) return bdl.log(v) end, function(v)
      bdl.error_if(v:lt(0), "below {v} and {w}", {v = v, w = v * 2})
      return v
    end, x)
  end, {errors = "all"}))
  t.ok((f(bdl.tensor(true), -1.)):get():find "log made NaN$")
  t.ok((f(bdl.tensor(false), -1.)):get():find "below %-1.0 and %-2.0$")
  t.eq((f(bdl.tensor(true), 1.)):get(), nil)
end)

t.test("errors come out of jit, vmap and loops; jit and vmap may be inside", function()
  local f = bdl.checkify(function(x) return bdl.log(x) end, {errors = "nan"})
  t.ok((bdl.jit(f)(-1.)):get():find "log made NaN$")
  local err = bdl.vmap(f)(bdl.tensor{{1., 2.}, {1., -1.}, {-1., 1.}})
  t.ok(err:get():find "lane 2: log made NaN$", err:get())
  local with_values = bdl.checkify(function(x) bdl.error_if(x:gt(1), "{x}", {x = x}); return x end)
  t.ok((bdl.vmap(with_values)(bdl.tensor{1., 5.})):get():find "lane 2: 5.0$")
  t.ok((bdl.checkify(bdl.vmap(function(x) bdl.error_if(x:gt(1), "{x}", {x = x}); return x end))(bdl.tensor{1., 5.})):get():find "%[1%. 5%.%]$")
  t.ok((bdl.checkify(bdl.jit(function(x) return bdl.log(x) end), {errors = "nan"})(-1.)):get():find "log made NaN$")
  local errs = bdl.for_loop(function(x) return (f(x)) end, bdl.tensor{1., -1., 2.})
  t.ok(errs:get():find "lane 2: log made NaN$")
end)

t.test("gradients pass through, and a derivative that is given stays", function()
  local spike = bdl.surrogate.ReluGrad()
  local function loss(x) return (spike(x) * x):sum() end
  local x = bdl.tensor{0.2, -0.3, 2.}
  local checked = bdl.checkify(loss, {errors = "all"})
  t.eq(bdl.grad(function(y) local _, l = checked(y); return l end)(x), bdl.grad(loss)(x))
  local err = bdl.checkify(bdl.grad(function(y) return bdl.sqrt(y):sum() end), {errors = "nan"})(bdl.tensor{1., -1.})
  t.ok(err:get():find "sqrt made NaN$")
  local remat = bdl.checkify(bdl.grad(bdl.checkpoint(function(y) bdl.error_if(y:gt(1), "{y}", {y = y}); return bdl.log(y) end)))
  t.ok((remat(2.)):get():find "2.0$")
end)

t.test("an inner error can be thrown by the code around it", function()
  local inner = bdl.checkify(function(x) bdl.error_if(x:lt(0), "inner {x}", {x = x}); return x end)
  local f = bdl.jit(function(x)
    local err, y = inner(x)
    bdl.check_error(err)
    return y
  end)
  t.close(f(1.), 1)
  t.raises("ValueError", "checkify.lua:%d+: inner %-1", f, -1.)
  t.ok((bdl.checkify(f)(-2.)):get():find "inner %-2.0$")
end)

t.test("what checkify refuses", function()
  t.raises("ValueError", "no errors 'floats' %(did you mean 'float'%?%)", bdl.checkify, function() end, {errors = "floats"})
  t.raises("TypeError", "no argument 'error'", bdl.checkify, function() end, {error = "nan"})
  t.raises("TypeError", "a function was expected", bdl.checkify, 3, {errors = "nan"})
  t.raises("TypeError", "a CheckError is needed, not a number", bdl.check_error, 3)
  local f = bdl.checkify(function(x) bdl.check(x:gt(0), "no"); return x end)
  t.raises("TraceContextError", "known when the program has run", bdl.jit(function(x) return (f(x)):get() end), 1.)
  local s = bdl.State(1.)
  t.raises("KeyError", nil, bdl.checkify(function() s.value = s.value + 1; bdl.error_if(s.value:gt(0), "{x}", {y = 1}) end))
  t.close(s.value, 1)
end)

-- ---- debug_nan ---------------------------------------------------------------------------------------------------------

t.test("debug_nan names the primitive, its line, the counts and the phase", function()
  local at = line() + 2
  local function f(x)
    local y = bdl.log(x)
    return y * 2
  end
  bdl.debug_nan(f, bdl.tensor{1., 2.})
  t.raises("ValueError", ("checkify.lua:%d: .*debug_nan %%[forward%%]: log made NaN: 2 NaN, 0 Inf, the others from 0.0 to 0.6931"):format(at),
           bdl.debug_nan, f, bdl.tensor{-1., 1., 2., -3.}, {phase = "forward"})
  t.raises("ValueError", "exp made NaN or Inf: 0 NaN, 1 Inf.*%(output 1, float32%[2%]: 0 NaN, 1 Inf%)", bdl.debug_nan,
           function(x) return bdl.exp(x) end, bdl.tensor{1000., 1.})
  t.raises("ValueError", "is NaN: 1 NaN", bdl.debug_nan, function(x) return x + 1 end, bdl.tensor{1., 0/0})
end)

t.test("debug_nan sees States and leaves them alone, and what is masked is none of its business", function()
  local s = bdl.State(bdl.tensor{1., 0.})
  local function f()
    bdl.for_loop(function() s.value = 1 / s.value - 1 / s.value end, {length = 3})
  end
  t.raises("ValueError", "sub made NaN: 1 NaN", bdl.debug_nan, f)
  t.eq(s.value, {1, 0})
  bdl.debug_nan(function(x) return bdl.where(x:gt(0), bdl.log(x), 0) end, bdl.tensor{-1., 1.})
end)

t.test("debug_nan works in compiled code, and if asked", function()
  local f = bdl.jit(function(x) bdl.debug_nan(function(y) return bdl.sqrt(y) end, x); return x end)
  t.close(f(4.), 4)
  t.raises("ValueError", "checkify.lua:%d+: sqrt made NaN: 1 NaN, 0 Inf", f, -4.)
  local g = bdl.jit(function(p, x) bdl.debug_nan_if(p, function(y) return bdl.sqrt(y) end, x); return x end)
  t.close(g(bdl.tensor{false, false}, -4.), -4)
  t.raises("ValueError", "sqrt made NaN", g, bdl.tensor{false, true}, -4.)
  t.raises("ValueError", "sqrt made NaN", bdl.debug_nan_if, true, function(y) return bdl.sqrt(y) end, bdl.tensor(-1.))
  bdl.debug_nan_if(false, function(y) return bdl.sqrt(y) end, bdl.tensor(-1.))
  t.raises("TypeError", "a function was expected", bdl.debug_nan, 3)
end)

t.test("grad with debug_nan finds what is NaN in the backward pass alone", function()
  local at = line() + 2
  local function loss(x)
    return bdl.where(x:gt(0), bdl.sqrt(x), 0):sum()
  end
  local g = bdl.grad(loss, nil, {debug_nan = true})
  t.eq(g(bdl.tensor{1., 4.}), {0.5, 0.25})
  t.raises("ValueError", ("checkify.lua:%d: .*grad %%[debug_nan%%]: [%%w]+ made NaN"):format(at), g, bdl.tensor{1., 0., -1.})
  t.raises("ValueError", ("checkify.lua:%d: [%%w]+ made NaN"):format(at), bdl.jit(g), bdl.tensor{1., -1.})
  local w = bdl.ParamState(bdl.tensor{1., -1.})
  t.raises("ValueError", "grad %[debug_nan%]: sqrt made NaN", bdl.grad(function() return bdl.sqrt(w.value):sum() end, w, {debug_nan = true}))
  t.raises("TypeError", "no argument 'debug_nan'", bdl.augment.jacrev, loss, nil, {debug_nan = true})
end)

t.test("the checks of README.md print what README.md says", function()
  local section = assert(io.open "README.md"):read "a":match "## When numbers go wrong.-\n## "
  local model, output = section:match "```lua\n(.-)```.-```\n(.-)```"
  t.eq(t.prints(assert(load(model, "=README.md"))) .. "\n", output)
end)

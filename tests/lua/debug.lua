--- Effects: print, error_if, callbacks.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local u = bdl.units

--- What debug.print writes while f runs.
local function printed(f)
  local lines = {}
  local old = bdl.debug.set_output(function(text) lines[#lines + 1] = text end)
  local ok, e = pcall(f)
  bdl.debug.set_output(old)
  if not ok then error(e, 0) end
  return lines
end

t.test("print writes once per iteration, in order", function()
  local b = bdl.State(0.0)
  t.eq(printed(function()
    bdl.for_loop(function(i)
      b.value = b.value + i
      bdl.debug.print("i = {i}, b = {b}", {i = i, b = b.value})
      bdl.debug.print("again {1}", {b.value})
    end, bdl.arange(3))
  end), {"i = 0, b = 0.0", "again 0.0", "i = 1, b = 1.0", "again 1.0", "i = 2, b = 3.0", "again 3.0"})
end)

t.test("print is kept by jit and shows units and trees", function()
  local f = bdl.jit(function(x) bdl.debug.print("x = {x} {{}}", {x = x}); return 1. end)
  t.eq(printed(function() f(2. * u.mV); f(3. * u.mV) end), {"x = 2. mV {}", "x = 3. mV {}"})
  local lines = printed(function() bdl.jit(function(x) bdl.debug.print("{g}", {g = {a = x, b = {x * 2}}}); return x end)(1.) end)
  t.ok(lines[1]:find "1.0" and lines[1]:find "2.0", lines[1])
end)

t.test("a print that runs at once keeps no memory", function()
  local core = require "bdl.core"
  local function used()
    for k = 1, 200 do bdl.debug.print("{x}", {x = bdl.tensor(k)}) end
    collectgarbage()
    return core.memory().used
  end
  printed(function()
    local _ <close> = bdl.compile.disable_jit(true)
    local before = used()
    t.eq(used(), before)
  end)
end)

t.test("a field that is not given is an error", function()
  t.raises("KeyError", "did you mean", function() bdl.debug.print("{loss}", {los = 1.}) end)
  t.raises("TypeError", "not a tensor", function() bdl.debug.print("{}", bdl.ones(2)) end)
  t.raises("TypeError", "not a tensor", function() bdl.error_if(bdl.tensor(true), "bad {x}", bdl.ones(2)) end)
end)

t.test("error_if raises the user's message at the user's line", function()
  local f = bdl.jit(function(x) bdl.error_if(x:gt(1), "x is {x}, at most {top}", {x = x, top = 1.}); return x * 2 end)
  t.close(f(0.5), 1)
  t.raises("ValueError", "debug.lua:%d+:.*x is 3[.0]*, at most 1[.0]*", function() f(3.) end)
  t.raises("ValueError", "negative", function() bdl.error_if(bdl.tensor{1., -1.}:lt(0), "negative") end)
  t.raises("ValueError", "wrong", function() bdl.check(bdl.tensor(false), "wrong") end)
end)

t.test("a callback of the host returns values into the program", function()
  local seen = 0
  local f = bdl.jit(function(x)
    return bdl.debug.callback(function(v) seen = seen + 1; return v:item() * 10 end, bdl.tensor(0.), x) + 1
  end)
  t.close(f(2.), 21)
  t.close(f(3.), 31)
  t.eq(seen, 2)
  local bad = bdl.jit(function(x) return bdl.debug.callback(function() return bdl.ones(2) end, bdl.tensor(0.), x) end)
  t.raises("ShapeError", "float32%[2%]", function() bad(1.) end)
end)

t.test("an error in a callback leaves the States as they were", function()
  local s = bdl.State(1.)
  local f = bdl.jit(function() s.value = s.value + 1; bdl.debug.callback(function() error "no" end, {}, s.value) end)
  t.raises("HostError", "no", f)
  t.close(s.value, 1)
end)

t.test("StateFinder tells which States from outside a function reads and writes", function()
  local a, b, c = bdl.State(1.), bdl.ParamState(2.), bdl.State(3.)
  local f = bdl.jit(function(x)
    local own = bdl.State(x)
    b.value = own.value + a.value
    c.value = c.value + 1
  end)
  local function finds(opts, ...)
    local found = bdl.StateFinder(f, opts)(1.)
    t.eq(#found, select("#", ...))
    for i, s in ipairs{...} do t.ok(rawequal(found[i], s)) end
  end
  finds(nil, a, b, c)
  finds({usage = "read"}, a, c)
  finds({usage = "write"}, b, c)
  finds({usage = "both"}, c)
  finds({filter = bdl.ParamState}, b)
  t.close(c.value, 3)
  t.raises("ValueError", "usage is", bdl.StateFinder, f, {usage = "reads"})
end)

t.test("named_scope names the errors inside", function()
  local f = bdl.named_scope(function(x) return x:matmul(bdl.ones(3, 3)) end, {name = "readout"})
  t.close(f(bdl.ones(3)), {3, 3, 3})
  t.raises("ShapeError", "%(in readout%)", f, bdl.ones(2))
  t.eq(bdl.named_scope{name = "k"}(function() return 1, nil end)(), 1)
  t.raises("TypeError", "the name is a string", bdl.named_scope, f)
end)

--- Mistakes that are refused alike everywhere: unknown names of submodules, parameters of regenerated connections.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local u = bdl.units

t.test("a submodule refuses a name that it has not, with the nearest one", function()
  for name, known in pairs{random = "randn", compile = "jit", augment = "grad", debug = "check", environ = "set", graph = "nodes",
                           tree = "flatten", functional = "relu", util = "sorted_keys", init = "Constant",
                           surrogate = "Sigmoid"} do
    t.raises("KeyError", ("bdl.%s has no '%sq' %%(did you mean '%s'"):format(name, known, known), function() return bdl[name][known .. "q"] end)
    t.raises("KeyError", "bdl." .. name .. " has no 'no_such_name'", function() return bdl[name].no_such_name end)
  end
  t.ok(bdl.jit and bdl.State and bdl.zeros, "names in bdl itself are still found")
  t.raises("KeyError", "bdl has no 'no_such_name'", function() return bdl.no_such_name end)
  t.raises("KeyError", "a tensor has no field or method 'reluu'", function() return bdl.zeros(1).reluu end)
end)

t.test("regenerated connections refuse seeds and units that do not fit", function()
  t.raises("TypeError", "seed is an integer, not a", bdl.event.JITCNormalR, {1.0, 0.1, 0.5, "a", shape = {3, 4}})
  t.raises("UnitMismatchError", "mV", bdl.event.JITCNormalR, {1.0*u.mV, 0.1*u.ms, 0.5, 1, shape = {3, 4}})
  t.eq(bdl.event.JITCNormalR({1.0*u.mV, 0.1*u.mV, 0.5, 1, shape = {3, 4}}).shape, {3, 4})
end)

--- The line of the caller.
local function line() return debug.getinfo(2, "l").currentline end

t.test("errors of shapes say where their operands came from", function()
  local made = line() + 1
  local w = bdl.ParamState(bdl.zeros{2, 3}, {name = "input.weight"})
  local function product(x)
    local y = x:reshape{1, 5} * 2
    local z = y:matmul(w.value)
    return z
  end
  local weight = "w float32%[2,3%] %(State 'input.weight', line " .. made .. "%)"
  local e = t.raises("ShapeError", "matmul: inner sizes differ: x float32%[1,5%] %(from line %d+%), " .. weight, bdl.jit(product), bdl.zeros(5))
  t.eq(tonumber(e.message:match "from line (%d+)"), e.line - 1)
  t.raises("ShapeError", "matmul: inner sizes differ: x float32%[1,5%], " .. weight, product, bdl.zeros(5))
  local function sum(x)
    local y = x:reshape{1, 5} * 2
    local z = y + w.value
    return z
  end
  local function shapes(from)
    return "add: shapes of float32%[1,5%]" .. from .. " and float32%[2,3%] %(State 'input.weight', line " .. made .. "%)"
  end
  t.raises("ShapeError", shapes " %(from line %d+%)", bdl.jit(sum), bdl.zeros(5))
  t.raises("ShapeError", shapes "", sum, bdl.zeros(5))
  local captured = bdl.jit(function(x)
    local y = x * 2
    return bdl.for_loop(function()
      local z = y + w.value:reshape{6}
      return z
    end, {length = 3})
  end)
  t.raises("ShapeError", "add: shapes of float32%[5%] %(from line %d+%) and float32%[6%] do not", captured, bdl.zeros(5))
  local net = bdl.nn.Module()
  net.input = bdl.nn.Module()
  net.input.weight = bdl.ParamState(bdl.zeros{2, 3})
  for _, how in ipairs{function(f) return f end, bdl.jit} do
    t.raises("ShapeError", "w float32%[2,3%] %(State 'input.weight', line %d+%)$", how(function(v)
      local z = v:matmul(net.input.weight.value)
      return z
    end), bdl.zeros(5))
  end
  t.raises("ShapeError", "x float32%[5%], w float32%[4%]$", function() return bdl.zeros(5):matmul(bdl.zeros(4)) end)
  t.raises("ShapeError", "the last size of the input %(from line %d+%) is 5, not in_size 3", bdl.jit(function(x)
    local y = x * 2
    local z = bdl.nn.Linear(3, 4)(y)
    return z
  end), bdl.zeros(5))
end)

t.test("a value of another type than its State's names the State and where it was made", function()
  local made = line() + 1
  local s = bdl.State(bdl.zeros(3) * u.mV, {name = "V"})
  local who = "^[^\n]*: State 'V' %(made at tests/lua/errors.lua:" .. made .. "%) "
  local function write(value) return function() s.value = value end end
  for _, how in ipairs{function(f) return f end, bdl.jit} do
    t.raises("UnitMismatchError", who .. "holds mV; ms was given", how(write(bdl.zeros(3) * u.ms)))
    t.raises("UnitMismatchError", who .. "holds mV; a plain number was given", how(write(bdl.zeros(3))))
    t.raises("ValueError", who .. "has the structure %*; {a:%*} was given", how(write{a = bdl.zeros(3) * u.mV}))
  end
  t.raises("ShapeError", who .. "holds float32%[3%] and may not become float32%[4%]", bdl.jit(write(bdl.zeros(4) * u.mV)))
  local escaped
  bdl.jit(function() escaped = bdl.State(bdl.zeros(1), {name = "e"}) end)()
  t.raises("TraceContextError", "the value of State 'e' %(made at tests/lua/errors.lua:%d+%) belongs to a finished trace",
    function() return escaped.value end)
  t.eq(s.value.mantissa, {0, 0, 0})
end)

t.test("a compiled step that runs out of memory leaves every State as it was", function()
  local x, a, b, c = bdl.array(0.5), nil, nil, nil
  local steps = {
    straight = function()
      a.value = a.value + x
      b.value = b.value:sort() * a.value
      c.value = c.value:matmul(b.value:reshape{64, 64}) + bdl.cumsum(a.value):reshape{64, 64}
      return a.value:sum()
    end,
    loop = function()
      a.value = a.value + x
      return bdl.for_loop(function()
        b.value = b.value + a.value
        c.value = c.value:matmul(c.value) * 1e-3
        return b.value
      end, {length = 8})
    end,
    branch = function()
      a.value = a.value * 3
      bdl.cond(x:gt(0), function() b.value = b.value:sort() + 1 end, function() b.value = b.value * 2 end)
      c.value = c.value:exp():matmul(c.value)
    end,
  }
  for name, step in pairs(steps) do
    for _, compiled in ipairs{false, true} do -- before the call that fails
      a, b, c = bdl.State(bdl.arange(4096) * 1.0), bdl.State(bdl.full(4096, 2.0)), bdl.State(bdl.ones{64, 64})
      local f, before, failures, ok, e = bdl.jit(step), nil, 0, nil, nil
      if compiled then f() end
      before = {a.value + 0, b.value + 0, c.value + 0}
      for extra = 0, math.huge, 4096 do
        collectgarbage()
        core.memory(core.memory().used + extra)
        ok, e = pcall(f)
        core.memory(0)
        if ok then break end
        failures = failures + 1
        t.ok(e.kind == "MemoryError" and e.message:find "%d bytes", tostring(e))
        for i, s in ipairs{a, b, c} do t.ok(s.value:eq(before[i]):all():item(), ("%s: State %d has changed"):format(name, i)) end
      end
      t.ok(failures >= 1 and not a.value:eq(before[1]):all():item(), ("%s: %d failures"):format(name, failures))
    end
  end
end)

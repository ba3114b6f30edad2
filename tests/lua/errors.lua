--- Mistakes that are refused alike everywhere: unknown names of submodules, parameters of regenerated connections.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local u = bdl.units

t.test("a submodule refuses a name that it has not, with the nearest one", function()
  for name, known in pairs{random = "randn", compile = "jit", augment = "grad", debug = "check", environ = "set", graph = "nodes",
                           tree = "flatten", functional = "relu", util = "sorted_keys", init = "Constant",
                           surrogate = "sigmoid"} do
    if rawget(bdl[name], known) ~= nil then
      t.raises("KeyError", ("bdl.%s has no '%sq' %%(did you mean '%s'"):format(name, known, known), function() return bdl[name][known .. "q"] end)
    end
    t.raises("KeyError", "bdl." .. name .. " has no 'no_such_name'", function() return bdl[name].no_such_name end)
  end
  t.ok(bdl.jit and bdl.State and bdl.zeros, "names in bdl itself are still found")
  t.raises("KeyError", "bdl has no 'no_such_name'", function() return bdl.no_such_name end)
end)

t.test("regenerated connections refuse seeds and units that do not fit", function()
  t.raises("TypeError", "seed is an integer, not a", bdl.event.JITCNormalR, {1.0, 0.1, 0.5, "a", shape = {3, 4}})
  t.raises("UnitMismatchError", "mV", bdl.event.JITCNormalR, {1.0*u.mV, 0.1*u.ms, 0.5, 1, shape = {3, 4}})
  t.eq(bdl.event.JITCNormalR({1.0*u.mV, 0.1*u.mV, 0.5, 1, shape = {3, 4}}).shape, {3, 4})
end)

--- Several hidden states in one: parts by position and name, units, copies, lanes, bad input.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local u = bdl.units

t.test("a group: parts of the last axis of one unit", function()
  local s = bdl.HiddenGroupState(bdl.tensor{{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}}*u.mV)
  t.eq({s.num_state, table.unpack(s.varshape)}, {3, 2})
  t.eq(s:get_value(1) / u.mV, {1, 4})
  t.eq(s:get_value(-1) / u.mV, {3, 6})
  t.eq(s:get_value "2" / u.mV, {2, 5})
  s:set_value{[2] = bdl.tensor{0.02, 0.05}*u.volt, ["3"] = bdl.tensor{7.0, 8.0}*u.mV}
  t.close(s.value / u.mV, {{1, 20, 7}, {4, 50, 8}})
  s:set_value{bdl.zeros(2)*u.mV}
  t.close(s.value / u.mV, {{0, 20, 7}, {0, 50, 8}})
  t.ok(bdl.class.isa(s, bdl.HiddenState))
  t.raises("IndexError", "part 4 of 3; positions count from 1", function() s:get_value(4) end)
  t.raises("IndexError", "part 0 of 3", function() s:set_value{[0] = bdl.zeros(2)*u.mV} end)
  t.raises("KeyError", "no part 'v'", function() s:get_value "v" end)
  t.raises("TypeError", "a position or a name, not a boolean", function() s:get_value(true) end)
  t.raises("ShapeError", "part 1 is %[3%], not %[2%]", function() s:set_value{bdl.zeros(3)*u.mV} end)
  t.raises("UnitMismatchError", nil, function() s:set_value{bdl.zeros(2)} end)
  t.raises("ValueError", "no part is given", function() s:set_value{} end)
  t.raises("TypeError", "a list of parts or a table", function() s:set_value(bdl.zeros(2)) end)
  t.raises("ValueError", "not of 1 axes", bdl.HiddenGroupState, bdl.ones(3))
  t.raises("TypeError", "one tensor or quantity, not a table", bdl.HiddenGroupState, {1, 2})
end)

t.test("a tree: parts of any units, by name; copies keep them; compiled writes", function()
  local s = bdl.HiddenTreeState({v = bdl.ones(3)*u.mV, i = bdl.full({3}, 2.0)*u.mA, x = bdl.zeros(3)}, {name = "s", tag = "fast"})
  t.eq({s.num_state, s.name, s.tag.fast, table.unpack(s.varshape)}, {3, "s", true, 3})
  t.eq(s.value, {{2, 1, 0}, {2, 1, 0}, {2, 1, 0}})
  t.eq(s:get_value "i" / u.mA, {2, 2, 2})
  t.eq(s:get_value(2) / u.mV, {1, 1, 1})
  s:set_value{v = bdl.full({3}, 0.003)*u.volt}
  t.close(s:copy():get_value "v" / u.mV, {3, 3, 3})
  local step = bdl.jit(function() s:set_value{v = s:get_value "v" + 1*u.mV, x = s:get_value "x" - 1} end)
  step()
  step()
  t.close(s:get_value "v" / u.mV, {5, 5, 5})
  t.eq(s:get_value(-1), {-2, -2, -2})
  local list = bdl.HiddenTreeState{bdl.ones(2)*u.mV, bdl.zeros(2)}
  t.eq(list:get_value "1" / u.mV, {1, 1})
  list:set_value{bdl.full({2}, 2.0)*u.mV, bdl.ones(2)}
  t.eq(list.value, {{2, 1}, {2, 1}})
  t.ok(tostring(s):find 'names={"i", "v", "x"}', "the names are shown")
  t.raises("KeyError", "no part 'w'", function() s:get_value "w" end)
  t.raises("UnitMismatchError", nil, function() s:set_value{i = bdl.ones(3)*u.mV} end)
  t.raises("ShapeError", "part b is %[3%], part a %[2%]", bdl.HiddenTreeState, {a = bdl.ones(2), b = bdl.ones(3)})
  t.raises("TypeError", "part a is one tensor or quantity, not a number", bdl.HiddenTreeState, {a = 1})
  t.raises("TypeError", "a list or table of parts is needed", bdl.HiddenTreeState, bdl.ones(2))
end)

t.test("in lanes, and in gradients", function()
  local s = bdl.HiddenTreeState{a = bdl.zeros(4, 2)*u.mV, b = bdl.ones(4, 2)}
  bdl.vmap(function(x) s:set_value{a = x * s:get_value "b" * u.mV} end, {in_states = s})(bdl.arange(4):astype "float32")
  t.eq(s:get_value "a" / u.mV, {{0, 0}, {1, 1}, {2, 2}, {3, 3}})
  local g = bdl.grad(function(x)
    s:set_value{b = x}
    return (s:get_value "b" * s:get_value "a" / u.mV):sum()
  end)(bdl.ones(4, 2))
  t.eq(g, {{0, 0}, {1, 1}, {2, 2}, {3, 3}})
end)

-- States: kinds, writes, tags, copies, catchers, hooks.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local u = bdl.units

t.test("the kinds derive from each other; users add their own", function()
  local Counter = bdl.State:extend "Counter"
  t.ok(bdl.ParamState(1.0):is(bdl.LongTermState) and bdl.LongTermState:is(bdl.State))
  t.ok(bdl.HiddenState(bdl.ones(2)):is(bdl.ShortTermState))
  local c = Counter(1)
  t.ok(c:is(bdl.State) and not c:is(bdl.ParamState))
  t.eq(bdl.typename(c), "Counter")
end)

t.test("a subclass adds fields in its constructor and nowhere else", function()
  local Counter = bdl.State:extend "Counter"
  function Counter:__init(value, step)
    Counter.super.__init(self, value)
    self.step = step
  end
  function Counter:tick() self.value = self.value + self.step end
  local c = Counter(bdl.tensor{1, 2}, 3)
  c:tick()
  t.eq(c.step, 3)
  c.step = 4
  t.eq(c.step, 4)
  t.raises("KeyError", "Counter has no field 'stepp' %(did you mean 'step'%?%)", function() c.stepp = 1 end)
  local Forgets = bdl.State:extend "Forgets"
  function Forgets:__init() end
  t.raises("TypeError", "must call Forgets.super.__init", Forgets)
end)

t.test("value is read and written, update applies a function", function()
  local s = bdl.State(bdl.tensor{1, 2})
  s.value = s.value + 1
  s:update(function(v) return v * 2 end)
  t.eq(s.value, bdl.tensor{4, 6})
end)

t.test("the value of a State given as value is taken; setting a State is refused", function()
  local a = bdl.State(bdl.tensor{1, 2})
  local b = bdl.ParamState(a)
  b.value = b.value + 1
  t.eq(a.value, bdl.tensor{1, 2})
  t.raises("ValueError", "Cannot set value to a State, use `copy_from`", function() a.value = b end)
end)

t.test("the structure of the value may not change", function()
  local s = bdl.State({a = bdl.ones(2), b = {1.0, 2.0}})
  local e = t.raises("ValueError", nil, function() s.value = {a = bdl.ones(2)} end)
  t.ok(tostring(e):find("{a:*,b:[*,*]}", 1, true) and tostring(e):find("{a:*}", 1, true), tostring(e))
  t.raises("ValueError", nil, function() s:restore_value(1.0) end)
end)

t.test("misspelt fields and operands are errors that say what to write", function()
  local s = bdl.State(1.0, {name = "count"})
  t.raises("KeyError", "State 'count' has no field 'vale' %(did you mean 'value'%?%)", function() return s.vale end)
  t.raises("KeyError", "no field 'valeu'", function() s.valeu = 1 end)
  t.raises("TypeError", "use s.value", function() return s + 1 end)
  t.raises("TypeError", "use s.value", function() return 2 < s end)
  t.raises("TypeError", "use s.value", function() return -s end)
  t.raises("TypeError", "use s.value", function() return "x" .. s end)
  t.raises("TypeError", "use s.value%[i%]", function() return s[1] end)
  t.raises("TypeError", "a value is needed", bdl.State)
  t.raises("TypeError", "options are a table", bdl.State, 1.0, "name")
end)

t.test("tags are a set", function()
  local s = bdl.State(1.0, {name = "s", tag = {"a", "b"}})
  t.ok(s.tag.a and s.tag["b"] and not s.tag.c)
  s:add_tag "c"
  t.ok(s.tag.c)
  s.tag = "only"
  t.ok(s.tag.only and not s.tag.a)
  t.eq(s.name, "s")
  t.eq(bdl.State(1.0).name, nil)
  s.name = "other"
  t.eq(s.name, "other")
  t.raises("TypeError", "a tag is a string", bdl.State, 1.0, {tag = 3})
  t.raises("TypeError", "a name is a string", bdl.State, 1.0, {name = 3})
end)

t.test("options beyond name and tag become fields", function()
  local s = bdl.State(1.0, {decay = 0.9})
  t.eq(s.decay, 0.9)
  t.eq(s:copy().decay, 0.9)
end)

t.test("HiddenState takes one tensor or quantity", function()
  local h = bdl.HiddenState(bdl.zeros(2, 3))
  t.eq({h.varshape[1], h.varshape[2], h.num_state}, {2, 3, 1})
  t.raises("TypeError", "HiddenState: the value is one tensor or quantity, not a number", bdl.HiddenState, 1.0)
  t.raises("TypeError", "not a table", bdl.HiddenState, {bdl.ones(2)})
end)

t.test("shape needs no read; a tree gives a tree of shapes", function()
  t.eq(bdl.State(bdl.ones(2, 3)).shape[2], 3)
  local s = bdl.State({a = bdl.ones(4), b = bdl.ones(5, 6)})
  t.eq({s.shape.a[1], s.shape.b[2]}, {4, 6})
  t.eq(tostring(bdl.State(bdl.ones(2)).dtype), "float32")
end)

t.test("copy is independent, replace changes what it is given, copy_from keeps identity", function()
  local s = bdl.ParamState(bdl.tensor{1, 2}, {name = "w", tag = "x"})
  local c = s:copy()
  c.value = c.value + 1
  t.eq(s.value, bdl.tensor{1, 2})
  t.ok(c:is(bdl.ParamState) and c.name == "w" and c.tag.x)
  local r = s:replace(bdl.tensor{5, 6}, {name = "v"})
  t.eq({r.name, r.tag.x}, {"v", true})
  t.eq(r.value, bdl.tensor{5, 6})
  t.eq(s:replace(c).value, bdl.tensor{2, 3})
  t.raises("ValueError", "replace: State cannot stand for ParamState 'w'", s.replace, s, bdl.State(1.0))
  s:copy_from(r)
  t.eq(s.value, bdl.tensor{5, 6})
  t.eq(s.name, "v")
  t.raises("ValueError", "copy_from: a State cannot be copied into ParamState 'v'", s.copy_from, s, bdl.State(1.0))
end)

t.test("maybe_state gives the value of a State", function()
  t.eq(bdl.maybe_state(3), 3)
  t.eq(bdl.maybe_state(bdl.State(bdl.tensor{1, 2})), bdl.tensor{1, 2})
end)

t.test("catchers collect and tag the States of their block, nested ones too", function()
  local outside = bdl.State(1.0)
  local outer <close> = bdl.catch_new_states "new"
  local a = bdl.State(1.0)
  local b
  do
    local inner <close> = bdl.catch_new_states("deep", {state_to_exclude = bdl.ParamState})
    b = bdl.State(1.0)
    local p = bdl.ParamState(1.0)
    t.ok(p.tag.new and not p.tag.deep)
    t.eq(#inner, 1)
    t.ok(inner[1] == b)
  end
  local c = bdl.State(1.0)
  t.ok(b.tag.new and b.tag.deep and c.tag.new and not c.tag.deep and not outside.tag.new)
  t.eq(#outer, 4)
  t.ok(outer:get_states()[1] == a)
end)

t.test("a catcher around one call returns its results and ends on errors", function()
  local s, n = bdl.catch_new_states("call", function(k) return bdl.State(1.0), k end, 3)
  t.ok(s.tag.call and n == 3)
  t.raises(nil, "inside", bdl.catch_new_states, "call", {state_to_exclude = false}, error, "inside")
  t.ok(not bdl.State(1.0).tag.call)
  t.raises("TypeError", "the tag is a string", bdl.catch_new_states, 3)
  t.eq(bdl.check_state_value_tree(function(x) return x end, 5), 5)
end)

t.test("hooks run by priority, those for all States first", function()
  local s, log = bdl.State(bdl.tensor{1, 2}), {}
  local function note(word) return function() log[#log + 1] = word end end
  s:register_hook("read", note "low")
  s:register_hook("read", note "high", {priority = 5})
  local all = bdl.register_state_hook("read", note "all")
  local off = s:register_hook("read", note "off")
  off:disable()
  local _ = s.value
  t.eq(log, {"all", "high", "low"})
  t.ok(all:remove() and not all:remove())
  s:clear_hooks "read"
  _ = s.value
  t.eq(#log, 3)
end)

t.test("a write hook changes the value or cancels the write", function()
  local s, after = bdl.State(bdl.tensor{1, 2}), nil
  s:register_hook("write_before", function(ctx) ctx.transformed_value = ctx.transformed_value * 10 end)
  s:register_hook("write_after", function(ctx) after = ctx.old_value end)
  s.value = bdl.tensor{3, 4}
  t.eq(s.value, bdl.tensor{30, 40})
  t.eq(after, bdl.tensor{1, 2})
  s:register_hook("write_before", function(ctx) ctx.cancel, ctx.cancel_reason = true, "frozen" end, {name = "lock"})
  t.raises(bdl.HookCancellationError, "lock: frozen", function() s.value = bdl.tensor{5, 6} end)
  t.eq(s.value, bdl.tensor{30, 40})
  t.eq(#s:copy().value, 2)
end)

t.test("errors in hooks are raised, ignored, or end the hook", function()
  local s = bdl.State(bdl.tensor{1, 2})
  local raising = s:register_hook("read", function() error "broken" end, {on_error = "raise"})
  t.raises(nil, "broken", function() return s.value end)
  raising:remove()
  local h = s:register_hook("read", function() error "broken" end,
                            {on_error = "ignore", disable_on_error = true, max_errors = 2})
  for _ = 1, 5 do local _ = s.value end
  t.eq(h.errors, 2)
  t.ok(not h:is_enabled())
  t.raises("ValueError", "no kind 'wirte_before' %(did you mean 'write_before'%?%)", s.register_hook, s, "wirte_before", print)
  t.raises("ValueError", "on_error", s.register_hook, s, "read", print, {on_error = "stop"})
  t.raises("TypeError", "a function is needed", s.register_hook, s, "read", 3)
end)

t.test("init and restore hooks", function()
  local log = {}
  bdl.register_state_hook("init", function(ctx) log[#log + 1] = ctx.state_name end)
  local s = bdl.State(bdl.tensor{1, 2}, {name = "made"})
  bdl.clear_state_hooks()
  s:register_hook("restore", function(ctx) log[#log + 1] = ctx.operation end)
  s:restore_value(bdl.tensor{3, 4})
  t.eq(log, {"made", "restore"})
  t.eq(s.value, bdl.tensor{3, 4})
end)

t.test("units stay with the value", function()
  local s = bdl.State(2.0 * u.mV)
  t.eq(bdl.typename(s.value), "Quantity")
end)

-- Filters of States and Nodes.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local filter = bdl.util.filter

local param = bdl.ParamState(1.0, {tag = "fast"})
local short = bdl.ShortTermState(1.0, {tag = {"slow", "new"}})

local function accepts(f, path, x) return filter.to_predicate(f)(path, x) end

t.test("classes, tags, booleans, rest and none", function()
  t.ok(accepts(bdl.ParamState, "w", param) and accepts(bdl.State, "w", param) and not accepts(bdl.ParamState, "w", short))
  t.ok(accepts("slow", "w", short) and accepts("new", "w", short) and not accepts("slow", "w", param))
  t.ok(accepts(bdl.rest, "w", param) and accepts("...", "w", param) and accepts(true, "w", param))
  t.ok(not accepts(bdl.none, "w", param) and not accepts(false, "w", param))
end)

t.test("a function sees the path and the object", function()
  t.ok(accepts(function(path, x) return path == "w" and x == param end, "w", param))
  t.eq(accepts(function() return nil end, "w", param), false)
end)

t.test("filters combine", function()
  local f = filter.All(bdl.State, filter.Not(bdl.ParamState))
  t.ok(f("w", short) and not f("w", param))
  t.ok(accepts({bdl.ParamState, "slow"}, "w", short))
  t.ok(filter.Any("fast", "slow")("w", param) and not filter.Any()("w", param))
  t.eq(tostring(f), "All(OfType(State), Not(OfType(ParamState)))")
end)

t.test("a path contains a key as a whole part", function()
  local f = filter.PathContains "layers"
  t.ok(f("layers[1].weight", param) and not f("layers2.weight", param))
  t.ok(filter.PathContains(1)("layers[1].weight", param) and not filter.PathContains(1)("layers[11].weight", param))
  t.ok(filter.PathContains "a // b"('neu["a // b"].g', param))
end)

t.test("what is no filter is an error", function()
  t.raises("TypeError", "a filter is a class, a tag", filter.to_predicate, 3)
  t.raises("TypeError", "got a State", filter.to_predicate, bdl.State(1.0))
end)

-- Trees and ordered maps.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local tree, util = bdl.tree, bdl.util

t.test("leaves come in sorted order of keys, numbers first", function()
  t.eq(tree.leaves{b = 2, a = {10, 20}, [3] = 7, [1] = 5}, {5, 7, 10, 20, 2})
end)

t.test("a treedef is text, equal exactly when the structures are", function()
  t.eq(tostring(tree.structure{a = 1, b = {1, 2}}), "{a:*,b:[*,*]}")
  t.ok(tree.structure{a = 1, b = {1, 2}} == tree.structure{b = {3, 4}, a = 0})
  t.ok(tree.structure{1, 2} ~= tree.structure{1, {2}})
  t.eq(tostring(tree.structure(1.0)), "*")
end)

t.test("the text is that of core.flatten", function()
  for _, x in ipairs{{1, 2}, {a = 1, b = {c = 2}}, {}, {a = {}}, {[2] = 1, x = 3}} do
    local _, def = core.flatten(x)
    t.eq(tostring(tree.structure(x)), def)
  end
end)

t.test("unflatten inverts flatten", function()
  local x = {a = {1, 2, {3}}, b = 4, [7] = bdl.none}
  local leaves, def = tree.flatten(x)
  t.eq(leaves, {1, 2, 3, 4})
  local y = tree.unflatten(def, leaves)
  t.eq({y.a, y.b}, {x.a, x.b})
  t.ok(y[7] == bdl.none)
  t.raises("ValueError", "3 leaves for the structure", tree.unflatten, def, {1, 2, 3})
end)

t.test("map runs over several trees of one structure", function()
  t.eq(tree.map(function(p, g) return p - g end, {w = {1, 2}, b = 3}, {w = {1, 1}, b = 1}), {w = {0, 1}, b = 2})
  t.raises("ValueError", "tree 1 has the structure {a:%*}, tree 2 has {b:%*}", tree.map, print, {a = 1}, {b = 1})
end)

t.test("States stand for their values, maps keep their class and order", function()
  local m = util.FlattedDict()
  m.z = bdl.State({p = 1, q = 2})
  m.a = bdl.State(3)
  local r = tree.map(function(x) return x end, m)
  t.ok(r:is(util.FlattedDict))
  local keys = {}
  for key in r:keys() do keys[#keys + 1] = key end
  t.eq(keys, {"z", "a"})
  t.eq(tostring(tree.structure(m)), "@FlattedDict{z:{p:*,q:*},a:*}")
end)

t.test("zip gives the path and the leaves side by side", function()
  local seen = {}
  for path, a, b in tree.zip({w = {1, 2}, b = 3}, {w = {4, 5}, b = 6}) do seen[#seen + 1] = {path, a, b} end
  t.eq(seen, {{"b", 3, 6}, {"w[1]", 1, 4}, {"w[2]", 2, 5}})
end)

t.test("a table inside itself is an error", function()
  local x = {}
  x.x = x
  t.raises("ValueError", "contains itself", tree.leaves, x)
end)

t.test("a map keeps insertion order, counts, removes", function()
  local m = util.PrettyMapping()
  m.b, m.a = 1, 2
  m.c = 3
  m.c = nil
  local seen = {}
  for key, value in pairs(m) do seen[#seen + 1] = {key, value} end
  t.eq(#seen, 2)
  t.eq(#m, 2)
  t.eq(m.c, nil)
  t.eq(m:get("c", "default"), "default")
  m.keys = 5
  t.eq(m:get "keys", 5)
  t.eq(util.PrettyMapping{y = 1, x = 2, 9}:copy():get(1), 9)
  t.raises("TypeError", "not a number", util.PrettyMapping, 3)
end)

t.test("a path is found in each of its spellings", function()
  local m = util.FlattedDict{["layers[1].weight"] = 1, ['b["x y"].g'] = 2}
  t.eq(m["layers[1].weight"], 1)
  t.eq(m["layers.1.weight"], 1)
  t.eq(m[{"layers", 1, "weight"}], 1)
  t.eq(m[{"b", "x y", "g"}], 2)
  t.eq(m["layers.2.weight"], nil)
end)

t.test("nested and flat are inverse; a prefix that is a value is refused", function()
  local flat = util.FlattedDict{["a.b[1]"] = 1, ["a.b[2]"] = 2, c = 3}
  local nest = flat:to_nest()
  t.eq(nest.a.b[2], 2)
  local back = nest:to_flat()
  t.eq(back["a.b[2]"], 2)
  t.eq(#back, 3)
  t.eq(util.FlattedDict.from_nest({a = {b = {1, 2}}, c = 3})["a.b[1]"], 1)
  t.raises("ValueError", "'a' is a value, so 'a.b'", function() util.FlattedDict{a = 1, ["a.b"] = 2}:to_nest() end)
  t.raises("ValueError", "'a' has entries", function()
    local m = util.FlattedDict()
    m["a.b"], m["c"] = 1, 1
    m.a = 2
    m:to_nest()
  end)
end)

t.test("maps merge with +, subtract with -, split by filters", function()
  local a, b = util.FlattedDict{x = 1, y = 2}, util.FlattedDict{y = 3, z = 4}
  t.eq((a + b).y, 3)
  t.eq(#(a + b), 3)
  t.eq((a - b).x, 1)
  t.eq(#(a - b), 1)
  local odd, even = a:split(function(_, v) return v % 2 == 1 end, bdl.rest)
  t.eq({odd.x, even.y, #odd, #even}, {1, 2, 1, 1})
  t.raises("ValueError", "no filter takes 'y'", function() a:split(function(path) return path == "x" end) end)
  t.eq(#a:filter(function(path) return path == "x" end), 1)
end)

t.test("nested maps from flat ones and back", function()
  local flat = util.FlattedDict()
  flat["a.w"], flat["layers[1].b"], flat.c = 1, 2, 3
  local nest = util.NestedDict.from_flat(flat)
  t.eq({nest.a.w, nest.layers[1].b, nest.c}, {1, 2, 3})
  t.eq(bdl.typename(nest), "NestedDict")
  local again = nest:to_flat()
  t.eq({again["a.w"], again["layers[1].b"], again.c, #again}, {1, 2, 3, 3})
  t.eq(util.NestedDict.from_flat{["x.y"] = 4}.x.y, 4)
  flat["c.d"] = 5
  t.raises("ValueError", nil, util.NestedDict.from_flat, flat)
end)

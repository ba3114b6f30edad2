-- The graph of Nodes and States: traversal, filters, split and merge.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local graph, filter = bdl.graph, bdl.util.filter

local Leaf = graph.Node:extend "Leaf"
function Leaf:__init(n, m)
  self.weight = bdl.ParamState({weight = bdl.ones(n, m), bias = bdl.zeros(m)})
end

local MLP = graph.Node:extend "MLP"
function MLP:__init(din, dmid, dout, n_layer)
  self.output = Leaf(dmid, dout)
  self.layers = {}
  for i = 1, n_layer do self.layers[i] = Leaf(dmid, dmid) end
  self.input = Leaf(din, dmid)
end

local Two = graph.Node:extend "Two"
function Two:__init()
  self.b = Leaf(2, 2)
  self.a = self.b
  self.c = bdl.ShortTermState(bdl.zeros(3), {tag = "fast"})
end

local function keys(map)
  local list = {}
  for key in map:keys() do list[#list + 1] = key end
  return list
end

t.test("states and nodes come sorted, a Node after what it holds, the root last", function()
  local mlp = MLP(2, 1, 3, 3)
  t.eq(keys(graph.states(mlp)),
       {"input.weight", "layers[1].weight", "layers[2].weight", "layers[3].weight", "output.weight"})
  t.eq(keys(mlp:nodes()), {"input", "layers[1]", "layers[2]", "layers[3]", "output", ""})
  t.ok(mlp:nodes()[""] == mlp)
end)

t.test("a State or Node met twice counts once, at its first path; cycles end", function()
  local two = Two()
  two.self = two
  two.list = {two, {two.c}}
  two.list.again = two.list
  t.eq(keys(two:states()), {"a.weight", "c"})
  t.eq(keys(two:nodes()), {"a", ""})
end)

t.test("fields added or replaced later are seen, private ones too", function()
  local two = Two()
  two.d = bdl.State(1.0)
  two._before_updates = {["Expon(4, tau=10 ms) // CUBA()"] = Leaf(1, 1)}
  two.c = bdl.ParamState(1.0)
  t.eq(keys(two:states()), {'_before_updates["Expon(4, tau=10 ms) // CUBA()"].weight', "a.weight", "c", "d"})
  t.eq(keys(two:states(bdl.ShortTermState)), {})
end)

t.test("filters choose; several give a map each, first match wins", function()
  local two = Two()
  t.eq(keys(two:states(bdl.ParamState)), {"a.weight"})
  t.eq(keys(two:states "fast"), {"c"})
  t.eq(keys(two:states(filter.PathContains "a")), {"a.weight"})
  local params, all, rest = two:states(bdl.ParamState, bdl.State, bdl.rest)
  t.eq({keys(params), keys(all), keys(rest)}, {{"a.weight"}, {"c"}, {}})
  t.eq(keys(two:nodes(Leaf)), {"a"})
end)

t.test("levels count Nodes and States, not tables", function()
  local mlp = MLP(1, 1, 1, 1)
  mlp.own = bdl.State(1.0)
  t.eq(keys(mlp:states{allowed_hierarchy = {1, 1}}), {"own"})
  t.eq(keys(mlp:states(bdl.State, {allowed_hierarchy = {2, 2}})), {"input.weight", "layers[1].weight", "output.weight"})
  t.eq(keys(mlp:nodes{allowed_hierarchy = {0, 0}}), {""})
  t.eq(keys(mlp:nodes{allowed_hierarchy = {1, 1}}), {"input", "layers[1]", "output"})
  t.raises("ValueError", "allowed_hierarchy", mlp.states, mlp, {allowed_hierarchy = {2, 1}})
end)

t.test("a thing at a path is found in each spelling", function()
  local mlp = MLP(1, 1, 1, 2)
  t.ok(graph.find(mlp, "layers[2].weight") == mlp.layers[2].weight)
  t.ok(graph.find(mlp, "layers.2.weight") == mlp.layers[2].weight)
  t.ok(graph.find(mlp, {"layers", 2}) == mlp.layers[2])
  t.raises("KeyError", "nothing at 'layers%[2%].wieght' %(did you mean 'weight'%?%)", graph.find, mlp, "layers[2].wieght")
end)

t.test("what is no graph is refused", function()
  t.raises("TypeError", "graph.states: a Node is needed, not a number", graph.states, 3)
  t.raises("KeyError", "keys on the way to States are strings or integers", graph.states, {[1.5] = bdl.State(1.0)})
end)

t.test("split and merge rebuild classes, tables, sharing and cycles", function()
  local two = Two()
  two.self, two.size, two.list = two, 7, {1, {2, "x"}}
  local def, map = graph.treefy_split(two)
  t.eq(keys(map), {"a.weight", "c"})
  local again = graph.treefy_merge(def, map)
  t.ok(again ~= two and again:is(Two) and again.self == again and again.a == again.b and again.a ~= two.a)
  t.eq({again.size, again.list}, {7, {1, {2, "x"}}})
  t.ok(again.c:is(bdl.ShortTermState) and again.c.tag.fast and again.c ~= two.c)
  again.c.value = again.c.value + 1
  t.eq(two.c.value, bdl.zeros(3))
end)

t.test("graphdefs are equal exactly when the models differ in values only", function()
  local a, b = Two(), Two()
  b.c.value = b.c.value + 1
  t.ok(graph.graphdef(a) == graph.graphdef(b))
  t.ok(graph.graphdef(a) == graph.graphdef(graph.clone(a)))
  b.size = 1
  t.ok(graph.graphdef(a) ~= graph.graphdef(b))
  a.b = Leaf(2, 2)
  b.size = nil
  t.ok(graph.graphdef(a) ~= graph.graphdef(b))
end)

t.test("a split must take every State, a merge needs every one", function()
  local two = Two()
  t.raises("ValueError", "no filter takes 'c'", graph.treefy_split, two, bdl.ParamState)
  local def, params, rest = graph.treefy_split(two, bdl.ParamState, bdl.rest)
  t.eq({keys(params), keys(rest)}, {{"a.weight"}, {"c"}})
  t.raises("ValueError", "no State for the path 'c'", graph.treefy_merge, def, params)
  t.raises("ValueError", "the graph has no State at 'd'", graph.treefy_merge, def, params, rest,
           bdl.util.FlattedDict{d = bdl.State(1.0)})
  t.eq(keys(graph.treefy_merge(def, rest, params):states()), {"a.weight", "c"})
end)

t.test("tree.map goes through detached States to their values", function()
  local two = Two()
  local def, map = graph.treefy_split(two)
  local again = graph.treefy_merge(def, bdl.tree.map(function(x) return x + 1 end, map))
  t.eq(again.c.value, bdl.ones(3))
end)

t.test("unflatten keeps the States that it is given", function()
  local two = Two()
  local def, states = graph.flatten(two)
  local again = graph.unflatten(def, states)
  t.ok(again ~= two and again.c == two.c and again.a.weight == two.a.weight)
  t.raises("TypeError", "a GraphDef is needed", graph.unflatten, 3, states)
end)

t.test("update_states writes all or nothing", function()
  local two = Two()
  graph.update_states(two, bdl.util.FlattedDict{c = bdl.ones(3)})
  t.eq(two.c.value, bdl.ones(3))
  t.raises("KeyError", "no State at 'd'", graph.update_states, two, {c = bdl.zeros(3), d = 1})
  t.eq(two.c.value, bdl.ones(3))
end)

t.test("pop_states takes States out wherever they are held", function()
  local two = Two()
  two.other = {held = two.c}
  local popped = graph.pop_states(two, bdl.ShortTermState)
  t.eq(keys(popped), {"c"})
  t.eq({two.c, two.other.held}, {})
  t.eq(keys(two:states()), {"a.weight"})
  t.raises("ValueError", "at least one filter", graph.pop_states, two)
  two.list = {bdl.State(1.0)}
  t.raises("ValueError", "'list%[1%]' stands in a list", graph.pop_states, two, bdl.rest)
  t.eq(#two:states(), 2)
end)

t.test("maps and plain data inside Nodes survive a clone", function()
  local two = Two()
  two.map = bdl.util.FlattedDict{["x.y"] = bdl.State(bdl.ones(2)), z = 3}
  two.data = {1, 2, 3}
  t.eq(keys(two:states(filter.PathContains "map")), {'map["x.y"]'})
  local again = graph.clone(two)
  t.ok(again.map:is(bdl.util.FlattedDict) and again.map["x.y"] ~= two.map["x.y"])
  t.eq({again.map.z, again.data}, {3, {1, 2, 3}})
  t.ok(again.data ~= two.data)
end)

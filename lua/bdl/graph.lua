--- The graph of a model: Nodes that hold States and Nodes in fields, in tables of any depth and in maps.
--
-- Children are visited in sorted order (numbers, then names).  A State or Node that is reached twice counts once, at its
-- first path; a Node is listed after what it holds, the root last under the path "".  Cycles are fine.
--   Levels: the root is 0, each Node or State on the way down one more; tables do not count.
-- The graph is read afresh at every call: fields may be added and replaced at any time.

local core = require "bdl.core"
local class = require "bdl.class"
local paths = require "bdl.path"
local util = require "bdl.util"
local filters = require "bdl.filter"
local suggest = require "bdl.suggest"
local state = require "bdl.state"

local State, FlattedDict = state.State, util.FlattedDict

local graph = {}

--- What is made of States and of other Nodes; modules and optimisers are Nodes.
local Node = class "Node"
Node.__graph = true
graph.Node = Node

local function is_state(x) return class.isa(x, State) end
local function is_node(x) return class.isa(x, Node) end

--- Sorted keys and the values of a Node, map or table; nil for State and static data.
local function children(x)
  if type(x) ~= "table" then return nil end
  local keys, values = nil, {}
  if getmetatable(x) == nil then
    keys = util.sorted_keys(x)
    for i, key in ipairs(keys) do values[i] = x[key] end
  elseif class.isa(x, util.PrettyMapping) then
    keys = {}
    for key, value in x:items() do keys[#keys + 1], values[#values + 1] = key, value end
  elseif is_node(x) then
    keys = class.fields(x)
    table.sort(keys, paths.key_less)
    for i, key in ipairs(keys) do values[i] = rawget(x, key) end
  end
  return keys, values
end

--- Cheap look at tables of data, which may be long: is there anything inside to visit?
local function may_hold_states(x)
  if getmetatable(x) ~= nil then return true end
  for _, value in next, x do
    if type(value) == "table" then return true end
  end
  return false
end

local function child_path(path, key, value)
  if type(key) ~= "string" and math.type(key) ~= "integer" and (is_state(value) or is_node(value)) then
    core.fail("KeyError", 3, "a %s lies under the key %s in '%s'; keys on the way to States are strings or integers",
              class.typename(value), tostring(key), path == "" and "(root)" or path)
  end
  return paths.join(path, key)
end

--- w: min, max (levels), seen, state(path, x), node(path, x), holder(path, container, key, value); functions optional.
local function walk(w, x, path, level)
  if type(x) ~= "table" or level > w.max then return end
  if is_state(x) then
    if not w.seen[x] and level >= w.min and w.state then w.state(path, x) end
    w.seen[x] = true
    return
  end
  if w.seen[x] or not may_hold_states(x) then return end
  local keys, values = children(x)
  if not keys then return end
  w.seen[x] = true
  for i, key in ipairs(keys) do
    local value = values[i]
    local deeper = is_state(value) or is_node(value)
    if w.holder then w.holder(path, x, key, value) end
    walk(w, value, child_path(path, key, value), deeper and level + 1 or level)
  end
  if w.node and is_node(x) and level >= w.min then w.node(path, x) end
end

local function check_root(who, x)
  if not (is_node(x) or is_state(x) or class.isa(x, util.PrettyMapping) or type(x) == "table" and getmetatable(x) == nil) then
    core.fail("TypeError", 3, "graph.%s: a Node is needed, not a %s", who, class.typename(x))
  end
end

--- Filters and the options table {allowed_hierarchy = {min, max}} that may follow them.
local function filters_and_levels(who, ...)
  local list = table.pack(...)
  local opts, min, max = list[list.n], 0, math.huge
  if type(opts) == "table" and getmetatable(opts) == nil and opts.allowed_hierarchy ~= nil then
    list[list.n], list.n = nil, list.n - 1
    local range = opts.allowed_hierarchy
    min, max = range[1], range[2]
    if type(min) ~= "number" or type(max) ~= "number" or min > max then
      core.fail("ValueError", 3, "graph.%s: allowed_hierarchy is {first, last}, levels counted from the root at 0", who)
    end
  end
  return filters.predicates(table.unpack(list, 1, list.n)), min, max
end

--- One map without filters or with one, else a map for each; the first filter that matches takes an entry.
local function collect(who, kind, x, ...)
  check_root(who, x)
  local predicates, min, max = filters_and_levels(who, ...)
  local maps = {}
  for i = 1, math.max(1, #predicates) do maps[i] = FlattedDict() end
  local function put(path, found)
    local i = #predicates == 0 and 1 or filters.first(predicates, path, found)
    if i then maps[i][path] = found end
  end
  walk({min = min, max = max, seen = {}, [kind] = put}, x, "", 0)
  return table.unpack(maps)
end

--- path -> State
function graph.states(node, ...) return collect("states", "state", node, ...) end
--- path -> Node
function graph.nodes(node, ...) return collect("nodes", "node", node, ...) end

function Node:states(...) return graph.states(self, ...) end
function Node:nodes(...) return graph.nodes(self, ...) end

--- What lies at a path, in any spelling.  Errors: KeyError with the nearest name.
function graph.find(node, path)
  local x, at = node, ""
  for _, key in ipairs(paths.parse(path) or {path}) do
    local keys, values = children(x)
    local found
    for i, k in ipairs(keys or {}) do
      if k == key then found = values[i] end
    end
    if found == nil then
      core.fail("KeyError", 2, "nothing at '%s'%s", paths.join(at, key), suggest.hint(key, graph.names(keys)))
    end
    x, at = found, paths.join(at, key)
  end
  return x
end

--- Those of the keys that are strings.
function graph.names(keys)
  local names = {}
  for _, key in ipairs(keys or {}) do
    if type(key) == "string" then names[#names + 1] = key end
  end
  return names
end

--- A State taken out of its identity: class, value, options.  As a tree it is {value = ..}.
local TreefyState = class "TreefyState"
graph.TreefyState = TreefyState

function TreefyState:__init(cls, value, opts)
  self.type, self.value, self._opts = cls, value, opts
  self.name, self.tag = opts.name, {}
  for _, tag in ipairs(opts.tag or {}) do self.tag[tag] = true end
end

function TreefyState:to_state() return state.make(self.type, self.value, self._opts) end
function TreefyState:__stands_for() return self.type end
function TreefyState:__flatten() return "TreefyState", {"value"}, {self.value} end
function core.tree_kinds.TreefyState(_, values, like) return TreefyState(like.type, values[1], like._opts) end
function TreefyState:__pretty() return {{"type", self.type}, {"value", self.value}} end

--- GraphDef: everything of a model but its States' values.  `entries`, in order of first visit:
--    State      {class, opts, path}
--    container  {class or nil, keys, order, refs = {key -> entry}, static = {key -> value}}
local GraphDef = class "GraphDef"
graph.GraphDef = GraphDef

local function enter(def, states, indices, x, path)
  if indices[x] then return indices[x] end
  local index = #def.entries + 1
  local entry = {class = class.of(x), refs = {}, static = {}}
  indices[x], def.entries[index] = index, entry
  if is_state(x) then
    entry.opts, entry.path = state.options(x), path
    states[path] = x
    return index
  end
  local values
  entry.keys, values = children(x)
  entry.order = is_node(x) and class.fields(x) or entry.keys
  for i, key in ipairs(entry.keys) do
    local value = values[i]
    if is_state(value) or (type(value) == "table" and children(value)) then
      entry.refs[key] = enter(def, states, indices, value, child_path(path, key, value))
    else
      entry.static[key] = value
    end
  end
  return index
end

--- graphdef, path -> the States themselves.
function graph.flatten(node)
  check_root("flatten", node)
  local def, states = GraphDef(), FlattedDict()
  def.entries = {}
  enter(def, states, {}, node, "")
  return def, states
end

function GraphDef:__pretty()
  local nodes, leaves = 0, 0
  for _, entry in ipairs(self.entries) do
    if entry.path then leaves = leaves + 1 elseif entry.class then nodes = nodes + 1 end
  end
  return {{"root", self.entries[1].class}, {"nodes", nodes}, {"states", leaves}}
end

--- Equal static data: the same object, or concrete tensors with the same contents.
local function same_static(a, b)
  if rawequal(a, b) then return true end
  if not (core.is_tensor(a) and core.is_tensor(b)) or core.is_traced(a) or core.is_traced(b) then return false end
  local function same(x, y)
    if type(x) ~= "table" then return x == y end
    if #x ~= #y then return false end
    for i = 1, #x do
      if not same(x[i], y[i]) then return false end
    end
    return true
  end
  return tostring(a.dtype) == tostring(b.dtype) and tostring(core.unit_of(a)) == tostring(core.unit_of(b))
         and same(core.totable(a), core.totable(b))
end

local function same_entry(a, b)
  if a.class ~= b.class or a.path ~= b.path or #(a.keys or {}) ~= #(b.keys or {}) then return false end
  for i, key in ipairs(a.keys or {}) do
    if b.keys[i] ~= key or a.refs[key] ~= b.refs[key] or not same_static(a.static[key], b.static[key]) then return false end
  end
  return true
end

function GraphDef.__eq(a, b)
  if not (class.isa(a, GraphDef) and class.isa(b, GraphDef)) or #a.entries ~= #b.entries then return false end
  for i, entry in ipairs(a.entries) do
    if not same_entry(entry, b.entries[i]) then return false end
  end
  return true
end

--- What a model is without the values of its States.
function graph.graphdef(node) return (graph.flatten(node)) end

--- A State for an entry from what a map holds: a State is used itself, a TreefyState or a value makes a new one.
local function state_from(entry, x)
  if is_state(x) then return x end
  if class.isa(x, TreefyState) then return x:to_state() end
  return state.make(entry.class, x, entry.opts)
end

--- The model of a graphdef with the States of the maps; sharing and cycles come back.
--  Errors: ValueError, no State for a path or a State for an unknown path.
function graph.unflatten(def, ...)
  if not class.isa(def, GraphDef) then
    core.fail("TypeError", 2, "graph.unflatten: a GraphDef is needed, not a %s", class.typename(def))
  end
  local given, used, objects = FlattedDict():merge(...), 0, {}
  for i, entry in ipairs(def.entries) do
    if entry.path then
      local x = given:get(entry.path)
      if x == nil then core.fail("ValueError", 2, "merge: no State for the path '%s'", entry.path) end
      objects[i], used = state_from(entry, x), used + 1
    else
      objects[i] = entry.class and (class.derives(entry.class, Node) and class.alloc(entry.class) or entry.class()) or {}
    end
  end
  if used < #given then
    for _, entry in ipairs(def.entries) do
      if entry.path then given[entry.path] = nil end
    end
    core.fail("ValueError", 2, "merge: the graph has no State at %s", util.list_keys(given))
  end
  for i, entry in ipairs(def.entries) do
    for _, key in ipairs(entry.order or {}) do
      local value = entry.static[key]
      if value == nil then value = objects[entry.refs[key]] end
      if is_node(objects[i]) then class.rawfield(objects[i], key, value) else objects[i][key] = value end
    end
  end
  return objects[1]
end

--- graphdef, then a map path -> TreefyState for each filter (one map without filters).
--  Errors: ValueError, a State that no filter takes.
function graph.treefy_split(node, ...)
  local def, states = graph.flatten(node)
  local detached = FlattedDict()
  for path, s in states:items() do detached[path] = TreefyState(class.of(s), s.value, state.options(s)) end
  if select("#", ...) == 0 then return def, detached end
  return def, detached:split(...)
end

--- The model of a graphdef with the values of the maps; undoes treefy_split.
function graph.treefy_merge(def, ...) return graph.unflatten(def, ...) end

--- path -> TreefyState of some or all States.
function graph.treefy_states(node, ...)
  local maps = table.pack(graph.states(node, ...))
  for _, map in ipairs(maps) do
    for path, s in map:items() do map[path] = TreefyState(class.of(s), s.value, state.options(s)) end
  end
  return table.unpack(maps)
end

--- A model of its own: new Nodes, tables and States; other data is shared.
function graph.clone(node) return graph.treefy_merge(graph.treefy_split(node)) end

--- Write values (or those of States) to the States at their paths.  Errors: KeyError, no State at a path; nothing is written.
function graph.update_states(node, ...)
  local states, writes = graph.states(node), {}
  for path, x in FlattedDict():merge(...):items() do
    local s = states:get(path)
    if s == nil then
      local known = {}
      for name in states:keys() do known[#known + 1] = name end
      core.fail("KeyError", 2, "update_states: no State at '%s'%s", path, suggest.hint(path, known))
    end
    if is_state(x) or class.isa(x, TreefyState) then x = x.value end
    writes[#writes + 1] = {s, x}
  end
  for _, write in ipairs(writes) do write[1].value = write[2] end
end

--- Take the States that the filters choose out of the model, wherever they are held; a map a filter.
--  Errors: ValueError, no filter or a State in a list, where it would leave a hole; nothing is taken.
function graph.pop_states(node, ...)
  if select("#", ...) == 0 then core.fail("ValueError", 2, "pop_states: at least one filter is needed") end
  local maps, popped, places = table.pack(graph.states(node, ...)), {}, {}
  for _, map in ipairs(maps) do
    for s in map:values() do popped[s] = true end
  end
  local function holder(path, container, key, value)
    if not popped[value] then return end
    if type(key) == "number" then
      core.fail("ValueError", 3, "pop_states: '%s' stands in a list and cannot be taken out", paths.join(path, key))
    end
    places[#places + 1] = {container, key}
  end
  walk({min = 0, max = math.huge, seen = {}, holder = holder}, node, "", 0)
  for _, place in ipairs(places) do
    if is_node(place[1]) then rawset(place[1], place[2], nil) else place[1][place[2]] = nil end
  end
  return table.unpack(maps)
end

return graph

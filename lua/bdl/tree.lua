--- Trees: nested tables, lists, maps and the values of States; everything else is a leaf.
--
-- A list is a table with keys 1..n.  Keys are visited sorted, numbers first.  A State stands for its value, bdl.none for
-- no leaf at all.  The structure of a tree is a treedef: tostring(def) is the text that core.flatten gives for plain
-- tables, `{a:*,b:[*,*]}`, and two are == exactly when the texts are.  Maps compare like tables with the same keys.
--
-- A class takes part with two methods:
--   __flatten(self) -> keys, values     __unflatten(self, keys, values) -> a new object like self
-- or with __tree_value(self) -> what to visit in its place.

local core = require "bdl.core"
local class = require "bdl.class"
local paths = require "bdl.path"
local util = require "bdl.util"
local none = require "bdl.none".none

local tree = {}

local Map = util.PrettyMapping

function Map:__flatten()
  local keys, values = {}, {}
  for key, value in self:items() do
    keys[#keys + 1], values[#values + 1] = key, value
  end
  return keys, values
end

function Map:__unflatten(keys, values)
  local m = class.of(self)()
  for i, key in ipairs(keys) do m[key] = values[i] end
  return m
end

--- Key as it stands in the text of a treedef.
local function key_text(key)
  if type(key) == "number" then return tostring(key) end
  return paths.is_name(key) and key or ("%q"):format(key)
end

--- Keys and children of an inner node, nil for a leaf.  A plain table's keys come sorted.
local function children(x)
  if type(x) ~= "table" then return nil end
  if getmetatable(x) == nil then
    local keys, values = util.sorted_keys(x), {}
    for i, key in ipairs(keys) do values[i] = x[key] end
    return keys, values
  end
  local flatten = class.of(x) and class.method(x, "__flatten")
  if flatten then return flatten(x) end
end

local Treedef = {__name = "treedef"}
Treedef.__index = Treedef
Treedef.__tostring = function(def) return def.text end
Treedef.__eq = function(a, b) return a.text == b.text end
Treedef.__len = function(def) return def.n end

local LEAF, NONE = {text = "*", n = 1}, {text = "none", n = 0}

--- Order in which the children are visited: that of sorted keys.
local function visit_order(keys)
  local order = {}
  for i = 1, #keys do order[i] = i end
  table.sort(order, function(i, j) return paths.key_less(keys[i], keys[j]) end)
  return order
end

--- Structure of x; its leaves are appended to `leaves`.  `inside`: containers on the way down.
local function flatten(x, leaves, inside)
  if rawequal(x, none) then return NONE end
  local value_of = class.of(x) and class.method(x, "__tree_value")
  if value_of then x = value_of(x) end
  local keys, values = children(x)
  if not keys then
    leaves[#leaves + 1] = x
    return LEAF
  end
  if inside[x] then core.fail("ValueError", 3, "tree: the table contains itself") end
  inside[x] = true
  local def = {like = x, keys = keys, kids = {}, order = visit_order(keys), n = 0}
  local words, is_list = {}, true
  for place, i in ipairs(def.order) do
    local key = keys[i]
    local kid = flatten(values[i], leaves, inside)
    is_list = is_list and key == place
    words[place] = kid.text
    def.kids[i], def.n = kid, def.n + kid.n
  end
  if not is_list then
    for place, i in ipairs(def.order) do words[place] = key_text(keys[i]) .. ":" .. words[place] end
  end
  local text = table.concat(words, ",")
  def.text = is_list and "[" .. text .. "]" or "{" .. text .. "}"
  inside[x] = nil
  return def
end

--- leaves (list), treedef.
function tree.flatten(x)
  local leaves = {}
  local def = flatten(x, leaves, {})
  return leaves, setmetatable({root = def, text = def.text, n = def.n}, Treedef)
end

local function unflatten(def, leaves, at)
  if def == LEAF then return leaves[at], at + 1 end
  if def == NONE then return none, at end
  local values = {}
  for _, i in ipairs(def.order) do
    values[i], at = unflatten(def.kids[i], leaves, at)
    if values[i] == nil then values[i] = none end
  end
  local build = class.of(def.like) and class.method(def.like, "__unflatten")
  if build then return build(def.like, def.keys, values), at end
  local t = {}
  for i, key in ipairs(def.keys) do t[key] = values[i] end
  return t, at
end

--- The tree of that structure with these leaves; def is a treedef or the text of one from core.  A nil leaf becomes none.
--  Errors: ValueError, another number of leaves.
function tree.unflatten(def, leaves, n)
  if type(def) == "string" then return core.unflatten(def, leaves) end
  n = n or #leaves
  if n ~= def.n then
    core.fail("ValueError", 2, "tree.unflatten: %d leaves for the structure %s of %d", n, def.text, def.n)
  end
  return (unflatten(def.root, leaves, 1))
end

function tree.leaves(x) return (tree.flatten(x)) end
function tree.structure(x) return (select(2, tree.flatten(x))) end

--- Leaves of several trees of one structure, and that structure.  Errors: ValueError naming both structures.
local function flatten_all(who, first, ...)
  local lists, def = {}, nil
  lists[1], def = tree.flatten(first)
  for i = 1, select("#", ...) do
    local other
    lists[i + 1], other = tree.flatten((select(i, ...)))
    if other ~= def then
      core.fail("ValueError", 3, "tree.%s: tree 1 has the structure %s, tree %d has %s", who, def.text, i + 1, other.text)
    end
  end
  return lists, def
end

--- f over the leaves of one or several trees of one structure; the results in that structure.
function tree.map(f, ...)
  local lists, def = flatten_all("map", ...)
  local results, row = {}, {}
  for i = 1, def.n do
    for j, leaves in ipairs(lists) do row[j] = leaves[i] end
    results[i] = f(table.unpack(row, 1, #lists))
  end
  return tree.unflatten(def, results, def.n)
end

local function leaf_paths(def, prefix, list)
  if def == LEAF then
    list[#list + 1] = prefix
  elseif def ~= NONE then
    for _, i in ipairs(def.order) do
      local key = def.keys[i]
      local at = class.of(def.like) and prefix == "" and key or paths.join(prefix, key)
      leaf_paths(def.kids[i], at, list)
    end
  end
  return list
end

--- for path, leaf1, leaf2, .. in tree.zip(t1, t2, ..)
function tree.zip(...)
  local lists, def = flatten_all("zip", ...)
  local where, i, row = leaf_paths(def.root, "", {}), 0, {}
  return function()
    i = i + 1
    for j, leaves in ipairs(lists) do row[j] = leaves[i] end
    if where[i] then return where[i], table.unpack(row, 1, #lists) end
  end
end

return tree

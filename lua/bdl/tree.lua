--- Trees: nested tables, lists, maps and the values of States; everything else is a leaf.
--
-- A list is a table with keys 1..n.  Keys of tables are visited sorted, numbers first; maps in their own order.  A State
-- stands for its value, bdl.none for no leaf at all.  The structure of a tree is a treedef: tostring(def) is the text of
-- core.flatten, `{a:*,b:[*,*]}`, `~` none, `@FlattedDict{w:*}` a map; two are == exactly when the texts are.
--
-- A class takes part with __flatten(self) -> kind, keys, values and a function (keys, values, like) -> object in
-- core.tree_kinds[kind]; `like`, the object that was flattened, is there only when the tree was flattened here.
-- Or with __tree_value(self) -> what to visit in its place.

local core = require "bdl.core"
local class = require "bdl.class"
local paths = require "bdl.path"
local util = require "bdl.util"
local none = require "bdl.none".none

local tree = {}

local kinds = core.tree_kinds
kinds.none = none

--- How the binding takes an object apart: kind, keys, values; nothing when it is no tree.
function kinds.object(x)
  local flatten = class.of(x) and class.method(x, "__flatten")
  if flatten then return flatten(x) end
end

for _, cls in ipairs{util.PrettyMapping, util.FlattedDict, util.NestedDict} do
  function cls:__flatten()
    local keys, values = {}, {}
    for key, value in self:items() do
      keys[#keys + 1], values[#values + 1] = key, value
    end
    return cls.name, keys, values
  end

  kinds[cls.name] = function(keys, values)
    local m = cls()
    for i, key in ipairs(keys) do m[key] = values[i] end
    return m
  end
end

--- Key as it stands in the text of a treedef.
local function key_text(key)
  if type(key) ~= "string" then return tostring(key) end
  return key:find "^[%a_][%w_]*$" and key or '"' .. key:gsub('[\\"]', "\\%0") .. '"'
end

local Shape = "bdl.Shape"  -- shapes of tensors are lists to a tree

--- kind (nil: a table), keys and children of an inner node; nothing for a leaf.
local function take_apart(x)
  local meta = type(x) == "table" and getmetatable(x)
  if type(x) ~= "table" then return end
  if meta and meta.__name ~= Shape then return kinds.object(x) end
  local keys, values = {}, {}
  for key in next, x do keys[#keys + 1] = key end
  table.sort(keys, paths.key_less)
  for i, key in ipairs(keys) do values[i] = x[key] end
  return nil, keys, values
end

local Treedef = {__name = "treedef"}
Treedef.__index = Treedef
Treedef.__tostring = function(def) return def.text end
Treedef.__eq = function(a, b) return a.text == b.text end
Treedef.__len = function(def) return def.n end

local LEAF, NONE = {text = "*", n = 1}, {text = "~", n = 0}

--- Structure of x; its leaves are appended to `leaves`.  `inside`: containers on the way down.
local function flatten(x, leaves, inside)
  if rawequal(x, none) then return NONE end
  local value_of = class.of(x) and class.method(x, "__tree_value")
  if value_of then x = value_of(x) end
  local kind, keys, values = take_apart(x)
  if not keys then
    leaves[#leaves + 1] = x
    return LEAF
  end
  if inside[x] then core.fail("ValueError", 3, "tree: the table contains itself") end
  inside[x] = true
  local def = {kind = kind, like = x, keys = keys, kids = {}, n = 0}
  local words, is_list = {}, not kind and #keys > 0
  for i, key in ipairs(keys) do
    local kid = flatten(values[i], leaves, inside)
    is_list = is_list and key == i
    def.kids[i], def.n, words[i] = kid, def.n + kid.n, kid.text
  end
  inside[x] = nil
  if is_list then
    def.text = "[" .. table.concat(words, ",") .. "]"
  else
    for i, key in ipairs(keys) do words[i] = key_text(key) .. ":" .. words[i] end
    def.text = (kind and "@" .. kind or "") .. "{" .. table.concat(words, ",") .. "}"
  end
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
  for i, kid in ipairs(def.kids) do
    values[i], at = unflatten(kid, leaves, at)
    if values[i] == nil then values[i] = none end
  end
  if def.kind then return kinds[def.kind](def.keys, values, def.like), at end
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

--- The leaves of x in order: tensors, numbers, ..
function tree.leaves(x) return (tree.flatten(x)) end
--- What x is without its leaves; tree.unflatten takes it.
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
    for i, key in ipairs(def.keys) do
      leaf_paths(def.kids[i], def.kind and prefix == "" and key or paths.join(prefix, key), list)
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

--- Ordered maps: PrettyMapping, and the two views of a model's States that derive from it.
--
--   FlattedDict   path -> value, one level    {input.weight: .., layers[1].weight: ..}
--   NestedDict    key -> value or NestedDict  {input: {weight: ..}, layers: {[1]: {weight: ..}}}
--
-- Entries keep the order of insertion.  m[key] reads (nil when absent) and writes (nil removes); #m counts; pairs,
-- m:items(), m:keys() and m:values() iterate in order.  An entry called like a method is reached by m:get(key).
-- Keys that are paths may be given in any spelling (bdl.path).

local core = require "bdl.core"
local class = require "bdl.class"
local paths = require "bdl.path"
local filters = require "bdl.filter"

--- filter: filters of States and Nodes, and what combines them: Any, All, Not, OfType, ..
local util = {filter = filters}

local KEYS, VALUES = {}, {}   -- raw fields: list of keys, key -> value

--- An ordered map that prints well.
local PrettyMapping = class "PrettyMapping"
--- A map from paths, "layers[1].weight", to values.
local FlattedDict = PrettyMapping:extend "FlattedDict"
--- A map of maps.
local NestedDict = PrettyMapping:extend "NestedDict"

--- The key as it is kept: as given when present, else the canonical path.
local function find_key(m, key)
  if rawget(m, VALUES)[key] ~= nil then return key end
  local kind = type(key)
  if kind == "string" or (kind == "table" and getmetatable(key) == nil) then return paths.canonical(key) end
  return key
end

--- source : nil, a map, or a plain table (taken in sorted order of keys).
function PrettyMapping:__init(source)
  rawset(self, KEYS, {})
  rawset(self, VALUES, {})
  if source == nil then return end
  if class.isa(source, PrettyMapping) then
    for key, value in source:items() do self[key] = value end
  elseif type(source) == "table" and getmetatable(source) == nil then
    for _, key in ipairs(util.sorted_keys(source)) do self[key] = source[key] end
  else
    core.fail("TypeError", 2, "%s: a table or a map is needed, not a %s", class.of(self).name, class.typename(source))
  end
end

function PrettyMapping.__index(self, key)
  local method = class.method(self, key)
  if method ~= nil then return method end
  return rawget(self, VALUES)[find_key(self, key)]
end

function PrettyMapping.__newindex(self, key, value)
  local keys, values = rawget(self, KEYS), rawget(self, VALUES)
  key = find_key(self, key)
  if value == nil then
    for i, k in ipairs(keys) do
      if k == key then table.remove(keys, i) end
    end
  elseif values[key] == nil then
    keys[#keys + 1] = key
  end
  values[key] = value
end

--- The entry, whatever its name.
function PrettyMapping:get(key, default)
  local value = rawget(self, VALUES)[find_key(self, key)]
  if value == nil then return default end
  return value
end

function PrettyMapping:__len() return #rawget(self, KEYS) end

--- for key, value in m:items()
function PrettyMapping:items()
  local keys, values, i = table.move(rawget(self, KEYS), 1, #self, 1, {}), rawget(self, VALUES), 0
  return function()
    i = i + 1
    if keys[i] ~= nil then return keys[i], values[keys[i]] end
  end
end

PrettyMapping.__pairs = PrettyMapping.items

--- for key in m:keys()
function PrettyMapping:keys() return self:items() end

--- for value in m:values()
function PrettyMapping:values()
  local next_item = self:items()
  return function() return (select(2, next_item())) end
end

function PrettyMapping:copy() return class.of(self)(self) end

--- m + other + ..: a new map; of an entry in several the last counts.
function PrettyMapping:merge(...)
  local m = self:copy()
  for _, other in ipairs{...} do
    for key, value in class.of(self)(other):items() do m[key] = value end
  end
  return m
end

function PrettyMapping.__add(a, b) return a:merge(b) end

--- m - other: without the entries whose keys other has.
function PrettyMapping.__sub(a, b)
  local m = a:copy()
  for key in class.of(a)(b):items() do m[key] = nil end
  return m
end

--- One map a filter, first match wins; and the map of the rest.
local function divide(m, ...)
  local predicates, maps = filters.predicates(...), {}
  for i = 1, #predicates + 1 do maps[i] = class.of(m)() end
  for key, value in m:items() do
    maps[filters.first(predicates, key, value) or #maps][key] = value
  end
  return maps
end

--- One map a filter; entries that no filter takes are dropped.
function FlattedDict:filter(...)
  local maps = divide(self, ...)
  return table.unpack(maps, 1, #maps - 1)
end

--- One map a filter; every entry must be taken.  Errors: ValueError.
function FlattedDict:split(...)
  local maps = divide(self, ...)
  local left = maps[#maps]
  if #left > 0 then
    core.fail("ValueError", 2, "split: no filter takes %s; end with bdl.rest", util.list_keys(left))
  end
  return table.unpack(maps, 1, #maps - 1)
end

--- Nested maps by the keys of the paths.  Errors: ValueError, a path that is also the beginning of another.
function FlattedDict:to_nest()
  local root = NestedDict()
  for key, value in self:items() do
    local keys, at = paths.parse(key) or {key}, root
    for i = 1, #keys - 1 do
      local inner = at:get(keys[i])
      if inner == nil then
        inner = NestedDict()
        at[keys[i]] = inner
      elseif not class.isa(inner, NestedDict) then
        core.fail("ValueError", 2, "to_nest: '%s' is a value, so '%s' cannot lie inside", util.path_prefix(keys, i), key)
      end
      at = inner
    end
    local last = keys[#keys]
    if last == nil or at:get(last) ~= nil then
      core.fail("ValueError", 2, "to_nest: %s has entries, so it cannot be a value", last and "'" .. key .. "'" or "the root")
    end
    at[last] = value
  end
  return root
end

local function flatten_into(flat, prefix, nest)
  for _, key in ipairs(util.sorted_keys(nest)) do
    local value = nest[key]
    if class.isa(nest, NestedDict) then value = nest:get(key) end
    local at = paths.join(prefix, key)
    local inner = class.isa(value, NestedDict) or type(value) == "table" and getmetatable(value) == nil
    if inner then flatten_into(flat, at, value) else flat[at] = value end
  end
  return flat
end

--- The inverse of to_nest; also takes plain nested tables.
function FlattedDict.from_nest(nest) return flatten_into(FlattedDict(), "", nest) end
function NestedDict:to_flat() return FlattedDict.from_nest(self) end
function NestedDict.from_flat(flat) return FlattedDict(flat):to_nest() end

--- Keys of a plain table in traversal order, of a map in its own.
function util.sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  if not class.isa(t, PrettyMapping) then table.sort(keys, paths.key_less) end
  return keys
end

--- "a, b and 3 more"
function util.list_keys(m)
  local words, n = {}, 0
  for key in m:items() do
    n = n + 1
    if n <= 5 then words[n] = ("'%s'"):format(key == "" and "(root)" or tostring(key)) end
  end
  return table.concat(words, ", ") .. (n > 5 and (" and %d more"):format(n - 5) or "")
end

--- The first n keys as a path.
function util.path_prefix(keys, n) return paths.format(table.move(keys, 1, n, 1, {})) end

util.PrettyMapping, util.FlattedDict, util.NestedDict = PrettyMapping, FlattedDict, NestedDict

--- Seconds since some time in the past, for measuring.
function util.clock() return core.clock() end

--- The runtime's memory in bytes: {used, peak, limit}; peak is the most so far, limit 0 is none.  Where a GPU is in use, also
--  gpu = {used, peak}, its memory, for which the limit holds, too.
function util.memory() return core.memory() end

return util

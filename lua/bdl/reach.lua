--- Which States a function reaches, and where: a State that is replaced in an object must be seen by what was compiled.

local core = require "bdl.core"
local class = require "bdl.class"
local paths = require "bdl.path"

local reach = {}

local covers = setmetatable({}, {__mode = "k"}) -- made by bdl -> what it was made from

--- g, which bdl made from these functions and objects: who holds g reaches them.
function reach.made_from(g, ...)
  covers[g] = {...}
  return g
end

--- What g was made from; g itself where it is the user's.
function reach.source(g)
  while covers[g] do g = covers[g][1] end
  return g
end

local MOST = 20000 -- tables and functions looked at

--- Module tables and classes are code, not models.
local function is_code(x, loaded) return loaded[x] or rawget(x, "__index") ~= nil end

--- Places {container, key, value} on the way from f to the States with ids in `touched`: upvalues (of the user's
--  functions), fields of objects, lists and tables.  container is a table, or a function for an upvalue.
function reach.places(f, touched)
  local places, kept, seen, queue, n = {}, {}, {}, {f}, 0
  if next(touched) == nil then return places end
  local loaded = {[_G] = true}
  for _, module in pairs(package.loaded) do loaded[module] = true end
  local State = require "bdl.state".State
  local function visit(container, key, value)
    local kind = type(value)
    if kind ~= "table" and kind ~= "function" and not covers[value] then return end
    if kind == "table" and class.isa(value, State) then
      local handle = rawget(value, "_handle")
      if not handle or not touched[core.state_id(handle)] then return end
      places[#places + 1] = {container, key, value}
      while seen[container] ~= true and not kept[container] do -- and the way that led there
        kept[container] = true
        places[#places + 1] = seen[container]
        container = seen[container][1]
      end
    elseif not seen[value] then
      seen[value] = {container, key, value}
      queue[#queue + 1] = value
    end
  end
  seen[f] = true
  while n < #queue and n < MOST do
    n = n + 1
    local x = queue[n]
    if covers[x] then
      seen[covers[x]] = true
      for key, value in next, covers[x] do visit(covers[x], key, value) end
    elseif type(x) == "function" then
      local info = debug.getinfo(x, "S")
      if info.what ~= "C" and info.source:sub(1, 6) ~= "@[bdl]" then
        for i = 1, 255 do
          local name, value = debug.getupvalue(x, i)
          if not name then break end
          if name ~= "_ENV" then visit(x, i, value) end
        end
      end
    elseif not is_code(x, loaded) then
      for key, value in next, x do visit(x, key, value) end
    end
  end
  return places
end

--- State -> the path by which the places lead to it, upvalues by their names: "net.N.V".
function reach.paths(places)
  local way, found = {}, {}
  for _, p in ipairs(places) do way[p[3]] = way[p[3]] or p end
  for _, p in ipairs(places) do
    local keys, s, at = {}, p[3], p
    while at do
      local key = at[2]
      if type(at[1]) == "function" then key = debug.getupvalue(at[1], key) end
      local shown = type(at[3]) ~= "function" and (type(key) == "string" or math.type(key) == "integer")
      if shown then table.insert(keys, 1, key) end
      at = way[at[1]]
    end
    if class.isa(s, require "bdl.state".State) then found[s] = found[s] or paths.format(keys) end
  end
  return found
end

--- Does every place still hold its State?
function reach.unchanged(places)
  for _, p in ipairs(places) do
    local now
    if type(p[1]) == "function" then
      local _, value = debug.getupvalue(p[1], p[2])
      now = value
    else
      now = rawget(p[1], p[2])
    end
    if not rawequal(now, p[3]) then return false end
  end
  return true
end

return reach

--- Arguments of constructors by position, by name, or both.
--
--   local a = args({"size", keep_size = false, tau = 5*u.ms, name = bdl.none}, ...)
--
-- accepts  LIF(100)   LIF(100, {tau = t})   LIF{100, tau = t}   LIF{size = 100}.
-- The list part of the spec names the positions, the named part gives defaults (for a position too).  A position
-- without a default is required.  A default of bdl.none stands for "absent" and reads as nil; bdl.none given for any
-- other argument is kept, because it means "none" there (b_init = bdl.none: no bias).
-- Errors name the class under construction; `[0]` in the spec names a function instead.

local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"
local sentinels = require "bdl.none"

local none, ask = sentinels.none, sentinels.ask

local getinfo, getlocal = debug.getinfo, debug.getlocal

--- A table without a metatable, for tables with one are objects.
local function is_plain(x) return type(x) == "table" and getmetatable(x) == nil end

--- Options have names only; a table with positions is data.
local function is_options(x)
  if not is_plain(x) then return false end
  for key in next, x do
    if type(key) ~= "string" then return false end
  end
  return true
end

--- "nn.LIF" for a constructor's frame, "name" for a function's.
local function caller_name(level)
  local name, self = getlocal(level + 1, 1)
  local cls = name == "self" and class.of(self)
  if cls then return class.qualified_name(cls) end
  local info = getinfo(level + 1, "n")
  return info and info.name or "function"
end

--- Stop at the first given name that the spec lacks.
local function check_names(who, spec, named)
  local names, known, given = {}, {}, {}
  local function add(name)
    if not known[name] then names[#names + 1] = name end
    known[name] = true
  end
  for _, name in ipairs(spec) do add(name) end
  for key in pairs(spec) do
    if type(key) == "string" then add(key) end
  end
  for name in next, named do given[#given + 1] = name end
  table.sort(names)
  table.sort(given)
  for _, name in ipairs(given) do
    if not known[name] then
      core.fail("TypeError", 3, "%s: no argument '%s'%s", who, name, suggest.hint(name, names))
    end
  end
end

--- Positions and names of a call: `positions` with field n, `named`.
local function sort_call(...)
  local n = select("#", ...)
  local first, last = ..., select(n > 0 and n or 1, ...)
  if n == 1 and is_plain(first) then
    local positions, named = {n = 0}, {}
    for key, value in next, first do
      if math.type(key) == "integer" and key > 0 then
        positions[key] = value
        positions.n = math.max(positions.n, key)
      else
        named[key] = value
      end
    end
    return positions, named
  elseif n > 1 and is_options(last) then
    local positions = table.pack(...)
    positions[n], positions.n = nil, n - 1
    return positions, last
  end
  return table.pack(...), {}
end

return function(spec, ...)
  if rawequal((...), ask) then error({spec = spec}, 0) end
  local who = spec[0] or caller_name(2)
  local positions, named = sort_call(...)
  for key in next, named do
    if type(key) ~= "string" then
      core.fail("TypeError", 2, "%s: argument names are strings, positions count from 1; got the key %s", who, tostring(key))
    end
  end
  local a, taken = {}, {}
  for i, name in ipairs(spec) do
    taken[name] = true
    a[name] = positions[i]
    if named[name] ~= nil then
      if a[name] ~= nil then
        core.fail("TypeError", 2, "%s: argument '%s' is given twice, as number %d and by name", who, name, i)
      end
      a[name] = named[name]
    end
  end
  if positions.n > #spec then
    local hint = #spec == 0 and "none" or table.concat(spec, ", ")
    core.fail("TypeError", 2, "%s: %d arguments by position; it takes %d (%s)", who, positions.n, #spec, hint)
  end
  check_names(who, spec, named)
  for name, default in pairs(spec) do
    if type(name) == "string" then
      if not taken[name] then a[name] = named[name] end
      if a[name] == nil then a[name] = default end
      if rawequal(default, none) and rawequal(a[name], none) then a[name] = nil end
    end
  end
  for i, name in ipairs(spec) do
    if a[name] == nil and spec[name] == nil then
      core.fail("TypeError", 2, "%s: argument '%s' (number %d) is missing", who, name, i)
    end
  end
  return a
end

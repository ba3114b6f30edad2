--- What a host program (bdl.h) and its models know of each other: functions of the host, and names by which it finds functions
--  and States.  `bdl.host.motor(x)` calls the function that the host registered as "motor".

local core = require "bdl.core"
local class = require "bdl.class"
local compile = require "bdl.compile"
local paths = require "bdl.path"
local state = require "bdl.state"
local suggest = require "bdl.suggest"
local util = require "bdl.util"

local host = {}

-- ---- names -------------------------------------------------------------------------------------------------------------

local names = {} -- what scripts returned

--- Takes the fields of a plain table that a script returned.
function host.keep(value)
  if type(value) ~= "table" or getmetatable(value) then return end
  for name, field in pairs(value) do names[name] = field end
end

local function first_of(path, name)
  local value = names[name]
  if value == nil then value = rawget(_G, name) end
  if value ~= nil then return value end
  local known = util.sorted_keys(names)
  if #known == 0 then core.hint "let the script return what the host is to find: return {step = step}" end
  core.fail("KeyError", 2, "nothing is named '%s': no script returned it%s", path, suggest.hint(tostring(name), known))
end

--- What lies at x[key], and the object that it is a method of.
local function field_of(path, x, key)
  local indexed = type(x) == "table" or type(x) == "userdata" and not core.is_tensor(x)
  local value
  if indexed then value = x[key] end
  if value == nil then core.fail("KeyError", 2, "%s: a %s has no '%s'", path, class.typename(x), tostring(key)) end
  local own = type(x) == "table" and (getmetatable(x) == nil or rawget(x, key) ~= nil)
  return value, not own and type(value) == "function" and x or nil
end

--- What lies at a path, the object that it is a method of, and the keys behind a State.
local function find(path)
  local keys = paths.parse(path)
  if not keys or #keys == 0 then core.fail("ValueError", 2, "'%s' is no path; paths are as net.layers[1].weight", path) end
  local value, owner = first_of(path, keys[1]), nil
  for i = 2, #keys do
    if class.isa(value, state.State) then return value, nil, table.move(keys, i, #keys, 1, {}) end
    value, owner = field_of(path, value, keys[i])
  end
  return value, owner, {}
end

--- The function at a path.
function host.find_function(path)
  local f, owner = find(path)
  local mt = debug.getmetatable(f)
  if type(f) ~= "function" and not (mt and mt.__call) or class.isa(f, state.State) then
    core.fail("TypeError", 2, "'%s' is a %s, not a function", path, class.typename(f))
  end
  if not owner then return f end
  return function(...) return f(owner, ...) end
end

--- The handle of the State at a path, and the number of the leaf, from 0.
function host.find_state(path)
  local s, _, keys = find(path)
  if not class.isa(s, state.State) then core.fail("TypeError", 2, "'%s' is a %s, not a State", path, class.typename(s)) end
  local n = -1
  local leaf = state.tree_of(s, function()
    n = n + 1
    return n
  end)
  for _, key in ipairs(keys) do
    local parts = type(leaf) == "table" and leaf or {}
    leaf = parts[key]
    if leaf == nil then
      core.fail("KeyError", 2, "%s: the State has no part '%s'%s", path, tostring(key), suggest.hint(tostring(key), util.sorted_keys(parts)))
    end
  end
  if type(leaf) == "table" then
    local parts = {}
    for i, key in ipairs(util.sorted_keys(leaf)) do parts[i] = paths.join(path, key) end
    core.fail("KeyError", 2, "%s has parts; name one of %s", path, table.concat(parts, ", "))
  end
  return rawget(s, "_handle"), leaf
end

--- A compiled function of f with the program for these arguments.
function host.compile(f, ...)
  if core.eager() then core.fail("ValueError", 2, "nothing is compiled while disable_jit is on") end
  return compile.jit(f):compile(...)
end

-- ---- functions of the host -----------------------------------------------------------------------------------------------

local functions = {}

--- bdl.host: name -> function of the host.
host.functions = setmetatable({}, {__index = function(_, name)
  local f = functions[name]
  if f then return f end
  core.fail("KeyError", 2, "the host has no function '%s'%s", tostring(name), suggest.hint(tostring(name), util.sorted_keys(functions)))
end})

--- f is bdl.host[name] from now on.
function host.register(name, f) functions[name] = f end

return host

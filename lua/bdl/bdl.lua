--- bdl: models of brain dynamics.  `local bdl = require "bdl"`; under `bdl run` the name bdl is already there.
--
-- Submodules are loaded when first used.  Functions of `array`, `compile` and `augment` are also in bdl itself.

local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"
require "bdl.standard"
require "bdl.random" -- its generator is a State, which must not be made inside a trace

--- Methods of tensors come with the array functions, when the first one is used.
for _, name in ipairs{"__missing", "__index"} do
  core.methods[name] = function(x, key)
    require "bdl.array"
    local method = type(key) == "string" and core.methods[key]
    if method then return method end
    return core.methods[name](x, key)
  end
end

--- Submodule -> module file, where the names differ.
local SUBMODULES = {
  graph = "bdl.graph", compile = "bdl.compile", augment = "bdl.augment", nn = "bdl.nn", functional = "bdl.functional", init = "bdl.init",
  surrogate = "bdl.surrogate", random = "bdl.random", environ = "bdl.environ", tree = "bdl.tree", util = "bdl.util", debug = "bdl.debug",
  event = "bdl.event", units = "bdl.units", unit = "bdl.units", conn = "bdl.conn", plot = "bdl.plot", optim = "bdl.optim",
  metric = "bdl.metric", input = "bdl.input", online = "bdl.online", quad = "bdl.quad",
  data = "bdl.data", encode = "bdl.encode", monitor = "bdl.monitor", ffi = "bdl.ffi", nir = "bdl.nir",
}

--- Modules whose functions stand in bdl itself, in the order of the search.
local OPEN = {"bdl.state", "bdl.array", "bdl.compile", "bdl.augment"}

package.preload["bdl.unit"] = function() return require "bdl.units" end

local bdl = {
  __version = core.version,
  --- class: single inheritance:  bdl.class "Counter", Counter:extend "Fast", x:is(Counter).
  class = class,
  typename = class.typename,
  --- none: "no value" in lists, maps and arguments.
  none = require "bdl.none".none,
  --- rest: everything else, in filters.
  rest = require "bdl.none".rest,
}

--- Makes a module refuse names that it has not; one that looks names up itself stays as it is.
local function strict(name, module)
  if getmetatable(module) then return module end
  return setmetatable(module, {__index = function(_, key)
    local known = {}
    for k in next, module do known[#known + 1] = tostring(k) end
    core.fail("KeyError", 2, "bdl.%s has no '%s'%s", name, tostring(key), suggest.hint(tostring(key), known))
  end})
end

local function lazily(name, f)
  return function() return f(require(name)) end
end

--- Single names that live in a module of their own.
local NAMES = {
  --- args: arguments of constructors by position, by name, or both:  bdl.args({"size", tau = 5*u.ms}, ...).
  args = lazily("bdl.args", function(m) return m end),
  pprint = lazily("bdl.pretty", function(m) return m.pprint end),
  config = lazily("bdl.environ", function(m) return m.config end),
  error_if = lazily("bdl.debug", function(m) return m.error_if end),
  jit_error_if = lazily("bdl.debug", function(m) return m.error_if end),
  check = lazily("bdl.debug", function(m) return m.check end),
  named_scope = lazily("bdl.debug", function(m) return m.named_scope end),
  debug_nan = lazily("bdl.debug", function(m) return m.debug_nan end),
  debug_nan_if = lazily("bdl.debug", function(m) return m.debug_nan_if end),
  StateFinder = lazily("bdl.debug", function(m) return m.StateFinder end),
  Simulation = lazily("bdl.simulation", function(m) return m.Simulation end),
  run = lazily("bdl.simulation", function(m) return m.run end),
  snapshot = lazily("bdl.snapshot", function(m) return m.snapshot end),
  save = lazily("bdl.save", function(m) return m.save end),
  load = lazily("bdl.save", function(m) return m.load end),
  HookCancellationError = lazily("bdl.hook", function(m) return m.HookCancellationError end),
  export = lazily("bdl.export", function(m) return m.export end),
  checkify = lazily("bdl.checkify", function(m) return m.checkify end),
  check_error = lazily("bdl.checkify", function(m) return m.check_error end),
  CheckError = lazily("bdl.checkify", function(m) return m.CheckError end),
  ProgressBar = lazily("bdl.progress", function(m) return m.ProgressBar end),
  HiddenGroupState = lazily("bdl.hidden", function(m) return m.HiddenGroupState end),
  HiddenTreeState = lazily("bdl.hidden", function(m) return m.HiddenTreeState end),
  settings = lazily("bdl.settings", function(m) return m.settings end),
  help = lazily("bdl.help", function(m) return m.help end),
  --- host: functions that the host program registered (bdl.h), by name:  bdl.host.motor(x).
  --  Example:
  --    print(pcall(function() return bdl.host.motor(1.) end)) -- only where a host registered it
  host = lazily("bdl.host", function(m) return m.functions end),
}

local function find(_, name)
  local value
  if SUBMODULES[name] then
    value = strict(name, require(SUBMODULES[name]))
  elseif NAMES[name] then
    value = NAMES[name]()
  else
    for _, module in ipairs(OPEN) do
      value = rawget(require(module), name)
      if value ~= nil then break end
    end
  end
  if value ~= nil then rawset(bdl, name, value) end
  return value
end

local function names()
  local list = {}
  for name in pairs(bdl) do list[#list + 1] = name end
  for name in pairs(SUBMODULES) do list[#list + 1] = name end
  for name in pairs(NAMES) do list[#list + 1] = name end
  for _, module in ipairs(OPEN) do
    for name in pairs(require(module)) do list[#list + 1] = name end
  end
  return list
end

return setmetatable(bdl, {
  __name = "bdl",
  __names = names,
  __submodules = SUBMODULES,
  __index = function(_, name)
    local value = find(_, name)
    if value == nil then core.fail("KeyError", 2, "bdl has no '%s'%s", tostring(name), suggest.hint(tostring(name), names())) end
    return value
  end,
})

--- Classes: single inheritance, called to construct, metamethods inherited.
--
--   local Counter = class "Counter"            local Fast = Counter:extend "Fast"
--   function Counter:__init(n) self.n = n end  function Counter:__call(x) return x + self.n end
--   Fast(3)(4) --> 7                           Fast(3):is(Counter) --> true
--
-- A class is three tables: the class itself, which users write to; `methods`, where instances look names up (each
-- falls back to its parent's); `meta`, the metatable of instances.  So a class has fields that instances do not see
-- (`name`, `super`), and `obj.name` is the object's own.
--
-- Instances remember the order in which their fields were first set, for printing: one __newindex, raw afterwards.

local core = require "bdl.core"

local class = {}

local parts = setmetatable({}, {__mode = "k"})   -- class -> {name, super, methods, meta, subclasses}
local class_of = setmetatable({}, {__mode = "k"}) -- metatable of instances -> class
local ORDER = {}                                 -- key of the field order inside an instance
local texts = setmetatable({}, {__mode = "v"})   -- chunk -> its lines

local getinfo, open = debug.getinfo, io and io.open

local METAMETHODS = {}
for name in ("add sub mul div mod pow unm idiv band bor bxor bnot shl shr concat len eq lt le call tostring pairs close gc"
             .. " index newindex"):gmatch "%a+" do
  METAMETHODS["__" .. name] = true
end

--- The first set of a field: note its place, then it is raw.
local function first_set(obj, key, value)
  if value == nil then return end
  local order = rawget(obj, ORDER)
  if not order then
    order = {names = {}, seen = {}, setters = {}, lines = {}}
    rawset(obj, ORDER, order)
  end
  if not order.seen[key] then
    local n = #order.names + 1
    local from = getinfo(2, "fl") or order  -- no caller: a host sets the field
    order.seen[key], order.names[n], order.setters[n], order.lines[n] = true, key, from.func, from.currentline
  end
  rawset(obj, key, value)
end
class.rawfield = first_set

--- Text of a line of the function's chunk, nil when it cannot be had.
local function source_line(f, line)
  local source = getinfo(f, "S").source
  local lines = texts[source]
  if not lines then
    lines = {}
    local file = source:sub(1, 1) == "@" and open and open(source:sub(2), "r")
    local text = file and file:read "a" or not source:find "^[@=]" and source or ""
    if file then file:close() end
    for s in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = s end
    texts[source] = lines
  end
  return lines[line]
end

--- Lua assigns `self.a, self.b = 1, 2` from right to left, so fields first..last, set on one line, follow its text.
local function order_line(names, first, last, text)
  local at, run = {}, {}
  for i = first, last do
    local name = names[i]
    at[name] = type(name) == "string" and text:find("%." .. name:gsub("%W", "%%%0") .. "%f[^%w_]")
    if not at[name] then return end
    run[#run + 1] = name
  end
  table.sort(run, function(a, b) return at[a] < at[b] end)
  table.move(run, 1, #run, first, names)
end

--- Names of the fields of an instance that are set, in the order in which they were first set.
function class.fields(obj)
  local order = rawget(obj, ORDER)
  if not order then return {} end
  local all, lines, setters = order.names, order.lines, order.setters
  local names, first = table.move(all, 1, #all, 1, {}), 1
  for i = 1, #all do
    if lines[i + 1] ~= lines[i] or setters[i + 1] ~= setters[i] then
      local text = first < i and setters[i] and source_line(setters[i], lines[i])
      if text then order_line(names, first, i, text) end
      first = i + 1
    end
  end
  local set = {}
  for _, name in ipairs(names) do
    if rawget(obj, name) ~= nil then set[#set + 1] = name end
  end
  return set
end

local function each_field(obj)
  local names, i = class.fields(obj), 0
  return function()
    i = i + 1
    if names[i] ~= nil then return names[i], rawget(obj, names[i]) end
  end
end

--- A metamethod reaches the subclasses that have none of their own.
local function set_metamethod(cls, name, f)
  local p = parts[cls]
  p.meta[name] = f
  for _, sub in ipairs(p.subclasses) do
    if rawget(parts[sub].methods, name) == nil then set_metamethod(sub, name, f) end
  end
end

local class_meta = {}

function class_meta.__index(cls, key)
  local p = parts[cls]
  if key == "name" then return p.name end
  if key == "super" then return p.super end
  return p.methods[key]
end

function class_meta.__newindex(cls, key, value)
  local p = parts[cls]
  if key == "name" or key == "super" then
    core.fail("TypeError", 2, "class %s: '%s' cannot be set", p.name, key)
  end
  if key == "__gc" then core.need_finalizers() end
  rawset(p.methods, key, value)
  if METAMETHODS[key] then set_metamethod(cls, key, value) end
end

function class_meta.__call(cls, ...)
  local obj = class.alloc(cls)
  local init = parts[cls].methods.__init
  if init then init(obj, ...) end
  local made = parts[cls].methods.__made  -- (optional) runs once, after the outermost constructor
  if made then made(obj) end
  return obj
end

function class_meta.__tostring(cls) return "class " .. class.qualified_name(cls) end

--- What the class of an instance defines under a name; for classes with an __index of their own.
function class.method(obj, key) return parts[class_of[getmetatable(obj)]].methods[key] end

--- Makes an instance one of a class derived from its own, whose constructor adds nothing.
function class.narrow(obj, cls) return setmetatable(obj, parts[cls].meta) end

--- An instance without a call of __init.
function class.alloc(cls) return setmetatable({}, parts[cls].meta) end

local function define(name, super)
  if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" then
    core.fail("TypeError", 3, "a class needs a name: bdl.State:extend \"Counter\", not %s", tostring(name))
  end
  local up = super and parts[super]
  local methods, meta = {}, {}
  if up then
    setmetatable(methods, {__index = up.methods})
    for key, f in pairs(up.meta) do meta[key] = f end
    if meta.__index == up.methods then meta.__index = methods end
  end
  meta.__index = meta.__index or methods
  meta.__name = name
  local cls = setmetatable({}, class_meta)
  parts[cls] = {name = name, super = super, methods = methods, meta = meta, subclasses = {}}
  if up then up.subclasses[#up.subclasses + 1] = cls end
  class_of[meta] = cls
  return cls
end

function class.is_class(x) return parts[x] ~= nil end

--- Methods of a class by name, without those of the classes above it.
function class.methods(cls) return parts[cls].methods end

--- The class of an instance, nil for anything else.
function class.of(x)
  local meta = type(x) == "table" and getmetatable(x)
  return meta and class_of[meta] or nil
end

--- Is `cls` the class `other` or derived from it?
function class.derives(cls, other)
  while cls do
    if cls == other then return true end
    cls = parts[cls].super
  end
  return false
end

--- Is x an instance of `other` or of a class derived from it?
function class.isa(x, other)
  local cls = class.of(x)
  return cls ~= nil and class.derives(cls, other)
end

--- The word for x in messages and printing: the class of an object, Tensor, Quantity, or Lua's type.
--  Example:
--    print(bdl.typename(bdl.ones(2)), bdl.typename "a")
function class.typename(x)
  local cls = class.of(x)
  if cls then return parts[cls].name end
  if parts[x] then return "class" end
  if core.is_tensor(x) then return core.unit_of(x) and "Quantity" or "Tensor" end
  local meta = getmetatable(x)
  local name = type(meta) == "table" and meta.__name
  return type(name) == "string" and name:gsub("^bdl%.", "") or type(x)
end

--- Classes of a module are called "nn.LIF" in messages once the module has been registered.
function class.qualify(module, prefix)
  for _, x in pairs(module) do
    local p = parts[x]
    if p and not p.prefix then p.prefix = prefix end
  end
  return module
end

function class.qualified_name(cls)
  local p = parts[cls]
  return p.prefix and p.prefix .. "." .. p.name or p.name
end

--- Object: the root.  Its methods work on instances and on classes.
local Object = define("Object", nil)
class.Object = Object

function Object:extend(name) return define(name, self) end

function Object:is(other)
  if not parts[other] then core.fail("TypeError", 2, "is: a class is needed, not a %s", class.typename(other)) end
  return class.derives(parts[self] and self or class.of(self), other)
end

Object.__newindex = first_set
Object.__pairs = each_field

function Object:__tostring() return require("bdl.pretty").text(self) end

return setmetatable(class, {__call = function(_, name) return Object:extend(name) end})

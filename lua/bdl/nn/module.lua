--- Module: a Node that is called.  Descriptions of modules that are built later.
local core = require "bdl.core"
local class = require "bdl.class"
local graph = require "bdl.graph"
local state = require "bdl.state"

local M = {}

-- ---- sizes -----------------------------------------------------------------------------------------------------------------

local Size = {__name = "Size"}

function Size.__index(size, i)
  if math.type(i) == "integer" and i < 0 then return rawget(size, #size + 1 + i) end
end

function Size.__eq(a, b)
  local same = #a == #b
  for i = 1, #a do same = same and a[i] == b[i] end
  return same
end

function Size.__tostring(size) return "{" .. table.concat(size, ", ") .. "}" end

--- A shape from a count or a list of counts; takes negative positions.  Errors: ValueError, TypeError.
--  Example:
--    local shape = bdl.nn.size{4, 3}
--    print(shape[-1])
function M.size(x)
  if getmetatable(x) == Size then return x end
  local size = setmetatable({}, Size)
  local list = type(x) == "number" and {x} or x
  if type(list) ~= "table" and type(list) ~= "userdata" then
    core.fail("TypeError", 2, "a size is a count or a list of counts, not a %s", class.typename(x))
  end
  for i = 1, #list do
    local n = type(list[i]) == "number" and math.tointeger(list[i])
    if not n or n < 0 then core.fail("ValueError", 2, "a size is a whole number >= 0, not %s", tostring(list[i])) end
    size[i] = n
  end
  return size
end

-- ---- modules ---------------------------------------------------------------------------------------------------------------

--- A part of a model, to be extended by update; calling it calls update.  No constructor is needed; in_size and
--  out_size become sizes when set.
--  Example:
--    local Scale = bdl.nn.Module:extend "Scale"
--    function Scale:update(x) return 2 * x end
--    print(Scale()(bdl.ones(3)))
local Module = graph.Node:extend "Module"
M.Module = Module

--- Modules that own States of a step: those that have none may wait for init_state.
local ready = setmetatable({}, {__mode = "k"})

local function is_ready(self)
  if class.method(self, "init_state") == Module.init_state then return true end
  for _, field in next, self do
    if class.isa(field, state.State) and not class.isa(field, state.LongTermState) then return true end
  end
  return false
end

local missed = setmetatable({}, {__mode = "v"}) -- module, key: the last field that a module without States did not have

--- The module and the name of the State that an error of Lua means; nil: another error.
function M.missing_state(err)
  local kind, name = err:match "attempt to index a nil value %((%l+) '([^']+)'%)$"
  local self, key = missed.module, missed.key
  if not kind or not self or rawget(self, key) ~= nil then return nil end
  if key == name or kind == "local" and err:find "^%[bdl%]/nn/" then return self, key end
end

M.HINT = "call nn.init_all_states(model) or :init_state() first"

local guards = setmetatable({}, {__mode = "k"}) -- method -> the same for modules that are not ready

--- f, but where nn meets nil in a module without States: ValueError.
local function guarded(f)
  guards[f] = guards[f] or function(...)
    missed.module = nil
    local results = table.pack(xpcall(f, core.traceback, ...))
    if results[1] then return table.unpack(results, 2, results.n) end
    local err = results[2]
    if type(err) ~= "string" or not err:find "^%[bdl%]/nn/" then error(err, 0) end
    local module, name = M.missing_state(err)
    if not module then error(err, 0) end
    core.hint(M.HINT)
    core.fail("ValueError", 2, "%s: no state '%s'", class.typename(module), name)
  end
  return guards[f]
end

local MAKERS = {init_state = true, reset_state = true}

--- The name is given once, by the constructor.
function Module.__index(self, key)
  if key == "name" then return rawget(self, "_name") end
  local value = class.method(self, key)
  if ready[self] or MAKERS[key] then return value end
  ready[self] = is_ready(self) or nil
  if ready[self] then return value end
  if type(value) == "function" then return guarded(value) end
  if value == nil then missed.module, missed.key = self, key end
  return value
end

function Module.__newindex(self, key, value)
  if key == "name" then
    if rawget(self, "_name") ~= nil then
      core.hint "give the name when it is made: name = .."
      core.fail("ValueError", 2, "%s: the name '%s' is read-only", class.typename(self), self.name)
    end
    key = "_name"
  end
  if (key == "in_size" or key == "out_size") and value ~= nil then value = M.size(value) end
  class.rawfield(self, key, value)
end

function Module:__init(...)
  local name = ...
  if type(name) == "table" and getmetatable(name) == nil then name = name.name end
  if name ~= nil then self.name = name end
end

--- The default: forward, where a subclass has it, over its States as values.
--    function M:forward(states, params, ..)  return states, out..  end
--  states, params : maps path -> value of the ShortTermStates, of the ParamStates; the States take the values that come back.
--  Errors: NotImplementedError, neither is there; KeyError, a State is missing in what comes back.
function Module:update(...)
  if not self.forward then
    core.fail("NotImplementedError", 3, "%s has no update; write function %s:update(x) .. end", class.typename(self), class.typename(self))
  end
  local function values(kind)
    local map = {}
    for path, s in self:states(kind):items() do map[path] = s.value end
    return map
  end
  local results = table.pack(self:forward(values(state.ShortTermState), values(state.ParamState), ...))
  local new = results[1]
  for path, s in self:states(state.ShortTermState):items() do
    if type(new) ~= "table" or new[path] == nil then
      core.fail("KeyError", 3, "%s: forward returns states without '%s'", class.typename(self), path)
    end
    s.value = new[path]
  end
  return table.unpack(results, 2, results.n)
end

function Module:__call(...) return self:update(...) end

--- Makes the States.  batch_size: (optional) a leading axis.
function Module:init_state() end

--- Puts the States back to their initial values: those that init_state makes.
function Module:reset_state(...)
  local before = {}
  for _, name in ipairs(class.fields(self)) do
    local old = rawget(self, name)
    if class.isa(old, state.State) then before[name] = old end
  end
  self:init_state(...)
  for name, old in pairs(before) do
    local new = rawget(self, name)
    if not rawequal(new, old) then
      old.value = new.value
      rawset(self, name, old)
    end
  end
end

-- ---- descriptions ----------------------------------------------------------------------------------------------------------

--- What a class will be built from, made by desc.  Calling it builds; equal class and arguments give equal identifiers.
--  Example:
--    local d = bdl.nn.LIF:desc{100}
--    print(bdl.typename(d) == "Description", d().in_size)
local Description = class "Description"
M.Description = Description

--- The shortest decimal text that reads back as v in its dtype.
local function number_text(v, dtype)
  if v == math.floor(v) and math.abs(v) < 1e15 then return ("%.0f"):format(v) end
  local format = dtype == "float32" and "<f" or "<d"
  for digits = 1, 16 do
    local text = ("%%.%dg"):format(digits):format(v)
    if v ~= v or string.pack(format, tonumber(text)) == string.pack(format, v) then return text end
  end
  return ("%.17g"):format(v)
end

--- Text that is equal exactly when two arguments are meant to be the same; objects and large tensors count by identity.
local function text_of(v)
  if core.is_tensor(v) then
    if v.size > 1 or core.is_traced(v) then return ("%s@%p"):format(class.typename(v), v) end
    local unit = core.unit_of(v)
    return number_text(core.item(core.mantissa(v)), v.dtype) .. (unit and " " .. tostring(unit) or "")
  elseif type(v) == "number" then
    return number_text(v)
  elseif type(v) == "table" and getmetatable(v) == nil then
    local parts, keys = {}, {}
    for key in pairs(v) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b)
      if type(a) ~= type(b) then return type(a) == "number" end
      return a < b
    end)
    for _, key in ipairs(keys) do
      parts[#parts + 1] = type(key) == "number" and text_of(v[key]) or ("%s=%s"):format(key, text_of(v[key]))
    end
    return "{" .. table.concat(parts, ", ") .. "}"
  elseif class.of(v) or type(v) == "function" then
    return ("%s@%p"):format(class.typename(v), v)
  end
  return tostring(v)
end

function Description:__init(cls, ...)
  self.cls = cls
  self._args = table.pack(...)
end

function Description:__call() return self.cls(table.unpack(self._args, 1, self._args.n)) end

--- "Expon(4, tau=10 ms)"
function Description:identifier()
  if not self._text then
    local parts = {}
    for i = 1, self._args.n do
      local v = self._args[i]
      local text = text_of(v)
      parts[i] = type(v) == "table" and getmetatable(v) == nil and text:sub(2, -2) or text
    end
    rawset(self, "_text", ("%s(%s)"):format(self.cls.name, table.concat(parts, ", ")))
  end
  return self._text
end

Description.__tostring = Description.identifier

--- LIF:desc{100, tau = 10*u.ms}
function Module:desc(...)
  if not class.is_class(self) then core.fail("TypeError", 2, "desc describes a class, %s:desc{..}, not an object", class.typename(self)) end
  return Description(self, ...)
end

return M

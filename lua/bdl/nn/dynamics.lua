--- Dynamics: a module with a size, inputs that projections register, and updates before and after its own.
local core = require "bdl.core"
local class = require "bdl.class"
local module = require "bdl.nn.module"

local M = {}

--- A module with a size, and inputs that projections register; to be extended.
--  Example:
--    local Pass = bdl.nn.Dynamics:extend "Pass"
--    function Pass:update(x) return self:sum_current_inputs(x) end
--    print(Pass(2)(bdl.ones(2)))
local Dynamics = module.Module:extend "Dynamics"
M.Dynamics = Dynamics

--- varshape: the shape of a variable without a batch, out_size.
function Dynamics.__index(self, key)
  if key == "varshape" then return rawget(self, "out_size") end
  return module.Module.__index(self, key)
end

--- size, {name =}
function Dynamics:__init(...)
  local a = require "bdl.args"({"size", keep_size = false, name = require "bdl.none".none}, ...)
  Dynamics.super.__init(self, a.name)
  self.in_size = a.size
  self.out_size = a.size
  for _, name in ipairs{"_current_inputs", "_delta_inputs", "_before_updates", "_after_updates"} do
    class.rawfield(self, name, {})
    class.rawfield(self, name .. "_order", {})
  end
end

-- ---- inputs ------------------------------------------------------------------------------------------------------------------

local function full_key(key, label) return label and label .. " // " .. key or key end

--- Was x left behind by a trace that failed?
local function is_dead(x) return core.is_tensor(x) and core.is_traced(x) and not pcall(core.bind, "copy", {}, x) end

local function add(self, kind, key, inp, label)
  key = full_key(key, label)
  local field = "_" .. kind .. "_inputs"
  local before = self[field][key]
  if before == nil then
    table.insert(self[field .. "_order"], key)
  elseif not is_dead(before) then
    core.fail("ValueError", 3, "%s: the %s input '%s' is registered already", class.typename(self), kind, key)
  end
  self[field][key] = inp
end

local function callable(x)
  return type(x) == "function" or (type(x) == "table" and getmetatable(x) and getmetatable(x).__call ~= nil)
end

--- init plus all registered inputs in order of registration.  Functions are called with ... and stay; values are used once.
local function sum(self, kind, init, ...)
  local inputs, order = self["_" .. kind .. "_inputs"], self["_" .. kind .. "_inputs_order"]
  local kept = {}
  self["_" .. kind .. "_inputs_order"] = kept
  for i, key in ipairs(order) do
    local inp = inputs[key]
    if callable(inp) then kept[#kept + 1] = key else inputs[key] = nil end
    local ok, total = pcall(function(...) return init + (callable(inp) and inp(...) or inp) end, ...)
    if not ok then
      table.move(order, i + 1, #order, #kept + 1, kept)
      local message = type(total) == "table" and total.message or tostring(total)
      core.fail(type(total) == "table" and total.kind or "ValueError", 3, "%s: in the %s input '%s': %s",
                class.typename(self), kind, key, message)
    end
    init = total
  end
  return init
end

--- inp : a value, used at the next sum, or a function of the arguments of the sum (V), which stays.
--  Errors: ValueError, the key is taken.
function Dynamics:add_current_input(key, inp, label) add(self, "current", key, inp, label) end
function Dynamics:add_delta_input(key, inp, label) add(self, "delta", key, inp, label) end

--- Errors: that of an input, with its key.
function Dynamics:sum_current_inputs(init, ...) return sum(self, "current", init, ...) end
function Dynamics:sum_delta_inputs(init, ...) return sum(self, "delta", init, ...) end

--- How the registered current inputs depend on V: "none", "linear" (outputs that say so), "any".
function Dynamics:current_input_kind()
  local kind = "none"
  for _, inp in pairs(self._current_inputs) do
    if callable(inp) then
      if type(inp) == "function" or not inp.linear then return "any" end
      kind = "linear"
    end
  end
  return kind
end

-- ---- updates before and after --------------------------------------------------------------------------------------------------

local takes_input = setmetatable({}, {__mode = "k"})
local ignores_output = setmetatable({}, {__mode = "k"})

--- x, a before-update, will get the arguments of the call.
--  Example:
--    local cells = bdl.nn.init_all_states(bdl.nn.PoissonEncoder(2))
--    cells:add_before_update("watch", bdl.nn.receive_update_input(function(rate) print(rate) end))
function M.receive_update_input(x)
  takes_input[x] = true
  return x
end

--- x, an after-update, will get the result of the call, as it does unless not_receive_update_output said otherwise.
--  Example:
--    local cells = bdl.nn.init_all_states(bdl.nn.PoissonEncoder(2))
--    cells:add_after_update("show", bdl.nn.receive_update_output(function(spikes) print(spikes) end))
function M.receive_update_output(x)
  ignores_output[x] = nil
  return x
end

--- x, an after-update, will not get the result of the call.
--  Example:
--    local cells = bdl.nn.init_all_states(bdl.nn.PoissonEncoder(2))
--    cells:add_after_update("count", bdl.nn.not_receive_update_output(function() print "done" end))
function M.not_receive_update_output(x)
  ignores_output[x] = true
  return x
end

for _, when in ipairs{"before", "after"} do
  local field = "_" .. when .. "_updates"

  Dynamics[("add_%s_update"):format(when)] = function(self, key, f)
    if self[field][key] ~= nil then
      core.fail("KeyError", 2, "%s: the %s-update '%s' is registered already", class.typename(self), when, tostring(key))
    end
    if not callable(f) then
      core.fail("TypeError", 2, "%s: a %s-update is a function or a module, not a %s", class.typename(self), when, class.typename(f))
    end
    self[field][key] = f
    table.insert(self[field .. "_order"], key)
  end

  Dynamics[("has_%s_update"):format(when)] = function(self, key) return self[field][key] ~= nil end

  Dynamics[("get_%s_update"):format(when)] = function(self, key)
    local f = self[field][key]
    if f == nil then
      core.fail("KeyError", 2, "%s has no %s-update '%s'%s", class.typename(self), when, tostring(key),
                require "bdl.suggest".hint(tostring(key), self[field .. "_order"]))
    end
    return f
  end
end

--- What reads a State, or what update returns, of some time ago; see nn/delay.lua.
function Dynamics:prefetch_delay(...) return require "bdl.nn.delay".prefetch_delay(self, ...) end
function Dynamics:output_delay(...) return require "bdl.nn.delay".output_delay(self, ...) end

--- Before-updates, update, after-updates, each in order of registration.
function Dynamics:__call(...)
  for _, key in ipairs(self._before_updates_order) do
    local f = self._before_updates[key]
    if takes_input[f] then f(...) else f() end
  end
  local results = table.pack(self:update(...))
  for _, key in ipairs(self._after_updates_order) do
    local f = self._after_updates[key]
    if ignores_output[f] then f() else f(table.unpack(results, 1, results.n)) end
  end
  return table.unpack(results, 1, results.n)
end

return M

--- Settings: parameters of a model that `bdl run --set name=value` may change.
--
--   local s = bdl.settings{scale = 1, tau = 20*u.ms, net = {g = 0.6}}     bdl run model.lua --set scale=4 --set net.g=0.5
--
-- The default says what a value is: a number, a quantity of that dimension ("30 ms"), true or false, text.  A model calls
-- settings once and hands the values on.

local core = require "bdl.core"
local suggest = require "bdl.suggest"

local settings = {
  given = {},        -- path -> text, of the command line
}

local used = {}      -- path -> true

local function fail(path, fmt, ...)
  core.fail("UsageError", 3, "--set %s=%s: %s", path, settings.given[path], fmt:format(...))
end

--- Number and unit of "20 mV", "2e-3*mS/cm^2", "5"; nil if it is neither.
local function quantity(text)
  local number, unit = text:match "^%s*([+-]?[%d.]+[eE][+-]?%d+)%s*%*?%s*(.-)%s*$"
  if not tonumber(number) then number, unit = text:match "^%s*([+-]?[%d.]+)%s*%*?%s*(.-)%s*$" end
  number = tonumber(text) or tonumber(number)
  return number, unit ~= "" and not tonumber(text) and unit or nil
end

local BOOLEAN = {["true"] = true, ["false"] = false}

--- The value that `text` stands for, of the kind of the default.
local function value_of(default, path, text)
  local kind = type(default)
  if kind == "string" then return text end
  if kind == "boolean" then
    if BOOLEAN[text] == nil then fail(path, "true or false was expected, as in %s=%s", path, tostring(not default)) end
    return BOOLEAN[text]
  end
  local number, unit = quantity(text)
  if kind ~= "number" and not core.is_tensor(default) then
    if BOOLEAN[text] ~= nil then return BOOLEAN[text] end
    if not number then return text end
    return unit and number * core.unit(unit) or number
  end
  if not number then fail(path, "a number was expected; the default is %s", tostring(default)) end
  local expected = core.is_tensor(default) and core.unit_of(default) or nil
  if unit and not expected then fail(path, "a number without a unit was expected; the default is %s", tostring(default)) end
  if expected and not unit then fail(path, "a quantity was expected, as in %s='%s %s'", path, text, tostring(expected)) end
  if kind == "number" then return math.type(default) == "float" and number + 0.0 or number end
  if not expected then return core.cast(core.tensor(number), default.dtype) end
  local ok, value = pcall(function()
    local q = number * core.unit(unit)
    core.convert(q, expected)
    return q
  end)
  if not ok then fail(path, "%s", type(value) == "table" and value.message or tostring(value)) end
  return value
end

--- A copy of the defaults with what was given; adds all their paths to `names`.
local function fill(defaults, prefix, names)
  local filled = {}
  for key, default in next, defaults do
    local path = prefix .. tostring(key)
    names[#names + 1] = path
    local text = settings.given[path]
    if type(default) == "table" and getmetatable(default) == nil then
      if text then fail(path, "it has parts: --set %s.%s=..", path, tostring(next(default))) end
      filled[key] = fill(default, path .. ".", names)
    else
      filled[key] = text and value_of(default, path, text) or default
      if text == "false" then filled[key] = value_of(default, path, text) end
      used[path] = true
    end
  end
  return filled
end

--- defaults: name -> value, tables of these for paths.  Errors: UsageError for a given setting that is not among them, or
--  whose value is of another kind.
--  Example:
--    local p = bdl.settings{n = 100, tau = 20*bdl.units.ms} -- bdl run --set n=200 model.lua
--    print(p.n)
function settings.settings(defaults)
  if type(defaults) ~= "table" or getmetatable(defaults) ~= nil then
    core.fail("TypeError", 2, "settings takes a table of defaults: bdl.settings{scale = 1}")
  end
  local names = {}
  local filled = fill(defaults, "", names)
  table.sort(names)
  for path in next, settings.given do
    if not used[path] then
      core.hint(#names > 0 and "it has: " .. table.concat(names, ", ") or "it has none")
      fail(path, "the model has no setting '%s'%s", path, suggest.hint(path, names))
    end
  end
  return filled
end

--- Names that were given and never asked for, sorted.
function settings.unused()
  local list = {}
  for path in next, settings.given do
    if not used[path] then list[#list + 1] = path end
  end
  table.sort(list)
  return list
end

return settings

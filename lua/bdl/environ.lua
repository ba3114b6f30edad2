--- environ: values that models look up at run time (dt, t, i, fit, precision, platform, anything).
--
--   environ.set{dt = 0.1*u.ms}                                   for good
--   local _ <close> = environ.context{dt = 0.1*u.ms}             for a block, innermost wins, restored on errors
--   environ.context({dt = 0.1*u.ms}, f, x)                       for one call
--   environ.get("dt"), environ.get("dt", default)
--
-- For the compiler: `version()` changes exactly when a visible value may have changed, leaving a context brings the old
-- version back, and `on_version(f)` calls f(version) at each change; `listen(f)` calls f(key, value) for every value
-- read; `peek(key)` reads unheard.
-- `precision`, `matmul_precision` and `platform` act on the runtime: `on_change(key, f)` calls f(value) whenever the visible value changes.

local core = require "bdl.core"
local class = require "bdl.class"
local paths = require "bdl.path"
local scope = require "bdl.scope"
local suggest = require "bdl.suggest"
local none = require "bdl.none".none

--- config: a second spelling of settings:  config.update("precision", 64).
local environ = {config = {}}

local PRECISIONS = {[8] = true, [16] = true, [32] = true, [64] = true, bf16 = true}
local FLOATS = {[16] = "float16", [32] = "float32", [64] = "float64", bf16 = "bfloat16"}
local INTS = {[8] = "int32", [16] = "int32", [32] = "int32", [64] = "int64", bf16 = "int32"}
local MATMULS = {float32 = true, tf32 = true}
local PLATFORMS = {cpu = true, gpu = true}
local GLOBAL_ONLY = {platform = true, host_device_count = true}

local globals = {precision = 32, platform = "cpu", matmul_precision = "float32"}
local frames = {}                    -- open contexts, innermost last; each the table of its values
local changed = {}                   -- key -> list of functions
local current, newest, global_version = 1, 1, 1
local listener
local version_hooks = {}

local function visible(key)
  for i = #frames, 1, -1 do
    local value = frames[i][key]
    if value ~= nil then return value end
  end
  return globals[key]
end

local function new_version()
  newest = newest + 1
  return newest
end

local function set_version(version)
  current = version
  for _, f in ipairs(version_hooks) do f(version) end
end

local function set_global_version()
  global_version = new_version()
  set_version(global_version)
end

local function number_of(x) return type(x) == "number" and x or core.item(core.mantissa(x)) end

--- Errors of one value: KeyError, TypeError, ValueError.
local function check(who, key, value)
  if type(key) ~= "string" then
    core.fail("KeyError", 3, "environ.%s: keys are names, got %s", who, tostring(key))
  elseif key == "dt" and type(value) ~= "number" and not (core.is_tensor(value) and value.ndim == 0) then
    core.fail("TypeError", 3, "environ.%s: dt must be a scalar, got %s", who,
              core.is_tensor(value) and "shape " .. tostring(value.shape) or class.typename(value))
  elseif key == "dt" and not core.is_traced(value) and not (math.abs(number_of(value)) > 0) then
    core.fail("ValueError", 3, "environ.%s: dt is a time other than 0, not %s", who, tostring(value))
  elseif key == "precision" and not PRECISIONS[value] then
    core.fail("ValueError", 3, "environ.%s: precision is 8, 16, 32, 64 or 'bf16', not %s", who, tostring(value))
  elseif key == "matmul_precision" and not MATMULS[value] then
    core.fail("ValueError", 3, "environ.%s: matmul_precision is 'float32' or 'tf32', not %s", who, tostring(value))
  elseif key == "platform" and not PLATFORMS[value] then
    if value == "tpu" then core.hint "bdl has no counterpart of a TPU; the same model runs on cpu and gpu" end
    core.fail("ValueError", 3, "environ.%s: no %s backend; have cpu, gpu", who, tostring(value))
  elseif key == "host_device_count" and (math.type(value) ~= "integer" or value < 1) then
    core.fail("ValueError", 3, "environ.%s: host_device_count is a positive integer, not %s", who, tostring(value))
  end
end

local function check_all(who, values)
  if type(values) ~= "table" or getmetatable(values) ~= nil then
    core.fail("TypeError", 3, "environ.%s takes a table: environ.%s{dt = 0.1*u.ms}, not a %s", who, who, class.typename(values))
  end
  local copy = {}
  for key, value in next, values do
    check(who, key, value)
    copy[key] = value
  end
  return copy
end

--- Tell the runtime of keys whose visible value is another than before.
local function tell(values, before)
  for key in next, values do
    local now = visible(key)
    if changed[key] and not rawequal(now, before[key]) then
      for _, f in ipairs(changed[key]) do f(now) end
    end
  end
end

local function visible_of(values)
  local now = {}
  for key in next, values do now[key] = visible(key) end
  return now
end

--- Set values for good; a context that sets the same key hides them while it is open.  On an error nothing is set.
function environ.set(values)
  values = check_all("set", values)
  local before, replaced = visible_of(values), {}
  for key, value in next, values do
    replaced[key], globals[key] = globals[key], value
  end
  local ok, err = pcall(tell, values, before)
  if not ok then
    for key in next, values do globals[key] = replaced[key] end
    error(err, 0)
  end
  set_global_version()
end

local function push(values)
  local before, came_from, globals_then = visible_of(values), current, global_version
  frames[#frames + 1] = values
  set_version(new_version())
  local function pop()
    local inside = visible_of(values)
    for i = #frames, 1, -1 do
      if rawequal(frames[i], values) then table.remove(frames, i) break end
    end
    set_version(globals_then == global_version and came_from or new_version())
    tell(values, inside)
  end
  local ok, err = pcall(tell, values, before)
  if not ok then
    pop()
    error(err, 0)
  end
  return pop
end

--- Values for a block (guard) or, with f, for the call f(...).
--  Errors: ValueError for what holds for the process (platform, host_device_count).
function environ.context(values, ...)
  values = check_all("context", values)
  for key in next, values do
    if GLOBAL_ONLY[key] then
      core.fail("ValueError", 2, "environ.context: %s holds for the whole process; use bdl.environ.set{%s = ...}", key, key)
    end
  end
  return scope.enter("bdl.environ.context{...}", push(values), nil, ...)
end

local function heard(key, value)
  if listener then listener(key, value) end
  return value
end

local function not_set(key)
  local keys = {}
  for name in next, environ.peek_all() do keys[#keys + 1] = name end
  table.sort(keys)
  local example = key == "dt" and "0.1*u.ms" or "..."
  core.fail("KeyError", 3, "environ '%s' is not set%s: bdl.environ.set{%s = %s} or local _ <close> = "
            .. "bdl.environ.context{%s = ...}", key, suggest.hint(key, keys), key, example, key)
end

--- The visible value; absent: the default if one is given (nil too), else KeyError.
function environ.get(key, ...)
  local value = heard(key, visible(key))
  if value ~= nil then return value end
  if select("#", ...) == 0 then not_set(tostring(key)) end
  local default = ...
  if default == none then return nil end
  return default
end

--- Take a global value out.  Absent: the default if given, else KeyError.
function environ.pop(key, ...)
  local value = globals[key]
  if value == nil then
    if select("#", ...) == 0 then not_set(tostring(key)) end
    return (...)
  end
  local before = visible_of{[key] = true}
  globals[key] = nil
  set_global_version()
  tell({[key] = true}, before)
  return value
end

--- The value of a key, nil where it is not set.
function environ.peek(key) return visible(key) end

--- All visible values as a plain table.
function environ.peek_all()
  local all = {}
  for key, value in next, globals do all[key] = value end
  for _, frame in ipairs(frames) do
    for key, value in next, frame do all[key] = value end
  end
  return all
end

--- All values that are set, by key.
function environ.all()
  local all = environ.peek_all()
  local keys = {}
  for key in next, all do keys[#keys + 1] = key end
  table.sort(keys, paths.key_less)
  for _, key in ipairs(keys) do heard(key, all[key]) end
  return all
end

--- The step.
function environ.get_dt() return environ.get "dt" end
--- The precision: 8, 16, 32, 64 or "bf16".
function environ.get_precision() return environ.get "precision" end
--- The platform: "cpu" or "gpu".
function environ.get_platform() return environ.get "platform" end
--- Sets the precision: 8, 16, 32, 64 or "bf16".
function environ.set_precision(p) environ.set{precision = p} end
--- Sets the platform: "cpu" or "gpu".
function environ.set_platform(p) environ.set{platform = p} end

--- Default dtypes under the precision.
function environ.dftype()
  local precision = environ.get "precision"
  return FLOATS[precision] or core.fail("NotSupportedError", 2, "precision %s: there is no such float dtype; use 16", precision)
end

--- The dtype of integers at the present precision.
function environ.ditype() return INTS[environ.get "precision"] end

--- A number that stands for all values that are set; equal numbers, equal values.
function environ.version() return current end

--- f(version) whenever the version changes.
function environ.on_version(f) table.insert(version_hooks, f) end

--- f(key, value) for every read from now on; nil ends it.  Returns the listener before.
function environ.listen(f)
  local before = listener
  listener = f
  return before
end

--- f(value) whenever the visible value of the key changes.
function environ.on_change(key, f)
  changed[key] = changed[key] or {}
  table.insert(changed[key], f)
end

environ.on_change("precision", function(p) core.precision(p == 64 and 64 or 32) end)
environ.on_change("matmul_precision", function(p) core.tf32(p == "tf32") end)
environ.on_change("platform", core.platform)

local CONFIG = {platform_name = "platform", jax_platform_name = "platform", precision = "precision"}

--- The second spelling: bdl.config.update("platform_name", "cpu").
function environ.config.update(name, value)
  if not CONFIG[name] then
    core.fail("KeyError", 2, "config.update: no option '%s'%s", tostring(name),
              suggest.hint(name, {"platform_name", "precision"}))
  end
  environ.set{[CONFIG[name]] = value}
end

return environ

--- Progress of long compiled loops: steps done, speed, simulated over real time, time left.
--
--  coba 45% [#############-----------------] 4500/10000 steps, 12.3k/s, 1.23x real time, 0:05 left
--
-- Loops show one line on a terminal by themselves, from their first second on.  A ProgressBar given to a loop, {pbar =
-- bar}, is written from inside the loop, every so many steps, with values; where there is no terminal a line each time.

local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local environ = require "bdl.environ"
local none = require "bdl.none".none

local progress = {}

local SHOW_AFTER = 1.0                           -- seconds

local columns                                    -- of the terminal; nil: no bars
local label                                      -- of the loop that runs
local loop = {}                                  -- {begin =, first =, done =, total =, shown =}
local running                                    -- the loop traced or run: {has_inner = does its step hold another loop?}
local whole                                      -- of loops that are parts of one: {done = before this, total =}

local function write(text)
  io.stderr:write(text)
  io.stderr:flush()
end

local function erase()
  if loop.shown then write "\r\27[K" end
  loop = {}
end

--- 12.3k
local function short(x)
  for _, scale in ipairs{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} do
    if x >= scale[1] then return ("%.3g%s"):format(x / scale[1], scale[2]) end
  end
  return ("%.3g"):format(x)
end

local function clock(seconds)
  local s = math.floor(seconds + 0.5)
  if s >= 3600 then return ("%d:%02d:%02d"):format(s // 3600, s // 60 % 60, s % 60) end
  return ("%d:%02d"):format(s // 60, s % 60)
end

--- dt in seconds; nil when it is not set, or not a time.
local function dt()
  local value = environ.peek "dt"
  local ok, seconds = pcall(function() return core.item(core.mantissa(core.convert(value, core.unit "s"))) end)
  return ok and seconds or nil
end

--- The line for a loop that has run `seconds` for done - first steps.
function progress.line(width, name, first, done, total, seconds, step)
  local speed = (done - first) / seconds
  local real = step and (", %.3gx real time"):format(speed * step) or ""
  local head = ("%s%3d%% ["):format(name and name .. " " or "", done * 100 // total)
  local tail = ("] %d/%d steps, %s/s%s, %s left"):format(done, total, short(speed), real, clock((total - done) / speed))
  local room = math.min(30, width - #head - #tail - 1)
  local full = room > 0 and done * room // total or 0
  return (head .. ("#"):rep(full) .. ("-"):rep(room - full) .. tail):sub(1, width - 1)
end

local function report(done, total)
  if whole then
    done, total = whole.done + done, whole.total
  elseif total < 0 then
    return
  end
  if done == total then                          -- of short loops nothing else is heard
    if loop.total then erase() end
    return
  end
  local now = core.clock()
  if total ~= loop.total or done < loop.done then
    erase()
    loop = {begin = now, first = done, total = total}
  end
  loop.done = done
  local seconds = now - loop.begin
  if seconds < SHOW_AFTER or done == loop.first then return end
  if not loop.shown then loop.step = (whole or not (running and running.has_inner)) and dt() or nil end
  write("\r" .. progress.line(columns, label, loop.first, done, total, seconds, loop.step) .. "\27[K")
  loop.shown = true
end

--- Bars from now on, if standard error is a terminal.
function progress.start()
  columns = core.columns()
  if columns then core.progress(report) end
end

--- Leave a clean line.
function progress.stop()
  if not columns then return end
  core.progress(nil)
  erase()
  columns = nil
end

--- The name that the option pbar gives: true, a name, or {desc = name}.
local function name_of(pbar)
  local name = type(pbar) == "table" and pbar.desc or pbar
  return type(name) == "string" and name or nil
end

--- f(...), a loop, with its option pbar, unless that is a ProgressBar; nil: the name stays.
function progress.run(pbar, f, ...)
  local label_before, outer = label, running
  local _ <close> = setmetatable({}, {__close = function() label, running = label_before, outer end})
  if pbar ~= nil then label = name_of(pbar) end
  if outer then outer.has_inner = true end       -- its step is not one of dt
  running = {}
  return f(...)
end

--- From now on loops are parts of one from step `first` to `last`; part:at(i) before the one that begins with step i.
--  Closes.
function progress.part(pbar, first, last)
  if class.of(pbar) then core.fail("TypeError", 3, "pbar is true or a name here, not a %s", class.typename(pbar)) end
  local before, label_before = whole, label
  whole = {done = 0, total = last - first}
  label = name_of(pbar)
  local part = {}
  function part:at(i) whole.done = i - first end
  return setmetatable(part, {__close = function()
    whole, label = before, label_before
    if loop.total then erase() end
  end})
end

-- ---- bars in loops --------------------------------------------------------------------------------------------------

--- What a loop tells while it runs, given to it as {pbar = bar}.
--  freq, count : steps between updates; or updates in all (20)
--  desc : a text in front, or {format, f}: f({i =, y = results, carry =}) gives the values that the format names, "loss
--  {loss:.3f}"
--  Errors: ValueError both freq and count, or not > 0; TypeError.
--  Example:
--    bdl.for_loop(function(x) return x end, bdl.arange(100), {pbar = bdl.ProgressBar{count = 2}})
local ProgressBar = class "ProgressBar"
progress.ProgressBar = ProgressBar

function ProgressBar:__init(...)
  local a = args({freq = none, count = none, desc = none}, ...)
  for _, name in ipairs{"freq", "count"} do
    if a[name] ~= nil and (math.type(a[name]) ~= "integer" or a[name] < 1) then
      core.fail("ValueError", 2, "ProgressBar: %s is a whole number from 1, not %s", name, tostring(a[name]))
    end
  end
  if a.freq and a.count then core.fail("ValueError", 2, "ProgressBar: give freq or count, not both") end
  local desc = a.desc
  if desc ~= nil and type(desc) ~= "string" then
    if type(desc) ~= "table" or type(desc[1]) ~= "string" or type(desc[2]) ~= "function" or #desc ~= 2 then
      core.fail("TypeError", 2, "ProgressBar: desc is a text or {format, function}, not a %s", class.typename(desc))
    end
  end
  self.freq = a.freq
  self.count = a.count
  self.desc = desc
end

--- Steps between updates of a loop of n steps.
local function freq_of(bar, n)
  if bar.count then
    if bar.count > n then
      core.fail("ValueError", 4, "ProgressBar: count = %d is too large for %d steps", bar.count, n)
    end
    return n // bar.count
  end
  if bar.freq and bar.freq > n then
    core.fail("ValueError", 4, "ProgressBar: freq = %d is more than the %d steps", bar.freq, n)
  end
  return bar.freq or math.max(1, n // 20)
end

--- The text of a value in a format; spec as in Python and C: ".3f".
local function value_text(x, spec)
  if spec == "" then return core.is_tensor(x) and core.text(x) or tostring(x) end
  local unit = core.is_tensor(x) and core.unit_of(x)
  local number = core.is_tensor(x) and core.item(core.mantissa(x)) or x
  if spec:find "[dixX]$" then number = math.tointeger(number) or number end
  return ("%" .. spec):format(number) .. (unit and " " .. tostring(unit) or "")
end

local function filled(format, values)
  return (format:gsub("{([%w_]+):?([^{}]*)}", function(name, spec) return value_text(values[name], spec) end))
end

local function check_values(format, values)
  if type(values) ~= "table" then
    core.fail("TypeError", 4, "ProgressBar: the function of desc returns a table of values, not a %s",
              class.typename(values))
  end
  for name in format:gmatch "{([%w_]+):?[^{}]*}" do
    if values[name] == nil then
      core.fail("KeyError", 4, "ProgressBar: the format names {%s}, but the function of desc gives no such value%s",
                name,
                require "bdl.suggest".hint(name, require "bdl.util".sorted_keys(values)))
    end
  end
end

--- The line of a bar when i of n steps are done; the first starts its clock, the last ends it.
local function show(bar, i, n, due, text)
  local now = core.clock()
  if i == 1 or not rawget(bar, "_begin") then rawset(bar, "_begin", now) end
  if not due then return end
  local width = core.columns()
  local line = progress.line(width or 120, text, i == 1 and 0 or 1, i, n, math.max(now - bar._begin, 1e-9), dt())
  write(width and ("\r" .. line .. "\27[K" .. (i == n and "\n" or "")) or line .. "\n")
end

--- In a loop of n steps: the bar after step i (from 0), with what the step gave.
local function step(bar, n, i, values)
  local freq = freq_of(bar, n)
  local format, shown = bar.desc, {}
  if type(format) == "table" then
    values.i = i
    shown = format[2](values)
    check_values(format[1], shown)
    format = format[1]
  end
  local leaves, treedef = core.flatten(shown)
  local units, plain = {}, {}
  for k, x in ipairs(leaves) do units[k], plain[k] = core.unit_of(x), core.mantissa(x) end
  local function is(x, y) return core.bind("eq", {}, x, y) end
  local due = core.bind("or", {}, is(core.bind("mod", {}, i, freq), freq - 1), is(i, n - 1))
  require "bdl.compile".cond(core.bind("or", {}, due, is(i, 0)), function()
    core.print("progress", function(at, is_due, ...)
      local now = {...}
      for k, x in ipairs(now) do now[k] = units[k] and core.with_unit(x, units[k]) or x end
      show(bar, core.item(at) + 1, n, core.item(is_due), format and filled(format, core.unflatten(treedef, now)) or nil)
    end, i, due, table.unpack(plain))
  end, function() end)
end

--- f, xs of a loop of n steps with its bar: the steps are counted by one more sequence, and each shows itself.
function progress.counted(bar, f, has_carry, xs, n, reverse)
  if n == nil or n == 0 then return f, xs end
  local count = core.bind("iota", {shape = {n}, axis = 0, dtype = "int32"})
  if reverse then count = core.bind("reverse", {axes = {0}}, count) end
  local all = table.move(xs, 1, #xs, 1, {})
  all[#all + 1] = count
  return function(...)
    local given = table.pack(...)
    local results = table.pack(f(table.unpack(given, 1, given.n - 1)))
    local first = has_carry and 2 or 1
    local y = results[first]
    if results.n > first then y = {table.unpack(results, first, results.n)} end
    step(bar, n, given[given.n], {carry = has_carry and results[1] or nil, y = y})
    return table.unpack(results, 1, results.n)
  end, all
end

return progress

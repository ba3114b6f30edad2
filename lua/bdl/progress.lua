--- Progress of long compiled loops, one line on a terminal: steps done, speed, simulated over real time, time left.
--
--  coba 45% [#############-----------------] 4500/10000 steps, 12.3k/s, 1.23x real time, 0:05 left

local core = require "bdl.core"
local environ = require "bdl.environ"

local progress = {}

local SHOW_AFTER = 1.0                           -- seconds

local columns                                    -- of the terminal; nil: no bars
local label                                      -- of the loop that runs
local loop = {}                                  -- {begin =, first =, done =, total =, shown =}

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
  if not loop.shown then loop.step = dt() end
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

--- f(...) with the option pbar of a loop: true, a name for its line, or {desc = name}.
function progress.run(pbar, f, ...)
  local name = type(pbar) == "table" and pbar.desc or pbar
  local before = label
  local _ <close> = setmetatable({}, {__close = function() label = before end})
  label = type(name) == "string" and name or nil
  return f(...)
end

return progress

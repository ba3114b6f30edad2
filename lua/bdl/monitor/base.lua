--- Monitor: what all monitors share, their records, buffers in the loop, and files.
local core = require "bdl.core"
local class = require "bdl.class"
local environ = require "bdl.environ"
local state = require "bdl.state"
local suggest = require "bdl.suggest"

local M = {}

--- What monitors share: step and t of the rows or events, clear, streams to files.
--  Example:
--    local Mine = bdl.monitor.Monitor:extend "Mine"
--    print(Mine.name)
local Monitor = class "Monitor"
M.Monitor = Monitor

--- `fields` and what is recorded are read as fields; what a monitor does not have is an error that says what it has.
function Monitor.__index(self, key)
  local method = class.method(self, key)
  if method ~= nil then return method end
  if type(key) ~= "string" or key:sub(1, 1) == "_" then return nil end
  local field = class.method(self, "fields")[key]
  if field then return field(self) end
  local value = self:recorded(key)
  if value ~= nil then return value end
  local names = self:names()
  for name in pairs(class.method(self, "fields")) do names[#names + 1] = name end
  table.sort(names)
  core.fail("KeyError", 2, "%s has no field '%s'%s; have %s", class.typename(self), key, suggest.hint(key, names),
            table.concat(names, ", "))
end

function Monitor:recorded() end
function Monitor:names() return {} end
function Monitor:listens_to() end

--- SpikeMonitor(source=LIF, rows=7)
function Monitor:__pretty()
  local steps, shown = rawget(self, "_steps"), {{"source", require "bdl.pretty".raw(class.typename(self._source))}}
  if #self:names() > 0 then shown[2] = {"variables", self:names()} end
  shown[#shown + 1] = {"rows", steps and core.record_size(steps) or 0}
  return shown
end

function Monitor:source() return rawget(self, "_source") end

function Monitor:join(sim)
  if rawget(self, "_sim") then
    core.hint "keep the simulation, sim = bdl.run(..), and go on with sim:run(..)"
    core.fail("ValueError", 3, "%s: it records another simulation", class.typename(self))
  end
  class.rawfield(self, "_sim", sim)
end

--- The step of the simulation, for times.
local function check_dt(self)
  local now, before = environ.peek "dt", rawget(self, "_dt")
  if before == nil then class.rawfield(self, "_dt", now) end
  if now == nil or before == nil or rawequal(now, before) then return end
  local ok, same = pcall(function()
    return tostring(now) == tostring(before) or core.item(core.mantissa(now / before)) == 1
  end)
  if not (ok and same) then
    core.fail("ValueError", 4, "%s: dt was %s when the recording began and is %s now", class.typename(self),
              tostring(before), tostring(now))
  end
end

function M.times(self, steps)
  local dt = rawget(self, "_dt")
  if dt == nil then
    core.hint "bdl.environ.set{dt = 0.1*u.ms} before the run; m.step counts steps"
    core.fail("KeyError", 3, "%s: dt was not set, there are no times", class.typename(self))
  end
  local unit = core.unit_of(dt)                  -- 0.1 and not the nearest float32: times have more digits than that
  local step = tonumber(core.text(core.is_tensor(dt) and core.mantissa(dt) or core.tensor(dt)))
  local t = core.bind("mul", {}, core.cast(steps, "float64"), core.tensor(step, "float64"))
  return unit and core.with_unit(t, unit) or t
end

--- A tensor of the type, for records and buffers: [rows, shape..].
function M.zeros(t, rows)
  return require "bdl.array".zeros(rows and {rows, table.unpack(t.shape)} or t.shape, {dtype = t.dtype})
end

local WIDTH = {bool = 1, int32 = 4, uint32 = 4, float32 = 4, int64 = 8, float64 = 8}

function M.bytes_of(t)
  local n = WIDTH[t.dtype]
  for _, m in ipairs(t.shape) do n = n * m end
  return n
end

local function same_type(a, b)
  return a.dtype == b.dtype and a.unit == b.unit and table.concat(a.shape, ",") == table.concat(b.shape, ",")
end

--- The types of the values, known before the first run, and the same in all.  Returns the bytes of a row.
function Monitor:prepare(types)
  check_dt(self)
  local before = rawget(self, "_types")
  for k, t in ipairs(types) do
    if before and not same_type(before[k], t) then
      local text = require "bdl.pretty".abstract
      core.hint "record what the model is now with a new monitor"
      core.fail("ShapeError", 4, "%s: it records %s, and the value is %s now", class.typename(self),
                text(before[k].dtype, before[k].shape, before[k].unit), text(t.dtype, t.shape, t.unit))
    end
  end
  local total = 0
  for _, t in ipairs(types) do total = total + M.bytes_of(t) end
  if before then return total end
  class.rawfield(self, "_types", types)
  local records = {}
  for k, t in ipairs(types) do records[k] = core.record(M.zeros(t)) end
  class.rawfield(self, "_records", records)
  class.rawfield(self, "_steps", core.record(core.tensor(0, "int64")))
  self:begin()
  return total
end

function Monitor:begin() end

--- Buffers for the rows of a chunk of steps.
function Monitor:make_buffers(chunk)
  local buffers = {}
  for k, t in ipairs(self._types) do
    buffers[k] = state.NonBatchState(M.zeros(t, chunk // (rawget(self, "_every") or 1) + 2))
  end
  class.rawfield(self, "_buffers", buffers)
end

--- In the trace: the values of step i go to their row.  first : the step that the chunk began with.  A step that is not
--  recorded writes too; its row is written again by the next one that is.
function Monitor:write(values, i, first)
  local every = rawget(self, "_every") or 1
  local function up(x)
    return every == 1 and x or core.bind("floordiv", {}, x + (every - 1), core.tensor(every, "int32"))
  end
  local row = up(i) - up(first)
  for k, x in ipairs(values) do
    local buffer = self._buffers[k]
    local starts = {row}
    for j = 1, x.ndim do starts[j + 1] = core.tensor(0, "int32") end
    local rows = core.bind("reshape", {shape = {1, table.unpack(x.shape)}}, core.mantissa(x))
    buffer.value = core.bind("dynamic_update_slice", {}, buffer.value, rows, table.unpack(starts))
  end
end

function M.handle(s) return rawget(s, "_handle") end

-- ---- files ----------------------------------------------------------------------------------------------------------

--- Until the result is called, what is recorded goes to arrays "key.name" of a writer of bdl.data at each flush, and
--  the records hold one chunk at most.  Files have plain numbers: the name ends with the unit.
function Monitor:spill(writer, key)
  local records, steps, arrays = table.move(self._records, 1, #self._records, 1, {}), self._steps, {}
  self:clear()
  for _, name in ipairs(self:columns()) do
    local unit = core.unit_of(self[name])
    local text = ("%s.%s"):format(key, name) .. (unit and (" (%s)"):format(tostring(unit):gsub("%s*/%s*", " per "))
                                                 or "")
    arrays[name] = writer:rows(text, M.zeros{dtype = self[name].dtype, shape = {table.unpack(self[name].shape, 2)}})
  end
  class.rawfield(self, "_arrays", arrays)
  return function()
    rawset(self, "_arrays", nil)
    rawset(self, "_records", records)
    rawset(self, "_steps", steps)
  end
end

--- Lua does not see how large the records are that it would collect: every so many bytes it is told.
local GARBAGE = 8 << 20

function Monitor:flush()
  local arrays, written = rawget(self, "_arrays"), rawget(self, "_written") or 0
  if not arrays then return end
  for _, name in ipairs(self:columns()) do
    local x = self[name]
    arrays[name]:add(core.mantissa(x))
    written = written + M.bytes_of(x)
  end
  self:clear()
  if written > GARBAGE then
    written = 0
    collectgarbage()
  end
  rawset(self, "_written", written)
end

--- An empty record of rows like those of x.
local function record_like(x) return core.record(M.zeros{dtype = x.dtype, shape = {table.unpack(x.shape, 2)}}) end

--- What a snapshot keeps, the rows so far: a function that gives the monitor just these again.
function Monitor:keep()
  if not rawget(self, "_records") then
    return function()
      if rawget(self, "_records") then self:clear() end
    end
  end
  local kept, steps = {}, core.record_tensor(self._steps)
  for k, record in ipairs(self._records) do kept[k] = core.record_tensor(record) end
  return function()
    self:clear()
    for k, x in ipairs(kept) do core.record_append(self._records[k], x, x.shape[1]) end
    core.record_append(self._steps, steps, steps.shape[1])
  end
end

--- Forgets what was recorded.
function Monitor:clear()
  if not rawget(self, "_records") then return end
  for k, record in ipairs(self._records) do self._records[k] = record_like(core.record_tensor(record)) end
  rawset(self, "_steps", record_like(core.record_tensor(self._steps)))
  rawset(self, "_full", nil)
end

-- ---- what is there --------------------------------------------------------------------------------------------------

function M.empty(self, who)
  if rawget(self, "_records") then return end
  core.hint "give it to bdl.Simulation(step, {monitors = {m}}) and run"
  core.fail("ValueError", 3, "%s: nothing was recorded yet (%s)", class.typename(self), who)
end

local function steps(self)
  M.empty(self, "step")
  return core.record_tensor(self._steps)
end

--- step : number of the step of each row or event;  t : its time.
Monitor.fields = {step = steps, t = function(self) return M.times(self, steps(self)) end}

return M

--- Simulation: a model run step by step in compiled loops, with monitors that record it.
--
--   local sim = bdl.Simulation(function(i) net(20*u.mA) end, {monitors = {spikes, trace}})
--   sim:run(1000*u.ms)                             -- goes on where the last run ended
--   bdl.run(step, 1000*u.ms, {monitors = ..})      -- both
--
-- The loop runs in chunks of as many steps as the buffers of the monitors hold, without Lua inside of a chunk.  The
-- clock and the buffers are States that the loop writes beside those of the model; so a run that is stopped keeps every
-- whole step.

local core = require "bdl.core"
local class = require "bdl.class"
local compile = require "bdl.compile"
local environ = require "bdl.environ"
local base = require "bdl.monitor.base"
local none = require "bdl.none".none
local progress = require "bdl.progress"
local reach = require "bdl.reach"
local sources = require "bdl.monitor.sources"
local state = require "bdl.state"
local trap = require "bdl.trap"
local util = require "bdl.util"

-- The rows of a chunk stay in the cache; an error takes one chunk back at most.
local CHUNK_BYTES, CHUNK_STEPS = 1 << 20, 1 << 16
local LAST_STEP = 2^31 - 1 - (1 << 20)           -- the clock is an int32

--- A model run step by step in compiled loops, with monitors that record it: sim:run(1*u.second).
--  step : function(i), i the number of the step, from 0 (int32); in it environ has i and t = i*dt too
--  monitors : a list, or a table of names that their arrays in files begin with
--  Example:
--    local s = bdl.State(0)
--    local sim = bdl.Simulation(function(i) s.value = s.value + i end)
--    print(sim:run(10).i, s.value)
local Simulation = class "Simulation"

function Simulation:__init(...)
  local a = require "bdl.args"({"step", monitors = {}}, ...)
  if type(a.step) ~= "function" then
    core.hint "write function(i) net(input) end"
    core.fail("TypeError", 2, "Simulation: the step is a function of its number, not a %s", class.typename(a.step))
  end
  if type(a.monitors) ~= "table" or getmetatable(a.monitors) then
    core.fail("TypeError", 2, "Simulation: monitors are a list or a table of names, not a %s",
              class.typename(a.monitors))
  end
  local list, keys = {}, util.sorted_keys(a.monitors)
  for k, key in ipairs(keys) do
    list[k] = a.monitors[key]
    if not class.isa(list[k], base.Monitor) then
      core.fail("TypeError", 2, "Simulation: a monitor is needed, not a %s", class.typename(list[k]))
    end
    list[k]:join(self)
  end
  self.monitors = list
  class.rawfield(self, "_keys", keys)
  class.rawfield(self, "_step", a.step)
  class.rawfield(self, "_clock", state.NonBatchState(core.tensor(0, "int32"), {name = "clock"}))
end

--- i : steps done;  t : the time that they took.
function Simulation:__index(key)
  if key == "i" then return core.item(rawget(self, "_clock").value) end
  if key == "t" then return self.i * environ.get "dt" end
  return class.method(self, key)
end

function Simulation:__pretty() return {{"i", self.i}, {"monitors", self.monitors}} end

-- ---- the step -------------------------------------------------------------------------------------------------------

local function times(i, dt) return dt ~= nil and {i = i, t = i * dt} or {i = i} end

--- One step and what the monitors read of it: a list of values for each.
local function observed_step(self, i)
  local heard <close> = sources.listen(self.monitors)
  local results = table.pack(environ.context(times(i, environ.peek "dt"), self._step, i))
  local values = {}
  for k, m in ipairs(self.monitors) do values[k] = m:read(heard, results) end
  return values
end

--- Types of what is recorded and States that the step touches, by a trace; then the buffers and the loop.
local function prepare(self)
  local values
  local p = core.trace_function("Simulation", function(i)
    values = observed_step(self, i)
    local flat = {}
    for _, list in ipairs(values) do table.move(list, 1, #list, #flat + 1, flat) end
    return table.unpack(flat)
  end, {core.tensor(0, "int32")})
  local at, row_bytes = 0, 0
  for k, m in ipairs(self.monitors) do
    local types = {}
    for j = 1, #values[k] do
      types[j] = {dtype = p.types[at + j].dtype, shape = p.types[at + j].shape, unit = p.units[at + j] or nil}
    end
    at = at + #values[k]
    row_bytes = row_bytes + m:prepare(types)
  end
  local touched, ids = {}, {}
  for _, s in ipairs(p.states) do
    if not s.made then
      touched[#touched + 1] = state.of_id[s.id]
      ids[s.id] = true
    end
  end
  local chunk = math.max(1, math.min(CHUNK_STEPS, CHUNK_BYTES // math.max(row_bytes, 1)))
  for _, m in ipairs(self.monitors) do m:make_buffers(chunk) end
  local clock = self._clock
  local function run(first, stop)
    compile.while_loop(function() return core.bind("lt", {}, clock.value, stop) end, function(carry)
      local i = clock.value
      local values_now = observed_step(self, i)
      for k, m in ipairs(self.monitors) do m:write(values_now[k], i, first) end
      clock.value = i + 1
      return carry
    end, core.tensor(0, "int32"))
  end
  local made_from = {self._step}
  for _, m in ipairs(self.monitors) do made_from[#made_from + 1] = m:source() end
  reach.made_from(run, table.unpack(made_from))
  class.rawfield(self, "_chunk", chunk)
  class.rawfield(self, "_states", touched)
  class.rawfield(self, "_places", reach.places(run, ids))
  class.rawfield(self, "_run", compile.jit(run))
end

local function ready(self)
  if core.tracing() then
    core.hint "inside of compiled code use bdl.for_loop, which returns what its function returns"
    core.fail("TraceContextError", 3, "Simulation: it runs compiled code of its own")
  end
  if not rawget(self, "_run") or not reach.unchanged(self._places) then prepare(self) end
end

--- Every State that the step reads or writes, and the clock.
function Simulation:states()
  ready(self)
  local list = table.move(self._states, 1, #self._states, 1, {})
  list[#list + 1] = self._clock
  return list
end

--- The same by the paths that lead to them from the step, "net.N.V"; others by their names.
function Simulation:named_states()
  local list, ids, map = self:states(), {}, util.FlattedDict()
  for _, s in ipairs(list) do ids[core.state_id(rawget(s, "_handle"))] = true end
  local known = reach.paths(reach.places(self._step, ids))
  for k, s in ipairs(list) do
    local path = known[s] or s.name
    if not path or map:get(path) ~= nil then path = ("states[%d]"):format(k) end
    map[path] = s
  end
  return map
end

-- ---- running --------------------------------------------------------------------------------------------------------

--- Whole steps of a duration: a time, or an integer, which counts steps.
local function steps_of(who, duration)
  local n = duration
  if math.type(duration) ~= "integer" then
    if type(duration) ~= "number" and not (core.is_tensor(duration) and duration.size == 1
                                           and not core.is_traced(duration)) then
      core.fail("TypeError", 3, "%s: a duration is a time or a whole number of steps, not a %s", who,
                class.typename(duration))
    end
    local dt = environ.get "dt"
    local ratio = duration / dt
    if core.is_tensor(ratio) and core.unit_of(ratio) then
      core.fail("UnitMismatchError", 3, "%s: a duration in <%s> for steps in <%s>", who,
                tostring(core.unit_of(duration) or 1),
                tostring(core.unit_of(dt) or 1))
    end
    ratio = core.is_tensor(ratio) and core.item(ratio) or ratio
    if ratio ~= ratio or math.abs(ratio) > LAST_STEP
      or math.abs(ratio - math.floor(ratio + 0.5)) > 1e-5 * math.max(1, math.abs(ratio)) then
      core.fail("ValueError", 3, "%s: %s is no whole number of steps of %s", who, tostring(duration), tostring(dt))
    end
    n = math.floor(ratio + 0.5)
  end
  if n < 0 then core.fail("ValueError", 3, "%s: a duration is >= 0, not %s", who, tostring(duration)) end
  return n
end

--- Raises at the step from `first` on that makes a NaN; the monitors get the steps before it.
local function stop_at_nan(self, states, kept, first)
  trap.raise(self._step, states, kept, first,
             function(i) self._run(core.tensor(first, "int32"), core.tensor(i + 1, "int32")) end,
             function(i) return observed_step(self, i) end, function(i)
    for _, m in ipairs(self.monitors) do
      m:take(first, i)
      m:flush()
    end
  end)
end

--- Chunks from the step that the clock shows to `last`.
local function advance(self, last, begin)
  local clock = self._clock
  local trapped = self._trap and self:states()
  for _, m in ipairs(self.monitors) do m:reserve(begin, last) end
  while self.i < last do
    local first = self.i
    local stop = math.min(first + self._chunk, last)
    if self._bar then self._bar:at(first) end
    local kept = trapped and trap.keep(trapped)
    local ok, e = pcall(self._run, core.tensor(first, "int32"), core.tensor(stop, "int32"))
    local now = self.i
    if kept and trap.find(trapped) then stop_at_nan(self, trapped, kept, first) end
    if ok and now == first then                  -- traced only, bdl check: nothing runs
      now = stop
      clock.value = core.tensor(stop, "int32")
    end
    for _, m in ipairs(self.monitors) do
      m:take(first, now)
      m:flush()
    end
    if not ok then
      if type(e) == "table" and e.kind == "InterruptError" then
        local text = "interrupted after %d of %d steps; the States and the monitors are those after the last of them"
        e.message = text:format(now - begin, last - begin)
      end
      error(e, 0)
    end
  end
end

--- The same with what is recorded in a file, which has what there is also after an error.
local function advance_to(self, path, last, begin)
  local writer = require "bdl.data".writer(path)
  local back = {}
  local ok, e = pcall(function()
    for k, m in ipairs(self.monitors) do back[k] = m:spill(writer, tostring(self._keys[k])) end
    local dt = environ.peek "dt"
    local unit = dt ~= nil and core.unit_of(dt)
    if dt ~= nil then
      writer:put(unit and ("dt (%s)"):format(tostring(unit)) or "dt", core.is_tensor(dt) and core.mantissa(dt) or dt)
    end
    advance(self, last, begin)
  end)
  for _, f in ipairs(back) do f() end
  local closed, why = pcall(writer.close, writer)
  if not ok then error(e, 0) end
  if not closed then error(why, 0) end
end

--- duration : a time, or an integer, which counts steps.  Returns self.
--  opts : pbar, true or a name for the line of progress;  to, a path .npz: what is recorded goes there and not into
--  memory, the arrays of a monitor under its name: "spikes.i", "spikes.step", "trace.V (mV)";  debug_nan, true: the
--  first NaN in a State is an error that says which step and operation made it, at its line, and what the State was in
--  the steps before.
--  Ctrl-C raises InterruptError between two steps: the model, the clock and the monitors are those of the last whole
--  step.  Another error leaves them as they were before its chunk.
function Simulation:run(...)
  local a = require "bdl.args"({[0] = "Simulation:run", "duration", pbar = none, to = none, debug_nan = false}, ...)
  local n = steps_of("Simulation:run", a.duration)
  ready(self)
  local begin = self.i
  local last = begin + n
  if last > LAST_STEP then
    core.fail("ValueError", 2, "Simulation: %d steps are more than the clock counts, %d", last, LAST_STEP)
  end
  local bar <close> = progress.part(a.pbar, begin, last)
  rawset(self, "_bar", bar)
  rawset(self, "_trap", a.debug_nan)
  if a.to ~= nil then advance_to(self, a.to, last, begin) else advance(self, last, begin) end
  return self
end

--- Memory that the monitors take for a run of that duration from now on, in bytes; for events the most that they may.
function Simulation:bytes(duration)
  local n = steps_of("Simulation:bytes", duration)
  ready(self)
  local first, total = self.i, 0
  for _, m in ipairs(self.monitors) do total = total + m:bytes(first, first + n) end
  return total
end

local M = {Simulation = Simulation}

--- Simulation(step, {monitors =}):run(duration, {pbar =, to =, debug_nan =})
--  Example:
--    local s = bdl.State(0)
--    bdl.run(function(i) s.value = s.value + i end, 10)
--    print(s.value)
function M.run(step, duration, opts)
  local a = require "bdl.args"({[0] = "run", monitors = {}, pbar = none, to = none, debug_nan = false}, opts or {})
  return Simulation(step, {monitors = a.monitors}):run(duration, {pbar = a.pbar, to = a.to, debug_nan = a.debug_nan})
end

return M

--- Monitors: what a Simulation records, in memory or streamed to a file.
--
--   StateMonitor(net.N, {"V", "w"}, {record = ids, every = 10})    values:  m.V [rows, n], m.t, m.step
--   SpikeMonitor(net.N)                                            events:  m.i (from 0), m.t, m.step, m.count, m:spike_trains()
--   RateMonitor(net.N)                                             rates:   m.rate [steps] Hz, m.t, m:smooth_rate{width = 10*u.ms}
--
-- A source is a module, a State, or a function of what the step returned, which is called at the end of each step.  Rows carry the
-- number of their step i, as an integer, and the time i*dt that the step saw.  Memory: rows of a StateMonitor are reserved before
-- a run, which fails there or not at all; events grow as they come, up to `most`, and one more is an error.

local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local environ = require "bdl.environ"
local graph = require "bdl.graph"
local none = require "bdl.none".none
local rest = require "bdl.none".rest
local state = require "bdl.state"
local suggest = require "bdl.suggest"
local units = require "bdl.units"

local M = {}

-- ---- sources -----------------------------------------------------------------------------------------------------------

local function is_module(x) return class.isa(x, require "bdl.nn.module".Module) end

--- Collects what the modules that monitors listen to return, while the step is traced: module -> list.  Closes to silence.
function M.listen(monitors)
  local heard, silence = {}, {}
  for _, m in ipairs(monitors) do
    local module = m:listens_to()
    if module and not heard[module] then
      local update, own = module.update, rawget(module, "update")
      local list = {}
      heard[module] = list
      rawset(module, "update", function(...)
        local results = table.pack(update(...))
        list[#list + 1] = results[1]
        return table.unpack(results, 1, results.n)
      end)
      silence[#silence + 1] = function() rawset(module, "update", own) end
    end
  end
  return setmetatable(heard, {__close = function()
    for _, f in ipairs(silence) do f() end
  end})
end

local function check_source(who, x)
  if type(x) ~= "function" and not class.isa(x, state.State) and not class.isa(x, graph.Node) then
    core.hint "a function without arguments can give any value"
    core.fail("TypeError", 4, "%s: a source is a module, a State or a function, not a %s", who, class.typename(x))
  end
  return x
end

--- What a source that is no module gives.
local function value_of(who, source, results)
  local x
  if type(source) == "function" then x = source(table.unpack(results, 1, results.n)) else x = source.value end
  if type(x) == "number" or type(x) == "boolean" then x = core.tensor(x) end
  if not core.is_tensor(x) then core.fail("TypeError", 4, "%s: the source gave a %s, not a tensor", who, class.typename(x)) end
  return x
end

--- What the module returned in this step.
local function output_of(who, module, heard)
  local list = heard[module]
  if #list ~= 1 then
    core.hint "record a function of what the step returns"
    core.fail("ValueError", 4, "%s: %s was called %d times in the step", who, class.typename(module), #list)
  end
  if not core.is_tensor(list[1]) then
    core.fail("TypeError", 4, "%s: %s returned a %s, not a tensor", who, class.typename(module), class.typename(list[1]))
  end
  return list[1]
end

local function positive(who, name, x)
  if math.type(x) ~= "integer" or x < 1 then
    core.fail("ValueError", 4, "%s: %s is a whole number from 1, not %s", who, name, tostring(x))
  end
  return x
end

-- ---- what all share ------------------------------------------------------------------------------------------------------

--- What monitors share: step and t of the rows or events, clear, streams to files.
local Monitor = class "Monitor"
M.Monitor = Monitor

--- Fields of the recording come through `read_field`; what a monitor does not have is an error that says what it has.
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
  core.fail("KeyError", 2, "%s has no field '%s'%s; have %s", class.typename(self), key, suggest.hint(key, names), table.concat(names, ", "))
end

function Monitor:recorded() end
function Monitor:names() return {} end
function Monitor:listens_to() end

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
  local ok, same = pcall(function() return tostring(now) == tostring(before) or core.item(core.mantissa(now / before)) == 1 end)
  if not (ok and same) then
    core.fail("ValueError", 4, "%s: dt was %s when the recording began and is %s now", class.typename(self), tostring(before), tostring(now))
  end
end

local function times(self, steps)
  local dt = rawget(self, "_dt")
  if dt == nil then
    core.hint "bdl.environ.set{dt = 0.1*u.ms} before the run; m.step counts steps"
    core.fail("KeyError", 3, "%s: dt was not set, there are no times", class.typename(self))
  end
  local unit = core.unit_of(dt)                  -- 0.1 and not the nearest float32: the times have more digits than that
  local step = tonumber(core.text(core.is_tensor(dt) and core.mantissa(dt) or core.tensor(dt)))
  local t = core.bind("mul", {}, core.cast(steps, "float64"), core.tensor(step, "float64"))
  return unit and core.with_unit(t, unit) or t
end

--- A tensor of the type, for records and buffers: [rows, shape..].
local function zeros(t, rows)
  return require "bdl.array".zeros(rows and {rows, table.unpack(t.shape)} or t.shape, {dtype = t.dtype})
end

local WIDTH = {bool = 1, int32 = 4, uint32 = 4, float32 = 4, int64 = 8, float64 = 8}

local function bytes_of(t)
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
  for _, t in ipairs(types) do total = total + bytes_of(t) end
  if before then return total end
  class.rawfield(self, "_types", types)
  local records = {}
  for k, t in ipairs(types) do records[k] = core.record(zeros(t)) end
  class.rawfield(self, "_records", records)
  class.rawfield(self, "_steps", core.record(core.tensor(0, "int64")))
  self:begin()
  return total
end

function Monitor:begin() end

--- Buffers for the rows of a chunk of steps.
function Monitor:make_buffers(chunk)
  local buffers = {}
  for k, t in ipairs(self._types) do buffers[k] = state.NonBatchState(zeros(t, chunk // (rawget(self, "_every") or 1) + 2)) end
  class.rawfield(self, "_buffers", buffers)
end

--- In the trace: the values of step i go to their row.  first : the step that the chunk began with.  A step that is not recorded
--  writes too; its row is written again by the next one that is.
function Monitor:write(values, i, first)
  local every = rawget(self, "_every") or 1
  local function up(x) return every == 1 and x or core.bind("floordiv", {}, x + (every - 1), core.tensor(every, "int32")) end
  local row = up(i) - up(first)
  for k, x in ipairs(values) do
    local buffer = self._buffers[k]
    local starts = {row}
    for j = 1, x.ndim do starts[j + 1] = core.tensor(0, "int32") end
    local rows = core.bind("reshape", {shape = {1, table.unpack(x.shape)}}, core.mantissa(x))
    buffer.value = core.bind("dynamic_update_slice", {}, buffer.value, rows, table.unpack(starts))
  end
end

local function handle(s) return rawget(s, "_handle") end

-- ---- files ---------------------------------------------------------------------------------------------------------------

--- Until the result is called, what is recorded goes to arrays "key.name" of a writer of bdl.data at each flush, and the records
--  hold one chunk at most.  Files have plain numbers: the name ends with the unit.
function Monitor:spill(writer, key)
  local records, steps, arrays = table.move(self._records, 1, #self._records, 1, {}), self._steps, {}
  self:clear()
  for _, name in ipairs(self:columns()) do
    local unit = core.unit_of(self[name])
    local text = ("%s.%s"):format(key, name) .. (unit and (" (%s)"):format(tostring(unit):gsub("%s*/%s*", " per ")) or "")
    arrays[name] = writer:rows(text, zeros{dtype = self[name].dtype, shape = {table.unpack(self[name].shape, 2)}})
  end
  class.rawfield(self, "_arrays", arrays)
  return function()
    rawset(self, "_arrays", nil)
    rawset(self, "_records", records)
    rawset(self, "_steps", steps)
  end
end

function Monitor:flush()
  local arrays = rawget(self, "_arrays")
  if not arrays then return end
  for _, name in ipairs(self:columns()) do arrays[name]:add(core.mantissa(self[name])) end
  self:clear()
end

--- An empty record of rows like those of x.
local function record_like(x) return core.record(zeros{dtype = x.dtype, shape = {table.unpack(x.shape, 2)}}) end

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

-- ---- what is there -------------------------------------------------------------------------------------------------------

local function empty(self, who)
  if rawget(self, "_records") then return end
  core.hint "give it to bdl.Simulation(step, {monitors = {m}}) and run"
  core.fail("ValueError", 3, "%s: nothing was recorded yet (%s)", class.typename(self), who)
end

local function steps(self)
  empty(self, "step")
  return core.record_tensor(self._steps)
end

--- step : number of the step of each row or event;  t : its time.
Monitor.fields = {step = steps, t = function(self) return times(self, steps(self)) end}

-- ---- values --------------------------------------------------------------------------------------------------------------

--- Values of States at every n-th step: m.V [rows, n], m.t, m.step.
--  source    : a module or Node, with `variables`: a name or a list of names of its States; or a State, or a function, with a name.
--  record    : what of each value, as in x[record]; the whole of it.      every : record steps 0, every, 2 every, ..
local StateMonitor = Monitor:extend "StateMonitor"
M.StateMonitor = StateMonitor

local function rows_in(first, last, every) return (last + every - 1) // every - (first + every - 1) // every end

function StateMonitor:__init(...)
  local a = args({"source", "variables", variables = none, record = none, every = 1}, ...)
  local source = check_source("StateMonitor", a.source)
  local names = type(a.variables) == "table" and a.variables or {a.variables}
  local sources = {}
  if class.isa(source, graph.Node) then
    if #names == 0 then
      core.hint "StateMonitor(neurons, {\"V\"})"
      core.fail("ValueError", 2, "StateMonitor: which States of %s?", class.typename(source))
    end
    for k, name in ipairs(names) do
      if type(name) ~= "string" then core.fail("TypeError", 2, "StateMonitor: a variable is a name, not a %s", class.typename(name)) end
      sources[k] = function() return self:field_of(source, name) end
    end
  elseif #names > 1 then
    core.fail("ValueError", 2, "StateMonitor: a %s has one value, not %d", class.typename(source), #names)
  else
    names[1] = names[1] or class.isa(source, state.State) and source.name or "value"
    sources[1] = source
  end
  for _, name in ipairs(names) do
    if class.method(self, name) ~= nil or StateMonitor.fields[name] then
      core.hint "record a function, StateMonitor(function() return x.value end, \"name\")"
      core.fail("ValueError", 2, "StateMonitor: the name '%s' is taken", name)
    end
  end
  class.rawfield(self, "variables", names)
  class.rawfield(self, "_source", source)
  class.rawfield(self, "_sources", sources)
  class.rawfield(self, "_record", a.record)
  class.rawfield(self, "_every", positive("StateMonitor", "every", a.every))
end

--- The State `name` of a Node; looked up in each trace, for Nodes get new ones.
function StateMonitor:field_of(node, name)
  local s = node[name]
  if class.isa(s, state.State) then return s.value end
  if core.is_tensor(s) then return s end
  local known = {}
  for path in graph.states(node):items() do known[#known + 1] = path end
  if s ~= nil then core.fail("TypeError", 3, "StateMonitor: '%s' of %s is a %s, no State", name, class.typename(node), class.typename(s)) end
  core.fail("KeyError", 3, "StateMonitor: %s has no State '%s'%s", class.typename(node), name,
            #known > 0 and suggest.hint(name, known) or "; init_all_states makes them")
end

function StateMonitor:read(_, results)
  local values = {}
  for k, source in ipairs(self._sources) do
    local x = value_of("StateMonitor", source, results)
    if self._record ~= nil then x = x[self._record] end
    values[k] = x
  end
  return values
end

function StateMonitor:reserve(first, last)
  if rawget(self, "_arrays") then return end
  local n = rows_in(first, last, self._every)
  for _, record in ipairs(self._records) do core.record_reserve(record, core.record_size(record) + n) end
  core.record_reserve(self._steps, core.record_size(self._steps) + n)
end

function StateMonitor:bytes(first, last)
  local row = 8
  for _, t in ipairs(self._types) do row = row + bytes_of(t) end
  return row * rows_in(first, last, self._every)
end

--- Rows of the steps first .. last - 1 are in the buffers.
function StateMonitor:take(first, last)
  local every = self._every
  local n = rows_in(first, last, every)
  if n == 0 then return end
  for k, record in ipairs(self._records) do core.record_append(record, handle(self._buffers[k]), n) end
  local row = (first + every - 1) // every
  core.record_append(self._steps, core.bind("mul", {}, core.bind("iota", {shape = {n}, axis = 0, dtype = "int64"}) + row, core.tensor(every, "int64")), n)
end

function StateMonitor:names() return table.move(self.variables, 1, #self.variables, 1, {}) end

function StateMonitor:columns()
  local names = self:names()
  names[#names + 1] = "step"
  return names
end

function StateMonitor:recorded(name)
  for k, known in ipairs(self.variables) do
    if known == name then
      empty(self, name)
      local x, unit = core.record_tensor(self._records[k]), self._types[k].unit
      return unit and core.with_unit(x, unit) or x
    end
  end
end

-- ---- populations ---------------------------------------------------------------------------------------------------------

--- What is true or > 0, as bool [lanes.., population..]; and the number of axes of lanes.
local function spikes_of(self, heard, results)
  local source, who = self._source, class.typename(self)
  local x, lanes
  if is_module(source) then
    x = output_of(who, source, heard)
    local size = source.varshape or source.out_size
    lanes = size and x.ndim - #size or 0
  else
    x = value_of(who, source, results)
    lanes = 0
  end
  lanes = rawget(self, "_lanes") or lanes
  if lanes < 0 or lanes > x.ndim then
    core.fail("ShapeError", 3, "%s: %d axes of lanes for a value [%s]", who, lanes, table.concat({table.unpack(x.shape)}, ","))
  end
  if x.dtype ~= "bool" then x = core.bind("gt", {}, core.mantissa(x), core.tensor(0, x.dtype)) end
  return x, lanes
end

local function in_front(record, lanes)
  if lanes == 0 then return record end
  local list = type(record) == "table" and getmetatable(record) == nil and record or {record}
  local index = {}
  for k = 1, lanes do index[k] = {} end
  return table.move(list, 1, #list, lanes + 1, index)
end

local function size_of(shape, first)
  local n = 1
  for k = first, #shape do n = n * shape[k] end
  return n
end

local function population(self, ...)
  local a = args(self.spec, ...)
  class.rawfield(self, "_source", check_source(class.typename(self), a.source))
  class.rawfield(self, "_record", a.record)
  if a.lanes ~= nil and (math.type(a.lanes) ~= "integer" or a.lanes < 0) then
    core.fail("ValueError", 4, "%s: lanes are a number of axes, not %s", class.typename(self), tostring(a.lanes))
  end
  class.rawfield(self, "_lanes", a.lanes)
  return a
end

local function read_population(self, heard, results)
  local x, lanes = spikes_of(self, heard, results)
  local shape = {table.unpack(x.shape)}
  if self._record ~= nil then x = x[in_front(self._record, lanes)] end
  class.rawfield(self, "_shape", shape)
  class.rawfield(self, "_axes", lanes)
  return x, lanes
end

-- ---- events --------------------------------------------------------------------------------------------------------------

--- Spikes as a list of events: m.i (ids from 0), m.t, m.step, m.count, m:spike_trains().
--  source : a module, of which it takes what its call returns; a State, or a function.  An element that is true or > 0 is an event.
--  record : which elements, as in x[record]; ids stay those of the whole.   most : events that may be held, 12 bytes each.
--  lanes  : axes in front that are lanes, not the population; of modules they are known.
local SpikeMonitor = Monitor:extend "SpikeMonitor"
M.SpikeMonitor = SpikeMonitor

SpikeMonitor.spec = {[0] = "SpikeMonitor", "source", record = none, most = 1 << 24, lanes = none}

function SpikeMonitor:__init(...)
  local a = population(self, ...)
  class.rawfield(self, "_most", positive("SpikeMonitor", "most", a.most))
end

function SpikeMonitor:listens_to() return is_module(self._source) and self._source or nil end

function SpikeMonitor:read(heard, results) return {(read_population(self, heard, results))} end

function SpikeMonitor:begin() self._records[1] = core.record(core.tensor(0, "int32")) end

function SpikeMonitor:reserve() end

function SpikeMonitor:bytes(first, last)
  local held = core.record_size(self._steps)
  return 12 * math.min(self._most - held, (last - first) * size_of(self._types[1].shape, 1))
end

function SpikeMonitor:take(first, last)
  if rawget(self, "_full") then core.fail("BudgetError", 3, "%s", self._full) end
  local ok, e = pcall(core.record_events, self._steps, self._records[1], handle(self._buffers[1]), last - first, first, self._most)
  if ok then return end
  if e.kind == "BudgetError" then
    class.rawfield(self, "_full", ("SpikeMonitor: %s; it keeps those of the steps before"):format(e.message))
    core.hint "give it most = .., or record a part of the population"
    core.fail("BudgetError", 3, "%s", self._full)
  end
  error(e, 0)
end

function SpikeMonitor:columns() return self._axes > 0 and {"i", "lane", "step"} or {"i", "step"} end

--- Flat ids of the events, from 0, in what was recorded: a lane, then an element of the population.
local function places(self)
  empty(self, "i")
  local flat = core.record_tensor(self._records[1])
  local n = size_of(self._types[1].shape, self._axes + 1)
  return core.bind("floordiv", {}, flat, core.tensor(n, "int32")), core.bind("mod", {}, flat, core.tensor(n, "int32"))
end

--- Ids in the whole population of the elements that are recorded.
local function ids(self)
  local shape = {table.unpack(self._shape, self._axes + 1)}
  local n = size_of(shape, 1)
  local all = core.bind("reshape", {shape = shape}, core.bind("iota", {shape = {n}, axis = 0, dtype = "int32"}))
  if self._record ~= nil then all = all[self._record] end
  return core.bind("reshape", {shape = {all.size}}, all), n
end

local function id(self)
  local _, element = places(self)
  if self._record == nil then return element end
  return core.bind("gather", {axis = 0}, (ids(self)), element)
end

--- i : ids, from 0;  lane : lanes, from 0;  n : events so far;  count : events of each, [lanes.., population..].
SpikeMonitor.fields = setmetatable({
  i = id,
  lane = function(self) return (places(self)) end,
  n = function(self) return rawget(self, "_steps") and core.record_size(self._steps) or 0 end,
  count = function(self)
    local lane, _ = places(self)
    local n = size_of(self._shape, self._axes + 1)
    local flat = core.bind("add", {}, core.bind("mul", {}, lane, core.tensor(n, "int32")), id(self))
    local total = require "bdl.array".bincount(flat, {length = size_of(self._shape, 1)})
    return core.bind("reshape", {shape = self._shape}, total)
  end,
}, {__index = Monitor.fields})

--- For a picture: the step and the row of each event, the rows, the steps.  A row is an element that is recorded.
function SpikeMonitor:raster_points()
  local lanes, elements = places(self)
  local n = size_of(self._types[1].shape, self._axes + 1)
  local rows = core.bind("add", {}, core.bind("mul", {}, lanes, core.tensor(n, "int32")), elements)
  return core.totable(core.record_tensor(self._steps)), core.totable(rows), size_of(self._types[1].shape, 1), self._sim.i
end

--- List of the spike times of each element: trains[k] are those of id k - 1.  lane : from 1, where there are lanes.
function SpikeMonitor:spike_trains(lane)
  local lanes, elements = places(self)
  local n_lanes = size_of(self._shape, 1) // math.max(1, size_of(self._shape, self._axes + 1))
  if lane == nil and n_lanes > 1 then
    core.fail("ValueError", 2, "spike_trains: which of %d lanes? spike_trains(1)", n_lanes)
  end
  lane = lane or 1
  if math.type(lane) ~= "integer" or lane < 1 or lane > n_lanes then
    core.fail("IndexError", 2, "spike_trains: lane %s of %d", tostring(lane), n_lanes)
  end
  local here = core.bind("eq", {}, lanes, core.tensor(lane - 1, "int32"))
  local known, n = ids(self)
  local member, of = {}, {}
  for _, k in ipairs(core.totable(known)) do member[k] = {} end
  local step, element, is_here = core.totable(core.record_tensor(self._steps)), core.totable(elements), core.totable(here)
  of = core.totable(known)
  for e = 1, #step do
    if is_here[e] then
      local train = member[of[element[e] + 1]]
      train[#train + 1] = step[e]
    end
  end
  local trains = {}
  for k = 0, n - 1 do
    if member[k] then trains[k + 1] = times(self, #member[k] > 0 and core.tensor(member[k], "int64") or zeros({shape = {0}, dtype = "int64"})) end
  end
  return trains
end

-- ---- rates ---------------------------------------------------------------------------------------------------------------

--- The rate of a population: spikes in a step, over its size and dt.  Arguments as of SpikeMonitor.
local RateMonitor = Monitor:extend "RateMonitor"
M.RateMonitor = RateMonitor

RateMonitor.spec = {[0] = "RateMonitor", "source", record = none, lanes = none}

function RateMonitor:__init(...) population(self, ...) end

function RateMonitor:listens_to() return is_module(self._source) and self._source or nil end

function RateMonitor:read(heard, results)
  local x, lanes = read_population(self, heard, results)
  class.rawfield(self, "size", size_of(x.shape, lanes + 1))
  local axes = {}
  for k = lanes, x.ndim - 1 do axes[#axes + 1] = k end
  return {core.bind("reduce_sum", {axes = axes}, core.cast(x, "int32"))}
end

RateMonitor.reserve, RateMonitor.bytes, RateMonitor.take = StateMonitor.reserve, StateMonitor.bytes, StateMonitor.take
RateMonitor._every = 1

function RateMonitor:columns() return {"count", "step"} end

local function counts(self)
  empty(self, "rate")
  return core.record_tensor(self._records[1])
end

--- spikes a step -> Hz, or the inverse of dt where that is a plain number.
local function to_rate(self, x)
  local dt = self._dt
  if dt == nil then times(self) end
  local rate = x / (dt * self.size)
  return core.unit_of(rate) and core.convert(rate, units.Hz) or rate
end

--- count : spikes of each step [steps, lanes..];  rate : [steps, lanes..]
RateMonitor.fields = setmetatable({
  count = counts,
  rate = function(self) return to_rate(self, core.cast(counts(self), "float32")) end,
}, {__index = Monitor.fields})

--- The rate over time in a window of that width: "gaussian" (its standard deviation, cut at 4) or "flat".
function RateMonitor:smooth_rate(...)
  local a = args({[0] = "RateMonitor:smooth_rate", "width", window = "gaussian"}, ...)
  local dt = self._dt
  if dt == nil then times(self) end
  local ok, ratio = pcall(function() return a.width / dt end)
  ratio = ok and (core.is_tensor(ratio) and not core.unit_of(ratio) and core.item(ratio) or type(ratio) == "number" and ratio) or nil
  if not ratio or not (ratio > 0) then
    core.fail("ValueError", 2, "smooth_rate: the width is a time > 0, not %s", tostring(a.width))
  end
  local half, weight
  if a.window == "gaussian" then
    half = math.ceil(4 * ratio)
    weight = function(k) return math.exp(-0.5 * (k / ratio)^2) end
  elseif a.window == "flat" then
    half = math.max(0, math.floor(0.5 * ratio))
    weight = function() return 1 end
  else
    core.fail("ValueError", 2, "smooth_rate: the window is 'gaussian' or 'flat', not '%s'", tostring(a.window))
  end
  local x, w = core.totable(counts(self)), {}
  for k = -half, half do w[k] = weight(k) end
  if type(x[1]) == "table" then core.fail("NotSupportedError", 2, "smooth_rate: the rates have lanes; smooth each by itself") end
  local smooth = {}
  for k = 1, #x do                               -- at the ends over what there is
    local total, norm = 0, 0
    for j = math.max(-half, 1 - k), math.min(half, #x - k) do total, norm = total + w[j] * x[k + j], norm + w[j] end
    smooth[k] = total / norm
  end
  return to_rate(self, core.tensor(smooth, "float32"))
end

return class.qualify(M, "monitor")

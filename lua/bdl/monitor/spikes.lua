--- SpikeMonitor: spikes as events.
local core = require "bdl.core"
local class = require "bdl.class"
local none = require "bdl.none".none
local base = require "bdl.monitor.base"
local population = require "bdl.monitor.population"
local sources = require "bdl.monitor.sources"

local Monitor, empty, handle, times, zeros = base.Monitor, base.empty, base.handle, base.times, base.zeros
local size_of = population.size_of

--- Spikes as a list of events: m.i (ids from 0), m.t, m.step, m.count, m:spike_trains().
--  source : a module, of which it takes what its call returns; a State, or a function.  An element that is true or > 0
--  is an event.
--  record : which elements, as in x[record]; ids stay those of the whole.   most : events that may be held, 12 bytes
--  each.
--  lanes  : axes in front that are lanes, not the population; of modules they are known.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.LIF(3))
--    local m = bdl.monitor.SpikeMonitor(cells)
--    bdl.Simulation(function(i) cells(30*bdl.units.mA) end, {monitors = {m}}):run(5*bdl.units.ms)
--    print(m.i, m.t, m.count)
local SpikeMonitor = Monitor:extend "SpikeMonitor"

SpikeMonitor.spec = {[0] = "SpikeMonitor", "source", record = none, most = 1 << 24, lanes = none}

function SpikeMonitor:__init(...)
  local a = population.init(self, ...)
  class.rawfield(self, "_most", sources.positive("SpikeMonitor", "most", a.most))
end

function SpikeMonitor:listens_to() return sources.is_module(self._source) and self._source or nil end

function SpikeMonitor:read(heard, results) return {(population.read(self, heard, results))} end

function SpikeMonitor:begin() self._records[1] = core.record(core.tensor(0, "int32")) end

function SpikeMonitor:reserve() end

function SpikeMonitor:bytes(first, last)
  local held = core.record_size(self._steps)
  return 12 * math.min(self._most - held, (last - first) * size_of(self._types[1].shape, 1))
end

function SpikeMonitor:take(first, last)
  if rawget(self, "_full") then core.fail("BudgetError", 3, "%s", self._full) end
  local ok, e = pcall(core.record_events, self._steps, self._records[1], handle(self._buffers[1]), last - first, first,
                      self._most)
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

--- For a picture: the step and the row of each event, the rows, the steps, dt or nil.  A row is an element that is recorded.
function SpikeMonitor:raster_points()
  local lanes, elements = places(self)
  local n = size_of(self._types[1].shape, self._axes + 1)
  local rows = core.bind("add", {}, core.bind("mul", {}, lanes, core.tensor(n, "int32")), elements)
  local step = core.totable(core.record_tensor(self._steps))
  return step, core.totable(rows), size_of(self._types[1].shape, 1), self._sim.i, self._dt
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
  local member, of = {}, core.totable(known)
  for _, k in ipairs(of) do member[k] = {} end
  local step, element = core.totable(core.record_tensor(self._steps)), core.totable(elements)
  local is_here = core.totable(here)
  for e = 1, #step do
    if is_here[e] then
      local train = member[of[element[e] + 1]]
      train[#train + 1] = step[e]
    end
  end
  local trains = {}
  for k = 0, n - 1 do
    if member[k] then
      trains[k + 1] = times(self, #member[k] > 0 and core.tensor(member[k], "int64")
                            or zeros({shape = {0}, dtype = "int64"}))
    end
  end
  return trains
end

return {SpikeMonitor = SpikeMonitor}

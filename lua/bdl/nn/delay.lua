--- Delays: ring buffers of the last values, one row a step.
--
-- `history` [length, ..] and `write_ptr`, the row that is written next, are States: what is on its way is saved with them.  A
-- value read k steps back is row write_ptr - 1 - k, modulo the length: after the update of step i that is the value of step i - k.
-- Times are rounded up to whole steps of dt when States are made (window.lua), and are no shorter than one; dt must not
-- change afterwards.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local environ = require "bdl.environ"
local init = require "bdl.init"
local state = require "bdl.state"
local suggest = require "bdl.suggest"
local none = require "bdl.none".none
local module = require "bdl.nn.module"
local constants = require "bdl.nn.constants"
local window = require "bdl.nn.window"

local M = {}

local Module = module.Module
local NONE = {}

local keep = class.rawfield                       -- a field that copies of the module have, too

local function bind(prim, ...) return core.bind(prim, NONE, ...) end

-- ---- interpolation -------------------------------------------------------------------------------------------------------------

--- name -> f(at, t, s): the value s steps back;  at(k) is the row ceil(s) - k steps back, t = ceil(s) - s.
local methods = {}

--- Interpolations of delays by name: register(name, f), list_methods(), .. ; f(at, t, s) as "linear" is.
--  Example:
--    print(table.concat(bdl.nn.InterpolationRegistry.list_methods(), " "))
local InterpolationRegistry = {}
M.InterpolationRegistry = InterpolationRegistry

--- f(at, t, s) under a name that delays may be given.  Errors: KeyError, the name is taken; TypeError.
function InterpolationRegistry.register(name, f)
  if type(name) ~= "string" or type(f) ~= "function" then
    core.fail("TypeError", 2, "InterpolationRegistry.register takes a name and a function(at, t, s)")
  end
  if methods[name] then core.fail("KeyError", 2, "an interpolation '%s' is registered already", name) end
  methods[name] = f
end

--- Names, sorted.
function InterpolationRegistry.list_methods()
  local names = {}
  for name in pairs(methods) do names[#names + 1] = name end
  table.sort(names)
  return names
end

for name, f in pairs{
  nearest = function(at, _, s) return at(bind("ceil", s) - bind("round", s)) end,
  linear = function(at, t) return at(0) * (1 - t) + at(1) * t end,
  --- Catmull & Rom (1974).
  cubic = function(at, t)
    local t2, t3 = t * t, t * t * t
    return at(-1) * (t2 - 0.5 * t3 - 0.5 * t) + at(0) * (1.5 * t3 - 2.5 * t2 + 1) + at(1) * (2 * t2 - 1.5 * t3 + 0.5 * t)
      + at(2) * (0.5 * t3 - 0.5 * t2)
  end,
  --- Hermite's basis with slopes by central differences.
  hermite = function(at, t)
    local t2, t3 = t * t, t * t * t
    local before, after = 0.5 * (at(1) - at(-1)), 0.5 * (at(2) - at(0))
    return at(0) * (2 * t3 - 3 * t2 + 1) + before * (t3 - 2 * t2 + t) + at(1) * (3 * t2 - 2 * t3) + after * (t3 - t2)
  end,
  --- Lagrange's polynomials through three and four rows.
  polynomial2 = function(at, t)
    return at(-1) * (0.5 * t * (t - 1)) + at(0) * ((1 - t) * (1 + t)) + at(1) * (0.5 * t * (t + 1))
  end,
  polynomial3 = function(at, t)
    return at(-1) * (-t * (t - 1) * (t - 2) / 6) + at(0) * ((t + 1) * (t - 1) * (t - 2) / 2) + at(1) * (-t * (t + 1) * (t - 2) / 2)
      + at(2) * (t * (t + 1) * (t - 1) / 6)
  end,
} do
  InterpolationRegistry.register(name, f)
end

-- ---- the buffer ----------------------------------------------------------------------------------------------------------------

--- Values of the past:  delay:update(x) writes,  delay:at(name) reads a registered time.
--  target : a size, or an example whose shape, dtype and unit the values have
--  time : the longest delay read by step or time
--  entries : {name = time or {time, indices..}}
--  init : what is read from before the first update, a value or an initialiser of the shape [length, ..]; 0 where none
--    is given
--  interpolation : of times between steps: "linear", "nearest" (halves to even steps), "cubic", "hermite",
--    "polynomial2", "polynomial3", a registered name or function(at, t, s)
--  States: history, the last values; write_ptr, the row that is written next.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local delay = bdl.nn.init_all_states(bdl.nn.Delay(3, {entries = {late = 0.5*bdl.units.ms}}))
--    delay:update(bdl.ones(3))
--    print(delay:at "late")
local Delay = Module:extend "Delay"
M.Delay = Delay

local function check_interpolation(who, method)
  if type(method) ~= "function" and not methods[method] then
    local names = InterpolationRegistry.list_methods()
    core.fail("ValueError", 4, "%s: no interpolation '%s'%s; there are %s", who, tostring(method), suggest.hint(tostring(method), names),
              table.concat(names, ", "))
  end
end

function Delay:__init(...)
  local a = args({"target", time = none, init = none, entries = NONE, interpolation = "linear", name = none}, ...)
  Delay.super.__init(self, a.name)
  check_interpolation(class.qualified_name(class.of(self)), a.interpolation)
  self.interpolation = a.interpolation
  self.init = a.init
  local is_example = core.is_tensor(a.target)
  keep(self, "_shape", module.size(is_example and a.target.shape or a.target))
  keep(self, "_dtype", is_example and a.target.dtype or nil)
  keep(self, "_unit", is_example and core.unit_of(a.target) or nil)
  keep(self, "_entries", {})
  keep(self, "_named", {})
  if a.time ~= nil then self:register_delay(a.time) end
  local names = {}
  for name in pairs(a.entries) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local entry = a.entries[name]
    if type(entry) ~= "table" then entry = {entry} end
    self:register_entry(name, table.unpack(entry))
  end
end

local function is_index(x)
  return math.type(x) == "integer" or core.is_tensor(x) and x.dtype:find "int" ~= nil
end

--- The largest of a number or a concrete tensor of them.
local function largest(x)
  if type(x) == "number" then return x end
  local axes = {}
  for k = 1, x.ndim do axes[k] = k - 1 end
  return core.item(core.bind("reduce_max", {axes = axes}, x))
end

--- Steps of an entry, 0 of the newest value.  Errors: ValueError, times that are all shorter than a step.
local function steps_of(self, time)
  if not time then return 0 end
  local steps, parts = window.delay_steps(time), window.in_steps("a delay", time)
  local longest = largest(type(parts) == "table" and core.tensor(parts, (core.precision())) or parts)
  if longest > 0 and longest < 1 and not self.between_steps then
    core.hint "take a smaller dt, or a delay of 0 or of one step"
    core.fail("ValueError", 4, "%s: a delay of %s is shorter than a step, dt = %s", class.typename(self), tostring(time),
              tostring(environ.get "dt"))
  end
  return steps
end

local function new_entry(self, time, ...)
  local indices = table.pack(...)
  for k = 1, indices.n do
    if not is_index(indices[k]) then
      core.fail("TypeError", 4, "%s: an index of a delay is an integer or a tensor of them, not a %s", class.typename(self),
                class.typename(indices[k]))
    end
  end
  indices.n = nil
  local entry = {time = time, indices = indices}
  local length = rawget(self, "_length")
  if length then
    entry.steps = steps_of(self, time)
    if largest(entry.steps) >= length then
      core.hint "register all delays before nn.init_all_states"
      core.fail("ValueError", 4, "%s: a delay of %s needs %d steps; the buffer holds %d", class.typename(self), tostring(time),
                largest(entry.steps), length - 1)
    end
  end
  table.insert(self._entries, entry)
  return entry
end

--- Room for a time (or a tensor of times).
function Delay:register_delay(time) new_entry(self, time) end

--- A name for what was there `time` ago (nil: the newest value); indices, one for each leading axis of a value: integers or tensors
--  of integers from 0, of the same shape as `time` where that is a tensor: element k is read time[k] ago at index[k].
--  Times without indices: a value for each.
--  Errors: KeyError the name is taken; ValueError the buffer is made already and too short.
function Delay:register_entry(name, time, ...)
  if self._named[name] then
    core.fail("KeyError", 2, "%s: the entry '%s' is registered already, for %s", class.typename(self), tostring(name),
              tostring(self._named[name].time or 0))
  end
  self._named[name] = new_entry(self, time, ...)
  return self
end

--- Rows of the buffer, once it is made.
function Delay:max_length() return self._length end

--- Shape, dtype and unit of the values; of values that are there: whether a batch is in the shape.
function Delay:value_type() return self._shape, rawget(self, "_dtype") or (core.precision()), rawget(self, "_unit") end

local make_states = require "bdl.nn.collective".call_order(3)(function(self, batch_size)
  local shape, dtype, unit, batched = self:value_type()
  local most = 0
  for _, entry in ipairs(self._entries) do
    entry.steps = steps_of(self, entry.time)
    most = math.max(most, largest(entry.steps))
  end
  keep(self, "_length", most + 1)
  keep(self, "_dt", environ.get("dt", none))
  if batched ~= nil then batch_size = nil end
  keep(self, "_batched", batched or batch_size ~= nil)
  local sizes = {most + 1, batch_size}
  for _, n in ipairs{table.unpack(shape)} do sizes[#sizes + 1] = n end
  local start = self.init == nil and 0.0 or self.init
  if type(start) ~= "function" and not class.isa(start, init.Initializer) then start = init.Constant(start) end
  start = start(sizes)
  if unit then start = core.unit_of(start) and core.convert(start, unit) or start * unit end
  if start.dtype ~= dtype then start = core.cast(start, dtype) end
  self.history = state.ShortTermState(start)
  self.write_ptr = state.NonBatchState(core.tensor(0, "int32"))
end)

Delay.init_state = make_states

--- x in the dtype and unit of the buffer.
local function fitting(self, x)
  local history = self.history.value
  local unit = core.unit_of(history)
  if not core.is_tensor(x) then x = core.tensor(x) end
  if unit or core.unit_of(x) then x = core.convert(x, unit) end
  x = core.mantissa(x)
  if x.dtype ~= history.dtype then x = core.cast(x, history.dtype) end
  local sizes, same = {1, table.unpack(history.shape, 2)}, x.ndim == history.ndim - 1
  for k = 1, x.ndim do same = same and x.shape[k] == sizes[k + 1] end
  if not same then
    core.fail("ShapeError", 3, "%s: a value [%s] came, the buffer holds values [%s]", class.typename(self),
              table.concat({table.unpack(x.shape)}, ","), table.concat(sizes, ",", 2))
  end
  return core.bind("reshape", {shape = sizes}, x)
end

--- i32 zeros, the places along all axes but the first.
local function origins(n)
  local zeros = {}
  for k = 1, n do zeros[k] = core.tensor(0, "int32") end
  return table.unpack(zeros)
end

--- Writes the value of this step.
function Delay:update(x)
  local history, at = self.history.value, self.write_ptr.value
  local written = bind("dynamic_update_slice", core.mantissa(history), fitting(self, x), at, origins(history.ndim - 1))
  self.history.value = core.with_unit(written, core.unit_of(history))
  self.write_ptr.value = bind("select", bind("eq", at, self._length - 1), 0, at + 1)
end

--- The row k steps before the newest, k an integer or i32 of any shape, 0 <= k < length.
local function row_of(self, k)
  local at = self.write_ptr.value + (self._length - 1 - k)
  return bind("select", bind("ge", at, self._length), at - self._length, at)
end

--- history[row, indices..]: values, or elements of values where there are indices; a batch stays in front.
local function read(self, row, indices)
  local history = self.history.value
  local unit, x = core.unit_of(history), core.mantissa(history)
  local sizes = {table.unpack(x.shape, 2)}
  if #indices == 0 and row.ndim == 0 then
    local slice = core.bind("dynamic_slice", {sizes = {1, table.unpack(sizes)}}, x, row, origins(#sizes))
    return core.with_unit(core.bind("reshape", {shape = sizes}, slice), unit)
  end
  if #indices == 0 then return core.with_unit(core.bind("gather", {axis = 0}, x, row), unit) end
  local at, used = row, 0
  if self._batched then                          -- rows [m..] become [batch, m..]: for every lane its own
    local ndim, lanes = row.ndim, {sizes[1]}
    for _, index in ipairs(indices) do ndim = math.max(ndim, core.is_tensor(index) and index.ndim or 0) end
    for k = 1, ndim do lanes[k + 1] = 1 end
    at, used = row * sizes[1] + core.bind("iota", {shape = lanes, axis = 0, dtype = "int32"}), 1
  end
  if #indices + used > #sizes then
    core.fail("ValueError", 3, "%s: %d indices into values [%s]", class.typename(self), #indices, table.concat(sizes, ",", used + 1))
  end
  local flat = {x.shape[1]}
  for k = 1, #sizes do
    local index = indices[k - used]
    if index then at = at * sizes[k] + index end
    if k <= used + #indices then flat[1] = flat[1] * sizes[k] else flat[#flat + 1] = sizes[k] end
  end
  return core.with_unit(core.bind("gather", {axis = 0}, core.bind("reshape", {shape = flat}, x), at), unit)
end

local function check_dt(self)
  local now, made = environ.get("dt", none), rawget(self, "_dt")
  if now == nil or made == nil or rawequal(now, made) or core.is_traced(now) or core.is_traced(made) then return end
  local same, ratio = pcall(function() return now / made end)
  ratio = same and (core.is_tensor(ratio) and core.item(core.mantissa(ratio)) or ratio)
  if not ratio or math.abs(ratio - 1) > 1e-6 then
    core.fail("ValueError", 4, "%s was made for dt = %s, and dt is %s now; call init_state again", class.typename(self), tostring(made), tostring(now))
  end
end

--- Errors: ValueError, at once or, for traced steps when environ.jit_error_check is set, while running.
local function check_range(self, steps, slack)
  local low, high = -slack, self._length - 1 + slack
  if type(steps) == "number" or not core.is_traced(steps) then
    local most, least = largest(steps), -largest(-steps)
    if not (least >= low and most <= high) then
      core.fail("ValueError", 4, "%s: %s steps back; the buffer holds 0 to %d", class.typename(self), tostring(least < low and least or most),
                self._length - 1)
    end
  elseif environ.get("jit_error_check", false) then
    local message = ("%s: {steps} steps back; the buffer holds 0 to %d"):format(class.typename(self), self._length - 1)
    require "bdl.debug".error_if(bind("or", bind("lt", steps, low), bind("gt", steps, high)), message, {steps = steps})
  end
end

--- The row k steps before the newest, whatever k.
local function ring_row(self, k) return bind("mod", self.write_ptr.value - 1 - k, self._length) end

--- The value (or its elements at indices) that was written `steps` updates before the newest.
--  Errors: TypeError steps are no integers; ValueError the buffer is shorter.
function Delay:retrieve_at_step(steps, ...)
  if not is_index(steps) then
    core.fail("TypeError", 2, "%s: delay steps are integers, not a %s", class.typename(self), class.typename(steps))
  end
  check_range(self, steps, 0)
  return read(self, core.is_traced(steps) and ring_row(self, steps) or row_of(self, steps), {...})
end

--- The value of a time of the environ's clock, between steps by interpolation.  t : a time or a tensor of times.
--  Errors: UnitMismatchError t is no time; ValueError t lies outside of what the buffer holds.
function Delay:retrieve_at_time(t, ...)
  local indices = {...}
  local s = (environ.get "t" - t) / environ.get "dt"
  if not core.is_tensor(s) then s = core.tensor(s) end
  if core.unit_of(s) then core.fail("UnitMismatchError", 2, "%s: a time is expected, not <%s>", class.typename(self), tostring(core.unit_of(t))) end
  check_range(self, s, 1e-3)
  local back = bind("ceil", s)
  local t_part = back - s
  if #indices == 0 and s.ndim > 0 then           -- one number a value
    local sizes = {table.unpack(s.shape)}
    for _ = 2, self.history.value.ndim do sizes[#sizes + 1] = 1 end
    t_part = core.bind("reshape", {shape = sizes}, t_part)
  end
  return (methods[self.interpolation] or self.interpolation)(function(k)
    return read(self, ring_row(self, core.cast(back - k, "int32")), indices)
  end, t_part, s)
end

--- The value of a registered entry.  Errors: KeyError; ValueError dt is another than when the buffer was made.
function Delay:at(name)
  local entry = self._named[name]
  if not entry then
    local names = {}
    for known in pairs(self._named) do names[#names + 1] = tostring(known) end
    table.sort(names)
    core.fail("KeyError", 2, "%s has no entry '%s'%s", class.typename(self), tostring(name), suggest.hint(tostring(name), names))
  end
  check_dt(self)
  return read(self, row_of(self, entry.steps), entry.indices)
end

--- Registers an entry and returns what reads it when called.
function Delay:access(name, ...)
  self:register_entry(name, ...)
  return M.DelayAccess(self, name)
end

--- access() reads the entry of a delay; made by delay:access and neuron:prefetch_delay.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local delay = bdl.nn.Delay(3, {entries = {late = 0.5*bdl.units.ms}})
--    local late = bdl.nn.DelayAccess(delay, "late")
--    bdl.nn.init_all_states(delay)
--    print(late())
local DelayAccess = Module:extend "DelayAccess"
M.DelayAccess = DelayAccess

function DelayAccess:__init(delay, entry)
  self.delay = delay
  self.entry = entry
end

function DelayAccess:update() return self.delay:at(self.entry) end

-- ---- delays of neurons ---------------------------------------------------------------------------------------------------------

--- The past of the State `item` of a neuron, written after each of its updates.  Reads before the neuron's call of step i
--  see the State up to step i - 1.
--  States: history, the last values; write_ptr, the row that is written next.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.LIF(2)
--    local late = cells:prefetch_delay("V", 0.5*bdl.units.ms)     -- adds a StateWithDelay
--    bdl.nn.init_all_states(cells)
--    print(late())
local StateWithDelay = Delay:extend "StateWithDelay"
M.StateWithDelay = StateWithDelay

function StateWithDelay:__init(...)
  local a = args({"owner", "item", init = none, interpolation = "nearest"}, ...)
  Delay.__init(self, {{}, init = a.init, interpolation = a.interpolation})
  self.owner = a.owner
  self.item = a.item
end

local function observed(self)
  local s = self.owner[self.item]
  if not class.isa(s, state.State) then
    core.fail("TypeError", 4, "%s: '%s' of %s is no State", class.typename(self), self.item, class.typename(self.owner))
  end
  return s.value
end

function StateWithDelay:value_type()
  local x = observed(self)
  return x.shape, x.dtype, core.unit_of(x), x.ndim > #self.owner.varshape
end

function StateWithDelay:update() Delay.update(self, observed(self)) end

--- The delay of a neuron that runs after its update, made when first asked for; what reads the time.
local function access(owner, key, make, opts, ...)
  if not owner:has_after_update(key) then owner:add_after_update(key, make(opts)) end
  local delay = owner:get_after_update(key)
  return delay:access(("%d"):format(#delay._entries + 1), ...)
end

--- Times and indices, then perhaps {init =, interpolation =}.
local function split(...)
  local list = table.pack(...)
  local last = list[list.n]
  if type(last) == "table" and getmetatable(last) == nil then
    list.n = list.n - 1
    return last, table.unpack(list, 1, list.n)
  end
  return NONE, ...
end

--- neuron:prefetch_delay("V", time, indices.., {init =, interpolation =}?) -> what reads V of that time ago when called.
function M.prefetch_delay(owner, item, ...)
  local function make(opts)
    return StateWithDelay{owner, item, init = opts.init or none, interpolation = opts.interpolation or "nearest"}
  end
  return access(owner, item .. "-prefetch-delay", make, split(...))
end

--- neuron:output_delay(time, indices.., {init =, interpolation =}?): the same for what the neuron's call returns.
function M.output_delay(owner, ...)
  local function make(opts) return Delay{owner.out_size, init = opts.init or none, interpolation = opts.interpolation or "nearest"} end
  return access(owner, "output-delay", make, split(...))
end

-- ---- delays of inputs ------------------------------------------------------------------------------------------------------------

--- What is given comes out `delay` later, between steps by linear interpolation.
--  delay : nil (nothing is kept), a time, times [in_size], or times [m] with `indices` i32[m] into the last axis: element k of the
--    result is input indices[k], delay[k] ago
--  States: history, the last values; write_ptr, the row that is written next.
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local delay = bdl.nn.init_all_states(bdl.nn.InputDelay(3, 0.5*bdl.units.ms))
--    print(delay(bdl.ones(3)))
local InputDelay = Delay:extend "InputDelay"
M.InputDelay = InputDelay
InputDelay.between_steps = true

function InputDelay:__init(...)
  local a = args({"in_size", "delay", delay = none, indices = none, init = none, name = none}, ...)
  Delay.__init(self, {a.in_size, time = a.delay or none, init = a.init or none, name = a.name or none})
  self.in_size = a.in_size
  self.delay = a.delay
  self.indices = a.indices
  local vector = core.is_tensor(a.delay) and a.delay.ndim > 0
  if a.indices and not (vector and #self.in_size == 1) then
    core.fail("ValueError", 2, "nn.InputDelay: indices need a delay for each, and inputs of one axis")
  end
  local want, got = a.indices and a.indices.shape or self.in_size, vector and a.delay.shape
  if vector and table.concat({table.unpack(want)}, ",") ~= table.concat({table.unpack(got)}, ",") then
    core.fail("ValueError", 2, "nn.InputDelay: delays [%s] for %s [%s]", table.concat({table.unpack(got)}, ","),
              a.indices and "indices" or "inputs", table.concat({table.unpack(want)}, ","))
  end
end

function InputDelay:init_state(batch_size)
  if self.delay == nil then return end
  make_states(self, batch_size)
  local high, low, part = window.delay_steps(self.delay), window.delay_floor(self.delay)
  keep(self, "_high", high)
  keep(self, "_low", low)
  keep(self, "_part", largest(part) > 0 and part or nil)
  local indices = {}
  if core.is_tensor(high) then
    indices[1] = self.indices
    for k = 1, self.indices and 0 or #self.in_size do
      indices[k] = core.bind("iota", {shape = {table.unpack(self.in_size)}, axis = k - 1, dtype = "int32"})
    end
  end
  keep(self, "_indices", indices)
end

--- Is every delay a step or more?
function InputDelay:is_past()
  return self.delay ~= nil and (constants.least(window.delay_floor(self.delay)) or 0) >= 1
end

--- The delayed values, `steps` before their time.
local function delayed(self, steps)
  local late, part = read(self, row_of(self, self._high - steps), self._indices), rawget(self, "_part")
  if not part then return late end               -- all are whole steps: no interpolation
  return read(self, row_of(self, self._low - steps), self._indices) * part + late * (1 - part)
end

--- What update gives in this step, before it has x; of delays that are a step or more.
function InputDelay:ahead()
  check_dt(self)
  return delayed(self, 1)
end

--- x : [in_size]  ->  what it was
function InputDelay:update(x)
  if self.delay == nil then return x end
  check_dt(self)
  Delay.update(self, x)
  return delayed(self, 0)
end

return M

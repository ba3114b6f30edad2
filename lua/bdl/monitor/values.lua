--- StateMonitor: values of States and functions, every n steps.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local graph = require "bdl.graph"
local none = require "bdl.none".none
local state = require "bdl.state"
local suggest = require "bdl.suggest"
local base = require "bdl.monitor.base"
local sources = require "bdl.monitor.sources"

local Monitor, bytes_of, handle, empty = base.Monitor, base.bytes_of, base.handle, base.empty

--- Values of States at every n-th step: m.V [rows, n], m.t, m.step.
--  source    : a module or Node, with `variables`: a name or a list of names of its States; or a State, or a function,
--  with a name.
--  record    : what of each value, as in x[record]; the whole of it.      every : record steps 0, every, 2 every, ..
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local cells = bdl.nn.init_all_states(bdl.nn.LIF(3))
--    local m = bdl.monitor.StateMonitor(cells, "V", {every = 10})
--    bdl.Simulation(function(i) cells(30*bdl.units.mA) end, {monitors = {m}}):run(5*bdl.units.ms)
--    print(m.V.shape, m.t)
local StateMonitor = Monitor:extend "StateMonitor"

local function rows_in(first, last, every) return (last + every - 1) // every - (first + every - 1) // every end

function StateMonitor:__init(...)
  local a = args({"source", "variables", variables = none, record = none, every = 1}, ...)
  local source = sources.check_source("StateMonitor", a.source)
  local names = type(a.variables) == "table" and a.variables or {a.variables}
  local readers = {}
  if class.isa(source, graph.Node) then
    if #names == 0 then
      core.hint "StateMonitor(neurons, {\"V\"})"
      core.fail("ValueError", 2, "StateMonitor: which States of %s?", class.typename(source))
    end
    for k, name in ipairs(names) do
      if type(name) ~= "string" then
        core.fail("TypeError", 2, "StateMonitor: a variable is a name, not a %s", class.typename(name))
      end
      readers[k] = function() return self:field_of(source, name) end
    end
  elseif #names > 1 then
    core.fail("ValueError", 2, "StateMonitor: a %s has one value, not %d", class.typename(source), #names)
  else
    names[1] = names[1] or class.isa(source, state.State) and source.name or "value"
    readers[1] = source
  end
  for _, name in ipairs(names) do
    if class.method(self, name) ~= nil or StateMonitor.fields[name] then
      core.hint "record a function, StateMonitor(function() return x.value end, \"name\")"
      core.fail("ValueError", 2, "StateMonitor: the name '%s' is taken", name)
    end
  end
  class.rawfield(self, "variables", names)
  class.rawfield(self, "_source", source)
  class.rawfield(self, "_readers", readers)
  class.rawfield(self, "_record", a.record)
  class.rawfield(self, "_every", sources.positive("StateMonitor", "every", a.every))
end

--- The State `name` of a Node; looked up in each trace, for Nodes get new ones.
function StateMonitor:field_of(node, name)
  local s = node[name]
  if class.isa(s, state.State) then return s.value end
  if core.is_tensor(s) then return s end
  local known = {}
  for path in graph.states(node):items() do known[#known + 1] = path end
  if s ~= nil then
    core.fail("TypeError", 3, "StateMonitor: '%s' of %s is a %s, no State", name, class.typename(node),
              class.typename(s))
  end
  core.fail("KeyError", 3, "StateMonitor: %s has no State '%s'%s", class.typename(node), name,
            #known > 0 and suggest.hint(name, known) or "; init_all_states makes them")
end

function StateMonitor:read(_, results)
  local values = {}
  for k, reader in ipairs(self._readers) do
    local x = sources.value_of("StateMonitor", reader, results)
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
  local steps = (core.bind("iota", {shape = {n}, axis = 0, dtype = "int64"}) + row) * core.tensor(every, "int64")
  core.record_append(self._steps, steps, n)
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

return {StateMonitor = StateMonitor}

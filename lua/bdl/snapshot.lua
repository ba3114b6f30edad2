--- Snapshots: what a running net is, kept in memory to go back to, as often as one likes.
--
--   local before = bdl.snapshot(sim)               -- or of models, lists of them, States
--   sim:run(500*u.ms)
--   before:restore()                               -- delay queues, the generator, the clock and the monitors, too
--
-- Values are shared with the States until those are written, so a snapshot costs memory only for what changes later.

local core = require "bdl.core"
local class = require "bdl.class"
local graph = require "bdl.graph"
local random = require "bdl.random"
local state = require "bdl.state"

local M = {}

local Snapshot = class "Snapshot"

local function is_list(x) return type(x) == "table" and getmetatable(x) == nil end

--- Inputs that were registered and not yet summed, of a step that runs uncompiled; f is called with each table of them.
local function each_waiting(node, f)
  for _, kind in ipairs{"_current_inputs", "_delta_inputs"} do
    for _, field in ipairs{kind, kind .. "_order"} do
      if is_list(rawget(node, field)) then f(field, rawget(node, field)) end
    end
  end
end

local function copy(t)
  local new = {}
  for key, value in next, t do new[key] = value end
  return new
end

--- Finds what belongs to x: find(path) gives the State that is there now.
local function gather(self, x, name)
  local function add(s, find)
    if self._seen[s] then return end
    self._seen[s] = true
    self._entries[#self._entries + 1] = {find = find or function() return s end, value = s.value, name = name}
  end
  if class.isa(x, state.State) then
    add(x)
  elseif class.isa(x, require "bdl.simulation".Simulation) then
    for _, s in ipairs(x:states()) do add(s) end
    for _, m in ipairs(x.monitors) do self._undo[#self._undo + 1] = m:keep() end
  elseif class.isa(x, graph.Node) then
    for path, s in graph.states(x):items() do
      add(s, function() return graph.states(x):get(path) end)
    end
    for _, node in graph.nodes(x):items() do
      each_waiting(node, function(field, t)
        local kept = copy(t)
        self._undo[#self._undo + 1] = function() rawset(node, field, copy(kept)) end
      end)
    end
  elseif is_list(x) and #x > 0 then
    for _, item in ipairs(x) do gather(self, item, name) end
  else
    core.fail("TypeError", 4, "snapshot: a Simulation, a model, a State or a list of them is needed, not a %s",
              class.typename(x))
  end
end

--- Snapshot of simulations, models and States, and of the generator of bdl.random.
--  Errors: TypeError; TraceContextError inside of compiled code.
--  Example:
--    local s = bdl.State(1.)
--    local before = bdl.snapshot(s)
--    s.value = 2.
--    before:restore()
--    print(s.value)
function M.snapshot(...)
  if core.tracing() then
    core.fail("TraceContextError", 2, "snapshot: inside of compiled code there are no values to keep")
  end
  if select("#", ...) == 0 then core.fail("TypeError", 2, "snapshot: of what?") end
  local self = Snapshot()
  for _, key in ipairs{"_entries", "_undo", "_seen"} do class.rawfield(self, key, {}) end
  for i = 1, select("#", ...) do gather(self, (select(i, ...))) end
  gather(self, random.DEFAULT)
  rawset(self, "_seen", nil)
  return self
end

function Snapshot:__pretty() return {{"states", #self._entries}} end

--- Everything is as it was; may be repeated.  Errors: KeyError a State is gone; what a State refuses: then nothing has
--  changed.
function Snapshot:restore()
  if core.tracing() then core.fail("TraceContextError", 2, "restore: not inside of compiled code") end
  local now = {}
  for k, entry in ipairs(self._entries) do
    local s = entry.find()
    if s == nil then core.fail("KeyError", 2, "restore: the model has lost a State that the snapshot holds") end
    now[k] = {s, entry.value}
  end
  state.write_all(now, state.State.restore_value)
  for _, undo in ipairs(self._undo) do undo() end
  return self
end

return M

--- Populations: spikes of a source as booleans, lanes in front.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local sources = require "bdl.monitor.sources"

local M = {}

--- What is true or > 0, as bool [lanes.., population..]; and the number of axes of lanes.
local function spikes_of(self, heard, results)
  local source, who = self._source, class.typename(self)
  local x, lanes
  if sources.is_module(source) then
    x = sources.output_of(who, source, heard)
    local size = source.varshape or source.out_size
    lanes = size and x.ndim - #size or 0
  else
    x = sources.value_of(who, source, results)
    lanes = 0
  end
  lanes = rawget(self, "_lanes") or lanes
  if lanes < 0 or lanes > x.ndim then
    core.fail("ShapeError", 3, "%s: %d axes of lanes for a value [%s]", who, lanes,
              table.concat({table.unpack(x.shape)}, ","))
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

function M.size_of(shape, first)
  local n = 1
  for k = first, #shape do n = n * shape[k] end
  return n
end

function M.init(self, ...)
  local a = args(self.spec, ...)
  class.rawfield(self, "_source", sources.check_source(class.typename(self), a.source))
  class.rawfield(self, "_record", a.record)
  if a.lanes ~= nil and (math.type(a.lanes) ~= "integer" or a.lanes < 0) then
    core.fail("ValueError", 4, "%s: lanes are a number of axes, not %s", class.typename(self), tostring(a.lanes))
  end
  class.rawfield(self, "_lanes", a.lanes)
  return a
end

function M.read(self, heard, results)
  local x, lanes = spikes_of(self, heard, results)
  local shape = {table.unpack(x.shape)}
  if self._record ~= nil then x = x[in_front(self._record, lanes)] end
  class.rawfield(self, "_shape", shape)
  class.rawfield(self, "_axes", lanes)
  return x, lanes
end

return M

--- The axes that are being mapped, for what goes between lanes (collective.lua): vmap and pmap enter one while they trace.

local core = require "bdl.core"

--- What vmap and pmap may be told.
local M = {OPTIONS = {"in_axes", "out_axes", "in_states", "out_states", "axis_size", "axis_name"}}

local mapped = {} -- the innermost last
local leave = {__close = function(axis)
  repeat until table.remove(mapped) == axis
end}

--- {name =, size =, id =}: an axis to enter.  id : 0 the processes, else the number of the mapping, from outside.
--  Errors: TypeError, the name is no text; NotSupportedError, pmap inside pmap.
function M.axis(who, name, size, over_processes)
  if name ~= nil and type(name) ~= "string" then
    core.fail("TypeError", 4, "%s: axis_name is a text, not %s", who, tostring(name))
  end
  if not over_processes then
    return name and {name = name, size = size, id = #mapped + 1}
  end
  for _, axis in ipairs(mapped) do
    if axis.id == 0 then core.fail("NotSupportedError", 4, "%s: a pmap inside a pmap; a device has one lane", who) end
  end
  return {name = name, size = size, id = 0}
end

--- Until the result is closed, lanes are those of this axis; index: the number of the lane, in the trace.
function M.enter(axis, index)
  axis.index = index
  mapped[#mapped + 1] = axis
  return setmetatable(axis, leave)
end

--- The axis of this name; nil: the innermost.  Errors: ValueError; TypeError, the name is no text.
function M.find(who, name)
  if name ~= nil and type(name) ~= "string" then
    core.fail("TypeError", 3, "%s: axis_name is a text, not %s", who, tostring(name))
  end
  for k = #mapped, 1, -1 do
    if name == nil or mapped[k].name == name then return mapped[k] end
  end
  local names = {}
  for _, axis in ipairs(mapped) do names[#names + 1] = axis.name and ("'%s'"):format(axis.name) end
  if name == nil or #mapped == 0 then
    core.hint "call it in a function under pmap, or under vmap with an axis_name"
    core.fail("ValueError", 3, "%s: no axis%s is mapped here", who, name == nil and "" or (" '%s'"):format(tostring(name)))
  end
  core.fail("ValueError", 3, "%s: no axis '%s' is mapped here%s", who, tostring(name),
            #names > 0 and "; there is " .. table.concat(names, ", ") or "")
end

--- What one lane sees: its row of x, which has the lanes in front, or all of x.
function M.own(x, size) return core.bind("own_lane", {axis = 0, size = size}, x) end

function M.shared(x) return core.bind("to_lanes", {axis = 0}, x) end

--- x, which all lanes have, for outside.
function M.common(x, size) return core.bind("from_lanes", {axis = 0, size = size}, x) end

--- One value of x over the processes, where they are mapped.
function M.of_processes(x, reduce)
  for _, axis in ipairs(mapped) do
    if axis.id == 0 then return (core.bind(reduce, {axes = {0}}, M.shared(M.gathered(x, axis.size)))) end
  end
  return x
end

--- x of all lanes, in front.
function M.gathered(x, size) return core.bind("all_gather", {axis = 0, size = size}, x) end

return M

--- A file run again while its States live on: they are matched by path, shape and unit.

local core = require "bdl.core"
local class = require "bdl.class"
local graph = require "bdl.graph"
local pretty = require "bdl.pretty"
local state = require "bdl.state"

--- path -> State, of the names that a file left; each State once.
local function states_of(names)
  local holders = {}
  for name, x in next, names do
    local plain = type(x) == "table" and getmetatable(x) == nil
    if plain or class.isa(x, state.State) or class.isa(x, graph.Node) then holders[name] = x end
  end
  return graph.states(holders)
end

--- "float32[3] mV"
local function abstract(s)
  local parts = {}
  for i, leaf in ipairs(state.abstract(s)) do parts[i] = pretty.abstract(leaf.dtype, leaf.shape, leaf.unit) end
  return #parts == 1 and parts[1] or "{" .. table.concat(parts, ", ") .. "}"
end

--- Runs the session's file `path` again, with its modules.  Lines that tell what became of the States, or nil and the failure:
--  then names and States are as they were.
return function(session, path, modules)
  local file, before = session.files[path], {}
  for at, s in states_of(file.names):items() do before[at] = {value = s.value, what = abstract(s), tree = core.state_treedef(rawget(s, "_handle"))} end
  local loaded = {}
  for name in next, modules do loaded[name], package.loaded[name] = package.loaded[name], nil end
  local names, failure = session:load(path, file.arguments)
  if not names then
    for name, module in next, loaded do package.loaded[name] = module end
    return nil, failure
  end
  local kept, lines = 0, {}
  for at, s in states_of(names):items() do
    local old, what = before[at], abstract(s)
    before[at] = nil
    if old and old.what == what and old.tree == core.state_treedef(rawget(s, "_handle")) then
      s:restore_value(old.value)
      kept = kept + 1
    elseif old then
      lines[#lines + 1] = ("  changed  %s: %s, it was %s"):format(at, what, old.what)
    else
      lines[#lines + 1] = ("  new      %s: %s"):format(at, what)
    end
  end
  for at, old in next, before do lines[#lines + 1] = ("  dropped  %s: %s"):format(at, old.what) end
  table.sort(lines)
  table.insert(lines, 1, ("%s: %d State%s kept"):format(path, kept, kept == 1 and "" or "s"))
  return lines
end

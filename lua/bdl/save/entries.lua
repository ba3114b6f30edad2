--- What may be saved, as a map from paths to States and values; and a State's value as arrays.
local core = require "bdl.core"
local class = require "bdl.class"
local graph = require "bdl.graph"
local paths = require "bdl.path"
local state = require "bdl.state"
local tree = require "bdl.tree"
local util = require "bdl.util"

local M = {}

local function is_value(x)
  return core.is_tensor(x) or type(x) == "number" or type(x) == "boolean"
end

--- A spike that a projection handed over and no update took yet lies in no State.
local function none_waits(who, path, model)
  for at, node in graph.nodes(model):items() do
    for _, kind in ipairs{"_current_inputs", "_delta_inputs"} do
      for key, input in next, rawget(node, kind) or {} do
        if core.is_tensor(input) and not core.is_traced(input) then
          core.hint "call it after the neurons are updated"
          core.fail("ValueError", 5, "%s: the input '%s' of '%s' waits for the next update", who, key,
                    paths.append(path, at))
        end
      end
    end
  end
end

--- Nested plain tables of values alone, as a State may hold them?
local function is_tree(x, inside)
  if is_value(x) then return true end
  if type(x) ~= "table" or getmetatable(x) ~= nil or inside[x] then return false end
  inside[x] = true
  for _, inner in next, x do
    if not is_tree(inner, inside) then return false end
  end
  inside[x] = nil
  return true
end

local function is_private(path) return path:find "^_" or path:find "[.%]]_" end

--- Path -> State or value, of a State, a model, a Simulation, and of maps and tables of these.  A State that is reached
--  twice counts once, a model's way to it before an optimiser's; what a Simulation alone touches comes last.
--  Errors: TypeError, something that a file cannot hold; KeyError, two of one path; ValueError, inputs that wait.
function M.of(who, x)
  local list, known, later = {}, {}, {}
  local function put(path, value)
    local before = known[value]
    if before then
      if is_private(before[1]) and not is_private(path) then before[1] = path end
      return
    end
    list[#list + 1] = {path, value}
    if class.isa(value, state.State) then known[value] = list[#list] end
  end
  local inside = {}
  local visit
  local function enter(path, value)
    if inside[value] then core.fail("ValueError", 5, "%s: the table contains itself, at '%s'", who, path) end
    inside[value] = true
    if class.isa(value, util.FlattedDict) then
      for at, entry in value:items() do (is_tree(entry, {}) and put or visit)(paths.append(path, at), entry) end
    elseif class.isa(value, util.PrettyMapping) then
      for key, entry in value:items() do visit(paths.join(path, key), entry) end
    else
      for _, key in ipairs(util.sorted_keys(value)) do visit(paths.join(path, key), value[key]) end
    end
    inside[value] = nil
  end
  function visit(path, value)
    if class.isa(value, state.State) or is_value(value) then
      put(path, value)
    elseif class.isa(value, graph.Node) then
      none_waits(who, path, value)
      for at, s in graph.states(value):items() do put(paths.append(path, at), s) end
    elseif class.isa(value, require "bdl.simulation".Simulation) then
      later[#later + 1] = {path, value}
    elseif class.isa(value, util.PrettyMapping) or type(value) == "table" and getmetatable(value) == nil then
      enter(path, value)
    else
      core.hint "models, States, Simulations, tensors, numbers, and tables of these can"
      core.fail("TypeError", 4, "%s: a %s cannot lie in a file%s", who, class.typename(value),
                path ~= "" and (" ('%s')"):format(path) or "")
    end
  end
  visit("", x)
  for _, entry in ipairs(later) do
    for at, s in entry[2]:named_states():items() do put(paths.append(entry[1], at), s) end
  end
  local found = util.FlattedDict()
  for _, entry in ipairs(list) do
    if found:get(entry[1]) ~= nil then core.fail("KeyError", 3, "%s: two entries have the path '%s'", who, entry[1]) end
    found[entry[1]] = entry[2]
  end
  return found
end

--- Leaves of a value as a list of {key, tensor}, and the text of its structure.
function M.leaves(value)
  local list = {}
  for key, leaf in tree.zip(value) do list[#list + 1] = {key, core.tensor(leaf)} end
  local _, def = tree.flatten(value)
  return list, tostring(def)
end

--- The value of leaves as plain nested tables; nil where two keys exclude each other.
function M.value(leaves)
  local root = {}
  for _, leaf in ipairs(leaves) do
    local keys, at = paths.parse(leaf[1]), root
    if not keys then return nil end
    table.insert(keys, 1, "value")
    for i = 1, #keys - 1 do
      local inner = at[keys[i]]
      if inner == nil then inner = {} end
      if type(inner) ~= "table" then return nil end
      at[keys[i]], at = inner, inner
    end
    if at[keys[#keys]] ~= nil then return nil end
    at[keys[#keys]] = leaf[2]
  end
  return root.value == nil and {} or root.value
end

return M

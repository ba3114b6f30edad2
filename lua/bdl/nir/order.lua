--- The order in which the nodes of a graph run, and the edges that are a step late.
local core = require "bdl.core"
local class = require "bdl.class"
local graphs = require "bdl.graph"
local Module = require "bdl.nn.module".Module

--- Does a module remember, so that its last output is there before it runs?  A Graph does if one of its nodes does.
local function remembers(module, Graph)
  for _, node in graphs.nodes(module):items() do
    if class.method(node, "init_state") ~= Module.init_state and not class.isa(node, Graph) then return true end
  end
  return false
end

--- name -> list of the edges that lead to it
local function edges_into(names, edges)
  local into = {}
  for _, name in ipairs(names) do into[name] = {} end
  for _, edge in ipairs(edges) do table.insert(into[edge[2]], edge) end
  return into
end

--- Steps from the inputs, by name.
local function distances(nodes, names, edges, Input)
  local distance, wave = {}, {}
  for _, name in ipairs(names) do
    if class.isa(nodes[name], Input) then
      distance[name] = 0
      wave[#wave + 1] = name
    end
  end
  while #wave > 0 do
    local next_wave = {}
    for _, edge in ipairs(edges) do
      local from, to = edge[1], edge[2]
      if distance[from] and not distance[to] then next_wave[#next_wave + 1] = {to, distance[from] + 1} end
    end
    wave = {}
    for _, reached in ipairs(next_wave) do
      if not distance[reached[1]] then wave[#wave + 1] = reached[1] end
      distance[reached[1]] = distance[reached[1]] or reached[2]
    end
  end
  return distance
end

--- A path of edges between waiting nodes from -> .. -> to, as a list of names; nil: there is none.
local function path_between(from, to, edges, waits)
  local came, wave = {[from] = from}, {from}
  while #wave > 0 and not (came[to] and to ~= from) do
    local name = table.remove(wave, 1)
    for _, edge in ipairs(edges) do
      if edge[1] == name and waits[edge[2]] and not edge.late and not came[edge[2]] then
        came[edge[2]] = name
        wave[#wave + 1] = edge[2]
      end
    end
  end
  if not came[to] then return nil end
  local path = {to}
  while path[1] ~= from do table.insert(path, 1, came[path[1]]) end
  return path
end

--- Marks an edge of a loop as late: of those that leave a node which remembers the one farthest from the inputs.
--  Errors: ValueError, no node of the loop does.
local function break_loop(nodes, edges, waits, distance, Graph)
  local best, loop
  for _, edge in ipairs(edges) do
    local from, to = edge[1], edge[2]
    local path = waits[from] and waits[to] and not edge.late and path_between(to, from, edges, waits)
    if path then
      loop = loop or {from, table.unpack(path)}
      if remembers(nodes[from], Graph) and (not best or (distance[from] or 0) > (distance[best[1]] or 0)) then best = edge end
    end
  end
  if not best then
    core.hint "a loop needs a neuron or a Delay, whose last output can be used"
    core.fail("ValueError", 4, "nir: the loop %s has no node that remembers", table.concat(loop, " -> "))
  end
  best.late = true
end

--- order(nodes, names, edges, Input, Graph) -> names in the order in which nodes run, and name -> list of the edges that lead
--  to it; edges that arrive a step later are marked `late`.  Errors: ValueError, a loop without memory.
return function(nodes, names, edges, Input, Graph)
  local order, waits, distance, into = {}, {}, distances(nodes, names, edges, Input), edges_into(names, edges)
  for _, name in ipairs(names) do waits[name] = true end
  while #order < #names do
    local ready
    for _, name in ipairs(names) do
      local blocked = not waits[name]
      for _, edge in ipairs(into[name]) do blocked = blocked or waits[edge[1]] and not edge.late end
      if not blocked then
        ready = name
        break
      end
    end
    if ready then
      waits[ready] = nil
      order[#order + 1] = ready
    else
      break_loop(nodes, edges, waits, distance, Graph)
    end
  end
  return order, into
end

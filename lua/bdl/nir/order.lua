--- The order in which the nodes of a graph run, and the edges that are a step late.
local core = require "bdl.core"
local class = require "bdl.class"
local graphs = require "bdl.graph"
local InputDelay = require "bdl.nn.delay".InputDelay
local Module = require "bdl.nn.module".Module

--- Does a module remember, so that its last output is there before it runs?  A Graph does if one of its nodes does.
local function remembers(module, Graph)
  for _, node in graphs.nodes(module):items() do
    if class.method(node, "init_state") ~= Module.init_state and not class.isa(node, Graph) then return true end
  end
  return false
end

--- name -> list of the edges that have it at that end
local function by_end(names, edges, which)
  local map = {}
  for _, name in ipairs(names) do map[name] = {} end
  for _, edge in ipairs(edges) do table.insert(map[edge[which]], edge) end
  return map
end

--- Steps from the inputs, by name.
local function distances(nodes, names, outof, Input)
  local distance, queue = {}, {}
  for _, name in ipairs(names) do
    if class.isa(nodes[name], Input) then
      distance[name] = 0
      queue[#queue + 1] = name
    end
  end
  for _, name in ipairs(queue) do                -- which grows
    for _, edge in ipairs(outof[name]) do
      local to = edge[2]
      if not distance[to] then
        distance[to] = distance[name] + 1
        queue[#queue + 1] = to
      end
    end
  end
  return distance
end

--- A path from -> .. -> to over nodes that wait, as a list of names; nil: there is none.
local function path_between(from, to, outof, waits)
  local came, queue = {[from] = from}, {from}
  for _, name in ipairs(queue) do
    if name == to then
      local path = {to}
      while path[1] ~= from do table.insert(path, 1, came[path[1]]) end
      return path
    end
    for _, edge in ipairs(outof[name]) do
      if waits[edge[2]] and not edge.late and not came[edge[2]] then
        came[edge[2]] = name
        queue[#queue + 1] = edge[2]
      end
    end
  end
end

--- Marks an edge of a loop as late: of those that leave a node which remembers the first of `list`.
--  Errors: ValueError, no node of a loop does.
local function break_loop(list, memory, outof, waits)
  local loop
  for _, edge in ipairs(list) do
    local from, to = edge[1], edge[2]
    if waits[from] and waits[to] and not edge.late and (memory[from] or not loop) then
      local path = path_between(to, from, outof, waits)
      if path and memory[from] then
        edge.late = true
        return edge
      end
      loop = loop or path and {from, table.unpack(path)}
    end
  end
  core.hint "a loop needs a neuron or a Delay, whose last output can be used"
  core.fail("ValueError", 4, "nir: the loop %s has no node that remembers", table.concat(loop, " -> "))
end

--- order(nodes, names, edges, Input, Graph) -> names in the order in which nodes run, and name -> list of the edges that
--  lead to it; edges that arrive a step later are marked `late`: in a loop the one that leaves a delay, which may know
--  its value before, else the node farthest from the inputs of those that remember.  Errors: ValueError, a loop without memory.
return function(nodes, names, edges, Input, Graph)
  local into, outof = by_end(names, edges, 2), by_end(names, edges, 1)
  local order, waits, missing, memory, farthest = {}, {}, {}, {}, nil
  for _, name in ipairs(names) do
    waits[name], missing[name], memory[name] = true, #into[name], remembers(nodes[name], Graph)
  end
  local function place(name)
    waits[name] = nil
    order[#order + 1] = name
  end
  local function arrived(edge)
    local to = edge[2]
    missing[to] = missing[to] - 1
    if missing[to] == 0 then place(to) end
  end
  for _, name in ipairs(names) do
    if missing[name] == 0 then place(name) end
  end
  local at = 1
  while #order < #names or at <= #order do
    if at <= #order then
      for _, edge in ipairs(outof[order[at]]) do
        if not edge.late then arrived(edge) end
      end
      at = at + 1
    else
      if not farthest then
        local distance = distances(nodes, names, outof, Input)
        farthest = table.move(edges, 1, #edges, 1, {})
        local position = {}
        for k, edge in ipairs(edges) do position[edge] = k end
        table.sort(farthest, function(a, b)
          local x, y = class.isa(nodes[a[1]], InputDelay), class.isa(nodes[b[1]], InputDelay)
          if x ~= y then return x end
          x, y = distance[a[1]] or 0, distance[b[1]] or 0
          if x ~= y then return x > y end
          return position[a] < position[b]
        end)
      end
      arrived(break_loop(farthest, memory, outof, waits))
    end
  end
  return order, into
end

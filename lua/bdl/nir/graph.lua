--- Nodes and edges of NIR as one module.
--  Source: Pedersen et al. (2024), Neuromorphic intermediate representation. Nat Commun 15, 8122.
local core = require "bdl.core"
local args = require "bdl.args"
local base = require "bdl.array.base"
local class = require "bdl.class"
local environ = require "bdl.environ"
local graphs = require "bdl.graph"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none
local order_of = require "bdl.nir.order"
local state = require "bdl.state"
local sorted_keys = require "bdl.util".sorted_keys
local InputDelay = require "bdl.nn.delay".InputDelay
local Module = require "bdl.nn.module".Module

local M = {}

--- Where values enter a graph.
--  size : of the values
--  Example:
--    print(bdl.nir.Input(3)(bdl.ones(3)))
local Input = Module:extend "Input"
M.Input = Input

--- Input(3), Input{2, 8, 8}, Input{size = {2, 8, 8}}
local function set_size(self, size, ...)
  local list = type(size) == "table" and getmetatable(size) == nil and size[1] ~= nil and select("#", ...) == 0
  self.in_size = list and size or args({"size"}, size, ...).size
  self.out_size = self.in_size
end

function Input:__init(...) set_size(self, ...) end
function Input:update(x) return layer.input(self, x, self.in_size) end

--- Where values leave a graph.
--  size : of the values
--  Example:
--    print(bdl.nir.Output(3)(bdl.ones(3)))
local Output = Module:extend "Output"
M.Output = Output

function Output:__init(...) set_size(self, ...) end
function Output:update(x) return x end

-- ---- the graph ------------------------------------------------------------------------------------------------------

--- Modules that are wired: each gets the sum of what its edges bring.  The call takes and returns what its Inputs and
--  Outputs do: one value, or a map by their names where there are several.
--  nodes : a map of modules by name, nir.Input and nir.Output among them
--  edges : a list of {from, to}
--  metadata : texts and numbers by name, kept in files
--  States: last, the last outputs that loops need; those of the nodes.
--  Errors: KeyError, an edge to no node; ShapeError, what two nodes say of an edge; ValueError, a loop without memory.
--  Example:
--    local net = bdl.nir.Graph{{input = bdl.nir.Input(2), fc = bdl.nn.Linear(2, 3), output = bdl.nir.Output(3)},
--                              {{"input", "fc"}, {"fc", "output"}}}
--    print(net(bdl.ones(2)).shape)
local Graph = Module:extend "Graph"
M.Graph = Graph

local function text_of(size) return size and "[" .. table.concat(size, ", ") .. "]" or "?" end

local function check_names(nodes, names)
  for _, name in ipairs(names) do
    if type(name) ~= "string" or name == "" or name == "." or name == ".." or name:find "[/%z]" then
      core.fail("ValueError", 4, "nir: '%s' cannot be the name of a node", tostring(name))
    end
    if not class.isa(nodes[name], Module) then
      core.fail("TypeError", 4, "nir: node '%s' is a module, not a %s", name, class.typename(nodes[name]))
    end
  end
end

--- Copies of the edges.  Errors: TypeError, KeyError, ValueError.
function M.check_edges(has, edges, where)
  local list, seen = {}, {}
  for k, edge in ipairs(edges) do
    local from, to = nil, nil
    if type(edge) == "table" then from, to = edge[1], edge[2] end
    if type(from) ~= "string" or type(to) ~= "string" then
      core.fail("TypeError", 4, "nir: %sedge %d is {from, to}, two names", where, k)
    end
    for _, name in ipairs{from, to} do
      if not has[name] then
        core.fail("KeyError", 4, "nir: %sthe edge %s -> %s has no node '%s'%s", where, from, to, name,
                  require "bdl.suggest".hint(name, sorted_keys(has)))
      end
    end
    local key = from .. "\0" .. to
    if seen[key] then core.fail("ValueError", 4, "nir: %sthe edge %s -> %s is there twice", where, from, to) end
    seen[key] = true
    list[k] = {from, to}
  end
  return list
end

--- Both ends of an edge say the same.  Modules that do not say their size may be anything.
local function check_shapes(nodes, edges)
  for _, edge in ipairs(edges) do
    local from, to = nodes[edge[1]].out_size, nodes[edge[2]].in_size
    if from and to and from ~= to then
      core.fail("ShapeError", 4, "nir: %s gives %s, %s takes %s", edge[1], text_of(from), edge[2], text_of(to))
    end
  end
end

--- Edges know nodes, not what goes into one of several Inputs.
local function check_subgraphs(nodes, names)
  for _, name in ipairs(names) do
    local inner = class.isa(nodes[name], Graph) and nodes[name]
    if inner and (#inner._inputs ~= 1 or #inner._outputs ~= 1) then
      core.fail("NotSupportedError", 4, "nir: the subgraph '%s' has %d Inputs and %d Outputs, not one of each", name,
                #inner._inputs, #inner._outputs)
    end
  end
end

local function names_of(nodes, names, cls)
  local list = {}
  for _, name in ipairs(names) do
    if class.isa(nodes[name], cls) then list[#list + 1] = name end
  end
  return list
end

function Graph:__init(...)
  local a = args({"nodes", "edges", metadata = none, name = none}, ...)
  Graph.super.__init(self, a.name)
  local nodes = {}
  for name, module in pairs(a.nodes) do nodes[name] = module end
  local names = sorted_keys(nodes)
  check_names(nodes, names)
  self.nodes = nodes
  local edges = M.check_edges(nodes, a.edges, "")
  local inputs, outputs = names_of(nodes, names, Input), names_of(nodes, names, Output)
  if #inputs == 0 or #outputs == 0 then
    core.fail("ValueError", 2, "nir: the graph has no %s node", #inputs == 0 and "Input" or "Output")
  end
  check_subgraphs(nodes, names)
  check_shapes(nodes, edges)
  local order, into = order_of(nodes, names, edges, Input, Graph)
  for _, name in ipairs(names) do
    if #into[name] == 0 and not class.isa(nodes[name], Input) then
      core.fail("ValueError", 2, "nir: nothing leads to node '%s'", name)
    end
  end
  class.rawfield(self, "edges", edges)
  class.rawfield(self, "metadata", a.metadata or {})
  class.rawfield(self, "_order", order)
  class.rawfield(self, "_into", into)
  class.rawfield(self, "_inputs", inputs)
  class.rawfield(self, "_outputs", outputs)
  if #inputs == 1 then self.in_size = nodes[inputs[1]].in_size end
  if #outputs == 1 then self.out_size = nodes[outputs[1]].out_size end
end

--- The dtype that a module computes in.
local function dtype_of(module)
  for _, node in graphs.nodes(module):items() do
    local r = rawget(node, "r")
    if core.is_tensor(r) then return r.dtype end
  end
  return base.real()
end

--- Does an edge of a loop bring what its node gave a step before?  A delay of a step or more knows its value in time.
function Graph:is_late(edge)
  local node = self.nodes[edge[1]]
  if not edge.late or not class.isa(node, InputDelay) then return edge.late end
  local ok, past = pcall(node.is_past, node)     -- not without dt
  return not (ok and past)
end

function Graph:init_state(batch_size)
  local last = {}
  for _, edge in ipairs(self.edges) do
    local from = edge[1]
    if self:is_late(edge) and not last[from] then
      local shape, size = {batch_size}, self.nodes[from].out_size
      if not size then
        core.fail("ValueError", 2, "nir: the size of node '%s' is not known, but a loop needs it", from)
      end
      table.move(size, 1, #size, #shape + 1, shape)
      local zero = core.tensor(0.0, dtype_of(self.nodes[from]))
      last[from] = state.ShortTermState(core.bind("broadcast", {shape = shape, dims = {}}, zero))
    end
  end
  self.last = next(last) and last or nil
end

--- What the late edges bring, by the node that they leave: before any node runs.
local function before(self)
  local values = {}
  for _, edge in ipairs(self.edges) do
    local from = edge[1]
    if edge.late and values[from] == nil then
      local last, node = self.last and self.last[from], self.nodes[from]
      if last then
        values[from] = last.value
      elseif class.isa(node, InputDelay) and rawget(node, "history") then
        values[from] = node:ahead()
      else
        core.hint "nn.init_all_states(graph) makes the States of a graph"
        core.fail("ValueError", 4, "nir: the graph has no state 'last.%s'", from)
      end
    end
  end
  return values
end

local function run(self, given)
  local values, late = {}, before(self)
  for _, name in ipairs(self._order) do
    local x = given[name]
    for _, edge in ipairs(self._into[name]) do
      local y = (edge.late and late or values)[edge[1]]
      if x == nil then x = y else x = x + y end
    end
    local ok, y = pcall(self.nodes[name], x)
    if not ok then
      if type(y) == "table" and y.message then y.message = ("nir node '%s': %s"):format(name, y.message) end
      error(y, 0)
    end
    values[name] = y
  end
  for name, last in next, self.last or {} do last.value = core.cast(values[name], last.value.dtype) end
  return values
end

--- x : [.., in_size], or {name = x} for several Inputs -> y : [.., out_size], or {name = y}
function Graph:update(x)
  local given, inputs, outputs = {}, self._inputs, self._outputs
  if #inputs == 1 then
    given[inputs[1]] = x
  else
    for _, name in ipairs(inputs) do
      if type(x) ~= "table" or x[name] == nil then
        core.fail("TypeError", 2, "nir: the graph takes {%s = ..}, and '%s' is missing",
                  table.concat(inputs, " = .., "), name)
      end
      given[name] = x[name]
    end
  end
  local values = run(self, given)
  if #outputs == 1 then return values[outputs[1]] end
  local y = {}
  for _, name in ipairs(outputs) do y[name] = values[name] end
  return y
end

-- ---- what is said of it ---------------------------------------------------------------------------------------------

--- A list of {path, type, label, why, in_shape, out_shape} of all nodes, those of subgraphs behind theirs.
function Graph:fidelity() return require "bdl.nir.fidelity"(self) end

--- Edges as chains: "a -> b -> c"; late ones alone.
local function chains(graph)
  local edges, lines, into, outof, used = graph.edges, {}, {}, {}, {}
  for _, edge in ipairs(edges) do
    into[edge[2]], outof[edge[1]] = (into[edge[2]] or 0) + 1, (outof[edge[1]] or 0) + 1
  end
  local function chain(edge)
    local text = edge[1]
    while edge do
      used[edge] = true
      text = text .. " -> " .. edge[2]
      local more
      for _, other in ipairs(edges) do
        if other[1] == edge[2] and not other.late and not used[other] then more = more or other end
      end
      edge = more
    end
    lines[#lines + 1] = text
  end
  for _, roots in ipairs{true, false} do
    for _, edge in ipairs(edges) do
      if not edge.late and not used[edge] and (not into[edge[1]]) == roots then chain(edge) end
    end
  end
  for _, edge in ipairs(edges) do
    if edge.late then
      lines[#lines + 1] = ("%s -> %s%s"):format(edge[1], edge[2], graph:is_late(edge) and "   one step late" or "")
    end
  end
  return lines
end

--- dt of the nodes, or the environ's, as text.
local function dt_text(graph)
  for _, node in graphs.nodes(graph):items() do
    local dt = rawget(node, "dt")
    if dt ~= nil then return tostring(dt) end
  end
  local dt = environ.get("dt", none)
  return dt ~= nil and tostring(dt) or "not set"
end

function Graph:__tostring()
  local rows, widths = {}, {0, 0, 0}
  for k, node in ipairs(self:fidelity()) do
    local shape = text_of(node.out_shape)
    if node.in_shape and node.in_shape ~= node.out_shape then shape = text_of(node.in_shape) .. " -> " .. shape end
    rows[k] = {node.path, node.type, shape, node.label .. (node.why and ": " .. node.why or "")}
    for c = 1, 3 do widths[c] = math.max(widths[c], utf8.len(rows[k][c]) or #rows[k][c]) end
  end
  local lines = {"NIR graph, dt = " .. dt_text(self)}
  for _, row in ipairs(rows) do
    for c = 1, 3 do row[c] = row[c] .. (" "):rep(widths[c] - (utf8.len(row[c]) or #row[c])) end
    lines[#lines + 1] = "  " .. table.concat(row, "  ")
  end
  for _, line in ipairs(chains(self)) do lines[#lines + 1] = "  " .. line end
  return table.concat(lines, "\n")
end

return M

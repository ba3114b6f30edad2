--- How true to NIR the nodes of a graph run; nir.lua has what the labels mean.
local class = require "bdl.class"
local modules = require "bdl.nir.modules"
local nir = require "bdl.nir"
local nn = require "bdl.nn"
local nodes = require "bdl.nir.nodes"
local write = require "bdl.nir.write"

local function of_nn(module)
  if class.of(module) == nn.InputDelay then return nodes.types.Delay.fidelity(module) end
  if not (class.of(module) == nn.LIF or class.of(module) == nn.IF) then return "exact" end
  if module.spk_reset ~= "hard" then return "approximated", "NIR has no soft reset" end
  return "discretised", "exact between spikes, spikes at multiples of dt and at V = V_th, too"
end

local RANK = {exact = 1, discretised = 2, approximated = 3, unsupported = 4}

--- Type, label and why of a module that is no graph.
local function label_of(module, size)
  local ok, name = pcall(modules.encode, module, size, {approximate = true})
  if not ok then return class.qualified_name(class.of(module)), "unsupported", name.message or tostring(name) end
  local own = nodes.types[name].fidelity
  if own and class.of(module) == nir[name] then return name, own(module) end
  return name, of_nn(module)
end

--- The list of Graph:fidelity.
local function list(graph, prefix, rows)
  prefix, rows = prefix or "", rows or {}
  for _, name in ipairs(graph._order) do
    local module = graph.nodes[name]
    if class.isa(module, nn.Sequential) then module = write.graph(module) end
    local row = {path = prefix .. name, in_shape = module.in_size, out_shape = module.out_size}
    rows[#rows + 1] = row
    if class.isa(module, nir.Graph) then
      local from = #rows + 1
      list(module, row.path .. ".", rows)
      row.type, row.label = "NIRGraph", "exact"
      for k = from, #rows do
        if RANK[rows[k].label] > RANK[row.label] then row.label = rows[k].label end
      end
    else
      row.type, row.label, row.why = label_of(module, module.in_size)
    end
  end
  for _, edge in ipairs(graph.edges) do
    local late = graph:is_late(edge) and ("%s arrives a step late"):format(prefix .. edge[1])
    for _, row in ipairs(late and rows or {}) do
      if row.path == prefix .. edge[2] then
        row.label = RANK[row.label] < 2 and "discretised" or row.label
        row.why = (row.why and row.why .. "; " or "") .. late
      end
    end
  end
  return rows
end

return list

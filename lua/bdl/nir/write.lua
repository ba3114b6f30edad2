--- Models as graphs of NIR, and these as files; read.lua has the layout.
local core = require "bdl.core"
local base = require "bdl.array.base"
local class = require "bdl.class"
local none = require "bdl.none".none
local sorted_keys = require "bdl.util".sorted_keys
local graphs = require "bdl.nir.graph"
local modules = require "bdl.nir.modules"
local nn = require "bdl.nn"

local M = {}

local VERSION = "1.0.0"

-- ---- graphs of modules ----------------------------------------------------------------------------------------------

--- The size that a module makes of one; nil: not known.
local function size_after(module, size)
  if module.out_size then return module.out_size end
  if class.isa(module, nn.ElementWiseBlock) then return size end
  if not size or next(sorted_keys(module:states())) then return nil end
  local ok, y = pcall(require "bdl.compile".eval_shape, function(x) return (module(x)) end,
                      base.broadcast_to("nir", core.tensor(0.0), size))
  return ok and {table.unpack(y.shape)} or nil
end

local function need_size(size, what)
  if size then return size end
  core.hint "give {input_shape = {..}}, or in_size to the layers"
  core.fail("ValueError", 4, "nir: the shape of the %s is not known", what)
end

--- Layers in a row as nodes: input, then types in lower case, numbered from the second on.
local function chain(layers, size)
  local by_name, edges, counts, before = {}, {}, {}, "input"
  by_name.input = graphs.Input(need_size(layers[1].in_size or size, "input"))
  size = by_name.input.out_size
  for i, module in ipairs(layers) do
    if not class.isa(module, nn.Module) then
      core.fail("NotSupportedError", 4, "nir: layer %d is a %s; NIR has none", i, class.typename(module))
    end
    if class.isa(module, nn.Sequential) then module = chain({table.unpack(module.layers)}, size) end
    local base_name = class.typename(module):match "[^.]*$":lower()
    local n = counts[base_name] or 0
    counts[base_name] = n + 1
    local name = n == 0 and base_name or ("%s_%d"):format(base_name, n)
    by_name[name] = module
    edges[i] = {before, name}
    before, size = name, size_after(module, size)
  end
  by_name.output = graphs.Output(need_size(size, "output"))
  edges[#edges + 1] = {before, "output"}
  return graphs.Graph(by_name, edges)
end

--- A model as a graph of NIR, to be printed or written: graph(module, {input_shape = {..}}) -> nir.Graph of the same
--  modules.  A Sequential is a chain, one in another a subgraph; any other module one node.
--  Options: input_shape, where the first layer does not say it.
--  Errors: NotSupportedError, a layer that is no module; ValueError, the shape of the input is not known.
--  Example:
--    print(bdl.nir.graph(bdl.nn.Sequential(bdl.nn.Linear(2, 3), bdl.nn.ReLU())))
function M.graph(module, opts)
  opts = base.options("nir.graph", opts, base.names "input_shape")
  if class.isa(module, graphs.Graph) then return module end
  if not class.isa(module, nn.Module) then
    core.fail("TypeError", 2, "nir: a module is needed, not a %s", class.typename(module))
  end
  local size = opts.input_shape and nn.size(opts.input_shape)
  local layers = class.isa(module, nn.Sequential) and {table.unpack(module.layers)} or {module}
  if size and layers[1].in_size and layers[1].in_size ~= size then
    core.fail("ShapeError", 2, "nir: input_shape is %s, but the model takes %s", tostring(size),
              tostring(layers[1].in_size))
  end
  return chain(layers, size)
end

-- ---- the file -------------------------------------------------------------------------------------------------------

--- Types and parameters of all nodes: {name = {type, params, metadata} or a graph of them}; what NIR lacks in `bad`.
local function encode(graph, prefix, opts, bad)
  local encoded, sizes = {}, {}
  for _, edge in ipairs(graph.edges) do sizes[edge[2]] = sizes[edge[2]] or graph.nodes[edge[1]].out_size end
  for name, module in pairs(graph.nodes) do
    if class.isa(module, nn.Sequential) then module = chain({table.unpack(module.layers)}, sizes[name]) end
    if class.isa(module, graphs.Graph) then
      encoded[name] = encode(module, prefix .. name .. ".", opts, bad)
    else
      local ok, kind, params = pcall(modules.encode, module, module.in_size or sizes[name], opts)
      if ok then
        encoded[name] = {type = kind, params = params, metadata = (rawget(graph, "_node_metadata") or {})[name]}
      else
        bad[#bad + 1] = {prefix .. name, kind}
      end
    end
  end
  return {type = "NIRGraph", nodes = encoded, edges = graph.edges, metadata = graph.metadata}
end

local function put_metadata(file, at, map)
  if map == nil or next(map) == nil then return end
  core.hdf5_put_group(file, at)
  for _, key in ipairs(sorted_keys(map)) do
    local value, inner = map[key], at .. "/" .. tostring(key)
    if type(value) == "table" and getmetatable(value) == nil then
      put_metadata(file, inner, value)
    elseif type(value) == "string" then
      core.hdf5_put_text(file, inner, value)
    elseif core.is_tensor(value) or type(value) == "number" or type(value) == "boolean" then
      core.hdf5_put(file, inner, core.is_tensor(value) and value or core.tensor(value))
    else
      core.fail("TypeError", 5, "nir.write: metadata '%s' is a %s; texts and numbers can be written", tostring(key),
                class.typename(value))
    end
  end
end

local function put(file, at, node)
  core.hdf5_put_text(file, at .. "/type", node.type)
  put_metadata(file, at .. "/metadata", node.metadata)
  if node.type ~= "NIRGraph" then
    for _, name in ipairs(sorted_keys(node.params)) do
      local value = node.params[name]
      if type(value) == "string" then core.hdf5_put_text(file, at .. "/" .. name, value)
      else core.hdf5_put(file, at .. "/" .. name, value) end
    end
    return
  end
  local flat = {}
  for _, edge in ipairs(node.edges) do
    flat[#flat + 1] = edge[1]
    flat[#flat + 1] = edge[2]
  end
  core.hdf5_put_texts(file, at .. "/edges", flat, 2)
  for _, name in ipairs(sorted_keys(node.nodes)) do put(file, ("%s/nodes/%s"):format(at, name), node.nodes[name]) end
end

--- Writes a model to a file of NIR, which is there whole or not at all: write(path, module, opts).
--  path, module : the file; a nir.Graph, a Sequential of layers that NIR has, or one of them
--  Numbers keep dtype and every bit; those with a unit are written in SI units, times in seconds.
--  Options: input_shape, where the first layer does not say it; compress (default true); approximate (default false):
--    a soft reset is written as the hard one of NIR.
--  Errors: NotSupportedError, nodes that NIR lacks, all listed; ValueError, TypeError; IOError.
--  Example:
--    local path = os.tmpname()
--    bdl.nir.write(path, bdl.nn.Sequential(bdl.nn.Linear(2, 3), bdl.nir.LIF(3)))
--    print(bdl.nir.read(path))
--    os.remove(path)
function M.write(path, module, opts)
  opts = base.options("nir.write", opts, base.names "input_shape compress approximate")
  if type(path) ~= "string" or path == "" then
    core.fail("TypeError", 2, "nir.write: the path is a string, not %s",
              path == "" and "an empty one" or "a " .. class.typename(path))
  end
  if core.tracing() then
    core.fail("TraceContextError", 2, "nir.write: inside of compiled code there are no values to put into files")
  end
  local bad, graph = {}, M.graph(module, {input_shape = opts.input_shape})
  local encoded = encode(graph, "", opts, bad)
  if #bad > 0 then
    table.sort(bad, function(a, b) return a[1] < b[1] end)
    local lines = {}
    for k, node in ipairs(bad) do
      local e = node[2]
      if type(e) ~= "table" or e.kind ~= "NotSupportedError" then error(e, 0) end
      lines[k] = ("node '%s': %s"):format(node[1], e.message)
    end
    core.hint(bad[1][2].hint or "print(bdl.nir.graph(model)) shows what NIR has of it")
    core.fail("NotSupportedError", 2, "nir.write:%s%s", #lines > 1 and "\n  " or " ", table.concat(lines, "\n  "))
  end
  local file <close> = core.hdf5_create(path, opts.compress ~= false)
  core.hdf5_put_text(file, "/version", VERSION)
  put(file, "/node", encoded)
  core.hdf5_finish(file)
end

return M

--- Files of NIR: HDF5 with the text /version and the graph /node, which has
--
--   type      "NIRGraph"
--   nodes/X   the type of X and its parameters, or the parts of a graph again
--   edges     texts [n, 2]: from, to
--   metadata  (optional) texts and numbers by name, groups of them; nodes may have it, too
--
-- as the Python package nir 1.0 writes them.  Nothing in a file is believed before it was checked.
local core = require "bdl.core"
local base = require "bdl.array.base"
local class = require "bdl.class"
local constants = require "bdl.nn.constants"
local environ = require "bdl.environ"
local suggest = require "bdl.suggest"
local collective = require "bdl.nn.collective"
local none = require "bdl.none".none
local InputDelay = require "bdl.nn.delay".InputDelay
local sorted_keys = require "bdl.util".sorted_keys
local graphs = require "bdl.nir.graph"
local nodes = require "bdl.nir.nodes"

local M = {}

local NEWEST = 1                                 -- version of the format
local DEEPEST, MOST = 32, 100000                 -- of graphs in graphs; of names in a file

-- ---- values ---------------------------------------------------------------------------------------------------------

--- What a read is about: the file, its path, and where in it we are.
local function fail(r, kind, fmt, ...)
  core.fail(kind, 2, "%s%s: %s", r.path, r.where ~= "" and ", " .. r.where or "", fmt:format(...))
end

local function kind_of(r, at) return core.hdf5_kind(r.file, at) end

--- Names in a group, sorted.
local function names_in(r, at, what)
  local kind, n = kind_of(r, at)
  if kind ~= "group" then
    fail(r, "IOError", kind and "%s is no group" or "there is no group %s: no NIR", what or at)
  end
  r.count = r.count + n
  if r.count > MOST then fail(r, "IOError", "more than %d names", MOST) end
  local list = {}
  for i = 1, n do list[i] = core.hdf5_row(r.file, at, i) end
  table.sort(list)
  return list
end

local function read_text(r, at, what)
  local kind, _, shape = kind_of(r, at)
  if kind ~= "text" or #shape > 0 then fail(r, "IOError", kind and "%s is no text" or "it has no %s", what) end
  return core.hdf5_row(r.file, at, 1)
end

--- Numbers as floats.  Errors: IOError; ValueError, one is not a number.
local function read_array(r, at, name)
  if kind_of(r, at) ~= "array" then fail(r, "IOError", "%s is no array of numbers", name) end
  local x = core.hdf5_read(r.file, at)
  if base.KIND[x.dtype] ~= 2 then return core.cast(x, base.real()) end
  local low = x.size > 0 and constants.least(x)
  if low ~= low then fail(r, "ValueError", "%s holds nan", name) end
  return x
end

--- A list of whole numbers.
local function read_counts(r, at, name)
  local kind, _, shape = kind_of(r, at)
  if kind ~= "array" or #shape > 1 then fail(r, "IOError", "%s is no list of whole numbers", name) end
  if (shape[1] or 1) > 16 then fail(r, "IOError", "%s has %d numbers", name, shape[1]) end
  local x = core.hdf5_read(r.file, at)
  local list = x.ndim == 0 and {core.item(x)} or x:totable()
  for k, n in ipairs(list) do
    list[k] = type(n) == "number" and math.tointeger(n)
    if not list[k] then fail(r, "ValueError", "%s is no list of whole numbers", name) end
  end
  return list
end

local readers = {
  array = read_array,
  counts = read_counts,
  count = function(r, at, name)
    local list = read_counts(r, at, name)
    if #list ~= 1 then fail(r, "ShapeError", "%s has %d numbers, not one", name, #list) end
    return list
  end,
  padding = function(r, at, name)
    if kind_of(r, at) ~= "text" then return read_counts(r, at, name) end
    local text = read_text(r, at, name)
    if text ~= "same" and text ~= "valid" then
      fail(r, "ValueError", "%s is numbers, 'same' or 'valid', not '%s'", name, text)
    end
    return text
  end,
}

--- Texts, tensors and tables of them by name; nil: there is none.
local function read_metadata(r, at, depth)
  if not kind_of(r, at) then return nil end
  if depth > DEEPEST then fail(r, "IOError", "metadata is nested too deep") end
  local map = {}
  for _, name in ipairs(names_in(r, at)) do
    local inner = at .. "/" .. name
    local kind, _, shape = kind_of(r, inner)
    if kind == "group" then map[name] = read_metadata(r, inner, depth + 1)
    elseif kind == "array" then map[name] = core.hdf5_read(r.file, inner)
    elseif kind == "text" and #shape == 0 then map[name] = core.hdf5_row(r.file, inner, 1)
    else fail(r, "NotSupportedError", "metadata %s is neither a text nor an array", name) end
  end
  return map
end

-- ---- nodes ----------------------------------------------------------------------------------------------------------

--- Parameters of a node by the kinds of its type.  Errors: KeyError, one is missing or unknown.
local function read_params(r, at, row)
  local p, known = {}, {type = true, metadata = true}
  local there = {}
  for _, name in ipairs(names_in(r, at)) do there[name] = true end
  for _, param in ipairs(row.params) do
    local name, kind = param[1], param[2]
    known[name] = true
    if there[name] then
      p[name] = readers[kind:gsub("?", "")](r, at .. "/" .. name, name)
    elseif not kind:find "?" then
      fail(r, "KeyError", "it has no %s", name)
    end
  end
  for _, name in ipairs(sorted_keys(there)) do
    if not known[name] then
      fail(r, "KeyError", "it has an unknown parameter '%s'%s", name, suggest.hint(name, sorted_keys(known)))
    end
  end
  return p
end

local function read_edges(r, at, has)
  local kind, n, shape = kind_of(r, at .. "/edges")
  if kind == nil then fail(r, "IOError", "it has no edges") end
  local empty = kind == "array" and n == 0
  if not empty and (kind ~= "text" or #shape ~= 2 or shape[2] ~= 2) then
    fail(r, "IOError", "edges are no pairs of names")
  end
  if n > MOST then fail(r, "IOError", "%d edges", n) end
  local list = {}
  for k = 1, empty and 0 or n do
    list[k] = {core.hdf5_row(r.file, at .. "/edges", 2*k - 1), core.hdf5_row(r.file, at .. "/edges", 2*k)}
  end
  return graphs.check_edges(has, list, r.path .. ": " .. (r.where ~= "" and r.where .. ": " or ""))
end

--- f(..); errors say which node it was.
local function at_node(r, where, f, ...)
  local before = r.where
  r.where = where
  local results = table.pack(pcall(f, ...))
  r.where = before
  if results[1] then return table.unpack(results, 2, results.n) end
  local e = results[2]
  if type(e) == "table" and e.message and not e.message:find(r.path, 1, true) then
    e.message = ("%s, %s: %s"):format(r.path, where, e.message)
  end
  error(e, 0)
end

--- Modules by name.  Those that need the size of their input wait for it.
local function build(r, raw, edges, opts)
  local built, waits, feeds = {}, sorted_keys(raw), {}
  for _, edge in ipairs(edges) do
    local list = feeds[edge[2]] or {}
    feeds[edge[2]], list[#list + 1] = list, edge[1]
  end
  while #waits > 0 do
    local still = {}
    for _, name in ipairs(waits) do
      local node, size = raw[name], nil
      for _, from in ipairs(feeds[name] or {}) do size = size or built[from] and built[from].out_size end
      if node.module then
        built[name] = node.module
      elseif size or not node.row.shaped or node.row.shaped(node.params) then
        built[name] = at_node(r, node.where, node.row.make, node.params, size, opts)
      else
        still[#still + 1] = name
      end
    end
    if #still == #waits then
      r.where = raw[still[1]].where
      fail(r, "ShapeError", "the shape of its input is not known")
    end
    waits = still
  end
  return built
end

local read_graph

--- {type, where, row and params, or module, metadata}
local function read_node(r, at, path, depth, opts)
  r.where = ("node '%s'"):format(path)
  local name = read_text(r, at .. "/type", "type")
  local row = nodes.types[name]
  if not row then
    core.hint("known: " .. table.concat(nodes.names(), ", "))
    fail(r, "NotSupportedError", "the type '%s' is not known%s", name, suggest.hint(name, nodes.names()))
  end
  local node = {row = row, where = ("node '%s' (%s)"):format(path, name)}
  if name == "NIRGraph" then
    node.module = read_graph(r, at, path .. ".", depth + 1, opts)
    return node
  end
  r.where = node.where
  node.params = read_params(r, at, row)
  node.metadata = read_metadata(r, at .. "/metadata", 1)
  return node
end

function read_graph(r, at, prefix, depth, opts)
  local where = r.where
  if depth > DEEPEST then fail(r, "IOError", "graphs are nested too deep") end
  local raw, metadata = {}, {}
  for _, name in ipairs(names_in(r, at .. "/nodes", "nodes")) do
    raw[name] = read_node(r, ("%s/nodes/%s"):format(at, name), prefix .. name, depth, opts)
    metadata[name] = raw[name].metadata
  end
  r.where = where
  local edges = read_edges(r, at, raw)
  local built = build(r, raw, edges, opts)
  local about = read_metadata(r, at .. "/metadata", 1)
  local graph = at_node(r, where, graphs.Graph, {nodes = built, edges = edges, metadata = about})
  class.rawfield(graph, "_node_metadata", metadata)
  return graph
end

-- ---- the file -------------------------------------------------------------------------------------------------------

local function check_version(r)
  local text = read_text(r, "/version", "/version: no NIR")
  local major = math.tointeger(tonumber(text:match "^(%d+)%."))
  if not major then fail(r, "IOError", "'%s' is no version of NIR", text:sub(1, 40)) end
  if major > NEWEST then
    fail(r, "NotSupportedError", "it has version %s of NIR, this bdl reads version %d", text:sub(1, 40), NEWEST)
  end
end

--- Reads a model from a file of NIR: read(path, opts) -> nir.Graph, with its States, ready to be called step by step;
--  without any dt those of delays are missing.
--  Options: dt, of a step (default: the environ's when it runs); method, "exact" (default) or "euler", of neurons;
--    batch_size; unknown, "error": what becomes of nodes of unknown types.
--  Weights are ParamStates, and keep dtype and every bit; times are seconds.
--  Errors: IOError, damaged or no NIR; NotSupportedError, nodes of unknown types, later versions, no HDF5; KeyError,
--  ShapeError, ValueError with the node and what is wrong with it.
--  Example:
--    local path = os.tmpname()
--    bdl.nir.write(path, bdl.nn.Sequential(bdl.nn.Linear(2, 3), bdl.nir.LIF(3)))
--    local net = bdl.nir.read(path, {dt = 1*bdl.units.ms})
--    print(net(bdl.ones(2)))
--    os.remove(path)
function M.read(path, opts)
  opts = base.options("nir.read", opts, base.names "dt method batch_size unknown")
  if type(path) ~= "string" then
    core.fail("TypeError", 2, "nir.read: the path is a string, not a %s", class.typename(path))
  end
  if opts.unknown ~= nil and opts.unknown ~= "error" then
    core.fail("ValueError", 2, "nir.read: unknown is 'error', not '%s'", tostring(opts.unknown))
  end
  if opts.method ~= nil and opts.method ~= "exact" and opts.method ~= "euler" then
    core.fail("ValueError", 2, "nir.read: method is 'exact' or 'euler', not '%s'", tostring(opts.method))
  end
  if core.tracing() then
    core.fail("TraceContextError", 2, "nir.read: a model cannot be read inside of compiled code")
  end
  local file <close> = core.hdf5_open(path)
  local r = {file = file, path = path, where = "", count = 0}
  check_version(r)
  local kind = read_text(r, "/node/type", "/node/type: no NIR")
  if kind ~= "NIRGraph" then fail(r, "NotSupportedError", "it holds one node, a %s, and no graph", kind) end
  local graph = read_graph(r, "/node", "", 1, opts)
  local without = opts.dt == nil and environ.get("dt", none) == nil and {node_to_exclude = InputDelay} or nil
  return at_node(r, "its States", collective.init_all_states, graph, opts.batch_size, without)
end

return M

--- A learner as text, and as a drawing: hidden groups, relations, traces with their sizes, what has no trace and why.

local class = require "bdl.class"
local state = require "bdl.state"
local t = require "bdl.augment.trace"

local M = {}

local function bytes(n)
  local units, k = {"B", "kB", "MB", "GB"}, 1
  while n >= 1000 and k < #units do
    n = n / 1000
    k = k + 1
  end
  return ("%.4g %s"):format(n, units[k])
end

local SIZES = {float64 = 8, int64 = 8, bool = 1}

--- Bytes that a State holds.
local function size_of(s)
  local n = 0
  for _, leaf in ipairs(state.abstract(s)) do
    local size = SIZES[leaf.dtype] or 4
    for _, k in ipairs(leaf.shape) do size = size * k end
    n = n + size
  end
  return n
end

--- Bytes of all traces.
function M.memory(learner)
  local n = 0
  for _, s in ipairs(learner.traces) do n = n + size_of(s) end
  return n
end

local function shape(list) return "[" .. table.concat(list, ",") .. "]" end

--- f(from, to) for each entry of a group's D that is not zero, as paths.
local function edges(learner, group, f)
  local d, paths = learner.graph.info.structure.d, group.hidden_paths
  for a = 1, group.num_state do
    for c = 1, group.num_state do
      if d[group._members[a]][group._members[c]] > 0 then f(paths[c], paths[a]) end
    end
  end
end

--- What theory says of the rule on this model: "exact" or "approximate", and why.
function M.prediction(learner)
  local g, config = learner.graph, learner.config
  if config.learning_signal ~= "symmetric" then
    return "another signal", ("learning_signal = '%s' is no gradient of the loss"):format(config.learning_signal)
  end
  for _, d in ipairs(g.report.diagnostics) do
    if d.kind == "cut" or d.kind == "excluded_shape" then return "approximate", d.message end
  end
  if config.trace_factorization == "io_factorized" then return "approximate", "smoothed factors stand for the traces" end
  if config.trace_factorization == "random_projection" then return "unbiased", "right in the mean over draws" end
  if config.temporal_recursion ~= "jacobian" then
    return "approximate", ("temporal_recursion = '%s'"):format(config.temporal_recursion)
  end
  if config.trace_filter ~= "none" then return "approximate", "the trace is filtered" end
  for j, op in ipairs(g.info.structure.ops) do
    if op.recurrent and op.leads then
      local line = op.file and (" (%s:%d)"):format(op.file, op.line) or ""
      local text = "operation %d, %s%s, carries hidden values to other positions; the trace follows a position's own past"
      return "approximate", text:format(j, op.name, line)
    end
  end
  return "exact", "each hidden State depends on its own position alone"
end

function M.text(learner)
  local g, lines = learner.graph, {}
  local function add(fmt, ...) lines[#lines + 1] = fmt:format(...) end
  add("%s of %s", class.typename(learner), class.typename(learner.model))
  for _, group in ipairs(g.hidden_groups) do
    add("\nhidden group %d, %s", group.index, shape(group.varshape))
    for _, path in ipairs(group.hidden_paths) do add("  %s", path) end
    edges(learner, group, function(from, to)
      if from ~= to then add("    %s -> %s", from, to) end
    end)
  end
  for _, r in ipairs(g.relations) do
    local names = {}
    for key, path in r.trainables:items() do names[#names + 1] = path == key and key or path .. "." .. key end
    add("\nrelation %d: %s%s", r.index, r.op, r._op.file and ("  (%s:%d)"):format(r._op.file, r._op.line) or "")
    add("  weights  %s", table.concat(names, ", "))
    add("  x %s  y %s", r.x and t.type_text(r.x) or "-", t.type_text(r.y))
    add("  feeds    %s", table.concat(r.connected_hidden_paths, ", "))
  end
  add("\nparameters")
  for _, d in ipairs(g.report.diagnostics) do add("  %-26s %s", d.kind, d.message) end
  local kind, why = M.prediction(learner)
  add("\ntraces: %s, whatever the number of steps", bytes(M.memory(learner)))
  add("gradient: %s; %s", kind, why)
  return table.concat(lines, "\n")
end

local function quoted(s) return '"' .. s:gsub('[\\"]', "\\%0") .. '"' end

--- The graph in the language of Graphviz.
function M.dot(learner)
  local g, lines = learner.graph, {"digraph etrace {", '  rankdir=LR; node [fontname="sans-serif", fontsize=11];'}
  local function add(fmt, ...) lines[#lines + 1] = "  " .. fmt:format(...) end
  for _, group in ipairs(g.hidden_groups) do
    local label = ("hidden group %d %s"):format(group.index, shape(group.varshape))
    add("subgraph cluster_g%d { label=%s; style=rounded;", group.index, quoted(label))
    for _, path in ipairs(group.hidden_paths) do add("  %s [shape=ellipse];", quoted(path)) end
    add("}")
    edges(learner, group, function(from, to) add("%s -> %s;", quoted(from), quoted(to)) end)
  end
  for _, r in ipairs(g.relations) do
    local name = ("%s %d"):format(r.op, r.index)
    add("%s [shape=box, style=filled, fillcolor=\"#e8eef7\"];", quoted(name))
    add("%s [shape=note]; %s -> %s [style=dashed];", quoted(r.path), quoted(r.path), quoted(name))
    for _, path in ipairs(r.connected_hidden_paths) do add("%s -> %s;", quoted(name), quoted(path)) end
  end
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n")
end

return M

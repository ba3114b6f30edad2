--- What a learner is called with: a step's input, or MultiStepData, several along the first axis.

local class = require "bdl.class"
local core = require "bdl.core"
local tree = require "bdl.tree"
local t = require "bdl.augment.trace"

local M = {}

--- One step's input, said so.
--  Example:
--    print(bdl.online.SingleStepData(bdl.ones(2)))
local SingleStepData = class "SingleStepData"
function SingleStepData:__init(data) self.data = data end

--- Inputs of successive steps along the first axis of every leaf.
--  Example:
--    local cell, opts = bdl.online.nn.GRUCell(2, 3), {vjp_method = "multi-step"}
--    local learner = bdl.online.compile(cell, "D_RTRL", bdl.zeros(2), opts)
--    print(learner(bdl.online.MultiStepData(bdl.ones(5, 2))).shape)
local MultiStepData = class "MultiStepData"
function MultiStepData:__init(data) self.data = data end

for name, cls in pairs{SingleStepData = SingleStepData, MultiStepData = MultiStepData} do
  function cls:__flatten() return name, {"data"}, {self.data} end
  core.tree_kinds[name] = function(_, values) return cls(values[1]) end
  M[name] = cls
end

function M.has_window(args)
  for _, x in ipairs(args) do
    if class.isa(x, MultiStepData) then return true end
  end
  return false
end

--- Row i of every leaf, from 1.
local function row_of(x, i)
  return tree.map(function(leaf)
    leaf = core.is_tensor(leaf) and leaf or core.tensor(leaf)
    if leaf.ndim == 0 then core.fail("ValueError", 5, "MultiStepData: a scalar has no axis of steps") end
    local y = t.reshape(t.rows(leaf, i - 1, i), table.move(leaf.shape, 2, leaf.ndim, 1, {}))
    return y
  end, x)
end

--- Row i of a window; anything else as it is.
function M.row(x, i)
  if class.isa(x, MultiStepData) then return row_of(x.data, i) end
  return class.isa(x, SingleStepData) and x.data or x
end

--- What one step of x looks like.
function M.example(x) return M.row(x, 1) end

function M.unwrap(args)
  local list = {}
  for k, x in ipairs(args) do list[k] = class.isa(x, SingleStepData) and x.data or x end
  return list
end

--- Steps of the windows among the arguments.  Errors: ValueError, they differ.
function M.length(args)
  local length
  for k, x in ipairs(args) do
    for _, leaf in ipairs(class.isa(x, MultiStepData) and core.flatten(x.data) or {}) do
      if length and leaf.shape[1] ~= length then
        core.fail("ValueError", 4, "windows of %d and %d steps (argument %d)", length, leaf.shape[1], k)
      end
      length = leaf.shape[1]
    end
  end
  return length
end

--- Arguments as sequences of one length; what is no window repeats.
function M.sequences(args)
  local n, list = M.length(args), {}
  for k, x in ipairs(args) do
    if class.isa(x, MultiStepData) then
      list[k] = x.data
    else
      list[k] = tree.map(function(leaf)
        leaf = core.is_tensor(leaf) and leaf or core.tensor(leaf)
        return t.broadcast(leaf, t.joined({n}, table.move(leaf.shape, 1, leaf.ndim, 1, {})))
      end, M.row(x, 1))
    end
  end
  return list
end

function M.window_of_one(x)
  return MultiStepData(tree.map(function(leaf)
    leaf = core.is_tensor(leaf) and leaf or core.tensor(leaf)
    return t.reshape(leaf, t.joined({1}, table.move(leaf.shape, 1, leaf.ndim, 1, {})))
  end, M.row(x, 1)))
end

--- The one row of each of the results.
function M.only_row(...)
  local list = table.pack(...)
  for k = 1, list.n do list[k] = row_of(list[k], 1) end
  return table.unpack(list, 1, list.n)
end

return M

--- Marks a traceable operation for the compiler of online learning:  mark(name, f, xs, ws) -> f(xs.., ws)
--  name : "matmul", "conv", ..   xs : list of inputs, may be empty   ws : a weight, or a tree of weights
-- Where a step is analysed it becomes one equation, whose body is what f did; elsewhere f just runs.

local core = require "bdl.core"
local tree = require "bdl.tree"
local t = require "bdl.augment.trace"
local step = require "bdl.online.step"

local function tensor(x) return core.is_tensor(x) and x or core.tensor(x) end

return function(name, f, xs, ws)
  local args = table.move(xs, 1, #xs, 1, {})
  args[#args + 1] = ws
  if not (step.analysing() and core.tracing()) then return f(table.unpack(args)) end
  for k, x in ipairs(args) do args[k] = tree.map(tensor, x) end
  local p = t.differentiated(name, f, args)
  for _, s in ipairs(p.states) do step.check_inside(name, s) end
  local leaves = t.flatten_all(args)
  local operands = t.joined(leaves, {})
  local place = t.places(p, operands, function(_, _, i) return i end)
  local body = core.rewire(p.program, operands, place, #p.units, {}, {})
  local n_weights = #core.flatten(args[#args])
  return table.unpack(t.results(p, core.bind_programs("etrace_op", {body}, operands, #leaves - n_weights, n_weights)))
end

--- Around training: parameters counted, gradients clipped, what a run took.
local core = require "bdl.core"
local base = require "bdl.array.base"
local array = require "bdl.array"
local class = require "bdl.class"
local state = require "bdl.state"
local tree = require "bdl.tree"
local Module = require "bdl.nn.module".Module

local M = {}

--- 1234567 -> "1,234,567"
local function grouped(n)
  local text = tostring(n):reverse():gsub("%d%d%d", "%0,"):reverse()
  return (text:gsub("^,", ""))
end

--- The numbers in the ParamStates of a module, and a table of them as text: path, shape, count, a line each.
--  Example:
--    local n, text = bdl.nn.count_parameters(bdl.nn.Linear(3, 2))
--    print(n, text)
function M.count_parameters(model)
  if not class.isa(model, Module) then
    core.fail("TypeError", 2, "nn.count_parameters: a module was expected, not a %s", class.typename(model))
  end
  local rows, total = {}, 0
  local function row(path, what, count) rows[#rows + 1] = {path, what, grouped(count)} end
  for path, param in model:states(state.ParamState):items() do
    for inner, leaf in tree.zip(param.value) do
      row(inner == "" and path or path .. "." .. inner, ("%s[%s]"):format(leaf.dtype, table.concat(leaf.shape, ",")), leaf.size)
      total = total + leaf.size
    end
  end
  row("total", "", total)
  local widths = {0, 0, 0}
  for _, r in ipairs(rows) do
    for k, text in ipairs(r) do widths[k] = math.max(widths[k], #text) end
  end
  local function space(r, k) return (" "):rep(widths[k] - #r[k]) end
  for i, r in ipairs(rows) do
    rows[i] = ("%s%s  %s%s  %s%s"):format(r[1], space(r, 1), r[2], space(r, 2), space(r, 3), r[3])
  end
  return total, table.concat(rows, "\n")
end

--- g min(1, most / (norm + 1e-6)) for every leaf g of a tree of gradients, norm that of all of them as one vector; and the norm.
--  Options: ord (2; a number or math.huge, as of bdl.norm).
--  Source: Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks. ICML.
--  Example:
--    local clipped, norm = bdl.nn.clip_grad_norm({bdl.tensor{3., 4.}}, 1.0)
--    print(clipped[1], norm)
function M.clip_grad_norm(grads, most, opts)
  opts = base.options("nn.clip_grad_norm", opts, base.names "ord")
  local all = {}
  for k, g in ipairs(tree.leaves(grads)) do all[k] = array.ravel(g) end
  if #all == 0 then return grads, core.tensor(0.0, (core.precision())) end
  local norm = array.norm(array.concatenate(all), {ord = opts.ord or 2})
  local scale = array.minimum(1.0, most / (norm + 1e-6))
  return tree.map(function(g) return g * scale end, grads), norm
end

local UNITS = {"B", "KiB", "MiB", "GiB"}

--- 9.8 MiB
local function bytes(n)
  local k = 1
  while n >= 1024 and k < #UNITS do n, k = n / 1024, k + 1 end
  return ("%.4g %s"):format(n, UNITS[k])
end

--- What a run took, as lines of text: steps and their rate, the parameters of the module if it has any, the most memory so far.
--  Options: steps, seconds.
--  Example:
--    print(bdl.nn.summary(bdl.nn.Linear(3, 2), {steps = 1000, seconds = 2.5}))
function M.summary(model, opts)
  opts = base.options("nn.summary", opts, base.names "steps seconds")
  local lines = {}
  local function line(name, fmt, ...) lines[#lines + 1] = ("%-14s " .. fmt):format(name, ...) end
  if opts.steps and opts.seconds then
    line("time", "%.2f s, %s steps, %.0f steps/s", opts.seconds, grouped(opts.steps), opts.steps / opts.seconds)
  end
  local count = M.count_parameters(model)
  if count > 0 then line("parameters", "%s", grouped(count)) end
  local memory = core.memory()
  line("memory", "%s at most%s", bytes(memory.peak), memory.gpu and ", " .. bytes(memory.gpu.peak) .. " on the GPU" or "")
  return table.concat(lines, "\n")
end

return M

--- Traced recurrent cells: those of bdl.nn, whose linear maps are traced, with one Linear for every gate.
local class = require "bdl.class"
local cells = require "bdl.nn.cells"
local online = require "bdl.online.nn"
local traced = require "bdl.online.traced"

local M = {}

for name, cell in pairs(cells) do
  if class.is_class(cell) and cell.name == name then
    M[name] = online.with_traces(cell)
    M[name].ops, M[name].Linear = traced, online.Linear
  end
end
M.VanillaRNNCell = M.ValinaRNNCell

--- Gates by name, each made and called in that order; what they give in the order `results`.
local function separate(cell, names, results)
  function cell:make_gates(a, n, out)
    for _, name in ipairs(names) do self[name] = self:weights(a, n, out) end
  end
  function cell:gates(xh)
    local of, list = {}, {}
    for _, name in ipairs(names) do of[name] = self[name](xh) end
    for i, name in ipairs(results) do list[i] = of[name] end
    return table.unpack(list)
  end
end

separate(M.GRUCell, {"Wz", "Wr"}, {"Wr", "Wz"})
separate(M.LSTMCell, {"Wi", "Wg", "Wf", "Wo"}, {"Wi", "Wg", "Wf", "Wo"})
separate(M.URLSTMCell, {"Wf", "Wr", "Wu", "Wo"}, {"Wf", "Wr", "Wu", "Wo"})

return M

--- The operations of layers (bdl.nn.ops), marked: a class of layers that has this table as `ops` can be traced.
local core = require "bdl.core"
local base = require "bdl.array.base"
local mark = require "bdl.online.mark"
local plain = require "bdl.nn.ops"

local M = {
  ParamState = require "bdl.online.state".ETraceParam,
  field = "weight_op",
}

local ids = {embedding = true} -- operations whose input stays integer

for _, name in ipairs{"matmul", "grouped_matmul", "lora_matmul", "sparse_matmul", "conv", "embedding"} do
  M[name] = function(x, p, o)
    if not ids[name] and base.KIND[x.dtype] ~= 2 then x = core.cast(x, base.real()) end
    return mark(name, function(z, q) return plain[name](z, q, o) end, {x}, p)
  end
end

function M.element_wise(p, o)
  return mark("element_wise", function(q) return plain.element_wise(q, o) end, {}, p)
end

return M

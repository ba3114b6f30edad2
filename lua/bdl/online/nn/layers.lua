--- Traced layers that are not those of bdl.nn with other operations alone.
local core = require "bdl.core"
local nn = require "bdl.nn"
local traced = require "bdl.online.traced"

local M = {}

--- y = x A B / lora_rank on top of base_module(x); as nn.LoRA, which does not divide.  The State `weight_op` holds {lora_a, lora_b}.
local LoRA = nn.LoRA:extend "LoRA"
M.LoRA = LoRA
LoRA.ops = traced

function LoRA:__init(...)
  LoRA.super.__init(self, ...)
  self.alpha = 1 / self:params().lora_b.shape[1]
end

--- As nn.Embedding, but max_norm, padding_idx, freeze and scale_grad_by_freq, which change gradients outside of the lookup, are refused.
--  The State `weight_op` holds the table.
local Embedding = nn.Embedding:extend "Embedding"
M.Embedding = Embedding
Embedding.ops = traced

local function check(self)
  local found = {}
  for _, name in ipairs{"max_norm", "freeze", "scale_grad_by_freq", "padding_idx"} do
    if self[name] then found[#found + 1] = ("%s = %s"):format(name, tostring(self[name])) end
  end
  if #found > 0 then
    core.hint "nn.Embedding has them, without traces"
    core.fail("NotSupportedError", 3, "online.nn.Embedding cannot trace %s", table.concat(found, ", "))
  end
end

--- Errors: NotSupportedError.
function Embedding:__init(...)
  Embedding.super.__init(self, ...)
  check(self)
end

function Embedding:update(ids)
  check(self)
  return Embedding.super.update(self, ids)
end

--- Embedding.from_pretrained(table [n, size..])
function Embedding.from_pretrained(weights, opts)
  local all = {freeze = false}
  for key, value in pairs(opts or {}) do all[key] = value end
  return nn.Embedding.from_pretrained(weights, all, Embedding)
end

return M

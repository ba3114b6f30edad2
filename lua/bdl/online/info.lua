--- ModuleInfo: the variables of a step and what of the model they are.

local class = require "bdl.class"
local core = require "bdl.core"
local graph = require "bdl.graph"
local state = require "bdl.state"
local step = require "bdl.online.step"
local t = require "bdl.augment.trace"
local util = require "bdl.util"

local M = {}

--- A variable of a program: id, dtype, shape.
local Var = class "Var"
M.Var = Var

function Var:__init(id, type)
  self.id = id
  self.dtype = type.dtype
  self.shape = type.shape
end

function Var:__tostring() return ("%%%d:%s"):format(self.id, t.type_text(self)) end
function Var:__pretty_text() return tostring(self) end

--- Variables by the number of their atom: one object each.
local function variables()
  local known = {}
  return function(id, type)
    known[id] = known[id] or Var(id, type)
    return known[id]
  end
end

--- The variables of a step, as maps from and to paths of States; what extract_module_info gives.
--  Example:
--    local cell = bdl.nn.init_all_states(bdl.online.nn.GRUCell(2, 3))
--    print(bdl.online.extract_module_info(cell, bdl.zeros(2))) -- a ModuleInfo
local ModuleInfo = class "ModuleInfo"
M.ModuleInfo = ModuleInfo

--- The number of leaves of a State and the inputs that are them, by leaf.
local function inputs_of(p, number)
  local list = {}
  for i, k in ipairs(p.state) do
    if k == number then list[p.leaf[i]] = i end
  end
  return list
end

function ModuleInfo:__init(model, args)
  local s = step.trace(model, args)
  local p = s.p
  local ins, outs = {}, {}
  for a, h in ipairs(s.hidden) do
    ins[a] = h.input
    outs[a] = h.output
  end
  local z = core.online_structure(s.flat, ins, outs)
  self.step = s
  self.structure = z
  self.var = variables()
  self.hidden_path_to_invar = util.PrettyMapping()
  self.hidden_path_to_outvar = util.PrettyMapping()
  self.invar_to_hidden_path = util.PrettyMapping()
  self.outvar_to_hidden_path = util.PrettyMapping()
  self.hidden_outvar_to_invar = util.PrettyMapping()
  for a, h in ipairs(s.hidden) do
    local before, after = self.var(z.before[a], h.type), self.var(z.after[a], h.type)
    self.hidden_path_to_invar[h.path] = before
    self.hidden_path_to_outvar[h.path] = after
    self.invar_to_hidden_path[before] = h.path
    self.outvar_to_hidden_path[after] = h.path
    self.hidden_outvar_to_invar[after] = before
  end
  self.weight_invars = {}
  self.weight_path_to_invars = util.PrettyMapping()
  self.invar_to_weight_path = util.PrettyMapping()
  self.compiled_model_states = {}
  for k, x in ipairs(s.touched) do
    self.compiled_model_states[k] = x.state
    if class.isa(x.state, state.ParamState) and x.input then
      local list = {}
      for _, i in ipairs(inputs_of(p, x.number)) do
        local type = {dtype = p.inputs[i].dtype, shape = table.move(p.inputs[i].shape, 1, p.inputs[i].ndim, 1, {})}
        local v = self.var(z.inputs[i], type)
        list[#list + 1] = v
        self.weight_invars[#self.weight_invars + 1] = v
        self.invar_to_weight_path[v] = x.path
      end
      self.weight_path_to_invars[x.path] = list
    end
  end
end

--- The step as text.
function ModuleInfo:__index(key)
  if key == "closed_jaxpr" or key == "closed_ir" then return core.program_text(rawget(self, "step").flat) end
  return class.method(self, key)
end

--- Traces one step, model(..).  Errors: TypeError, the model is no Module; NotSupportedError, the step writes a parameter;
--  ValueError, it touches a State that is not the model's.
--  Example:
--    local cell = bdl.nn.init_all_states(bdl.online.nn.GRUCell(2, 3))
--    print(bdl.online.extract_module_info(cell, bdl.zeros(2)).hidden_path_to_invar)
function M.extract_module_info(model, ...)
  if not class.isa(model, graph.Node) then
    core.fail("TypeError", 2, "extract_module_info: a Module was expected, not a %s", class.typename(model))
  end
  return ModuleInfo(model, {...})
end

return M

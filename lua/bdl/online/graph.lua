--- What a step is made of, for learning: hidden groups, relations of weights to them, perturbations, and the report on all.

local class = require "bdl.class"
local core = require "bdl.core"
local state = require "bdl.state"
local util = require "bdl.util"
local t = require "bdl.augment.trace"

local M = {}

-- ---- hidden groups ---------------------------------------------------------------------------------------------------------

--- Hidden States that determine each other element by element within a step; they share one shape, `varshape`.
local HiddenGroup = class "HiddenGroup"

function HiddenGroup:__init(info, index, members)
  local hidden, z = info.step.hidden, info.structure
  self.index = index
  self.hidden_paths, self.hidden_states, self.hidden_invars, self.hidden_outvars = {}, {}, {}, {}
  for k, a in ipairs(members) do
    local h = hidden[a]
    self.hidden_paths[k] = h.path
    self.hidden_states[k] = h.state
    self.hidden_invars[k] = info.var(z.before[a], h.type)
    self.hidden_outvars[k] = info.var(z.after[a], h.type)
  end
  self.varshape = hidden[members[1]].type.shape
  self.num_state = #members
  class.rawfield(self, "_members", members)
end

--- States of the group, one value each, in a new last axis; and back.
function HiddenGroup:concat_hidden(values)
  local list = {}
  for k, x in ipairs(values) do list[k] = core.mantissa(x) end
  return require "bdl.array".stack(list, {axis = -1})
end

function HiddenGroup:split_hidden(x)
  local values = {}
  for k = 1, self.num_state do values[k] = core.bind("reshape", {shape = self.varshape}, t.rows(t.move(x, x.ndim - 1, 0), k - 1, k)) end
  return values
end

local function check_shapes(info, members)
  local hidden = info.step.hidden
  local first = hidden[members[1]]
  for _, a in ipairs(members) do
    if t.type_text(hidden[a].type):match "%[.*" ~= t.type_text(first.type):match "%[.*" then
      core.fail("NotSupportedError", 4, "hidden States that depend on each other differ in shape: %s %s and %s %s", first.path,
                t.type_text(first.type), hidden[a].path, t.type_text(hidden[a].type))
    end
  end
end

--- The hidden groups of a step, and path -> its group.
--  Errors: NotSupportedError, members of a group differ in shape.
--  Example:
--    local cell = bdl.nn.init_all_states(bdl.online.nn.GRUCell(2, 3))
--    local info = bdl.online.extract_module_info(cell, bdl.zeros(2))
--    print(bdl.online.find_hidden_groups_from_minfo(info)[1].hidden_paths[1])
function M.find_hidden_groups_from_minfo(info)
  local members, groups, of_path = {}, {}, util.PrettyMapping()
  for a, g in ipairs(info.structure.group) do
    members[g] = members[g] or {}
    table.insert(members[g], a)
  end
  for g, list in ipairs(members) do
    check_shapes(info, list)
    groups[g] = HiddenGroup(info, g, list)
    for _, path in ipairs(groups[g].hidden_paths) do of_path[path] = groups[g] end
  end
  return groups, of_path
end

-- ---- relations --------------------------------------------------------------------------------------------------------------

--- y = op(x, weight), where y reaches hidden States of the same step element by element.
local Relation = class "HiddenParamOpRelation"

--- Operands of the operation that are leaves of parameters: {operand, path, state, leaf, key}
local function weights_of(info, op)
  local s, list = info.step, {}
  local of_number = {}
  for _, x in ipairs(s.touched) do of_number[x.number] = x end
  for k = op.inputs + 1, op.inputs + op.weights do
    local i = op.operands[k].input
    local x = i > 0 and of_number[s.p.state[i]]
    if x and class.isa(x.state, state.ParamState) then
      local leaf = s.p.leaf[i]
      list[#list + 1] = {operand = k, path = x.path, state = x.state, leaf = leaf, input = i, key = M.leaf_name(x.state, leaf)}
    end
  end
  return list
end

--- The name of a leaf of the State's tree: "weight", "bias"; "" of a State that is one tensor.
function M.leaf_name(s, leaf)
  local names = {}
  for k in ipairs(state.abstract(s)) do names[k] = k end
  local numbered = core.unflatten(core.state_treedef(rawget(s, "_handle")), names)
  local function find(x, path)
    if x == leaf then return path end
    if type(x) ~= "table" then return nil end
    for _, key in ipairs(util.sorted_keys(x)) do
      local found = find(x[key], require "bdl.path".join(path, key))
      if found then return found end
    end
  end
  return find(numbered, "") or ""
end

--- Weight k of an operation, where its State is one tensor.
local function operand_name(op, k)
  local names = op.name == "lora_matmul" and {"bias", "lora_a", "lora_b"} or {"bias", "weight"}
  return names[#names - op.weights + k] or "weight"
end

function Relation:__init(info, j, op, weights, groups, connected)
  self.index = 0
  self.path = weights[1].path
  self.op = op.name
  self.x = op.inputs > 0 and info.var(op.operands[1].atom, op.operands[1]) or nil
  self.y = info.var(op.result.atom, op.result)
  self.hidden_groups = groups
  self.connected_hidden_paths = connected
  self.trainables = util.PrettyMapping()
  for _, w in ipairs(weights) do self.trainables[w.key == "" and operand_name(op, w.operand - op.inputs) or w.key] = w.path end
  class.rawfield(self, "_op", op)
  class.rawfield(self, "_number", j)
  class.rawfield(self, "_weights", weights)
end

local function place(x) return x.file and (" (%s:%d)"):format(x.file, x.line) or "" end

--- Operations whose weights may come from several parameters.
local SEVERAL = {lora_matmul = true, matmul = true, grouped_matmul = true, conv = true}

local function check_one_parameter(op, weights)
  for _, w in ipairs(weights) do
    if w.state ~= weights[1].state and not SEVERAL[op.name] then
      core.fail("CompilationError", 4, "%s%s: one operation has one parameter, not '%s' and '%s'", op.name, place(op), weights[1].path, w.path)
    end
  end
end

--- Why an operation has no relation: kind and text.
local function exclusion(info, j, op)
  for _, cut in ipairs(info.structure.cuts) do
    if cut.op == j then
      return "excluded_shape", ("its result reaches hidden States only through %s%s, which is not element-wise"):format(cut.prim, place(cut))
    end
  end
  if op.leads then return "excluded_weight_to_weight", "it reaches hidden States only through another weighted operation" end
  return "excluded_non_temporal", "it reaches no hidden State of the same step"
end

--- The relations of a step in the order of its operations.  report : (optional) a list for what takes part and what does not.
--  Errors: CompilationError, an operation with several parameters.
--  Example:
--    local cell = bdl.nn.init_all_states(bdl.online.nn.GRUCell(2, 3))
--    local info = bdl.online.extract_module_info(cell, bdl.zeros(2))
--    local _, of_path = bdl.online.find_hidden_groups_from_minfo(info)
--    print(bdl.online.find_hidden_param_op_relations_from_minfo(info, of_path)[1].path)
function M.find_hidden_param_op_relations_from_minfo(info, of_path, report)
  local z, hidden, list = info.structure, info.step.hidden, {}
  report = report or {}
  for j, op in ipairs(z.ops) do
    local weights = weights_of(info, op)
    check_one_parameter(op, weights)
    local groups, connected, seen = {}, {}, {}
    for a, h in ipairs(hidden) do
      if z.df[a][j] > 0 then
        connected[#connected + 1] = h.path
        local g = of_path[h.path]
        if not seen[g] then groups[#groups + 1] = g end
        seen[g] = true
      end
    end
    if #weights == 0 then
      report[#report + 1] = {kind = "excluded_no_param", op = op.name, message = op.name .. place(op) .. ": no operand is a parameter"}
    elseif #groups == 0 then
      local kind, why = exclusion(info, j, op)
      for k, w in ipairs(weights) do
        if k == 1 or w.path ~= weights[k - 1].path then
          report[#report + 1] = {kind = kind, op = op.name, weight_path = w.path,
                                 message = ("%s in %s%s: %s; its gradient is that of the step"):format(w.path, op.name, place(op), why)}
        end
      end
    else
      table.sort(groups, function(a, b) return a.index < b.index end)
      list[#list + 1] = Relation(info, j, op, weights, groups, connected)
      list[#list].index = #list
    end
  end
  for _, op in ipairs(z.inner) do
    report[#report + 1] = {kind = "excluded_control_flow", op = op.name,
                           message = ("%s%s stands inside of a %s: no trace; its gradient is that of the step"):format(op.name, place(op), op.inside)}
  end
  return list
end

-- ---- perturbation -----------------------------------------------------------------------------------------------------------

--- The step with h + delta in place of each new hidden value h: dL/d delta is dL/dh of that step.
local HiddenPerturbation = class "HiddenPerturbation"

--- program, groups : of the perturbed step
function HiddenPerturbation:__init(info, program)
  local hidden = info.step.hidden
  self.perturb_vars, self.perturb_hidden_paths, self.perturb_hidden_states = {}, {}, {}
  for a, h in ipairs(hidden) do
    self.perturb_vars[a] = info.var(#info.step.p.inputs + a - 1, h.type)
    self.perturb_hidden_paths[a] = h.path
    self.perturb_hidden_states[a] = h.state
  end
  class.rawfield(self, "_program", program)
  class.rawfield(self, "_hidden", hidden)
end

--- Perturbations of zero, one a hidden State.
function HiddenPerturbation:init_perturb_data()
  local list = {}
  for a, h in ipairs(self._hidden) do list[a] = t.inside(function() return {t.zeros(h.type)} end)[1] end
  return list
end

--- The step with a perturbation added to each of its hidden states, whose gradients are the learning signals.
--  relations : those whose weights go behind stop_gradient, nil: none
--  within : a perturbation acts within its own group too, as in braintrace.
--  Example:
--    local cell = bdl.nn.init_all_states(bdl.online.nn.GRUCell(2, 3))
--    local info = bdl.online.extract_module_info(cell, bdl.zeros(2))
--    print(bdl.online.add_hidden_perturbation_from_minfo(info).perturb_vars[1])
function M.add_hidden_perturbation_from_minfo(info, relations, within)
  local s, z = info.step, info.structure
  local ins, outs, detached, first = {}, {}, {}, {}
  for a, h in ipairs(s.hidden) do
    ins[a] = h.input
    outs[a] = h.output
  end
  for j, op in ipairs(z.ops) do
    first[j] = #detached
    for _ = 1, #op.operands do detached[#detached + 1] = false end
  end
  for _, r in ipairs(relations or {}) do
    for _, w in ipairs(r._weights) do
      if not w.excluded then detached[first[r._number] + w.operand] = true end
    end
  end
  return HiddenPerturbation(info, core.online_perturb(s.flat, ins, outs, not within and z.group or nil, detached))
end

class.qualify({HiddenGroup = HiddenGroup, HiddenParamOpRelation = Relation, HiddenPerturbation = HiddenPerturbation}, "online")
return M

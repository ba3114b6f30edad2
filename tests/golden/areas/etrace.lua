--- Online learning: forward pass and BPTT; then structure, traces and gradients of the rule, step by step or by windows.
local bdl = require "bdl"
local models = require "tests.golden.areas.etrace_models"
local rules = require "tests.golden.areas.etrace_rules"
local nn = bdl.nn

local M = {}

local MANTISSA = {mantissa = true}

local function array(case, name) return case.arrays[name] or error(("the case has no array '%s'"):format(name), 0) end

-- ---- names --------------------------------------------------------------------------------------------------------------------

--- A path of bdl as the case writes it: list positions from 0, `weight` for traced parameters, merged synapses shortened.
local function name_of(path, keep_op)
  path = path:gsub('%["Expon.- // (%u+).-"%]', function(out) return (".<expon//%s>"):format(out:lower()) end)
  path = path:gsub("%[(%d+)%]", function(i) return (".%d"):format(i - 1) end)
  if keep_op then return path end
  return (path:gsub("readout%.weight_op$", "readout.W"):gsub("weight_op$", "weight"))
end
M.name_of = name_of

--- The names that a case gives to States: `list` in order, `state[name]`, `name[path or State]`; those that repeat get #1, #2.
function M.named(states, keep_op)
  local of, seen = {list = {}, state = {}, name = {}}, {}
  for path, s in states:items() do
    local name = name_of(path, keep_op)
    seen[name] = (seen[name] or -1) + 1
    if seen[name] > 0 then name = ("%s#%d"):format(name, seen[name]) end
    of.list[#of.list + 1] = name
    of.state[name], of.name[path], of.name[s] = s, name, name
  end
  return of
end

--- {leaf, value} of a parameter's value: {"", x} for one tensor.
local function leaves(value)
  if type(value) ~= "table" then return {{"", value}} end
  local list = {}
  for _, key in ipairs(bdl.util.sorted_keys(value)) do list[#list + 1] = {"." .. key, value[key]} end
  return list
end
M.leaves = leaves

--- Sets a State from the arrays `prefix`, `prefix.leaf`.
function M.fill(case, t, s, prefix)
  if case.arrays[prefix] then
    s.value = t.array(case, prefix)
  else
    local value = {}
    for _, leaf in ipairs(leaves(s.value)) do value[leaf[1]:sub(2)] = t.array(case, prefix .. leaf[1]) end
    s.value = value
  end
end

--- The value of a tree at ".weight", or the tree for "".
local function at(tree, leaf) return leaf == "" and tree or tree[leaf:sub(2)] end

-- ---- the model ---------------------------------------------------------------------------------------------------------------

--- A case: the model with its weights, and what runs it.
function M.build(case, t, build, keep_op)
  local p = t.quantity(case.params)
  local self = {case = case, t = t, p = p, T = p.T}
  self.model = build(p.model_args or p, p, case, t)
  nn.init_all_states(self.model, p.batch)
  self.params, self.hidden = self.model:states(bdl.ParamState), self.model:states(bdl.HiddenState)
  self.weights, self.states = M.named(self.params, keep_op), M.named(self.hidden, keep_op)
  for name, s in pairs(self.weights.state) do M.fill(case, t, s, "w." .. name) end
  function self.restart()
    for name, s in pairs(self.states.state) do s.value = t.array(case, "h0." .. name) end
  end
  self.restart()
  --- f(name in the case, gradient) for each leaf of each parameter.
  function self.each_gradient(grads, f)
    for path, s in self.params:items() do
      for _, leaf in ipairs(leaves(s.value)) do f(self.weights.name[s] .. leaf[1], at(grads[path], leaf[1])) end
    end
  end
  self.loss_of, self.leaves = M.loss_of, leaves
  self.x, self.target = t.array(case, "x"), t.array(case, "target")
  return self
end

function M.loss_of(out, target) return bdl.mean((bdl.units.get_mantissa(out) - target)^2) end

--- Forward pass by itself and, where the case has it, the gradient of the summed loss through time.
function M.through_time(self)
  local case, t = self.case, self.t
  local exact = false
  for name in pairs(case.arrays) do exact = exact or name:find "^bptt_grad" ~= nil end
  local function run()
    self.restart()
    local out = table.pack(bdl.for_loop(function(x, y)
      local o = self.model(x)
      local h = {}
      for i, name in ipairs(self.states.list) do h[i] = self.states.state[name].value end
      return M.loss_of(o, y), o, table.unpack(h)
    end, self.x, self.target))
    return bdl.sum(out[1]), {table.unpack(out, 1, out.n)}
  end
  local aux, grads = bdl.jit(function()
    if not exact then return (select(2, run())) end
    local g, results = bdl.grad(run, self.params, {has_aux = true})()
    return results, g
  end)()
  t.compare("loss", aux[1], array(case, "loss"))
  t.compare("out", aux[2], array(case, "out"), MANTISSA)
  for i, name in ipairs(self.states.list) do
    if exact and not case.params.windows then t.compare("h." .. name, aux[i + 2], array(case, "h." .. name), MANTISSA) end
  end
  if exact then
    self.each_gradient(grads, function(name, g) t.compare("bptt_grad." .. name, g, array(case, "bptt_grad." .. name), MANTISSA) end)
  end
  self.restart()
end

function M.run(case, t)
  local p = t.quantity(case.params)
  local build = models[p.model]
  if not build then t.skip("no model '%s'", tostring(p.model)) end
  local _ <close> = bdl.environ.context{dt = p.dt}
  local self = M.build(case, t, build, case.source:match "^brainscale" ~= nil)
  M.through_time(self)
  rules.compare(self)
end

return setmetatable(M, {__call = function(_, ...) return M.run(...) end})

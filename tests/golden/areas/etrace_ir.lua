--- What the compiler of online learning sees in a model: numbers, paths and shapes of States, parameters, groups, relations.
local bdl = require "bdl"
local etrace = require "tests.golden.areas.etrace"
local models = require "tests.golden.areas.etrace_models"
local nn, online = bdl.nn, bdl.online

local function shape_of(var) return table.move(var.shape, 1, #var.shape, 1, {}) end

local function set_of(list, key)
  local set = {}
  for _, x in ipairs(list) do set[key and x[key] or x] = true end
  return set
end

local function build(case, p)
  local a = p.model_args
  if not a then return online.testing.ALIF_STPExpCu_Dense_Layer(p.n_in, p.n_rec), p.n_in, true end
  local kind = a.n_recs and "snn_stack" or a.tau_syn and "expcu" or "delta"
  return models[kind](a, p, case), a.n_in, false
end

--- {name = shape} of paths and variables.
local function shapes(names, map)
  local list = {}
  for path, var in map:items() do list[names[path]] = shape_of(var) end
  return list
end

local function wanted(list)
  local shapes_of = {}
  for _, x in ipairs(list) do shapes_of[x.path] = x.shape end
  return shapes_of
end

return function(case, t)
  local p, want = t.quantity(case.params), case.structure
  local _ <close> = bdl.environ.context{dt = p.dt or 0.1 * bdl.units.ms}
  local model, n_in, keep_op = build(case, p)
  nn.init_all_states(model)
  local hidden = etrace.named(model:states(bdl.HiddenState), keep_op).name
  local weights = etrace.named(model:states(bdl.ParamState), keep_op).name
  local info = online.extract_module_info(model, bdl.random.rand(n_in))
  t.eq("hidden states", #info.hidden_path_to_invar, want.n_hidden)
  t.eq("compiled states", #info.compiled_model_states, want.n_compiled_states)
  t.eq("hidden", shapes(hidden, info.hidden_path_to_invar), wanted(want.hidden))
  local invars = {}
  for path, list in info.weight_path_to_invars:items() do
    local of = {}
    for i, var in ipairs(list) do of[i] = shape_of(var) end
    invars[weights[path]] = of
  end
  local want_invars = {}
  for _, w in ipairs(want.weights) do want_invars[w.path] = w.shapes end
  t.eq("weights", invars, want_invars)

  local groups, of_path = online.find_hidden_groups_from_minfo(info)
  t.eq("groups", #groups, want.n_groups)
  t.eq("paths in groups", #of_path, want.n_paths_in_groups)
  local function paths(list)
    local names = {}
    for i, path in ipairs(list) do names[i] = hidden[path] end
    return set_of(names)
  end
  for i, g in ipairs(want.groups) do
    local group
    for _, found in ipairs(groups) do
      if paths(found.hidden_paths)[g.hidden[1]] then group = found end
    end
    t.eq("group " .. i, {paths(group.hidden_paths), #group.hidden_invars, #group.hidden_outvars, #group.hidden_states},
         {set_of(g.hidden), g.n_invars, g.n_outvars, #g.hidden})
  end

  local relations = online.find_hidden_param_op_relations_from_minfo(info, of_path)
  t.eq("relations", #relations, want.n_relations)
  for i, r in ipairs(want.relations) do
    local relation
    for _, found in ipairs(relations) do
      if weights[found.path] == r.path then relation = found end
    end
    t.eq("relation " .. i, {shape_of(relation.x), shape_of(relation.y), #relation.hidden_groups, paths(relation.connected_hidden_paths)},
         {r.x_shape, r.y_shape, r.n_groups, set_of(r.connected_hidden)})
  end

  local perturb = online.add_hidden_perturbation_from_minfo(info)
  t.eq("perturbations", {#perturb.perturb_vars, #perturb.perturb_hidden_paths, #perturb.perturb_hidden_states},
       {want.n_perturb, want.n_perturb, want.n_perturb})
  t.eq("perturbed", paths(perturb.perturb_hidden_paths), type(want.perturb[1]) == "table" and set_of(want.perturb, "path") or set_of(want.perturb))
end

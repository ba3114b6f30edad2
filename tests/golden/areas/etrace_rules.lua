--- A learner of a case against its structure, its traces and its gradients, step by step or window by window.
local bdl = require "bdl"
local online = bdl.online

local M = {}

local MANTISSA = {mantissa = true}

-- ---- the learner -----------------------------------------------------------------------------------------------------------------

--- Names of the references that differ from ours.
local ALGORITHMS = {
  ParamDimVjpAlgorithm = "DiagParamDimAlgorithm", IODimVjpAlgorithm = "DiagIODimAlgorithm", HybridDimVjpAlgorithm = "DiagHybridDimAlgorithm",
}

--- Arrays `prefix<i>` of the case, i from 0, as a list.
local function numbered(case, t, prefix)
  local list, i = {}, 0
  while case.arrays[prefix .. i] do
    list[i + 1] = t.array(case, prefix .. i)
    i = i + 1
  end
  return i > 0 and list or nil
end

local function make(self)
  local case, t, p = self.case, self.t, self.p
  local opts = {vjp_method = p.vjp_method, decay_or_rank = p.decay_or_rank, kappa_filter_decay = p.kappa_filter_decay, sparse_n = p.n,
                nu = numbered(case, t, "nu.g")}
  opts.compat = case.source:match "^braintrace" and "braintrace-0.2.6" or "brainscale-0.1.0"
  opts.config = p.config and online.ETraceConfig(p.config)
  opts.feedback = numbered(case, t, "feedback.g")
  local known, algorithm = pcall(function() return online[ALGORITHMS[p.algorithm] or p.algorithm] end)
  if not known then t.skip("no algorithm %s", p.algorithm) end
  local learner = algorithm(self.model, opts)
  learner:compile_graph(self.x[1])
  return learner
end

-- ---- structure -----------------------------------------------------------------------------------------------------------------

local function set_of(list)
  local set = {}
  for _, x in ipairs(list) do set[x] = true end
  return set
end

local function names(self, paths)
  local list = {}
  for i, path in ipairs(paths) do list[i] = self.states.name[path] end
  return list
end

local function shape_of(var) return table.move(var.shape, 1, #var.shape, 1, {}) end

--- The groups and relations of the learner in the order of the case, and where the case has each state of a group.
local function correspond(self, learner)
  local case, t, graph = self.case, self.t, learner.graph
  local want = case.structure
  t.eq("number of groups", #graph.hidden_groups, #want.groups)
  t.eq("number of relations", #graph.relations, #want.relations)
  local groups, places = {}, {}
  for i, g in ipairs(want.groups) do
    for _, group in ipairs(graph.hidden_groups) do
      if set_of(g.hidden)[self.states.name[group.hidden_paths[1]]] then groups[i] = group end
    end
    if not groups[i] then error(("no group holds %s"):format(table.concat(g.hidden, ", ")), 0) end
    local mine = names(self, groups[i].hidden_paths)
    t.eq(("hidden states of group %d"):format(i), set_of(mine), set_of(g.hidden))
    if g.varshape then t.eq("varshape", shape_of{shape = groups[i].varshape}, g.varshape) end
    t.eq("num_state", groups[i].num_state, g.num_state)
    local at = {}
    for k, name in ipairs(mine) do at[name] = k - 1 end
    places[i] = {}
    for k, name in ipairs(g.hidden) do places[i][k] = at[name] end
  end
  local relations, taken = {}, {}
  for i, r in ipairs(want.relations) do
    local paths = {}
    if r.path then paths[r.path] = true end
    for _, leaf in pairs(r.trainables or {}) do paths[leaf.path] = true end
    for _, relation in ipairs(graph.relations) do
      if not relations[i] and not taken[relation] and paths[self.weights.name[relation.path]] then relations[i] = relation end
    end
    local found = relations[i]
    if not found then error(("no relation of %s"):format(next(paths)), 0) end
    taken[found] = true
    if r.x_shape then t.eq("x of relation", shape_of(found.x), r.x_shape) end
    t.eq("y of relation", shape_of(found.y), r.y_shape)
    t.eq("connected hidden states", set_of(names(self, found.connected_hidden_paths)), set_of(r.connected_hidden))
    local indices = {}
    for k, j in ipairs(r.groups) do indices[k] = groups[j + 1].index end
    local mine = {}
    for k, group in ipairs(found.hidden_groups) do mine[k] = group.index end
    t.eq("groups of relation", set_of(mine), set_of(indices))
    for key, leaf in pairs(r.trainables or {}) do
      local path = found.trainables[key]
      t.eq(("'%s' of relation %d"):format(key, i), path and self.weights.name[path], leaf.path)
    end
  end
  return {groups = groups, places = places, relations = relations}
end

-- ---- traces ----------------------------------------------------------------------------------------------------------------------

--- A trace with its states in the order of the case, last; axis: where they are, of SnAp for each neighbour.
local function in_order(x, axis, places)
  x = bdl.maybe_state(x)
  local order = {}
  for first = 0, #places == 1 and axis == -1 and -1 or x.shape[axis] - #places, #places do
    for _, place in ipairs(places) do order[#order + 1] = first + place end
  end
  if #order < 2 then return x end
  return bdl.take(bdl.moveaxis(x, axis, -1), bdl.tensor(order, {dtype = "int32"}), {axis = -1})
end

--- {name in the case, tensor} for every trace of the learner.
local function traces(self, learner, c)
  local brainscale = self.case.source:match "^brainscale" ~= nil
  local list, of, index_of, taken, pair = {}, {}, {}, {}, -1
  local bwg, xs, dfs = learner.etrace_bwg or {}, learner.etrace_xs or {}, learner.etrace_dfs or {}
  local function add(x, fmt, ...) list[#list + 1] = {fmt:format(...), x} end
  for i, relation in ipairs(c.relations) do of[relation] = i - 1 end
  for j, group in ipairs(c.groups) do index_of[group] = j - 1 end
  for _, relation in ipairs(learner.graph.relations) do
    local i = of[relation]
    if relation.x and xs[relation.x] ~= nil then
      add(bdl.maybe_state(xs[relation.x]), brainscale and "trace.etrace_xs.%d" or "trace_x.r%d", i)
    end
    for _, group in ipairs(relation.hidden_groups) do
      local j, to = index_of[group], " -> group " .. group.index
      pair = pair + 1
      local f = dfs[tostring(relation.y) .. to]
      if f ~= nil then
        add(in_order(f, -1, c.places[j + 1]), brainscale and "trace.etrace_dfs.%d" or "trace_f.r%d.g%d", brainscale and pair or i, j)
      end
      for key, path in relation.trainables:items() do
        local where = path .. (bdl.typename(learner.model:states()[path].value) == "table" and "." .. key or "") .. to
        while taken[where] do where = where .. "'" end
        if bwg[where] ~= nil then
          taken[where] = true
          add(in_order(bwg[where], 1, c.places[j + 1]), brainscale and "trace.etrace_bwg.%d.%s" or "trace.r%d.g%d.%s",
              brainscale and pair or i, brainscale and key or j, key)
        end
      end
    end
  end
  for j, group in ipairs(learner.etrace_s and c.groups or {}) do -- UORO
    add(in_order(learner.etrace_s[("group %d"):format(group.index)], 1, c.places[j]), "trace_s.g%d", j - 1)
    for path, weight in self.params:items() do
      for _, leaf in ipairs(self.leaves(weight.value)) do
        local theta = learner.etrace_theta[("%s%s -> group %d"):format(path, leaf[1], group.index)]
        if theta ~= nil then add(bdl.maybe_state(theta), "trace_theta.g%d.%s%s", j - 1, self.weights.name[weight], leaf[1]) end
      end
    end
  end
  return list
end

--- A stack of traces against the array of that name: the state axis of a group with one state may be absent.
local function compare_trace(t, name, got, want)
  local size = 1
  for _, n in ipairs(want.shape) do size = size * n end
  if got.size == size then got = got:reshape(want.shape) end
  t.compare(name, got, want, MANTISSA)
end

-- ---- steps and windows -----------------------------------------------------------------------------------------------------------

--- A list of tensors with their names, as several results of a compiled function.
local function named_results()
  local self = {names = {}, values = {}}
  function self.add(name, x)
    self.names[#self.names + 1] = name
    self.values[#self.values + 1] = x
  end
  return self
end

--- One call of the learner: its loss, output, gradients, and what it leaves behind.
local function call(self, learner, c, x, y, loss_of)
  local r = named_results()
  local grads, _, aux = bdl.grad(function()
    local out = bdl.units.get_mantissa(learner(x))
    local losses = loss_of(out, y)
    return bdl.sum(losses), {losses, out}
  end, self.params, {return_value = true, has_aux = true})()
  r.add("loss", aux[1])
  r.add("out", aux[2])
  for _, name in ipairs(self.states.list) do r.add("h." .. name, self.states.state[name].value) end
  self.each_gradient(grads, function(name, g) r.add("grad." .. name, g) end)
  for _, trace in ipairs(traces(self, learner, c)) do r.add(trace[1], trace[2]) end
  return r
end

--- A stacked result against the case's array `where`, and the sum of gradients.
local function compare_one(self, name, where, got)
  local case, t = self.case, self.t
  local want, summed = case.arrays[where], name:find "^grad%." and case.arrays[name:gsub("^grad%.", "grad_sum.")]
  if summed then t.compare("sum of " .. where, bdl.sum(got, {axis = 1}), summed, MANTISSA) end
  if name:find "^trace" then
    compare_trace(t, where, got, want or error(("the case has no array '%s'"):format(where), 0))
  elseif want then
    t.compare(where, got, want, MANTISSA)
  elseif not summed and not name:find "^h%." then
    error(("the case has no array '%s'"):format(where), 0)
  end
end

local function single_steps(self, learner, c)
  local case, t = self.case, self.t
  local order
  local modulator = case.arrays.modulator and t.array(case, "modulator") or nil
  local results = table.pack(bdl.for_loop(function(x, y, m)
    if m then learner.modulator.value = m end
    local r = call(self, learner, c, x, y, self.loss_of)
    order = r.names
    return table.unpack(r.values)
  end, self.x, self.target, modulator))
  for i, name in ipairs(order) do compare_one(self, name, name, results[i]) end
end

--- Where the case has what a call of a window leaves behind.
local function at_window(name)
  if name:find "^h%." then return "h_window_end." .. name:sub(3) end
  if name:find "^grad%." then return "grad_window." .. name:sub(6) end
  return name:find "^trace" and name .. ".window_end" or name
end

local function each_loss(self) return bdl.vmap(self.loss_of) end

local function windows(self, learner, c)
  local columns, order, at = {}, nil, 0
  for _, n in ipairs(self.p.windows) do
    local rows = {at + 1, at + n}
    local r = call(self, learner, c, online.MultiStepData(self.x[{rows}]), self.target[{rows}], each_loss(self))
    order = r.names
    for i, x in ipairs(r.values) do
      columns[i] = columns[i] or {}
      table.insert(columns[i], x)
    end
    at = at + n
  end
  for i, name in ipairs(order) do
    local where = at_window(name)
    compare_one(self, name, where, where == name and bdl.concatenate(columns[i], {axis = 1}) or bdl.stack(columns[i]))
  end
end

--- self : a case built by etrace.build.
function M.compare(self)
  local learner = make(self)
  local c = correspond(self, learner)
  self.restart()
  if self.p.windows then windows(self, learner, c) else single_steps(self, learner, c) end
end

return M

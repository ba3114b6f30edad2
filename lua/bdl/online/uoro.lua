--- The influence of all weights on a hidden group as one product, of s over the group and theta over the weights: UORO.
--
--   s_t = rho0 D_t s_t-1 + rho1 nu_t          theta_t = theta_t-1/rho0 + (nu_t dh_t/dtheta)/rho1
--   rho0 = sqrt((|theta| + eps)/(|D s| + eps))          rho1 = sqrt((|nu dh/dtheta| + eps)/(|nu| + eps))
--   dL/dtheta = (L . s) theta          nu_t : signs, at random
--
-- D is the whole Jacobian of the group, of which only its product with s is needed.  Right on average over nu; its variance
-- grows with the number of steps that it spans.  Memory: states + weights.
-- Source: Tallec & Ollivier 2018, Unbiased online recurrent optimization.

local core = require "bdl.core"
local class = require "bdl.class"
local coupled = require "bdl.online.coupled"
local Values = require "bdl.online.values"
local t = require "bdl.augment.trace"

local UORO = class "RandomProjection"

local function bind(prim, ...) return core.bind(prim, {}, ...) end
local function sum(a, b) return a and b and bind("add", a, b) or a or b end

--- options.key : of the signs (42);  options.eps : (1e-12);  options.nu : (optional) signs of each group,
--  [steps, group.., states].
function UORO:__init(graph, config, options)
  self.graph, self.config, self.options = graph, config, options
  self.key = require "bdl.random".key(options.key or 42)
  self.eps = options.eps or 1e-12
  self.parts = {} -- {group, weights = {{input, weight}..}, forward}
  for _, group in ipairs(graph.hidden_groups) do
    local part, seen = {group = group, weights = {}, relations = {}}, {}
    for _, relation in ipairs(graph.relations) do
      for _, g in ipairs(relation.hidden_groups) do
        if g == group then table.insert(part.relations, relation) end
      end
    end
    for _, relation in ipairs(part.relations) do
      for _, w in ipairs(relation._weights) do
        if not seen[w.input] then
          seen[w.input] = true
          table.insert(part.weights, {input = w.input, weight = w, type = relation._op.operands[w.operand]})
        end
      end
    end
    if #part.weights > 0 then
      part.type = graph.info.step.hidden[group._members[1]].type
      part.forward = coupled.forward(graph, group)
      self.parts[#self.parts + 1] = part
    end
  end
end

function UORO:types()
  local list = {}
  for _, p in ipairs(self.parts) do
    local shape = t.joined({p.group.num_state}, p.group.varshape)
    list[#list + 1] = {type = {dtype = p.type.dtype, shape = shape}, name = ("etrace_s.%d"):format(p.group.index)}
    for k, w in ipairs(p.weights) do
      local type = {dtype = w.type.dtype, shape = w.type.shape}
      list[#list + 1] = {type = type, name = ("etrace_theta.%d.%d"):format(p.group.index, k)}
    end
  end
  return list
end

--- The signs of a step: those given, or drawn for its number.  [states, group..]
function UORO:signs(p, steps)
  local given = self.options.nu and self.options.nu[p.group.index]
  local shape = t.joined({p.group.num_state}, p.group.varshape)
  if given then
    local nu = core.cast(core.bind("gather", {axis = 0}, given, steps), p.type.dtype)
    return t.move(nu, nu.ndim - 1, 0)
  end
  local random = require "bdl.random"
  local key = random.fold_in(random.fold_in(self.key, steps), p.group.index)
  local one = core.cast(core.tensor(1.0), p.type.dtype)
  local heads = bind("lt", random.uniform(0, 1, {size = shape, key = key}), 0.5)
  return bind("select", heads, t.broadcast(one, shape), t.broadcast(bind("neg", one), shape))
end

--- D s, by forward mode along s.
function UORO:along(p, s, values)
  local step, tangents = self.graph.info.step, {}
  for slot, o in ipairs(p.forward.order) do
    local h = step.hidden[p.group._members[o.k]]
    tangents[slot] = core.cast(t.reshape(t.rows(s, o.k - 1, o.k), h.type.shape), h.type.dtype)
  end
  local out, rows = core.apply(p.forward.program, t.joined(values.inputs, tangents)), {}
  for k, a in ipairs(p.group._members) do
    local x = out[p.forward.place[step.hidden[a].output]]
    rows[k] = core.cast(t.reshape(x, t.joined({1}, p.group.varshape)), p.type.dtype)
  end
  return core.bind("concatenate", {axis = 0}, table.unpack(rows))
end

--- nu dh/dtheta of the weights, by input: each operation's gradient for the cotangent sum over states of nu Df.
function UORO:projected(p, nu, values)
  local of = {}
  for _, relation in ipairs(p.relations) do
    local op, ct = relation._op, nil
    for a = 1, p.group.num_state do
      local df = Values.like_y(relation, values:df(p.group, a, relation))
      if df then
        local own = Values.like_y(relation, t.reshape(t.rows(nu, a - 1, a), p.group.varshape))
        local x = bind("mul", core.cast(own, df.dtype), df)
        ct = sum(ct, x.ndim > #op.result.shape and core.bind("reduce_sum", {axes = {0}}, x) or x)
      end
    end
    local function is_weight(k) return k > op.inputs and k <= op.inputs + op.weights end
    relation._pull = relation._pull or core.derive(op.body, "vjp", t.flags(#op.operands, is_weight))
    local out = core.apply(relation._pull, t.joined(values:operands(relation), {ct}))
    for _, w in ipairs(relation._weights) do of[w.input] = sum(of[w.input], out[1 + w.operand - op.inputs]) end
  end
  return of
end

local function square(x)
  local axes = {}
  for k = 1, x.ndim do axes[k] = k - 1 end
  return core.bind("reduce_sum", {axes = axes}, bind("mul", x, x))
end

--- sqrt((|xs| + eps)/(|ys| + eps)), norms over all of a list.
function UORO:ratio(xs, ys)
  local function norm(list)
    local total
    for _, x in ipairs(list) do total = sum(total, core.cast(square(x), "float64")) end
    return bind("add", bind("sqrt", total), self.eps)
  end
  return bind("sqrt", bind("div", norm(xs), norm(ys)))
end

local function over(x, rho) return bind("div", x, core.cast(rho, x.dtype)) end
local function times(x, rho) return bind("mul", x, core.cast(rho, x.dtype)) end

--- steps : the number of those before this one.
function UORO:advance(old, values, steps)
  local new, at = {}, 1
  for _, p in ipairs(self.parts) do
    local s, theta, projected = old[at], table.move(old, at + 1, at + #p.weights, 1, {}), {}
    local nu = self:signs(p, steps)
    local ds, of = self:along(p, s, values), self:projected(p, nu, values)
    for k, w in ipairs(p.weights) do projected[k] = of[w.input] end
    local rho0, rho1 = self:ratio(theta, {ds}), self:ratio(projected, {nu})
    new[at] = bind("add", times(ds, rho0), times(nu, rho1))
    for k in ipairs(theta) do new[at + k] = bind("add", over(theta[k], rho0), over(projected[k], rho1)) end
    at = at + 1 + #p.weights
  end
  return new
end

function UORO:gradient(traces, _, signal)
  local of, at = {}, 1
  for _, p in ipairs(self.parts) do
    local total
    for a = 1, p.group.num_state do
      local l = core.cast(t.reshape(signal(p.group, a), t.joined({1}, p.group.varshape)), p.type.dtype)
      local axes = {}
      for k = 1, l.ndim do axes[k] = k - 1 end
      total = sum(total, core.bind("reduce_sum", {axes = axes}, bind("mul", l, t.rows(traces[at], a - 1, a))))
    end
    for k, w in ipairs(p.weights) do of[w.input] = sum(of[w.input], times(traces[at + k], total)) end
    at = at + 1 + #p.weights
  end
  return of
end

function UORO:maps(states)
  local util = require "bdl.util"
  local s, theta, at = util.PrettyMapping(), util.PrettyMapping(), 1
  for _, p in ipairs(self.parts) do
    s[("group %d"):format(p.group.index)] = states[at]
    for k, w in ipairs(p.weights) do
      w.state = states[at + k]
      local path = w.weight.path .. (w.weight.key ~= "" and "." .. w.weight.key or "")
      theta[("%s -> group %d"):format(path, p.group.index)] = w.state
    end
    at = at + 1 + #p.weights
  end
  return {etrace_s = s, etrace_theta = theta}
end

--- theta of a parameter, by its path or itself.
function UORO:of(weight)
  local found = require "bdl.util".PrettyMapping()
  for _, p in ipairs(self.parts) do
    for _, w in ipairs(p.weights) do
      if w.weight.state == weight or w.weight.path == weight then
        found[("%s -> group %d"):format(w.weight.key == "" and "weight" or w.weight.key, p.group.index)] = w.state
      end
    end
  end
  return found
end

return UORO

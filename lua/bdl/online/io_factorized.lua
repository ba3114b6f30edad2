--- Traces of inputs and of outputs, whose product stands for those of the weights: ES-D-RTRL (pp_prop).
--
--   ex_t = ax ex_t-1 + x_t          ef_t = af D_t ef_t-1 + (1 - af) Df_t          c_t = 1 - af^(n+1)
--   dL_t/dW = the operation's gradient at ex_t for the cotangent sum over states of L_t ef_t / c_t
--
-- n : steps before this one; from 1000 on c is 1.  Memory: inputs + states x outputs.
-- Source: Wang et al. 2024, eqs. of ES-D-RTRL; braintrace for the correction of the start.

local base = require "bdl.array.base"
local core = require "bdl.core"
local class = require "bdl.class"
local Values = require "bdl.online.values"
local t = require "bdl.augment.trace"

local IOFactorized = class "IOFactorized"

local SETTLED = 1000 -- steps after which the start no longer matters

function IOFactorized:__init(graph, config, options)
  self.graph = graph
  self.config = config
  self.options = options
  self.xs, self.fs = {}, {} -- {relation, operand, type, weight}, {relation, group, y, type}
  local seen = {}
  for _, relation in ipairs(graph.relations) do
    local op = relation._op
    relation._x = {}
    for k = 1, op.inputs do
      local x = op.operands[k]
      if not t.is_float(x.dtype) then
        self:add_lifted(relation, k)
      else
        if not seen[x.atom] then
          self.xs[#self.xs + 1] = {relation = relation, operand = k, type = {dtype = op.result.dtype, shape = x.shape}}
          seen[x.atom] = #self.xs
        end
        relation._x[k] = seen[x.atom]
      end
    end
    for _, group in ipairs(relation.hidden_groups) do
      local copies = Values.copies(relation, group)
      local y = copies > 1 and t.joined({copies}, op.result.shape) or op.result.shape
      local shape = group.num_state > 1 and t.joined(y, {group.num_state}) or y
      self.fs[#self.fs + 1] = {relation = relation, group = group, y = y, type = {dtype = op.result.dtype, shape = shape}}
    end
  end
end

--- Integers say which weights take part: their trace is that of the ones and zeros that stand for them, one for each weight.
function IOFactorized:add_lifted(relation, k)
  relation._lifted = relation._lifted or {}
  for _, w in ipairs(relation._weights) do
    if not w.excluded and w.term.x then
      self.xs[#self.xs + 1] = {relation = relation, operand = k, weight = w,
                               type = {dtype = relation._op.result.dtype, shape = {w.term.r, w.term.i}}}
      relation._lifted[w] = #self.xs
      relation._x[k] = relation._x[k] or #self.xs
    end
  end
end

function IOFactorized:types()
  local list = {}
  for i, x in ipairs(self.xs) do list[#list + 1] = {type = x.type, name = ("etrace_xs.%d"):format(i)} end
  for i, f in ipairs(self.fs) do list[#list + 1] = {type = f.type, name = ("etrace_dfs.%d"):format(i)} end
  return list
end

local function times(x, number)
  if number == 1 then return x end
  return core.bind("mul", {}, x, core.cast(core.tensor(number), x.dtype))
end

local function sum(a, b) return a and b and core.bind("add", {}, a, b) or a or b end

--- State c of a trace of outputs; the axis of states is last, and there where there are several.
local function of_state(f, trace, c)
  if f.group.num_state == 1 then return trace end
  return t.reshape(base.slice_axis(trace, #f.y, c - 1, c), f.y)
end

local function of_states(f, list)
  if #list == 1 then return list[1] end
  for c, x in ipairs(list) do list[c] = t.reshape(x, t.joined(f.y, {1})) end
  return core.bind("concatenate", {axis = #f.y}, table.unpack(list))
end

function IOFactorized:advance(old, values)
  local new, n = {}, #self.xs
  local recursion, decay = self.config.temporal_recursion, self.config.decay
  for i, x in ipairs(self.xs) do
    local now = core.cast(x.weight and values:lift(x.weight.term, x.relation) or values:operand(x.relation, x.operand), x.type.dtype)
    new[i] = recursion[1] == "none" and now or core.bind("add", {}, times(old[i], decay[1]), now)
  end
  for i, f in ipairs(self.fs) do
    local rows = {}
    local function before(c) return of_state(f, old[n + i], c) end
    for a = 1, f.group.num_state do
      local carried
      for c = 1, f.group.num_state do
        local d = recursion[2] == "jacobian" and (self.options.coupled and self.options.coupled(values, f.group, a, c) or values:d(f.group, a, c))
        if d then carried = sum(carried, core.bind("mul", {}, Values.like_y(f.relation, d), before(c))) end
        if recursion[2] == "scalar_leak" and a == c then carried = before(c) end
      end
      local df = Values.like_y(f.relation, values:df(f.group, a, f.relation))
      rows[a] = sum(carried and times(carried, decay[2]), df and times(df, 1 - decay[2])) or t.zeros{dtype = f.type.dtype, shape = f.y}
    end
    new[n + i] = of_states(f, rows)
  end
  return new
end

--- c of the step, from the number of those before it.
function IOFactorized:correction(steps)
  local af = self.config.decay[2]
  local base = self.options.correct_by_gain and 1 - af or af
  local n = core.cast(steps, "float32")
  local c = core.bind("sub", {}, 1.0, core.bind("pow", {}, core.tensor(base, "float64"), core.cast(core.bind("add", {}, n, 1.0), "float64")))
  c = core.bind("max", {}, c, core.tensor(1e-8, "float64"))
  return core.bind("select", {}, core.bind("ge", {}, n, core.tensor(SETTLED + 0.0, "float32")), core.tensor(1.0, "float64"), c)
end

local function cotangent(self, traces, values, relation, signal, c)
  local total
  for i, f in ipairs(self.fs) do
    if f.relation == relation then
      for a = 1, f.group.num_state do
        local l = signal(f.group, a)
        if l then
          local ct = core.bind("mul", {}, Values.like_y(relation, l), of_state(f, traces[#self.xs + i], a))
          if #f.y > #relation._op.result.shape then ct = core.bind("reduce_sum", {axes = {0}}, ct) end
          total = sum(total, ct)
        end
      end
    end
  end
  return total and core.bind("div", {}, total, core.cast(c, total.dtype))
end

--- The operation's gradient by its weights.
local function pull(self, traces, values, relation, ct)
  local op = relation._op
  local operands = values:operands(relation)
  for k = 1, op.inputs do
    operands[k] = traces[relation._x[k]]
  end
  relation._pull = relation._pull or core.derive(op.body, "vjp", t.flags(#op.operands, function(k) return k > op.inputs and k <= op.inputs + op.weights end))
  local out, grads = core.apply(relation._pull, t.joined(operands, {ct})), {}
  for _, w in ipairs(relation._weights) do grads[w] = out[1 + w.operand - op.inputs] end
  return grads
end

--- The same from the terms of the weights: sum over rows of x times ct, in inputs and outputs.
local function pull_lifted(traces, values, relation, ct)
  local grads = {}
  for _, w in ipairs(relation._weights) do
    if not w.excluded then
      local term = w.term
      local _, phi, psi = values:lift(term, relation)
      local x = relation._lifted[w] and traces[relation._lifted[w]] or t.broadcast(core.cast(core.tensor(1.0), ct.dtype), {term.r, term.i})
      local y = Values.spread(term, phi and core.bind("mul", {}, ct, phi) or ct)
      local groups = {term.r // term.q, term.q}
      local g = core.bind("dot", {lhs_contract = {0}, rhs_contract = {0}, lhs_batch = {1}, rhs_batch = {1}},
                          t.reshape(x, t.joined(groups, {term.i})), t.reshape(y, t.joined(groups, {term.k})))
      grads[w] = values:fold(term, relation, psi and core.bind("mul", {}, g, psi) or g)
    end
  end
  return grads
end

function IOFactorized:gradient(traces, values, signal, steps)
  local of, c = {}, self:correction(steps)
  for _, relation in ipairs(self.graph.relations) do
    local ct = cotangent(self, traces, values, relation, signal, c)
    if ct then
      local grads = relation._lifted and pull_lifted(traces, values, relation, ct) or pull(self, traces, values, relation, ct)
      for _, w in ipairs(relation._weights) do
        if not w.excluded then of[w.input] = sum(of[w.input], grads[w]) end
      end
    end
  end
  return of
end

function IOFactorized:maps(states)
  local util = require "bdl.util"
  local xs, dfs = util.PrettyMapping(), util.PrettyMapping()
  self.states = states
  for i, x in ipairs(self.xs) do xs[self.graph.info.var(x.relation._op.operands[x.operand].atom, x.type)] = states[i] end
  for i, f in ipairs(self.fs) do dfs[("%s -> group %d"):format(tostring(f.relation.y), f.group.index)] = states[#self.xs + i] end
  return {etrace_xs = xs, etrace_dfs = dfs}
end

--- The traces of a parameter, by its path or itself.
function IOFactorized:of(weight)
  local found = require "bdl.util".PrettyMapping()
  for _, relation in ipairs(self.graph.relations) do
    for _, w in ipairs(relation._weights) do
      if w.state == weight or w.path == weight then
        for k, i in ipairs(relation._x) do found[("x%d of %s"):format(k, relation.op)] = self.states[i] end
        for i, f in ipairs(self.fs) do
          if f.relation == relation then found[("f of group %d"):format(f.group.index)] = self.states[#self.xs + i] end
        end
      end
    end
  end
  return found
end

return IOFactorized

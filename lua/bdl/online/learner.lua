--- ETraceAlgorithm: a model that learns online.  Calling it runs the model's step and advances the traces; derivatives of what
-- it returns, by the parameters, are those of the traces.
--
--   h_t is perturbed by delta_t(W) = 0, whose derivative by W is the trace: dL_t/dW = dL_t/dh_t . e_t, by plain reverse mode.
--   Weights without a trace, inputs and readouts have their direct derivative of the step.  Nothing flows to earlier steps.
--
-- vjp_method = "multi-step": a call may take MultiStepData, a window of k steps, in which derivatives flow freely; what was
-- before the window comes from the traces.  A window over all steps is backpropagation through time.

local class = require "bdl.class"
local core = require "bdl.core"
local custom = require "bdl.augment.custom"
local graph = require "bdl.online.graph"
local info = require "bdl.online.info"
local input = require "bdl.online.input"
local Module = require "bdl.nn.module".Module
local signals = require "bdl.online.signal"
local state = require "bdl.state"
local step = require "bdl.online.step"
local t = require "bdl.augment.trace"
local Values = require "bdl.online.values"
local NONE = require "bdl.none".none

local M = {}

local FACTORS = {per_param = "bdl.online.per_param", io_factorized = "bdl.online.io_factorized", random_projection = "bdl.online.uoro"}
local COMPAT = {["braintrace-0.2.6"] = true, ["brainscale-0.1.0"] = true}
M.COMPAT = COMPAT

--- A trace, or what else an algorithm remembers.
local ETraceMemory = state.ShortTermState:extend "ETraceMemory"

--- For the command line, each optional: called with every learner that was compiled; with one and its arguments at every step (traced
--  ones too, none of without_traces); when its traces are reset; and (sequence.lua) at every etrace_grad.
M.on_compile, M.on_step, M.on_reset, M.on_grad = nil, nil, nil, nil

--- What all learners share: a model, the analysis of its step, the traces, and the gradients that come of them.
--  States: running_index, how often it was called; the traces.
--  Example:
--    local learner = bdl.online.compile(bdl.online.nn.GRUCell(2, 3), "D_RTRL", bdl.zeros(2))
--    print(learner:is(bdl.online.ETraceAlgorithm))
local ETraceAlgorithm = Module:extend "ETraceAlgorithm"
M.ETraceAlgorithm = ETraceAlgorithm

--- What a learner knows of its model: graph, report, factors, inputs, signal, jit, and the maps of traces.  Not fields of it:
--  they lead to the model's States, whose paths are the model's.
local parts = setmetatable({}, {__mode = "k"})

local index = ETraceAlgorithm.__index or Module.__index

function ETraceAlgorithm.__index(self, key)
  local mine = parts[self]
  if mine and mine[key] ~= nil then return mine[key] end
  return index(self, key)
end

--- config : ETraceConfig;  opts : name, vjp_method ("single-step"), compat, and what the algorithm's signal needs.
function ETraceAlgorithm:__init(model, config, opts)
  opts = opts or {}
  if not class.isa(model, require "bdl.graph".Node) then
    core.fail("TypeError", 3, "%s: a Module was expected, not a %s", class.typename(self), class.typename(model))
  end
  if opts.vjp_method ~= nil and opts.vjp_method ~= "single-step" and opts.vjp_method ~= "multi-step" then
    core.fail("ValueError", 3, "%s: vjp_method is 'single-step' or 'multi-step', not '%s'", class.typename(self), tostring(opts.vjp_method))
  end
  if opts.compat and not COMPAT[opts.compat] then
    core.fail("ValueError", 3, "%s: compat is 'braintrace-0.2.6' or 'brainscale-0.1.0', not '%s'", class.typename(self), tostring(opts.compat))
  end
  local by_windows = config.update_schedule ~= "per_step"
  if by_windows and opts.vjp_method == "single-step" then
    core.fail("ValueError", 3, "%s: update_schedule = '%s' needs vjp_method = 'multi-step'", class.typename(self), config.update_schedule)
  end
  ETraceAlgorithm.super.__init(self, opts.name)
  self.model = model
  self.config = config
  self.vjp_method = opts.vjp_method or by_windows and "multi-step" or "single-step"
  parts[self] = {_options = opts, _loops = setmetatable({}, {__mode = "k"})}
end

-- ---- compilation ---------------------------------------------------------------------------------------------------------------

--- Is there an input that no trace of inputs can hold as it is?
local function takes_integers(op)
  for k = 1, op.inputs do
    if not t.is_float(op.operands[k].dtype) then return true end
  end
  return false
end

--- Does the operation's result stand in hidden States several times?
local function grows(relation)
  for _, group in ipairs(relation.hidden_groups) do
    if Values.copies(relation, group) > 1 then return true end
  end
  return false
end

--- Each leaf of a parameter with its term, or why it has none.
local function find_terms(g, report, needed)
  for _, relation in ipairs(g.relations) do
    for _, w in ipairs(relation._weights) do
      local term, why = core.online_term(g.info.step.flat, relation._number, w.operand)
      w.term = term
      if grows(relation) and (relation._op.inputs > 0 or not term or term.r > 1 or term.x) then
        term, why = nil, "its result is repeated along other axes of the hidden States"
        w.excluded = true
      end
      w.excluded = w.excluded or not term and (needed or takes_integers(relation._op))
      local name = w.path .. (w.key ~= "" and "." .. w.key or "")
      report[#report + 1] = w.excluded and {kind = "excluded_structure", weight_path = w.path, leaf = w.key, op = relation.op,
                                            message = ("%s in %s has no trace of its own: %s"):format(name, relation.op, why)}
        or {kind = "included", weight_path = w.path, leaf = w.key, op = relation.op,
            message = ("%s in %s -> %s"):format(name, relation.op, table.concat(relation.connected_hidden_paths, ", "))}
    end
  end
end

--- Parameters that no operation takes, and paths that are left out.
local function report_rest(g, report)
  local seen = {}
  for _, d in ipairs(report) do seen[d.weight_path or ""] = true end
  for path in g.info.weight_path_to_invars:items() do
    if not seen[path] then
      report[#report + 1] = {kind = "direct", weight_path = path, message = path .. ": no traceable operation; its gradient is that of the step"}
    end
  end
  for _, cut in ipairs(g.info.structure.cuts) do
    if cut.hidden > 0 then
      local h = g.info.step.hidden[cut.hidden]
      report[#report + 1] = {kind = "cut", hidden_path = h.path, message = ("%s acts through %s%s, which is not element-wise: not in the trace"):format(
        h.path, cut.prim, cut.file and (" (%s:%d)"):format(cut.file, cut.line) or "")}
    end
  end
end

local Report = class "CompilationReport"

function Report:__init(diagnostics)
  self.diagnostics = diagnostics
  self.counts = {}
  for _, d in ipairs(diagnostics) do self.counts[d.kind] = (self.counts[d.kind] or 0) + 1 end
end

function Report:__tostring()
  local lines = {}
  for i, d in ipairs(self.diagnostics) do lines[i] = ("%-26s %s"):format(d.kind, d.message) end
  return table.concat(lines, "\n")
end

local function analyse(self, args)
  local g = {info = info.extract_module_info(self.model, table.unpack(args))}
  local report = {}
  g.hidden_groups, g.hid_path_to_group = graph.find_hidden_groups_from_minfo(g.info)
  g.relations = graph.find_hidden_param_op_relations_from_minfo(g.info, g.hid_path_to_group, report)
  g.hidden_param_op_relations = g.relations
  find_terms(g, report, self.config.trace_factorization == "per_param")
  report_rest(g, report)
  g.hidden_perturb = graph.add_hidden_perturbation_from_minfo(g.info, g.relations, self._options.compat ~= nil)
  g.report = Report(report)
  return g
end

--- The distinct leaves of parameters that have traces, by input number, in order.
local function traced_inputs(g)
  local list, seen = {}, {}
  for _, relation in ipairs(g.relations) do
    for _, w in ipairs(relation._weights) do
      if not w.excluded and not seen[w.input] then
        seen[w.input] = true
        list[#list + 1] = w.input
      end
    end
  end
  return list
end

local function setup(self, g)
  local opts = self._options
  parts[self].graph = g
  parts[self].report = g.report
  local more = {clip = opts.compat == "brainscale-0.1.0", correct_by_gain = opts.compat == "brainscale-0.1.0"}
  if self.config.recurrence_scope == "coupled" then more.coupled = require "bdl.online.coupled".blocks(g) end
  more.most, more.reference = opts.snap_max_jacobian_elements, opts.compat == "braintrace-0.2.6"
  more.key, more.eps, more.nu = opts.projection_key, opts.projection_eps, opts.nu
  local Factors = opts.Factors or require(self.config.recurrence_scope == "sparse_n" and "bdl.online.snap" or FACTORS[self.config.trace_factorization])
  parts[self]._factors = Factors(g, self.config, more)
  parts[self]._inputs = traced_inputs(g)
end

local function make_memory(self)
  local list = {}
  for i, x in ipairs(self._factors:types()) do
    local zeros <close> = t.zeros(x.type) -- the State has it; two of a large trace are one too many
    list[i] = ETraceMemory(zeros, {name = x.name})
  end
  self.traces = list
  self.running_index = ETraceMemory(core.tensor(0, "int32"), {name = "running_index"})
  if self.vjp_method == "multi-step" and self._options.compat then
    self.windows = ETraceMemory(core.tensor(0, "int32"), {name = "windows"})
  end
  for name, map in pairs(self._factors:maps(list)) do parts[self][name] = map end
end

--- Analyses the model's step for these arguments and makes the traces; a second call does nothing.
--  Errors: those of extract_module_info; NotImplementedError, from inside itself.
function ETraceAlgorithm:compile_graph(...)
  if self._compiling then core.fail("NotImplementedError", 2, "compile_graph calls itself; the model must not call its learner") end
  if self._compiled then return self end
  local args = {...}
  if #args == 0 then core.fail("ValueError", 2, "compile_graph: an example of the step's input is needed") end
  for k, x in ipairs(args) do args[k] = input.example(x) end
  parts[self]._compiling = true
  local ok, g = xpcall(analyse, core.traceback, self, args)
  parts[self]._compiling = false
  if not ok then error(g, 0) end
  setup(self, g)
  make_memory(self)
  parts[self].signal = signals.make(self.config.learning_signal, self, self._options)
  parts[self]._compiled = true
  if M.on_compile then M.on_compile(self) end
  parts[self]._jit = require "bdl.compile".jit(function(...) return self:_run(...) end)
  return self
end

--- Traces of zero; the model's States stay.
function ETraceAlgorithm:reset_state(batch_size)
  self:_need_compiled "reset_state"
  if batch_size ~= nil then
    core.hint "nn.reset_all_states(learner.model, batch_size) resets the model; the traces keep the batch of the example"
    core.fail("ValueError", 2, "%s: the traces' batch is fixed when it is compiled", class.typename(self))
  end
  if M.on_reset then M.on_reset(self) end
  for i, x in ipairs(self._factors:types()) do self.traces[i].value = t.zeros(x.type) end
  self.running_index.value = core.tensor(0, "int32")
  if self.windows then self.windows.value = core.tensor(0, "int32") end
end

function ETraceAlgorithm:_need_compiled(who)
  if self._compiled then return end
  core.hint "learner:compile_graph(example)"
  core.fail("ValueError", 3, "%s.%s: the learner is not compiled yet", class.typename(self), who)
end

--- Environ has changed since the step was traced: the step is traced again, with the same traces.
local function refresh(self, args)
  if step.same_world(self.graph.info.step) then return end
  local before = self._factors:types()
  local g = analyse(self, args)
  setup(self, g)
  local now = self._factors:types()
  for i, x in ipairs(before) do
    if not now[i] or t.type_text(x.type) ~= t.type_text(now[i].type) then
      core.fail("CompilationError", 3, "the model's step has another structure in this environ; make another learner")
    end
  end
  for name, map in pairs(self._factors:maps(self.traces)) do parts[self][name] = map end
end

-- ---- a step -------------------------------------------------------------------------------------------------------------------

local function held(operands)
  local list = {}
  for i, x in ipairs(operands) do list[i] = t.is_float(x.dtype) and core.bind("stop_gradient", {}, core.mantissa(x)) or x end
  return list
end

--- The traces after a step from operands that nothing is differentiated by.
local function advance(self, operands)
  local z = self.graph.info.structure
  local values = Values(z, operands)
  local old = {}
  for i, s in ipairs(self.traces) do old[i] = s.value end
  return self._factors:advance(old, values, self.running_index.value), values
end

--- Zeros at the positions of all hidden States, whose derivative by the weights is that of the traces for what signal says.
local function perturbation(self, operands, traces, values, steps)
  local hidden = self.graph.info.step.hidden
  local weights = {}
  for k, i in ipairs(self._inputs) do weights[k] = core.mantissa(operands[i]) end
  local function zeros()
    local list = {}
    for a, h in ipairs(hidden) do list[a] = t.broadcast(core.tensor(-0.0, h.type.dtype), h.type.shape) end
    return list
  end
  if #weights == 0 then return zeros() end
  local f = custom.custom_vjp(zeros)
  f:defvjp(zeros, function(_, l)
    local signal = self.signal(l)
    local of = self._factors:gradient(traces, values, signal, steps)
    local list = {}
    for k, i in ipairs(self._inputs) do list[k] = of[i] or NONE end
    return list
  end)
  return f(weights)
end

--- Operands of the perturbed step: what is differentiated by stays, what the step before gave is held.
local function own(self, operands)
  local p, list = self.graph.info.step.p, {}
  local traced = {}
  for _, i in ipairs(self._inputs) do traced[i] = true end
  for i, x in ipairs(operands) do
    local s = p.state[i] > 0 and state.of_id[p.states[p.state[i]].id]
    local parameter = s and class.isa(s, state.ParamState)
    local free = not s or parameter and (self._options.compat ~= "braintrace-0.2.6" or traced[i])
    list[i] = free and x or held{x}[1]
  end
  return list
end

local function single_step(self, ...)
  local args = {...}
  refresh(self, args)
  local s = self.graph.info.step
  local operands = step.operands(s, args)
  local traces, values = advance(self, held(operands))
  local steps = self.running_index.value
  local delta = perturbation(self, operands, traces, values, steps)
  local out = core.apply(self.graph.hidden_perturb._program, t.joined(own(self, operands), delta))
  for i, x in ipairs(self.traces) do x.value = traces[i] end
  self.running_index.value = steps + 1
  t.write_back(s.p, out)
  return table.unpack(t.results(s.p, out))
end

--- k steps, from the perturbed hidden States on.
local function window(self, args)
  local compile = require "bdl.compile"
  local wanted, k = self.config.window_size, input.length(args)
  if wanted and k ~= wanted then
    core.fail("ValueError", 3, "%s: window_size = %d of the config, but this window has %d steps", class.typename(self), wanted, k)
  end
  local first = {}
  for k, x in ipairs(args) do first[k] = input.row(x, 1) end
  refresh(self, first)
  local finish = self.begin_window and self:begin_window(args) or function(...) return ... end
  local s = self.graph.info.step
  local operands = step.operands(s, first)
  local z = self.graph.info.structure
  local values = Values(z, held(operands))
  local traces = {}
  for i, x in ipairs(self.traces) do traces[i] = x.value end
  local count = (self.windows or self.running_index).value -- the packages count calls
  if self.windows then self.windows.value = count + 1 end
  local delta = perturbation(self, operands, traces, values, count)
  for a, h in ipairs(s.hidden) do
    local leaf = core.flatten(core.state_get(rawget(h.state, "_handle")))[1]
    core.state_give(rawget(h.state, "_handle"), {core.bind("add", {}, core.mantissa(leaf), delta[a])})
  end
  return finish(compile.for_loop(function(...)
    local now = step.operands(s, input.unwrap{...})
    local after = advance(self, held(now))
    for i, x in ipairs(self.traces) do x.value = after[i] end
    self.running_index.value = self.running_index.value + 1
    local out = core.apply(s.p.program, now)
    t.write_back(s.p, out)
    return table.unpack(t.results(s.p, out))
  end, table.unpack(input.sequences(args))))
end

function ETraceAlgorithm:_run(...)
  local args = {...}
  if not input.has_window(args) then
    if self.vjp_method == "multi-step" then
      for k, x in ipairs(args) do args[k] = input.window_of_one(x) end
      return input.only_row(window(self, args))
    end
    return single_step(self, table.unpack(input.unwrap(args)))
  end
  if self.vjp_method == "multi-step" then return window(self, args) end
  local function one(...) return single_step(self, table.unpack(input.unwrap{...})) end
  return require "bdl.compile".for_loop(one, table.unpack(input.sequences(args)))
end

--- The model itself, without traces: what backpropagation through time goes through.  MultiStepData: a loop.
local function plain(self, ...)
  local args = {...}
  local model = self.model
  if not input.has_window(args) then return model(table.unpack(input.unwrap(args))) end
  return require "bdl.compile".for_loop(function(...) return model(...) end, table.unpack(input.sequences(args)))
end

--- f(...), in which this learner is nothing but its model.
function ETraceAlgorithm:without_traces(f, ...)
  local before = parts[self]._plain
  parts[self]._plain = true
  local out = table.pack(xpcall(f, core.traceback, ...))
  parts[self]._plain = before
  if not out[1] then error(out[2], 0) end
  return table.unpack(out, 2, out.n)
end

--- One step (or, of MultiStepData, several).  Errors: ValueError before compile_graph; ShapeError, another input than the example.
function ETraceAlgorithm:update(...)
  self:_need_compiled "update"
  if self._plain then return plain(self, ...) end
  if M.on_step then M.on_step(self, ...) end
  if core.tracing() then return self:_run(...) end
  return self._jit(...)
end

-- ---- inspection ------------------------------------------------------------------------------------------------------------------

--- The States of the model that are trained.
function ETraceAlgorithm:param_states() return self.model:states(state.ParamState) end

--- The traces of a parameter: a map, name -> State.  weight : its path or the State.  Errors: KeyError.
function ETraceAlgorithm:get_etrace_of(weight)
  self:_need_compiled "get_etrace_of"
  local found = self._factors:of(weight)
  if found and #found > 0 then return found end
  local name = class.isa(weight, state.State) and t.state_name(weight) or ("'%s'"):format(tostring(weight))
  core.fail("KeyError", 2, "no trace belongs to %s", name)
end

class.qualify({ETraceAlgorithm = ETraceAlgorithm, CompilationReport = Report}, "online")
return M

--- Decoupled neural interfaces: a window ends with an estimate of the gradient that the steps after it would send back.
--
--   g(h_end) ~ d (losses after the window)/d h_end          linear in h, a map for each hidden group
--
-- It reaches plain parameters, inputs and the States before the window; traced weights have that credit by their traces.
-- Source: Jaderberg et al. 2017, Decoupled neural interfaces using synthetic gradients.

local class = require "bdl.class"
local core = require "bdl.core"
local custom = require "bdl.augment.custom"
local input = require "bdl.online.input"
local Base = require "bdl.online.learner".ETraceAlgorithm
local ETraceConfig = require "bdl.online.config".ETraceConfig
local Module = require "bdl.nn.module".Module
local state = require "bdl.state"
local step = require "bdl.online.step"
local t = require "bdl.augment.trace"

local M = {}

-- ---- the estimate ---------------------------------------------------------------------------------------------------

--- The estimate of DNI: a linear map for each hidden group.
--  shapes : of each hidden group, its positions, then its number of states: {{n, S}, ..};  opts : scale (0: it starts with
--  an estimate of 0), the standard deviation of the weights, seed (0).
--  Example:
--    local learner = bdl.online.DNI(bdl.nn.init_all_states(bdl.online.nn.GRUCell(2, 3)))
--    learner:compile_graph(bdl.zeros(2))
--    learner:attach_synthesizer(bdl.online.SyntheticGradient(learner:group_signal_shapes()))
--    print(learner(bdl.ones(2)))
local SyntheticGradient = Module:extend "SyntheticGradient"
M.SyntheticGradient = SyntheticGradient

function SyntheticGradient:__init(shapes, opts)
  opts = opts or {}
  t.check_options("SyntheticGradient", opts, {"scale", "seed"})
  if type(shapes) ~= "table" or type(shapes[1]) ~= "table" then
    core.hint "learner:group_signal_shapes() gives them"
    core.fail("TypeError", 2, "SyntheticGradient: the shapes of the hidden groups are needed, {{n, states}, ..}")
  end
  SyntheticGradient.super.__init(self)
  local array, random = require "bdl.array", require "bdl.random"
  local key = random.key(opts.seed or 0)
  self.shapes, self.weights, self.biases = shapes, {}, {}
  for j, shape in ipairs(shapes) do
    local width = (shape[#shape - 1] or 1) * shape[#shape]
    local w = random.normal(nil, nil, {size = {width, width}, key = random.fold_in(key, j)})
    self.weights[j] = state.ParamState(w * (opts.scale or 0))
    self.biases[j] = state.ParamState(array.zeros(width))
  end
end

--- hidden : a list of [positions.., states], one a group;  of the same shapes, the estimates.
function SyntheticGradient:update(hidden)
  local out = {}
  for j, h in ipairs(hidden) do
    local shape = table.move(h.shape, 1, h.ndim, 1, {})
    local lead = table.move(shape, 1, #shape - 2, 1, {})
    local flat = t.reshape(h, t.joined(lead, {self.biases[j].value.shape[1]}))
    local w = core.cast(self.weights[j].value, h.dtype)
    out[j] = t.reshape(flat:matmul(w) + core.cast(self.biases[j].value, h.dtype), shape)
  end
  return out
end

-- ---- the learner ----------------------------------------------------------------------------------------------------

--- D-RTRL over windows, with an estimate at their end.
--  opts : synthesizer (a SyntheticGradient; or attach_synthesizer later), name, compat.
--  States: running_index, how often it was called; the traces.
--  Example:
--    local learner = bdl.online.DNI(bdl.nn.init_all_states(bdl.online.nn.GRUCell(2, 3)))
--    learner:compile_graph(bdl.zeros(2))
--    learner:attach_synthesizer(bdl.online.SyntheticGradient(learner:group_signal_shapes()))
--    print(learner(bdl.ones(2)))
local DNI = Base:extend "DNI"
M.DNI = DNI

function DNI:__init(model, opts)
  opts = opts or {}
  t.check_options("DNI", opts, {"synthesizer", "name", "vjp_method", "compat", "config"})
  if opts.vjp_method ~= nil and opts.vjp_method ~= "multi-step" then
    core.fail("ValueError", 2, "DNI learns by windows: vjp_method = 'multi-step', not '%s'", tostring(opts.vjp_method))
  end
  local config = opts.config or {learning_signal = "bootstrapped"}
  config = class.isa(config, ETraceConfig) and config or ETraceConfig(config)
  if config.learning_signal ~= "bootstrapped" then
    core.fail("ValueError", 2, "DNI: the config's learning_signal is 'bootstrapped', not '%s'", config.learning_signal)
  end
  Base.__init(self, model, config, {name = opts.name, vjp_method = "multi-step", compat = opts.compat})
  if opts.synthesizer ~= nil then self:attach_synthesizer(opts.synthesizer) end
end

function DNI:attach_synthesizer(synthesizer)
  if not class.isa(synthesizer, SyntheticGradient) then
    core.fail("TypeError", 2, "DNI: a SyntheticGradient was expected, not a %s", class.typename(synthesizer))
  end
  self.synthesizer = synthesizer
end

--- What SyntheticGradient needs: positions of each hidden group, then its number of states.
function DNI:group_signal_shapes()
  self:_need_compiled "group_signal_shapes"
  local shapes = {}
  for j, group in ipairs(self.graph.hidden_groups) do shapes[j] = t.joined(group.varshape, {group.num_state}) end
  return shapes
end

local function need_synthesizer(self)
  if not self.synthesizer then
    core.hint "learner:attach_synthesizer(online.SyntheticGradient(learner:group_signal_shapes()))"
    core.fail("ValueError", 3, "DNI: there is no synthesizer, and without one the end of a window has no estimate")
  end
  local shapes = self:group_signal_shapes()
  for j, want in ipairs(shapes) do
    local got = self.synthesizer.shapes[j]
    if not got or table.concat(got, ",") ~= table.concat(want, ",") then
      core.hint "learner:group_signal_shapes() gives the shapes"
      core.fail("ShapeError", 3, "DNI: the synthesizer is for [%s] in hidden group %d, which is [%s]",
                got and table.concat(got, ",") or "nothing", j, table.concat(want, ","))
    end
  end
end

local function held(x) return core.bind("stop_gradient", {}, core.mantissa(x)) end
local function leaf(s) return core.mantissa(core.flatten(core.state_get(rawget(s, "_handle")))[1]) end

--- of_state(a) for each hidden State a, as one value a group.
local function grouped(self, of_state)
  local list = {}
  for j, group in ipairs(self.graph.hidden_groups) do
    local own = {}
    for k, a in ipairs(group._members) do own[k] = of_state(a) end
    list[j] = group:concat_hidden(own)
  end
  return list
end

--- The hidden values at the end of a window whose traced weights are held; States are left as they are.
local function exit_values(self, args)
  local s = self.graph.info.step
  local before = {}
  for k, x in ipairs(s.p.states) do before[k] = x.written and core.flatten(core.state_get(x.handle)) end
  require "bdl.compile".for_loop(function(...)
    local now = step.operands(s, input.unwrap{...})
    for _, i in ipairs(self._inputs) do now[i] = held(now[i]) end
    t.write_back(s.p, core.apply(s.p.program, now))
  end, table.unpack(input.sequences(args)))
  local exit = {}
  for a, h in ipairs(s.hidden) do exit[a] = leaf(h.state) end
  for k, x in ipairs(s.p.states) do
    if before[k] then core.state_give(x.handle, before[k]) end
  end
  return exit
end

--- Called before a window; what it returns is called with the window's results, behind which the estimate enters.
function DNI:begin_window(args)
  need_synthesizer(self)
  local exit = exit_values(self, args)
  return function(...)
    local results = table.pack(...)
    local hidden = self.graph.info.step.hidden
    local estimates = self.synthesizer:update(grouped(self, function(a) return held(leaf(hidden[a].state)) end))
    local of = {}
    for j, group in ipairs(self.graph.hidden_groups) do
      local parts = group:split_hidden(held(estimates[j]))
      for k, a in ipairs(group._members) do of[a] = parts[k] end
    end
    local function same(outs) return outs end
    local f = custom.custom_vjp(same)
    f:defvjp(same, function(_, ct) return ct, of end)
    local outs = f(results, exit)
    return table.unpack(outs, 1, results.n)
  end
end

-- ---- its training ---------------------------------------------------------------------------------------------------

local OPTIONS = {"chunk_size", "loss_fn", "optimizer", "lr", "epochs", "reset"}

--- One step towards `target`; returns the mean squared error before it.
local function fit(self, opts, weights, hidden, target)
  local array = require "bdl.array"
  local g, e = require "bdl.augment.grad".grad(function()
    local total
    for j, y in ipairs(self.synthesizer:update(hidden)) do
      local one = array.mean((y - target[j])^2)
      total = total and total + one or one
    end
    return total
  end, weights, {return_value = true})()
  if opts.optimizer then
    opts.optimizer:update(g)
  else
    for path, s in weights:items() do s.value = s.value - g[path] * (opts.lr or 1e-2) end
  end
  return e
end

--- Fits the synthesizer to the gradients that windows send back to the States before them.  These hold its own estimate at
--  their ends; at the end of the sequence there is none.  The model's parameters stay.
--  xs   : [T, ..]
--  opts : chunk_size (1; that of the windows to learn with), loss_fn (out -> loss; the loss to learn with; sum of
--         squares), optimizer (of the synthesizer's ParamStates) or lr (0.01), epochs (1), reset (true: model and traces
--         start anew before each).
--  Returns the mean squared errors of the epochs.
function DNI:train_synthetic_gradient(xs, opts)
  self:_need_compiled "train_synthetic_gradient"
  opts = opts or {}
  t.check_options("train_synthetic_gradient", opts, OPTIONS)
  need_synthesizer(self)
  local array, compile, grad = require "bdl.array", require "bdl.compile", require "bdl.augment.grad".grad
  local chunk, length = opts.chunk_size or 1, xs.shape[1]
  if math.type(chunk) ~= "integer" or chunk < 1 then
    core.fail("ValueError", 2, "train_synthetic_gradient: chunk_size is a whole number from 1, not %s", tostring(chunk))
  end
  if length % chunk ~= 0 then
    core.fail("ValueError", 2, "train_synthetic_gradient: %d steps are no whole number of windows of %d", length, chunk)
  end
  local loss_fn = opts.loss_fn or function(out) return array.sum(core.mantissa(out)^2) end
  local hidden, weights = self.graph.info.step.hidden, self.synthesizer:states(state.ParamState)
  local of = {}
  for a, h in ipairs(hidden) do of[a] = h.state end
  local windows = t.reshape(xs, t.joined({length // chunk, chunk}, table.move(xs.shape, 2, xs.ndim, 1, {})))
  local function values() return grouped(self, function(a) return leaf(hidden[a].state) end) end
  local epoch = compile.jit(function(rows)
    local errors = compile.for_loop(function(x)
      local entry = values()
      local g = grad(function() return loss_fn(self(input.MultiStepData(x))) end, of)()
      return fit(self, opts, weights, entry, grouped(self, function(a) return held(g[a]) end))
    end, rows)
    local last = values()
    local none = {}
    for j, h in ipairs(last) do none[j] = h * 0 end
    return (array.sum(errors) + fit(self, opts, weights, last, none)) / (length // chunk + 1)
  end)
  local history = {}
  for k = 1, opts.epochs or 1 do
    if opts.reset ~= false then
      require "bdl.nn".reset_all_states(self.model)
      self:reset_state()
    end
    history[k] = epoch(windows):item()
  end
  return history
end

return M

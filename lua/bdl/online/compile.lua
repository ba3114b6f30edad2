--- online.compile(model, rule, example.., opts): States, analysis, traces, report in one call.

local class = require "bdl.class"
local core = require "bdl.core"
local algorithms = require "bdl.online.algorithms"
local suggest = require "bdl.suggest"
local t = require "bdl.augment.trace"
local ETraceConfig = require "bdl.online.config".ETraceConfig

local NAMES = {
  d_rtrl = "D_RTRL", pp_prop = "pp_prop", es_d_rtrl = "ES_D_RTRL", esd_rtrl = "ES_D_RTRL", eprop = "EProp", e_prop = "EProp",
  ostl_recurrent = "OSTLRecurrent", ostl_feedforward = "OSTLFeedforward", snap = "SnAp", uoro = "UORO",
  three_factor = "ThreeFactor", dni = "DNI", hybrid = "DiagHybridDimAlgorithm",
}
for name in ("OSTLRecurrent OSTLFeedforward ThreeFactor DiagParamDimAlgorithm DiagIODimAlgorithm DiagHybridDimAlgorithm"):gmatch "%S+" do
  NAMES[name:lower()] = name
end

local SIGNALS = {modulatory = "ThreeFactor", bootstrapped = "DNI"}
local FACTORS = {per_param = "D_RTRL", io_factorized = "ES_D_RTRL", random_projection = "UORO"}

--- The class, from the file that has it.
local function named(name) return require "bdl.online"[name] end

--- The class of a rule, and a config for it.
local function resolve(rule)
  local Base = algorithms.ETraceAlgorithm
  if class.isa(rule, ETraceConfig) then return named(SIGNALS[rule.learning_signal] or FACTORS[rule.trace_factorization]), rule end
  if type(rule) == "string" then
    local name = NAMES[rule:lower()]
    if name then return named(name) end
    local near = suggest.hint(rule:lower(), require "bdl.util".sorted_keys(NAMES))
    core.fail("ValueError", 3, "online.compile: no rule is called '%s'%s", rule, near)
  end
  if class.is_class(rule) and class.derives(rule, Base) then return rule end
  core.fail("TypeError", 3, "online.compile: a rule is a name, an algorithm or an ETraceConfig, not a %s", class.typename(rule))
end

--- A learner of a model:  compile(model, rule, example.., opts).
--  example : what the model's step is called with, one argument or a list of several as MultiStepData does not fit here.
--  opts    : batch_size (of init_all_states), init (true), verbose (0: silent, 1: what takes part, 2: all), and the rule's own.
--  Errors: ValueError without an example; CompilationError when nothing has a trace.
--  Example:
--    local learner = bdl.online.compile(bdl.online.nn.GRUCell(2, 3), "D_RTRL", bdl.zeros(2))
--    print(learner(bdl.ones(2)), learner.report.counts.included)
return function(model, rule, example, opts)
  local cls, config = resolve(rule)
  if example == nil then core.fail("ValueError", 2, "online.compile: an example of the step's input is needed") end
  local own = {}
  for key, value in pairs(opts or {}) do own[key] = value end
  local batch_size, init, verbose = own.batch_size, own.init, own.verbose or 0
  own.batch_size, own.init, own.verbose = nil, nil, nil
  own.config = own.config or config
  if not class.isa(model, require "bdl.graph".Node) then
    core.fail("TypeError", 2, "online.compile: a Module was expected, not a %s", class.typename(model))
  end
  if init ~= false then require "bdl.nn".init_all_states(model, batch_size) end
  local learner = cls(model, own)
  local args = t.is_plain(example) and #example > 0 and example or {example}
  learner:compile_graph(table.unpack(args))
  if #learner._inputs == 0 then
    core.hint(tostring(learner.report))
    core.fail("CompilationError", 2, "online.compile: no parameter of the model has a trace")
  end
  if verbose > 0 then
    for _, d in ipairs(learner.report.diagnostics) do
      if verbose > 1 or d.kind == "included" then print(("%-26s %s"):format(d.kind, d.message)) end
    end
  end
  return learner
end

--- The named rules: presets over the axes of ETraceConfig, each (model, opts).
--
--   D_RTRL = DiagParamDimAlgorithm                     e <- D e + x (x) Df                     Wang et al. 2024
--   ES_D_RTRL = pp_prop = DiagIODimAlgorithm           traces of inputs and of outputs         Wang et al. 2024
--   DiagHybridDimAlgorithm                             for each weight the smaller of both
--   EProp                                              D-RTRL, filtered by kappa, random feedback         Bellec et al. 2020
--   OSTLRecurrent, OSTLFeedforward                     D of the whole group; no memory of inputs          Bohnstingl et al. 2022
--   SnAp                                               D of the group within n - 1 steps         Menick et al. 2021
--   UORO                                               one vector of states times one of weights          Tallec & Ollivier 2018
--   ThreeFactor                                        a modulator in place of dL/dh           Fremaux & Gerstner 2016
--  States: running_index, how often it was called; the traces, of etrace_xs, etrace_dfs, etrace_bwg.
--  Example:
--    local learner = bdl.online.NAME(bdl.nn.init_all_states(bdl.online.nn.GRUCell(2, 3)))
--    learner:compile_graph(bdl.zeros(2))
--    print(learner(bdl.ones(2)))

local class = require "bdl.class"
local core = require "bdl.core"
local learner = require "bdl.online.learner"
local state = require "bdl.state"
require "bdl.online.sequence" -- etrace_grad, etrace_evolve
local ETraceConfig = require "bdl.online.config".ETraceConfig
local check_options = require "bdl.augment.trace".check_options

local M = {ETraceAlgorithm = learner.ETraceAlgorithm}
local Base = learner.ETraceAlgorithm

local COMMON = {"name", "vjp_method", "compat", "config", "random_feedback_key"}

local function options(self, opts, ...)
  opts = opts or {}
  check_options(class.typename(self), opts, table.move(COMMON, 1, #COMMON, 1 + select("#", ...), {...}))
  return opts
end

--- Signals that one class alone has.
local OWNER = {modulatory = "ThreeFactor", bootstrapped = "DNI"}

--- A config that was given, if it keeps its traces in this way (nil: in any); else the one that make(opts) gives.
local function config_of(self, opts, factors, make)
  if opts.config == nil then return make() end
  local config = class.isa(opts.config, ETraceConfig) and opts.config or ETraceConfig(opts.config)
  local owner = OWNER[config.learning_signal]
  if owner and not class.typename(self):find(owner, 1, true) then
    core.hint("online.%s", owner)
    core.fail("ValueError", 4, "%s: learning_signal = '%s' is of %s", class.typename(self), config.learning_signal, owner)
  end
  if factors and config.trace_factorization ~= factors then
    core.fail("ValueError", 4, "%s keeps its traces %s, the config %s", class.typename(self), factors, config.trace_factorization)
  end
  return config
end

--- D-RTRL.  opts : name, vjp_method, compat, config.  Exact where each hidden State depends on itself alone.
local D_RTRL = Base:extend "D_RTRL"

function D_RTRL:__init(model, opts)
  opts = options(self, opts)
  Base.__init(self, model, config_of(self, opts, "per_param", ETraceConfig), opts)
end

--- A decay in [0, 1), or a rank n >= 1: (n - 1)/(n + 1).
local function decay_of(self, x)
  if type(x) == "table" then return {decay_of(self, x[1]), decay_of(self, x[2])} end
  if type(x) ~= "number" then core.fail("TypeError", 4, "%s: decay_or_rank is a number or a pair, not a %s", class.typename(self), class.typename(x)) end
  if math.type(x) == "integer" and x > 0 then return (x - 1) / (x + 1) end
  if math.type(x) == "float" and x >= 0 and x < 1 then return x end
  core.hint "a float is a decay, an integer a rank"
  core.fail("ValueError", 4, "%s: decay_or_rank is a decay in [0, 1) or a rank from 1, not %s", class.typename(self), tostring(x))
end

--- ES-D-RTRL.  opts : decay_or_rank (0.99; a pair {of inputs, of outputs}), and as D_RTRL.
local ES_D_RTRL = Base:extend "ES_D_RTRL"

function ES_D_RTRL:__init(model, opts)
  opts = options(self, opts, "decay_or_rank")
  Base.__init(self, model, config_of(self, opts, "io_factorized", function()
    local decay = opts.decay_or_rank
    if decay == nil then decay = 0.99 end
    return ETraceConfig{trace_factorization = "io_factorized", decay = decay_of(self, decay)}
  end), opts)
end

--- e-prop.  opts : feedback ("symmetric", or "random", or a list of matrices, one a group), random_feedback_key, kappa_filter_decay (0).
local EProp = Base:extend "EProp"

function EProp:__init(model, opts)
  opts = options(self, opts, "feedback", "random_feedback_key", "kappa_filter_decay")
  local feedback, kappa = opts.feedback or "symmetric", opts.kappa_filter_decay or 0
  local given = type(feedback) == "table" or core.is_tensor(feedback)
  if not given and feedback ~= "symmetric" and feedback ~= "random" then
    core.fail("ValueError", 2, "EProp: feedback is 'symmetric', 'random' or matrices, not '%s'", tostring(feedback))
  end
  if feedback == "random" and opts.random_feedback_key == nil then
    core.fail("ValueError", 2, "EProp: feedback = 'random' needs random_feedback_key")
  end
  local more = {name = opts.name, vjp_method = opts.vjp_method, compat = opts.compat, random_feedback_key = opts.random_feedback_key,
                feedback = given and (core.is_tensor(feedback) and {feedback} or feedback) or nil}
  Base.__init(self, model, config_of(self, opts, "per_param", function()
    return ETraceConfig{learning_signal = feedback == "symmetric" and "symmetric" or "random_feedback",
                        trace_filter = kappa ~= 0 and "kappa" or "none", kappa = kappa ~= 0 and kappa or nil}
  end), more)
end

--- OSTL with recurrence: D-RTRL whose D includes the recurrent weights, position by position.
local OSTLRecurrent = Base:extend "OSTLRecurrent"

function OSTLRecurrent:__init(model, opts)
  opts = options(self, opts)
  Base.__init(self, model, ETraceConfig{recurrence_scope = "coupled"}, opts)
end

--- OSTL without recurrence: ES-D-RTRL that forgets inputs at once.
local OSTLFeedforward = ES_D_RTRL:extend "OSTLFeedforward"

function OSTLFeedforward:__init(model, opts)
  opts = options(self, opts, "decay_or_rank")
  local copy = {}
  for key, value in pairs(opts) do copy[key] = value end
  copy.decay_or_rank = opts.decay_or_rank or 1e-6
  ES_D_RTRL.__init(self, model, copy)
end

--- SnAp-n: traces of the influence on all positions that a weight's output reaches within n - 1 steps; n = 1 is OSTLRecurrent.
--  opts : sparse_n (2), snap_max_jacobian_elements (2^24), feedback etc. by config, and as D_RTRL.
local SnAp = Base:extend "SnAp"

function SnAp:__init(model, opts)
  opts = options(self, opts, "sparse_n", "snap_max_jacobian_elements")
  local most = opts.snap_max_jacobian_elements
  if most ~= nil and (math.type(most) ~= "integer" or most < 1) then
    core.fail("ValueError", 2, "SnAp: snap_max_jacobian_elements is a whole number from 1, not %s", tostring(most))
  end
  Base.__init(self, model, config_of(self, opts, "per_param", function()
    return ETraceConfig{recurrence_scope = "sparse_n", sparse_n = opts.sparse_n == nil and 2 or opts.sparse_n}
  end), opts)
end

--- Unbiased online recurrent optimization: an estimate of full real-time recurrent learning that is right on average.
--  opts : projection_key (42), projection_eps (1e-12), nu (signs of each group instead of drawn ones, [steps, group.., states]),
--         vjp_method ("multi-step").
local UORO = Base:extend "UORO"

function UORO:__init(model, opts)
  opts = options(self, opts, "projection_key", "projection_eps", "nu")
  local eps = opts.projection_eps
  if eps ~= nil and not (type(eps) == "number" and eps > 0 and eps < math.huge) then
    core.hint "both norms are 0 at the first step"
    core.fail("ValueError", 2, "UORO: projection_eps is a number above 0, not %s", tostring(eps))
  end
  Base.__init(self, model, config_of(self, opts, "random_projection", function()
    return ETraceConfig{trace_factorization = "random_projection", recurrence_scope = "coupled"}
  end), setmetatable({vjp_method = opts.vjp_method or "multi-step"}, {__index = opts}))
end

--- Three factors: the trace times a modulator, learner.modulator, a State that is set between steps (a number, or an array that
--  broadcasts to the hidden States).  The loss says only that there is something to learn: its derivative is replaced.
local ThreeFactor = Base:extend "ThreeFactor"

function ThreeFactor:__init(model, opts)
  opts = options(self, opts, "modulator")
  if opts.vjp_method == "multi-step" then core.fail("ValueError", 2, "ThreeFactor learns step by step: vjp_method = 'single-step'") end
  local config = config_of(self, opts, nil, function() return ETraceConfig{learning_signal = "modulatory"} end)
  if config.learning_signal ~= "modulatory" then
    core.fail("ValueError", 2, "ThreeFactor: the config's learning_signal is 'modulatory', not '%s'", config.learning_signal)
  end
  Base.__init(self, model, config, opts)
  local m = opts.modulator
  self.modulator = class.isa(m, state.State) and m or state.ShortTermState(m == nil and 1.0 or m)
end

--- For each weight the factorisation that takes less memory: see bdl.online.hybrid.
local DiagHybridDimAlgorithm = Base:extend "DiagHybridDimAlgorithm"

function DiagHybridDimAlgorithm:__init(model, opts)
  opts = options(self, opts, "decay_or_rank")
  local decay = opts.decay_or_rank
  if decay == nil then decay = 0.99 end
  local more = {Factors = require "bdl.online.hybrid", name = opts.name, vjp_method = opts.vjp_method, compat = opts.compat}
  Base.__init(self, model, ETraceConfig{trace_factorization = "io_factorized", decay = decay_of(self, decay)}, more)
end

M.D_RTRL, M.DiagParamDimAlgorithm = D_RTRL, D_RTRL
M.ES_D_RTRL, M.pp_prop, M.DiagIODimAlgorithm = ES_D_RTRL, ES_D_RTRL, ES_D_RTRL
M.EProp, M.OSTLRecurrent, M.OSTLFeedforward, M.ThreeFactor = EProp, OSTLRecurrent, OSTLFeedforward, ThreeFactor
M.DiagHybridDimAlgorithm = DiagHybridDimAlgorithm
M.SnAp, M.UORO = SnAp, UORO

return M

--- The model zoo: every public member has a comparison with reference numbers, a page and an example.
--  A member counts as compared where a case of tests/golden calls or names it, or where COMPARED says which test does.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local help = require "bdl.help"

local AREAS = {"nn", "functional", "init", "surrogate", "optim", "metric", "quad", "input", "encode", "random"}

--- ReluGrad and relu_grad are one member.
local function plain(name) return (name:lower():gsub("_", "")) end

--- Names that stand in a call, in quotes, in front of an array's key, or in the name of a file of the reference data.
local function golden_names()
  local names = {}
  for path in t.shell("ls tests/golden/*/*.lua"):gmatch "[^\n]+" do
    local area, case = path:match "^tests/golden/(%w+)/([%w_]+)%.lua$"
    if area ~= "areas" then
      local file <close> = assert(io.open(path))
      local text = file:read "a"
      for name in text:gmatch "([%a_][%w_]*)%(" do names[plain(name)] = true end
      for name in text:gmatch '"([%a_][%w_]*)"' do names[plain(name)] = true end
      for name in text:gmatch '%["([%a_][%w_]*)%.y"%]' do names[plain(name)] = true end
      for word in (case .. " " .. case:gsub("_", " ")):gmatch "%S+" do names[plain(word)] = true end
    end
  end
  return names
end

--- Elsewhere: "suite: test" -> members whose numbers that test has, of the reference, of another formula of the same
--  equation, or of what theory says where the reference draws otherwise or has no such member.
local COMPARED = {
  ["golden: synapses/proj_delta"] = "DeltaProj",
  ["golden: synapses/proj_expon_cuba"] = "AlignPostProj",
  ["golden: synapses/proj_align_pre_expon"] = "AlignPreProj CurrentProj",
  ["golden: synapses/input_delay"] = "InputDelay",
  ["golden: synapses/delay"] = "StateWithDelay DelayAccess InterpolationRegistry",
  ["golden: networks/ei_coba"] = "FixedNumConn EventFixedProb exp_euler_step init_all_states",
  ["golden: random/threefry_seed42"] = "bits key split fold_in cauchy",
  ["golden: random/stateful_seed42"] = "split_key",
  ["neurons: refractory variants wait for whole steps, with every State at what the reset left"] = "QuaIFRef",
  ["neurons: window_steps: ceil(w/dt) - 1, whatever the rounding, per element too"] = "window_steps",
  ["synapses: fixed numbers of connections: counts, parts, sources, a part of the neurons, gradients"] =
    "EventFixedNumConn",
  ["synapses: EventLinear: spikes times a matrix, one weight for all, floats by value"] = "EventLinear",
  ["inputs: poisson_input: mean and variance of binomial counts, at indices, not where refractory"] =
    "poisson_input PoissonInput",
  ["rate: Wilson-Cowan: rest, a limit cycle under drive, one step by hand"] = "WilsonCowan",
  ["rate: gap junctions: currents that cancel, or not, between the two sides"] =
    "SymmetryGapJunction AsymmetryGapJunction",
  ["rate: a reservoir by its equation, dense and sparse alike, internal and external activation"] = "Reservoir",
  ["plasticity: pairs: exponential windows on either side, none within a step"] = "STDP",
  ["plasticity: triplets: a pair alone, and with an earlier spike of the other side"] = "TripletSTDP",
  ["plasticity: dopamine turns what is eligible into weight"] = "DopamineSTDP",
  ["cells: LeakySpikeReadout integrates, spikes, resets at the next step; its weights get a surrogate gradient"] =
    "LeakySpikeReadout",
  ["layers: norms: mean 0 and variance 1 where they should be"] = "InstanceNorm",
  ["layers: pooling: SAME padding does not count in means; adaptive parts; in_size gives out_size"] =
    "SumPool1d SumPool2d SumPool3d",
  ["layers: spikes as booleans drive all layers of weights; sparse ones as events"] = "SparseLinear",
  ["layers: Flatten and Unflatten, with positions of in_size behind any batch"] = "Unflatten",
  ["event: logic of spikes, of booleans and of floats"] = "SpikeBitwise",
  ["metrics: precision, recall and F1 of five classes, one of them absent, and of two"] =
    "PrecisionMetric RecallMetric F1ScoreMetric",
  ["metrics: confusion matrix, averages, accuracy"] = "ConfusionMatrix AverageMetric WelfordMetric AccuracyMetric",
  ["metrics: several metrics together, their States, their prints"] = "MultiMetric MetricState",
  ["training: parameters are counted leaf by leaf"] = "count_parameters",
  ["training: gradients are clipped by their common norm"] = "clip_grad_norm",
  ["init: draws equal the reference"] = "Beta Gamma Mixture Conditional Scaled Clipped Compose DeltaOrthogonal",
  ["init: profiles of the distance"] = [[DistanceModulated GaussianProfile ExponentialProfile PowerLawProfile
    LinearProfile StepProfile SigmoidProfile DoGProfile LogisticProfile BimodalProfile MexicanHatProfile]],
  ["optim: factored second moments equal the reference"] = "Adafactor",
  ["optim: LBFGS with a line search: the reference's first steps, and down to the minimum of a curved valley"] =
    "LBFGS",
  ["metric: accuracy counts the samples whose largest logit is right"] = "accuracy",
  ["metric: Poisson trains have CV and Fano factor 1"] = "cv fano_factor",
  ["quad: ODE steps of a tree with units are those of the reference"] = [[ode_bs32_step ode_dopri5_step
    ode_dopri8_step ode_euler_step ode_heun_step ode_midpoint_step ode_ralston2_step ode_ralston3_step ode_rk23_step
    ode_rk2_step ode_rk3_step ode_rk45_dopri_step ode_rk45_step ode_rk4_38_step ode_rk4_step ode_rk87_dopri_step
    ode_rkf45_step ode_ssprk33_step]],
  ["quad: SDE steps draw the reference's numbers"] = [[sde_euler_step sde_milstein_step sde_heun_step
    sde_tamed_euler_step sde_implicit_euler_step sde_srk2_step sde_srk3_step sde_srk4_step sde_expeuler_step
    ode_expeuler_step imex_euler_step imex_cnab_step]],
  ["quad: DDE steps are those of the reference"] =
    "dde_euler_step dde_heun_step dde_rk4_step dde_euler_pc_step dde_heun_pc_step",
  ["quad: IMEX and DDE methods have their orders"] = "imex_ars222_step",
  ["input: deterministic inputs are those of the reference, in both precisions"] = [[burst chirp double_exponential
    exponential_decay gaussian_pulse ramp sawtooth section sinusoidal Composite Clipped Repeated Smoothed TimeShifted
    Transformed Sequential Ramp]],
  ["input: classes give what the functions give; by position they begin as the reference's"] = "Burst Section",
  ["input: noise: mean, variance, windows, seeds"] = "wiener_process ou_process poisson noisy_sinusoidal",
  ["encode: one spike each: latency and rank, as the reference"] = "LatencyEncoder RankOrderEncoder",
  ["encode: rates: from the same key the spikes of the reference"] = "RateEncoder BernoulliEncoder PopulationEncoder",
  ["encode: counts, patterns, changes, currents, as the reference"] =
    "SpikeCountEncoder TemporalEncoder DeltaEncoder StepCurrentEncoder",
  ["random:  has its mean and variance"] = [[gamma beta chisquare poisson binomial
    negative_binomial standard_t vonmises]],
  ["random: further distributions: means and variances, supports, impossible parameters"] = [[hypergeometric f t
    noncentral_chisquare noncentral_f zipf loggamma logseries standard_gamma]],
  ["random: several variables at once"] = "dirichlet",
  ["random: multinomial: counts add up, in the proportions; orthogonal matrices; like another tensor"] = "multinomial",
  ["random: generators of their own"] = "RandomState default_rng",
  ["random: clone_rng: split off the default generator, or from a seed"] = "clone_rng",
  ["random: seed_context comes back, also after an error"] = "seed_context",
  ["random: a key is kept and put back once"] = "backup_key restore_key get_key set_key",
}

--- What has no numbers of its own: frames that others extend, containers, what works on other members.
local FRAMES = [[Module Dynamics Neuron ElementWiseBlock RNNCell Metric Transform Initializer DistanceProfile Surrogate
  Optimizer OptimState LRScheduler Description Sequential EnvironContext Map size summary call_all_fns call_order
  reset_all_states assign_state_values vmap_call_all_fns vmap_init_all_states vmap_reset_all_states
  receive_update_input receive_update_output not_receive_update_output]]

--- Another name of the same thing, or the class of a function.
local SAME = {
  VanillaRNNCell = "ValinaRNNCell", Const = "Param", swish = "silu",
  hard_silu = "hard_swish", OneInit = "Constant",
}

local function suite_text(suite)
  local file <close> = assert(io.open(("tests/lua/%s.lua"):format(suite)))
  return file:read "a"
end

t.test("the tests that are named are there, and speak of what they compare", function()
  for place, names in pairs(COMPARED) do
    local suite, test = place:match "^(%w+): (.+)$"
    if suite == "golden" then
      t.ok(io.open(("tests/golden/%s.lua"):format(test)), place)
    else
      local text = suite_text(suite)
      t.ok(text:find(test .. '",', 1, true), place)
      for name in names:gmatch "%S+" do
        local short = suite == "quad" and name:match "^%l+_(.+)_step$" or name
        t.ok(text:find("%f[%w_]" .. short .. "%f[^%w]") or suite == "quad" and text:find(name, 1, true)
             or suite == "input", place .. ": no word of " .. name)
      end
    end
  end
end)

t.test("every member is compared with a reference", function()
  local compared = golden_names()
  local function add(names)
    for name in names:gmatch "%S+" do compared[plain(name)] = true end
  end
  for _, names in pairs(COMPARED) do add(names) end
  add(FRAMES)
  for name, other in pairs(SAME) do compared[plain(name)] = compared[plain(other)] end
  local missing = {}
  for _, area in ipairs(AREAS) do
    for _, name in ipairs(help.names(area)) do
      if not compared[plain(name)] then missing[#missing + 1] = area .. "." .. name end
    end
  end
  t.eq(table.concat(missing, " "), "")
end)

t.test("every member has a page with an example", function()
  for _, area in ipairs(AREAS) do
    for _, name in ipairs(help.names(area)) do
      local page = help.page(area, name)
      t.ok(page and page.text[1] and page.Example, area .. "." .. name)
    end
  end
end)

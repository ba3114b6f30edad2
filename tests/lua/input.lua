--- Input currents as arrays: the reference's numbers, windows, noise, composition, bad input.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local input, u = bdl.input, bdl.units

local function within(dt, f, ...) return bdl.environ.context({dt = dt}, f, ...) end

--- braintools.input 0.3.0 at dt = 0.5 ms, in the unit of the first value.
local CASES = {
  {"section", function() return input.section({0*u.pA, 1.5*u.pA, 0.2*u.nA}, {2*u.ms, 3*u.ms, 1.2*u.ms}) end,
    {0, 0, 0, 0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 200, 200, 200}},
  {"section arrays", function() return input.section({bdl.tensor{1.0, 2.0}, 0.5}, {1*u.ms, 1*u.ms}) end,
    {1, 2, 1, 2, 0.5, 0.5, 0.5, 0.5}},
  {"constant", function() return (input.constant{{1*u.pA, 2*u.ms}, {3*u.pA, 1*u.ms}}) end, {1, 1, 1, 1, 3, 3}},
  {"step", function() return input.step({1.0, 3.0, 2.0}, {4*u.ms, 1*u.ms, 2*u.ms}, 6*u.ms) end,
    {0, 0, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1}},
  {"step without duration", function() return input.step({1.0, 3.0}, {0*u.ms, 1.5*u.ms}) end, {1, 1, 1}},
  {"ramp", function() return input.ramp(0.2*u.pA, 1*u.pA, 6*u.ms) end,
    {0.2, 0.27272727272727, 0.34545454545455, 0.41818181818182, 0.49090909090909, 0.56363636363636, 0.63636363636364,
    0.70909090909091, 0.78181818181818, 0.85454545454545, 0.92727272727273, 1}},
  {"ramp in a window", function() return input.ramp(1.0, -1.0, 6*u.ms, 1*u.ms, 4.5*u.ms) end,
    {0, 0, 1, 0.66666666666667, 0.33333333333333, 0, -0.33333333333333, -0.66666666666667, -1, 0, 0, 0}},
  {"spike", function() return input.spike({1*u.ms, 2.5*u.ms, 5*u.ms}, {1*u.ms, 0.5*u.ms, 9*u.ms}, {1*u.pA, 2*u.pA, -1*u.pA}, 7*u.ms) end,
    {0, 0, 1, 1, 0, 2, 0, 0, 0, 0, -1, -1, -1, -1}},
  {"spike, one size", function() return input.spike({1*u.ms, 2.5*u.ms}, 1*u.ms, 0.5, 4*u.ms) end,
    {0, 0, 0.5, 0.5, 0, 0.5, 0.5, 0}},
  {"gaussian_pulse", function() return input.gaussian_pulse(2*u.pA, 2*u.ms, 0.7*u.ms, 4*u.ms) end,
    {0.03375976829758, 0.2013377995458, 0.72089557719564, 1.5496748577665, 2, 1.5496748577665, 0.72089557719564,
    0.2013377995458}},
  {"gaussian_pulse of 2", function() return input.gaussian_pulse{2.0, 1*u.ms, 0.7*u.ms, 2*u.ms, n = 2} end,
    {0.72089557719564, 0.72089557719564, 1.5496748577665, 1.5496748577665, 2, 2, 1.5496748577665, 1.5496748577665}},
  {"exponential_decay", function() return input.exponential_decay(2*u.pA, 1.5*u.ms, 5*u.ms, {t_start = 1*u.ms}) end,
    {0, 0, 2, 1.4330626211476, 1.0268342380652, 0.73575888234288, 0.52719427623145, 0.37775120567512, 0.27067056647323,
    0.19394393572881}},
  {"double_exponential", function() return input.double_exponential(2*u.pA, 0.5*u.ms, 2*u.ms, 5*u.ms, 1*u.ms, 4*u.ms) end,
    {0, 0, 0, 1.7394585877552, 1.9946027634682, 1.7888083147577, 1.4797278599295, 1.1842725114009, 0, 0}},
  {"double_exponential, slow rise", function() return input.double_exponential(2.0, 2*u.ms, 0.5*u.ms, 3*u.ms) end,
    {0, -0.82184268379993, -0.94239075295204, -0.8451589687463, -0.69912760456542, -0.55953369972221}},
  {"burst", function() return input.burst(2*u.pA, 300*u.Hz, 2*u.ms, 1.5*u.ms, 2, 7*u.ms) end,
    {0, 1.6180339887499, 1.9021130325903, 0.6180339887499, 0, 0, 0, 0, 1.6180339887499, 1.9021130325903, 0.6180339887499, 0, 0,
    0}},
  {"sinusoidal", function() return input.sinusoidal(2*u.pA, 130*u.Hz, 6*u.ms, 1*u.ms, 5*u.ms, true) end,
    {0, 0, 2, 2.7942957812696, 3.4579372548428, 3.8817615379085, 3.9960534568565, 3.7820130483767, 3.2748479794974,
    2.5579822120785, 0, 0}},
  {"square", function() return input.square(2.0, 210*u.Hz, 6*u.ms, {duty_cycle = 0.3}) end,
    {2, 2, 2, -2, -2, -2, -2, -2, -2, -2, 2, 2}},
  {"triangular", function() return input.triangular(2.0, 210*u.Hz, 6*u.ms) end,
    {0, 0.84, 1.68, 1.48, 0.64, -0.2, -1.04, -1.88, -1.28, -0.44, 0.4, 1.24}},
  {"sawtooth", function() return input.sawtooth(2.0, 210*u.Hz, 6*u.ms, {bias = true}) end,
    {0, 0.42, 0.84, 1.26, 1.68, 2.1, 2.52, 2.94, 3.36, 3.78, 0.2, 0.62}},
  {"chirp", function() return input.chirp(1.0, 10*u.Hz, 400*u.Hz, 6*u.ms) end,
    {0, 0.082373365912486, 0.26387304996537, 0.5258428374186, 0.80901699437495, 0.99056934044358, 0.89802757576062,
    0.40793212247591, -0.36812455268468, -0.95694033573221, -0.76040596560003, 0.23726204178157}},
  {"chirp, logarithmic", function() return input.chirp{1.0, 10*u.Hz, 400*u.Hz, 6*u.ms, t_start = 1*u.ms, method = "logarithmic"} end,
    {0, 0, 0, 0.037984639949656, 0.09280382443377, 0.17154051929049, 0.28336002038035, 0.43807825450338, 0.63942758114428,
    0.86303555835333, 0.99963480574775, 0.765046746585}},
  {"sum", function() return (input.Ramp(0.0, 1.0, 3*u.ms) + input.Constant{{0.5, 4*u.ms}})() end,
    {0.5, 0.7, 0.9, 1.1, 1.3, 1.5, 0.5, 0.5}},
  {"arithmetic", function() return (input.Ramp(0.0, 1.0, 3*u.ms) * 2 + 0.25 - input.Step({1.0}, {1*u.ms}, 3*u.ms))() end,
    {0.25, 0.65, 0.05, 0.45, 0.85, 1.25}},
  {"sequence and larger", function() return ((input.Ramp(0.0, 1.0, 2*u.ms) & input.Ramp(1.0, 0.0, 1*u.ms)) | input.Constant{{0.4, 3*u.ms}})() end,
    {0.4, 0.4, 0.66666666666667, 1, 1, 0.4}},
  {"shift", function() return input.Ramp(1.0, 2.0, 3*u.ms):shift(1*u.ms)() end, {0, 0, 1, 1.2, 1.4, 1.6}},
  {"shift back", function() return input.Ramp(1.0, 2.0, 3*u.ms):shift(-1*u.ms)() end, {1.4, 1.6, 1.8, 2, 0, 0}},
  {"clip, smooth, repeat", function() return input.Ramp(0.0, 1.0, 2*u.ms):clip(0.2, 0.7):smooth(1.5*u.ms):tile(2)() end,
    {0.2, 0.24444444444444, 0.38518518518519, 0.49012345679012, 0.2, 0.24444444444444, 0.38518518518519, 0.49012345679012}},
  {"negative, scaled", function() return (-input.Ramp(1.0, 2.0, 2*u.ms)):scale(3)() end, {-3, -4, -5, -6}},
}

t.test("deterministic inputs are those of the reference, in both precisions", function()
  for _, precision in ipairs{64, 32} do
    bdl.environ.context({dt = 0.5*u.ms, precision = precision}, function()
      for _, case in ipairs(CASES) do
        local x = case[2]()
        if bdl.units.get_unit(x) ~= bdl.units.UNITLESS then
          t.eq(tostring(bdl.units.get_unit(x)), "pA", case[1])
          x = x / u.pA
        end
        t.eq(x.dtype, "float" .. precision, case[1])
        t.close(x:reshape(-1), case[3], precision == 64 and 1e-12 or 1e-6, precision == 64 and 1e-12 or 1e-6, case[1])
      end
    end)
  end
end)

t.test("classes give what the functions give; by position they begin as the reference's", function()
  within(0.1*u.ms, function()
    t.eq(input.Square(1.0, 10*u.Hz, 200*u.ms, 0.3)(), input.square(1.0, 10*u.Hz, 200*u.ms, {duty_cycle = 0.3}))
    t.eq(input.Spike({1*u.ms}, 3*u.ms)(), input.spike({1*u.ms}, 1*u.ms, 1.0, 3*u.ms))
    t.eq(input.Burst(2, 1.0, 100*u.Hz, 10*u.ms, 5*u.ms, 50*u.ms)(), input.burst(1.0, 100*u.Hz, 10*u.ms, 5*u.ms, 2, 50*u.ms))
    t.eq(input.Section({0.0, 1.0}, {1*u.ms, 2*u.ms}):n_steps(), 30)
    local array, length = input.section({0.0, 1.0}, {1*u.ms, 2*u.ms}, {return_length = true})
    t.eq({#array, (length / u.ms):item()}, {30, 3})
    t.eq(select("#", input.section({0.0, 1.0}, {1*u.ms, 2*u.ms})), 1)
    t.close(select(2, input.constant{{1.0, 1*u.ms}, {2.0, 4*u.ms}}) / u.ms, 5)
  end)
end)

t.test("edges of waves and windows are whole steps, whatever dt", function()
  within(0.1*u.ms, function()
    t.eq(input.spike({0.3*u.ms}, 0.6*u.ms, 1.0, 1*u.ms), {0, 0, 0, 1, 1, 1, 1, 1, 1, 0})
    t.eq(#input.sinusoidal(1.0, 10*u.Hz, 0.3*u.ms), 3)
    local square = input.square(1.0, 10*u.Hz, 3000*u.ms):reshape(-1, 500):mean{axis = 2}
    t.eq(square:reshape(-1, 2), bdl.tensor{{1.0, -1.0}}:tile{30, 1})
    t.close(input.sawtooth(1.0, 10*u.Hz, 3000*u.ms):reshape(-1, 1000)[{{}, 1}], bdl.full({30}, -1.0))
  end)
  within(0.1, function() t.eq(input.square(1.0, 0.5, 4.0):reshape(-1, 10):mean{axis = 2}, {1, -1, 1, -1}) end)
end)

t.test("noise: mean, variance, windows, seeds", function()
  within(0.1*u.ms, function()
    local w = input.wiener_process(100*u.ms, 2*u.pA, {n = 50, t_start = 20*u.ms, t_end = 80*u.ms, seed = 1}) / u.pA
    t.eq({table.unpack(w.shape)}, {1000, 50})
    t.eq(w[{{1, 200}}]:abs():max():item() + w[{{801, 1000}}]:abs():max():item(), 0.0)
    t.close(w[{{201, 800}}]:std():item(), 2 * 0.1^0.5, 0.02)
    t.eq(input.wiener_process(10*u.ms, 1.0, {seed = 3}), input.wiener_process(10*u.ms, 1.0, {seed = 3}))
    bdl.random.seed(0)
    t.ok(input.wiener_process(10*u.ms)[1]:item() ~= input.wiener_process(10*u.ms)[1]:item(), "the generator goes on")
    local x = input.ou_process(3*u.nA, 500*u.pA, 10*u.ms, 300*u.ms, {n = 200, seed = 2}) / u.nA
    t.close(x[{{2000, 3000}}]:mean():item(), 3, 0.02)
    t.close(x[{{2000, 3000}}]:var():item(), 0.25 * 10/2, 0.06)
    t.close(x[1]:mean():item(), 3, 0.02)
    local one = input.ou_process(3.0, 0.0, 10*u.ms, 5*u.ms)
    t.close(one, bdl.full({50}, 3.0))
    local s = input.poisson(40*u.Hz, 1000*u.ms, 2*u.pA, {n = 100, seed = 4}) / u.pA
    t.close(s:mean():item(), 2 * 0.004, 0.05)
    t.eq(bdl.unique(s):totable(), {0, 2})
    local noisy = input.noisy_sinusoidal(1.0, 10*u.Hz, 0.5, 1000*u.ms, {t_start = 500*u.ms, seed = 5})
    t.eq(noisy[{{1, 5000}}]:abs():max():item(), 0.0)
    t.close((noisy - input.sinusoidal(1.0, 10*u.Hz, 1000*u.ms, 500*u.ms))[{{5001, 10000}}]:std():item(), 0.5, 0.03)
    local object = input.WienerProcess(10*u.ms)
    t.eq((object - object)(), bdl.zeros(100))
    t.ok((object() - object(true)):abs():max():item() > 0, "recomputed")
  end)
end)

t.test("composition: shorter ones end in zeros, columns share a row, dt may change", function()
  within(1*u.ms, function()
    local two = input.WienerProcess(4*u.ms, 2, {seed = 1})
    local sum = (two + input.Ramp(0.0, 3.0, 4*u.ms))()
    t.close(sum - two(), {{0, 0}, {1, 1}, {2, 2}, {3, 3}}, 1e-6, 1e-6)
    t.eq((1*u.pA - input.Constant{{2*u.pA, 2*u.ms}})() / u.pA, {-1, -1})
    t.eq((input.Ramp(1.0, 2.0, 2*u.ms) / 2)(), {0.5, 1})
    t.eq((input.Ramp(1.0, 2.0, 2*u.ms) | 1.5)(), {1.5, 2})
    t.raises("UnitMismatchError", nil, function() return (1*u.mV + input.Constant{{2*u.pA, 2*u.ms}})() end)
    t.eq(input.Ramp(1.0, 2.0, 2*u.ms):apply(function(x) return x * x end)(), {1, 4})
    t.eq(input.Composite(input.Ramp(1.0, 2.0, 2*u.ms), input.Ramp(2.0, 1.0, 2*u.ms), "min")(), {1, 1})
    local ramp = input.Ramp(0.0, 1.0, 2*u.ms)
    t.eq(#ramp(), 2)
    within(0.5*u.ms, function() t.eq(#ramp(), 4) end)
    t.eq(input.Ramp(1.0, 2.0, 2*u.ms):shift(5*u.ms)(), {0, 0})
    local compiled = bdl.jit(function(a) return a * input.ramp(0.0, 1.0, 2*u.ms) + input.poisson(1*u.Hz, 2*u.ms) * 0 end)
    t.eq(compiled(3.0), {0, 3})
  end)
end)

t.test("bad input is an error that names function and argument", function()
  t.raises("KeyError", "dt", function() input.ramp(0, 1, 1*u.ms) end)
  t.raises("KeyError", "did you mean 'sawtooth'", function() return input.sawtoth end)
  within(0.1*u.ms, function()
    t.raises("ValueError", "input.section: 2 values and 1 durations", function() input.section({1, 2}, {1*u.ms}) end)
    t.raises("UnitMismatchError", nil, function() input.section({1*u.pA, 2*u.mV}, {1*u.ms, 1*u.ms}) end)
    t.raises("TypeError", "values is a list, not a number", function() input.section(1, {1*u.ms}) end)
    t.raises("UnitMismatchError", "input.section: a duration", function() input.section({1.0}, {1*u.mV}) end)
    t.raises("ValueError", "a duration is a time of at least 0", function() input.section({1.0}, {-1*u.ms}) end)
    t.raises("TypeError", "item 1 is a pair", function() input.constant{3, 4} end)
    t.raises("UnitMismatchError", "input.ramp: c_end is in <pA>, not in <mV>", function() input.ramp(0*u.pA, 1*u.mV, 1*u.ms) end)
    t.raises("ValueError", "0 <= t_start <= t_end <= duration", function() input.ramp(0, 1, 1*u.ms, 0*u.ms, 2*u.ms) end)
    t.raises("ValueError", "t_start = 3", function() input.sinusoidal(1, 1*u.Hz, 5*u.ms, 3*u.ms, 2*u.ms) end)
    t.raises("UnitMismatchError", "input.sinusoidal: frequency is in 1/time", function() input.sinusoidal(1, 10, 5*u.ms) end)
    t.raises("UnitMismatchError", "frequency is in 1/time", function() input.sinusoidal(1, 10*u.mV, 5*u.ms) end)
    t.raises("ValueError", "duty_cycle must be a number at least 0 and at most 1", function() input.square(1, 1*u.Hz, 1*u.ms, {duty_cycle = 2}) end)
    t.raises("ValueError", "tau must be a number greater than 0, not %-1", function() input.exponential_decay(1, -1*u.ms, 5*u.ms) end)
    t.raises("ValueError", "tau_rise and tau_decay must differ", function() input.double_exponential(1, 1*u.ms, 1*u.ms, 5*u.ms) end)
    t.raises("ValueError", "sigma must be a number greater than 0", function() input.gaussian_pulse(1, 1*u.ms, 0*u.ms, 5*u.ms) end)
    t.raises("ValueError", "method is one of", function() input.chirp{1, 1*u.Hz, 2*u.Hz, 5*u.ms, method = "cubic"} end)
    t.raises("ValueError", "frequencies greater than 0", function() input.chirp{1, 0*u.Hz, 2*u.Hz, 5*u.ms, method = "logarithmic"} end)
    t.raises("ValueError", "3 sp_lens for 2 spikes", function() input.spike({1*u.ms, 2*u.ms}, {1*u.ms, 1*u.ms, 1*u.ms}, 1.0, 5*u.ms) end)
    t.raises("ValueError", "rate dt is a probability, not 2", function() input.poisson(20000*u.Hz, 5*u.ms) end)
    t.raises("ValueError", "n must be a whole number", function() input.poisson(20*u.Hz, 5*u.ms, 1.0, 0) end)
    t.raises("TypeError", "an input was expected, not a string", function() return input.Ramp(0, 1, 1*u.ms) | "3" end)
    t.raises("ValueError", "tau is a time of at least dt", function() input.Ramp(0, 1, 1*u.ms):smooth(0.01*u.ms)() end)
    t.raises("ValueError", "operator is", function() input.Composite(input.Ramp(0, 1, 1*u.ms), 1, "^") end)
    t.raises("TraceContextError", "c_start must be known while tracing", function() bdl.jit(function(a) return input.ramp(a, 1, 1*u.ms) end)(1.0) end)
  end)
  within(-1*u.ms, function() t.raises("ValueError", "dt", function() input.ramp(0, 1, 1*u.ms) end) end)
end)

--- Input currents as arrays over time: one row a step of dt, computed before a run.
--
--   local I = input.section({0*u.pA, 5*u.pA, 0*u.pA}, {100*u.ms, 300*u.ms, 100*u.ms})   -- [5000] at dt = 0.1 ms
--   local I = (input.Ramp(0, 1, 500*u.ms) * input.Sinusoidal(1.0, 10*u.Hz, 500*u.ms) + 0.5):clip(0, 1)()
--
--  Each form comes twice: a function, which gives the array, and a class, whose objects compose and give the array when
--  called. Their arguments are the same; by position a class takes those that shape it first, as the reference does. A
--  window [t_start, t_end) holds the steps i with t_start <= i dt < t_end; outside, inputs are 0. Inputs that follow
--  the clock of a running model are neurons' neighbours: nn.SectionInput, nn.PoissonSpike, .. Names and numbers follow
--  braintools.input; times that are whole steps but for rounding count as whole.
return require "bdl.lazy"("input", {
  signal = "Input", steps = "Section Constant Step Ramp section constant step ramp",
  pulses = "Spike GaussianPulse ExponentialDecay DoubleExponential Burst spike gaussian_pulse exponential_decay"
    .. " double_exponential burst",
  waves = "Sinusoidal Square Triangular Sawtooth Chirp NoisySinusoidal sinusoidal square triangular sawtooth chirp"
    .. " noisy_sinusoidal",
  noise = "WienerProcess OUProcess Poisson wiener_process ou_process poisson",
  compose = "Composite Sequential TimeShifted Clipped Smoothed Repeated Transformed",
})

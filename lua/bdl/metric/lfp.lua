--- Local field potentials: from spikes, and their spectra.  dt: a time, or seconds.  Fourier sums are matrix products over the
--  frequencies that are asked for.
local core = require "bdl.core"
local A = require "bdl.array"
local base = require "bdl.array.base"
local operand = require "bdl.metric.operand"
local units = require "bdl.units"

local M = {}

local plain, seconds = operand.plain, operand.seconds

-- ---- from spikes -------------------------------------------------------------------------------------------------------------

--- Amplitudes of the field of an excitatory and an inhibitory spike.
local AMPLITUDE = {
  ["soma layer"] = {exc = 0.48, inh = 3.0}, ["deep layer"] = {exc = -0.16, inh = -0.2},
  ["superficial layer"] = {exc = 0.24, inh = -1.2}, surface = {exc = -0.08, inh = 0.3}, ["surface layer"] = {exc = -0.08, inh = 0.3},
}

--- The field of all spikes at an electrode in the middle of a sheet of neurons at random places:
--  sum A e^(-d / lambda) e^(-(t - t_spike - delay)^2 / (2 sigma^2)),  delay = 10.4 + 1000 d / va.  [T]
--  times [T] ms;  spikes [T, n];  spike_type "exc" or "inh".  Options: xmax, ymax (0.2 mm), va (200 mm/s), lambda (0.2 mm),
--  sig_i (2.1 ms), sig_e (3.15 ms), location ("soma layer", "deep layer", "superficial layer", "surface"), seed.
--  Source: Telenczuk, Telenczuk & Destexhe (2020), A kernel-based method to calculate local field potentials from networks of
--  spiking neurons.
--  Example:
--    local times, spikes = bdl.arange(100) * 1.0, bdl.random.bernoulli(0.1, {size = {100, 4}})
--    print(bdl.metric.unitary_LFP(times, spikes, "exc").shape)
function M.unitary_LFP(times, spikes, spike_type, opts)
  opts = base.options("unitary_LFP", opts, base.names "xmax ymax va lambda sig_i sig_e location seed")
  if spike_type ~= "exc" and spike_type ~= "inh" then
    core.fail("ValueError", 2, "metric.unitary_LFP: spike_type is 'exc' or 'inh', not '%s'", tostring(spike_type))
  end
  spikes = plain("unitary_LFP", "spikes", spikes, 2)
  if core.unit_of(times) then times = core.convert(times, units.ms) end
  times = plain("unitary_LFP", "times", times, 1)
  if times.shape[1] ~= spikes.shape[1] then
    core.fail("ShapeError", 2, "metric.unitary_LFP: %s times for spikes %s", tostring(times.shape[1]), base.text(spikes))
  end
  local location = opts.location or "soma layer"
  if not AMPLITUDE[location] then
    local names = {}
    for name in pairs(AMPLITUDE) do names[#names + 1] = name end
    core.fail("ValueError", 2, "metric.unitary_LFP: no location '%s'%s", tostring(location),
              require "bdl.suggest".hint(tostring(location), names))
  end
  local xmax, ymax = opts.xmax or 0.2, opts.ymax or 0.2
  local place = require "bdl.random".RandomState(opts.seed):rand(2, spikes.shape[2])
  local d = A.hypot(place[1] * xmax - xmax / 2, place[2] * ymax - ymax / 2)
  local size = A.exp(-d / (opts.lambda or 0.2)) * AMPLITUDE[location][spike_type]
  local delay = 10.4 + d / (opts.va or 200.0) * 1000.0
  local sigma = spike_type == "exc" and (opts.sig_e or 3.15) or opts.sig_i or 2.1
  local rows, columns = A.nonzero(A.ne(spikes, 0))
  if rows.size == 0 then return A.zeros_like(times) end
  local arrival, amplitude = A.take(times, rows) + A.take(delay, columns), A.take(size, columns)
  return require "bdl.compile".for_loop(function(t)
    local since = t - arrival
    return A.sum(amplitude * A.exp(-(since * since) / (2 * sigma * sigma)))
  end, times)
end

--- Second derivative of the potential across electrodes: -conductivity (x[k+1] - 2 x[k] + x[k-1]) / spacing^2, two entries less.
--  electrode_spacing: a length, or mm.  Options: conductivity (1.0), axis (-1).
--  Source: Nicholson & Freeman (1975), Theory of current source-density analysis.
--  Example:
--    print(bdl.metric.current_source_density(bdl.random.randn(10, 4), 0.1).shape)
function M.current_source_density(lfp_laminar, electrode_spacing, opts)
  opts = base.options("current_source_density", opts, base.names "conductivity axis")
  local x = plain("current_source_density", "potentials", lfp_laminar)
  if core.unit_of(electrode_spacing) then electrode_spacing = core.item(core.mantissa(core.convert(electrode_spacing, units.mm))) end
  local axis = base.axis("metric.current_source_density", opts.axis or -1, x.ndim, x)
  local n = x.shape[axis + 1]
  if n < 3 then core.fail("ValueError", 2, "metric.current_source_density: three electrodes are needed at least, not %d", n) end
  local function part(from) return base.slice_axis(x, axis, from, n - 2 + from) end
  return (part(2) - 2 * part(1) + part(0)) * (-(opts.conductivity or 1.0) / electrode_spacing ^ 2)
end

-- ---- spectra -----------------------------------------------------------------------------------------------------------------

--- cos and sin of 2 pi k t / n for t = 0 .. n-1 and k = first .. last: [n, frequencies] each.  Angles are made exact by k t mod n.
local function waves(n, first, last, dtype)
  local sizes = {n, last - first + 1}
  local t, k = base.iota(sizes, 0, "int64"), base.iota(sizes, 1, "int64")
  local turns = core.bind("rem", base.NONE, core.bind("mul", base.NONE, t, core.bind("add", base.NONE, k, first)), n)
  local angle = core.cast(turns, "float64") * (2 * math.pi / n)
  return core.cast(A.cos(angle), dtype), core.cast(A.sin(angle), dtype)
end

--- Segments of the first axis, half overlapping by default, under a Hann window: real and imaginary parts [segments, frequencies, ..],
--  the power of the window, the length of a segment.
local function segments(who, x, opts)
  local T = x.shape[1]
  local n = math.min(opts.nperseg or math.max(1, T // 8), T)
  if n < 1 then core.fail("ValueError", 3, "metric.%s: a segment of %d steps", who, n) end
  local overlap = n > 1 and math.min(opts.noverlap or n // 2, n - 1) or 0
  local count = math.max(1, (T - n) // (n - overlap) + 1)
  local power, window = 0, {}
  for i = 1, n do
    window[i] = n == 1 and 1.0 or 0.5 - 0.5 * math.cos(2 * math.pi * (i - 1) / (n - 1))
    power = power + window[i] ^ 2
  end
  local parts = A.moveaxis(operand.windows(x, count, n, n - overlap), 2, -1) * core.tensor(window, x.dtype)  -- [segments, .., n]
  local c, s = waves(n, 0, n // 2, x.dtype)
  return A.moveaxis(A.matmul(parts, c), -1, 2), A.moveaxis(-A.matmul(parts, s), -1, 2), power, n
end

--- Frequencies 0 .. n/2 in Hz, and those and the rows of values within range {low, high}.
local function in_range(values, n, dt, range)
  local first, last = 0, n // 2
  if range then
    while first <= last and first / (n * dt) < range[1] do first = first + 1 end
    while last >= first and last / (n * dt) > range[2] do last = last - 1 end
    if first > last then return core.tensor({range[1] + 0.0}), A.zeros_like(base.slice_axis(values, 0, 0, 1)) end
  end
  return (core.cast(A.arange(last - first + 1), values.dtype) + first) / (n * dt), base.slice_axis(values, 0, first, last + 1)
end

local SEGMENTS = base.names "nperseg noverlap freq_range"

--- Frequencies in Hz and the power spectral density of lfp [T] or [T, channels] at them, by Welch's method.
--  Options: nperseg (T // 8 steps), noverlap (half of it), freq_range {low, high} Hz.
--  Source: Welch (1967), The use of fast Fourier transform for the estimation of power spectra.
--  Example:
--    local lfp = bdl.sin(bdl.arange(2000) * 0.04) + 0.1 * bdl.random.randn(2000)
--    local frequencies, density = bdl.metric.power_spectral_density(lfp, 1*bdl.units.ms)
--    print(frequencies.shape, density.shape)
function M.power_spectral_density(lfp, dt, opts)
  opts = base.options("power_spectral_density", opts, SEGMENTS)
  dt = seconds(dt)
  local x = plain("power_spectral_density", "signals", lfp)
  local re, im, power, n = segments("power_spectral_density", x, opts)
  local density = A.mean(re * re + im * im, {axis = 1}) * (dt / power)
  local twice = {}
  for k = 0, n // 2 do twice[k + 1] = (k == 0 or 2 * k == n) and 1.0 or 2.0 end
  if n == 1 then twice[1] = 1.0 end
  local sizes = {#twice}
  for k = 2, density.ndim do sizes[k] = 1 end
  return in_range(density * A.reshape(core.tensor(twice, density.dtype), sizes), n, dt, opts.freq_range)
end

--- Frequencies in Hz and the coherence |P12|^2 / (P11 P22) of two signals [T].  Options: as power_spectral_density.
--  Example:
--    local lfp = bdl.sin(bdl.arange(2000) * 0.04) + 0.1 * bdl.random.randn(2000)
--    local frequencies, coherence = bdl.metric.coherence_analysis(lfp, lfp + bdl.random.randn(2000), 1*bdl.units.ms)
--    print(frequencies.shape, coherence.shape)
function M.coherence_analysis(lfp1, lfp2, dt, opts)
  opts = base.options("coherence_analysis", opts, SEGMENTS)
  dt = seconds(dt)
  local x, y = plain("coherence_analysis", "signals", lfp1, 1), plain("coherence_analysis", "signals", lfp2, 1)
  operand.same_shape("coherence_analysis", x, y)
  local a, b, _, n = segments("coherence_analysis", x, opts)
  local c, d = segments("coherence_analysis", y, opts)
  local function mean(z) return A.mean(z, {axis = 1}) end
  local re, im = mean(a * c + b * d), mean(b * c - a * d)
  local both = mean(a * a + b * b) * mean(c * c + d * d)
  local coherence = (re * re + im * im) / A.where(A.gt(both, 0), both, 1.0)
  return in_range(A.clip(coherence, 0.0, 1.0), n, dt, opts.freq_range)
end

--- Entropy of the normalised spectrum, 0 for one frequency, 1 for white noise.  Options: freq_range ({1, 100} Hz).
--  Example:
--    local lfp = bdl.sin(bdl.arange(2000) * 0.04) + 0.1 * bdl.random.randn(2000)
--    print(bdl.metric.spectral_entropy(lfp, 1*bdl.units.ms))
function M.spectral_entropy(lfp, dt, opts)
  opts = base.options("spectral_entropy", opts, base.names "freq_range")
  local _, p = M.power_spectral_density(lfp, dt, {freq_range = opts.freq_range or {1, 100}})
  if p.ndim > 1 then p = A.mean(p, {axis = -1}) end
  local n = p.shape[1]
  if n <= 1 then return A.sum(p) * 0 end
  local total = A.sum(p)
  local some = A.gt(total, 0)
  p = A.maximum(A.where(some, p / A.where(some, total, 1.0), 1 / n), 1e-12)
  return -A.sum(p * A.log2(p)) / math.log(n, 2)
end

--- The analytic signal of x [T, ..] within low..high Hz: real and imaginary part.
local function band(x, dt, low, high)
  local n = x.shape[1]
  local first, last = math.max(0, math.ceil(low * n * dt - 1e-9)), math.min((n - 1) // 2, math.floor(high * n * dt + 1e-9))
  if first > last then return A.zeros_like(x), A.zeros_like(x) end
  local c, s = waves(n, first, last, x.dtype)
  local factor = {}
  for k = first, last do factor[#factor + 1] = (k == 0 and 1 or 2) / n end
  local weight = core.tensor(factor, x.dtype)
  if x.ndim == 2 then weight = A.expand_dims(weight, 2) end
  local re, im = A.matmul(A.transpose(c), x) * weight, -A.matmul(A.transpose(s), x) * weight
  return A.matmul(c, re) - A.matmul(s, im), A.matmul(c, im) + A.matmul(s, re)
end

--- How much the phase of slow waves sets the amplitude of fast ones: the modulation index, the centres of the bins of phase, the mean
--  amplitude in each.  lfp [T].  Options: phase_freq_range ({4, 8} Hz), amplitude_freq_range ({30, 100} Hz), n_bins (18).
--  Source: Tort et al. (2010), Measuring phase-amplitude coupling between neuronal oscillations of different frequencies.
--  Example:
--    local lfp = bdl.sin(bdl.arange(2000) * 0.04) + 0.1 * bdl.random.randn(2000)
--    print(bdl.metric.phase_amplitude_coupling(lfp, 1*bdl.units.ms))
function M.phase_amplitude_coupling(lfp, dt, opts)
  opts = base.options("phase_amplitude_coupling", opts, base.names "phase_freq_range amplitude_freq_range n_bins")
  local x, n = plain("phase_amplitude_coupling", "signals", lfp, 1), opts.n_bins or 18
  dt = seconds(dt)
  local slow, fast = opts.phase_freq_range or {4, 8}, opts.amplitude_freq_range or {30, 100}
  local re, im = band(x, dt, slow[1], slow[2])
  local amplitude = A.hypot(band(x, dt, fast[1], fast[2]))
  local bins = A.linspace(-math.pi, math.pi, n + 1)
  local bin = A.clip(A.digitize(A.atan2(im, re), bins) - 1, 0, n - 1)
  local function sums(values) return A.bincount(bin, {weights = values, length = n}) end
  local mean = sums(amplitude) / A.maximum(sums(A.ones_like(amplitude)), 1.0)
  local p = mean / (A.sum(mean) + 1e-12)
  p = A.where(A.gt(p, 0), p, 1e-12)
  local most = math.log(n)
  return (most + A.sum(p * A.log(p))) / most, (base.slice_axis(bins, 0, 0, n) + base.slice_axis(bins, 0, 1, n + 1)) / 2, mean
end

--- Phase-amplitude coupling of 4 to 8 Hz with 30 to 80 Hz: the modulation index.
--  Example:
--    local lfp = bdl.sin(bdl.arange(2000) * 0.04) + 0.1 * bdl.random.randn(2000)
--    print(bdl.metric.theta_gamma_coupling(lfp, 1*bdl.units.ms))
function M.theta_gamma_coupling(lfp, dt)
  return (M.phase_amplitude_coupling(lfp, dt, {phase_freq_range = {4, 8}, amplitude_freq_range = {30, 80}}))
end

--- |mean of e^(i (phase_a - phase_b))| of all pairs of channels within a band; 0 for a channel with no power in it.
--  lfp_signals [T, n] -> [n, n].  Options: freq_band ({8, 12} Hz).
--  Example:
--    print(bdl.metric.lfp_phase_coherence(bdl.random.randn(2000, 2), 1*bdl.units.ms))
function M.lfp_phase_coherence(lfp_signals, dt, opts)
  opts = base.options("lfp_phase_coherence", opts, base.names "freq_band")
  local x = plain("lfp_phase_coherence", "signals", lfp_signals, 2)
  local T, n = x.shape[1], x.shape[2]
  local range = opts.freq_band or {8, 12}
  local re, im = band(x, seconds(dt), range[1], range[2])
  local size = A.hypot(re, im)
  local safe = A.where(A.gt(size, 0), size, 1.0)
  local c, s = A.where(A.gt(size, 0), re / safe, 1.0), im / safe
  local ct, st = A.transpose(c), A.transpose(s)
  local coherence = A.hypot(A.matmul(ct, c) + A.matmul(st, s), A.matmul(ct, s) - A.matmul(st, c)) / T
  local valid = A.gt(A.mean(size * size, {axis = 1}), A.maximum(A.mean(x * x, {axis = 1}), 1e-30) * 1e-6)
  local both = A.logical_and(A.expand_dims(valid, 2), A.expand_dims(valid, 1))
  coherence = A.where(both, A.clip(coherence, 0.0, 1.0), 0.0)
  return A.where(core.bind("eq", base.NONE, base.iota({n, n}, 0), base.iota({n, n}, 1)), 1.0, coherence)
end

return M

--- A continuous attractor network on a ring that tracks a moving stimulus; with adaptation it anticipates it.
--
--   tau du/dt = -u + J r + I - v,   tau_v dv/dt = -v + m u,   r = u^2 / (1 + k sum u^2)
--   J(x - y) = J0 exp(-(x - y)^2 / (2 a^2)) / (sqrt(2 pi) a),   I = A exp(-(x - stimulus)^2 / (4 a^2))
--
-- Source: Fung, Wong & Wu (2010), Neural Comput. 22:752; adaptation: Mi, Fung, Wong & Wu (2014), NIPS 27.
-- It prints the lag of the bump behind the stimulus: positive without adaptation (m = 0), smaller or negative with it.
local bdl = require "bdl"
local u = bdl.units

local s = bdl.settings{n = 128, tau = 1*u.ms, tau_v = 50*u.ms, k = 8.1, a = 0.5, A = 1.0, J0 = 4.0, m = 0.3, speed = 0.02, duration = 200*u.ms}
local dt = 0.1*u.ms
local pi = math.pi

local x = bdl.arange(s.n) * (2*pi / s.n) - pi                 -- preferred positions
local density = s.n / (2*pi)

--- d on the ring, in [-pi, pi).
local function ring(d) return (d + pi) % (2*pi) - pi end

local J = s.J0 / (math.sqrt(2*pi) * s.a) * bdl.exp(-0.5 * (ring(x:reshape(s.n, 1) - x) / s.a)^2) / density

--- The mean lag of the bump behind the stimulus, and the activity [steps, n], for a strength of adaptation.
local function track(m)
  local U, V = bdl.HiddenState(bdl.zeros(s.n)), bdl.HiddenState(bdl.zeros(s.n))
  local steps = math.floor((s.duration / dt):item() + 0.5)
  local lag, rate = bdl.for_loop(function(i)
    local position = ring(s.speed * 0.1 * i)
    local input = s.A * bdl.exp(-0.25 * (ring(x - position) / s.a)^2)
    local squares = U.value^2
    local r = squares / (1 + s.k / density * squares:sum())
    U.value = U.value + (J:matmul(r) + input - U.value - V.value) * (dt / s.tau)
    V.value = V.value + (m * U.value - V.value) * (dt / s.tau_v)
    local bump = bdl.atan2((r * bdl.sin(x)):sum(), (r * bdl.cos(x)):sum())
    return ring(position - bump), r
  end, bdl.arange(steps), {pbar = true})
  return lag[{{steps // 2, steps}}]:mean():item(), rate
end

local plain = track(0)
local adapted, rate = track(s.m)
print(("lag behind the stimulus: %.3f rad without adaptation, %.3f rad with m = %g"):format(plain, adapted, s.m))

-- The activity every millisecond; the line is the stimulus, with a gap where it goes round.
local steps = bdl.arange(0, #rate, 10)
local position = ring(s.speed * 0.1 * steps)
local line = bdl.where(position:lt(ring(position - s.speed)), 0/0, position)
local map = bdl.plot.heatmap(rate[steps].T, {x = steps * dt, y = x, label = "rate", y_label = "position (rad)",
                                             y_limits = {-3.1, 3.1}})
bdl.plot.output(map + bdl.plot.lines(line, {x = steps * dt}))

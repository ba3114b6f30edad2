--- Integrators: one step as in the reference, orders of convergence, use inside loops and transformations, bad input.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local quad, u = bdl.quad, bdl.units
local METHODS = require("bdl.quad.tableau").METHODS

local function exactly(dt, f, ...) return bdl.environ.context({dt = dt, precision = 64}, f, ...) end

-- ---- the reference: braintools.quad 0.3.0, float64, one step of 0.25 ms from t = 0.3 ms ---------------------------------------------

local ODE = {                                    -- v[1], v[2], w; then the estimates of their errors
  ode_bs32_step = {-0.81410287247925628, 1.906344611171958, 0.53294470295961582, 0.00042736919135866192, 0.00051642318500677575,
                   -3.9582351760714118e-05},
  ode_dopri5_step = {-0.81400071717406586, 1.9065470137910794, 0.53292677969981939, -1.0861420929320076e-07, 2.3645380931025528e-06,
                     -5.5417132360791044e-07},
  ode_dopri8_step = {-0.81400086000129812, 1.9065465473649088, 0.53292684048309757},
  ode_euler_step = {-0.82506161243342335, 1.8936883875665766, 0.53125},
  ode_heun_step = {-0.81402949379590495, 1.9062311087020258, 0.53298597254192281},
  ode_midpoint_step = {-0.81382997427043557, 1.9089053529883286, 0.53241802422291107},
  ode_ralston2_step = {-0.81490193668861233, 1.9079841818241068, 0.53241802422291107},
  ode_ralston3_step = {-0.81410287247925628, 1.906344611171958, 0.53294470295961582},
  ode_rk23_step = {-0.81410287247925628, 1.906344611171958, 0.53294470295961582, 0.00042736919135866192, 0.00051642318500677575,
                   -3.9582351760714118e-05},
  ode_rk2_step = {-0.81706071638451938, 1.9061269846361091, 0.53241802422291107},
  ode_rk3_step = {-0.81414889132881529, 1.906350452774715, 0.53294470295961582},
  ode_rk45_dopri_step = {-0.81400071717406586, 1.9065470137910794, 0.53292677969981939},
  ode_rk45_step = {-0.81400078518470054, 1.906546402215096, 0.53292690886465277, -5.5128115150626655e-07, 2.6205829617431675e-07,
                   -1.7238051086554407e-07},
  ode_rk4_38_step = {-0.81400233813447898, 1.9065643906338352, 0.5329218972553067},
  ode_rk4_step = {-0.81401176553543841, 1.9065518219554467, 0.5329236996009028},
  ode_rk87_dopri_step = {-0.81400086000129812, 1.9065465473649088, 0.53292684048309757},
  ode_rkf45_step = {-0.81400094151273672, 1.9065460952395197, 0.53292698898113089, -4.0419713509542987e-07, 3.4236264079279266e-06,
                    -8.5638172864221929e-07},
  ode_ssprk33_step = {-0.81425205040459681, 1.9066628336896558, 0.5328195131582345},
}

local SDE = {                                    -- from seed 7
  euler = {-0.79902774076023864, 1.7661895629915736, 0.66798789593993901},
  milstein = {-0.80585776330698222, 1.7464008325909117, 0.67769449112455504},
  heun = {-0.75625891704999681, 1.833287437862005, 0.66171208113654512},
  tamed_euler = {-0.82507458693382962, 1.776405634857017, 0.66704092624296929},
  implicit_euler = {-0.70738005099404833, 1.848237606799465, 0.66995408050615968},
  srk2 = {-0.76410704606037372, 1.8388769170917443, 0.67244369942499382},
  srk3 = {-0.75884308572486248, 1.833162609117287, 0.67451964633498374},
  srk4 = {-0.7582938275153227, 1.8344248006800492, 0.67443473427136236},
}
local STRATONOVICH = {
  milstein = {-0.79648738423948895, 1.768427461658405, 0.68025796768705504},
  heun = {-0.76410704606037372, 1.8388769170917441, 0.67244369942499382},
}

local function drift(y, time, k)
  local mV = y.v / u.mV
  return {v = (-y.v * mV * 0.5 + y.w * 3*u.mV * bdl.cos(time / u.ms)) * k / (2*u.ms), w = (mV:sum() - y.w) / (4*u.ms)}
end

local function diffusion(y) return {v = (0.3*y.v + 0.2*u.mV) / u.ms^0.5, w = 0.1*(1 + y.w*y.w) / u.ms^0.5} end

local function start() return {v = bdl.tensor{-1.0, 2.0}*u.mV, w = bdl.tensor(0.5)} end

local function numbers(y)
  local v = (y.v / u.mV):totable()
  return {v[1], v[2], y.w:item()}
end

t.test("ODE steps of a tree with units are those of the reference", function()
  exactly(0.25*u.ms, function()
    for name, want in pairs(ODE) do
      local new, err = quad[name](drift, start(), 0.3*u.ms, 1.5, #want > 3 and {return_error = true} or nil)
      t.close(numbers(new), {table.unpack(want, 1, 3)}, 1e-12, 0, name)
      if #want > 3 then t.close(numbers(err), {table.unpack(want, 4)}, 1e-8, 1e-16, name) end
    end
  end)
  exactly(0.25, function()
    local y, err = quad.ode_dopri8_step(function(y, time) return -y*y + bdl.sin(3*time)*y end, bdl.tensor{0.5, 2.0, -1.0}, 0.3,
                                        {return_error = true})
    t.close(y, {0.5539077741987001, 1.6186214921042659, -1.7552007375390848}, 1e-13)
    t.close(err, {-1.3747896509660535e-08, -3.4916795124788254e-06, 1.2066242401839597e-06}, 1e-8)
  end)
end)

t.test("SDE steps draw the reference's numbers", function()
  exactly(0.25*u.ms, function()
    for kind, table_ in pairs{ito = SDE, stra = STRATONOVICH} do
      for name, want in pairs(table_) do
        bdl.random.seed(7)
        local opts = kind == "stra" and {sde_type = "stra"} or nil
        t.close(numbers(quad["sde_" .. name .. "_step"](drift, diffusion, start(), 0.3*u.ms, 1.5, opts)), want, 1e-12, 0, name)
      end
    end
    bdl.random.seed(7)
    local function f(v, time) return (-v*(v/u.mV)*0.5 + 3*u.mV*bdl.cos(time/u.ms)) / (2*u.ms) end
    local function g(v) return (0.3*v + 0.2*u.mV) / u.ms^0.5 end
    local v = start().v
    t.close(quad.sde_expeuler_step(f, g, v, 0.3*u.ms) / u.mV, {-0.6589356278041263, 1.9682814834432478}, 1e-12)
    t.close(quad.ode_expeuler_step(f, v, 0.3*u.ms) / u.mV, {-0.684969499477311, 2.095780308018251}, 1e-12)
    local function stiff(x) return -x / u.ms end
    t.close(quad.imex_euler_step(f, stiff, v, 0.3*u.ms) / u.mV, {-0.5906866124334234, 1.7061883875665766}, 1e-12)
    t.close(quad.imex_euler_step(f, stiff, v, 0.3*u.ms, {max_iter = 4}) / u.mV, {-0.5651045257105123, 1.6878251617894877}, 1e-12)
    t.close(quad.imex_cnab_step(f, stiff, v, v * 0.9, 0.3*u.ms) / u.mV, {-0.5284313238340853, 1.626602855853415}, 1e-12)
  end)
end)

t.test("DDE steps are those of the reference", function()
  exactly(0.25*u.ms, function()
    local function history(time) return bdl.tensor{1.0, 2.0}*u.mV * bdl.sin(time / u.ms) end
    local function f(_, y, a, b, k) return (a - y + k*b) / (2*u.ms) end
    for name, want in pairs{
      euler = {-0.94879159820110037, 1.6024168035977993}, heun = {-0.9308847013128152, 1.6694805973743696},
      rk4 = {-0.93186697763577486, 1.6662546514992835}, euler_pc = {-0.91689493811884248, 1.721874186262315},
      heun_pc = {-0.93193830535336131, 1.6655347052112461},
    } do
      local y = quad["dde_" .. name .. "_step"](f, start().v, 0.3*u.ms, history, {0.5*u.ms, 1.2*u.ms}, 0.5)
      t.close(y / u.mV, want, 1e-12, 0, name)
    end
  end)
end)

-- ---- convergence -------------------------------------------------------------------------------------------------------------------

--- The error at t = 1 of n steps from y(0) = 1; numbers of Lua all the way, exact to 1e-16.
local function error_after(n, step, exact)
  return bdl.environ.context({dt = 1 / n}, function()
    local y = 1.0
    for i = 0, n - 1 do y = step(y, i / n) end
    return math.abs(y - exact)
  end)
end

local function order_of(n, step, exact) return math.log(error_after(n, step, exact) / error_after(2*n, step, exact), 2) end

t.test("each ODE method has its order", function()
  local function f(y, time) return -y * math.cos(time) + 0.5 * time * y * y end
  local exact = bdl.environ.context({dt = 1/256}, function()
    local y = 1.0
    for i = 0, 255 do y = quad.ode_dopri8_step(f, y, i/256) end
    return y
  end)
  for name, method in pairs(METHODS) do
    local n = method.order == 8 and 3 or 32
    local got = order_of(n, function(y, time) return quad["ode_" .. name .. "_step"](f, y, time) end, exact)
    t.ok(math.abs(got - method.order) < 0.4, ("%s converges with order %.2f, not %d"):format(name, got, method.order))
  end
end)

t.test("tableaus: rows add up to the times, weights to one, weights of an error to zero", function()
  for name, m in pairs(METHODS) do
    local b, e, d = 0, 0, 0
    for s, row in ipairs(m.a) do
      local sum = 0
      for _, a in ipairs(row) do sum = sum + a end
      t.ok(#row < s, name .. " is explicit")
      t.close(sum, m.c[s], 1e-12, 1e-12, name)
      b, d = b + m.b[s], d + m.b[s] * m.c[s]
    end
    for _, x in ipairs(m.error or {}) do e = e + x end
    t.close({b, e}, {1, 0}, 0, 1e-12, name)
    if m.order > 1 then t.close(d, 0.5, 1e-12, 0, name) end
  end
end)

t.test("IMEX and DDE methods have their orders", function()
  local function f(y, time) return -0.5 * y * y + math.sin(3*time) end
  local function g(y, time) return -y + 0.1 * time end
  local exact = bdl.environ.context({dt = 1/256}, function()
    local y = 1.0
    for i = 0, 255 do y = quad.ode_dopri8_step(function(x, s) return f(x, s) + g(x, s) end, y, i/256) end
    return y
  end)
  for name, order in pairs{euler = 1, ars222 = 2} do
    local got = order_of(64, function(y, time) return quad["imex_" .. name .. "_step"](f, g, y, time, {max_iter = 20}) end, exact)
    t.ok(math.abs(got - order) < 0.2, ("%s: %.2f"):format(name, got))
  end
  local function y_of(s) return math.exp(s) end            -- y' = y(t - 1) e
  for name, order in pairs{euler = 1, heun = 2, rk4 = 4, euler_pc = 1, heun_pc = 2} do
    local got = order_of(16, function(y, time)
      return quad["dde_" .. name .. "_step"](function(_, x, past) return 0.5*x + 0.5*math.exp(1)*past end, y, time, y_of, 1)
    end, math.exp(1))
    t.ok(math.abs(got - order) < 0.25, ("dde %s: %.2f"):format(name, got))
  end
end)

t.test("strong order of SDE methods: geometric Brownian motion along the same noise", function()
  local n_paths = 400
  local function errors(name, dt, n, opts)
    return exactly(dt, function()
      bdl.random.seed(1)
      local fine = bdl.random.randn(64, n_paths) * (1/64)^0.5            -- one path of noise for all steps
      local W, y = fine:sum{axis = 1}, bdl.ones(n_paths)
      local parts = fine:reshape(n, 64 // n, n_paths):sum{axis = 2} / dt^0.5
      local i, random = 0, bdl.random
      local randn = random.randn
      random.randn = function() i = i + 1 return parts[i] end
      local ok, err = pcall(function()
        for k = 0, n - 1 do
          y = quad["sde_" .. name .. "_step"](function(x) return 0.5*x end, function(x) return 0.8*x end, y, k*dt, opts)
        end
      end)
      random.randn = randn
      if not ok then error(err, 0) end
      local stratonovich = opts or name:find "srk"
      local exact = bdl.exp((stratonovich and 0.5 or 0.5 - 0.32) + 0.8*W)
      return (y - exact):abs():mean():item()
    end)
  end
  for name, order in pairs{euler = 0.5, milstein = 1, srk2 = 1, srk3 = 1, srk4 = 2} do
    local got = math.log(errors(name, 1/8, 8) / errors(name, 1/32, 32), 4)
    t.ok(math.abs(got - order) < 0.25, ("%s: strong order %.2f, not %g"):format(name, got, order))
  end
  local got = math.log(errors("heun", 1/8, 8, {sde_type = "stra"}) / errors("heun", 1/32, 32, {sde_type = "stra"}), 4)
  t.ok(math.abs(got - 1) < 0.25, ("heun: %.2f"):format(got))
end)

-- ---- in compiled functions ---------------------------------------------------------------------------------------------------------

t.test("steps inside compiled loops, grad and vmap", function()
  exactly(0.01, function()
    local y = bdl.State{a = bdl.tensor{1.0, 2.0}, b = bdl.tensor(0.0)}
    local function f(x) return {a = -x.a, b = x.a:sum()} end
    bdl.for_loop(function(i) y.value = quad.ode_rk4_step(f, y.value, i * 0.01) end, bdl.arange(100))
    t.close(y.value.a, {math.exp(-1), 2*math.exp(-1)}, 1e-9)
    t.close(y.value.b, 3*(1 - math.exp(-1)), 1e-9)
    local function final(rate)
      local x = bdl.State(bdl.tensor(1.0))
      bdl.for_loop(function(i) x.value = quad.ode_rk4_step(function(v) return -rate*v end, x.value, i * 0.01) end, bdl.arange(100))
      return x.value
    end
    t.close(bdl.grad(final)(bdl.tensor(0.5)), -math.exp(-0.5), 1e-8)
    t.close(bdl.vmap(final)(bdl.tensor{0.0, 1.0}), {1, math.exp(-1)}, 1e-8)
    local noisy = bdl.State(bdl.zeros(2000))
    bdl.random.seed(3)
    bdl.for_loop(function(i)
      noisy.value = quad.sde_euler_step(function(x) return -x end, function(x) return bdl.ones_like(x) end, noisy.value, i * 0.01)
    end, bdl.arange(500))
    t.close(noisy.value:var():item(), 0.5, 0.1)
  end)
end)

t.test("the history may be a Delay", function()
  exactly(0.1*u.ms, function()
    local delay = bdl.nn.Delay{bdl.zeros(1), time = 1*u.ms}
    delay:init_state()
    local y = bdl.State(bdl.tensor{1.0})
    local ys = bdl.for_loop(function(i)
      local _ <close> = bdl.environ.context{i = i, t = i * 0.1*u.ms}
      delay(y.value)
      y.value = quad.dde_euler_step(function(_, x, past) return (past - x) / u.ms end, y.value, i * 0.1*u.ms,
                                    function(time) return delay:retrieve_at_time(time) end, 1*u.ms)
      return y.value
    end, bdl.arange(30))
    local want, known = {}, {}
    for i = 0, 29 do
      known[i] = i == 0 and 1 or want[i]
      want[i + 1] = known[i] + 0.1 * ((known[i - 10] or 0) - known[i])
    end
    t.close(ys:reshape(-1), want, 1e-9)
  end)
end)

-- ---- bad input -----------------------------------------------------------------------------------------------------------------------

t.test("what does not fit is an error that says what does", function()
  t.raises("KeyError", "dt", function() quad.ode_rk4_step(function(y) return y end, 1.0, 0.0) end)
  bdl.environ.context({dt = 0.1*u.ms}, function()
    local function f(v) return -v / (10*u.ms) end
    local v = bdl.tensor{1.0, 2.0}*u.mV
    t.raises("UnitMismatchError", "ode_euler_step: f gives <mV> for y in <mV> and dt in <ms>; it must give y per time",
             function() quad.ode_euler_step(function(x) return -x end, v, 0*u.ms) end)
    t.raises("UnitMismatchError", "at v", function() quad.ode_rk2_step(function(y) return {v = y.v} end, {v = v}, 0*u.ms) end)
    t.raises("UnitMismatchError", "the diffusion g .* per root of time",
             function() quad.sde_euler_step(f, function() return 1*u.mV end, v, 0*u.ms) end)
    t.raises("UnitMismatchError", nil, function() quad.ode_rk4_step(f, v, 1.0) end)
    t.raises("ValueError", "ode_rk4_step: f gives the structure %* for y of {v:%*}", function() quad.ode_rk4_step(function(y) return f(y.v) end, {v = v}, 0*u.ms) end)
    t.raises("ShapeError", "ode_euler_step: f gives the shape %[3,2%] for y of %[2%]",
             function() quad.ode_euler_step(function(x) return f(x) * bdl.ones(3, 1) end, v, 0*u.ms) end)
    t.raises("TypeError", "ode_rk4_step: f is a function, not a number", function() quad.ode_rk4_step(3, v, 0*u.ms) end)
    t.raises("TypeError", "ode_rk4_step: t, the time of y", function() quad.ode_rk4_step(f, v) end)
    t.raises("TypeError", "ode_rk4_step: y, the state", function() quad.ode_rk4_step(f) end)
    t.raises("ValueError", "float", function() quad.ode_expeuler_step(function(x) return -x end, 3, 0*u.ms) end)
    t.raises("ValueError", "sde_milstein_step: sde_type is 'ito' or 'stra'",
             function() quad.sde_milstein_step(f, f, v, 0*u.ms, {sde_type = "strat"}) end)
    t.raises("ValueError", "max_iter is a whole number >= 1, not 0", function() quad.imex_euler_step(f, f, v, 0*u.ms, {max_iter = 0}) end)
    t.raises("ValueError", "a delay is a time >= 0, not %-1", function() quad.dde_euler_step(f, v, 0*u.ms, f, -1*u.ms) end)
  end)
  bdl.environ.context({dt = -0.1}, function()
    t.raises("ValueError", "sde_euler_step: noise needs dt > 0", function() quad.sde_euler_step(function(y) return y end, function(y) return y end, 1.0, 0.0) end)
    t.close(quad.ode_euler_step(function(y) return y end, 1.0, 0.0), 0.9)
  end)
end)

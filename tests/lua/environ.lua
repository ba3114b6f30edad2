-- environ: set, get, contexts, versions.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local environ, u = bdl.environ, bdl.units

t.test("the innermost context wins and the outer value comes back", function()
  environ.set{alpha = 1}
  do
    local _ <close> = environ.context{alpha = 2}
    t.eq(environ.get "alpha", 2)
    t.eq(environ.context({alpha = 3}, function(x) return environ.get "alpha" + x end, 10), 13)
    environ.set{alpha = 7}
    t.eq(environ.get "alpha", 2)
  end
  t.eq(environ.get "alpha", 7)
  t.eq(environ.pop "alpha", 7)
end)

t.test("a context is left on an error", function()
  pcall(function()
    local _ <close> = environ.context{alpha = 1}
    error "x"
  end)
  pcall(environ.context, {alpha = 1}, error, "x")
  t.eq(environ.get("alpha", nil), nil)
end)

t.test("a missing key says both ways to set it", function()
  local e = t.raises("KeyError", "environ 'dt' is not set", environ.get, "dt")
  local both = "bdl.environ.set{dt = 0.1*u.ms} or local _ <close> = bdl.environ.context{dt = ...}"
  t.ok(tostring(e):find(both, 1, true), tostring(e))
  environ.set{theta = 1}
  t.raises("KeyError", "did you mean 'theta'", environ.get, "thete")
  environ.pop "theta"
  t.eq(environ.get("dt", 5), 5)
  t.eq(environ.pop("dt", 6), 6)
  t.raises("KeyError", "not set", environ.pop, "dt")
end)

t.test("values are checked", function()
  t.raises("TypeError", "dt must be a scalar", environ.set, {dt = bdl.ones(3)})
  t.raises("TypeError", "dt must be a scalar", environ.set, {dt = "x"})
  t.raises("ValueError", "precision is 8, 16, 32, 64 or 'bf16', not 31", environ.set, {precision = 31})
  t.raises("ValueError", "precision", environ.context, {precision = "32"})
  t.raises("ValueError", "matmul_precision is 'float32' or 'tf32', not bfloat16", environ.set, {matmul_precision = "bfloat16"})
  t.raises("ValueError", "no tpu backend; have cpu, gpu.*no counterpart of a TPU", environ.set, {platform = "tpu"})
  t.raises("ValueError", "platform holds for the whole process", environ.context, {platform = "cpu"})
  t.raises("ValueError", "host_device_count", environ.context, {host_device_count = 2})
  t.raises("TypeError", "takes a table", environ.set, 3)
  t.raises("KeyError", "keys are names", environ.set, {3})
end)

t.test("dt is a number or a scalar quantity", function()
  environ.context({dt = 0.1 * u.ms}, function() t.ok(environ.get_dt()) end)
  environ.context({dt = 0.1}, function() t.eq(environ.get_dt(), 0.1) end)
end)

t.test("precision is restored after a context", function()
  t.eq(environ.dftype(), "float32")
  environ.context({precision = 64}, function()
    t.eq({environ.dftype(), environ.ditype()}, {"float64", "int64"})
  end)
  t.eq(environ.dftype(), "float32")
end)

t.test("bdl.config is the second spelling", function()
  bdl.config.update("platform_name", "cpu")
  t.eq(environ.get_platform(), "cpu")
  t.raises("KeyError", "did you mean 'platform_name'", bdl.config.update, "platform_nam", "cpu")
end)

t.test("the version is the old one again after a context, unless something was set", function()
  local v, told = environ.version(), nil
  environ.on_version(function(version) told = version end)
  environ.context({beta = 1}, function() t.ok(environ.version() ~= v and told == environ.version()) end)
  t.eq({environ.version(), told}, {v, v})
  environ.context({beta = 1}, function() environ.set{gamma = 1} end)
  t.ok(environ.version() ~= v)
  environ.pop "gamma"
end)

t.test("a listener hears the keys that are read, absent ones too", function()
  local heard = {}
  local before = environ.listen(function(key, value) heard[#heard + 1] = {key, value} end)
  environ.context({beta = 4}, function()
    environ.get "beta"
    environ.peek "beta"
    environ.get("delta", 0)
  end)
  environ.listen(before)
  t.eq(heard, {{"beta", 4}, {"delta"}})
end)

t.test("a change that fails is not made", function()
  local seen = {}
  environ.on_change("omega", function(value)
    if value == 13 then error "unlucky" end
    seen[#seen + 1] = value or "none"
  end)
  environ.set{omega = 1}
  t.raises(nil, "unlucky", environ.set, {omega = 13})
  t.eq(environ.get "omega", 1)
  t.raises(nil, "unlucky", environ.context, {omega = 13})
  t.eq(environ.get "omega", 1)
  environ.context({omega = 2}, function() end)
  t.eq(seen, {1, 1, 2, 1})
  environ.pop "omega"
end)

t.test("contexts may be left in any order", function()
  local a, b = environ.context{beta = 1}, environ.context{beta = 2}
  a:close()
  t.eq(environ.get "beta", 2)
  b:close()
  b:close()
  t.eq(environ.get("beta", nil), nil)
end)

t.test("the precision by its own functions", function()
  local before = environ.get_precision()
  environ.set_precision(64)
  t.eq({environ.get_precision(), environ.dftype(), tostring(bdl.ones(1).dtype)}, {64, "float64", "float64"})
  environ.set_precision(before)
  t.eq({environ.get_precision(), tostring(bdl.ones(1).dtype)}, {32, "float32"})
  environ.context({precision = 64}, function() t.eq(environ.get_precision(), 64) end)
  t.raises("ValueError", "precision is 8, 16, 32, 64 or 'bf16', not 33", environ.set_precision, 33)
end)

t.test("a step takes time, and of a model goes forward", function()
  for _, dt in ipairs{0, 0/0, 0*u.ms} do
    t.raises("ValueError", "dt is a time other than 0", environ.set, {dt = dt})
    t.raises("ValueError", "environ.context: dt is a time other than 0", environ.context, {dt = dt}, function() end)
  end
  local N = bdl.nn.init_all_states(bdl.nn.LIF(1))
  t.raises("ValueError", "dt is a time > 0, not %-1 ms", environ.context, {dt = -1*u.ms}, N, bdl.ones(1) * u.mA)
end)

--- Modules, sizes, inputs, descriptions, projections, layers, initialisers.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local dt = bdl.environ.context{dt = 0.1*u.ms}

t.test("sizes take negative positions", function()
  local m = nn.Module()
  m.in_size = 3
  m.out_size = {4, 5}
  t.eq(m.in_size[-1], 3)
  t.eq(m.out_size[-1], 5)
  t.eq(m.out_size[1], 4)
  t.raises("ValueError", "whole number", function() m.size = nn.size(-1) end)
end)

t.test("an unknown name of nn comes with a suggestion", function()
  t.raises("KeyError", "did you mean 'LIF'", function() return nn.LIFF end)
  t.raises("TypeError", "nn.LIF: no argument 'taus' %(did you mean 'tau'", function() return nn.LIF{3, taus = 1} end)
end)

t.test("a module without update says so", function()
  local Empty = nn.Module:extend "Empty"
  t.raises(nil, "Empty has no update", function() Empty()(1) end)
end)

t.test("reset_state refills the same States", function()
  local n = nn.LIF{3, V_initializer = bdl.init.Constant(2*u.mV)}
  n:init_state()
  local V = n.V
  n(5*u.mA)
  n:reset_state()
  t.ok(rawequal(n.V, V))
  t.close((n.V.value / u.mV):totable(), {2, 2, 2})
  n:init_state(4)
  t.eq({n.V.shape[1], n.V.shape[2]}, {4, 3})
end)

t.test("init_all_states: levels after the rest, ascending", function()
  local order = {}
  local function kind(name, level)
    local K = nn.Module:extend(name)
    local function init() order[#order + 1] = name end
    K.init_state = level and nn.call_order(level)(init) or init
    return K()
  end
  local net = nn.Module()
  net.a, net.b, net.c, net.d = kind("A", 2), kind "B", kind("C", 1), kind "D"
  t.ok(rawequal(nn.init_all_states(net), net))
  t.eq(order, {"B", "D", "C", "A"})
  order = {}
  nn.init_all_states(net, {node_to_exclude = function(path) return path == "b" end})
  t.eq(order, {"D", "C", "A"})
end)

t.test("current inputs: functions stay, values are used once", function()
  local d = nn.Dynamics(2)
  d:add_current_input("f", function(v) return 2 * v end)
  d:add_current_input("x", bdl.ones(2))
  t.close(d:sum_current_inputs(0, bdl.ones(2)):totable(), {3, 3})
  t.close(d:sum_current_inputs(0, bdl.ones(2)):totable(), {2, 2})
  t.raises("ValueError", "'f' is registered already", function() d:add_current_input("f", 1) end)
end)

t.test("an error in an input names its key", function()
  local d = nn.Dynamics(2)
  d:add_delta_input("wrong", 1*u.mA)
  t.raises("UnitMismatchError", "delta input 'wrong'", function() return d:sum_delta_inputs(1*u.mV) end)
end)

t.test("before- and after-updates run around update, in order", function()
  local log, D = {}, nn.Dynamics:extend "D"
  function D:update(x) log[#log + 1] = "update" return x + 1 end
  local d = D(1)
  d:add_before_update("first", function() log[#log + 1] = "first" end)
  d:add_before_update("second", function() log[#log + 1] = "second" end)
  d:add_after_update("after", function(y) log[#log + 1] = "after " .. y end)
  t.eq(d(1), 2)
  t.eq(log, {"first", "second", "update", "after 2"})
  t.raises("KeyError", "registered already", function() d:add_before_update("first", print) end)
  t.raises("KeyError", "did you mean 'first'", function() d:get_before_update "firts" end)
end)

t.test("descriptions: equal arguments, equal identifiers", function()
  local a, b = nn.Expon:desc{4, tau = 10*u.ms}, nn.Expon:desc{4, tau = 10.0*u.ms}
  t.eq(a:identifier(), "Expon(4, tau=10 ms)")
  t.eq(a:identifier(), b:identifier())
  t.ok(a:identifier() ~= nn.Expon:desc{4, tau = 10.5*u.ms}:identifier())
  t.eq(nn.CUBA:desc():identifier(), "CUBA()")
  t.ok(a():is(nn.Expon) and not rawequal(a(), a()))
end)

local function network(same)
  local net = nn.Module()
  net.neu = nn.LIF(4)
  for _, name in ipairs{"p1", "p2"} do
    net[name] = nn.AlignPostProj{
      comm = nn.Linear{3, 4, w_init = bdl.ones(3, 4)*u.mS, b_init = bdl.none},
      syn = nn.Expon:desc{4, tau = (name == "p1" or same) and 10*u.ms or 5*u.ms}, out = nn.CUBA:desc(), post = net.neu}
  end
  return nn.init_all_states(net)
end

t.test("projections with equal descriptions share a synapse under a readable path", function()
  local function paths(net)
    local list = {}
    for path in net:states(bdl.HiddenState):items() do list[#list + 1] = path end
    return list
  end
  t.eq(paths(network(true)), {'neu.V', 'neu._before_updates["Expon(4, tau=10 ms) // CUBA()"].syn.g'})
  t.eq(#paths(network(false)), 3)
  local net = network(true)
  net.p1(bdl.ones(3))
  net.p2(bdl.ones(3))
  net.neu(0*u.mA)
  t.close((net.p1.syn.g.value / u.mS):totable(), {6, 6, 6, 6})
end)

t.test("a description and an object do not mix", function()
  local post = nn.LIF(2)
  t.raises("TypeError", "two descriptions", function()
    nn.AlignPostProj{comm = nn.Linear{2, 2, w_init = bdl.ones(2, 2)}, syn = nn.Expon:desc(2), out = nn.CUBA(), post = post}
  end)
end)

t.test("DeltaProj jumps after the integration", function()
  local post = nn.LIF{2, V_th = 10*u.mV}
  local proj = nn.DeltaProj{comm = function(x) return x*u.mV end, post = post}
  nn.init_all_states(post)
  proj(bdl.tensor{1.0, 2.0})
  post(0*u.mA)
  t.close((post.V.value / u.mV):totable(), {1, 2})
end)

t.test("an output without a conductance says so", function()
  t.raises("ValueError", "no conductance", function() return nn.COBA(0*u.mV)(1*u.mV) end)
end)

t.test("Linear: weight and bias, mask, shapes", function()
  local l = nn.Linear{2, 3, w_init = bdl.ones(2, 3), b_init = bdl.init.Constant(0.5)}
  t.close(l(bdl.tensor{1.0, 2.0}):totable(), {3.5, 3.5, 3.5})
  t.close(l(bdl.ones(4, 2)):totable()[4], {2.5, 2.5, 2.5})
  local masked = nn.Linear{2, 2, w_init = bdl.ones(2, 2), w_mask = bdl.tensor{{1.0, 0.0}, {0.0, 1.0}}}
  t.close(masked(bdl.tensor{1.0, 2.0}):totable(), {1, 2})
  t.raises("ShapeError", "in_size 2", function() return l(bdl.ones(3)) end)
  t.raises("ValueError", "leading sizes differ", function() return nn.Linear({2, 3}, {4, 5}) end)
  t.close(l(bdl.tensor{true, false}):totable(), {1.5, 1.5, 1.5})
end)

t.test("parameters: scalars stay, arrays must fit, States are refilled", function()
  local init = bdl.init
  t.eq(init.param(3, {4}), 3.0)
  t.eq(init.param(nil, {4}), nil)
  t.raises("TypeError", "not a string", function() init.param("x", {4}) end)
  t.raises("ValueError", "not nil", function() init.param(nil, {4}, nil, {allow_none = false}) end)
  t.raises("ValueError", "%[3%] does not broadcast to the sizes %[4%]", function() init.param(bdl.ones(3), {4}) end)
  t.eq({table.unpack(init.param(bdl.ones(4), {4}, 2).shape)}, {2, 4})
  t.eq({table.unpack(init.param(init.ZeroInit{unit = u.mV}, {4}, 2).shape)}, {2, 4})
  local s = bdl.State(bdl.ones(4))
  t.ok(rawequal(init.param(s, {4}, 3), s))
  t.eq({table.unpack(s.value.shape)}, {3, 4})
end)

t.test("initialisers compose", function()
  local init = bdl.init
  t.close(((2 * init.Constant(3*u.mV) + 1*u.mV){2} / u.mV):totable(), {7, 7})
  t.close(init.Constant(5.0):clip(0, 1){2}:totable(), {1, 1})
  bdl.random.seed(3)
  local w = init.KaimingNormal{unit = u.mV}{200, 100}
  t.close((w / u.mV):std():item(), math.sqrt(2 / 200), 0.05)
end)

t.test("exp_euler_step is exact for linear equations and wants floats and units", function()
  local x = nn.exp_euler_step(function(x) return -x / (2*u.ms) end, bdl.ones(2))
  t.close(x:totable(), {math.exp(-0.05), math.exp(-0.05)}, 1e-6)
  t.raises("ValueError", "float", function() nn.exp_euler_step(function(x) return x end, bdl.arange(2)) end)
  t.raises("UnitMismatchError", nil, function() nn.exp_euler_step(function(x) return x end, bdl.ones(2)) end)
end)

t.test("exp_euler_step adds noise of the root of dt", function()
  bdl.random.seed(1)
  local n = 4000
  local x = nn.exp_euler_step(function(x) return 0 * x / u.ms end, function(x) return 2 * u.mV / u.ms^0.5 end, bdl.zeros(n)*u.mV)
  t.close((x / u.mV):std():item(), 2 * math.sqrt(0.1), 0.05)
end)

t.test("the derivative of a spike is its surrogate, never silently zero", function()
  local f = bdl.surrogate.ReluGrad()
  local value, slope = bdl.augment.value_and_derivative(function(x) return f(x) end, bdl.tensor{-2.0, -0.5, 0.5})
  t.close(value:totable(), {0, 0, 1})
  t.close(slope:totable(), {0, 0.15, 0.15})
end)

t.test("an input that a failed trace left behind does not clash", function()
  local post = nn.LIF(2)
  local proj = nn.DeltaProj{comm = function(x) return x*u.mV end, post = post}
  nn.init_all_states(post)
  local fail = true
  local f = bdl.jit(function(x)
    proj(x)
    if fail then error "stop" end
    return post(0*u.mA)
  end)
  t.raises(nil, "stop", f, bdl.ones(2))
  fail = false
  f(bdl.ones(2))
  t.close((post.V.value / u.mV):totable(), {1, 1})
end)

t.test("x >> layer calls it", function()
  local l = nn.Linear{2, 1, w_init = bdl.ones(2, 1)}
  t.close((bdl.tensor{1.0, 2.0} >> l):totable(), {3})
end)

t.test("inputs after a sum that failed are as before it, less those used", function()
  local lif = nn.init_all_states(nn.LIF(2))
  lif:add_current_input("a", 1*u.mA)
  lif:add_current_input("b", 1*u.ms)
  lif:add_current_input("c", 2*u.mA)
  t.raises("UnitMismatchError", "current input 'b': cannot add", function() lif:sum_current_inputs(0*u.mA) end)
  t.close((lif:sum_current_inputs(0*u.mA) / u.mA), 2)
  lif:add_current_input("a", 3*u.mA)
  t.close((lif:sum_current_inputs(0*u.mA) / u.mA), 3)
end)

t.test("a step before init_state names the State that is missing", function()
  local lif = nn.LIF(2)
  local e = t.raises("ValueError", "LIF: no state 'V'", function() local s = lif(0*u.mA) return s end)
  t.ok(e.file:find "tests/lua/nn.lua" and e.hint:find "init_all_states")
  t.raises("ValueError", "Expon: no state 'g'", bdl.jit(function(x) local y = nn.Expon(2)(x) return y end), 1.0)
  local Broken = nn.LIF:extend "Broken"
  function Broken:update() return self.missing.value end
  t.raises(nil, "tests/lua/nn.lua.*field 'missing'", Broken(2))
end)

t.test("methods before init_state name the State that is missing, at the line that calls them", function()
  for pattern, f in pairs{
    ["LIF: no state 'V'"] = function() local s = nn.LIF(2):get_spike() return s end,
    ["ALIF: no state 'V'"] = function() local s = nn.ALIF(2):get_spike() return s end,
    ["HH: no state 'V'"] = function() local s = nn.HH(2):get_spike() return s end,
    ["LIFRef: no state 'since_spike'"] = function() local s = nn.LIFRef(2):last_spike_time() return s end,
    ["AMPA: no state 'since_spike'"] = function() local s = nn.AMPA(2):spike_arrival_time() return s end,
    ["LIF: no state 'V'%s"] = bdl.jit(function() local s = nn.LIF(2):reset(1*u.mV, nn.LIF(2):get_spike()) return s end),
  } do
    local e = t.raises("ValueError", pattern, f)
    t.ok(e.file:find "tests/lua/nn.lua" and e.hint:find "init_all_states")
  end
  local lif = nn.LIF(2)
  t.eq(lif.V, nil, "a field that is not set stays nil")
  t.ok(lif.get_spike == lif.get_spike)
  t.eq(nn.init_all_states(lif):get_spike(), {0, 0})
end)

t.test("parameters that are States do not stand for those of init_state", function()
  local lif = nn.LIF{2, V_th = bdl.ParamState(bdl.array{1.0, 2.0} * u.mV)}
  t.raises("ValueError", "LIF: no state 'V'", function() lif:get_spike() end)
end)

dt:close()

t.test("a step without dt says how to set it", function()
  local n = nn.init_all_states(nn.LIF(2))
  t.raises("KeyError", "environ 'dt' is not set", function() n(0*u.mA) end)
end)

t.test("the name of a module is given once", function()
  local lif = bdl.nn.LIF{3, name = "exc"}
  t.eq(lif.name, "exc")
  t.raises("ValueError", "read%-only", function() lif.name = "inh" end)
  t.eq(lif.name, "exc")
  t.eq(bdl.nn.LIF(3).name, nil)
end)

t.test("call_all_fns: arguments, absent methods, exclusions; levels from 0 to 9", function()
  local A, B, log = nn.Module:extend "A", nn.Module:extend "B", {}
  function A:note(x, y) log[#log + 1] = ("A%d%s"):format(x, y or "") end
  B.note = nn.call_order(2)(function(_, x) log[#log + 1] = "B" .. x end)
  local net = nn.Module()
  net.b, net.a, net.c = B(), A(), A()
  t.ok(rawequal(nn.call_all_fns(net, "note", {1, "y"}, {fn_if_not_exist = "pass"}), net))
  t.eq(log, {"A1y", "A1y", "B1"})
  log = {}
  nn.call_all_fns(net, "note", 7, {fn_if_not_exist = "none", node_to_exclude = A})
  t.eq(log, {"B7"})
  t.raises("KeyError", "Module has no method 'note'", nn.call_all_fns, net, "note", 1)
  t.raises("KeyError", "A at 'a' has no method 'other'", nn.call_all_fns, net, "other")
  t.raises("ValueError", "fn_if_not_exist is", nn.call_all_fns, net, "note", 1, {fn_if_not_exist = "skip"})
  t.raises("TypeError", "'size' of A is not a function but a number", function()
    net.a.size, net.c.size = 3, 4
    nn.call_all_fns(net, "size", nil, {fn_if_not_exist = "pass"})
  end)
  t.raises("TypeError", "the name of a method", nn.call_all_fns, net, 3)
  for _, level in ipairs{-1, 10} do
    t.raises("ValueError", "a level is from 0 to 9, not ", nn.call_order, level)
    t.ok(nn.call_order(level, {check_order_boundary = false}))
  end
end)

t.test("reset and calls of every module over lanes", function()
  local Noise = nn.Module:extend "Noise"
  function Noise:init_state() self.x = bdl.ShortTermState(bdl.zeros(3)) end
  function Noise:reset_state() self.x.value = bdl.random.rand(3) end
  function Noise:fill(v) self.y = bdl.ShortTermState(v * bdl.ones(2)) end
  local net = nn.Module()
  net.a, net.b = Noise(), Noise()
  nn.vmap_init_all_states(net, {axis_size = 4})
  t.eq({table.unpack(net.a.x.shape)}, {4, 3})
  local kept = net.a.x
  nn.vmap_reset_all_states(net, {axis_size = 4})
  t.ok(rawequal(net.a.x, kept), "States stay the ones that they are")
  local rows = net.a.x.value:totable()
  t.ok(rows[1][1] ~= rows[2][1] and rows[1][1] ~= 0, "each lane draws its own")
  nn.vmap_call_all_fns(net, "fill", 2.0, {axis_size = 3, fn_if_not_exist = "pass", state_tag = "lane"})
  t.eq(net.b.y.value, {{2, 2}, {2, 2}, {2, 2}})
  t.ok(net.b.y.tag.lane)
  t.raises("ValueError", "vmap_reset_all_states: the option axis_size", nn.vmap_reset_all_states, net)
  t.raises("ValueError", "axis_size is a number of lanes, not 0", nn.vmap_call_all_fns, net, "fill", 1, {axis_size = 0})
end)

t.test("a module by its pure function forward(states, params, x)", function()
  local Leaky = nn.Module:extend "Leaky"
  function Leaky:__init()
    self.cell = nn.Module()
    self.cell.w = bdl.ParamState(bdl.tensor{2.0, 3.0})
  end
  function Leaky:init_state() self.v = bdl.HiddenState(bdl.zeros(2)) end
  function Leaky:forward(states, params, x, scale)
    local v = 0.5 * states.v + params["cell.w"] * x
    return {v = v}, v * (scale or 1), "more"
  end
  local m = nn.init_all_states(Leaky())
  t.eq(m(1.0), {2, 3})
  local out, more = m(1.0, 10)
  t.eq({out:totable(), more}, {{30, 45}, "more"})
  t.eq(m.v.value, {3, 4.5})
  t.close(bdl.grad(function() return m(2.0):sum() end, m.cell.w)(), {2, 2})
  function Leaky:forward() return {} end
  t.raises("KeyError", "Leaky: forward returns states without 'v'", m, 1.0)
end)

t.test("assign_state_values: what fits is written, what does not is told, a bad value leaves all as it was", function()
  local net = nn.Module()
  net.a, net.layers = nn.Linear(2, 1), {nn.LIF(2)}
  nn.init_all_states(net)
  local saved = {}
  for path, s in net:states():items() do saved[path] = s.value end
  net.layers[1].V.value = bdl.ones(2)*u.mV
  local unexpected, missing = nn.assign_state_values(net, saved, {["layers.1.V"] = bdl.full({2}, 3.0)*u.mV})
  t.eq({#unexpected, #missing}, {0, 0})
  t.close(net.layers[1].V.value / u.mV, {3, 3})
  unexpected, missing = nn.assign_state_values(net, {["b.w"] = 1, ["a.weight"] = bdl.State(saved["a.weight"])})
  t.eq(unexpected, {"b.w"})
  t.eq(missing, {"layers[1].V"})
  t.raises("UnitMismatchError", nil, nn.assign_state_values, net, {["layers[1].V"] = bdl.ones(2), ["a.weight"] = saved["a.weight"]})
  t.close(net.layers[1].V.value / u.mV, {3, 3})
  t.raises("TypeError", "a map of paths and values", nn.assign_state_values, net, 3)
end)

t.test("an after-update gets the result again after receive_update_output", function()
  local cells, seen = nn.init_all_states(nn.IF(1)), nil
  local watch = nn.not_receive_update_output(function(...) seen = select("#", ...) end)
  cells:add_after_update("watch", watch)
  bdl.environ.context({dt = 1*u.ms}, cells, 0*u.mA)
  t.eq(seen, 0)
  t.ok(rawequal(nn.receive_update_output(watch), watch))
  bdl.environ.context({dt = 1*u.ms}, cells, 0*u.mA)
  t.eq(seen, 1)
end)

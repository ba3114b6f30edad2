--- NIR: files of the Python package run as they say (tests/nir), come back bit for bit, and are refused with a reason.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local core = require "bdl.core"
local nn, nir, u = bdl.nn, bdl.nir, bdl.units

-- ---- neurons --------------------------------------------------------------------------------------------------------

--- Outputs and v of a cell for a list of inputs of one number.
local function run(cell, inputs)
  nn.init_all_states(cell)
  local z, v = {}, {}
  for k, x in ipairs(inputs) do
    z[k] = cell(bdl.tensor({x}, {dtype = "float64"})):item()
    v[k] = cell.v.value:item()
  end
  return z, v
end

local function close(got, want, what)
  t.eq(#got, #want)
  for k = 1, #want do
    t.ok(math.abs(got[k] - want[k]) < 1e-12, ("%s: step %d: got %.17g, want %.17g"):format(what, k, got[k], want[k]))
  end
end

local function f64(x) return bdl.tensor({x}, {dtype = "float64"}) end

local INPUTS = {1.0, 0.5, 0.25, 2.0, 0.0, 1.5, 3.0, -1.0, 0.75, 2.0}
local DT, TAU, TAU_SYN = 1e-3, 7e-3, 3e-3

--- Spikes and v of  v = step(v, x), with a strict threshold where there is one.
local function recurrence(step, v, threshold, reset)
  local z, vs = {}, {}
  for k, x in ipairs(INPUTS) do
    v = step(v, x)
    local spikes = threshold and v > threshold
    if spikes then v = reset end
    z[k], vs[k] = threshold and (spikes and 1 or 0) or v, v
  end
  return z, vs
end

local dt = f64(DT):reshape() * u.second
local leaky = {tau = f64(TAU), r = f64(2), v_leak = f64(0.1), dt = dt}
local spiking = {v_threshold = f64(0.3), v_reset = f64(-0.05)}
local current = {tau_syn = f64(TAU_SYN), tau_mem = f64(TAU), r = f64(2), v_leak = f64(0.1), w_in = f64(1.5), dt = dt}

local function with(...)
  local all = {}
  for _, map in ipairs{...} do
    for key, value in pairs(map) do all[key] = value end
  end
  return all
end

for method, leak in pairs{
  euler = function(v, x) return v + DT/TAU * (0.1 - v + 2*x) end,
  exact = function(v, x) return 0.1 + 2*x + (v - 0.1 - 2*x) * math.exp(-DT/TAU) end,
} do
  t.test("LI and LIF by their recurrence: " .. method, function()
    local z, v = run(nir.LIF(1, with(leaky, spiking, {method = method})), INPUTS)
    local want_z, want_v = recurrence(leak, 0.1, 0.3, -0.05)
    t.eq(z, want_z)
    close(v, want_v, "v")
    local spikes = 0
    for _, s in ipairs(z) do spikes = spikes + s end
    t.ok(spikes > 1 and spikes < #z, "the test spikes now and then")
    close((run(nir.LI(1, with(leaky, {method = method})), INPUTS)), (recurrence(leak, 0.1)), "LI")
  end)

  t.test("CubaLI and CubaLIF by their recurrence: " .. method, function()
    local a, b = DT/TAU_SYN, DT/TAU
    local function stepper()
      local i = 0
      return function(v, x)
        if method == "euler" then
          i = i + a * (1.5*x - i)
          return v + b * (0.1 - v + 2*i)
        end
        local late, end_ = i - 1.5*x, 0.1 + 3*x  -- i and v relax to 1.5 x and 0.1 + 3 x
        i = 1.5*x + late * math.exp(-a)
        return end_ + (v - end_) * math.exp(-b) + 2*late * b/(b - a) * (math.exp(-a) - math.exp(-b))
      end
    end
    close((run(nir.CubaLI(1, with(current, {method = method})), INPUTS)), (recurrence(stepper(), 0.1)), "CubaLI")
    local z, v = run(nir.CubaLIF(1, with(current, spiking, {method = method})), INPUTS)
    local want_z, want_v = recurrence(stepper(), 0.1, 0.3, -0.05)
    t.eq(z, want_z)
    close(v, want_v, "v")
  end)
end

t.test("I and IF: the threshold is strict", function()
  local function add(v, x) return v + DT * 1000 * x end
  close((run(nir.I(1, {r = f64(1000), dt = dt}), INPUTS)), (recurrence(add, 0)), "I")
  local cell = nn.init_all_states(nir.IF(1, {r = 1.0, v_threshold = 3.0, dt = 1*u.second}))
  local z = {}
  for k = 1, 8 do z[k] = cell(bdl.ones(1)):item() end
  t.eq(z, {0, 0, 0, 1, 0, 0, 0, 1})
  t.eq(nir.Threshold(3)(bdl.tensor{0.5, 1., 1.5}), {0, 0, 1})
end)

t.test("the exact step of a current has no gap where the time constants are equal", function()
  local z = run(nir.CubaLI(1, with(current, {tau_syn = f64(TAU)})), {1, 0})
  local near = run(nir.CubaLI(1, with(current, {tau_syn = f64(TAU * (1 + 1e-9))})), {1, 0})
  for k = 1, 2 do t.ok(math.abs(z[k] - near[k]) < 1e-8 and z[k] > 0.1) end
end)

t.test("neurons learn through their surrogate, in batches and compiled loops", function()
  local cell = nir.LIF(3, {tau = 5*u.ms, dt = 1*u.ms})
  local w = bdl.ParamState(bdl.ones(3) * 2)
  nn.init_all_states(cell, 2)
  local function loss()
    nn.reset_all_states(cell, 2)
    return bdl.for_loop(function() return cell(bdl.ones(2, 3) * w.value) end, {length = 6}):sum()
  end
  local g = bdl.grad(loss, w)()
  t.eq({table.unpack(g.shape)}, {3})
  t.ok(g:sum():item() > 0)
  t.eq({table.unpack(cell.v.value.shape)}, {2, 3})
end)

t.test("neurons that make no sense", function()
  t.raises("ValueError", "nir.LIF: method is 'exact' or 'euler', not 'rk4'", nir.LIF, {1, method = "rk4"})
  t.raises("ValueError", "nir.LIF: tau must be > 0", nir.LIF, {1, tau = 0})
  t.raises("UnitMismatchError", "nir.LIF: v_threshold is a number without unit, not in <mV>", nir.LIF, {1, v_threshold = 1*u.mV})
  t.raises("UnitMismatchError", "nir.LI: tau is a time", nir.LI, {1, tau = 1*u.mV})
  t.raises("ValueError", "nir.LI: dt is a time > 0, not %-1", nir.LI, {1, dt = -1})
  t.raises("ValueError", "nir.Delay: a delay is a time >= 0", nir.Delay, 2, -1)
  bdl.environ.context({dt = 0.1}, function()
    t.raises("UnitMismatchError", "nir.LI: dt is a time, 0.1%*bdl.units.ms, not 0.1", nn.init_all_states(nir.LI(1)), bdl.ones(1))
  end)
end)

-- ---- graphs ---------------------------------------------------------------------------------------------------------

local function wired(nodes, edges)
  nodes.input, nodes.output = nodes.input or nir.Input(2), nodes.output or nir.Output(2)
  return nir.Graph{nodes = nodes, edges = edges}
end
local function doubled() return nn.OneToOne{2, w_init = bdl.init.Constant(2.0)} end
local function sum_up() return nir.I{2, dt = 1*u.second} end

t.test("what several edges bring is added; a loop is a step late where it leaves a neuron", function()
  local net = wired({a = sum_up(), b = doubled(), c = sum_up()},
                    {{"input", "a"}, {"a", "b"}, {"b", "c"}, {"a", "c"}, {"c", "a"}, {"c", "output"}})
  nn.init_all_states(net)
  local a, c, got, want = 0, 0, {}, {}
  for k = 1, 4 do
    a = a + 1 + c
    c = c + 2*a + a
    want[k], got[k] = c, net(bdl.ones(2))[1]:item()
  end
  t.eq(got, want)
  local late = {}
  for _, edge in ipairs(net.edges) do late[#late + 1] = edge.late and edge[1] .. edge[2] or nil end
  t.eq(late, {"ca"})
  t.ok(tostring(net):find("c -> a   one step late", 1, true))
  nn.reset_all_states(net)
  t.eq(net(bdl.ones(2)), {3, 3})
end)

t.test("a delay of a step or more is as long in a loop as it says", function()
  for _, case in ipairs{{1, 1}, {3, 3}, {2.5, 2.5}, {0.5, 1.5}} do -- steps, what they are in the loop
    local steps, want = case[1], case[2]
    local net = wired({a = sum_up(), d = nir.Delay{2, steps*u.second, dt = 1*u.second}},
                      {{"input", "a"}, {"a", "d"}, {"d", "a"}, {"a", "output"}, {"d", "output"}})
    nn.init_all_states(net)
    local a, given, got = {}, {}, {}
    local function before(k, x) return x % 1 == 0 and (a[k - x] or 0) or (before(k, x - 0.5) + before(k, x + 0.5)) / 2 end
    for k = 1, 9 do
      local late = before(k, want)
      a[k] = (a[k - 1] or 0) + 1 + late
      got[k], given[k] = net(bdl.ones(2))[1]:item(), a[k] + before(k, steps)
    end
    t.eq(got, given, steps)
    t.eq(tostring(net):find "one step late" ~= nil, steps < 1)
    local row = net:fidelity()
    for _, r in ipairs(row) do t.eq((r.why or ""):find "arrives a step late" ~= nil, r.path == "a" and steps < 1, r.path) end
  end
end)

t.test("graphs that make no sense", function()
  local E = {{"input", "a"}, {"a", "output"}}
  t.raises("ValueError", "the loop b %-> a %-> b has no node that remembers", wired, {a = doubled(), b = doubled()},
           {{"input", "a"}, {"a", "b"}, {"b", "a"}, {"a", "output"}})
  t.raises("ValueError", "the loop a %-> a has no node", wired, {a = doubled()}, {{"input", "a"}, {"a", "a"}, {"a", "output"}})
  local inner = wired({b = doubled()}, {{"input", "b"}, {"b", "output"}})
  t.raises("ValueError", "the loop a %-> a has no node that remembers", wired, {a = inner},
           {{"input", "a"}, {"a", "a"}, {"a", "output"}})
  t.raises("KeyError", "the edge a %-> outptu has no node 'outptu' %(did you mean 'output'", wired, {a = doubled()}, {E[1], {"a", "outptu"}})
  t.raises("ShapeError", "input gives %[2%], a takes %[3%]", wired, {a = nn.OneToOne(3)}, E)
  t.raises("ValueError", "the edge input %-> a is there twice", wired, {a = doubled()}, {E[1], E[1], E[2]})
  t.raises("ValueError", "nothing leads to node 'b'", wired, {a = doubled(), b = doubled()}, E)
  t.raises("ValueError", "'a/b' cannot be the name of a node", wired, {["a/b"] = doubled()}, {})
  t.raises("TypeError", "node 'a' is a module, not a number", wired, {a = 1}, E)
  t.raises("TypeError", "edge 1 is {from, to}", wired, {a = doubled()}, {{"input"}})
  t.raises("ValueError", "the graph has no Output node", nir.Graph, {nodes = {a = nir.Input(1)}, edges = {}})
  local net = wired({a = sum_up()}, {{"input", "a"}, {"a", "a"}, {"a", "output"}})
  t.raises("ValueError", "the graph has no state 'last.a'", net, bdl.ones(2))
  t.raises("ShapeError", "nir node 'input': Input: the last size of the input", wired({a = doubled()}, E), bdl.ones(3))
end)

t.test("several inputs and outputs go by name", function()
  local net = nir.Graph({x = nir.Input(2), y = nir.Input(2), sum = nir.Output(2), same = nir.Output(2)},
                        {{"x", "sum"}, {"y", "sum"}, {"y", "same"}})
  local out = net{x = bdl.ones(2), y = bdl.ones(2) * 3}
  t.eq(out.sum, {4, 4})
  t.eq(out.same, {3, 3})
  t.raises("NotSupportedError", "the subgraph 'a' has 2 Inputs and 2 Outputs, not one of each", wired, {a = net},
           {{"input", "a"}, {"a", "output"}})
  t.raises("TypeError", "the graph takes {x = .., y = ..}, and 'y' is missing", net, {x = bdl.ones(2)})
end)

t.test("fidelity: node by node, as data and as text", function()
  local net = nir.graph(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nir.LIF(3, {method = "euler"}), nir.Delay(3, 2.5*u.ms), nir.LI(3)))
  bdl.environ.context({dt = 1*u.ms}, function()
    local got = {}
    for k, row in ipairs(net:fidelity()) do got[k] = row.path .. " " .. row.label end
    t.eq(got, {"input exact", "linear exact", "relu unsupported", "lif discretised", "delay approximated", "li exact", "output exact"})
    t.ok(tostring(net):find "lif +LIF +%[3%] +discretised: Euler, spikes at multiples of dt")
  end)
  bdl.environ.context({dt = 0.5*u.ms}, function() t.eq(net:fidelity()[5].label, "exact") end)
end)

-- ---- files ----------------------------------------------------------------------------------------------------------

if not core.hdf5_built() then
  t.raises("NotSupportedError", "built without HDF5", nir.read, "tests/nir/lif.nir")
  t.raises("NotSupportedError", "built without HDF5", nir.write, "/tmp/x.nir", nn.Linear(1, 1))
  return t.skip("files of NIR", "built without HDF5")
end

local folder = os.tmpname()
os.remove(folder)
t.shell("mkdir " .. folder)
local gone <close> = setmetatable({}, {__close = function() t.shell("rm -r " .. folder) end})
local function path(name) return folder .. "/" .. name end

local FILES = {"lif", "recurrent", "conv", "conv1d"}

for _, name in ipairs(FILES) do
  t.test("a file of the Python package computes what it says: " .. name, function()
    local meta = nir.read(("tests/nir/%s.nir"):format(name)).metadata
    local net = nir.read(("tests/nir/%s.nir"):format(name), {dt = meta.dt * u.second})
    t.eq(meta.about, "made by tests/nir/make.py")
    local y = bdl.for_loop(function(x) return net(x) end, meta.x)
    t.eq(y.shape, meta.y.shape)
    local off = bdl.max(bdl.abs(y - meta.y)):item()
    t.ok(off < (name == "recurrent" and 1e-14 or 1e-6), "off by " .. off)
  end)
end

--- Every data set of a file: name -> text of its type and numbers.
local function contents(file, at, found)
  found = found or {}
  local kind, n = core.hdf5_kind(file, at)
  if kind == "array" then
    local x = core.hdf5_read(file, at)
    found[at] = x.dtype .. tostring(x.shape)
    for k, v in ipairs(x:reshape(-1):totable()) do found[("%s[%d]"):format(at, k)] = v end
    return found
  end
  for i = 1, (kind == "text" and at:find "/edges$") and 2*n or n do
    local row = core.hdf5_row(file, at, i)
    if kind == "text" then found[("%s[%d]"):format(at, i)] = row
    else contents(file, (at == "/" and "" or at) .. "/" .. row, found) end
  end
  return found
end

for _, name in ipairs(FILES) do
  t.test("read and written, every number and text of a file is the same: " .. name, function()
    local before = contents(core.hdf5_open(("tests/nir/%s.nir"):format(name)), "/")
    nir.write(path "again.nir", nir.read(("tests/nir/%s.nir"):format(name)))
    local after = contents(core.hdf5_open(path "again.nir"), "/")
    t.eq(after["/version[1]"], "1.0.0")
    before["/version[1]"] = "1.0.0"
    for key, value in pairs(before) do t.eq(after[key], value, key) end
    for key in pairs(after) do t.ok(before[key] ~= nil, key .. " is new") end
  end)
end

t.test("the Python package reads what bdl writes", function()
  if not os.execute "python3 -c 'import nir' 2>/dev/null" then return t.skip("nir in Python", "the package is not installed") end
  nir.write(path "py.nir", nn.Sequential(
    nn.Conv2d({2, 6, 6}, 3, 3, {padding = 1, channel_first = true}), nn.SumPool2d(2, {channel_axis = -3}), nir.IF{{3, 3, 3}},
    nn.Flatten(1, -1), nn.Linear(27, 4), nir.CubaLIF{4, tau_mem = 10*u.ms}, nir.Delay(4, 2*u.ms), nn.OneToOne(4), nir.LI(4)))
  local out = t.shell("python3 -c \"import nir; g = nir.read('" .. path "py.nir" .. "'); c = g.nodes['cubalif']; "
    .. "print(len(g.nodes), len(g.edges), c.tau_mem.tolist(), c.w_in.shape, g.nodes['conv2d'].weight.shape, "
    .. "g.nodes['sumpool2d'].output_type['output'].tolist(), g.output_type['output'].tolist())\"")
  t.eq(out, "11 10 [0.009999999776482582, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582] (4,) (3, 2, 3, 3) [3, 3, 3] [4]\n")
  for _, name in ipairs(FILES) do
    nir.write(path "again.nir", nir.read(("tests/nir/%s.nir"):format(name)))
    t.eq(t.shell("python3 -c \"import nir; print(len(nir.read('" .. path "again.nir" .. "').edges) > 0)\""), "True\n")
  end
end)

t.test("models of nn: numbers with units are in SI, weights act as before", function()
  local cells = nn.LIF{3, R = 2*u.ohm, tau = 20*u.ms, V_th = 15*u.mV, V_reset = -5*u.mV, spk_reset = "hard"}
  nir.write(path "lif.nir", nn.Sequential(nn.Linear(2, 3, {w_init = bdl.init.Constant(4*u.mA), b_init = bdl.none}), cells))
  local net = nir.read(path "lif.nir")
  local lif = net.nodes.lif
  local function near(x, want) t.ok(math.abs(x[1]:item() / want - 1) < 1e-6, tostring(x)) end
  near(lif.tau:to(u.second).mantissa, 0.02)
  near(lif.r, 2)
  near(lif.v_threshold, 0.015)
  near(lif.v_reset, -0.005)
  near(net.nodes.linear.weight.value.weight[1], 0.004)
  bdl.environ.context({dt = 1*u.ms}, function()
    nn.init_all_states(cells)
    nn.init_all_states(net)
    local x = bdl.ones(2)
    for _ = 1, 40 do t.eq(net(x), cells(8*u.mA * bdl.ones(3))) end
  end)
end)

t.test("models that NIR has no words for", function()
  t.raises("NotSupportedError", "node 'relu': NIR has no node for nn.ReLU\n  node 'tanh': NIR has no node for nn.Tanh",
           nir.write, path "x.nir", nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh()))
  t.raises("NotSupportedError", "node 'lif': NIR has no soft reset", nir.write, path "x.nir", nn.LIF(2))
  nir.write(path "x.nir", nn.LIF(2), {approximate = true})
  t.raises("NotSupportedError", "channels stand before space", nir.write, path "y.nir", nn.Conv1d({5, 2}, 3, 3))
  t.raises("ValueError", "the shape of the input is not known", nir.write, path "y.nir", nn.SumPool2d(2, {channel_axis = -3}))
  nir.write(path "x.nir", nn.SumPool2d(2, {channel_axis = -3}), {input_shape = {2, 4, 4}})
  t.eq(nir.read(path "x.nir")(bdl.ones(2, 4, 4)), {{{4, 4}, {4, 4}}, {{4, 4}, {4, 4}}})
  t.raises("ShapeError", "input_shape is {3}, but the model takes {2}", nir.write, path "y.nir", nn.Linear(2, 2), {input_shape = {3}})
  t.raises("TypeError", "a module is needed, not a number", nir.write, path "y.nir", 3)
  t.raises("IOError", "cannot write /no/such.nir", nir.write, "/no/such.nir", nn.Linear(1, 1))
  t.ok(not io.open(path "y.nir"))
end)

t.test("the exchange of README.md prints what README.md says", function()
  local section = assert(io.open "README.md"):read "a":match "## Exchanging models.-\n## "
  local model, output = section:match "```lua\n(.-)```.-```\n(.-)```"
  model = model:gsub('"net.nir"', ("%q"):format(path "net.nir"))
  t.eq(t.prints(assert(load(model, "=README.md", "t", setmetatable({}, {__index = _G})))) .. "\n", output)
end)

t.test("a graph that was read is a model like others: saved, trained, with names of any kind", function()
  local nodes = {["0"] = nn.Linear(2, 2), ["1.lif"] = nir.LIF(2, {v_threshold = 0.05, dt = 1*u.ms}), input = nir.Input(2), output = nir.Output(2)}
  nir.write(path "model.nir", nir.Graph{nodes = nodes, edges = {{"input", "0"}, {"0", "1.lif"}, {"1.lif", "0"}, {"1.lif", "output"}},
                                        metadata = {about = "x", inner = {n = 3, list = bdl.arange(3)}}})
  local net, other = nir.read(path "model.nir", {dt = 1*u.ms}), nir.read(path "model.nir", {dt = 1*u.ms})
  t.eq({net.metadata.about, net.metadata.inner.n:item(), net.metadata.inner.list}, {"x", 3, {0, 1, 2}})
  t.eq(#net:states(bdl.ParamState), 1)
  for _ = 1, 5 do net(bdl.ones(2)) end
  bdl.save(path "model.npz", net)
  bdl.load(path "model.npz", other)
  for _ = 1, 5 do t.eq(net(bdl.ones(2)), other(bdl.ones(2))) end
  t.eq(net.nodes["1.lif"].v.value, other.nodes["1.lif"].v.value)
  local w = net:states(bdl.ParamState)
  local function loss()
    nn.reset_all_states(net)
    return bdl.for_loop(function() return net(bdl.ones(2)) end, {length = 20}):sum()
  end
  local _, leaf = next(bdl.grad(loss, w)())
  t.ok(leaf ~= nil)
end)

-- ---- bad files ------------------------------------------------------------------------------------------------------

--- A file of names and values; lists of pairs are edges.
local function file(entries)
  local w <close> = core.hdf5_create(path "bad.nir", false)
  for name, value in pairs(entries) do
    if type(value) == "string" then core.hdf5_put_text(w, name, value)
    elseif type(value) == "table" then core.hdf5_put_texts(w, name, value, 2)
    else core.hdf5_put(w, name, value) end
  end
  core.hdf5_finish(w)
  return path "bad.nir"
end

--- A chain input -> x -> output, with changes; "none" leaves an entry out.
local function around(x, changes)
  local entries = {
    ["/version"] = "1.0.8", ["/node/type"] = "NIRGraph", ["/node/edges"] = {"input", "x", "x", "output"},
    ["/node/nodes/input/type"] = "Input", ["/node/nodes/input/shape"] = bdl.tensor{2},
    ["/node/nodes/output/type"] = "Output", ["/node/nodes/output/shape"] = bdl.tensor{2},
  }
  for name, value in pairs(x) do entries["/node/nodes/x/" .. name] = value end
  for name, value in pairs(changes or {}) do entries[name] = value ~= "none" and value or nil end
  return file(entries)
end

local two = bdl.ones(2)
local LI = {type = "LI", tau = two, r = two, v_leak = two}

t.test("files that are no NIR, or not of this time", function()
  t.eq(nir.read(around(LI), {dt = 1e9 * u.second})(two), {2, 2})
  t.raises("IOError", "cannot read .*no.nir: No such file", nir.read, path "no.nir")
  t.raises("IOError", "README.md, /: cannot open it", nir.read, "README.md")
  t.raises("IOError", "shd.h5: it has no /version: no NIR", nir.read, "tests/file/hdf5/shd.h5")
  t.raises("NotSupportedError", "it has version 2.1 of NIR, this bdl reads version 1", nir.read, around(LI, {["/version"] = "2.1"}))
  t.raises("IOError", "'new' is no version of NIR", nir.read, around(LI, {["/version"] = "new"}))
  t.raises("IOError", "it has no /node/type: no NIR", nir.read, around(LI, {["/node/type"] = "none"}))
  t.raises("NotSupportedError", "it holds one node, a LI, and no graph", nir.read, around(LI, {["/node/type"] = "LI"}))
  t.raises("IOError", "it has no edges", nir.read, around(LI, {["/node/edges"] = "none"}))
  t.raises("IOError", "edges are no pairs of names", nir.read, around(LI, {["/node/edges"] = two}))
  t.raises("TypeError", "no option 'metod'", nir.read, "x", {metod = "euler"})
  t.raises("ValueError", "unknown is 'error', not 'skip'", nir.read, "x", {unknown = "skip"})
end)

t.test("nodes that are not known, or lack something", function()
  t.raises("NotSupportedError", "node 'x': the type 'LIFF' is not known %(did you mean 'LIF'", nir.read, around{type = "LIFF"})
  t.raises("IOError", "node 'x': it has no type", nir.read, around{tau = two})
  t.raises("KeyError", "node 'x' %(LI%): it has no v_leak", nir.read, around{type = "LI", tau = two, r = two})
  t.raises("KeyError", "node 'x' %(LI%): it has an unknown parameter 'v_leek' %(did you mean 'v_leak'", nir.read,
           around{type = "LI", tau = two, r = two, v_leak = two, v_leek = two})
  t.raises("IOError", "node 'x' %(LI%): tau is no array of numbers", nir.read, around{type = "LI", tau = "fast", r = two, v_leak = two})
  t.raises("ShapeError", "node 'x' %(LI%): tau is %[2%], but v_leak is %[3%]", nir.read,
           around{type = "LI", tau = two, r = two, v_leak = bdl.ones(3)})
  t.raises("ValueError", "node 'x' %(LI%): .*tau must be > 0", nir.read, around{type = "LI", tau = 0 * two, r = two, v_leak = two})
  t.raises("ValueError", "node 'x' %(LI%): r holds nan", nir.read, around{type = "LI", tau = two, r = two * (0/0), v_leak = two})
  t.raises("ValueError", "node 'x' %(Delay%): .*a delay is a time >= 0", nir.read, around{type = "Delay", delay = -two})
  t.raises("ValueError", "bad.nir, its States: a delay of .* at most 2^31 %- 1 fit", nir.read, around{type = "Delay", delay = 1e30 * two},
           {dt = 1*u.ms})
  t.raises("ShapeError", "node 'x' %(Linear%): weight has 1 axes, not 2 to 3", nir.read, around{type = "Linear", weight = two})
  t.raises("ShapeError", "node 'x' %(Affine%): bias is %[3%], but weight is %[2, 2%]", nir.read,
           around{type = "Affine", weight = bdl.ones(2, 2), bias = bdl.ones(3)})
  t.raises("IndexError", "node 'x' %(Flatten%)", nir.read,
           around{type = "Flatten", start_dim = bdl.tensor(5), end_dim = bdl.tensor(-1), input_type = bdl.tensor{2}})
  local conv = {type = "Conv1d", weight = bdl.ones(2, 2, 3), bias = two, stride = bdl.tensor(1), padding = bdl.tensor(1),
                dilation = bdl.tensor(1), groups = bdl.tensor(1), input_shape = bdl.tensor(2)}
  for _, case in ipairs{
    {"padding", "around", "ValueError", "padding is numbers, 'same' or 'valid', not 'around'"},
    {"stride", bdl.tensor(0), "ValueError", "stride is a whole number from 1"},
    {"stride", bdl.tensor{1, 1}, "ShapeError", "stride has 2 numbers, not 1"},
    {"stride", bdl.tensor(1.5), "ValueError", "stride is no list of whole numbers"},
    {"groups", bdl.tensor{1, 1}, "ShapeError", "groups has 2 numbers, not one"},
    {"bias", bdl.ones(3), "ShapeError", "bias is %[3%], but weight is %[2, 2, 3%]"},
    {"weight", bdl.ones(2, 2), "ShapeError", "weight has 2 axes, not 3"},
  } do
    local changed = with(conv)
    changed[case[1]] = case[2]
    t.raises(case[3], "node 'x' %(Conv1d%): .*" .. case[4], nir.read, around(changed))
  end
end)

t.test("edges that do not fit", function()
  t.raises("ShapeError", "input gives %[2%], x takes %[3%]", nir.read, around{type = "Scale", scale = bdl.ones(3)})
  t.raises("KeyError", "the edge x %-> y has no node 'y'", nir.read, around(LI, {["/node/edges"] = {"input", "x", "x", "y"}}))
  t.raises("ValueError", "the loop x %-> x has no node that remembers", nir.read,
           around({type = "Scale", scale = two}, {["/node/edges"] = {"input", "x", "x", "x", "x", "output"}}))
  t.raises("ShapeError", "node 'x' %(SumPool2d%): the shape of its input is not known", nir.read,
           around({type = "SumPool2d", kernel_size = bdl.tensor{1, 1}, stride = bdl.tensor{1, 1}, padding = bdl.tensor{0, 0}},
                  {["/node/edges"] = {"x", "x", "x", "output"}}))
  t.raises("ShapeError", "node 'x' %(SumPool2d%): ", nir.read,
           around{type = "SumPool2d", kernel_size = bdl.tensor{1, 1}, stride = bdl.tensor{1, 1}, padding = bdl.tensor{0, 0}})
end)

t.test("a file that was cut or damaged is an error or another model", function()
  local bytes <const> = (function()
    local f <close> = assert(io.open(around(LI), "rb"))
    return f:read "a"
  end)()
  local refused = 0
  local function try(changed)
    do
      local out <close> = assert(io.open(path "bad.nir", "wb"))
      out:write(changed)
    end
    local ok, e = pcall(nir.read, path "bad.nir")
    refused = refused + (ok and 0 or 1)
    t.ok(ok or type(e) == "table" and tostring(e):find "bad.nir", tostring(e))
  end
  for n = 0, #bytes - 1, 997 do try(bytes:sub(1, n)) end
  for n = 1, #bytes, 397 do try(bytes:sub(1, n - 1) .. string.char(bytes:byte(n) ~ 0x41) .. bytes:sub(n + 1)) end
  t.ok(refused > #bytes // 997)
end)

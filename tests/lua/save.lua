--- bdl.save and bdl.load: what comes back is what went, bit for bit, or nothing changes.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local json = require "bdl.json"
local nn, u = bdl.nn, bdl.units

bdl.environ.set{dt = 0.1*u.ms}

local folder = os.tmpname()
os.remove(folder)
t.shell("mkdir " .. folder)
local gone <close> = setmetatable({}, {__close = function() t.shell("rm -r " .. folder) end})
local function path(name) return folder .. "/" .. name end

--- Recurrent neurons whose spikes come 1.5 ms late, over depressing synapses, with noise.
local function network(n)
  local net = nn.Module()
  net.N = nn.LIFRef{n, tau = 20*u.ms, tau_ref = 5*u.ms, V_rest = -60*u.mV, V_th = -50*u.mV, V_reset = -60*u.mV,
                    spk_reset = "hard", V_initializer = bdl.init.Normal{-55, 2, unit = u.mV}}
  net.late = net.N:output_delay(1.5*u.ms)
  net.stp = nn.STP(n)
  net.proj = nn.AlignPostProj{comm = nn.Linear{n, n, w_init = bdl.init.Normal{0, 3, unit = u.mS}}, post = net.N,
                              syn = nn.Expon:desc{n, tau = 5*u.ms}, out = nn.CUBA:desc()}
  nn.init_all_states(net)
  local spikes = bdl.monitor.SpikeMonitor(net.N)
  local V = bdl.monitor.StateMonitor(net.N, "V")
  local sim = bdl.Simulation(function()
    net.proj(net.stp(net.late()))
    net.N((20 + 3*bdl.random.randn(n)) * u.mA)
  end, {monitors = {spikes, V}})
  return sim, net, spikes, V
end

for name, what in pairs{simulation = function(sim) return sim end,
                        table = function(sim, net) return {net = net, sim = sim, random = bdl.random.DEFAULT} end} do
  t.test("a " .. name .. " saved in the middle goes on in a fresh model with the same bits", function()
    bdl.random.seed(3)
    local sim, net, spikes, V = network(20)
    sim:run(50*u.ms)
    t.ok(spikes.step:max():item() >= 500 - 15, "no spike was in flight")
    bdl.save(path "run.npz", what(sim, net))
    spikes:clear()
    V:clear()
    sim:run(30*u.ms)

    bdl.random.seed(4)
    local other, other_net, other_spikes, other_V = network(20)
    other:run(7*u.ms)
    bdl.load(path "run.npz", what(other, other_net))
    other_spikes:clear()
    other_V:clear()
    other:run(30*u.ms)
    t.eq(other.i, 800)
    t.eq(other_spikes.i, spikes.i)
    t.eq(other_spikes.step, spikes.step)
    t.eq(other_V.V / u.mV, V.V / u.mV)
  end)
end

t.test("training goes on with the same bits: parameters, moments, rate, generator", function()
  local function training(seed)
    bdl.random.seed(seed)
    local net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    local adam = bdl.optim.Adam(bdl.optim.StepLR(0.1, {step_size = 3}))
    adam:register_trainable_weights(net:states(bdl.ParamState))
    local x = bdl.arange(12):reshape(3, 4):astype "float32" / 10
    local step = bdl.jit(function()
      local grads, l = bdl.grad(function() return bdl.mean((net(x) - 1)^2) end, net:states(bdl.ParamState),
                                {return_value = true})()
      adam:update(grads)
      return l
    end)
    return function(n)
      local losses = {}
      for i = 1, n do
        losses[i] = bdl.environ.context({fit = true}, step):item()
        adam.scheduler:step()
      end
      return losses
    end, {net = net, adam = adam, random = bdl.random.DEFAULT}
  end
  local run, all = training(1)
  run(4)
  bdl.save(path "train.npz", all)
  local want = run(5)
  local again, other = training(2)
  t.ok(again(1)[1] ~= want[1])
  local unexpected, missing = bdl.load(path "train.npz", other)
  t.eq({#unexpected, #missing}, {0, 0})
  t.eq(again(5), want)
end)

t.test("weights lie under the path of the model, wherever an optimiser stands", function()
  local net, adam = nn.Linear(2, 1), bdl.optim.Adam(0.1)
  adam:register_trainable_weights(net:states(bdl.ParamState))
  bdl.save(path "both.npz", {adam = adam, net = net})
  t.eq(bdl.load(path "both.npz")["net.weight"].bias.shape[1], 1)
  local unexpected, missing = bdl.load(path "both.npz", {net = nn.Linear(2, 1)}, {strict = false})
  t.eq({#missing, #unexpected}, {0, 6})
end)

t.test("the files of README.md", function()
  local model = assert(io.open "README.md"):read "a":match "## Saving\n\n```lua\n(.-)```"
  t.ok(t.prints(assert(load(model:gsub("run.npz", path "readme.npz"), "=README.md"))):find "^%[0%.%]")
end)

t.test("traces of an online learner go on with the same bits", function()
  local function learner(seed)
    bdl.random.seed(seed)
    local net = nn.Sequential(bdl.online.nn.GRUCell(2, 3), bdl.online.nn.Linear(3, 1))
    return bdl.online.compile(net, "D_RTRL", bdl.zeros(2))
  end
  local function grads(l)
    return bdl.jit(function()
      return (l:etrace_grad(bdl.ones(5, 2), bdl.ones(5, 1), function(x, y) return bdl.mean((l(x) - y)^2) end))
    end)()
  end
  local a, b = learner(1), learner(2)
  grads(a)
  bdl.save(path "learner.npz", a:states())
  local want = grads(a)
  bdl.load(path "learner.npz", b:states())
  local got = grads(b)
  for key, g in want:items() do
    for at, leaf in bdl.tree.zip(g) do
      for other_at, other in bdl.tree.zip(got:get(key)) do
        if at == other_at then t.eq(other, leaf) end
      end
    end
  end
end)

local ENDINGS = {"npz", "safetensors", require "bdl.core".hdf5_built() and "h5" or nil}

for _, ending in ipairs(ENDINGS) do t.test("dtypes, units, trees and numbers come back bit for bit: " .. ending, function()
  local path = function(name) return path(name) .. "." .. ending end
  bdl.environ.context({precision = 64}, function()
    local map = bdl.util.FlattedDict()
    map["a.x"] = bdl.State(bdl.tensor({1/3, 0/0, 1/0, -1/0, -0.0, 5e-324}, {dtype = "float64"}) * u.mV)
    map["a.list[1]"] = bdl.State({w = bdl.ones(2, 3) * u["mS / cm^2"], b = {bdl.zeros(0), bdl.tensor(true)}})
    map['odd["x // y%"]'] = bdl.State(bdl.tensor({2^31 - 1, -2^31}, {dtype = "int32"}))
    map.bits = bdl.State(bdl.tensor({0, 2^32 - 1}, {dtype = "uint32"}))
    map.long = bdl.State(bdl.tensor({math.maxinteger, math.mininteger}, {dtype = "int64"}))
    map.rate = bdl.State(bdl.tensor(0.1, {dtype = "float32"}) / u.ms)
    map.number = 7
    bdl.save(path "kinds", map, {compress = ending ~= "safetensors" or nil})
    local back = bdl.load(path "kinds")
    t.eq(#back, #map)
    for at, s in map:items() do
      local want, got = bdl.maybe_state(s), back:get(at)
      for _, x, y in bdl.tree.zip(want, got) do
        x = bdl.tensor(x)
        t.eq(y.dtype, x.dtype)
        t.eq(tostring(u.get_unit(y)), tostring(u.get_unit(x)))
        t.eq(tostring(y), tostring(x))
      end
    end
    local x = u.get_mantissa(back["a.x"])
    t.eq({1 / x[5]:item(), x[6]:item() > 0}, {-1/0, true})
    bdl.save(path "again", back)
    t.eq(#bdl.load(path "again"), #map)
  end)
end) end

t.test("a State alone, and values without a model", function()
  local s = bdl.State(bdl.ones(3) * u.mV)
  bdl.save(path "one.npz", s)
  s.value = bdl.zeros(3) * u.mV
  bdl.load(path "one.npz", s)
  t.eq(s.value / u.mV, {1, 1, 1})
  bdl.save(path "values.npz", {gain = 2.5, on = true, V = 3*u.mV})
  local values = bdl.load(path "values.npz")
  t.eq({values.gain:item(), values.on:item(), (values.V / u.mV):item()}, {2.5, true, 3})
end)

t.test("every unit has a text that reads as the same unit", function()
  local names = u.names()
  for k = 1, #names - 1, 7 do
    for _, unit in ipairs{u[names[k]], u[names[k]] / u.ms, u.mV * u[names[k]]^2, u.UNITLESS / u[names[k]]} do
      local text = tostring(unit)
      if text ~= "1" then t.eq(tostring(u[text]), text) end
      if text ~= "1" then t.ok(u[text] == unit, text) end
    end
  end
end)

t.test("another scale of the unit converts", function()
  local s, r = bdl.State(bdl.tensor{1., 2.} * u.mV), bdl.State(bdl.zeros(2) * u.volt)
  bdl.save(path "x.npz", {x = s})
  bdl.load(path "x.npz", {x = r})
  t.close(r.value / u.volt, {0.001, 0.002})
end)

-- ---- what does not fit ----------------------------------------------------------------------------------------------

local function cell()
  return {V = bdl.State(bdl.zeros(4) * u.mV), w = bdl.ParamState({a = bdl.ones(2), b = bdl.ones(3)})}
end

t.test("what does not fit is named with what was expected, and nothing changes", function()
  local model = cell()
  model.V.value = bdl.ones(4) * u.mV
  bdl.save(path "cell.npz", model)
  local function refuses(kind, pattern, change)
    local other = cell()
    change(other)
    t.raises(kind, pattern, bdl.load, path "cell.npz", other)
    if other.V and #other.V.shape == 1 and other.V.shape[1] == 4 and u.get_dim(other.V.value) == u.get_dim(u.mV) then
      t.eq(other.V.value / u.mV, {0, 0, 0, 0})
    end
  end
  refuses("UnitMismatchError", "cell.npz: 'V' is in ms, in the file in mV", function(m)
    m.V = bdl.State(bdl.zeros(4)*u.ms)
  end)
  refuses("UnitMismatchError", "'V' is in plain numbers, in the file in mV", function(m)
    m.V = bdl.State(bdl.zeros(4))
  end)
  refuses("UnitMismatchError", "'w.a' is in mV, in the file in plain numbers", function(m)
    m.w = bdl.State{a = bdl.ones(2)*u.mV, b = bdl.ones(3)}
  end)
  refuses("ShapeError", "'w.b' is float32%[5%], in the file float32%[3%]", function(m)
    m.w = bdl.State{a = bdl.ones(2), b = bdl.ones(5)}
  end)
  refuses("TypeError", "'w.a' is int32%[2%], in the file float32%[2%]", function(m)
    m.w = bdl.State{a = bdl.arange(2), b = bdl.ones(3)}
  end)
  refuses("ValueError", "'w' has the structure {a:%*}, in the file {a:%*,b:%*}", function(m)
    m.w = bdl.State{a = bdl.ones(2)}
  end)
  refuses("ShapeError", "cell.npz: 'V' is float32%[5%]", function(m) m.V = bdl.State(bdl.zeros(5)*u.mV) end)
end)

t.test("all that is wrong is listed", function()
  local model = cell()
  bdl.save(path "cell.npz", model)
  local other = {V = bdl.State(bdl.zeros(5) * u.mV), w = bdl.State(bdl.zeros(2))}
  t.raises("ShapeError", "'V' is float32%[5%], in the file float32%[4%]\n  'w' has the structure %*", bdl.load,
           path "cell.npz", other)
  local more = cell()
  more.V, more.U = nil, bdl.State(0.)
  t.raises("KeyError", "'U' is missing\n  'V' is not in the model", bdl.load, path "cell.npz", more)
  model.w.value = {a = bdl.zeros(2), b = bdl.zeros(3)}
  bdl.save(path "cell.npz", model)
  local unexpected, missing = bdl.load(path "cell.npz", more, {strict = false})
  t.eq({unexpected, missing}, {{"V"}, {"U"}})
  t.eq(more.w.value.a, {0, 0})
  local many = {}
  for k = 1, 30 do many["s" .. k] = bdl.State(0.) end
  t.raises("KeyError", "'s18' is missing\n  ..\n", bdl.load, path "cell.npz", many)
end)

t.test("bad input", function()
  local s = bdl.State(1.)
  t.raises("ValueError", "'x.pkl' does not end in .npz", bdl.save, "x.pkl", s)
  t.raises("TypeError", "the path is a string, not a number", bdl.load, 3)
  t.raises("TypeError", "no option 'compres' %(did you mean 'compress'", bdl.save, path "x.npz", s, {compres = true})
  t.raises("TypeError", "a function cannot lie in a file %('f'%)", bdl.save, path "x.npz", {f = print})
  t.raises("TypeError", "a nil cannot lie in a file", bdl.save, path "x.npz")
  t.raises("ValueError", "there are no States in the Dropout", bdl.save, path "x.npz", nn.Dropout(0.5))
  t.raises("TypeError", "'n' is no State but a number", function()
    bdl.save(path "x.npz", {n = 3})
    bdl.load(path "x.npz", {n = 3})
  end)
  t.raises("TraceContextError", "no values to put into files", bdl.jit(function() bdl.save(path "x.npz", s) end))
  t.raises("TraceContextError", "no values to put into files", bdl.jit(function() bdl.load(path "x.npz", s) end))
  t.raises("IOError", "No such file", bdl.load, path "none.npz")
  t.raises("IOError", "cannot write /none/x.npz", bdl.save, "/none/x.npz", s)
  local cyclic = {s = s, inner = {}}
  cyclic.inner.outer = cyclic
  t.raises("ValueError", "the table contains itself, at 'inner.outer'", bdl.save, path "x.npz", cyclic)
  local N = nn.init_all_states(nn.LIF(2))
  N:add_delta_input("kick", bdl.ones(2) * u.mV)
  t.raises("ValueError", "the input 'kick' of 'N' waits for the next update", bdl.save, path "x.npz", {N = N})
end)

--- A file with that header beside one array, x.
local function foreign(header)
  local core = require "bdl.core"
  local file = core.file_create(path "foreign.npz", false)
  if header then core.file_put_text(file, "bdl.json", header) end
  core.file_put(file, "x", bdl.ones(2))
  core.file_finish(file)
  return path "foreign.npz"
end

t.test("headers are not believed", function()
  local s = {x = bdl.State(bdl.zeros(2))}
  local function entry(text) return '{"format": "bdl", "version": 1, "entries": [' .. text .. "]}" end
  local good = '{"path": "x", "tree": "*", "leaves": [{"array": "x", "key": "", "unit": "1"}]}'
  bdl.load(foreign(entry(good)), s)
  t.eq(s.x.value, {1, 1})
  s.x.value = bdl.zeros(2)
  for _, case in ipairs{
    {nil, "IOError", "has no header of bdl.save"},
    {"{}", "IOError", "the header is not one of bdl.save"},
    {'{"format": "bdl", "version": 2}', "NotSupportedError", "has version 2 of the format, this bdl reads version 1"},
    {'{"format": "bdl", "version": 1}', "IOError", "the header is damaged"},
    {'{"format": "bdl", "version": 1, "entries": [3]}', "IOError", "the header is damaged"},
    {entry '{"path": "a..b[", "tree": "*", "leaves": []}', "IOError", "the header is damaged"},
    {entry '{"path": "x", "tree": "*", "leaves": [7]}', "IOError", "the header is damaged"},
    {entry(good .. "," .. good), "IOError", "the header is damaged at 'x'"},
    {entry '{"path": "x", "tree": "*", "leaves": [{"array": "y", "key": "", "unit": "1"}]}', "IOError",
     "the array 'y' of the header is not in the file"},
    {entry '{"path": "x", "tree": "*", "leaves": [{"array": "x", "key": "", "unit": "os.exit()"}]}', "IOError",
     "'x' is in 'os.exit%(%)', which is no unit"},
    {entry('{"path": "x", "tree": "*", "leaves": [{"array": "x", "key": "a", "unit": "1"},'
           .. '{"array": "x", "key": "a.b", "unit": "1"}]}'),
     "IOError", "the header is damaged at 'x'"},
    {entry(good):sub(1, -2), "IOError", "foreign.npz, header: byte %d+: '}' expected"},
  } do
    t.raises(case[2], case[3], bdl.load, foreign(case[1]), s)
    t.eq(s.x.value, {0, 0})
  end
end)

for _, ending in ipairs(ENDINGS) do t.test("a file that was cut or damaged changes nothing: " .. ending, function()
  local path = function(name) return path(name) .. "." .. ending end
  local step = ending == "h5" and 60 or 1       -- each .h5 takes a process
  local model = cell()
  model.V.value = bdl.ones(4) * u.mV
  bdl.save(path "cell", model)
  local file <close> = assert(io.open(path "cell", "rb"))
  local bytes = file:read "a"
  local function try(changed)
    do
      local out <close> = assert(io.open(path "bad", "wb"))
      out:write(changed)
    end
    local other = cell()
    local ok, e = pcall(bdl.load, path "bad", other)
    t.eq(other.V.value / u.mV, ok and {1, 1, 1, 1} or {0, 0, 0, 0})
    t.ok(ok or e.kind ~= "InternalError" and e.message:find(path "bad", 1, true), tostring(e))
  end
  for n = 0, #bytes - 1, 13 * step do try(bytes:sub(1, n)) end
  for n = 1, #bytes, 11 * step do try(bytes:sub(1, n - 1) .. string.char(bytes:byte(n) ~ 0x41) .. bytes:sub(n + 1)) end
  for n = 1, #bytes, 7 * step do try(bytes:sub(1, n - 1) .. string.char(bytes:byte(n) ~ 0x20) .. bytes:sub(n + 1)) end
end) end

t.test("bdl check writes no file, and misses none that the script itself writes", function()
  do
    local f <close> = assert(io.open(path "model.lua", "w"))
    f:write(([[
      local s = bdl.State(bdl.ones(2))
      bdl.save(%q, s)
      bdl.load(%q, s)
    ]]):format(path "checked.npz", path "checked.npz"))
  end
  t.ok(t.shell(os.getenv "BDL" .. " check " .. path "model.lua"):find "nothing found")
  t.ok(not io.open(path "checked.npz"))
end)

t.test("HDF5: what is no file of bdl.save", function()
  local core = require "bdl.core"
  if not core.hdf5_built() then
    t.raises("NotSupportedError", "built without HDF5", bdl.load, path "x.h5")
    t.raises("NotSupportedError", "built without HDF5", bdl.save, path "x.h5", cell())
    return
  end
  t.raises("IOError", "cannot read .*no.h5: No such file", bdl.load, path "no.h5")
  t.raises("IOError", "shd.h5 has no header of bdl.save", bdl.load, "tests/file/hdf5/shd.h5")
  t.raises("IOError", "cannot write /no/such.h5: No such file", bdl.save, "/no/such.h5", cell())
  bdl.save(path "cell.h5", cell())
  bdl.save(path "cell.npz", cell())
  t.eq(bdl.load(path "cell.h5").V / u.mV, bdl.load(path "cell.npz").V / u.mV)
end)

t.test("NumPy reads the file", function()
  if not os.execute "python3 -c 'import numpy' 2>/dev/null" then return end
  bdl.save(path "py.npz", {V = bdl.State(bdl.tensor{1., 2.} * u.mV)})
  local out = t.shell("python3 -c \"import numpy, json; f = numpy.load('" .. path "py.npz"
                      .. "'); print(f['V'].tolist(), json.loads(f['bdl.json'])['entries'][0]['leaves'][0]['unit'])\"")
  t.eq(out, "[1.0, 2.0] mV\n")
end)

-- ---- safetensors of other programs -------------------------------------------------------------------------------------

--- A file with that index and those bytes behind it.
local function safetensors(index, data)
  do
    local out <close> = assert(io.open(path "other.safetensors", "wb"))
    out:write(("<s8"):pack(index), data or "")
  end
  return path "other.safetensors"
end

t.test("arrays of other programs are values at their names", function()
  local index = [[{"layers.w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "n": {"dtype": "U8", "shape": [], "data_offsets": [16, 17]},
    "h": {"dtype": "F16", "shape": [1], "data_offsets": [17, 19]}, "b": {"dtype": "BF16", "shape": [2], "data_offsets": [19, 23]}} ]]
  local file = safetensors(index, ("<ffffBI2I2I2"):pack(1, 2, 3, 4, 200, 0x3e00, 0x3f80, 0xc000))
  local values = bdl.load(file)
  t.eq(values["layers.w"], {{1, 2}, {3, 4}})
  t.eq({values.n:item(), values.h[1]:item(), values.b[1]:item(), values.b[2]:item()}, {200, 1.5, 1, -2})
  local model = {layers = {w = bdl.State(bdl.zeros(2, 2))}, n = bdl.State(bdl.tensor(0))}
  t.eq(#bdl.load(file, model, {strict = false}), 2)
  t.eq(model.layers.w.value, {{1, 2}, {3, 4}})
  t.eq(model.n.value, 200)
end)

t.test("an index is not believed", function()
  local function one(dtype, shape, from, to) return ('{"x": {"dtype": "%s", "shape": [%s], "data_offsets": [%s, %s]}}'):format(dtype, shape, from, to) end
  for _, case in ipairs{
    {"", "IOError", "no safetensors"},
    {"[", "IOError", "byte"},
    {"3 ", "IOError", "the index is none"},
    {'{"x": 3}', "IOError", "the index is damaged at 'x'"},
    {'{"__metadata__": 3}', "IOError", "the metadata are none"},
    {one("C64", "1", 0, 8), "NotSupportedError", "'x' is of C64, which bdl has not"},
    {one("F32", "2", 0, 4), "IOError", "the index is damaged at 'x'"},
    {one("F32", "-2", 0, -8), "IOError", "the index is damaged at 'x'"},
    {one("F32", "4294967296, 4294967296, 4294967296", 0, 0), "IOError", "the index is damaged at 'x'"},
    {one("F32", "1", 1, 5), "IOError", "is not where the one before ends"},
    {one("F32", "3", 0, 12), "IOError", "8 bytes of arrays, the index needs 12"},
    {one("F32", "1", 0, 4), "IOError", "8 bytes of arrays, the index needs 4"},
    {one("U8", "1,1,1,1,1,1,1,1,1,1,1,8", 0, 8), "NotSupportedError", "axes"},
    {'{"a b": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}', "NotSupportedError", "'a b' is no path"},
    {'{"x": {"dtype": "U64", "shape": [1], "data_offsets": [0, 8]}}', "ValueError", "uint64 beyond"},
  } do
    t.raises(case[2], case[3], bdl.load, safetensors(case[1], "\xff\xff\xff\xff\xff\xff\xff\xff"))
  end
  t.raises("IOError", "no safetensors", bdl.load, (function()
    local out <close> = assert(io.open(path "short.safetensors", "wb"))
    out:write "abc"
    return path "short.safetensors"
  end)())
  t.raises("ValueError", "safetensors are not compressed", bdl.save, path "x.safetensors", bdl.State(1.), {compress = true})
end)

-- ---- json -----------------------------------------------------------------------------------------------------------

t.test("json: what is written is read, and what is none is refused with its byte", function()
  local x = {a = {1, 2.5, -3e-300, true, false}, b = {}, s = "\"\\\n\tü\0\127", deep = {{{}}}}
  local text = json.encode(x)
  t.eq(json.decode(text, "x"), x)
  t.eq(json.decode([=[ ["A\u00fc\ud83d\ude00\/", null, [], {} , 1E2] ]=], "x"), {"Aü😀/", bdl.none, {}, {}, 100.})
  for _, case in ipairs{
    {"", "byte 0: a value expected"}, {"[1,]", "byte 3: a value"}, {"[1 2]", "byte 3: ']' expected"},
    {'{"a" 1}', "byte 5: ':'"},
    {'{"a": 1, "a": 2}', "'a' twice"}, {'"abc', "the string has no end"}, {'"\n"', "a control character"},
    {'"\\x"', "four hexadecimal digits"}, {'"\\ud800x"', "half a character"}, {'"\xff"', "not UTF%-8"},
    {"1 1", "the end expected"},
    {("["):rep(100), "nested too deep"}, {"nul", "a value expected"}, {"- 1", "a value expected"},
  } do
    t.raises("IOError", "x: .*" .. case[2], json.decode, case[1], "x")
  end
  t.raises("TypeError", "no text for %-?nan", json.encode, 0/0)
end)

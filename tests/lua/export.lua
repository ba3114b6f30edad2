-- Exported C: models run with the bits of the runtime; the header; what is refused; bdl export.
local t = require "tests.lua.harness"
local X = require "tests.lua.support.exported"
local bdl = require "bdl"
local export = require "bdl.export"
local nn, online, u = bdl.nn, bdl.online, bdl.units

local SANITIZED = "-std=c99 -O1 -Wall -Wextra -pedantic -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"

local function calls_of(name, n, arguments)
  local calls = {}
  for i = 1, n do calls[i] = {name, table.unpack(arguments and arguments(i) or {})} end
  return calls
end

local function has(command) return select(2, X.shell("command -v " .. command)) == 0 end

-- ---- the same bits ------------------------------------------------------------------------------------------------------

--- 100 conductance-based neurons with sparse projections and noise.
local function coba()
  bdl.random.seed(1)
  local n_exc, n = 80, 100
  local Net = nn.Module:extend "Net"
  function Net:__init()
    self.N = nn.LIFRef{n, tau = 20*u.ms, tau_ref = 5*u.ms, V_rest = -60*u.mV, V_th = -50*u.mV, V_reset = -60*u.mV, spk_reset = "hard",
                       V_initializer = bdl.init.Normal{-55, 2, unit = u.mV}}
    self.E = self:projection(n_exc, 0.6, 5*u.ms, 0*u.mV)
    self.I = self:projection(n - n_exc, 6.7, 10*u.ms, -80*u.mV)
  end
  function Net:projection(n_pre, weight, tau, E)
    return nn.AlignPostProj{
      comm = bdl.conn.fixed_num_post(n_pre, n, 20, {weight = weight*u.siemens}),
      syn = nn.Expon:desc{n, tau = tau, g_initializer = bdl.init.ZeroInit{unit = u.siemens}},
      out = nn.COBA:desc{E = E}, post = self.N,
    }
  end
  function Net:update(I)
    local spikes = self.N:get_spike()
    self.E(spikes[{{1, n_exc}}])
    self.I(spikes[{{n_exc + 1, n}}])
    return self.N(I)
  end
  local net, i = nn.init_all_states(Net()), bdl.State(bdl.tensor(0))
  return function()
    local _ <close> = bdl.environ.context{t = i.value * 0.1*u.ms, i = i.value}
    i.value = i.value + 1
    return net((20 + 5*bdl.random.normal(0, 1, {size = n})) * u.mA)
  end, net
end

t.test("a network with event synapses and random input has the bits of the runtime", function()
  local _ <close> = bdl.environ.context{dt = 0.1*u.ms}
  for _, math in ipairs{"own", "libm"} do
    local step, net = coba()
    local files = X.check({name = "coba", states = net, step = {step}}, calls_of("step", 300), {math = math})
    t.ok(files.header:find("float E_post_V%[100%];  /%* %[100%] E.post.V, mV %*/"), files.header)
    t.eq(files.header:find "0x", nil)
    t.ok(files.header:find("uint32_t random[2]", 1, true), files.header)
  end
  local step, net = coba()
  X.check({name = "coba", states = net, step = {step}}, calls_of("step", 50), {math = "own", flags = SANITIZED})
end)

t.test("delays are rings", function()
  local _ <close> = bdl.environ.context{dt = 0.1*u.ms}
  local V = bdl.State(bdl.zeros(6))
  local delay = nn.init_all_states(nn.Delay(bdl.zeros(6), {entries = {late = 0.5*u.ms}}))
  local function step(x)
    V.value = V.value * 0.9 + x
    delay:update(V.value)
    return delay:at "late"
  end
  X.check({name = "delay", step = {step, bdl.ones(6)}}, calls_of("step", 30, function(i) return {bdl.ones(6) * i} end),
          {math = "own", flags = SANITIZED})
end)

--- A learner, its step with an optimiser.
local function learner_of(rule, optimizer)
  bdl.random.seed(3)
  local Net = nn.Module:extend "Net"
  function Net:__init()
    self.neurons = online.nn.ALIF{8, tau = 5*u.ms, tau_a = 100*u.ms, V_th = 1*u.mV, beta = 0.2*u.mV, spk_fun = bdl.surrogate.ReluGrad(1.0)}
    self.synapse = nn.AlignPostProj{
      comm = online.nn.Linear{2 + 8, 8, b_init = bdl.init.ZeroInit{unit = u.mS}, w_init = bdl.init.KaimingNormal{20.0, unit = u.mS}},
      syn = online.nn.Expon:desc{8, tau = 10*u.ms}, out = nn.CUBA:desc{scale = 1*u.volt}, post = self.neurons,
    }
    self.readout = online.nn.LeakyRateReadout{8, 1, tau = 10*u.ms}
  end
  function Net:update(x)
    self.synapse(bdl.concatenate({x, self.neurons:get_spike()}, {axis = -1}))
    self.neurons()
    return self.readout(self.neurons:get_spike())
  end
  local learner = online.compile(Net(), rule, bdl.zeros(2), {decay_or_rank = rule == "ES_D_RTRL" and 0.9 or nil})
  local weights = learner:param_states()
  optimizer:register_trainable_weights(weights)
  return function(x, y)
    local grads, loss = bdl.grad(function() return bdl.mean((learner(x) - y)^2) end, weights, {return_value = true})()
    optimizer:update(grads)
    return loss
  end
end

t.test("online learners have the bits of the runtime, traces, gradient and optimiser", function()
  local _ <close> = bdl.environ.context{dt = 1*u.ms}
  for _, rule in ipairs{"D_RTRL", "ES_D_RTRL"} do
    for _, make in ipairs{bdl.optim.Adam, bdl.optim.SGD} do
      local learn = learner_of(rule, make(1e-2))
      local x, y = bdl.tensor{0.7, 1.0}, bdl.tensor{0.3}
      X.check({name = "learner", learn = {learn, x, y}}, calls_of("learn", 30, function(i) return {x * (i % 7), y} end), {math = "own"})
    end
  end
  local learn = learner_of("D_RTRL", bdl.optim.Adam(1e-2))
  X.check({name = "learner", learn = {learn, bdl.zeros(2), bdl.zeros(1)}},
          calls_of("learn", 5, function(i) return {bdl.ones(2) * i, bdl.ones(1)} end), {math = "own", flags = SANITIZED})
end)

t.test("products, reductions, loops and branches have the bits of the runtime", function()
  bdl.random.seed(5)
  local x, y = bdl.random.normal(0, 1, {size = {7, 9}}), bdl.random.normal(0, 1, {size = {9, 33}})
  local long, S = bdl.random.normal(0, 1, {size = 1700}), bdl.State(bdl.zeros(4))
  local function step(x, y, long)
    local ys = bdl.for_loop(function(row)
      S.value = S.value * 0.9 + row:sum()
      return S.value
    end, x)
    local k = bdl.compile.while_loop(function(i) return (i * i):lt(50) end, function(i) return i + 1 end, bdl.tensor(1))
    local z = bdl.compile.cond(S.value:sum():gt(0), function() return S.value * 2 end, function() return -S.value end)
    return {ys = ys, k = k, z = z, product = x:matmul(y), turned = y.T:matmul(x.T), row = x[1]:matmul(y), sum = x:sum(), sums = x:sum{axis = 1},
            means = x:mean{axis = 2}, most = x:max(), least = x:min{axis = 2}, running = bdl.cumsum(x, {axis = 1}),
            best = bdl.argmax(x, {axis = 2}), sorted = bdl.sort(x, {axis = 2}), long = long:sum(), largest = long:max(),
            exps = bdl.exp(long * 2):sum(), logs = bdl.log(bdl.abs(x)), tanh = bdl.tanh(x)}
  end
  for _, math in ipairs{"own", "libm"} do
    X.check({name = "shapes", step = {step, x, y, long}}, calls_of("step", 3, function(i) return {x * i, y, long} end), {math = math})
  end
end)

t.test("double precision has the bits of the runtime", function()
  local _ <close> = bdl.environ.context{precision = 64}
  local V = bdl.State(bdl.zeros(5))
  local function step(x)
    V.value = bdl.tanh(V.value * 0.5 + x) + bdl.exp(-x) - x^0.3
    return V.value, V.value:sum()
  end
  local x = bdl.arange(5) * 0.25 + 0.1
  X.check({name = "double_net", step = {step, x}}, calls_of("step", 5, function(i) return {x * i} end), {math = "own"})
end)

-- ---- the files -------------------------------------------------------------------------------------------------------------

local function lif()
  local V = bdl.State(bdl.zeros(3), {name = "V"})
  local w = bdl.State(bdl.tensor{1., 2, 3})
  return function(input)
    V.value = 0.9 * V.value + w.value * input
    return V.value:gt(1), V.value
  end, V
end

t.test("the header says names, sizes and what a call returns, and is one of C++", function()
  local step = lif()
  local files = X.check({name = "lif", step = {step, bdl.ones(3)}}, calls_of("step", 3, function() return {bdl.ones(3)} end))
  t.ok(files.header:find("float V[3];", 1, true), files.header)
  t.eq(files.header:find "float w", nil)                 -- nobody writes it: a constant
  t.ok(files.source:find("static const float fixed_w[3]", 1, true))
  t.ok(files.header:find("int lif_step(lif_state *s, lif_scratch *w, const float input[3], uint8_t out1[3], float out2[3]);", 1, true),
       files.header)
  t.eq(files.state, 12)
  t.ok(files.header:find("#define LIF_STATE_BYTES 12", 1, true))
  local dir <close> = X.folder()
  X.write(dir.path .. "/lif.h", files.header)
  X.write(dir.path .. "/lif.c", files.source)
  local compilers = {"gcc -std=c99", "clang -std=c99", "gcc -std=c11 -Os -m32", "arm-none-eabi-gcc -std=c99 -mcpu=cortex-m4"}
  for _, cc in ipairs(compilers) do
    local works = has(cc:match "^%S+") and select(2, X.shell(("printf '#include <string.h>\n' | %s -x c -c -o /dev/null -"):format(cc))) == 0
    if works then
      local text, status = X.shell(("cd '%s' && %s -Wall -Wextra -pedantic -Werror -ffreestanding -c -o lif.o lif.c"):format(dir.path, cc))
      t.eq(status, 0, cc .. "\n" .. text)
    end
  end
  if has "c++" then
    X.write(dir.path .. "/main.cc", '#include "lif.h"\nint main() { static lif_state s; lif_init(&s); return 0; }\n')
    local text, status = X.shell(("cd '%s' && cc -std=c99 -c lif.c && c++ -Wall -Wextra -pedantic -Werror main.cc lif.o -o main"):format(dir.path))
    t.eq(status, 0, text)
  end
end)

t.test("without math.h nothing but memory is asked of a library", function()
  local step = lif()
  export.math = "own"
  local files = export.compile{name = "lif", step = {function(x) return bdl.sqrt(bdl.exp(x)) + select(2, step(x)) end, bdl.ones(3)}}
  export.math = "libm"
  for name in files.source:gmatch "#include <([^>]+)>" do
    t.ok(name == "stdbool.h" or name == "string.h", name)
  end
  t.eq(files.source:find "__builtin", nil)
end)

-- ---- what goes wrong ----------------------------------------------------------------------------------------------------------

t.test("a check that fails is a number, and the State stays", function()
  local V = bdl.State(bdl.zeros(2))
  local opts = {name = "guard", step = {function(x)
    V.value = V.value + x
    bdl.debug.error_if(x:gt(3):any(), "x is too large")
    return V.value
  end, bdl.zeros(2)}}
  local files = X.check(opts, {{"step", bdl.ones(2)}, {"step", bdl.ones(2)}}, {flags = SANITIZED})
  t.ok(files.header:find "1  x is too large %(tests/lua/export.lua:%d+%)", files.header)
  local ok, err = pcall(X.check, opts, {{"step", bdl.ones(2)}})
  t.ok(ok, err)
  local dir <close> = X.folder()
  X.write(dir.path .. "/guard.c", files.source)
  X.write(dir.path .. "/guard.h", files.header)
  X.write(dir.path .. "/main.c", [[
#include "guard.h"
#include <stdio.h>
int main(void) {
  static guard_state s;
  static guard_scratch w;
  const float bad[2] = {9, 9};
  float z[2];
  guard_init(&s);
  s.V[0] = 5;
  const int failed = guard_step(&s, &w, bad, z);
  printf("%d %g %g\n", failed, (double)s.V[0], (double)s.V[1]);
  return 0;
}
]])
  local out = X.shell(("cd '%s' && cc -std=c99 guard.c main.c -o run && ./run"):format(dir.path))
  t.eq(out, "1 5 0\n")
end)

t.test("a primitive that a device lacks is named with its line", function()
  t.raises("NotSupportedError", "export.lua:%d+: .*export: print: there is nowhere to print", export.compile,
           {name = "a", step = {function(x)
             bdl.debug.print("{x}", {x = x})
             return x
           end, bdl.zeros(2)}})
  export.math = "own"
  t.raises("NotSupportedError", "sin needs sinf? of math.h", export.compile, {name = "a", step = {function(x) return bdl.sin(x) end, bdl.zeros(2)}})
  export.math = "libm"
  local named = 0
  for _, p in ipairs(require "bdl.core".prims()) do named = named + (require "bdl.core".export_refusal(p.name) and 1 or 0) end
  t.eq(named, 12)
end)

t.test("more RAM than allowed is an error that names what takes it", function()
  local W = bdl.State(bdl.zeros(100, 100), {name = "W"})
  export.ram_limit = 30000
  local ok, err = pcall(export.compile, {name = "a", step = {function(x) W.value = W.value * x end, bdl.ones(100)}})
  export.ram_limit = nil
  t.ok(not ok)
  t.eq(err.kind, "BudgetError")
  t.ok(err.message:find("needs 400%d%d bytes of RAM, 30000 are allowed; the largest: State W 40000"), err.message)
end)

t.test("what bdl.export does not understand is told at once", function()
  local function bad(kind, pattern, opts) t.raises(kind, pattern, bdl.export, opts) end
  local function f(x) return x end
  bad("TypeError", "a table is expected", 3)
  bad("TypeError", "`name` is a string", {step = {f, 1}})
  bad("ValueError", "'2net' is no name in C", {name = "2net", step = {f, 1}})
  bad("ValueError", "'while' is no name in C", {name = "while", step = {f, 1}})
  bad("ValueError", "cannot be called 'init'", {name = "a", init = {f, 1}})
  bad("TypeError", "step is a list of a function", {name = "a", step = f})
  bad("TypeError", "not under 'x'", {name = "a", step = {f, x = 1}})
  bad("ValueError", "no functions", {name = "a"})
  bdl.export{name = "a", step = {f, bdl.zeros(2)}} -- nothing happens
end)

-- ---- the command -------------------------------------------------------------------------------------------------------------

local program = os.getenv "BDL"

local function command(model, arguments)
  local dir <close> = X.folder()
  X.write(dir.path .. "/model.lua", model)
  local text, status = X.shell(("%s export %s/model.lua -o %s/out/deep %s"):format(program, dir.path, dir.path, arguments or ""))
  return text:gsub(dir.path:gsub("%p", "%%%0") .. "/", ""), status
end

t.test("bdl export writes two files and says what they take", function()
  if not program then return end
  local model = 'local V = bdl.State(bdl.zeros(4))\nbdl.export{name = "net", step = {function(x) V.value = V.value + x return V.value end, bdl.ones(4)}}\n'
  local text, status = command(model)
  t.eq(status, 0, text)
  t.ok(text:find "^out/deep/net.c, out/deep/net.h\nRAM +%d+ bytes: State 16, scratch %d+\n +16 bytes  State V\n", text)
  text, status = command('print "nothing"')
  t.eq(status, 1)
  t.ok(text:find("the model never calls bdl.export", 1, true), text)
  text, status = command(model, "-o /dev/null/dir")
  t.eq(status, 1)
  t.ok(text:find("bdl export: /dev/null", 1, true), text)
  text, status = command(model, "--ram-limit 10")
  t.eq(status, 1)
  t.ok(text:find("model.lua:2: BudgetError: export: net needs", 1, true), text)
  text, status = command('bdl.export{name = "net", step = {function(x) return x + bdl.zeros(3) end, bdl.ones(4)}}')
  t.eq(status, 1)
  t.ok(text:find("model.lua:1: ShapeError", 1, true), text)
  text, status = command(model, "--math sleef")
  t.eq(status, 2)
end)

t.test("the host's example of a model on a device learns", function()
  if not program then return end
  local dir <close> = X.folder()
  local text, status = X.shell(("%s export models/wave_device.lua -o '%s' --math own --set hidden=32 --set steps=10"):format(program, dir.path))
  t.eq(status, 0, text)
  text, status = X.shell(("cc -std=c99 -O2 -Wall -Wextra -pedantic -Werror -I'%s' -o '%s/run' tools/examples/wave.c '%s/wave.c' -lm && '%s/run'")
    :format(dir.path, dir.path, dir.path, dir.path))
  t.eq(status, 0, text)
  local first, last = text:match "loss ([%d.]+), then ([%d.]+)"
  t.ok(tonumber(last) < 0.4 * tonumber(first), text)
end)

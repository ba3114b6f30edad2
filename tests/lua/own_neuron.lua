-- The neuron of lua/README.md is a complete file, and does what a neuron of bdl does.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local text = assert(io.open "lua/README.md"):read "a"
local own, model, output = text:match "```lua\n(.-)```.-```lua\n(.-)```.-```\n(.-)```"
local Resonate = assert(load(own))()

t.test("it has about 30 lines", function() t.ok(select(2, own:gsub("\n", "")) <= 30) end)

t.test("the model prints what the text says", function()
  local program = os.getenv "BDL"
  if not program then return end
  local folder = t.shell("mktemp -d"):gsub("%s", "")
  for name, lines in pairs{["resonate.lua"] = own, ["doublets.lua"] = model} do
    local f <close> = assert(io.open(folder .. "/" .. name, "w"))
    f:write(lines)
  end
  local printed = t.shell(("%s run --quiet %s/doublets.lua"):format(program, folder))
  t.shell("rm -r " .. folder)
  t.eq(printed, output)
end)

t.test("without input it turns at its frequency and shrinks", function()
  local _ <close> = bdl.environ.context{dt = 0.1*u.ms}
  local n = Resonate{1, x_initializer = bdl.init.Constant(0.5*u.mV)}
  n:init_state()
  bdl.for_loop(function() n(0*u.mA) end, {length = 250})
  t.close(n.x.value / u.mV, {0.5 * math.exp(-25/50)}, 1e-4)
  t.close(n.V.value / u.mV, {0}, 0, 1e-4)
end)

t.test("arguments, batches, resets, gradients, projections", function()
  local _ <close> = bdl.environ.context{dt = 0.1*u.ms}
  t.raises("TypeError", "no argument 'omga' %(did you mean 'omega'%?%)", function() Resonate{2, omga = 1*u.Hz} end)
  t.raises("ValueError", "tau must be > 0", function() Resonate{2, tau = 0*u.ms} end)
  local n = Resonate{2, V_initializer = bdl.init.Constant(1.5*u.mV), spk_reset = "hard"}
  n:init_state(3)
  t.eq(n.V.value.shape, {3, 2})
  t.eq(n:get_spike():totable(), {{1, 1}, {1, 1}, {1, 1}})
  n(0*u.mA)
  t.close(n.V.value / u.mV, bdl.zeros(3, 2), 0, 1e-6)

  local net = nn.Module()
  net.post = Resonate(2)
  net.proj = nn.DeltaProj{comm = nn.Linear{3, 2, w_init = bdl.init.Constant(0.3*u.mV), b_init = bdl.none}, post = net.post}
  nn.init_all_states(net)
  local grads = bdl.grad(function()
    net.proj(bdl.ones(3))
    return net.post():sum()
  end, net:states(bdl.ParamState))()
  t.ok((bdl.tree.leaves(grads)[1] * u.mV):gt(0):all():item())
  t.close(net.post.V.value / u.mV, {0.9, 0.9}, 1e-5)
end)

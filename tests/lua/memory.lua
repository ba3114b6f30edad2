-- What reverse mode keeps, by the plan's own count of bytes.
local t = require "tests.lua.harness"
local bdl = require "bdl"

local N = 1000

--- The gradient of a loop of `steps` rounds over N numbers: its value and the bytes of its plan.
local function gradient(loop, steps)
  local w = bdl.ParamState(bdl.full({N}, 0.3))
  local g = bdl.jit(bdl.augment.grad(function()
    local h = bdl.State(bdl.zeros(N))
    loop(function(i) h.value = bdl.tanh(h.value*w.value + bdl.sin(i*0.1)) end, bdl.arange(steps))
    return bdl.sum(h.value)
  end, w))
  return g()[1]:item(), tonumber(tostring(g:lower()):match "arena (%d+) bytes")
end

t.test("a loop keeps its values once a step", function()
  local _, few = gradient(bdl.for_loop, 64)
  local _, many = gradient(bdl.for_loop, 128)
  t.ok(many - few <= 64*(N*4 + 64) + 4096, ("%d bytes more for 64 steps"):format(many - few))
end)

t.test("a checkpointed loop keeps a logarithm of them", function()
  local want, all = gradient(bdl.for_loop, 4096)
  local got, kept = gradient(bdl.augment.checkpointed_for_loop, 4096)
  local _, fewer = gradient(bdl.augment.checkpointed_for_loop, 256)
  t.close(got, want, 1e-5)
  t.ok(kept*50 < all, ("%d bytes against %d"):format(kept, all))
  t.ok(kept < 2*fewer, ("%d bytes for 4096 steps, %d for 256"):format(kept, fewer))
end)

t.test("what a loop does not change is kept once", function()
  local w, xs = bdl.ParamState(bdl.ones(N)), bdl.ones(100, N)
  local g = bdl.jit(bdl.augment.grad(function(xs)
    local scale = bdl.exp(w.value)
    return bdl.sum((bdl.for_loop(function(x) return bdl.sum(x*scale*scale) end, xs)))
  end, w))
  t.close(g(xs), bdl.full({N}, 200*math.exp(2)), 1e-5)
  local bytes = tonumber(tostring(g:lower(xs)):match "arena (%d+) bytes")
  t.ok(bytes < 20*N*4, bytes .. " bytes")
end)

t.test("large arrays of one value are made by the program, not kept", function()
  local filled, made, mixed = bdl.full({10000}, 2.5), nil, bdl.full({10000}, 2.5):set(1, 0.0)
  local f = bdl.jit(function(x)
    made = bdl.zeros(10000)
    return x*filled + made, x*mixed, bdl.reshape(made, 100, 100):sum() + x
  end)
  local sum, product, one = f(2.0)
  t.eq({sum:min():item(), sum:max():item(), one:item()}, {5, 5, 2})
  t.eq({product[1]:item(), product[2]:item()}, {0, 5})
  local kept = 0
  for bytes in tostring(f:lower(2.0)):gmatch "const (%d+) bytes" do kept = kept + tonumber(bytes) end
  t.eq(kept, 40000) -- mixed
  t.eq(made.shape, {10000})
end)

t.test("the traces of a learner are there twice at most", function()
  local nn, online = bdl.nn, bdl.online
  local cell = online.nn.VanillaRNNCell(200, 300)
  local before = bdl.util.memory().used
  local learner = online.compile(cell, "D_RTRL", bdl.zeros(8, 200), {batch_size = 8})
  local step = bdl.jit(function()
    learner:reset_state()
    return (learner:etrace_grad(bdl.ones(3, 8, 200), function(x) return bdl.mean(learner(x)^2) end))
  end)
  step()
  local trace = 8*500*300*4
  local most = bdl.util.memory().peak - before
  t.ok(most < 3*trace, ("%d bytes for traces of %d"):format(most, trace))
end)

t.test("a GPU's memory stands beside the host's where one is in use", function()
  local f = bdl.jit(function(x) return x*2 end)
  local y = f(bdl.ones(100000))
  local gpu = bdl.util.memory().gpu
  t.eq(gpu ~= nil, os.getenv "BDL_PLATFORM" == "gpu")
  t.eq(y:sum():item(), 200000)
  if not gpu then return end
  t.ok(gpu.used >= 800000 and gpu.peak >= gpu.used, gpu.used .. ", " .. gpu.peak)
end)

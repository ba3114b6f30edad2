-- nn.count_parameters, nn.clip_grad_norm, nn.summary.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn = bdl.nn

t.test("parameters are counted leaf by leaf", function()
  local total, rows = nn.count_parameters(nn.GRUCell(8, 64))
  t.eq(total, 72*64 + 64 + 72*128 + 128)
  t.eq(rows:match "Wh.weight.weight +float32%[72,64%] +([%d,]+)\n", "4,608")
  t.eq(rows:match "\ntotal +([%d,]+)$", "14,016")
end)

t.test("a shared weight counts once, other States do not", function()
  local net = nn.Module()
  net.a = nn.Linear(2, 3)
  net.b = net.a
  net.neurons = nn.LIF(5)
  nn.init_all_states(net)
  t.eq(nn.count_parameters(net), 9)
  t.eq(nn.count_parameters(nn.LIF(5)), 0)
  t.raises("TypeError", "a module was expected, not a number", nn.count_parameters, 3)
end)

t.test("gradients are clipped by their common norm", function()
  local grads = {w = bdl.tensor{3., 4.}, b = bdl.tensor{12.}}
  local clipped, norm = nn.clip_grad_norm(grads, 5.0)
  t.close(norm, 13.0)
  t.close(clipped.w, {15/13, 20/13}, 1e-6)
  t.close(clipped.b, {60/13}, 1e-6)
  t.eq(nn.clip_grad_norm(grads, 14.0).w, grads.w)
  clipped, norm = nn.clip_grad_norm(grads, 2.0, {ord = math.huge})
  t.close(norm, 12.0)
  t.close(clipped.w, {0.5, 4/6}, 1e-6)
  t.close(nn.clip_grad_norm({bdl.tensor{{-2., 3.}, {1., -4.}}}, 5.0, {ord = 1})[1], {{-1, 1.5}, {0.5, -2}}, 1e-6)
  t.close(select(2, nn.clip_grad_norm({}, 1.0)), 0.0)
  t.raises("TypeError", "no option 'norm_type'", nn.clip_grad_norm, grads, 1.0, {norm_type = 2})
end)

t.test("a gradient of States is clipped inside a compiled step", function()
  local net = nn.Linear(3, 2)
  local weights = net:states(bdl.ParamState)
  local step = bdl.jit(function(x)
    local grads = bdl.grad(function() return (net(x)^2):sum() end, weights)()
    local clipped, norm = nn.clip_grad_norm(grads, 1e-3)
    return norm, select(2, nn.clip_grad_norm(clipped, 1.0))
  end)
  local before, after = step(bdl.ones(4, 3))
  t.ok(before > 1e-3)
  t.close(after, 1e-3, 1e-3)
end)

t.test("a summary of a run", function()
  local text = nn.summary(nn.Linear(1000, 1000), {steps = 12345, seconds = 2.5})
  t.ok(text:find("2.50 s, 12,345 steps, 4938 steps/s", 1, true), text)
  t.ok(text:find "\nparameters +1,001,000\n", text)
  t.ok(text:find "\nmemory +[%d.]+ MiB at most%f[,\0]", text)
  t.ok(nn.summary(nn.Linear(1, 1)):find "^parameters +2\nmemory +%d")
  t.ok(nn.summary(nn.LIF(1)):find "^memory")
end)

--- Program augmentation, cell by cell: gradients, vmap over States, training, printing from inside.
--  Source: document 001 of BrainState on program augmentation, in bdl's words.
-- In [1]
local bdl = require "bdl"
local nn, random, u = bdl.nn, bdl.random, bdl.units

-- In [2]
local model = nn.Linear(2, 3)
local x = bdl.ones(1, 2)
local y = bdl.ones(1, 3)
local function loss_fn(x, y)
  return bdl.mean((y - model(x))^2)
end
local weights = model:states()
local grads = bdl.augment.grad(loss_fn, weights)(x, y)
print("Gradients:", grads)                       --> weight: {bias=float32[3], weight=float32[2,3]}; both weight rows equal bias
for row = 1, 2 do
  assert((grads.weight.weight[row] - grads.weight.bias):abs():max():item() < 1e-6)
end

-- In [3]
local hessian = bdl.augment.hessian(loss_fn, weights)(x, y)
local jacobian = bdl.augment.jacobian(loss_fn, weights)(x, y)
print(hessian.weight.bias.weight.weight.shape)   --> {3, 2, 3}
print(jacobian.weight.bias.shape)                --> {3}

-- In [4]
local function composite_grad(fn, params)
  local grad_fn = bdl.augment.grad(fn, params)
  return function(...)
    return bdl.augment.grad(grad_fn, params)(...)
  end
end
local scale = bdl.ParamState(2.0)
print(composite_grad(function() return scale.value^3 end, scale)()) --> 12.0

-- In [5]
local batch_size = 4
local x_batch = bdl.ones(batch_size, 3) * u.mA
model = nn.LIF(3)
model:init_state(batch_size)
local eval = bdl.augment.vmap{in_states = model:states()}(function(x)
  local _ <close> = bdl.environ.context{dt = 0.1 * u.ms}
  return model(x)
end)
print(eval(x_batch))                             --> zeros float32[4,3]

-- In [6]
local Foo = nn.Module:extend "Foo"
function Foo:__init()
  self.a = bdl.ParamState(bdl.arange(4))
  self.b = bdl.ShortTermState(bdl.arange(4))
end
function Foo:__call()
  self.b.value = self.a.value * self.b.value
end
local foo = Foo()
local ok, err = pcall(bdl.augment.vmap(foo, {in_states = foo.a}))
print(ok, err.kind)                              --> false BatchAxisError

-- In [7]
foo = Foo()
local r = bdl.augment.vmap(foo, {in_states = foo.a, out_states = foo.b})()
print(foo.b.value)                               --> {{0,0,0,0},{0,1,2,3},{0,2,4,6},{0,3,6,9}}

-- section 3: pmap has vmap's arguments
local run = bdl.augment.pmap(function(x) return model(x) end, {in_states = model:states()})

-- In [8]
batch_size = 5
local xs = random.rand(batch_size, 3)
local ys = random.rand(batch_size, 4)
local net = nn.Linear(3, 4)
local batch_run = bdl.augment.vmap(function(x) return net(x) end)
local function net_loss(x, y)
  return bdl.mean((y - batch_run(x))^2)
end
local net_weights = net:states(bdl.ParamState)
local opt = bdl.optim.Adam(1e-3)
opt:register_trainable_weights(net_weights)
local batch_train = bdl.compile.jit(function(xs, ys)
  local grads, l = bdl.augment.grad(net_loss, net_weights, {return_value = true})(xs, ys)
  opt:update(grads)
  return l
end)
local l = batch_train(xs, ys)
print(l)                                         --> a positive scalar; smaller at the next call
assert(batch_train(xs, ys) < l)

-- section 6: print a tree from inside jit
local batch_train_debug = bdl.compile.jit(function(xs, ys)
  local grads, l = bdl.augment.grad(net_loss, net_weights, {return_value = true})(xs, ys)
  bdl.debug.print("Gradients: {g}", {g = grads})
  opt:update(grads)
  return l
end)

-- section 5: release device memory
local host_l = bdl.device_get(l)
print(host_l)
print(batch_train_debug(xs, ys))                 --> Gradients: .., then a positive scalar

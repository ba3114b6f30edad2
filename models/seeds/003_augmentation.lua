--- Program augmentation, cell by cell: gradients; vmap of constructors, of Nodes, of States made inside; training.
--  Source: document 003 of BrainState on program augmentation, in bdl's words.
-- text 1.1: as in seed 001 (grad, return_value, has_aux, both)

-- In [1]
local bst = require "bdl"

-- In [2]
local model = bst.nn.Linear(2, 3)
local x = bst.ones(1, 2)
local y = bst.ones(1, 3)
local function loss_fn(x, y)
  return bst.mean((y - model(x))^2)
end
local weights = model:states()
local grads = bst.augment.grad(loss_fn, weights)(x, y)
print("Gradients:", grads)                       --> weight: {bias=float32[3], weight=float32[2,3]}

-- In [3]
local hessian = bst.augment.hessian(loss_fn, weights)(x, y)
local jacobian = bst.augment.jacobian(loss_fn, weights)(x, y)
print(hessian.weight.bias.weight.weight.shape)   --> {3, 2, 3}
print(jacobian.weight.bias.shape)                --> {3}

-- In [4]
local function composite_grad(fn, params)
  local grad_fn = bst.augment.grad(fn, params)
  return function(...) return bst.augment.grad(grad_fn, params)(...) end
end
local scale = bst.ParamState(2.0)
print(composite_grad(function() return scale.value^3 end, scale)()) --> 12.0

-- In [5]  vmap of a constructor: returns a Node with batched States
local create_linear = bst.augment.vmap(function(key)
  bst.random.set_key(key)
  return bst.nn.Linear(2, 3)
end)
local batch_size = 5
local linears = create_linear(bst.random.split_key(batch_size))
assert((linears.weight.value.weight[1] - linears.weight.value.weight[2]):abs():max():item() > 0)
print(linears)                                   --> Linear(.. weight: {bias=float32[5,3], weight=float32[5,2,3]}); five different weights

-- In [6]  a Node as mapped argument
local x_batch = bst.ones(batch_size, 2)
local y_batch = bst.ones(batch_size, 3)
local eval = bst.augment.vmap{in_axes = {1, 1}}(function(model, x)
  return model(x)
end)
local function batch_loss_fn(x_batch, y_batch)
  local predictions = eval(linears, x_batch)
  return bst.mean((y_batch - predictions)^2)
end
weights = linears:states(bst.ParamState)
local batch_grads = bst.augment.grad(batch_loss_fn, weights)(x_batch, y_batch)
print(batch_grads)                               --> weight: {bias=float32[5,3], weight=float32[5,2,3]}

-- In [7]  writes go back to the caller's Node
local Foo = bst.nn.Module:extend "Foo"
function Foo:__init()
  self.a = bst.ParamState(bst.arange(4))
  self.b = bst.ShortTermState(bst.arange(4))
end
function Foo:__call()
  self.b.value = self.a.value * self.b.value
end
local mul = bst.augment.vmap(function(foo) foo() end)
local foo = Foo()
mul(foo)
print(foo.b.value)                               --> {0, 1, 4, 9}

-- In [8]
local u = bst.units
local LIFNet = bst.nn.Module:extend "LIFNet"
function LIFNet:__init(nin, nout)
  self.i2r = bst.nn.Linear(nin, nout)
  self.lif = bst.nn.LIF(nout)
end
function LIFNet:update(x)
  local r = self.i2r(x)
  return self.lif(r * u.mA)
end

-- In [9]  batch only the States made here
local n_in, n_out = 2, 3
batch_size = 5
local net = LIFNet(n_in, n_out)
local StateAxes = bst.augment.StateAxes
local init_net = bst.augment.vmap{out_axes = StateAxes{new = 1, [bst.rest] = bst.none}}(function(key)
  bst.random.set_key(key)
  do                                             -- new States get the tag 'new'
    local _ <close> = bst.catch_new_states "new"
    bst.nn.init_all_states(net)
  end
  return net
end)
net = init_net(bst.random.split_key(batch_size))

-- In [10]
print(net.lif.V.value)                           --> zeros [5,3] mV

-- In [11]
local batch_run = bst.augment.vmap{in_axes = {StateAxes{new = 1, [bst.rest] = bst.none}, 1}}(function(model, x)
  local o
  do
    local _ <close> = bst.environ.context{dt = 0.1 * u.ms}
    o = model:update(x)
  end
  return o
end)
local xs = bst.random.rand(batch_size, 2):lt(0.5)
local r = batch_run(net, xs)

-- In [12]
print(net.lif.V.value)                           --> float32[5,3] mV; equal rows where xs rows are equal

-- In [13]
local ys = bst.random.rand(batch_size, 3)
local function net_loss(x, y)
  return bst.mean((y - batch_run(net, x))^2)
end
weights = net:states(bst.ParamState)
local opt = bst.optim.Adam(1e-3)
opt:register_trainable_weights(weights)
local batch_train = bst.compile.jit(function(xs, ys)
  local grads, l = bst.augment.grad(net_loss, weights, {return_value = true})(xs, ys)
  opt:update(grads)
  return l
end)
local l = batch_train(xs, ys)
print(l)                                         --> a scalar >= 0

-- section 6
local batch_train_debug = bst.compile.jit(function(xs, ys)
  local grads, l = bst.augment.grad(net_loss, weights, {return_value = true})(xs, ys)
  bst.debug.print("Gradients: {g}", {g = grads})
  opt:update(grads)
  return l
end)
print(batch_train_debug(xs, ys))                 --> Gradients: .., then a scalar >= 0

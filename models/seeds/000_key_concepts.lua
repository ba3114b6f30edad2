--- The key concepts, cell by cell: States, Nodes and their graph, loops that carry States.
--  Source: the key-concept document 000 of BrainState, in bdl's words.
-- In [17]
local bdl = require "bdl"
local nn, random = bdl.nn, bdl.random

-- In [18]  user-defined State
local Counter = bdl.State:extend "Counter"

-- In [19]
local example = bdl.State(bdl.ones(3))
print(example)                                   --> State(value=float32[3])

-- In [20]
example.value = random.random(3)
print(example)                                   --> State(value=float32[3])

-- In [21]  any nested value
local example2 = bdl.State({a = bdl.ones(3), b = bdl.zeros(4)})
print(example2)                                  --> State(value={a=float32[3], b=float32[4]})

-- In [22]
local Linear = bdl.graph.Node:extend "Linear"
function Linear:__init(din, dout)
  self.din, self.dout = din, dout
  self.w = bdl.ParamState(random.rand(din, dout))
  self.b = bdl.ParamState(bdl.zeros(dout))
end
function Linear:__call(x)
  return x:matmul(self.w.value) + self.b.value
end

-- In [23]
local model = Linear(2, 5)
print(model)                                     --> Linear(din=2, dout=5, w=.., b=..)

-- In [24]  a cycle
model.self = model
print(model)                                     --> .. self=Linear(...)

-- In [25]  list of layers
local MLP = bdl.graph.Node:extend "MLP"
function MLP:__init(din, dmid, dout, n_layer)
  self.input = nn.Linear(din, dmid)
  self.layers = {}
  for i = 1, n_layer or 3 do
    self.layers[i] = nn.Linear(dmid, dmid)
  end
  self.output = nn.Linear(dmid, dout)
end
function MLP:__call(x)
  x = bdl.functional.relu(self.input(x))
  for _, layer in ipairs(self.layers) do
    x = bdl.functional.relu(layer(x))
  end
  return self.output(x)
end
model = MLP(2, 1, 3)
print(model)

-- In [26]
local states = bdl.graph.states(model)
print(states)                                    --> input.weight, layers[1].weight, layers[2].weight, layers[3].weight, output.weight

-- In [27]
print(states:to_nest())

-- In [28]
local nodes = bdl.graph.nodes(model)
print(nodes)                                     --> input, layers[1], layers[2], layers[3], output, (root)

-- In [29]  for_loop carries the State
local a = bdl.State(1.0)
local function add(i)
  a.value = a.value + 1
end
bdl.compile.for_loop(add, bdl.arange(10))
print(a.value)                                   --> 11.0

-- In [30]  a State made inside is local; while_loop inside for_loop
local b = bdl.State(0.0)
local function add2(i)
  local c = bdl.State(0.0)
  local function cond(j) return j:le(i) end
  local function body(j)
    c.value = c.value + 1
    return j + 1
  end
  bdl.compile.while_loop(cond, body, 0.0)
  b.value = b.value + c.value
end
bdl.compile.for_loop(add2, bdl.arange(10))
print(b.value)                                   --> 55.0

-- In [31]  printing from inside
b = bdl.State(0.0)
local function add3(i)
  local c = bdl.State(0.0)
  local function cond(j) return j:le(i) end
  local function body(j)
    c.value = c.value + 1
    return j + 1
  end
  bdl.compile.while_loop(cond, body, 0.0)
  b.value = b.value + c.value
  bdl.debug.print("b = {b}, c = {c}", {b = b.value, c = c.value})
end
bdl.compile.for_loop(add3, bdl.arange(10))
--> b = 1.0, c = 1.0
--> b = 3.0, c = 2.0
--> b = 6.0, c = 3.0
--> b = 10.0, c = 4.0
--> b = 15.0, c = 5.0
--> b = 21.0, c = 6.0
--> b = 28.0, c = 7.0
--> b = 36.0, c = 8.0
--> b = 45.0, c = 9.0
--> b = 55.0, c = 10.0

-- In [32]  one SGD step by hand
local x = bdl.ones(1, 2)
local y = bdl.ones(1, 3)
model = nn.Linear(2, 3)
local function loss_fn(x, y)
  return bdl.mean((y - model(x))^2)
end
local prev_loss = loss_fn(x, y)
local weights = model:states()
local grads = bdl.augment.grad(loss_fn, weights)(x, y)
for path, grad in grads:items() do
  weights[path].value = bdl.tree.map(function(p, g) return p - 0.1 * g end, weights[path].value, grad)
end
assert(loss_fn(x, y) < prev_loss)                -- two concrete scalars

-- text: choosing the device
bdl.environ.set{platform = "cpu"}
print(pcall(bdl.environ.set, {platform = "tpu"}))  --> no tpu backend; have cpu, gpu
bdl.config.update("platform_name", "cpu")

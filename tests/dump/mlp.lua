-- The gradient of a two-layer perceptron.
local W1, b1 = bdl.ParamState(bdl.ones(3, 4)), bdl.ParamState(bdl.zeros(4))
local W2, b2 = bdl.ParamState(bdl.ones(4, 2)), bdl.ParamState(bdl.zeros(2))

local function loss(x, y)
  local h = bdl.tanh(x:matmul(W1.value) + b1.value)
  return bdl.mean((h:matmul(W2.value) + b2.value - y)^2)
end

bdl.jit(bdl.augment.grad(loss, {W1 = W1, b1 = b1, W2 = W2, b2 = b2}))(bdl.ones(5, 3), bdl.ones(5, 2))

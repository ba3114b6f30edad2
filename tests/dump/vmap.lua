-- Per-example gradients of a perceptron: one product for all lanes.
local W, b = bdl.ParamState(bdl.ones(3, 4)), bdl.ParamState(bdl.zeros(4))

local function loss(x) return bdl.sum(bdl.tanh(W.value:transpose():matmul(x) + b.value)) end

bdl.jit(bdl.augment.vmap(bdl.augment.grad(loss, {W = W, b = b})))(bdl.ones(5, 3))

-- The gradient of LIF neurons over time, through a surrogate.
local w = bdl.ParamState(bdl.ones(3, 4))
local spike = bdl.surrogate.ReluGrad()

local function loss(xs)
  local _, spikes = bdl.scan(function(V, x)
    V = V + (x:matmul(w.value) - V)*0.1
    local s = spike(V - 1.0)
    return V*(1 - s), s
  end, bdl.zeros(2, 4), xs)
  return bdl.sum(spikes)
end

bdl.jit(bdl.augment.grad(loss, w))(bdl.ones(10, 2, 3))

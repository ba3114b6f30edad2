--- Optimisers: weights after each update with given gradients.
local bdl = require "bdl"

local BUILT = {SGD = true, Adam = true}
local OPTIONS = {"lr", "betas", "eps", "weight_decay", "amsgrad", "momentum", "nesterov", "grad_clip_norm", "grad_clip_value"}

return function(case, t)
  local p = case.params
  if not BUILT[p.cls] or p.scheduler then t.skip("%s", p.scheduler and "schedulers" or tostring(p.cls)) end
  local options = {}
  for _, name in ipairs(OPTIONS) do options[name] = p[name] end
  local opt = bdl.optim[p.cls](options)
  local weights = {w = bdl.ParamState(t.array(case, "w0")), b = bdl.ParamState(t.array(case, "b0"))}
  opt:register_trainable_weights(weights)
  local w, b, lr = bdl.for_loop(function(gw, gb)
    local rate = opt:current_lr()
    opt:update{w = gw, b = gb}
    return weights.w.value, weights.b.value, rate
  end, t.array(case, "grad_w"), t.array(case, "grad_b"))
  t.compare("w", w, case.arrays.w)
  t.compare("b", b, case.arrays.b)
  t.compare("lr", lr, case.arrays.lr)
end

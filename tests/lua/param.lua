--- Param: transforms and their inverses, priors, the kept value, learning.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local TRANSFORMS = {
  nn.IdentityT(), nn.SigmoidT(-1.0, 2.0), nn.ScaledSigmoidT(-1.0, 2.0, 1.5), nn.TanhT(-1.0, 2.0), nn.SoftsignT(-1.0, 2.0), nn.SoftplusT(0.5),
  nn.NegSoftplusT(0.5), nn.LogT(0.5), nn.ExpT(0.5), nn.PositiveT(), nn.NegativeT(), nn.AffineT(2.0, 1.0),
  nn.ChainT(nn.AffineT(2.0, 1.0), nn.SigmoidT(0.0, 1.0)),
}

t.test("inverse undoes forward; the logarithm of the slope is that of the derivative", function()
  local _ <close> = bdl.environ.context{precision = 64}
  local x, e = bdl.tensor{-1.5, -0.2, 0.7, 2.0}, 1e-6
  for _, f in ipairs(TRANSFORMS) do
    t.close(f:inverse(f(x)), x, 1e-8, 1e-8, bdl.typename(f))
    local slope = (f(x + e) - f(x - e)) / (2 * e)
    t.close(f:log_abs_det_jacobian(x, f(x)), bdl.sum(bdl.log(bdl.abs(slope))), 1e-7, 1e-7, bdl.typename(f))
  end
  t.close(nn.OrderedT():inverse(nn.OrderedT()(x)), x, 1e-8)
  t.close(nn.SimplexT():inverse(nn.SimplexT()(x)), x, 1e-8)
  t.close(bdl.sum(nn.SimplexT()(x)), 1)
  t.close(bdl.sum(nn.UnitVectorT()(x)^2), 1, 1e-6)
  t.close(nn.MaskedT(x:gt(0), nn.PositiveT())(x), {-1.5, -0.2, math.exp(0.7), math.exp(2)})
end)

t.test("a Param is learnt without a constraint and obeys one; units", function()
  local p = nn.Param(10.0 * u.ms, {t = nn.SoftplusT(1.0 * u.ms)})
  t.close((p:value() / u.ms):item(), 10, 1e-5)
  t.eq(p.val.value.unit, nil)
  p.val.value = p.val.value - 1e3
  t.close((p:value() / u.ms):item(), 1)
  local q = nn.Param(0.3, {t = nn.SigmoidT(0.0, 1.0)})
  local g = bdl.grad(function() return q:value() end, q:states(bdl.ParamState))().val
  t.close(g, 0.3 * 0.7, 1e-5)
  t.eq(#nn.Const(2.0):states(), 0)
end)

t.test("the kept value lasts until the State is written", function()
  local calls = 0
  local p = nn.Param(bdl.ones(3), {precompute = function(x)
    calls = calls + 1
    return x * 2
  end})
  p:cache()
  t.close(p:value(), {2, 2, 2})
  p:value()
  t.eq(calls, 1)
  p.val.value = p.val.value * 3
  t.close(p:value(), {6, 6, 6})
  p:cache()
  p:set_value(bdl.ones(3) * 4)
  t.close(p:value(), {8, 8, 8})
end)

t.test("priors: penalty, mode, clipping, draws", function()
  local p = nn.Param(bdl.tensor{3.0, -4.0}, {reg = nn.L2Reg(0.5)})
  t.close(p:reg_loss(), 12.5)
  p:clip(-1.0, 2.0)
  t.close(p:value(), {2, -1})
  p:reset_to_prior()
  t.close(p:value(), {0, 0})
  t.eq(nn.Const(1.0):reg_loss(), 0.0)
  t.close(nn.GaussianReg(2.0, 0.5):reset_value(), 2)
  t.close(nn.ChainedReg(nn.L1Reg(1.0), nn.L2Reg(2.0), {weight = 0.5}):loss(bdl.tensor{1.0, -2.0}), 6.5)
  local scale = nn.CauchyReg{scale = 2.0, fit_hyper = true}
  t.eq(#scale:states(bdl.ParamState), 1)
  bdl.random.seed(0)
  t.close(bdl.mean(nn.GammaReg{alpha = 3.0, beta = 2.0}:sample_init{4000}), 1.5, 0.1)
  t.close(bdl.std(nn.GaussianReg(1.0, 0.5):sample_init(4000)), 0.5, 0.1)
  local W = bdl.tensor{{3.0, 0.0}, {0.0, 1.0}, {0.0, 0.0}}
  t.close(nn.SpectralNormReg{max_value = 2.0}:loss(W), 1, 1e-4)
  t.close(nn.OrthogonalReg():loss(nn.OrthogonalReg():sample_init{4, 4}), 0, 0, 1e-4)
end)

t.test("wrong transforms and priors", function()
  for _, name in ipairs{"SigmoidT", "TanhT", "SoftsignT", "ScaledSigmoidT", "ClipT"} do
    t.raises("ValueError", "nn." .. name .. ": lower must be less than upper, not 2 and 1", bdl.nn[name], 2, 1)
  end
  t.raises("TypeError", "t is a Transform, not a number", function() nn.Param(1.0, {t = 3}) end)
  t.raises("TypeError", "reg is a Regularization", function() nn.Param(1.0, {reg = nn.SoftplusT(0.0)}) end)
  t.raises("ValueError", "is not learnt", function() nn.Const(1.0, {fit = true}) end)
  t.raises("ValueError", "a scale of 0", function() nn.AffineT(0.0, 1.0) end)
  t.raises("ValueError", "beta is positive", function() nn.ScaledSigmoidT(0.0, 1.0, -1.0) end)
  t.raises("ValueError", "group_size is a whole number from 1", function() nn.GroupLassoReg{group_size = 0} end)
  t.raises("ValueError", "order is a whole number from 1 to 2", function() nn.TotalVariationReg{order = 3} end)
  t.raises("TypeError", "number 2 is a number, not a Transform", function() nn.ChainT(nn.IdentityT(), 2) end)
end)

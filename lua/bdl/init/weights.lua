--- Initialisers of weights, which look at the shape: scaled by the number of inputs, orthogonal, the identity.
--  Example:
--    print(bdl.init.NAME(){3, 4})
local core = require "bdl.core"
local array = require "bdl.array"
local base = require "bdl.init.base"
local class = require "bdl.class"
local none = require "bdl.none".none

local M = {}

local function random() return require "bdl.random" end

-- ---- variance -------------------------------------------------------------------------------------------------------

--- fan_in, fan_out: rows and columns of a matrix; above, the second and the first size times the others.
local function fans(sizes)
  local n = #sizes
  if n == 0 then return 1, 1 end
  if n == 1 then return sizes[1], sizes[1] end
  if n == 2 then return sizes[1], sizes[2] end
  local field = 1
  for i = 3, n do field = field * sizes[i] end
  return sizes[2] * field, sizes[1] * field
end

local FAN = {
  fan_in = function(n) return n end, fan_out = function(_, m) return m end, fan_avg = function(n, m) return (n + m) / 2 end,
}

--- Draws of a standard deviation.
local DRAW = {
  normal = function(std, sizes) return random().normal(0.0, std, {size = sizes}) end,
  uniform = function(std, sizes) return random().uniform(-math.sqrt(3) * std, math.sqrt(3) * std, {size = sizes}) end,
  truncated_normal = function(std, sizes)  -- at 2 of its own deviations; the constant is what the cut leaves of one
    return random().truncated_normal(-2.0, 2.0, {size = sizes}) * (std / 0.8796256610342398)
  end,
}

local MODE = {"mode", "fan_in", one_of = {"fan_in", "fan_out", "fan_avg"}}

local function variance_scaling(name, rows, mode, distribution, scale_of)
  return base.initializer(M, name, rows, function(self, sizes)
    local scale = self.scale or scale_of(self)
    local unit = core.unit_of(scale)
    if core.is_tensor(scale) then scale = core.item(core.mantissa(scale)) end
    local std = math.sqrt(scale / math.max(1, FAN[self.mode or mode](fans(sizes))))
    local x = DRAW[self.distribution or distribution](std, sizes)
    return unit and x * unit or x
  end)
end

--- Mean 0, variance scale / max(1, fan) by `mode`: "fan_in", "fan_out", "fan_avg".
--  scale : may carry the unit of the result
variance_scaling("VarianceScaling", {
  {"scale", 1.0, least = 0}, MODE, {"distribution", "normal", one_of = {"normal", "uniform", "truncated_normal"}},
})

--- KaimingNormal, KaimingUniform: variance scale / fan, scale 2, 2/(1 + negative_slope^2), 1 for "relu", "leaky_relu",
--  "linear".
--  scale : in place of that of the nonlinearity
--  Source: He et al. (2015), Delving deep into rectifiers. ICCV.
--- XavierNormal, XavierUniform: variance scale / ((rows + columns) / 2).
--  Source: Glorot & Bengio (2010), Understanding the difficulty of training deep feedforward neural networks. AISTATS.
--- LecunNormal, LecunUniform: variance scale / rows.
--  Source: LeCun et al. (1998), Efficient backprop. Neural Networks: Tricks of the Trade, Springer.
local function kaiming(self)
  if self.nonlinearity == "linear" then return 1.0 end
  return self.nonlinearity == "relu" and 2.0 or 2.0 / (1 + self.negative_slope^2)
end
for _, kind in ipairs{"Normal", "Uniform"} do
  variance_scaling("Kaiming" .. kind, {
    {"scale", none, least = 0}, MODE, {"nonlinearity", "relu", one_of = {"relu", "leaky_relu", "linear"}},
    {"negative_slope", 0.01},
  }, nil, kind:lower(), kaiming)
  variance_scaling("Xavier" .. kind, {{"scale", 1.0, least = 0}}, "fan_avg", kind:lower())
  variance_scaling("Lecun" .. kind, {{"scale", 1.0, least = 0}}, "fan_in", kind:lower())
end

-- ---- matrices -------------------------------------------------------------------------------------------------------

local function need_axes(self, sizes, least)
  if #sizes < least then
    core.fail("ValueError", 4, "%s: a shape of at least %d sizes is needed, not [%s]", class.qualified_name(class.of(self)), least,
              table.concat(sizes, ","))
  end
end

--- scale times a random matrix with orthonormal rows or columns, all axes but the last as one.
local function orthogonal(self, sizes)
  local rows, columns = 1, sizes[#sizes]
  for k = 1, #sizes - 1 do rows = rows * sizes[k] end
  local z = random().normal(0.0, 1.0, {size = {rows, columns}})
  local dtype = z.dtype
  local orthonormal = require "bdl.random.orthonormal"
  z = core.cast(z, "float64")
  z = rows < columns and orthonormal(z.T).T or orthonormal(z)
  return core.cast(z, dtype):reshape(sizes) * self.scale
end

--- Random orthogonal matrices, times scale.
--  Source: Saxe, McClelland & Ganguli (2014), Exact solutions to the nonlinear dynamics of learning in deep linear
--    neural networks. ICLR.
base.initializer(M, "Orthogonal", {{"scale", 1.0}}, function(self, sizes)
  need_axes(self, sizes, 2)
  return orthogonal(self, sizes)
end)

--- Filters [out, in, k..]: an orthogonal matrix in the middle, zeros around; times scale.
--  Source: Xiao et al. (2018), Dynamical isometry and a mean field theory of CNNs. ICML.
--  Example:
--    print(bdl.init.NAME(){4, 4, 3})
base.initializer(M, "DeltaOrthogonal", {{"scale", 1.0}}, function(self, sizes)
  need_axes(self, sizes, 3)
  local one, around = {sizes[1], sizes[2]}, {{0, 0}, {0, 0}}
  for k = 3, #sizes do
    local middle = sizes[k] // 2
    one[k], around[k] = 1, {middle, sizes[k] - 1 - middle}
  end
  return array.pad(orthogonal(self, {sizes[1], sizes[2]}):reshape(one), around)
end)

--- scale times the identity on the last two axes; ones on a single axis.
base.initializer(M, "Identity", {{"scale", 1.0}}, function(self, sizes)
  local n = #sizes
  return base.filled(n < 2 and 1.0 or array.eye(sizes[n - 1], sizes[n]), sizes) * self.scale
end)

return M

--- Functions of the distance between two neurons, 1 at best: probabilities of a connection, factors of a weight.
--  They compose as initialisers do: 2*p, p + q, p | f, p:clip(lo, hi).  profile(distances) gives numbers.
--  Lengths are numbers or quantities, as the distances are; beyond max_distance (none) a profile is 0.
local core = require "bdl.core"
local array = require "bdl.array"
local base = require "bdl.init.base"
local class = require "bdl.class"
local none = require "bdl.none".none
local parameters = require "bdl.parameters"
local units = require "bdl.units"

local exp, maximum, where = array.exp, array.maximum, array.where

local M = {}

--- A function of the distance, to be extended by make(distances).
--  Example:
--    local Half = bdl.init.DistanceProfile:extend "Half"
--    function Half:make(d) return 0 * d + 0.5 end
--    print(Half()(bdl.tensor{1., 2.}))
local Profile = class "DistanceProfile"
M.DistanceProfile = Profile
base.composable(Profile)

function Profile:__call(distances) return self:make(core.is_tensor(distances) and distances or core.tensor(distances)) end
Profile.probability = Profile.__call
Profile.weight_scaling = Profile.__call

local MAX = {"max_distance", none, above = 0}

--- A class Name(arguments.., max_distance) with the function f(self, d); open: it has no max_distance, or means it otherwise.
local function profile(name, rows, f, open)
  local Class = Profile:extend(name)
  M[name] = Class
  if not open then rows[#rows + 1] = MAX end
  Class.rows = rows
  function Class:__init(...) parameters.set(self, rows, ...) end
  function Class:make(d)
    local p = f(self, d)
    if open or self.max_distance == nil then return p end
    return where(d:gt(self.max_distance), 0.0, p)
  end
end

local function length(name, default) return {name, default, above = 0} end

--- exp(-((d - c)/s)^2 / 2), a number
local function bell(d, s, c)
  local z = (c and d - c or d) / s
  return exp(-0.5 * z * z)
end

--- exp(-(d/sigma)^2 / 2)
--  Example:
--    local d = bdl.tensor{0., 50., 200.} * bdl.units.um
--    print(bdl.init.NAME(100*bdl.units.um)(d))
profile("GaussianProfile", {length "sigma"}, function(self, d) return bell(d, self.sigma) end)

--- exp(-d/decay_constant)
--  Example:
--    local d = bdl.tensor{0., 50., 200.} * bdl.units.um
--    print(bdl.init.NAME(100*bdl.units.um)(d))
profile("ExponentialProfile", {length "decay_constant"}, function(self, d) return exp(-d / self.decay_constant) end)

--- (max(d, d0)/d0)^-exponent, d0 = min_distance, by default 1, of lengths 1 um
--  Example:
--    local d = bdl.tensor{0., 50., 200.} * bdl.units.um
--    print(bdl.init.NAME(2.0)(d))
profile("PowerLawProfile", {{"exponent"}, length("min_distance", none)}, function(self, d)
  local nearest = self.min_distance or (core.unit_of(d) and 1.0 * units.um or 1.0)
  return (maximum(d, nearest) / nearest) ^ -self.exponent
end)

--- max(1 - d/max_distance, 0)
--  Example:
--    local d = bdl.tensor{0., 50., 200.} * bdl.units.um
--    print(bdl.init.NAME(100*bdl.units.um)(d))
profile("LinearProfile", {length "max_distance"}, function(self, d) return maximum(1 - d / self.max_distance, 0.0) end, true)

--- inside_prob where d <= threshold, else outside_prob
--  Example:
--    local d = bdl.tensor{0., 50., 200.} * bdl.units.um
--    print(bdl.init.NAME(100*bdl.units.um)(d))
profile("StepProfile", {length "threshold", {"inside_prob", 1.0}, {"outside_prob", 0.0}}, function(self, d)
  return where(d:le(self.threshold), self.inside_prob, self.outside_prob)
end, true)

--- 1 / (1 + exp(slope (d - midpoint))); a slope without unit is for the unit of the midpoint.
local function falling(d, slope, midpoint)
  local x, unit = d - midpoint, core.unit_of(midpoint)
  if unit and not core.unit_of(slope) then x = core.mantissa(core.convert(x, unit)) end
  return array.sigmoid(-slope * x)
end

--- 1 / (1 + exp(slope (d - midpoint)))
--  Example:
--    local d = bdl.tensor{0., 50., 200.} * bdl.units.um
--    print(bdl.init.NAME(100*bdl.units.um)(d))
profile("SigmoidProfile", {length "midpoint", {"slope", 0.05}}, function(self, d)
  return falling(d, self.slope, self.midpoint)
end)

--- 1 / (1 + exp(growth_rate (d - midpoint)))
--  Example:
--    local d = bdl.tensor{0., 50., 200.} * bdl.units.um
--    print(bdl.init.NAME(0.05, 100*bdl.units.um)(d))
profile("LogisticProfile", {{"growth_rate"}, length "midpoint"}, function(self, d)
  return falling(d, self.growth_rate, self.midpoint)
end)

--- A difference of Gaussians, at least 0:
--  amplitude_center bell(d/sigma_center) - amplitude_surround bell(d/sigma_surround), bell(z) = exp(-z^2/2)
--  Example:
--    local d = bdl.tensor{0., 50., 200.} * bdl.units.um
--    print(bdl.init.NAME(50*bdl.units.um, 100*bdl.units.um)(d))
profile("DoGProfile", {
  length "sigma_center", length "sigma_surround", {"amplitude_center", 1.0}, {"amplitude_surround", 0.5},
}, function(self, d)
  return maximum(self.amplitude_center * bell(d, self.sigma_center) - self.amplitude_surround * bell(d, self.sigma_surround), 0.0)
end)

--- amplitude1 bell((d - center1)/sigma1) + amplitude2 bell((d - center2)/sigma2), bell(z) = exp(-z^2/2)
--  Example:
--    print(bdl.init.NAME(50., 100., 0., 200.)(bdl.tensor{0., 50., 200.}))
profile("BimodalProfile", {
  length "sigma1", length "sigma2", {"center1", 0.0}, {"center2", 0.0}, {"amplitude1", 1.0}, {"amplitude2", 1.0},
}, function(self, d)
  return self.amplitude1 * bell(d, self.sigma1, self.center1) + self.amplitude2 * bell(d, self.sigma2, self.center2)
end)

--- amplitude max(1 - z^2, 0) exp(-z^2/2), z = d/sigma
--  Example:
--    local d = bdl.tensor{0., 50., 200.} * bdl.units.um
--    print(bdl.init.NAME(100*bdl.units.um)(d))
profile("MexicanHatProfile", {length "sigma", {"amplitude", 1.0}}, function(self, d)
  local z = d / self.sigma
  return maximum(self.amplitude * (1 - z * z) * exp(-0.5 * z * z), 0.0)
end)

-- ---- weights --------------------------------------------------------------------------------------------------------

--- Distances [n, m] between points [n, k] and [m, k]; [n] are points on a line.
local function between(pre, post)
  local function points(x) return x.ndim == 1 and x:reshape(-1, 1) or x end
  pre, post = points(pre), points(post)
  local gap = pre:reshape(pre.shape[1], 1, -1) - post:reshape(1, post.shape[1], -1)
  return array.sqrt((gap * gap):sum{axis = 3})
end

--- DistanceModulated: base_dist times distance_profile of distances, an array that broadcasts against the shape, or of
--  positions [n, k], [m, k].
--  Example:
--    local near = bdl.init.DistanceModulated(bdl.init.Constant(1), bdl.init.GaussianProfile(1.0), bdl.tensor{{0., 1.}, {1., 0.}})
--    print(near{2, 2})
local Modulated = base.initializer(M, "DistanceModulated", {
  {"base_dist", free = true}, {"distance_profile", free = true}, {"distances", none, free = true},
  {"pre_positions", none, free = true}, {"post_positions", none, free = true},
}, function(self, sizes)
  local d = self.distances
  if d == nil then d = between(self.pre_positions, self.post_positions) end
  return self.base_dist:make(sizes) * self.distance_profile(d)
end)
function Modulated:check()
  if not class.isa(self.base_dist, base.Initializer) or not class.isa(self.distance_profile, Profile) then
    core.fail("TypeError", 3, "init.DistanceModulated: an initialiser and a profile are needed, not a %s and a %s",
              class.typename(self.base_dist), class.typename(self.distance_profile))
  end
  if self.distances == nil and (self.pre_positions == nil or self.post_positions == nil) then
    core.fail("ValueError", 3, "init.DistanceModulated: give distances, or pre_positions and post_positions")
  end
end

return M

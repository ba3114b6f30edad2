--- Reservoir of an echo state network: leaky units with fixed random weights; a linear readout of their states is what
--  is trained.
local core = require "bdl.core"
local args = require "bdl.args"
local array = require "bdl.array"
local class = require "bdl.class"
local event = require "bdl.event"
local functional = require "bdl.functional"
local init = require "bdl.init"
local state = require "bdl.state"
local none = require "bdl.none".none
local module = require "bdl.nn.module"

local M = {}

--- The largest |eigenvalue| of a square matrix, concrete: |A^k|^(1/k) for k = 2^26 by squaring.   Source: Gelfand
--  (1941).
local function spectral_radius(a)
  a = core.cast(core.mantissa(a), "float64")
  local log_radius, power = 0.0, 1.0
  for _ = 0, 26 do
    local size = core.item(array.sqrt((a * a):sum()))
    if size == 0 then return 0.0 end
    log_radius = log_radius + math.log(size) * power
    a, power = array.matmul(a / size, a / size), power / 2
  end
  return math.exp(log_radius)
end

M.spectral_radius = spectral_radius

--- h = f(x W_in + r W_rec + b), r' = (1 - leaky_rate) r + leaky_rate h;  activation_type "external": f of r' instead of
--  in h.
--  leaky_rate : the part of r that is new in a step, 0 to 1
--  activation : f, a function or the name of one in bdl.functional
--  activation_type : "internal" or "external"
--  W_in_initializer, W_rec_initializer, b_initializer : of the weights; b_initializer may be bdl.none
--  in_connectivity, rec_connectivity : the part of weights that are not 0
--  comp_type : "dense" or "sparse", how weights are kept
--  spectral_radius : what W_rec is scaled to; as drawn where absent
--  noise_in, noise_rec : amplitudes of noise on x and h
--  noise_type : "normal", of deviation 1, or "uniform", -1 to 1
--  trainable : whether weights are ParamStates, else LongTermStates
--  States: W_in, W_rec, b, the weights; r, [num_out], 0 at first.
--  Source: Jaeger (2001), The echo state approach. GMD Report 148; Lukosevicius (2012), A practical guide to applying
--    echo
--    state networks.
--  Example:
--    local m = bdl.nn.init_all_states(bdl.nn.Reservoir(3, 50, {spectral_radius = 0.9}))
--    print(m(bdl.ones(3)).shape)
local Reservoir = module.Module:extend "Reservoir"
M.Reservoir = Reservoir

local function check_part(name, x, most)
  if type(x) ~= "number" or not (x >= 0 and x <= most) then
    core.fail("ValueError", 4, "nn.Reservoir: %s is a number from 0 to %g, not %s", name, most, tostring(x))
  end
end

local function check_choice(name, x, a, b)
  if x ~= a and x ~= b then
    core.fail("ValueError", 4, "nn.Reservoir: %s is '%s' or '%s', not '%s'", name, a, b, tostring(x))
  end
end

--- An initialiser's matrix of which that part is kept.
local function thinned(initializer, sizes, part)
  local w = init.param(initializer, sizes, nil, {allow_none = false})
  if part >= 1 then return w end
  local kept = require "bdl.random".rand(table.unpack(sizes)):le(part)
  return core.bind("select", {}, kept, w, 0.0 * w)
end

function Reservoir:__init(...)
  local a = args({"in_size", "num_out", leaky_rate = 0.3, activation = "tanh", activation_type = "internal",
                  W_in_initializer = init.Normal(0.0, 0.1), W_rec_initializer = init.Normal(0.0, 0.1),
                    b_initializer = init.ZeroInit(),
                  in_connectivity = 0.1, rec_connectivity = 0.1, comp_type = "dense", spectral_radius = none,
                    noise_in = 0.0, noise_rec = 0.0,
                  noise_type = "normal", trainable = false, name = none}, ...)
  Reservoir.super.__init(self, a.name)
  self.in_size = a.in_size
  self.out_size = a.num_out
  for _, name in ipairs{"leaky_rate", "in_connectivity", "rec_connectivity"} do check_part(name, a[name], 1) end
  for _, name in ipairs{"noise_in", "noise_rec"} do check_part(name, a[name], math.huge) end
  check_choice("activation_type", a.activation_type, "internal", "external")
  check_choice("comp_type", a.comp_type, "dense", "sparse")
  check_choice("noise_type", a.noise_type, "normal", "uniform")
  if a.spectral_radius ~= nil then check_part("spectral_radius", a.spectral_radius, math.huge) end
  local f = a.activation
  if type(f) == "string" then f = rawget(functional, f) or core.methods[f] end
  if f == nil or type(f) ~= "function" and not class.of(f) then
    core.fail("ValueError", 2, "nn.Reservoir: activation is a function or the name of one, not '%s'",
              tostring(a.activation))
  end
  for _, name in ipairs{"leaky_rate", "activation_type", "comp_type", "noise_in", "noise_rec", "noise_type"} do
    self[name] = a[name]
  end
  class.rawfield(self, "_activation", f)
  local n = self.out_size[-1]
  local w_in = thinned(a.W_in_initializer, {self.in_size[-1], n}, a.in_connectivity)
  local w_rec = thinned(a.W_rec_initializer, {n, n}, a.rec_connectivity)
  if a.spectral_radius ~= nil then
    local radius = spectral_radius(w_rec)
    if radius == 0 and a.spectral_radius > 0 then
      core.hint "raise rec_connectivity or the number of units"
      core.fail("ValueError", 2, "nn.Reservoir: W_rec has no eigenvalue but 0, it cannot be scaled to a radius of %g",
                a.spectral_radius)
    end
    if radius > 0 then w_rec = w_rec * (a.spectral_radius / radius) end
  end
  local Kept = a.trainable and state.ParamState or state.LongTermState
  class.rawfield(self, "_matrix", {})
  for i, name in ipairs{"W_in", "W_rec"} do
    local w = i == 1 and w_in or w_rec
    if a.comp_type == "sparse" then
      self._matrix[name] = event.CSR.fromdense(w)
      w = self._matrix[name].data
    end
    self[name] = Kept(w)
  end
  if not rawequal(a.b_initializer, none) then
    self.b = Kept(init.param(a.b_initializer, {n}, nil, {allow_none = false}))
  end
end

function Reservoir:init_state(batch_size) self.r = state.HiddenState(init.Constant(0.0)(self.out_size, batch_size)) end

local function product(self, x, name)
  local stored = self._matrix[name]
  if stored then return stored:with_data(self[name].value):rmatmul(x) end
  return array.matmul(x, self[name].value)
end

local function noisy(self, x, amplitude)
  if amplitude == 0 then return x end
  local random, opts = require "bdl.random", {size = {table.unpack(x.shape)}, dtype = x.dtype}
  return x + amplitude * (self.noise_type == "uniform" and random.uniform(-1.0, 1.0, opts) or random.normal(opts))
end

--- x : [.., in_size]  ->  r [.., num_out]
function Reservoir:update(x)
  x = core.is_tensor(x) and x or core.tensor(x)
  if x.ndim == 0 or x.shape[-1] ~= self.in_size[-1] then
    core.fail("ShapeError", 2, "nn.Reservoir: inputs of %d numbers were expected, not [%s]", self.in_size[-1],
              table.concat({table.unpack(x.shape)}, ","))
  end
  local r = self.r.value
  local h = product(self, noisy(self, core.cast(x, r.dtype), self.noise_in), "W_in") + product(self, r, "W_rec")
  if self.b then h = h + self.b.value end
  if self.activation_type == "internal" then h = self._activation(h) end
  r = (1 - self.leaky_rate) * r + self.leaky_rate * noisy(self, h, self.noise_rec)
  if self.activation_type == "external" then r = self._activation(r) end
  self.r.value = r
  return r
end

return M

--- Layers whose weights meet the last axis of their input.
--  Source: Rosenblatt (1958), The perceptron. Psychol Rev 65; He et al. (2015), Delving deep into rectifiers. ICCV, for
--    the default initialiser.
--  Example:
--    local layer = bdl.nn.NAME(3, 2)
--    print(layer(bdl.ones(4, 3)))
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local event = require "bdl.event"
local functional = require "bdl.functional"
local init = require "bdl.init"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none
local Module = require "bdl.nn.module".Module
local Layer = layer.Layer

local M = {}

--- Sets in_size and out_size; returns the sizes of the weight.  Errors: ValueError, leading sizes differ.
local function set_sizes(self, from, to)
  self.in_size = from
  self.out_size = to
  from, to = self.in_size, self.out_size
  local same = #from == #to and #from > 0
  for k = 1, #from - 1 do same = same and from[k] == to[k] end
  if not same then
    core.fail("ValueError", 3, "%s: leading sizes differ: in %s, out %s", class.qualified_name(class.of(self)),
              tostring(from), tostring(to))
  end
  return {from[-1], to[-1]}
end

--- x f(W) + b
local function product(self, x, p, f)
  return self.ops.matmul(layer.input(self, x, {self.in_size[-1]}, p.weight), p, {weight_fn = f})
end

--- y = x W + b  over the last axis.
--  w_init, b_init : of the weight; of the bias (bdl.none: none)
--  w_mask : multiplies the weight
--  States: weight, {weight, bias}.
--  Errors: ValueError, leading sizes differ.
local Linear = Layer:extend "Linear"
M.Linear = Linear

local function make(self, a)
  Layer.__init(self, a.name)
  local shape = set_sizes(self, a.in_size, a.out_size)
  self.w_mask = init.param(a.w_mask, shape)
  local weight = layer.full(a.w_init, shape)
  self:keep{weight = weight, bias = layer.bias(a.b_init, {shape[2]}, weight), gain = a.ws_gain and init.OneInit(){1, shape[2]} or nil}
end

function Linear:__init(...)
  make(self, args({"in_size", "out_size", w_init = init.KaimingNormal(), b_init = layer.ZEROS, w_mask = none, name = none}, ...))
end

--- w times w_mask, where there is one.
local function masked(self, w) return self.w_mask and w * self.w_mask or w end

--- x : [.., in] -> [.., out]
function Linear:update(x) return product(self, x, self:params(), function(w) return masked(self, w) end) end

--- A Linear whose weight is standardised:  y = x W' + b,  W' = gain (W - mean)/sqrt(var in), mean and variance of each
--  output's.
--  w_init, b_init : of the weight; of the bias (bdl.none: none)
--  w_mask : multiplies the weight
--  ws_gain : whether there is a gain, which is learnt
--  eps : least value of var in
--  States: weight, {weight, bias, gain}.
--  Source: Qiao et al. (2019), Micro-batch training with batch-channel normalization and weight standardization.
--    arXiv:1903.10520.
local ScaledWSLinear = Linear:extend "ScaledWSLinear"
M.ScaledWSLinear = ScaledWSLinear

function ScaledWSLinear:__init(...)
  local a = args({"in_size", "out_size", w_init = init.KaimingNormal(), b_init = layer.ZEROS, w_mask = none, ws_gain = true,
                  eps = 1e-4, name = none}, ...)
  make(self, a)
  self.eps = a.eps
end

function ScaledWSLinear:update(x)
  return product(self, x, self:params(), function(w)
    return masked(self, functional.weight_standardization(w, {eps = self.eps}))
  end)
end

--- y = x (|W| w_sign): weights that keep their sign.
--  w_init : of W
--  w_sign : signs; all positive where none are given
--  States: weight, W.
--  Source: Dale's principle; Song, Yang & Wang (2016), Training excitatory-inhibitory recurrent neural networks. PLoS
--    Comput Biol 12.
local SignedWLinear = Layer:extend "SignedWLinear"
M.SignedWLinear = SignedWLinear

function SignedWLinear:__init(...)
  local a = args({"in_size", "out_size", w_init = init.KaimingNormal(), w_sign = none, name = none}, ...)
  SignedWLinear.super.__init(self, a.name)
  local shape = set_sizes(self, a.in_size, a.out_size)
  self.w_sign = init.param(a.w_sign, shape)
  self:keep(layer.full(a.w_init, shape))
end

function SignedWLinear:update(x)
  return product(self, x, {weight = self:params()}, function(w)
    w = core.bind("abs", {}, w)
    return self.w_sign and w * self.w_sign or w
  end)
end

--- Groups of neurons that do not mix:  y_g = x_g W_g + b_g.  x : [.., num_groups, in_features] -> [.., num_groups,
--  out_features]
--  w_init, b_init : of the weight; of the bias (bdl.none: none)
--  States: weight, {weight, bias}.
--  Example:
--    local layer = bdl.nn.NAME(2, 3, 4)
--    print(layer(bdl.ones(5, 2, 3)).shape)
local GroupedLinear = Layer:extend "GroupedLinear"
M.GroupedLinear = GroupedLinear

function GroupedLinear:__init(...)
  local a = args({"num_groups", "in_features", "out_features", w_init = init.KaimingNormal(), b_init = layer.ZEROS, name = none}, ...)
  GroupedLinear.super.__init(self, a.name)
  self.in_size = {a.num_groups, a.in_features}
  self.out_size = {a.num_groups, a.out_features}
  local weight = layer.full(a.w_init, {a.num_groups, a.in_features, a.out_features})
  self:keep{weight = weight, bias = layer.bias(a.b_init, {a.num_groups, a.out_features}, weight)}
end

function GroupedLinear:update(x)
  local p = self:params()
  return self.ops.grouped_matmul(layer.input(self, x, self.in_size, p.weight), p, {})
end

--- y = x A + b with the stored entries of a connection as weights; boolean x counts as events.
--  spar_mat : a connection, event.CSR ..
--  States: weight, {weight = entries, bias}.
--  Source: Brette et al. (2007), Simulation of networks of spiking neurons. J Comput Neurosci 23.
--  Example:
--    local layer = bdl.nn.NAME(bdl.conn.fixed_prob(3, 2, 0.5))
--    print(layer(bdl.ones(4, 3)))
local SparseLinear = Layer:extend "SparseLinear"
M.SparseLinear = SparseLinear

--- Errors: TypeError, not a connection; ValueError, in_size differs from its rows.
function SparseLinear:__init(...)
  local a = args({"spar_mat", b_init = none, in_size = none, name = none}, ...)
  SparseLinear.super.__init(self, a.name)
  if not class.isa(a.spar_mat, event.Connection) then
    core.fail("TypeError", 2, "nn.SparseLinear: spar_mat is a connection, event.CSR(..), not a %s", class.typename(a.spar_mat))
  end
  local shape = a.spar_mat.shape
  self.in_size = a.in_size or shape[1]
  self.out_size = {table.unpack(self.in_size, 1, #self.in_size - 1)}
  self.out_size[#self.out_size + 1] = shape[2]
  if self.in_size[-1] ~= shape[1] then
    core.fail("ValueError", 2, "nn.SparseLinear: in_size %s for a connection of %d rows", tostring(self.in_size), shape[1])
  end
  self.spar_mat = a.spar_mat
  local data = a.spar_mat.data
  self:keep{weight = data, bias = layer.bias(a.b_init, {shape[2]}, data)}
end

function SparseLinear:update(x)
  local p = self:params()
  if not core.is_tensor(x) or x.dtype ~= "bool" then x = layer.input(self, x, {self.in_size[-1]}, p.weight) end
  return self.ops.sparse_matmul(x, p, {sparse_mat = self.spar_mat})
end

--- Every neuron to every other:  y_j = sum_i x_i W_ij + b_j,  without i = j unless include_self.
--  w_init : of the weight; a number: one weight for all pairs
--  States: weight, {weight, bias}.
local AllToAll = Layer:extend "AllToAll"
M.AllToAll = AllToAll

function AllToAll:__init(...)
  local a = args({"in_size", "out_size", w_init = init.KaimingNormal(), b_init = none, include_self = true, name = none}, ...)
  AllToAll.super.__init(self, a.name)
  local shape = set_sizes(self, a.in_size, a.out_size)
  self.include_self = a.include_self
  local weight = init.param(a.w_init, shape, nil, {allow_none = false})
  if not core.is_tensor(weight) then weight = core.tensor(weight) end
  self:keep{weight = weight, bias = layer.bias(a.b_init, {shape[2]}, weight)}
end

--- 1 for pairs that are connected, 0 on the diagonal.
local function others(n, m, dtype)
  local function along(axis) return core.bind("iota", {shape = {n, m}, axis = axis, dtype = "int32"}) end
  return core.cast(core.bind("ne", {}, along(0), along(1)), dtype)
end

function AllToAll:update(x)
  local n, m = self.in_size[-1], self.out_size[-1]
  return product(self, x, self:params(), function(w)
    if w.ndim == 0 then w = w * core.bind("broadcast", {shape = {n, m}, dims = {}}, core.tensor(1.0, core.mantissa(w).dtype)) end
    return self.include_self and w or w * others(n, m, core.mantissa(w).dtype)
  end)
end

--- Each neuron to its like:  y_i = w_i x_i + b_i.
--  States: weight, {weight, bias}.
--  Example:
--    local layer = bdl.nn.NAME(3)
--    print(layer(bdl.ones(4, 3)))
local OneToOne = Layer:extend "OneToOne"
M.OneToOne = OneToOne

function OneToOne:__init(...)
  local a = args({"in_size", w_init = init.Normal(), b_init = none, name = none}, ...)
  OneToOne.super.__init(self, a.name)
  self.in_size = a.in_size
  self.out_size = self.in_size
  local weight = init.param(a.w_init, self.in_size, nil, {allow_none = false})
  if not core.is_tensor(weight) then weight = core.tensor(weight) end
  self:keep{weight = weight, bias = layer.bias(a.b_init, self.in_size, weight)}
end

function OneToOne:update(x)
  local p = self:params()
  local y = layer.input(self, x, self.in_size, p.weight) * p.weight
  return p.bias and y + p.bias or y
end

--- y = x A B, a change of low rank, on top of base_module(x) where there is one.
--  in_features, lora_rank, out_features : sizes: of x; between A and B; of y
--  base_module : a module or a function
--  kernel_init : of A and B
--  in_size : where there are sizes before in_features
--  States: weight, {lora_a = A, lora_b = B}.
--  Source: Hu et al. (2021), LoRA: low-rank adaptation of large language models. arXiv:2106.09685.
--  Example:
--    local base = bdl.nn.Linear(3, 2)
--    local layer = bdl.nn.NAME{3, 1, 2, base_module = base}
--    print(layer(bdl.ones(4, 3)))
local LoRA = Layer:extend "LoRA"
M.LoRA = LoRA

--- Errors: TypeError, base_module cannot be called.
function LoRA:__init(...)
  local a = args({"in_features", "lora_rank", "out_features", base_module = none, kernel_init = init.LecunNormal(),
                  in_size = none, name = none}, ...)
  LoRA.super.__init(self, a.name)
  self.in_size = a.in_size or a.in_features
  self.out_size = {table.unpack(self.in_size, 1, #self.in_size - 1)}
  self.out_size[#self.out_size + 1] = a.out_features
  local called = a.base_module
  if called and not class.isa(called, Module) and type(called) ~= "function" then
    core.fail("TypeError", 2, "nn.LoRA: base_module is a module or a function, not a %s", class.typename(called))
  end
  self.base_module = called
  self:keep{lora_a = layer.full(a.kernel_init, {a.in_features, a.lora_rank}),
            lora_b = layer.full(a.kernel_init, {a.lora_rank, a.out_features})}
end

function LoRA:update(x)
  local p = self:params()
  x = layer.input(self, x, {self.in_size[-1]}, p.lora_a)
  local y = self.ops.lora_matmul(x, {lora_b = p.lora_a, lora_a = p.lora_b}, {alpha = self.alpha})
  return self.base_module and y + self.base_module(x) or y
end

return M

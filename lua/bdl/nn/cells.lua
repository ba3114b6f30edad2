--- Recurrent cells.  x : [batch.., in]  ->  [batch.., out], the new state h;  init_state(batch_size) makes the States.
--  [x, h] is x before h on the last axis, s the logistic function, * elementwise.
--  Example:
--    local cell = bdl.nn.NAME(3, 4)
--    cell:init_state(2)
--    print(cell(bdl.ones(2, 3)))
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local base = require "bdl.array.base"
local functional = require "bdl.functional"
local init = require "bdl.init"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none
local state = require "bdl.state"
local module = require "bdl.nn.module"

local M = {}

local sigmoid = functional.sigmoid

--- What cells share: sizes, the activation, States that begin with state_init; to be extended.
--  Example:
--    local Sum = bdl.nn.RNNCell:extend "Sum"
--    function Sum:update(x) self.h.value = self.h.value + x return self.h.value end
local RNNCell = module.Module:extend "RNNCell"
M.RNNCell = RNNCell

RNNCell.state_names = {"h"}

--- What a cell is made of.
RNNCell.Linear = require "bdl.nn.linear".Linear
RNNCell.ops = RNNCell.Linear.ops

--- The function of a name, or a function.
local function activation_of(who, f)
  if type(f) == "function" or class.isa(f, module.Module) then return f end
  local known = type(f) == "string" and functional[f]
  if known then return known end
  local names = {}
  for name in pairs(functional) do names[#names + 1] = name end
  core.fail("ValueError", 4, "%s: no activation '%s'%s", who, tostring(f), require "bdl.suggest".hint(tostring(f), names))
end

--- num_in, num_out, w_init, b_init (zeros; bdl.none: no bias), state_init (zeros), activation (a name or a function), name.
--  defaults: of the class, w_init and activation.
function RNNCell:setup(defaults, ...)
  local spec = {"num_in", "num_out", b_init = layer.ZEROS, state_init = init.ZeroInit(), name = none}
  for key, value in pairs(defaults) do spec[key] = value end
  spec[0] = class.qualified_name(class.of(self))
  local a = args(spec, ...)
  RNNCell.super.__init(self, a.name)
  self.in_size = a.num_in
  self.out_size = a.num_out
  self.num_in = self.in_size[-1]
  self.num_out = self.out_size[-1]
  if not self.num_in or not self.num_out then
    core.fail("ValueError", 3, "%s: num_in and num_out are counts, or lists with at least one", spec[0])
  end
  self.state_init = a.state_init
  if a.activation then self.activation = activation_of(spec[0], a.activation) end
  return a
end

function RNNCell:init_state(batch_size)
  for _, name in ipairs(self.state_names) do
    self[name] = state.HiddenState(init.param(self.state_init, self.out_size, batch_size))
  end
end

--- A Linear of the cell, from x, h or both, to n states.
function RNNCell:weights(a, from, to) return self.Linear{from, to, w_init = a.w_init, b_init = a.b_init or none} end

--- A parameter that meets the states one by one.
function RNNCell:each(p) return self.ops.element_wise({weight = p.value}, {}) end

--- Checked x.
local function input(self, x) return layer.input(self, x, {self.num_in}) end

--- [x, h]; one of them may have a batch that the other has not.
local function join(x, h)
  local lead = base.broadcast_shapes("[x, h]", {table.unpack(x.shape, 1, x.ndim - 1)}, {table.unpack(h.shape, 1, h.ndim - 1)}, x, h)
  local function wide(z)
    local sizes = table.move(lead, 1, #lead, 1, {})
    sizes[#sizes + 1] = z.shape[-1]
    return base.broadcast_to("[x, h]", z, sizes)
  end
  return base.concatenate({wide(x), wide(h)}, #lead)
end

--- n equal parts of the last axis.
local function split(z, n)
  local parts, size = {}, z.shape[-1] // n
  for i = 1, n do parts[i] = base.slice_axis(z, z.ndim - 1, (i - 1) * size, i * size) end
  return table.unpack(parts)
end

local ORTHOGONAL, XAVIER = init.Orthogonal(), init.XavierNormal()

--- Sets the State h to the result.
local function done(self, h)
  self.h.value = h
  return h
end

--- Simple recurrent network:  h' = act([x, h] W + b).
--  w_init, b_init, state_init : of weights; biases (bdl.none: none); States
--  activation : act, a name of bdl.functional or a function
--  States: h; W holds {weight, bias}.
--  Source: Elman (1990), Finding structure in time. Cogn Sci 14.
local ValinaRNNCell = RNNCell:extend "ValinaRNNCell"
M.ValinaRNNCell = ValinaRNNCell

function ValinaRNNCell:__init(...)
  local a = self:setup({w_init = XAVIER, activation = "relu"}, ...)
  self.W = self:weights(a, self.num_in + self.num_out, self.num_out)
end

function ValinaRNNCell:update(x) return done(self, self.activation(self.W(join(input(self, x), self.h.value)))) end

M.VanillaRNNCell = ValinaRNNCell

--- Gated recurrent unit:  [r, z] = s([x, h] Wrz),  h' = (1 - z) h + z act([x, r h] Wh).
--  w_init, b_init, state_init : of weights; biases (bdl.none: none); States
--  activation : act, a name of bdl.functional or a function
--  States: h; Wrz and Wh hold {weight, bias}.
--  Source: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical machine
--    translation. EMNLP.
local GRUCell = RNNCell:extend "GRUCell"
M.GRUCell = GRUCell

function GRUCell:__init(...)
  local a = self:setup({w_init = ORTHOGONAL, activation = "tanh"}, ...)
  self:make_gates(a, self.num_in + self.num_out, self.num_out)
  self.Wh = self:weights(a, self.num_in + self.num_out, self.num_out)
end

function GRUCell:make_gates(a, n, out) self.Wrz = self:weights(a, n, 2 * out) end

--- r and z before the logistic function.
function GRUCell:gates(xh) return split(self.Wrz(xh), 2) end

function GRUCell:update(x)
  x = input(self, x)
  local h = self.h.value
  local r, z = self:gates(join(x, h))
  r, z = sigmoid(r), sigmoid(z)
  return done(self, (1 - z) * h + z * self.activation(self.Wh(join(x, r * h))))
end

--- Minimal gated unit:  f = s([x, h] Wf),  h' = (1 - f) h + f act([x, f h] Wh).
--  w_init, b_init, state_init : of weights; biases (bdl.none: none); States
--  activation : act, a name of bdl.functional or a function
--  States: h; Wf and Wh hold {weight, bias}.
--  Source: Zhou et al. (2016), Minimal gated unit for recurrent neural networks. Int J Autom Comput 13.
local MGUCell = RNNCell:extend "MGUCell"
M.MGUCell = MGUCell

function MGUCell:__init(...)
  local a = self:setup({w_init = ORTHOGONAL, activation = "tanh"}, ...)
  local n = self.num_in + self.num_out
  self.Wf = self:weights(a, n, self.num_out)
  self.Wh = self:weights(a, n, self.num_out)
end

function MGUCell:update(x)
  x = input(self, x)
  local h = self.h.value
  local f = sigmoid(self.Wf(join(x, h)))
  return done(self, (1 - f) * h + f * self.activation(self.Wh(join(x, f * h))))
end

--- Long short-term memory:  [i, g, f, o] = [x, h] W + b,  c' = s(f + 1) c + s(i) act(g),  h' = s(o) act(c').
--  w_init, b_init, state_init : of weights; biases (bdl.none: none); States
--  activation : act, a name of bdl.functional or a function
--  States: c, the memory; h; W holds {weight, bias}.
--  Source: Hochreiter & Schmidhuber (1997), Long short-term memory. Neural Comput 9; the 1 of Jozefowicz, Zaremba &
--    Sutskever (2015), An empirical exploration of recurrent network architectures. ICML.
local LSTMCell = RNNCell:extend "LSTMCell"
M.LSTMCell = LSTMCell
LSTMCell.state_names = {"c", "h"}

function LSTMCell:__init(...)
  local a = self:setup({w_init = XAVIER, activation = "tanh"}, ...)
  self:make_gates(a, self.num_in + self.num_out, self.num_out)
end

function LSTMCell:make_gates(a, n, out) self.W = self:weights(a, n, 4 * out) end

--- i, g, f, o before their functions.
function LSTMCell:gates(xh) return split(self.W(xh), 4) end

function LSTMCell:update(x)
  local i, g, f, o = self:gates(join(input(self, x), self.h.value))
  local c = sigmoid(f + 1) * self.c.value + sigmoid(i) * self.activation(g)
  self.c.value = c
  return done(self, sigmoid(o) * self.activation(c))
end

--- An LSTM whose gates reach the whole range of time constants: [f, r, u, o] = [x, h] W,  F = s(f + b),  R = s(r - b),
--  G = 2 R F + (1 - 2 R) F^2,  c' = G c + (1 - G) act(u),  h' = s(o) act(c').
--  w_init, state_init : of weights; States
--  activation : act, a name of bdl.functional or a function
--  States: c, the memory; h; W holds {weight}; bias, b, at first logit(U(1/n, 1 - 1/n)).
--  Source: Gu et al. (2020), Improving the gating mechanism of recurrent neural networks. ICML.
local URLSTMCell = RNNCell:extend "URLSTMCell"
M.URLSTMCell = URLSTMCell
URLSTMCell.state_names = {"c", "h"}

function URLSTMCell:__init(...)
  local a = self:setup({w_init = XAVIER, activation = "tanh", b_init = none}, ...)
  local n = self.num_out
  a.b_init = nil
  self:make_gates(a, self.num_in + n, n)
  local p = require "bdl.random".uniform(1 / n, 1 - 1 / n, {size = {n}})
  self.bias = self.ops.ParamState(-core.bind("log", {}, 1 / p - 1))
end

URLSTMCell.make_gates = LSTMCell.make_gates

--- f, r, u, o before their functions.
URLSTMCell.gates = LSTMCell.gates

function URLSTMCell:update(x)
  local f, r, u, o = self:gates(join(input(self, x), self.h.value))
  local F, R = sigmoid(f + self:each(self.bias)), sigmoid(r - self:each(self.bias))
  local G = 2 * R * F + (1 - 2 * R) * F * F
  local c = G * self.c.value + (1 - G) * self.activation(u)
  self.c.value = c
  return done(self, sigmoid(o) * self.activation(c))
end

--- Chaos-free network:  f = s([x, h] Wf),  i = s([x, h] Wi),  h' = f act(h) + i act(x Wh).
--  w_init, b_init, state_init : of weights; biases (bdl.none: none); States
--  activation : act, a name of bdl.functional or a function
--  States: h; Wf, Wi and Wh hold {weight, bias}.
--  Source: Laurent & von Brecht (2016), A recurrent neural network without chaos. arXiv:1612.06212.
local CFNCell = RNNCell:extend "CFNCell"
M.CFNCell = CFNCell

function CFNCell:__init(...)
  local a = self:setup({w_init = ORTHOGONAL, activation = "tanh"}, ...)
  local n = self.num_in + self.num_out
  self.Wf = self:weights(a, n, self.num_out)
  self.Wi = self:weights(a, n, self.num_out)
  self.Wh = self:weights(a, self.num_in, self.num_out)
end

function CFNCell:update(x)
  x = input(self, x)
  local h = self.h.value
  local xh = join(x, h)
  return done(self, sigmoid(self.Wf(xh)) * self.activation(h) + sigmoid(self.Wi(xh)) * self.activation(self.Wh(x)))
end

--- Minimal recurrent network:  z = phi(x),  f = s([z, h] W_u),  h' = f h + (1 - f) z.
--  w_init, b_init, state_init : of weights; biases (bdl.none: none); States
--  phi : a module or function; a Linear where none is given
--  States: h; phi and W_u hold {weight, bias}.
--  Source: Chen (2017), MinimalRNN: toward more interpretable and trainable recurrent neural networks.
--    arXiv:1711.06788.
local MinimalRNNCell = RNNCell:extend "MinimalRNNCell"
M.MinimalRNNCell = MinimalRNNCell

function MinimalRNNCell:__init(...)
  local a = self:setup({w_init = ORTHOGONAL, phi = none}, ...)
  self.phi = a.phi or self:weights(a, self.num_in, self.num_out)
  self.W_u = self:weights(a, 2 * self.num_out, self.num_out)
end

function MinimalRNNCell:update(x)
  local z, h = self.phi(input(self, x)), self.h.value
  local f = sigmoid(self.W_u(join(z, h)))
  return done(self, f * h + (1 - f) * z)
end

--- Minimal GRU:  z = s([x, h] W_z),  h' = (1 - z) h + z (x W_x).
--  w_init, b_init, state_init : of weights; biases (bdl.none: none); States
--  States: h; W_x and W_z hold {weight, bias}.
--  Source: Feng et al. (2024), Were RNNs all we needed? arXiv:2410.01201, there without h in the gate.
local MiniGRU = RNNCell:extend "MiniGRU"
M.MiniGRU = MiniGRU

function MiniGRU:__init(...)
  local a = self:setup({w_init = ORTHOGONAL}, ...)
  self.W_x = self:weights(a, self.num_in, self.num_out)
  self.W_z = self:weights(a, self.num_in + self.num_out, self.num_out)
end

function MiniGRU:update(x)
  x = input(self, x)
  local h = self.h.value
  local z = sigmoid(self.W_z(join(x, h)))
  return done(self, (1 - z) * h + z * self.W_x(x))
end

--- Minimal LSTM:  f = s([x, h] W_f),  i = s([x, h] W_i),  h' = f h + i (x W_x).
--  w_init, b_init, state_init : of weights; biases (bdl.none: none); States
--  States: h; W_x, W_f and W_i hold {weight, bias}.
--  Source: Feng et al. (2024), Were RNNs all we needed? arXiv:2410.01201, there without h in the gates.
local MiniLSTM = RNNCell:extend "MiniLSTM"
M.MiniLSTM = MiniLSTM

function MiniLSTM:__init(...)
  local a = self:setup({w_init = ORTHOGONAL}, ...)
  local n = self.num_in + self.num_out
  self.W_x = self:weights(a, self.num_in, self.num_out)
  self.W_f = self:weights(a, n, self.num_out)
  self.W_i = self:weights(a, n, self.num_out)
end

function MiniLSTM:update(x)
  x = input(self, x)
  local h = self.h.value
  local xh = join(x, h)
  return done(self, sigmoid(self.W_f(xh)) * h + sigmoid(self.W_i(xh)) * self.W_x(x))
end

--- Linear recurrent unit, a diagonal complex recurrence  h' = e^(-e^nu + i e^theta) h + e^gamma x (B_re + i B_im),
--  y = Re(h' (C_re + i C_im)) + D x;  x, y : [batch.., d_model].
--  d_model, d_hidden : sizes of x and y; of h
--  r_min, r_max : bounds of the sizes of eigenvalues at first
--  max_phase : bound of their phases at first
--  States: h_re, h_im, [d_hidden]; nu_log, theta_log, gamma_log, D, which are learnt as B_re, B_im, C_re, C_im are.
--  Source: Orvieto et al. (2023), Resurrecting recurrent neural networks for long sequences. ICML.
--  Example:
--    local cell = bdl.nn.NAME(3, 4)
--    cell:init_state(2)
--    print(cell(bdl.ones(2, 3)))
local LRUCell = module.Module:extend "LRUCell"
M.LRUCell = LRUCell
LRUCell.Linear, LRUCell.ops, LRUCell.each = RNNCell.Linear, RNNCell.ops, RNNCell.each

local function scaled_normal(sizes) return require "bdl.random".randn(table.unpack(sizes)) / math.sqrt(sizes[1]) end

function LRUCell:__init(...)
  local a = args({"d_model", "d_hidden", r_min = 0.0, r_max = 1.0, max_phase = 6.28, name = none}, ...)
  LRUCell.super.__init(self, a.name)
  local n, random = a.d_hidden, require "bdl.random"
  self.in_size, self.out_size = a.d_model, a.d_model
  self.d_model, self.d_hidden = a.d_model, n
  local function log(x) return (core.bind("log", {}, x)) end
  local function exp(x) return (core.bind("exp", {}, x)) end
  local Linear, ParamState = self.Linear, self.ops.ParamState
  self.theta_log = ParamState(log(random.uniform{size = {n}} * a.max_phase))
  local radius = random.uniform{size = {n}} * (a.r_max ^ 2 - a.r_min ^ 2) + a.r_min ^ 2
  local nu_log = log(-0.5 * log(radius))
  self.nu_log = ParamState(nu_log)
  self.gamma_log = ParamState(0.5 * log(-core.bind("expm1", {}, -2 * exp(nu_log))))
  for _, name in ipairs{"B_re", "B_im"} do self[name] = Linear{a.d_model, n, w_init = scaled_normal, b_init = none} end
  for _, name in ipairs{"C_re", "C_im"} do self[name] = Linear{n, a.d_model, w_init = scaled_normal, b_init = none} end
  self.D = ParamState(random.randn(a.d_model))
end

function LRUCell:init_state(batch_size)
  for _, name in ipairs{"h_re", "h_im"} do
    self[name] = state.HiddenState(init.param(init.ZeroInit(), {self.d_hidden}, batch_size))
  end
end

function LRUCell:update(x)
  x = layer.input(self, x, {self.d_model})
  local function exp(z) return (core.bind("exp", {}, z)) end
  local radius, phase, gain = exp(-exp(self:each(self.nu_log))), exp(self:each(self.theta_log)), exp(self:each(self.gamma_log))
  local re, im = radius * core.bind("cos", {}, phase), radius * core.bind("sin", {}, phase)
  local h_re, h_im = self.h_re.value, self.h_im.value
  self.h_re.value = re * h_re - im * h_im + gain * self.B_re(x)
  self.h_im.value = im * h_re + re * h_im + gain * self.B_im(x)
  return self.C_re(self.h_re.value) - self.C_im(self.h_im.value) + x * self:each(self.D)
end

return M

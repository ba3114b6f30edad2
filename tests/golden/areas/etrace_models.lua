--- The models of the online-learning cases, built from `params.model`, `params.model_args`; weights and initial states are set after.
local bdl = require "bdl"
local nn, u, online = bdl.nn, bdl.units, bdl.online

local M = {}

--- A Module of these fields whose update is f(self, x).
local Net = nn.Module:extend "Net"

function Net:__init(fields)
  for _, key in ipairs(bdl.util.sorted_keys(fields)) do self[key] = fields[key] end
end

local function net(fields, f)
  local made = Net(fields)
  rawset(made, "update", f)
  return made
end

local function param(...) return bdl.ParamState(bdl.zeros(...)) end

local function hidden(self, ...)
  local sizes = {...}
  rawset(self, "init_state", function(made, batch)
    local shape = batch and {batch, table.unpack(sizes)} or sizes
    made.h = bdl.HiddenState(bdl.zeros(shape))
  end)
  return self
end

--- A neuron of that class; p.spk_fun is {name, arguments}.
local function neuron(kind, n, p)
  local options = {n}
  for key, value in pairs(p or {}) do options[key] = value end
  if p and p.spk_fun then options.spk_fun = bdl.surrogate[p.spk_fun[1]](p.spk_fun[2]) end
  return nn[kind](options)
end

local function readout(a, n)
  if (a.n_out or 0) > 0 then return online.nn.LeakyRateReadout{n, a.n_out, tau = a.tau_out} end
end

local function zeros(unit) return bdl.init.ZeroInit{unit = unit} end

local function traced_linear(from, to, unit)
  return online.nn.Linear{from, to, w_init = zeros(unit), b_init = zeros(unit)}
end

-- ---- rates -------------------------------------------------------------------------------------------------------------------

local function cell(kind, from, to, activation)
  return online.nn[kind]{from, to, activation = activation}
end

function M.rnn(a, p)
  p = p or {}
  local out = a.readout == "plain" and nn.Linear(a.n_h, a.n_out) or online.nn.Linear(a.n_h, a.n_out)
  return net({cell = cell(a.kind, a.n_in, a.n_h, p.activation and p.activation.cell), out = out}, function(self, x)
    return self.out(self.cell(x))
  end)
end

function M.rnn_stack(a, p)
  local layers, n = {}, a.n_in
  for i, kind in ipairs(a.kinds) do
    layers[i] = cell(kind, n, a.n_hs[i], p.activation and p.activation[("layers.%d"):format(i - 1)])
    n = a.n_hs[i]
  end
  return net({layers = layers, out = online.nn.Linear(n, a.n_out)}, function(self, x)
    for _, layer in ipairs(self.layers) do x = layer(x) end
    return self.out(x)
  end)
end

function M.elemwise(a)
  return hidden(net({a = param(a.n), b = param(a.n), win = param(a.n_in, a.n)}, function(self, x)
    local keep = online.element_wise(self.a, {weight_fn = bdl.functional.sigmoid})
    local b = online.element_wise(self.b)
    self.h.value = keep * self.h.value + bdl.tanh(online.matmul(x, self.win) + b)
    return self.h.value
  end), a.n)
end

local function join(x, h) return bdl.concatenate({x, h}, {axis = -1}) end

function M.lora(a)
  return hidden(net({B = param(a.n_in + a.n_h, a.rank), A = param(a.rank, a.n_h)}, function(self, x)
    self.h.value = 0.6 * self.h.value + bdl.tanh(online.lora_matmul(join(x, self.h.value), self.B, self.A, {alpha = a.alpha}))
    return self.h.value
  end), a.n_h)
end

function M.sparse(a, _, case, t)
  local indptr, indices = t.array(case, "csr_indptr", "int32"), t.array(case, "csr_indices", "int32")
  local data = bdl.zeros(#case.arrays.csr_indices.data)
  local csr = bdl.event.CSR{data, indices, indptr, shape = {a.n_in + a.n_h, a.n_h}}
  return hidden(net({w = bdl.ParamState(data)}, function(self, x)
    self.h.value = 0.5 * self.h.value + bdl.tanh(online.sparse_matmul(join(x, self.h.value), self.w, {sparse_mat = csr}))
    return self.h.value
  end), a.n_h)
end

function M.conv(a)
  local w = bdl.ParamState{weight = bdl.zeros(a.k, a.c_in + a.c, a.c), bias = bdl.zeros(a.c)}
  return hidden(net({w = w}, function(self, x)
    local p = self.w.value
    local y = online.conv(join(x:expand_dims(1), self.h.value), p.weight, {bias = p.bias, padding = "SAME"})
    self.h.value = (a.leak or 0.7) * self.h.value + bdl.tanh(y)
    return self.h.value[1]
  end), 1, a.L, a.c)
end

function M.mixed(a)
  return hidden(net({w = param(a.n_h, a.n_h), win = param(a.n_in, a.n_h), wout = param(a.n_h, a.n_out)}, function(self, x)
    local h = self.h.value
    self.h.value = bdl.tanh(x:matmul(self.win.value) + online.matmul(h, self.w) + 0.4 * h)
    return self.h.value:matmul(self.wout.value)
  end), a.n_h)
end

-- ---- spikes ------------------------------------------------------------------------------------------------------------------

function M.delta(a)
  local neu = neuron(a.neu, a.n_rec, a.p)
  local syn = nn.DeltaProj{comm = traced_linear(a.n_in + a.n_rec, a.n_rec, u.mV), post = neu}
  return net({neu = neu, syn = syn, readout = readout(a, a.n_rec)}, function(self, x)
    self.syn(join(x, self.neu:get_spike()))
    self.neu()
    local spikes = self.neu:get_spike()
    return self.readout and self.readout(spikes) or spikes
  end)
end

function M.expcu(a)
  local neu = neuron(a.neu, a.n_rec, a.p)
  local plasticity
  if a.plast then plasticity = nn[a.plast](a.n_rec, a.plast_p and next(a.plast_p) and a.plast_p or nil) end
  local syn = nn.AlignPostProj{
    comm = traced_linear(a.n_in + a.n_rec, a.n_rec, u.mS), syn = nn.Expon:desc{a.n_rec, tau = a.tau_syn or 10*u.ms},
    out = nn.CUBA:desc(), post = neu,
  }
  return net({neu = neu, stp = plasticity, syn = syn, readout = readout(a, a.n_rec)}, function(self, x)
    local spikes = self.neu:get_spike()
    self.syn(join(x, self.stp and self.stp(spikes) or spikes))
    self.neu()
    spikes = self.neu:get_spike()
    return self.readout and self.readout(spikes) or spikes
  end)
end

function M.expco(a)
  local n = a.n_exc + a.n_inh
  local neu = neuron(a.neu, n, a.p)
  local function projection(comm, out)
    return nn.AlignPostProj{comm = comm, syn = nn.Expon:desc{n, tau = a.tau_syn or 10*u.ms}, out = out, post = neu}
  end
  local function signed(from) return online.nn.SignedWLinear{from, n, w_init = zeros(u.mS)} end
  return net({
    neu = neu, inp_syn = projection(traced_linear(a.n_in, n, u.mS), nn.CUBA:desc()),
    exc_syn = projection(signed(a.n_exc), nn.COBA:desc{E = a.E_e or 1.5*u.volt}),
    inh_syn = projection(signed(a.n_inh), nn.COBA:desc{E = a.E_i or -0.5*u.volt}),
  }, function(self, x)
    local spikes = self.neu:get_spike()
    self.inp_syn(x)
    self.exc_syn(spikes[{bdl.rest, {1, a.n_exc}}])
    self.inh_syn(spikes[{bdl.rest, {a.n_exc + 1, n}}])
    self.neu()
    return self.neu:get_spike()
  end)
end

function M.snn_stack(a)
  local layers, n = {}, a.n_in
  for i, kind in ipairs(a.kinds or {"delta", "expcu"}) do
    local neu = (a.neus or {"LIF", "ALIF"})[i]
    layers[i] = M[kind]{neu = neu, n_in = n, n_rec = a.n_recs[i], p = a.p and a.p[neu], tau_syn = a.tau_syn or 8*u.ms}
    n = a.n_recs[i]
  end
  local out = online.nn.LeakyRateReadout{n, a.n_out or 2, tau = a.tau_out or 6*u.ms}
  return net({layers = layers, readout = out}, function(self, x)
    for _, layer in ipairs(self.layers) do x = layer(x) end
    return self.readout(x)
  end)
end

-- ---- those of the text, by the names of the first package ------------------------------------------------------------------------

--- Sizes of inputs and neurons, from the arrays.
local function sizes(case) return case.arrays.x.shape[2], case.arrays.target.shape[2] end

function M.lif_delta(_, p, case)
  local n_in, n = sizes(case)
  return M.delta{neu = "LIF", n_in = n_in, n_rec = n, p = {tau = p.tau, V_th = 1*u.mV}}
end

function M.alif_expcu(_, _, case) return online.testing.ALIF_STPExpCu_Dense_Layer(sizes(case)) end

function M.gru(_, _, case)
  local n_in, n_out = sizes(case)
  return M.rnn{kind = "GRUCell", n_in = n_in, n_h = case.arrays["h0.cell.h"].shape[1], n_out = n_out, readout = "plain"}
end

return M

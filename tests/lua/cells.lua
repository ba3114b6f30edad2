--- Recurrent cells and readouts: equations by hand, batches, sequences, gradients, lanes, errors.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local CELLS = {"ValinaRNNCell", "GRUCell", "MGUCell", "LSTMCell", "URLSTMCell", "CFNCell", "MinimalRNNCell", "MiniGRU", "MiniLSTM"}

local function sigmoid(x) return 1 / (1 + math.exp(-x)) end

--- A cell with one input and one unit, whose weights of [x, h] are w, biases 0, and state 0.5.
local function tiny(name, w)
  local cell = nn[name]{1, 1, b_init = bdl.none, w_init = function(sizes)
    local rows = {}
    for i = 1, sizes[1] do
      rows[i] = {}
      for j = 1, sizes[2] do rows[i][j] = w[i] end
    end
    return bdl.tensor(rows)
  end}
  cell:init_state()
  cell.h.value = bdl.tensor{0.5}
  return cell
end

t.test("the equations of the cells that brainstate.nn has not", function()
  local x, h, a, b = 0.7, 0.5, 0.3, -0.8
  local gate = sigmoid(a * x + b * h)
  t.close(tiny("CFNCell", {a, b})(bdl.tensor{x}), {gate * math.tanh(h) + gate * math.tanh(a * x)}, 1e-5)
  t.close(tiny("MiniGRU", {a, b})(bdl.tensor{x}), {(1 - gate) * h + gate * a * x}, 1e-5)
  t.close(tiny("MiniLSTM", {a, b})(bdl.tensor{x}), {gate * h + gate * a * x}, 1e-5)
  local z = a * x
  local f = sigmoid(a * z + b * h)
  t.close(tiny("MinimalRNNCell", {a, b})(bdl.tensor{x}), {f * h + (1 - f) * z}, 1e-5)
end)

t.test("a batch of equal rows gives equal rows; init_state has the batch", function()
  for _, name in ipairs(CELLS) do
    local one, cell = nil, nn[name](3, 4)
    local x = bdl.random.randn(3)
    cell:init_state()
    for _ = 1, 2 do one = cell(x) end
    cell:init_state(2)
    t.eq({table.unpack(cell.h.value.shape)}, {2, 4}, name)
    local two
    for _ = 1, 2 do two = cell(bdl.stack({x, x}, {axis = 1})) end
    t.close(two, bdl.stack({one, one}, {axis = 1}), 1e-5, 1e-6, name)
  end
end)

t.test("gradients through a sequence agree with finite differences, compiled and over lanes", function()
  local _ <close> = bdl.environ.context{precision = 64}
  for _, name in ipairs(CELLS) do
    local cell = nn[name]{2, 3, activation = name ~= "ValinaRNNCell" and not name:find "^Mini" and "tanh" or nil}
    local xs = bdl.random.randn(4, 2)
    local params = cell:states(bdl.ParamState)
    local function loss(scale)
      cell:init_state()
      return bdl.sum(bdl.for_loop(function(x) return cell(x * scale) end, xs)^2)
    end
    local _, g = bdl.grad(loss, params, {argnums = 1})(bdl.tensor(0.8))
    local e = 1e-6
    local want = (loss(bdl.tensor(0.8 + e)) - loss(bdl.tensor(0.8 - e))):item() / (2 * e)
    t.close((type(g) == "table" and g[1] or g):item(), want, 1e-5, 1e-7, name)
  end
  local cell = nn.GRUCell(2, 3)
  cell:init_state()
  local h = cell.h.value
  local function step(x)
    cell.h.value = h
    return cell(x)
  end
  local xs = bdl.random.randn(5, 2)
  local lanes = bdl.vmap(function(x) return cell.W and x or cell.Wh(bdl.concatenate({x, h}, {axis = 1})) end)(xs)
  for i = 1, 5 do t.close(lanes[i], cell.Wh(bdl.concatenate({xs[i], h}, {axis = 1})), 1e-12) end
  t.close(step(xs[1]), bdl.jit(step)(xs[1]), 1e-12)
end)

t.test("LRU: the diagonal complex recurrence, written out", function()
  local _ <close> = bdl.environ.context{precision = 64}
  local cell = nn.LRUCell(2, 3)
  cell:init_state()
  local xs = bdl.random.randn(3, 2)
  local nu, theta, gamma = cell.nu_log.value:exp():totable(), cell.theta_log.value:exp():totable(), cell.gamma_log.value:exp():totable()
  local re, im, y = {0, 0, 0}, {0, 0, 0}, nil
  for i = 1, 3 do
    local ur, ui = cell.B_re(xs[i]):totable(), cell.B_im(xs[i]):totable()
    for k = 1, 3 do
      local r, c, s = math.exp(-nu[k]), math.cos(theta[k]), math.sin(theta[k])
      re[k], im[k] = r * (c * re[k] - s * im[k]) + gamma[k] * ur[k], r * (s * re[k] + c * im[k]) + gamma[k] * ui[k]
      t.close(gamma[k], math.sqrt(1 - r * r), 1e-9)
    end
    y = cell(xs[i])
  end
  t.close(y, cell.C_re(bdl.tensor(re)) - cell.C_im(bdl.tensor(im)) + xs[3] * cell.D.value, 1e-10)
end)

t.test("activations by name or function; unknown names suggest", function()
  local cell = nn.ValinaRNNCell{1, 1, w_init = 1.0, activation = function(x) return 3 * x end}
  cell:init_state()
  t.close(cell(bdl.tensor{2.0}), {6})
  t.raises("ValueError", "no activation 'tanhh' %(did you mean 'tanh'", function() nn.GRUCell{1, 1, activation = "tanhh"} end)
  t.raises("TypeError", "nn.LSTMCell: no argument 'num_outs' %(did you mean 'num_out'", function() nn.LSTMCell{1, num_outs = 2} end)
end)

t.test("a wrong input names the cell and its in_size; no States yet", function()
  local cell = nn.GRUCell(3, 2)
  t.raises("ValueError", "no state 'h'", function() cell(bdl.ones(3)) end)
  cell:init_state()
  t.raises("ShapeError", "GRUCell: the last size of the input is 2, not in_size 3", function() cell(bdl.ones(2)) end)
  cell:init_state(4)
  t.raises("ShapeError", "do not broadcast", function() cell(bdl.ones(3, 3)) end)
end)

t.test("a cell of one's own extends RNNCell", function()
  local Leaky = nn.RNNCell:extend "Leaky"
  function Leaky:__init(...)
    self:setup({w_init = 1.0, activation = "relu"}, ...)
  end
  function Leaky:update(x)
    self.h.value = 0.5 * self.h.value + self.activation(x)
    return self.h.value
  end
  local cell = Leaky(2, 2)
  nn.init_all_states(cell, 3)
  t.eq({table.unpack(cell(bdl.ones(3, 2)).shape)}, {3, 2})
end)

t.test("LeakyRateReadout decays by e^(-dt/tau) and adds", function()
  local _ <close> = bdl.environ.context{dt = 1*u.ms}
  local r = nn.LeakyRateReadout{2, 1, tau = 4*u.ms, w_init = 0.5}
  r:init_state()
  r(bdl.ones(2))
  t.close(r(bdl.tensor{true, false}), {math.exp(-0.25) + 0.5}, 1e-6)
  t.raises("ShapeError", "LeakyRateReadout: .* not in_size 2", function() r(bdl.ones(3)) end)
end)

t.test("a LeakySpikeReadout has the states of its outputs", function()
  local _ <close> = bdl.environ.context{dt = 1*u.ms}
  local r = nn.LeakySpikeReadout(4, 2)
  r:init_state(3)
  t.eq({table.unpack(r.V.shape)}, {3, 2})
  t.eq({table.unpack(r(bdl.ones(3, 4)).shape)}, {3, 2})
end)

t.test("LeakySpikeReadout integrates, spikes, resets at the next step; its weights get a surrogate gradient", function()
  local _ <close> = bdl.environ.context{dt = 1*u.ms}
  local r = nn.LeakySpikeReadout{1, 1, tau = 10*u.ms, V_th = 1*u.mV, w_init = 12*u.mV}
  r:init_state()
  local V = 12 * (1 - math.exp(-0.1))
  t.eq(r(bdl.ones(1)):totable(), {1})
  t.close((r.V.value / u.mV):totable(), {V}, 1e-5)
  r(bdl.zeros(1))
  t.close((r.V.value / u.mV):totable(), {(V - 1) * math.exp(-0.1)}, 1e-5)
  local g = bdl.grad(function()
    r:init_state()
    r(bdl.ones(1) * 0.08)
    return bdl.sum(r(bdl.ones(1) * 0.08))
  end, r:states(bdl.ParamState))()
  t.ok(bdl.sum(bdl.abs(g.weight.mantissa or g.weight)):item() > 0, "gradient")
end)

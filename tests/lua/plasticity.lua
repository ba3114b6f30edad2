--- Plasticity: event-driven changes against loops over all weights; rules against their equations.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local nn, u, event = bdl.nn, bdl.units, bdl.event

--- w[i][j] + jump[i or j] where active, bounded; a plain loop.
local function oracle(w, active, jump, by_row, lo, hi, factor)
  local new = {}
  for i, row in ipairs(w) do
    new[i] = {}
    for j, x in ipairs(row) do
      local k = by_row and i or j
      if active[k] > 0 then
        x = math.min(hi, math.max(lo, x + jump[by_row and j or i] * (factor and factor[k] or 1)))
      end
      new[i][j] = x
    end
  end
  return new
end

local W = {{0.1, 0.9, -5.0}, {0.4, 0.5, 0.6}, {0.7, 0.8, 0.05}, {0.3, 0.2, 0.5}}
local PRE, POST = {1.0, 0.0, 0.0, 2.0}, {0.0, 1.0, 1.0}
local JUMP_POST, JUMP_PRE = {0.05, 0.3, -0.2}, {0.1, -0.7, 0.2, 0.4}

t.test("dense: rows of presynaptic, columns of postsynaptic events; nothing else changes", function()
  local w = bdl.tensor(W)
  for _, run in ipairs{function(f, ...) return f(...) end, function(f, ...) return bdl.jit(function(...) return f(...) end)(...) end} do
    t.close(run(event.update_dense_on_binary_pre, w, bdl.tensor(PRE), bdl.tensor(JUMP_POST), 0, 1):totable(),
            oracle(W, PRE, JUMP_POST, true, 0, 1), 1e-6)
    t.close(run(event.update_dense_on_binary_post, w, bdl.tensor(JUMP_PRE), bdl.tensor(POST), 0, 1):totable(),
            oracle(W, POST, JUMP_PRE, false, 0, 1), 1e-6)
  end
  t.close(event.update_dense_on_binary_pre(w, bdl.tensor(PRE):gt(0), bdl.tensor(JUMP_POST), nil, nil, {factor = bdl.tensor{2.0, 9.0, 9.0, -1.0}}):totable(),
          oracle(W, PRE, JUMP_POST, true, -1e9, 1e9, {2, 9, 9, -1}), 1e-6)
  local none = bdl.zeros(4)
  t.eq(event.update_dense_on_binary_pre(w, none, bdl.tensor(JUMP_POST), 0, 1):totable(), w:totable())
  local q = event.update_dense_on_binary_pre(w*u.mS, bdl.tensor(PRE), 1000*bdl.tensor(JUMP_POST)*u.uS, 0*u.mS, 1*u.mS)
  t.close((q / u.mS):totable(), oracle(W, PRE, JUMP_POST, true, 0, 1), 1e-5)
  t.raises("ShapeError", "spikes %[3%] for weights %[4,3%]", event.update_dense_on_binary_pre, w, bdl.ones(3), bdl.ones(3))
end)

t.test("sparse: the stored entries of the same matrix, by rows and by columns", function()
  bdl.random.seed(1)
  local dense = {}
  local keep = bdl.random.rand(30, 20):totable()
  for i = 1, 30 do
    dense[i] = {}
    for j = 1, 20 do dense[i][j] = (i ~= 7 and keep[i][j] < 0.3) and keep[i][j] + 0.1 or 0.0 end
  end
  local A = event.CSR.fromdense(bdl.tensor(dense))
  local stored = bdl.tensor(dense):ne(0):astype "float32"
  local rows, pointers, places = event.csr_to_csc_index(A.indices, A.indptr, {30, 20})
  for _, n in ipairs{0, 1, 9, 30} do
    local pre = bdl.arange(30):lt(n):astype "float32"
    local post = bdl.arange(20):ge(20 - n):astype "float32"
    local up, down = bdl.random.rand(20) - 0.5, bdl.random.rand(30) - 0.5
    local by_row = event.update_csr_on_binary_pre(A.data, A.indices, A.indptr, pre, up, 0, 0.35)
    local want = event.update_dense_on_binary_pre(bdl.tensor(dense), pre, up, 0, 0.35) * stored
    t.close(A:with_data(by_row):todense():totable(), want:totable(), 1e-6, 1e-7)
    local by_column = event.update_csr_on_binary_post(A.data, rows, pointers, places, down, post, 0, 0.35)
    want = event.update_dense_on_binary_post(bdl.tensor(dense), down, post, 0, 0.35) * stored
    t.close(A:with_data(by_column):todense():totable(), want:totable(), 1e-6, 1e-7)
  end
end)

t.test("fixed numbers and columns: the same as the dense matrix; methods of connections", function()
  bdl.random.seed(2)
  local function int(list) return bdl.tensor(list, {dtype = "int32"}) end
  local per_pre, per_post = int{{0, 2}, {1, 2}, {0, 1}, {2, 1}}, int{{0, 3}, {1, 2}, {3, 0}}
  local w_pre, w_post = bdl.random.rand(4, 2), bdl.random.rand(3, 2)
  local A, B = event.FixedNumPerPre(w_pre, per_pre, {4, 3}), event.FixedNumPerPost(w_post, per_post, {4, 3})
  local csr = event.CSR.fromdense(A:todense())
  local rows, pointers, places = event.csr_to_csc_index(csr.indices, csr.indptr, {4, 3})
  local csc = event.CSC(csr.data[places], rows, pointers, {4, 3})
  t.close(csc:todense(), A:todense())
  local pre, post, up, down = bdl.tensor(PRE), bdl.tensor(POST), bdl.tensor(JUMP_POST), bdl.tensor(JUMP_PRE)
  for name, c in pairs{fixed_post = A, fixed_pre = B, csr = csr, csc = csc} do
    local dense = c:todense()
    local stored = c:with_data(bdl.ones(c.nnz)):todense()
    t.close(c:update_on_pre(pre, up, 0, 0.8):todense(), event.update_dense_on_binary_pre(dense, pre, up, 0, 0.8) * stored, 1e-6, 1e-7, name)
    t.close(c:update_on_post(down, post, 0, 0.8):todense(), event.update_dense_on_binary_post(dense, down, post, 0, 0.8) * stored, 1e-6, 1e-7, name)
  end
  t.close(event.Dense(A:todense()):update_on_pre(pre, up).data, event.update_dense_on_binary_pre(A:todense(), pre, up))
  t.close(event.Dense(A:todense()):update_on_post(down, post).data, event.update_dense_on_binary_post(A:todense(), down, post))
  local new = event.update_fixed_post_conn_on_binary_pre(w_pre*u.mS, per_pre, pre:gt(0), 1000*up*u.uS)
  t.close(new / u.mS, A:update_on_pre(pre, up).data:reshape(4, 2), 1e-5)
  t.close(event.update_fixed_pre_conn_on_binary_post(w_post, per_post, down, post), B:update_on_post(down, post).data:reshape(3, 2))
  t.close(event.update_csc_on_binary_pre(csc.data, csc.indices, csc.indptr, pre, up, 0, 1, {shape = {4, 3}}), csc:update_on_pre(pre, up, 0, 1).data)
  t.close(event.update_csc_on_binary_post(csc.data, csc.indices, csc.indptr, down, post), csc:update_on_post(down, post).data)
  t.raises("ValueError", "one weight stands for all 8 entries", function() event.FixedNumPerPre(1.0, per_pre, {4, 3}):update_on_pre(pre, up) end)
  t.raises("ShapeError", "both are %[rows, k%]", event.update_fixed_post_conn_on_binary_pre, w_post, per_pre, pre, up)
  t.raises("TypeError", "shape = ", event.update_csc_on_binary_pre, csc.data, csc.indices, csc.indptr, pre, up)
end)

t.test("gradients go through updates as through their dense formula", function()
  bdl.environ.context({precision = 64}, function()
    bdl.random.seed(3)
    local function int(list) return bdl.tensor(list, {dtype = "int32"}) end
    local dense = bdl.tensor(W)
    local csr = event.CSR.fromdense(dense)
    local rows, pointers, places = event.csr_to_csc_index(csr.indices, csr.indptr, {4, 3})
    local per_pre = int{{0, 2}, {1, 2}, {0, 1}, {2, 1}}
    local pre, post, up, down = bdl.tensor(PRE):gt(0), bdl.tensor(POST):gt(0), bdl.tensor(JUMP_POST), bdl.tensor(JUMP_PRE)
    local factors = {[4] = bdl.tensor{0.5, 1.0, -1.0, 2.0}, [3] = bdl.tensor{0.5, -0.7, 2.0}}
    for name, case in pairs{
      dense_pre = {dense, up, 4, function(w, j, f) return event.update_dense_on_binary_pre(w, pre, j, 0, 1, {factor = f}) end},
      dense_post = {dense, down, 3, function(w, j, f) return event.update_dense_on_binary_post(w, j, post, 0, 1, {factor = f}) end},
      csr_pre = {csr.data, up, 4, function(w, j, f) return event.update_csr_on_binary_pre(w, csr.indices, csr.indptr, pre, j, 0, 1, {factor = f}) end},
      csr_post = {csr.data, down, 3, function(w, j, f)
        return event.update_csr_on_binary_post(w, rows, pointers, places, j, post, 0, 1, {factor = f})
      end},
      fixed = {bdl.random.rand(4, 2), up, 4, function(w, j, f) return event.update_fixed_post_conn_on_binary_pre(w, per_pre, pre, j, 0, 1, {factor = f}) end},
    } do
      local w, jump, n, f = table.unpack(case)
      local weights = bdl.random.rand(table.unpack(w.shape))
      local function loss(...) return (f(...) * weights):sum() end
      local grads = bdl.grad(loss, nil, {argnums = {1, 2, 3}})(w, jump, factors[n])
      local args = {w, jump, factors[n]}
      for k, g in ipairs(grads) do
        local direction, h = bdl.random.rand(table.unpack(args[k].shape)), 1e-6
        local function at(s)
          local moved = {table.unpack(args)}
          moved[k] = moved[k] + s * direction
          return loss(table.unpack(moved)):item()
        end
        t.close((g * direction):sum():item(), (at(h) - at(-h)) / (2*h), 1e-6, 1e-8, name .. " " .. k)
      end
      t.close((bdl.vjp(f, w, jump, factors[n])), f(w, jump, factors[n]))
    end
    local spikes = bdl.tensor(PRE)                                      -- as if multiplied in
    t.close(bdl.grad(function(s) return event.update_dense_on_binary_pre(dense, s, up):sum() end)(spikes), bdl.full({4}, up:sum():item()))
  end)
end)

t.test("gradients through a loop of STDP: to the weight before and the rates of learning", function()
  bdl.environ.context({dt = 1*u.ms, precision = 64}, function()
    local pre, post = bdl.random.rand(20, 3, {key = 1}):lt(0.3), bdl.random.rand(20, 2, {key = 2}):lt(0.3)
    local function final(w, a)
      local s = nn.STDP{3, 2, weight = bdl.full({3, 2}, 0.5), A_plus = 0.1, A_minus = 0.08}
      s.A_plus = a
      nn.init_all_states(s)
      s.weight.value = w
      bdl.for_loop(function(x, y) s:learn(x, y) end, pre, post)
      return (s.weight.value * bdl.tensor{{1.0, 2.0}, {-1.0, 0.5}, {0.3, 1.0}}):sum()
    end
    local w, a, h = bdl.full({3, 2}, 0.5), bdl.tensor(0.1), 1e-6
    local gw, ga = table.unpack(bdl.grad(final, nil, {argnums = {1, 2}})(w, a))
    t.close(ga:item(), ((final(w, a + h) - final(w, a - h)) / (2*h)):item(), 1e-5)
    t.close(gw:sum():item(), ((final(w + h, a) - final(w - h, a)) / (2*h)):item(), 1e-5)
  end)
end)

--- The change of one weight by a spike of i at step a and of j at step b, in units of w_max.
local function pair(class, options, a, b, n, reward)
  options[1], options[2], options.weight = 1, 1, options.weight or 0.5*u.mS
  options.w_min, options.w_max = 0*u.mS, 1*u.mS
  local s = nn[class](options)
  return bdl.environ.context({dt = 1*u.ms}, function()
    nn.init_all_states(s)
    bdl.for_loop(function(k) s:learn(k:eq(a):reshape(1), k:eq(b):reshape(1), k:eq(n - 1):astype "float32" * (reward or 0)) end, bdl.arange(n))
    return (s.weight.value / u.mS):item() - 0.5
  end)
end

t.test("pairs: exponential windows on either side, none within a step", function()
  for _, gap in ipairs{1, 5, 20} do
    t.close(pair("STDP", {}, 3, 3 + gap, 40), 0.01 * math.exp(-gap / 20), 1e-4, 1e-7)
    t.close(pair("STDP", {}, 3 + gap, 3, 40), -0.0105 * math.exp(-gap / 20), 1e-4, 1e-7)
  end
  t.close(pair("STDP", {}, 3, 3, 10), 0, 0, 1e-7)
end)

t.test("triplets: a pair alone, and with an earlier spike of the other side", function()
  local function learned(pre, post)
    local s = nn.TripletSTDP{1, 1, weight = 0.5}
    return bdl.environ.context({dt = 1*u.ms}, function()
      nn.init_all_states(s)
      for k = 0, 40 do s:learn(bdl.tensor{pre[k] and 1.0 or 0.0}, bdl.tensor{post[k] and 1.0 or 0.0}) end
      return (s.weight.value):item() - 0.5
    end)
  end
  t.close(learned({[5] = true}, {[15] = true}), 5e-10 * math.exp(-10 / 16.8), 1e-3, 1e-7)
  local first = -math.exp(-3 / 33.7) * 7e-3
  t.close(learned({[5] = true}, {[2] = true, [15] = true}), first + math.exp(-10 / 16.8) * (5e-10 + 6.2e-3 * math.exp(-13 / 125)), 1e-3, 1e-7)
end)

t.test("dopamine turns what is eligible into weight", function()
  t.close(pair("DopamineSTDP", {}, 3, 8, 50), 0, 0, 1e-7)
  local c = 0.01 * math.exp(-5 / 20) * math.exp(-41 / 1000)
  t.close(pair("DopamineSTDP", {}, 3, 8, 50, 100), c * 0.1, 1e-3, 1e-7)
end)

t.test("STDP is a comm: it delivers, learns in a loop, keeps its bounds, sparse or dense", function()
  bdl.random.seed(2)
  local weight = bdl.random.rand(20, 6)
  bdl.environ.context({dt = 1*u.ms}, function()
    local function train(w)
      local net = nn.Module()
      net.post = nn.LIF{6, tau = 10*u.ms, V_th = 1*u.mV}
      net.syn = nn.STDP{20, 6, weight = w, A_plus = 0.2, A_minus = 0.21, w_min = 0*u.mV, w_max = 1*u.mV}
      net.proj = nn.DeltaProj{comm = net.syn, post = net.post}
      nn.init_all_states(net)
      local spikes = bdl.for_loop(function(s)
        net.proj(s)
        local post = net.post(0*u.mA)
        net.syn:learn(s, post)
        return post
      end, bdl.random.bernoulli(0.2, {size = {200, 20}, key = bdl.random.key(3)}):astype "float32")
      return net.syn, spikes
    end
    local dense, a = train(weight*u.mV)
    local sparse, b = train(event.CSR.fromdense(weight*u.mV))
    local w = dense.weight.value / u.mV
    t.close((sparse.weight.value / u.mV):totable(), w:reshape(120):totable(), 1e-4, 1e-5)
    t.eq(a:totable(), b:totable())
    t.ok(a:sum():item() > 20)
    t.ok(w:min():item() >= 0 and w:max():item() <= 1)
    t.ok((w - weight):abs():max():item() > 0.1)
  end)
  t.raises("ValueError", "weights learn from one trial at a time", function() nn.STDP{2, 2, weight = 0.5}:init_state(3) end)
  t.raises("ValueError", "tau_pre must be > 0", function() nn.STDP{2, 2, weight = 0.5, tau_pre = 0*u.ms} end)
  t.raises("ValueError", "w_min .* lies above w_max", function() nn.STDP{2, 2, weight = 0.5, w_min = 3} end)
  t.raises("ShapeError", "a matrix %[2,3%] for 2 by 2", function() nn.STDP{2, 2, weight = event.CSR.fromdense(bdl.ones(2, 3))} end)
end)

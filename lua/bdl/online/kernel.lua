--- The two equations of traces in canonical form, [states, rows, inputs, outputs] (runtime/online/online.h).
--
--   step   e'[a,r,i,k] = sum_c d[a][c][r,k] e[c,r,i,k] + x[r,i] f[a][r,k] (psi[i,k])
--   grad   g[q,i,k] = sum over a and the rows of q of l[a][r,k] e[a,r,i,k]

local core = require "bdl.core"
local t = require "bdl.augment.trace"

local M = {}

local function bind(prim, ...) return core.bind(prim, {}, ...) end

--- What a step adds where each of Q groups of rows has weights of its own: psi x f, as if x were 1 and f of each input.
local function scaled(e, x, psi, f)
  local S, R, I, K = table.unpack(table.move(e.shape, 1, 4, 1, {}))
  local Q, parts = psi.shape[1], {}
  for a = 1, S do
    local y = t.zeros{dtype = e.dtype, shape = {1, R, I, K}}
    if f[a] then
      y = t.broadcast(t.reshape(f[a], {R, 1, K}), {R, I, K})
      if x then y = bind("mul", t.reshape(x, {R, I, 1}), y) end
      y = t.reshape(bind("mul", t.reshape(y, {R // Q, Q, I, K}), psi), {1, R, I, K})
    end
    parts[a] = y
  end
  return core.bind("concatenate", {axis = 0}, table.unpack(parts))
end

--- e : [S,R,I,K];  x : [R,I] or nil (1);  psi : [Q,I,K] or nil;  d[a][c], f[a] : [R,K] or nil (0)
function M.step(e, x, psi, d, f)
  local S, R, I, K = table.unpack(table.move(e.shape, 1, 4, 1, {}))
  if psi and psi.shape[1] > 1 then return bind("add", M.step(e, x, nil, d, {}), scaled(e, x, psi, f)) end
  local pairs, fed, operands = {}, {}, {}
  for a = 1, S do
    for c = 1, S do
      if d[a][c] then
        pairs[#pairs + 1] = (a - 1) * S + c - 1
        operands[#operands + 1] = d[a][c]
      end
    end
  end
  for a = 1, S do
    if f[a] then
      fed[#fed + 1] = a - 1
      operands[#operands + 1] = f[a]
    end
  end
  if psi then table.insert(operands, 1, t.reshape(psi, {I, K})) end
  return core.bind("etrace_step", {pairs = pairs, fed = fed, scaled = psi and 1 or 0}, e,
                   x or t.broadcast(core.cast(core.tensor(1.0), e.dtype), {R, I}), table.unpack(operands))
end

--- l[a] : [R,K] or nil.  Returns [Q,I,K].
function M.grad(e, l, Q)
  local fed, operands = {}, {}
  for a = 1, e.shape[1] do
    if l[a] then
      fed[#fed + 1] = a - 1
      operands[#operands + 1] = l[a]
    end
  end
  return core.bind("etrace_grad", {groups = Q, fed = fed}, e, table.unpack(operands))
end

return M

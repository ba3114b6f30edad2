--- W9: products of matrices in a compiled loop, where each waits for the one before.  w9.lua repeats
package.path = "tools/bench/?.lua;" .. package.path
local bdl = require "bdl"
local common = require "common"

local repeats = tonumber(arg[1])
local SHAPES = {                                  -- m, n, k as in w9_gemm.c
  {8, 8, 8}, {16, 16, 16}, {32, 32, 32}, {64, 64, 64}, {128, 128, 128}, {256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024},
  {2048, 2048, 2048}, {256, 256, 1024}, {64, 768, 256}, {64, 256, 256}, {16, 256, 356}, {1, 256, 1024}, {1, 768, 256},
  {1, 1024, 1024},
}

--- The operands of w9_gemm.c: (i factor mod period) / period - 1/2.
local function operand(rows, cols, factor, period)
  return ((bdl.arange(rows*cols) * factor) % period / period - 0.5):astype "float32":reshape(rows, cols)
end

for _, shape in ipairs(SHAPES) do
  local m, n, k = table.unpack(shape)
  local A, B = operand(m, k, 37, 101), operand(k, n, 53, 97)
  local calls = math.max(1, math.min(20000, 4e8 // (2*m*n*k))) | 0
  local product = bdl.jit(function()
    return bdl.scan(function(c)
      local y = c.A:matmul(B)
      return {A = c.A:set({1, 1}, c.A[{1, 1}] + y[{1, 1}]*1e-30), y = y}
    end, {A = A, y = bdl.zeros(m, n)}, {length = calls}).y
  end)
  local result = common.measure(repeats, function() return product() end)
  common.emit(result, {workload = "W9", m = m, n = n, k = k, calls = calls, check = result.results[repeats]:sum():item()})
end

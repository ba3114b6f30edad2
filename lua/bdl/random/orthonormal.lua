--- The factor Q of x = QR with a positive diagonal of R; x [.., m, n], m >= n, in double precision.
--  R is the Cholesky factor of x'x; the second round removes the rounding of the first.   Source: Yamamoto et al.
--  (2015).
local array = require "bdl.array"

local function transposed(x) return array.swapaxes(x, -1, -2) end

return function(x)
  for _ = 1, 2 do
    local lower = array.cholesky(array.matmul(transposed(x), x))
    x = transposed(array.triangular_solve(lower, transposed(x), {lower = true}))
  end
  return x
end

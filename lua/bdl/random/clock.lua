--- Seeds that nobody gave: from the time, counted on, so that one number repeats all of them.

local M = {}

local base, drawn                                -- integers: where they begin, how many there were

--- That number; set: the one of a run to be repeated.
function M.base(set)
  base = set or base or os.time() * 1000003 + (os.clock() * 1e6) // 1 | 0
  if set then drawn = 0 end
  return base
end

function M.seed()
  drawn = (drawn or 0) + 1
  return M.base() + drawn * 0x9e3779b1
end

return M

--- pmap: vmap over devices, a lane each.  The devices are the processes of `mpirun -n 4 bdl run model.lua`; without it there is
-- one.
--
-- Every process runs the same script and traces the same function; each computes a lane.  What comes out, and the States that the
-- function writes, is gathered, so that all processes hold the same values before and after.

local core = require "bdl.core"
local lanes = require "bdl.augment.lanes"
local t = require "bdl.augment.trace"
local vmap = require "bdl.augment.vmap"

local M = {}

--- How many devices there are.
function M.device_count() return (core.world()) end

local function check_size(n)
  local devices = core.world()
  if n == devices then return end
  core.hint(("mpirun -n %d bdl run model.lua has %d; or use vmap"):format(n, n))
  core.fail("ValueError", 5, "pmap: %d lane%s, but there %s", n, n == 1 and "" or "s",
            devices == 1 and "is 1 device" or ("are %d devices"):format(devices))
end

M.pmap = t.transformation("pmap", lanes.OPTIONS, function(f, opts)
  local o = setmetatable({check_size = check_size, over_processes = true}, {__index = opts})
  return function(...) return vmap.call("pmap", f, o, table.pack(...)) end
end)

return M

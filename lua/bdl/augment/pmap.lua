--- pmap: vmap over devices, a lane each.  The devices are the processes of `mpirun -n 4 bdl run model.lua`; without it there is
-- one, which runs all lanes, as vmap does, and says so.  On the platform gpu each process takes a GPU of its machine; what goes
-- between lanes goes from GPU to GPU where there is NCCL and no two processes share one, else through the host.
--
-- Every process runs the same script and traces the same function; each computes a lane.  What comes out, and the States that the
-- function writes, is gathered, so that all processes hold the same values before and after.
--  Example:
--    print(bdl.augment.pmap(function(x) return 2*x end)(bdl.ones(bdl.augment.device_count(), 3)))

local core = require "bdl.core"
local lanes = require "bdl.augment.lanes"
local t = require "bdl.augment.trace"
local vmap = require "bdl.augment.vmap"

local M = {}

--- How many devices there are.
--  Example:
--    print(bdl.augment.device_count())
function M.device_count() return (core.world()) end

local said = false

--- Do n lanes run on a device each?  Errors: ValueError, there are other devices than lanes.
local function on_devices(n)
  local devices = core.world()
  if n == devices then return true end
  if devices > 1 then
    core.hint(("mpirun -n %d bdl run model.lua has %d; or use vmap"):format(n, n))
    core.fail("ValueError", 5, "pmap: %d lane%s, but there are %d devices", n, n == 1 and "" or "s", devices)
  end
  if not said then io.stderr:write(("pmap: there is 1 device, which runs all %d lanes; mpirun -n %d bdl run model.lua has %d\n"):format(n, n, n)) end
  said = true
  return false
end

M.pmap = t.transformation("pmap", lanes.OPTIONS, function(f, opts)
  local o = setmetatable({over_processes = on_devices}, {__index = opts})
  return function(...) return vmap.call("pmap", f, o, table.pack(...)) end
end)

return M

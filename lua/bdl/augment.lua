--- Transformations of functions: derivatives, mapping over lanes, recomputation.
--
-- Each traces its function to a program (arguments, captured values, States read -> results, States written), transforms the
-- program and applies the result: as equations of the trace around, or run once.  So they nest in any order.

local augment = {differentiating = require "bdl.augment.trace".differentiating}

--- File under augment/ -> what it gives to users.
for file, names in pairs{
  grad = "grad vector_grad fwd_grad",
  jacobian = "jacrev jacfwd jacobian hessian",
  product = "jvp vjp value_and_derivative",
  custom = "custom_jvp custom_vjp",
  checkpoint = "checkpoint remat checkpointed_scan checkpointed_for_loop bounded_while_loop",
  vmap = "vmap vmap_new_states unvmap StateAxes",
  pmap = "pmap device_count",
  collective = "psum pmean pmax pmin all_gather ppermute axis_index axis_size",
  map = "map",
} do
  local module = require("bdl.augment." .. file)
  for name in names:gmatch "%S+" do augment[name] = assert(module[name], name) end
end

return augment

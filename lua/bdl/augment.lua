--- Transformations of functions: derivatives, mapping over lanes, recomputation.
--
-- Each traces its function to a program (arguments, captured values, States read -> results, States written), transforms the
-- program and applies the result: as equations of the trace around, or run once.  So they nest in any order.

local augment = {differentiating = require "bdl.augment.trace".differentiating}

for _, file in ipairs{"grad", "jacobian", "product", "vmap", "collective", "map", "custom", "checkpoint"} do
  for name, value in pairs(require("bdl.augment." .. file)) do augment[name] = value end
end

return augment

--- Losses and measures of activity.  Arguments as in braintools.metric; options are a table at the end; axes count from 1.
local class = require "bdl.class"

local metric = {}

for _, family in ipairs{"classification", "regression", "spikes", "correlation", "lfp"} do
  for name, f in pairs(require("bdl.metric." .. family)) do metric[name] = f end
end

return class.qualify(metric, "metric")

--- Data sets: arrays in files, batches, spikes.  Functions of `data/` by subject:
--
--   data/file     load, save, writer, digits      .npy and .npz
--
--  Numbers of files are as they are there: integers count from 0, and have no unit.
local class = require "bdl.class"

local data = {}

for _, subject in ipairs{"file"} do
  for name, f in pairs(require("bdl.data." .. subject)) do data[name] = f end
end

return class.qualify(data, "data")

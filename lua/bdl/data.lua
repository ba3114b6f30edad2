--- Data sets: arrays in files, batches, spikes.  Functions of `data/` by subject:
--
--   data/file     load, save, writer, digits      .npy and .npz
--   data/csv      csv                             text
--   data/check    check                           numbers and labels that training can use
--   data/loader   loader                          batches, shuffled by a key
--   data/shd      shd                             spoken words as spikes (HDF5)
--   encode        encode.LatencyEncoder, ..       numbers to spikes
--   data/events   frames                          lists of events to counts a step
--
--  Numbers of files are as they are there: integers count from 0, and have no unit.
local class = require "bdl.class"

local data = {}

for _, subject in ipairs{"file", "csv", "check", "loader", "events", "shd"} do
  for name, f in pairs(require("bdl.data." .. subject)) do data[name] = f end
end
--- encode: numbers to spikes over time, data.encode.PoissonEncoder and others.
data.encode = require "bdl.encode"

return class.qualify(data, "data")

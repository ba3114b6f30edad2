--- Spoken words as spikes: the Spiking Heidelberg Digits and the Spiking Speech Commands, and other files of their layout.
--
--   /spikes/times   a list of times a sample, in s          /labels   a class a sample, from 0
--   /spikes/units   a list of units a sample, from 0        /extra    speaker, keys (names of the classes), meta_info/..
--
--  Source: Cramer, Stradmann, Schemmel, Zenke (2022), The Heidelberg spiking data sets, IEEE TNNLS 33.
local core = require "bdl.core"
local class = require "bdl.class"
local base = require "bdl.array.base"
local A = require "bdl.array"
local events = require "bdl.data.events"
local check = require "bdl.data.check".check

local M = {}

--- The samples of a file, read from it when asked for:
--
--   local shd = bdl.data.shd("shd_train.h5", {n_steps = 100, dt = 14*u.ms})
--   local times, units = shd:events(1)             -- float32[k] s, int32[k], of the first sample
--   for x, y in bdl.data.loader(shd, {batch_size = 256, shuffle = 7})() do .. end      -- x [100, 256, 700], y int32[256]
--
--  Options: n_steps, dt (for batches), n_units (700), binary (0 and 1 instead of counts), classes (one more than the
--  largest label).  #shd samples; shd.labels int32[n].  Errors: IOError; KeyError, part of the layout is missing;
--  ValueError, a label is no class; NotSupportedError, bdl was built without HDF5.
local SHD = class "SHD"
M.SHD = SHD

local KNOWN = base.names "n_steps dt n_units binary classes"

local function part(self, name, kind)
  local found, n = core.hdf5_kind(self._file, name)
  if found == kind then return n end
  core.hint "the layout is /spikes/times and /spikes/units, a list a sample, and /labels"
  core.fail("KeyError", 4, "data.shd: %s has %s", self._path,
            found and ("a %s in %s, not an %s"):format(found, name, kind) or "no data set " .. name)
end

function SHD:__init(path, opts)
  opts = base.options("data.shd", opts, KNOWN)
  if type(path) ~= "string" then
    core.fail("TypeError", 2, "data.shd: the path is a string, not a %s", class.typename(path))
  end
  self._path = path
  self._file = core.hdf5_open(path)
  local n = part(self, "/labels", "array")
  for _, name in ipairs{"/spikes/times", "/spikes/units"} do
    local rows = part(self, name, "ragged")
    if rows ~= n then
      core.fail("ShapeError", 2, "data.shd: %s has %d rows in %s and %d labels", path, rows, name, n)
    end
  end
  local labels = core.hdf5_read(self._file, "/labels")
  if labels.ndim ~= 1 or base.KIND[labels.dtype] ~= 1 then
    core.fail("TypeError", 2, "data.shd: the labels of %s are integers, one a sample, not %s", path, base.text(labels))
  end
  self.classes = opts.classes or n > 0 and core.item(A.max(labels)) + 1 or 0
  self.labels = n > 0 and check(labels, {name = path .. ", /labels", classes = self.classes}) or labels
  self.n_units = opts.n_units or 700
  self._frames = {n_steps = opts.n_steps, dt = opts.dt, n_units = self.n_units, binary = opts.binary}
end

function SHD:__len() return #self.labels end

--- Times and units of the events of sample i, from 1.
function SHD:events(i)
  if math.type(i) ~= "integer" or i < 1 or i > #self then
    core.fail("IndexError", 2, "data.shd: samples are numbered 1 to %d, not %s", #self, base.text(i))
  end
  local times, units = core.hdf5_row(self._file, "/spikes/times", i), core.hdf5_row(self._file, "/spikes/units", i)
  if #times ~= #units then
    core.fail("ValueError", 2, "%s: sample %d has %d times and %d units", self._path, i, #times, #units)
  end
  return core.with_unit(times, require "bdl.units".second), units
end

--- Frames [n_steps, n, n_units] and labels [n] of the samples with numbers `ids`, int32[n] from 0.
function SHD:batch(ids)
  if not self._frames.n_steps or not self._frames.dt then
    core.fail("TypeError", 2, "data.shd: batches need the options n_steps and dt of data.shd")
  end
  ids = base.array(ids)
  local times, units = {}, {}
  for k, id in ipairs(core.totable(ids)) do times[k], units[k] = self:events(id + 1) end
  return events.frames(times, units, self._frames), self.labels[ids]
end

--- /extra/<name>: "speaker" a tensor, "keys" and "meta_info/gender" lists of texts.  Errors: KeyError.
function SHD:extra(name)
  local path = "/extra/" .. tostring(name)
  local kind, n = core.hdf5_kind(self._file, path)
  if not kind then core.fail("KeyError", 2, "data.shd: %s has no data set %s", self._path, path) end
  if kind == "array" then return core.hdf5_read(self._file, path) end
  local rows = {}
  for i = 1, n do rows[i] = core.hdf5_row(self._file, path, i) end
  return rows
end

function SHD:close() core.hdf5_close(self._file) end
SHD.__close = SHD.close

M.shd = SHD

return M

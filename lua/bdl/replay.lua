--- Runs made again: from what a result holds (bdl rerun), or from a recording of every equation's results (bdl replay).
--
-- A recording is made by `bdl run --record file`: equation by equation, without fusing and without native code, which give the same
-- bits; what each equation made is kept as a hash.  Compared with it, another run stops at the first equation that differs.
local core = require "bdl.core"
local provenance = require "bdl.provenance"

local M = {}

--- Equation by equation.
local function plainly()
  core.tier "interp"
  core.switch("unfused", true)
end

--- Begins a recording of the model that was loaded.
function M.record(path)
  plainly()
  core.replay_record(path, provenance.text())
end

--- The provenance in a recording.  Errors: IOError.
function M.read(path)
  local file, why = io.open(path, "rb")
  if not file then core.fail("IOError", 2, "cannot read %s: %s", path, (tostring(why):gsub("^.*: ", ""))) end
  local magic, size = file:read(16), file:read(8)
  local n = size and #size == 8 and ("<I8"):unpack(size) or -1
  local text = magic == "bdl recording 1\n" and n >= 0 and n <= 2^28 and file:read(n)
  file:close()
  if not text or #text ~= n then core.fail("IOError", 2, "%s: no recording of bdl run --record", path) end
  return provenance.parse(text, path)
end

--- Begins to compare what runs with a recording.
function M.check(path)
  plainly()
  core.replay_check(path)
end

--- Ends a recording or a comparison: how many results.  Errors: ValueError, the recording goes on; IOError.
M.finish = core.replay_end

local function name_of(path) return path:match "[^/]*$" end

--- The file that the repeated run has written in place of `path`; nil: it wrote none.
local function twin(path)
  for written, beside in next, provenance.written do
    if name_of(written) == name_of(path) then return beside end
  end
end

local function arrays(path)
  local archive = require("bdl.save." .. path:match "%w+$").open(path)
  return archive, archive:names()
end

--- Compares the arrays of a result with those of its repetition: their number, and the first that differs.  nil: there is none.
function M.compare(path)
  local other = twin(path)
  if not other then return nil end
  local a, names = arrays(path)
  local b, others = arrays(other)
  if #names ~= #others then return #names, ("%s has %d arrays, %s has %d"):format(path, #names, other, #others) end
  for _, name in ipairs(names) do
    local x, y = a:read(name), b:read(name)
    local same = y and x.dtype == y.dtype and table.concat(x.shape, ",") == table.concat(y.shape, ",") and core.raw_crc(x) == core.raw_crc(y)
    if not same then return #names, ("'%s' is not the same in %s"):format(name, other) end
  end
  return #names, nil
end

return M

--- An archive of NumPy: a State's leaf a member, the header a text beside them.
local core = require "bdl.core"
local class = require "bdl.class"

local M = {}

local HEADER = "bdl.json"

--- Writes header (a text) and arrays (a list of {name, tensor}); the file is there when all of it is.
function M.write(path, header, arrays, opts)
  local file = core.file_create(path, opts.compress)
  local ok, e = pcall(function()
    core.file_put_text(file, HEADER, header)
    for _, array in ipairs(arrays) do core.file_put(file, array[1], array[2]) end
    core.file_finish(file)
  end)
  if not ok then
    pcall(core.file_discard, file)
    error(e, 0)
  end
end

local Archive = class "Archive"

--- The text of the header, nil: the file has none;  read(name) -> tensor, nil: there is none.
function Archive:header() return core.file_text(self.file, HEADER) end
function Archive:names() return core.file_names(self.file) end
function Archive:text(name) return core.file_text(self.file, name) end
function Archive:read(name) return self.at[name] and core.file_read(self.file, self.at[name]) end

function M.open(path)
  local archive = class.alloc(Archive)
  archive.file = core.file_open(path)
  archive.at = {}
  for i, name in ipairs(core.file_names(archive.file)) do archive.at[name] = i end
  return archive
end

return M

--- HDF5: a State's leaf a data set of the group /states, the header the text /header.
local core = require "bdl.core"
local class = require "bdl.class"

local M = {}

local HEADER, STATES = "/header", "/states/"

--- A name of one part, whatever the path has.
local function place(name) return STATES .. name:gsub("[%%/]", {["%"] = "%25", ["/"] = "%2F"}) end

--- Writes header (a text) and arrays (a list of {name, tensor}); the file is there when all of it is.
function M.write(path, header, arrays, opts)
  local file <close> = core.hdf5_create(path, opts.compress)
  core.hdf5_put_text(file, HEADER, header)
  for _, array in ipairs(arrays) do core.hdf5_put(file, place(array[1]), array[2]) end
  core.hdf5_finish(file)
end

local Archive = class "Archive"

--- The text of the header, nil: the file has none;  read(name) -> tensor, nil: there is none.
function Archive:header() return core.hdf5_kind(self.file, HEADER) == "text" and core.hdf5_row(self.file, HEADER, 1) or nil end

--- The names of the arrays that the header lists.
function Archive:names()
  local names = {}
  for _, entry in ipairs(require "bdl.json".decode(self:header(), "header").entries) do
    for _, leaf in ipairs(entry.leaves) do names[#names + 1] = leaf.array end
  end
  return names
end

function Archive:read(name)
  name = place(name)
  return core.hdf5_kind(self.file, name) == "array" and core.hdf5_read(self.file, name) or nil
end

function M.open(path)
  local archive = class.alloc(Archive)
  archive.file = core.hdf5_open(path)
  return archive
end

return M

--- Safetensors: a State's leaf an array, the header of bdl.save among the metadata, with a CRC-32 of it (under "") and of each array.
--
--   bytes of the index (8, little-endian), index {"name": {"dtype", "shape", "data_offsets"}, .., "__metadata__": {}}, arrays
--
-- A file of another program has no header of bdl.save: each array is then the value at the path that its name is.
-- Source: github.com/huggingface/safetensors, README, "Format".
local core = require "bdl.core"
local class = require "bdl.class"
local json = require "bdl.json"
local paths = require "bdl.path"
local util = require "bdl.util"

local M = {}

local METADATA, HEADER, CHECKSUMS = "__metadata__", "bdl", "bdl.crc32"
local INDEX_MOST = 100 << 20                     -- bytes, as other readers have it

--- dtype of the format -> code of core.raw_read
local CODES = {BOOL = "b1", I8 = "i1", U8 = "u1", I16 = "i2", U16 = "u2", I32 = "i4", U32 = "u4", I64 = "i8", U64 = "u8", F16 = "f2",
               BF16 = "bf", F32 = "f4", F64 = "f8"}
local NAMES = {bool = "BOOL", int32 = "I32", int64 = "I64", uint32 = "U32", float32 = "F32", float64 = "F64"}

-- ---- writing ------------------------------------------------------------------------------------------------------------

function M.write(path, header, arrays, opts)
  if opts.compress then
    core.hint "a file .npz can be compressed"
    core.fail("ValueError", 3, "save: %s: safetensors are not compressed", path)
  end
  local index, checksums, at = {}, {[""] = core.raw_crc(header)}, 0
  for _, array in ipairs(arrays) do
    local name, x = array[1], array[2]
    if name == METADATA then core.fail("ValueError", 3, "save: no array of safetensors can have the path '%s'", name) end
    local bytes = x.size * core.raw_form(CODES[NAMES[x.dtype]])
    index[name] = {dtype = NAMES[x.dtype], shape = json.list(table.move(x.shape, 1, #x.shape, 1, {})),
                   data_offsets = json.list{at, at + bytes}}
    checksums[name] = core.raw_crc(x)
    at = at + bytes
  end
  index[METADATA] = {[HEADER] = header, [CHECKSUMS] = json.encode(checksums)}
  local text = json.encode(index)
  text = text .. (" "):rep(-#text % 8)
  local file = core.raw_create(path)
  local ok, e = pcall(function()
    core.raw_put(file, ("<I8"):pack(#text) .. text)
    for _, array in ipairs(arrays) do core.raw_put(file, array[2]) end
    core.raw_finish(file)
  end)
  if ok then return end
  pcall(core.raw_discard, file)
  error(e, 0)
end

-- ---- reading ------------------------------------------------------------------------------------------------------------

local function is_size(x) return math.type(x) == "integer" and x >= 0 end

--- Bytes of an array of the index; nil: the entry is none.
local function bytes_of(entry)
  if type(entry) ~= "table" or type(entry.shape) ~= "table" or type(entry.data_offsets) ~= "table" then return nil end
  local n = core.raw_form(CODES[entry.dtype] or "")
  for _, extent in ipairs(n and entry.shape or {}) do
    if not is_size(extent) or extent > 0 and n > math.maxinteger // extent then return nil end
    n = n * extent
  end
  return n
end

--- The arrays of the index by name, {code, shape, at}, and the metadata.  Arrays fill the file without a gap.
local function read_index(path, text, begin, size)
  local index = json.decode(text, path)
  local function damaged(what) core.fail("IOError", 4, "%s: %s", path, what) end
  if type(index) ~= "table" then damaged "the index is none" end
  local metadata, arrays, list = index[METADATA], {}, {}
  index[METADATA] = nil
  if metadata ~= nil and type(metadata) ~= "table" then damaged "the metadata are none" end
  for name, entry in next, index do
    local bytes = bytes_of(entry)
    local from, to = bytes and entry.data_offsets[1], bytes and entry.data_offsets[2]
    local dtype = type(entry) == "table" and entry.dtype
    if type(dtype) == "string" and not CODES[dtype] then
      core.fail("NotSupportedError", 4, "%s: '%s' is of %s, which bdl has not", path, tostring(name), dtype)
    end
    if not is_size(from) or not is_size(to) or to - from ~= bytes then
      damaged(("the index is damaged at '%s'"):format(tostring(name)))
    end
    arrays[name] = {code = CODES[dtype], shape = entry.shape, at = begin + from}
    list[#list + 1] = {from, to, name}
  end
  table.sort(list, function(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end)
  local at = 0
  for _, part in ipairs(list) do
    if part[1] ~= at then damaged(("the array '%s' is not where the one before ends"):format(part[3])) end
    at = part[2]
  end
  if begin + at ~= size then damaged(("%d bytes of arrays, the index needs %d"):format(size - begin, at)) end
  return arrays, metadata or {}
end

--- The header of bdl.save that says what the arrays of another program are.
local function foreign_header(path, arrays)
  local list = json.list{}
  for _, name in ipairs(util.sorted_keys(arrays)) do
    if not paths.parse(name) then
      core.fail("NotSupportedError", 4, "%s: '%s' is no path as bdl writes it, layers[1].weight", path, name)
    end
    list[#list + 1] = {path = name, tree = "*", leaves = json.list{{array = name, key = "", unit = "1"}}}
  end
  return json.encode{format = "bdl", version = 1, entries = list}
end

local Archive = class "Archive"

local function check(self, name, what, crc)
  local expected = self.checksums[name]
  if expected ~= nil and expected ~= crc then
    core.fail("IOError", 5, "%s: the checksum of %s is %s, not %s", self.path, what, tostring(crc), tostring(expected))
  end
end

--- The text of the header;  read(name) -> tensor, nil: there is none.
function Archive:header()
  local own = self.metadata[HEADER]
  if type(own) ~= "string" then return foreign_header(self.path, self.arrays) end
  check(self, "", "the header", core.raw_crc(own))
  return own
end

function Archive:names() return util.sorted_keys(self.arrays) end

function Archive:read(name)
  local array = self.arrays[name]
  if not array then return nil end
  local x, crc = core.raw_read(self.file, name, array.at, array.code, array.shape)
  check(self, name, ("'%s'"):format(name), crc)
  return x
end

--- bytes: the file, if it is in memory.
function M.open(path, bytes)
  local file, size = core.raw_open(path, bytes)
  local n = size >= 8 and ("<I8"):unpack(core.raw_text(file, 0, 8)) or -1
  if n < 2 or n > math.min(size - 8, INDEX_MOST) then core.fail("IOError", 3, "%s: byte 0: no safetensors, %d bytes of index", path, n) end
  local archive = class.alloc(Archive)
  archive.path, archive.file = path, file
  archive.arrays, archive.metadata = read_index(path, core.raw_text(file, 8, n), 8 + n, size)
  local checksums = archive.metadata[CHECKSUMS]
  checksums = type(checksums) == "string" and json.decode(checksums, path .. ", " .. CHECKSUMS)
  archive.checksums = type(checksums) == "table" and checksums or {}
  return archive
end

return M

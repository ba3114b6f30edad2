--- Arrays in files of NumPy: .npy, one array, and .npz, many by name.
local core = require "bdl.core"
local class = require "bdl.class"
local util = require "bdl.util"
local base = require "bdl.array.base"
local provenance = require "bdl.provenance"

local M = {}

local function path_argument(who, path)
  if type(path) == "string" and path ~= "" and not path:find "\0" then return path end
  core.fail("TypeError", 3, "data.%s: the path is a string, not %s", who,
            path == "" and "an empty one" or "a " .. class.typename(path))
end

local function read_all(reader, alone)
  if alone then return core.file_read(reader, 1) end
  local map = util.PrettyMapping()
  for i, name in ipairs(core.file_names(reader)) do map[name] = core.file_read(reader, i) end
  return map
end

--- The arrays of a .npz, an ordered map from names to tensors; of a .npy the one tensor.
--  A dtype is kept where bdl has it; int8, int16, uint8 and uint16 become int32, uint64 int64, float16 float32.
--  Errors: IOError with the offset in the file, NotSupportedError for other dtypes.
--  Example:
--    local path = os.tmpname() .. ".npz"
--    bdl.data.save(path, {x = bdl.ones(3)})
--    print(bdl.data.load(path).x)
--    os.remove(path)
function M.load(path)
  local reader <close>, alone = core.file_open(path_argument("load", path))
  return read_all(reader, alone)
end

--- Handwritten digits: x_train int32[1437,8,8], 0 to 16, y_train int32[1437], 0 to 9; x_test, y_test, 360 of them.
--  Source: Alpaydin and Kaynak (1998), see models/data/README.md.
--  Example:
--    local d = bdl.data.digits()
--    print(d.x_train.shape, d.y_test)
function M.digits()
  local name = "models/data/digits.npz"
  local reader <close>, alone = core.file_open(name, core.embedded(name))
  return read_all(reader, alone)
end

--- Writes a file array by array, and arrays row by row; it comes into being at :close(), whole or not at all.
--
--   local w <close> = bdl.data.writer("run.npz")     -- closed at the end of the block; an error there leaves no file
--   w:put("dt", 0.1)
--   local V = w:rows("V", bdl.zeros(100))            -- as many rows as follow, each a float32[100]
--   for _ = 1, 10 do V:add(bdl.random.rand(500, 100)) end
--
--  Rows wait on the disk: memory does not grow.  Option compress: smaller and slower.
--  Example:
--    local path = os.tmpname() .. ".npz"
--    local w = bdl.data.NAME(path)
--    w:put("dt", 0.1)
--    w:close()
--    os.remove(path)
local Writer = class "Writer"
local Rows = class "Rows"
M.Writer = Writer

--- A name that every reader of the file understands.
local function name_argument(who, name)
  if type(name) ~= "string" then
    core.fail("TypeError", 3, "data.%s: a name is a string, not a %s", who, class.typename(name))
  end
  if name == "" or not utf8.len(name) or name:find "\0" then
    core.fail("ValueError", 3, "data.%s: a name is a text of UTF-8, not %q", who, name)
  end
  return name
end

local function plain(who, name, x)
  local unit = core.is_tensor(x) and core.unit_of(x)
  if unit then
    core.hint("write x / unit, and the unit into the name")
    core.fail("UnitMismatchError", 3, "data.%s: '%s' is in %s, files have plain numbers", who, name, tostring(unit))
  end
  return x
end

function Writer:__init(path, opts)
  opts = base.options("data.writer", opts, base.names "compress")
  path = path_argument("writer", path)
  if not path:find "%.np[yz]$" then
    core.fail("ValueError", 2, "data.writer: '%s' ends neither in .npz nor in .npy", path)
  end
  self._file = core.file_create(provenance.target(path), opts.compress)
  self._archive = path:find "z$" and true
end

--- A whole array, concrete: a tensor, number, or nested list of them.
function Writer:put(name, x)
  core.file_put(self._file, name_argument("writer", name), core.tensor(plain("writer", name, x)))
end

--- An array that grows by rows like `row`; give its :add(x) an x[n, ..] of n rows.
function Writer:rows(name, row)
  row = core.tensor(plain("writer", name, row))
  local rows = class.alloc(Rows)
  rows._file = self._file
  rows._name = name
  rows._handle = core.file_rows(self._file, name_argument("writer", name), row)
  return rows
end

function Rows:add(x) core.file_add(self._file, self._handle, core.tensor(plain("writer", self._name, x))) end

function Writer:close()
  self._closed = true
  if self._archive then core.file_put_text(self._file, "provenance.json", provenance.text()) end
  core.file_finish(self._file)
end

function Writer:__close(err)
  if self._closed then return end
  if err == nil then self:close() else core.file_discard(self._file) end
end

M.writer = Writer

--- Writes a .npz of a map from names to arrays (a plain table in the order of names), or a .npy of one array.
--  Options: compress.  Errors: IOError; UnitMismatchError; ValueError, the path ends in neither.
--  Example:
--    local path = os.tmpname() .. ".npz"
--    bdl.data.save(path, {x = bdl.ones(3)})
--    os.remove(path)
function M.save(path, map, opts)
  opts = base.options("data.save", opts, base.names "compress")
  local one = type(path) == "string" and path:find "%.npy$"
  if not one and (type(map) ~= "table" or core.is_tensor(map)) then
    core.fail("TypeError", 2, "data.save: a .npz has arrays by name, {x = ..}, not a %s", class.typename(map))
  end
  local w <close> = Writer(path, opts)
  if one then
    w:put("array", map)
  else
    for name, x in util.PrettyMapping(map):items() do w:put(name, x) end
  end
end

return M

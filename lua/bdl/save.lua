--- States in files:  bdl.save("net.npz", net); bdl.load("net.npz", net).
--
--   header   {"format": "bdl", "version": 1, "entries": [{"path", "class", "tree",
--                                                         "leaves": [{"array", "key", "unit"}]}]}
--   arrays   a leaf each, bit for bit, under its path: "neu.V", "layers[1].weight.bias"
--
-- A file is data: nothing in it is run, and none of it is believed before it was checked.  Formats are elsewhere:
-- `save/<ending>.lua` has write(path, header, arrays, opts) and open(path) -> archive: archive:header(), :read(name).
local core = require "bdl.core"
local class = require "bdl.class"
local base = require "bdl.array.base"
local entries = require "bdl.save.entries"
local json = require "bdl.json"
local paths = require "bdl.path"
local provenance = require "bdl.provenance"
local state = require "bdl.state"
local util = require "bdl.util"

local M = {}

local FORMAT, VERSION = "bdl", 1
local ENDINGS = {"npz", "safetensors", "h5"}

--- The module of the format that the path ends in.
local function format_of(who, path)
  if type(path) ~= "string" or path == "" or path:find "\0" then
    core.fail("TypeError", 3, "%s: the path is a string, not %s", who,
              path == "" and "an empty one" or type(path) == "string" and "one with a zero byte"
              or "a " .. class.typename(path))
  end
  local ending = path:match "%.([%w_]+)$"
  for _, known in ipairs(ENDINGS) do
    if ending == known then return require("bdl.save." .. known) end
  end
  core.fail("ValueError", 3, "%s: '%s' does not end in .%s", who, path, table.concat(ENDINGS, " or ."))
end

local function outside(who)
  if core.tracing() then
    core.fail("TraceContextError", 3, "%s: inside of compiled code there are no values to put into files", who)
  end
end

-- ---- saving ---------------------------------------------------------------------------------------------------------

local function unit_text(x)
  local unit = core.unit_of(x)
  return unit and tostring(unit) or "1"
end

--- Writes the States of a model to a file .npz, .safetensors or .h5, which is there whole or not at all; NumPy and h5py read them, too.
--  path, x : the file; a model, State, Simulation (all States that its step touches, clock and generator, too), or a
--    map or table of these and of values: {net = net, adam = adam, random = bdl.random.DEFAULT}
--  Values keep dtype, unit and every bit, so what goes on from them goes on the same.
--  Options: compress, smaller and slower (.npz).
--  Errors: TypeError, what a file cannot hold; ValueError, no States, or an unknown ending; IOError.
--  Example:
--    local path, cell = os.tmpname() .. ".npz", bdl.nn.init_all_states(bdl.nn.LIF(3))
--    bdl.save(path, cell)
--    print(bdl.load(path))
--    os.remove(path)
function M.save(path, x, opts)
  opts = base.options("save", opts, base.names "compress")
  local format = format_of("save", path)
  outside "save"
  local header, arrays, found = json.list{}, {}, entries.of("save", x)
  for at, entry in found:items() do
    local is_state = class.isa(entry, state.State)
    local leaves, tree = entries.leaves(state.maybe_state(entry))
    local listed = json.list{}
    for _, leaf in ipairs(leaves) do
      local name = paths.append(at, leaf[1])
      name = name == "" and "value" or name
      listed[#listed + 1] = {array = name, key = leaf[1], unit = unit_text(leaf[2])}
      arrays[#arrays + 1] = {name, core.mantissa(leaf[2])}
    end
    header[#header + 1] = {path = at, class = is_state and class.of(entry).name or nil, tree = tree, leaves = listed}
  end
  if #header == 0 then
    core.hint "nn.init_all_states(model) makes the States of a model"
    core.fail("ValueError", 2, "save: there are no States in the %s", class.typename(x))
  end
  format.write(provenance.target(path), json.encode{format = FORMAT, version = VERSION, entries = header,
                                 provenance = provenance.now()}, arrays, opts)
end

-- ---- loading --------------------------------------------------------------------------------------------------------

local function is_text(x) return type(x) == "string" end
local function is_list(x) return type(x) == "table" end

--- Entries of the header, of the types that they shall have.
local function read_header(path, archive)
  local text = archive:header()
  if not text then
    core.hint "bdl.data.load reads arrays without one; nn.assign_state_values writes them into States"
    core.fail("IOError", 3, "%s has no header of bdl.save", path)
  end
  local header = json.decode(text, path .. ", header")
  if not is_list(header) or header.format ~= FORMAT or math.type(header.version) ~= "integer" then
    core.fail("IOError", 3, "%s: the header is not one of bdl.save", path)
  end
  if header.version > VERSION or header.version < 1 then
    core.fail("NotSupportedError", 3, "%s has version %d of the format, this bdl reads version %d", path,
              header.version, VERSION)
  end
  local list = header.entries
  local ok = is_list(list)
  for _, entry in ipairs(ok and list or {}) do
    ok = ok and is_list(entry) and is_text(entry.path) and is_text(entry.tree) and is_list(entry.leaves)
      and paths.parse(entry.path)
    for _, leaf in ipairs(ok and entry.leaves or {}) do
      ok = ok and is_list(leaf) and is_text(leaf.array) and is_text(leaf.key) and is_text(leaf.unit)
    end
  end
  if not ok then core.fail("IOError", 3, "%s: the header is damaged", path) end
  return list
end

--- The array of a leaf in its unit.
local function read_leaf(path, archive, leaf)
  local x = archive:read(leaf.array)
  if x == nil then core.fail("IOError", 4, "%s: the array '%s' of the header is not in the file", path, leaf.array) end
  if leaf.unit == "1" then return x end
  local known, unit = pcall(core.unit, leaf.unit)
  if not known then core.fail("IOError", 4, "%s: '%s' is in '%s', which is no unit", path, leaf.array, leaf.unit) end
  return core.with_unit(x, unit)
end

--- path -> {tree, leaves = list of {key, tensor}, value} of a file.
local function read(path)
  local archive = format_of("load", path).open(path)
  local found = util.FlattedDict()
  for _, entry in ipairs(read_header(path, archive)) do
    local leaves = {}
    for i, leaf in ipairs(entry.leaves) do leaves[i] = {leaf.key, read_leaf(path, archive, leaf)} end
    local value = entries.value(leaves)
    if value == nil or found:get(entry.path) ~= nil then
      core.fail("IOError", 3, "%s: the header is damaged at '%s'", path, entry.path)
    end
    found[entry.path] = {tree = entry.tree, leaves = leaves, value = value}
  end
  return found
end

local function type_text(x) return ("%s[%s]"):format(x.dtype, table.concat(x.shape, ",")) end
local function unit_name(unit) return unit and tostring(unit) or "plain numbers" end

--- Why the entry of a file is no value of the State: kind of error and text; nil if it is one.
local function misfit(path, s, entry)
  local expected = s.value
  local leaves, tree = entries.leaves(expected)
  if tree ~= entry.tree or #leaves ~= #entry.leaves then
    return "ValueError", ("'%s' has the structure %s, in the file %s"):format(path, tree, entry.tree)
  end
  for i, leaf in ipairs(leaves) do
    local want, got, name = leaf[2], entry.leaves[i][2], paths.append(path, leaf[1])
    if type_text(want) ~= type_text(got) then
      return want.dtype == got.dtype and "ShapeError" or "TypeError",
             ("'%s' is %s, in the file %s"):format(name, type_text(want), type_text(got))
    end
    local unit, other = core.unit_of(want), core.unit_of(got)
    if (unit == nil) ~= (other == nil) or unit and not core.same_dim(unit, other) then
      return "UnitMismatchError", ("'%s' is in %s, in the file in %s"):format(name, unit_name(unit), unit_name(other))
    end
  end
end

local MOST = 10                                  -- lines of a message

--- Raises one error for all lines.
local function raise(kind, head, lines)
  for i = #lines, MOST + 1, -1 do lines[i] = nil or (i == MOST + 1 and ".." or nil) end
  core.fail(kind, 4, "%s%s%s", head, #lines > 1 and "\n  " or " ", table.concat(lines, "\n  "))
end

local function need_same_names(path, unexpected, missing)
  if #unexpected + #missing == 0 then return end
  local lines = {}
  for _, name in ipairs(missing) do lines[#lines + 1] = ("'%s' is missing"):format(name) end
  for _, name in ipairs(unexpected) do lines[#lines + 1] = ("'%s' is not in the model"):format(name) end
  local makes = #missing == 0 and "nn.init_all_states(model) makes the States of a model; " or ""
  core.hint(makes .. "{strict = false} loads what there is, and returns both lists")
  raise("KeyError", path .. ":", lines)
end

local function there(path)
  core.need_files(path)
  local file <close> = io.open(path)
  return file ~= nil
end

--- Reads a file of bdl.save: load(path) -> map from paths to values;  load(path, x, opts) -> unexpected, missing,
--  lists of paths, after it has set the States of x, which is what save takes.
--  Of all entries structure, dtype, shape and unit are compared (another scale converts) before a State changes.
--  Options: strict (default true), false: unexpected and missing entries are no errors.
--  Errors: IOError, damaged or not of bdl.save; NotSupportedError, of a later version; KeyError, ShapeError, TypeError,
--  ValueError, UnitMismatchError with path, what was expected and what is there: then every State is as it was.
--  Example:
--    local path, cell = os.tmpname() .. ".npz", bdl.nn.init_all_states(bdl.nn.LIF(3))
--    bdl.save(path, cell)
--    bdl.load(path, cell)
--    os.remove(path)
function M.load(path, x, opts)
  opts = base.options("load", opts, base.names "strict")
  outside "load"
  if x ~= nil and core.checking() and not there(path) then return {}, {} end -- what bdl check did not write
  local found = read(path)
  if x == nil then
    local values = util.FlattedDict()
    for at, entry in found:items() do values[at] = entry.value end
    return values
  end
  local target, missing, unexpected, writes, lines, kind = entries.of("load", x), {}, {}, {}, {}, nil
  for at, s in target:items() do
    if not class.isa(s, state.State) then
      core.hint "a State can be written: bdl.State(..)"
      core.fail("TypeError", 2, "load: '%s' is no State but a %s", at, class.typename(s))
    end
    local entry = found:get(at)
    if entry then
      local why, text = misfit(at, s, entry)
      kind, lines[#lines + 1] = kind or why, text
      writes[#writes + 1] = {s, entry}
    else
      missing[#missing + 1] = at
    end
  end
  for at in found:items() do
    if target:get(at) == nil then unexpected[#unexpected + 1] = at end
  end
  if opts.strict ~= false then need_same_names(path, unexpected, missing) end
  if #lines > 0 then
    core.hint "bdl.load(path) gives the values without a model"
    raise(kind, path .. ":", lines)
  end
  for _, write in ipairs(writes) do
    local s, leaves = write[1], write[2].leaves
    for i, leaf in ipairs(leaves) do leaves[i] = leaf[2] end
    write[2] = core.unflatten(core.state_treedef(rawget(s, "_handle")), leaves)
  end
  state.write_all(writes, state.State.restore_value)
  return unexpected, missing
end

--- The text of the provenance of a file that bdl wrote; nil: it has none.
function M.provenance(path)
  local format = format_of("rerun", path)
  local archive = format.open(path)
  local text = archive:header()
  local header = text and json.decode(text, path .. ", header")
  if type(header) == "table" and type(header.provenance) == "table" then return json.encode(header.provenance) end
  return archive.text and archive:text "provenance.json" or nil
end

return M

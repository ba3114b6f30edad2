--- Provenance: what a result came from, so that it can be made again.
--
--   {model = {path, text, arguments}, modules = {name = {path, text}}, settings, options, clock, programs = {count, hash},
--    versions = {bdl, lua, instructions}}
--
-- Files of bdl.save, bdl.data and bdl.run(.., {to = ..}) hold it, as JSON; `bdl rerun` runs its model with its settings.
local core = require "bdl.core"
local json = require "bdl.json"
local model = require "bdl.model"
local settings = require "bdl.settings"

local M = {
  options = {},      -- of the command line: name -> value (seed, precision)
  written = nil,     -- path -> path beside it, of what a repeated run has written; nil: this is none
}

local function copy(t)
  local new = {}
  for key, value in next, t do new[key] = value end
  return new
end

--- What is known now.  Texts are those that ran, not those on disk.
function M.now()
  local count, hash = core.programs()
  local main = model.main
  return {
    model = main and {path = main.path, text = main.text, arguments = json.list(copy(main.arguments))} or nil,
    modules = copy(model.modules), settings = copy(settings.given), options = copy(M.options),
    clock = require "bdl.random.clock".base(),
    programs = {count = count, hash = hash},
    versions = {bdl = core.version, lua = _VERSION, instructions = core.isa()},
  }
end

--- The same as text.
function M.text() return json.encode(M.now()) end

local function is_map(x, of)
  if type(x) ~= "table" then return false end
  for key, value in next, x do
    if type(key) ~= "string" or type(value) ~= of then return false end
  end
  return true
end

--- The table of a text of a file.  Errors: IOError, it is none.
function M.parse(text, path)
  local p = json.decode(text, path .. ", provenance")
  local function need(ok, what)
    if not ok then core.fail("IOError", 3, "%s: its provenance is damaged: %s", path, what) end
  end
  need(type(p) == "table" and is_map(p.settings, "string") and type(p.options) == "table" and type(p.programs) == "table", "settings")
  need(math.type(p.clock) == "integer" and type(p.versions) == "table", "versions")
  if p.model == nil then
    core.fail("ValueError", 3, "%s: no model file made it, but what was typed or a host program", path)
  end
  need(is_map(p.modules, "table") and type(p.model) == "table" and type(p.model.path) == "string" and type(p.model.text) == "string"
    and type(p.model.arguments) == "table", "model")
  for _, argument in ipairs(p.model.arguments) do need(type(argument) == "string", "arguments") end
  for _, module in next, p.modules do need(type(module.path) == "string" and type(module.text) == "string", "modules") end
  return p
end

--- Prepares this process for what parse gave; the function that runs its model, or that of another file.
function M.restore(p, other)
  for key, value in next, p.settings do settings.given[key] = value end
  local environ = require "bdl.environ"
  if p.options.precision ~= nil then environ.set{precision = p.options.precision} end
  if p.options.seed ~= nil then require "bdl.random".seed(p.options.seed) end
  for key, value in next, p.options do M.options[key] = value end
  require "bdl.random.clock".base(p.clock)
  for name, module in next, p.modules do model.given[name] = module end
  local arguments, path = p.model.arguments, other or p.model.path
  rawset(_G, "arg", table.move(arguments, 1, #arguments, 1, {[0] = path}))
  return function() model.load(path, nil, nil, not other and p.model.text or nil)(table.unpack(arguments)) end
end

--- Where a result goes that the model writes to `path`: beside it, while a run is repeated.
function M.target(path)
  if not M.written then return path end
  M.written[path] = path:gsub("(%.%w+)$", ".rerun%1")
  return M.written[path]
end

--- Lines on what is not as it was: texts on disk, versions.
function M.changes(p)
  local lines = {}
  local function compare(path, text)
    local file = io.open(path, "rb")
    local now = file and file:read "a"
    if file then file:close() end
    if now ~= text then
      lines[#lines + 1] = ("%s %s; what runs is the text of then"):format(path, now and "has changed since" or "is not there any more")
    end
  end
  compare(p.model.path, p.model.text)
  for _, module in next, p.modules do compare(module.path, module.text) end
  local now = M.now().versions
  for key, value in next, p.versions do
    if now[key] ~= value then lines[#lines + 1] = ("%s is %s now, it was %s"):format(key, tostring(now[key]), tostring(value)) end
  end
  table.sort(lines)
  return lines
end

return M

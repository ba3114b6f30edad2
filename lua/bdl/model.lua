--- Models: loading files, running them, and telling of errors in the user's terms.
--
-- Model files are text, never bytecode.  Their globals are strict: reading or setting an undeclared one is an error,
-- because a forgotten `local` in a traced function would hide as a constant.  `bdl` and `help` are predefined;
--  `require` finds
-- modules beside the model.

local core = require "bdl.core"

local model = {
  on_warning = nil,  -- f(text) for each finding of the walk over the source (bdl.check); nil: no walk
  main = nil,        -- the model that was loaded last: {path =, text =, arguments =}
  modules = {},      -- what `require` found in files: name -> {path =, text =}
  given = {},        -- the same, to be taken in place of files
}

-- ---- strict globals ----------------------------------------------------------------------------------------------------

--- Names that could have been meant: locals of the functions on the stack, and globals.
local function names_in_sight()
  local names, level = {}, 4
  while debug.getinfo(level, "l") do
    local i, name = 1, debug.getlocal(level, 1)
    while name do
      if name:find "^[%a_]" then names[#names + 1] = name end
      i = i + 1
      name = debug.getlocal(level, i)
    end
    level = level + 1
  end
  for name in next, _G do names[#names + 1] = tostring(name) end
  table.sort(names)
  return names
end

local function did_you_mean(name)
  local in_bdl, value = pcall(function() return require "bdl"[name] end)
  if in_bdl and value ~= nil then return (" (did you mean 'bdl.%s'?)"):format(name) end
  return #name > 1 and require "bdl.suggest".hint(name, names_in_sight()) or ""
end

local strict = {}

function strict.__index(_, name)
  core.fail("NameError", 2, "undeclared global '%s'%s", tostring(name), did_you_mean(name))
end

function strict.__newindex(_, name)
  local meant = did_you_mean(name)
  core.hint(("write local %s = .., or rawset(_G, '%s', ..) for a global that is meant"):format(name, name))
  core.fail("NameError", 2, "assignment to undeclared global '%s'%s", tostring(name), meant)
end

-- ---- loading -------------------------------------------------------------------------------------------------------------

local function read(path)
  local file, err = io.open(path, "rb")
  local text
  if file then
    text, err = file:read "a"
    file:close()
  end
  if text then return text end
  core.fail("IOError", 2, "cannot read %s: %s", path, (tostring(err):gsub("^.*: ", "")))
end

--- What Lua calls a chunk in messages: cut short when long.
local function short_name(chunkname)
  return debug.getinfo(load("", chunkname), "S").short_src
end

--- Warnings of the walk over a text, if anybody wants them.
function model.walk(text, name)
  if not model.on_warning then return end
  for _, found in ipairs(require "bdl.check".walk(text)) do
    model.on_warning(("%s:%d:%d: warning: %s\n    %s"):format(name, found.line, found.col, found.message, found.hint))
  end
end

--- The function of a model's text; env: its globals, in place of _G; tail: code that runs behind it, unless it ends with a
--  `return`.  Errors: SyntaxError with file and line; ValueError for bytecode.
function model.load_text(text, name, env, tail)
  text = text:gsub("^\239\187\191", ""):gsub("^#[^\n]*", "")
  if text:byte(1) == 27 then
    core.hint "models are loaded from their source, for bytecode cannot be checked"
    core.fail("ValueError", 2, "%s is compiled Lua, not text", name)
  end
  local chunk, err = tail and load(text .. tail, "@" .. name, "t", env or _G), nil
  if not chunk then chunk, err = load(text, "@" .. name, "t", env or _G) end
  if not chunk then
    local short = short_name("@" .. name)
    local line, message = err:sub(#short + 1):match "^:(%d+): (.*)$"
    core.fail_at("SyntaxError", name, tonumber(line) or 1, message or err)
  end
  model.walk(text, name)
  return chunk
end

--- For require: Lua files of package.path, as models are loaded.
local function search(name)
  local given, path, err = model.given[name], nil, nil
  if not given then
    path, err = package.searchpath(name, package.path)
    if not path then return err end
    given = {path = path, text = read(path)}
  end
  model.modules[name] = given
  return model.load_text(given.text, given.path), given.path
end

local ready = false

--- Once a process: bdl, with which any of its modules can be required alone; strict globals, and text only for everything
--  that loads code.
function model.prepare()
  if ready then return end
  ready = true
  bdl = require "bdl"
  function help(x) return bdl.help(x) end
  local load_, loadfile_ = load, loadfile
  function load(chunk, name, _, ...) return load_(chunk, name, "t", ...) end
  function loadfile(path, _, ...) return loadfile_(path, "t", ...) end
  function dofile(path) return assert(loadfile(path))() end
  for i, searcher in ipairs(package.searchers) do
    local info = debug.getinfo(searcher, "S")
    if i == 3 and info.what == "C" then package.searchers[i] = search end -- after preload and bdl's own
  end
  setmetatable(_G, strict)
  collectgarbage "generational" -- anew: bdl's modules, that grew the heap, had ended that mode
end

--- The function of a model file, as load_text gives it; its folder comes first in package.path.  text: if it is known.
function model.load(path, env, tail, text)
  model.prepare()
  text = text or read(path)
  model.main = {path = path, text = text, arguments = rawget(_G, "arg") or {}}
  local folder = path:match "^.*/" or ""
  package.path = ("%s?.lua;%s?/init.lua;%s"):format(folder, folder, package.path)
  return model.load_text(text, path, env, tail)
end

-- ---- errors ----------------------------------------------------------------------------------------------------------------

--- Text of an error value.  Positions inside bdl give way to the user's line, cut names to whole ones.
local function text_of(e, frames)
  if type(e) ~= "string" then
    local mt = getmetatable(e)
    return mt and mt.__tostring and tostring(e) or ("error object is a %s value"):format(type(e))
  end
  local position = frames[1] and frames[1]:match "^(.-:%d+): in "
  local rest = e:match "^%[bdl%]/[^:]*:%d+: (.*)$" or position and e:match "^%.%.%.[^\n]-:%d+: (.*)$"
  if not rest or os.getenv "BDL_TRACEBACK" == "full" then return e end
  return position and position .. ": " .. rest or rest
end

--- A hint where Lua tells of a field that init_state would have set, or that string.format got a tensor.
local function hint_of(e)
  if type(e) == "string" and e:find "number expected, got bdl%.Tensor" then return "\n    write x:item() for the number of a tensor" end
  local module = package.loaded["bdl.nn.module"]
  local self = type(e) == "string" and module and module.missing_state(e)
  return self and ("\n    %s has no States yet: %s"):format(require "bdl.class".typename(self), module.HINT) or ""
end

--- What an error that a protected call caught was: {text =, kind =, frames =, value =}; frames are those of the user, innermost
--  first, and empty where the text says it all.
function model.failure(e)
  local frames = core.frames(e) or {}
  local kind = type(e) == "table" and e.kind or nil
  local text = text_of(e, frames) .. hint_of(e)
  local here = #frames == 1 and frames[1]:match "^(.-:%d+): in "
  if kind == "InterruptError" or here and text:sub(1, #here + 1) == here .. ":" then frames = {} end
  return {text = text, kind = kind, frames = frames, value = e}
end

--- f(...) protected: nil, or the failure.
function model.try(f, ...)
  local ok, e = xpcall(f, core.traceback, ...)
  if ok then return nil end
  return model.failure(e)
end

-- ---- for hosts (bdl.h) -------------------------------------------------------------------------------------------------------

--- env: the globals of a sandbox, or nil.
function model.run_file(path, _, env) require "bdl.host".keep(model.load(path, env)()) end

--- name: what messages call the text.
function model.run_string(text, name, env)
  model.prepare()
  require "bdl.host".keep(model.load_text(text, name or "text", env)())
end

return model

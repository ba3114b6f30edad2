--- What a session of the REPL knows: its names, and the texts that were typed.
--
--   s:run("x = 2", "in[1]")   results, or nil and the failure (model.try), or "more": the text goes on
--
-- Names that a text sets stay, its locals too; what it does not set is looked for in _G, then among the areas of bdl:
-- nn.LIF(3), 5*u.ms.  A file runs with globals as strict as ever, and leaves its locals behind as names.

local core = require "bdl.core"
local class = require "bdl.class"
local model = require "bdl.model"

local Session = class "Session"

local KEEP, PACK = "\0keep", "\0pack"           -- names of functions that no text can say
local TAIL = ("\n;_ENV[%q]()"):format(KEEP)

function Session:__init()
  self.texts = {}     -- what was typed, by name
  self.files = {}     -- path of a file that ran -> {arguments =, names = {name = value}}
  self.last = nil     -- the last of them
  self.names = setmetatable({}, {__index = function(_, name)
    if name == PACK then return table.pack end
    local value = rawget(_G, name)
    if value ~= nil then return value end
    if name == "u" then return bdl.units end
    if getmetatable(bdl).__submodules[name] then return bdl[name] end
    return _G[name] -- an error that suggests a name
  end})
end

--- A function that puts the locals of who calls it into a table.
local function keeper(names)
  return function()
    local i, name, value = 1, debug.getlocal(2, 1)
    while name do
      if name:find "^[%a_]" then names[name] = value end
      i = i + 1
      name, value = debug.getlocal(2, i)
    end
  end
end

--- The function of an expression, which gives a list with n; nil for other code.  Its call is no tail call, so errors have a place.
function Session:expression(text, name)
  local ends = text:find("--", 1, true) and "\n)" or ")" -- on a line of its own it would move the line of an error
  return load(("return _ENV[%q](%s%s"):format(PACK, text:match "^(.-)[;%s]*$", ends), "@" .. name, "t", self.names)
end

--- Results, as a list with n, of a text that is an expression or a statement; whole: there is no more of it.
function Session:run(text, name, whole)
  local f = self:expression(text, name)
  if not f and not whole then
    for _, try in ipairs{text, "return " .. text} do
      local _, why = load(try, name, "t")
      if why and why:find "<eof>$" then return "more" end
    end
  end
  self.texts[name] = text
  local kept, results = {}, nil
  rawset(self.names, KEEP, keeper(kept))
  local failure = model.try(function()
    if f then
      model.walk(text, name)
      results = f()
    else
      results = table.pack(model.load_text(text, name, self.names, TAIL)())
    end
  end)
  rawset(self.names, KEEP, nil)
  for key, value in next, kept do rawset(self.names, key, value) end
  return results, failure
end

--- Line n of what messages call `name`: a text that was typed, or a file; nil if it cannot be had.
function Session:line(name, n)
  local text, file = self.texts[name], nil
  if not text then
    file = io.open(name)
    text = file and file:read "a" or ""
    if file then file:close() end
  end
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    n = n - 1
    if n == 0 then return line end
  end
end

--- Runs a file; the names that it leaves, or nil and the failure.  It sees no names of the session.
function Session:load(path, arguments)
  local names = {}
  local env = setmetatable({[KEEP] = keeper(names)}, {__index = _G, __newindex = function(_, key, value) _G[key] = value end})
  local given
  local failure = model.try(function()
    rawset(_G, "arg", table.move(arguments, 1, #arguments, 1, {[0] = path}))
    given = model.load(path, env, TAIL)(table.unpack(arguments))
  end)
  if failure then return nil, failure end
  if type(given) == "table" and getmetatable(given) == nil then -- the file ends with a `return`
    for key, value in next, given do
      if type(key) == "string" then names[key] = value end
    end
  end
  self.files[path] = {arguments = arguments, names = names}
  self.last = path
  for key, value in next, names do rawset(self.names, key, value) end
  return names
end

return Session

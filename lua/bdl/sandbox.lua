--- The sandbox: what a stranger's model sees of Lua, and what it may spend.
--
-- It sees bdl and the parts of Lua that only compute.  There are no files, programs, foreign functions, native code or binary chunks, and no
-- way to other modules than those of bdl that models use and Lua files beside the model.  Memory counts Lua's, too; a step is an iteration
-- of a compiled loop or a thousand instructions of Lua.  Time is looked at between steps: one long call of a library function ends first.
local core = require "bdl.core"
local model = require "bdl.model"

local M = {}

local function copy(t, without)
  local new = {}
  for key, value in next, t do new[key] = value end
  for _, key in ipairs(without or {}) do new[key] = nil end
  return new
end

--- Globals of a model that is in folder, "" or with a slash at its end.
local function globals(folder)
  local env = {}
  for name in ("assert error ipairs next pairs pcall print rawequal rawget rawlen rawset select tonumber tostring type warn xpcall"
    .. " _VERSION"):gmatch "%S+" do env[name] = _G[name] end
  env.math, env.utf8, env.coroutine, env.table = copy(math), copy(utf8), copy(coroutine), copy(table)
  env.string = copy(string, {"dump"})
  env.os = {clock = os.clock, time = os.time, date = os.date, difftime = os.difftime}
  env._G, env.bdl, env.help = env, bdl, help

  -- Metatables of userdata have functions that must not be called by hand; that of strings is everybody's.
  function env.getmetatable(x)
    if type(x) == "table" then return getmetatable(x) end
  end

  function env.setmetatable(t, meta)
    if type(meta) == "table" and rawget(meta, "__gc") ~= nil then core.need_finalizers() end
    return setmetatable(t, meta)
  end

  function env.collectgarbage(what)
    if what == nil or what == "collect" or what == "count" then return collectgarbage(what or "collect") end
    core.fail("NotSupportedError", 2, "collectgarbage '%s': a sandboxed model can collect and count", tostring(what))
  end

  function env.load(chunk, name, _, scope)
    if type(chunk) == "function" then
      local parts, part = {}, chunk()
      while part ~= nil and part ~= "" do parts[#parts + 1], part = part, chunk() end
      chunk = table.concat(parts)
    end
    return load(chunk, "=" .. tostring(name or "load"), "t", scope or env)
  end

  local loaded = {}
  function env.require(name)
    if type(name) ~= "string" then core.fail("TypeError", 2, "require: a name is a text") end
    if name == "bdl" then return bdl end
    local area = name:match "^bdl%.([%w_]+)$"
    if area and getmetatable(bdl).__submodules[area] then return bdl[area] end
    if not name:find "^[%w_]+$" and not name:find "^[%w_]+%.[%w_.]*[%w_]$" or name:find("..", 1, true) then
      core.fail("NotSupportedError", 2, "require '%s': a sandboxed model has modules of bdl, and files beside it", name)
    end
    if loaded[name] == nil then
      local path = folder .. name:gsub("%.", "/") .. ".lua"
      local file = io.open(path, "rb")
      if not file then core.fail("IOError", 2, "require '%s': there is no %s", name, path) end
      local text = file:read "a"
      file:close()
      loaded[name] = model.load_text(text, path, env)(name) or true
    end
    return loaded[name]
  end

  return setmetatable(env, {
    __index = function(_, name)
      if type(name) == "string" and rawget(_G, name) ~= nil then
        core.fail("NotSupportedError", 2, "'%s' is not there in a sandbox", name)
      end
      return _G[name] -- an error that suggests a name
    end,
    __newindex = function(_, name, value) _G[name] = value end, -- an error, too
    __metatable = false,
  })
end

--- Closes the sandbox around this context, or gives it a new budget; limits: {steps =, seconds =, memory = bytes}.  Returns the globals of the
--  model at path.
function M.close(path, limits)
  model.prepare()
  debug.getmetatable("").__metatable = false
  local env = globals(path:match "^.*/" or "")
  rawset(env, "arg", rawget(_G, "arg"))
  core.sandbox(limits)
  return env
end

return M

--- The program: bdl COMMAND [options] ..  Returns the exit status: 0 done, 1 the model failed, 2 wrong usage, 130 interrupted.
--
-- Commands are declared in cli/*.lua, in the order of the help.
local core = require "bdl.core"
local options = require "bdl.cli.options"
local shared = require "bdl.cli.shared"
require "bdl.cli.run"
require "bdl.cli.look"
require "bdl.cli.make"
local about = require "bdl.cli.about"
local help = require "bdl.cli.help"

--- Under mpirun every process runs the command; the first one prints.
local function join(opts)
  local size, rank = core.world()
  if size == 1 then return end
  local exit = os.exit
  function os.exit(status, ...)
    io.stdout:flush()
    core.world_end(status == false and shared.FAILED or math.tointeger(tonumber(status)) or shared.OK)
    exit(status, ...)
  end
  if rank > 0 and opts.ranks ~= "all" then
    core.mute()
    opts.quiet = true
  end
end

local function main(...)
  local words = {...}
  local name = table.remove(words, 1)
  if name == "--version" or name == "-v" then
    io.stdout:write("bdl ", core.version, "\n")
    return shared.OK
  elseif name == nil then
    name = "repl"
  elseif name == "--help" or name == "-h" then
    name = "help"
  end
  local found
  local ok, result = xpcall(function()
    found = help.find(name)
    local opts, rest = options.parse(found, words)
    if opts.help then
      io.stdout:write(help.describe(found), "\n")
      return shared.OK
    end
    if found.synopsis == "" and rest[1] then shared.usage("no argument is taken, but '%s' is given", rest[1]) end
    join(opts)
    return found.run(opts, rest) or shared.OK
  end, core.traceback)
  if ok then return result end
  if type(result) ~= "table" or not result.usage then error(result, 0) end
  shared.say(("bdl%s: %s"):format(found and " " .. found.name or "", result.usage))
  shared.say(("try: bdl help%s"):format(found and found ~= shared.commands.help and " " .. found.name or ""))
  return shared.USAGE
end

--- Called with the words of a command line; commands, describe(command) and variables are for the reference.
return setmetatable({commands = shared.commands, describe = help.describe, variables = about.variables},
                    {__call = function(_, ...) return main(...) end})

--- The command help, and finding commands by name.
local shared = require "bdl.cli.shared"
local options = require "bdl.cli.options"
local suggest = require "bdl.suggest"

local M = {}

local command, usage, commands = shared.command, shared.usage, shared.commands

function M.overview()
  local lines = {"bdl: models of brain dynamics", ""}
  for _, c in ipairs(commands) do
    lines[#lines + 1] = ("  bdl %-11s %-22s %s"):format(c.name, c.synopsis, (c.text:match "^[^.:,]*"))
  end
  lines[#lines + 1] = "\n  bdl --version\n  bdl help COMMAND          more on a command and its options"
  lines[#lines + 1] = "  bdl help NAME             what a name of bdl means: bdl help nn, bdl help LIF, bdl help nn.LIF.update"
  return table.concat(lines, "\n")
end

function M.describe(c)
  local lines = {("bdl %s%s%s"):format(c.name, #c.order > 0 and " [options]" or "", c.synopsis ~= "" and " " .. c.synopsis or ""),
                 "", c.text}
  if #c.order > 0 then lines[#lines + 1] = "" end
  for _, name in ipairs(c.order) do
    local option = options.rows[name]
    lines[#lines + 1] = ("  --%-18s %s"):format(name .. (option[1] and " " .. option[1] or ""), option[3])
  end
  return table.concat(lines, "\n")
end

--- The command of a name.
function M.find(name)
  if commands[name] then return commands[name] end
  local names = {}
  for i, c in ipairs(commands) do names[i] = c.name end
  local file = io.open(name)
  if file then file:close() end
  local near = file and (" (did you mean 'bdl run %s'?)"):format(name) or suggest.hint(name, names)
  usage("unknown command '%s'%s", name, near)
end

command("help", "[command or name]", "", [[
The commands and the names of bdl; more on a command (`bdl help run`), an area (`bdl help nn`), a name (`bdl help LIF`,
`bdl help optim.Adam`) or a method (`bdl help nn.LIF.update`).  Upper and lower case do not matter.]], function(_, rest)
  local name, help = rest[1], require "bdl.help"
  if rest[2] then usage("one name at a time, not also '%s'", rest[2]) end
  if not name then
    io.stdout:write(M.overview(), "\n\n", help.overview(), "\n")
    return
  end
  local text, hint
  if commands[name] then text = M.describe(commands[name]) else text, hint = help.lookup(name) end
  if not text then
    if hint == "" then
      local names = {}
      for i, c in ipairs(commands) do names[i] = c.name end
      hint = suggest.hint(name, names)
    end
    usage("nothing is called '%s'%s", name, hint)
  end
  io.stdout:write(text, "\n")
end)

return M

--- The REPL, `bdl repl`: reads a piece of code, runs it, prints what it gave.
--
-- A piece is an expression or a statement, on as many lines as it takes; what it ends with a `;` is not printed.  `_` is the last
-- value.  On a terminal lines are edited and kept in a file (BDL_HISTORY, else ~/.bdl_history); from a pipe or a file pieces run
-- without a word of the REPL's own.

local core = require "bdl.core"
local class = require "bdl.class"
local commands = require "bdl.repl.commands"
local model = require "bdl.model"
local pretty = require "bdl.pretty"
local suggest = require "bdl.suggest"
local util = require "bdl.util"

local MOST_LINES = 200                           -- of a value that is shown

local PROMPT, GOES_ON = "bdl>", "...>"
local GREY, RED, BOLD, PLAIN = "\27[90m", "\27[31m", "\27[1m", "\27[0m"

local function columns() return core.columns() or 100 end

--- A value as the REPL shows it.
local function text_of(x, color)
  if type(x) == "string" then return x end
  if not core.is_tensor(x) then return pretty.text(x, {color = color, width = columns()}) end
  local text = core.text(x)
  if x.ndim == 0 then return text end
  local what = pretty.abstract(x.dtype, x.shape)
  return ("%s  %s%s%s"):format(text, color and GREY or "", what, color and PLAIN or "")
end

local function shortened(text)
  local n, at = 1, 0
  while true do
    at = text:find("\n", at + 1, true)
    if not at then return text end
    n = n + 1
    if n > MOST_LINES then
      local left = select(2, text:sub(at + 1):gsub("\n", "")) + 1
      return ("%s\n.. %d more lines; bdl.pprint(_) shows all"):format(text:sub(1, at - 1), left)
    end
  end
end

local function history_file()
  local own, home = os.getenv "BDL_HISTORY", os.getenv "HOME"
  return own or home and home .. "/.bdl_history"
end

--- The session on standard input; words: a model to load first, and its arguments.  The exit status: 1 where code from a pipe failed.
return function(words, quiet)
  model.prepare()
  local session = require "bdl.repl.session"()
  local interactive = core.is_terminal()
  local color = interactive and os.getenv "TERM" ~= "dumb" and (os.getenv "NO_COLOR" or "") == ""
  local function paint(code, text) return color and code .. text .. PLAIN or text end
  local repl = {session = session, read_on = true}
  local status = 0

  function repl.say(text) io.stdout:write(text, "\n") end

  --- What failed, the line of code that did, and the place in it.
  function repl.fail(failure)
    status = 1
    io.stdout:flush()
    local function tell(...) io.stderr:write(...) end
    local file, line, message, hint = failure.text:match "^([^\n]-):(%d+): ([^\n]*)(.*)$"
    tell(file and paint(BOLD, file .. ":" .. line .. ": ") .. paint(RED, message) or paint(RED, failure.text), "\n")
    local code = file and session:line(file, math.tointeger(line))
    if code then
      local at = require "bdl.repl.caret"(code, message)
      tell("    ", code, "\n", at and "    " .. code:sub(1, at - 1):gsub("[^\t]", " ") .. paint(RED, "^") .. "\n" or "")
    end
    if hint and hint ~= "" then tell(hint:sub(2), "\n") end
    if #failure.frames > 1 then tell("  called from\n    ", table.concat(failure.frames, "\n    ", 2), "\n") end
  end

  function repl.show(results)
    for i = 1, results.n do
      local text
      local failure = model.try(function() text = text_of(results[i], color) end)
      if failure then repl.fail(failure) else repl.say(shortened(text)) end
    end
    if results.n > 0 then rawset(session.names, "_", results[1]) end
  end

  local function run_command(text)
    local name, argument = text:match "^:%s*(%S*)%s*(.-)%s*$"
    local run = commands[name]
    if run then return run(repl, argument) end
    status = 1
    io.stdout:flush()
    io.stderr:write((":%s is no command%s; :help lists them\n"):format(name, suggest.hint(name, util.sorted_keys(commands))))
  end

  local editor = core.line_editor(interactive and require "bdl.repl.complete"(session.names, util.sorted_keys(commands), columns) or nil)
  local history = interactive and history_file()
  if interactive then
    if history then editor:recall(history) end
    if not quiet then repl.say(("bdl %s  nn, u (units) and the other areas of bdl are names here; :help, :quit"):format(core.version)) end
    if not editor:edits() then repl.say "lines cannot be edited: libedit is missing (Debian: libedit2)" end
    model.on_warning = not quiet and repl.say or nil
    if not quiet and core.columns() then require "bdl.progress".start() end
  end

  local function prompt(text)
    if not interactive then return "" end
    return (color and ("\1%s\1%s\1%s\1"):format(BOLD, text, PLAIN) or text) .. " "
  end

  local function remember(lines)
    if not interactive then return end
    local text = table.concat(lines, "\n")
    local joined = #lines > 1 and not text:find("--", 1, true) and not text:find "%[=*%[" and text:gsub("%s*\n%s*", " ")
    for _, line in ipairs(joined and {joined} or lines) do editor:remember(line) end
    if history then editor:keep(history) end
  end

  if #words > 0 then commands.load(repl, table.concat(words, " ")) end
  local count, lines = 0, {}
  while repl.read_on do
    local line = editor:read(prompt(#lines == 0 and PROMPT or GOES_ON))
    if line == false then -- Ctrl-C: the piece is given up
      lines = {}
      repl.say ""
    elseif line == nil and #lines == 0 then
      if interactive then repl.say "" end
      break
    elseif #lines == 0 and line:find "^%s*:" then
      remember{line}
      run_command(line:match "^%s*(.-)%s*$")
    elseif #lines == 0 and (line == "quit" or line == "exit") then
      break
    elseif #lines > 0 or line:find "%S" then
      lines[#lines + 1] = line
      local text = table.concat(lines, "\n")
      local results, failure = session:run(text, ("in[%d]"):format(count + 1), line == nil)
      if results ~= "more" then
        remember(lines)
        count, lines = count + 1, {}
        if not results then repl.fail(failure)
        elseif not text:find ";%s*$" then repl.show(results)
        elseif results.n > 0 then rawset(session.names, "_", results[1]) end
      end
    end
    io.stdout:flush()
  end
  return interactive and 0 or status
end

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

local GOES_ON = "...>"
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

local Repl = class "Repl"

--- opts: names (name -> value, that are there from the start), prompt, greeting (text), quiet.
function Repl:__init(opts)
  model.prepare()
  self.session = require "bdl.repl.session"()
  for name, value in next, opts.names or {} do rawset(self.session.names, name, value) end
  self.interactive = core.is_terminal()
  self.color = self.interactive and os.getenv "TERM" ~= "dumb" and (os.getenv "NO_COLOR" or "") == ""
  self.prompt, self.read_on, self.status, self.count = opts.prompt or "bdl>", true, 0, 0
  local complete = self.interactive and require "bdl.repl.complete"(self.session.names, util.sorted_keys(commands), columns) or nil
  self.editor = core.line_editor(complete)
  self.history = self.interactive and history_file() or nil
  if self.history then self.editor:recall(self.history) end
  if not self.interactive or opts.quiet then return end
  if opts.greeting then self:say(opts.greeting) end
  if not self.editor:edits() then self:say "lines cannot be edited: libedit is missing (Debian: libedit2)" end
end

function Repl:paint(code, text) return self.color and code .. text .. PLAIN or text end

function Repl:say(text) io.stdout:write(text, "\n") end

--- What failed, the line of code that did, and the place in it.
function Repl:fail(failure)
  self.status = 1
  io.stdout:flush()
  local function tell(...) io.stderr:write(...) end
  local file, line, message, hint = failure.text:match "^([^\n]-):(%d+): ([^\n]*)(.*)$"
  tell(file and self:paint(BOLD, file .. ":" .. line .. ": ") .. self:paint(RED, message) or self:paint(RED, failure.text), "\n")
  local code = file and self.session:line(file, math.tointeger(line))
  if code then
    local at = require "bdl.repl.caret"(code, message)
    tell("    ", code, "\n", at and "    " .. code:sub(1, at - 1):gsub("[^\t]", " ") .. self:paint(RED, "^") .. "\n" or "")
  end
  if hint and hint ~= "" then tell(hint:sub(2), "\n") end
  if #failure.frames > 1 then tell("  called from\n    ", table.concat(failure.frames, "\n    ", 2), "\n") end
end

--- results: a list with n.
function Repl:show(results)
  for i = 1, results.n do
    local text
    local failure = model.try(function() text = text_of(results[i], self.color) end)
    if failure then self:fail(failure) else self:say(shortened(text)) end
  end
  self:keep(results)
end

function Repl:keep(results)
  if results.n > 0 then rawset(self.session.names, "_", results[1]) end
end

--- ":load file"
function Repl:command(text)
  local name, argument = text:match "^:%s*(%S*)%s*(.-)%s*$"
  if commands[name] then return commands[name](self, argument) end
  self.status = 1
  io.stdout:flush()
  io.stderr:write((":%s is no command%s; :help lists them\n"):format(name, suggest.hint(name, util.sorted_keys(commands))))
end

--- The next line; nil: there is none; false: Ctrl-C.
function Repl:read(text)
  if not self.interactive then return self.editor:read "" end
  return self.editor:read((self.color and ("\1%s\1%s\1%s\1"):format(BOLD, text, PLAIN) or text) .. " ")
end

function Repl:remember(lines)
  if not self.interactive then return end
  local text = table.concat(lines, "\n")
  local joined = #lines > 1 and not text:find("--", 1, true) and not text:find "%[=*%[" and text:gsub("%s*\n%s*", " ")
  for _, line in ipairs(joined and {joined} or lines) do self.editor:remember(line) end
  if self.history then self.editor:keep(self.history) end
end

--- Runs lines as one piece; false: it goes on.
function Repl:piece(lines, whole)
  local text = table.concat(lines, "\n")
  local results, failure = self.session:run(text, ("in[%d]"):format(self.count + 1), whole)
  if results == "more" then return false end
  self:remember(lines)
  self.count = self.count + 1
  if not results then self:fail(failure)
  elseif text:find ";%s*$" then self:keep(results)
  else self:show(results) end
  return true
end

--- Reads and runs until the input ends, or a command ends it.
function Repl:loop()
  local lines = {}
  while self.read_on do
    local line = self:read(#lines == 0 and self.prompt or GOES_ON)
    if line == false then -- the piece is given up
      lines = {}
      self:say ""
    elseif #lines == 0 and (line == nil or line == "quit" or line == "exit") then
      if line == nil and self.interactive then self:say "" end
      self.read_on = false
    elseif #lines == 0 and line:find "^%s*:" then
      self:remember{line}
      self:command(line:match "^%s*(.-)%s*$")
    elseif #lines > 0 or line:find "%S" then
      lines[#lines + 1] = line
      if self:piece(lines, line == nil) then lines = {} end
    end
    io.stdout:flush()
  end
end

local M = {Repl = Repl}

--- The session on standard input; words: a model to load first, and its arguments.  The exit status: 1 where code from a pipe failed.
function M.run(words, quiet)
  local repl = Repl{quiet = quiet,
    greeting = ("bdl %s  nn, u (units) and the other areas of bdl are names here; :help, :quit"):format(core.version)}
  if repl.interactive and not quiet then
    model.on_warning = function(text) repl:say(text) end
    if core.columns() then require "bdl.progress".start() end
  end
  if #words > 0 then commands.load(repl, table.concat(words, " ")) end
  repl:loop()
  return repl.interactive and 0 or repl.status
end

return M

--- gnuplot, the program: is it there, what can it do, what it makes of a script.
--  No text of users comes to the shell: scripts go through files with names of os.tmpname.
local core = require "bdl.core"
local textfile = require "bdl.textfile"

local M = {}

local function need_files(who)
  core.hint "print(fig) shows the figure"
  core.need_files(who)
end

--- Standard output of a command of the shell, nil where it failed.
local function output_of(command)
  local pipe = pcall(core.need_files, "gnuplot") and io.popen(command, "r")
  if not pipe then return nil end
  local text = pipe:read "a"
  return pipe:close() and text or nil
end

--- "gnuplot 5.4 patchlevel 4"; nil where it is not found.
function M.version()
  local text = output_of "gnuplot --version 2>/dev/null"
  return text and text:match "^gnuplot[^\n]*"
end

--- Set of the names of its terminals.
function M.terminals()
  local set = {}
  local list = output_of "gnuplot -d -e 'print GPVAL_TERMINALS' 2>&1 </dev/null" or ""
  for name in list:gmatch "%S+" do set[name] = true end
  return set
end

--- Fails where there is no gnuplot.
function M.need(who)
  if M.version() then return end
  core.hint "install it, on Debian: apt-get install gnuplot-nox; print(fig) shows a figure in the terminal without it"
  core.fail("NotSupportedError", 3, "%s: the program gnuplot is not found", who)
end

--- What gnuplot writes for a script; `stays`: its window outlives it.
function M.run(who, script, stays)
  need_files(who)
  M.need(who)
  local script_path, error_path = os.tmpname(), os.tmpname()
  local function text_of(path)
    local file = io.open(path, "rb")
    local text = file and file:read "a" or ""
    if file then file:close() end
    return text
  end
  local why = textfile.try(script_path, script)
  local ok = not why
  local text
  if ok then
    local pipe
    local options = stays and "-persist >/dev/null" or "" -- a window would hold the pipe
    pipe, why = io.popen(("gnuplot -d %s %s 2>%s"):format(options, script_path, error_path), "r")
    ok = pipe
    if pipe then
      text = pipe:read "a"
      ok = pipe:close()
      if not ok or not stays and text == "" then
        ok = nil
        local said = text_of(error_path)
        why = said:match "(line %d+:[^\n]*)" or said:match "%S[^\n]*" or "no picture came out"
      end
    end
  end
  os.remove(script_path)
  os.remove(error_path)
  if not ok then core.fail("IOError", 3, "%s: gnuplot failed: %s", who, tostring(why)) end
  return text
end

return M

--- What commands of the program bdl share: how they are declared, what options do, how failures are told.
local core = require "bdl.core"
local options = require "bdl.cli.options"

local M = {OK = 0, FAILED = 1, USAGE = 2, INTERRUPTED = 130, commands = {}, usage = options.usage}
local commands, usage = M.commands, options.usage

function M.say(text) io.stderr:write(text, "\n") end

--- option_list: names of rows of options.lua;  run(opts, words) -> exit status, nil: OK
function M.command(name, synopsis, option_list, text, run)
  local c = {name = name, synopsis = synopsis, options = {}, option_names = {"--help"}, order = {}, text = text, run = run}
  for option in option_list:gmatch "[%a-]+" do
    c.options[option] = true
    c.order[#c.order + 1] = option
    c.option_names[#c.option_names + 1] = "--" .. option
  end
  commands[name] = c
  commands[#commands + 1] = c
end

--- The model of a command line; its arguments become `arg`.
function M.model_of(rest)
  local path = table.remove(rest, 1)
  if not path then usage "which model?" end
  arg = table.move(rest, 1, #rest, 1, {[0] = path})
  return path
end

--- What the options say about the runtime.
function M.apply(opts)
  if opts.threads then core.threads(opts.threads) end
  if opts.tier then core.tier(opts.tier) end
  if opts.native and core.tier() == "interp" then usage("--native %s: tier interp runs no native code", opts.native) end
  local ok, err = pcall(function()
    local kept = require "bdl.provenance".options
    kept.precision, kept.seed = opts.precision, opts.seed
    if opts.precision then require "bdl.environ".set{precision = opts.precision} end
    local platform = opts.platform or os.getenv "BDL_PLATFORM"
    if (platform or "") ~= "" then require "bdl.environ".set{platform = platform} end
    if opts.native then core.native(opts.native) end -- before anything is computed
    if opts.seed then require "bdl.random".seed(opts.seed) end
  end)
  if not ok then usage("%s", type(err) == "table" and err.message .. (err.hint and "\n    " .. err.hint or "") or tostring(err)) end
  if #opts.set > 0 then
    local given = require "bdl.settings".given
    for _, s in ipairs(opts.set) do
      if given[s[1]] then usage("--set %s is given twice", s[1]) end
      given[s[1]] = s[2]
    end
  end
end

--- Prints a failure; the exit status for it.  What fails everywhere is told once: the first process ends the others meanwhile.
function M.report(failure)
  local size, rank = core.world()
  if rank > 0 then core.sleep(0.5) end
  local lines = {(failure.text:find "^[^\n]-:%d+:" and "" or "bdl: ") .. failure.text}
  if size > 1 then lines[1] = ("process %d of %d: %s"):format(rank + 1, size, lines[1]) end
  if #failure.frames > 0 then lines[#lines + 1] = "stack traceback:" end
  local repeated = 0
  for i, frame in ipairs(failure.frames) do
    if frame ~= failure.frames[i + 1] then
      lines[#lines + 1] = "    " .. frame .. (repeated > 0 and (" (%d times)"):format(repeated + 1) or "")
      repeated = 0
    else
      repeated = repeated + 1
    end
  end
  M.say(table.concat(lines, "\n"))
  return failure.kind == "InterruptError" and M.INTERRUPTED or failure.kind == "UsageError" and M.USAGE or M.FAILED
end

--- A model that has run asked for every setting that was given?
function M.check_settings(opts)
  if #opts.set == 0 then return M.OK end
  local unused = require "bdl.settings".unused()
  if #unused == 0 then return M.OK end
  M.say(("bdl: --set %s: the model never asked for it; a model reads its settings by bdl.settings{name = default}")
    :format(table.concat(unused, ", ")))
  return M.USAGE
end

return M

--- Commands that make files of models: compile, export.
local core = require "bdl.core"
local shared = require "bdl.cli.shared"

local command, usage, say, model_of = shared.command, shared.usage, shared.say, shared.model_of
local apply, report, check_settings = shared.apply, shared.report, shared.check_settings
local FAILED = shared.FAILED

command("compile", "model.lua [arguments]", "output march run seed precision set", [[
Native code of every program that the model compiles, in one file: `bdl compile model.lua -o model.so` here, and on a host without a
compiler `bdl run --native model.so model.lua`, with the same settings and results of the same bits.  The model is traced only, as by
`bdl check`; a program that is not in the file, as the model or a setting changed, runs without, and one line says so.]],
function(opts, rest)
  local path, output = model_of(rest), opts.output
  if not output then usage("-o says where to: bdl compile %s -o %s.so", path, path:match "([^/]*)%.lua$" or "model") end
  apply(opts)
  local ok, err = pcall(core.native_make, output) -- before the work: a wrong name is told at once
  if not ok then usage("%s", err.message) end
  local texts, failure = require "bdl.dump".native(path, opts.run)
  if failure then return report(failure) end
  if #texts == 0 then
    say(path .. ": nothing is compiled; bdl.jit, bdl.for_loop and their kind make programs")
    return FAILED
  end
  local n
  failure = require "bdl.model".try(function()
    n = core.native_make(output, texts, opts.march ~= "native" and opts.march or nil)
  end)
  if failure then return report(failure) end
  io.stdout:write(("%s: %d program%s\n"):format(output, n, n == 1 and "" or "s"))
  return check_settings(opts)
end)

command("export", "model.lua [arguments]", "output math ram-limit seed precision threads set", [[
Writes functions of a model, with their States, as one file of C99 and its header for devices without an operating system: no
allocation, no library beyond math.h.  The model runs, and says by bdl.export{name = "net", step = {f, x}} what is written; the
last call counts.  Prints the RAM and flash that it takes.  See bdl help bdl.export.]],
function(opts, rest)
  local model, export = require "bdl.model", require "bdl.export"
  local path, files = model_of(rest), nil
  apply(opts)
  export.math, export.ram_limit = opts.math or "libm", opts["ram-limit"]
  function export.on_export(made) files = made end
  local failure = model.try(function() model.load(path)(table.unpack(arg)) end)
  if failure then return report(failure) end
  if not files then
    say(path .. [[: the model never calls bdl.export
    name what is to be written: bdl.export{name = "net", step = {function(x) return net(x) end, bdl.zeros(3)}}]])
    return FAILED
  end
  local dir = opts.output or "."
  local made, why = core.make_folder(dir)
  for kind, ending in pairs{source = "c", header = "h"} do
    why = why or require "bdl.textfile".try(("%s/%s.%s"):format(dir, files.name, ending), files[kind])
  end
  if not made or why then
    say("bdl export: " .. why)
    return FAILED
  end
  local function row(what, bytes, more) io.stdout:write(("%-7s %9d bytes%s\n"):format(what, bytes, more or "")) end
  io.stdout:write(("%s/%s.c, %s/%s.h\n"):format(dir, files.name, dir, files.name))
  row("RAM", files.state + files.scratch, (": State %d, scratch %d"):format(files.state, files.scratch))
  for i = 1, math.min(#files.parts, 4) do row("", files.parts[i][2], "  " .. files.parts[i][1]) end
  row("flash", files.constants, " of constants, and the code")
  return check_settings(opts)
end)

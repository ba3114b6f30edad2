--- Commands that run models: run, rerun, replay, repl.
local core = require "bdl.core"
local shared = require "bdl.cli.shared"

local command, usage, say, model_of = shared.command, shared.usage, shared.say, shared.model_of
local apply, report, check_settings = shared.apply, shared.report, shared.check_settings
local OK, FAILED, USAGE = shared.OK, shared.FAILED, shared.USAGE

--- --plot FILE, of which a wrong name or a missing gnuplot is told before the run.
local function plot_to(target)
  if not target then return end
  if target ~= "term" and target ~= "none" then
    local ok, err = pcall(require "bdl.plot.gnuplot".check, "--plot", target)
    if not ok then usage("%s%s", err.message, err.hint and "\n    " .. err.hint or "") end
  end
  require "bdl.plot.output".target = target
end

--- A model that has run drew the figure that was asked for?
local function check_plot(opts)
  if not opts.plot or opts.plot == "none" or require "bdl.plot.output".drawn > 0 then return OK end
  say(("bdl: --plot %s: the model has no figure; a model gives it to bdl.plot.output(figure)"):format(opts.plot))
  return USAGE
end

--- The calls that the profile kept, into a file; false, and told, where it cannot be written.
local function write_events(path)
  local text, left_out = core.profile_events()
  local file, why = io.open(path, "w")
  local ok = file
  if file then
    ok, why = file:write(text)
    local closed, late = file:close()
    if ok and not closed then ok, why = nil, late end
  end
  if not ok then say("bdl run: --trace-file " .. tostring(why)) end
  if left_out > 0 then say(("bdl run: %s has the first calls; %d more were too many to keep"):format(path, left_out)) end
  return ok
end

command("run", "model.lua [arguments]", "seed precision threads tier native platform set plot quiet profile trace-file record ranks sandbox memory-limit step-limit time-limit", [[
Runs a model.  Its arguments are in the table `arg`, as with lua.  Exit status: 0 done, 1 the model failed, 2 wrong usage,
130 interrupted.  Ctrl-C ends the step that runs, then the model; a second one ends the process.
Under `mpirun -n 4 bdl run model.lua` all processes run the model, each as a device of bdl.augment.pmap; the first one prints,
and a failure of one ends all.]],
function(opts, rest)
  local model = require "bdl.model"
  local path = model_of(rest)
  apply(opts)
  if not opts.quiet then
    model.on_warning = say
    warn "@on"
    if core.columns() then require "bdl.progress".start() end
  end
  local trace_file = opts["trace-file"]
  if trace_file then
    local file, why = io.open(trace_file, "w") -- before the run: a wrong name is told at once
    if not file then usage("--trace-file %s", why) end
    file:close()
  end
  plot_to(opts.plot)
  if opts.profile or trace_file then core.profile(true, trace_file and "events") end
  for _, limit in ipairs{"memory-limit", "step-limit", "time-limit"} do
    if opts[limit] and not opts.sandbox then usage("--%s holds in a sandbox: --sandbox", limit) end
  end
  local results
  local failure = model.try(function()
    local env = opts.sandbox and require "bdl.sandbox".close(path, {memory = opts["memory-limit"] or 1 << 30, steps = opts["step-limit"],
                                                                     seconds = opts["time-limit"]}) or nil
    local chunk = model.load(path, env)
    if opts.record then require "bdl.replay".record(opts.record) end
    chunk(table.unpack(arg))
    if opts.record then results = require "bdl.replay".finish() end
  end)
  if not opts.quiet and core.columns() then require "bdl.progress".stop() end
  if opts.profile then io.stderr:write(core.profile()) end
  if trace_file and not write_events(trace_file) then return FAILED end
  if failure then return report(failure) end
  if results and not opts.quiet then say(("%s: %d results of equations"):format(opts.record, results)) end
  local drawn, asked = check_plot(opts), check_settings(opts)
  return drawn ~= OK and drawn or asked
end)

--- Tells what is not as it was, and runs; the failure or nil.
local function run_again(p, quiet, run)
  for _, line in ipairs(quiet and {} or require "bdl.provenance".changes(p)) do say("note: " .. line) end
  return require "bdl.model".try(run)
end

command("rerun", "file", "threads tier quiet", [[
Runs the model that made a result again: a file of bdl.save, bdl.data.writer or bdl.run(.., {to = ..}) holds the model's text with its
modules, settings, seed, arguments and versions.  What the model saves goes beside the old files, run.npz to run.rerun.npz, and is
compared with the file: exit status 1 if not all arrays have the same bits.]],
function(opts, rest)
  local path = rest[1]
  if not path then usage "which file?" end
  apply(opts)
  local provenance, replay = require "bdl.provenance", require "bdl.replay"
  local p
  local failure = require "bdl.model".try(function()
    local text = require "bdl.save".provenance(path)
    if not text then core.fail("ValueError", 2, "%s does not tell what made it", path) end
    p = provenance.parse(text, path)
  end)
  if failure then return report(failure) end
  provenance.written = {}
  failure = run_again(p, opts.quiet, provenance.restore(p))
  if failure then return report(failure) end
  local n, difference = replay.compare(path)
  if not n then
    say(path .. ": the model has not written it this time")
    return FAILED
  end
  io.stdout:write(difference and path .. ": " .. difference or ("%s: the same bits in %d arrays"):format(path, n), "\n")
  return difference and FAILED or OK
end)

command("replay", "recording [model.lua]", "check threads quiet", [[
Runs a model again as `bdl run --record` did, from its recording; another version of the model where one is named.  With --check each
equation's result is compared with what it was, and the run stops at the first that differs, with its line.]],
function(opts, rest)
  local path, other = rest[1], rest[2]
  if not path then usage "which recording?" end
  apply(opts)
  local provenance, replay = require "bdl.provenance", require "bdl.replay"
  local p
  local failure = require "bdl.model".try(function() p = replay.read(path) end)
  if failure then return report(failure) end
  local n
  local run = provenance.restore(p, other)
  failure = run_again(p, opts.quiet or other, function()
    if opts.check then replay.check(path) end
    run()
    if opts.check then n = replay.finish() end
  end)
  if failure then return report(failure) end
  if n then io.stdout:write(("%s: %d results of equations, all with the same bits\n"):format(path, n)) end
end)

command("repl", "[model.lua [arguments]]", "seed precision threads tier platform set quiet", [[
The prompt: code is run as it is typed, and what it gives is printed.  A model that is named runs first, and leaves its locals as names.
Tab completes names; `:help` lists the commands, which begin with a colon: load, reload, time, ir, mem, ..; `help(nn.LIF)` tells what
a name means.  Lines that were typed are kept in ~/.bdl_history or BDL_HISTORY.  From a pipe code runs without a prompt; the exit status
is 1 if some of it failed.]],
function(opts, rest)
  apply(opts)
  return require "bdl.repl".run(rest, opts.quiet)
end)

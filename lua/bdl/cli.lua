--- The program: bdl COMMAND [options] ..  Returns the exit status: 0 done, 1 the model failed, 2 wrong usage, 130 interrupted.

local core = require "bdl.core"

local OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

local function suggestion(name, names) return require "bdl.suggest".hint(name, names) end

local function say(text) io.stderr:write(text, "\n") end

--- Wrong usage: ends the command.
local function usage(fmt, ...) error({usage = fmt:format(...)}, 0) end

-- ---- options --------------------------------------------------------------------------------------------------------------

local function whole(least, most)
  return function(text)
    local n = math.tointeger(tonumber(text))
    if not n or n < least or n > most then
      return nil, most == math.maxinteger and ("a whole number from %d"):format(least) or ("%d to %d"):format(least, most)
    end
    return n
  end
end

local function one_of(...)
  local names = {...}
  return function(text)
    for _, name in ipairs(names) do
      if name == text then return math.tointeger(tonumber(text)) or text end
    end
    return nil, table.concat(names, ", ")
  end
end

local function setting(text)
  local path, value = text:match "^%s*([^=%s]+)%s*=(.*)$"
  if not path then return nil, "name=value" end
  return {path, value}
end

--- A processor that native code is made for.
local function march(text)
  local names = {"native"}
  for i, target in ipairs(core.native_targets()) do names[i + 1] = target[2] end
  return one_of(table.unpack(names))(text)
end

--- "512M" -> bytes
local function bytes(text)
  local number, unit = text:match "^(%d+)([kKmMgG]?)$"
  local n = number and math.tointeger(number) * (1 << (({k = 10, m = 20, g = 30})[unit:lower()] or 0))
  if not n or n < 1 then return nil, "bytes: 1000000, 512M, 2G" end
  return n
end

local function seconds(text)
  local s = tonumber(text)
  if not s or not (s > 0 and s < 1e9) then return nil, "seconds, more than 0" end
  return s
end

--- name -> {argument, reader, what it does}; without an argument it is a switch.
local OPTIONS = {
  seed = {"N", whole(0, math.maxinteger), "start bdl.random from this seed"},
  precision = {"BITS", one_of("8", "16", "32", "64", "bf16"), "float dtype: 8, 16, 32 (the default), 64 or bf16"},
  threads = {"N", whole(1, 1024), "use at most so many threads; results do not depend on it"},
  tier = {"NAME", one_of("auto", "interp", "native"), "how compiled programs run: auto (the default), interp (at once), native (compiled first)"},
  platform = {"NAME", one_of("cpu", "gpu"), "device to run on"},
  set = {"NAME=VALUE", setting, "change a setting of the model: --set tau='30 ms' (repeatable)"},
  quiet = {nil, nil, "no progress bars, no warnings"},
  profile = {nil, nil, "print where the time of compiled programs went, and what was achieved of what the machine can do"},
  ["trace-file"] = {"FILE", nil, "write each step of compiled programs on a time line, for chrome://tracing or Perfetto (JSON)"},
  record = {"FILE", nil, "keep what each equation made, as a hash, for bdl replay; slower"},
  sandbox = {nil, nil, "for a model of a stranger: no files, programs or native code; the limits below hold in it"},
  ["memory-limit"] = {"BYTES", bytes, "of a sandbox, all in all: 512M, 2G (1G unless given)"},
  ["step-limit"] = {"N", whole(1, math.maxinteger), "of a sandbox: iterations of compiled loops, and thousands of instructions of Lua"},
  ["time-limit"] = {"SECONDS", seconds, "of a sandbox"},
  check = {nil, nil, "stop at the first equation that gives other numbers"},
  plot = {"FILE", nil, "where the model's figure goes: a file .png, .svg, .pdf or .gif, or term (the default) or none"},
  ranks = {"WHICH", one_of("first", "all"), "under mpirun, which processes print: the first (the default) or all"},
  after = {"PASS", nil, "the program after a pass: trace (before any), inline, simplify, fold, cse, hoist, products, dce, or all"},
  groups = {nil, nil, "hidden groups and relations of online learners instead, as bdl etrace"},
  dot = {"FILE", nil, "write the graph for Graphviz to a file as well"},
  plan = {nil, nil, "the plan only: fused groups, kernels, loops, buffers"},
  c = {nil, nil, "the C text only that native code is made of"},
  clear = {nil, nil, "remove every program"},
  native = {"FILE", nil, "native code that bdl compile made of the model: no compiler is needed, no cache"},
  output = {"FILE", nil, "the file, or of export the folder, to write; -o FILE says the same"},
  march = {"CPU", march, "least processor to run on, as C compilers call it (native: this one, the default)"},
  run = {nil, nil, "run the model in place of tracing it, where what it compiles depends on what it computes"},
  math = {"NAME", one_of("libm", "own"), "what exported code takes from math.h: libm (the default) or own, nothing"},
  ["ram-limit"] = {"BYTES", whole(1, math.maxinteger), "refuse a model that needs more RAM"},
}

--- Options of a command and the words that are none.  Behind the first word, the model, what is no option of bdl is left
--  to the model; so is everything behind `--`.
local function parse(command, words)
  local opts, rest, i = {set = {}}, {}, 1
  while i <= #words do
    local word = words[i]
    i = i + 1
    if word == "-o" and command.options.output then word = "--output" end
    local name, value = word:match "^%-%-([^=]+)=?(.*)$"
    if word == "--" then
      table.move(words, i, #words, #rest + 1, rest)
      break
    elseif word == "-h" or name == "help" then
      opts.help = true
    elseif not word:find "^%-." then
      rest[#rest + 1] = word
    else
      local option = name and command.options[name] and OPTIONS[name]
      local near = suggestion(word:match "^[^=]*", command.option_names)
      if not option then
        if #rest == 0 then usage("unknown option '%s'%s", word, near) end
        if near ~= "" then usage("unknown option '%s'%s; arguments of the model go behind --", word, near) end
        rest[#rest + 1] = word
      elseif not option[1] then
        if word:find "=" then usage("--%s takes no value", name) end
        opts[name] = true
      else
        if not word:find "=" then
          value, i = words[i], i + 1
          if not value then usage("--%s needs a value: --%s %s", name, name, option[1]) end
        end
        local read, expected = value, nil
        if option[2] then read, expected = option[2](value) end
        if read == nil then usage("--%s %s: expected %s", name, value, expected) end
        if name == "set" then opts.set[#opts.set + 1] = read else opts[name] = read end
      end
    end
  end
  return opts, rest
end

-- ---- models ---------------------------------------------------------------------------------------------------------------

--- The model of a command line; its arguments become `arg`.
local function model_of(rest)
  local path = table.remove(rest, 1)
  if not path then usage "which model?" end
  arg = table.move(rest, 1, #rest, 1, {[0] = path})
  return path
end

--- What the options say about the runtime.
local function apply(opts)
  if opts.threads then core.threads(opts.threads) end
  if opts.tier then core.tier(opts.tier) end
  if opts.native and core.tier() == "interp" then usage("--native %s: tier interp runs no native code", opts.native) end
  local ok, err = pcall(function()
    local kept = require "bdl.provenance".options
    kept.precision, kept.seed = opts.precision, opts.seed
    if opts.precision then require "bdl.environ".set{precision = opts.precision} end
    if opts.platform then require "bdl.environ".set{platform = opts.platform} end
    if opts.native then core.native(opts.native) end -- before anything is computed
    if opts.seed then require "bdl.random".seed(opts.seed) end
  end)
  if not ok then usage("%s", type(err) == "table" and err.message or tostring(err)) end
  if #opts.set > 0 then
    local given = require "bdl.settings".given
    for _, s in ipairs(opts.set) do
      if given[s[1]] then usage("--set %s is given twice", s[1]) end
      given[s[1]] = s[2]
    end
  end
end

--- Under mpirun every process runs the command; the first one prints.
local function join(opts)
  local size, rank = core.world()
  if size == 1 then return end
  local exit = os.exit
  function os.exit(status, ...)
    io.stdout:flush()
    core.world_end(status == false and FAILED or math.tointeger(tonumber(status)) or OK)
    exit(status, ...)
  end
  if rank > 0 and opts.ranks ~= "all" then
    core.mute()
    opts.quiet = true
  end
end

--- Prints a failure; the exit status for it.  What fails everywhere is told once: the first process ends the others meanwhile.
local function report(failure)
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
  say(table.concat(lines, "\n"))
  return failure.kind == "InterruptError" and INTERRUPTED or failure.kind == "UsageError" and USAGE or FAILED
end

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

--- A model that has run asked for every setting that was given?
local function check_settings(opts)
  if #opts.set == 0 then return OK end
  local unused = require "bdl.settings".unused()
  if #unused == 0 then return OK end
  say(("bdl: --set %s: the model never asked for it; a model reads its settings by bdl.settings{name = default}")
    :format(table.concat(unused, ", ")))
  return USAGE
end

-- ---- commands -------------------------------------------------------------------------------------------------------------

local commands = {}

local function command(name, synopsis, options, text, run)
  local c = {name = name, synopsis = synopsis, options = {}, option_names = {"--help"}, order = {}, text = text, run = run}
  for option in options:gmatch "[%a-]+" do
    c.options[option] = true
    c.order[#c.order + 1] = option
    c.option_names[#c.option_names + 1] = "--" .. option
  end
  commands[name] = c
  commands[#commands + 1] = c
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

command("check", "model.lua [arguments]", "precision set", [[
Looks for mistakes without running the model.  First a walk over the source flags tensors used as Lua booleans (`if x:lt(0)`,
`s.value == 1`, `not t`), which Lua takes as always true.  Then the script runs with every compiled function and loop only
traced: names, shapes, dtypes and units are checked on the way, and each program is planned.  Compiled programs give zeros;
what depends on their values is not checked.  Exit status 1 if anything was found.]],
function(opts, rest)
  local path = model_of(rest)
  apply(opts)
  local found, programs, failure = require "bdl.dump".check(path)
  if failure then return report(failure) end
  io.stdout:write(("%s: %s, %d program%s traced\n"):format(path, found == 0 and "nothing found" or found .. " found", programs,
    programs == 1 and "" or "s"))
  return found > 0 and FAILED or check_settings(opts)
end)

command("dump", "model.lua [arguments]", "after plan c groups precision set", [[
Prints every program that the model compiles, and its plan.  The model is traced only, as by `bdl check`.]],
function(opts, rest)
  if opts.groups then return commands.etrace.run(opts, rest) end
  local path = model_of(rest)
  local dump = require "bdl.dump"
  local after = opts.after
  if after and after ~= "all" then
    local known = false
    for _, stage in ipairs(dump.stages) do known = known or stage == after end
    if not known then
      local stages = table.concat(dump.stages, ", ")
      usage("--after %s: no such pass%s; there are %s, all", after, suggestion(after, dump.stages), stages)
    end
  end
  apply(opts)
  local failure = dump.dump(path, function(stage)
    if stage == "c" then return opts.c end
    if stage == "plan" and opts.plan then return true end
    if after then return after == "all" or stage == after end
    return not opts.plan and not opts.c and (stage == "dce" or stage == "plan")
  end)
  return failure and report(failure) or check_settings(opts)
end)

command("explain", "model.lua [arguments]", "precision set", [[
What runs together: for each program that the model compiles, its passes over memory, kernels and loops with the model's lines,
the bytes that they move and the operations that they do, and why an equation does not run in the same pass as what it reads.
The model is traced only, as by `bdl check`.]],
function(opts, rest)
  local path = model_of(rest)
  apply(opts)
  local failure, programs = require "bdl.dump".explain(path)
  if failure then return report(failure) end
  if programs == 0 then
    say(path .. ": nothing is compiled; bdl.jit, bdl.for_loop and their kind make programs")
    return FAILED
  end
  return check_settings(opts)
end)

command("etrace", "model.lua [arguments]", "dot precision set", [[
What online learning makes of a model: for each learner that the model compiles, its hidden groups, the relations of weights
to them, what has no trace and why, the memory of the traces, and whether the gradient is exact.  The model is traced only,
as by `bdl check`.]],
function(opts, rest)
  local path = model_of(rest)
  apply(opts)
  local learners, failure = require "bdl.dump".learners(path)
  if failure then return report(failure) end
  if #learners == 0 then
    say(path .. ": no learner is compiled; make one by bdl.online.compile(model, rule, example)")
    return FAILED
  end
  local describe, drawings = require "bdl.online.describe", {}
  for i, learner in ipairs(learners) do
    io.stdout:write(i > 1 and "\n" or "", describe.text(learner), "\n")
    drawings[i] = describe.dot(learner)
  end
  if opts.dot then
    local file, why = io.open(opts.dot, "w")
    if not file then
      say("bdl etrace: " .. why)
      return FAILED
    end
    file:write(table.concat(drawings, "\n"), "\n")
    file:close()
  end
end)

command("verify-grad", "model.lua [arguments]", "seed precision threads tier set", [[
Compares a model's online gradient with backpropagation through time and finite differences, parameter by parameter, and says
what theory expects.  The model runs without compiling until its first learner:etrace_grad(..), or its first bdl.grad of a function
that runs the learner; what is compared goes back to the last learner:reset_state() (of etrace_grad, the first 50 steps).]],
function(opts, rest)
  local path = model_of(rest)
  apply(opts)
  local model, result = require "bdl.model", nil
  local failure = model.try(function()
    local chunk = model.load(path)
    result = require "bdl.online.first_gradient"(function() chunk(table.unpack(arg)) end)
  end)
  if failure then return report(failure) end
  if result then
    io.stdout:write(tostring(result), "\n")
    return OK
  end
  say(path .. ": the model takes no gradient through a learner; bdl.online.verify_grad(learner, xs, ys, step_fn) verifies one in the script")
  return FAILED
end)

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

--- Writes a text whole or not at all; why not.
local function write_file(path, text)
  local file, why = io.open(path .. ".tmp", "wb")
  if not file then return why end
  local ok, late = file:write(text)
  local closed, later = file:close()
  if not ok or not closed then return path .. ": " .. tostring(late or later) end
  ok, why = os.rename(path .. ".tmp", path)
  return not ok and why or nil
end

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
    why = why or write_file(("%s/%s.%s"):format(dir, files.name, ending), files[kind])
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

command("prims", "", "", [[
The primitives: operands and results (n: any number), rules (J jvp, T transpose, B batch), and what they compute.]],
function()
  local function count(n) return n < 0 and "n" or tostring(n) end
  for _, p in ipairs(core.prims()) do
    io.stdout:write(("%-18s %s -> %s  %s%s%s  %s\n"):format(p.name, count(p.n_in), count(p.n_out), p.jvp and "J" or "-",
      p.transpose and "T" or "-", p.batch and "B" or "-", p.synopsis))
  end
end)

--- Environment variables that bdl or its libraries look at.
local VARIABLES = {
  {"BDL_TRACEBACK", "full: tracebacks show bdl's own frames too"},
  {"BDL_TIER", "auto, interp or native: how compiled programs run where --tier does not say"},
  {"BDL_NATIVE", "native code that bdl compile made, where --native does not say"},
  {"BDL_CC", "C compiler of the native tier, in place of cc"},
  {"BDL_CACHE", "folder of its programs, in place of ~/.cache/bdl"},
  {"BDL_HISTORY", "file of what was typed at the prompt, in place of ~/.bdl_history"},
  {"BDL_BLAS", "shared library for matrix products and factorisations, in place of OpenBLAS"},
  {"BDL_LUA", "folder to load bdl's Lua modules from, in place of the built-in ones (for development)"},
  {"OMP_NUM_THREADS", "threads to use where --threads does not say"},
  {"OPENBLAS_CORETYPE", "kernels of OpenBLAS; set by bdl on processors with AVX-512"},
}

command("cache", "", "clear", [[
The folder of native code: where it is, how many programs of how many bytes it holds.  Compiled programs are found there again by
what they compute; those used longest ago go when there are more than 256 MiB.]],
function(opts)
  local dir, files, bytes = core.cache(opts.clear)
  io.stdout:write(("%s\n%d program%s, %.1f MiB\n"):format(dir, files, files == 1 and "" or "s", bytes / 2^20))
end)

command("env", "", "", "What bdl finds on this machine, and the environment variables that it reads.", function()
  local function row(name, value) io.stdout:write(("%-18s %s\n"):format(name, value)) end
  local core_type = os.getenv "OPENBLAS_CORETYPE" -- before the library is loaded
  local float, int = core.precision()
  local limit = core.memory().limit
  row("version", core.version .. ", " .. _VERSION)
  row("platform", "cpu")
  row("instructions", core.isa())
  row("tier", core.tier())
  row("threads", core.threads())
  row("precision", ("%s, %s"):format(float, int))
  row("BLAS", core.blas() or "none found")
  row("MPI", core.world_library() or "none found; pmap has one device")
  row("HDF5", core.hdf5_built() and "built in" or "not built in; with libhdf5-dev it would be")
  row("gnuplot", require "bdl.plot.program".version() or "none found; figures are text, not files")
  local size, rank = core.world()
  row("processes", size == 1 and "1" or ("%d, this is %d"):format(size, rank + 1))
  row("memory limit", limit > 0 and limit .. " bytes" or "none")
  io.stdout:write "\n"
  for _, v in ipairs(VARIABLES) do
    local value = v[1] == "OPENBLAS_CORETYPE" and core_type or os.getenv(v[1])
    row(v[1], ("%-12s %s"):format(v[1] ~= "OPENBLAS_CORETYPE" and value or core_type or "(not set)", v[2]))
  end
end)

local function overview()
  local lines = {"bdl: models of brain dynamics", ""}
  for _, c in ipairs(commands) do
    lines[#lines + 1] = ("  bdl %-11s %-22s %s"):format(c.name, c.synopsis, (c.text:match "^[^.:,]*"))
  end
  lines[#lines + 1] = "\n  bdl --version\n  bdl help COMMAND          more on a command and its options"
  lines[#lines + 1] = "  bdl help NAME             what a name of bdl means: bdl help nn, bdl help LIF, bdl help nn.LIF.update"
  return table.concat(lines, "\n")
end

local function describe(c)
  local lines = {("bdl %s%s%s"):format(c.name, #c.order > 0 and " [options]" or "", c.synopsis ~= "" and " " .. c.synopsis or ""),
                 "", c.text}
  if #c.order > 0 then lines[#lines + 1] = "" end
  for _, name in ipairs(c.order) do
    local option = OPTIONS[name]
    lines[#lines + 1] = ("  --%-18s %s"):format(name .. (option[1] and " " .. option[1] or ""), option[3])
  end
  return table.concat(lines, "\n")
end

--- The command of a name.
local function find(name)
  if commands[name] then return commands[name] end
  local names = {}
  for i, c in ipairs(commands) do names[i] = c.name end
  local file = io.open(name)
  if file then file:close() end
  local near = file and (" (did you mean 'bdl run %s'?)"):format(name) or suggestion(name, names)
  usage("unknown command '%s'%s", name, near)
end

command("help", "[command or name]", "", [[
The commands and the names of bdl; more on a command (`bdl help run`), an area (`bdl help nn`), a name (`bdl help LIF`,
`bdl help optim.Adam`) or a method (`bdl help nn.LIF.update`).  Upper and lower case do not matter.]], function(_, rest)
  local name, help = rest[1], require "bdl.help"
  if rest[2] then usage("one name at a time, not also '%s'", rest[2]) end
  if not name then
    io.stdout:write(overview(), "\n\n", help.overview(), "\n")
    return
  end
  local text, hint
  if commands[name] then text = describe(commands[name]) else text, hint = help.lookup(name) end
  if not text then
    if hint == "" then
      local names = {}
      for i, c in ipairs(commands) do names[i] = c.name end
      hint = suggestion(name, names)
    end
    usage("nothing is called '%s'%s", name, hint)
  end
  io.stdout:write(text, "\n")
end)

local function main(...)
  local words = {...}
  local name = table.remove(words, 1)
  if name == "--version" or name == "-v" then
    io.stdout:write("bdl ", core.version, "\n")
    return OK
  elseif name == nil then
    name = "repl"
  elseif name == "--help" or name == "-h" then
    name = "help"
  end
  local found
  local ok, result = xpcall(function()
    found = find(name)
    local opts, rest = parse(found, words)
    if opts.help then
      io.stdout:write(describe(found), "\n")
      return OK
    end
    if found.synopsis == "" and rest[1] then usage("no argument is taken, but '%s' is given", rest[1]) end
    join(opts)
    return found.run(opts, rest) or OK
  end, core.traceback)
  if ok then return result end
  if type(result) ~= "table" or not result.usage then error(result, 0) end
  say(("bdl%s: %s"):format(found and " " .. found.name or "", result.usage))
  say(("try: bdl help%s"):format(found and found ~= commands.help and " " .. found.name or ""))
  return USAGE
end

--- Called with the words of a command line; commands, describe(command) and variables are for the reference.
return setmetatable({commands = commands, describe = describe, variables = VARIABLES}, {__call = function(_, ...) return main(...) end})

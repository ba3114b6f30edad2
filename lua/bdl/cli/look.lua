--- Commands that look at models: check, dump, explain, etrace, verify-grad.
local shared = require "bdl.cli.shared"

local command, usage, say, model_of = shared.command, shared.usage, shared.say, shared.model_of
local apply, report, check_settings = shared.apply, shared.report, shared.check_settings
local OK, FAILED = shared.OK, shared.FAILED

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

command("dump", "model.lua [arguments]", "after plan c cuda groups precision set", [[
Prints every program that the model compiles, and its plan.  The model is traced only, as by `bdl check`.]],
function(opts, rest)
  if opts.groups then return shared.commands.etrace.run(opts, rest) end
  local path = model_of(rest)
  local dump = require "bdl.dump"
  local after = opts.after
  if after and after ~= "all" then
    local known = false
    for _, stage in ipairs(dump.stages) do known = known or stage == after end
    if not known then
      local stages = table.concat(dump.stages, ", ")
      usage("--after %s: no such pass%s; there are %s, all", after, require "bdl.suggest".hint(after, dump.stages), stages)
    end
  end
  apply(opts)
  local failure = dump.dump(path, function(stage)
    if stage == "c" or stage == "cuda" then return opts[stage] end
    if stage == "plan" and opts.plan then return true end
    if after then return after == "all" or stage == after end
    return not (opts.plan or opts.c or opts.cuda) and (stage == "dce" or stage == "plan")
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

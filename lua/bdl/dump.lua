--- Models traced without running: `bdl check` and `bdl dump`.
--
-- The script itself runs, and traces and compiles every function and loop that it gets to; but compiled programs give zeros
-- of the right shape, dtype and unit instead of running.  So shapes, dtypes, units and names are checked everywhere on the
-- way.  Not checked: what depends on computed values.  The model's own output is dropped, `assert` of a false condition
-- passes, and os.exit ends the script.

local core = require "bdl.core"
local model = require "bdl.model"

local dump = {}

dump.stages = {"trace", "inline", "simplify", "fold", "cse", "hoist", "counter", "accumulate", "products", "dce", "plan", "c", "cuda"}

local PLANS = {plan = true, c = true, cuda = true}

local DONE = setmetatable({}, {__tostring = function() return "os.exit" end})

--- Runs the model with compiled programs only traced; on_stage(stage, text) as core.on_compile.  Returns the failure or nil.
local function trace_only(path, on_stage)
  local failure = model.try(function()
    local chunk = model.load(path)
    local assert_ = assert
    function print() end
    function assert(v, ...)
      if v == false then return v, ... end
      return assert_(v, ...)
    end
    os.exit = function() error(DONE, 0) end
    io.output "/dev/null"
    core.on_compile(on_stage)
    core.switch("check", true)
    chunk(table.unpack(arg))
  end)
  core.switch("check", false)
  core.on_compile(nil)
  if failure and failure.value ~= DONE then return failure end
end

--- Findings are lines on standard output.  Returns their number, that of programs, and the failure that ended it, if any.
function dump.check(path)
  local found, programs = 0, 0
  model.on_warning = function(text)
    found = found + 1
    io.stdout:write(text, "\n")
  end
  local failure = trace_only(path, function(stage)
    if stage == "trace" then programs = programs + 1 end
  end)
  return found, programs, failure
end

--- Prints the stages that wanted(stage) chooses of every program that the model compiles: after each pass that changed
--  it, at least once a stage.  Comments (#) stand between, so a text of programs parses back.
function dump.dump(path, wanted)
  local n, last, seen, where = 0, nil, nil, nil
  local any_pass = false -- which one changed something is seen from the texts of all
  for _, stage in ipairs(dump.stages) do any_pass = any_pass or not PLANS[stage] and wanted(stage) end
  return trace_only(path, function(stage, text)
    if stage == "trace" and not text then
      n, last, seen = n + 1, nil, {}
      local file, line = core.where()
      where = file and ("%s:%d"):format(file, line) or path
    end
    if stage == "explain" then return false end
    if not text then return PLANS[stage] and wanted(stage) or not PLANS[stage] and any_pass end
    if wanted(stage) and (text ~= last or not seen[stage]) then
      io.stdout:write(("# program %d, %s: %s%s\n%s\n"):format(n, where, stage == "trace" and "as traced"
        or PLANS[stage] and stage or "after " .. stage, seen[stage] and ", again" or "", text))
    end
    last = text
    seen[stage] = true
  end)
end

--- Prints what runs together in every program that the model compiles, and why not more.  The failure or nil, and how many.
function dump.explain(path)
  local n = 0
  local failure = trace_only(path, function(stage, text)
    if stage ~= "explain" then return end
    if not text then return true end
    n = n + 1
    local file, line = core.where()
    io.stdout:write(("program %d, %s\n%s\n"):format(n, file and ("%s:%d"):format(file, line) or path, text))
  end)
  return failure, n
end

--- C of every program that the model compiles, as a list, and the failure or nil; `really`: the model runs.
function dump.native(path, really)
  local texts = {}
  local function on_stage(stage, text)
    if stage ~= "c" then return false end
    if not text then return true end
    if text ~= "" then texts[#texts + 1] = text end
  end
  if not really then return texts, trace_only(path, on_stage) end
  local failure = model.try(function()
    local chunk = model.load(path)
    core.on_compile(on_stage)
    chunk(table.unpack(arg))
  end)
  core.on_compile(nil)
  return texts, failure
end

--- The learners that the model compiles, and the failure or nil.
function dump.learners(path)
  local learners, learner = {}, require "bdl.online.learner"
  learner.on_compile = function(x) learners[#learners + 1] = x end
  local failure = trace_only(path, nil)
  learner.on_compile = nil
  return learners, failure
end

return dump

--- ProgressBar: updates from inside compiled loops, every so many steps, with values.
local t = require "tests.lua.harness"
local bdl = require "bdl"

local RUN = ("%s run %%s"):format(os.getenv "BDL" or "bdl")

--- The lines that a script writes to standard error.
local function lines_of(text)
  local file = os.tmpname()
  local f = assert(io.open(file, "w"))
  f:write(text)
  f:close()
  local out = t.shell(RUN:format(file))
  os.remove(file)
  local lines = {}
  for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

t.test("a bar is shown every freq steps and at the end", function()
  local lines = lines_of[[
    local bar = bdl.ProgressBar{freq = 30, desc = "squares"}
    bdl.for_loop(function(x) return x^2 end, bdl.arange(100), {pbar = bar})
  ]]
  t.eq(#lines, 4)
  for k, percent in ipairs{" 30%% ", " 60%% ", " 90%% ", "100%% "} do t.ok(lines[k]:find("^squares " .. percent), lines[k]) end
  t.ok(lines[4]:find "100/100 steps")
end)

t.test("its text has values of the loop, in a compiled function too", function()
  local lines = lines_of[[
    local bar = bdl.ProgressBar{count = 2, desc = {"step {i}, loss {loss:.2f}, sum {c}", function(d) return {i = d.i, loss = d.y, c = d.carry} end}}
    local f = bdl.jit(function(k)
      return bdl.scan(function(c, x) return c + x, x * k * bdl.units.mV end, 0., bdl.arange(4):astype "float32", {pbar = bar})
    end)
    f(0.5)
    f(2.)
  ]]
  t.eq(#lines, 4)
  t.ok(lines[1]:find("step 1, loss 0.50 mV, sum 1.0", 1, true), lines[1])
  t.ok(lines[2]:find("step 3, loss 1.50 mV, sum 6.0", 1, true), lines[2])
  t.ok(lines[4]:find("step 3, loss 6.00 mV, sum 6.0", 1, true), lines[4])
end)

t.test("loops with a bar give what they give without", function()
  local loops = lines_of[[
    local bar = bdl.ProgressBar{count = 1}
    local function f(x) return x * 2, x + 1 end
    for _, reverse in ipairs{true, false} do
      local a, b = bdl.for_loop(f, bdl.arange(3), {reverse = reverse, pbar = bar})
      print(a, b)
    end
    bdl.for_loop(f, bdl.zeros(0), {pbar = bar})
    print(bdl.grad(function(w) return bdl.for_loop(function(x) return x * w end, bdl.arange(4), {pbar = bar}):sum() end)(1.))
    local _ <close> = bdl.compile.disable_jit(true)
    print((bdl.for_loop(f, bdl.arange(3), {pbar = bar})))
  ]]
  local values = {}
  for _, line in ipairs(loops) do
    if not line:find "steps" then values[#values + 1] = line end
  end
  t.eq(values, {"[0 2 4]\t[1 2 3]", "[0 2 4]\t[1 2 3]", "6.0", "[0 2 4]"})
end)

t.test("loops in checkpoints have one bar for all of their steps", function()
  local lines = lines_of[[
    local bar = bdl.ProgressBar{freq = 10, desc = {"{c}", function(d) return {c = d.carry} end}}
    local c, ys = bdl.compile.checkpointed_scan(function(c, x) return c + x, c end, 0, bdl.arange(25), {base = 3, pbar = bar})
    print(c, ys[-1])
    print((bdl.compile.checkpointed_for_loop(function() return bdl.tensor(2) end, {length = 3, pbar = bdl.ProgressBar{count = 1}})))
  ]]
  local steps, rest = {}, {}
  for _, line in ipairs(lines) do
    local at = line:match "(%d+)/%d+ steps"
    if at then steps[#steps + 1] = line:match "^%S+" .. " " .. at else rest[#rest + 1] = line end
  end
  t.eq(steps, {"45 10", "190 20", "300 25", "100% 3"})
  t.eq(rest, {"300\t276", "[2 2 2]"})
end)

t.test("bad input", function()
  local ProgressBar = bdl.ProgressBar
  t.raises("ValueError", "freq is a whole number from 1, not 0", ProgressBar, {freq = 0})
  t.raises("ValueError", "count is a whole number from 1, not 1.5", ProgressBar, {count = 1.5})
  t.raises("ValueError", "freq or count, not both", ProgressBar, {freq = 1, count = 1})
  t.raises("TypeError", "desc is a text or {format, function}, not a number", ProgressBar, {desc = 1})
  t.raises("TypeError", "no argument 'frequency'", ProgressBar, {frequency = 3})
  local function run(bar) return bdl.for_loop(function(x) return x end, bdl.arange(10), {pbar = bar}) end
  t.raises("ValueError", "freq = 11 is more than the 10 steps", run, ProgressBar{freq = 11})
  t.raises("ValueError", "count = 11 is too large for 10 steps", run, ProgressBar{count = 11})
  t.raises("TypeError", "pbar is true, a name or a ProgressBar, not a State", run, bdl.State(1))
  t.raises("TypeError", "pbar is a ProgressBar, not a boolean", bdl.compile.checkpointed_for_loop, function(x) return x end,
           bdl.arange(3), {pbar = true})
  t.raises("KeyError", "did you mean 'loss'", run, ProgressBar{desc = {"{los}", function(d) return {loss = d.y} end}})
  t.raises("TypeError", "returns a table of values, not a number", run, ProgressBar{desc = {"{los}", function() return 1 end}})
end)

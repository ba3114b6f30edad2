--- Learners as their users meet them: README, the command line, reports; and where the references are not followed.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local online = bdl.online

local BDL = assert(os.getenv "BDL", "BDL must name the program")

local MODEL = [[
local nn, online = bdl.nn, bdl.online
local Net = nn.Module:extend "Net"
function Net:__init()
  self.cell = online.nn.GRUCell(3, 4)
  self.out = online.nn.Linear(4, 2)
end
function Net:update(x) return self.out(self.cell(x)) end
local learner = online.compile(Net(), "D_RTRL", bdl.zeros(3))
%s
]]

local function run(command, text)
  local path = os.tmpname() .. ".lua"
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local out, status = t.shell(("%s %s %s 2>&1"):format(BDL, command, path))
  os.remove(path)
  return out, status
end

t.test("the learner of README.md prints what README.md says", function()
  local section = assert(io.open "README.md"):read "a":match "## Learning while it runs.-\n## "
  local model = section:match "```lua\n(.-)```"
  local first, second = section:match "It prints `([^`]*)` and `([^`]*)`"
  t.eq((run("run --quiet", model)), first .. "\n" .. second .. "\n")
end)

t.test("bdl etrace says what was found and what it takes", function()
  local text, status = run("etrace", MODEL:format "")
  t.eq(status, 0)
  for _, line in ipairs{"hidden group 1, %[4%]\n  cell%.h", "relation 1: matmul", "feeds    cell%.h", "included +cell%.Wz%.weight_op%.weight in matmul",
                        "excluded_weight_to_weight +cell%.Wr%.weight_op", "excluded_non_temporal +out%.weight_op", "traces: 256 B", "gradient: approximate"} do
    t.ok(text:find(line), line .. " in\n" .. text)
  end
  text, status = run("dump --groups", "print(1)")
  t.eq(status, 1)
  t.ok(text:find "no learner is compiled", text)
end)

t.test("bdl etrace --dot draws it", function()
  local path = os.tmpname()
  run("etrace --dot " .. path, MODEL:format "")
  local dot = assert(io.open(path)):read "a"
  os.remove(path)
  t.ok(dot:find "^digraph" and dot:find '"cell.h" %-> "cell.h"' and dot:find '"cell.Wz.weight_op" %-> "matmul 1"', dot)
end)

t.test("bdl verify-grad compares with the exact gradient", function()
  local text, status = run("verify-grad --precision 64 --seed 3", MODEL:format [[
local x, y = bdl.random.randn(12, 3), bdl.random.randn(12, 2)
learner:etrace_grad(x, y, function(x, y) return bdl.mean((learner(x) - y)^2) end)
error "the model goes on"]])
  t.eq(status, 0)
  local cosine, ratio = text:match "out%.weight_op%s+(%S+)%s+(%S+)"
  t.eq({tonumber(cosine), tonumber(ratio)}, {1, 1}) -- a readout needs no trace
  local gate = tonumber(text:match "cell%.Wz%.weight_op%s+(%S+)")
  t.ok(gate > 0.8 and gate < 1, text)
  for path, difference in text:gmatch "\n([%w_.]+)%s+%S+%s+%S+%s+%S+%s+%S+%s+(%S+)" do
    if path:find "weight_op" then t.ok(tonumber(difference) < 1e-5, path .. ": exact against differences " .. difference) end
  end
  text, status = run("verify-grad --precision 64 --seed 3", MODEL:format [[ -- inside a compiled function
local x, y = bdl.random.randn(12, 3), bdl.random.randn(12, 2)
bdl.jit(function() return learner:etrace_grad(x, y, function(x, y) return bdl.mean((learner(x) - y)^2) end) end)()]])
  t.eq({status, text:match "over (%d+) steps", text:match "out%.weight_op%s+(%S+)"}, {0, "12", "1.000000"}, text)
  text, status = run("verify-grad", MODEL:format "")
  t.eq(status, 1)
  t.ok(text:find "takes no gradient through a learner", text)
end)

t.test("bdl verify-grad goes back to where the traces were reset", function()
  local text, status = run("verify-grad --precision 64 --seed 3", [[
local net = bdl.nn.Module:extend "Net"
function net:__init()
  self.w = bdl.online.ETraceParam(bdl.random.randn(3, 4))
  self.h = bdl.online.ETraceState(bdl.zeros(4))
end
function net:update(x)
  self.h.value = 0.8*self.h.value + bdl.online.matmul(x, self.w.value)
  return self.h.value
end
local learner = bdl.online.compile(net(), "D_RTRL", bdl.zeros(3))
local xs = bdl.random.randn(9, 3)
learner:etrace_evolve(xs)                       -- before the reset: does not count
learner:reset_state()
learner:etrace_evolve(xs[{{1, 6}}])
learner(xs[7])
bdl.jit(function() return bdl.grad(function() return (learner(xs[8])^2):sum() end, learner:param_states())() end)()
error "the model goes on"]])
  t.eq({status, text:match "over (%d+) steps"}, {0, "8"}, text)
  local cosine, ratio, _, _, quotient = text:match "\nw%s+(%S+)%s+(%S+)%s+(%S+)%s+(%S+)%s+(%S+)"
  t.eq({cosine, tonumber(ratio)}, {"1.000000", 1}, text) -- each position depends on itself alone: exact
  t.ok(tonumber(quotient) < 1e-5, text)
end)

-- ---- what a hidden value does inside of its own group is in the trace, and only there ------------------------------------------

local Chain = bdl.nn.Module:extend "Chain"

function Chain:__init()
  self.w = online.ETraceParam(bdl.random.normal(0, 0.5, {size = {3, 4}, key = bdl.random.key(1), dtype = "float64"}))
  self.v = online.ETraceState(bdl.zeros(4, {dtype = "float64"}))
  self.a = online.ETraceState(bdl.zeros(4, {dtype = "float64"}))
end

--- a reads the new v, as adaptive neurons of the AdEx kind do.
function Chain:update(x)
  self.v.value = 0.8 * self.v.value - 0.3 * self.a.value + online.matmul(x, self.w)
  self.a.value = 0.9 * self.a.value + bdl.tanh(self.v.value)
  return self.v.value * self.a.value
end

local function gradients(opts)
  local model = Chain()
  local learner = online.D_RTRL(model, opts)
  local x = bdl.random.normal(0, 1, {size = {6, 3}, key = bdl.random.key(2), dtype = "float64"})
  learner:compile_graph(x[1])
  local grads = learner:etrace_grad(x, function(x) return bdl.sum(learner(x)^2) end, {reduction = "sum", return_value = false})
  model.v.value, model.a.value = model.v.value * 0, model.a.value * 0
  local exact = bdl.grad(function() return bdl.sum(bdl.compile.for_loop(function(x) return bdl.sum(model(x)^2) end, x)) end, model:states(bdl.ParamState))()
  return grads.w, exact.w
end

t.test("a value that its group reads at once is counted once", function()
  local got, exact = gradients()
  t.close(got, exact, 1e-12)
  local compat = gradients{compat = "braintrace-0.2.6"}
  t.ok(bdl.max(bdl.abs(compat - exact)):item() > 1e-3, "braintrace counts it twice")
end)

-- ---- environ between calls ------------------------------------------------------------------------------------------------------

local Clock = bdl.nn.Module:extend "Clock"

function Clock:__init()
  self.w = online.ETraceParam(bdl.ones(2, 2))
  self.h = online.ETraceState(bdl.zeros(2))
end

function Clock:update(x)
  local now, dt = bdl.environ.get "t", bdl.environ.get "dt"
  self.h.value = 0.5 * self.h.value + online.matmul(x, self.w) * now * dt
  return self.h.value
end

t.test("a learner called step by step follows t and dt", function()
  local function values(f)
    local list = {}
    for i = 1, 4 do
      local _ <close> = bdl.environ.context{t = bdl.tensor(i + 0.0), dt = i < 3 and 1.0 or 2.0}
      list[i] = f(bdl.ones(2))
    end
    return list
  end
  local plain, model = Clock(), Clock()
  local learner = online.D_RTRL(model)
  do
    local _ <close> = bdl.environ.context{t = bdl.tensor(0.0), dt = 1.0}
    learner:compile_graph(bdl.ones(2))
  end
  t.eq(values(learner), values(plain))
end)

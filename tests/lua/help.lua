--- bdl.help: every public name has its page, what a page says is so, and its example runs.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local class = require "bdl.class"
local help = require "bdl.help"

-- ---- pages -------------------------------------------------------------------------------------------------------------------

--- Names of an area for which `lacks(page, name)` returns a text, with that text.
local function complaints(area, lacks)
  local list = {}
  for _, name in ipairs(help.names(area)) do
    local why = lacks(help.page(area, name), name)
    if why then list[#list + 1] = name .. ": " .. why end
  end
  return #list > 0 and ("%s, %d:\n  %s"):format(area, #list, table.concat(list, "\n  ")) or nil
end

for _, area in ipairs(help.areas()) do
  t.test("every name of " .. area .. " has a page", function()
    t.eq(complaints(area, function(page)
      return not page and "no page" or not page.text[1]:find "%S" and "no purpose" or nil
    end), nil)
  end)
end

t.test("a page says defaults in words, not where they lie in memory", function()
  for _, area in ipairs(help.areas()) do
    t.eq(complaints(area, function(page)
      for _, row in ipairs(page and page.parameters or {}) do
        if row[2]:find "0x" then return row[1] .. " = " .. row[2] end
      end
    end), nil)
  end
end)

--- Areas whose names are examples of models, or act on them: each shows how it is used.
local SHOWN = {
  "nn", "surrogate", "init", "optim", "metric", "functional", "input", "encode", "quad", "conn", "random", "data",
  "monitor", "event", "augment", "compile", "online", "plot", "bdl",
}

--- Names without an example: of files that are not here, of modules, of what is no function.
local UNSHOWN = {}
for name in ("SHD shd encode unchecked nn testing abstract args class config help HookCancellationError make none of_id"
             .. " options place rest tree_of write_all"):gmatch "%S+" do
  UNSHOWN[name] = true
end

--- Classes that hold others, or are there to be extended: no equation of their own.
local FRAMES = {}
for name in ("Module Dynamics Neuron Spiking SynOut ElementWiseBlock RNNCell Sequential Flatten Unflatten EnvironContext Identity Vmap Map"
             .. " Param Const Metric MetricState MultiMetric Transform Regularization Description Delay"
             .. " DelayAccess StateWithDelay InputDelay InterpolationRegistry"
             .. " Optimizer OptimState LRScheduler Surrogate ChainedReg ChainT ChainedScheduler"):gmatch "%S+" do
  FRAMES[name] = true
end

for _, area in ipairs{"nn", "surrogate", "optim"} do
  t.test("every class of " .. area .. " has equation, parameters and source", function()
    t.eq(complaints(area, function(page, name)
      local cls = bdl[area][name]
      if not page or not class.is_class(cls) or FRAMES[name] then return nil end
      local text = table.concat(page.text, "\n")
      return not text:find "=" and not text:find "<%-" and "no equation" or not page.Source and "no source"
             or #page.parameters == 0 and pcall(cls, {}) == false and "no parameters" or nil
    end), nil)
  end)
end

t.test("help finds names, classes, functions and objects; others are errors", function()
  local function printed(x) return t.prints(bdl.help, x) end
  t.ok(printed(bdl.nn.LIF):find "^nn.LIF")
  t.ok(printed(bdl.nn.LIF(3)):find "^nn.LIF")
  t.ok(printed(bdl.metric.cv):find "^metric.cv%(spike_matrix%)")
  t.ok(printed "NN.lif.get_SPIKE" == printed "nn.LIF:get_spike")
  t.ok(printed(bdl.optim):find "Adam")
  local Mine = bdl.nn.LIF:extend "Mine"
  t.ok(printed(Mine(2)):find "^Mine   extends LIF\n\nParameters\n  size +%(required%)\n  R +1 ohm")
  t.ok(printed "bdl.check":find "^bdl.check")
  t.ok(printed "sigmoid":find "Also: surrogate.sigmoid, bdl.sigmoid")
  t.raises("KeyError", "nothing is called 'nn.LIFF' %(did you mean 'LIF'%?%)", bdl.help, "nn.LIFF")
  t.raises("TypeError", "a public class, function or name of bdl is needed, not a number", bdl.help, 3)
end)

-- ---- examples
--  ----------------------------------------------------------------------------------------------------------------

--- Runs f; the objects of class cls that it made.
local function made_by(cls, f)
  local before, made = rawget(cls, "__made") or cls.__made, {}
  cls.__made = function(self)
    made[#made + 1] = self
    if before then before(self) end
  end
  local ok, err = pcall(f)
  cls.__made = before
  return made, ok, err
end

local function run(lines)
  local chunk, err = load(table.concat(lines, "\n"), "=example", "t", setmetatable({print = function(...)
    for _, x in ipairs{...} do tostring(x) end
  end}, {__index = _G}))
  if not chunk then error(err, 0) end
  local before = bdl.environ.all()
  local ok, failure = pcall(chunk)
  for key in pairs(bdl.environ.all()) do
    if before[key] == nil then bdl.environ.pop(key) end
  end
  if not ok then error(failure, 0) end
end

--- The names of States of an object that its page does not tell of.
local function untold(page, object)
  local text = table.concat(page.States or {}, " ") .. " " .. table.concat(page.text, " ")
  for path, s in object:states():items() do
    local field = tostring(path):match "^([%w_]+)" or tostring(path)
    if rawequal(object[field], s) and not text:find("%f[%w_]" .. field .. "%f[^%w_]") then
      return "no word of the State " .. field
    end
  end
end

for _, area in ipairs(SHOWN) do
  t.test("the examples of " .. area .. " run, and the pages tell of the States that they make", function()
    t.eq(complaints(area, function(page, name)
      if not page or UNSHOWN[name] then return nil end
      if not page.Example then return "no example" end
      local use = "%f[%w_]" .. name:gsub("%d", "%%d") .. "%f[^%w_]"  -- Conv2d stands for Conv1d, too
      if not table.concat(page.Example, "\n"):find(use) then return "the example does not use it" end
      local value = (area == "bdl" and bdl or bdl[area])[name]
      local cls = class.is_class(value) and value or nil
      local made, ok, err
      if cls then made, ok, err = made_by(cls, function() run(page.Example) end) else ok, err = pcall(run, page.Example) end
      if not ok then return tostring(err) end
      local first = made and made[1]
      return first and class.isa(first, bdl.graph.Node) and untold(page, first) or nil
    end), nil)
  end)
end

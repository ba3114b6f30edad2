--- What monitors look at: modules, States, functions of what the step returned.
local core = require "bdl.core"
local class = require "bdl.class"
local graph = require "bdl.graph"
local state = require "bdl.state"

local M = {}

function M.is_module(x) return class.isa(x, require "bdl.nn.module".Module) end

--- Collects what the modules that monitors listen to return, while the step is traced: module -> list.  Closes to
--  silence.
function M.listen(monitors)
  local heard, silence = {}, {}
  for _, m in ipairs(monitors) do
    local module = m:listens_to()
    if module and not heard[module] then
      local update, own = module.update, rawget(module, "update")
      local list = {}
      heard[module] = list
      rawset(module, "update", function(...)
        local results = table.pack(update(...))
        list[#list + 1] = results[1]
        return table.unpack(results, 1, results.n)
      end)
      silence[#silence + 1] = function() rawset(module, "update", own) end
    end
  end
  return setmetatable(heard, {__close = function()
    for _, f in ipairs(silence) do f() end
  end})
end

function M.check_source(who, x)
  if type(x) ~= "function" and not class.isa(x, state.State) and not class.isa(x, graph.Node) then
    core.hint "a function without arguments can give any value"
    core.fail("TypeError", 4, "%s: a source is a module, a State or a function, not a %s", who, class.typename(x))
  end
  return x
end

--- What a source that is no module gives.
function M.value_of(who, source, results)
  local x
  if type(source) == "function" then x = source(table.unpack(results, 1, results.n)) else x = source.value end
  if type(x) == "number" or type(x) == "boolean" then x = core.tensor(x) end
  if not core.is_tensor(x) then
    core.fail("TypeError", 4, "%s: the source gave a %s, not a tensor", who, class.typename(x))
  end
  return x
end

--- What the module returned in this step.
function M.output_of(who, module, heard)
  local list = heard[module]
  if #list ~= 1 then
    core.hint "record a function of what the step returns"
    core.fail("ValueError", 4, "%s: %s was called %d times in the step", who, class.typename(module), #list)
  end
  if not core.is_tensor(list[1]) then
    core.fail("TypeError", 4, "%s: %s returned a %s, not a tensor", who, class.typename(module),
              class.typename(list[1]))
  end
  return list[1]
end

function M.positive(who, name, x)
  if math.type(x) ~= "integer" or x < 1 then
    core.fail("ValueError", 4, "%s: %s is a whole number from 1, not %s", who, name, tostring(x))
  end
  return x
end

return M

--- Filters choose States and Nodes.  A filter is written as
--
--   a class            objects of it or derived from it        "name"    States with the tag
--   true, bdl.rest, "..."  everything                          false, bdl.none  nothing
--   {f1, f2}           any of them                             function(path, x)  what it says
--
-- or made by the functions here, which combine filters.  A filter object is called as f(path, x), x a State or a Node
-- and path its text.
-- Source: the filters of flax.nnx and brainstate.util.filter.

local core = require "bdl.core"
local class = require "bdl.class"
local paths = require "bdl.path"
local none = require "bdl.none"

local filter = {}

local Filter = class "Filter"

function Filter:__init(text, test) self.text, self.test = text, test end
function Filter:__call(path, x) return self.test(path, x) end
function Filter:__tostring() return self.text end

local everything = Filter("Everything()", function() return true end)
local nothing = Filter("Nothing()", function() return false end)

function filter.Everything() return everything end
function filter.Nothing() return nothing end

--- States with the tag.
function filter.WithTag(tag)
  return Filter(("WithTag(%q)"):format(tag), function(_, x)
    local tags = class.of(x) and x.tag
    return type(tags) == "table" and tags[tag] == true
  end)
end

--- Objects of the class; a detached State counts as its class.
function filter.OfType(cls)
  return Filter(("OfType(%s)"):format(class.qualified_name(cls)), function(_, x)
    local of = class.of(x)
    local stands_for = of and class.method(x, "__stands_for")
    return of ~= nil and class.derives(stands_for and stands_for(x) or of, cls)
  end)
end

--- Objects with the key (a name or a position) somewhere in their path.
function filter.PathContains(key)
  return Filter(("PathContains(%s)"):format(tostring(key)), function(path)
    for _, part in ipairs(paths.parse(path) or {path}) do
      if part == key then return true end
    end
    return false
  end)
end

--- Predicates of the filters, and their text for printing.
local function each(...)
  local tests, texts = {}, {}
  for i, f in ipairs{...} do
    tests[i] = filter.to_predicate(f)
    texts[i] = tostring(tests[i])
  end
  return tests, table.concat(texts, ", ")
end

function filter.Any(...)
  local tests, text = each(...)
  return Filter(("Any(%s)"):format(text), function(path, x)
    for _, test in ipairs(tests) do
      if test(path, x) then return true end
    end
    return false
  end)
end

function filter.All(...)
  local tests, text = each(...)
  return Filter(("All(%s)"):format(text), function(path, x)
    for _, test in ipairs(tests) do
      if not test(path, x) then return false end
    end
    return true
  end)
end

function filter.Not(f)
  local test = filter.to_predicate(f)
  return Filter(("Not(%s)"):format(tostring(test)), function(path, x) return not test(path, x) end)
end

--- The filter object for anything that stands for a filter.  Errors: TypeError.
function filter.to_predicate(f)
  if class.isa(f, Filter) then return f end
  if f == none.rest or f == "..." or f == true then return everything end
  if f == none.none or f == false then return nothing end
  if class.is_class(f) then return filter.OfType(f) end
  if type(f) == "string" then return filter.WithTag(f) end
  if type(f) == "function" then return Filter("function", function(path, x) return f(path, x) and true or false end) end
  if type(f) == "table" and getmetatable(f) == nil then return filter.Any(table.unpack(f)) end
  return core.fail("TypeError", 2, "a filter is a class, a tag, a function, a list of filters or one of bdl.util.filter;"
                   .. " got a %s", class.typename(f))
end

--- Index of the first filter that accepts, nil when none does.
function filter.first(predicates, path, x)
  for i, test in ipairs(predicates) do
    if test(path, x) then return i end
  end
end

function filter.predicates(...)
  local list = {}
  for i = 1, select("#", ...) do list[i] = filter.to_predicate((select(i, ...))) end
  return list
end

return filter

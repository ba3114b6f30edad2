--- Constructors whose arguments are numbers with bounds, choices and switches: one row an argument, checked and set as a field.
--
--   parameters.set(self, {{"alpha", 4.0, above = 0}, {"mode", "min", one_of = {"min", "max"}}}, ...)
--
--  A row is {name, default} and
--    above, least, below, most   bounds of a number, and of each number of a list
--    integer                     whole numbers only
--    list                        one number or a list of them; a default that is a list wants one of its length
--    named                       given by name only
--    array                       a number or an array of them, whose bounds are the caller's care
--    free                        any value
--  A quantity or a 0-d tensor may stand for a number; bounds are checked where its value is known.
--  The default bdl.none: a number that may be absent.
--  Errors: TypeError, ValueError with the class, the argument, what was found.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local sentinels = require "bdl.none"
local suggest = require "bdl.suggest"

local none, ask = sentinels.none, sentinels.ask

local parameters = {}

local function is_number(x) return type(x) == "number" or core.is_tensor(x) and x.ndim == 0 end

local BOUNDS = {
  {"above", "greater than %g", function(x, b) return x > b end}, {"least", "at least %g", function(x, b) return x >= b end},
  {"below", "less than %g", function(x, b) return x < b end}, {"most", "at most %g", function(x, b) return x <= b end},
}

--- "a whole number greater than 0 and at most 1"
local function wanted(row)
  local words = {}
  for _, bound in ipairs(BOUNDS) do
    if row[bound[1]] then words[#words + 1] = bound[2]:format(row[bound[1]]) end
  end
  return (row.integer and "a whole number" or "a number") .. (#words > 0 and " " or "") .. table.concat(words, " and ")
end

local function check_number(who, row, x)
  if row.array and core.is_tensor(x) and x.ndim > 0 then return end
  if not is_number(x) then core.fail("TypeError", 4, "%s: %s is %s, not a %s", who, row[1], wanted(row), class.typename(x)) end
  local given = x
  if core.is_tensor(x) then
    if core.is_traced(x) then return end
    x = core.item(core.mantissa(x))
  end
  local good = x == x and (not row.integer or math.tointeger(x))
  for _, bound in ipairs(BOUNDS) do
    good = good and (not row[bound[1]] or bound[3](x, row[bound[1]]))
  end
  if not good then core.fail("ValueError", 4, "%s: %s must be %s, not %s", who, row[1], wanted(row), tostring(given)) end
end

local function check(who, row, x)
  local name, default = row[1], row[2]
  if row.free or x == nil then return end
  if row.one_of then
    for _, choice in ipairs(row.one_of) do
      if x == choice then return end
    end
    core.fail("ValueError", 3, "%s: %s is one of '%s', not '%s'%s", who, name, table.concat(row.one_of, "', '"), tostring(x),
              suggest.hint(tostring(x), row.one_of))
  elseif type(default) == "boolean" then
    if type(x) ~= "boolean" then core.fail("TypeError", 3, "%s: %s is true or false, not a %s", who, name, class.typename(x)) end
  elseif type(default) == "table" and default ~= none or row.list and type(x) == "table" then
    local n = not row.list and #default
    if type(x) ~= "table" or getmetatable(x) ~= nil or n and #x ~= n or #x == 0 then
      core.fail("TypeError", 3, "%s: %s is a list of %s, not %s", who, name, n and n .. " numbers" or "numbers",
                type(x) == "table" and "one of " .. #x or "a " .. class.typename(x))
    end
    for _, y in ipairs(x) do check_number(who, row, y) end
  else
    check_number(who, row, x)
  end
end

--- Reads the arguments, checks them and sets them as fields of self, in the order of the rows.  Returns them by name.
function parameters.set(self, rows, ...)
  if rawequal((...), ask) then error({rows = rows}, 0) end
  local spec = {}
  for _, row in ipairs(rows) do
    if not row.named then spec[#spec + 1] = row[1] end
    spec[row[1]] = row[2]
  end
  local a, who = args(spec, ...), class.qualified_name(class.of(self))
  for _, row in ipairs(rows) do
    check(who, row, a[row[1]])
    self[row[1]] = a[row[1]]
  end
  return a
end

parameters.check_number = check_number
parameters.wanted = wanted

return parameters

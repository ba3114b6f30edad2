--- Where in a line of code an error is: the column of what its message names, nil where it names nothing.

--- What messages name: "near 'x'", "undeclared global 'x'", "no argument 'taus'", "add: units differ", ..
local NAMED = {"near '([^']+)'", "'([^']+)'", "^([%a_][%w_.]*):", "cannot (%a+)", "attempt to (%a+)"}

--- Operators that messages call by a verb.
local OPERATORS = {add = "+", subtract = "-", multiply = "*", divide = "/", perform = "[-+*/%^]", compare = "[<>=~]=?", concatenate = "%.%.",
                   call = "("}

local function place(line, name)
  local word = name:find "^[%w_.]+$" and "%f[%w_]" .. name:gsub("%.", "%%.") .. "%f[^%w_]"
  return word and line:find(word) or line:find(name, 1, true)
end

--- message: without its position.
return function(line, message)
  for _, pattern in ipairs(NAMED) do
    local name = message:match(pattern)
    local at = name and (place(line, name) or place(line, name:match "[^.:]+$" or name))
    if name and not at and OPERATORS[name] then at = line:find(OPERATORS[name], 1, name == "call") end
    if at then return at end
  end
end

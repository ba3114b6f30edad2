--- Completion of names: what could stand where a line ends.
--
--   model.lay<TAB>   x:su<TAB>   nn.LI<TAB>   :lo<TAB>

local core = require "bdl.core"
local class = require "bdl.class"
local help = require "bdl.help"
local units = require "bdl.units"
local util = require "bdl.util"

local KEYWORDS = {"and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or", "repeat",
                  "return", "then", "true", "until", "while"}

local STATE = {"value", "name", "tag", "shape", "dtype"}
local TENSOR = {"shape", "dtype", "ndim", "size", "unit", "mantissa", "T"}

local function add_all(set, names)
  for _, name in ipairs(names) do set[name] = true end
end

local function add_keys(set, t)
  for key in next, t do
    if type(key) == "string" then set[key] = true end
  end
end

--- The area of bdl that a module is.
local function area_of(x)
  if rawequal(x, bdl) then return "bdl" end
  for _, area in ipairs(help.areas()) do
    if area ~= "bdl" and rawequal(rawget(package.loaded, getmetatable(bdl).__submodules[area]) or false, x) then return area end
  end
end

--- Methods of a class and of those above it.
local function add_methods(set, cls)
  while cls do
    add_keys(set, class.methods(cls))
    cls = cls.super
  end
end

--- Names of fields of x; of its methods alone behind a colon.
local function fields(x, methods_only)
  local set = {}
  if core.is_tensor(x) then
    require "bdl.array"
    add_keys(set, core.methods)
    if not methods_only then add_all(set, TENSOR) end
  elseif type(x) == "string" then
    add_keys(set, string)
  elseif type(x) == "table" then
    local cls = class.of(x)
    local area = not cls and not class.is_class(x) and area_of(x)
    if cls then add_methods(set, cls) end
    if class.is_class(x) then add_methods(set, x) end
    if area then add_all(set, help.names(area)) end
    if area == "bdl" then add_keys(set, getmetatable(bdl).__submodules) end
    if not methods_only then
      if cls then add_all(set, class.fields(x)) end
      if class.isa(x, bdl.State) then add_all(set, STATE) end
      if rawequal(x, units) then add_all(set, units.names()) end
      add_keys(set, x)
    end
  end
  return set
end

--- The value of "a.b[2].c", by fields alone; nil where there is none.
local function value_of(names, chain)
  local value
  for separator, key in chain:gmatch "([.:[]?)%s*([%w_]+)%]?" do
    local index = separator == "[" and math.tointeger(tonumber(key)) or key
    local ok, field = pcall(function()
      if separator == "" then return names[key] end
      return value[index]
    end)
    if not ok or field == nil then return nil end
    value = field
  end
  return value
end

--- The longest beginning that all have.
local function common(list)
  local first, n = list[1], #list[1]
  for _, name in ipairs(list) do
    while name:sub(1, n) ~= first:sub(1, n) do n = n - 1 end
  end
  return first:sub(1, n)
end

--- Names in columns.
local function columns(list, width)
  local longest = 0
  for _, name in ipairs(list) do longest = math.max(longest, #name) end
  local across = math.max(1, width // (longest + 2))
  local down = (#list + across - 1) // across
  local lines = {}
  for row = 1, down do
    local line = {}
    for i = row, #list, down do line[#line + 1] = ("%-" .. longest .. "s"):format(list[i]) end
    lines[row] = (table.concat(line, "  "):gsub("%s+$", ""))
  end
  return table.concat(lines, "\n")
end

local MOST = 200

--- names: of the session; commands: list of what begins with a colon; width: of the terminal.
--  Gives f(line up to the cursor) -> what to put there, and the candidates as text where there are several and nothing to put.
return function(names, commands, width)
  return function(line)
    local set, partial = {}, nil
    local chain, separator, last = line:match "([%a_][%w_.:%[%]]*)([.:])([%w_]*)$"
    if line:find "^:%a*$" then
      partial = line:sub(2)
      add_all(set, commands)
    elseif chain then
      partial = last
      local value = value_of(names, chain)
      if value ~= nil then set = fields(value, separator == ":") end
    else
      partial = line:match "[%a_][%w_]*$"
      if not partial then return "", nil end
      add_keys(set, names)
      add_keys(set, _G)
      add_keys(set, getmetatable(bdl).__submodules)
      add_all(set, KEYWORDS)
      set.u = true
    end
    local list = {}
    for _, name in ipairs(util.sorted_keys(set)) do
      local hidden = name:find "^_" and partial == "" or not name:find "^[%a_][%w_]*$"
      if not hidden and name:sub(1, #partial) == partial then list[#list + 1] = name end
    end
    if #list == 0 then return "", nil end
    local more = common(list):sub(#partial + 1)
    if #list == 1 or more ~= "" then return more, nil end
    if #list > MOST then return "", ("%d names; one letter more?"):format(#list) end
    return "", columns(list, width())
  end
end

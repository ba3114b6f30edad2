--- Evaluates Python expressions on quantities with bdl:  "(2.0*u.mV)/(4.0*u.ms)", "m.sum(jnp.asarray([1., 2.])*u.mV)".
--  Known: numbers, strings, True False None, lists and tuples, + - * / // % ** @ & | ^ ~, comparisons, not and or, calls with
--  keywords, attributes, subscripts; the modules u (units), m (unit-aware functions), jnp and np (the same functions and
--  constants).
--  Axes and subscripts count from 0, as Python's do.
local bdl = require "bdl"
local core = require "bdl.core"
local u = bdl.units

local python = {}

local NONE = setmetatable({}, {__tostring = function() return "None" end})

local function is_unit(x) return type(x) == "userdata" and not core.is_tensor(x) end
local function is_list(x) return type(x) == "table" and getmetatable(x) == nil end

-- ---- tokens ----------------------------------------------------------------------------------------------------------

local OPERATORS = {"**", "//", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "@", "<", ">", "(", ")", "[", "]", ",", ".",
                   "=", ":", "&", "|", "^", "~"}

local function tokens_of(text)
  local list, at = {}, 1
  local function take(pattern, kind)
    local s = text:match("^" .. pattern, at)
    if not s then return false end
    list[#list + 1] = {kind = kind, text = s}
    at = at + #s
    return true
  end
  while true do
    at = text:match("^%s*()", at)
    if at > #text then break end
    local number = text:match("^%d[%d_]*%.?%d*", at) or text:match("^%.%d+", at)
    if number then
      local exponent = text:match("^[eE][+-]?%d+", at + #number) or ""
      list[#list + 1] = {kind = "number", text = (number .. exponent):gsub("_", "")}
      at = at + #number + #exponent
    elseif not (take("[%a_][%w_]*", "name") or take("'[^']*'", "string") or take('"[^"]*"', "string")) then
      local found
      for _, op in ipairs(OPERATORS) do
        if text:sub(at, at + #op - 1) == op then
          found = op
          break
        end
      end
      if not found then error(("python: '%s': unknown '%s'"):format(text, text:sub(at, at)), 0) end
      list[#list + 1] = {kind = "operator", text = found}
      at = at + #found
    end
  end
  list[#list + 1] = {kind = "end", text = "the end"}
  return list
end

-- ---- operators -------------------------------------------------------------------------------------------------------

--- Integers stay integers, as Python's do.
local function power(a, b)
  if math.type(a) == "integer" and math.type(b) == "integer" and b >= 0 then
    local z = 1
    for _ = 1, b do z = z * a end
    return z
  end
  return a ^ b
end

local function compare(name, plain)
  return function(a, b)
    if type(a) ~= "userdata" and type(b) ~= "userdata" then return plain(a, b) end
    if is_unit(a) and is_unit(b) then return plain(a, b) end
    return bdl[name](a, b)
  end
end

local BINARY = {
  ["+"] = function(a, b) return a + b end, ["-"] = function(a, b) return a - b end, ["*"] = function(a, b) return a * b end,
  ["/"] = function(a, b) return a / b end, ["//"] = function(a, b) return a // b end, ["%"] = function(a, b) return a % b end,
  ["**"] = power, ["@"] = function(a, b) return bdl.matmul(a, b) end, ["&"] = function(a, b) return a & b end,
  ["|"] = function(a, b) return a | b end, ["^"] = function(a, b) return a ~ b end,
  ["<"] = compare("lt", function(a, b) return a < b end), ["<="] = compare("le", function(a, b) return a <= b end),
  [">"] = compare("gt", function(a, b) return a > b end), [">="] = compare("ge", function(a, b) return a >= b end),
  ["=="] = compare("eq", function(a, b) return a == b end), ["!="] = compare("ne", function(a, b) return a ~= b end),
  ["and"] = function(a, b) return a and b end, ["or"] = function(a, b) return a or b end,
}

--- How tightly a binary operator binds; "**" to the right.
local LEFT = {
  ["or"] = 1, ["and"] = 2, ["<"] = 4, ["<="] = 4, [">"] = 4, [">="] = 4, ["=="] = 4, ["!="] = 4, ["|"] = 5, ["^"] = 6,
  ["&"] = 7,
  ["+"] = 8, ["-"] = 8, ["*"] = 9, ["/"] = 9, ["//"] = 9, ["%"] = 9, ["@"] = 9, ["**"] = 11,
}
local UNARY = {
  ["-"] = function(a) return -a end, ["+"] = function(a) return a end, ["~"] = function(a) return ~a end,
  ["not"] = function(a) return not a end,
}
local UNARY_POWER = {["not"] = 3, ["-"] = 10, ["+"] = 10, ["~"] = 10}

-- ---- functions -------------------------------------------------------------------------------------------------------

--- NumPy's name -> bdl's, where they differ.
local NAMES = {
  asarray = "tensor", array = "tensor", absolute = "abs", fabs = "abs", true_divide = "divide", remainder = "mod",
  arcsin = "asin",
  arccos = "acos", arctan = "atan", arctan2 = "atan2", arcsinh = "asinh", arccosh = "acosh", arctanh = "atanh", less = "lt",
  less_equal = "le", greater = "gt", greater_equal = "ge", equal = "eq", not_equal = "ne", amax = "max", amin = "min",
  invert = "bitwise_not", ["repeat"] = "repeat_each", pow = "power", bitwise_invert = "bitwise_not", relu = "relu",
}

--- Functions whose second argument, when it is an integer, is an axis.
local BY_AXIS = {}
for name in ("sum mean std var prod max min amax amin all any argmax argmin cumsum cumprod median ptp sort argsort expand_dims"
             .. " squeeze flip softmax count_nonzero"):gmatch "%S+" do BY_AXIS[name] = true end

local function axis_of(axis)
  if is_list(axis) then
    local list = {}
    for i, a in ipairs(axis) do list[i] = axis_of(a) end
    return list
  end
  return math.type(axis) == "integer" and axis >= 0 and axis + 1 or axis
end

local function dtype_name(d) return type(d) == "table" and d.dtype or d end

--- An array function of Python's: positional arguments and keywords to bdl's.
local function call_numpy(name, args, named)
  local f = rawget(bdl, NAMES[name] or name) or bdl[NAMES[name] or name]
  if BY_AXIS[name] and math.type(args[2]) == "integer" then named.axis = table.remove(args, 2) end
  local opts
  for key, value in pairs(named) do
    opts = opts or {}
    if key == "axis" then value = axis_of(value) elseif key == "dtype" then value = dtype_name(value) end
    opts[key] = value
  end
  if opts then args[#args + 1] = opts end
  return f(table.unpack(args))
end

local CONSTANTS = {pi = math.pi, e = math.exp(1), inf = math.huge, nan = 0 / 0, newaxis = NONE}
local DTYPES = {float32 = "float32", float64 = "float64", int32 = "int32", int64 = "int64", uint32 = "uint32", bool_ = "bool"}

--- A dtype: called it converts.
local function dtype_of(name)
  return {dtype = name, call = function(args) return core.cast(bdl.tensor(args[1]), name) end}
end

local function numpy(name)
  if CONSTANTS[name] ~= nil then return CONSTANTS[name] end
  if DTYPES[name] then return dtype_of(DTYPES[name]) end
  return {call = function(args, named) return call_numpy(name, args, named) end}
end

--- A plain number of what has no dimension, as float() and int() demand.
local function scalar(x)
  if type(x) == "number" then return x end
  return bdl.item(is_unit(x) and 1.0 * x or x)
end

local UNITS = {
  math = {attribute = numpy},
  get_dim = {call = function(args) return u.get_dim(args[1]) end},
  get_unit = {call = function(args) return u.get_unit(args[1]) end},
  get_mantissa = {call = function(args) return u.get_mantissa(args[1]) end},
  get_magnitude = {call = function(args) return u.get_mantissa(args[1]) end},
  Quantity = {call = function(args, named)
    local unit = args[2] or named.unit
    local x = is_list(args[1]) and bdl.tensor(args[1]) or args[1]
    return unit and x * unit or x
  end},
}

local GLOBALS = {
  u = {attribute = function(name) return UNITS[name] or u[name] end},
  m = {attribute = numpy}, jnp = {attribute = numpy}, np = {attribute = numpy},
  True = true, False = false, None = NONE,
  float = {call = function(args) return scalar(args[1]) + 0.0 end},
  int = {call = function(args) return math.tointeger(scalar(args[1]) // 1) end},
  bool = {call = function(args) return scalar(args[1]) ~= 0 end},
  abs = {call = function(args) return type(args[1]) == "number" and math.abs(args[1]) or bdl.abs(args[1]) end},
  round = {call = function(args) return bdl.round(args[1], args[2] and {decimals = args[2]}) end},
  len = {call = function(args) return #args[1] end},
  str = {call = function(args) return python.str(args[1]) end},
}

--- Attributes of quantities, arrays and units that are not functions of m.
local function attribute(x, name)
  if type(x) == "table" and x.attribute then return x.attribute(name) end
  if is_unit(x) then
    if name == "dim" or name == "magnitude" or name == "is_unitless" then return x[name] end
    error(("python: a unit has no '%s'"):format(name), 0)
  end
  local function method(f) return {call = function(args, named) return f(x, args, named) end} end
  if name == "to_decimal" then
    return method(function(q, args) return core.mantissa(bdl.to(q, args[1])) end)
  elseif name == "in_unit" or name == "to" then
    return method(function(q, args) return bdl.to(q, args[1]) end)
  elseif name == "mantissa" or name == "magnitude" then
    return u.get_mantissa(x)
  elseif name == "unit" then
    return u.get_unit(x)
  elseif name == "dim" then
    return u.get_dim(x)
  elseif name == "is_unitless" then
    return u.is_dimensionless(x)
  elseif name == "has_same_unit" then
    return method(function(q, args) return core.same_dim(core.unit_of(q), core.unit_of(args[1])) end)
  elseif name == "astype" then
    return method(function(q, args) return core.cast(q, dtype_name(args[1])) end)
  elseif name == "shape" then
    return table.move(x.shape, 1, #x.shape, 1, {})
  elseif name == "T" or name == "ndim" or name == "size" or name == "dtype" then
    return x[name]
  end
  return method(function(q, args, named)
    table.insert(args, 1, q)
    return call_numpy(name, args, named)
  end)
end

local function subscript(x, key)
  local function one(k)
    if math.type(k) == "integer" then return k >= 0 and k + 1 or k end
    if k == NONE then return bdl.none end
    if type(k) == "table" and k.slice then
      local first, last, step = table.unpack(k.slice, 1, 3)
      local r = {}
      if first then r.first = first >= 0 and first + 1 or first end
      if last then r.last = last >= 0 and last or last - 1 end
      if step then r.step = step end
      return r
    end
    return k
  end
  if is_list(x) then return x[one(key)] end
  if not is_list(key) or key.slice then return x[{one(key)}] end
  local list = {}
  for i, k in ipairs(key) do list[i] = one(k) end
  return x[list]
end

-- ---- parsing, which evaluates ----------------------------------------------------------------------------------------

local function parser(text)
  local list, at = tokens_of(text), 1
  local expression

  local function peek(s) return list[at].text == s and list[at].kind ~= "string" end
  local function accept(s)
    if not peek(s) then return false end
    at = at + 1
    return true
  end
  local function expect(s)
    if not accept(s) then error(("python: '%s': '%s' instead of '%s'"):format(text, list[at].text, s), 0) end
  end

  --- Values up to a closing bracket; was there a comma?
  local function values(close)
    local out, comma = {}, false
    while not accept(close) do
      out[#out + 1] = expression(0)
      if not peek(close) then
        expect ","
        comma = true
      end
    end
    return out, comma
  end

  local function arguments()
    local args, named = {}, {}
    while not accept ")" do
      if list[at].kind == "name" and list[at + 1].text == "=" then
        local name = list[at].text
        at = at + 2
        named[name] = expression(0)
      else
        args[#args + 1] = expression(0)
      end
      if not peek ")" then expect "," end
    end
    return args, named
  end

  local function slice_part()
    if peek ":" or peek "]" or peek "," then return nil end
    return expression(0)
  end

  local function key()
    local first = slice_part()
    if not accept ":" then return first end
    local last = slice_part()
    return {slice = {first, last, accept ":" and slice_part() or nil}}
  end

  local function atom()
    local token = list[at]
    at = at + 1
    if token.kind == "number" then return tonumber(token.text) end
    if token.kind == "string" then return token.text:sub(2, -2) end
    if token.kind == "name" and UNARY[token.text] == nil then
      local value = GLOBALS[token.text]
      if value == nil then error(("python: '%s': unknown name '%s'"):format(text, token.text), 0) end
      return value
    end
    if token.text == "(" then
      local inside, comma = values ")"
      if #inside == 1 and not comma then return inside[1] end
      return inside
    elseif token.text == "[" then
      return (values "]")
    end
    local f = UNARY[token.text]
    if not f then error(("python: '%s': '%s' where a value was expected"):format(text, token.text), 0) end
    return f(expression(UNARY_POWER[token.text]))
  end

  local function postfix()
    local x = atom()
    while true do
      if accept "." then
        at = at + 1
        x = attribute(x, list[at - 1].text)
      elseif accept "(" then
        if type(x) ~= "table" or not x.call then error(("python: '%s': a value is called"):format(text), 0) end
        x = x.call(arguments())
      elseif accept "[" then
        local keys = {key()}
        while accept "," do keys[#keys + 1] = key() end
        expect "]"
        x = subscript(x, #keys == 1 and keys[1] or keys)
      else
        return x
      end
    end
  end

  function expression(least)
    local x = postfix()
    while true do
      local op = list[at].kind ~= "string" and list[at].text
      local binds = LEFT[op]
      if not binds or binds <= least then return x end
      at = at + 1
      x = BINARY[op](x, expression(op == "**" and binds - 2 or binds))
    end
  end

  local value = expression(0)
  if list[at].kind ~= "end" then error(("python: '%s': '%s' is left over"):format(text, list[at].text), 0) end
  return value
end

--- The value of an expression: numbers, booleans, strings, lists, tensors, units.
function python.eval(text)
  local value = parser(text)
  if type(value) == "table" and value.call then error(("python: '%s' is a function"):format(text), 0) end
  return value
end

--- str() of a value.
function python.str(x)
  if core.is_tensor(x) then
    local text = tostring(x):gsub("true", "True"):gsub("false", "False")
    return text
  elseif type(x) == "number" then
    return tostring(core.tensor(x, math.type(x) == "float" and "float64" or "int64"))
  elseif type(x) == "boolean" then
    return x and "True" or "False"
  end
  return tostring(x)
end

return python

--- JSON (RFC 8259): texts of objects, lists, strings, numbers and truths.  What is read is not trusted.
--
--   objects are plain tables, lists tables 1..n (an empty one: json.list{}), null is bdl.none
local core = require "bdl.core"
local none = require "bdl.none".none
local util = require "bdl.util"

local json = {}

local DEEPEST = 64
local List = {__name = "json.List"}

--- A table that is written as a list also when it is empty.
function json.list(t) return setmetatable(t, List) end

-- ---- writing --------------------------------------------------------------------------------------------------------

local ESCAPES = {['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r"}

local function quote(s)
  return '"' .. s:gsub('[%c"\\\127]', function(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function write(x, indent)
  if type(x) == "string" then return quote(x) end
  if type(x) == "boolean" or math.type(x) == "integer" then return tostring(x) end
  if rawequal(x, none) then return "null" end
  if type(x) == "number" and x == x and math.abs(x) < math.huge then return ("%.17g"):format(x) end
  if type(x) ~= "table" then core.fail("TypeError", 3, "json: no text for %s", tostring(x)) end
  local parts, deeper = {}, indent .. " "
  if getmetatable(x) == List or x[1] ~= nil then
    for i, value in ipairs(x) do parts[i] = write(value, deeper) end
    return "[" .. table.concat(parts, ", ") .. "]"
  end
  for i, key in ipairs(util.sorted_keys(x)) do parts[i] = deeper .. quote(key) .. ": " .. write(x[key], deeper) end
  return #parts == 0 and "{}" or ("{\n%s\n%s}"):format(table.concat(parts, ",\n"), indent)
end

--- The text of x, objects in the order of their keys, one entry a line.
function json.encode(x) return write(x, "") end

-- ---- reading --------------------------------------------------------------------------------------------------------

--- r: s, at, who.
local function fail(r, what)
  core.fail("IOError", 2, "%s: byte %d: %s", r.who, r.at - 1, what)
end

local function skip(r) r.at = r.s:match("^[ \n\t\r]*()", r.at) end

local function take(r, c)
  skip(r)
  if r.s:sub(r.at, r.at) ~= c then return false end
  r.at = r.at + 1
  return true
end

local function expect(r, c)
  if not take(r, c) then fail(r, ("'%s' expected"):format(c)) end
end

local UNESCAPE = {b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/"}

local function hex(r)
  local digits = r.s:match("^u(%x%x%x%x)", r.at)
  if not digits then fail(r, "four hexadecimal digits expected") end
  r.at = r.at + 5
  return tonumber(digits, 16)
end

--- What stands behind a backslash; two halves of a character beyond 16 bits are one.
local function escaped(r)
  local plain = UNESCAPE[r.s:sub(r.at, r.at)]
  if plain then
    r.at = r.at + 1
    return plain
  end
  local code = hex(r)
  if code >= 0xd800 and code < 0xdc00 and r.s:sub(r.at, r.at) == "\\" then
    r.at = r.at + 1
    local low = hex(r)
    if low < 0xdc00 or low > 0xdfff then fail(r, "half a character") end
    return utf8.char(0x10000 + ((code & 0x3ff) << 10 | low & 0x3ff))
  end
  if code >= 0xd800 and code < 0xe000 then fail(r, "half a character") end
  return utf8.char(code)
end

local function string(r)
  local parts = {}
  while true do
    local run, after = r.s:match('^([^"\\%c]*)()', r.at)
    parts[#parts + 1], r.at = run, after
    local c = r.s:sub(r.at, r.at)
    r.at = r.at + 1
    if c == '"' then break end
    if c ~= "\\" then
      r.at = r.at - 1
      fail(r, c == "" and "the string has no end" or "a control character in a string")
    end
    parts[#parts + 1] = escaped(r)
  end
  local s = table.concat(parts)
  if not utf8.len(s) then fail(r, "a string that is not UTF-8") end
  return s
end

local WORDS = {["true"] = true, ["false"] = false, null = none}

local value

local function object(r, depth)
  local t = {}
  if take(r, "}") then return t end
  repeat
    expect(r, '"')
    local key = string(r)
    if t[key] ~= nil then fail(r, ("'%s' twice"):format(key)) end
    expect(r, ":")
    t[key] = value(r, depth)
  until not take(r, ",")
  expect(r, "}")
  return t
end

local function list(r, depth)
  local t = json.list{}
  if take(r, "]") then return t end
  repeat t[#t + 1] = value(r, depth) until not take(r, ",")
  expect(r, "]")
  return t
end

function value(r, depth)
  if depth > DEEPEST then fail(r, "nested too deep") end
  if take(r, "{") then return object(r, depth + 1) end
  if take(r, "[") then return list(r, depth + 1) end
  if take(r, '"') then return string(r) end
  local word = r.s:match("^%l+", r.at)
  local number = r.s:match("^-?%d+%.?%d*[eE]?[-+]?%d*", r.at)
  local found = word and WORDS[word]
  if number then found = tonumber(number) end
  if found == nil then fail(r, "a value expected") end
  r.at = r.at + #(word or number)
  return found
end

--- The value of a text.  who : the file, for messages.  Errors: IOError with the byte.
function json.decode(s, who)
  local r = {s = s, at = 1, who = who}
  local x = value(r, 1)
  skip(r)
  if r.at <= #s then fail(r, "the end expected") end
  return x
end

return json

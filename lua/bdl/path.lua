--- Paths of States and Nodes, written as Lua would: `layers[1].weight`, `_before_updates["a // b"].g`; the root is "".
-- The text is the key of every map of States.  Users may also write "layers.1.weight" or {"layers", 1, "weight"}.

local path = {}

local RESERVED = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until"
             .. " while"):gmatch "%a+" do
  RESERVED[word] = true
end

--- Can the string stand after a dot?
function path.is_name(s) return s:find "^[%a_][%w_]*$" ~= nil and not RESERVED[s] end

--- Keys in traversal order: numbers by size, then strings.
function path.key_less(a, b)
  local number_a, number_b = type(a) == "number", type(b) == "number"
  if number_a ~= number_b then return number_a end
  if number_a then return a < b end
  return tostring(a) < tostring(b)
end

--- One key appended to a path.
function path.join(prefix, key)
  if type(key) == "string" and path.is_name(key) then
    return prefix == "" and key or prefix .. "." .. key
  elseif type(key) == "string" then
    return prefix .. '["' .. key:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"]'
  end
  return ("%s[%s]"):format(prefix, tostring(key))
end

--- One path after another.
function path.append(prefix, rest)
  if prefix == "" or rest == "" then return prefix .. rest end
  return rest:sub(1, 1) == "[" and prefix .. rest or prefix .. "." .. rest
end

function path.format(keys)
  local s = ""
  for _, key in ipairs(keys) do s = path.join(s, key) end
  return s
end

local UNESCAPE = {n = "\n"}

--- Keys of a path in any of its spellings; nil when the text is none.
function path.parse(s)
  if type(s) == "table" then return s end
  local keys, at = {}, 1
  while at <= #s do
    local word, after
    if s:sub(at, at) == "[" then
      word, after = s:match("^%[(%-?%d+)%]()", at)
      if word then
        word = math.tointeger(tonumber(word))
      else
        local close = at + 2
        while s:sub(close, close) ~= '"' do
          if close > #s then return nil end
          close = close + (s:sub(close, close) == "\\" and 2 or 1)
        end
        if s:sub(at + 1, at + 1) ~= '"' or s:sub(close + 1, close + 1) ~= "]" then return nil end
        word = s:sub(at + 2, close - 1):gsub("\\(.)", function(c) return UNESCAPE[c] or c end)
        after = close + 2
      end
    else
      local dot = at > 1 and "%." or ""
      word, after = s:match("^" .. dot .. "([%w_]+)()", at)
      if not word then return nil end
      word = word:find "^%d+$" and math.tointeger(tonumber(word)) or word
    end
    keys[#keys + 1] = word
    at = after
  end
  return keys
end

--- The one spelling under which maps keep a path.
function path.canonical(s)
  local keys = path.parse(s)
  return keys and path.format(keys) or s
end

return path

--- The walk over a model's source: finds tensors used as Lua booleans, which Lua lets nobody intercept.
--
--  `if x:lt(0) then`, `not s.value`, `s.value == 1` run without a complaint and always take the same branch.  So the
--  text is parsed, and an operand is reported that is, by its syntax, a tensor: a call of a comparison method (x:lt(y),
--  bdl.lt(x, y), m:any()), a State's `.value`, or arithmetic on those.
--
--      operand of                      reported
--      if elseif while until not       always
--      == ~=                           always, but `s.value == nil` is a fair question
--      and or                          left operands; right ones if comparisons, or if the result is one of the above:
--                                      `flag and s.value or 0` is a fair choice
--      < <= > >=                       comparisons only: concrete scalars may be ordered, traced ones raise by themselves
--
--  Grammar: Lua 5.4 manual, section 9.
local find, sub, byte = string.find, string.sub, string.byte

local function set(words)
  local s = {}
  for w in words:gmatch "%S+" do s[w] = w end
  return s
end

local KEYWORD = set [[and break do else elseif end false for function goto if in local nil not or repeat return then true
  until while]]
local COMPARES = set "lt le gt ge eq ne any all"
local UNARY = set "not # - ~"
local BLOCK_ENDS = set "end else elseif until eof"
local ORDER = set "< <= > >="
local OPERATOR = set "... .. == ~= <= >= // << >> ::"

-- Binding powers to the left and to the right; as lparser.c:priority.
local LEFT, RIGHT = {}, {}
for power, ops in pairs{"or", "and", "< > <= >= ~= ==", "|", "~", "&", "<< >>", "", "..", "+ -", "* / // %", [14] = "^"} do
  for op in ops:gmatch "%S+" do
    LEFT[op], RIGHT[op] = power, (op == ".." or op == "^") and power - 1 or power
  end
end
local UNARY_POWER = 12

-- Tokens of one byte that begin no longer one, by byte.
local SINGLE = {}
for ch in ("+*%^#&|(){}];,"):gmatch "." do SINGLE[byte(ch)] = ch end

--- Calls flag(op, kind, from, to) for each operand of op at src[from..to]; raises something on text that is not Lua.
local function parse(src, flag)
  local pos, tok, text = 1, nil, nil             -- where to read on; the token: its kind (or itself); text of a name
  local from, to, last = 1, 0, 0                 -- src[from..to] is the token; the one before ended at `last`

  local function long_bracket(s)                 -- end of [==[ .. ]==] at s, or nil if there is none at s
    local _, e, level = find(src, "^%[(=*)%[", s)
    if not e then return nil end
    local _, stop = find(src, "]" .. level .. "]", e + 1, true)
    return stop or error "unfinished long bracket"
  end

  local function quoted(s)                       -- end of the string that opens at s
    local quote, p = byte(src, s), s + 1
    while true do
      p = find(src, "[\"'\\\n]", p) or error "unfinished string"
      local c = byte(src, p)
      if c == quote then return p end
      if c == 10 then error "unfinished string" end
      p = p + (c == 92 and 2 or 1)
    end
  end

  local function number(s)
    local _, e = find(src, "^0[xX][%x.]*", s)
    if e then
      local _, e2 = find(src, "^[pP][+-]?%d*", e + 1)
      return e2 or e
    end
    _, e = find(src, "^[%d.]*", s)
    local _, e2 = find(src, "^[eE][+-]?%d*", e + 1)
    return e2 or e
  end

  local function advance()
    last = to
    ::again::
    local s, e, word = find(src, "^%s*([%a_\128-\255][%w_\128-\255]*)", pos)
    if word then
      tok, text, from, to, pos = KEYWORD[word] or "name", word, e - #word + 1, e, e + 1
      return
    end
    s = find(src, "%S", pos)
    if not s then
      tok, from, to = "eof", #src + 1, #src
      return
    end
    local c = byte(src, s)
    e = s
    if SINGLE[c] then
      tok = SINGLE[c]
    elseif c == 34 or c == 39 then               -- quotes
      tok, e = "string", quoted(s)
    elseif c == 45 and byte(src, s + 1) == 45 then
      pos = (long_bracket(s + 2) or find(src, "\n", s, true) or #src) + 1
      goto again
    elseif c >= 48 and c <= 57 or c == 46 and find(src, "^%d", s + 1) then
      tok, e = "number", number(s)
    elseif c == 91 then                          -- [
      local stop = long_bracket(s)
      tok, e = stop and "string" or "[", stop or s
    else
      local op = sub(src, s, s + 2)
      tok = OPERATOR[op] or OPERATOR[sub(op, 1, 2)] or sub(op, 1, 1)
      e = s + #tok - 1
    end
    from, to, pos = s, e, e + 1
  end

  local function expect(what)
    if tok ~= what then error("no " .. what) end
    advance()
  end

  local expr, block

  local function expr_list()
    expr(0)
    while tok == "," do
      advance()
      expr(0)
    end
  end

  local function body()                          -- (params) block end
    expect "("
    while tok ~= ")" do                          -- names, commas, ...
      if tok == "eof" then error "no )" end
      advance()
    end
    advance()
    block()
    expect "end"
  end

  local function table_constructor()
    advance()
    while tok ~= "}" do
      if tok == "[" then
        advance()
        expr(0)
        expect "]"
        expect "="
      end
      expr(0)                                    -- an item, or the name before '='
      if tok == "=" then
        advance()
        expr(0)
      end
      if tok == "," or tok == ";" then advance() elseif tok ~= "}" then error "no }" end
    end
    advance()
  end

  local function arguments()
    if tok == "string" then
      advance()
    elseif tok == "{" then
      table_constructor()
    else
      expect "("
      if tok ~= ")" then expr_list() end
      expect ")"
    end
  end

  -- What an expression is: nil, "call" of a comparison, "value" of a State, "math" on those, or "picked" by and/or from
  -- src[f..t].
  local function suffixed()
    local kind, f, t
    local of_bdl, compares = text == "bdl", nil    -- `bdl` was read; `bdl.lt` was read
    if tok == "name" then
      advance()
    else
      expect "("
      kind, f, t = expr(0)
      expect ")"
      if kind ~= "picked" then f, t = nil, nil end
    end
    while true do
      if tok == "." then
        advance()
        kind, compares = text == "value" and "value" or nil, of_bdl and COMPARES[text]
        expect "name"
      elseif tok == ":" then
        advance()
        kind = COMPARES[text] and "call"
        expect "name"
        arguments()
      elseif tok == "[" then
        advance()
        expr(0)
        expect "]"
        kind = nil
      elseif tok == "(" or tok == "string" or tok == "{" then
        kind, compares = compares and "call", nil
        arguments()
      else
        return kind, f, t
      end
      of_bdl = false
    end
  end

  local function simple()
    if tok == "name" or tok == "(" then return suffixed() end
    if tok == "{" then
      table_constructor()
    elseif tok == "function" then
      advance()
      body()
    elseif tok == "number" or tok == "string" or tok == "nil" or tok == "true" or tok == "false" or tok == "..." then
      advance()
    else
      error("unexpected " .. tok)
    end
  end

  local function binary(op, a, af, at, a_nil, b, bf, bt, b_nil)
    if op == "and" or op == "or" then
      if a and a ~= "picked" then flag(op, a, af, at) end
      if b == "call" then flag(op, b, bf, bt) elseif b then return "picked", bf, bt end
      if a == "picked" then return a, af, at end
    elseif op == "==" or op == "~=" then
      if a and not b_nil then flag(op, a, af, at) elseif b and not a_nil then flag(op, b, bf, bt) end
    elseif ORDER[op] then
      if a == "call" then flag(op, a, af, at) elseif b == "call" then flag(op, b, bf, bt) end
    elseif op ~= ".." and op ~= ">>" then        -- arithmetic; x >> layer is whatever the layer gives
      if a and a ~= "picked" or b and b ~= "picked" then return "math", af, bt end
    end
  end

  function expr(limit)
    local start, is_nil = from, tok == "nil"
    local kind, f, t
    if UNARY[tok] then
      local op = tok
      advance()
      kind, f, t = expr(UNARY_POWER)
      if op == "not" and kind then flag(op, kind, f, t) end
      if op == "not" or op == "#" or kind == "picked" then kind = nil end
      if kind then kind, f, t = "math", start, last end
    else
      kind, f, t = simple()
      f, t = f or start, t or last
    end
    while true do
      local power = LEFT[tok]
      if not power or power <= limit then return kind, f or start, t or last end
      local op = tok
      advance()
      local right_nil = tok == "nil"
      local b, bf, bt = expr(RIGHT[op])
      kind, f, t = binary(op, kind, f or start, t or last, is_nil, b, bf, bt, right_nil)
      is_nil = false
    end
  end

  local function condition()                     -- the keyword, then an expression
    local op = tok
    advance()
    local kind, f, t = expr(0)
    if kind then flag(op, kind, f, t) end
  end

  local statement = {}

  statement["if"] = function()
    repeat
      condition()
      expect "then"
      block()
    until tok ~= "elseif"
    if tok == "else" then
      advance()
      block()
    end
    expect "end"
  end

  statement["while"] = function()
    condition()
    expect "do"
    block()
    expect "end"
  end

  statement["repeat"] = function()
    advance()
    block()
    if tok ~= "until" then error "no until" end
    condition()
  end

  statement["do"] = function()
    advance()
    block()
    expect "end"
  end

  statement["for"] = function()
    advance()
    while tok == "name" or tok == "," do advance() end
    advance()                                    -- = or in
    expr_list()
    expect "do"
    block()
    expect "end"
  end

  statement["function"] = function()
    repeat advance() until tok ~= "name" and tok ~= "." and tok ~= ":"
    body()
  end

  statement["local"] = function()
    advance()
    if tok == "function" then
      advance()
      expect "name"
      body()
      return
    end
    repeat advance() until tok ~= "name" and tok ~= "," and tok ~= "<" and tok ~= ">" -- names and attributes
    if tok == "=" then
      advance()
      expr_list()
    end
  end

  statement["return"] = function()
    advance()
    if not BLOCK_ENDS[tok] and tok ~= ";" then expr_list() end
  end

  statement["::"] = function()
    advance()
    expect "name"
    expect "::"
  end

  statement["goto"] = function()
    advance()
    expect "name"
  end

  statement["break"], statement[";"] = advance, advance

  function block()
    while not BLOCK_ENDS[tok] do
      local special = statement[tok]
      if special then
        special()
      else                                       -- a call, or targets = values
        suffixed()
        while tok == "," do
          advance()
          suffixed()
        end
        if tok == "=" then
          advance()
          expr_list()
        end
      end
    end
  end

  if byte(src, 1) == 35 then pos = find(src, "\n", 1, true) or #src + 1 end -- the line #!
  advance()
  block()
end

local METHOD = {["=="] = "eq", ["~="] = "ne", ["<"] = "lt", ["<="] = "le", [">"] = "gt", [">="] = "ge"}

--- What to say about `operand`, a tensor, under op, and the way out.
local function explain(op, kind, operand)
  local item = (kind == "math" and "(%s):item()" or "%s:item()"):format(operand)
  if METHOD[op] then
    local text = "comparing tensors with '%s' gives one Lua boolean; write x:%s(y) for an elementwise result"
    return text:format(op, METHOD[op]), ("%s is a tensor; the number of a concrete one is %s"):format(operand, item)
  end
  local way = op == "not" and "write ~x for an elementwise 'not'" or op == "and" and "write x & y for an elementwise 'and'"
    or op == "or" and "write x | y for an elementwise 'or'" or (op == "while" or op == "until") and "write bdl.while_loop"
    or "write bdl.cond or bdl.where"
  local unset = kind == "value" and (", %s ~= nil to ask whether it is set"):format(operand) or ""
  return ("%s is a tensor, which '%s' always takes as true"):format(operand, op),
    ("%s, %s for the number of a concrete tensor%s"):format(way, item, unset)
end

-- What a chunk must contain to be worth parsing.
local TENSOR = {"%.%s*value%f[^%w_]", "[.:]%s*[lg][te]%f[^%w_]", "[.:]%s*[en][qe]%f[^%w_]", "[.:]%s*a[nl][yl]%f[^%w_]"}

local check = {}

--- Positions where the source of a chunk uses a tensor as a Lua boolean, in order of the text:
--  {{line =, col =, message =, hint =}, ..}; columns count bytes from 1.  Text that is not Lua gives what was found
--  before it went wrong: reporting that is the business of load.
function check.walk(source)
  local found = {}
  local tensors = false
  for _, pattern in ipairs(TENSOR) do tensors = tensors or find(source, pattern) end
  if not tensors then return found end
  pcall(parse, source, function(op, kind, from, to)
    found[#found + 1] = {op = op, kind = kind, from = from, to = to}
  end)
  table.sort(found, function(a, b) return a.from < b.from end)
  local line, start = 1, 1                       -- of the line that holds the position reached
  for i, f in ipairs(found) do
    while true do
      local newline = find(source, "\n", start, true)
      if not newline or newline >= f.from then break end
      line, start = line + 1, newline + 1
    end
    local operand = sub(source, f.from, f.to):gsub("%s+", " ")
    if #operand > 48 then operand = sub(operand, 1, 44) .. " .." end
    local message, hint = explain(f.op, f.kind, operand)
    found[i] = {line = line, col = f.from - start + 1, message = message, hint = hint}
  end
  return found
end

return check

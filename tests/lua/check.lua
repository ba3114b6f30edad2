--- bdl.check.walk: tensors used as Lua booleans are found by syntax, with line and column; nothing else is.
local t = require "tests.lua.harness"
local check = require "bdl.check"

--- "line:col operator" of each finding, or "operator" where the chunk has one line.
local function found(source)
  local out = {}
  for i, f in ipairs(check.walk(source)) do
    out[i] = ("%d:%d %s"):format(f.line, f.col, f.message:match "which '(%a+)' always" or f.message:match "with '(%p+)' gives")
  end
  return out
end

local function reports(source, ...)
  t.eq(found(source), {...}, source)
end

t.test("conditions that are a comparison or a state's value", function()
  reports("if x:lt(0.5) then end", "1:4 if")
  reports("if a then elseif s.value then end", "1:18 elseif")
  reports("while m:any() do end", "1:7 while")
  reports("repeat until self.V.value", "1:14 until")
  reports("if x:gt(y):all() then end", "1:4 if")
  reports("if x:lt 'a' then end", "1:4 if")
  reports("if bdl.lt(x, y) then end", "1:4 if")
  reports("if ((x:eq(1))) then end", "1:4 if")
  reports("if models[1].layer(3).s.value then end", "1:4 if")
  reports("if s . value then end", "1:4 if")
end)

t.test("not, ==, ~=", function()
  reports("return not x:le(1)", "1:12 not")
  reports("return not s.value, not not s.value", "1:12 not", "1:29 not")
  reports("local b = s.value == 1", "1:11 ==")
  reports("local b = 1 ~= s.value", "1:16 ~=")
  reports("f(x:lt(1) == y:lt(2))", "1:3 ==")
end)

t.test("and, or: what is tested, and comparisons on the right", function()
  reports("local c = x:lt(1) and y:gt(2)", "1:11 and", "1:23 and")
  reports("local c = s.value and 1 or 2", "1:11 and")
  reports("local c = s.value or 0", "1:11 or")
  reports("if ready and s.value then end", "1:14 if")
  reports("return not (ready and s.value)", "1:23 not")
  reports("local v = ready and s.value or 0")
  reports("local v = (ready and s.value or r.value) + 1")
end)

t.test("arithmetic on a tensor is a tensor", function()
  reports("if i.value % 10 == 0 then end", "1:4 ==")
  reports("if s.value - 1 then end", "1:4 if")
  reports("if -s.value then end", "1:4 if")
  reports("if a:lt(1) & b:lt(2) then end", "1:4 if")
  reports("if 2^s.value == 8 then end", "1:4 ==")
end)

t.test("ordering: comparisons have none, states may be concrete", function()
  reports("return a:lt(1) < 3", "1:8 <")
  reports("assert(loss < previous, s.value <= 3)")
end)

t.test("what is no tensor by its syntax", function()
  reports("if s.value:item() then end")
  reports("if s.value == nil or nil ~= s.value then end")
  reports("if #s.value == 3 then end")
  reports("if s.value.shape == 1 then end")
  reports("if s.values or s.value_of or value then end")
  reports("if x:lt then_ end")
  reports("if lt(x, y) or t.eq(a, b) or x.lt then end")
  reports("if s.value .. '' == '1' then end")
  reports("if f(s.value) or {s.value} or s.value[1] then end")
  reports("if function() return s.value end then end")
  reports("s.value = s.value + 1; s.value, b = 1, 2")
  reports("for i = 1, s.value do end for _, v in pairs(s.value) do end")
end)

t.test("inside functions, tables, arguments, indices", function()
  reports("f(function(...) local a <const>, b <close> = not s.value end)", "1:50 not")
  reports("return {a = not s.value, [not s.value] = 1, not s.value; f = function() end}", "1:17 not", "1:31 not", "1:49 not")
  reports("f{not s.value}[not s.value]:g 'x' (not s.value)", "1:7 not", "1:20 not", "1:40 not")
  reports("function M.a.b:c(x, ...) return not s.value end", "1:37 not")
  reports("local function f() return not s.value end goto done ::done::", "1:31 not")
  reports("while true do if s.value then break end end", "1:18 if")
end)

t.test("strings and comments hide nothing and show nothing", function()
  reports("local a = 'if s.value then' .. [==[ not s.value ]] ]==] -- not s.value\n--[[\nnot s.value ]]  return not s.value",
    "3:28 not")
  reports("local a = 'it\\'s \\\\' return not s.value", "1:33 not")
  reports("local a, b = 0x1p-4, 1e+5 .. 3. return not s.value", "1:44 not")
  reports("#!/usr/bin/env bdl\nreturn not s.value", "2:12 not")
end)

t.test("lines and columns", function()
  reports("\n\n  if s.value\n  then end\n\tif not s.value then end", "3:6 if", "5:9 not")
  reports("local ä = 'ö'\nif\n  s.value then end", "3:3 if")
end)

t.test("messages name the operand and the way out", function()
  local f = check.walk("if i.value % 10 == 0 then end")[1]
  t.eq(f.message, "comparing tensors with '==' gives one Lua boolean; write x:eq(y) for an elementwise result")
  t.ok(f.hint:find("(i.value % 10):item()", 1, true), f.hint)
  f = check.walk("while x:lt(1) do end")[1]
  t.eq(f.message, "x:lt(1) is a tensor, which 'while' always takes as true")
  t.ok(f.hint:find("bdl.while_loop", 1, true), f.hint)
  f = check.walk("return x:lt(1) and y")[1]
  t.ok(f.hint:find("x & y", 1, true), f.hint)
end)

t.test("text that is not Lua gives what came before, never an error", function()
  reports("if s.value then end )(", "1:4 if")
  reports("if s.value then 'unfinished", "1:4 if")
  local source = [==[
    local a, b = {x = 1, [2] = s.value; 'q', "\z  w"}, function(...) return not s.value, 0x.8p1 end
    for i = 1, 2 do if a:lt(1) and b then elseif s.value == 3 then goto x end ::x:: end
    repeat local f <const> = [=[ ]] ]=] --[[ c ]] until (a or b).value // 2 ~= ~1]==]
  for i = 0, #source do
    t.ok(check.walk(source:sub(1, i)))
    t.ok(check.walk(source:sub(i + 1)))
  end
  local seed = 1
  for _ = 1, 2000 do
    local bytes = {".value"}
    for k = 2, 30 do
      seed = (seed * 1103515245 + 12345) % 2147483648
      local j = seed // 65536 % #source + 1
      bytes[k] = seed % 7 == 0 and string.char(seed // 256 % 256) or source:sub(j, j + seed // 4096 % 9)
    end
    t.ok(check.walk(table.concat(bytes)))
  end
  t.ok(check.walk(("("):rep(100000) .. "s.value"))
end)

t.test("the models that ship are free of it", function()
  for path in t.shell("find models -name '*.lua'"):gmatch "[^\n]+" do
    local f = assert(io.open(path))
    local first = check.walk(f:read "a")[1]
    f:close()
    t.ok(not first, first and ("%s:%d:%d: %s"):format(path, first.line, first.col, first.message))
  end
end)

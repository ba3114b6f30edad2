--- The test framework of tests/lua: what a test may say, and the count of what came out.
--  A test file begins with `local t = require "tests.lua.harness"` and calls t.test; run.lua loads it and prints the total.
local t = {passed = 0, failed = 0, skipped = 0}

local FAILED = {}                                -- the errors of failed expectations, told from those of the code

--- The position and text of a failed expectation, blamed on the test's own line.
local function fail(fmt, ...)
  local level, info = 3, nil
  repeat
    info = debug.getinfo(level, "Sl")
    level = level + 1
  until not info or info.source ~= debug.getinfo(1, "S").source
  local where = info and ("%s:%d: "):format(info.short_src, info.currentline) or ""
  error(setmetatable({text = where .. fmt:format(...)}, FAILED), 0)
end

FAILED.__tostring = function(e) return e.text end

local function show(v)
  if type(v) == "string" then return ("%q"):format(v) end
  if type(v) ~= "table" or getmetatable(v) then return tostring(v) end
  local parts, n = {}, #v
  for i = 1, n do parts[i] = show(v[i]) end
  local keys = {}
  for k in pairs(v) do
    if not (math.type(k) == "integer" and k >= 1 and k <= n) then keys[#keys + 1] = k end
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, k in ipairs(keys) do parts[#parts + 1] = ("%s = %s"):format(tostring(k), show(v[k])) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

--- Lua values of tensors; anything else as it is.
local function plain(v)
  if type(v) ~= "userdata" then return v end
  local ok, totable = pcall(function() return v.totable end)
  return ok and totable and totable(v) or v
end

--- Equality of numbers (nan too), strings, tensors, and tables by what they hold; `seen` ends cycles.
local function same(a, b, seen)
  a, b = plain(a), plain(b)
  if rawequal(a, b) or (a ~= a and b ~= b) then return true end
  if type(a) ~= "table" or type(b) ~= "table" or a == b then return a == b end
  if seen[a] == b then return true end
  seen[a] = b
  for k, v in pairs(a) do
    if not same(v, b[k], seen) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

--- Whether f() came through; if not, the failure is printed with its place and counted.
function t.attempt(name, f)
  local ok, err = xpcall(f, function(e)
    if getmetatable(e) == FAILED then return e end
    return debug.traceback(tostring(e), 2)
  end)
  if not ok then
    t.failed = t.failed + 1
    print(("FAIL  %s\n      %s"):format(name, (tostring(err):gsub("\n", "\n      "))))
  end
  return ok
end

--- One named test.
function t.test(name, f)
  if t.attempt(name, f) then t.passed = t.passed + 1 end
end

--- A test that cannot run here.
function t.skip(name, why)
  t.skipped = t.skipped + 1
  print(("SKIP  %s: %s"):format(name, why))
end

function t.ok(v, what)
  if not v then fail("%s", what or "expected something true, got " .. show(v)) end
end

--- Equal numbers, strings, nested tables, tensors (by their values); nan equals nan.
function t.eq(got, want, what)
  if not same(got, want, {}) then
    fail("%sgot %s, want %s", what and what .. ": " or "", show(plain(got)), show(plain(want)))
  end
end

--- |got - want| <= atol + rtol*|want|, over nested lists and tensors.  Defaults: rtol 1e-6, atol 1e-8.
function t.close(got, want, rtol, atol, what)
  rtol, atol = rtol or 1e-6, atol or 1e-8
  what = what and what .. ": " or ""
  local function walk(g, w, path)
    g, w = plain(g), plain(w)
    if type(w) == "table" then
      if type(g) ~= "table" or #g ~= #w then fail("%sat [%s]: got %s, want %s", what, path, show(g), show(w)) end
      for i = 1, #w do walk(g[i], w[i], path == "" and tostring(i) or path .. "," .. i) end
    elseif type(g) ~= "number" or type(w) ~= "number" then
      if g ~= w then fail("%sat [%s]: got %s, want %s", what, path, show(g), show(w)) end
    elseif not (g == w or (g ~= g and w ~= w) or math.abs(g - w) <= atol + rtol * math.abs(w)) then
      fail("%sat [%s]: got %.9g, want %.9g, difference %.3g", what, path, g, w, g - w)
    end
  end
  walk(got, want, "")
end

--- f(...) must raise an error of this kind (nil: any) whose text matches the Lua pattern (nil: any); returns the error.
function t.raises(kind, pattern, f, ...)
  local ok, e = pcall(f, ...)
  if ok then fail("no error raised, want %s %s", kind or "an error", pattern and show(pattern) or "") end
  if getmetatable(e) == FAILED then error(e, 0) end
  local got = type(e) ~= "string" and e.kind or nil
  if kind and got ~= kind then fail("error of kind %s, want %s: %s", tostring(got), kind, tostring(e)) end
  if pattern and not tostring(e):find(pattern) then fail("error %s does not match %s", show(tostring(e)), show(pattern)) end
  return e
end

--- The text that f(...) prints.
function t.prints(f, ...)
  local lines, print_ = {}, print
  print = function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    lines[#lines + 1] = table.concat(parts, "\t")
  end
  local ok, e = pcall(f, ...)
  print = print_
  if not ok then error(e, 0) end
  return table.concat(lines, "\n")
end

--- Standard output and error, and the exit status, of a shell command.
function t.shell(command)
  local p = assert(io.popen(command .. " 2>&1"))
  local text = p:read "a"
  local _, _, status = p:close()
  return text, status
end

return t

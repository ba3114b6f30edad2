--- Compares bdl with the reference data:  bdl run --quiet tests/golden/run.lua
--  Environment: BDL_GOLDEN (the tree of <area>/<case>.lua, tests/golden by default), AREA (an area, or area/case; Lua patterns),
--  EAGER (any text: without compilation), PRECISION=32 (cases of doubles in single precision, with tolerances to suit).
--  A case is a table {params, arrays, scalars, structure, tolerance, precision}.  areas/<area>.lua returns function(case, t), which
--  builds the case from its own numbers, runs it and compares; `t` is described in README.md.
--  One line a failing case: name, array, first differing index (positions, from 1), both values.  Last: the cases skipped, the totals.
package.path = "./?.lua;" .. package.path
local bdl = require "bdl"
local core = require "bdl.core"
local u = bdl.units

local ROOT = os.getenv "BDL_GOLDEN" or "tests/golden"
local WANTED = os.getenv "AREA" or ""
local SINGLE = os.getenv "PRECISION" == "32"
local HERE = debug.getinfo(1, "S").source:match "^@(.*)run%.lua$" or "tests/golden/"

-- ---- what a case may say ---------------------------------------------------------------------------------------------------

local t = {}
local current                                    -- {rtol, atol, ulp, failures} of the case that runs

local SKIP = setmetatable({}, {__name = "skip"})
local DTYPES = {f64 = SINGLE and "float32" or "float64", f32 = "float32", i32 = "int32", bool = "bool"}

--- Ends the case; it counts as skipped.
function t.skip(fmt, ...) error(setmetatable({reason = fmt:format(...)}, SKIP), 0) end

--- An array of the file as a tensor with its unit; dtype: another than the file's.
function t.tensor(a, dtype)
  local x = core.bind("reshape", {shape = a.shape}, core.tensor(a.data, dtype or DTYPES[a.dtype]))
  return a.unit and core.with_unit(x, u[a.unit]) or x
end

function t.array(case, name, dtype)
  local a = case.arrays[name]
  if not a then error(("the case has no array '%s'"):format(name), 2) end
  return t.tensor(a, dtype)
end

--- A parameter: {value, unit} and arrays become tensors, other values stay.
function t.quantity(v)
  if type(v) ~= "table" then return v end
  if v.shape then return t.tensor(v) end
  if v.value == nil then
    local copy = {}
    for k, x in pairs(v) do copy[k] = t.quantity(x) end
    return copy
  end
  return v.unit and v.value * u[v.unit] or v.value
end

local function note(name, at, fmt, ...)
  local failures = current.failures
  failures[#failures + 1] = {name = name, at = at, text = fmt:format(...)}
end

--- Distance of two floats in units of the last place: their bits, mirrored for negative ones, count the floats in order.
local function ulps(a, b, dtype)
  local float, int, least = "<d", "<i8", math.mininteger
  if dtype == "f32" then float, int, least = "<f", "<i4", -2^31 | 0 end
  local function order(x)
    local i = string.unpack(int, string.pack(float, x))
    return i < 0 and least - i or i
  end
  return math.abs(order(a) - order(b))
end

local function number(x)
  if x == true then return 1 elseif x == false then return 0 end
  return x
end

local RTOL32 <const>, ATOL32 <const> = 2e-5, 5e-5   -- the second times the largest number of the array

local function close(a, b, want, opts)
  a, b = number(a), number(b)
  if a == b or (a ~= a and b ~= b) then return true end
  if want.dtype == "i32" or want.dtype == "bool" then return false end
  if SINGLE and want.dtype == "f64" then return math.abs(a - b) <= RTOL32 * math.abs(b) + ATOL32 * opts.scale end
  if opts.ulp then return ulps(a, b, want.dtype) <= opts.ulp end
  return math.abs(a - b) <= opts.atol + opts.rtol * math.abs(b)
end

local function position(flat, shape)
  local at = {}
  for k = #shape, 1, -1 do
    at[k] = flat % shape[k] + 1
    flat = flat // shape[k]
  end
  return table.concat(at, ",")
end

--- got (a tensor, number or boolean) against an array of the file, in the file's unit.
--  opts: rtol, atol, ulp, exact (integers whatever the dtype), mantissa (the unit of got does not count).
function t.compare(name, got, want, opts)
  opts = setmetatable(opts or {}, {__index = current})
  if not core.is_tensor(got) then got = core.tensor(got) end
  local unit = core.unit_of(got)
  if opts.mantissa then
    got = core.mantissa(got)
  elseif want.unit or unit then
    local ok, converted = pcall(core.convert, got, want.unit and u[want.unit])
    if not ok then return note(name, 0, "unit %s, want %s", tostring(unit or 1), want.unit or "1") end
    got = core.mantissa(converted)
  end
  local shape, same = got.shape, #got.shape == #want.shape
  for k = 1, #want.shape do same = same and shape[k] == want.shape[k] end
  if not same then
    return note(name, 0, "shape [%s], want [%s]", table.concat({table.unpack(shape)}, ","), table.concat(want.shape, ","))
  end
  local rows = math.max(1, want.shape[1] or 1)
  opts.scale = 0
  for _, b in ipairs(want.data) do
    if want.dtype == "f64" and math.abs(b) < math.huge then opts.scale = math.max(opts.scale, math.abs(b)) end
  end
  local values = core.totable(core.bind("reshape", {shape = {#want.data}}, got))
  for i, b in ipairs(want.data) do
    if not close(values[i], b, want, opts) then
      local at = position(i - 1, want.shape)
      return note(name, (i - 1) // (#want.data // rows), "%s[%s] = %.17g, want %.17g", name, at, number(values[i]), number(b))
    end
  end
end

--- Equality of plain values and tables.
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for k, v in pairs(a) do
    if not same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

local function show(v)
  if type(v) ~= "table" then return type(v) == "string" and ("%q"):format(v) or tostring(v) end
  local parts = {}
  for k, x in pairs(v) do parts[#parts + 1] = (math.type(k) and "" or k .. "=") .. show(x) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

function t.eq(name, got, want)
  if not same(got, want) then note(name, 0, "%s is %s, want %s", name, show(got), show(want)) end
end

--- f(...) must raise; returns the error.
function t.raises(name, f, ...)
  local ok, err = pcall(f, ...)
  if ok then note(name, 0, "%s: no error raised", name) end
  return not ok and err or nil
end

-- ---- running -----------------------------------------------------------------------------------------------------------------

local function names_in(folder)
  local names = {}
  local p = assert(io.popen(("LC_ALL=C ls -1 '%s'"):format(folder:gsub("'", "'\\''"))))
  for name in p:lines() do names[#names + 1] = name end
  p:close()
  return names
end

--- The comparison of an area; nil where there is none yet.
local areas = {}
local function area_of(name)
  if areas[name] == nil then
    local path = HERE .. "areas/" .. name .. ".lua"
    local file = io.open(path)
    if file then file:close() end
    areas[name] = file and assert(loadfile(path))() or false
  end
  return areas[name]
end

--- The failure that came first in time stands for those that followed from it.
local function first(failures)
  local least = failures[1]
  for _, f in ipairs(failures) do
    if f.at < least.at then least = f end
  end
  local more = #failures > 1 and ("  (and %d more arrays)"):format(#failures - 1) or ""
  return (least.text:find(least.name, 1, true) and "" or least.name .. ": ") .. least.text .. more
end

local passed, failed, skipped = 0, 0, {}

local function run(area, name)
  local case = assert(loadfile(("%s/%s/%s.lua"):format(ROOT, area, name), "t", {math = math}))()
  case.name = name
  local tolerance = case.tolerance or {}
  current = {rtol = tolerance.rtol or 1e-10, atol = tolerance.atol or 1e-12, ulp = tolerance.ulp, failures = {}}
  local compare = area_of(area)
  local ok, err = xpcall(function()
    if not compare then t.skip("no comparison for the area %s", area) end
    local float32 = SINGLE or name:find "_f32$" or case.precision == "float32"
    bdl.environ.context({precision = float32 and 32 or 64}, compare, case, t)
  end, function(e)
    if getmetatable(e) == SKIP then return e end
    return os.getenv "TRACE" and debug.traceback(tostring(e)) or tostring(e)
  end)
  if not ok and getmetatable(err) == SKIP then
    skipped[#skipped + 1] = ("%s/%s: %s"):format(area, name, err.reason)
  elseif not ok or #current.failures > 0 then
    failed = failed + 1
    print(("FAIL %s/%s: %s"):format(area, name, ok and first(current.failures) or err:gsub("\n%s*", "  ")))
  else
    passed = passed + 1
  end
end

if (os.getenv "EAGER" or "") ~= "" then bdl.disable_jit(true) end
for _, area in ipairs(names_in(ROOT)) do
  local wanted_area, wanted_case = WANTED:match "^([^/]*)/?(.*)$"
  if area ~= "areas" and area ~= "generate" and not area:find "%." and (WANTED == "" or area:find("^" .. wanted_area .. "$")) then
    for _, file in ipairs(names_in(ROOT .. "/" .. area)) do
      local name = file:match "^(.*)%.lua$"
      if name and name:find(wanted_case) then run(area, name) end
    end
  end
end

for _, line in ipairs(skipped) do print("skip " .. line) end
if passed + failed + #skipped == 0 then print(("no cases of '%s' in %s"):format(WANTED, ROOT)) end
print(("%d passed, %d failed, %d skipped"):format(passed, failed, #skipped))
os.exit(failed == 0 and passed + #skipped > 0, true)

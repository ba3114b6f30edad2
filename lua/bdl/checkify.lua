--- Checks as values: what went wrong in compiled code, and at which line, without stopping it.
--
--   local err, y = bdl.checkify(f, {errors = "float"})(x)
--   print(err:get())                               -- nil, or "model.lua:4: log made NaN"
--   err:throw()                                    -- nothing, or that error
--
-- The error of the first check that failed is a tree with tensors: it comes out of jit, vmap (one a lane) and loops.
-- All is computed on after it, and States are written.  Source: jax.experimental.checkify.

local core = require "bdl.core"
local class = require "bdl.class"
local t = require "bdl.augment.trace"

local M = {}

-- runtime/transform/checkify.h
local USER, NAN, DIV, INDEX, INF, COUNT = 1, 2, 4, 8, 16, 32

local SETS = {
  user = USER, nan = NAN, div = DIV, index = INDEX, float = NAN | DIV, automatic = NAN | DIV | INDEX,
  all = USER | NAN | DIV | INDEX,
}

local function kinds_of(errors)
  if errors == nil then return USER end
  local kinds = 0
  for _, name in ipairs(t.list_of(errors)) do
    if not SETS[name] then
      local names = require "bdl.util".sorted_keys(SETS)
      core.fail("ValueError", 4, "checkify: no errors '%s'%s; have %s", tostring(name),
                require "bdl.suggest".hint(tostring(name), names), table.concat(names, ", "))
    end
    kinds = kinds | SETS[name]
  end
  return kinds
end

-- ---- messages -------------------------------------------------------------------------------------------------------

--- What check k says; value(j) is the text of the j-th value that goes along.
local function message(k, value)
  if k.kind == USER then
    return (k.text:gsub("{(%d+)}", function(j) return value(tonumber(j)) end))
  elseif k.kind == DIV then
    return ("%s: a divisor is 0"):format(k.prim)
  elseif k.kind == INDEX then
    return ("%s: index %s is out of range, 0 to %d"):format(k.prim, value(1), k.size - 1)
  end
  local what = k.kind == NAN and "NaN" or "NaN or Inf"
  local text = k.prim and ("%s made %s"):format(k.prim, what)
    or ("%s is %s"):format(k.text or ("input %d"):format(k.size + 1), what)
  if k.shown == 0 then return text end
  text = ("%s: %s NaN, %s Inf"):format(text, value(1), value(2))
  if value(3) == "inf" and value(4) == "-inf" then return text end -- there are no others
  return ("%s, the others from %s to %s"):format(text, value(3), value(4))
end

local function place(k) return k.file and ("%s:%d: "):format(k.file, k.line) or "" end

-- ---- the error ------------------------------------------------------------------------------------------------------

--- The error value.  get() -> its message or nil; throw() raises it.  As a tree: its number, and what its checks show.
--  Example:
--    local err = bdl.checkify(function(x) return bdl.log(x) end, {errors = "nan"})(bdl.tensor{-1.})
--    print(err:get(), bdl.typename(err) == "CheckError")
local CheckError = class "CheckError"
M.CheckError = CheckError

--- Lists of checks by their text: a tree that was flattened finds its own again.
local lists = {}

local function key_of(checks)
  local parts = {}
  for i, k in ipairs(checks) do
    parts[i] = ("%d,%s,%s,%s,%s,%d,%d"):format(k.kind, k.prim, k.text, k.file, k.line, k.shown, k.size)
  end
  return table.concat(parts, ";")
end

local function make(checks, number, shown)
  local self = class.alloc(CheckError)
  rawset(self, "_checks", checks)
  rawset(self, "_number", number)
  rawset(self, "_shown", shown)
  return self
end

local function numbered(checks)
  local key = key_of(checks)
  if not lists[key] then
    lists[#lists + 1] = checks
    lists[key] = #lists
  end
  return lists[lists[key]], lists[key]
end

function CheckError:__flatten()
  local _, id = numbered(self._checks)
  local keys, values = {("of%d"):format(id)}, {self._number}
  for i, x in ipairs(self._shown) do keys[i + 1], values[i + 1] = ("v%d"):format(i), x end
  return "CheckError", keys, values
end

function core.tree_kinds.CheckError(keys, values)
  return make(lists[tonumber(keys[1]:match "%d+")], values[1], table.move(values, 2, #values, 1, {}))
end

--- The first lane with an error, from 0, and the number of its check; nothing: there is none.
local function first_of(self)
  if core.is_traced(self._number) then
    core.hint "inside of compiled code err:throw() is a check as bdl.error_if is"
    core.fail("TraceContextError", 3, "CheckError: what went wrong is known when the program has run")
  end
  local numbers = core.totable(core.bind("reshape", {shape = {self._number.size}}, self._number))
  for lane, number in ipairs(numbers) do
    if number > 0 then return lane - 1, number end
  end
end

local function values_of(self, number, lane)
  local at = 0
  for i = 1, number - 1 do at = at + self._checks[i].shown end
  return function(j)
    local x = self._shown[at + j]
    if self._number.ndim > 0 then
      local shape = table.move(x.shape, self._number.ndim + 1, x.ndim, 2, {self._number.size})
      x = t.reshape(x, shape)[lane + 1]
    end
    return core.text(x)
  end
end

local function described(self)
  local lane, number = first_of(self)
  if not number then return end
  local k = self._checks[number]
  local where = self._number.ndim > 0 and ("lane %d: "):format(lane + 1) or ""
  return k, where .. message(k, values_of(self, number, lane))
end

--- "model.lua:4: log made NaN"; nil where nothing went wrong.
function CheckError:get()
  local k, text = described(self)
  return k and place(k) .. text
end

local function kind_of(k) return k.kind == INDEX and "IndexError" or "ValueError" end

--- Raises the error, if there is one, at its own line.  In compiled code: when the program has come here.
function CheckError:throw()
  if not core.is_traced(self._number) then
    local k, text = described(self)
    if not k then return end
    if k.file then core.fail_at(kind_of(k), k.file, k.line, text) end
    core.fail(kind_of(k), 2, "%s", text)
  end
  local at = 0
  for number, k in ipairs(self._checks) do
    local shown = table.move(self._shown, at + 1, at + k.shown, 1, {})
    core.error_if(place(k) .. message(k, function(j) return ("{%d}"):format(j) end),
                  core.bind("eq", {}, self._number, core.tensor(number, "int32")),
                  table.unpack(shown))
    at = at + k.shown
  end
end

function CheckError:__tostring()
  if core.is_traced(self._number) then return "CheckError(traced)" end
  local text = self:get()
  return text and ("CheckError(%s)"):format(text) or "CheckError(none)"
end

--- The error of an inner checkify as one of the code around it.
--  Example:
--    local inner = bdl.checkify(function(x) bdl.check(x:gt(0), "x is {x}", {x = x}) return x end)
--    print(bdl.checkify(function(x) bdl.check_error((inner(x))) return x end)(bdl.tensor(-1.)))
function M.check_error(err)
  if not class.isa(err, CheckError) then
    core.fail("TypeError", 2, "check_error: a CheckError is needed, not a %s", class.typename(err))
  end
  return err:throw()
end

-- ---- the transformation ---------------------------------------------------------------------------------------------

--- The outputs of `program` over the inputs of p and further operands, with these checks: the list of its outputs, the
--  error.
local function apply(program, p, further, kinds)
  local with, checks = core.checkify(program, kinds)
  local list = t.apply(with, p, further)
  local n = #list
  for _, k in ipairs(checks) do n = n - k.shown end
  return table.move(list, 1, n - 1, 1, {}), make((numbered(checks)), list[n], table.move(list, n + 1, #list, 1, {}))
end

--- checkify(f, {errors =}) gives g(...) -> err, f(...).  errors: "user" (error_if, check; the default), "nan", "div",
--  "index", "float" (nan and div), "automatic" (float and index), "all", or a list of them.  Others stop the program as
--  they did.
--  Example:
--    local f = bdl.checkify(function(x) return bdl.log(x) end, {errors = "nan"})
--    print(f(bdl.tensor{-1.}))
M.checkify = t.transformation("checkify", {"errors"}, function(f, opts)
  local kinds = kinds_of(opts.errors)
  return function(...)
    local p = t.differentiated("checkify", f, table.pack(...))
    local list, err = apply(p.program, p, {}, kinds)
    t.write_back(p, list)
    return err, table.unpack(t.results(p, list))
  end
end)

-- ---- what made a NaN ------------------------------------------------------------------------------------------------

local function any(prim, x)
  local flags = core.bind(prim, {}, core.mantissa(x))
  if prim == "is_finite" then flags = core.bind("not", {}, flags) end
  local axes = {}
  for k = 1, flags.ndim do axes[k] = k - 1 end
  return core.bind("reduce_or", {axes = axes}, flags)
end

local function either(list)
  local all = core.tensor(false)
  for _, x in ipairs(list) do all = core.bind("or", {}, all, x) end
  return all
end

--- "output 1, float32[2]: 1 NaN, 0 Inf"
local function contaminated(list)
  local lines = {}
  for k, x in ipairs(list) do
    local function count(prim)
      return core.item(core.bind("reduce_sum", {axes = {0}},
                                 core.cast(t.reshape(core.bind(prim, {}, x), {x.size}), "int32")))
    end
    local nan = count "is_nan"
    local inf = x.size - count "is_finite" - nan
    if nan + inf > 0 then lines[#lines + 1] = ("output %d, %s: %d NaN, %d Inf"):format(k, t.type_text(x), nan, inf) end
  end
  return table.concat(lines, "; ")
end

local function floats(list)
  local of = {}
  for _, x in ipairs(list) do
    if t.is_float(x.dtype) then of[#of + 1] = core.mantissa(x) end
  end
  return of
end

--- Stops, now or when the compiled code comes here, if a NaN or Inf has reached the outputs.
local function stop(who, list, err, again)
  local bad, nan = {}, {}
  for k, x in ipairs(list) do bad[k], nan[k] = any("is_finite", x), any("is_nan", x) end
  local is_bad = either(bad)
  if not core.is_traced(is_bad) then
    if not core.item(is_bad) then return end
    if not core.item(either(nan)) then err = again() end
    local k, text = described(err)
    local where = contaminated(list)
    if not k then core.fail("ValueError", 3, "%s: %s; no primitive made it", who, where) end
    text = ("%s: %s (%s)"):format(who, text, where)
    if k.file then core.fail_at("ValueError", k.file, k.line, text) end
    core.fail("ValueError", 3, "%s", text)
  end
  local at = 0
  for number, k in ipairs(err._checks) do
    local shown = table.move(err._shown, at + 1, at + k.shown, 1, {})
    local here = core.bind("and", {}, is_bad, core.bind("eq", {}, err._number, core.tensor(number, "int32")))
    core.error_if(("%s: %s%s"):format(who, place(k), message(k, function(j) return ("{%d}"):format(j) end)), here,
                  table.unpack(shown))
    at = at + k.shown
  end
  core.error_if(who .. ": Inf in the outputs", is_bad)
end

--- The outputs of the program, as apply gives them; but the first primitive that made a NaN is named, with its line, if
--  a NaN or Inf comes out of the outputs from number `from` (1) on.
function M.guarded(who, program, p, further, from)
  local list, err = apply(program, p, further, NAN | COUNT)
  stop(who, floats(table.move(list, from or 1, #list, 1, {})), err, function()
    local _, found = apply(program, p, further, INF | COUNT)
    return found
  end)
  return list
end

return M

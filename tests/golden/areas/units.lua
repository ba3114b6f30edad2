--- Quantities: rows of Python expressions with their value, unit, text or error.
local bdl = require "bdl"
local core = require "bdl.core"
local python = require "tests.golden.python"
local u = bdl.units

--- Numbers and lists as records that t.compare takes.
local function record(v)
  local list = type(v) == "table" and v or {v}
  return {shape = type(v) == "table" and {#v} or {}, dtype = "f64", data = list}
end

local function as_tensor(x) return core.is_tensor(x) and x or type(x) == "userdata" and 1.0 * x or core.tensor(x) end

--- A plain number has the text "1." when it was a quantity of brainunit and "1.0" when not; bdl has the second only.
local function normal(text) return (text:gsub("^(%-?%d+)%.$", "%1.0")) end

local function arithmetic(row, t)
  local x = as_tensor(python.eval(row.expr))
  local unit = u.get_unit(x)
  t.compare(row.expr, x, record(row.mantissa), {mantissa = true})
  t.eq(row.expr .. " unit", tostring(unit), row.unit)
  t.eq(row.expr .. " dim", u.get_dim(x), row.dim)
  t.compare(row.expr .. " magnitude", unit.magnitude, record(row.magnitude))
  if row.is_quantity ~= nil then t.eq(row.expr .. " is_quantity", core.unit_of(x) ~= nil, row.is_quantity) end
end

local function convert(row, t)
  local from, to = python.eval(row.expr), python.eval(row.to_unit)
  t.eq(row.expr, tostring(u.get_unit(from)), row.from_unit)
  t.compare(row.expr .. " in " .. row.to_unit, core.mantissa((row.value * from):to(to)), record(row.result))
end

local function display(row, t) t.eq("str of " .. row.expr, normal(python.str(python.eval(row.expr))), normal(row.str)) end

local function errors(row, t)
  local ok, value = pcall(python.eval, row.expr)
  local kind = not ok and (type(value) == "table" and value.kind or tostring(value)) or nil
  if row.raises then
    t.eq(row.expr .. " error", kind, row.error)
  elseif not ok then
    t.eq(row.expr .. " error", tostring(value), "none")
  elseif tonumber(row.result) then -- all digits of a double: the last one may differ
    t.compare(row.expr, value, record(tonumber(row.result)))
  else
    t.eq(row.expr, normal(python.str(value)), normal(row.result))
  end
end

return function(case, t)
  local rows = case.structure.rows
  local first = rows and rows[1]
  local check = first and (first.raises ~= nil and errors or first.to_unit and convert or first.str and display
                           or first.mantissa ~= nil and arithmetic)
  if not check then t.skip("rows of no known kind") end
  for _, row in ipairs(rows) do
    local ok, err = pcall(check, row, t)
    if not ok then t.eq(row.expr, tostring(err), "no error") end
  end
end

--- Constants of models: made by init.param, and checked by what their names say they are.
local core = require "bdl.core"
local class = require "bdl.class"
local u = require "bdl.units"

local M = {}

--- The least number in x, NaN where one is; nil where x is traced or no number.
function M.least(x)
  if type(x) == "number" then return x end
  if not core.is_tensor(x) or core.is_traced(x) then return nil end
  local axes = {}
  for k = 1, x.ndim do axes[k] = k - 1 end
  return core.item(core.bind("reduce_min", {axes = axes}, core.mantissa(x)))
end

--- What a name begins with -> the sign that its values have: they divide, or are lengths of time that may be 0.
local SIGNS = {{"^tau_ref$", ">= 0"}, {"^T_dur$", ">= 0"}, {"^tau", "> 0"}, {"^delta_", "> 0"}, {"^C$", "> 0"}}

local function check(self, name, x)
  local who, low = class.qualified_name(class.of(self)), M.least(x)
  for _, row in ipairs(SIGNS) do
    if name:find(row[1]) then
      if low and not (low > 0 or low == 0 and row[2] == ">= 0") then
        core.fail("ValueError", 5, "%s: %s must be %s, not %s", who, name, row[2], tostring(x))
      end
      break
    end
  end
  local unit = core.unit_of(x)
  if (name:find "^tau" or name == "T_dur") and unit and not pcall(core.convert, x, u.ms) then
    core.fail("UnitMismatchError", 5, "%s: %s is a time, not in <%s>", who, name, tostring(unit))
  end
end

--- self[name] = constant a[name] of the sizes (varshape), for words of names.
--  Errors: TypeError, ValueError of init.param;  ValueError a tau, a capacitance or a width that is not > 0, a duration < 0;
--  UnitMismatchError a tau that is no time.
function M.set(self, a, names, sizes)
  local param, who = require "bdl.init".param, class.qualified_name(class.of(self))
  for name in names:gmatch "%S+" do
    local x = param(a[name], sizes or self.varshape, nil, {who = who .. ": " .. name, allow_none = false})
    check(self, name, x)
    self[name] = x
  end
end

return M

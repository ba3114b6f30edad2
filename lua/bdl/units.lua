--- Physical units: `u.mV`, `u.msiemens`, `u.cm2`, `u["mS / cm^2"]`; `u.mV / u.ms`, `u.ms^2` and `5 * u.mV` are operators.
--  Names follow brainunit: SI units and their prefixes under name (mvolt) and symbol (mV), common other units under name.
local core = require "bdl.core"

local units = {}

--- The unit of a tensor; UNITLESS for what has none.  A unit is its own unit.
function units.get_unit(x)
  if core.is_tensor(x) then return core.unit_of(x) or units.UNITLESS end
  return type(x) == "userdata" and x or units.UNITLESS
end

--- The numbers of a tensor without their unit.
function units.get_mantissa(x)
  return core.is_tensor(x) and core.mantissa(x) or x
end

--- The dimension in SI base units, as text: "m^2 kg s^-3 A^-1", "1" for plain numbers.
function units.get_dim(x)
  return core.dim_text(units.get_unit(x))
end

--- Has x no dimension?  Radians and percents have none.
function units.is_dimensionless(x)
  return units.get_dim(x) == "1"
end

--- A new list of all names, prefixes included.
function units.names()
  local names = {}
  repeat
    local name = core.unit_name_at(#names)
    names[#names + 1] = name
  until not name
  return names
end

local meta = {__names = function() return {"get_unit", "get_mantissa", "get_dim", "is_dimensionless", "names"} end}

-- A unit is looked up once.  An unknown name is an error with the closest known one.
function meta.__index(t, name)
  local value
  if name == "math" then value = require "bdl" else value = core.unit(name) end
  rawset(t, name, value)
  return value
end

function meta.__newindex(_, name)
  core.fail("TypeError", 2, "bdl.units is read-only: no assignment to '%s'", tostring(name))
end

return setmetatable(units, meta)

--- Functions of Lua's standard library that would silently misread a tensor, taught about them.

local core = require "bdl.core"

local ipairs_of_lua, tonumber_of_lua = ipairs, tonumber

--- A list is walked as ever; a tensor has no end that ipairs could see.
function ipairs(x)
  if core.is_tensor(x) then
    core.hint "write `for i = 1, #x do local xi = x[i] ... end`, or bdl.for_loop over its first axis"
    core.fail("TypeError", 2, "ipairs does not walk tensors")
  end
  return ipairs_of_lua(x)
end

--- The number of a concrete scalar tensor without a unit; Lua's own would answer nil.
function tonumber(x, ...)
  if core.is_tensor(x) then return x:item() end
  return tonumber_of_lua(x, ...)
end

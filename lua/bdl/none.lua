--- Sentinels that stand where Lua would need a nil or Python writes `...`.
--
--   none   "no value" inside a list or map, and the default of an argument that may be absent
--   rest   "everything else" in filters and StateAxes; the string "..." means the same
--   ask    the only argument of a constructor: it raises the table of its arguments instead (bdl.help)
--
-- They are compared by identity.  `__bdl` names them to code that only sees the metatable.

local function sentinel(name)
  return setmetatable({}, {
    __bdl = name,
    __name = "bdl." .. name,
    __tostring = function() return name end,
    __newindex = function() error("bdl." .. name .. " has no fields", 2) end,
    __metatable = "bdl." .. name,
  })
end

return {none = sentinel "none", rest = sentinel "rest", ask = sentinel "ask"}

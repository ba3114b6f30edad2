--- Contexts: `local _ <close> = context(...)`, or `context(..., f, x)` which calls f(x) inside and returns its results.
--
-- The state that a context changes lives with its module; the guard made here only knows how to leave.  A guard that
-- is collected before it was closed belongs to a forgotten `<close>`: it warns with the line that made it.

local core = require "bdl.core"

local scope = {}

local Guard = {__name = "bdl.context"}
local methods = {}

--- What the block collected is reached as g[i], #g and g:get_states().
function Guard.__index(self, key)
  if methods[key] then return methods[key] end
  local items = rawget(self, "items")
  return items and items[key]
end

function Guard.__len(self) return self.items and #self.items or 0 end

function methods:get_states() return table.move(self.items or {}, 1, #self, 1, {}) end

--- Leave now; later closing does nothing.
function methods:close()
  local leave = rawget(self, "leave")
  self.leave = nil
  if leave then leave() end
end

Guard.__close = methods.close

function Guard.__gc(self)
  if rawget(self, "leave") then
    warn(("bdl: %s: %s was never closed; write local _ <close> = %s"):format(self.where, self.what, self.what))
  end
end

function Guard.__tostring(self) return self.what end

local function call_inside(guard, f, ...)
  local _ <close> = guard
  return f(...)
end

--- The context has been entered; `leave` undoes it.  With f the call form, otherwise the guard.
--  items (optional): a list that the block fills.
function scope.enter(what, leave, items, f, ...)
  local file, line = core.where()
  local where = file and ("%s:%d"):format(file, line) or "?"
  local guard = setmetatable({what = what, leave = leave, items = items, where = where}, Guard)
  if f ~= nil then return call_inside(guard, f, ...) end
  return guard
end

return scope

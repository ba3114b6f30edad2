--- Hooks: functions called when States are made, read, written or restored.
--
--   kind          ctx fields beside state, state_name, operation, value
--   init          value: the first value
--   read          value
--   write_before  old_value, transformed_value (set it to change what is written), cancel, cancel_reason
--   write_after   old_value
--   restore       old_value
--
-- Hooks for all States run before those of the State; higher priority first, then order of registration.  A hook runs
-- while Lua runs: inside a compiled function once, while it is traced, not once a step.
-- An error in a hook is raised, logged (a warning; the default) or ignored as on_error says; after max_errors of them
-- (10) the hook is switched off if disable_on_error is set.  A cancelled write raises HookCancellationError.

local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"

local hook = {any = false}  -- any: is there a hook at all?

--- The kind of the error of a write that a hook cancelled:  if e.kind == bdl.HookCancellationError then ..
hook.HookCancellationError = "HookCancellationError"

local KINDS = {"init", "read", "restore", "write_after", "write_before"}
local ON_ERROR = {raise = true, log = true, ignore = true}
local PASS = {InterruptError = true, BudgetError = true, MemoryError = true}  -- not the hook's business

local EVERY = {}                                      -- stands for all States in `lists`
local lists = setmetatable({}, {__mode = "k"})        -- State or EVERY -> kind -> sorted list of hooks
local registered = 0

--- What register returns: h:disable(), h:enable(), h:remove(), h:is_enabled(), h.name, h.priority.
local Hook = class "Hook"

function Hook:enable() self.enabled = true end
function Hook:disable() self.enabled = false end
function Hook:is_enabled() return self.enabled and not self.removed end

--- True when it was there.
function Hook:remove()
  local list = not self.removed and self._list or {}
  for i, h in ipairs(list) do
    if h == self then
      table.remove(list, i)
      self.removed = true
      return true
    end
  end
  return false
end

local function runs_before(a, b)
  if a.priority ~= b.priority then return a.priority > b.priority end
  return a.number < b.number
end

--- target: a State, or nil for all.  opts: priority, name, enabled, on_error, max_errors, disable_on_error.
--  Errors: ValueError, unknown kind or on_error; TypeError, f cannot be called.
function hook.register(target, kind, f, opts)
  opts = opts or {}
  local known = {}
  for _, k in ipairs(KINDS) do known[k] = true end
  if not known[kind] then
    core.fail("ValueError", 2, "register_hook: no kind '%s'%s; have %s", tostring(kind), suggest.hint(kind, KINDS),
              table.concat(KINDS, ", "))
  end
  if type(f) ~= "function" and not (getmetatable(f) or {}).__call then
    core.fail("TypeError", 2, "register_hook: a function is needed, not a %s", class.typename(f))
  end
  if not ON_ERROR[opts.on_error or "log"] then
    core.fail("ValueError", 2, "register_hook: on_error is 'raise', 'log' or 'ignore', not '%s'", tostring(opts.on_error))
  end
  local by_kind = lists[target or EVERY] or {}
  lists[target or EVERY] = by_kind
  by_kind[kind] = by_kind[kind] or {}
  registered = registered + 1
  local h = Hook()
  h.name, h.kind = opts.name or "hook_" .. registered, kind
  h.priority, h.enabled, h.removed = opts.priority or 0, opts.enabled ~= false, false
  h.on_error, h.max_errors, h.disable_on_error = opts.on_error or "log", opts.max_errors or 10, opts.disable_on_error or false
  h.errors, h.number, h._f, h._list = 0, registered, f, by_kind[kind]
  table.insert(h._list, h)
  table.sort(h._list, runs_before)
  hook.any = true
  return h
end

--- Remove the hooks of a State (nil: those for all States), of one kind or of every kind.
function hook.clear(target, kind)
  for k, list in pairs(lists[target or EVERY] or {}) do
    if kind == nil or kind == k then
      for i = #list, 1, -1 do list[i]:remove() end
    end
  end
end

local function failed(h, err)
  if type(err) == "table" and (PASS[err.kind] or err.kind == hook.HookCancellationError) then error(err, 0) end
  h.errors = h.errors + 1
  if h.disable_on_error and h.errors >= h.max_errors then h.enabled = false end
  if h.on_error == "raise" then error(err, 0) end
  if h.on_error == "log" then warn(("bdl: hook '%s' (%s): %s"):format(h.name, h.kind, tostring(err))) end
end

--- Call the hooks of a kind; `after(h)` runs after each that did not fail.
local function run(self, kind, ctx, after)
  ctx.operation, ctx.state, ctx.state_name = kind, self, self.name
  for _, target in ipairs{EVERY, self} do
    local list = lists[target] and lists[target][kind]
    for _, h in ipairs(list and table.move(list, 1, #list, 1, {}) or {}) do
      if h.enabled then
        local ok, err = pcall(h._f, ctx)
        if not ok then failed(h, err) elseif after then after(h) end
      end
    end
  end
end

--- Is there a hook of the kind for the State?
local function has(self, kind)
  local all, own = lists[EVERY], lists[self]
  return all and all[kind] and #all[kind] > 0 or own and own[kind] and #own[kind] > 0
end

function hook.init(self, value)
  if has(self, "init") then run(self, "init", {value = value}) end
end

function hook.read(self, value)
  if has(self, "read") then run(self, "read", {value = value}) end
  return value
end

--- Write through the hooks; get() reads the old value, set(value) writes.  Errors: HookCancellationError.
function hook.write(self, value, get, set)
  local before, after = has(self, "write_before"), has(self, "write_after")
  local old = (before or after) and get() or nil
  if before then
    local ctx = {value = value, old_value = old, transformed_value = value, cancel = false}
    run(self, "write_before", ctx, function(h)
      if ctx.cancel then
        core.fail(hook.HookCancellationError, 3, "%s: %s", h.name, ctx.cancel_reason or "the hook cancelled the write")
      end
    end)
    value = ctx.transformed_value
  end
  set(value)
  if after then run(self, "write_after", {value = value, old_value = old}) end
end

--- Restore through the hooks.
function hook.restore(self, value, get, set)
  local old = has(self, "restore") and get() or nil
  set(value)
  if has(self, "restore") then run(self, "restore", {value = value, old_value = old}) end
end

return hook

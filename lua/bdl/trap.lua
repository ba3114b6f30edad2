--- A trap for NaN in a Simulation: which step made the first one, by which operation, and how the State came there.
--
-- After each chunk the States are looked at.  With a NaN in one the chunk is run again from its beginning, step by
-- step, which gives the same bits, for the generator goes back too; the step that fails is looked at by debug_nan.
local core = require "bdl.core"
local debug_ = require "bdl.debug"
local state = require "bdl.state"
local t = require "bdl.augment.trace"

local M = {}

local STEPS = 8                                  -- of history

--- Values of States; they are shared until the States are written.
function M.keep(states)
  local values = {}
  for k, s in ipairs(states) do values[k] = s.value end
  return values
end

local function restore(states, values)
  for k, s in ipairs(states) do s:restore_value(values[k]) end
end

local function flat(x) return t.reshape(core.mantissa(x), {x.size}) end

--- The first State with a NaN: its number, that of the leaf, and the element, from 0; nothing: there is none.
function M.find(states)
  for k, s in ipairs(states) do
    for j, x in ipairs((core.flatten(s.value))) do
      if t.is_float(x.dtype) and x.size > 0 then
        local nan = core.bind("is_nan", {}, flat(x))
        if core.item(core.bind("reduce_or", {axes = {0}}, nan)) then
          return k, j, core.item(core.bind("argmax", {axis = 0}, nan))
        end
      end
    end
  end
end

--- "-52.1, -51.9, nan mV"
local function history_text(kept, k, j, element)
  local words, unit = {}, nil
  for i, values in ipairs(kept) do
    local x = core.flatten(values[k])[j]
    unit = core.unit_of(x)
    words[i] = core.text(flat(x)[element + 1])
  end
  return table.concat(words, ", ") .. (unit and " " .. tostring(unit) or "")
end

--- "element [2,5] of ", as positions; "" of a scalar.
local function position(element, shape)
  local index = {}
  for k = #shape, 1, -1 do
    table.insert(index, 1, element % shape[k] + 1)
    element = element // shape[k]
  end
  return #index > 0 and ("element [%s] of "):format(table.concat(index, ",")) or ""
end

--- Runs the steps from `first` again, of which one gives a NaN, and raises; the States are those before that step.
--  f : the step's function, for names;  states : with values `kept` at `first`;  run(i) : goes on to the end of step i;
--   step(i) : that step, to look at;  before(i) : called when the States are those before step i, which fails.
function M.raise(f, states, kept, first, run, step, before)
  restore(states, kept)
  local past, i = {kept}, first
  while true do
    local now = M.keep(states)
    run(i)
    local k, j, element = M.find(states)
    past[#past + 1] = M.keep(states)
    if #past > STEPS then table.remove(past, 1) end
    if k then
      local leaf = core.flatten(states[k].value)[j]
      local text = ("%s%s was %s"):format(position(element, leaf.shape), t.state_name(states[k], f),
                                          history_text(past, k, j, element))
      restore(states, now)
      before(i)
      local _, e = pcall(debug_.debug_nan, step, core.tensor(i, "int32"))
      local what = type(e) == "table" and e.message:gsub("^debug_nan: ", "") or "NaN"
      local message = ("step %d: %s; %s"):format(i, what, text)
      if type(e) == "table" and e.file then core.fail_at("ValueError", e.file, e.line, message) end
      core.fail("ValueError", 3, "%s", message)
    end
    i = i + 1
  end
end

return M

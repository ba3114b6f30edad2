--- One step of a model as a program with marked operations, and what its inputs and outputs are of the model.

local core = require "bdl.core"
local class = require "bdl.class"
local environ = require "bdl.environ"
local graph = require "bdl.graph"
local state = require "bdl.state"
local util = require "bdl.util"
local t = require "bdl.augment.trace"

local NONE = require "bdl.none".none

local M = {}

local depth = 0
local leave = setmetatable({}, {__close = function() depth = depth - 1 end})

--- Is a step being analysed?  Then traceable operations are marked.
function M.analysing() return depth > 0 end

--- An operation reads its weights as operands; touching another parameter or writing a State inside it hides something.
--  Errors: CompilationError.
function M.check_inside(name, s)
  local found = state.of_id[s.id]
  if s.written or s.made then
    core.fail("CompilationError", 3, "%s: a traceable operation may not %s a State", name, s.made and "make" or "write")
  end
  if class.isa(found, state.ParamState) then
    core.hint "give it as the operation's weight, or read it outside"
    core.fail("CompilationError", 3, "%s: the operation reads %s besides its own weight; one operation has one parameter", name, t.state_name(found))
  end
end

--- Values of environ that change from step to step: arguments of the program.
local MOVING = {"t", "i"}

--- Read aloud: a compiled function around the learner depends on them.
local function moving()
  local values = {}
  for _, key in ipairs(MOVING) do
    local value = environ.get(key, NONE)
    if value ~= NONE then values[key] = value end
  end
  return values
end

local function trace_once(model, args, world, first)
  local operands = t.joined(args, {moving()})
  depth = depth + 1
  local _ <close> = leave
  local before
  before = environ.listen(function(key, value)
    if world[key] == nil then world[key] = value end
    if before then before(key, value) end
  end)
  local ok, p = xpcall(t.differentiated, core.traceback, "online learning", function(...)
    local values = table.pack(...)
    for _, s in ipairs(first) do core.state_get(rawget(s, "_handle")) end
    local _ <close> = environ.context(values[values.n])
    return model(table.unpack(values, 1, values.n - 1))
  end, operands)
  environ.listen(before)
  if not ok then error(p, 0) end
  for _, key in ipairs(MOVING) do world[key] = nil end
  return p
end

--- States of the model that the step touched, in that order: {state, path, number (in p.states), first, n, in = its first input}
local function touched(p, paths)
  local list = {}
  for k, s in ipairs(p.states) do
    local found = state.of_id[s.id]
    if found and not s.made then
      list[#list + 1] = {state = found, path = paths[found], number = k, entry = s}
    end
  end
  for _, x in ipairs(list) do
    for i, k in ipairs(p.state) do
      if k == x.number and p.leaf[i] == 1 then x.input = i end
    end
  end
  return list
end

local function paths_of(model)
  local paths = {}
  for path, s in graph.states(model):items() do paths[s] = path end
  return paths
end

local function check_states(list)
  for _, x in ipairs(list) do
    if not x.path and not class.isa(x.state, require "bdl.random".RandomState) then
      core.hint "online learning must know of all: put it into a field of the model"
      core.fail("ValueError", 4, "the step touches a %s that is not among the model's States", t.state_name(x.state))
    end
    if x.entry.written and class.isa(x.state, state.ParamState) then
      core.fail("NotSupportedError", 4, "the step writes the parameter '%s'; parameters change between steps", x.path)
    end
  end
end

--- The program of one step, model(args..):
--  p        as core.trace_function gives it
--  flat     its program with the operations on top
--  touched  States of the model, in the order of first use
--  hidden   those of them that are hidden and change: {state, path, input (number), output (number)}
--  world    values of environ that the step read
function M.trace(model, args)
  local world = {}
  local paths = paths_of(model)
  local p = trace_once(model, args, world, {})
  local list = touched(p, paths)
  local unread = {}
  for _, x in ipairs(list) do
    if class.isa(x.state, state.HiddenState) and not x.entry.read then unread[#unread + 1] = x.state end
  end
  if #unread > 0 then -- a hidden value has an input even where the step ignores it
    p = trace_once(model, args, world, unread)
    list = touched(p, paths)
  end
  check_states(list)
  local hidden = {}
  for _, x in ipairs(list) do
    if class.isa(x.state, state.HiddenState) and x.entry.written and t.is_float(p.types[x.entry.first].dtype) then
      hidden[#hidden + 1] = {state = x.state, path = x.path, input = x.input, output = x.entry.first, type = p.types[x.entry.first]}
    end
  end
  return {p = p, flat = core.online_flatten(p.program), touched = list, hidden = hidden, world = world, model = model,
          moving = util.sorted_keys(moving())}
end

--- Is environ as it was when the step was traced?
function M.same_world(s)
  for key, value in pairs(s.world) do
    local now = environ.get(key, NONE)
    if now ~= value and not rawequal(now, value) then return false end
  end
  return true
end

--- What the program takes: leaves of the arguments and of environ, captured values, States as they are now.
--  Errors: TypeError, ShapeError when the arguments differ from the example's.
function M.operands(s, args)
  local p, values = s.p, {}
  local now = moving()
  for _, key in ipairs(s.moving) do
    if now[key] == nil then
      core.fail("KeyError", 4, "environ '%s' was set when the learner was compiled, but is not now", key)
    end
  end
  local given = t.joined(args, {now})
  local leaves = {}
  for k, x in ipairs(given) do leaves[k] = (core.flatten(x)) end
  for i, like in ipairs(p.inputs) do
    local a, k = p.argument[i], p.state[i]
    if a > 0 then
      local x = leaves[a] and leaves[a][p.leaf[i]]
      if not x then core.fail("TypeError", 4, "the learner was compiled with %d arguments of other structure", #p.defs) end
      local want, got = t.type_text{dtype = like.dtype, shape = like.shape}, t.type_text{dtype = x.dtype, shape = x.shape}
      if want:match "%[.*" ~= got:match "%[.*" then
        core.hint "compile_graph(example) fixes the shapes; make another learner for another batch size"
        core.fail("ShapeError", 4, "the learner was compiled for %s, but argument %d is %s", want, a, got)
      end
      values[i] = want == got and x or core.cast(x, like.dtype)
    elseif k > 0 then
      values[i] = (core.flatten(core.state_get(p.states[k].handle)))[p.leaf[i]]
    else
      values[i] = like
    end
  end
  return values
end

return M

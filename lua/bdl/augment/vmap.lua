--- vmap: a function over lanes.  f is traced once, for one lane; the batching transform makes the program of all lanes.
--
--   vmap(f, opts)(...)    vmap(opts)(f)
--
-- opts : in_axes (1), out_axes (1): an axis, one a value, or trees of axes; in_states, out_states: States that have lanes, those
-- of in_states also come out so; axis_size; axis_name, for what goes between lanes (collective.lua).  A Node among the arguments
-- is mapped by its States, and gets back what f writes; a Node that f returns keeps the States that f made, with lanes.  A
-- generator that f uses is split: every lane draws its own.
--  Example:
--    print(bdl.augment.vmap(function(x) return x:sum() end)(bdl.ones(3, 2)))

local core = require "bdl.core"
local class = require "bdl.class"
local axes = require "bdl.augment.axes"
local lanes = require "bdl.augment.lanes"
local state = require "bdl.state"
local t = require "bdl.augment.trace"
local NONE = require "bdl.none".none

local M = {StateAxes = axes.StateAxes}

local function shape_of(x) return table.move(x.shape, 1, x.ndim, 1, {}) end

-- ---- Nodes among arguments and results -----------------------------------------------------------------------------------

--- x with bdl.none in place of Nodes and States; x itself where there are none.
local function without_objects(x)
  if axes.is_object(x) then return NONE end
  if not t.is_plain(x) or x == NONE then return x end
  local copy
  for key, value in pairs(x) do
    local data = without_objects(value)
    if data ~= value then
      copy = copy or table.move(x, 1, 0, 1, {})
      copy[key] = data
    end
  end
  if not copy then return x end
  for key, value in pairs(x) do
    if copy[key] == nil then copy[key] = value end
  end
  return copy
end

--- data with the Nodes and States of `like` put back.
local function with_objects(like, data)
  if axes.is_object(like) then return like end
  if not t.is_plain(like) or like == NONE then return data end
  for key, value in pairs(like) do data[key] = with_objects(value, data[key]) end
  return data
end

-- ---- what is mapped --------------------------------------------------------------------------------------------------------

--- note(n, what) collects sizes; total(axis_size) is their common one.  Errors: ValueError.
local function sizes(who)
  local seen, order = {}, {}
  local function note(n, what)
    if not seen[n] then order[#order + 1] = n end
    seen[n] = seen[n] or what
  end
  local function total(axis_size)
    if #order > 1 then
      core.fail("ValueError", 5, "%s: Inconsistent batch sizes: %s has %d, %s has %d", who, seen[order[1]], order[1], seen[order[2]], order[2])
    end
    if axis_size ~= nil and (math.type(axis_size) ~= "integer" or axis_size < 1) then
      core.fail("ValueError", 5, "%s: axis_size is a whole number from 1, not %s", who, tostring(axis_size))
    end
    if #order == 0 and axis_size == nil then
      core.hint "give axis_size = n"
      core.fail("ValueError", 5, "%s: nothing is mapped, so the number of lanes is not known", who)
    end
    if #order == 1 and axis_size ~= nil and axis_size ~= order[1] then
      core.fail("ValueError", 5, "%s: axis_size is %d, but %s has %d", who, axis_size, seen[order[1]], order[1])
    end
    return order[1] or axis_size
  end
  return note, total
end

--- Axes of States: a position, or false for shared; and what said so.
local StateMap = {}
StateMap.__index = StateMap

local function state_map(who, like)
  local map = setmetatable({who = who, said = {}, order = {}}, StateMap)
  for _, s in ipairs(like and like.order or {}) do map:declare(s, like.said[s][1], like.said[s][2]) end
  return map
end

function StateMap:of(s) return s and self.said[s] and self.said[s][1] end

--- Errors: BatchAxisError, the State has another axis already.
function StateMap:declare(s, axis, what)
  local old = self.said[s]
  if not old then
    self.order[#self.order + 1] = s
    self.said[s] = {axis, what}
  elseif old[1] ~= axis then
    local function text(a) return a and ("axis %d"):format(a) or "no axis" end
    core.fail("BatchAxisError", 5, "%s: the %s has %s in %s, %s in %s", self.who, t.state_name(s), text(old[1]), old[2], text(axis), what)
  end
end

--- The States of a Node by an axis or StateAxes.  A generator with one key is no State of lanes.
function StateMap:declare_node(node, spec, what)
  local RandomState = require "bdl.random".RandomState
  for path, s in axes.states_of(node):items() do
    local axis = spec
    if class.isa(spec, axes.StateAxes) then axis = spec:of(path, s) end
    if not (class.isa(s, RandomState) and #state.abstract(s)[1].shape == 1) then self:declare(s, axis, what) end
  end
end

--- {handle, axis of each leaf from 0..}: what a lane sees of a State.
local function view(who, s, axis, note)
  local list = {rawget(s, "_handle")}
  for i, leaf in ipairs(state.abstract(s)) do
    local k = axes.index(who, axis, #leaf.shape, ("the %s of %s"):format(t.state_name(s), t.type_text(leaf)))
    list[i + 1] = k
    note(leaf.shape[k + 1], "the " .. t.state_name(s))
  end
  return list
end

--- What one lane gets: m.data (trees without Nodes), m.lanes (an axis from 0 a leaf, or false), m.views; and m.size.
local function take_lanes(m, o, args)
  local who = m.who
  local note, total = sizes(who)
  m.data, m.lanes, m.views, m.view_of = {}, {}, {}, {}
  local spec = axes.each(who .. ": in_axes", o.in_axes == nil and 1 or o.in_axes, args.n, "arguments")
  for k = 1, args.n do
    if args[k] == nil then core.fail("ValueError", 4, "%s: argument %d is nil", who, k) end
    m.data[k] = without_objects(args[k])
    axes.walk(who .. ": in_axes", spec[k], args[k], ("argument %d"):format(k), function(leaf, axis, path)
      local shape = core.is_tensor(leaf) and leaf.shape or {}
      local at = axis and axes.index(who .. ": in_axes", axis, #shape, path)
      m.lanes[#m.lanes + 1] = at
      if at then note(shape[at + 1], path) end
    end, function(node, axis, path) m.into:declare_node(node, axis, path) end)
  end
  for _, s in ipairs(m.into.order) do
    if m.into:of(s) then
      m.view_of[s] = view(who, s, m.into:of(s), note)
      m.views[#m.views + 1] = m.view_of[s]
    end
  end
  m.size = total(o.axis_size)
end

--- Where something may go between lanes, the number of the lane becomes one more argument, behind the others.
local function number_lanes(m, n)
  if not m.axis then return end
  m.data[n + 1] = core.bind("iota", {shape = {m.size}, axis = 0, dtype = "int32"})
  m.lanes[#m.lanes + 1] = 0
end

--- The function of one lane: Nodes are put back into its arguments and taken out of its results, which stay in m.like.
local function lane_function(m, f, args)
  return function(...)
    local values = table.pack(...)
    local _ <close> = m.axis and lanes.enter(m.axis, values[args.n + 1])
    for k = 1, args.n do values[k] = with_objects(args[k], values[k]) end
    m.like = table.pack(f(table.unpack(values, 1, args.n)))
    local out = {}
    for r = 1, m.like.n do out[r] = without_objects(m.like[r]) end
    return table.unpack(out, 1, m.like.n)
  end
end

-- ---- what comes out --------------------------------------------------------------------------------------------------------

--- The axes of results: m.out_axes[i] = {axis, what} of leaf i; the States of returned Nodes: m.out.
local function place_results(m, o)
  local who = m.who .. ": out_axes"
  m.out_axes, m.out = {}, state_map(m.who, m.into)
  for _, pair in ipairs(axes.states(m.who .. ": out_states", o.out_states)) do m.out:declare(pair[1], pair[2], "out_states") end
  for _, s in ipairs(o.made and o.made() or {}) do m.out:declare(s, o.axis_of(s), "what is made inside") end
  local spec = axes.each(who, o.out_axes == nil and 1 or o.out_axes, #m.p.defs, "results")
  for r = 1, #m.p.defs do
    axes.walk(who, spec[r], m.like[r], ("result %d"):format(r), function(_, axis, path)
      m.out_axes[#m.out_axes + 1] = {axis, path}
    end, function(node, axis, path) m.out:declare_node(node, axis, path) end)
  end
end

local function refuse_write(m, s, touched)
  core.hint "add it to out_states"
  local text = ("the %s is written with a batched value (axis 1, size %d) but is not in out_states"):format(t.state_name(s, m.f), m.size)
  if touched.file then core.fail_at("BatchAxisError", touched.file, touched.line, ("%s: %s"):format(m.who, text)) end
  core.fail("BatchAxisError", 4, "%s: %s", m.who, text)
end

--- What States become: m.writes = {{state, handle, axis or false, first output}}; m.generators = {handle}.
local function place_states(m, o, flags)
  m.writes, m.generators = {}, {}
  local seen = {}
  for _, touched in ipairs(m.p.states) do
    local s = state.of_id[touched.id]
    local axis, lanes = m.out:of(s), false
    if s then seen[s] = true end -- else nobody can look at it any more
    for k = touched.first, touched.first + touched.n - 1 do lanes = lanes or (touched.written or touched.made) and flags[k] end
    if m.random[touched.id] then
      m.generators[#m.generators + 1] = touched.handle
    elseif s and (touched.written or touched.made and axis ~= nil) then
      if o.no_writes and not touched.made then
        core.fail("ValueError", 4, "%s: with batch_size the function may not write States; it writes the %s", m.who, t.state_name(s))
      end
      if lanes and not axis then refuse_write(m, s, touched) end
      m.writes[#m.writes + 1] = {state = s, handle = touched.handle, n = touched.n, axis = axis or false, first = touched.first}
    end
  end
  for _, s in ipairs(m.out.order) do -- States of returned Nodes that f left alone
    local handle = rawget(s, "_handle")
    if m.out:of(s) and m.into:of(s) == nil and not seen[s] and m.out.said[s][2]:find "^result" then
      m.writes[#m.writes + 1] = {state = s, handle = handle, n = #state.abstract(s), axis = m.out:of(s)}
    end
  end
end

--- x with its lanes, which it has in front or not at all, at a position.
local function placed(m, x, has_lanes, axis, what)
  if not axis then return x end
  if not has_lanes then x = t.broadcast(x, t.joined({m.size}, shape_of(x))) end
  return t.move(x, 0, axes.index(m.who, axis, x.ndim, what))
end

--- The flag of each input, and its tensor with the lanes in front; generators are split here: the lanes get keys of their own.
local function input_flags(m)
  local flags, leaf = {}, 0
  m.axis_of = {}
  for i = 1, #m.p.inputs do
    if m.p.argument[i] > 0 then
      leaf = leaf + 1
      m.axis_of[i] = m.lanes[leaf]
    elseif m.p.state[i] > 0 then
      local seen = m.p.states[m.p.state[i]]
      local s = state.of_id[seen.id]
      local own = s and m.view_of[s]
      m.axis_of[i] = m.random[seen.id] and "keys" or own and own[m.p.leaf[i] + 1] or false
    end
    flags[i] = m.axis_of[i] and true or false
  end
  return flags
end

local function find_generators(m)
  local RandomState = require "bdl.random".RandomState
  m.random = {}
  for _, touched in ipairs(m.p.states) do
    local s = state.of_id[touched.id]
    if s and not touched.made and class.isa(s, RandomState) and not m.out:of(s) then m.random[touched.id] = true end
  end
end

--- In a trace: all lanes, or this process' own.  Returns the leaves of the results, those of the States written, the keys that
--  generators keep.
local function all_lanes(m, program, flags)
  local draws = require "bdl.random.draws"
  local keys, kept, operands = {}, {}, {}
  for _, touched in ipairs(m.p.states) do
    if m.random[touched.id] then
      local split = draws.split(core.state_get(touched.handle), m.size + 1)
      kept[#kept + 1] = draws.row(split, 0)
      keys[touched.id] = t.rows(split, 1, m.size + 1)
    end
  end
  for i, x in ipairs(m.p.inputs) do
    local axis = m.axis_of[i]
    x = axis == "keys" and keys[m.p.states[m.p.state[i]].id] or axis and t.move(core.mantissa(x), axis, 0) or x
    if m.apart then x = axis and lanes.own(x, m.size) or lanes.shared(x) end
    operands[i] = x
  end
  local out, list = core.apply(program, operands), {}
  local function output(k, axis, what)
    local x = out[k]
    if m.apart then x = (flags[k] and lanes.gathered or lanes.common)(x, m.size) end
    return placed(m, x, flags[k], axis, what)
  end
  for i, place in ipairs(m.out_axes) do list[i] = output(i, place[1], place[2]) end
  for _, w in ipairs(m.writes) do
    local leaves = not w.first and core.flatten(core.state_get(w.handle))
    for k = 0, w.n - 1 do
      local what = "the " .. t.state_name(w.state, m.f)
      list[#list + 1] = leaves and placed(m, core.mantissa(leaves[k + 1]), false, w.axis, what) or output(w.first + k, w.axis, what)
    end
  end
  return t.joined(list, kept)
end

--- f over all lanes.  o: the options, and of callers in this folder: no_writes; made() -> States made inside, axis_of(State);
--  over_processes(n) -> do n lanes run on a process each?  Then batching only tells what differs between lanes, and that no lane
--  would wait for another which goes a different way.
function M.call(who, f, o, args)
  local m = {who = who, f = f, into = state_map(who)}
  for _, pair in ipairs(axes.states(who .. ": in_states", o.in_states)) do m.into:declare(pair[1], pair[2], "in_states") end
  for _, pair in ipairs(axes.states(who .. ": out_states", o.out_states)) do -- conflicts show before f runs
    if m.into.said[pair[1]] then m.into:declare(pair[1], pair[2], "out_states") end
  end
  take_lanes(m, o, args)
  local apart = o.over_processes and o.over_processes(m.size)
  m.axis = lanes.axis(who, o.axis_name or (apart == false and "" or nil), m.size, apart)
  m.apart = apart and m.size > 1
  number_lanes(m, args.n)
  m.p = core.trace_function(who, lane_function(m, f, args), m.data, m.lanes, m.views)
  place_results(m, o)
  find_generators(m)
  local program, flags = core.batch(m.p.program, input_flags(m), m.size, m.axis and m.axis.id)
  if m.apart then program = m.p.program end
  for i, place in ipairs(m.out_axes) do
    if flags[i] and not place[1] then
      core.fail("ValueError", 3, "%s: %s differs between lanes; its out_axes may not be bdl.none", who, place[2])
    end
  end
  place_states(m, o, flags)
  local list = t.inside(all_lanes, m, program, flags)
  local at = #m.out_axes
  for _, w in ipairs(m.writes) do
    core.state_give(w.handle, table.move(list, at + 1, at + w.n, 1, {}))
    at = at + w.n
  end
  for _, handle in ipairs(m.generators) do
    at = at + 1
    core.state_give(handle, {list[at]})
  end
  local values = t.results(m.p, list)
  for r = 1, #values do values[r] = with_objects(m.like[r], values[r]) end
  return table.unpack(values)
end

M.vmap = t.transformation("vmap", lanes.OPTIONS, function(f, opts)
  return function(...) return M.call("vmap", f, opts, table.pack(...)) end
end)

local UNVMAP = {any = "reduce_or", all = "reduce_and", max = "reduce_max"}

--- unvmap(x, {op = "any"}): one value for all lanes, over all elements of all lanes: "any" or "all" of booleans, "max" of numbers;
--  "none": x as it is.
--  Example:
--    print(bdl.vmap(function(x) return bdl.augment.unvmap(x:gt(1), {op = "any"}) end)(bdl.arange(3)))
function M.unvmap(x, opts)
  local op = opts == nil and "any" or t.is_plain(opts) and (opts.op or "any") or opts
  if op == "none" then return x end
  if not UNVMAP[op] then
    core.fail("ValueError", 2, "unvmap: op is \"any\", \"all\", \"max\" or \"none\", not %s", tostring(op))
  end
  if not core.is_tensor(x) then x = core.tensor(x) end
  if op ~= "max" and x.dtype ~= "bool" then x = core.cast(x, "bool") end
  return lanes.of_processes((core.bind("across", {op = op}, x)), UNVMAP[op])
end

--- The axis of a State that a mapped function makes: by StateAxes (optional), else the first; false for one that is made once.
function M.axis_of_new(s, state_axes)
  if class.isa(s, state.NonBatchState) or s.tag.INIT_NO_BATCHING then return false end
  if state_axes == nil then return 1 end
  return state_axes:of("", s)
end

--- vmap_new_states(f, opts): every State that f makes has lanes; those that were there before are shared.
--  A NonBatchState, or one with the tag INIT_NO_BATCHING, is made once.  opts : in_axes, out_axes, axis_size, state_tag (a tag for
--  the new States), state_to_exclude (a filter), state_axes (StateAxes of the new States).
--  Example:
--    local cell = bdl.nn.GRUCell(3, 4)
--    bdl.augment.vmap_new_states(function() cell:init_state() end, {axis_size = 5})()
--    print(cell.h.value.shape)
M.vmap_new_states = t.transformation("vmap_new_states", {"in_axes", "out_axes", "axis_size", "axis_name", "state_tag", "state_to_exclude",
                                                         "state_axes", "in_states", "out_states"}, function(f, opts)
  if opts.in_states ~= nil or opts.out_states ~= nil then
    core.hint "vmap has in_states and out_states"
    core.fail("ValueError", 4, "vmap_new_states: in_states and out_states are not taken: it maps over States that the function makes")
  end
  return function(...)
    local made
    local function g(...)
      local c <close> = state.catch_new_states(opts.state_tag, {state_to_exclude = opts.state_to_exclude})
      local out = table.pack(f(...))
      made = c:get_states()
      return table.unpack(out, 1, out.n)
    end
    local o = setmetatable({
      made = function() return made end,
      axis_of = function(s) return M.axis_of_new(s, opts.state_axes) end,
    }, {__index = opts})
    return M.call("vmap_new_states", g, o, table.pack(...))
  end
end)

return M

--- Methods called on every module of a model: init_all_states, reset_all_states, call_all_fns, and over lanes.
local core = require "bdl.core"
local class = require "bdl.class"
local filters = require "bdl.filter"
local graph = require "bdl.graph"
local paths = require "bdl.path"
local state = require "bdl.state"
local vmap = require "bdl.augment.vmap"
local Module = require "bdl.nn.module".Module

local M = {}

local LEVELS = 10
local level_of = setmetatable({}, {__mode = "k"})

--- call_order(level)(f): among all methods of a model, f runs after those without a level, in ascending order of
--  levels.
--  level : 0..9 (any integer with check_order_boundary = false).  Errors: TypeError, ValueError.
--  Example:
--    local Late = bdl.nn.Module:extend "Late"
--    Late.init_state = bdl.nn.call_order(1)(function(self) self.made = true end)
function M.call_order(level, opts)
  level = level == nil and 0 or level
  if math.type(level) ~= "integer" then
    core.fail("TypeError", 2, "call_order: a level is an integer, not %s", tostring(level))
  end
  if not (opts and opts.check_order_boundary == false) and (level < 0 or level >= LEVELS) then
    core.fail("ValueError", 2, "call_order: a level is from 0 to %d, not %d", LEVELS - 1, level)
  end
  return function(f)
    local g = function(...) return f(...) end
    level_of[g] = level
    return g
  end
end

local IF_ABSENT = {raise = true, pass = true, none = true, warn = true}

--- Calls the method of every module of the target that `excluded` is not true of.
local function call_all(method, target, excluded, if_absent, ...)
  local later = {}
  for path, node in graph.nodes(target):items() do
    if class.isa(node, Module) and not excluded(path, node) then
      local f = node[method]
      if f == nil then
        local text = ("%s%s has no method '%s'"):format(class.typename(node), path == "" and ""
                                                        or (" at '%s'"):format(path), method)
        if if_absent == "raise" then core.fail("KeyError", 3, "call_all_fns: %s", text) end
        if if_absent == "warn" then warn("bdl: call_all_fns: " .. text) end
      elseif level_of[f] then
        later[#later + 1] = {f, node, level_of[f], #later}
      elseif type(f) ~= "function" then
        core.fail("TypeError", 3, "call_all_fns: '%s' of %s is not a function but a %s", method, class.typename(node),
                  class.typename(f))
      else
        f(node, ...)
      end
    end
  end
  table.sort(later, function(a, b)
    if a[3] ~= b[3] then return a[3] < b[3] end
    return a[4] < b[4]
  end)
  for _, call in ipairs(later) do call[1](call[2], ...) end
  return target
end

local function predicate(filter)
  if filter == nil then return function() return false end end
  return filters.to_predicate(filter)
end

local function is_plain(x) return type(x) == "table" and getmetatable(x) == nil end

--- call_all_fns(model, "name", arguments, opts) -> model: the method of every Module, with one argument or a list of
--  them. opts: node_to_exclude, a filter;  fn_if_not_exist: "raise" (default), "pass", "none" or "warn".
--  Errors: KeyError, a module lacks the method; TypeError, ValueError.
--  Example:
--    local net = bdl.nn.Sequential(bdl.nn.GRUCell(3, 4))
--    bdl.nn.call_all_fns(net, "init_state", 2)
function M.call_all_fns(target, name, arguments, opts)
  opts = opts or {}
  if type(name) ~= "string" then
    core.fail("TypeError", 2, "call_all_fns: the name of a method is a string, not a %s", class.typename(name))
  end
  local if_absent = opts.fn_if_not_exist or "raise"
  if not IF_ABSENT[if_absent] then
    core.fail("ValueError", 2, "call_all_fns: fn_if_not_exist is 'raise', 'pass', 'none' or 'warn', not '%s'",
              tostring(if_absent))
  end
  local list = is_plain(arguments) and arguments or {arguments}
  return call_all(name, target, predicate(opts.node_to_exclude), if_absent, table.unpack(list))
end

--- Arguments, and the options of a last plain table that has one of the names.
local function split(names, ...)
  local args = table.pack(...)
  local last = args[args.n]
  if is_plain(last) then
    for _, name in ipairs(names) do
      if last[name] ~= nil then
        args.n = args.n - 1
        return args, last
      end
    end
  end
  return args, {}
end

local function by_name(method)
  return function(target, ...)
    local args, opts = split({"node_to_exclude"}, ...)
    return call_all(method, target, predicate(opts.node_to_exclude), "raise", table.unpack(args, 1, args.n))
  end
end

--- Makes the States of all modules of a model: init_all_states(model, batch_size?, {node_to_exclude = filter}?) ->
--  model.
--  Example:
--    local cell = bdl.nn.init_all_states(bdl.nn.GRUCell(3, 4), 2)
--    print(cell.h.value.shape)
M.init_all_states = by_name "init_state"

--- Puts the States of all modules of a model back to their initial values.  Arguments as for init_all_states.
--  Example:
--    local cell = bdl.nn.init_all_states(bdl.nn.GRUCell(3, 4), 2)
--    bdl.nn.reset_all_states(cell, 2)
M.reset_all_states = by_name "reset_state"

local function check_lanes(who, opts)
  if math.type(opts.axis_size) ~= "integer" or opts.axis_size < 1 then
    core.fail("ValueError", 3, "%s: the option axis_size is a number of lanes, not %s", who, tostring(opts.axis_size))
  end
end

local function in_lanes(opts, f)
  vmap.vmap_new_states(f, {axis_size = opts.axis_size, state_tag = opts.state_tag,
                           state_to_exclude = opts.state_to_exclude})()
end

--- vmap_call_all_fns(model, "name", arguments, {axis_size = n, state_tag =, node_to_exclude =, fn_if_not_exist =}) ->
--  model: the same in n lanes; States that are made have lanes in front.
--  Example:
--    local cell = bdl.nn.vmap_call_all_fns(bdl.nn.GRUCell(3, 4), "init_state", {}, {axis_size = 5})
--    print(cell.h.value.shape)
function M.vmap_call_all_fns(target, name, arguments, opts)
  check_lanes("vmap_call_all_fns", opts or {})
  in_lanes(opts, function() M.call_all_fns(target, name, arguments, opts) end)
  return target
end

--- vmap_init_all_states(model, .., {axis_size = n, state_tag =, state_to_exclude =, node_to_exclude =}) -> model:
--  nn.init_all_states in n lanes; all States that it makes have lanes in front.
--  Example:
--    local cell = bdl.nn.vmap_init_all_states(bdl.nn.GRUCell(3, 4), {axis_size = 5})
--    print(cell.h.value.shape)
function M.vmap_init_all_states(target, ...)
  local args, opts = split({"axis_size"}, ...)
  check_lanes("vmap_init_all_states", opts)
  in_lanes(opts, function()
    call_all("init_state", target, predicate(opts.node_to_exclude), "raise", table.unpack(args, 1, args.n))
  end)
  return target
end

--- vmap_reset_all_states(model, .., {axis_size = n, state_tag =, node_to_exclude =}) -> model: nn.reset_all_states in n
--  lanes of the States of a step that have n lanes in front (of those with the tag).
--  Example:
--    local cell = bdl.nn.vmap_init_all_states(bdl.nn.GRUCell(3, 4), {axis_size = 5})
--    bdl.nn.vmap_reset_all_states(cell, {axis_size = 5})
function M.vmap_reset_all_states(target, ...)
  local args, opts = split({"axis_size"}, ...)
  check_lanes("vmap_reset_all_states", opts)
  local lanes = {}
  for _, s in graph.states(target, state.ShortTermState):items() do
    local mapped = opts.state_tag == nil or s.tag[opts.state_tag]
    for _, leaf in ipairs(state.abstract(s)) do mapped = mapped and leaf.shape[1] == opts.axis_size end
    lanes[#lanes + 1] = mapped and s or nil
  end
  vmap.vmap(function()
    call_all("reset_state", target, predicate(opts.node_to_exclude), "raise", table.unpack(args, 1, args.n))
  end, {axis_size = opts.axis_size, in_states = lanes})()
  return target
end

--- assign_state_values(model, values, ..) -> unexpected, missing: writes the States of a model from maps path -> value
--  (or State), later maps over earlier ones; unexpected are paths that the model has not, missing those of its States
--  that no map has, both sorted.
--  Errors: TypeError, no map; those of State writes, which leave every State as it was.
--  Example:
--    local layer = bdl.nn.Linear(2, 1)
--    local values = {weight = {weight = bdl.ones(2, 1), bias = bdl.zeros(1)}}
--    local unexpected, missing = bdl.nn.assign_state_values(layer, values)
--    print(#unexpected, #missing)
function M.assign_state_values(target, ...)
  local states, known, given = graph.states(target), {}, {}
  for path in states:items() do known[paths.format(paths.parse(path))] = path end
  for k = 1, select("#", ...) do
    local values = select(k, ...)
    if type(values) ~= "table" or class.isa(values, state.State) then
      core.fail("TypeError", 2, "assign_state_values: a map of paths and values is needed, not a %s",
                class.typename(values))
    end
    for path, value in pairs(values) do given[paths.format(paths.parse(path))] = state.maybe_state(value) end
  end
  local writes, unexpected, missing = {}, {}, {}
  for path, value in pairs(given) do
    local s = known[path] and states[known[path]]
    if s then writes[#writes + 1] = {s, value} else unexpected[#unexpected + 1] = path end
  end
  for path in pairs(known) do missing[#missing + 1] = given[path] == nil and path or nil end
  table.sort(unexpected)
  table.sort(missing)
  state.write_all(writes, function(s, value) s.value = value end)
  return unexpected, missing
end

return M

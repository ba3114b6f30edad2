--- Modules over lanes: Vmap maps a module whose States have lanes already; Map makes them.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local none = require "bdl.none".none
local state = require "bdl.state"
local vmap = require "bdl.augment.vmap"
local collective = require "bdl.nn.collective"
local Module = require "bdl.nn.module".Module

local M = {}

local StateAxes = vmap.StateAxes

--- The States of m that have lanes, as vmap takes them: by StateAxes, {[axis] = filter}, or one filter (axis 1).
local function states_by_axis(m, spec)
  if spec == nil or spec == none then return nil end
  local by_axis = {}
  local function put(axis, s)
    by_axis[axis] = by_axis[axis] or {}
    table.insert(by_axis[axis], s)
  end
  if class.isa(spec, StateAxes) then
    for path, s in m:states():items() do
      local axis = spec:of(path, s)
      if axis then put(axis, s) end
    end
  elseif type(spec) == "table" and getmetatable(spec) == nil then
    for axis, filter in pairs(spec) do
      for s in m:states(filter):values() do put(axis, s) end
    end
  else
    for s in m:states(spec):values() do put(1, s) end
  end
  return by_axis
end

local function need_module(who, m)
  if not class.isa(m, Module) then core.fail("TypeError", 3, "%s: a Module is needed, not a %s", who, class.typename(m)) end
  return m
end

--- Calls a module over lanes, as augment.vmap does.
--  in_axes, out_axes : axes of the lanes in arguments and results
--  vmap_states, vmap_out_states : StateAxes, or a filter of the States that have lanes in front; they are looked up at
--    each call
--  axis_size : the number of lanes, where no argument tells
--  Example:
--    local net = bdl.nn.Vmap(bdl.nn.Linear(3, 2))
--    print(net(bdl.ones(4, 3)))
local Vmap = Module:extend "Vmap"
M.Vmap = Vmap

function Vmap:__init(...)
  local a = args({"module", in_axes = 1, out_axes = 1, vmap_states = none, vmap_out_states = none, axis_size = none, name = none}, ...)
  Vmap.super.__init(self, a.name)
  self.module = need_module("nn.Vmap", a.module)
  self.in_axes, self.out_axes = a.in_axes, a.out_axes
  self.vmap_states, self.vmap_out_states = a.vmap_states, a.vmap_out_states
  if a.axis_size ~= none then self.axis_size = a.axis_size end
end

function Vmap:update(...)
  return vmap.vmap(self.module, {
    in_axes = self.in_axes, out_axes = self.out_axes, axis_size = self.axis_size,
    in_states = states_by_axis(self.module, self.vmap_states), out_states = states_by_axis(self.module, self.vmap_out_states),
  })(...)
end

--- Lanes of a module: init_all_states makes the States of all lanes; then the module is called over them.
--  init_map_size : the number of lanes
--  init_state_axes, call_state_axes : StateAxes of the States that are made, and of further ones that have lanes
--  state_tag : of the States that are made
--  in_axes, out_axes : axes of the lanes in arguments and results
--  behavior : "vmap" or "pmap"
--  Example:
--    local cells = bdl.nn.Map(bdl.nn.GRUCell(3, 4), 5):init_all_states()
--    print(cells(bdl.ones(5, 3)).shape)
local Map = Module:extend "Map"
M.Map = Map

function Map:__init(...)
  local a = args({"module", "init_map_size", init_state_axes = none, state_tag = none, in_axes = 1, out_axes = 1, call_state_axes = none,
                  behavior = "vmap", name = none}, ...)
  Map.super.__init(self, a.name)
  if math.type(a.init_map_size) ~= "integer" or a.init_map_size < 1 then
    core.fail("ValueError", 2, "nn.Map: init_map_size is a whole number from 1, not %s", tostring(a.init_map_size))
  end
  if a.behavior ~= "vmap" and a.behavior ~= "pmap" then
    core.fail("ValueError", 2, "nn.Map: behavior is \"vmap\" or \"pmap\", not %s", tostring(a.behavior))
  end
  self.module = need_module("nn.Map", a.module)
  self.init_map_size = a.init_map_size
  self.behavior = a.behavior
  self.in_axes, self.out_axes = a.in_axes, a.out_axes
  self.init_state_axes, self.call_state_axes = a.init_state_axes, a.call_state_axes
  self._tag = a.state_tag ~= none and a.state_tag or nil
end

--- The arguments of nn.init_all_states(module, ..), for every lane.
function Map:init_all_states(...)
  local rest = table.pack(...)
  local new_axes = self.init_state_axes ~= none and self.init_state_axes or nil
  local c <close> = state.catch_new_states()
  vmap.vmap_new_states(function() collective.init_all_states(self.module, table.unpack(rest, 1, rest.n)) end,
                       {axis_size = self.init_map_size, state_tag = self._tag, state_axes = new_axes})()
  self._mapped = {}
  for _, s in ipairs(c:get_states()) do
    local axis = vmap.axis_of_new(s, new_axes)
    if axis then
      self._mapped[axis] = self._mapped[axis] or {}
      table.insert(self._mapped[axis], s)
    end
  end
  return self
end

local function mapped_states(self, spec)
  if not self._mapped then
    core.hint "call init_all_states on the Map"
    core.fail("ValueError", 4, "nn.Map: update before init_all_states: there are no States of lanes yet")
  end
  local by_axis = states_by_axis(self.module, spec) or {}
  for axis, list in pairs(self._mapped) do by_axis[axis] = table.move(list, 1, #list, #(by_axis[axis] or {}) + 1, by_axis[axis] or {}) end
  return by_axis
end

local function call(self, f, in_axes, out_axes, state_axes, ...)
  local by_axis = mapped_states(self, state_axes)
  return vmap[self.behavior](f, {in_axes = in_axes, out_axes = out_axes, in_states = by_axis, axis_size = self.init_map_size})(...)
end

function Map:update(...) return call(self, self.module, self.in_axes, self.out_axes, self.call_state_axes, ...) end

--- map:map(f, {in_axes =, out_axes =, state_axes =}) -> a function over the lanes: a method of the module, by name, or any function.
function Map:map(f, opts)
  opts = opts or {}
  local g = f
  if type(f) == "string" then
    if type(self.module[f]) ~= "function" then core.fail("ValueError", 2, "nn.Map: %s has no method '%s'", class.typename(self.module), f) end
    g = function(...) return self.module[f](self.module, ...) end
  end
  return function(...) return call(self, g, opts.in_axes or 1, opts.out_axes or 1, opts.state_axes or self.call_state_axes, ...) end
end

return M

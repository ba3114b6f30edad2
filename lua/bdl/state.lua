--- States: the mutable cells of a model, and the only thing that a compiled function can change.
--
--   s.value   reads and writes; inside a trace both are recorded   s.name, s.tag (a set), s:add_tag(t), s.shape, s.dtype
--   State < ShortTermState < HiddenState         State < LongTermState < ParamState         users: State:extend "Counter"
--
-- The value lives in the runtime behind a handle (`_handle`).  What is kept here: the name, the tags, the fields that a
-- subclass or the constructor's options add, and the hooks.

local core = require "bdl.core"
local class = require "bdl.class"
local suggest = require "bdl.suggest"
local scope = require "bdl.scope"
local filter = require "bdl.filter"
local util = require "bdl.util"
local pretty = require "bdl.pretty"
local hook = require "bdl.hook"

--- of_id: the State of an id of the runtime.
local state = {of_id = setmetatable({}, {__mode = "v"})} -- core.state_id -> State

--- A mutable cell:  s.value reads and writes; inside a trace both are recorded.
--  ShortTermState < HiddenState, LongTermState < ParamState say how long it lives.
--  Example:
--    local s = bdl.State(bdl.zeros(3))
--    s.value = s.value + 1
--    print(s, s.value)
local State = class "State"
State.__graph = true

local BUILT_IN = {"value", "name", "tag", "shape", "dtype"}

--- A set of tags from nil, a tag, or a list or set of tags.
local function tag_set(who, tags)
  if tags == nil then return {} end
  if type(tags) == "string" then return {[tags] = true} end
  if type(tags) ~= "table" then
    core.fail("TypeError", 3, "%s: a tag is a string or a list of strings, not a %s", who, class.typename(tags))
  end
  local set = {}
  for key, value in pairs(tags) do
    local tag = math.type(key) == "integer" and value or key
    if type(tag) ~= "string" then core.fail("TypeError", 3, "%s: a tag is a string, not a %s", who, class.typename(tag)) end
    set[tag] = true
  end
  return set
end

local function sorted(set)
  local list = {}
  for tag in pairs(set) do list[#list + 1] = tag end
  table.sort(list)
  return list
end

--- "ParamState 'w'"
local function where_is(self)
  local name = rawget(self, "_name")
  return class.of(self).name .. (name and (" '%s'"):format(name) or "")
end

local function check_name(who, name)
  if name ~= nil and type(name) ~= "string" then
    core.fail("TypeError", 3, "%s: a name is a string, not a %s", who, class.typename(name))
  end
  return name
end

--- Blocks of catch_new_states that are open, outermost first.
local catchers = {}

--- value : a tensor, number, quantity or a tree of them; the value of a State is taken out of it.
--  opts  : name, tag (string or list), further fields.
function State:__init(value, opts)
  if class.isa(value, State) then value = value.value end
  local cls = class.of(self).name
  if value == nil then core.fail("TypeError", 2, "%s: a value is needed", cls) end
  self:__check(value)
  if opts ~= nil and (type(opts) ~= "table" or getmetatable(opts) ~= nil) then
    core.fail("TypeError", 2, "%s: options are a table, {name =, tag =}, not a %s", cls, class.typename(opts))
  end
  opts = opts or {}
  rawset(self, "_name", check_name(cls, opts.name))
  rawset(self, "_tag", tag_set(cls, opts.tag))
  for _, key in ipairs(util.sorted_keys(opts)) do
    if key ~= "name" and key ~= "tag" then class.rawfield(self, key, opts[key]) end
  end
  rawset(self, "_handle", core.state_new(value, opts))
  state.of_id[core.state_id(rawget(self, "_handle"))] = self
  if hook.any then hook.init(self, value) end
  for _, catcher in ipairs(catchers) do catcher(self) end
end

--- The constructors have run: from now on a new field is a misspelt one.
function State:__made()
  if not rawget(self, "_handle") then
    core.fail("TypeError", 2, "%s: __init must call %s.super.__init(self, value)", class.of(self).name, class.of(self).name)
  end
  rawset(self, "_made", true)
end

--- Subclasses refuse values here.  Errors: TypeError.
function State:__check() end

local function no_field(self, key)
  local names = class.fields(self)
  table.move(BUILT_IN, 1, #BUILT_IN, #names + 1, names)
  if type(key) ~= "string" then
    core.fail("TypeError", 3, "%s cannot be indexed; use s.value[i]", where_is(self))
  end
  core.fail("KeyError", 3, "%s has no field '%s'%s", where_is(self), key, suggest.hint(key, names))
end

function State.__index(self, key)
  if key == "value" then
    local value = core.state_get(rawget(self, "_handle"))
    return hook.any and hook.read(self, value) or value
  end
  local method = class.method(self, key)
  if method ~= nil then return method end
  if key == "shape" or key == "dtype" then
    local leaves = state.abstract(self)
    return #leaves == 1 and leaves[1][key] or state.tree_of(self, function(leaf) return leaf[key] end)
  end
  if key == "tag" then return rawget(self, "_tag") end
  if key == "name" then return rawget(self, "_name") end
  if type(key) == "string" and key:sub(1, 1) == "_" then return nil end
  no_field(self, key)
end

function State.__newindex(self, key, value)
  if key == "value" then
    if class.isa(value, State) then
      core.fail("ValueError", 2, "Cannot set value to a State, use `copy_from` (s:copy_from(other)) or other.value")
    end
    local handle = rawget(self, "_handle")
    if hook.any then
      return hook.write(self, value, function() return core.state_get(handle) end, function(v) core.state_set(handle, v) end)
    end
    core.state_set(handle, value)
  elseif key == "name" then
    rawset(self, "_name", check_name(where_is(self), value))
    core.state_rename(rawget(self, "_handle"), value or "")
  elseif key == "tag" then
    rawset(self, "_tag", tag_set(class.of(self).name, value))
  elseif rawget(self, "_made") and not (type(key) == "string" and key:sub(1, 1) == "_") then
    no_field(self, key)
  else
    class.rawfield(self, key, value)
  end
end

for _, op in ipairs{"add", "sub", "mul", "div", "idiv", "mod", "pow", "unm", "band", "bor", "bxor", "bnot", "shl", "shr",
                    "concat", "len", "lt", "le", "call"} do
  State["__" .. op] = function(a, b)
    core.fail("TypeError", 2, "a State is not a value: use s.value (%s)", where_is(class.isa(a, State) and a or b))
  end
end

--- Where the State with that core.state_id is in the outermost model that a running function holds, for messages: "input.weight";
--  nil: nowhere.
function state.place(id)
  local graph, self, place = require "bdl.graph", state.of_id[id], nil
  local function search(x)
    if not class.isa(x, graph.Node) then return end
    for path, found in graph.states(x):items() do
      if found == self then place = path end
    end
  end
  for level = 2, 50 do
    local info = debug.getinfo(level, "f")
    if not info then break end
    local i, name, value = 1, debug.getlocal(level, 1)
    while name do
      search(value)
      i = i + 1
      name, value = debug.getlocal(level, i)
    end
    i, name, value = 1, debug.getupvalue(info.func, 1)
    while name do
      search(value)
      i = i + 1
      name, value = debug.getupvalue(info.func, i)
    end
  end
  return place
end

--- Leaves as {dtype =, shape =, unit =}: what the State holds, without reading it.
function state.abstract(self) return core.state_leaves(rawget(self, "_handle")) end

--- The tree of the State with f(leaf description) as leaves.
function state.tree_of(self, f)
  local leaves = state.abstract(self)
  for i, leaf in ipairs(leaves) do leaves[i] = f(leaf) end
  return core.unflatten(core.state_treedef(rawget(self, "_handle")), leaves)
end

function State:__pretty()
  local shown = {{"name", rawget(self, "_name")}}
  if not shown[1][2] then shown[1] = nil end
  shown[#shown + 1] = {"value", state.tree_of(self, function(leaf)
    return pretty.raw(pretty.abstract(leaf.dtype, leaf.shape, leaf.unit))
  end)}
  for _, key in ipairs(class.fields(self)) do
    if type(key) == "string" and key:sub(1, 1) ~= "_" then shown[#shown + 1] = {key, rawget(self, key)} end
  end
  local tags = sorted(self.tag)
  if #tags > 0 then shown[#shown + 1] = {"tag", tags} end
  return shown
end

function State:__tree_value() return self.value end

function State:add_tag(tag)
  for name in pairs(tag_set("add_tag", tag)) do self.tag[name] = true end
  return self
end

--- s.value = f(s.value)
function State:update(f) self.value = f(self.value) end

--- Set the value as if it had always been so: in a trace a read, not a write.
function State:restore_value(value)
  if class.isa(value, State) then value = value.value end
  local handle = rawget(self, "_handle")
  hook.restore(self, value, function() return core.state_get(handle) end, function(v) core.state_restore(handle, v) end)
end

--- Name, tags and further fields, as the constructor takes them.
function state.options(self)
  local opts = {name = rawget(self, "_name"), tag = sorted(self.tag)}
  for _, key in ipairs(class.fields(self)) do
    if type(key) == "string" and key:sub(1, 1) ~= "_" then opts[key] = rawget(self, key) end
  end
  return opts
end

--- A State of the class with that value and those options; constructors of subclasses do not run.
function state.make(cls, value, opts)
  local new = class.alloc(cls)
  State.__init(new, value, opts)
  rawset(new, "_made", true)
  return new
end

--- A new State of the same class, value, name and tags; hooks stay behind.
function State:copy() return state.make(class.of(self), self.value, state.options(self)) end

--- A copy with another value, or like another State of the same class, and with changed options.
--  Errors: ValueError, a State of another class.
function State:replace(value, opts)
  if class.isa(value, State) then
    if class.of(value) ~= class.of(self) then
      core.fail("ValueError", 2, "replace: %s cannot stand for %s", where_is(value), where_is(self))
    end
    local new = value:copy()
    return opts and new:replace(nil, opts) or new
  end
  local all = state.options(self)
  for key, field in pairs(opts or {}) do all[key] = field end
  if value == nil then value = self.value end
  return state.make(class.of(self), value, all)
end

--- Take over value, name, tags and fields of another State of the same class; identity and hooks stay.
--  Errors: ValueError, another class.
function State:copy_from(other)
  if class.of(other) ~= class.of(self) then
    core.fail("ValueError", 2, "copy_from: a %s cannot be copied into %s", class.typename(other), where_is(self))
  end
  self.value = other.value
  self.name = other.name
  self.tag = other.tag
  for _, key in ipairs(class.fields(other)) do class.rawfield(self, key, rawget(other, key)) end
end

function State:register_hook(kind, f, opts) return hook.register(self, kind, f, opts) end
function State:clear_hooks(kind) hook.clear(self, kind) end

--- Memory of a step or a trial.
--  Example:
--    local s = bdl.ShortTermState(bdl.zeros(3))
--    s.value = s.value + 1
--    print(s, s.value)
local ShortTermState = State:extend "ShortTermState"
--- Memory of a step that all lanes share.
--  Example:
--    local s = bdl.NonBatchState(bdl.zeros(3))
--    s.value = s.value + 1
--    print(s, s.value)
local NonBatchState = ShortTermState:extend "NonBatchState"
--- Memory that outlives trials.
--  Example:
--    local s = bdl.LongTermState(bdl.zeros(3))
--    s.value = s.value + 1
--    print(s, s.value)
local LongTermState = State:extend "LongTermState"
--- Trainable parameters.
--  Example:
--    local s = bdl.ParamState(bdl.zeros(3))
--    s.value = s.value + 1
--    print(s, s.value)
local ParamState = LongTermState:extend "ParamState"

--- Dynamics state of a neuron or synapse; one tensor or quantity, so that online learning can work on it.
--  Example:
--    print(bdl.HiddenState(bdl.zeros(3) * bdl.units.mV))
local HiddenState = ShortTermState:extend "HiddenState"

function HiddenState:__check(value)
  if not core.is_tensor(value) then
    core.fail("TypeError", 3, "%s: the value is one tensor or quantity, not a %s", class.of(self).name, class.typename(value))
  end
end

local hidden_index = State.__index

function HiddenState.__index(self, key)
  if key == "varshape" then return self.shape end
  if key == "num_state" then return 1 end
  return hidden_index(self, key)
end

--- Every State made inside is collected and tagged; open outer blocks see it too.
--  tag : string or nil;  opts.state_to_exclude : a filter of States that are left alone.
--  Forms: `local c <close> = catch_new_states("new", opts?)` with c[i], #c, c:get_states();
--         `catch_new_states("new", opts?, f, ...)` returns what f(...) returns.
--  Example:
--    local c <close> = bdl.catch_new_states "new"
--    local s = bdl.State(0.)
--    print(#c, s.tag.new)
function state.catch_new_states(tag, opts, ...)
  if tag ~= nil and type(tag) ~= "string" then
    core.fail("TypeError", 2, "catch_new_states: the tag is a string, not a %s", class.typename(tag))
  end
  local is_options = type(opts) == "table" and getmetatable(opts) == nil
  local exclude = filter.to_predicate(is_options and opts.state_to_exclude or false)
  local items = {}
  local function take(s)
    if exclude("", s) then return end
    if tag then s:add_tag(tag) end
    items[#items + 1] = s
  end
  catchers[#catchers + 1] = take
  local function leave()
    for i = #catchers, 1, -1 do
      if catchers[i] == take then table.remove(catchers, i) end
    end
  end
  if opts == nil or is_options then return scope.enter("bdl.catch_new_states(...)", leave, items, ...) end
  return scope.enter("bdl.catch_new_states(...)", leave, items, opts, ...)
end

--- Structures are checked at every write anyway; the block is kept for models that say so.
--  Example:
--    bdl.check_state_value_tree(function() end)
function state.check_state_value_tree(f, ...)
  return scope.enter("bdl.check_state_value_tree()", function() end, nil, f, ...)
end

--- The value of a State, anything else as it is.
--  Example:
--    print(bdl.maybe_state(bdl.State(2.)), bdl.maybe_state(2.))
function state.maybe_state(x) return class.isa(x, State) and x.value or x end

--- Writes several States or none: list of {State, value}, write(State, value) sets one.
--  Errors: what a State refuses; then all are as they were.
function state.write_all(list, write)
  local before = {}
  for k, pair in ipairs(list) do
    before[k] = pair[1].value
    local ok, e = pcall(write, pair[1], pair[2])
    if not ok then
      for j = 1, k - 1 do write(list[j][1], before[j]) end
      error(e, 0)
    end
  end
end

--- f(context) whenever a State is made, read, written or restored, by kind; returns what removes it.
--  Example:
--    bdl.register_state_hook("write_after", function(c) print(c.value) end)
--    bdl.State(0.).value = 1.
--    bdl.clear_state_hooks()
function state.register_state_hook(kind, f, opts) return hook.register(nil, kind, f, opts) end
--- Removes the hooks of a kind, or all, that are for all States.
--  Example:
--    bdl.clear_state_hooks()
function state.clear_state_hooks(kind) hook.clear(nil, kind) end

state.State, state.ShortTermState, state.LongTermState = State, ShortTermState, LongTermState
state.ParamState, state.HiddenState, state.NonBatchState = ParamState, HiddenState, NonBatchState

return state

--- Layers of synapses: spikes times a dense matrix, or times a fixed number of connections a neuron.
local core = require "bdl.core"
local args = require "bdl.args"
local class = require "bdl.class"
local conn = require "bdl.conn"
local event = require "bdl.event"
local init = require "bdl.init"
local state = require "bdl.state"
local none = require "bdl.none".none
local Module = require "bdl.nn.module".Module

local M = {}

local function text(x) return "[" .. table.concat({table.unpack(x.shape)}, ",") .. "]" end

--- Spikes as a tensor [.., in_size].
local function input(self, x)
  x = core.is_tensor(x) and x or core.tensor(x)
  if x.ndim == 0 or x.shape[-1] ~= self.in_size[-1] then
    core.fail("ShapeError", 3, "%s: an input of %d neurons was expected, not %s", class.qualified_name(class.of(self)),
              self.in_size[-1], text(x))
  end
  return x
end

local function check_kind(kind)
  if not class.is_class(kind) or not class.derives(kind, state.State) then
    core.fail("TypeError", 3, "param_type is a class of States, not a %s", class.typename(kind))
  end
end

--- y = s W for spikes s [.., in_size]; only the rows of spikes are touched.
--  weight : a number, one for all, an array or an initialiser
--  float_as_event : true, what is > 0 counts as 1; false, floats by their value
--  param_type : the class of the State
--  States: weight.
--  Source: brainevent; Yavuz, Turner & Nowotny (2016), Sci Rep 6, for products by events.
--  Example:
--    local layer = bdl.nn.EventLinear(3, 2, 0.5)
--    print(layer(bdl.tensor{1.0, 0.0, 1.0}))
local EventLinear = Module:extend "EventLinear"
M.EventLinear = EventLinear

function EventLinear:__init(...)
  local a = args({"in_size", "out_size", "weight", float_as_event = true, param_type = state.ParamState, name = none},
                 ...)
  EventLinear.super.__init(self, a.name)
  check_kind(a.param_type)
  self.in_size = a.in_size
  self.out_size = a.out_size
  self.float_as_event = a.float_as_event
  self.weight = a.param_type(init.param(a.weight, {self.in_size[-1], self.out_size[-1]}, nil, {allow_none = false}))
end

function EventLinear:update(x)
  x = input(self, x)
  local w = self.weight.value
  local events = self.float_as_event or x.dtype == "bool"
  if w.ndim > 0 then
    return events and event.BinaryArray(x):matmul(w) or core.cast(x, core.mantissa(w).dtype):matmul(w)
  end
  local n = self.out_size[-1]
  local ones = event.Dense(core.bind("broadcast", {shape = {self.in_size[-1], n}, dims = {}}, w))
  return events and event.BinaryArray(x):matmul(ones) or ones:rmatmul(core.cast(x, core.mantissa(w).dtype))
end

--- y = x A, A with conn_num connections of random neurons for each neuron; the field conn is A.
--  conn_num : a count, or the part of the neurons, 0.0 to 1.0
--  conn_weight : a number, one for all, an array or an initialiser of [neurons, conn_num]
--  efferent_target : "post", targets of each pre neuron; "pre", sources of each post neuron
--  afferent_ratio : the part of the neurons that have connections
--  allow_multi_conn : whether pairs may be connected twice
--  seed : of the choice, an integer; drawn where absent
--  param_type : the class of the State
--  States: weight.
--  Source: brainevent; Yavuz, Turner & Nowotny (2016), Sci Rep 6, for rows of one length.
--  Example:
--    local layer = bdl.nn.FixedNumConn(40, 30, 5, 0.5)
--    print(layer(bdl.ones(40)).shape)
local FixedNumConn = Module:extend "FixedNumConn"
M.FixedNumConn = FixedNumConn

--- conn_num as a count of `most`.
local function number(who, n, most)
  if math.type(n) == "float" then
    if not (n >= 0 and n <= 1) then
      core.fail("ValueError", 3, "%s: conn_num as a part is from 0.0 to 1.0, not %s", who, tostring(n))
    end
    return math.floor(n * most)
  elseif math.type(n) ~= "integer" then
    core.fail("TypeError", 3, "%s: conn_num is a count or a part, not a %s", who, class.typename(n))
  elseif n < 0 then
    core.fail("ValueError", 3, "%s: conn_num is at least 0, not %d", who, n)
  end
  return n
end

function FixedNumConn:__init(...)
  local a = args({"in_size", "out_size", "conn_num", "conn_weight", efferent_target = "post", afferent_ratio = 1.0,
                  allow_multi_conn = true,
                  seed = none, param_type = state.ParamState, name = none}, ...)
  FixedNumConn.super.__init(self, a.name)
  local who = class.qualified_name(class.of(self))
  check_kind(a.param_type)
  if a.efferent_target ~= "post" and a.efferent_target ~= "pre" then
    core.fail("ValueError", 2, "%s: efferent_target is 'pre' or 'post', not '%s'", who, tostring(a.efferent_target))
  end
  if type(a.afferent_ratio) ~= "number" or not (a.afferent_ratio >= 0 and a.afferent_ratio <= 1) then
    core.fail("ValueError", 2, "%s: afferent_ratio is from 0 to 1, not %s", who, tostring(a.afferent_ratio))
  end
  self.in_size = a.in_size
  self.out_size = a.out_size
  local m, n = self.in_size[-1], self.out_size[-1]
  local to_post = a.efferent_target == "post"
  local rows = to_post and m or n
  local k = number(who, a.conn_num, to_post and n or m)
  for _, name in ipairs{"efferent_target", "afferent_ratio", "allow_multi_conn", "seed"} do self[name] = a[name] end
  self.conn_num = k
  local A = conn[to_post and "fixed_num_post" or "fixed_num_pre"](m, n, k,
                                                                  {seed = a.seed, replace = a.allow_multi_conn})
  if a.afferent_ratio < 1 and k > 0 then
    local random = require "bdl.random"
    local kept = random.rand{size = {rows}, key = a.seed and random.fold_in(random.key(a.seed), 1)}:lt(a.afferent_ratio)
    local ids, some = core.bind("event_ids", {}, kept)
    some = core.item(some)
    ids = core.bind("slice", {start = {0}, stop = {some}, step = {1}}, ids)
    local indices = core.bind("gather", {axis = 0}, core.bind("reshape", {shape = {rows, k}}, A.indices), ids)
    indices = core.bind("reshape", {shape = {some * k}}, indices)
    local ends = core.bind("cumsum", {axis = 0, reverse = 0}, core.cast(kept, "int32")) * k
    local indptr = core.bind("concatenate", {axis = 0}, core.tensor({0}, "int32"), ends)
    A = event.unchecked(to_post and "CSR" or "CSC", 1.0, indices, indptr, {m, n})
  end
  class.rawfield(self, "conn", A)
  local sizes = a.afferent_ratio < 1 and {A.nnz} or {rows, k}
  self.weight = a.param_type(init.param(a.conn_weight, k > 0 and sizes or {}, nil, {allow_none = false}))
end

--- The connection with the weights of now.
local function connection(self)
  local w = self.weight.value
  return self.conn:with_data(core.bind("reshape", {shape = {w.size}}, w))
end

function FixedNumConn:update(x) return connection(self):rmatmul(input(self, x)) end

--- y = s A as FixedNumConn has A, for spikes: only the connections of those > 0 are touched.
--  States: weight.
--  Source: brainevent; Yavuz, Turner & Nowotny (2016), Sci Rep 6, for rows of one length.
--  Example:
--    local layer = bdl.nn.EventFixedNumConn(40, 30, 5, 0.5)
--    print(layer(bdl.ones(40)).shape)
local EventFixedNumConn = FixedNumConn:extend "EventFixedNumConn"
M.EventFixedNumConn = EventFixedNumConn

function EventFixedNumConn:update(x) return connection(self):rmatmul(event.BinaryArray(input(self, x))) end

--- y = s A, EventFixedNumConn under the name for a probability as conn_num.
--  States: weight.
--  Source: brainevent; Yavuz, Turner & Nowotny (2016), Sci Rep 6, for rows of one length.
--  Example:
--    local layer = bdl.nn.EventFixedProb(40, 30, 0.1, 0.5)
--    print(layer(bdl.ones(40)).shape)
M.EventFixedProb = EventFixedNumConn:extend "EventFixedProb"

return M

--- Projections: presynaptic values through a communication (comm) to a postsynaptic neuron.
--  Each takes a delay (a time, or times for each) of what enters it; see nn.InputDelay.
--  Source: Wang et al. (2023), BrainPy, a flexible, integrative, efficient, and extensible framework. eLife 12, for the
--    alignment of synapses to neurons.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local none = require "bdl.none".none
local module = require "bdl.nn.module"
local Dynamics = require "bdl.nn.dynamics".Dynamics

local M = {}

local Module, Description = module.Module, module.Description

--- Inputs of different projections to one neuron have different keys.
local function new_key(kind, post)
  local n = (rawget(post, "_n_projections") or 0) + 1
  class.rawfield(post, "_n_projections", n)
  return ("%s %d"):format(kind, n)
end

local function check_post(who, post)
  if not class.isa(post, Dynamics) then core.fail("TypeError", 3, "%s: post is a Dynamics, not a %s", who, class.typename(post)) end
end

local function is(x, cls) return class.isa(x, Description) and class.derives(x.cls, cls) or class.isa(x, cls) end

--- The delay of a projection: on what enters comm.
local function new_delay(who, comm, delay)
  if delay == nil then return nil end
  local in_size = type(comm) == "table" and comm.in_size
  if not in_size then
    core.hint "give a module with in_size, or delay x before: nn.InputDelay"
    core.fail("ValueError", 3, "%s: a delay needs to know the in_size of comm, a %s without one", who, class.typename(comm))
  end
  return require "bdl.nn.delay".InputDelay(in_size, delay)
end

--- comm of what comes out of the delay.
local function communicate(self, x, ...)
  if self.delay then x = self.delay(x) end
  return self.comm(x, ...)
end

--- Jumps:  V += comm(x), V the variable of post, after its next integration.
--  comm : a module or function of what is sent
--  post : the neurons that receive
--  delay : of what enters comm
--  label : prefix of the key of the input
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local post = bdl.nn.init_all_states(bdl.nn.LIF(2))
--    local proj = bdl.nn.DeltaProj(bdl.nn.Linear{3, 2, w_init = bdl.init.Constant(0.4*bdl.units.mV), b_init = bdl.none}, post)
--    proj(bdl.tensor{1., 0., 1.})
--    print(post())
local DeltaProj = Module:extend "DeltaProj"
M.DeltaProj = DeltaProj

function DeltaProj:__init(...)
  local a = args({"comm", "post", delay = none, label = none, name = none}, ...)
  check_post("nn.DeltaProj", a.post)
  DeltaProj.super.__init(self, a.name)
  self.comm = a.comm
  self.delay = new_delay("nn.DeltaProj", a.comm, a.delay)
  self.post = a.post
  class.rawfield(self, "_label", a.label)
  class.rawfield(self, "_key", new_key("delta", a.post))
end

function DeltaProj:update(...) self.post:add_delta_input(self._key, communicate(self, ...), self._label) end

--- Currents:  I += out(g, V), g = comm(x): the conductance that `out` turns into a current of post.
--  comm : a module or function of what is sent
--  out : an output or its description
--  post : the neurons that receive
--  delay : of what enters comm
--  label : prefix of the key of the input
--  Example:
--    bdl.environ.set{dt = 0.1*bdl.units.ms}
--    local post = bdl.nn.init_all_states(bdl.nn.LIF(2))
--    local comm = bdl.nn.Linear{3, 2, w_init = bdl.init.Constant(0.4*bdl.units.mA), b_init = bdl.none}
--    local proj = bdl.nn.CurrentProj(comm, bdl.nn.CUBA(1.0), post)
--    proj(bdl.tensor{1., 0., 1.})
--    print(post())
local CurrentProj = Module:extend "CurrentProj"
M.CurrentProj = CurrentProj

function CurrentProj:__init(...)
  local a = args({"comm", "out", "post", delay = none, label = none, name = none}, ...)
  check_post("nn.CurrentProj", a.post)
  CurrentProj.super.__init(self, a.name)
  self.comm = a.comm
  self.delay = new_delay("nn.CurrentProj", a.comm, a.delay)
  self.out = class.isa(a.out, Description) and a.out() or a.out
  self.post = a.post
  a.post:add_current_input(new_key("current", a.post), self.out, a.label)
end

function CurrentProj:update(...) self.out:bind_cond(communicate(self, ...)) end

--- One synapse a presynaptic neuron:  I += out(g, V), g = comm(syn(x)).
--  syn : a synapse or its description, of the size of x, which is what the delay is on
--  comm : a module or function of the conductance
--  out : an output or its description
--  post : the neurons that receive
--  delay : of what enters syn
--  label : prefix of the key of the input
--  States: those of syn.
--  Example:
--    local nn, u = bdl.nn, bdl.units
--    bdl.environ.set{dt = 0.1*u.ms}
--    local post, syn = nn.init_all_states(nn.LIF(2)), nn.init_all_states(nn.Expon(3))
--    local proj = nn.AlignPreProj(syn, nn.Linear{3, 2, b_init = bdl.none}, nn.COBA(0*u.mV), post)
--    proj(bdl.tensor{1., 0., 1.}*u.mS)
--    print(post())
local AlignPreProj = Module:extend "AlignPreProj"
M.AlignPreProj = AlignPreProj

function AlignPreProj:__init(...)
  local a = args({"syn", "comm", "out", "post", delay = none, label = none, name = none}, ...)
  check_post("nn.AlignPreProj", a.post)
  if not is(a.syn, Dynamics) then core.fail("TypeError", 2, "nn.AlignPreProj: syn is a synapse, not a %s", class.typename(a.syn)) end
  AlignPreProj.super.__init(self, a.name)
  self.syn = class.isa(a.syn, Description) and a.syn() or a.syn
  self.delay = new_delay("nn.AlignPreProj", self.syn, a.delay)
  self.comm = a.comm
  self.out = class.isa(a.out, Description) and a.out() or a.out
  self.post = a.post
  a.post:add_current_input(new_key("current", a.post), self.out, a.label)
end

function AlignPreProj:update(x)
  if self.delay then x = self.delay(x) end
  self.out:bind_cond(self.comm(self.syn(x)))
end

--- The synapse that lives on a neuron: runs before its update and binds its conductance.
local Receiver = Module:extend "Receiver"

function Receiver:__init(syn, out)
  self.syn = syn
  self.out = out
end

function Receiver:update() self.out:bind_cond(self.syn()) end

--- One synapse of post for all projections with the same descriptions:  g += comm(x), then the synapse decays with
--  post.
--  syn and out as descriptions (Expon:desc{..}, COBA:desc{..}): projections with equal label, syn and out share one
--  synapse, which post updates before itself.  As objects: the synapse belongs to the projection and is updated by its
--  call.
--  comm : a module or function of what is sent
--  syn : a synapse of the size of post, or its description
--  out : an output, or its description
--  post : the neurons that receive
--  delay : of what enters comm
--  label : prefix of the key of the input
--  States: those of syn.
--  Errors: TypeError, one a description and the other an object.
--  Example:
--    local nn, u = bdl.nn, bdl.units
--    bdl.environ.set{dt = 0.1*u.ms}
--    local post = nn.LIF(2)
--    local comm = nn.Linear{3, 2, w_init = bdl.init.Constant(0.4*u.mS), b_init = bdl.none}
--    local proj = nn.AlignPostProj(comm, nn.Expon:desc{2}, nn.COBA:desc{0*u.mV}, post)
--    nn.init_all_states(post)
--    proj(bdl.tensor{1., 0., 1.})
--    print(post())
local AlignPostProj = Module:extend "AlignPostProj"
M.AlignPostProj = AlignPostProj

function AlignPostProj:__init(...)
  local a = args({"comm", "syn", "out", "post", delay = none, label = none, name = none}, ...)
  check_post("nn.AlignPostProj", a.post)
  local syn, out, post = a.syn, a.out, a.post
  local described = class.isa(syn, Description)
  if described ~= class.isa(out, Description) then
    core.fail("TypeError", 2, "nn.AlignPostProj: syn is %s and out %s; give two descriptions (X:desc{..}) or two objects",
              described and "a description" or "an object", described and "an object" or "a description")
  end
  if not is(syn, Dynamics) then core.fail("TypeError", 2, "nn.AlignPostProj: syn is a synapse, not a %s", class.typename(syn)) end
  AlignPostProj.super.__init(self, a.name)
  self.comm = a.comm
  self.delay = new_delay("nn.AlignPostProj", a.comm, a.delay)
  class.rawfield(self, "_merging", described)
  if described then
    local key = ("%s%s // %s"):format(a.label and a.label .. " // " or "", syn:identifier(), out:identifier())
    if not post:has_before_update(key) then
      local receiver = Receiver(syn(), out())
      post:add_before_update(key, receiver)
      post:add_current_input(key, receiver.out)
    end
    syn, out = post:get_before_update(key).syn, post:get_before_update(key).out
  else
    post:add_current_input(new_key("current", post), out, a.label)
  end
  self.syn = syn
  self.out = out
  self.post = post
  class.rawfield(self, "_key", new_key("jump", syn))
end

function AlignPostProj:update(...)
  self.syn:add_delta_input(self._key, communicate(self, ...))
  if not self._merging then self.out:bind_cond(self.syn()) end
end

return M

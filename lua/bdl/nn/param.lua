--- Parameters with a transform and a prior:  what is learnt is any real number, the value obeys the transform.
local core = require "bdl.core"
local class = require "bdl.class"
local A = require "bdl.array"
local args = require "bdl.args"
local base = require "bdl.array.base"
local none = require "bdl.none".none
local state = require "bdl.state"
local Regularization = require "bdl.nn.regularization".Regularization
local Transform = require "bdl.nn.transform".Transform
local IdentityT = require "bdl.nn.transform".IdentityT
local Module = require "bdl.nn.module".Module

local M = {}

--- A parameter:  p:value() is precompute(t:forward(p.val)).
--  p:set_value(y), p:clip(lo, hi), p:reg_loss(), p:reset_to_prior();  p:cache() keeps the value until val is written.
--  value : the value at first
--  t : the transform
--  reg : the regularisation or prior
--  precompute : a function of the value
--  fit : whether val is a ParamState
--  States: val, what is learnt.
--  Errors: TypeError, t is no Transform, reg no Regularization.
--  Example:
--    local p = bdl.nn.Param(2.0, {t = bdl.nn.SoftplusT(0.0), reg = bdl.nn.L2Reg(0.1)})
--    print(p:value(), p:reg_loss())
local Param = Module:extend "Param"
M.Param = Param

local function make(self, a)
  Param.super.__init(self, a.name)
  if not class.isa(a.t, Transform) then core.fail("TypeError", 3, "nn.Param: t is a Transform, not a %s", class.typename(a.t)) end
  if a.reg and not class.isa(a.reg, Regularization) then
    core.fail("TypeError", 3, "nn.Param: reg is a Regularization, not a %s", class.typename(a.reg))
  end
  self.fit, self.t, self.reg = a.fit, a.t, a.reg
  rawset(self, "_precompute", a.precompute)
  local val = a.t:inverse(base.float(a.value))
  self.val = a.fit and state.ParamState(val) or val
  if a.fit then self.val:register_hook("write_after", function() self:clear_cache() end) end
end

local SPEC = {"value", t = IdentityT(), reg = none, precompute = none, fit = true, name = none}

function Param:__init(...) make(self, args(SPEC, ...)) end

local function computed(self)
  local y = self.t:forward(state.maybe_state(self.val))
  local f = rawget(self, "_precompute")
  return f and f(y) or y
end

--- The value; the one that was kept by cache, if there is one.
function Param:value()
  local kept = rawget(self, "_kept")
  if kept == nil then return computed(self) end
  return kept
end

Param.update = Param.value

--- Keeps the value until val is written.  A value of a trace is not kept.
function Param:cache()
  local y = computed(self)
  if not core.is_traced(y) then rawset(self, "_kept", y) end
  return y
end

function Param:clear_cache() rawset(self, "_kept", nil) end

function Param:set_value(y)
  self:clear_cache()
  local x = self.t:inverse(base.float(y))
  if class.isa(self.val, state.State) then
    self.val.value = base.broadcast_to("Param", x, base.copy_shape(self.val.value))
  else
    self.val = x
  end
end

--- The penalty of reg, 0 without one or where nothing is learnt.
function Param:reg_loss()
  if not self.fit or not self.reg then return 0.0 end
  return self.reg:loss(self:value())
end

function Param:reset_to_prior()
  if self.reg then self:set_value(self.reg:reset_value()) end
end

--- The value put within min..max; nil leaves a side open.
function Param:clip(min, max)
  self:set_value(A.clip(self:value(), min == nil and none or min, max == nil and none or max))
end

--- A Param that is not learnt.
--  Example:
--    local p = bdl.nn.Const(2.0)
--    print(p:value())
local Const = Param:extend "Const"
M.Const = Const

--- Errors: ValueError, fit = true.
function Const:__init(...)
  local spec = {}
  for key, value in pairs(SPEC) do spec[key] = value end
  spec.fit = false
  local a = args(spec, ...)
  if a.fit then core.fail("ValueError", 2, "nn.Const: a constant is not learnt; use nn.Param") end
  make(self, a)
end

return M

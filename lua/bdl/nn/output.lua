--- Synaptic outputs: the current that a conductance gives at a potential.
--  Source: Gerstner, Kistler, Naud & Paninski (2014), Neuronal Dynamics. Cambridge University Press, section 3.1.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local u = require "bdl.units"
local Module = require "bdl.nn.module".Module

local M = {}

--- An output, to be extended by update(g, V): a projection binds a conductance g, the neuron calls the output with V.
--  Example:
--    local Half = bdl.nn.SynOut:extend "Half"
--    function Half:update(g) return g / 2 end
local SynOut = Module:extend "SynOut"
M.SynOut = SynOut

function SynOut:bind_cond(g) rawset(self, "_conductance", g) end

--- out(V): the current of the bound conductance.  Errors: ValueError, none was bound.
function SynOut:__call(...)
  local g = rawget(self, "_conductance")
  if g == nil then
    core.fail("ValueError", 2, "%s has no conductance yet; a projection binds it, or out:bind_cond(g)", class.typename(self))
  end
  return self:update(g, ...)
end

--- Conductance-based:  I = g (E - V)
--  E : reversal potential
--  Example:
--    local out = bdl.nn.COBA(0*bdl.units.mV)
--    out:bind_cond(2*bdl.units.mS)
--    print(out(-60*bdl.units.mV))
local COBA = SynOut:extend "COBA"
M.COBA = COBA
COBA.linear = true  -- in V
function COBA:__init(...) self.E = args({"E"}, ...).E end
function COBA:update(g, V) return g * (self.E - V) end

--- Current-based:  I = g scale
--  scale : what turns g into a current
--  Example:
--    local out = bdl.nn.CUBA()
--    out:bind_cond(2*bdl.units.mS)
--    print(out(-60*bdl.units.mV))
local CUBA = SynOut:extend "CUBA"
M.CUBA = CUBA
CUBA.linear = true
function CUBA:__init(...)
  local scale = args({"scale", scale = u.volt}, ...).scale
  self.scale = scale
end
function CUBA:update(g) return g * self.scale end

--- NMDA current, blocked by magnesium:  I = g (E - V) / (1 + cc_Mg/beta exp(alpha (V_offset - V)))
--  E : reversal potential
--  cc_Mg, beta : concentration of magnesium; the one that blocks half at V_offset
--  alpha : steepness in V
--  V_offset : potential of the middle
--  Source: Jahr & Stevens (1990), Voltage dependence of NMDA-activated macroscopic conductances. J Neurosci 10.
--  Example:
--    local out = bdl.nn.MgBlock()
--    out:bind_cond(2.0)
--    print(out(-60.0))
local MgBlock = SynOut:extend "MgBlock"
M.MgBlock = MgBlock
function MgBlock:__init(...)
  local a = args({"E", E = 0.0, cc_Mg = 1.2, alpha = 0.062, beta = 3.57, V_offset = 0.0}, ...)
  for _, name in ipairs{"E", "cc_Mg", "alpha", "beta", "V_offset"} do self[name] = a[name] end
end
function MgBlock:update(g, V)
  local block = self.cc_Mg / self.beta * core.bind("exp", {}, self.alpha * (self.V_offset - V))
  return g * (self.E - V) / (1 + block)
end

return M

--- States and parameters of online learning, and operations that users define.
--
--   self.V = online.ETraceState(V0)                                   takes part in traces, as every HiddenState does
--   local mul = online.ETraceOp(function(x, w) return x:matmul(w.weight) + w.bias end)
--   local p = online.ETraceParam({weight = w, bias = b}, mul)         p:execute(x) = mul(x, p)
local core = require "bdl.core"
local class = require "bdl.class"
local base = require "bdl.array.base"
local mark = require "bdl.online.mark"
local state = require "bdl.state"

local M = {}

--- A HiddenState under the name that it has in online learning.
--  Example:
--    print(bdl.online.ETraceState(bdl.zeros(3)))
M.ETraceState = state.HiddenState:extend "ETraceState"

--- An operation y = f(x, w) whose parameters w can be traced; linear in w up to functions of single weights.
--  op(x, w), or op(w) for an operation without an input; w : a parameter, its value, or a tree of values.
--  Example:
--    local op = bdl.online.ETraceOp(function(x, w) return x:matmul(w) end)
--    print(op(bdl.ones(2), bdl.ones(2, 3)))
local ETraceOp = class "ETraceOp"
M.ETraceOp = ETraceOp

local function callable(f)
  local meta = getmetatable(f)
  return type(f) == "function" or type(f) == "table" and meta and meta.__call ~= nil
end

--- f : (x, w) -> y;  opts: name ("user"), for reports.  Errors: TypeError, not a function.
function ETraceOp:__init(f, opts)
  if not callable(f) then
    core.hint "write online.ETraceOp(function(x, w) return x:matmul(w) end)"
    core.fail("TypeError", 2, "ETraceOp: a function of x and w is needed, not a %s", class.typename(f))
  end
  opts = base.options("ETraceOp", opts, base.names "name")
  self.name = opts.name or "user"
  class.rawfield(self, "_f", f)
end

local function input(x)
  if not core.is_tensor(x) then x = base.tensor(x) end
  return x.dtype == "bool" and core.cast(x, base.real()) or x
end

--- Errors: TypeError, no parameter.
function ETraceOp:__call(...)
  local n, first, w = select("#", ...), ...
  if n == 2 and w ~= nil then return mark(self.name, self._f, {input(first)}, state.maybe_state(w)) end
  if n == 1 and class.isa(first, state.State) then return mark(self.name, self._f, {}, first.value) end
  core.fail("TypeError", 2, "ETraceOp '%s': call it as op(x, parameter); %s", self.name,
            n < 2 and "there is no parameter" or n > 2 and "there are " .. n .. " arguments" or "the parameter is nil")
end

local function as_op(f) return class.isa(f, ETraceOp) and f or ETraceOp(f) end

--- A parameter with traces: every ParamState that enters a traceable operation has them; this one can also hold its operation.
--  ETraceParam(value, op, {grad = "adaptive", name =, tag =});  op : ETraceOp or function, optional.
--  grad : what a hybrid rule keeps for it: "full", a trace of its shape, "approx", traces of input and output, or the smaller of both.
--  Example:
--    local p = bdl.online.ETraceParam(bdl.ones(2, 3), function(x, w) return x:matmul(w) end)
--    print(p:execute(bdl.ones(2)))
local ETraceParam = state.ParamState:extend "ETraceParam"
M.ETraceParam = ETraceParam

ETraceParam.grad = "adaptive"

local GRADS = {adaptive = true, full = true, approx = true}

--- Errors: TypeError, an op that cannot be called; ValueError, another grad.
function ETraceParam:__init(value, op, opts)
  if type(op) == "table" and getmetatable(op) == nil and opts == nil then op, opts = nil, op end
  local all = {}
  for key, x in pairs(opts or {}) do all[key] = x end
  if op ~= nil then all.op = op end
  if all.op ~= nil then all.op = as_op(all.op) end
  if all.grad ~= nil and not GRADS[all.grad] then
    core.fail("ValueError", 2, "ETraceParam: grad is 'adaptive', 'full' or 'approx', not '%s'", tostring(all.grad))
  end
  ETraceParam.super.__init(self, value, all)
end

--- The operation, applied to x and the parameter.  Errors: ValueError, it holds none.
function ETraceParam:execute(...)
  local op = rawget(self, "op")
  if not op then
    core.hint "give it one: online.ETraceParamOp(parameter, function(x, w) return x:matmul(w) end)"
    core.fail("ValueError", 2, "ETraceParam%s: it has no operation to execute", self.name and " '" .. self.name .. "'" or "")
  end
  if select("#", ...) == 0 then return op(self) end
  return op(..., self)
end

--- A parameter with its operation: of a value, a new one; a parameter stays the one that it is.
--  Errors: TypeError, no op; ValueError, the parameter has another operation already.
--  Example:
--    local p = bdl.online.ETraceParamOp(bdl.ones(2, 3), function(x, w) return x:matmul(w) end)
--    print(p:execute(bdl.ones(2)))
function M.ETraceParamOp(value, op, opts)
  if op == nil then core.fail("TypeError", 2, "ETraceParamOp: an operation is needed, ETraceParamOp(value, op)") end
  if not class.isa(value, ETraceParam) then
    if class.isa(value, state.State) then
      core.fail("TypeError", 2, "ETraceParamOp: a value or an ETraceParam is needed, not a %s", class.typename(value))
    end
    return ETraceParam(value, op, opts)
  end
  local held = rawget(value, "op")
  if held and not rawequal(held, op) then
    core.fail("ValueError", 2, "ETraceParamOp: the parameter has the operation '%s' already", held.name)
  end
  class.rawfield(value, "op", as_op(op))
  return value
end

return M

--- What a step gave: the operands of its operations, D and Df, as tensors of the trace being made.
-- list : outputs of the structure's program;  z : the structure;  group, relation : of bdl.online.graph.

local class = require "bdl.class"
local core = require "bdl.core"
local t = require "bdl.augment.trace"

local Values = class "Values"

--- inputs : what the step was given.
function Values:__init(z, inputs)
  self.z = z
  self.inputs = inputs
  self.list = core.apply(z.program, inputs)
end

--- Operand k of the relation's operation.
function Values:operand(relation, k) return self.list[relation._op.first + k - 1] end

function Values:operands(relation)
  local first = relation._op.first
  return table.move(self.list, first, first + #relation._op.operands - 1, 1, {})
end

--- dh_a/dh_c and dh_a/dy of members a, c of a group, of the shape of y; nil where structurally zero.
function Values:d(group, a, c) return self.list[self.z.d[group._members[a]][group._members[c]]] end
function Values:df(group, a, relation) return self.list[self.z.df[group._members[a]][relation._number]] end

local function elements(shape)
  local n = 1
  for _, k in ipairs(shape) do n = n * k end
  return n
end

--- How often y stands at the positions of a group: y of an operation without input may meet larger hidden States.
function Values.copies(relation, group) return elements(group.varshape) // math.max(1, elements(relation._op.result.shape)) end

--- x, a value at the positions of hidden States, in the shape of y; of copies of y an axis of them in front.
function Values.like_y(relation, x)
  local y = relation._op.result.shape
  if x == nil or x.size == elements(y) then return x and t.reshape(x, y) end
  return t.reshape(x, t.joined({x.size // elements(y)}, y))
end

--- Members of the group that the operation feeds, as flags.
function Values:fed(group, relation)
  local z = self.z
  return t.flags(group.num_state, function(a) return z.df[group._members[a]][relation._number] > 0 end)
end

--- x', phi, psi of a term, or nil each.
function Values:lift(term, relation)
  local out, at = core.apply(term.lift, self:operands(relation)), 0
  local function take(there)
    if not there then return nil end
    at = at + 1
    return out[at]
  end
  return take(term.x), take(term.phi), take(term.psi)
end

--- x, at the positions of y, in rows and outputs; copies of y are rows.
function Values.spread(term, x)
  if x == nil then return nil end
  if not term.x and x.size > term.r * term.k then return t.reshape(x, {x.size // term.k, term.k}) end
  return core.apply(term.spread, {x})[1]
end

--- The gradient of a weight from its canonical form.
function Values:fold(term, relation, g) return core.apply(term.fold, t.joined({g}, self:operands(relation)))[1] end

return Values

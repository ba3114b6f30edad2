--- Initialisers: objects that make arrays of a shape.  init{n, m}, init(n) and init({n, m}, batch_size) give tensors.
--  They compose: 2*init, init + 1*u.mV, init1 - init2, init | f, init:clip(lo, hi), init:map(f), and Mixture, Conditional.
--  A parameter with a unit, or the argument `unit`, gives the result its unit.
--  bdl.init.param makes what a constructor was given.
--  A new one is a subclass of Initializer with make(self, sizes).
local core = require "bdl.core"
local base = require "bdl.init.base"
local class = require "bdl.class"
local none = require "bdl.none".none
local state = require "bdl.state"

local M = {Initializer = base.Initializer}

for _, file in ipairs{"bdl.init.distributions", "bdl.init.weights", "bdl.init.distance"} do
  for name, x in pairs(require(file)) do M[name] = x end
end

local Initializer, sizes_of, real, filled = base.Initializer, base.sizes_of, base.real, base.filled

local function callable(x)
  local mt = type(x) == "table" and getmetatable(x)
  return type(x) == "function" or (mt and mt.__call ~= nil)
end

--- The array of a parameter.
--    nil stays nil ({allow_none = false}: ValueError); an initialiser or function is called with the sizes, batch first;
--    a scalar stays a scalar; an array must broadcast to the sizes, a batch repeats it along a new first axis;
--    a State is filled anew and returned.
--  opts: allow_none, who (what messages call it).
--  Errors: ValueError, sizes that do not fit.
--  Example:
--    print(bdl.init.param(bdl.init.Normal(0, 1), {2, 3}))
function M.param(x, sizes, batch_size, opts)
  local who = opts and opts.who or "param"
  if x == nil or x == none then
    if opts and opts.allow_none == false then
      core.fail("ValueError", 2, "%s: a value or an initialiser is needed, not nil", who)
    end
    return nil
  end
  local shape = sizes_of("param", sizes)
  if class.isa(x, state.State) then
    x:restore_value(M.param(x.value, sizes, batch_size, opts))
    return x
  end
  if callable(x) then
    if class.isa(x, Initializer) then return x:make(sizes_of("param", sizes, batch_size)) end
    return x(sizes_of("param", sizes, batch_size))
  end
  if type(x) == "table" then x = core.tensor(x) end
  if type(x) == "userdata" and not core.is_tensor(x) and core.unit_of(x) then x = 1.0 * x end -- u.mV alone is one of it
  if type(x) ~= "number" and not core.is_tensor(x) then
    core.fail("TypeError", 2, "%s: a number, an array or an initialiser is needed, not a %s", who, class.typename(x))
  end
  if type(x) == "number" or x.ndim == 0 then return real(x) end
  local from, fits = x.shape, x.ndim <= #shape
  for k = 1, x.ndim do
    local want = shape[#shape - x.ndim + k]
    fits = fits and (from[k] == want or from[k] == 1)
  end
  if not fits then
    core.fail("ValueError", 2, "%s: an array [%s] does not broadcast to the sizes [%s]", who,
              table.concat({table.unpack(from)}, ","), table.concat(shape, ","))
  end
  if batch_size then x = filled(x, sizes_of("param", shape, batch_size)) end
  return x
end

return class.qualify(M, "init")

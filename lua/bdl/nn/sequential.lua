--- Layers one after the other, and layers that only change the shape.
local core = require "bdl.core"
local class = require "bdl.class"
local args = require "bdl.args"
local base = require "bdl.array.base"
local environ = require "bdl.environ"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none
local module = require "bdl.nn.module"
local ElementWiseBlock = require "bdl.nn.activations".ElementWiseBlock
local Module = module.Module

local M = {}

-- ---- Sequential --------------------------------------------------------------------------------------------------------------

--- nn.Sequential(first, layer, ..): y = .. layer(first(x)).  A layer is a Module, a function, or a description
--  (nn.Linear:desc{out_size = 2}) that is built with the out_size before it as in_size.
--  seq[i], seq[-1], #seq; seq:slice(i, j), seq:append(l), seq:insert(i, l), seq:extend_by{l, ..}.
--  Example:
--    local net = bdl.nn.Sequential(bdl.nn.Linear(3, 8), bdl.nn.ReLU(), bdl.nn.Linear:desc{out_size = 2})
--    print(net(bdl.ones(4, 3)))
local Sequential = Module:extend "Sequential"
M.Sequential = Sequential

--- What a description says, with in_size = size.
local function build(d, size)
  if class.derives(d.cls, ElementWiseBlock) then return d() end
  local given = table.pack(table.unpack(d._args, 1, d._args.n))
  local last, named = given[given.n], {in_size = size}
  if type(last) == "table" and getmetatable(last) == nil then
    for key, value in pairs(last) do named[key] = value end
  else
    given.n = given.n + 1
  end
  given[given.n] = named
  return d.cls(table.unpack(given, 1, given.n))
end

--- Layer i, built if it is described, and the size it gives to what has `size`.
local function place(i, l, size)
  if class.isa(l, module.Description) then
    if not size then
      core.hint "give in_size to a layer before it"
      core.fail("ValueError", 4, "Sequential: layer %d is a description, but the size before it is not known", i)
    end
    l = build(l, size)
  end
  if class.isa(l, ElementWiseBlock) or type(l) == "function" then return l, size end
  if not class.isa(l, Module) then
    core.fail("TypeError", 4, "Sequential: layer %d is a module, a function or a description, not a %s", i, class.typename(l))
  end
  return l, l.out_size
end

--- The layers, placed; nothing changes on an error.
local function set_layers(self, layers)
  if not class.isa(layers[1], Module) then
    core.fail("TypeError", 3, "Sequential: the first layer is a module, not a %s", class.typename(layers[1]))
  end
  local placed, size = {}, nil
  for i, l in ipairs(layers) do placed[i], size = place(i, l, i == 1 and l.in_size or size) end
  self.layers = placed
  self.in_size = placed[1].in_size
  self.out_size = size
end

function Sequential:__init(...)
  Sequential.super.__init(self)
  set_layers(self, {...})
end

--- An error of a layer says which it was.
function Sequential:update(x)
  for i, l in ipairs(self.layers) do
    local ok, y = xpcall(l, function(e)
      local name = class.typename(l)
      local where = ("in layer %d, %s"):format(i, name)
      if type(e) ~= "table" or not e.message then return ("%s (%s)"):format(tostring(e), where) end
      if e.message:sub(1, #name) == name then where = ("in layer %d"):format(i) end
      e.message = ("%s: %s"):format(where, e.message)
      return e
    end, x)
    if not ok then error(y, 0) end
    x = y
  end
  return x
end

--- A position from 1, negative from the end.  Errors: IndexError.
local function position(self, i, n)
  local at = math.type(i) == "integer" and (i < 0 and i + n + 1 or i)
  if not at or at < 1 or at > n then
    core.fail("IndexError", 4, "Sequential: there is no layer %s of %d", tostring(i), #self.layers)
  end
  return at
end

function Sequential.__index(self, key)
  if type(key) ~= "number" then return Module.__index(self, key) end
  return self.layers[position(self, key, #self.layers)]
end

function Sequential:__len() return #self.layers end

--- The layers i..j as a Sequential of their own; they are shared.
function Sequential:slice(i, j)
  local n = #self.layers
  return Sequential(table.unpack(self.layers, position(self, i or 1, n), position(self, j or -1, n)))
end

function Sequential:extend_by(layers)
  set_layers(self, table.move(layers, 1, #layers, #self.layers + 1, {table.unpack(self.layers)}))
end

function Sequential:append(l) self:extend_by{l} end

--- The layer becomes number i; layers behind it that are descriptions no more keep their sizes.
function Sequential:insert(i, l)
  local layers = {table.unpack(self.layers)}
  table.insert(layers, position(self, i, #layers + 1), l)
  set_layers(self, layers)
end

-- ---- shape -------------------------------------------------------------------------------------------------------------------

--- Axes start_axis..end_axis (positions; of in_size where it is given, else of x) of x as one.
--  Example:
--    local layer = bdl.nn.Flatten(2)
--    print(layer(bdl.ones(4, 3, 2)).shape)
local Flatten = Module:extend "Flatten"
M.Flatten = Flatten

local function flat(sizes, first, last)
  local merged, product = {}, 1
  for k = 1, first - 1 do merged[k] = sizes[k] end
  for k = first, last do product = product * sizes[k] end
  merged[first] = product
  return table.move(sizes, last + 1, #sizes, first + 1, merged)
end

--- Positions of the axes of n, from 1.  Errors: IndexError, ValueError.
local function range(self, n)
  local first, last = base.axis("Flatten", self.start_axis, n) + 1, base.axis("Flatten", self.end_axis, n) + 1
  if first > last then
    core.fail("ValueError", 3, "Flatten: end_axis %d is before start_axis %d", self.end_axis, self.start_axis)
  end
  return first, last
end

function Flatten:__init(...)
  local a = args({"start_axis", "end_axis", start_axis = 1, end_axis = -1, in_size = none, name = none}, ...)
  Flatten.super.__init(self, a.name)
  self.start_axis = a.start_axis
  self.end_axis = a.end_axis
  if a.in_size then
    self.in_size = a.in_size
    self.out_size = flat({table.unpack(self.in_size)}, range(self, #self.in_size))
  end
end

function Flatten:update(x)
  x = self.in_size and layer.input(self, x, self.in_size) or base.array(x)
  local lead = self.in_size and x.ndim - #self.in_size or 0
  local first, last = range(self, x.ndim - lead)
  return base.reshape(x, flat(base.copy_shape(x), lead + first, lead + last))
end

--- An axis of x (a position of in_size where it is given) as several.
--  sizes : of the new axes; one may be -1
--  Example:
--    local layer = bdl.nn.Unflatten(2, {3, -1})
--    print(layer(bdl.ones(4, 6)).shape)
local Unflatten = Module:extend "Unflatten"
M.Unflatten = Unflatten

local function split(sizes, axis, parts)
  local all, known, open = {}, 1, nil
  for k = 1, axis - 1 do all[k] = sizes[k] end
  for i, n in ipairs(parts) do
    all[#all + 1] = n
    if n == -1 then open = axis + i - 1 else known = known * n end
  end
  if open and known > 0 and sizes[axis] % known == 0 then all[open] = sizes[axis] // known end
  if known * (open and all[open] or 1) ~= sizes[axis] then
    core.fail("ShapeError", 3, "Unflatten: an axis of %d is not {%s}", sizes[axis], table.concat(parts, ", "))
  end
  return table.move(sizes, axis + 1, #sizes, #all + 1, all)
end

function Unflatten:__init(...)
  local a = args({"axis", "sizes", in_size = none, name = none}, ...)
  Unflatten.super.__init(self, a.name)
  self.axis = a.axis
  self.sizes = a.sizes
  if a.in_size then
    self.in_size = a.in_size
    self.out_size = split({table.unpack(self.in_size)}, base.axis("Unflatten", a.axis, #self.in_size) + 1, a.sizes)
  end
end

function Unflatten:update(x)
  x = self.in_size and layer.input(self, x, self.in_size) or base.array(x)
  local lead = self.in_size and x.ndim - #self.in_size or 0
  return base.reshape(x, split(base.copy_shape(x), lead + base.axis("Unflatten", self.axis, x.ndim - lead, x) + 1, self.sizes))
end

--- A module whose calls see values of the environment.
--  Example:
--    local net = bdl.nn.EnvironContext(bdl.nn.Dropout(0.5), {fit = true})
--    print(net(bdl.ones(4)))
local EnvironContext = Module:extend "EnvironContext"
M.EnvironContext = EnvironContext

function EnvironContext:__init(l, context)
  EnvironContext.super.__init(self)
  if not class.isa(l, Module) then core.fail("TypeError", 2, "EnvironContext: a module is needed, not a %s", class.typename(l)) end
  self.layer = l
  rawset(self, "_context", context or {})
  self.in_size, self.out_size = l.in_size, l.out_size
end

function EnvironContext:update(...) return environ.context(self._context, self.layer, ...) end

return M

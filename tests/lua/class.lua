-- Classes, arguments, suggestions.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local class = require "bdl.class"
local suggest = require "bdl.suggest"

t.test("a class is called to construct; methods and metamethods are inherited", function()
  local Base = class "Base"
  function Base:__init(n) self.n = n end
  function Base:__call(x) return x + self.n end
  function Base:twice() return 2 * self.n end
  local Derived = Base:extend "Derived"
  local d = Derived(3)
  t.eq(d(4), 7)
  t.eq(d:twice(), 6)
  t.ok(d:is(Base) and d:is(Derived) and not Base(1):is(Derived))
  t.eq(Derived.name, "Derived")
  t.ok(Derived.super == Base)
  t.eq(bdl.typename(d), "Derived")
end)

t.test("a metamethod defined later reaches subclasses without their own", function()
  local Base = class "Base"
  local Plain, Own = Base:extend "Plain", Base:extend "Own"
  function Own:__len() return 2 end
  function Base:__len() return 1 end
  t.eq(#Plain(), 1)
  t.eq(#Own(), 2)
end)

t.test("the name of a class is not a field of its instances", function()
  local A = class "A"
  t.eq(A().name, nil)
  t.raises("TypeError", "'name' cannot be set", function() A.name = "B" end)
  t.raises("TypeError", "needs a name", function() A:extend() end)
end)

t.test("fields keep the order in which they were first set", function()
  local A = class "A"
  function A:__init()
    self.z, self.y = 1, 2
    self.b = 3
    for _, name in ipairs{"q", "a"} do self[name] = 0 end
    self.gone = 1
    self.gone = nil
    self.z = 5
  end
  t.eq(class.fields(A()), {"z", "y", "b", "q", "a"})
  local seen = {}
  for name in pairs(A()) do seen[#seen + 1] = name end
  t.eq(seen, {"z", "y", "b", "q", "a"})
end)

local Layer = class "Layer"
class.qualify({Layer}, "nn")
function Layer:__init(...)
  self.a = bdl.args({"size", "scale", scale = 2, keep_size = false, tau = 5, name = bdl.none, bias = 1}, ...)
end

t.test("arguments come by position, by name, or both", function()
  local want = {size = 10, scale = 2, keep_size = false, tau = 3, bias = 1}
  t.eq(Layer(10, {tau = 3}).a, want)
  t.eq(Layer{10, tau = 3}.a, want)
  t.eq(Layer{size = 10, tau = 3}.a, want)
  t.eq(Layer(10, nil, {tau = 3}).a, want)
  t.eq(Layer(10, 4).a.scale, 4)
  t.eq(Layer({{28, 28}}).a.size, {28, 28})
  t.eq(Layer({28, 28}, {tau = 1}).a.size, {28, 28})
end)

t.test("none stands for an absent argument, or is kept where the default is something", function()
  t.eq(Layer{1, name = bdl.none}.a.name, nil)
  t.ok(Layer{1, bias = bdl.none}.a.bias == bdl.none)
  t.eq(Layer{1, bias = false}.a.bias, false)
end)

t.test("wrong arguments are named with the class", function()
  t.raises("TypeError", "nn.Layer: no argument 'taus' %(did you mean 'tau'%?%)", Layer, 1, {taus = 1})
  t.raises("TypeError", "nn.Layer: argument 'size' %(number 1%) is missing", Layer)
  t.raises("TypeError", "nn.Layer: argument 'size' is given twice", Layer, {1, size = 2})
  t.raises("TypeError", "nn.Layer: 3 arguments by position; it takes 2 %(size, scale%)", Layer, 1, 2, 3)
  local function param(...) return bdl.args({[0] = "init.param", "x"}, ...) end
  t.raises("TypeError", "init.param: no argument 'y'", param, {x = 1, y = 2})
end)

t.test("the nearest name is suggested, a far one not", function()
  t.eq(suggest.nearest("taus", {"tau", "size"}), "tau")
  t.eq(suggest.nearest("reluq", {"relu6", "relu"}), "relu")
  t.eq(suggest.nearest("reluq", {"relu", "relu6"}), "relu")
  t.eq(suggest.nearest("vlaue", {"value", "name"}), "value")
  t.eq(suggest.nearest("Tau", {"tau"}), "tau")
  t.eq(suggest.nearest("frequency", {"tau", "size"}), nil)
  t.eq(suggest.distance("abcd", "acbd"), 1)
  t.eq(suggest.distance("", "abc"), 3)
end)

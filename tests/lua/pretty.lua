-- Printing of States, Nodes, maps and trees.
local t = require "tests.lua.harness"
local bdl = require "bdl"

local Linear = bdl.graph.Node:extend "Linear"
function Linear:__init(din, dout)
  self.din, self.dout = din, dout
  self.w = bdl.ParamState(bdl.ones(din, dout))
  self.b = bdl.ParamState(bdl.zeros(dout))
end

t.test("a State prints its abstract value", function()
  t.eq(tostring(bdl.State(bdl.ones(3))), "State(\n  value=float32[3]\n)")
  t.eq(tostring(bdl.State({a = bdl.ones(3), b = bdl.zeros(4)}, {name = "s", tag = {"y", "x"}})), [[
State(
  name="s",
  value={
    a=float32[3],
    b=float32[4]
  },
  tag={"x", "y"}
)]])
end)

t.test("a Node prints its fields in the order they were set, itself once", function()
  local model = Linear(2, 5)
  model._private, model.absent = 1, bdl.none
  model.self = model
  t.eq(tostring(model), [[
Linear(
  din=2,
  dout=5,
  w=ParamState(
    value=float32[2,5]
  ),
  b=ParamState(
    value=float32[5]
  ),
  self=Linear(...)
)]])
end)

t.test("maps print path: value, nested ones key by key", function()
  local Net = bdl.graph.Node:extend "Net"
  local net = Net()
  net.layers = {Linear(1, 2)}
  t.eq(tostring(net:states()), [[
{
  layers[1].b: ParamState(
    value=float32[2]
  ),
  layers[1].w: ParamState(
    value=float32[1,2]
  )
}]])
  t.eq(tostring(net:states(function(path) return path:find "b$" end):to_nest()), [[
{
  layers: {
    [1]: {
      b: ParamState(
        value=float32[2]
      )
    }
  }
}]])
  t.ok(tostring(net:nodes()):find("%(root%): Net%(\n    layers={Linear%(%.%.%.%)}\n  %)"), tostring(net:nodes()))
  t.eq(tostring(bdl.util.PrettyMapping()), "{}")
end)

t.test("depth cuts, width joins lines that fit", function()
  local model = Linear(2, 5)
  t.eq(t.prints(bdl.pprint, model, {depth = 1}), "Linear(\n  din=2,\n  dout=5,\n  w=ParamState(...),\n  b=ParamState(...)\n)")
  t.eq(t.prints(bdl.pprint, model, {width = 90}),
       "Linear(din=2, dout=5, w=ParamState(value=float32[2,5]), b=ParamState(value=float32[5]))")
  t.eq(t.prints(bdl.pprint, model, {width = 40}),
       "Linear(\n  din=2,\n  dout=5,\n  w=ParamState(value=float32[2,5]),\n  b=ParamState(value=float32[5])\n)")
end)

t.test("plain values", function()
  t.eq(t.prints(bdl.pprint, {1, 2.5, "x", true, bdl.none}), '{1, 2.5, "x", true, none}')
  t.eq(t.prints(bdl.pprint, {a = print, [3] = 1}), "{\n  [3]=1,\n  a=function\n}")
  local loop = {}
  loop.loop = loop
  t.eq(t.prints(bdl.pprint, loop), "{\n  loop={...}\n}")
end)

t.test("colours change nothing but the colour", function()
  local text = t.prints(bdl.pprint, Linear(2, 5), {color = true})
  t.ok(text:find "\27%[")
  t.eq(text:gsub("\27%[%d+m", ""), (tostring(Linear(2, 5))))
end)

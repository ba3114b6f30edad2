--- Surrogate gradients on a grid: spikes, the gradient through them, the smooth function, the second derivative, how they print.
local bdl = require "bdl"

--- "Name(a=1, b=2)" as {Name = true, ["a=1"] = true, ..}: the reference prints GaussianGrad in another order than its arguments.
local function parts(text)
  local set = {}
  for part in text:gmatch "[^(), ]+" do set[part] = true end
  return set
end

return function(case, t)
  local x, name = t.array(case, "x"), case.name
  local function slope(f) return bdl.grad(function(v) return f(v):sum() end) end
  for tag, options in pairs(case.params) do
    if type(options) == "table" then
      local f = bdl.surrogate[name](options)
      t.eq(tag .. ".repr", parts(tostring(f)), parts(case.params[tag .. "_repr"]))
      t.compare(tag .. ".forward", f(x), case.arrays[tag .. ".forward"])
      t.compare(tag .. ".grad", slope(f)(x), case.arrays[tag .. ".grad"])
      local fun = case.arrays[tag .. ".fun"]
      if fun then
        t.compare(tag .. ".fun", f:surrogate_fun(x), fun)
      else
        t.eq(tag .. ".fun", t.raises(tag .. ".fun", f.surrogate_fun, f, x).kind, "NotSupportedError")
      end
    end
  end
  local default = bdl.surrogate[name]()
  t.eq("defaults", parts(tostring(default)), parts(case.params.default_repr))
  t.compare("second_derivative", slope(slope(default))(x), case.arrays["default.second_derivative"])
end

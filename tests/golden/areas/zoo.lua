--- Members of the zoo: rows of an expression in Python's and in Lua's words, and how many arrays it gives.
local bdl = require "bdl"

local NAMES = {nn = bdl.nn, F = bdl.functional, metric = bdl.metric, random = bdl.random, init = bdl.init,
               input = bdl.input, quad = bdl.quad, u = bdl.units, bdl = bdl}

--- Parameters in the order of their paths get 0.4 sin(1.3 i + k).
function NAMES.fill(model)
  local paths, k = {}, 0
  local states = model:states(bdl.ParamState)
  for path in states:keys() do paths[#paths + 1] = path end
  table.sort(paths)
  for _, path in ipairs(paths) do
    states[path].value = bdl.tree.map(function(x)
      local filled = (bdl.sin(1.3*bdl.arange(x.size):astype(x.dtype) + k) * 0.4):reshape(x.shape)
      k = k + 1
      local unit = bdl.units.get_unit(x)
      return unit == bdl.units.UNITLESS and filled or filled * unit
    end, states[path].value)
  end
  return model
end

--- Outputs of a step for each row of xs, at t = i dt.
function NAMES.run(model, ...)
  bdl.nn.init_all_states(model)
  local dt = bdl.environ.all().dt
  local i = bdl.arange((...) and (...).shape[1] or 40)
  return bdl.for_loop(function(n, ...)
    local _ <close> = bdl.environ.context(dt == nil and {i = n} or {i = n, t = n * dt})
    return model(...)
  end, i, ...)
end

function NAMES.train(model, ...)
  local _ <close> = bdl.environ.context{fit = true}
  return model(...)
end

--- Of the sum of f(x).
function NAMES.grad(f, x) return bdl.grad(function(z) return f(z):sum() end)(x) end

--- The arrays of a result: those of tables one by one, in the order of their keys.
local function flat(list, x)
  if type(x) ~= "table" then list[#list + 1] = x return end
  for _, leaf in bdl.tree.zip(x) do list[#list + 1] = leaf end
end

return function(case, t)
  local env = setmetatable({}, {__index = NAMES})
  for name in pairs(case.arrays) do
    if not name:find "%." then env[name] = t.array(case, name) end
  end
  local dt = case.params.dt and t.quantity(case.params.dt)
  for k, row in ipairs(case.params) do
    bdl.random.seed(3)
    local _ <close> = bdl.environ.context{dt = dt, fit = false}
    local call = assert(load("return " .. row[2], "=" .. row[1], "t", env))
    local ok, err = pcall(function()
      local results, list = table.pack(call()), {}
      for j = 1, results.n do flat(list, results[j]) end
      t.eq(row[1] .. ": arrays", #list, row[3])
      for j = 1, math.min(#list, row[3]) do
        t.compare(("%s (%d)"):format(row[1], j), list[j], case.arrays[("%d.%d"):format(k, j)])
      end
    end)
    if not ok then t.eq(row[1] .. ": error", tostring(err), "none") end
  end
end

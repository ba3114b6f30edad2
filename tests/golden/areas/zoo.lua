--- Members of the zoo: rows of an expression in Python's and in Lua's words, and how many arrays it gives.
local bdl = require "bdl"
local class = require "bdl.class"
local core = require "bdl.core"

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

-- ---- defaults -------------------------------------------------------------------------------------------------------

--- Positions count from 1 here.
local POSITIONS = {start_axis = true, in_axes = true, out_axes = true}

--- Defaults that are others here: what the reference's argument does not do, and its other words for the same.
local OTHERS = {
  ["nn.AvgPool1d.stride"] = true, ["nn.AvgPool2d.stride"] = true, ["nn.AvgPool3d.stride"] = true,
  ["nn.StateWithDelay.interpolation"] = true, ["optim.Adafactor.clip_threshold"] = true, ["optim.Lookahead.lr"] = true,
}

--- Name -> default of the arguments of a constructor.
local function defaults_of(cls)
  local _, asked = pcall(cls, require "bdl.none".ask)
  local found = {}
  for name, value in pairs(type(asked) == "table" and asked.spec or {}) do
    if type(name) == "string" then found[name] = value end
  end
  for _, row in ipairs(type(asked) == "table" and asked.rows or {}) do found[row[1]] = row[2] end
  return found
end

local function compare_defaults(case, t)
  local n = 0
  for place, defaults in pairs(case.params) do
    local area, name = place:match "^(%w+)%.(%w+)$"
    local known, cls = pcall(function() return bdl[area][name] end)
    local ours = known and class.is_class(cls) and defaults_of(cls) or {}
    for key, want in pairs(defaults) do
      local got, at = ours[key], place .. "." .. key
      if type(got) == "userdata" and not core.is_tensor(got) then got = 1.0 * got end
      if got ~= nil and not OTHERS[at] then
        n = n + 1
        if POSITIONS[key] then want = want + 1 end
        if type(want) == "table" then            -- a plain 0 stands for 0 of any unit
          want = got == 0 and want.value == 0 and 0 or want.value * bdl.units[want.unit]
        end
        if type(want) == "string" or type(want) == "boolean" or not core.is_tensor(got) then
          t.eq(at, got, want)
        else
          local close = pcall(function() assert(bdl.allclose(got, want, {rtol = 1e-6})) end)
          if not close then t.eq(at, tostring(got), tostring(want)) end
        end
      end
    end
  end
  if n < 500 then t.eq("defaults compared", n, "500 or more") end
end

return function(case, t)
  if case.name == "defaults" then return compare_defaults(case, t) end
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

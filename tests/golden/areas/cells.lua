--- Recurrent cells: states, loss and gradient over a sequence.  Layers: output and gradients, one group of arrays a layer.
--  Activations: value and derivative.
local bdl = require "bdl"
local nn = bdl.nn

--- Arrays `<prefix><path>` of the case by path.
local function trees(case, t, prefix)
  local found = {}
  for key in pairs(case.arrays) do
    if key:sub(1, #prefix) == prefix then found[key:sub(#prefix + 1)] = t.array(case, key) end
  end
  return found
end

--- f(name of the array, state, leaf key or nil) for every array of States that the case has under `prefix`.
local function each_leaf(case, prefix, states, f)
  for path, s in states:items() do
    if case.arrays[prefix .. path] then f(prefix .. path, s) end
    if type(s.value) == "table" then
      for leaf in pairs(s.value) do f(("%s%s.%s"):format(prefix, path, leaf), s, leaf) end
    end
  end
end

--- States get the arrays under `prefix`.
local function fill(case, t, prefix, states)
  each_leaf(case, prefix, states, function(name, s, leaf)
    if leaf then
      local value = {}
      for key, x in pairs(s.value) do value[key] = x end
      value[leaf] = t.array(case, name)
      s.value = value
    else
      s.value = t.array(case, name)
    end
  end)
end

local function compare_grads(case, t, prefix, states, grads)
  each_leaf(case, prefix, states, function(name, s, leaf)
    for path, other in states:items() do
      if rawequal(other, s) then t.compare(name, leaf and grads[path][leaf] or grads[path], case.arrays[name]) end
    end
  end)
end

local function cell(case, t)
  local p = case.params
  local model = nn[case.name:match "^%a+"](p.n_in, p.n_h, {activation = p.activation})
  local batch = #case.arrays.x.shape == 3 and case.arrays.x.shape[2] or nil
  nn.init_all_states(model, batch)
  local params, hidden = model:states(bdl.ParamState), model:states(bdl.HiddenState)
  fill(case, t, "w.", params)
  local start = trees(case, t, "h0.")
  local paths = {}
  for path in hidden:keys() do paths[#paths + 1] = path end
  local function loss()
    for path, s in hidden:items() do s.value = start[path] end
    local out = table.pack(bdl.for_loop(function(x, y)
      local error = bdl.mean((model(x) - y)^2)
      local values = {}
      for i, path in ipairs(paths) do values[i] = hidden[path].value end
      return error, table.unpack(values)
    end, t.array(case, "x"), t.array(case, "y")))
    return bdl.mean(out[1]), {table.unpack(out, 2, out.n)}
  end
  local grads, value, states = bdl.augment.grad(loss, params, {return_value = true, has_aux = true})()
  t.compare("loss", value, {shape = {}, dtype = "f64", data = {case.scalars.loss}})
  for i, path in ipairs(paths) do t.compare("h." .. path, states[i], case.arrays["h." .. path]) end
  compare_grads(case, t, "grad.", params, grads)
end

--- Axes of the file count from 0.
local AXES = {start_axis = true, end_axis = true, axis = true}

local function layer(case, t, tag, p)
  local options = {}
  for key, value in pairs(p) do
    if AXES[key] then value = value >= 0 and value + 1 or value end
    if key ~= "cls" and key ~= "args" and key ~= "fit" then options[key] = value end
  end
  for i, value in ipairs(p.args) do options[i] = value end
  local model = nn[p.cls](options)
  nn.init_all_states(model)
  local function array(name) return t.array(case, tag .. "." .. name) end
  local params, others = model:states(bdl.ParamState), model:states(bdl.util.filter.Not(bdl.ParamState))
  fill(case, t, tag .. ".w.", params)
  fill(case, t, tag .. ".state.", others)
  local x, integers = array "x", case.arrays[tag .. ".x"].dtype == "i32"
  local _ <close> = bdl.environ.context{fit = p.fit}
  local ct = array "ct"
  local function f(z) return bdl.sum(model(z) * ct) end
  local grads, dx
  if integers then
    grads = bdl.augment.grad(f, params)(x)
  elseif #params > 0 then
    grads, dx = bdl.augment.grad(f, params, {argnums = 1})(x)
  else
    dx = bdl.augment.grad(f, nil, {argnums = 1})(x)
  end
  fill(case, t, tag .. ".state.", others)
  t.compare(tag .. ".y", model(x), case.arrays[tag .. ".y"])
  each_leaf(case, tag .. ".state_after.", others, function(name, s) t.compare(name, s.value, case.arrays[name]) end)
  if grads then compare_grads(case, t, tag .. ".dw.", params, grads) end
  if dx then t.compare(tag .. ".dx", type(dx) == "table" and dx[1] or dx, case.arrays[tag .. ".dx"]) end
end

local function activations(case, t)
  for key in pairs(case.arrays) do
    local tag = key:match "^(.*)%.y$"
    if tag then
      local name, p = tag:match "^[%w_]+", case.params[tag]
      local options
      for option, value in pairs(p or {}) do
        options = options or {}
        options[option] = option == "axis" and value >= 0 and value + 1 or value
      end
      local function f(x) return nn[name](x, options) end
      local wide = case.arrays[tag .. ".ct"]
      local x = t.array(case, wide and "X" or "x")
      local y, pull = bdl.augment.vjp(f, x)
      t.compare(tag .. ".y", y, case.arrays[tag .. ".y"])
      local dx = pull(wide and t.array(case, tag .. ".ct") or bdl.ones_like(y))
      t.compare(wide and tag .. ".dx" or tag .. ".dy", dx, case.arrays[wide and tag .. ".dx" or tag .. ".dy"])
    end
  end
end

return function(case, t)
  if case.name == "activations" then return activations(case, t) end
  if not case.name:find "^layers_" then return cell(case, t) end
  for tag, p in pairs(case.params) do layer(case, t, tag, p) end
end

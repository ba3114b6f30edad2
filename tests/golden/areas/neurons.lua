--- Neurons: initial states, drive, then every state and the spike after each step.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

--- States of the reference that bdl derives from others.
local DERIVED = {last_spike_time = true}

--- Constructor arguments from the constants of the file.
local function arguments(case, t)
  local a = {case.params.n}
  for name, v in pairs(case.params.neuron) do
    if name == "spk_fun" then
      local class, inside = v:match "^(%w+)%((.*)%)$"
      local options = {}
      for key, number in inside:gmatch "(%w+)=([%w.+-]+)" do options[key] = tonumber(number) end
      a.spk_fun = bdl.surrogate[class](options)
    elseif name ~= "class" and name ~= "ref_var" then  -- bdl derives what ref_var would keep
      a[name] = t.quantity(v)
    end
  end
  return a
end

return function(case, t)
  local p = case.params
  local _ <close> = bdl.environ.context{dt = t.quantity(p.dt)}
  local neuron = nn[p.neuron.class](arguments(case, t))
  nn.init_all_states(neuron)
  local names = {}
  for key in pairs(case.arrays) do
    local name = key:match "^init%.(.*)$"
    if name then names[#names + 1] = name end
  end
  table.sort(names)
  local function start()
    for _, name in ipairs(names) do
      if not DERIVED[name] then neuron[name].value = t.array(case, "init." .. name) end
    end
  end
  for _, name in ipairs(names) do
    if DERIVED[name] then
      t.compare("init." .. name, bdl.environ.context({t = 0*u.ms}, neuron[name], neuron), case.arrays["init." .. name])
    end
  end
  local function step(i, input, delta)
    local _ <close> = bdl.environ.context{i = i, t = i * t.quantity(p.dt)}
    if delta then neuron:add_delta_input("d", delta) end
    local out = {neuron(input)}
    for k, name in ipairs(names) do
      if DERIVED[name] then out[k + 1] = neuron[name](neuron) else out[k + 1] = neuron[name].value end
    end
    return table.unpack(out)
  end
  local steps = bdl.arange(p.T)
  local input, delta = t.array(case, "input"), case.arrays.delta_input and t.array(case, "delta_input")
  local function simulate(drive)
    start()
    return bdl.for_loop(step, steps, drive, delta)
  end
  local out = {simulate(input)}
  t.compare("out", out[1], case.arrays.out)
  for k, name in ipairs(names) do t.compare(name, out[k + 1], case.arrays[name]) end
  if not p.grad_loss then return end
  local unit, weight = u.get_unit(input), t.array(case, "grad_weight")
  local function loss(drive)
    local result = {simulate(drive * unit)}
    local V
    for k, name in ipairs(names) do
      if name == "V" then V = u.get_mantissa(result[k + 1]) end
    end
    return (result[1] * weight):sum() + 0.1 * (V * V):sum()
  end
  t.compare("grad_input", bdl.augment.grad(loss)(u.get_mantissa(input)), case.arrays.grad_input)
end

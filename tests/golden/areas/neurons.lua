--- Neurons: initial states, drive, then every state and the spike after each step.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units

local KINDS = {IF = true, LIF = true, LIFRef = true, ALIF = true, HH = true}

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
    elseif name ~= "class" then
      a[name] = t.quantity(v)
    end
  end
  return a
end

return function(case, t)
  local p = case.params
  if not KINDS[p.neuron.class] then t.skip("no neuron %s", p.neuron.class) end
  if p.grad_loss then t.skip("gradients through time") end
  local _ <close> = bdl.environ.context{dt = t.quantity(p.dt)}
  local neuron = nn[p.neuron.class](arguments(case, t))
  nn.init_all_states(neuron)
  local names = {}
  for key in pairs(case.arrays) do
    local name = key:match "^init%.(.*)$"
    if name then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    if DERIVED[name] then
      local value = bdl.environ.context({t = 0*u.ms}, neuron[name], neuron)
      t.compare("init." .. name, value, case.arrays["init." .. name])
    else
      neuron[name].value = t.array(case, "init." .. name)
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
  local steps = {}
  for i = 1, p.T do steps[i] = i - 1 end
  local core = require "bdl.core"
  local sequences = {core.tensor(steps, "int32"), t.array(case, "input")}
  if case.arrays.delta_input then sequences[3] = t.array(case, "delta_input") end
  local out = {bdl.for_loop(step, table.unpack(sequences))}
  t.compare("out", out[1], case.arrays.out)
  for k, name in ipairs(names) do t.compare(name, out[k + 1], case.arrays[name]) end
end

--- Synapses driven by given spikes, synaptic outputs, projections between two LIF populations.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units
local core = require "bdl.core"

--- States of the reference that bdl derives from others.
local DERIVED = {spike_arrival_time = true, last_spike_time = true}

--- Fields of the reference that its constructor names otherwise.
local ARGUMENTS = {T_duration = "T_dur"}

local function constants(v, t, first, without)
  local a = {first}
  for name, x in pairs(v) do
    if name:find "_initializer$" then
      a[name] = bdl.init.Constant(tonumber(x:match "value=([%w.+-]+)"))
    elseif not (without or "class cls spk_fun"):find(name, 1, true) then
      a[ARGUMENTS[name] or name] = t.quantity(x)
    end
  end
  return a
end

local function indices(n)
  local steps = {}
  for i = 1, n do steps[i] = i - 1 end
  return core.tensor(steps, "int32")
end

--- Reads a State or what is derived from several; values = {name = function}.
local function reader(owner, name)
  if DERIVED[name] then return function() return owner[name](owner) end end
  return function() return owner[name].value end
end

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Runs f(i, slices..) with dt, i and t set; compares what the readers give after each step with the arrays of their names.
local function run(case, t, inputs, readers, f)
  local names = sorted(readers)
  local dt = t.quantity(case.params.dt)
  local function step(i, ...)
    local _ <close> = bdl.environ.context{i = i, t = i * dt}
    local out = {f(...)}
    local n = #out
    for k, name in ipairs(names) do out[n + k] = readers[name]() end
    return table.unpack(out)
  end
  local out = {bdl.for_loop(step, indices(case.params.T), table.unpack(inputs))}
  for k, name in ipairs(names) do t.compare(name, out[#out - #names + k], case.arrays[name]) end
  return table.unpack(out)
end

--- Compares the initial values, and sets them.
local function start(case, t, owner, name, key)
  if DERIVED[name] then
    t.compare(key, bdl.environ.context({t = 0*u.ms}, owner[name], owner), case.arrays[key])
  else
    if name ~= "V" then t.compare(key, owner[name].value, case.arrays[key]) end  -- the file does not say how V was made
    owner[name].value = t.array(case, key)
  end
end

local function synapse(case, t)
  local p = case.params
  local a = constants(p.synapse, t, p.n)
  local syn = nn[p.synapse.class](a)
  nn.init_all_states(syn)
  local readers = {}
  for key in pairs(case.arrays) do
    local name = key:match "^init%.(.*)$"
    if name then
      start(case, t, syn, name, key)
      readers[name] = reader(syn, name)
    end
  end
  local out = run(case, t, {t.array(case, "input")}, readers, function(x)
    if p.drive == "delta" then
      syn:add_delta_input("p", x)
      return syn()
    end
    return syn(p.drive == "bool" and core.bind("gt", {}, x, 0.5) or x)
  end)
  t.compare("out", out, case.arrays.out)
  if case.arrays.normalization then
    t.compare("normalization", core.bind("broadcast", {shape = {1}, dims = {}}, core.tensor(syn:normalization())), case.arrays.normalization)
  end
end

local function outputs(case, t)
  local p = case.params
  local g, V, E = t.array(case, "g"), t.array(case, "V"), t.quantity(p.E)
  t.compare("coba", nn.COBA(E):update(g, V), case.arrays.coba)
  t.compare("cuba", nn.CUBA():update(g), case.arrays.cuba)
  t.compare("cuba_scaled", nn.CUBA{scale = t.quantity(p.scale)}:update(g), case.arrays.cuba_scaled)
  local mg = constants(p.mg, t)
  mg.E = E
  t.compare("mgblock", nn.MgBlock(mg):update(g, V), case.arrays.mgblock)
  t.compare("mgblock_unitless", nn.MgBlock(constants(p.mg_unitless, t)):update(core.mantissa(g), core.mantissa(V)), case.arrays.mgblock_unitless)
end

local function make(v, t, n, describe)
  local class = nn[v.cls]
  local a = constants(v, t, n)
  if describe then return class:desc(a) end
  return class(a)
end

--- pre LIF -> projection -> post LIF
local function projection(case, t)
  local p = case.params
  local delay = p.delay and t.quantity(p.delay) or bdl.none
  local net = nn.Module()
  net.pre = nn.LIF(constants(p.pre, t, p.n_pre))
  net.post = nn.LIF(constants(p.post, t, p.n_post))
  local function comm(name) return nn.Linear{p.n_pre, p.n_post, w_init = t.array(case, name), b_init = bdl.none} end
  local send
  if p.projection == "delta" then
    net.proj = nn.DeltaProj{comm = comm "weight", post = net.post, delay = delay}
    send = net.proj
  elseif p.projection == "align_post" then
    net.proj = nn.AlignPostProj{comm = comm "weight", syn = make(p.syn, t, p.n_post, p.merging), out = make(p.out, t, nil, p.merging),
                                post = net.post, delay = delay}
    if p.out2 then
      net.proj2 = nn.AlignPostProj{comm = comm "weight2", syn = make(p.syn, t, p.n_post, true), out = make(p.out2, t, nil, true), post = net.post}
    end
    send = function(s)
      net.proj(s)
      if net.proj2 then net.proj2(s) end
    end
  else
    net.syn = make(p.syn, t, p.n_pre)
    net.proj = nn.AlignPreProj{syn = net.syn, comm = comm "weight", out = make(p.out, t), post = net.post, delay = delay}
    local receptor = nn[p.syn.cls]:is(nn.AMPA)
    send = function(s) return net.proj(receptor and core.bind("gt", {}, s, 0.5) or s) end
  end
  if p.stp then net.stp = make(p.stp, t, p.n_pre) end
  nn.init_all_states(net)

  --- The object and field that a path of the reference names: `<syn//out>` is the first merged synapse, `..#1` the second.
  --  The reference sorts them by their own text, so the outputs' potentials tell which is which.
  local merged = {}
  for key in pairs(net.post._before_updates) do merged[#merged + 1] = key end
  if p.out2 and #merged == 2 then
    local first = t.quantity(p.out2.E or p.out2.scale)
    table.sort(merged, function(a, b) return a ~= b and (net.post._before_updates[a].out.E == nil or tostring(net.post._before_updates[a].out.E) == tostring(first)) end)
  end
  local function find(path)
    local second
    path, second = path:gsub("#1$", "")
    local owner = net
    local words = {}
    for word in path:gsub("<syn//out>", "@"):gsub("delay_seam%._buffer", "delay"):gmatch "[^.]+" do words[#words + 1] = word end
    for k = 1, #words - 1 do
      local word = words[k]
      if word == "@" then word = merged[second + 1] end
      owner = owner[word]
    end
    return owner, words[#words]
  end
  local readers = {}
  for key in pairs(case.arrays) do
    local path = key:match "^init%.(.*)$"
    if path then
      local owner, name = find(path)
      start(case, t, owner, name, key)
      readers[path] = reader(owner, name)
    end
  end
  local before = p.order == "pre_proj_post"
  local pre, post = run(case, t, {t.array(case, "I_pre"), t.array(case, "I_post")}, readers, function(a, b)
    local s = before and net.pre(a) or net.pre:get_spike()
    send(net.stp and net.stp(s) or s)
    local s1 = before and s or net.pre(a)
    return s1, net.post(b)
  end)
  t.compare("pre_spike", pre, case.arrays.pre_spike)
  t.compare("post_spike", post, case.arrays.post_spike)
end

--- f(i) for each step, with i and t set; the results of a name as one array.
local function each_step(n, dt, f)
  local rows = {}
  for i = 0, n - 1 do
    for name, value in pairs(bdl.environ.context({i = i, t = i * dt}, f, i)) do
      rows[name] = rows[name] or {}
      rows[name][i + 1] = value
    end
  end
  for name, list in pairs(rows) do rows[name] = bdl.stack(list) end
  return rows
end

local function numbered(list)
  local entries = {}
  for k, time in ipairs(list) do entries["e" .. k] = time end
  return entries
end

--- One delay read in every way.
local function delays(case, t)
  local p, x, dt = case.params, t.array(case, "x"), t.quantity(case.params.dt)
  local times, at, steps = t.quantity(p.times), t.quantity(p.at_delays), t.array(case, "element_steps")
  local longest = at[1]
  for _, list in ipairs{at, times} do
    for _, time in ipairs(list) do longest = (time / u.ms):item() > (longest / u.ms):item() and time or longest end
  end
  local function made(options)
    options[1] = p.n
    local delay = nn.Delay(options)
    nn.init_all_states(delay)
    return delay
  end
  local entries = made{time = longest, entries = numbered(at)}
  t.eq("max_length", entries:max_length(), case.scalars.max_length)
  local methods, elements, history = {}, made{time = dt * steps:max():item()}, made{time = 2 * dt, init = p.init}
  for _, method in ipairs(nn.InterpolationRegistry.list_methods()) do
    methods[method] = made{time = longest + 4 * dt, interpolation = method}
    t.eq("max_length_" .. method, methods[method]:max_length(), case.scalars["max_length_" .. method])
  end
  local before = made{time = 3 * dt}
  local got = each_step(p.T, dt, function(i)
    local now, out = x[i + 1], {read_before_update_step2 = before:retrieve_at_step(2)}
    for _, delay in ipairs{entries, elements, history, before} do delay:update(now) end
    local named, stepped = {}, {}
    for k = 1, #at do named[k] = entries:at("e" .. k) end
    for k, n in ipairs(p.steps) do stepped[k] = entries:retrieve_at_step(n) end
    out.at_entries, out.at_steps = bdl.stack(named), bdl.stack(stepped)
    out.at_element_steps = elements:retrieve_at_step(steps, bdl.arange(p.n))
    out.init_history = history:retrieve_at_step(2)
    for method, delay in pairs(methods) do
      delay:update(now)
      local timed = {}
      for k, time in ipairs(times) do timed[k] = delay:retrieve_at_time(i * dt - time) end
      out["at_time_" .. method] = bdl.stack(timed)
    end
    return out
  end)
  got.init_history = got.init_history[{{1, case.arrays.init_history.shape[1]}}]
  for name, value in pairs(got) do t.compare(name, value, case.arrays[name]) end
end

--- Delayed reads of a neuron's V and output.
local function prefetch(case, t)
  local p, I, dt = case.params, t.array(case, "I"), t.quantity(case.params.dt)
  local net = nn.Module()
  net.lif = nn.LIF(constants(p.lif, t, I.shape[2]))
  net.V = net.lif:prefetch_delay("V", t.quantity(p.delay_V))
  net.out = net.lif:output_delay(t.quantity(p.delay_out))
  nn.init_all_states(net)
  local got = each_step(I.shape[1], dt, function(i)
    local out = {V_delayed = net.V(), out_delayed = net.out()}
    out.spike = net.lif(I[i + 1])
    out.V = net.lif.V.value
    return out
  end)
  for name, value in pairs(got) do t.compare(name, value, case.arrays[name], {mantissa = name == "V_delayed"}) end
end

local function input_delay(case, t)
  local x = t.array(case, "x")
  for key in pairs(case.arrays) do
    local name = key:match "^delay_(.*)$"
    if name then
      local delay = nn.InputDelay(x.shape[2], t.array(case, key))
      nn.init_all_states(delay)
      t.compare("out_" .. name, bdl.for_loop(function(now) return delay(now) end, x), case.arrays["out_" .. name])
    end
  end
end

return function(case, t)
  local p = case.params
  if p.mg then return outputs(case, t) end
  local _ <close> = bdl.environ.context{dt = t.quantity(p.dt)}
  if p.synapse then return synapse(case, t) end
  if p.projection then return projection(case, t) end
  if p.delay_V then return prefetch(case, t) end
  if p.at_delays then return delays(case, t) end
  return input_delay(case, t)
end

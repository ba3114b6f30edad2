--- Synapses driven by given spikes, synaptic outputs, projections between two LIF populations.
local bdl = require "bdl"
local nn, u = bdl.nn, bdl.units
local core = require "bdl.core"

local SYNAPSES = {Expon = true, DualExpon = true, Alpha = true, AMPA = true, GABAa = true, BioNMDA = true, STP = true, STD = true}

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
  if not SYNAPSES[p.synapse.class] then t.skip("no synapse %s", p.synapse.class) end
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
  if p.delay then t.skip "projections with delays" end
  for _, v in ipairs{p.syn or false, p.stp or false} do
    if v and not SYNAPSES[v.cls] then t.skip("no synapse %s", v.cls) end
  end
  local net = nn.Module()
  net.pre = nn.LIF(constants(p.pre, t, p.n_pre))
  net.post = nn.LIF(constants(p.post, t, p.n_post))
  local function comm(name) return nn.Linear{p.n_pre, p.n_post, w_init = t.array(case, name), b_init = bdl.none} end
  local send
  if p.projection == "delta" then
    net.proj = nn.DeltaProj{comm = comm "weight", post = net.post}
    send = net.proj
  elseif p.projection == "align_post" then
    net.proj = nn.AlignPostProj{comm = comm "weight", syn = make(p.syn, t, p.n_post, p.merging), out = make(p.out, t, nil, p.merging), post = net.post}
    if p.out2 then
      net.proj2 = nn.AlignPostProj{comm = comm "weight2", syn = make(p.syn, t, p.n_post, true), out = make(p.out2, t, nil, true), post = net.post}
    end
    send = function(s)
      net.proj(s)
      if net.proj2 then net.proj2(s) end
    end
  else
    net.syn = make(p.syn, t, p.n_pre)
    net.proj = nn.CurrentProj{comm = comm "weight", out = make(p.out, t), post = net.post}
    send = function(s)
      local receptor = nn[p.syn.cls]:is(nn.AMPA)
      return net.proj(net.syn(receptor and core.bind("gt", {}, s, 0.5) or s))
    end
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
    for word in path:gsub("<syn//out>", "@"):gmatch "[^.]+" do words[#words + 1] = word end
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

return function(case, t)
  local p = case.params
  if p.mg then return outputs(case, t) end
  if not p.synapse and not p.projection then t.skip "delays" end
  local _ <close> = bdl.environ.context{dt = t.quantity(p.dt)}
  if p.synapse then return synapse(case, t) end
  return projection(case, t)
end

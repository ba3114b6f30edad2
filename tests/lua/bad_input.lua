--- Bad arguments of every model, made from the arguments that its constructor takes: each is an error that names the argument.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local class = require "bdl.class"
local core = require "bdl.core"
local ask = require "bdl.none".ask
local nn, u = bdl.nn, bdl.units

--- Classes with the arguments that have no default.
local MODELS = {
  WilsonCowan = {3}, CANN1D = {8}, STP = {3}, STD = {3},
  STDP = {3, 2, 0.5}, TripletSTDP = {3, 2, 0.5}, DopamineSTDP = {3, 2, 0.5},
  LeakyRateReadout = {3, 2}, LeakySpikeReadout = {3, 2},
  OUProcessInput = {3, 1*u.mA, 0.1*u.mA, 10*u.ms, 100*u.ms},
}
for name in ("IF LIF LIFRef ALIF HH ExpIF ExpIFRef AdExIF AdExIFRef QuaIF QuaIFRef AdQuaIF AdQuaIFRef Gif GifRef CubaLIF CobaLIF"
             .. " Izhikevich IzhikevichRef WangBuzsakiHH MorrisLecar FitzHughNagumo HindmarshRose Expon DualExpon Alpha AMPA GABAa"
             .. " BioNMDA"):gmatch "%S+" do
  MODELS[name] = {3}
end

--- The input of a step: spikes for receptors, weights and releases, values for readouts, none for others.
local function input_of(name)
  if name:find "STDP" then return bdl.tensor{1., 0., 1.} end
  if name:find "^ST[PD]$" or name:find "AMPA" or name:find "GABAa" or name:find "NMDA" then return bdl.tensor{1., 0., 1.} end
  if name:find "Readout" then return bdl.ones(3) end
end

local function arguments(name, more)
  local a = table.move(MODELS[name], 1, #MODELS[name], 1, {})
  for key, value in pairs(more or {}) do a[key] = value end
  return a
end

--- Makes the model and two steps of it.
local function run(name, more)
  return function()
    local model = nn.init_all_states(nn[name](arguments(name, more)))
    local x = input_of(name)
    for _ = 1, 2 do model(x) end
    if name:find "STDP" then model:learn(x, bdl.tensor{1., 0.}) end
  end
end

local names = bdl.util.sorted_keys(MODELS)

--- name -> default of what a constructor takes.
local function defaults(name)
  local ok, asked = pcall(nn[name], ask)
  assert(not ok and asked.spec, name)
  return asked.spec
end

--- values(parameter, default, name) gives bad values of a parameter that is a number or quantity;  judge(error, parameter) says what
--  is wrong with what is raised for them.
local function each_bad(values, judge)
  local silent = {}
  for _, name in ipairs(names) do
    local known = defaults(name)
    for _, parameter in ipairs(bdl.util.sorted_keys(known)) do
      local default = known[parameter]
      if type(parameter) == "string" and (type(default) == "number" or core.is_tensor(default)) then
        for _, bad in ipairs(values(parameter, default, name)) do
          local ok, e = pcall(bdl.environ.context, {dt = 0.1*u.ms, i = 0, t = 0*u.ms}, run(name, {[parameter] = bad}))
          local why = ok and "nothing" or judge(e, parameter)
          if why then silent[#silent + 1] = ("%s{%s = %s}: %s"):format(name, parameter, tostring(bad), why) end
        end
      end
    end
  end
  t.eq(#silent > 0 and "\n  " .. table.concat(silent, "\n  ") or nil, nil)
end

local function names_it(kinds)
  return function(e, parameter)
    local kind, text = type(e) == "table" and e.kind or "a Lua error", tostring(e)
    if not kinds[kind] then return ("%s: %s"):format(kind, text) end
    if not text:find("%f[%w_]" .. parameter .. "%f[^%w_]") then return "does not name it: " .. text end
  end
end

t.test("every model runs as it is made", function()
  for _, name in ipairs(names) do
    bdl.environ.context({dt = 0.1*u.ms, i = 0, t = 0*u.ms}, run(name))
  end
end)

t.test("time constants, capacitances and widths are > 0, durations >= 0", function()
  each_bad(function(parameter, default)
    local unit = core.unit_of(default)
    local is_time = unit and core.dim_text(unit) == "s"
    if not unit then return {} end
    if parameter:find "^tau" or parameter:find "^delta_" or parameter == "C" or is_time then
      local list = {-1.0 * unit, 0/0 * unit}
      if parameter ~= "tau_ref" and parameter ~= "T_dur" then list[3] = 0.0 * unit end
      return list
    end
    return {}
  end, names_it{ValueError = true})
end)

t.test("an array that does not fit the size is named", function()
  each_bad(function(_, default, name)
    local unit = core.unit_of(default)
    local x = bdl.ones(7)
    return name:find "STDP" and {} or {unit and x * unit or x}
  end, names_it{ValueError = true, ShapeError = true})
end)

t.test("a parameter of another unit is an error", function()
  each_bad(function(_, default)
    local unit = core.unit_of(default)
    return unit and {1.0 * u.kelvin} or {}
  end, function(e)
    local kind = type(e) == "table" and e.kind or "a Lua error"
    return kind ~= "UnitMismatchError" and kind ~= "TypeError" and ("%s: %s"):format(kind, tostring(e)) or nil
  end)
end)

t.test("what is no number is named", function()
  each_bad(function() return {"x", {}} end, names_it{TypeError = true, ValueError = true})
end)

t.test("sizes are whole numbers", function()
  local silent = {}
  for _, name in ipairs(names) do
    for _, bad in ipairs{-2, 2.5, "x", {2, -1}} do
      local a = arguments(name)
      a[1] = bad
      local ok, e = pcall(nn[name], a)
      local kind = not ok and type(e) == "table" and e.kind
      if kind ~= "ValueError" and kind ~= "TypeError" then
        silent[#silent + 1] = ("%s(%s): %s"):format(name, tostring(bad), tostring(e))
      end
    end
  end
  t.eq(#silent > 0 and table.concat(silent, "\n  ") or nil, nil)
end)

t.test("a step without dt says so", function()
  for _, name in ipairs(names) do
    t.raises("KeyError", "environ 'dt' is not set", bdl.environ.context, {i = 0, t = 0*u.ms}, run(name))
  end
end)

t.test("a threshold at the reset, by which the distance would be divided, is an error", function()
  for _, name in ipairs(names) do
    local known = defaults(name)
    if known.V_th and known.V_reset then
      t.raises("ValueError", "V_th must lie above V_reset", nn[name], arguments(name, {V_th = known.V_reset}))
    end
  end
  t.raises("ValueError", "nn.IF: V_th must lie above V_reset", nn.IF, {3, V_th = 0*u.mV})
  t.raises("ValueError", "nn.LeakySpikeReadout: V_th must lie above V_reset", nn.LeakySpikeReadout, {3, 2, V_th = 0*u.mV})
end)

-- ---- rows of parameters --------------------------------------------------------------------------------------------------------

--- Numbers that a row forbids.
local function forbidden(row)
  local list = {0 / 0, "x"}
  if row.above then list[#list + 1] = row.above end
  if row.least then list[#list + 1] = row.least - 1 end
  if row.below then list[#list + 1] = row.below end
  if row.most then list[#list + 1] = row.most + 1 end
  if row.integer then list[#list + 1] = 2.5 end
  return list
end

t.test("surrogates, initialisers, optimisers and schedules name the argument that is out of its bounds", function()
  local silent = {}
  for _, area in ipairs{"surrogate", "init", "optim"} do
    for _, name in ipairs(require "bdl.help".names(area)) do
      local cls = bdl[area][name]
      local ok, asked = pcall(function() return class.is_class(cls) and cls(ask) end)
      local rows = not ok and type(asked) == "table" and asked.rows or {}
      for _, row in ipairs(rows) do
        local bounded = row.above or row.least or row.below or row.most or row.integer
        for _, bad in ipairs(bounded and forbidden(row) or {}) do
          local given = {}
          for _, other in ipairs(rows) do
            if other[2] == nil then given[other[1]] = other.free and bdl.optim.SGD() or 1 end
          end
          given[row[1]] = type(row[2]) == "table" and row[2] ~= bdl.none and {bad, bad} or bad
          local fine, e = pcall(cls, given)
          local kind = not fine and type(e) == "table" and e.kind
          if kind ~= "ValueError" and kind ~= "TypeError" or not tostring(e):find(row[1], 1, true) then
            silent[#silent + 1] = ("%s.%s{%s = %s}: %s"):format(area, name, row[1], tostring(bad), tostring(e))
          end
        end
      end
    end
  end
  t.eq(#silent > 0 and "\n  " .. table.concat(silent, "\n  ") or nil, nil)
end)

-- ---- layers ------------------------------------------------------------------------------------------------------------------

--- Layers with the arguments that they need, and the sizes of an input.
local LAYERS = {
  Linear = {{in_size = 3, out_size = 2}, {4, 3}}, ScaledWSLinear = {{in_size = 3, out_size = 2}, {4, 3}},
  SignedWLinear = {{in_size = 3, out_size = 2}, {4, 3}}, AllToAll = {{in_size = 3, out_size = 2}, {4, 3}},
  OneToOne = {{in_size = 3}, {4, 3}}, LoRA = {{in_features = 3, lora_rank = 1, out_features = 2}, {4, 3}},
  GroupedLinear = {{num_groups = 2, in_features = 3, out_features = 2}, {4, 2, 3}},
  LayerNorm = {{in_size = 3}, {4, 3}}, RMSNorm = {{in_size = 3}, {4, 3}}, GroupNorm = {{in_size = 4, num_groups = 2}, {5, 4}},
  InstanceNorm = {{in_size = 4}, {5, 4}}, BatchNorm0d = {{in_size = 3}, {4, 3}}, BatchNorm1d = {{in_size = {5, 3}}, {4, 5, 3}},
  Conv1d = {{in_size = {8, 3}, out_channels = 4, kernel_size = 3}, {2, 8, 3}},
  Conv2d = {{in_size = {8, 8, 3}, out_channels = 4, kernel_size = 3}, {2, 8, 8, 3}},
  ScaledWSConv1d = {{in_size = {8, 3}, out_channels = 4, kernel_size = 3}, {2, 8, 3}},
  ConvTranspose1d = {{in_size = {8, 3}, out_channels = 4, kernel_size = 3}, {2, 8, 3}},
  MaxPool1d = {{kernel_size = 2}, {2, 8, 3}}, AvgPool1d = {{kernel_size = 2}, {2, 8, 3}},
  SumPool1d = {{kernel_size = 2}, {2, 8, 3}}, LPPool1d = {{norm_type = 2, kernel_size = 2}, {2, 8, 3}},
  AdaptiveAvgPool1d = {{target_size = 2}, {2, 8, 3}}, ZeroPad1d = {{padding = 1}, {2, 8, 3}},
}
for cell in ("ValinaRNNCell GRUCell MGUCell LSTMCell URLSTMCell CFNCell MinimalRNNCell MiniGRU MiniLSTM"):gmatch "%S+" do
  LAYERS[cell] = {{num_in = 3, num_out = 2}, {4, 3}}
end
LAYERS.LRUCell = {{d_model = 3, d_hidden = 2}, {4, 3}}

local layers = bdl.util.sorted_keys(LAYERS)

local function layer_of(name, changed)
  local a = {}
  for key, value in pairs(LAYERS[name][1]) do a[key] = value end
  for key, value in pairs(changed or {}) do a[key] = value end
  local layer = nn[name](a)
  if LAYERS[name][2][1] == 4 and layer.num_in or name == "LRUCell" then layer:init_state(4) end
  return layer
end

t.test("every layer runs as it is made; sizes that are none are errors that name the argument", function()
  local silent = {}
  for _, name in ipairs(layers) do
    bdl.environ.context({fit = true}, layer_of(name), bdl.ones(LAYERS[name][2]))
    for argument in pairs(LAYERS[name][1]) do
      for _, bad in ipairs{-1, 2.5, "x", {}} do
        local ok, e = pcall(layer_of, name, {[argument] = bad})
        local kind, text = type(e) == "table" and e.kind or "a Lua error", tostring(e)
        local fits = argument == "norm_type" and bad == 2.5 or name == "OneToOne" and type(bad) == "table"  -- p; a scalar
        local named = (kind == "ValueError" or kind == "TypeError") and (text:find "size" or text:find(argument, 1, true))
        if not fits and (ok or not named) then
          silent[#silent + 1] = ("%s{%s = %s}: %s"):format(name, argument, tostring(bad), ok and "nothing" or text)
        end
      end
    end
  end
  t.eq(#silent > 0 and "\n  " .. table.concat(silent, "\n  ") or nil, nil)
end)

t.test("an input that does not fit a layer is an error", function()
  local silent = {}
  for _, name in ipairs(layers) do
    if not name:find "Pool" and not name:find "Pad" then
      local sizes = {table.unpack(LAYERS[name][2])}
      sizes[#sizes] = sizes[#sizes] + 2
      for _, bad in ipairs{bdl.ones(sizes), "x"} do
        local ok, e = pcall(bdl.environ.context, {fit = true}, layer_of(name), bad)
        local kind = not ok and type(e) == "table" and e.kind
        if kind ~= "ShapeError" and kind ~= "TypeError" then
          silent[#silent + 1] = ("%s(%s): %s"):format(name, type(bad), tostring(e))
        end
      end
    end
  end
  t.eq(#silent > 0 and "\n  " .. table.concat(silent, "\n  ") or nil, nil)
end)

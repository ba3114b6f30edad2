--- The way from modules to nodes of NIR: type and parameters, by class.
local core = require "bdl.core"
local base = require "bdl.array.base"
local class = require "bdl.class"
local nn = require "bdl.nn"
local nir = require "bdl.nir"
local nodes = require "bdl.nir.nodes"

local M = {}

local function unsupported(fmt, ...) core.fail("NotSupportedError", 5, fmt, ...) end

local function integers(list) return core.tensor(list, "int64") end

--- Numbers of x in SI units, of the shape `size`.
local function numbers(x, size)
  if not core.is_tensor(x) then x = core.tensor(x) end
  local unit = core.unit_of(x)
  if unit then                                   -- in double precision, so that 10 ms are 0.01
    local si = core.unit((core.dim_text(unit):gsub(" ", " * ")))
    x = core.cast(core.mantissa(core.convert(core.cast(x, "float64"), si)), x.dtype)
  end
  return base.broadcast_to("nir", x, size)
end

local writers = {}                               -- class -> function(module, size) -> type, parameters

local function neuron_writer(name)
  return function(module)
    local p = {}
    for _, row in ipairs(nodes.types[name].params) do p[row[1]] = numbers(module[row[1]], module.varshape) end
    return name, p
  end
end
for _, name in ipairs{"I", "LI", "IF", "LIF", "CubaLI", "CubaLIF"} do writers[nir[name]] = neuron_writer(name) end

writers[nir.Input] = function(m) return "Input", {shape = integers{table.unpack(m.in_size)}} end
writers[nir.Output] = function(m) return "Output", {shape = integers{table.unpack(m.in_size)}} end
writers[nir.Threshold] = function(m) return "Threshold", {threshold = numbers(m.threshold, m.varshape)} end

writers[nir.Delay] = function(m) return "Delay", {delay = numbers(m.delay, m.in_size)} end
writers[nn.InputDelay] = function(m)
  if m.indices or m.delay == nil then unsupported("a delay of chosen inputs, or of none, is no Delay") end
  return writers[nir.Delay](m)
end

writers[nn.Linear] = function(m)
  local p = m:params()
  local w = m.w_mask and p.weight * m.w_mask or p.weight
  if #m.in_size ~= 1 then unsupported("in_size %s has leading sizes", tostring(m.in_size)) end
  local out = {weight = numbers(nodes.turned(w), {m.out_size[1], m.in_size[1]})}
  if not p.bias then return "Linear", out end
  out.bias = numbers(p.bias, m.out_size)
  return "Affine", out
end

writers[nn.GroupedLinear] = function(m)
  local p = m:params()
  local w = nodes.turned(p.weight)
  local out = {weight = numbers(w, w.shape), bias = p.bias and numbers(p.bias, m.out_size) or nil}
  return p.bias and "Affine" or "Linear", out
end

writers[nn.OneToOne] = function(m)
  local p = m:params()
  if p.bias then unsupported("a OneToOne with a bias is no Scale") end
  return "Scale", {scale = numbers(p.weight, m.in_size)}
end

local function both_sides(pair)
  if pair[1] ~= pair[2] then unsupported("padding by %d and %d is not the same on both sides", pair[1], pair[2]) end
  return pair[1]
end

local function conv_writer(dims)
  return function(m)
    local p = m:params()
    if not m.channel_first then unsupported("channels stand before space in NIR: channel_first = true") end
    local padding = m.padding
    if type(padding) == "table" then
      local list = {}
      for k, pair in ipairs(padding) do
        list[k] = both_sides(pair)
      end
      padding = list
    elseif padding == "SAME" then
      for _, step in ipairs(m.stride) do
        if step ~= 1 then unsupported "padding 'SAME' with a stride is not defined in NIR" end
      end
    end
    for _, apart in ipairs(m.lhs_dilation) do
      if apart ~= 1 then unsupported "lhs_dilation is none of NIR" end
    end
    local function counts(list) return dims == 1 and core.tensor(list[1], "int64") or integers(list) end
    local w = nodes.moved(m:filter(p.weight), nodes.FILTER_BACK[dims])
    return ("Conv%dd"):format(dims), {
      input_shape = counts{table.unpack(m.in_size, 2)}, weight = numbers(w, w.shape), stride = counts(m.stride),
      padding = type(padding) == "string" and padding:lower() or counts(padding), dilation = counts(m.rhs_dilation),
      groups = core.tensor(m.groups, "int64"),
      bias = numbers(p.bias and base.reshape(p.bias, {m.out_channels}) or core.tensor(0.0, w.dtype), {m.out_channels}),
    }
  end
end
writers[nn.Conv1d], writers[nn.Conv2d] = conv_writer(1), conv_writer(2)

local function pool_writer(name)
  return function(m)
    if m.channel_axis ~= -3 then unsupported("channels stand before space in NIR: channel_axis = -3") end
    if m.padding == "SAME" then unsupported("padding 'SAME' is given in numbers in NIR") end
    local padding = {0, 0}
    for k, pair in ipairs(type(m.padding) == "table" and m.padding or {}) do
      padding[k] = both_sides(pair)
      if name == "AvgPool2d" and pair[1] > 0 and not m.count_include_pad then
        unsupported("a mean without the padding is none of NIR: count_include_pad = true")
      end
    end
    return name, {kernel_size = integers(m.kernel_size), stride = integers(m.stride), padding = integers(padding)}
  end
end
writers[nn.SumPool2d], writers[nn.AvgPool2d] = pool_writer "SumPool2d", pool_writer "AvgPool2d"

writers[nn.Flatten] = function(m, size)
  size = m.in_size or size
  if not size then unsupported("the size of its input is not known: give in_size") end
  local function back(k) return core.tensor(k > 0 and k - 1 or k, "int64") end
  return "Flatten", {input_type = integers{table.unpack(size)},
                     start_dim = back(m.start_axis), end_dim = back(m.end_axis)}
end

--- The leaky neurons of nn; the soft reset of theirs is none of NIR.
local function from_nn(rest)
  return function(m, _, opts)
    if m.spk_reset ~= "hard" and not opts.approximate then
      core.hint "spk_reset = 'hard', or {approximate = true} to write the hard reset in its place"
      unsupported("NIR has no soft reset")
    end
    local size = m.varshape
    return "LIF", {tau = numbers(m.tau, size), r = numbers(m.R, size), v_leak = numbers(rest(m), size),
                   v_threshold = numbers(m.V_th, size), v_reset = numbers(m.V_reset, size)}
  end
end
writers[nn.LIF] = from_nn(function(m) return m.V_rest end)
writers[nn.IF] = from_nn(function(m) return 0.0 * m.V_th end)

--- Type and parameters of a module: tensors and texts by name.  size: of its input, where it is known.
--  Errors: NotSupportedError, NIR has nothing like it.
function M.encode(module, size, opts)
  local writer = writers[class.of(module)]
  if not writer then unsupported("NIR has no node for %s", class.qualified_name(class.of(module))) end
  return writer(module, size, opts)
end

return M

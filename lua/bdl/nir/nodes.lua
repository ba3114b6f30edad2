--- What each type of NIR node has in a file, and the module that it is here.  A row of `types`:
--
--   params       list of {name, kind}: "array", "count" (one whole number), "counts", "padding" (counts, "same" or
--                "valid"); a kind with "?" may be missing
--   make(p, size, opts)  the module for parameters by name; size: what comes in, where it is known
--   shaped(p)            (optional) do the parameters say the size of the input?  They do where it is absent
--   fidelity(module)     (optional) label and why; exact where absent
--
-- modules.lua is the way back.
local core = require "bdl.core"
local base = require "bdl.array.base"
local class = require "bdl.class"
local constants = require "bdl.nn.constants"
local environ = require "bdl.environ"
local init = require "bdl.init"
local none = require "bdl.none".none
local u = require "bdl.units"
local nn = require "bdl.nn"
local nir = require "bdl.nir"

local M = {}

M.types = {}
local types = M.types

-- ---- helpers --------------------------------------------------------------------------------------------------------

local function shape_text(x) return "[" .. table.concat(x, ", ") .. "]" end

local function same_shape(a, b)
  local same = #a == #b
  for k = 1, #a do same = same and a[k] == b[k] end
  return same
end

local function unsupported(fmt, ...) core.fail("NotSupportedError", 5, fmt, ...) end

--- x with axis k of the result being axis axes[k] of x, from 1.
function M.moved(x, axes)
  local from_0 = {}
  for k, axis in ipairs(axes) do from_0[k] = axis - 1 end
  return base.permute(x, from_0)
end

--- The sizes that all of a list of arrays have.  Errors: ShapeError.
local function common_shape(p, names)
  local first = p[names[1]].shape
  for _, name in ipairs(names) do
    if p[name] and not same_shape(p[name].shape, first) then
      core.fail("ShapeError", 5, "%s is %s, but %s is %s", names[1], shape_text(first), name, shape_text(p[name].shape))
    end
  end
  return first
end

local function need_ndim(p, name, least, most)
  local n = p[name].ndim
  if n < least or n > most then
    core.fail("ShapeError", 5, "%s has %d axes, not %s", name, n, least == most and least or least .. " to " .. most)
  end
end

-- ---- inputs and outputs ---------------------------------------------------------------------------------------------

for _, name in ipairs{"Input", "Output"} do
  types[name] = {params = {{"shape", "counts"}}, make = function(p) return nir[name](p.shape) end}
end

types.NIRGraph = {params = {}}                   -- read.lua and write.lua know what is inside

-- ---- linear maps ----------------------------------------------------------------------------------------------------

--- W [.., out, in] here is [.., in, out].
function M.turned(w) return M.moved(w, w.ndim == 2 and {2, 1} or {1, 3, 2}) end

local function linear(p)
  need_ndim(p, "weight", 2, 3)
  local w, b = p.weight, p.bias
  local n = w.ndim
  local out = {table.unpack(w.shape, 1, n - 1)}
  if b and not same_shape(b.shape, out) then
    core.fail("ShapeError", 4, "bias is %s, but weight is %s", shape_text(b.shape), shape_text(w.shape))
  end
  local how = {w_init = M.turned(w), b_init = b or none}
  if n == 2 then return nn.Linear(w.shape[2], w.shape[1], how) end
  return nn.GroupedLinear(w.shape[1], w.shape[3], w.shape[2], how)
end

types.Affine = {params = {{"weight", "array"}, {"bias", "array"}}, make = linear}
types.Linear = {params = {{"weight", "array"}}, make = linear}
types.Scale = {
  params = {{"scale", "array"}},
  make = function(p) return nn.OneToOne(p.scale.shape, {w_init = p.scale}) end,
}

-- ---- convolutions ---------------------------------------------------------------------------------------------------

--- Counts for all axes of space.
local function each(p, name, dims)
  local list = p[name]
  if #list ~= 1 and #list ~= dims then
    core.fail("ShapeError", 5, "%s has %d numbers, not %d", name, #list, dims)
  end
  local full = {}
  for k = 1, dims do full[k] = list[#list > 1 and k or 1] end
  return full
end

--- [out, in, space..] -> [space.., in, out] and back
M.FILTER = {{3, 2, 1}, {3, 4, 2, 1}}
M.FILTER_BACK = {{3, 2, 1}, {4, 3, 1, 2}}

local function convolution(dims)
  return function(p, size)
    need_ndim(p, "weight", dims + 2, dims + 2)
    local w, channels = p.weight, p.weight.shape[2] * p.groups[1]
    local space = p.input_shape and each(p, "input_shape", dims) or size and {table.unpack(size, 2)}
    local in_size = {channels, table.unpack(space)}
    if p.bias.ndim ~= 1 or p.bias.shape[1] ~= w.shape[1] then
      core.fail("ShapeError", 4, "bias is %s, but weight is %s", shape_text(p.bias.shape), shape_text(w.shape))
    end
    local padding = type(p.padding) == "table" and each(p, "padding", dims) or p.padding:upper()
    local stride = each(p, "stride", dims)
    for _, step in ipairs(stride) do
      if padding == "SAME" and step ~= 1 then unsupported("padding 'same' with a stride is not defined") end
    end
    local ones = {}
    for k = 1, dims do ones[k] = 1 end
    ones[dims + 1] = w.shape[1]
    return nn[("Conv%dd"):format(dims)](in_size, w.shape[1], {table.unpack(w.shape, 3)}, {
      stride = stride, padding = padding, rhs_dilation = each(p, "dilation", dims), groups = p.groups[1],
      channel_first = true, w_init = M.moved(w, M.FILTER[dims]), b_init = base.reshape(p.bias, ones),
    })
  end
end

local CONV = {{"input_shape", "counts?"}, {"weight", "array"}, {"stride", "counts"}, {"padding", "padding"},
              {"dilation", "counts"}, {"groups", "count"}, {"bias", "array"}}
types.Conv1d = {params = CONV, make = convolution(1), shaped = function(p) return p.input_shape ~= nil end}
types.Conv2d = {params = CONV, make = convolution(2), shaped = types.Conv1d.shaped}

-- ---- pooling, shape -------------------------------------------------------------------------------------------------

local function pooling(name, more)
  return function(p, size)
    local how = {stride = each(p, "stride", 2), padding = each(p, "padding", 2), channel_axis = -3, in_size = size}
    for key, value in pairs(more) do how[key] = value end
    return nn[name](each(p, "kernel_size", 2), how)
  end
end

local function never() return false end
local POOL = {{"kernel_size", "counts"}, {"stride", "counts"}, {"padding", "counts"}}
types.SumPool2d = {params = POOL, make = pooling("SumPool2d", {}), shaped = never}
types.AvgPool2d = {params = POOL, make = pooling("AvgPool2d", {count_include_pad = true}), shaped = never}

--- An axis of NIR, from 0 or from the end, is one from 1 here.
local function axis(k) return k < 0 and k or k + 1 end

types.Flatten = {
  params = {{"input_type", "counts?"}, {"start_dim", "count"}, {"end_dim", "count"}},
  shaped = function(p) return p.input_type ~= nil end,
  make = function(p, size)
    return nn.Flatten(axis(p.start_dim[1]), axis(p.end_dim[1]), {in_size = p.input_type or size})
  end,
}

-- ---- what remembers -------------------------------------------------------------------------------------------------

local function delay_fidelity(module)
  local dt = module.dt or environ.get("dt", none)
  if dt == nil then return "approximated", "without dt it is not known whether the delay is a multiple of it" end
  local steps = module.delay / dt
  if not u.is_dimensionless(steps) then return "approximated", "dt is no time" end
  steps = core.mantissa(steps)
  local off = core.bind("abs", {}, steps - core.bind("round", {}, steps))
  if -constants.least(-off) <= 1e-5 then return "exact" end
  return "approximated", "between steps by linear interpolation"
end

types.Delay = {
  params = {{"delay", "array"}},
  make = function(p, _, opts) return nir.Delay(p.delay.shape, p.delay, {dt = opts.dt or none}) end,
  fidelity = delay_fidelity,
}
types.Threshold = {
  params = {{"threshold", "array"}},
  make = function(p) return nir.Threshold(p.threshold.shape, {threshold = p.threshold}) end,
}

--- Fidelity of a neuron by its method and whether it spikes.
local function neuron_fidelity(module)
  local how = module.method == "euler" and module.tau ~= nil or module.method == "euler" and module.tau_syn ~= nil
  if not module.spikes then
    if how then return "discretised", "Euler" end
    return "exact", "for inputs that are constant over dt"
  end
  return "discretised", (how and "Euler" or "exact between spikes") .. ", spikes at multiples of dt"
end

for name, words in pairs{
  I = "r", LI = "tau r v_leak", IF = "r v_threshold v_reset?", LIF = "tau r v_leak v_threshold v_reset?",
  CubaLI = "tau_syn tau_mem r v_leak w_in?", CubaLIF = "tau_syn tau_mem r v_leak v_threshold v_reset? w_in?",
} do
  local params, names = {}, {}
  for word, optional in words:gmatch "([%w_]+)(%??)" do
    names[#names + 1] = word
    params[#params + 1] = {word, "array" .. optional}
  end
  types[name] = {
    params = params,
    fidelity = neuron_fidelity,
    make = function(p, _, opts)
      local size = common_shape(p, names)
      local how = {method = opts.method or "exact", dt = opts.dt or none}
      for _, key in ipairs(names) do how[key] = p[key] end  -- w_in is 1 and v_reset 0 where they are missing
      return nir[name](size, how)
    end,
  }
end

--- Names of the types.
function M.names() return require "bdl.util".sorted_keys(types) end

return M

--- A table of vectors, looked up by whole numbers from 0.
--  Source: Bengio et al. (2003), A neural probabilistic language model. J Mach Learn Res 3.
local core = require "bdl.core"
local args = require "bdl.args"
local base = require "bdl.array.base"
local init = require "bdl.init"
local layer = require "bdl.nn.layer"
local none = require "bdl.none".none
local reduce = require "bdl.array.reduce"

--- y = W[ids], rows of a table.
--  num_embeddings, embedding_size : rows; sizes of a row
--  padding_idx : a row that starts at 0 and gets no gradient
--  max_norm, norm_type : rows that are looked up are shortened to this norm, of this order
--  scale_grad_by_freq : whether the gradient of a row is divided by how often it was looked up
--  freeze : no gradient at all
--  States: weight, [num_embeddings, embedding_size].
--  Example:
--    local table_ = bdl.nn.Embedding(10, 3)
--    print(table_(bdl.tensor{1, 4, 1}))
local Embedding = layer.Layer:extend "Embedding"

local function spec(first)
  return {first, "embedding_size", padding_idx = none, max_norm = none, norm_type = 2.0, scale_grad_by_freq = false, freeze = false,
          name = none}
end

local function setup(self, a, count)
  Embedding.super.__init(self, a.name)
  self.num_embeddings = count
  self.out_size = a.embedding_size
  local pad = a.padding_idx
  if pad and (math.type(pad) ~= "integer" or pad < 0 or pad >= count) then
    core.fail("ValueError", 3, "nn.Embedding: padding_idx %s is not within 0..%d", tostring(pad), count - 1)
  end
  if a.max_norm and not (a.max_norm > 0) then
    core.fail("ValueError", 3, "nn.Embedding: max_norm is positive, not %s", tostring(a.max_norm))
  end
  for _, name in ipairs{"padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "freeze"} do self[name] = a[name] end
end

--- Errors: ValueError.
function Embedding:__init(...)
  local known = spec "num_embeddings"
  known.embedding_init = init.LecunUniform()
  local a = args(known, ...)
  setup(self, a, layer.each("nn.Embedding", "num_embeddings", a.num_embeddings, 1)[1])
  local weight = layer.full(a.embedding_init, {self.num_embeddings, table.unpack(self.out_size)})
  if self.padding_idx then weight = weight:set(self.padding_idx + 1, 0 * weight[self.padding_idx + 1]) end
  self:keep(weight)
end

--- Embedding.from_pretrained(table [n, size..], {padding_idx =, .., freeze = true});  cls: the class to make.
function Embedding.from_pretrained(weights, opts, cls)
  if not core.is_tensor(weights) then weights = core.tensor(weights) end
  if weights.ndim < 2 then
    core.fail("ValueError", 2, "Embedding.from_pretrained: a table [n, size..] is needed, not %s", base.text(weights))
  end
  local all = {freeze = true, embedding_init = weights}
  for key, value in pairs(opts or {}) do all[key] = value end
  all[1], all[2] = weights.shape[1], {table.unpack(weights.shape, 2)}
  local made = (cls or Embedding)(all)
  made[made.ops.field].value = weights
  return made
end

local function detached(x) return core.bind("stop_gradient", {}, x) end

--- rows [.., size..] as a column of factors [.., 1..]
local function column(x, rows)
  local sizes = base.copy_shape(x)
  for _ = x.ndim + 1, rows.ndim do sizes[#sizes + 1] = 1 end
  return base.reshape(x, sizes)
end

--- Rows shortened to max_norm.
local function shortened(self, rows, ids)
  local sizes = base.copy_shape(ids)
  sizes[#sizes + 1] = -1
  local norm = reduce.norm(rows:reshape(sizes), {ord = self.norm_type, axis = -1})
  return rows * column(core.bind("min", {}, self.max_norm / (norm + 1e-8), 1.0), rows)
end

--- How often each of ids stands among them.
local function counts(ids, n)
  local zero = core.bind("broadcast", {shape = {n}, dims = {}}, core.tensor(0.0, base.real()))
  local ones = core.bind("broadcast", {shape = {ids.size}, dims = {}}, core.tensor(1.0, base.real()))
  local count = core.bind("scatter", {axis = 0, op = "add"}, zero, ids:reshape(-1), ones)
  return core.bind("gather", {axis = 0}, count, ids)
end

--- ids : integers [..] -> [.., embedding_size].  Errors: TypeError, not integers; IndexError, one is no row.
function Embedding:update(ids)
  if not core.is_tensor(ids) then ids = base.tensor(ids) end
  if base.KIND[ids.dtype] ~= 1 then core.fail("TypeError", 2, "Embedding: ids are integers, not %s", base.text(ids)) end
  local weight = self:params()
  local rows = self.ops.embedding(ids, {weight = weight}, {})
  if self.max_norm then
    local short = shortened(self, rows, ids)
    rows = rows + detached(short - rows)
    if not core.is_traced(weight) and not core.is_traced(ids) then
      self[self.ops.field].value = core.bind("scatter", {axis = 0, op = "set"}, weight, ids:reshape(-1),
                                    short:reshape({ids.size, table.unpack(self.out_size)}))
    end
  end
  if self.freeze then return detached(rows) end
  if self.scale_grad_by_freq then
    rows = detached(rows) + (rows - detached(rows)) / column(counts(ids, self.num_embeddings), rows)
  end
  if self.padding_idx then
    local is_pad = column(core.bind("eq", {}, ids, self.padding_idx), rows)
    rows = core.bind("select", {}, base.broadcast_to("Embedding", is_pad, base.copy_shape(rows)), detached(rows), rows)
  end
  return rows
end

return {Embedding = Embedding}

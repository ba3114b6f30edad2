--- Batches of a data set, in an order that a key decides.
local core = require "bdl.core"
local class = require "bdl.class"
local A = require "bdl.array"
local base = require "bdl.array.base"
local random = require "bdl.random"
local check = require "bdl.data.check".check

local M = {}

local KNOWN = base.names "batch_size shuffle drop_last names classes"

--- Batches along the first axis of arrays that have one length:
--
--   local train = bdl.data.loader({d.x_train, d.y_train}, {batch_size = 64, shuffle = 7, classes = 10})
--   for epoch = 1, 20 do
--     for x, y in train() do .. end
--   end
--
--  Each call goes through the data once.  shuffle: a key or integer, or true for one from the default generator; every
--  pass has an order of its own, and loaders of one key have the same.  drop_last leaves out a last batch that is smaller;
--  #loader counts batches.  Floats must be finite, and labels, the last array, be below `classes` if that is given; `names`
--  is what errors call the arrays.  A data set may also be an object with a length and :batch(ids), ids int32[n] from 0,
--  which gives what a pass shall give.
--  Errors: ShapeError arrays of several lengths; ValueError as data.check.
--  Example:
--    local d = bdl.data.digits()
--    local test = bdl.data.NAME({d.x_test, d.y_test}, {batch_size = 100, shuffle = 7, classes = 10})
--    for x, y in test() do print(x.shape, y.shape) end
local Loader = class "Loader"
M.Loader = Loader

local function arrays_of(self, list, opts)
  local names = opts.names or {}
  if type(names) ~= "table" then
    core.fail("TypeError", 4, "data.loader: names is a list of texts, not %s", base.text(names))
  end
  for k, x in ipairs(list) do
    list[k] = base.array(x)
    local name = names[k] or ("array %d"):format(k)
    if list[k].ndim == 0 then
      core.fail("ShapeError", 4, "data.loader: %s is a scalar; the first axis counts samples", name)
    end
    if #list[k] ~= #list[1] then
      core.fail("ShapeError", 4, "data.loader: %s has %d samples, %s %d", name, #list[k], names[1] or "array 1",
                #list[1])
    end
    check(list[k], {name = name, classes = k == #list and opts.classes or nil})
  end
  self.n_samples = #list[1]
  return function(ids)
    local batch = {}
    for k, x in ipairs(list) do batch[k] = x[ids] end
    return table.unpack(batch)
  end
end

function Loader:__init(dataset, opts)
  opts = base.options("data.loader", opts, KNOWN)
  local size = opts.batch_size or 1
  if math.type(size) ~= "integer" or size < 1 then
    core.fail("ValueError", 2, "data.loader: batch_size is a number from 1, not %s", base.text(size))
  end
  if core.is_tensor(dataset) then dataset = {dataset} end
  if type(dataset) == "table" and getmetatable(dataset) == nil and #dataset > 0 then
    self._take = arrays_of(self, table.move(dataset, 1, #dataset, 1, {}), opts)
  elseif class.of(dataset) and class.method(dataset, "batch") then
    self.n_samples = #dataset
    self._take = function(ids) return dataset:batch(ids) end
  else
    core.fail("TypeError", 2, "data.loader: a data set is a list of arrays, {x, y}, or has a method batch; not a %s",
              class.typename(dataset))
  end
  self.batch_size = size
  self.drop_last = opts.drop_last == true
  if opts.shuffle then
    self._key = opts.shuffle == true and random.split_key() or random.RandomState(opts.shuffle).value
  end
  self._passes = 0
end

--- The number of batches.
function Loader:__len()
  return self.drop_last and self.n_samples // self.batch_size or (self.n_samples + self.batch_size - 1) // self.batch_size
end

function Loader:__call()
  self._passes = self._passes + 1
  local order = self._key and random.permutation(self.n_samples, {key = random.fold_in(self._key, self._passes)})
                or A.arange(self.n_samples)
  local at, n, size = 0, #self, self.batch_size
  return function()
    if at == n then return nil end
    at = at + 1
    return self._take(order[{{(at - 1) * size + 1, math.min(at * size, self.n_samples)}}])
  end
end

M.loader = Loader

return M

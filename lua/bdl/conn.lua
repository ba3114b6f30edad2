--- Connectivity: who is connected to whom.
--
--   conn.fixed_prob(m, n, 0.02, {weight = 0.6*u.mS})         every pair with probability 0.02
--   conn.fixed_num_post(m, n, 80)                            80 targets for each of m pre neurons
--   conn.gaussian(pre_positions, post_positions, {scale = 2, prob = 0.8})
--
-- The results are connections of bdl.event: s:matmul(A), A:matmul(x), A:tocoo() -> pre, post, weights; A.delay.
-- Options of all builders: weight (1; a number or quantity for all, a tensor of one an entry, or a function of the number of
-- entries), delay (the same), seed (an integer; without one it is drawn from the default generator), self_connections (true;
-- false needs as many pre as post neurons).
-- The same seed gives the same connections on every machine; a weight that all share costs nothing but the indices.

local core = require "bdl.core"
local class = require "bdl.class"
local event = require "bdl.event"
local random = require "bdl.random"
local suggest = require "bdl.suggest"

local conn = {}

-- ---- arguments -------------------------------------------------------------------------------------------------------

local COMMON = {"weight", "delay", "seed", "self_connections"}

local function options(who, opts, ...)
  opts = opts or {}
  if type(opts) ~= "table" or getmetatable(opts) then
    core.fail("TypeError", 3, "conn.%s: options are a table, not a %s", who, class.typename(opts))
  end
  local known = {...}
  table.move(COMMON, 1, #COMMON, #known + 1, known)
  for name in pairs(opts) do
    local found = false
    for _, k in ipairs(known) do found = found or k == name end
    if not found then
      core.fail("TypeError", 3, "conn.%s: no argument '%s'%s", who, tostring(name), suggest.hint(tostring(name), known))
    end
  end
  return opts
end

local MOST = 2^31 - 1 | 0

--- A number of neurons or connections; a shape counts as its product.
local function count(who, what, n, least)
  least = least or 0
  if type(n) == "table" and not class.of(n) then
    local product = 1
    for _, extent in ipairs(n) do product = math.min(product * count(who, what, extent), MOST + 1) end
    n = product
  end
  if math.type(n) ~= "integer" then core.fail("TypeError", 3, "conn.%s: %s is a whole number, not %s", who, what, tostring(n)) end
  if n < least or n > MOST then
    core.fail("ValueError", 3, "conn.%s: %s is %d; it must be from %d to %d", who, what, n, least, MOST)
  end
  return n
end

--- {m, n} -> m, n
local function extents(who, shape)
  if type(shape) ~= "table" or #shape ~= 2 then core.fail("TypeError", 3, "conn.%s: shape = {pre, post} is needed", who) end
  return count(who, "pre", shape[1]), count(who, "post", shape[2])
end

local function tensor_of(who, what, x)
  if core.is_tensor(x) then return x end
  if type(x) ~= "number" and (type(x) ~= "table" or class.of(x)) then
    core.fail("TypeError", 3, "conn.%s: %s: a number, a list or a tensor was expected, not a %s", who, what, class.typename(x))
  end
  return core.tensor(x)
end

local function probability(who, p)
  if type(p) ~= "number" or not (p >= 0 and p <= 1) then
    core.fail("ValueError", 3, "conn.%s: a probability is from 0 to 1, not %s", who, tostring(p))
  end
  return p
end

local function seed_of(who, opts)
  local seed = opts.seed
  if seed == nil then
    local words = core.totable(random.split_key())
    return words[1] << 32 | words[2]
  end
  if math.type(seed) ~= "integer" then
    core.fail("TypeError", 3, "conn.%s: the seed is an integer, not %s", who, tostring(seed))
  end
  return seed
end

--- Are self connections left out?
local function alone(who, opts, m, n)
  if opts.self_connections ~= nil and type(opts.self_connections) ~= "boolean" then
    core.fail("TypeError", 3, "conn.%s: self_connections is true or false, not a %s", who, class.typename(opts.self_connections))
  end
  if opts.self_connections ~= false then return false end
  if m ~= n then
    core.fail("ValueError", 3, "conn.%s: without self connections pre and post are the same neurons, not %d and %d", who, m, n)
  end
  return true
end

--- Where the pairs are given, nothing is left to leave out.
local function given(who, opts)
  if opts.self_connections ~= nil then core.fail("ValueError", 3, "conn.%s: self_connections: the pairs are given", who) end
end

--- A weight or delay: one for all, or one for each of n entries, [n] or [rows, n / rows].  x may be a function of n.
local function per_entry(who, what, x, n, rows)
  if type(x) == "function" then x = x(n) end
  x = tensor_of(who, what, x)
  local matrix = rows and x.ndim == 2 and x.shape[1] == rows and x.size == n
  if x.ndim > 0 and not matrix and (x.ndim ~= 1 or x.size ~= n and x.size ~= 1) then
    core.fail("ShapeError", 3, "conn.%s: %d entries need %d %ss, or one for all, not [%s]", who, n, n, what, table.concat(x.shape, ","))
  end
  return x
end

--- A delay is a time, or a number of steps.
local function delay_of(who, x, n, rows)
  if x == nil then return nil end
  x = per_entry(who, "delay", x, n, rows)
  local unit = core.unit_of(x)
  if unit and core.dim_text(unit) ~= "s" then
    core.fail("UnitMismatchError", 3, "conn.%s: a delay is a time, not in %s", who, tostring(unit))
  end
  return x
end

--- The connection with the weights and delays of the options.
local function finish(who, name, opts, indices, indptr, shape)
  local n, rows = indices.size, type(indptr) == "number" and shape[name == "FixedPreNumConn" and 2 or 1]
  local weight = per_entry(who, "weight", opts.weight == nil and 1.0 or opts.weight, n, rows)
  local self = event.unchecked(name, weight, indices, indptr, shape)
  self.delay = delay_of(who, opts.delay, n, rows)
  return self
end

--- How many connections a builder may promise.
local function check_size(who, n)
  if n >= 2^36 then core.fail("MemoryError", 3, "conn.%s: about %.3g connections; fewer than 2^36 are possible", who, n) end
end

local function narrow(indptr, nnz) return nnz < 2^31 and core.cast(indptr, "int32") or indptr end

-- ---- random ----------------------------------------------------------------------------------------------------------

--- Every pair of m pre and n post neurons with probability p, rows ascending: the matrix of event.JITCScalarR with that seed.
--  m, n : numbers of neurons, or shapes: pre.varshape
--  Options: weight (1), delay, seed, self_connections (true).
--  Example:
--    print(bdl.conn.fixed_prob(10, 8, 0.2))
function conn.fixed_prob(m, n, p, opts)
  opts = options("fixed_prob", opts)
  m, n = count("fixed_prob", "pre", m), count("fixed_prob", "post", n)
  check_size("fixed_prob", m * n * probability("fixed_prob", p))
  local indices, indptr = core.conn_sparse(m, n, p, seed_of("fixed_prob", opts), alone("fixed_prob", opts, m, n))
  return finish("fixed_prob", "CSR", opts, indices, narrow(indptr, indices.size), {m, n})
end

--- k entries in each of `rows` rows of `cols` columns.
local function fixed(who, opts, rows, cols, k, m, n)
  k = count(who, "the number of connections", k)
  local without = alone(who, opts, m, n)
  local most = cols - (without and 1 or 0)
  if k > 0 and (most == 0 or (opts.replace == false and k > most)) then
    core.fail("ValueError", 3, "conn.%s: %d different ones of %d are not possible", who, k, most)
  end
  check_size(who, rows * k)
  return core.conn_fixed(rows, cols, k, seed_of(who, opts), opts.replace == false, without)
end

--- k targets, of n post neurons, for each of m pre neurons.
--  Options: weight (1), delay, seed, self_connections (true), replace (true; false: k different ones).
--  Example:
--    print(bdl.conn.fixed_num_post(10, 8, 3))
function conn.fixed_num_post(m, n, k, opts)
  opts = options("fixed_num_post", opts, "replace")
  m, n = count("fixed_num_post", "pre", m), count("fixed_num_post", "post", n)
  return finish("fixed_num_post", "FixedPostNumConn", opts, fixed("fixed_num_post", opts, m, n, k, m, n), k, {m, n})
end

--- k sources, of m pre neurons, for each of n post neurons.
--  Options: weight (1), delay, seed, self_connections (true), replace (true; false: k different ones).
--  Example:
--    print(bdl.conn.fixed_num_pre(10, 8, 3))
function conn.fixed_num_pre(m, n, k, opts)
  opts = options("fixed_num_pre", opts, "replace")
  m, n = count("fixed_num_pre", "pre", m), count("fixed_num_pre", "post", n)
  return finish("fixed_num_pre", "FixedPreNumConn", opts, fixed("fixed_num_pre", opts, n, m, k, m, n), k, {m, n})
end

-- ---- by distance -----------------------------------------------------------------------------------------------------

--- Positions [n, d] and a length in one unit.
local function places(who, pre, post, lengths)
  local unit
  local function plain(what, x)
    local own = core.unit_of(x)
    if (own and core.dim_text(own)) ~= (unit and core.dim_text(unit)) then
      core.fail("UnitMismatchError", 4, "conn.%s: %s in %s, pre positions in %s", who, what, own and tostring(own) or "plain numbers",
                unit and tostring(unit) or "plain numbers")
    end
    x = core.mantissa(core.convert(x, unit))
    local axes = {}
    for k = 1, x.ndim do axes[k] = k - 1 end
    if not core.item(core.bind("reduce_and", {axes = axes}, core.bind("is_finite", {}, x * 1.0))) then
      core.fail("ValueError", 4, "conn.%s: %s must be finite", who, what)
    end
    return x
  end
  local function matrix(what, x)
    x = tensor_of(who, what, x)
    if x.ndim == 1 then x = core.bind("reshape", {shape = {x.shape[1], 1}}, x) end
    if x.ndim ~= 2 then core.fail("ShapeError", 4, "conn.%s: %s are [n,d], not of %d axes", who, what, x.ndim) end
    return x
  end
  pre, post = matrix("pre positions", pre), matrix("post positions", post)
  if pre.shape[2] ~= post.shape[2] then
    core.fail("ShapeError", 3, "conn.%s: positions in %d and %d dimensions", who, pre.shape[2], post.shape[2])
  end
  unit = core.unit_of(pre)
  for key, x in pairs(lengths) do lengths[key] = plain(key, tensor_of(who, key, x)) end
  return plain("pre positions", pre), plain("post positions", post), lengths
end

local function positive(who, name, x)
  if x.size ~= 1 then core.fail("ShapeError", 3, "conn.%s: %s is one length, not [%s]", who, name, table.concat(x.shape, ",")) end
  local v = core.item(x)
  if not (v > 0) then core.fail("ValueError", 3, "conn.%s: %s is %s, it must be positive", who, name, tostring(v)) end
  return v
end

local function by_distance(who, law)
  return function(pre, post, opts)
    opts = options(who, opts, "prob", "max_distance", "period", law ~= "disc" and "scale" or nil)
    if law ~= "disc" and opts.scale == nil then core.fail("TypeError", 2, "conn.%s: argument 'scale' is missing", who) end
    if law == "disc" and opts.max_distance == nil then
      core.fail("TypeError", 2, "conn.%s: argument 'max_distance' is missing", who)
    end
    local a, b, x = places(who, pre, post, {scale = opts.scale, max_distance = opts.max_distance, period = opts.period})
    local m, n, d = a.shape[1], b.shape[1], a.shape[2]
    if x.period and x.period.size == 1 then x.period = core.bind("reshape", {shape = {}}, x.period) end
    if x.period and x.period.ndim == 0 then x.period = core.bind("broadcast", {shape = {d}, dims = {}}, x.period) end
    if x.period and x.period.size ~= d then
      core.fail("ShapeError", 2, "conn.%s: %d periods for %d dimensions", who, x.period.size, d)
    end
    if x.period and core.item(core.bind("reduce_min", {axes = {0}}, x.period)) < 0 then
      core.fail("ValueError", 2, "conn.%s: a period is negative", who)
    end
    local space = {
      law = law, ndim = d, pre = a, post = b, period = x.period,
      scale = x.scale and positive(who, "scale", x.scale) or 1.0,
      most = x.max_distance and positive(who, "max_distance", x.max_distance) or math.huge,
    }
    local p = probability(who, opts.prob == nil and 1.0 or opts.prob)
    check_size(who, m * n * p)
    local indices, indptr = core.conn_sparse(m, n, p, seed_of(who, opts), alone(who, opts, m, n), space)
    return finish(who, "CSR", opts, indices, narrow(indptr, indices.size), {m, n})
  end
end

--- Probability prob * exp(-r^2 / (2 scale^2)) at distance r; positions [m, d] and [n, d].
--  Options: scale, prob (1), max_distance, period (a length, or one a dimension; 0: not periodic).
--  Example:
--    local places = bdl.random.rand(5, 2)
--    print(bdl.conn.gaussian(places, places, {prob = 0.8, scale = 0.2}))
conn.gaussian = by_distance("gaussian", "gaussian")
--- Probability prob * exp(-r / scale).
--  Example:
--    local places = bdl.random.rand(5, 2)
--    print(bdl.conn.exponential(places, places, {prob = 0.8, scale = 0.2}))
conn.exponential = by_distance("exponential", "exponential")
--- Probability prob up to max_distance.
--  Example:
--    local places = bdl.random.rand(5, 2)
--    print(bdl.conn.disc(places, places, {prob = 0.8, max_distance = 0.3}))
conn.disc = by_distance("disc", "disc")

-- ---- graphs ----------------------------------------------------------------------------------------------------------

--- n neurons on a ring, each to its k nearest (k even); each connection goes to a random other neuron with probability p.
--  Source: Watts & Strogatz 1998.
--  Example:
--    print(bdl.conn.small_world(10, 4, 0.1))
function conn.small_world(n, k, p, opts)
  opts = options("small_world", opts)
  n, k, p = count("small_world", "the number of neurons", n, 1), count("small_world", "the number of neighbours", k), probability("small_world", p)
  if k % 2 ~= 0 or k >= n then
    core.fail("ValueError", 2, "conn.small_world: the number of neighbours is even and below %d, not %d", n, k)
  end
  check_size("small_world", n * k)
  alone("small_world", opts, n, n)
  local ahead = {}
  for d = 1, k // 2 do
    ahead[d], ahead[k + 1 - d] = d, n - d
  end
  local key, shape = random.key(seed_of("small_world", opts)), {n, k}
  local own = core.bind("iota", {shape = shape, axis = 0, dtype = "int32"})
  local near = core.bind("rem", {}, own + core.bind("broadcast", {shape = shape, dims = {1}}, core.tensor(ahead, "int32")), n)
  local keys = core.totable(random.split(key))
  local far = random.randint(1, n, {size = shape, key = keys[1], dtype = "int32"})
  local moved = core.bind("lt", {}, random.rand{size = shape, key = keys[2]}, p)
  local indices = core.bind("select", {}, moved, core.bind("rem", {}, own + far, n), near)
  return finish("small_world", "FixedPostNumConn", opts, core.bind("reshape", {shape = {n * k}}, indices), k, {n, n})
end

--- Pairs of indices that are known to be right, sorted by rows.
local function from_pairs(who, pre, post, m, n, opts)
  local indptr, order = core.conn_group(pre, m)
  local function ordered(x) return x.ndim == 1 and x.size == pre.size and core.bind("gather", {axis = 0}, x, order) or x end
  local weight = per_entry(who, "weight", opts.weight == nil and 1.0 or opts.weight, pre.size)
  local delay = delay_of(who, opts.delay, pre.size)
  local placed = {weight = ordered(weight), delay = delay and ordered(delay)}
  return finish(who, "CSR", placed, core.bind("gather", {axis = 0}, post, order), narrow(indptr, pre.size), {m, n})
end

--- n neurons, each new one joined in both directions to m before it, chosen by how many connections they have.
--  Source: Barabasi & Albert 1999.
--  Example:
--    print(bdl.conn.scale_free(10, 2))
function conn.scale_free(n, m, opts)
  opts = options("scale_free", opts)
  m = count("scale_free", "the number of connections", m, 1)
  n = count("scale_free", "the number of neurons", n, m + 1)
  alone("scale_free", opts, n, n)
  if 2 * m * (n - m) > MOST then
    core.fail("MemoryError", 2, "conn.scale_free: %d connections; at most %d are possible", 2 * m * (n - m), MOST)
  end
  local pre, post = core.conn_scale_free(n, m, seed_of("scale_free", opts))
  return from_pairs("scale_free", pre, post, n, n, opts)
end

-- ---- regular ---------------------------------------------------------------------------------------------------------

--- Active elements as 1, where x holds events.
local function values(v, events, dtype)
  if events and v.dtype ~= "bool" then v = core.bind("gt", {}, v, core.tensor(0, v.dtype)) end
  return v.dtype == dtype and v or core.cast(v, dtype)
end

local function float(x) return x.dtype:find "float" and x or core.cast(x, (core.precision())) end

--- Everyone to everyone with one weight: a sum, whatever the sizes.
--  Example:
--    print(bdl.conn.AllToAll(4, 3, 0.5))
local AllToAll = event.Connection:extend "AllToAll"
conn.AllToAll = AllToAll

function AllToAll:__init(m, n, weight, without)
  self.shape = {m, n}
  self.data = weight
  self.without = without
end

function AllToAll:product(v, events, post_side)
  local shape, last = {table.unpack(v.shape)}, v.ndim
  local from, to = self.shape[post_side and 2 or 1], self.shape[post_side and 1 or 2]
  if shape[last] ~= from then core.fail("ShapeError", 3, "all_to_all: a vector of %d for %d neurons", shape[last], from) end
  local x, dims = values(v, events, self.data.dtype), {}
  for k = 1, last - 1 do dims[k] = k - 1 end
  shape[last] = to
  local sum = core.bind("broadcast", {shape = shape, dims = dims}, core.bind("reduce_sum", {axes = {last - 1}}, x))
  return (self.without and sum - x or sum) * self.data
end

--- All pairs.  A weight for each pair ([m, n]) makes a dense matrix.
--  Example:
--    print(bdl.conn.all_to_all(4, 3))
function conn.all_to_all(m, n, opts)
  opts = options("all_to_all", opts)
  m, n = count("all_to_all", "pre", m), count("all_to_all", "post", n)
  local without, weight, self = alone("all_to_all", opts, m, n), opts.weight == nil and 1.0 or opts.weight, nil
  if type(weight) == "function" then weight = weight({m, n}) end
  weight = float(tensor_of("all_to_all", "weight", weight))
  if weight.size == 1 then
    self = AllToAll(m, n, core.bind("reshape", {shape = {}}, weight), without)
  else
    if weight.ndim ~= 2 or weight.shape[1] ~= m or weight.shape[2] ~= n then
      core.fail("ShapeError", 2, "conn.all_to_all: weights are [%s] for %d and %d neurons", table.concat(weight.shape, ","), m, n)
    end
    if without then
      local function index(axis) return core.bind("iota", {shape = {m, n}, axis = axis, dtype = "int32"}) end
      weight = weight * core.cast(core.bind("ne", {}, index(0), index(1)), weight.dtype)
    end
    self = event.Dense(weight)
  end
  self.delay = delay_of("all_to_all", opts.delay, m * n, m)
  return self
end

--- Neuron i to neuron i.
--  Example:
--    print(bdl.conn.OneToOne(4, 0.5))
local OneToOne = event.Connection:extend "OneToOne"
conn.OneToOne = OneToOne

function OneToOne:__init(n, weight)
  self.shape = {n, n}
  self.data = weight
end

function OneToOne:product(v, events)
  if v.shape[v.ndim] ~= self.shape[1] then
    core.fail("ShapeError", 3, "one_to_one: a vector of %d for %d neurons", v.shape[v.ndim], self.shape[1])
  end
  return values(v, events, self.data.dtype) * self.data
end

--- n pairs; weight: one, or one a pair.
--  Example:
--    print(bdl.conn.one_to_one(4))
function conn.one_to_one(n, opts)
  opts = options("one_to_one", opts)
  n = count("one_to_one", "the number of neurons", n)
  given("one_to_one", opts)
  local self = OneToOne(n, float(per_entry("one_to_one", "weight", opts.weight == nil and 1.0 or opts.weight, n)))
  self.delay = delay_of("one_to_one", opts.delay, n)
  return self
end

-- ---- from arrays -----------------------------------------------------------------------------------------------------

local function ids(who, what, x, limit)
  x = tensor_of(who, what, x)
  if x.ndim ~= 1 or not x.dtype:find "int" then
    core.fail("TypeError", 3, "conn.%s: %s are a vector of integers, not %s[%s]", who, what, x.dtype, table.concat(x.shape, ","))
  end
  if x.size > 0 then
    local lo = core.item(core.bind("reduce_min", {axes = {0}}, x))
    local hi = core.item(core.bind("reduce_max", {axes = {0}}, x))
    if lo < 0 or hi >= limit then
      core.fail("IndexError", 3, "conn.%s: %s reach from %d to %d; they count from 0 to %d", who, what, lo, hi, limit - 1)
    end
  end
  return core.cast(x, "int32")
end

--- From pairs pre[e], post[e] (counted from 0) in any order; weights and delays in the order of the pairs.
--  Example:
--    print(bdl.conn.from_coo(bdl.tensor{0, 1, 1}, bdl.tensor{2, 0, 1}, {2, 3}, {weight = 0.5}))
function conn.from_coo(pre, post, shape, opts)
  opts = options("from_coo", opts)
  local m, n = extents("from_coo", shape)
  pre, post = ids("from_coo", "pre", pre, m), ids("from_coo", "post", post, n)
  if pre.size ~= post.size then core.fail("ShapeError", 2, "conn.from_coo: %d pre and %d post indices", pre.size, post.size) end
  given("from_coo", opts)
  return from_pairs("from_coo", pre, post, m, n, opts)
end

--- From compressed rows; checked as event.CSR.
--  Example:
--    print(bdl.conn.from_csr(bdl.tensor{2, 0, 1}, bdl.tensor{0, 1, 3}, {2, 3}, {weight = 0.5}))
function conn.from_csr(indices, indptr, shape, opts)
  opts = options("from_csr", opts)
  given("from_csr", opts)
  extents("from_csr", shape)
  indices, indptr = tensor_of("from_csr", "indices", indices), tensor_of("from_csr", "indptr", indptr)
  local weight = per_entry("from_csr", "weight", opts.weight == nil and 1.0 or opts.weight, indices.size)
  local self = event.CSR(weight, indices, indptr, shape)
  self.delay = delay_of("from_csr", opts.delay, indices.size)
  return self
end

--- The entries of a dense matrix that are not 0.
--  Example:
--    print(bdl.conn.from_dense(bdl.tensor{{0., 1.}, {2., 0.}}))
function conn.from_dense(matrix) return event.CSR.fromdense(tensor_of("from_dense", "matrix", matrix)) end

local helpers = {
  options = options, count = count, probability = probability, given = given, alone = alone, seed_of = seed_of, places = places,
  positive = positive, per_entry = per_entry, delay_of = delay_of, from_pairs = from_pairs,
}
require "bdl.conn.kernel"(conn, helpers)
require "bdl.conn.lattice"(conn, helpers)

return class.qualify(setmetatable(conn, {__index = function(_, name)
  core.fail("KeyError", 2, "bdl.conn has no '%s'%s", tostring(name), suggest.hint(tostring(name), require "bdl.util".sorted_keys(conn)))
end}), "conn")

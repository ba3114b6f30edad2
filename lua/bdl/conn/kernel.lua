--- Connections by kernels: the weight of a pair is a function of where the pre neuron lies from the post neuron, pre -
--  post, in the plane of the first two coordinates of positions [n, d]; pairs of weight 0 are not connected.  Called
--  with the helpers of conn.lua. Besides those of all builders, options are lengths in the unit of the positions;
--  weight multiplies the kernel.
local core = require "bdl.core"
local array = require "bdl.array"
local event = require "bdl.event"

local function zero_unless(inside, x) return array.where(inside, x, 0.0) end

--- Values below which the reference drops a pair.
local LEAST_GAUSSIAN, LEAST_GABOR, LEAST_DOG = 1e-6, 1e-3, 1e-4

return function(conn, help)

  --- Distances along both axes [m, n], and lengths as numbers.
  local function plane(who, pre, post, lengths)
    local a, b, x = help.places(who, pre, post, lengths)
    if a.shape[2] < 2 then
      core.fail("ShapeError", 3, "conn.%s: kernels are of the plane, the positions [n,%d] are not", who, a.shape[2])
    end
    for name, length in pairs(x) do x[name] = help.positive(who, name, length) end
    local function along(k) return core.cast(a[{{}, k}]:reshape(-1, 1) - b[{{}, k}]:reshape(1, -1), "float64") end
    return along(1), along(2), x
  end

  --- A builder conn.<who>(pre, post, opts); lengths: "sigma! max_distance", ! those that must be there; names: its
  --  other options; value(dx, dy, lengths, opts) -> [m, n].
  local function define(who, lengths, names, value)
    conn[who] = function(pre, post, opts)
      local known, given = {}, {}
      for name in names:gmatch "%S+" do known[#known + 1] = name end
      for name in lengths:gmatch "[%w_]+" do known[#known + 1] = name end
      opts = help.options(who, opts, table.unpack(known))
      for name, needed in lengths:gmatch "([%w_]+)(!?)" do
        if needed == "!" and opts[name] == nil then
          core.fail("TypeError", 2, "conn.%s: argument '%s' is missing", who, name)
        end
        given[name] = opts[name]
      end
      local dx, dy, x = plane(who, pre, post, given)
      local m, n = dx.shape[1], dx.shape[2]
      local w = value(dx, dy, x, opts)
      if help.alone(who, opts, m, n) then w = zero_unless(array.eye(m):eq(0), w) end
      local A = event.CSR.fromdense(core.cast(w, (core.precision())))
      if opts.weight ~= nil then A = A:with_data(A.data * help.per_entry(who, "weight", opts.weight, A.nnz)) end
      A.delay = help.delay_of(who, opts.delay, A.nnz)
      return A
    end
  end

  local function gauss(r2, sigma) return array.exp(-r2 / (2 * sigma^2)) end

  --- e^(-r^2 / (2 sigma^2)), over 2 pi sigma^2 unless normalize = false, up to max_distance (3 sigma).
  --  Example:
  --    local places = bdl.random.rand(5, 2)
  --    print(bdl.conn.gaussian_kernel(places, places, {sigma = 0.2}))
  define("gaussian_kernel", "sigma! max_distance", "normalize", function(dx, dy, x, opts)
    local r2 = dx^2 + dy^2
    local w = gauss(r2, x.sigma)
    if opts.normalize ~= false then w = w / (2 * math.pi * x.sigma^2) end
    local most = x.max_distance or 3 * x.sigma
    return zero_unless(array.logical_and(r2:le(most^2), w:gt(LEAST_GAUSSIAN)), w)
  end)

  --- e^(-r^2 / (2 sigma^2)) cos(2 pi frequency x' + phase), x' along theta; up to max_distance (3 sigma).  frequency in
  --  cycles a length of the positions.  Source: Daugman (1985), J. Opt. Soc. Am. A 2.
  --  Example:
  --    local places = bdl.random.rand(5, 2)
  --    print(bdl.conn.gabor_kernel(places, places, {sigma = 0.2, frequency = 2.0, theta = 0.5}))
  define("gabor_kernel", "sigma! max_distance", "frequency theta phase", function(dx, dy, x, opts)
    for _, name in ipairs{"frequency", "theta"} do
      if type(opts[name]) ~= "number" then
        core.fail("TypeError", 3, "conn.gabor_kernel: %s is a number, not %s", name, tostring(opts[name]))
      end
    end
    local r2, most = dx^2 + dy^2, x.max_distance or 3 * x.sigma
    local along = dx * math.cos(opts.theta) + dy * math.sin(opts.theta)
    local w = gauss(r2, x.sigma) * array.cos(2 * math.pi * opts.frequency * along + (opts.phase or 0.0))
    return zero_unless(array.logical_and(r2:le(most^2), w:abs():gt(LEAST_GABOR)), w)
  end)

  local function difference(dx, dy, center, surround, a, b, most)
    local r2 = dx^2 + dy^2
    local w = a * gauss(r2, center) - b * gauss(r2, surround)
    return zero_unless(array.logical_and(r2:le(most^2), w:abs():gt(LEAST_DOG)), w)
  end

  --- Difference of Gaussians: amplitude_center (1) of sigma_center less amplitude_surround (0.8) of sigma_surround, up
  --  to max_distance (3 sigma_surround).
  --  Example:
  --    local places = bdl.random.rand(5, 2)
  --    print(bdl.conn.dog_kernel(places, places, {sigma_center = 0.1, sigma_surround = 0.2}))
  define("dog_kernel", "sigma_center! sigma_surround! max_distance", "amplitude_center amplitude_surround",
         function(dx, dy, x, opts)
    return difference(dx, dy, x.sigma_center, x.sigma_surround, opts.amplitude_center or 1.0, opts.amplitude_surround
                      or 0.8,
                      x.max_distance or 3 * x.sigma_surround)
  end)

  --- 2 of sigma less 1 of sqrt(2) sigma, up to max_distance (4 sigma).
  --  Example:
  --    local places = bdl.random.rand(5, 2)
  --    print(bdl.conn.mexican_hat(places, places, {sigma = 0.2}))
  define("mexican_hat", "sigma! max_distance", "", function(dx, dy, x)
    return difference(dx, dy, x.sigma, math.sqrt(2) * x.sigma, 2.0, 1.0, x.max_distance or 4 * x.sigma)
  end)

  --- The entry of a matrix of h rows (y) and w columns (x) next to (dx, dy), the longer side as long as `size`;
  --  threshold: the largest magnitude that is not connected.
  local function entries(dx, dy, kernel, size, threshold)
    local h, w = #kernel, #kernel[1]
    local pitch = size / math.max(h, w)
    local function place(d, n)
      local extent = pitch * n
      if n == 1 then return d * 0, d:abs():le(extent / 2) end
      local q = (d + extent / 2) * ((n - 1) / extent)
      return array.minimum(array.maximum(array.ceil(q - 0.5), 0), n - 1), d:abs():le(extent / 2)
    end
    local row, in_y = place(dy, h)
    local column, in_x = place(dx, w)
    local flat = core.tensor(kernel, "float64"):reshape(-1)
    local value = flat[core.cast(row * w + column, "int32")]
    return zero_unless(array.logical_and(array.logical_and(in_x, in_y), value:abs():gt(threshold or 0.0)), value)
  end

  --- The entry of a matrix next to (dx, dy).
  --  kernel : the matrix, rows from -y to y, columns from -x to x
  --  kernel_size : the length of its longer side
  --  threshold : magnitudes up to it are not connected, 0
  --  Example:
  --    local places = bdl.random.rand(5, 2)
  --    print(bdl.conn.conv2d_kernel(places, places, {kernel = {{0, 1}, {1, 0}}, kernel_size = 0.5}))
  define("conv2d_kernel", "kernel_size!", "kernel threshold", function(dx, dy, x, opts)
    local kernel = opts.kernel
    if core.is_tensor(kernel) then kernel = core.totable(kernel) end
    if type(kernel) ~= "table" or type(kernel[1]) ~= "table" or type(kernel[1][1]) ~= "number" then
      core.fail("TypeError", 3, "conn.conv2d_kernel: kernel is a matrix of numbers")
    end
    return entries(dx, dy, kernel, x.kernel_size, opts.threshold)
  end)

  local SOBEL = {horizontal = {{-1, -2, -1}, {0, 0, 0}, {1, 2, 1}}, vertical = {{-1, 0, 1}, {-2, 0, 2}, {-1, 0, 1}}}
  local LAPLACE = {["4-connected"] = {{0, 1, 0}, {1, -4, 1}, {0, 1, 0}},
                   ["8-connected"] = {{1, 1, 1}, {1, -8, 1}, {1, 1, 1}}}

  local function choice(who, name, value, choices)
    if choices[value] then return choices[value] end
    local names = require "bdl.util".sorted_keys(choices)
    core.fail("ValueError", 4, "conn.%s: %s is one of '%s', not '%s'", who, name, table.concat(names, "', '"),
              tostring(value))
  end

  --- Edges of a direction: "horizontal" or "vertical".
  --  Example:
  --    local places = bdl.random.rand(5, 2)
  --    print(bdl.conn.sobel_kernel(places, places, {kernel_size = 0.5}))
  define("sobel_kernel", "kernel_size!", "direction", function(dx, dy, x, opts)
    return entries(dx, dy, choice("sobel_kernel", "direction", opts.direction or "horizontal", SOBEL), x.kernel_size)
  end)

  --- kernel_type: "4-connected" or "8-connected".
  --  Example:
  --    local places = bdl.random.rand(5, 2)
  --    print(bdl.conn.laplacian_kernel(places, places, {kernel_size = 0.5}))
  define("laplacian_kernel", "kernel_size!", "kernel_type", function(dx, dy, x, opts)
    return entries(dx, dy, choice("laplacian_kernel", "kernel_type", opts.kernel_type or "4-connected", LAPLACE),
                   x.kernel_size)
  end)

  --- f(dx, dy), of arrays [m, n], within the circle of diameter kernel_size, where its magnitude is above threshold
  --  (0).
  --  Example:
  --    local places = bdl.random.rand(5, 2)
  --    print(bdl.conn.custom_kernel(places, places, {kernel_size = 0.5, f = function(dx, dy) return dx - dy end}))
  define("custom_kernel", "kernel_size!", "f threshold", function(dx, dy, x, opts)
    if type(opts.f) ~= "function" then
      core.fail("TypeError", 3, "conn.custom_kernel: f is a function of dx and dy, not %s", tostring(opts.f))
    end
    local w = opts.f(dx, dy)
    return zero_unless(array.logical_and((dx^2 + dy^2):le((x.kernel_size / 2)^2), w:abs():gt(opts.threshold or 0.0)), w)
  end)
end

--- Connections within one population by where neurons stand in it: rings, grids, modules.  Called with the helpers of
--  conn.lua.
local core = require "bdl.core"
local array = require "bdl.array"
local event = require "bdl.event"
local random = require "bdl.random"

return function(conn, help)
  local function fail(who, fmt, ...) core.fail("ValueError", 3, "conn.%s: " .. fmt, who, ...) end

  local function switch(who, name, x, default)
    if x == nil then return default end
    if type(x) ~= "boolean" then
      core.fail("TypeError", 3, "conn.%s: %s is true or false, not %s", who, name, tostring(x))
    end
    return x
  end

  --- Edges as lists of pre and post.
  local function joined(who, pre, post, n, opts)
    return help.from_pairs(who, core.tensor(pre, "int32"), core.tensor(post, "int32"), n, n, opts)
  end

  --- Each of n neurons on a ring to the k next ones, and to the k before it unless bidirectional = false.
  --  Example:
  --    print(bdl.conn.ring(8, 1))
  function conn.ring(n, k, opts)
    opts = help.options("ring", opts, "bidirectional")
    n = help.count("ring", "the number of neurons", n, 3)
    k = help.count("ring", "the number of neighbours", k, 1)
    help.given("ring", opts)
    if k > (n - 1) // 2 then fail("ring", "%d neighbours to a side of a ring of %d; at most %d", k, n, (n - 1) // 2) end
    local pre, post, both = {}, {}, switch("ring", "bidirectional", opts.bidirectional, true)
    for i = 0, n - 1 do
      for d = both and -k or 1, k do
        if d ~= 0 then pre[#pre + 1], post[#post + 1] = i, (i + d) % n end
      end
    end
    return joined("ring", pre, post, n, opts)
  end

  local AROUND = {
    von_neumann = {{-1, 0}, {0, -1}, {0, 1}, {1, 0}},
    moore = {{-1, -1}, {-1, 0}, {-1, 1}, {0, -1}, {0, 1}, {1, -1}, {1, 0}, {1, 1}},
  }

  --- Each neuron of a grid {rows, columns} to those beside it: connectivity "von_neumann" (4) or "moore" (8); periodic
  --  = true: the edges meet.  The neuron of row i and column j, both from 0, is i columns + j.
  --  Example:
  --    print(bdl.conn.grid2d({3, 4}))
  function conn.grid2d(size, opts)
    opts = help.options("grid2d", opts, "connectivity", "periodic")
    if type(size) ~= "table" or #size ~= 2 then
      core.fail("TypeError", 2, "conn.grid2d: size = {rows, columns} is needed")
    end
    local rows, columns = help.count("grid2d", "rows", size[1], 1), help.count("grid2d", "columns", size[2], 1)
    help.given("grid2d", opts)
    local around = AROUND[opts.connectivity or "von_neumann"]
    if not around then
      fail("grid2d", "connectivity is 'von_neumann' or 'moore', not '%s'", tostring(opts.connectivity))
    end
    local pre, post, periodic = {}, {}, switch("grid2d", "periodic", opts.periodic, false)
    for i = 0, rows - 1 do
      for j = 0, columns - 1 do
        local seen = {[i * columns + j] = true}
        for _, step in ipairs(around) do
          local y, x = i + step[1], j + step[2]
          if periodic then y, x = y % rows, x % columns end
          local target = y * columns + x
          if y >= 0 and y < rows and x >= 0 and x < columns and not seen[target] then
            seen[target] = true
            pre[#pre + 1], post[#post + 1] = i * columns + j, target
          end
        end
      end
    end
    return joined("grid2d", pre, post, rows * columns, opts)
  end

  --- n neurons in n_modules parts of equal size, the first ones larger by one where they do not divide: pairs of one
  --  part with probability intra_prob (0.3), of two with inter_prob (0.01).
  --  Example:
  --    print(bdl.conn.modular(12, 3))
  function conn.modular(n, n_modules, opts)
    opts = help.options("modular", opts, "intra_prob", "inter_prob")
    n = help.count("modular", "the number of neurons", n, 1)
    n_modules = help.count("modular", "the number of modules", n_modules, 1)
    if n_modules > n then fail("modular", "%d modules of %d neurons", n_modules, n) end
    local intra, inter = help.probability("modular", opts.intra_prob or 0.3),
      help.probability("modular", opts.inter_prob or 0.01)
    local part = {}
    for m = 0, n_modules - 1 do
      for _ = 1, n // n_modules + (m < n % n_modules and 1 or 0) do part[#part + 1] = m end
    end
    local module = core.tensor(part, "int32")
    local p = array.where(module:reshape(-1, 1):eq(module:reshape(1, -1)), intra, inter)
    if help.alone("modular", opts, n, n) then p = array.where(array.eye(n):eq(0), p, 0.0) end
    local seed = help.seed_of("modular", opts)
    local linked = random.rand{size = {n, n}, key = seed}:lt(p)
    local A = event.CSR.fromdense(core.cast(linked, (core.precision())))
    A = A:with_data(help.per_entry("modular", "weight", opts.weight == nil and 1.0 or opts.weight, A.nnz))
    A.delay = help.delay_of("modular", opts.delay, A.nnz)
    return A
  end
end

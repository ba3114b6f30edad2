--- checkpoint: the backward pass computes the function again instead of keeping what it needs of it.
--  Loops in checkpoints: memory of O(log T) states for a loop of T steps, at about log T times the work.

local core = require "bdl.core"
local class = require "bdl.class"
local compile = require "bdl.compile"
local progress = require "bdl.progress"
local t = require "bdl.augment.trace"
local tree = require "bdl.tree"

local M = {}

local POLICIES = {nothing = true, everything = true}

--- checkpoint(f, opts) or checkpoint(opts)(f).  opts : static_argnums (positions from 1 of arguments that are no data), policy:
--  what the forward pass keeps, "nothing" (but the arguments) or "everything" (as without checkpoint).
--  Example:
--    local f = bdl.augment.NAME(function(x) return bdl.sin(bdl.sin(x)) end)
--    print(bdl.grad(function(x) return f(x):sum() end)(bdl.zeros(2)))
M.checkpoint = t.transformation("checkpoint", {"static_argnums", "policy"}, function(f, opts)
  if opts.policy ~= nil and not POLICIES[opts.policy] then
    core.fail("ValueError", 4, "checkpoint: the policy is \"nothing\" or \"everything\", not %s", tostring(opts.policy))
  end
  local static = {}
  for _, i in ipairs(t.list_of(opts.static_argnums or {})) do
    if math.type(i) ~= "integer" or i < 1 then
      core.fail("ValueError", 4, "checkpoint: static_argnums are positions from 1, not %s", tostring(i))
    end
    static[i] = true
  end
  return function(...)
    if not (core.tracing() or core.eager()) then return core.run_once(f, ...) end
    if not (t.differentiating() and core.tracing()) or opts.policy == "everything" then return f(...) end
    local all, args = table.pack(...), {}
    for i = 1, all.n do
      if not static[i] then args[#args + 1] = all[i] end
    end
    local p = t.differentiated("checkpoint", function(...)
      local given, k = {...}, 0
      local own = {}
      for i = 1, all.n do
        if static[i] then
          own[i] = all[i]
        else
          k = k + 1
          own[i] = given[k]
        end
      end
      return f(table.unpack(own, 1, all.n))
    end, args)
    local list = core.bind_programs("checkpoint", {p.program}, p.inputs)
    t.write_back(p, list)
    return table.unpack(t.results(p, list))
  end
end)

M.remat = M.checkpoint

-- ---- loops ---------------------------------------------------------------------------------------------------------------------

local function reshaped(x, lead, drop) return t.reshape(x, t.joined(lead, table.move(x.shape, drop + 1, x.ndim, 1, {}))) end

--- The largest power of base below n.
local function block_of(n, base)
  local size = 1
  while size * base < n do size = size * base end
  return size
end

local function joined(parts)
  return tree.map(function(...) return require "bdl.array.base".concatenate({...}, 0) end, table.unpack(parts))
end

--- Carry and the list of stacked results of f(carry, x..) over xs (a list of trees) of n steps.
local function in_blocks(f, carry, xs, n, base)
  if n <= base then
    local out = table.pack(compile.scan(f, carry, table.unpack(xs)))
    return out[1], table.move(out, 2, out.n, 1, {})
  end
  local size = block_of(n, base)
  local whole = n // size
  local blocks = {}
  for k, x in ipairs(xs) do
    blocks[k] = tree.map(function(leaf) return reshaped(t.rows(leaf, 0, whole * size), {whole, size}, 1) end, x)
  end
  local inner = M.checkpoint(function(c, ...)
    local last, stacked = in_blocks(f, c, {...}, size, base)
    return last, table.unpack(stacked)
  end)
  local out = table.pack(compile.scan(inner, carry, table.unpack(blocks)))
  carry = out[1]
  local stacked = table.move(out, 2, out.n, 1, {})
  for k, y in ipairs(stacked) do
    stacked[k] = tree.map(function(leaf) return reshaped(leaf, {whole * size}, 2) end, y)
  end
  if whole * size == n then return carry, stacked end
  local rest = {}
  for k, x in ipairs(xs) do rest[k] = tree.map(function(leaf) return t.rows(leaf, whole * size, n) end, x) end
  local last, more = in_blocks(f, carry, rest, n - whole * size, base)
  for k, y in ipairs(stacked) do stacked[k] = joined{y, more[k]} end
  return last, stacked
end

--- Sequences, their length, and the options of a last table.  Errors: ValueError.
local function loop_arguments(who, ...)
  local xs, opts = {...}, {}
  local last = xs[#xs]
  if t.is_plain(last) and (last.length ~= nil or last.base ~= nil or last.pbar ~= nil) then
    t.check_options(who, last, {"length", "base", "pbar"})
    opts = last
    xs[#xs] = nil
  end
  local base, n = opts.base or 16, opts.length
  if math.type(base) ~= "integer" or base < 2 then core.fail("ValueError", 3, "%s: base is a whole number from 2, not %s", who, tostring(base)) end
  for _, x in ipairs(xs) do
    for _, leaf in ipairs((core.flatten(x))) do
      if leaf.ndim == 0 then core.fail("ValueError", 3, "%s: a scalar has no axis to loop over", who) end
      if n ~= nil and leaf.shape[1] ~= n then core.fail("ValueError", 3, "%s: sequences differ in length: %d and %d", who, n, leaf.shape[1]) end
      n = leaf.shape[1]
    end
  end
  if n == nil then core.fail("ValueError", 3, "%s: no sequence and no length", who) end
  if math.type(n) ~= "integer" or n < 0 then core.fail("ValueError", 3, "%s: the length is a whole number from 0, not %s", who, tostring(n)) end
  if opts.pbar ~= nil then
    if not class.isa(opts.pbar, progress.ProgressBar) then
      core.fail("TypeError", 3, "%s: pbar is a ProgressBar, not a %s", who, class.typename(opts.pbar))
    end
  elseif #xs == 0 then
    xs[1] = core.bind("iota", {shape = {n}, axis = 0, dtype = select(2, core.precision())})
    opts = {counts = true}
  end
  return xs, n, base, opts.counts, opts.pbar
end

--- carry, ys.. = checkpointed_scan(f, init, xs.., {length =, base = 16, pbar =}?): scan in nested checkpoints of base steps.
--  Example:
--    local sum = function(c, x) return c + x, c end
--    print(bdl.augment.checkpointed_scan(sum, bdl.zeros(1), bdl.ones(50, 1)))
function M.checkpointed_scan(f, init, ...)
  t.check_callable("checkpointed_scan", f)
  local xs, n, base, counts, bar = loop_arguments("checkpointed_scan", ...)
  if bar then f, xs = progress.counted(bar, f, true, xs, n, false) end
  local function body(carry, ...)
    if counts then return f(carry) end
    return f(carry, ...)
  end
  local function run(c, ...)
    local last, stacked = in_blocks(body, c, {...}, n, base)
    return last, table.unpack(stacked)
  end
  if core.tracing() then return run(init, table.unpack(xs)) end
  return core.run_once(run, init, table.unpack(xs))
end

--- ys.. = checkpointed_for_loop(f, xs.., {length =, base = 16, pbar =}?): for_loop in nested checkpoints.
--  Example:
--    print(bdl.augment.checkpointed_for_loop(function(x) return x^2 end, bdl.arange(20)))
function M.checkpointed_for_loop(f, ...)
  t.check_callable("checkpointed_for_loop", f)
  return select(2, M.checkpointed_scan(function(carry, ...) return carry, f(...) end, {}, ...))
end

--- while_loop of at most max_steps rounds, which reverse mode can go through: while_loop's arguments, then {max_steps =, base = 16}.
--  Rounds after the condition ended change nothing; blocks of them are skipped.
--  Example:
--    local less, twice = function(x) return x:lt(10.) end, function(x) return 2*x end
--    print(bdl.augment.bounded_while_loop(less, twice, bdl.tensor(1.), {max_steps = 20}))
function M.bounded_while_loop(cond, body, ...)
  t.check_callable("bounded_while_loop", cond)
  t.check_callable("bounded_while_loop", body)
  local args = table.pack(...)
  local opts = args[args.n]
  if not t.is_plain(opts) or opts.max_steps == nil then core.fail("ValueError", 2, "bounded_while_loop: the last argument is {max_steps = n}") end
  t.check_options("bounded_while_loop", opts, {"max_steps", "base"})
  local max, base, n = opts.max_steps, opts.base or 16, args.n - 1
  if math.type(max) ~= "integer" or max < 0 then core.fail("ValueError", 2, "bounded_while_loop: max_steps is a whole number from 0, not %s", tostring(max)) end
  if n == 0 then core.fail("ValueError", 2, "bounded_while_loop: needs an initial value") end
  local function goes_on(c)
    return core.bind("and", {}, core.cast(cond(table.unpack(c.carry, 1, n)), "bool"), core.bind("lt", {}, c.step, max))
  end
  local function same(c) return c end
  local function round(c) return {carry = {body(table.unpack(c.carry, 1, n))}, step = c.step + 1} end
  local size = 1
  local step = round
  while size < max do -- base rounds, base^2, ..: each only if there is anything to do
    local inner = step
    step = M.checkpoint(function(c)
      return (compile.scan(function(now) return compile.cond(goes_on(now), inner, same, now) end, c, {length = base}))
    end)
    size = size * base
  end
  local function run(first)
    return compile.cond(goes_on(first), step, same, first).carry
  end
  local leaves, def = core.flatten(table.move(args, 1, n, 1, {})) -- numbers of Lua become tensors
  local first = {carry = core.unflatten(def, leaves), step = core.tensor(0, "int32")}
  if max == 0 then return table.unpack(first.carry, 1, n) end
  local carry = core.tracing() and run(first) or core.run_once(run, first)
  return table.unpack(carry, 1, n)
end

return M

--- Functions and their States as C for devices:  bdl.export{name = "net", step = {f, x}}, then `bdl export model.lua -o dir`.
--
-- Here is what C cannot know: names.  The functions are traced and planned as by jit; runtime/export writes the text.
local core = require "bdl.core"
local class = require "bdl.class"
local paths = require "bdl.path"
local reach = require "bdl.reach"
local tree = require "bdl.tree"

local M = {
  on_export = nil, -- f(files): set by `bdl export`
  math = "libm",
  ram_limit = nil,
}

-- ---- names of C ---------------------------------------------------------------------------------------------------------

local RESERVED = {}
for word in ([[alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const constexpr continue
  decltype default delete do double else enum explicit export extern false float for friend goto if inline int long mutable
  namespace new noexcept not not_eq nullptr operator or or_eq private protected public register restrict return short signed
  sizeof static struct switch template this throw true try typedef typeid typename union unsigned using virtual void volatile
  wchar_t while xor xor_eq]]):gmatch "%S+" do
  RESERVED[word] = true
end

local LONGEST = 63 -- characters that C compilers tell names by

local function is_name(text) return text:find "^%a[%w_]*$" ~= nil and #text <= LONGEST and not RESERVED[text] end

--- A name for `text` that is not yet in `taken`.
local function name_of(text, taken)
  local name = text:gsub("[^%w]+", "_"):gsub("^_+", ""):sub(1, LONGEST - 8):gsub("_+$", "")
  if name == "" or name:find "^%d" then name = "x" .. name end
  if RESERVED[name] then name = name .. "_" end
  local free, n = name, 1
  while taken[free] do
    n = n + 1
    free = name .. "_" .. n
  end
  taken[free] = true
  return free
end

local function note_of(path, leaf)
  local unit = core.is_tensor(leaf) and core.unit_of(leaf)
  return path .. (unit and (path == "" and "" or ", ") .. tostring(unit) or "")
end

--- {name, note} of every leaf of a value called `base`; of a table, by its keys.
local function leaves_of(list, value, base, taken, by_key)
  for key, leaf in tree.zip(value) do
    local path = key == "" and base or by_key and key or paths.append(base, key)
    list[#list + 1] = {name_of(path, taken), note_of(key == "" and "" or path, leaf)}
  end
end

--- Names of the parameters of f.
local function parameters(f, n)
  local names, source = {}, reach.source(f)
  for i = 1, n do
    names[i] = type(source) == "function" and debug.getlocal(source, i) or "x" .. i
  end
  return names
end

-- ---- States --------------------------------------------------------------------------------------------------------------

--- Id of a State -> its path: as the user names it, or by the upvalues that lead there.  Where an object lies is no part of it.
local function paths_of(touched, functions, given)
  local found, state = {}, require "bdl.state".State
  local function put(path, s)
    local id = core.state_id(rawget(s, "_handle"))
    if touched[id] and not found[id] then found[id] = {(path:gsub("@0x%x+", "")), s} end
  end
  if given ~= nil then
    for path, s in require "bdl.save.entries".of("export", given):items() do
      if class.isa(s, state) then put(path, s) end
    end
  end
  for _, fn in ipairs(functions) do
    for s, path in pairs(reach.paths(reach.places(fn.f, touched))) do put(path, s) end
  end
  put("random", require "bdl.random".DEFAULT)
  return found
end

--- Id -> {name, note} of each leaf.
local function states_of(functions, given)
  local touched, order, names, taken = {}, {}, {}, {}
  for _, fn in ipairs(functions) do
    for _, s in ipairs(core.entry_states(fn.entry)) do
      if not touched[s[1]] then order[#order + 1] = s end
      touched[s[1]] = true
    end
  end
  local found = paths_of(touched, functions, given)
  table.sort(order, function(a, b)
    local x, y = found[a[1]], found[b[1]]
    if not x or not y then return x ~= nil or (y == nil and a[1] < b[1]) end
    return x[1] < y[1]
  end)
  for _, s in ipairs(order) do
    local id, list, at = s[1], {}, found[s[1]]
    if at then
      leaves_of(list, at[2].value, at[1], taken)
      for _, leaf in ipairs(list) do
        if leaf[2]:sub(1, #at[1]) ~= at[1] then leaf[2] = leaf[2] == "" and at[1] or at[1] .. ", " .. leaf[2] end
      end
    end
    for k = #list + 1, s[3] do list[k] = {name_of(s[2] ~= "" and s[2] or "state", taken), s[2]} end
    names[id] = list
  end
  return names, found
end

-- ---- what is exported -----------------------------------------------------------------------------------------------------

local function callable(x)
  local mt = debug.getmetatable(x)
  return type(x) == "function" or (mt ~= nil and mt.__call ~= nil)
end

local EXAMPLE = 'bdl.export{name = "net", step = {function(x) return net(x) end, bdl.zeros(3)}}'

local function fail(kind, ...)
  core.hint(EXAMPLE)
  core.fail(kind, 4, ...)
end

--- The functions of the options, checked, in the order of their names.
local function functions_of(opts)
  local list = {}
  if type(opts) ~= "table" or getmetatable(opts) then
    fail("TypeError", "export: a table is expected, {name = .., step = {f, x}}, not a %s", class.typename(opts))
  end
  if type(opts.name) ~= "string" then
    fail("TypeError", "export: `name` is a string, the prefix of everything in C, not a %s", class.typename(opts.name))
  end
  if not is_name(opts.name) then fail("ValueError", "export: '%s' is no name in C: letters, digits and _, no keyword", opts.name) end
  for key, value in pairs(opts) do
    if type(key) ~= "string" then fail("TypeError", "export: functions have names, step = {f, x}; one is given without") end
    if key ~= "name" and key ~= "states" then
      if not is_name(key) or key == "init" or key == "state" or key == "scratch" then
        fail("ValueError", "export: a function cannot be called '%s' in C", key)
      end
      if type(value) ~= "table" or getmetatable(value) or not callable(value[1]) then
        fail("TypeError", "export: %s is a list of a function and the arguments to trace it with, {f, x, ..}, not a %s", key,
             class.typename(value))
      end
      local n = 1
      for k in pairs(value) do
        if math.type(k) ~= "integer" or k < 1 then
          fail("TypeError", "export: %s: arguments stand in a list behind the function, not under '%s'", key, tostring(k))
        end
        n = math.max(n, k)
      end
      list[#list + 1] = {name = key, f = value[1], n = n - 1, args = value}
    end
  end
  if #list == 0 then fail("ValueError", "export: there are no functions besides the name") end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- The C of a model: {source, header, state, scratch, constants, parts, leaves}, sizes in bytes, the largest parts first; leaves:
--  a list of {member of the struct, function that gives the State's value now}.
--  opts: as export, and math, "libm" or "own"; ram_limit in bytes.
function M.compile(opts)
  local functions = functions_of(opts)
  local list = {}
  for _, fn in ipairs(functions) do
    local out = table.pack(core.jit_entry(fn.f, table.unpack(fn.args, 2, fn.n + 1)))
    local names, taken, args, results = parameters(fn.f, fn.n), {s = true, w = true}, {}, {}
    fn.entry = out[1]
    for i = 1, fn.n do leaves_of(args, fn.args[i + 1], names[i], taken) end
    for i = 2, out.n do leaves_of(results, out[i], out.n == 2 and "out" or "out" .. i - 1, taken, true) end
    list[#list + 1] = {fn.name, fn.entry, args, results}
  end
  local file = core.where()
  local names, found = states_of(functions, opts.states)
  local files = core.export(opts.name, file or "a script", {own_math = M.math == "own", ram_limit = M.ram_limit}, list, names)
  files.name = opts.name
  files.leaves = {}
  for id, leaves in pairs(names) do
    for k, leaf in ipairs(leaves) do
      if files.header:find(" " .. leaf[1] .. "[", 1, true) and found[id] then
        local function value()
          local i = 0
          for _, x in tree.zip(found[id][2].value) do
            i = i + 1
            if i == k then return x end
          end
        end
        files.leaves[#files.leaves + 1] = {leaf[1], value}
      end
    end
  end
  return files
end

--- Names the functions that `bdl export model.lua -o dir` writes as one file of C99 with its header, for devices without an
--  operating system: no allocation, no library beyond math.h.  Under `bdl run` it does nothing but look at its arguments.
--  name : prefix of everything public, and of the files: net.c, net.h
--  Each other entry is a function with arguments to trace it with: step = {f, x}.  Arguments become pointers, results pointers behind
--  them.  All functions share the States, which are members of one struct and start as they are at this call; what no function
--  writes is constant.  Members are named by the way from the function's variables to the State, or by
--  states : a model, or a table of models and States, as for bdl.save
--  Errors: NotSupportedError, a primitive that a device does not have; BudgetError, more RAM than --ram-limit.
--  Example:
--    local V = bdl.State(bdl.zeros(3))
--    bdl.export{name = "filter", step = {function(x)
--      V.value = 0.9 * V.value + x
--      return V.value
--    end, bdl.zeros(3)}}
function M.export(opts)
  if not M.on_export then
    functions_of(opts)
    return
  end
  M.on_export(M.compile(opts))
end

return M

--- Options of the program bdl, and what stands in a command line.
local core = require "bdl.core"
local suggest = require "bdl.suggest"

local M = {}

--- Wrong usage: ends the command.
function M.usage(fmt, ...) error({usage = fmt:format(...)}, 0) end

local function whole(least, most)
  return function(text)
    local n = math.tointeger(tonumber(text))
    if not n or n < least or n > most then
      return nil, most == math.maxinteger and ("a whole number from %d"):format(least) or ("%d to %d"):format(least, most)
    end
    return n
  end
end

local function one_of(...)
  local names = {...}
  return function(text)
    for _, name in ipairs(names) do
      if name == text then return math.tointeger(tonumber(text)) or text end
    end
    return nil, table.concat(names, ", ")
  end
end

local function setting(text)
  local path, value = text:match "^%s*([^=%s]+)%s*=(.*)$"
  if not path then return nil, "name=value" end
  return {path, value}
end

--- A processor that native code is made for.
local function march(text)
  local names = {"native"}
  for i, target in ipairs(core.native_targets()) do names[i + 1] = target[2] end
  return one_of(table.unpack(names))(text)
end

--- "512M" -> bytes
local function bytes(text)
  local number, unit = text:match "^(%d+)([kKmMgG]?)$"
  local n = number and math.tointeger(number) * (1 << (({k = 10, m = 20, g = 30})[unit:lower()] or 0))
  if not n or n < 1 then return nil, "bytes: 1000000, 512M, 2G" end
  return n
end

local function seconds(text)
  local s = tonumber(text)
  if not s or not (s > 0 and s < 1e9) then return nil, "seconds, more than 0" end
  return s
end

--- name -> {argument, reader, what it does}; without an argument it is a switch.
M.rows = {
  seed = {"N", whole(0, math.maxinteger), "start bdl.random from this seed"},
  precision = {"BITS", one_of("8", "16", "32", "64", "bf16"), "float dtype: 8, 16, 32 (the default), 64 or bf16"},
  threads = {"N", whole(1, 1024), "use at most so many threads; results do not depend on it"},
  tier = {"NAME", one_of("auto", "interp", "native"), "how compiled programs run: auto (the default), interp (at once), native (compiled first)"},
  platform = {"NAME", one_of("cpu", "gpu"), "device to run on"},
  set = {"NAME=VALUE", setting, "change a setting of the model: --set tau='30 ms' (repeatable)"},
  quiet = {nil, nil, "no progress bars, no warnings"},
  profile = {nil, nil, "print where the time of compiled programs went, and what was achieved of what the machine can do"},
  ["trace-file"] = {"FILE", nil, "write each step of compiled programs on a time line, for chrome://tracing or Perfetto (JSON)"},
  record = {"FILE", nil, "keep what each equation made, as a hash, for bdl replay; slower"},
  sandbox = {nil, nil, "for a model of a stranger: no files, programs or native code; the limits below hold in it"},
  ["memory-limit"] = {"BYTES", bytes, "of a sandbox, all in all: 512M, 2G (1G unless given)"},
  ["step-limit"] = {"N", whole(1, math.maxinteger), "of a sandbox: iterations of compiled loops, and thousands of instructions of Lua"},
  ["time-limit"] = {"SECONDS", seconds, "of a sandbox"},
  check = {nil, nil, "stop at the first equation that gives other numbers"},
  plot = {"FILE", nil, "where the model's figure goes: a file .png, .svg, .pdf or .gif, or term (the default) or none"},
  ranks = {"WHICH", one_of("first", "all"), "under mpirun, which processes print: the first (the default) or all"},
  after = {"PASS", nil, "the program after a pass: trace (before any), inline, simplify, fold, cse, hoist, counter, accumulate, products, dce, or all"},
  groups = {nil, nil, "hidden groups and relations of online learners instead, as bdl etrace"},
  dot = {"FILE", nil, "write the graph for Graphviz to a file as well"},
  plan = {nil, nil, "the plan only: fused groups, kernels, loops, buffers"},
  c = {nil, nil, "the C text only that native code is made of"},
  cuda = {nil, nil, "what a GPU would run only: the host's steps, and the text of the kernels"},
  clear = {nil, nil, "remove every program"},
  native = {"FILE", nil, "native code that bdl compile made of the model: no compiler is needed, no cache"},
  output = {"FILE", nil, "the file, or of export the folder, to write; -o FILE says the same"},
  march = {"CPU", march, "least processor to run on, as C compilers call it (native: this one, the default)"},
  run = {nil, nil, "run the model in place of tracing it, where what it compiles depends on what it computes"},
  math = {"NAME", one_of("libm", "own"), "what exported code takes from math.h: libm (the default) or own, nothing"},
  ["ram-limit"] = {"BYTES", whole(1, math.maxinteger), "refuse a model that needs more RAM"},
}

--- Options of a command and the words that are none.  Behind the first word, the model, what is no option of bdl is left
--  to the model; so is everything behind `--`.
function M.parse(command, words)
  local opts, rest, i = {set = {}}, {}, 1
  while i <= #words do
    local word = words[i]
    i = i + 1
    if word == "-o" and command.options.output then word = "--output" end
    local name, value = word:match "^%-%-([^=]+)=?(.*)$"
    if word == "--" then
      table.move(words, i, #words, #rest + 1, rest)
      break
    elseif word == "-h" or name == "help" then
      opts.help = true
    elseif not word:find "^%-." then
      rest[#rest + 1] = word
    else
      local option = name and command.options[name] and M.rows[name]
      local near = suggest.hint(word:match "^[^=]*", command.option_names)
      if not option then
        if #rest == 0 then M.usage("unknown option '%s'%s", word, near) end
        if near ~= "" then M.usage("unknown option '%s'%s; arguments of the model go behind --", word, near) end
        rest[#rest + 1] = word
      elseif not option[1] then
        if word:find "=" then M.usage("--%s takes no value", name) end
        opts[name] = true
      else
        if not word:find "=" then
          value, i = words[i], i + 1
          if not value then M.usage("--%s needs a value: --%s %s", name, name, option[1]) end
        end
        local read, expected = value, nil
        if option[2] then read, expected = option[2](value) end
        if read == nil then M.usage("--%s %s: expected %s", name, value, expected) end
        if name == "set" then opts.set[#opts.set + 1] = read else opts[name] = read end
      end
    end
  end
  return opts, rest
end

return M

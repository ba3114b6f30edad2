--- Exported C beside the runtime: the same calls in both, every bit of results and States compared.
local core = require "bdl.core"
local export = require "bdl.export"
local tree = require "bdl.tree"

local M = {}

M.cc = os.getenv "CC" or "cc"
M.flags = "-std=c99 -O1 -Wall -Wextra -pedantic -Werror"

local FORMAT = {float32 = "<f", float64 = "<d", int32 = "<i4", int64 = "<i8", uint32 = "<I4", bool = "<B"}
local CTYPE = {float32 = "float", float64 = "double", int32 = "int32_t", int64 = "int64_t", uint32 = "uint32_t", bool = "uint8_t"}

local function flat(x) return core.mantissa(x):reshape(-1):totable() end

local function bytes(x)
  local format, out = FORMAT[tostring(x.dtype)], {}
  for i, v in ipairs(flat(x)) do out[i] = format:pack(v == true and 1 or v == false and 0 or v) end
  return table.concat(out)
end

--- Leaves of values, as tensors.
local function leaves(list, ...)
  for i = 1, select("#", ...) do
    for _, leaf in tree.zip((select(i, ...))) do list[#list + 1] = core.tensor(leaf) end
  end
  return list
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function shell(command)
  local pipe = io.popen(command .. " 2>&1; echo $?")
  local text = pipe:read "a"
  pipe:close()
  local out, status = text:match "^(.-)(%d+)\n$"
  return out, tonumber(status)
end

--- A folder for one test, removed by close().
local function folder()
  local path = os.tmpname()
  os.remove(path)
  assert(core.make_folder(path))
  return setmetatable({path = path}, {__close = function() os.execute("rm -rf '" .. path .. "'") end})
end
M.folder, M.shell, M.write = folder, shell, write

--- The program around the functions: what it reads and writes are the bytes of calls in a row.
local function driver(files, opts, calls, args, results)
  local lines = {'#include "' .. files.name .. '.h"', "#include <stdio.h>", "#include <string.h>",
                 ("static %s_state s;"):format(files.name), ("static %s_scratch w;"):format(files.name), "int main(void) {",
                 "  int failed;", ("  %s_init(&s);"):format(files.name)}
  local function line(fmt, ...) lines[#lines + 1] = fmt:format(...) end
  local sizes = {}
  for k, call in ipairs(calls) do
    local names = {}
    sizes[call[1]] = true
    line "  {"
    for i, x in ipairs(args[k]) do
      line("    static %s a%d[%d];", CTYPE[tostring(x.dtype)], i, math.max(x.size, 1))
      line("    if (fread(a%d, sizeof a%d[0], %d, stdin) != %d) return 9;", i, i, x.size, x.size)
      names[#names + 1] = "a" .. i
    end
    for i, x in ipairs(results[k]) do
      line("    static %s z%d[%d];", CTYPE[tostring(x.dtype)], i, math.max(x.size, 1))
      names[#names + 1] = "z" .. i
    end
    line("    memset(&w, %d, sizeof w);", k % 2 * 255) -- nothing is kept there
    line("    if ((failed = %s_%s(&s, &w%s)) != 0) return 100 + failed;", files.name, call[1], #names > 0 and ", " .. table.concat(names, ", ") or "")
    for i, x in ipairs(results[k]) do line("    fwrite(z%d, sizeof z%d[0], %d, stdout);", i, i, x.size) end
    line "  }"
  end
  for _, leaf in ipairs(files.leaves) do line("  fwrite(s.%s, 1, sizeof s.%s, stdout);", leaf[1], leaf[1]) end
  line "  return 0;\n}"
  return table.concat(lines, "\n")
end

local function same(a, b) return a == b and (a ~= 0 or 1 / a == 1 / b) or (a ~= a and b ~= b) end

local function compare(what, text, at, x)
  local format, size = FORMAT[tostring(x.dtype)], #bytes(x) // math.max(x.size, 1)
  for i, v in ipairs(flat(x)) do
    local got = format:unpack(text, at + (i - 1) * size)
    if x.dtype == "bool" or type(v) == "boolean" then got = got ~= 0 end
    if not same(got, v) then error(("%s, element %d: C has %s, the runtime %s"):format(what, i, tostring(got), tostring(v)), 0) end
  end
  return at + size * x.size
end

--- Exports opts, makes the calls {{"step", x, ..}, ..} in C and in the runtime; an error where a bit differs.
--  more: math ("libm" or "own"), flags of the compiler in place of M.flags, keep (a folder)
function M.check(opts, calls, more)
  more = more or {}
  local dir <close> = more.keep and {path = more.keep} and setmetatable({path = more.keep}, {__close = function() end}) or folder()
  export.math = more.math or "libm"
  local files = export.compile(opts)
  export.math = "libm"
  local args, results, input = {}, {}, {}
  for k, call in ipairs(calls) do
    local f = opts[call[1]][1]
    args[k] = leaves({}, table.unpack(call, 2, #opts[call[1]]))
    for _, x in ipairs(args[k]) do input[#input + 1] = bytes(x) end
    results[k] = leaves({}, require "bdl".jit(f)(table.unpack(call, 2, #opts[call[1]])))
  end
  local base = dir.path .. "/" .. files.name
  write(base .. ".c", files.source)
  write(base .. ".h", files.header)
  write(dir.path .. "/main.c", driver(files, opts, calls, args, results) .. "\n")
  write(dir.path .. "/in", table.concat(input))
  local cc = ("%s %s -o '%s/run' '%s/main.c' '%s.c'%s"):format(M.cc, more.flags or M.flags, dir.path, dir.path, base,
    more.math == "own" and "" or " -lm")
  local out, status = shell(cc)
  if status ~= 0 then error("the compiler says\n" .. out, 0) end
  out, status = shell(("'%s/run' < '%s/in' > '%s/out'"):format(dir.path, dir.path, dir.path))
  if status ~= 0 then error(("the program ends with %d\n%s"):format(status, out), 0) end
  local text, at = read(dir.path .. "/out"), 1
  for k in ipairs(calls) do
    for i, x in ipairs(results[k]) do at = compare(("call %d, %s, result %d"):format(k, calls[k][1], i), text, at, x) end
  end
  for _, leaf in ipairs(files.leaves) do at = compare("State " .. leaf[1], text, at, core.tensor(leaf[2]())) end
  if at ~= #text + 1 then error("C wrote more than there is", 0) end
  return files
end

return M

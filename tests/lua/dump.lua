-- Derivatives and batches are as small as a careful person would write them: tests/dump/<name>.ir is what becomes of <name>.lua.
-- After a change of the passes: UPDATE=1 writes the files anew, to be read before they are kept.
local t = require "tests.lua.harness"

local BDL = os.getenv "BDL" or "build/bdl"
if not BDL:find "^/" then BDL = io.popen("pwd"):read "l" .. "/" .. BDL end

local function read(path)
  local f <close> = assert(io.open(path))
  return f:read "a"
end

--- The last program that `bdl dump` prints.
local function optimised(name)
  local text, status = t.shell(("cd tests/dump && %s dump --after=dce %s.lua"):format(BDL, name))
  t.eq(status, 0)
  return text:gsub("^.*\n# program[^\n]*\n", ""):gsub("^# program[^\n]*\n", ""):gsub("%s*$", "\n")
end

for _, name in ipairs{"mlp", "lif", "vmap"} do
  t.test(name, function()
    local got, path = optimised(name), ("tests/dump/%s.ir"):format(name)
    if os.getenv "UPDATE" then
      local f <close> = assert(io.open(path, "w"))
      f:write(got)
    end
    t.eq(got, read(path))
  end)
end

-- The models of models/seeds run, and trace without running.
local t = require "tests.lua.harness"

local program = os.getenv "BDL"
local list = io.popen "LC_ALL=C ls models/seeds/*.lua"

for path in list:lines() do
  t.test(path, function()
    if not program then return end
    for _, command in ipairs{"run --quiet", "check"} do
      local text, status = t.shell(("%s %s %s"):format(program, command, path))
      t.eq(status, 0, text)
    end
  end)
end

list:close()

--- Runs test files of Lua:  bdl run --quiet tests/lua/run.lua tests/lua/check.lua ..
--  Prints each failure with its place, and last `N passed, N failed, N skipped`; the exit status is 1 after a failure.
package.path = "./?.lua;" .. package.path
local t = require "tests.lua.harness"

for _, path in ipairs(arg) do
  local chunk, err = loadfile(path)
  t.attempt(path, chunk or function() error(err, 0) end)
end
print(("%d passed, %d failed, %d skipped"):format(t.passed, t.failed, t.skipped))
os.exit(t.failed == 0, true)

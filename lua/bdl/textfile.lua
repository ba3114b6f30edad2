--- Files of text (and pictures), written whole or not at all: until the end their bytes are in a file beside.
local core = require "bdl.core"

local M = {}

--- Fails where a file of that name cannot be written, before there is anything to write.  Errors: IOError; NotSupportedError in a
--  sandbox.
function M.check(path) core.raw_discard(core.raw_create(path)) end

--- Errors: the same.
function M.write(path, text)
  local file = core.raw_create(path)
  local ok, e = pcall(core.raw_put, file, text)
  if not ok then
    core.raw_discard(file)
    error(e, 0)
  end
  core.raw_finish(file)
end

--- nil, or why it could not be written.
function M.try(path, text)
  local ok, e = pcall(M.write, path, text)
  return not ok and (type(e) == "table" and e.message or tostring(e)) or nil
end

return M

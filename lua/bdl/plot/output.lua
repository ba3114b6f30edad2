--- The figure of a model: where `bdl run --plot` says.
local core = require "bdl.core"
local class = require "bdl.class"
local figure = require "bdl.plot.figure"

local M = {}

M.target = nil                                   -- of the command line: a file, "term", "none"; nil: "term"
M.drawn = 0                                      -- figures of this run

--- Puts `-2` before the ending of the second file, and so on.
local function numbered(path, k)
  if k == 1 then return path end
  return (path:gsub("(%.%w+)$", ("-%d%%1"):format(k)))
end

--- Shows the figure of a model: prints it, or with `bdl run model.lua --plot FILE` saves it there; `--plot none`:
--  neither.
--  fig : a figure; or a function that makes it, which is called where it is wanted only
--  Example:
--    bdl.plot.output(bdl.plot.lines({1, 4, 9}, {width = 40}))
function M.output(fig)
  if type(fig) ~= "function" and not class.isa(fig, figure.Figure) then
    core.fail("TypeError", 2, "plot.output: a figure is needed, or a function that makes one, not a %s",
              class.typename(fig))
  end
  local _, rank = core.world()
  M.drawn = M.drawn + 1
  if M.target == "none" or core.checking() or rank > 0 then return end
  if type(fig) == "function" then fig = fig() end
  if not class.isa(fig, figure.Figure) then
    core.fail("TypeError", 2, "plot.output: the function gave a %s, no figure", class.typename(fig))
  end
  if M.target == nil or M.target == "term" then return print(fig) end
  local path = numbered(M.target, M.drawn)
  fig:save(path)
  print("figure         " .. path)
end

return M

--- The pages of docs/: every block of Lua runs, those of a page one after the other, and prints what stands below it.
local t = require "tests.lua.harness"
local Session = require "bdl.repl.session"

local function pages()
  local list = {}
  for path in t.shell "ls docs/*.md":gmatch "[^\n]+" do list[#list + 1] = path end
  return list
end

local function links(text) return text:gmatch "%]%(([%w_./-]+)%)" end

t.ok(#pages() >= 2)
for _, path in ipairs(pages()) do
  local file <close> = assert(io.open(path))
  local text = file:read "a"

  t.test(path .. " prints what it says", function()
    local session, name, n = Session(), path:match "([^/]*)%.md$" .. ".lua", 0
    bdl.random.seed(0)
    for code, rest in text:gmatch "```lua\n(.-)```()" do
      n = n + 1
      local failure
      local printed = t.prints(function() _, failure = session:run(code, name, true) end)
      if failure then error(("block %d: %s"):format(n, failure.text), 0) end
      local expected = text:match("^\n\n```\n(.-)\n?```", rest)
      if expected then t.eq(printed, expected, "block " .. n) end
    end
    t.ok(n > 2)
  end)

  t.test(path .. " links to what is there", function()
    for target in links(text) do
      local there = io.open("docs/" .. target)
      t.ok(there, target)
      if there then there:close() end
    end
  end)
end


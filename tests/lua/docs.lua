--- tools/docs.lua: the reference is complete, its links lead somewhere, the man pages and the annotations are well-formed.
local t = require "tests.lua.harness"
local help = require "bdl.help"

local BDL = os.getenv "BDL" or "build/bdl"

local function has(command) return select(2, t.shell("command -v " .. command)) == 0 end

if not has "cmark-gfm" then
  t.skip("the reference", "cmark-gfm is missing")
  return
end

local dir = os.tmpname()
os.remove(dir)
local cleanup <close> = setmetatable({}, {__close = function() os.execute("rm -rf " .. dir) end})
local text, status = t.shell(("%s run --quiet tools/docs.lua %s"):format(BDL, dir))
t.eq(status, 0, text)

local function read(name)
  local file = io.open(dir .. "/" .. name)
  local s = file and file:read "a"
  if file then file:close() end
  return s
end

t.test("every link leads to a page and a place of it", function()
  local checked = 0
  for path in t.shell("ls " .. dir .. "/*.html"):gmatch "[^\n]+" do
    local page = assert(io.open(path)):read "a"
    for target in page:gmatch 'href="([^"]*)"' do
      local file, anchor = target:match "^([^#]*)#?(.*)$"
      if not target:find "^https?:" then
        local there = read(file ~= "" and file or path:match "[^/]*$")
        t.ok(there, ("%s: %s"):format(path, target))
        t.ok(not there or anchor == "" or there:find('id="' .. anchor .. '"', 1, true), ("%s: %s"):format(path, target))
        checked = checked + 1
      end
    end
  end
  t.ok(checked > 100)
end)

t.test("the search knows every name that has a page, and its place", function()
  local names = read "names.js"
  for _, area in ipairs(help.areas()) do
    local page = read(area .. ".html")
    for _, name in ipairs(help.names(area)) do
      if help.page(area, name) then
        t.ok(names:find(('"%s.html#%s"'):format(area, name), 1, true), area .. "." .. name)
        t.ok(page:find(('id="%s"'):format(name), 1, true), area .. "." .. name)
      end
    end
  end
  t.ok(names:find('"bdl replay"', 1, true))
end)

t.test("man pages are clean", function()
  if not has "groff" then return end
  for path in t.shell("ls " .. dir .. "/man/*"):gmatch "[^\n]+" do
    local warnings = t.shell(("groff -man -Tutf8 -ww -z %s"):format(path))
    t.eq(warnings:gsub("[^\n]*can't break line[^\n]*\n", ""):gsub("[^\n]*cannot break line[^\n]*\n", ""), "", path)
  end
end)

t.test("annotations are Lua, one for each name", function()
  local meta = read "bdl.d.lua"
  t.ok(load(meta))
  t.ok(meta:find("---@class bdl.nn.LIF : table\n---@field size any (required)", 1, true))
  t.ok(meta:find("function bdl.nn.LIF:update(I) end", 1, true))
  t.ok(meta:find("function bdl.jit(", 1, true))
end)

--- Comments of bdl's own modules, by the names that they explain.  README.md says how they are written.
--
--   docs.index "nn".LIF     the block of lines before nn.LIF, wherever it is defined     docs.parse(block,
--  "LIF").Source
local core = require "bdl.core"
local util = require "bdl.util"

local docs = {}

--- A comment, up to the code that it stands before: {lines, code = text of that line, line = its number, module}.
local function blocks_of(text, module)
  local blocks, block, number = {}, nil, 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local first, rest = line:match "^%s*%-%-%-%s?(.*)$", line:match "^%s*%-%- ? ?(.*)$"
    if first then
      block = {lines = {first}, module = module, headed = 0}
      blocks[#blocks + 1] = block
    elseif rest and block then
      table.insert(block.lines, rest)
    elseif block then
      block.code, block.line = line, number
      block = nil
    end
  end
  return blocks
end

--- The names that a line of code defines: LIF; LIF.update.
local CODE = {
  "^%s*local ([%w_]+) =", "^%s*[%w_]+%.([%w_]+) =", "^%s*[%w_]+%.([%w_]+),", "^%s*function %l[%w_]*%.([%w_]+)%(",
  "^%s*function M%.([%w_]+)%(",
  "^%s*[%w_.]+%(?[%w_, ]-%s?\"([%w_]+)\"", "^%s*local [%w_]+ = [%w_.]+%(?[%w_, ]-%s?\"([%w_]+)\"",
}

local function names_of(block)
  local names, code = {}, block.code or ""
  if code:find "= require" then code = "" end
  local heading = (block.lines[1] .. " "):match "^([%a_][%w_, ]*):%s" or ""
  for name in (heading .. ", "):gmatch "(.-), " do
    if name:find "[ ,]" then names = {} break end
    names[#names + 1] = name ~= "" and name or nil
  end
  block.headed = #names
  for _, pattern in ipairs(CODE) do names[#names + 1] = code:match(pattern) end
  local cls, method = code:match "^%s*function (%u[%w_]*)[.:]([%w_]+)%("
  if not cls then cls, method = code:match "^%s*(%u[%w_]*)%.([%w_]+) =" end
  if cls then names[#names + 1] = cls .. "." .. method end
  return names
end

--- Modules of an area by the beginnings of their names: of nn bdl.nn and bdl.nn.*; of bdl itself those whose functions
--  stand there.
local OPEN = {"bdl", "state", "array", "compile", "augment", "debug", "args", "pretty", "environ", "settings", "help",
              "progress", "simulation", "snapshot", "save", "export", "hidden", "checkify", "hook"}

local function belongs(module, area)
  for _, part in ipairs(area == "bdl" and OPEN or {area}) do
    local name = part == "bdl" and "bdl" or "bdl." .. part
    if module == name or part ~= "bdl" and module:sub(1, #name + 1) == name .. "." then return true end
  end
  return false
end

local modules, indices = nil, {}

--- The blocks of every module by the line of code behind them, and by name of the module.
local function all_blocks()
  if modules then return modules end
  modules = {}
  for module, text in pairs(core.docs()) do
    local found = {all = blocks_of(text, module), at = {}, head = nil}
    modules[module] = found
    if text:sub(1, 3) == "---" then found.head = found.all[1] end
    for _, block in ipairs(found.all) do
      if block.line then found.at[block.line] = block end
    end
  end
  return modules
end

--- name -> block of an area: the block with the name in front of it, else the first before code that defines it, else
--  the head of a module that begins with it.
function docs.index(area)
  if indices[area] then return indices[area] end
  local headed, coded, heads = {}, {}, {}
  for _, module in ipairs(util.sorted_keys(all_blocks())) do
    local found = all_blocks()[module]
    for _, block in ipairs(belongs(module, area) and found.all or {}) do
      for k, name in ipairs(names_of(block)) do
        local into = block == found.head and heads or k <= block.headed and headed or coded
        into[name] = into[name] or block
      end
    end
  end
  indices[area] = setmetatable(headed, {__index = setmetatable(coded, {__index = heads})})
  return headed
end

--- Does a block of the index name it in front?
function docs.headed(index, name) return rawget(index, name) ~= nil end

local SECTIONS = {States = true, Errors = true, Source = true, Example = true, Options = true}

--- {items = lines, and {names =, meaning =} for `name, name : meaning`; text = the lines among them;
--   States =, Errors =, Source =, Options =, Example = lines}
function docs.parse(block, name)
  local parts, section, meant = {text = {}, items = {}}, nil, nil
  if not block then return parts end
  local function put(line, first)
    local title, rest = line:match "^(%u%l+): *(.*)$"
    if title and SECTIONS[title] and not first then
      section, meant, line = title, nil, rest
      parts[title] = parts[title] or {}
      if rest == "" then return end
    end
    local names, meaning = line:match "^([%a_][%w_, ]*) : (.*)$"
    if not section and names then
      meant = {names = names, meaning = meaning}
      table.insert(parts.items, meant)
    elseif meant and line:find "^%s" then
      meant.meaning = meant.meaning .. " " .. line:match "^%s*(.*)$"
    elseif section then
      table.insert(parts[section], section == "Example" and line:gsub("^  ", "") or line)
    else
      meant = nil
      table.insert(parts.items, line)
      table.insert(parts.text, line)
    end
  end
  for i, line in ipairs(block.lines) do
    if i == 1 and block.headed > 0 and (", " .. line:match "^[^:]*" .. ","):find(", " .. name .. ",", 1, true) then
      line = line:match "^[^:]*:%s*(.*)$"
    end
    if section ~= "Example" then
      line = line:gsub("%s%s+(%u%l+: )", function(title) return SECTIONS[title:match "%a+"] and "\n" .. title end)
    end
    for part in (line .. "\n"):gmatch "(.-)\n" do put(part, i == 1 and part == line) end
  end
  return parts
end

--- The first block of a module, where it stands on top; all blocks of a module; the block before a line of a file.
function docs.head(module) return all_blocks()[module] and all_blocks()[module].head end
function docs.blocks(module) return all_blocks()[module].all end
function docs.at(module, line) return all_blocks()[module] and all_blocks()[module].at[line] end

return docs

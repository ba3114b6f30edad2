--- Pages on public names: the comment beside the code, and the arguments that a constructor really takes.
--
--   bdl.help(bdl.nn.LIF)   bdl.help "nn.LIF.update"   bdl.help()        in a shell: bdl help LIF
--
-- Nothing is read before the first page is asked for.
local core = require "bdl.core"
local class = require "bdl.class"
local docs = require "bdl.docs"
local parameters = require "bdl.parameters"
local pretty = require "bdl.pretty"
local sentinels = require "bdl.none"
local suggest = require "bdl.suggest"
local util = require "bdl.util"

local help = {}

-- ---- names ---------------------------------------------------------------------------------------------------------------------

local function bdl() return require "bdl" end

--- Areas: submodules of bdl by name, then "bdl" for what stands in bdl itself.
function help.areas()
  local list, seen = {}, {}
  local submodules = getmetatable(bdl()).__submodules
  for _, name in ipairs(util.sorted_keys(submodules)) do
    local known = seen[submodules[name]]
    if not known or #known < #name then
      seen[submodules[name]] = name
    end
  end
  for _, name in pairs(seen) do list[#list + 1] = name end
  table.sort(list)
  list[#list + 1] = "bdl"
  return list
end

local function module_of(area) return area == "bdl" and bdl() or bdl()[area] end

--- The public names of an area, in the order of the alphabet.
function help.names(area)
  local module = module_of(area)
  local meta, list, seen = getmetatable(module), {}, {}
  local function add(name)
    local hidden = type(name) ~= "string" or name:find "^_" or area == "bdl" and meta.__submodules[name]
    if not hidden and not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  if type(meta) == "table" and meta.__names then
    for _, name in ipairs(meta.__names()) do add(name) end
  else
    for name in next, module do add(name) end
  end
  table.sort(list, function(a, b)
    local x, y = a:lower(), b:lower()
    return x < y or x == y and a < b
  end)
  return list
end

-- ---- pages ---------------------------------------------------------------------------------------------------------------------

--- The block before the line where a function is defined.
local function block_at(f)
  local info = debug.getinfo(f, "S")
  local module = info.source:match "^@%[bdl%]/(.*)%.lua$"
  if not module then return nil end
  module = module == "bdl" and "bdl" or "bdl." .. module:gsub("/", ".")
  return docs.at(module, info.linedefined)
end

--- The block with the name in front, of the function itself, of the name in code, or of another name of the same value.
local function block_of(area, name, value)
  local index = docs.index(area)
  local own = type(value) == "function" and not docs.headed(index, name) and block_at(value)
  if own then return own, name end
  if index[name] then return index[name], name end
  for _, other in ipairs(help.names(area)) do
    if index[other] and rawequal(module_of(area)[other], value) then return index[other], other end
  end
  return nil, name
end

--- A default as one would write it.
local function default_text(x)
  if x == nil then return "(required)" end
  if type(x) == "function" then return "a function" end
  if type(x) == "table" and getmetatable(x) == nil then
    local parts = {}
    for i, v in ipairs(x) do parts[i] = default_text(v) end
    return "{" .. table.concat(parts, ", ") .. "}"
  end
  if type(x) == "string" then return ("%q"):format(x) end
  if class.is_class(x) then return class.qualified_name(x) end
  return (pretty.text(x):gsub("%s*\n%s*", " "):gsub("%( ", "("):gsub(" %)", ")"):gsub(",%)", ")"))
end

--- {name, default as text, bounds as text} of the arguments of a class: positions first, then by name.
function help.parameters(cls)
  local ok, asked = pcall(cls, sentinels.ask)
  if ok or type(asked) ~= "table" then return {} end
  local list = {}
  if asked.rows then
    for _, row in ipairs(asked.rows) do
      local bounded = row.above or row.least or row.below or row.most or row.integer
      local bounds = row.one_of and "one of " .. default_text(row.one_of) or bounded and parameters.wanted(row) or ""
      list[#list + 1] = {row[1], default_text(row[2]), bounds}
    end
  elseif asked.spec then
    local seen = {}
    for _, name in ipairs(asked.spec) do
      seen[name] = true
      list[#list + 1] = {name, default_text(asked.spec[name]), ""}
    end
    local rest = {}
    for name in pairs(asked.spec) do
      if type(name) == "string" and not seen[name] then rest[#rest + 1] = name end
    end
    table.sort(rest)
    for _, name in ipairs(rest) do list[#list + 1] = {name, default_text(asked.spec[name]), ""} end
  end
  return list
end

--- Methods with a comment, those of the class first: {name, block, class}.
local function methods_of(area, cls)
  local list, seen, index = {}, {}, docs.index(area)
  while cls do
    for _, block in ipairs(index[cls.name] and docs.blocks(index[cls.name].module) or {}) do
      local name = (block.code or ""):match("^%s*function " .. cls.name .. "[.:](%a[%w_]*)%(")
      if name and not seen[name] then
        seen[name] = true
        list[#list + 1] = {name, block, cls}
      end
    end
    cls = cls.super
  end
  return list
end

--- What a page takes from the head of its module, or from the class above, where it says nothing itself.
local function inherited(area, cls, block, section)
  local index = docs.index(area)
  if not block and cls and cls.super then block = index[cls.super.name] end
  local head = block and docs.head(block.module)
  local said = head and docs.parse(head, "")[section]
  if said then return said end
  cls = cls and cls.super
  local above = cls and index[cls.name]
  if not above then return nil end
  return docs.parse(above, cls.name)[section] or inherited(area, cls, above, section)
end

local values  -- value -> its places that have comments

--- The area and name of an equal value elsewhere, of the same name if there is one; for what stands in several modules.
local function elsewhere(area, as, value)
  if not values then
    values = {}
    for _, other in ipairs(help.areas()) do
      for _, name in ipairs(help.names(other)) do
        local x = docs.index(other)[name] and module_of(other)[name]
        if type(x) == "function" or type(x) == "table" then
          values[x] = values[x] or {}
          table.insert(values[x], {other, name})
        end
      end
    end
  end
  local found
  for _, place in ipairs(values[value] or {}) do
    if place[1] ~= area and (not found or place[2] == as and found[2] ~= as) then found = place end
  end
  if found then return found[1], found[2] end
end

local function title_of(name, cls)
  local up = cls.super
  return name .. (up and up.name ~= "Object" and "   extends " .. up.name or "")
end

--- What elementwise primitives of one and of two operands are shown with.
local OPERANDS = {"bdl.tensor{0.25, 0.5}", "bdl.tensor{3., 5.}, bdl.tensor{2., 4.}"}

--- The page of a public name, nil where there is nothing to say:
--    title, text (lines), items (the same and what arguments mean), parameters, methods, and lines of States, Errors,
--    Options, Source, Example
function help.page(area, name)
  local value = module_of(area)[name]
  local is_class = class.is_class(value)
  local block, as = block_of(area, name, value)
  local title = area == "bdl" and "bdl." .. name or area .. "." .. name
  if not block then
    local other, there = elsewhere(area, name, value)
    local page = other and help.page(other, there)
    if page then
      page.title = title .. "   the same as " .. (other == "bdl" and "bdl." or other .. ".") .. there
      return page
    end
  end
  local page = docs.parse(block, as)
  page.title = title
  if not block then
    for _, prim in ipairs(core.prims()) do
      if prim.name == name then
        page.text, page.items = {prim.synopsis}, {prim.synopsis}
        page.Example = {("print(bdl.NAME(%s))"):format(OPERANDS[prim.n_in])}
      end
    end
  end
  local signature = type(value) == "function" and block and block.code and block.code:match "function [%w_.:]+(%b())"
  if signature then page.title = page.title .. signature end
  if is_class then
    page.parameters, page.methods = help.parameters(value), {}
    for _, m in ipairs(methods_of(area, value)) do
      if m[3] == value or m[1] == "update" then table.insert(page.methods, m) end
    end
    page.title = title_of(page.title, value)
  end
  for _, section in ipairs{"Source", "Example", "States"} do
    page[section] = page[section] or inherited(area, is_class and value or nil, block, section)
  end
  if is_class and value.documented_at then
    local other_area, other = value.documented_at:match "^([^.]*)%.(.*)$"
    local base = help.page(other_area, other)
    if #page.text == 0 then page.text, page.items = base.text, base.items end
    page.Source = page.Source or base.Source
  end
  for i, line in ipairs(page.Example or {}) do page.Example[i] = line:gsub("%f[%w]NAME%f[%W]", name) end
  return #page.text > 0 and page or nil
end

--- The page of a method: nn.LIF.update.
local function method_page(area, name, method)
  local cls = module_of(area)[name]
  if not class.is_class(cls) then return nil end
  for _, m in ipairs(methods_of(area, cls)) do
    if m[1]:lower() == method:lower() then
      local page = docs.parse(m[2], "")
      page.title = ("%s.%s:%s%s"):format(area, name, m[1], m[2].code:match "%b()")
      return page
    end
  end
end

-- ---- printing
--  ------------------------------------------------------------------------------------------------------------------

local function put(out, fmt, ...) out[#out + 1] = (fmt:format(...):gsub("%s+$", "")) end

--- What an item says of a name: "tau, R : time constant; resistance" says it of each.
local function meaning_of(item, name)
  local all, own, n = {}, nil, 0
  for part in (item.meaning .. "; "):gmatch "(.-); " do all[#all + 1] = part end
  for other in (item.names .. ", "):gmatch "(.-), " do
    n = n + 1
    if other == name then own = n end
  end
  return own and (n == #all and all[own] or item.meaning)
end

--- Lines as one paragraph.
local function paragraph(lines)
  local out, line = {}, ""
  for word in table.concat(lines, " "):gmatch "%S+" do
    if #line + #word > 114 then
      out[#out + 1] = line
      line = ""
    end
    line = line .. (line == "" and "" or " ") .. word
  end
  out[#out + 1] = line
  return table.concat(out, "\n  ")
end

--- Text of a page.
function help.text(page)
  local out, rows = {page.title, page.items[1] and ""}, {}
  for i, p in ipairs(page.parameters or {}) do rows[i] = {p[1], p[2], p[3]} end
  for _, item in ipairs(page.items) do
    local used = type(item) == "string"
    if used then put(out, "  %s", item) end
    for _, row in ipairs(used and {} or rows) do
      local meaning = meaning_of(item, row[1])
      if meaning then
        used, row[3] = true, row[3] .. (row[3] ~= "" and "; " or "") .. meaning
      end
    end
    if not used then put(out, "  %s : %s", item.names, item.meaning) end
  end
  if #rows > 0 then
    put(out, "\nParameters")
    local a, b = 0, 0
    for _, row in ipairs(rows) do a, b = math.max(a, #row[1]), math.max(b, #row[2] <= 24 and #row[2] or 0) end
    for _, row in ipairs(rows) do put(out, ("  %%-%ds  %%-%ds  %%s"):format(a, b), row[1], row[2], row[3]) end
  end
  for _, section in ipairs{"Options", "States", "Errors", "Source"} do
    local lines = page[section]
    if lines then put(out, "\n%s\n  %s", section, paragraph(lines)) end
  end
  if page.methods and #page.methods > 0 then
    put(out, "\nMethods")
    for _, m in ipairs(page.methods) do put(out, "  :%s%s  %s", m[1], m[2].code:match "%b()", m[2].lines[1]) end
  end
  if page.Example then put(out, "\nExample\n  %s", table.concat(page.Example, "\n  ")) end
  return table.concat(out, "\n")
end

--- The first line of what a module or a page says.
local function purpose(lines)
  local line = lines[1] or ""
  return line:match "^(.-):  " or line:match "^(.-[^.])[.;]%s" or line:match "^(.-)[.:]?$"
end

local function about(area)
  if area == "bdl" then return "arrays, States, transforms and compilation" end
  local module = getmetatable(bdl()).__submodules[area]
  local head = docs.head(module)
  return head and purpose(head.lines) or ""
end

--- names, wrapped
local function wrapped(out, names)
  local line = "   "
  for _, name in ipairs(names) do
    if #line + #name > 118 then
      out[#out + 1] = line
      line = "   "
    end
    line = line .. " " .. name
  end
  out[#out + 1] = line
end

--- All areas with their names.
function help.overview()
  local out = {}
  for _, area in ipairs(help.areas()) do
    put(out, "%s%s: %s", #out > 0 and "\n" or "", area == "bdl" and area or "bdl." .. area, about(area))
    wrapped(out, help.names(area))
  end
  return table.concat(out, "\n")
end

--- The names of an area, one line each.
function help.list(area)
  local out, names, width = {("bdl%s: %s"):format(area == "bdl" and "" or "." .. area, about(area)), ""}, help.names(area), 0
  for _, name in ipairs(names) do width = math.max(width, #name) end
  for _, name in ipairs(names) do
    local page = help.page(area, name)
    put(out, ("  %%-%ds  %%s"):format(width), name, page and purpose(page.text) or "")
  end
  return table.concat(out, "\n")
end

-- ---- finding
--  -------------------------------------------------------------------------------------------------------------------

--- The names of a list that are `wanted`; failing that, those that differ in case only.
local function matches(wanted, list)
  for _, name in ipairs(list) do
    if name == wanted then return {name} end
  end
  local found = {}
  for _, name in ipairs(list) do
    if name:lower() == wanted:lower() then found[#found + 1] = name end
  end
  return found
end

--- Areas in the order in which a name is looked for: nn.LIF is meant, not the nir.LIF of files.
local function search_order()
  local areas = help.areas()
  for k, area in ipairs(areas) do
    if area == "nir" then areas[#areas + 1] = table.remove(areas, k) break end
  end
  return areas
end

--- "area.name" of every place where a name stands, exact ones first; names of one value once.
local function places_of(wanted)
  local exact, loose, values = {}, {}, {}
  for _, area in ipairs(search_order()) do
    for _, name in ipairs(matches(wanted, help.names(area))) do
      local value = module_of(area)[name]
      if not values[value] then
        values[value] = true
        table.insert(name == wanted and exact or loose, {area, name})
      end
    end
  end
  return #exact > 0 and exact or loose
end

--- Everything that can be asked for, for suggestions.
local function known()
  local list = {}
  for _, area in ipairs(help.areas()) do
    list[#list + 1] = area
    for _, name in ipairs(help.names(area)) do list[#list + 1] = name end
  end
  return list
end

--- The text for the name of a unit, nil for other names.
local function unit_text(name)
  local ok, unit = pcall(core.unit, name)
  if ok then return ("bdl.units.%s\n\n  A unit of the dimension %s."):format(name, core.dim_text(unit)) end
end

--- The text for a name: an area, area.name, name, or any of them with a method.  nil and a hint where there is none.
function help.lookup(query)
  local words = {}
  for word in query:gsub("^bdl%.", ""):gsub(":", "."):gmatch "[^.]+" do words[#words + 1] = word end
  local areas = help.areas()
  local area = words[1] and matches(words[1] == "unit" and "units" or words[1], areas)[1]
  if area and #words == 1 then return help.list(area) end
  local places
  if area then
    table.remove(words, 1)
    places = {}
    for _, name in ipairs(matches(words[1], help.names(area))) do places[#places + 1] = {area, name} end
  else
    places = words[1] and places_of(words[1]) or {}
    local here = query:find "^bdl%." and matches(words[1], help.names "bdl")[1]
    if here then table.insert(places, 1, {"bdl", here}) end
  end
  for _, place in ipairs(places) do
    local page
    if #words == 1 then page = help.page(place[1], place[2])
    elseif #words == 2 then page = method_page(place[1], place[2], words[2]) end
    if page then
      local others = {}
      for _, other in ipairs(places) do
        if other[1] ~= place[1] or other[2] ~= place[2] then others[#others + 1] = other[1] .. "." .. other[2] end
      end
      return help.text(page) .. (#others > 0 and "\n\nAlso: " .. table.concat(others, ", ") or "")
    end
  end
  local last = words[#words] or ""
  local unit = #words == 1 and (not area or area == "units") and unit_text(last)
  if unit then return unit end
  if #words == 1 then return nil, suggest.hint(last, area and help.names(area) or known()) end
  return nil, ""
end

--- help(x): the page of a class, a function, an object's class, or of what a text names; help(): what there is.
--  Errors: KeyError, nothing has that name; the nearest one is named.
function help.help(x)
  if x == nil then return print(help.overview()) end
  local query = x
  if type(x) ~= "string" then
    local cls = class.is_class(x) and x or class.of(x)
    query = cls and class.qualified_name(cls)
    for _, area in ipairs(cls and {} or help.areas()) do
      if rawequal(module_of(area), x) then query = area end
      for _, name in ipairs(query and {} or help.names(area)) do
        if rawequal(module_of(area)[name], x) then query = area .. "." .. name end
      end
    end
  end
  if not query then
    core.fail("TypeError", 2, "help: a public class, function or name of bdl is needed, not a %s", class.typename(x))
  end
  local text, hint = help.lookup(query)
  if not text and type(x) ~= "string" then  -- a class of the user's
    local cls = class.is_class(x) and x or class.of(x)
    text = help.text{title = title_of(query, cls), items = {}, parameters = help.parameters(cls)}
  end
  if not text then core.fail("KeyError", 2, "help: nothing is called '%s'%s", query, hint) end
  print(text)
end

return help

--- The language reference from the doc comments: HTML with a search, man pages, annotations for editors.
--
--   bdl run tools/docs.lua FOLDER        docs/*.md become pages, too; cmark-gfm reads them
--
-- FOLDER/index.html, <area>.html, <guide>.html; FOLDER/man/bdl.1, bdl-<area>.7; FOLDER/bdl.d.lua (LuaCATS).
local help = require "bdl.help"
local docs = require "bdl.docs"
local json = require "bdl.json"
local cli = require "bdl.cli"
local core = require "bdl.core"

local folder = arg[1]
if not folder then error("which folder?", 0) end
local source = arg[0]:match "^(.*)/tools/" or "."

local function write(name, text)
  local file <close> = assert(io.open(folder .. "/" .. name, "w"))
  file:write(text, "\n")
end

--- Output of a command; it must succeed.
local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  if not pipe:close() then error(command .. " failed", 0) end
  return text
end

local function quoted(path) return "'" .. path:gsub("'", "'\\''") .. "'" end

assert(os.execute("mkdir -p " .. quoted(folder .. "/man")))

--- area -> list of {name, page}
local areas, reference = help.areas(), {}
for _, area in ipairs(areas) do
  local list = {}
  for _, name in ipairs(help.names(area)) do
    local page = help.page(area, name)
    if page then list[#list + 1] = {name, page} end
  end
  reference[area] = list
end

local function about(area) return help.list(area):match "^[^\n]*" end
local function full(area, name) return area == "bdl" and "bdl." .. name or ("bdl.%s.%s"):format(area, name) end

-- ---- HTML ------------------------------------------------------------------------------------------------------------------

local function escape(s) return (s:gsub('[&<>"]', {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;"})) end

local STYLE = [[
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --link: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --link: #56b4e9; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; display: flex; }
nav { width: 15rem; flex: none; padding: 1rem; height: 100vh; overflow: auto; position: sticky; top: 0; box-sizing: border-box;
  border-right: 1px solid var(--line); }
nav ul, #found { list-style: none; padding: 0; margin: .5rem 0; }
main { padding: 1rem 2rem; max-width: 60rem; min-width: 0; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
pre, code { font: 14px/1.4 ui-monospace, monospace; } pre { background: var(--soft); padding: .7rem; overflow: auto; }
section { border-top: 1px solid var(--line); padding: .3rem 0 .8rem; } h2 { font-size: 1.1rem; margin: .5rem 0; }
table { border-collapse: collapse; } td, th { padding: .1rem .8rem .1rem 0; vertical-align: top; text-align: left; }
input { width: 100%; box-sizing: border-box; font: inherit; padding: .2rem .4rem; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
@media (max-width: 50rem) { body { display: block; } nav { position: static; width: auto; height: auto; } }
]]

--- Names whose parts begin with what is typed come first, then those that contain it.
local SCRIPT = [[
const box = document.getElementById('search'), found = document.getElementById('found');
function look() {
  const q = box.value.toLowerCase(); found.replaceChildren();
  if (!q) return;
  const rank = n => { n = n.toLowerCase(); const last = n.split('.').pop();
    return last === q ? 0 : last.startsWith(q) ? 1 : n.includes(q) ? 2 : 3; };
  NAMES.map(e => [rank(e[0]), e]).filter(e => e[0] < 3).sort((a, b) => a[0] - b[0] || a[1][0].length - b[1][0].length).slice(0, 30)
    .forEach(([, e]) => { const li = document.createElement('li'), a = document.createElement('a');
      a.href = e[1]; a.textContent = e[0]; a.title = e[2]; li.append(a); found.append(li); });
}
box.addEventListener('input', look);
document.addEventListener('keydown', e => { if (e.key === '/' && document.activeElement !== box) { e.preventDefault(); box.focus(); } });
]]

local guides = {}                                -- {file, title, html}
for path in output("ls " .. quoted(source) .. "/docs/*.md"):gmatch "[^\n]+" do
  local file <close> = assert(io.open(path))
  local text = file:read "a"
  guides[#guides + 1] = {file = path:match "([^/]*)%.md$" .. ".html", title = text:match "^# ([^\n]*)",
    html = output("cmark-gfm --unsafe -e table " .. quoted(path)):gsub('href="([%w_-]+)%.md', 'href="%1.html')}
end

local function page_html(title, body)
  local nav = {'<nav><a href="index.html"><b>bdl ', core.version, '</b></a><input id="search" placeholder="search: press /" autocomplete="off">',
               '<ul id="found"></ul><ul>'}
  for _, g in ipairs(guides) do nav[#nav + 1] = ('<li><a href="%s">%s</a></li>'):format(g.file, escape(g.title)) end
  nav[#nav + 1] = '<li><a href="commands.html">The program</a></li></ul><ul>'
  for _, area in ipairs(areas) do nav[#nav + 1] = ('<li><a href="%s.html">%s</a></li>'):format(area, area == "bdl" and area or "bdl." .. area) end
  nav[#nav + 1] = "</ul></nav>"
  return ('<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    .. '<title>%s</title><link rel="stylesheet" href="style.css">\n<body>%s\n<main>%s</main>\n'
    .. '<script src="names.js"></script><script src="search.js"></script></body></html>'):format(escape(title), table.concat(nav), body)
end

local function list_html(tag, rows)
  local out = {}
  for i, row in ipairs(rows) do
    local cells = {}
    for k, cell in ipairs(row) do cells[k] = ("<%s>%s</%s>"):format(tag, cell, tag) end
    out[i] = "<tr>" .. table.concat(cells) .. "</tr>"
  end
  return "<table>" .. table.concat(out, "\n") .. "</table>"
end

local function entry_html(area, name, page)
  local out = {('<section id="%s"><h2><code>%s</code></h2>'):format(escape(name), escape(full(area, name) .. page.title:gsub("^[%w_.]*", "")))}
  local lines, items = {}, {}
  for _, item in ipairs(page.items) do
    if type(item) == "string" then lines[#lines + 1] = item
    else items[#items + 1] = {"<code>" .. escape(item.names) .. "</code>", escape(item.meaning)} end
  end
  if #lines > 0 then out[#out + 1] = "<p>" .. escape(table.concat(lines, "\n")):gsub("\n%s%s+([^\n]*)", "<br><code>%1</code>") .. "</p>" end
  if #items > 0 then out[#out + 1] = list_html("td", items) end
  if page.parameters and #page.parameters > 0 then
    local rows = {}
    for i, p in ipairs(page.parameters) do rows[i] = {"<code>" .. escape(p[1]) .. "</code>", "<code>" .. escape(p[2]) .. "</code>", escape(p[3])} end
    out[#out + 1] = "<p><b>Parameters</b></p>" .. list_html("td", rows)
  end
  for _, section in ipairs{"Options", "States", "Errors", "Source"} do
    if page[section] then out[#out + 1] = ("<p><b>%s</b> %s</p>"):format(section, escape(table.concat(page[section], " "))) end
  end
  if page.methods and #page.methods > 0 then
    local rows = {}
    for i, m in ipairs(page.methods) do
      rows[i] = {"<code>:" .. escape(m[1] .. (m[2].code:match "%b()" or "()")) .. "</code>", escape(m[2].lines[1])}
    end
    out[#out + 1] = "<p><b>Methods</b></p>" .. list_html("td", rows)
  end
  if page.Example then out[#out + 1] = "<pre>" .. escape(table.concat(page.Example, "\n")) .. "</pre>" end
  out[#out + 1] = "</section>"
  return table.concat(out, "\n")
end

local names = json.list{}
for _, area in ipairs(areas) do
  local body = {("<h1>%s</h1>"):format(escape(about(area)))}
  for _, entry in ipairs(reference[area]) do
    body[#body + 1] = entry_html(area, entry[1], entry[2])
    names[#names + 1] = json.list{full(area, entry[1]), ("%s.html#%s"):format(area, entry[1]), entry[2].text[1] or ""}
  end
  write(area .. ".html", page_html("bdl: " .. area, table.concat(body, "\n")))
end
for _, g in ipairs(guides) do write(g.file, page_html(g.title, g.html)) end

local commands = {"<h1>The program</h1>"}
for _, c in ipairs(cli.commands) do
  commands[#commands + 1] = ('<section id="%s"><pre>%s</pre></section>'):format(c.name, escape(cli.describe(c)))
  names[#names + 1] = json.list{"bdl " .. c.name, "commands.html#" .. c.name, c.text:match "^[^.]*"}
end
write("commands.html", page_html("bdl: the program", table.concat(commands, "\n")))

local index = {"<h1>bdl</h1><p>Models of brain dynamics: a script in Lua, compiled for processors.</p><ul>"}
for _, g in ipairs(guides) do index[#index + 1] = ('<li><a href="%s">%s</a></li>'):format(g.file, escape(g.title)) end
index[#index + 1] = "</ul><h2>Reference</h2><table>"
for _, area in ipairs(areas) do
  index[#index + 1] = ('<tr><td><a href="%s.html">%s</a></td><td>%s</td><td>%d names</td></tr>')
    :format(area, area == "bdl" and area or "bdl." .. area, escape(about(area):match ": (.*)" or ""), #reference[area])
end
write("index.html", page_html("bdl", table.concat(index, "\n") .. "</table>"))
write("style.css", STYLE)
write("search.js", SCRIPT)
write("names.js", "const NAMES = " .. json.encode(names))

-- ---- man pages -------------------------------------------------------------------------------------------------------------

--- Text in which troff sees no request of its own.
local function roff(s) return (s:gsub("\\", "\\e"):gsub("\n([.'])", "\n\\&%1"):gsub("^([.'])", "\\&%1"):gsub("%-", "\\-")) end

local function man(name, section, summary, body)
  return ('.TH "%s" "%s" "" "bdl %s"\n.SH NAME\n%s \\- %s\n%s'):format(name:upper(), section, core.version, name, roff(summary), body)
end

local function verbatim(s) return ".nf\n" .. roff(s) .. "\n.fi" end

local body = {".SH SYNOPSIS\n.B bdl\n.I command\n[options] ...\n.SH COMMANDS"}
for _, c in ipairs(cli.commands) do body[#body + 1] = (".SS %s\n%s"):format(c.name, verbatim(cli.describe(c))) end
body[#body + 1] = ".SH ENVIRONMENT"
for _, v in ipairs(cli.variables) do body[#body + 1] = (".TP\n.B %s\n%s"):format(v[1], roff(v[2])) end
write("man/bdl.1", man("bdl", 1, "models of brain dynamics", table.concat(body, "\n")))
for _, area in ipairs(areas) do
  local parts = {}
  for _, entry in ipairs(reference[area]) do
    parts[#parts + 1] = (".SS %s\n%s"):format(roff(full(area, entry[1])), verbatim(help.text(entry[2])))
  end
  local title = area == "bdl" and "bdl-lang" or "bdl-" .. area
  write("man/" .. title .. ".7", man(title, 7, about(area):match ": (.*)" or area, ".SH NAMES\n" .. table.concat(parts, "\n")))
end

-- ---- annotations for editors -----------------------------------------------------------------------------------------------

local KEYWORD = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while"):gmatch "%a+" do
  KEYWORD[word] = true
end

--- The names in "(x, y, ...)".
local function arguments_of(signature)
  local list = {}
  for name in (signature or "()"):sub(2, -2):gmatch "[%w_.]+" do list[#list + 1] = name end
  return list
end

local function commented(lines)
  local out = {}
  for i, line in ipairs(lines) do out[i] = "---" .. line end
  return table.concat(out, "\n")
end

local function annotate_function(prefix, name, page, signature)
  local arguments = arguments_of(signature or "(...)")
  local out = {commented(page)}
  for _, argument in ipairs(arguments) do out[#out + 1] = ("---@param %s any"):format(argument) end
  out[#out + 1] = "---@return any ..."
  local place = KEYWORD[name] and ('%s["%s"] = function'):format(prefix, name) or ("function %s%s%s"):format(prefix, prefix:find ":$" and "" or ".", name)
  out[#out + 1] = ("%s(%s) end"):format(place, table.concat(arguments, ", "))
  return table.concat(out, "\n")
end

local meta = {"---@meta bdl", "--- Made from the comments of bdl " .. core.version .. "; for lua-language-server (LuaCATS).", "",
              "---@class bdl", "bdl = {}"}
for _, area in ipairs(areas) do
  local prefix = area == "bdl" and "bdl" or "bdl." .. area
  if area ~= "bdl" then meta[#meta + 1] = ("\n---%s\n---@class %s\n%s = {}"):format(about(area), prefix, prefix) end
  for _, entry in ipairs(reference[area]) do
    local name, page = entry[1], entry[2]
    if page.parameters then
      local lines = {commented(page.text), ("---@class %s.%s : table"):format(prefix, name)}
      for _, p in ipairs(page.parameters) do lines[#lines + 1] = ("---@field %s any %s"):format(p[1], (p[2] .. " " .. p[3]):gsub("%s+", " ")) end
      lines[#lines + 1] = ("---@overload fun(...): %s.%s\n%s.%s = {}"):format(prefix, name, prefix, name)
      for _, m in ipairs(page.methods or {}) do
        lines[#lines + 1] = annotate_function(("%s.%s:"):format(prefix, name), m[1], m[2].lines, m[2].code:match "%b()")
      end
      meta[#meta + 1] = "\n" .. table.concat(lines, "\n")
    else
      meta[#meta + 1] = "\n" .. annotate_function(prefix, name, page.text, page.title:match "(%b())$")
    end
  end
end
meta[#meta + 1] = "\nreturn bdl"
local text = table.concat(meta, "\n")
assert(load(text, "=bdl.d.lua", "t"))
write("bdl.d.lua", text)

print(("%s: %d areas, %d names, %d guides"):format(folder, #areas, #names, #guides))

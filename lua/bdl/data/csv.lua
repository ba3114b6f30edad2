--- Tables of text with separators.  Source: RFC 4180.
local core = require "bdl.core"
local base = require "bdl.array.base"
local class = require "bdl.class"
local util = require "bdl.util"
local suggest = require "bdl.suggest"

local M = {}

local KNOWN = base.names "header columns labels separator missing comment skip dtype"
local MISSING = {[""] = true, nan = true, NaN = true, NA = true}

local function read_text(path)
  if type(path) ~= "string" then
    core.fail("TypeError", 3, "data.csv: the path is a string, not a %s", class.typename(path))
  end
  core.need_files(path)
  local f <close>, why = io.open(path, "rb")
  local text, reason
  if f then text, reason = f:read "a" end
  if not text then
    why = reason or why:sub(1, #path + 2) == path .. ": " and why:sub(#path + 3) or why
    core.fail("IOError", 3, "cannot read %s: %s", path, why)
  end
  return (text:gsub("^\xef\xbb\xbf", ""))
end

--- The rows of fields, each with its line.
local function rows_of(path, text, separator, comment)
  local rows, at, line, n = {}, 1, 1, #text
  local stop = "[" .. separator:gsub("%W", "%%%0") .. "\r\n]"
  local function field()
    if text:byte(at) ~= 34 then                    -- plain: up to a separator or the end of the line
      local last = text:find(stop, at) or n + 1
      local value = text:sub(at, last - 1):match "^%s*(.-)%s*$"
      at = last
      return value
    end
    local parts, from, begun = {}, at + 1, line
    while true do                                  -- quoted: "" is a quote
      local last = text:find('"', from, true)
      if not last then core.fail("ValueError", 4, "%s:%d: a quoted field without an end", path, begun) end
      parts[#parts + 1] = text:sub(from, last - 1)
      if text:byte(last + 1) ~= 34 then
        at = last + 1
        local value = table.concat(parts, '"')
        line = line + select(2, value:gsub("\n", ""))
        if at <= n and not text:find("^" .. stop, at) then
          core.fail("ValueError", 4, "%s:%d: text after a quoted field", path, line)
        end
        return value
      end
      from = last + 2
    end
  end
  while at <= n do
    local ending = text:match("^[ \t]*\r?\n", at)
    if ending or comment and text:sub(at, at + #comment - 1) == comment then   -- nothing, or a comment
      at = (text:find("\n", at, true) or n) + 1
    else
      local row = {line = line, field()}
      while text:sub(at, at) == separator do
        at = at + 1
        row[#row + 1] = field()
      end
      rows[#rows + 1] = row
      at = at + (text:match("^\r?\n?", at) or ""):len()
    end
    line = line + 1
  end
  return rows
end

--- Positions of the columns that are asked for, and their names.
local function choose(path, names, width, columns)
  local place, list = {}, {}
  for k, name in ipairs(names or {}) do place[name] = k end
  for k, column in ipairs(columns) do
    local at = math.type(column) == "integer" and column or place[column]
    if not at or at < 1 or at > width then
      local asked = type(column) == "string" and ("'%s'"):format(column) or tostring(column)
      core.fail("KeyError", 3, "data.csv: %s has no column %s of %d%s", path, asked, width,
                names and suggest.hint(tostring(column), names) or "; without a header columns are numbers")
    end
    list[k] = at
  end
  return list
end

local function name_of(names, k) return names and ("column '%s'"):format(names[k]) or ("column %d"):format(k) end

--- A column as numbers.
local function numbers(path, rows, k, names, missing)
  local list, whole = {}, true
  for i, row in ipairs(rows) do
    local x = tonumber(row[k])
    if not x and MISSING[row[k]] then
      x = missing
      if x == nil then
        core.hint("missing = x puts a number there, 0/0 for NaN")
        core.fail("ValueError", 3, "%s:%d: %s has no number", path, row.line, name_of(names, k))
      end
    elseif not x then
      local name = names and ("'%s'"):format(names[k]) or k
      core.hint(("labels = {%s} reads texts as classes, columns = {..} leaves them out"):format(name))
      core.fail("ValueError", 3, "%s:%d: %s is '%s', no number", path, row.line, name_of(names, k), row[k])
    end
    whole = whole and math.type(x) == "integer"
    list[i] = x
  end
  return list, whole
end

--- A column of texts as classes from 0, in the order of the texts; and the texts.
local function classes(rows, k)
  local texts, number, list = {}, {}, {}
  for _, row in ipairs(rows) do
    if not number[row[k]] then
      number[row[k]] = 0
      texts[#texts + 1] = row[k]
    end
  end
  table.sort(texts)
  for i, text in ipairs(texts) do number[text] = i - 1 end
  for i, row in ipairs(rows) do list[i] = number[row[k]] end
  return list, texts
end

--- The numbers of a file of text:  one array [rows, columns], or, with header = true, an ordered map from the names in
--  the first row to arrays [rows].  Whole numbers become integers.  Options:
--    columns    those to read, names or numbers from 1           separator  "," (or "\t", ";", ..)
--    labels     columns of texts, which become classes from 0 in alphabetical order; the second result has their texts
--    missing    the number for an empty field, NA or nan         comment    what begins lines to leave out
--    skip       lines before the table to leave out              dtype      of all numbers
--  Errors: IOError; ValueError with file, line and column.
--  Example:
--    local path = os.tmpname()
--    local file = io.open(path, "w")
--    file:write "a,b\n1,2\n3,4\n"
--    file:close()
--    print(bdl.data.csv(path, {header = true}).b)
--    os.remove(path)
function M.csv(path, opts)
  opts = base.options("data.csv", opts, KNOWN)
  local separator, labels, texts = opts.separator or ",", {}, util.PrettyMapping()
  if type(separator) ~= "string" or #separator ~= 1 then
    core.fail("ValueError", 2, "data.csv: a separator is one character, not %s", base.text(separator))
  end
  local rows = rows_of(path, read_text(path), separator, opts.comment)
  for _ = 1, opts.skip or 0 do table.remove(rows, 1) end
  local names = opts.header and table.remove(rows, 1) or nil
  if opts.header and not names then core.fail("ValueError", 2, "%s: no header, the file is empty", path) end
  local width = #(names or rows[1] or {})
  for _, row in ipairs(rows) do
    if #row ~= width then
      core.fail("ValueError", 2, "%s:%d: %d fields, %d in the first row", path, row.line, #row, width)
    end
  end
  local chosen = {}
  for k = 1, width do chosen[k] = k end
  if opts.columns then chosen = choose(path, names, width, opts.columns) end
  for k, at in ipairs(choose(path, names, width, opts.labels or {})) do labels[at] = opts.labels[k] end
  local columns, all_whole = {}, true
  for i, at in ipairs(chosen) do
    local list, whole = nil, true
    if labels[at] then
      list, texts[labels[at]] = classes(rows, at)
    else
      list, whole = numbers(path, rows, at, names, opts.missing)
    end
    columns[i] = {list = list, whole = whole}
    all_whole = all_whole and whole
  end
  local function tensor(list, whole)
    return core.tensor(list, opts.dtype or select(whole and 2 or 1, core.precision()))
  end
  local map = util.PrettyMapping()
  if names then
    for i, column in ipairs(columns) do map[names[chosen[i]]] = tensor(column.list, column.whole) end
  else
    local flat = {}
    for r = 1, #rows do
      for i, column in ipairs(columns) do flat[(r - 1) * #columns + i] = column.list[r] end
    end
    map = require "bdl.array".reshape(tensor(flat, all_whole), {#rows, #columns})
  end
  if opts.labels then return map, texts end
  return map
end

return M

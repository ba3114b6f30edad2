--- Display of everything: an indented tree of fields in the order they were set.
--
--   Linear(               objects: fields name=value      {                        maps: key: value
--     din=2,              States: abstract values            weight: ParamState(
--     w=ParamState(                                             value=float32[2,5]
--       value=float32[2,5]                                   )
--     )                                                    }
--   )
--
-- Fields that begin with "_" and fields that are bdl.none are hidden.  A Node or State met again prints `Linear(...)`.
-- First a document is built ({head, items, tail} or a string), then it is laid out.
--
-- A class may say itself what is shown: __pretty(self) -> list of {name, value}; pretty.raw(text) is shown as it is.

local core = require "bdl.core"
local class = require "bdl.class"
local paths = require "bdl.path"
local util = require "bdl.util"
local none = require "bdl.none".none

local pretty = {}

local Raw = class "Raw"
function Raw:__init(text) self.text = text end
function Raw:__tostring() return self.text end
pretty.raw = Raw

--- "float32[2,3] mV"
function pretty.abstract(dtype, shape, unit)
  local sizes = {}
  for i = 1, #shape do sizes[i] = ("%d"):format(shape[i]) end
  local text = ("%s[%s]"):format(tostring(dtype), table.concat(sizes, ","))
  return unit and text .. " " .. tostring(unit) or text
end

--- Scalars show their number, larger and traced tensors what they are.
local function tensor_text(x)
  if x.ndim == 0 and not core.is_traced(x) then return core.text(x) end
  return pretty.abstract(x.dtype, x.shape, core.unit_of(x))
end

--- Text of what has no inside.
local function atom(x)
  local kind = type(x)
  if core.is_tensor(x) then return tensor_text(x) end
  if kind == "string" then return ("%q"):format(x) end
  if kind == "function" or kind == "thread" then return kind end
  if class.is_class(x) then return class.qualified_name(x) end
  return tostring(x)
end

local build

--- ctx: seen (Nodes and States), inside (containers on the way down), depth left
local function inner(ctx, x, head, tail, fill)
  if ctx.inside[x] or ctx.seen[x] or ctx.depth <= 0 then return head .. "..." .. tail end
  local graph = class.of(x) and class.method(x, "__graph")
  if graph then ctx.seen[x] = true end
  ctx.inside[x], ctx.depth = true, ctx.depth - 1
  local doc = {head = head, tail = tail}
  fill(doc)
  ctx.inside[x], ctx.depth = nil, ctx.depth + 1
  return doc
end

local function add(ctx, doc, label, separator, value)
  doc[#doc + 1] = {label = label, separator = separator, doc = build(ctx, value)}
end

local function build_object(ctx, x, name)
  return inner(ctx, x, name .. "(", ")", function(doc)
    local custom = class.method(x, "__pretty")
    if custom then
      for _, field in ipairs(custom(x)) do add(ctx, doc, field[1], field[1] and "=", field[2]) end
      return
    end
    for _, key in ipairs(class.fields(x)) do
      local value = rawget(x, key)
      if not rawequal(value, none) and not (type(key) == "string" and key:sub(1, 1) == "_") then
        add(ctx, doc, paths.join("", key), "=", value)
      end
    end
  end)
end

local function build_map(ctx, x)
  return inner(ctx, x, "{", "}", function(doc)
    for key, value in x:items() do
      local label = key == "" and "(root)" or type(key) == "string" and key or paths.join("", key)
      add(ctx, doc, label, ": ", value)
    end
  end)
end

local function build_table(ctx, x)
  return inner(ctx, x, "{", "}", function(doc)
    local flat = true
    local keys = util.sorted_keys(x)
    for i, key in ipairs(keys) do
      local positional = key == i and #x == #keys
      local label = not positional and (type(key) == "string" and paths.join("", key) or ("[%s]"):format(tostring(key))) or nil
      add(ctx, doc, label, label and "=", x[key])
      flat = flat and positional and type(doc[#doc].doc) == "string"
    end
    doc.flat = flat
  end)
end

function build(ctx, x)
  local cls = class.of(x)
  if cls then
    local own = getmetatable(x).__tostring
    if class.isa(x, util.PrettyMapping) then return build_map(ctx, x) end
    if own ~= class.Object.__tostring then return tostring(x) end
    return build_object(ctx, x, cls.name)
  end
  if type(x) == "table" and getmetatable(x) == nil then return build_table(ctx, x) end
  return atom(x)
end

local PLAIN = setmetatable({}, {__index = function() return function(text) return text end end})
local COLOURS = {
  head = function(text) return "\27[36m" .. text .. "\27[0m" end,
  label = function(text) return "\27[33m" .. text .. "\27[0m" end,
}

local function one_line(doc, paint)
  if type(doc) == "string" then return doc end
  local words = {}
  for i, item in ipairs(doc) do
    words[i] = (item.label and paint.label(item.label) .. item.separator or "") .. one_line(item.doc, paint)
  end
  return paint.head(doc.head) .. table.concat(words, ", ") .. paint.head(doc.tail)
end

local function layout(doc, indent, taken, opts)
  local paint = opts.color and COLOURS or PLAIN
  if type(doc) == "string" then return (doc:gsub("\n", "\n" .. indent)) end
  local fits = opts.width and #indent + taken + #one_line(doc, PLAIN) <= opts.width
  if #doc == 0 or doc.flat or fits then return one_line(doc, paint) end
  local deeper, lines = indent .. "  ", {}
  for i, item in ipairs(doc) do
    local label = item.label and item.label .. item.separator or ""
    local shown = item.label and paint.label(item.label) .. item.separator or ""
    lines[i] = deeper .. shown .. layout(item.doc, deeper, #label + 1, opts)
  end
  return ("%s\n%s\n%s%s"):format(paint.head(doc.head), table.concat(lines, ",\n"), indent, paint.head(doc.tail))
end

--- opts: depth (levels shown), width (what fits on a line of that width stands on one), color.
function pretty.text(x, opts)
  opts = opts or {}
  local ctx = {seen = {}, inside = {}, depth = opts.depth or math.huge}
  return layout(build(ctx, x), "", 0, opts)
end

--- Prints x in full.  Options: depth (levels shown), width, color.
--  Example:
--    bdl.pprint({a = {b = bdl.ones(2)}}, {depth = 1})
function pretty.pprint(x, opts) print(pretty.text(x, opts)) end

return pretty

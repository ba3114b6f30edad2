--- Functions of C libraries in models: element by element, or over whole arrays; in compiled code too, with a derivative that is given.
--
--   local m = bdl.ffi.load "libm.so.6"
--   local gamma = m:fn "double tgamma(double)"                      gamma(x): of each element of x
--   local blur = mine:fn("void blur(const float *x, int n, float *y)", {out = {{100}}})
--   blur(x, 100)                                                    what the function writes, pointers that are not const, comes out
--
-- What a library does is beyond bdl: a wrong declaration may crash the process.
-- Source: libffi.
local core = require "bdl.core"
local base = require "bdl.array.base"
local class = require "bdl.class"
local suggest = require "bdl.suggest"
local util = require "bdl.util"

local ffi = {}

--- Types of C -> letters of core.ffi_function.
local TYPES = {double = "d", float = "f", int = "i", int32_t = "i", long = "I", int64_t = "I", ["long long"] = "I", ptrdiff_t = "I", unsigned = "u",
               ["unsigned int"] = "u", uint32_t = "u", uint64_t = "U", ["unsigned long"] = "U", size_t = "U", bool = "b", _Bool = "b"}

--- Letter -> the kind of array that holds it.
local KIND = {d = "float", f = "float", i = "int", I = "int", u = "uint32", U = "int", b = "bool"}

-- ---- declarations ---------------------------------------------------------------------------------------------------------------

local function bad(text, fmt, ...)
  core.hint "as in a header of C, one function: double hypot(double x, double y)"
  core.fail("SyntaxError", 4, "ffi: '%s': %s", text, fmt:format(...))
end

local function type_of(text, words, whole)
  local name = table.concat(words, " ")
  local letter = TYPES[name]
  if letter then return letter end
  bad(whole, "the type '%s' is not known%s; there are %s", name == "" and text or name, suggest.hint(name, util.sorted_keys(TYPES)),
      table.concat(util.sorted_keys(TYPES), ", "))
end

--- "const float *x" -> "pf", "x"
local function argument(text, whole)
  local constant, stars, words = false, 0, {}
  for token in text:gsub("%*", " * "):gmatch "%S+" do
    if token == "const" then constant = true
    elseif token == "*" then stars = stars + 1
    elseif token:find "^[%a_][%w_]*$" then words[#words + 1] = token
    else bad(whole, "'%s' is no argument", text) end
  end
  if stars > 1 then bad(whole, "'%s': pointers to pointers cannot be passed", text) end
  local name
  if #words > 1 and not TYPES[table.concat(words, " ")] then name = table.remove(words) end
  local letter = type_of(text, words, whole)
  if stars == 1 then letter = (constant and "p" or "o") .. letter end
  return letter, name
end

--- {name =, result = letter or "", arguments = letters}
local function parse(text)
  if type(text) ~= "string" then core.fail("TypeError", 3, "ffi: a declaration of C is a text, not a %s", class.typename(text)) end
  local head, list, tail = text:match "^%s*(.-)%s*(%b())%s*(.-)%s*$"
  if not head or tail ~= "" and tail ~= ";" then bad(text, "a declaration was expected") end
  local result, name = head:match "^(.-)%s*([%a_][%w_]*)$"
  if not name or result == "" then bad(text, "a result and a name were expected before '('") end
  if result:find "%*" then bad(text, "results that are pointers cannot be taken") end
  local d = {name = name, result = "", arguments = {}}
  if result ~= "void" then
    local words = {}
    for word in result:gmatch "%S+" do words[#words + 1] = word end
    d.result = type_of(result, words, text)
  end
  local inside = list:sub(2, -2)
  if inside:find "%S" and not inside:find "^%s*void%s*$" then
    for part in (inside .. ","):gmatch "%s*(.-)%s*," do
      if part == "" then bad(text, "an argument is missing") end
      d.arguments[#d.arguments + 1] = argument(part, text)
    end
  end
  return d
end

-- ---- functions --------------------------------------------------------------------------------------------------------------------

local Foreign = class "Foreign"

--- A tensor of the dtype that holds a type of C, of that shape.
local function like(letter, shape)
  local kind = KIND[letter]
  local dtype = kind == "float" and core.tensor(0.5).dtype or kind == "int" and core.tensor(0).dtype or kind
  local zero = core.cast(core.tensor(0), dtype)
  return core.bind("broadcast", {shape = shape, dims = {}}, zero)
end

local function plain(self, k, x)
  x = core.is_tensor(x) and x or core.tensor(x)
  local unit = core.unit_of(x)
  if unit then
    core.hint "divide by a unit: x / u.mV"
    core.fail("UnitMismatchError", 3, "ffi: %s: argument %d is in %s; functions of C take plain numbers", self.name, k, tostring(unit))
  end
  local letter = self._given[k]
  if KIND[letter:sub(-1)] ~= "float" and x.dtype:find "float" then
    core.fail("TypeError", 3, "ffi: %s: argument %d is an integer, not %s", self.name, k, base.text(x))
  end
  return x
end

local function call(self, ...)
  local args = table.pack(...)
  if args.n ~= #self._given then
    core.fail("TypeError", 2, "ffi: %s takes %d arguments, not %d", self.name, #self._given, args.n)
  end
  for k = 1, args.n do args[k] = plain(self, k, args[k]) end
  if self._out then
    local likes = {}
    for i, letter in ipairs(self._written) do likes[i] = like(letter, self._out[i]) end
    if self._result ~= "" then likes[#likes + 1] = like(self._result, {}) end
    for k, letter in ipairs(self._given) do
      if #letter == 1 and args[k].ndim > 0 then
        core.fail("ShapeError", 2, "ffi: %s: argument %d is one number, not %s", self.name, k, base.text(args[k]))
      end
    end
    return core.ffi_call(self._function, likes, table.unpack(args))
  end
  local shape = {}
  for k = 1, args.n do shape = base.broadcast_shapes("ffi: " .. self.name, shape, args[k].shape) end
  for k = 1, args.n do args[k] = base.broadcast_to("ffi: " .. self.name, args[k], shape) end
  return core.ffi_call(self._function, {like(self._result, shape)}, table.unpack(args))
end

--- The function with a derivative: sum of partial derivatives times tangents.  In it the function itself has none.
local function with_derivative(self, derivative)
  local f = require "bdl.augment".custom_jvp(function(...) return call(self, ...) end)
  f:defjvp(function(primals, tangents)
    class.rawfield(self, "_within", true)
    local results = table.pack(pcall(derivative, table.unpack(primals)))
    class.rawfield(self, "_within", false)
    if not results[1] then error(results[2], 0) end
    local partials, dy = table.pack(table.unpack(results, 2, results.n)), nil
    for k, dx in ipairs(tangents) do
      if not rawequal(dx, bdl.none) and partials[k] ~= nil then
        local term = partials[k] * dx
        dy = dy and dy + term or term
      end
    end
    return call(self, table.unpack(primals)), dy or bdl.none
  end)
  return f
end

function Foreign:__call(...)
  if self._differentiable and not self._within then return self._differentiable(...) end
  return call(self, ...)
end

function Foreign:__pretty() return {{"declaration", self.declaration}} end

local Library = class "Library"

--- A function of the library by its declaration in C.  Numbers: called for each element of its broadcast arguments.  Pointers: called once
--  with arrays of these types; `const T *` and numbers are arguments, `T *` comes out, then the result.
--  declaration : double float, int32_t int64_t uint32_t uint64_t and the names that C has for them, bool, void; pointers to these
--  opts : out, shapes of what is written, a list of lists; derivative, f(x, y, ..) -> partial derivatives by x, y, .. of an
--    element-wise function
--  Errors: SyntaxError, what is no declaration; KeyError, no such function in the library.
function Library:fn(declaration, opts)
  opts = base.options("ffi", opts, base.names "out derivative")
  local d = parse(declaration)
  local self_ = Foreign()
  for _, name in ipairs{"_given", "_written"} do class.rawfield(self_, name, {}) end
  class.rawfield(self_, "name", d.name)
  class.rawfield(self_, "declaration", declaration)
  class.rawfield(self_, "_result", d.result)
  class.rawfield(self_, "_within", false)
  local pointers = false
  for _, letter in ipairs(d.arguments) do
    local writes = letter:sub(1, 1) == "o"
    pointers = pointers or #letter > 1
    table.insert(writes and self_._written or self_._given, writes and letter:sub(2) or letter)
  end
  local out = opts.out or pointers and {} or nil
  if out and not pointers then core.fail("ValueError", 2, "ffi: %s writes no array: out is for pointers", d.name) end
  if pointers and #out ~= #self_._written then
    core.hint(("give the shapes of what it writes: {out = {%s}}"):format(("{n}, "):rep(#self_._written):sub(1, -3)))
    core.fail("ValueError", 2, "ffi: %s writes %d array%s, %d shapes are given", d.name, #self_._written, #self_._written == 1 and "" or "s", #out)
  end
  if not pointers and d.result == "" then core.fail("ValueError", 2, "ffi: %s gives nothing: neither a result nor an array", d.name) end
  if opts.derivative and pointers then
    core.hint "bdl.augment.custom_vjp gives derivatives to anything"
    core.fail("NotSupportedError", 2, "ffi: %s has pointers; a derivative by elements is none", d.name)
  end
  class.rawfield(self_, "_out", out)
  local f = core.ffi_function(self._handle, d.name, d.result, d.arguments)
  if not f then core.fail("KeyError", 2, "ffi: %s has no function '%s'", self.path, d.name) end
  class.rawfield(self_, "_function", f)
  if opts.derivative then class.rawfield(self_, "_differentiable", with_derivative(self_, opts.derivative)) end
  return self_
end

function Library:__pretty() return {{"path", self.path}} end

--- A library of C, by the name that the linker knows or by its path.  :fn(declaration) gives functions of it.
--  Errors: IOError, why it cannot be opened.
--  Example:
--    local m = bdl.ffi.load "libm.so.6"
--    print(m:fn "double cbrt(double)"(bdl.tensor{8., 27.}))
function ffi.load(path)
  if type(path) ~= "string" then core.fail("TypeError", 2, "ffi.load: a path is a text, not a %s", class.typename(path)) end
  local handle, why = core.ffi_open(path)
  if not handle then core.fail("IOError", 2, "ffi.load: %s", why) end
  local library = class.alloc(Library)
  class.rawfield(library, "path", path)
  class.rawfield(library, "_handle", handle)
  return library
end

return ffi

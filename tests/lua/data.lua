--- Data: arrays in files.
local t = require "tests.lua.harness"
local bdl = require "bdl"
local data, u = bdl.data, bdl.units

--- A path in a folder of this run, and what lies there at the end is removed.
local folder = os.tmpname()
os.remove(folder)
t.shell("mkdir " .. folder)
local gone <close> = setmetatable({}, {__close = function() t.shell("rm -r " .. folder) end})
local function path(name) return folder .. "/" .. name end

local function write(name, text)
  local f <close> = assert(io.open(path(name), "wb"))
  f:write(text)
  return path(name)
end

local function read(name)
  local f <close> = assert(io.open(name, "rb"))
  return f:read "a"
end

local function files() return t.shell("ls " .. folder) end

-- ---- files ----------------------------------------------------------------------------------------------------------

t.test("digits: shapes, ranges, and the counts of the source", function()
  local d = data.digits()
  t.eq(table.concat({d.x_train.dtype, table.unpack(d.x_train.shape)}, " "), "int32 1437 8 8")
  t.eq({#d.y_train, #d.x_test, #d.y_test}, {1437, 360, 360})
  t.eq({d.x_train:min():item(), d.x_train:max():item(), d.y_test:min():item(), d.y_test:max():item()}, {0, 16, 0, 9})
  t.eq((d.x_train:sum() + d.x_test:sum()):item(), 561718)
  local first = d.y_train[{{1, 5}}]
  t.eq(first, data.load("models/data/digits.npz").y_train[{{1, 5}}])
end)

t.test("what NumPy wrote is read, with its names in order", function()
  local m = data.load "tests/file/numpy/big.npz"
  local names = {}
  for name in m:keys() do names[#names + 1] = name end
  t.eq(table.concat(names, " "), "b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8")
  t.eq(m.b1, {false, true, true})
  t.eq(m.u2, {0, 258, 65535})
  t.eq(m.f8.dtype, "float64")
  t.eq(data.load("tests/file/numpy/fortran.npy"), bdl.arange(24):reshape(2, 3, 4))
end)

t.test("what is saved is loaded: values, shapes, dtypes, order", function()
  for _, compress in ipairs{false, true} do
    local m = bdl.util.PrettyMapping()
    m.w = bdl.random.rand(3, 4).T
    m.flags = bdl.tensor{true, false}
    m.n = 3
    m["layers[1].weight"] = bdl.zeros(0, 2)
    data.save(path "m.npz", m, {compress = compress})
    local back = data.load(path "m.npz")
    t.eq(#back, 4)
    for name, x in m:items() do t.eq(back:get(name), x) end
    t.eq(back.w.dtype, "float32")
    t.eq(back.n.dtype, "int32")
    t.eq(back["layers[1].weight"].shape[2], 2)
  end
  data.save(path "one.npy", bdl.arange(6):reshape(2, 3))
  t.eq(data.load(path "one.npy"), {{0, 1, 2}, {3, 4, 5}})
  data.save(path "m.npz", {b = 1, a = {{1, 2}, {3, 4}}})
  t.eq(tostring(data.load(path "m.npz")):match "%a", "a")
end)

t.test("rows follow each other in the file", function()
  do
    local w <close> = data.writer(path "rows.npz", {compress = true})
    local V, spikes = w:rows("V", bdl.zeros(3)), w:rows("spikes", true)
    for i = 1, 5 do
      V:add(bdl.full({2, 3}, i + 0.5))
      spikes:add(bdl.full({2}, i % 2 == 0))
    end
    w:put("dt", 0.25)
    t.raises("ShapeError", "rows of float32%[3%] were begun; float32%[2%]", V.add, V, bdl.zeros(2))
    t.raises("ShapeError", "float32%[3%] were begun; int32%[1,3%]", V.add, V, {{1, 2, 3}})
  end
  local m = data.load(path "rows.npz")
  t.eq(m.dt, 0.25)
  t.eq(m.V, bdl.tile(bdl.expand_dims(bdl.arange(10) // 2 + 1.5, 2), {1, 3}))
  t.eq(m.spikes:sum(), 4)
end)

t.test("a writer leaves the whole file or none", function()
  t.shell("rm -f " .. path "*")
  t.raises("ValueError", "stop", function()
    local w <close> = data.writer(path "x.npz")
    w:put("a", 1)
    bdl.error_if(true, "stop")
  end)
  t.eq(files(), "")
  local w = data.writer(path "x.npz")
  w:close()
  t.raises("IOError", "finished already", w.close, w)
  t.raises("IOError", "finished already", w.put, w, "a", 1)
  t.eq(files(), "x.npz\n")
  t.eq(#data.load(path "x.npz"), 0)
end)

t.test("files that are not there, or are no arrays", function()
  t.raises("IOError", "cannot read no/such.npz: No such file", data.load, "no/such.npz")
  t.raises("TypeError", "the path is a string, not a nil", data.load)
  t.raises("IOError", "byte 0: neither a .npy nor a .npz", data.load, write("x.npz", "hello"))
  local whole = read "tests/file/numpy/little.npz"
  t.raises("IOError", "x.npz: byte 2000: no end of a zip archive here: cut short%?", data.load, write("x.npz", whole:sub(1, 2000)))
  local at = whole:find("shape", 1, true)
  t.raises("IOError", "x.npz, b1.npy: byte %d+: not one of the keys", data.load, write("x.npz", whole:sub(1, at - 1) .. "shane" .. whole:sub(at + 5)))
  t.raises("NotSupportedError", "complex.npy: byte 20: dtype '<c8'\n *bool, integers", data.load, "tests/file/numpy/complex.npy")
end)

t.test("what cannot be saved", function()
  t.raises("UnitMismatchError", "'V' is in mV, files have plain numbers\n *write x / unit", data.save, path "x.npz", {V = bdl.ones(2) * u.mV})
  t.raises("ValueError", "'x.txt' ends neither in .npz nor in .npy", data.save, "x.txt", {a = 1})
  t.raises("TypeError", "arrays by name", data.save, path "x.npz", bdl.ones(2))
  t.raises("TypeError", "a name is a string, not a number", data.save, path "x.npz", {bdl.ones(2)})
  t.raises("TypeError", "no option 'compres' %(did you mean 'compress'", data.save, path "x.npz", {}, {compres = true})
  t.raises("IOError", "No such file or directory", data.save, path "no/x.npz", {a = 1})
  t.raises("TypeError", "State", data.save, path "x.npz", {a = bdl.State(1)})
  t.raises("ValueError", "a text of UTF%-8", data.save, path "x.npz", {["\xff"] = 1})
  t.raises("TraceContextError", "has no value yet", bdl.jit(function(x) data.save(path "x.npz", {a = x}) end), bdl.ones(2))
end)

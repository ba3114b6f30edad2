--- Data: arrays in files, tables of text, batches, events.
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

t.test("bdl check writes no files", function()
  local model, out = write("saves.lua", ("bdl.data.save(%q, {a = 1})\n"):format(path "saved.npz")), path "saved.npz"
  t.shell(("%s check %s"):format(os.getenv "BDL", model))
  t.eq(io.open(out), nil)
  t.shell(("%s run --quiet %s"):format(os.getenv "BDL", model))
  t.eq(data.load(out).a, 1)
end)

t.test("files that are not there, or are no arrays", function()
  t.raises("IOError", "cannot read no/such.npz: No such file", data.load, "no/such.npz")
  t.raises("TypeError", "the path is a string, not a nil", data.load)
  t.raises("IOError", "byte 0: neither a .npy nor a .npz", data.load, write("x.npz", "hello"))
  local whole = read "tests/file/numpy/little.npz"
  t.raises("IOError", "x.npz: byte 2000: no end of a zip archive here: cut short%?", data.load,
           write("x.npz", whole:sub(1, 2000)))
  local at = whole:find("shape", 1, true)
  t.raises("IOError", "x.npz, b1.npy: byte %d+: not one of the keys", data.load,
           write("x.npz", whole:sub(1, at - 1) .. "shane" .. whole:sub(at + 5)))
  t.raises("NotSupportedError", "complex.npy: byte 20: dtype '<c8'\n *bool, integers", data.load,
           "tests/file/numpy/complex.npy")
end)

t.test("what cannot be saved", function()
  t.raises("UnitMismatchError", "'V' is in mV, files have plain numbers\n *write x / unit", data.save, path "x.npz",
           {V = bdl.ones(2) * u.mV})
  t.raises("ValueError", "'x.txt' ends neither in .npz nor in .npy", data.save, "x.txt", {a = 1})
  t.raises("TypeError", "arrays by name", data.save, path "x.npz", bdl.ones(2))
  t.raises("TypeError", "a name is a string, not a number", data.save, path "x.npz", {bdl.ones(2)})
  t.raises("TypeError", "no option 'compres' %(did you mean 'compress'", data.save, path "x.npz", {}, {compres = true})
  t.raises("IOError", "No such file or directory", data.save, path "no/x.npz", {a = 1})
  t.raises("TypeError", "State", data.save, path "x.npz", {a = bdl.State(1)})
  t.raises("ValueError", "a text of UTF%-8", data.save, path "x.npz", {["\xff"] = 1})
  t.raises("TraceContextError", "has no value yet", bdl.jit(function(x) data.save(path "x.npz", {a = x}) end),
           bdl.ones(2))
end)

-- ---- text -----------------------------------------------------------------------------------------------------------

local IRIS = '\xef\xbb\xbf# flowers\nlength, width ,species\n5.1,3,setosa\n4.9,2,"virg, ""in""\nica"\r\n\n7,2,setosa\n'

t.test("csv: columns by name, whole numbers, quotes, comments, texts as classes", function()
  local file = write("iris.csv", IRIS)
  local m, texts = data.csv(file, {header = true, comment = "#", labels = {"species"}})
  t.close(m.length, {5.1, 4.9, 7}, 1e-7)
  t.eq(m.width.dtype, "int32")
  t.eq(m.width, {3, 2, 2})
  t.eq(m.species, {0, 1, 0})
  t.eq(texts.species, {"setosa", 'virg, "in"\nica'})
  t.eq(#data.csv(file, {header = true, comment = "#", columns = {"width"}}), 1)
  t.eq(data.csv(file, {header = true, comment = "#", columns = {2}, dtype = "float64"}).width.dtype, "float64")
end)

t.test("csv: without a header one array", function()
  local x = data.csv(write("a.csv", "1;2\n3;4"), {separator = ";"})
  t.eq(x, {{1, 2}, {3, 4}})
  t.eq(x.dtype, "int32")
  t.eq(data.csv(write("a.csv", "a\tb\n1\tNA\n"), {separator = "\t", skip = 1, missing = -1}), {{1, -1}})
  t.eq({table.unpack(data.csv(write("a.csv", "")).shape)}, {0, 0})
end)

t.test("csv: what is wrong is named by file, line and column", function()
  local file = write("iris.csv", IRIS)
  t.raises("ValueError", "iris.csv:3: column 'species' is 'setosa', no number\n *labels = {'species'}", data.csv, file,
           {header = true, comment = "#"})
  t.raises("KeyError", "no column 'widht' of 3 %(did you mean 'width'", data.csv, file,
           {header = true, comment = "#", columns = {"widht"}})
  t.raises("KeyError", "no column 4 of 3", data.csv, file, {header = true, comment = "#", columns = {4}})
  t.raises("ValueError", "a.csv:2: 1 fields, 2 in the first row", data.csv, write("a.csv", "1,2\n3\n"))
  t.raises("ValueError", "a.csv:2: column 2 has no number\n *missing", data.csv, write("a.csv", "1,2\n3,\n"))
  t.raises("ValueError", "a.csv:1: a quoted field without an end", data.csv, write("a.csv", '"1,2\n3\n'))
  t.raises("ValueError", "a.csv:1: text after a quoted field", data.csv, write("a.csv", '"1"2\n'))
  t.raises("ValueError", "no header, the file is empty", data.csv, write("a.csv", ""), {header = true})
  t.raises("IOError", "cannot read no/such.csv: No such file", data.csv, "no/such.csv")
  t.raises("TypeError", "no option 'headr' %(did you mean 'header'", data.csv, file, {headr = true})
end)

-- ---- batches --------------------------------------------------------------------------------------------------------

t.test("a loader goes through all samples once, in pieces", function()
  local x, y = bdl.arange(10) * 2, bdl.arange(10)
  local loader, sizes, seen = data.loader({x, y}, {batch_size = 4}), {}, {}
  t.eq(#loader, 3)
  for a, b in loader() do
    sizes[#sizes + 1] = #a
    t.eq(a, b * 2)
    for _, v in ipairs(b:totable()) do seen[#seen + 1] = v end
  end
  t.eq(sizes, {4, 4, 2})
  t.eq(seen, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
  loader, sizes = data.loader(x, {batch_size = 4, drop_last = true}), {}
  t.eq(#loader, 2)
  for a in loader() do sizes[#sizes + 1] = #a end
  t.eq(sizes, {4, 4})
end)

t.test("a key decides the order, of every pass another", function()
  local function orders(shuffle)
    local loader, list = data.loader({bdl.arange(50)}, {batch_size = 7, shuffle = shuffle}), {{}, {}}
    for pass = 1, 2 do
      for a in loader() do table.move(a:totable(), 1, #a, #list[pass] + 1, list[pass]) end
    end
    return list
  end
  local first = orders(7)
  t.eq(first, orders(bdl.random.key(7)))
  t.ok(table.concat(first[1], " ") ~= table.concat(first[2], " "))
  t.ok(table.concat(first[1], " ") ~= table.concat(orders(8)[1], " "))
  for pass = 1, 2 do
    table.sort(first[pass])
    t.eq(first[pass], bdl.arange(50))
  end
  bdl.random.seed(3)
  local drawn = orders(true)
  bdl.random.seed(3)
  t.eq(orders(true), drawn)
end)

t.test("what a loader refuses", function()
  local x = bdl.zeros(3, 2)
  t.raises("ShapeError", "array 2 has 4 samples, array 1 3", data.loader, {x, bdl.arange(4)})
  t.raises("ShapeError", "labels has 4 samples, images 3", data.loader, {x, bdl.arange(4)},
           {names = {"images", "labels"}})
  t.raises("ValueError", "labels has a label outside of 0 to 1 at %[3%]", data.loader, {x, bdl.arange(3)},
           {names = {"x", "labels"}, classes = 2})
  t.raises("ValueError", "array 1 has NaN at %[2, 1%] and 1 more", data.loader, {bdl.tensor{{0, 1}, {0/0, 0/0}}})
  t.raises("ValueError", "batch_size is a number from 1, not 0", data.loader, {x}, {batch_size = 0})
  t.raises("TypeError", "a data set is a list of arrays, {x, y}", data.loader, data.digits())
  t.raises("TypeError", "no option 'shufle' %(did you mean 'shuffle'", data.loader, {x}, {shufle = true})
end)

t.test("check names what is no number and no class", function()
  t.eq(data.check({1.5, 2.5}), {1.5, 2.5})
  t.raises("ValueError", "data.check: rates has NaN at %[2%]", data.check, {1, 0/0, 3}, {name = "rates"})
  t.raises("ValueError", "the data has infinity at %[1, 2%]", data.check, {{1, 1/0}} )
  t.raises("ValueError", "V has NaN", data.check, bdl.tensor{0/0} * u.mV, {name = "V"})
  t.raises("ValueError", "y has a label outside of 0 to 9 at %[1%]", data.check, {-1, 3}, {name = "y", classes = 10})
  t.raises("TypeError", "y are labels, integers, not float32", data.check, {1.0, 3.0}, {name = "y", classes = 10})
  t.raises("TraceContextError", "has no value yet", bdl.jit(function(x) return data.check(x) end), bdl.ones(2))
end)

-- ---- events ---------------------------------------------------------------------------------------------------------

t.test("events fall into steps; those outside of the window are left out", function()
  local times, units = bdl.tensor{0.0, 1.5, 0.9, 3.2, 2.999, -0.1} * u.ms, {0, 1, 0, 1, 1, 0}
  t.eq(data.frames(times, units, {n_steps = 3, dt = 1*u.ms, n_units = 2}), {{2, 0}, {0, 1}, {0, 1}})
  t.eq(data.frames(times, units, {n_steps = 3, dt = 1*u.ms, n_units = 2, binary = true}), {{1, 0}, {0, 1}, {0, 1}})
  t.eq(data.frames(times, units, {n_steps = 1, dt = 0.002*u.second, n_units = 2, start = 1*u.ms}), {{0, 2}})
  t.eq(data.frames({0.3, 0.6}, {0, 0}, {n_steps = 4, dt = 0.25, n_units = 1}), {{0}, {1}, {1}, {0}})
end)

t.test("samples stand on the second axis", function()
  local opts = {n_steps = 2, dt = 1, n_units = 3}
  local frames = data.frames({{0.0, 1.5}, {}, {0.3, 0.4}}, {{0, 1}, {}, {2, 2}}, opts)
  t.eq(frames, {{{1, 0, 0}, {0, 0, 0}, {0, 0, 2}}, {{0, 1, 0}, {0, 0, 0}, {0, 0, 0}}})
  t.eq(frames.dtype, "float32")
end)

t.test("events that are none", function()
  local opts = {n_steps = 2, dt = 1, n_units = 3}
  t.raises("IndexError", "unit 3 is none of 0 to 2", data.frames, {0.0}, {3}, opts)
  t.raises("IndexError", "unit %-1 of sample 2 is none", data.frames, {{0.0}, {0.0}}, {{0}, {-1}}, opts)
  t.raises("ShapeError", "2 times and 1 units", data.frames, {0.0, 1.0}, {1}, opts)
  t.raises("ValueError", "a time of sample 1 is NaN", data.frames, {{0/0}, {}}, {{1}, {}}, opts)
  t.raises("UnitMismatchError", "times are in <1>, dt in <ms>", data.frames, {0.0}, {1},
           {n_steps = 2, dt = 1*u.ms, n_units = 3})
  t.raises("TypeError", "option dt, the length of a step, is missing", data.frames, {0.0}, {1},
           {n_steps = 2, n_units = 3})
  t.raises("ValueError", "dt is a time greater than 0", data.frames, {0.0}, {1}, {n_steps = 2, dt = 0, n_units = 3})
  t.raises("TypeError", "both of one sample, or both lists", data.frames, {{0.0}}, {1}, opts)
end)

-- ---- HDF5 -----------------------------------------------------------------------------------------------------------

local SHD = "tests/file/hdf5/shd.h5"
local ok, why = pcall(data.shd, SHD)

if not ok and why.kind == "NotSupportedError" then
  t.skip("spoken words as spikes", tostring(why))
else
  t.test("shd: events, labels and what comes with them", function()
    local d <close> = data.shd(SHD)
    t.eq(#d, 4)
    t.eq(d.labels, {3, 0, 19, 7})
    t.eq(d.classes, 20)
    local times, units = d:events(1)
    t.eq(times:to(u.ms).mantissa, {0, 250, 500})
    t.eq(units, {0, 699, 13})
    t.eq(#d:events(2), 0)
    t.eq(d:extra "speaker", {0, 1, 1, 11})
    t.eq(d:extra "keys", {"zero", "one", "fünf"})
    t.eq(d:extra "meta_info/gender", {"male", "female", "male"})
    t.eq(d:extra "meta_info/body_height", {180, 170.5, 168})
  end)

  t.test("shd: batches are frames, in the order of the loader", function()
    local d <close> = data.shd(SHD, {n_steps = 10, dt = 100*u.ms})
    local x, y = d:batch{3, 0}
    t.eq({table.unpack(x.shape)}, {10, 2, 700})
    t.eq(y, {7, 3})
    t.eq(x:sum{axis = {1, 3}}, {3, 3})             -- the event at 1 s of the last sample is out of the window
    t.eq(x[3][2][700], 1)                          -- sample 0, unit 699, 0.25 s
    local seen = {}
    for a, b in data.loader(d, {batch_size = 3, shuffle = 1})() do
      t.eq(a.shape[2], #b)
      for _, label in ipairs(b:totable()) do seen[#seen + 1] = label end
    end
    table.sort(seen)
    t.eq(seen, {0, 3, 7, 19})
  end)

  t.test("shd: files that are none, and what they lack", function()
    t.raises("IOError", "cannot read no.h5: No such file", data.shd, "no.h5")
    t.raises("IOError", "README.md, /: cannot open it", data.shd, "README.md")
    t.raises("ValueError", "shd.h5, /labels has a label outside of 0 to 18 at %[3%]", data.shd, SHD, {classes = 19})
    t.raises("TypeError", "no option 'nsteps' %(did you mean 'n_steps'", data.shd, SHD, {nsteps = 3})
    local d <close> = data.shd(SHD, {n_units = 500})
    t.raises("IndexError", "samples are numbered 1 to 4, not 5", d.events, d, 5)
    t.raises("KeyError", "no data set /extra/colour", d.extra, d, "colour")
    t.raises("TypeError", "batches need the options n_steps and dt", d.batch, d, {0})
    local e <close> = data.shd(SHD, {n_units = 500, n_steps = 3, dt = 1*u.second})
    t.raises("IndexError", "unit 699 of sample 2 is none of 0 to 499", e.batch, e, {1, 0})
    d:close()
    t.raises("IOError", "closed", d.events, d, 1)
    local whole = read(SHD)
    t.raises("IOError", "cut.h5, /: cannot open it", data.shd, write("cut.h5", whole:sub(1, 4000)))
  end)
end

--- The JSON line of a measurement, for bdl's own programs (w2.lua, w3.lua, w8.lua); common.py writes the same for Python.
local common = {}

--- Peak resident memory of this process in MB.
local function peak_rss_mb()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmHWM:%s*(%d+)"
    if kb then return kb / 1024 end
  end
end

local function json(v)
  if type(v) == "table" then
    local parts = {}
    for i, x in ipairs(v) do parts[i] = json(x) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  return type(v) == "string" and ('"%s"'):format(v) or type(v) == "number" and ("%.6g"):format(v) or "null"
end

--- times: seconds of each repeat.  fields: workload, n, steps, setup_s, compile_s, check (a number or a list) and any other.
function common.emit(threads, times, fields)
  local ts = table.move(times, 1, #times, 1, {})
  table.sort(ts)
  fields.peer = ("bdl-%dt"):format(threads)
  fields.run_s, fields.min_s, fields.max_s, fields.repeats = ts[(#ts + 1) // 2], ts[1], ts[#ts], #ts
  fields.peak_rss_mb = peak_rss_mb()
  local names, parts = {}, {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = ('"%s":%s'):format(name, json(fields[name])) end
  print("{" .. table.concat(parts, ",") .. "}")
end

return common

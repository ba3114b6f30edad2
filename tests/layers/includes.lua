--- No layer includes upwards: reads every #include and keeps the drawing of the layers true.
--
--    tools/  tests/                     anything
--    lua/binding                        the runtime and kernels
--      |
--    runtime/bdl.h  runtime/api         the runtime
--      |             |
--    online   gpu > export > exec, plan > state
--      |             |
--    transform       |
--      |             |
--    ir, prim -------+                  constants of programs are tensors, which are of device
--      |             |
--    device   file   |                  file includes base alone
--      |             |
--    kernels --------+                  see of the rest only base/base.h and base/pool.h
--      |
--    base
local t = require "tests.lua.harness"

-- What a folder may include besides itself and base.
local MAY = {
  base = "",
  kernels = "",
  device = "kernels",
  file = "",
  ir = "prim device",
  prim = "ir device",
  transform = "ir prim device",
  online = "ir prim device transform",
  state = "ir prim device kernels",
  plan = "ir prim device kernels state exec",
  exec = "ir prim device kernels state plan",
  export = "ir prim device kernels plan exec",
  gpu = "ir prim device kernels plan exec export",
  api = "ir prim device kernels state plan exec transform online",
  lua = "ir prim device file kernels state plan exec export gpu transform online api",
}
MAY.tools, MAY.tests = MAY.lua .. " lua", MAY.lua .. " lua tools"

--- runtime/ir/print.c -> ir;  kernels/cpu/tile.c -> kernels;  runtime/bdl.h -> api
local function layer_of_file(path)
  local top, sub = path:match "^([^/]+)/([^/]+)"
  if path == "runtime/bdl.h" then return "api" end
  return top == "runtime" and sub or top
end

--- "ir/ir.h" -> ir;  "cpu/tile.h", "tile_ops.def" beside a kernel -> kernels;  <math.h> -> nil
local function layer_of_include(name, from)
  local dir = name:match "^([^/]+)/"
  if name == "bdl.h" or name == "runtime/bdl.h" then return "api" end
  if not dir then return layer_of_file(from) end
  if dir == "export" and layer_of_file(from) == "kernels" then return "kernels" end -- both have such a folder
  if dir == "cpu" or dir == "native" or dir == "cuda" or dir == "kernels" then return "kernels" end
  if dir == "binding" or dir == "bdl" then return "lua" end
  return dir
end

--- The reason why `from` may not include `name`, or nil.
local function objection(from, name)
  local layer, other = layer_of_file(from), layer_of_include(name, from)
  if not MAY[layer] then return ("folder '%s' is not in the drawing of the layers"):format(layer) end
  if name:find("..", 1, true) then return "includes are relative to runtime/, kernels/, lua/, not to the file" end
  if other == layer then return nil end
  if not MAY[other] then return ("'%s' is no layer"):format(other) end
  if layer == "kernels" and name ~= "base/base.h" and name ~= "base/pool.h" then
    return "kernels include only base/base.h, base/pool.h and themselves"
  end
  if other == "base" or (" " .. MAY[layer] .. " "):find(" " .. other .. " ", 1, true) then return nil end
  return ("%s lies below %s"):format(layer, other)
end

t.test("no file includes a layer above it", function()
  local files, bad = 0, {}
  local sources = t.shell "find runtime kernels lua tools -type f ! -name '*.lua' ! -name '*.py' ! -name '*.md' | sort"
  for path in sources:gmatch "[^\n]+" do
    files = files + 1
    local line = 0
    for text in io.lines(path) do
      line = line + 1
      local name = text:match '^%s*#%s*include%s*"([^"]+)"'
      local why = name and objection(path, name)
      if why then bad[#bad + 1] = ('%s:%d: #include "%s": %s'):format(path, line, name, why) end
    end
  end
  t.ok(files > 10, "found only " .. files .. " source files; run it from the top of the repository")
  t.ok(#bad == 0, table.concat(bad, "\n"))
end)

t.test("the rule refuses what points up, and nothing else", function()
  for _, case in ipairs{
    {"runtime/base/arena.c", "ir/ir.h"}, {"runtime/ir/print.c", "cpu/tile.h"}, {"runtime/prim/linalg.c", "exec/lower.h"},
    {"runtime/device/cpu.c", "ir/ir.h"}, {"runtime/transform/jvp.c", "exec/exec.h"}, {"runtime/exec/run.c", "binding/unit.h"},
    {"runtime/state/state.c", "exec/exec.h"}, {"runtime/state/tree.c", "plan/plan.h"}, {"runtime/exec/run.c", "online/online.h"},
    {"kernels/cpu/tile.c", "base/context.h"}, {"kernels/cpu/tile.c", "ir/ir.h"}, {"runtime/ir/ir.h", "bdl.h"},
    {"runtime/ir/print.c", "../exec/exec.h"}, {"runtime/surprise/x.c", "base/base.h"}, {"runtime/file/npz.c", "device/device.h"},
  } do
    t.ok(objection(case[1], case[2]), case[1] .. " may include " .. case[2])
  end
  for _, case in ipairs{
    {"runtime/ir/print.c", "ir/ir.h"}, {"runtime/ir/verify.c", "prim/prim.h"}, {"runtime/prim/shape.c", "ir/ir.h"},
    {"runtime/exec/run.c", "plan/plan.h"}, {"runtime/exec/lower.c", "cpu/tile.h"}, {"kernels/cpu/tile.c", "cpu/tile_ops.def"},
    {"kernels/cpu/tile.c", "base/base.h"}, {"lua/binding/tensor.c", "exec/exec.h"}, {"tools/bdl.c", "binding/embedded.h"},
    {"runtime/api/host.c", "bdl.h"}, {"runtime/transform/jvp.c", "base/context.h"}, {"runtime/plan/plan.h", "exec/lower.h"},
  } do
    t.eq(objection(case[1], case[2]), nil, case[1] .. " and " .. case[2])
  end
end)

--- The kernels of every model, as C with the names of tests/cuda/shim.h; and by NVRTC where there is one, which needs no GPU.
local t = require "tests.lua.harness"

local program, nvrtc = os.getenv "BDL", os.getenv "FAKE_CUDA_NVRTC" or ""
local OPTIONS = "--gpu-architecture=sm_90 --fmad=false --device-as-default-execution-space --std=c++17"

local function texts_of(model)
  local text, status = t.shell(("%s dump --cuda %s"):format(program, model))
  t.eq(status, 0, text)
  local texts = {}
  for part in (text .. "\n# program "):gmatch "(.-)\n# program [^\n]*" do
    texts[#texts + 1] = part:gsub("^# program [^\n]*", "")
  end
  return texts
end

for model in io.popen "ls models/*.lua models/seeds/*.lua":lines() do
  t.test("kernels of " .. model:match "models/(.*)%.lua", function()
    local texts, path = texts_of(model), os.tmpname()
    t.ok(#texts > 0)
    for k, text in ipairs(texts) do
      local f <close> = assert(io.open(path, "w"))
      f:write(text)
      f:flush()
      local said, status = t.shell(("${FAKE_CUDA_CC:-cc} -std=c99 -fsyntax-only -w -DBDL_SHIM -include tests/cuda/shim.h -x c %s"):format(path))
      t.eq(status, 0, ("program %d: %s"):format(k, said))
      if nvrtc ~= "" then
        said, status = t.shell(("%s/fake-cuda/accepts %s %s %s"):format(os.getenv "OUT", nvrtc, path, OPTIONS))
        t.eq(status, 0, ("program %d: %s"):format(k, said))
      end
    end
    os.remove(path)
  end)
end

--- Commands that tell of bdl: prims, cache, env, help.
local core = require "bdl.core"
local shared = require "bdl.cli.shared"

local M = {}

local command = shared.command

command("prims", "", "", [[
The primitives: operands and results (n: any number), rules (J jvp, T transpose, B batch), and what they compute.]],
function()
  local function count(n) return n < 0 and "n" or tostring(n) end
  for _, p in ipairs(core.prims()) do
    io.stdout:write(("%-18s %s -> %s  %s%s%s  %s\n"):format(p.name, count(p.n_in), count(p.n_out), p.jvp and "J" or "-",
      p.transpose and "T" or "-", p.batch and "B" or "-", p.synopsis))
  end
end)

--- Environment variables that bdl or its libraries look at.
M.variables = {
  {"BDL_TRACEBACK", "full: tracebacks show bdl's own frames too"},
  {"BDL_TIER", "auto, interp or native: how compiled programs run where --tier does not say"},
  {"BDL_NATIVE", "native code that bdl compile made, where --native does not say"},
  {"BDL_CC", "C compiler of the native tier, in place of cc"},
  {"BDL_CACHE", "folder of its programs, in place of ~/.cache/bdl"},
  {"BDL_HISTORY", "file of what was typed at the prompt, in place of ~/.bdl_history"},
  {"BDL_PLATFORM", "cpu or gpu, where --platform does not say"},
  {"BDL_CUDA", "folders, with ':' between, in which NVIDIA's driver, NVRTC, cuBLAS and NCCL are looked for first"},
  {"BDL_BLAS", "shared library for matrix products and factorisations, in place of OpenBLAS"},
  {"BDL_LUA", "folder to load bdl's Lua modules from, in place of the built-in ones (for development)"},
  {"OMP_NUM_THREADS", "threads to use where --threads does not say"},
  {"OPENBLAS_CORETYPE", "kernels of OpenBLAS; set by bdl on processors with AVX-512"},
}

command("cache", "", "clear", [[
The folder of native code: where it is, how many programs of how many bytes it holds.  Compiled programs are found there again by
what they compute; those used longest ago go when there are more than 256 MiB.]],
function(opts)
  local dir, files, bytes = core.cache(opts.clear)
  io.stdout:write(("%s\n%d program%s, %.1f MiB\n"):format(dir, files, files == 1 and "" or "s", bytes / 2^20))
end)

--- What there is of CUDA, in lines.
function M.gpu()
  local gpu, why = core.gpu()
  if not gpu then return {"none; " .. why:gsub("^platform .gpu.: ", "")} end
  local lines = {}
  for k, d in ipairs(gpu.devices) do
    local number = #gpu.devices > 1 and ("%d: "):format(k - 1) or ""
    lines[k] = ("%s%s, %.1f GiB, capability %s, %d multiprocessors"):format(number, d.name, d.memory / 2^30, d.capability, d.processors)
  end
  local which = #gpu.devices > 1 and (" on %d, the one of this process"):format(gpu.which - 1) or ""
  lines[#lines + 1] = ("%.1f of %.1f GiB free%s"):format(gpu.free / 2^30, gpu.devices[gpu.which].memory / 2^30, which)
  lines[#lines + 1] = ("driver of CUDA %s, %s"):format(gpu.driver, gpu.driver_path)
  lines[#lines + 1] = ("NVRTC %s, %s"):format(gpu.nvrtc, gpu.nvrtc_path)
  lines[#lines + 1] = ("cuBLAS, %s"):format(gpu.blas_path)
  lines[#lines + 1] = ("cuBLASLt, %s"):format(gpu.blas_lt_path or "not found; products have no epilogues")
  lines[#lines + 1] = gpu.nccl and ("NCCL %s, %s"):format(gpu.nccl, gpu.nccl_path) or "no NCCL: " .. gpu.nccl_why
  return lines
end

command("env", "", "", "What bdl finds on this machine, and the environment variables that it reads.", function()
  local function row(name, value) io.stdout:write(("%-18s %s\n"):format(name, value)) end
  local core_type = os.getenv "OPENBLAS_CORETYPE" -- before the library is loaded
  local float, int = core.precision()
  local limit = core.memory().limit
  row("version", core.version .. ", " .. _VERSION)
  row("platforms", "cpu" .. (core.gpu() and ", gpu" or ""))
  row("instructions", core.isa())
  row("tier", core.tier())
  row("threads", core.threads())
  row("precision", ("%s, %s"):format(float, int))
  row("BLAS", core.blas() or "none found")
  for _, line in ipairs(M.gpu()) do row("GPU", line) end
  row("MPI", core.world_library() or "none found; pmap has one device")
  row("HDF5", core.hdf5_built() and "built in" or "not built in; with libhdf5-dev it would be")
  row("gnuplot", require "bdl.plot.program".version() or "none found; figures are text, not files")
  local size, rank = core.world()
  row("processes", size == 1 and "1" or ("%d, this is %d"):format(size, rank + 1))
  row("memory limit", limit > 0 and limit .. " bytes" or "none")
  io.stdout:write "\n"
  for _, v in ipairs(M.variables) do
    local value = v[1] == "OPENBLAS_CORETYPE" and core_type or os.getenv(v[1])
    row(v[1], ("%-12s %s"):format(v[1] ~= "OPENBLAS_CORETYPE" and value or core_type or "(not set)", v[2]))
  end
end)

return M

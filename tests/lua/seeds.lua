-- The models of models/seeds run, and trace without running.
local t = require "tests.lua.harness"

local program = os.getenv "BDL"

--- What a document prints, in order.
local PRINTS = {
  ["002_online_learning"] = {"value=float32%[20%]", "value=float32%[10%]"},
  ["004_ir_analysis"] = {
    "隐藏状态数量: 5\n编译后状态数量: 6", "路径: neu.V\n变量: %%%d+:float32%[4%]", "参数路径: syn.comm.weight_op\n变量数量: 2", "变量1: %%%d+:float32%[4%]",
    "变量2: %%%d+:float32%[7,4%]", "发现状态群数量: 1\n状态路径到群组的映射数量: 5", "群组索引: 1\n包含状态路径数量: 5\n隐藏状态数量: 5",
    "发现参数%-状态关系数量: 1", "参数路径: syn.comm.weight_op\n输入变量x: %%%d+:float32%[7%]\n输出变量y: %%%d+:float32%[4%]",
    "影响的隐藏群组数量: 1\n连接的隐藏路径数量: 2", "  neu.V\n", "neu._before_updates%[.-%].syn.g\n", "扰动变量数量: 5\n扰动路径数量: 5\n扰动状态数量: 5",
    "状态类型: ETraceState",
  },
}
local list = io.popen "LC_ALL=C ls models/seeds/*.lua"

for path in list:lines() do
  t.test(path, function()
    if not program then return end
    for _, command in ipairs{"run --quiet", "check"} do
      local text, status = t.shell(("%s %s %s"):format(program, command, path))
      t.eq(status, 0, text)
      local at = 1
      for _, want in ipairs(command:find "run" and PRINTS[path:match "([^/]+)%.lua$"] or {}) do
        local _, last = text:find(want, at)
        t.ok(last, ("no '%s' in what is left:\n%s"):format(want, text:sub(at)))
        at = last + 1
      end
    end
  end)
end

list:close()

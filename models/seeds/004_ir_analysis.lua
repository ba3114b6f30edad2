--- What the compiler of online learning sees in a model: states, parameters, groups, relations, perturbations.
--  Source: document 004 of BrainScale on the analysis of the intermediate representation, in bdl's words.
-- In [11]
local bdl = require "bdl"
local nn, random, u, online = bdl.nn, bdl.random, bdl.units, bdl.online
bdl.environ.set{dt = 0.1 * u.ms}

-- In [12]
local ALIF_STPExpCu_Dense_Layer = online.testing.ALIF_STPExpCu_Dense_Layer
local n_in, n_rec = 3, 4
local net = ALIF_STPExpCu_Dense_Layer(n_in, n_rec)
nn.init_all_states(net)
local input_data = random.rand(n_in)

-- In [13]
local info = online.extract_module_info(net, input_data)
print("模型信息提取完成")
print(("隐藏状态数量: %d"):format(#info.hidden_path_to_invar))        --> 5
print(("编译后状态数量: %d"):format(#info.compiled_model_states))     --> 6

-- In [14]
print("=== 隐藏状态路径 ===")
for path, var in info.hidden_path_to_invar:items() do
  print("路径: " .. path)                        --> neu.V, neu.a, stp.u, stp.x, neu._before_updates[..].syn.g
  print("变量: " .. tostring(var))               --> %7:float32[4]
  print("---")
end
print("=== 训练参数信息 ===")
for path, invars in info.weight_path_to_invars:items() do
  print("参数路径: " .. path)                    --> syn.comm.weight_op
  print(("变量数量: %d"):format(#invars))        --> 2
  for i, var in ipairs(invars) do
    print(("  变量%d: %s"):format(i, var))       --> bias float32[4], weight float32[7,4]
  end
end

-- In [15]
local hidden_groups, hid_path_to_group = online.find_hidden_groups_from_minfo(info)
print(("发现状态群数量: %d"):format(#hidden_groups))                  --> 1
print(("状态路径到群组的映射数量: %d"):format(#hid_path_to_group))    --> 5

-- In [16]
if #hidden_groups > 0 then
  local group = hidden_groups[1]
  print("=== 状态群详细信息 ===")
  print(("群组索引: %d"):format(group.index))    --> 1 (a position, rule A6.1; the seed prints 0)
  print(("包含状态路径数量: %d"):format(#group.hidden_paths))        --> 5
  print(("隐藏状态数量: %d"):format(#group.hidden_states))           --> 5
  print(("输入变量数量: %d"):format(#group.hidden_invars))           --> 5
  print(("输出变量数量: %d"):format(#group.hidden_outvars))          --> 5
  print("\n--- 状态路径列表 ---")
  for i, path in ipairs(group.hidden_paths) do
    print(("%d. %s"):format(i, path))
  end
end

-- In [17]
local hidden_param_op = online.find_hidden_param_op_relations_from_minfo(info, hid_path_to_group)
print(("发现参数-状态关系数量: %d"):format(#hidden_param_op))         --> 1

-- In [18]
if #hidden_param_op > 0 then
  local relation = hidden_param_op[1]
  print("=== 参数-状态关系详解 ===")
  print("参数路径: " .. relation.path)           --> syn.comm.weight_op
  print("输入变量x: " .. tostring(relation.x))   --> float32[7]
  print("输出变量y: " .. tostring(relation.y))   --> float32[4]
  print(("影响的隐藏群组数量: %d"):format(#relation.hidden_groups))          --> 1
  print(("连接的隐藏路径数量: %d"):format(#relation.connected_hidden_paths)) --> 2
  print("\n--- 连接的隐藏路径 ---")
  for _, path in ipairs(relation.connected_hidden_paths) do
    print("  " .. path)                          --> neu.V, neu._before_updates[..].syn.g
  end
end

-- In [19]
local hidden_perturb = online.add_hidden_perturbation_from_minfo(info)
print("=== 状态扰动信息 ===")
print(("扰动变量数量: %d"):format(#hidden_perturb.perturb_vars))          --> 5
print(("扰动路径数量: %d"):format(#hidden_perturb.perturb_hidden_paths))  --> 5
print(("扰动状态数量: %d"):format(#hidden_perturb.perturb_hidden_states)) --> 5

-- In [20]
print("\n--- 扰动路径详情 ---")
for i, path in ipairs(hidden_perturb.perturb_hidden_paths) do
  print(("%d. 路径: %s"):format(i, path))
  print("   变量: " .. tostring(hidden_perturb.perturb_vars[i]))
  print("   状态类型: " .. bdl.typename(hidden_perturb.perturb_hidden_states[i]))  --> ETraceState
  print("---")
end

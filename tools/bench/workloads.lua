--- W1 to W10: what runs, with which sizes, what the results must be, what ratio is aimed at.  bench.lua runs the list.
--
--    name        label of a row; $field is a field of the size or of the program's JSON line
--    sizes       rows to run: fields for the templates
--    bdl, C      commands, for both tiers and for the reference: $run/x.lua runs a program of bdl, $bin is where C lies
--    native      in place of bdl: what has one tier only
--    rows_of     column by the begin of `peer`, of a program that prints rows of two columns
--    <peer>      arguments of Python scripts
--    of          what one time is of; times are divided by `steps` where it is "step" or "call"
--    check       {{value, tolerance}, ..} of the numbers that the program prints, false: any; "C": those of the reference.  The
--                tiers of bdl must besides agree in every digit
--                check, C and aim may be functions of the size
--    aim         {C = r}: at most r times the time of the reference; {peer = r}: r times as fast as the fastest peer; {us = t}
--    plot        its rows are drawn, too

--- The rows, each with every value under the key.
local function cross(key, values, rows)
  local all = {}
  for _, value in ipairs(values) do
    for _, row in ipairs(rows) do
      local copy = {[key] = value}
      for k, v in pairs(row) do copy[k] = v end
      all[#all + 1] = copy
    end
  end
  return all
end

local function network(scale, n, steps, repeats, few)
  return {scale = scale, n = n, steps = steps, repeats = repeats, few = few}   -- few: repeats of peers
end
local function population(n, steps, repeats) return {n = n, steps = steps, repeats = repeats, few = repeats // 2 + 1} end
local function layer(hidden, batch, steps, repeats)
  return {n = hidden, batch = batch, steps = steps, repeats = repeats, few = repeats // 2 + 1}
end

--- Final V and spikes a neuron: exact, but for the peers' other refractory step.
local REST = {
  hh = {[200] = {{-41.52, 0.1}, {0, 0.001}}, [1000] = {{-67.31, 0.1}, {1, 0.001}}},
  lif = {[200] = {{-56.46, 0.25}, {1.183, 0.01}}, [1000] = {{-56.19, 0.25}, {5.363, 0.02}}},
}

local W3 = {population(1000, 1000, 15), population(10000, 1000, 7), population(100000, 1000, 3), population(1000000, 200, 3)}
local W6 = {layer(256, 1, 100, 15), layer(256, 16, 100, 7), layer(256, 64, 100, 5), layer(1024, 1, 100, 5),
            layer(1024, 16, 100, 3), layer(1024, 64, 20, 3)}
local W10 = {}                                    -- the gather of the reference touches every entry, whatever the density
for _, way in ipairs{{"pre", 0, {{10000, 0.01, 1000, 9}, {10000, 0.2, 100, 9}, {100000, 0.001, 200, 5}, {100000, 0.01, 100, 5}}},
                     {"post", 1, {{10000, 0.01, 100, 5}, {100000, 0.01, 50, 3}}}} do
  for _, weights in ipairs{{"hom", 0}, {"het", 1}} do
    for _, s in ipairs(way[3]) do
      W10[#W10 + 1] = {direction = way[1], post = way[2], weights = weights[1], het = weights[2],
                       n = s[1], density = s[2], steps = s[3], repeats = s[4]}
    end
  end
end
local STDP = {{n = 10000, density = 0.01, steps = 300, repeats = 7}, {n = 10000, density = 0.1, steps = 50, repeats = 5},
              {n = 100000, density = 0.01, steps = 50, repeats = 5}}
local SCALING = {}
for k, scale in ipairs{0.005, 0.03, 0.3, 3, 30} do
  SCALING[k] = {scale = scale, synapses = 320000*scale // 1 | 0, steps = scale < 1 and 10000 or 2000, repeats = 5}
end

local NETWORKS = {network(1, 4000, 10000, 9, 5), network(10, 40000, 10000, 3, 3), network(50, 200000, 2000, 3, 2)}
if (os.getenv "GPU" or "") ~= "" then             -- what fills one
  table.move({network(200, 800000, 1000, 3, 1), network(1000, 4000000, 500, 3, 1)}, 1, 2, #NETWORKS + 1, NETWORKS)
  W3[#W3 + 1] = population(10000000, 200, 3)
  table.move({layer(2048, 16, 20, 3), layer(4096, 16, 20, 3)}, 1, 2, #W6 + 1, W6)
end

local workloads = {
  {
    name = "W1 start-up", sizes = {{n = 100, steps = 1000}}, of = "process", check = {{534, 6}},
    bdl = "$bin/timer 15 bdl W1 100 1000 $run/w1.lua",
    jax = "w1_startup.py --peers jax --repeat 3", BrainX = "w1_startup.py --peers brainpy.state --repeat 3",
    brian2 = "w1_startup.py --peers brian2-cython --repeat 3", nest = "w1_startup.py --peers nest --repeat 3",
  },
  {
    -- The rate depends on the draw of the connectivity, the less the larger the network; 0.2 s hold more of the start.
    name = "W2 $net, $n neurons", of = "step", aim = {C = 1.3},
    sizes = cross("net", {"coba", "cuba"}, NETWORKS),
    check = function(size) return {{size.net == "coba" and 22 or 25, size.scale == 1 and 3 or 2}} end,
    C = "$bin/w2_ref $net $scale $steps $repeats $threads", bdl = "$run/w2.lua $net $scale $steps $repeats",
    BrainX = "w2_brainstate.py --peer fcn --backend numba --net $net --scale $scale --steps $steps --repeat $few",
    brian2 = "w2_brian2.py --peer cpp_standalone --float 32 --net $net --scale $scale --steps $steps --repeat $few",
    genn = "w2_genn.py --net $net --scale $scale --steps $steps --repeat $few",
    nest = "w2_nest.py --net $net --scale $scale --steps $steps --repeat 1",
  },
  {
    name = "W3 $model, $n neurons", of = "step", aim = function(size) return {C = size.model == "hh" and 1.1 or 1.3} end,
    sizes = cross("model", {"hh", "lif"}, W3), check = function(size) return REST[size.model][size.steps] end,
    C = "$bin/w3_ref $model $n $steps $repeats $threads 0", bdl = "$run/w3.lua $model $n $steps $repeats",
    jax = "w3_jax.py --peer jax --model $model --n $n --steps $steps --repeat $few",
    BrainX = "w3_jax.py --peer brainstate --model $model --n $n --steps $steps --repeat $few",
    brian2 = "w3_brian2.py --peer cpp_standalone --model $model --n $n --steps $steps --repeat $few",
  },
  {
    -- Each program draws its own weights: the first loss of random logits is near ln 10.
    name = "W4 $cell", of = "training step", sizes = {{cell = "gru"}, {cell = "rnn"}}, check = {{2.35, 0.25}},
    aim = function(size) return {peer = size.cell == "gru" and 1.5 or 1.2} end,
    bdl = "$run/w4.lua $cell 9", jax = "w4_rnn.py --peer jax --cell $cell", BrainX = "w4_rnn.py --peer brainstate --cell $cell",
    torch = "w4_rnn.py --peer torch --cell $cell",
  },
  {
    name = "W5 $neuron", of = "training step", sizes = {{neuron = "alif"}, {neuron = "lif"}}, aim = {peer = 2},
    check = {{2.5, 0.5}, false, {0.05, 0.02}},
    bdl = "$run/w5.lua $neuron 9", jax = "w5_snn.py --peer jax --neuron $neuron",
    BrainX = "w5_snn.py --peer brainstate --neuron $neuron", torch = "w5_snn.py --peer torch --neuron $neuron",
  },
  {
    name = "W6 $rule, $n hidden, batch $batch", of = "step", sizes = cross("rule", {"d_rtrl", "pp_prop", "bptt"}, W6),
    check = function(size) return {size.batch == 1 and {3, 2.7} or {2.7, 0.7}} end, -- own draws: one label, or several
    aim = function(size) return size.rule == "d_rtrl" and {C = 1.1} or size.rule == "pp_prop" and {peer = 1.5} or nil end,
    C = function(size) return size.rule ~= "bptt" and "$bin/w6_ref $rule $n $batch $steps $repeats" end,
    bdl = "$run/w6.lua $rule $n $batch $steps $repeats",
    BrainX = "w6_online.py --peer $rule --n $n --batch $batch --steps $steps --repeat $few",
  },
  {
    name = "W7 $what, $n lanes", of = "run", aim = {peer = 1.5},
    sizes = {{what = "lif", n = 1000, steps = 1000, repeats = 9, value = 5.213},
             {what = "hh", n = 1000, steps = 1000, repeats = 9, value = 1},
             {what = "mlp", n = 32, steps = 1, repeats = 200, value = 1.22}},
    check = function(size) return {{size.value, size.what == "mlp" and 0.2 or 0.01}} end,
    bdl = "$run/w7.lua $what $n $steps $repeats",
    jax = "w7_vmap.py --peer jax --what $what --n $n --steps $steps --repeat $repeats",
    BrainX = "w7_vmap.py --peer brainstate --what $what --n $n --steps $steps --repeat $repeats",
  },
  {
    name = "W8 from Lua or Python", of = "call", sizes = {{steps = 10000}}, aim = {us = 0.8}, check = {{-56.444, 0.001}},
    bdl = "$run/w8.lua $steps 15", jax = "w8_dispatch.py --peer jax", BrainX = "w8_dispatch.py --peer brainstate",
    numpy = "w8_dispatch.py --peer numpy",
  },
  {
    name = "W8 from C", of = "call", sizes = {{steps = 10000}}, aim = {us = 0.3}, check = {{-56.444, 0.001}},
    bdl = "$bin/w8_bdl $steps 15",
  },
  {
    name = "W9 $m x $n x $k", of = "product", sizes = {{}}, check = "C",
    C = '$bin/w9_gemm openblas libopenblas.so.0 "" $threads', bdl = "$run/w9.lua 9",
    jax = "w9_gemm.py --peer jax", numpy = "w9_gemm.py --peer numpy",
  },
  {
    name = "W9 $m x $n x $k$form, kernel", of = "product", sizes = {{}}, check = {},
    -- it compares all elements before it measures
    native = "$bin/w9_dot 9", rows_of = {openblas = "C"},
  },
  {
    -- Mean y after many steps: fan-out density (mean weight) / (1 - 0.9), to the draw of 16 vectors.
    name = "W10 $direction $weights, n $n, density $density", of = "step", aim = {C = 1.1},
    sizes = W10,
    check = function(size)
      local y = 1000 * size.density * (size.weights == "het" and 0.5 or 1)
      return {{y, 0.1 * y}}
    end,
    C = "$bin/w10_ref $n $density $het $steps $repeats $post", bdl = "$run/w10.lua $n $density $het $steps $repeats $post",
    BrainX = "w10_spmv.py --n $n --density $density --hetero $het --steps $steps --direction $direction --repeat $repeats",
  },
  {
    name = "W10 stdp, n $n, density $density", of = "step", aim = {C = 1.1}, sizes = STDP, check = {{0.5, 0.05}},
    C = "$bin/w10_ref $n $density 1 $steps $repeats 2", bdl = "$run/w10.lua $n $density 1 $steps $repeats 2",
  },
  {
    name = "scaling, $synapses synapses", of = "step", plot = true, check = {{20, 15}}, sizes = SCALING, -- 80 synapses a neuron
    C = "$bin/w2_ref coba $scale $steps $repeats $threads", bdl = "$run/w2.lua coba $scale $steps $repeats",
  },
}

--- On a GPU: those that are made for one.
if (os.getenv "GPU" or "") ~= "" then
  local some = {}
  for _, w in ipairs(workloads) do
    if w.name:find "^W[234567] " or w.name:find "^W10 " then some[#some + 1] = w end
  end
  return some
end
return workloads

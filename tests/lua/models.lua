-- The models that learn, shortened: what they reach, and the same text when run twice.
local t = require "tests.lua.harness"

local program = os.getenv "BDL"

--- What a model prints with these settings.
local function run(model, settings)
  local text, status = t.shell(("OMP_NUM_THREADS=1 %s run --quiet models/%s.lua %s"):format(program, model, settings))
  t.eq(status, 0, text)
  return text
end

--- A text but for times and memory.
local function steady(text) return (text:gsub("time [^\n]*\n", ""):gsub("[%d.]+ [KM]iB", "")) end

--- A test that gets the text of a shortened run; a second run gives the same.
local function learns(model, settings, check)
  t.test(model .. " learns", function()
    if not program then return end
    local text = run(model, settings)
    check(text)
    t.eq(steady(run(model, settings)), steady(text))
  end)
end

--- The numbers of a line of the text.
local function numbers(text, name)
  local list = {}
  local line = text:match("%f[^\n\0]" .. name .. "%s[^\n]*") or ""
  for word in line:gmatch "%-?%d[%d.e+-]*" do list[#list + 1] = tonumber(word) end
  return table.unpack(list)
end

learns("digits_gru", "--set epochs=4 --set hidden=32", function(text)
  local first, last = numbers(text, "loss")
  t.ok(last < 0.4 * first, text)
  t.ok(numbers(text, "test accuracy") > 80, text)
end)

learns("digits_alif", "--set epochs=3 --set hidden=48 --set hold=3", function(text)
  local first, last = numbers(text, "loss")
  t.ok(last < 0.7 * first, text)
  t.ok(numbers(text, "test accuracy") > 55, text)
end)

learns("integrator_rnn", "--set rounds=4 --set per_round=50 --set hidden=32 --set steps=30", function(text)
  local first, last = numbers(text, "loss")
  t.ok(last < 0.4 * first, text)
  local explained, right = numbers(text, "test")
  t.ok(explained > 85 and right > 85, text)
end)

learns("delayed_match", "--set rounds=4 --set per_round=25 --set batch=32 --set hidden=60 --set delay=100ms", function(text)
  local first, last = numbers(text, "loss")
  t.ok(last < 0.5 * first, text)
  t.ok(numbers(text, "test accuracy") > 85, text)
end)

learns("stdp_pattern", "--set duration=60second", function(text)
  local first, last
  for hits, alarms in text:gmatch "s +([%d.]+) %% +([%d.]+) %%" do
    last = hits - alarms
    first = first or last
  end
  t.ok(last > 60 and last > first, text)
  local inside, outside = numbers(text, "mean weight")
  t.ok(inside > 1.5 * outside, text)
end)

learns("digits_gru_online", "--set epochs=4 --set hidden=24", function(text)
  local first, last = numbers(text, "loss")
  t.ok(last < 0.4 * first, text)
  t.ok(numbers(text, "test accuracy") > 75, text)
end)

for _, rule in ipairs{"D_RTRL", "ES_D_RTRL"} do
  learns("digits_spikes_online", "--set epochs=5 --set hidden=40 --set rule=" .. rule, function(text)
    local first, last = numbers(text, "loss")
    t.ok(last < 0.6 * first, text)
    t.ok(numbers(text, "test accuracy") > 60, text)
  end)
end

learns("copying_online", "--set steps=200 --set updates=150", function(text)
  t.ok(numbers(text, "copied") > 95, text)
  local few, _, many = numbers(text, "traces")
  t.ok(many < few + 0.1, text)
  local _, _, through_time = numbers(text, "through time")
  t.ok(through_time > many + 1, text)
  t.ok(numbers(text, "gradients") < 1e-4, text)
end)

learns("three_factor", "--set trials=150 --set delay=200ms", function(text)
  local before, after = numbers(text, "right choices")
  t.ok(before < 75 and after > 90, text)
end)

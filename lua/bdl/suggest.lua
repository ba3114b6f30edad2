--- "did you mean": the candidate nearest to a misspelt name.

local suggest = {}

--- Edits (insert, delete, replace, swap neighbours) that turn a into b; `limit` or more is reported as `limit`.
--  Source: Damerau (1964), restricted to one edit a place ("optimal string alignment").
function suggest.distance(a, b, limit)
  local n, m = #a, #b
  limit = limit or math.huge
  if math.abs(n - m) >= limit then return limit end
  local before, last, row = {}, {}, {}
  for j = 0, m do last[j] = j end
  for i = 1, n do
    row[0] = i
    for j = 1, m do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local d = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        d = math.min(d, before[j - 2] + 1)
      end
      row[j] = d
    end
    before, last, row = last, row, before
  end
  return math.min(last[m], limit)
end

--- The nearest of a list of names, the first by length and alphabet among equals; nil when none is near: a third of the name
--  may differ, one letter at least.
function suggest.nearest(name, candidates)
  if type(name) ~= "string" then return nil end
  local best, best_d = nil, math.max(1, #name // 3) + 1
  for _, c in ipairs(candidates) do
    local d = c:lower() == name:lower() and 0 or suggest.distance(name, c, best_d + 1)
    local before = best and (#c < #best or #c == #best and c < best)
    if d < best_d or d == best_d and before then best, best_d = c, d end
  end
  return best
end

--- " (did you mean 'tau'?)", or "" when nothing is near.
function suggest.hint(name, candidates)
  local best = suggest.nearest(name, candidates)
  return best and (" (did you mean '%s'?)"):format(best) or ""
end

return suggest

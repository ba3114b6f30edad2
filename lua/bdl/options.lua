--- Options in a last plain table that names nothing else:  others, opts = options({"has_aux"}, ...);  others.n counts.
--  For functions whose other arguments may be tables too.
local function is_plain(x) return type(x) == "table" and getmetatable(x) == nil end

return function(known, ...)
  local others = table.pack(...)
  local last = others[others.n]
  if not is_plain(last) or next(last) == nil then return others, {} end
  for key in pairs(last) do
    local found = false
    for _, name in ipairs(known) do found = found or key == name end
    if not found then return others, {} end
  end
  others[others.n] = nil
  others.n = others.n - 1
  return others, last
end

--- Marks a traceable operation for the compiler of online learning:  mark(name, f, xs, ws) -> f(xs.., ws)
--  name : "matmul", "conv", ..   xs : list of inputs, may be empty   ws : a weight, or a tree of weights
return function(_, f, xs, ws)
  if #xs == 1 then return f(xs[1], ws) end
  local list = {table.unpack(xs)}
  list[#list + 1] = ws
  return f(table.unpack(list))
end

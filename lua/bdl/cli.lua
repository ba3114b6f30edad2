return function(...)
local f = assert(loadfile((select(2, ...))))
f()
return 0 end

"""net.py -- a network stepped from Python, through ctypes.          usage: python3 net.py libbdl.so [net.lua]"""
import ctypes as C
import sys


class Array(C.Structure):
    _fields_ = [("data", C.c_void_p), ("dtype", C.c_int), ("ndim", C.c_int), ("shape", C.c_int64 * 8),
                ("unit", C.c_char_p), ("flags", C.c_uint)]


def over(buffer, unit=None):
    """A vector of floats where it is: a ctypes array here; of a NumPy array x: x.ctypes.data, x.shape."""
    return Array(C.addressof(buffer), 4, 1, (C.c_int64 * 8)(len(buffer)), unit, 0)


lib = C.CDLL(sys.argv[1])
for name in "bdl_open", "bdl_function_find", "bdl_program_new", "bdl_cell_find", "bdl_error_text":
    getattr(lib, name).restype = C.c_char_p if name == "bdl_error_text" else C.c_void_p


def check(failed):
    if failed:
        sys.exit(lib.bdl_error_text(b).decode())


def found(handle):
    check(not handle)
    return C.c_void_p(handle)


b = C.c_void_p(lib.bdl_open(None))
check(lib.bdl_run_file(b, (sys.argv[2] if len(sys.argv) > 2 else "net.lua").encode()))
x, spikes, V = (C.c_float * 8)(*[0.5] * 8), (C.c_float * 32)(), (C.c_float * 32)()
step = found(lib.bdl_function_find(b, b"step"))
program = found(lib.bdl_program_new(step, C.byref(over(x)), 1, C.byref(over(spikes)), 1))
total = 0
for k in range(1000):
    x[k % 8] += 0.01
    check(lib.bdl_program_run(program))
    total += sum(spikes)
check(lib.bdl_cell_read(found(lib.bdl_cell_find(b, b"net.neurons.V")), C.byref(over(V, b"V"))))
print(f"{total:.0f} spikes in 1 s; V[0] = {V[0]:.3g} V")
lib.bdl_close(b)

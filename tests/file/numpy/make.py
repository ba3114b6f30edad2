"""Writes the files of this folder with NumPy:  python make.py   (made with NumPy 2.4)."""
import io
import os
import struct
import zipfile

import numpy as np

os.chdir(os.path.dirname(os.path.abspath(__file__)))

extremes = {
    "b1": [False, True, True], "i1": [-128, -1, 127], "i2": [-32768, 258, 32767], "i4": [-2**31, 66051, 2**31 - 1],
    "i8": [-2**63, 283686952306183, 2**63 - 1], "u1": [0, 128, 255], "u2": [0, 258, 65535], "u4": [0, 66051, 2**32 - 1],
    "u8": [0, 283686952306183, 2**63 - 1], "f2": [-np.inf, 5.9604645e-08, 65504], "f4": [-np.inf, 1e-45, 0.1],
    "f8": [-np.inf, 5e-324, 0.1],
}
np.savez("little.npz", **{k: np.array(v, "<" + k) for k, v in extremes.items()})
np.savez_compressed("big.npz", **{k: np.array(v, ">" + k) for k, v in extremes.items()})
np.save("fortran.npy", np.asfortranarray(np.arange(24, dtype="<i2").reshape(2, 3, 4)))
np.save("scalar.npy", np.array(2.5))
np.save("empty.npy", np.zeros((0, 3), "<f4"))
np.save("vector.npy", np.arange(3, dtype="<f4"))
for version in (2, 3):
    with open(f"v{version}.npy", "wb") as f:
        np.lib.format.write_array(f, np.arange(4, dtype="<i4").reshape(2, 2), version=(version, 0))
np.save("complex.npy", np.ones(2, "<c8"))
np.save("text.npy", np.array(["a", "bc"]))
np.save("records.npy", np.zeros(2, [("a", "<i4"), ("b", "<f4")]))
np.save("u8_large.npy", np.array([1, 2**63], "<u8"))

# sizes and offsets in 64 bits though they are small: what archives beyond 4 GiB have
buffer = io.BytesIO()
np.save(buffer, np.arange(5, dtype="<i4"))
data, name = buffer.getvalue(), b"x.npy"
crc, full = zipfile.crc32(data), 0xFFFFFFFF
local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, 0, 0, 0, 33, crc, full, full, len(name), 20) + name
local += struct.pack("<HHQQ", 1, 16, len(data), len(data)) + data
central = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 0, 0, 33, crc, full, full, len(name), 28, 0, 0, 0, 0, full) + name
central += struct.pack("<HHQQQ", 1, 24, len(data), len(data), 0)
end64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 1, 1, len(central), len(local))
locator = struct.pack("<IIQI", 0x07064B50, 0, len(local) + len(central), 1)
end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, full, full, 0)
with open("zip64.npz", "wb") as f:
    f.write(local + central + end64 + locator + end)
print(np.load("zip64.npz")["x"])

"""Writes, with h5py 3.16, shd.h5, four samples in the layout of the Spiking Heidelberg Digits, and links.h5, whose names lead to this file
and to others, by each way that HDF5 has:  python make.py"""
import os

import h5py
import numpy as np

os.chdir(os.path.dirname(os.path.abspath(__file__)))

times = [[0.0, 0.25, 0.5], [], [0.125, 0.1251220703125], [0.875, 0.0625, 0.9375, 1.0]]
units = [[0, 699, 13], [], [5, 5], [1, 2, 3, 4]]

with h5py.File("shd.h5", "w") as f:
    for name, rows, dtype in (("times", times, "f2"), ("units", units, "u2")):
        d = f.create_dataset("spikes/" + name, (4,), h5py.vlen_dtype(np.dtype(dtype)))
        for i, row in enumerate(rows):
            d[i] = np.array(row, dtype)
    f["labels"] = np.array([3, 0, 19, 7], "u2")
    f["extra/speaker"] = np.array([0, 1, 1, 11], "u2")
    f["extra/keys"] = np.array([b"zero", b"one", "f\u00fcnf".encode()])
    f.create_dataset("extra/meta_info/gender", data=["male", "female", "male"], dtype=h5py.string_dtype())
    f["extra/meta_info/age"] = np.array([28, 31, 40], "i8")
    f.create_dataset("extra/meta_info/body_height", data=np.array([180.0, 170.5, 168.0]), chunks=(2,), compression="gzip")

with h5py.File("links.h5", "w") as f:
    f["own"] = np.arange(2.0)
    f["soft"] = h5py.SoftLink("/own")
    f["outside"] = h5py.ExternalLink("shd.h5", "/labels")
    f["group"] = h5py.ExternalLink("shd.h5", "/extra")
    f["around"] = h5py.SoftLink("/group/speaker")
    f.create_dataset("raw", (4,), "u1", external=[("make.py", 0, 4)])
    layout = h5py.VirtualLayout((4,), "u2")
    layout[:] = h5py.VirtualSource("shd.h5", "labels", (4,))
    f.create_virtual_dataset("virtual", layout)

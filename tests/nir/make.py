"""The files of this folder, written by the Python package nir (1.0.8):  python make.py

Their metadata holds inputs x [steps, ..], the step dt in seconds, and the outputs y that tests/lua/nir.lua expects: the
exact solution between steps by the exponential of the matrix of each neuron's equations, spikes where v > v_threshold."""
import numpy as np
import nir

rng = np.random.default_rng(7)


def real(*shape, dtype=np.float32, lo=-1.0, hi=1.0):
  return rng.uniform(lo, hi, shape).astype(dtype)


def expm(A):
  """Scaling and squaring of the Taylor series."""
  s = max(0, int(np.ceil(np.log2(max(np.abs(A).sum(), 1e-9)))) + 4)
  term, total = np.eye(len(A)), np.eye(len(A))
  for k in range(1, 20):
    term = term @ (A / 2**s) / k
    total = total + term
  for _ in range(s):
    total = total @ total
  return total


class Cell:
  """State w of w' = A w + b + c x, one neuron after the other; x is constant over dt."""

  def __init__(self, n, dt):
    self.n, self.dt, t = n, dt, type(n).__name__
    shape = (n.r if hasattr(n, "r") else n.v_leak).shape
    self.spikes = hasattr(n, "v_threshold")
    self.w = np.zeros((*shape, 2))                 # i, v
    if hasattr(n, "v_leak"):
      self.w[..., 1] = n.v_leak
    self.steps = np.empty(shape, object)
    for k in np.ndindex(shape):
      g = {key: float(np.asarray(v)[k]) for key, v in vars(n).items() if isinstance(v, np.ndarray)}
      A = np.zeros((4, 4))                         # i, v, x, 1
      if t in ("CubaLI", "CubaLIF"):
        A[0, 0], A[0, 2] = -1 / g["tau_syn"], g["w_in"] / g["tau_syn"]
        A[1] = np.array([g["r"], -1, 0, g["v_leak"]]) / g["tau_mem"]
      elif t in ("LI", "LIF"):
        A[1] = np.array([0, -1, g["r"], g["v_leak"]]) / g["tau"]
      else:
        A[1, 2] = g["r"]
      self.steps[k] = expm(A * dt)

  def __call__(self, x):
    x = np.asarray(x, float)
    for k in np.ndindex(self.steps.shape):
      self.w[k] = (self.steps[k] @ [*self.w[k], x[k], 1])[:2]
    v = self.w[..., 1]
    if not self.spikes:
      return v.copy()
    z = v > self.n.v_threshold
    v[z] = np.asarray(self.n.v_reset)[z]
    return z.astype(float)


def conv2d(x, n):
  p, s, w = n.padding[0], n.stride[0], n.weight
  x = np.pad(x, ((0, 0), (p, p), (p, p)))
  out = [(x.shape[k] - w.shape[k + 1]) // s + 1 for k in (1, 2)]
  y = np.zeros((w.shape[0], *out))
  for o, i, j in np.ndindex(*y.shape):
    y[o, i, j] = (w[o] * x[:, i * s:i * s + w.shape[2], j * s:j * s + w.shape[3]]).sum() + n.bias[o]
  return y


def pool(x, n, f):
  (k, _), (s, _), (p, _) = n.kernel_size, n.stride, n.padding
  x = np.pad(x, ((0, 0), (p, p), (p, p)))
  out = [(x.shape[a] - k) // s + 1 for a in (1, 2)]
  return np.array([[[f(c[i * s:i * s + k, j * s:j * s + k]) for j in range(out[1])] for i in range(out[0])] for c in x])


def write(name, graph, dt, x, y):
  graph.metadata = {"dt": np.float64(dt), "x": x, "y": np.array(y), "about": "made by tests/nir/make.py"}
  nir.write(name + ".nir", graph)


# A chain of float32, without v_reset as files before 1.0 have it.
fc = nir.Affine(weight=real(3, 2), bias=real(3))
lif = nir.LIF(tau=real(3, lo=0.005, hi=0.03), r=real(3, lo=2, hi=6), v_leak=real(3, lo=0, hi=0.1),
              v_threshold=real(3, lo=0.2, hi=0.4), v_reset=real(3, lo=-0.1, hi=0))
graph = nir.NIRGraph.from_list(nir.Input(np.array([2])), fc, lif)
graph.nodes["affine"].metadata = {"layer": "fc"}
x, cell = real(60, 2), Cell(lif, 1e-3)
write("lif", graph, 1e-3, x, [cell(fc.weight.astype(float) @ v + fc.bias) for v in x])

# A recurrent subgraph of float64: its spikes come back a step later.
f64 = {"dtype": np.float64}
w_in, w_rec, w_out = real(4, 2, lo=0, hi=2, **f64), real(4, 4, **f64), real(2, 4, **f64)
cuba = nir.CubaLIF(tau_syn=np.array([0.003, 0.005, 0.01, 0.01]), tau_mem=np.array([0.01, 0.005, 0.02, 0.01]),
                   r=real(4, lo=1, hi=2, **f64), v_leak=real(4, lo=0, hi=0.1, **f64), v_threshold=np.full(4, 0.3),
                   v_reset=real(4, lo=-0.1, hi=0, **f64), w_in=real(4, lo=1, hi=3, **f64))
li = nir.CubaLI(tau_syn=np.full(2, 0.004), tau_mem=np.full(2, 0.015), r=np.ones(2), v_leak=np.array([0.5, 0]), w_in=2 * np.ones(2))
leak = nir.LI(tau=np.full(2, 0.02), r=np.ones(2), v_leak=np.zeros(2))
rnn = nir.NIRGraph(nodes={"input": nir.Input(np.array([4])), "cells": cuba, "w_rec": nir.Linear(w_rec), "output": nir.Output(np.array([4]))},
                   edges=[("input", "cells"), ("cells", "w_rec"), ("w_rec", "cells"), ("cells", "output")])
graph = nir.NIRGraph(nodes={"input": nir.Input(np.array([2])), "w_in": nir.Linear(w_in), "rnn": rnn, "w_out": nir.Linear(w_out),
                            "li": li, "leak": leak, "output": nir.Output(np.array([2]))},
                     edges=[("input", "w_in"), ("w_in", "rnn"), ("rnn", "w_out"), ("w_out", "li"), ("li", "leak"), ("leak", "output")])
x, z, y = real(50, 2, lo=0, **f64), np.zeros(4), []
cells, li_cell, leak_cell = Cell(cuba, 5e-4), Cell(li, 5e-4), Cell(leak, 5e-4)
for v in x:
  z = cells(w_in @ v + w_rec @ z)
  y.append(leak_cell(li_cell(w_out @ z)))
write("recurrent", graph, 5e-4, x, y)

# Channels and space.
conv = nir.Conv2d(input_shape=(7, 7), weight=real(3, 2, 3, 3), stride=2, padding=1, dilation=1, groups=1, bias=real(3))
integrate = nir.IF(r=real(3, 4, 4, lo=500, hi=900), v_threshold=np.full((3, 4, 4), 0.7, np.float32))
sums = nir.SumPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
means = nir.AvgPool2d(kernel_size=np.array([2, 2]), stride=np.array([1, 1]), padding=np.array([1, 1]))
flat, w, total = nir.Flatten(input_type={"input": np.array([3, 3, 3])}, start_dim=0), real(2, 27), nir.I(r=real(2, lo=10, hi=20))
graph = nir.NIRGraph.from_list(nir.Input(np.array([2, 7, 7])), conv, integrate, sums, means, flat, nir.Linear(w), total)
x, cell, sum_cell = real(5, 2, 7, 7), Cell(integrate, 1e-3), Cell(total, 1e-3)
y = [sum_cell(w.astype(float) @ pool(pool(cell(conv2d(v, conv)), sums, np.sum), means, np.mean).reshape(-1)) for v in x]
write("conv", graph, 1e-3, x, y)

# One axis of space, a padding by name, delays.
conv = nir.Conv1d(input_shape=6, weight=real(2, 3, 3), stride=1, padding="same", dilation=1, groups=1, bias=real(2))
scale, threshold, delay = nir.Scale(real(2, 6)), nir.Threshold(real(2, 6, lo=0, hi=0.1)), nir.Delay(np.arange(12).reshape(2, 6) * 1e-3)
graph = nir.NIRGraph.from_list(nir.Input(np.array([3, 6])), conv, scale, threshold, delay, nir.Flatten(input_type={"input": np.array([2, 6])}, start_dim=0))
x = real(15, 3, 6)
z = []
for v in x:
  padded = np.pad(v, ((0, 0), (1, 1)))
  u = np.array([[(conv.weight[o] * padded[:, i:i + 3]).sum() + conv.bias[o] for i in range(6)] for o in range(2)])
  z.append((scale.scale * u > threshold.threshold).astype(float).reshape(-1))
y = [[z[t - d][d] if t >= d else 0.0 for d in range(12)] for t in range(len(x))]
write("conv1d", graph, 1e-3, x, y)

--- The Neuromorphic Intermediate Representation: models in files that other frameworks and neuromorphic chips read.
--
--   local net = bdl.nir.read "net.nir"                 a nir.Graph, ready to run
--   print(net)                                         nodes, shapes, and how true to its equation each of them runs
--   bdl.nir.write("other.nir", bdl.nn.Sequential(bdl.nn.Linear(2, 3), bdl.nir.LIF(3)))
--
-- NIR says what a model computes in continuous time, in numbers without units: times are seconds, the rest as it is.  A
-- step of dt makes of it what `graph:fidelity()` says, node by node:
--
--   exact        what NIR says, if inputs are constant over a step
--   discretised  converges to it with dt: spikes at multiples of dt, or Euler's method
--   approximated something else is done: delays between steps, a reset that NIR has not
--   unsupported  there is no counterpart: an error, which lists the nodes
--
-- A loop of nodes needs one that remembers: what leaves it into the loop arrives a step later, but for a Delay of a step or
-- more, which is as long as it says.
-- Of HDF5 neither attributes are read, which NIR has none of, nor what stands in other files.
-- Source: Pedersen et al. (2024), Neuromorphic intermediate representation: a unified instruction set for interoperable
--   brain-inspired computing. Nat Commun 15, 8122.
return require "bdl.lazy"("nir", {
  read = "read",
  write = "write graph",
  graph = "Graph Input Output",
  neurons = "I LI IF LIF CubaLI CubaLIF Threshold Delay",
})

/*
** net.cpp -- a network stepped from C++: its spikes in a vector of the host, its State read in volts.          usage: net [net.lua]
*/
#include <cstdio>
#include <vector>

#include "bdl.hpp"

int main(int argc, char **argv) {
  using namespace bdl_host;
  try {
    context b;
    b.run_file(argc > 1 ? argv[1] : "net.lua");
    std::vector<float> x(8, 0.5F), spikes(32), V(32);
    function step(b, "step");
    program p(step, {over(x)}, {over(spikes)});
    double n = 0;
    for (int k = 0; k < 1000; k++) {
      x[static_cast<size_t>(k) % 8] += 0.01F;
      p.run();
      for (float s : spikes) n += static_cast<double>(s);
    }
    cell(b, "net.neurons.V").read(over(V, "V"));
    std::printf("%.0f spikes in 1 s; V[0] = %.3g V\n", n, static_cast<double>(V[0]));
    try {
      std::vector<float> y(7);
      step({over(x)}, {over(y)});
    } catch (const error &e) {
      std::printf("%s: %s\n", e.kind.c_str(), e.what());
    }
  } catch (const std::exception &e) {
    std::fprintf(stderr, "net: %s\n", e.what());
    return 1;
  }
}

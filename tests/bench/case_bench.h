#pragma once

namespace fff::bench {

// Registers every built-in case at each of its batch sizes with Google
// Benchmark, as case/NAME/rows:N. One iteration is one run of the runner that
// the Benchmark call and fffctl share (0.2 s per side, one thread). Its time is
// the FFF's median. The counters hold dense median, speed-up and bandwidth.
void RegisterCases();

}  // namespace fff::bench

#pragma once

#include <chrono>
#include <string>

#include "server/benchmark/report.h"

// Other processes beside a measurement. They flatter the FFF: medians of long
// calls grow more than those of short ones, because long calls are interrupted
// more often. Threads at a barrier wait for the one that was put aside.
// Measured with ten processes on two CPUs:
//   one thread   11.1x by medians, 5.4x by least times (leaf-784-1-10-d7)
//   two threads  199x by medians, 222x by least times, 6.1x on one thread
//                (leaf-128-1-128-d7)
// So a disturbed measurement counts with its least times when it has one thread
// and calls of dense that end within a time slice. Others are not judged.
namespace fff::benchmark {

// A measurement is disturbed when its thread waited more of its time than this
// for processors that other processes had.
inline constexpr double kDisturbed = 0.1;
// The scheduler lets a process run about so long, or longer.
inline constexpr double kTimeSliceSeconds = 2e-3;

// Watches the waits of the thread that makes and asks it. Of a measurement with
// several threads, that is the one which counts as its first.
class WaitWatch {
 public:
  WaitWatch();
  // Part of the time since then, 0..1. 0 where the kernel does not say.
  double Share() const;

 private:
  std::chrono::steady_clock::time_point start_;
  double waited_s_;
};

bool Disturbed(const BenchmarkCase& one);

// Whether its times can be compared all the same.
bool Judged(const BenchmarkCase& one, int threads);

// The median, or the least time of a disturbed case.
double SecondsOf(const BenchmarkCase& one, const Measurement& side);

// A line for each disturbed case that says how much was waited, and what least
// times tell; "" where there is none.
std::string DisturbanceText(const BenchmarkReport& report);

}  // namespace fff::benchmark

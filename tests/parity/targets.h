#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fff::parity {

// The instruction sets that Highway compiled in and this machine can run.
std::vector<int64_t> MachineTargets();
std::string TargetName(int64_t target);

// While it lives, kernels dispatch to `target`.
class UseTarget {
 public:
  explicit UseTarget(int64_t target);
  ~UseTarget();
  UseTarget(const UseTarget&) = delete;
  UseTarget& operator=(const UseTarget&) = delete;
};

}  // namespace fff::parity

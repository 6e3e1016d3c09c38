#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <string>
#include <vector>

#include "server/engine/kernel_list.h"
#include "tests/parity/check.h"
#include "tests/parity/random_layer.h"

// What the three parity tests share: which kernels, and one full check of one
// (kernel, layer, batch).
namespace fff::parity {

// Every kernel of a list that is not the oracle.
template <class Entry>
std::vector<Entry> CpuKernels(absl::Span<const Entry> list) {
  std::vector<Entry> kernels;
  for (const Entry& entry : list) {
    if (!entry.is_reference) kernels.push_back(entry);
  }
  return kernels;
}

// gtest case names may hold letters, digits and underscores only.
inline std::string CaseName(const std::string& text) {
  std::string name = text;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

// Rows of each batch that are compared with the oracle.
inline constexpr int64_t kCheckedRows = 48;

}  // namespace fff::parity

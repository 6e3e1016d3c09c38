#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// The IDX files of the MNIST family: magic 0 0 8 rank, big-endian sizes,
// unsigned bytes. Untrusted.
namespace fff::cli {

inline constexpr int kIdxRankMax = 8;

struct IdxArray {
  std::vector<int64_t> shape;
  absl::string_view data;  // exactly the product of shape; points into the file
};

// Whether the bytes start like an IDX file of any element type.
bool IsIdx(absl::string_view bytes);

// INVALID_ARGUMENT for other element types than unsigned byte, rank 0 or above
// kIdxRankMax, or bytes that do not fit the sizes.
absl::StatusOr<IdxArray> ParseIdx(absl::string_view bytes);

}  // namespace fff::cli

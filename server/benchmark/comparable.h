#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/model/model.h"

// Whether two networks can be measured with the same rows.
namespace fff::benchmark {

// Inputs, outputs and the widest layer in between, of one batch.
inline constexpr int64_t kActivationBytesMax = int64_t{2} << 30;

// OK where `other` takes the inputs of `fff` and answers outputs as wide as its
// outputs; INVALID_ARGUMENT starts with `name` and says the difference.
absl::Status CheckComparable(const model::Model& fff, const model::Model& other,
                             absl::string_view name);

// RESOURCE_EXHAUSTED for batches of so many rows of so many tokens that need
// more than kActivationBytesMax.
absl::Status CheckActivations(const model::Model& fff,
                              const model::Model& dense, int64_t rows,
                              int64_t tokens);

}  // namespace fff::benchmark

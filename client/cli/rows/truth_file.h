#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/rows/input_port.h"
#include "fff/v1/inference.pb.h"

// What answers should be, from the file of `--truth`.
namespace fff::cli {

// Of as many answers as the model gives for the rows of `port`.
// INVALID_ARGUMENT names the file: what its reader says, another number of
// answers (more may be there where `may_be_more`, the first count), a class
// that the model has not.
absl::StatusOr<std::vector<int64_t>> ReadLabels(
    const std::string& path, bool may_be_more,
    const v1::GetModelResponse& model, const PortRows& port);

// Classes, or numbers: one vector is filled.
struct Truth {
  std::vector<int64_t> labels;
  std::vector<float> numbers;  // [answers, elements of one answer]
};

// As above. Floats are numbers of the output, integers are classes. Integers
// are numbers, too, where there are as many per answer as the output has, and
// where the output has one alone.
absl::StatusOr<Truth> ReadTruth(const std::string& path, bool may_be_more,
                                const v1::GetModelResponse& model,
                                const PortRows& port);

}  // namespace fff::cli

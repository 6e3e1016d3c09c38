#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/rows/input_port.h"
#include "fff/v1/inference.pb.h"

namespace fff::cli {

// One array or table of a file, and the input that it is for.
struct InputPart {
  InputArgument argument;  // `file` says the array, too: "rows.npz:x"
  v1::TensorMetadata port;
  std::string contents;  // a whole file of one of ParseInput's formats
};

// The contents of an `--input` FILE, as the model's inputs take them. Of a .npz
// archive these are the arrays that the argument chooses:
//
//   FILE:KEY              the array KEY
//   one array             that one
//   NAME=FILE, several    the array of the input's name
//   FILE, several         each array that has the name of an input
//
// One array is for the input NAME, else for the input of its name, else for the
// model's first. NOT_FOUND as FindPort, INVALID_ARGUMENT names the file: what
// NpzArchive says, or its arrays where none has the name of an input.
absl::StatusOr<std::vector<InputPart>> SplitInput(
    const InputArgument& argument, const v1::GetModelResponse& model,
    std::string contents);

// The same of `--truth`: the only array of an archive, or that of the KEY.
absl::StatusOr<std::string> OnlyPart(const InputArgument& argument,
                                     std::string contents);

}  // namespace fff::cli

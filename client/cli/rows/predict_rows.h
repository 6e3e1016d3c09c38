#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/predictions.h"
#include "client/cli/rows/input_port.h"
#include "client/cpp/client.h"
#include "fff/v1/inference.pb.h"

// From files to a model's answers: what `fffctl predict` and `fffctl benchmark
// --data` do alike.
namespace fff::cli {

// Checks of arguments for CLI11: "" or what is wrong.
std::string CheckNormalization(const std::string& text);
std::string CheckInput(const std::string& text);  // [NAME=]FILE[:KEY]
std::string CheckTruth(const std::string& text);  // FILE[:KEY]

// The rows of the files, for the model's inputs. Errors are those of
// SplitInput, ReadPort and CheckPorts.
absl::StatusOr<std::vector<PortRows>> ReadPorts(
    const std::vector<std::string>& inputs, const PortOptions& options,
    const v1::GetModelResponse& model);

// One answer per token: the output's first dimension is the sequence.
bool AnswersTokens(const v1::GetModelResponse& model);

// Answers that the model gives for the rows: one per row or token.
int64_t AnswersOf(const v1::GetModelResponse& model, const PortRows& port);

struct Asked {
  std::string model;
  int64_t version = 0;
  bool dense = false;
  bool routing = false;
  int64_t top_k = 0;    // 0 = all columns
  int64_t batch = 256;  // rows of one request at most
};

// All answers, in requests of rows that are alike. Errors are the server's, or
// INTERNAL for answers that contradict each other.
absl::StatusOr<Predictions> PredictAll(const client::Client& client,
                                       const Asked& asked,
                                       const v1::GetModelResponse& model,
                                       const std::vector<PortRows>& ports);

}  // namespace fff::cli

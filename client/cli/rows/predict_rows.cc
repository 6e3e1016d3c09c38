#include "client/cli/rows/predict_rows.h"

#include <algorithm>
#include <utility>

#include "CLI/Error.hpp"
#include "CLI/Validators.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/rows/input_file.h"
#include "client/cli/rows/input_part.h"
#include "client/cli/rows/output_rows.h"
#include "client/cli/rows/read_file.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

// One answer per token: the output's first dimension is the sequence.
bool OfTokens(const v1::TensorMetadata& output) {
  return output.shape_size() > 0 && output.shape(0) == -1;
}

// Rows of that length for one request: of a model of sequences, no more than
// fill a batch or an answer of kAnswerFloatsMax.
int64_t RowsOfRequest(const Asked& asked, const v1::GetModelResponse& model,
                      int64_t sequence) {
  constexpr int64_t kAnswerFloatsMax = int64_t{1} << 24;  // 64 MiB
  int64_t floats = 0;
  for (const v1::TensorMetadata& output : OutputsOf(model)) {
    floats += ElementsOf(output, sequence);
  }
  int64_t rows =
      std::min(asked.batch, kAnswerFloatsMax / std::max<int64_t>(1, floats));
  if (model.max_sequence() > 0 && model.max_batch_tokens() > 0) {
    rows = std::min(rows, model.max_batch_tokens() / sequence);
  }
  return std::max<int64_t>(1, rows);
}

// Adds the answer to the rows from `first` on.
absl::Status Append(client::Prediction answer, int64_t first, bool tokens,
                    Predictions* all) {
  const std::vector<int64_t> row_shape(answer.shape.begin() + 1,
                                       answer.shape.end());
  const int64_t per_row = tokens && !row_shape.empty() ? row_shape[0] : 1;
  const int64_t width = answer.width / per_row;
  if (first > 0 && width != all->width) {
    return absl::InternalError(
        absl::StrCat("the output's width changed between requests from ",
                     all->width, " to ", width));
  }
  if (first == 0) {
    all->row_shape = row_shape;
  } else if (all->row_shape != row_shape) {
    all->row_shape.clear();
  }
  all->model = answer.model;
  all->version = answer.version;
  all->dense = answer.dense;
  all->width = width;
  all->rows += answer.rows;
  all->output.insert(all->output.end(), answer.output.begin(),
                     answer.output.end());
  all->ids.insert(all->ids.end(), answer.top_ids.begin(), answer.top_ids.end());
  if (tokens) {
    all->tokens.insert(all->tokens.end(), static_cast<size_t>(answer.rows),
                       per_row);
  }
  if (answer.others.size() != all->others.size()) {
    return absl::InternalError(
        absl::StrCat("the server answered ", answer.others.size() + 1,
                     " outputs, wanted ", all->others.size() + 1));
  }
  for (size_t i = 0; i < answer.others.size(); ++i) {
    FFF_RETURN_IF_ERROR(all->others[i].Append(answer.others[i]));
  }
  if (!answer.routing.empty()) {
    all->routing.push_back({first, answer.rows, std::move(answer.routing)});
  }
  return absl::OkStatus();
}

}  // namespace

std::string CheckNormalization(const std::string& text) {
  const auto parsed = ParseNormalization(text);
  return parsed.ok() ? "" : std::string(parsed.status().message());
}

std::string CheckInput(const std::string& text) {
  return CLI::ExistingFile(ParseInputArgument(text).file);
}

// FILE or FILE:KEY; a NAME= has no meaning here.
std::string CheckTruth(const std::string& text) {
  const InputArgument argument = ParseInputArgument(text);
  return CLI::ExistingFile(argument.name.empty() ? argument.file : text);
}

absl::StatusOr<std::vector<PortRows>> ReadPorts(
    const std::vector<std::string>& inputs, const PortOptions& options,
    const v1::GetModelResponse& model) {
  std::vector<PortRows> ports;
  for (const std::string& text : inputs) {
    const InputArgument argument = ParseInputArgument(text);
    FFF_RETURN_IF_ERROR(FindPort(model, argument.name).status());
    FFF_ASSIGN_OR_RETURN(std::string bytes, ReadFile(argument.file));
    FFF_ASSIGN_OR_RETURN(const std::vector<InputPart> parts,
                         SplitInput(argument, model, std::move(bytes)));
    for (const InputPart& part : parts) {
      FFF_ASSIGN_OR_RETURN(PortRows rows, ReadPort(part.argument, part.port,
                                                   part.contents, options));
      ports.push_back(std::move(rows));
    }
  }
  FFF_RETURN_IF_ERROR(CheckPorts(ports));
  return ports;
}

bool AnswersTokens(const v1::GetModelResponse& model) {
  return OfTokens(model.output());
}

int64_t AnswersOf(const v1::GetModelResponse& model, const PortRows& port) {
  if (!AnswersTokens(model)) return port.rows();
  int64_t answers = 0;
  for (int64_t r = 0; r < port.rows(); ++r) answers += port.sequence(r);
  return answers;
}

absl::StatusOr<Predictions> PredictAll(const client::Client& client,
                                       const Asked& asked,
                                       const v1::GetModelResponse& model,
                                       const std::vector<PortRows>& ports) {
  Predictions all;
  const std::vector<v1::TensorMetadata> outputs = OutputsOf(model);
  all.name = outputs[0].name();
  for (size_t i = 1; i < outputs.size(); ++i) {
    OutputRows rows;
    rows.name = outputs[i].name();
    rows.tokens = OfTokens(outputs[i]);
    all.others.push_back(std::move(rows));
  }
  client::PredictOptions options;
  options.version = asked.version;
  options.dense = asked.dense;
  options.routing = asked.routing;
  options.top_k = asked.top_k;
  for (int64_t first = 0; first < ports[0].rows();) {
    const int64_t rows = RowsAlike(
        ports, first, RowsOfRequest(asked, model, ports[0].sequence(first)));
    std::vector<client::NamedInput> inputs;
    for (const PortRows& port : ports) {
      inputs.push_back(port.Slice(first, rows));
    }
    const absl::Time start = absl::Now();
    FFF_ASSIGN_OR_RETURN(client::Prediction answer,
                         client.Predict(asked.model, inputs, options));
    all.request_s.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    FFF_RETURN_IF_ERROR(
        Append(std::move(answer), first, AnswersTokens(model), &all));
    first += rows;
  }
  return all;
}

}  // namespace fff::cli

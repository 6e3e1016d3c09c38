#include "client/cli/predict_command.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "CLI/Error.hpp"
#include "CLI/Option.hpp"
#include "CLI/Validators.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/input_file.h"
#include "client/cli/npy.h"
#include "client/cli/predictions.h"
#include "client/cli/read_file.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

std::string CheckNormalization(const std::string& text) {
  const auto parsed = ParseNormalization(text);
  return parsed.ok() ? "" : std::string(parsed.status().message());
}

absl::StatusOr<InputMatrix> LoadInput(const PredictCommand& command) {
  FFF_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(command.input));
  absl::StatusOr<InputMatrix> input = ParseInput(bytes);
  if (!input.ok()) return base::Annotate(input.status(), command.input);
  if (command.limit > 0 && command.limit < input->rows) {
    input->rows = command.limit;
    input->values.resize(static_cast<size_t>(input->rows * input->width));
  }
  if (!command.normalize.empty()) {
    FFF_ASSIGN_OR_RETURN(const Normalization normalization,
                         ParseNormalization(command.normalize));
    Normalize(normalization, absl::MakeSpan(input->values));
  } else if (input->is_image) {
    Normalize(Normalization(), absl::MakeSpan(input->values));
  }
  return input;
}

// The file's rows must be as wide as the model's input; asked here, the message
// can name the file.
absl::Status CheckWidth(const PredictCommand& command, const InputMatrix& input,
                        const v1::GetModelResponse& model) {
  int64_t width = 1;
  for (const int64_t size : model.input().shape()) width *= size;
  if (input.width == width) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      command.input, ": ", input.what, " gives rows of ", input.width,
      " values, model '", command.model, "' wants ", width, " (shape [",
      absl::StrJoin(model.input().shape(), ", "), "])"));
}

absl::StatusOr<Predictions> PredictAll(const client::Client& client,
                                       const PredictCommand& command,
                                       const v1::GetModelResponse& model,
                                       const InputMatrix& input) {
  Predictions all;
  all.rows = input.rows;
  all.dense = command.dense;
  client::PredictOptions options;
  options.version = command.version;
  options.dense = command.dense;
  options.routing = command.routing;
  options.row_shape.assign(model.input().shape().begin(),
                           model.input().shape().end());
  for (int64_t first = 0; first < input.rows; first += command.batch) {
    const int64_t rows = std::min(command.batch, input.rows - first);
    const client::Rows batch{input.values.data() + first * input.width, rows,
                             input.width};
    const absl::Time start = absl::Now();
    FFF_ASSIGN_OR_RETURN(client::Prediction answer,
                         client.Predict(command.model, batch, options));
    all.request_s.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    if (first > 0 && answer.width != all.width) {
      return absl::InternalError(
          absl::StrCat("the output's width changed between requests from ",
                       all.width, " to ", answer.width));
    }
    all.model = answer.model;
    all.version = answer.version;
    all.width = answer.width;
    all.output.insert(all.output.end(), answer.output.begin(),
                      answer.output.end());
    if (command.routing) {
      all.routing.push_back({first, rows, std::move(answer.routing)});
    }
  }
  return all;
}

}  // namespace

CLI::App* PredictCommand::Register(CLI::App& app) {
  CLI::App* sub = app.add_subcommand("predict", "Ask a model about rows");
  sub->add_option("--model", model, "Model name; NAME:dense is its dense twin")
      ->required();
  sub->add_option("--version", version, "Version; 0 = the default one")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--input", input,
                  ".npy (float32, float64, uint8), CSV, IDX or PNG file, "
                  "gzip allowed; a PNG must have the model's exact size")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_flag("--dense", dense, "Ask the model's dense twin");
  sub->add_option("--batch", batch, "Rows of one request")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  sub->add_option("--truth", truth,
                  "Expected classes (IDX labels, .npy or CSV of integers)")
      ->check(CLI::ExistingFile);
  sub->add_option("--normalize", normalize,
                  "MEAN,STD: (pixel/255 - MEAN)/STD; default 0.5,0.5 for IDX "
                  "and PNG, nothing for .npy and CSV")
      ->check(CheckNormalization);
  sub->add_option("--limit", limit, "Only the first N rows")
      ->check(CLI::PositiveNumber);
  sub->add_option("--show", show, "Rows of the printed table")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_flag("--routing", routing,
                "Draw the way of each row through the tree, with margins");
  sub->add_flag("--json", json, "Print JSON");
  sub->add_option("--output", output, "Write the outputs to FILE.npy");
  sub->footer(
      "Example:\n  fffctl predict --model fashion-mnist --input "
      "t10k-images-idx3-ubyte.gz \\\n      --truth t10k-labels-idx1-ubyte.gz "
      "--limit 5 --routing");
  return sub;
}

absl::Status PredictCommand::Run(const GlobalOptions& global) const {
  FFF_ASSIGN_OR_RETURN(const InputMatrix matrix, LoadInput(*this));
  std::vector<int64_t> expected;
  if (!truth.empty()) {
    FFF_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(truth));
    absl::StatusOr<std::vector<int64_t>> parsed =
        ParseTruth(bytes, matrix.rows);
    if (!parsed.ok()) return base::Annotate(parsed.status(), truth);
    expected = *std::move(parsed);
  }
  FFF_ASSIGN_OR_RETURN(const auto client, Connect(global));
  FFF_ASSIGN_OR_RETURN(const v1::GetModelResponse described,
                       client->GetModel(model, version));
  FFF_RETURN_IF_ERROR(CheckWidth(*this, matrix, described));
  FFF_ASSIGN_OR_RETURN(Predictions predictions,
                       PredictAll(*client, *this, described, matrix));
  predictions.labels.assign(described.output().labels().begin(),
                            described.output().labels().end());
  predictions.truth = std::move(expected);
  // Printed first: answers are not lost with a file that cannot be written.
  std::cout << (json ? PredictionsJson(predictions)
                     : PredictionsText(predictions, show));
  if (output.empty()) return absl::OkStatus();
  return WriteFile(output, WriteNpy(predictions.output, predictions.rows,
                                    predictions.width));
}

}  // namespace fff::cli

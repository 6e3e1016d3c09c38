#include "client/cli/predict_command.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "CLI/Error.hpp"
#include "CLI/Option.hpp"
#include "CLI/Validators.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cli/formats/npy.h"
#include "client/cli/formats/npz.h"
#include "client/cli/input_file.h"
#include "client/cli/input_part.h"
#include "client/cli/input_port.h"
#include "client/cli/output_rows.h"
#include "client/cli/predictions.h"
#include "client/cli/read_file.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

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

using Ports = std::vector<PortRows>;

absl::StatusOr<Ports> ReadPorts(const PredictCommand& command,
                                const v1::GetModelResponse& model) {
  Ports ports;
  for (const std::string& text : command.inputs) {
    const InputArgument argument = ParseInputArgument(text);
    FFF_RETURN_IF_ERROR(FindPort(model, argument.name).status());
    FFF_ASSIGN_OR_RETURN(std::string bytes, ReadFile(argument.file));
    FFF_ASSIGN_OR_RETURN(const std::vector<InputPart> parts,
                         SplitInput(argument, model, std::move(bytes)));
    for (const InputPart& part : parts) {
      FFF_ASSIGN_OR_RETURN(PortRows rows,
                           ReadPort(part.argument, part.port, part.contents,
                                    {command.limit, command.normalize}));
      ports.push_back(std::move(rows));
    }
  }
  FFF_RETURN_IF_ERROR(CheckPorts(ports));
  return ports;
}

// One answer per token: the output's first dimension is the sequence.
bool AnswersTokens(const v1::TensorMetadata& output) {
  return output.shape_size() > 0 && output.shape(0) == -1;
}
bool AnswersTokens(const v1::GetModelResponse& model) {
  return AnswersTokens(model.output());
}

// The main output as .npy, or all of them, by name, as .npz.
absl::StatusOr<std::string> OutputFile(const std::string& path,
                                       const Predictions& predictions) {
  std::string npy = WriteNpy(predictions.output, predictions.Shape());
  if (!absl::EndsWith(path, ".npz")) return npy;
  std::vector<NpzEntry> entries = {{predictions.name, std::move(npy)}};
  for (const OutputRows& other : predictions.others) {
    entries.push_back({other.name, WriteNpy(other.values, other.Shape())});
  }
  return WriteNpz(entries);
}

// Rows of that length for one request: of a model of sequences, no more than
// fill a batch or an answer of kAnswerFloatsMax.
int64_t RowsOfRequest(const PredictCommand& command,
                      const v1::GetModelResponse& model, int64_t sequence) {
  constexpr int64_t kAnswerFloatsMax = int64_t{1} << 24;  // 64 MiB
  int64_t floats = 0;
  for (const v1::TensorMetadata& output : OutputsOf(model)) {
    floats += ElementsOf(output, sequence);
  }
  int64_t rows =
      std::min(command.batch, kAnswerFloatsMax / std::max<int64_t>(1, floats));
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

absl::StatusOr<Predictions> PredictAll(const client::Client& client,
                                       const PredictCommand& command,
                                       const v1::GetModelResponse& model,
                                       const Ports& ports) {
  Predictions all;
  const std::vector<v1::TensorMetadata> outputs = OutputsOf(model);
  all.name = outputs[0].name();
  for (size_t i = 1; i < outputs.size(); ++i) {
    OutputRows rows;
    rows.name = outputs[i].name();
    rows.tokens = AnswersTokens(outputs[i]);
    all.others.push_back(std::move(rows));
  }
  client::PredictOptions options;
  options.version = command.version;
  options.dense = command.dense;
  options.routing = command.routing;
  options.top_k = command.top_k;
  for (int64_t first = 0; first < ports[0].rows();) {
    const int64_t rows = RowsAlike(
        ports, first, RowsOfRequest(command, model, ports[0].sequence(first)));
    std::vector<client::NamedInput> inputs;
    for (const PortRows& port : ports) {
      inputs.push_back(port.Slice(first, rows));
    }
    const absl::Time start = absl::Now();
    FFF_ASSIGN_OR_RETURN(client::Prediction answer,
                         client.Predict(command.model, inputs, options));
    all.request_s.push_back(absl::ToDoubleSeconds(absl::Now() - start));
    FFF_RETURN_IF_ERROR(
        Append(std::move(answer), first, AnswersTokens(model), &all));
    first += rows;
  }
  return all;
}

// Whether the model can answer each of the labels at all.
absl::Status CheckClasses(const std::vector<int64_t>& labels,
                          const v1::TensorMetadata& output) {
  if (output.shape().empty()) return absl::OkStatus();
  const int64_t classes = *output.shape().rbegin();
  for (size_t i = 0; i < labels.size(); ++i) {
    if (classes <= 0 || (labels[i] >= 0 && labels[i] < classes)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("got label ", labels[i], " for row ", i, ", wanted 0 to ",
                     classes - 1));
  }
  return absl::OkStatus();
}

// The expected classes, one for each answer that is to come.
absl::StatusOr<std::vector<int64_t>> ReadTruth(
    const PredictCommand& command, const v1::GetModelResponse& model,
    const PortRows& port) {
  const std::string& path = command.truth;
  if (path.empty()) return std::vector<int64_t>();
  int64_t answers = 0;
  for (int64_t r = 0; r < port.rows(); ++r) {
    answers += AnswersTokens(model) ? port.sequence(r) : 1;
  }
  const InputArgument argument = ParseInputArgument(path);
  FFF_ASSIGN_OR_RETURN(std::string bytes, ReadFile(argument.file));
  FFF_ASSIGN_OR_RETURN(bytes, OnlyPart(argument, std::move(bytes)));
  absl::StatusOr<std::vector<int64_t>> truth = ParseTruth(
      bytes,
      {answers, /*may_be_more=*/command.limit > 0, AnswersTokens(model)});
  if (truth.ok()) {
    const absl::Status fits = CheckClasses(*truth, model.output());
    if (!fits.ok()) truth = fits;
  }
  if (!truth.ok()) return base::Annotate(truth.status(), path);
  return truth;
}

}  // namespace

CLI::App* PredictCommand::Register(CLI::App& app) {
  CLI::App* sub = app.add_subcommand("predict", "Ask a model about rows");
  sub->add_option("--model", model, "Model name; NAME:dense is its dense twin")
      ->required();
  sub->add_option("--version", version, "Version; 0 = the default one")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--input", inputs,
                  "FILE for the first input, NAME=FILE for the input NAME, "
                  "repeated for several: .npy, .npz, CSV, IDX or PNG, gzip "
                  "allowed. FILE:KEY is one array of a .npz; without KEY its "
                  "only array, or those with the names of inputs. Arrays are "
                  "of bool, integers, float16, float32 or float64, in C or "
                  "Fortran order; inputs of integers take no floats. CSV: "
                  "commas, tabs, semicolons (decimal commas allowed) or "
                  "blanks; titles, quotes and # lines may be there. Its lines "
                  "may differ in length where the input is a sequence. A PNG "
                  "must have the model's exact size")
      ->required()
      ->allow_extra_args(false)
      ->type_name("[NAME=]FILE[:KEY]")
      ->check(CheckInput);
  sub->add_flag("--dense", dense, "Ask the model's dense twin");
  sub->add_option("--batch", batch, "Largest number of rows per request")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  sub->add_option("--truth", truth,
                  "Expected classes, one per row or token (IDX labels; .npy, "
                  ".npz or CSV of integers)")
      ->type_name("FILE[:KEY]")
      ->check(CheckTruth);
  sub->add_option("--normalize", normalize,
                  "MEAN,STD: (pixel/255 - MEAN)/STD; default 0.5,0.5 for IDX "
                  "and PNG, nothing for arrays and CSV")
      ->check(CheckNormalization);
  sub->add_option("--limit", limit, "Only the first N rows")
      ->check(CLI::PositiveNumber);
  sub->add_option("--top-k", top_k,
                  "Ask for the strongest K columns and their numbers alone, "
                  "not for all")
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("K");
  sub->add_option("--show", show, "Rows or tokens of the printed table")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_flag("--routing", routing,
                "Draw the way of each row through the tree, with margins");
  sub->add_flag("--json", json, "Print JSON");
  sub->add_option("--output", output,
                  "Write the main output to FILE.npy, or all outputs by name "
                  "to FILE.npz: [rows, <output shape>]; [all tokens, width] "
                  "where sequences differ in length");
  sub->footer(
      "Example:\n  fffctl predict --model fashion-mnist --input "
      "t10k-images-idx3-ubyte.gz \\\n      --truth t10k-labels-idx1-ubyte.gz "
      "--limit 5 --routing\n  fffctl predict --model bert --input "
      "input_ids=ids.npy --input attention_mask=mask.npy");
  return sub;
}

absl::Status PredictCommand::Run(const GlobalOptions& global) const {
  FFF_ASSIGN_OR_RETURN(const auto client, Connect(global));
  FFF_ASSIGN_OR_RETURN(const v1::GetModelResponse described,
                       client->GetModel(model, version));
  FFF_ASSIGN_OR_RETURN(const Ports ports, ReadPorts(*this, described));
  FFF_ASSIGN_OR_RETURN(std::vector<int64_t> expected,
                       ReadTruth(*this, described, ports[0]));
  FFF_ASSIGN_OR_RETURN(Predictions predictions,
                       PredictAll(*client, *this, described, ports));
  if (!expected.empty() &&
      static_cast<int64_t>(expected.size()) != predictions.answers()) {
    return absl::InternalError(
        absl::StrCat("the server answered ", predictions.answers(),
                     " tokens, wanted ", expected.size()));
  }
  predictions.labels.assign(described.output().labels().begin(),
                            described.output().labels().end());
  predictions.truth = std::move(expected);
  // Printed first: answers are not lost with a file that cannot be written.
  std::cout << (json ? PredictionsJson(predictions)
                     : PredictionsText(predictions, show));
  if (output.empty()) return absl::OkStatus();
  FFF_ASSIGN_OR_RETURN(const std::string file, OutputFile(output, predictions));
  return WriteFile(output, file);
}

}  // namespace fff::cli

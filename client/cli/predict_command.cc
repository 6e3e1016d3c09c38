#include "client/cli/predict_command.h"

#include <iostream>
#include <utility>

#include "CLI/Error.hpp"
#include "CLI/Option.hpp"
#include "CLI/Validators.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/formats/npy.h"
#include "client/cli/formats/npz.h"
#include "client/cli/predictions.h"
#include "client/cli/rows/input_port.h"
#include "client/cli/rows/output_rows.h"
#include "client/cli/rows/predict_rows.h"
#include "client/cli/rows/read_file.h"
#include "client/cli/rows/truth_file.h"
#include "server/base/status_macros.h"

namespace fff::cli {
namespace {

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
  FFF_ASSIGN_OR_RETURN(const std::vector<PortRows> ports,
                       ReadPorts(inputs, {limit, normalize}, described));
  std::vector<int64_t> expected;
  if (!truth.empty()) {
    FFF_ASSIGN_OR_RETURN(expected, ReadLabels(truth, /*may_be_more=*/limit > 0,
                                              described, ports[0]));
  }
  FFF_ASSIGN_OR_RETURN(
      Predictions predictions,
      PredictAll(*client, {model, version, dense, routing, top_k, batch},
                 described, ports));
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

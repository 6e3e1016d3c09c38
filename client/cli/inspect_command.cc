#include "client/cli/inspect_command.h"

#include <iostream>
#include <vector>

#include "CLI/Option.hpp"
#include "CLI/Validators.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/cli/rows/read_file.h"
#include "client/cli/screen/terminal.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/benchmark/text_table.h"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/draft_config.h"
#include "server/importer/import.h"

namespace fff::cli {
namespace {

constexpr size_t kRemarkBytesMax = 4096;

std::string TensorTable(const checkpoint::Checkpoint& file) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, tensor] : file.tensors()) {
    rows.push_back({name,
                    tensor.unreadable.empty()
                        ? std::string(tensor::Name(tensor.data_type))
                        : tensor.unreadable,
                    tensor::ToString(tensor.shape)});
  }
  return benchmark::TextTable({"tensor", "dtype", "shape"}, rows);
}

// Of what a layer may use.
importer::TensorShapes ShapesOf(const checkpoint::Checkpoint& file) {
  importer::TensorShapes shapes;
  for (const auto& [name, tensor] : file.tensors()) {
    if (!tensor.optional) shapes.shapes.emplace(name, tensor.shape);
  }
  return shapes;
}

std::string Loads(const std::string& json, const checkpoint::Checkpoint& file) {
  const auto config = importer::ParseModelConfig(json, "config.json");
  if (!config.ok()) return std::string(config.status().message());
  const auto graph = importer::Import(*config, file);
  return graph.ok() ? "" : std::string(graph.status().message());
}

void PrintRemark(absl::string_view text) {
  std::cout << "- " << base::Printable(text, kRemarkBytesMax) << "\n";
}

}  // namespace

CLI::App* InspectCommand::Register(CLI::App& app) {
  CLI::App* sub = app.add_subcommand(
      "inspect", "Show a checkpoint's tensors and draft its config.json");
  sub->add_option("file", file, "safetensors, or a zip archive of torch")
      ->required()
      ->check(CLI::ExistingFile);
  sub->add_option("--entry", entry,
                  "Dict of a torch archive that holds the weights, like "
                  "ema.state_dict");
  sub->add_option("--output", output, "Write the draft to this file, too");
  sub->footer(
      "Example:\n  fffctl inspect model.pt --output models/m/config.json");
  return sub;
}

absl::Status InspectCommand::Run() const {
  FFF_ASSIGN_OR_RETURN(const checkpoint::Checkpoint checkpoint,
                       checkpoint::OpenCheckpoint(file, entry));
  const importer::DraftConfig draft = importer::DraftOf(ShapesOf(checkpoint));
  std::cout << base::Printable(file) << ": " << checkpoint.format() << ", "
            << checkpoint.tensors().size() << " tensors\n\n"
            << CutLines(TensorTable(checkpoint), OutputColumns())
            << "\nconfig.json, a draft:\n\n"
            << draft.json << "\n";
  const std::string error = Loads(draft.json, checkpoint);
  PrintRemark(error.empty()
                  ? "the file loads with this draft"
                  : absl::StrCat("the file does not load yet: ", error));
  for (const std::string& remark : draft.remarks) PrintRemark(remark);
  if (output.empty()) return absl::OkStatus();
  return WriteFile(output, draft.json);
}

}  // namespace fff::cli

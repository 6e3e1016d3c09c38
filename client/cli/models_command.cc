#include "client/cli/models_command.h"

#include <iostream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/rows/input_port.h"
#include "client/cli/rows/output_rows.h"
#include "client/cli/screen/terminal.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/benchmark/text_table.h"

namespace fff::cli {
namespace {

using Json = nlohmann::ordered_json;

// What GetModel says of one line; all empty when the model is not loaded.
struct Described {
  std::string dense_kind;  // "" when the server does not say
  // "input_ids INT64 [sequence]", one per input.
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;  // likewise, the main one first
  std::vector<std::string> assumed;
};

Described Describe(const client::Client& client,
                   const v1::ModelSummary& summary) {
  Described described;
  if (summary.state() != v1::MODEL_STATE_READY) return described;
  const auto model = client.GetModel(summary.name(), summary.version());
  if (!model.ok()) return described;
  described.dense_kind = DenseKindName(model->dense_kind());
  for (const v1::TensorMetadata& port : PortsOf(*model)) {
    described.inputs.push_back(absl::StrCat(port.name(), " ", PortText(port)));
  }
  for (const v1::TensorMetadata& port : OutputsOf(*model)) {
    described.outputs.push_back(absl::StrCat(port.name(), " ", PortText(port)));
  }
  described.assumed.assign(model->assumed().begin(), model->assumed().end());
  return described;
}

struct Line {
  v1::ModelSummary model;
  Described described;
};

Json ModelJson(const Line& line) {
  const auto& [model, described] = line;
  return {{"name", model.name()},
          {"version", model.version()},
          {"state", StateName(model.state())},
          {"is_default_version", model.is_default_version()},
          {"implementation", ImplementationName(model.implementation())},
          {"dense_kind", described.dense_kind},
          {"inputs", described.inputs},
          {"outputs", described.outputs},
          {"reason", model.reason()},
          {"description", model.description()},
          {"assumed", described.assumed}};
}

void PrintJson(const std::vector<Line>& lines) {
  Json models = Json::array();
  for (const Line& line : lines) models.push_back(ModelJson(line));
  const Json whole = {{"models", std::move(models)}};
  std::cout << whole.dump(2, ' ', false, Json::error_handler_t::replace)
            << "\n";
}

// One line per model, then one per assumption. `columns`: 0 = all columns, all
// of each.
void PrintText(const std::vector<Line>& lines, int columns) {
  std::vector<std::vector<std::string>> rows;
  std::string assumed;
  for (const auto& [model, described] : lines) {
    std::vector<std::string> row = {
        model.name(), absl::StrCat(model.version()), StateName(model.state()),
        model.is_default_version() ? "default" : ""};
    if (columns == 0) {
      row.push_back(ImplementationName(model.implementation()));
      row.push_back(described.dense_kind);
      row.push_back(absl::StrJoin(described.inputs, "; "));
      row.push_back(absl::StrJoin(described.outputs, "; "));
    }
    row.push_back(model.reason().empty() ? model.description()
                                         : model.reason());
    rows.push_back(std::move(row));
    assumed += AssumedLines(model, described.assumed);
  }
  std::vector<std::string> header = {"name", "version", "state", ""};
  if (columns == 0) {
    for (const char* name : {"kind", "dense twin", "inputs", "outputs"}) {
      header.push_back(name);
    }
  }
  header.push_back("description or reason");
  std::cout << CutLines(benchmark::TextTable(header, rows), columns);
  if (!assumed.empty()) std::cout << "\n" << assumed;
}

}  // namespace

std::string AssumedLines(const v1::ModelSummary& model,
                         const std::vector<std::string>& assumed) {
  std::string lines;
  for (const std::string& one : assumed) {
    absl::StrAppend(&lines, "assumed of ", base::Printable(model.name()), " ",
                    model.version(), ": ", base::Printable(one, one.size()),
                    "\n");
  }
  return lines;
}

std::string StateName(v1::ModelState state) {
  switch (state) {
    case v1::MODEL_STATE_LOADING:
      return "loading";
    case v1::MODEL_STATE_READY:
      return "ready";
    case v1::MODEL_STATE_FAILED:
      return "FAILED";
    case v1::MODEL_STATE_UNLOADED:
      return "unloaded";
    default:
      return "unknown";
  }
}

std::string ImplementationName(v1::Implementation implementation) {
  switch (implementation) {
    case v1::IMPLEMENTATION_FFF:
      return "fff";
    case v1::IMPLEMENTATION_DENSE:
      return "dense";
    default:
      return "unknown";
  }
}

std::string DenseKindName(v1::DenseKind kind) {
  switch (kind) {
    case v1::DENSE_KIND_TRAINED:
      return "trained";
    case v1::DENSE_KIND_COST_BASELINE:
      return "cost baseline";
    default:
      return "";
  }
}

CLI::App* ModelsCommand::Register(CLI::App& app) {
  CLI::App* sub = app.add_subcommand("models", "List the server's models");
  sub->add_flag("--json", json, "Print JSON");
  sub->add_flag("--wide", wide,
                "All columns, however long; without it lines fit the terminal");
  sub->footer("Example:\n  fffctl --server 127.0.0.1:8001 models");
  return sub;
}

absl::Status ModelsCommand::Run(const GlobalOptions& global) const {
  FFF_ASSIGN_OR_RETURN(const auto client, Connect(global));
  FFF_ASSIGN_OR_RETURN(const v1::ListModelsResponse listed,
                       client->ListModels());
  std::vector<Line> lines;
  for (const v1::ModelSummary& model : listed.models()) {
    lines.push_back({model, Describe(*client, model)});
  }
  if (json) {
    PrintJson(lines);
  } else if (lines.empty()) {
    std::cout << "the server has no models\n";
  } else {
    PrintText(lines, wide ? 0 : OutputColumns());
  }
  return absl::OkStatus();
}

}  // namespace fff::cli

#include "client/cli/status_command.h"

#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/models_command.h"
#include "client/cli/rows/input_port.h"
#include "client/cli/screen/terminal.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/benchmark/text_table.h"

namespace fff::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ServerState {
  std::string name;
  std::string version;
  client::Health health = client::Health::kUnknown;
  bool live = false;
  bool ready = false;
  std::vector<v1::ModelSummary> models;
  std::vector<v1::GetModelResponse> loaded;  // default versions that are ready
};

absl::StatusOr<ServerState> Ask(const client::Client& client) {
  ServerState state;
  FFF_ASSIGN_OR_RETURN(state.health, client.CheckHealth());
  FFF_ASSIGN_OR_RETURN(state.live, client.ServerLive());
  FFF_ASSIGN_OR_RETURN(state.ready, client.ServerReady());
  FFF_ASSIGN_OR_RETURN(const auto info, client.ServerMetadata());
  state.name = info.name;
  state.version = info.version;
  FFF_ASSIGN_OR_RETURN(const v1::ListModelsResponse listed,
                       client.ListModels());
  for (const v1::ModelSummary& model : listed.models()) {
    state.models.push_back(model);
    if (model.state() != v1::MODEL_STATE_READY || !model.is_default_version()) {
      continue;
    }
    absl::StatusOr<v1::GetModelResponse> described =
        client.GetModel(model.name(), model.version());
    // Unloaded since it was listed: nothing to say about its kernels.
    if (described.ok()) state.loaded.push_back(*std::move(described));
  }
  return state;
}

void PrintInputs(const ServerState& state, int columns) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::GetModelResponse& model : state.loaded) {
    for (const v1::TensorMetadata& port : PortsOf(model)) {
      rows.push_back({model.summary().name(), port.name(), PortText(port)});
    }
  }
  if (rows.empty()) return;
  std::cout << "\n"
            << CutLines(benchmark::TextTable(
                            {"model", "input", "datatype and shape"}, rows),
                        columns);
}

void PrintKernels(const ServerState& state, int columns) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::GetModelResponse& model : state.loaded) {
    for (int i = 0; i < model.layers_size(); ++i) {
      const v1::LayerInfo& layer = model.layers(i);
      for (const v1::KernelStep& step : layer.kernels()) {
        rows.push_back({model.summary().name(), absl::StrCat(i), layer.type(),
                        absl::StrCat(step.rows_min()), step.kernel(),
                        step.reason()});
      }
    }
  }
  if (rows.empty()) return;
  std::cout << "\n"
            << CutLines(benchmark::TextTable({"model", "layer", "type",
                                              "from rows", "kernel", "because"},
                                             rows),
                        columns);
}

// `columns`: 0 = lines of any length.
void PrintText(const ServerState& state, const std::string& target,
               int columns) {
  std::cout << base::Printable(state.name) << " "
            << base::Printable(state.version) << " at " << target
            << "\n  health " << client::Name(state.health) << ", "
            << (state.live ? "live" : "not live") << ", "
            << (state.ready ? "ready" : "not ready") << "\n\n";
  std::vector<std::vector<std::string>> rows;
  for (const v1::ModelSummary& model : state.models) {
    rows.push_back(
        {model.name(), absl::StrCat(model.version()), StateName(model.state()),
         model.is_default_version() ? "default" : "",
         model.reason().empty() ? model.description() : model.reason()});
  }
  std::cout << CutLines(
      benchmark::TextTable(
          {"model", "version", "state", "", "description or reason"}, rows),
      columns);
  PrintInputs(state, columns);
  PrintKernels(state, columns);
  std::string assumed;
  for (const v1::GetModelResponse& model : state.loaded) {
    assumed += AssumedLines(model.summary(),
                            {model.assumed().begin(), model.assumed().end()});
  }
  if (!assumed.empty()) std::cout << "\n" << assumed;
}

Json PortsJson(const v1::GetModelResponse& model) {
  Json ports = Json::array();
  for (const v1::TensorMetadata& port : PortsOf(model)) {
    ports.push_back({{"name", port.name()},
                     {"datatype", DataTypeName(port)},
                     {"shape", std::vector<int64_t>(port.shape().begin(),
                                                    port.shape().end())},
                     {"optional", port.optional()}});
  }
  return ports;
}

Json ModelJson(const v1::GetModelResponse& model) {
  Json layers = Json::array();
  for (const v1::LayerInfo& layer : model.layers()) {
    Json kernels = Json::array();
    for (const v1::KernelStep& step : layer.kernels()) {
      kernels.push_back({{"rows_min", step.rows_min()},
                         {"kernel", step.kernel()},
                         {"reason", step.reason()}});
    }
    layers.push_back({{"type", layer.type()},
                      {"description", layer.description()},
                      {"weights_bytes", layer.weights_bytes()},
                      {"kernels", std::move(kernels)}});
  }
  return {{"model", model.summary().name()},
          {"version", model.summary().version()},
          {"device", model.device()},
          {"inputs", PortsJson(model)},
          {"layers", std::move(layers)},
          {"assumed", std::vector<std::string>(model.assumed().begin(),
                                               model.assumed().end())}};
}

void PrintJson(const ServerState& state) {
  Json models = Json::array();
  for (const v1::ModelSummary& model : state.models) {
    models.push_back({{"name", model.name()},
                      {"version", model.version()},
                      {"state", StateName(model.state())},
                      {"is_default_version", model.is_default_version()},
                      {"description", model.description()},
                      {"reason", model.reason()}});
  }
  Json loaded = Json::array();
  for (const v1::GetModelResponse& model : state.loaded) {
    loaded.push_back(ModelJson(model));
  }
  const Json whole = {{"server", state.name},
                      {"version", state.version},
                      {"health", client::Name(state.health)},
                      {"live", state.live},
                      {"ready", state.ready},
                      {"models", std::move(models)},
                      {"loaded", std::move(loaded)}};
  std::cout << whole.dump(2, ' ', false, Json::error_handler_t::replace)
            << "\n";
}

}  // namespace

CLI::App* StatusCommand::Register(CLI::App& app) {
  CLI::App* sub = app.add_subcommand(
      "status", "Show health, models, and which kernel serves what");
  sub->add_flag("--json", json, "Print JSON");
  sub->add_flag("--wide", wide,
                "Lines of any length; without it they fit the terminal");
  sub->footer("Example:\n  fffctl status --server 127.0.0.1:8001");
  return sub;
}

absl::Status StatusCommand::Run(const GlobalOptions& global) const {
  FFF_ASSIGN_OR_RETURN(const auto client, Connect(global));
  FFF_ASSIGN_OR_RETURN(const ServerState state, Ask(*client));
  if (json) {
    PrintJson(state);
  } else {
    PrintText(state, global.server, wide ? 0 : OutputColumns());
  }
  return absl::OkStatus();
}

}  // namespace fff::cli

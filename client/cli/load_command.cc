#include "client/cli/load_command.h"

#include <iostream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/models_command.h"
#include "server/base/status_macros.h"
#include "server/benchmark/text_table.h"

namespace fff::cli {
namespace {

void AddArguments(CLI::App& sub, std::string& model, int64_t& version) {
  sub.add_option("model", model, "Name of the model, without :dense")
      ->required();
  sub.add_option("--version", version,
                 "One version; 0 = the model, by its version policy")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

template <class Response>
void Print(const Response& response) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::ModelSummary& model : response.models()) {
    rows.push_back(
        {model.name(), absl::StrCat(model.version()), StateName(model.state()),
         model.is_default_version() ? "default" : "",
         model.reason().empty() ? model.description() : model.reason()});
  }
  std::cout << benchmark::TextTable(
      {"name", "version", "state", "", "description or reason"}, rows);
}

}  // namespace

CLI::App* LoadCommand::Register(CLI::App& app) {
  CLI::App* sub = app.add_subcommand(
      "load", "Load a model from the server's repository as it is now");
  AddArguments(*sub, model, version);
  sub->footer("Example:\n  fffctl load fashion-mnist --token-file token");
  return sub;
}

absl::Status LoadCommand::Run(const GlobalOptions& global) const {
  FFF_ASSIGN_OR_RETURN(const auto client, Connect(global));
  FFF_ASSIGN_OR_RETURN(const v1::LoadModelResponse response,
                       client->LoadModel(model, version));
  Print(response);
  return absl::OkStatus();
}

CLI::App* UnloadCommand::Register(CLI::App& app) {
  CLI::App* sub = app.add_subcommand(
      "unload", "Take a model out of service until it is loaded again");
  AddArguments(*sub, model, version);
  sub->footer("Example:\n  fffctl unload fashion-mnist --token-file token");
  return sub;
}

absl::Status UnloadCommand::Run(const GlobalOptions& global) const {
  FFF_ASSIGN_OR_RETURN(const auto client, Connect(global));
  FFF_ASSIGN_OR_RETURN(const v1::UnloadModelResponse response,
                       client->UnloadModel(model, version));
  Print(response);
  return absl::OkStatus();
}

}  // namespace fff::cli

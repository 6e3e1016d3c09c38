#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "client/cli/benchmark_command.h"
#include "client/cli/claims_command.h"
#include "client/cli/global_options.h"
#include "client/cli/inspect_command.h"
#include "client/cli/load_command.h"
#include "client/cli/models_command.h"
#include "client/cli/predict_command.h"
#include "client/cli/status_command.h"
#include "client/cli/verify_command.h"
#include "server/base/log.h"
#include "server/base/near_match.h"

namespace {

constexpr int kCallFailed = 1;
constexpr int kUsage = 2;
constexpr size_t kMessageBytesMax = 4096;  // messages come from a peer

int Report(const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << "fffctl: " << absl::StatusCodeToString(status.code()) << ": "
            << fff::base::Printable(status.message(), kMessageBytesMax) << "\n";
  return kCallFailed;
}

// What is said of words that no command has.
std::string Unexpected(const CLI::App& app) {
  std::vector<std::string> words = app.remaining(true);
  std::vector<std::string> names;
  if (app.get_subcommands().empty()) {  // the command is what is wrong
    words.erase(std::remove_if(words.begin(), words.end(),
                               [](const std::string& word) {
                                 return absl::StartsWith(word, "-");
                               }),
                words.end());
    for (const CLI::App* command : app.get_subcommands({})) {
      names.push_back(command->get_name());
    }
    return fff::base::ExplainUnexpected(words, names);
  }
  for (const CLI::App* one :
       {&app, static_cast<const CLI::App*>(app.get_subcommands().front())}) {
    for (const CLI::Option* option : one->get_options()) {
      names.push_back(option->get_name());
    }
  }
  return fff::base::ExplainUnexpected(words, names);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Talks to an FFF server: predicts, measures, shows its state.");
  app.name("fffctl");
  app.set_version_flag("--version", "fffctl " FFF_VERSION);
  app.require_subcommand(1);
  app.fallthrough();  // global options may follow the command
  app.footer(
      "Exit codes: 0 success, 1 the call failed, 2 wrong usage.\n"
      "Example:\n  fffctl status --server 127.0.0.1:8001");
  fff::cli::GlobalOptions global;
  fff::cli::PredictCommand predict;
  fff::cli::BenchmarkCommand benchmark;
  fff::cli::ClaimsCommand claims;
  fff::cli::ModelsCommand models;
  fff::cli::LoadCommand load;
  fff::cli::UnloadCommand unload;
  fff::cli::StatusCommand status;
  fff::cli::InspectCommand inspect;
  fff::cli::VerifyCommand verify;
  fff::cli::AddGlobalOptions(app, global);
  const CLI::App* predict_app = predict.Register(app);
  const CLI::App* benchmark_app = benchmark.Register(app);
  const CLI::App* claims_app = claims.Register(app);
  const CLI::App* models_app = models.Register(app);
  const CLI::App* load_app = load.Register(app);
  const CLI::App* unload_app = unload.Register(app);
  status.Register(app);
  const CLI::App* inspect_app = inspect.Register(app);
  const CLI::App* verify_app = verify.Register(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) {
      std::cerr << Unexpected(app);
    }
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (predict_app->parsed()) return Report(predict.Run(global));
  if (benchmark_app->parsed()) return Report(benchmark.Run(global));
  if (claims_app->parsed()) return Report(claims.Run());
  if (models_app->parsed()) return Report(models.Run(global));
  if (load_app->parsed()) return Report(load.Run(global));
  if (unload_app->parsed()) return Report(unload.Run(global));
  if (inspect_app->parsed()) return Report(inspect.Run());
  if (verify_app->parsed()) return Report(verify.Run(global));
  return Report(status.Run(global));
}

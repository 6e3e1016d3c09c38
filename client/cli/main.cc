#include <iostream>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "absl/status/status.h"
#include "client/cli/benchmark_command.h"
#include "client/cli/global_options.h"
#include "client/cli/load_command.h"
#include "client/cli/models_command.h"
#include "client/cli/predict_command.h"
#include "client/cli/status_command.h"
#include "server/base/log.h"

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
  fff::cli::ModelsCommand models;
  fff::cli::LoadCommand load;
  fff::cli::UnloadCommand unload;
  fff::cli::StatusCommand status;
  fff::cli::AddGlobalOptions(app, global);
  const CLI::App* predict_app = predict.Register(app);
  const CLI::App* benchmark_app = benchmark.Register(app);
  const CLI::App* models_app = models.Register(app);
  const CLI::App* load_app = load.Register(app);
  const CLI::App* unload_app = unload.Register(app);
  status.Register(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (predict_app->parsed()) return Report(predict.Run(global));
  if (benchmark_app->parsed()) return Report(benchmark.Run(global));
  if (models_app->parsed()) return Report(models.Run(global));
  if (load_app->parsed()) return Report(load.Run(global));
  if (unload_app->parsed()) return Report(unload.Run(global));
  return Report(status.Run(global));
}

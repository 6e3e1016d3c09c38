#include "server/app/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/app/demo_models.h"
#include "server/app/host_flag.h"
#include "server/app/options_file.h"
#include "server/app/usage.h"
#include "server/base/near_match.h"
#include "server/rpc/messages/version.h"
#include "server/rpc/service/grpc_server.h"

namespace fff::app {
namespace {

constexpr char kFooter[] =
    "Every option is also an environment variable (FFF_ and the option in "
    "capitals with\nunderscores, FFF_GRPC_PORT=8001) and a key of the --config "
    "file (grpc-port=8001).\n\nExample:\n"
    "  fff-server --model-repository=models --grpc-port=8001 --http-port=8002";

// A number that may have one of `units`, then within `range`; the text becomes
// that number. Whatever is wrong, the message says what was got and wanted.
CLI::Validator Quantity(const CLI::Validator& units,
                        const CLI::Validator& range, const std::string& wanted,
                        const std::string& type_name) {
  return {[=](std::string& text) -> std::string {
            const std::string got = text;
            // CLI11 takes a unit alone for one of it, and its ranges hold NaN.
            const bool number = text.find_first_of("0123456789.") == 0;
            try {
              if (number && units(text).empty() && range(text).empty()) {
                return "";
              }
            } catch (const CLI::ValidationError&) {
            }
            return "got '" + got + "', wanted " + wanted;
          },
          type_name};
}

CLI::Validator Seconds(double min = 0) {
  constexpr double kSecondsMax = 3600;
  const std::map<std::string, double> units = {{"s", 1}, {"ms", 1e-3}};
  return Quantity(
      CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::CASE_SENSITIVE),
      CLI::Range(min, kSecondsMax),
      absl::StrCat(min, " to ", kSecondsMax, " seconds: 5, 5s or 500ms"),
      "SECONDS");
}

CLI::Validator Bytes(int64_t min, int64_t max) {
  return Quantity(CLI::AsSizeValue(/*kb_is_1000=*/true), CLI::Range(min, max),
                  absl::StrCat(min, " to ", max, " bytes: 65536, 64KiB, 64KB"),
                  "BYTES");
}

std::string CheckDevice(const std::string& device) {
  const bool numbered =
      device.rfind("cuda:", 0) == 0 && device.size() > 5 &&
      device.find_first_not_of("0123456789,", 5) == std::string::npos;
  if (device == "auto" || device == "cpu" || device == "cuda" || numbered) {
    return "";
  }
  return "got '" + device + "', wanted auto, cpu, cuda or cuda:n[,n...]";
}

// Replaces the text of --host; returns what is wrong with it.
std::string TakeHost(std::string& text) {
  const absl::StatusOr<std::string> host = ParseHost(text);
  if (!host.ok()) return std::string(host.status().message());
  text = *host;
  return "";
}

void AddRepositoryOptions(CLI::App& app, Config& config) {
  using serving::ModelControl;
  static const std::map<std::string, ModelControl> kControls = {
      {"none", ModelControl::kNone},
      {"poll", ModelControl::kPoll},
      {"explicit", ModelControl::kExplicit}};
  CLI::Option* repository =
      app.add_option("--model-repository", config.model_repository,
                     "Directory that holds one directory per model")
          ->required()
          ->envname("FFF_MODEL_REPOSITORY");
  app.add_flag_callback(
         "--demo",
         [&config, repository] {
           config.demo = true;
           config.model_repository = DemoRepository();
           repository->required(false);
         },
         "Serve the demo model that came with the server, instead of "
         "--model-repository")
      ->excludes(repository)
      ->envname("FFF_DEMO");
  app.add_option(
         "--model-control", config.model_control,
         "Which models are loaded after the start. none: no more. poll: those "
         "that change in the repository or that load calls name. explicit: "
         "from the start, only those that load calls name")
      ->transform(
          CLI::CheckedTransformer(kControls).description("none|poll|explicit"))
      ->envname("FFF_MODEL_CONTROL")
      ->default_str("poll");
  app.add_option("--load-model", config.load_models,
                 "With --model-control=explicit: a model to load at the start; "
                 "several with commas or the flag again")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->envname("FFF_LOAD_MODEL");
  app.add_option("--repository-poll-seconds", config.repository_poll_seconds,
                 "Longest time between two looks at the repository. The server "
                 "looks at once when the system reports a change")
      ->transform(Seconds(/*min=*/0.1))  // looking costs little, not nothing
      ->envname("FFF_REPOSITORY_POLL_SECONDS")
      ->capture_default_str();
}

void AddReadyOptions(CLI::App& app, Config& config) {
  app.add_option(
         "--ready-when", config.ready_when,
         "The server is ready when these models are loaded. all: every model "
         "of the start. any: one of them. Else names of models, with commas")
      ->delimiter(',')
      ->envname("FFF_READY_WHEN")
      ->default_str("all");
  app.add_flag("--allow-empty", config.allow_empty,
               "Be ready without having served a model, such as on an empty "
               "repository. --model-control=explicit implies it")
      ->envname("FFF_ALLOW_EMPTY");
}

void AddLogOptions(CLI::App& app, Config& config) {
  app.add_option("--log-level", config.log_level, "debug, info, warning, error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->envname("FFF_LOG_LEVEL")
      ->capture_default_str();
  app.add_option("--log-format", config.log_format,
                 "text, or json: one object per line")
      ->check(CLI::IsMember({"text", "json"}))
      ->envname("FFF_LOG_FORMAT")
      ->capture_default_str();
  app.add_option(
         "--access-log", config.access_log,
         "File for one JSON object per inference request; - is standard output")
      ->envname("FFF_ACCESS_LOG");
  app.add_option("--access-log-sample", config.access_log_sample,
                 "Share of the successful requests that are written there. "
                 "Failed and traced ones are all written")
      ->check(CLI::Range(0.0, 1.0))
      ->envname("FFF_ACCESS_LOG_SAMPLE")
      ->capture_default_str();
}

void AddServingOptions(CLI::App& app, Config& config) {
  app.add_option("--device", config.device,
                 "auto, cpu, cuda or cuda:n[,n...]; auto uses a GPU, when "
                 "there is one, "
                 "for the batch sizes at which it is faster")
      ->check(CheckDevice, "DEVICE")
      ->envname("FFF_DEVICE")
      ->capture_default_str();
  app.add_option("--threads", config.threads,
                 "Worker threads; 0 = the CPUs this process may use")
      ->check(CLI::Range(0, 1024))
      ->envname("FFF_THREADS")
      ->capture_default_str();
  app.add_option("--tune-budget-ms", config.tune_budget_ms,
                 "Milliseconds to measure kernels in when a model version is "
                 "loaded; 0 = choose them by predicted cost, the same ones at "
                 "every start")
      ->check(CLI::Range(0, 60000))
      ->envname("FFF_TUNE_BUDGET_MS")
      ->capture_default_str();
  app.add_option("--non-finite", config.non_finite,
                 "compute or refuse rows with NaN or infinity, for models "
                 "whose config does not say \"non_finite\"")
      ->check(CLI::IsMember({"compute", "refuse"}))
      ->envname("FFF_NON_FINITE")
      ->capture_default_str();
  app.add_option("--benchmark", config.benchmark,
                 "on or off: whether the Benchmark call is allowed")
      ->envname("FFF_BENCHMARK")
      ->capture_default_str();
}

void AddNetworkOptions(CLI::App& app, Config& config) {
  app.add_option("--host", config.host,
                 "Address to listen on. :: is all addresses, 0.0.0.0 all of "
                 "IPv4; both want --tls-cert or --insecure. unix:PATH: gRPC on "
                 "that socket, HTTP on 127.0.0.1")
      ->transform(CLI::Validator(TakeHost, "ADDRESS"))
      ->envname("FFF_HOST")
      ->capture_default_str();
  app.add_option("--grpc-port", config.grpc_port,
                 "Port of both gRPC APIs; 0 = a free port")
      ->check(CLI::Range(0, 65535))
      ->envname("FFF_GRPC_PORT")
      ->capture_default_str();
  app.add_option("--http-port", config.http_port,
                 "Port of the status page, /metrics, /healthz and /readyz; 0 = "
                 "a free port")
      ->check(CLI::Range(0, 65535))
      ->envname("FFF_HTTP_PORT")
      ->capture_default_str();
  app.add_option(
         "--grpc-queues", config.grpc_queues,
         "Completion queues, one thread each: as many as the load needs, at "
         "most so many; 0 = one per two worker threads, 32 "
         "at most")
      ->check(CLI::Range(0, 64))
      ->envname("FFF_GRPC_QUEUES")
      ->capture_default_str();
  app.add_option("--max-message-bytes", config.max_message_bytes,
                 "Largest request that the server reads")
      ->transform(Bytes(1024, std::numeric_limits<int32_t>::max()))
      ->envname("FFF_MAX_MESSAGE_BYTES")
      ->capture_default_str();
  app.add_option("--max-metadata-bytes", config.max_metadata_bytes,
                 "Largest metadata of an inference, health or reflection call, "
                 "counted as names, values and 32 bytes for each")
      ->transform(Bytes(1024, rpc::kMetadataBytesRead))
      ->envname("FFF_MAX_METADATA_BYTES")
      ->capture_default_str();
  app.add_option("--request-memory-bytes", config.request_memory_bytes,
                 "Receive memory, for arriving requests, and answer memory, "
                 "for all others, each; 0 = a quarter of the memory")
      ->transform(Bytes(0, int64_t{1} << 50))
      ->envname("FFF_REQUEST_MEMORY_BYTES")
      ->capture_default_str();
}

void AddConnectionOptions(CLI::App& app, Config& config) {
  const auto add_duration = [&app](const char* flag, double& value,
                                   const char* variable, const char* text) {
    app.add_option(flag, value, text)
        ->transform(Seconds())
        ->envname(variable)
        ->capture_default_str();
  };
  add_duration("--max-connection-age", config.max_connection_age_seconds,
               "FFF_MAX_CONNECTION_AGE",
               "Seconds, 10 % more or less, after which a client is asked to "
               "connect again, so that it sees new servers; 0 = never");
  add_duration(
      "--max-connection-age-grace", config.max_connection_age_grace_seconds,
      "FFF_MAX_CONNECTION_AGE_GRACE",
      "Seconds from then until calls and streams in flight are cut; 0 = never");
  add_duration("--keepalive-time", config.keepalive_time_seconds,
               "FFF_KEEPALIVE_TIME",
               "Seconds without traffic after which a client must show that it "
               "lives; 0 = never");
  add_duration(
      "--unread-answer-timeout", config.unread_answer_timeout_seconds,
      "FFF_UNREAD_ANSWER_TIMEOUT",
      "Seconds that an answer may wait for a client that does not read it, "
      "while half of the answer memory is taken; 0 = for ever");
  app.add_option("--overload-status", config.overload_status,
                 "Status of requests that a full queue or full memory refuses. "
                 "Clients of other servers retry unavailable")
      ->check(CLI::IsMember({"resource_exhausted", "unavailable"}))
      ->envname("FFF_OVERLOAD_STATUS")
      ->capture_default_str();
  app.add_option("--max-connection-streams", config.max_connection_streams,
                 "Calls at once on one connection; 0 = no bound")
      ->check(CLI::Range(0, std::numeric_limits<int32_t>::max()))
      ->envname("FFF_MAX_CONNECTION_STREAMS")
      ->capture_default_str();
}

void AddTlsOptions(CLI::App& app, Config& config) {
  CLI::Option* cert =
      app.add_option("--tls-cert", config.tls_cert, "PEM certificate chain")
          ->check(CLI::ExistingFile)
          ->envname("FFF_TLS_CERT");
  CLI::Option* key =
      app.add_option("--tls-key", config.tls_key, "PEM private key")
          ->check(CLI::ExistingFile)
          ->envname("FFF_TLS_KEY");
  cert->needs(key);
  key->needs(cert);
  app.add_option("--tls-client-ca", config.tls_client_ca,
                 "PEM certificates of client authorities. Clients must then "
                 "show a certificate of one of them")
      ->check(CLI::ExistingFile)
      ->needs(cert)
      ->envname("FFF_TLS_CLIENT_CA");
  app.add_flag("--insecure", config.insecure,
               "Allow plain text on an address that other machines reach")
      ->envname("FFF_INSECURE");
}

void AddAdminOptions(CLI::App& app, Config& config) {
  app.add_option("--admin-token-file", config.admin_token_file,
                 "File with the token that load, unload and Benchmark calls "
                 "must show")
      ->check(CLI::ExistingFile)
      ->envname("FFF_ADMIN_TOKEN_FILE");
  app.add_option("--admin-client-name", config.admin_client_names,
                 "Common or alternative name of client certificates that may "
                 "make these calls; several with commas or the flag again")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->envname("FFF_ADMIN_CLIENT_NAME");
}

void AddDrainOptions(CLI::App& app, Config& config) {
  app.add_option("--drain-delay", config.drain_delay_seconds,
                 "Seconds to go on serving after SIGTERM, while health says "
                 "NOT_SERVING")
      ->transform(Seconds())
      ->envname("FFF_DRAIN_DELAY")
      ->capture_default_str();
  app.add_option("--drain-timeout", config.drain_timeout_seconds,
                 "Seconds from then for calls in flight to finish")
      ->transform(Seconds())
      ->envname("FFF_DRAIN_TIMEOUT")
      ->capture_default_str();
}

// The environment as arguments, and after it the command line, reversed as
// CLI11 takes it. Left to itself CLI11 reads the environment after the file, so
// that the file would win, and too late for FFF_CONFIG.
std::vector<std::string> AllArguments(const CLI::App& app, int argc,
                                      const char* const* argv) {
  std::vector<std::string> arguments;
  for (const CLI::Option* option : app.get_options()) {
    const std::string variable = option->get_envname();
    const char* value = variable.empty() ? nullptr : getenv(variable.c_str());
    if (value == nullptr || *value == '\0') continue;
    arguments.push_back(option->get_name() + "=" + value);
  }
  for (int i = 1; i < argc; ++i) arguments.emplace_back(argv[i]);
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

}  // namespace

EarlyExit ParseConfig(int argc, const char* const* argv, Config& config) {
  CLI::App app("Serves fast feedforward networks over gRPC.", "fff-server");
  app.footer(kFooter);
  app.set_version_flag(
      "--version", std::string(rpc::kServerName) + " " + rpc::kServerVersion);
  app.set_config("--config", "", "File of options, key=value lines (TOML)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->envname("FFF_CONFIG");
  app.config_formatter(std::make_shared<OptionsFile>(&app));
  app.allow_config_extras(false);
  // A flag given twice: the last one counts, so that wrappers can append.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  AddRepositoryOptions(app, config);
  AddReadyOptions(app, config);
  AddServingOptions(app, config);
  AddLogOptions(app, config);
  AddTraceOptions(app, config.traces);
  AddNetworkOptions(app, config);
  AddConnectionOptions(app, config);
  AddTlsOptions(app, config);
  AddAdminOptions(app, config);
  AddDrainOptions(app, config);
  try {
    RefuseEmptyValues(argc, argv);
    app.parse(AllArguments(app, argc, argv));
  } catch (const CLI::ParseError& error) {
    constexpr int kUsageError = 2;
    if (error.get_exit_code() != 0) {
      std::cerr << base::ExplainUnexpected(app.remaining(), OptionNames(app));
    }
    return {true, app.exit(error) == 0 ? 0 : kUsageError};
  }
  config.warnings = UnknownVariables(ProcessEnvironment(), VariableNames(app));
  return {};
}

}  // namespace fff::app

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/app/trace_flags.h"
#include "server/serving/repository/model_repository.h"

namespace fff::app {

// What the operator decides. Every field is a flag (--model-repository), an
// environment variable (FFF_MODEL_REPOSITORY) and a key of the --config file
// (model-repository = "..."), in falling order of precedence.
struct Config {
  std::string model_repository;
  bool demo = false;  // model_repository is what came with the program
  serving::ModelControl model_control = serving::ModelControl::kPoll;
  std::vector<std::string> load_models;  // at the start, under kExplicit
  double repository_poll_seconds = 5;
  std::vector<std::string> ready_when = {"all"};  // or any, or names of models
  bool allow_empty = false;
  std::string host = "127.0.0.1";  // as ParseHost gives it
  int grpc_port = 8001;
  int http_port = 8002;
  std::string device = "auto";  // auto, cpu, cuda or cuda:n
  int threads = 0;              // 0 = as many as the process may use CPUs
  int64_t tune_budget_ms = 100;
  int grpc_queues = 0;  // at most; 0 = one for every two threads
  std::string tls_cert;
  std::string tls_key;
  std::string tls_client_ca;
  bool insecure = false;  // plain text on an address that others reach
  std::string admin_token_file;
  std::vector<std::string> admin_client_names;
  double drain_delay_seconds = 5;
  double drain_timeout_seconds = 30;
  int64_t max_message_bytes = int64_t{64} << 20;
  int64_t max_metadata_bytes = int64_t{64} << 10;
  double max_connection_age_seconds = 300;
  double max_connection_age_grace_seconds = 0;
  double keepalive_time_seconds = 60;
  int max_connection_streams = 0;
  int64_t request_memory_bytes = 0;  // 0 = a quarter of the memory
  double unread_answer_timeout_seconds = 10;
  std::string overload_status = "resource_exhausted";  // or unavailable
  std::string non_finite = "compute";                  // or refuse
  bool benchmark = true;
  std::string log_level = "info";
  std::string log_format = "text";  // or json
  std::string access_log;           // a file, "-", or "" for none
  double access_log_sample = 1;     // share of the requests that succeed
  TraceFlags traces;
  // To be logged once the log is there: variables that no option has.
  std::vector<std::string> warnings;
};

// Why the process should end before it serves: help or version was printed, or
// the arguments are wrong. `exit_code` is for main.
struct EarlyExit {
  bool exit = false;
  int exit_code = 0;
};

// Parses arguments, environment and config file. On a mistake prints what was
// got and what is allowed to standard error and asks for an early exit.
EarlyExit ParseConfig(int argc, const char* const* argv, Config& config);

// What no single flag can say: FAILED_PRECONDITION for plain text on an address
// that others reach without --insecure, INVALID_ARGUMENT for names of client
// certificates when none is asked for, and for "all" or "any" beside names.
absl::Status CheckConfig(const Config& config);

}  // namespace fff::app

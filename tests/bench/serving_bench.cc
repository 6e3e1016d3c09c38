// What our server costs beside a gRPC server that does nothing: the same
// client, the same bytes both ways, in turns on the same machine.
//
//   serving_bench --json --server build/release/bin/fff-server
//       --model-repository /tmp/models --model layer  (layer_model.py)
//
// Each case runs in rounds, one after the other against both servers; a ratio
// is the median over the rounds, so that what else runs on the machine hits
// both. The keys are described in tests/bench/README.md.
#include <stdio.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "fff/v1/inference.pb.h"
#include "tests/bench/serving/child.h"
#include "tests/bench/serving/clients.h"
#include "tests/bench/serving/echo.h"
#include "tests/bench/serving/load.h"
#include "tests/bench/serving/recording.h"

namespace fff::bench {
namespace {

constexpr char kPredict[] = "/fff.v1.InferenceService/Predict";
constexpr char kPredictStream[] = "/fff.v1.InferenceService/PredictStream";

struct Options {
  std::string server;
  std::string repository;
  std::string model = "fashion-mnist";
  int64_t width = 784;
  double seconds = 0.5;
  int rounds = 7;
  int sparse_calls = 100;
  double sparse_interval_s = 2;
  std::vector<int64_t> rows = {1, 256};
  std::vector<int> outstanding = {1, 8, 64};
  bool streams = true;
  std::vector<int> clients;
  int echo_queues = 1;
  std::string echo_answer;
  ClientTask load;  // of a client's process; without a target this is none
  bool json = false;
  std::vector<std::string> server_flags;
};

std::string RequestBytes(const Options& options, int64_t rows) {
  v1::PredictRequest request;
  request.set_model(options.model);
  v1::Tensor& input = *request.mutable_input();
  input.set_datatype(v1::DATA_TYPE_FP32);
  input.add_shape(rows);
  input.add_shape(options.width);
  std::string& data = *input.mutable_data();
  for (int64_t i = 0; i < rows * options.width; ++i) {
    const float value = std::sin(static_cast<float>(i % 9973));
    data.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return request.SerializeAsString();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A server with the client's connections to it.
struct Side {
  Side(const std::vector<std::string>& command, const std::string& line)
      : child(command, line), client(child.target(), 4) {}
  Child child;
  LoadClient client;
};

struct Paired {
  Load ours;
  Load echo;
  double ours_cpu_us = 0;  // a request
  double echo_cpu_us = 0;
  double rate_ratio = 0;           // ours over echo
  double cpu_ratio = 0;            // echo over ours, of CPU time per request
  double latency_overhead_us = 0;  // p50 over p50

  nlohmann::json Json() const {
    return {{"rate", ours.rate()},
            {"echo_rate", echo.rate()},
            {"rate_ratio", rate_ratio},
            {"p50_us", ours.percentile_us(0.5)},
            {"p99_us", ours.percentile_us(0.99)},
            {"echo_p50_us", echo.percentile_us(0.5)},
            {"echo_p99_us", echo.percentile_us(0.99)},
            {"latency_overhead_us", latency_overhead_us},
            {"cpu_us", ours_cpu_us},
            {"echo_cpu_us", echo_cpu_us},
            {"cpu_ratio", cpu_ratio},
            {"errors", ours.errors + echo.errors}};
  }
};

Paired Compare(const Options& options, Side& ours, Side& echo,
               const std::function<Load(LoadClient&)>& run) {
  Paired result;
  std::vector<double> ratios;
  std::vector<double> overheads;
  std::vector<double> cpu_ours;
  std::vector<double> cpu_echo;
  std::vector<double> cpu_ratios;
  const auto measure = [&run](Side& side, std::vector<double>& cpu_us) {
    const double before = side.child.cpu_seconds();
    Load load = run(side.client);
    cpu_us.push_back((side.child.cpu_seconds() - before) * 1e6 /
                     static_cast<double>(load.answers));
    return load;
  };
  for (int round = 0; round < options.rounds; ++round) {
    Load a;
    Load b;
    // Who comes first changes: the first one meets a colder machine.
    if (round % 2 == 0) {
      b = measure(echo, cpu_echo);
      a = measure(ours, cpu_ours);
    } else {
      a = measure(ours, cpu_ours);
      b = measure(echo, cpu_echo);
    }
    ratios.push_back(a.rate() / b.rate());
    overheads.push_back(a.percentile_us(0.5) - b.percentile_us(0.5));
    cpu_ratios.push_back(cpu_echo.back() / cpu_ours.back());
    result.ours.Add(a);
    result.echo.Add(b);
  }
  result.rate_ratio = Median(ratios);
  result.latency_overhead_us = Median(overheads);
  result.ours_cpu_us = Median(cpu_ours);
  result.echo_cpu_us = Median(cpu_echo);
  result.cpu_ratio = Median(cpu_ratios);
  return result;
}

nlohmann::json Json(const ClientsResult& result) {
  return {{"rate", result.rate},     {"p50_us", result.p50_us},
          {"p99_us", result.p99_us}, {"cpu_us", result.cpu_us},
          {"busy", result.busy},     {"errors", result.errors}};
}

// Of several rounds that with the median rate.
ClientsResult MedianOf(std::vector<ClientsResult> rounds) {
  std::sort(rounds.begin(), rounds.end(),
            [](const ClientsResult& a, const ClientsResult& b) {
              return a.rate < b.rate;
            });
  return rounds[rounds.size() / 2];
}

// Both servers under so many client processes, in turns.
nlohmann::json CompareClients(const Options& options, const std::string& self,
                              const Side& ours, const Side& echo,
                              const std::string& request_file,
                              int outstanding) {
  nlohmann::json report;
  for (const int clients : options.clients) {
    ClientTask task;
    task.method = kPredict;
    task.request_file = request_file;
    task.outstanding = outstanding;
    task.seconds = options.seconds;
    std::vector<ClientsResult> our_rounds;
    std::vector<ClientsResult> echo_rounds;
    for (int round = 0; round < options.rounds; ++round) {
      our_rounds.push_back(RunClients(self, ours.child, task, clients));
      echo_rounds.push_back(RunClients(self, echo.child, task, clients));
    }
    report[absl::StrCat("clients_", clients)] = {
        {"ours", Json(MedianOf(our_rounds))},
        {"echo", Json(MedianOf(echo_rounds))}};
  }
  return report;
}

// Longest of calls that come one by one with pauses between.
double SparseMaxMs(const Options& options, LoadClient& client,
                   const std::string& request) {
  double longest_us = 0;
  for (int i = 0; i < options.sparse_calls; ++i) {
    std::this_thread::sleep_for(
        std::chrono::duration<double>(options.sparse_interval_s));
    const Load load = client.RunUnary(kPredict, request, 1, 0);
    longest_us = std::max(longest_us, load.percentile_us(1));
  }
  return longest_us / 1000;
}

// The figures that stand for the whole, of the cases that were run.
void Summarise(nlohmann::json& report) {
  const auto copy = [&report](const char* key, const std::string& from) {
    const nlohmann::json::json_pointer at(from);
    if (report.contains(at)) report[key] = report[at];
  };
  copy("throughput_ratio", "/unary/rows_1/outstanding_64/rate_ratio");
  copy("latency_overhead_us",
       "/unary/rows_1/outstanding_1/latency_overhead_us");
  copy("stream_ratio", "/stream/rows_1/rate_ratio");
  copy("cpu_us", "/unary/rows_1/outstanding_64/cpu_us");
  copy("echo_cpu_us", "/unary/rows_1/outstanding_64/echo_cpu_us");
  copy("cpu_ratio", "/unary/rows_1/outstanding_64/cpu_ratio");
  if (!report.contains("cpu_us")) return;
  const double metrics_ns = RecordingNs();
  report["metrics_ns"] = metrics_ns;
  report["metrics_ratio"] =
      1 - metrics_ns / (1000 * report["cpu_us"].get<double>());
}

std::string WriteFile(const std::string& name, const std::string& bytes) {
  const std::string path = absl::StrCat("/tmp/serving_bench_", getpid(), name);
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

nlohmann::json Measure(const Options& options, const std::string& self) {
  const std::string one_row = RequestBytes(options, 1);
  std::vector<std::string> command = {
      options.server, absl::StrCat("--model-repository=", options.repository),
      "--grpc-port=0", "--http-port=0", "--drain-delay=0"};
  command.insert(command.end(), options.server_flags.begin(),
                 options.server_flags.end());
  Side ours(command, "listening grpc=");
  nlohmann::json report = {{"startup_ms", ours.child.startup_ms()},
                           {"rss_idle_bytes", ours.child.resident_bytes()}};
  for (const int64_t rows : options.rows) {
    const std::string request = RequestBytes(options, rows);
    const std::string answer = ours.client.Call(kPredict, request);
    const std::string file = WriteFile("_answer", answer);
    Side echo({self, "--echo", file,
               absl::StrCat("--echo-queues=", options.echo_queues)},
              "echo grpc=");
    remove(file.c_str());
    if (!options.clients.empty()) {
      const std::string request_file = WriteFile("_request", request);
      for (const int outstanding : options.outstanding) {
        report["clients"][absl::StrCat("rows_", rows)]
              [absl::StrCat("outstanding_", outstanding)] = CompareClients(
                  options, self, ours, echo, request_file, outstanding);
      }
      remove(request_file.c_str());
      continue;
    }
    for (const int outstanding : options.outstanding) {
      const Paired paired =
          Compare(options, ours, echo, [&](LoadClient& client) {
            return client.RunUnary(kPredict, request, outstanding,
                                   options.seconds);
          });
      report["unary"][absl::StrCat("rows_", rows)]
            [absl::StrCat("outstanding_", outstanding)] = paired.Json();
    }
    if (!options.streams) continue;
    const Paired stream = Compare(options, ours, echo, [&](LoadClient& client) {
      return client.RunStream(kPredictStream, request, rows == 1 ? 64 : 4,
                              options.seconds);
    });
    report["stream"][absl::StrCat("rows_", rows)] = stream.Json();
  }
  if (!options.clients.empty()) return report;
  Summarise(report);
  report["sparse_max_ms"] = SparseMaxMs(options, ours.client, one_row);
  report["rss_after_bytes"] = ours.child.resident_bytes();
  return report;
}

void PrintClients(const nlohmann::json& report) {
  printf("%-36s %10s %9s %9s %8s %6s\n", "", "rate/s", "p50 us", "p99 us",
         "cpu us", "busy");
  for (const auto& [rows, cases] : report.items()) {
    for (const auto& [outstanding, counts] : cases.items()) {
      for (const auto& [clients, sides] : counts.items()) {
        for (const char* side : {"ours", "echo"}) {
          const nlohmann::json& c = sides[side];
          printf("%-36s %10.0f %9.1f %9.1f %8.1f %6.2f\n",
                 absl::StrCat(rows, " ", outstanding, " ", clients, " ", side)
                     .c_str(),
                 c["rate"].get<double>(), c["p50_us"].get<double>(),
                 c["p99_us"].get<double>(), c["cpu_us"].get<double>(),
                 c["busy"].get<double>());
        }
      }
    }
  }
}

void Print(const nlohmann::json& report) {
  if (report.contains("clients")) {
    PrintClients(report["clients"]);
    return;
  }
  printf("%-24s %10s %10s %6s %9s %9s %9s %8s %8s\n", "", "rate/s", "echo/s",
         "ratio", "p50 us", "echo", "p99 us", "cpu us", "echo");
  const auto line = [](const std::string& name, const nlohmann::json& c) {
    printf("%-24s %10.0f %10.0f %6.3f %9.1f %9.1f %9.1f %8.1f %8.1f\n",
           name.c_str(), c["rate"].get<double>(), c["echo_rate"].get<double>(),
           c["rate_ratio"].get<double>(), c["p50_us"].get<double>(),
           c["echo_p50_us"].get<double>(), c["p99_us"].get<double>(),
           c["cpu_us"].get<double>(), c["echo_cpu_us"].get<double>());
  };
  for (const auto& [rows, cases] : report.at("unary").items()) {
    for (const auto& [outstanding, result] : cases.items()) {
      line(absl::StrCat(rows, " ", outstanding), result);
    }
  }
  if (report.contains("stream")) {
    for (const auto& [rows, result] : report.at("stream").items()) {
      line(absl::StrCat("stream ", rows), result);
    }
  }
  for (const auto& [key, value] : report.items()) {
    if (value.is_number())
      printf("%s %.4g\n", key.c_str(), value.get<double>());
  }
}

bool AnyErrors(const nlohmann::json& report) {
  for (const auto& [key, value] : report.items()) {
    if (key == "errors" && value.get<int64_t>() != 0) return true;
    if (value.is_object() && AnyErrors(value)) return true;
  }
  return false;
}

int Run(int argc, char** argv) {
  Options options;
  CLI::App app("Our server beside a bare gRPC echo server.", "serving_bench");
  app.add_option("--server", options.server, "The fff-server binary");
  app.add_option("--model-repository", options.repository, "With the model");
  app.add_option("--model", options.model, "Its name")->capture_default_str();
  app.add_option("--width", options.width, "Input floats per row")
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "Of a case, server and round")
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "Of a case")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--sparse-calls", options.sparse_calls, "0 = leave out")
      ->capture_default_str();
  app.add_option("--sparse-interval", options.sparse_interval_s, "Seconds")
      ->capture_default_str();
  app.add_option("--rows", options.rows,
                 "Rows per request, several with commas")
      ->delimiter(',');
  app.add_option("--outstanding", options.outstanding,
                 "Unary calls under way, several with commas")
      ->delimiter(',');
  app.add_flag("!--no-streams", options.streams, "Unary calls alone");
  app.add_option("--clients", options.clients,
                 "Numbers of client processes, several with commas: unary "
                 "calls of all of them together, --outstanding each")
      ->delimiter(',');
  app.add_option("--echo-queues", options.echo_queues,
                 "Completion queues of the echo server")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--server-flag", options.server_flags,
                 "More flags of the server, such as --grpc-queues=2");
  app.add_flag("--json", options.json, "One JSON object on standard output");
  app.add_option("--echo", options.echo_answer,
                 "Be the echo server; the file holds its answer");
  CLI::Option_group* load = app.add_option_group("load", "Be a client process");
  load->add_option("--load-target", options.load.target);
  load->add_option("--load-method", options.load.method);
  load->add_option("--load-request", options.load.request_file);
  load->add_option("--load-outstanding", options.load.outstanding);
  load->add_option("--load-start", options.load.start);
  load->add_option("--load-seconds", options.load.seconds);
  CLI11_PARSE(app, argc, argv);
  // As our server does: the client and the echo server run no slower for it.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  if (!options.echo_answer.empty()) {
    std::ifstream file(options.echo_answer, std::ios::binary);
    RunEcho(std::string(std::istreambuf_iterator<char>(file), {}),
            options.echo_queues);
    return 0;
  }
  if (!options.load.target.empty()) return RunClient(options.load);
  if (options.server.empty() || options.repository.empty()) {
    fprintf(stderr, "wanted --server and --model-repository; see --help\n");
    return 2;
  }
  const nlohmann::json report =
      Measure(options, std::filesystem::read_symlink("/proc/self/exe"));
  if (options.json) {
    printf("%s\n", report.dump(2).c_str());
  } else {
    Print(report);
  }
  return AnyErrors(report) ? 1 : 0;
}

}  // namespace
}  // namespace fff::bench

int main(int argc, char** argv) { return fff::bench::Run(argc, argv); }

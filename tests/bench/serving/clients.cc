#include "tests/bench/serving/clients.h"

#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace fff::bench {
namespace {

constexpr int kConnections = 4;  // of a client

double UnixTime() {
  return std::chrono::duration<double>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void SleepUntil(double unix_time) {
  std::this_thread::sleep_for(
      std::chrono::duration<double>(std::max(0.0, unix_time - UnixTime())));
}

}  // namespace

std::vector<std::string> ClientTask::Flags() const {
  return {absl::StrCat("--load-target=", target),
          absl::StrCat("--load-method=", method),
          absl::StrCat("--load-request=", request_file),
          absl::StrCat("--load-outstanding=", outstanding),
          absl::StrFormat("--load-start=%.6f", start),
          absl::StrCat("--load-seconds=", seconds)};
}

int RunClient(const ClientTask& task) {
  std::ifstream file(task.request_file, std::ios::binary);
  const std::string request(std::istreambuf_iterator<char>(file), {});
  LoadClient client(task.target, kConnections);
  client.RunUnary(task.method, request, kConnections, 0.02);
  SleepUntil(task.start);
  const Load load =
      client.RunUnary(task.method, request, task.outstanding, task.seconds);
  printf("%.9g %.9g %.9g %ld\n", load.rate(), load.percentile_us(0.5),
         load.percentile_us(0.99), static_cast<long>(load.errors));
  return 0;
}

ClientsResult RunClients(const std::string& self, const Child& server,
                         ClientTask task, int clients) {
  task.target = server.target();
  // Time for all of them to connect.
  task.start = UnixTime() + 0.3 + 0.03 * clients;
  const std::string command =
      absl::StrCat("'", self, "' ", absl::StrJoin(task.Flags(), " "));
  std::vector<FILE*> outputs;
  for (int i = 0; i < clients; ++i) {
    outputs.push_back(popen(command.c_str(), "re"));
  }
  SleepUntil(task.start);
  const double cpu_before = server.cpu_seconds();
  const double begin = UnixTime();
  // All of them still run.
  SleepUntil(task.start + 0.95 * task.seconds);
  const double cpu = server.cpu_seconds() - cpu_before;
  const double seconds = UnixTime() - begin;
  ClientsResult result;
  std::vector<double> medians;
  for (FILE* output : outputs) {
    double rate = 0;
    double p50 = 0;
    double p99 = 0;
    long errors = 0;
    if (output == nullptr ||
        fscanf(output, "%lf %lf %lf %ld", &rate, &p50, &p99, &errors) != 4 ||
        pclose(output) != 0) {
      fprintf(stderr, "a client failed: %s\n", command.c_str());
      exit(1);
    }
    result.rate += rate;
    result.errors += errors;
    medians.push_back(p50);
    result.p99_us = std::max(result.p99_us, p99);
  }
  std::sort(medians.begin(), medians.end());
  result.p50_us = medians[medians.size() / 2];
  result.busy = cpu / seconds;
  result.cpu_us = 1e6 * result.busy / result.rate;
  return result;
}

}  // namespace fff::bench

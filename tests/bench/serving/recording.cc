#include "tests/bench/serving/recording.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "absl/time/clock.h"
#include "server/metrics/server_metrics.h"

namespace fff::bench {
namespace {

constexpr int kRounds = 31;
constexpr int kRequests = 20000;

// What differs between requests: durations in nanoseconds, over many buckets,
// and the leaf that the row took.
struct Request {
  uint64_t queue_ns = 0;
  uint64_t compute_ns = 0;
  uint64_t total_ns = 0;
  int32_t leaf = 0;
};

std::vector<Request> SomeRequests() {
  std::vector<Request> requests(1024);
  uint64_t state = 1;
  for (Request& request : requests) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const uint64_t random = state >> 40U;
    request = {random % 3000, 1000 + random % 9000, 10000 + random % 90000,
               static_cast<int32_t>(random % 16)};
  }
  return requests;
}

void Record(const metrics::ServerMetrics::Served& served,
            const Request& request) {
  metrics::ModelMetrics& metrics = *served.metrics;
  metrics.inflight.Add(1);
  metrics.queue_duration.Observe(request.queue_ns);
  metrics.compute_duration.Observe(request.compute_ns);
  metrics.batch_rows.Observe(1);
  metrics.rows.Add(1);
  served.leaf_visits->front().Record({&request.leaf, 1});
  metrics.RecordRequest(metrics::Method::kPredict, 0, request.total_ns);
  metrics.inflight.Add(-1);
  metrics.decode_ns.Add(request.queue_ns);
  metrics.encode_ns.Add(request.compute_ns);
  metrics.last_inference_ms.store(absl::GetCurrentTimeNanos() / 1'000'000,
                                  std::memory_order_relaxed);
}

// Nanoseconds per request.
template <class Work>
double Time(const std::vector<Request>& requests, Work work) {
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < kRequests; ++i) work(requests[i % requests.size()]);
  return std::chrono::duration<double, std::nano>(
             std::chrono::steady_clock::now() - start)
             .count() /
         kRequests;
}

}  // namespace

double RecordingNs() {
  metrics::ServerMetrics server("bench");
  const std::array<metrics::RoutingLayer, 1> layers = {{{0, 4}}};
  const metrics::ServerMetrics::Served served =
      server.Register({"m", "1", "fff", "cpu"}, {}, layers);
  const std::vector<Request> requests = SomeRequests();
  std::vector<double> differences;
  volatile uint64_t read = 0;
  for (int round = 0; round < kRounds; ++round) {
    const double off = Time(requests, [&](const Request& request) {
      read = request.queue_ns + request.compute_ns + request.total_ns +
             static_cast<uint64_t>(request.leaf);
    });
    const double on = Time(requests, [&](const Request& request) {
      read = request.queue_ns + request.compute_ns + request.total_ns +
             static_cast<uint64_t>(request.leaf);
      Record(served, request);
    });
    differences.push_back(on - off);
  }
  std::sort(differences.begin(), differences.end());
  return differences[differences.size() / 2];
}

}  // namespace fff::bench

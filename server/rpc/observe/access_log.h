#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "server/base/line_log.h"
#include "server/rpc/observe/trace_context.h"

namespace fff::rpc {

// What is known of a request when it is answered.
struct AccessEntry {
  int64_t unix_ms = 0;
  absl::string_view service;  // of the method, "fff.v1.InferenceService"
  absl::string_view method;
  absl::string_view model;           // as it was asked for
  absl::string_view implementation;  // that answered; "" = none
  int64_t version = 0;               // that answered; 0 = none
  absl::string_view request_id;
  int code = 0;               // of gRPC
  absl::string_view status;   // its name: "OK", "NOT_FOUND", ...
  absl::string_view message;  // of an error
  int64_t rows = 0;
  int64_t batch_rows = 0;
  int64_t request_bytes = 0;
  int64_t answer_bytes = 0;
  int64_t decode_ns = 0;
  int64_t queue_ns = 0;
  int64_t compute_ns = 0;
  int64_t encode_ns = 0;
  int64_t total_ns = 0;
  const TraceContext* trace = nullptr;  // null = none came
};

// One JSON object, without a newline. Durations are microseconds.
std::string ToJson(const AccessEntry& entry);

// Which requests are written, and where to. Thread-safe, never blocks.
class AccessLog {
 public:
  // Writes `share` (0 to 1) of the requests that succeed, evenly; those that
  // fail, and those whose trace the caller records, are all written.
  AccessLog(std::unique_ptr<base::LineLog> lines, double share)
      : lines_(std::move(lines)), share_(share) {}

  bool Wants(bool ok, bool traced);
  void Write(const AccessEntry& entry) { lines_->Add(ToJson(entry)); }
  void Reopen() { lines_->Reopen(); }

 private:
  const std::unique_ptr<base::LineLog> lines_;
  const double share_;
  std::atomic<uint64_t> seen_{0};
};

}  // namespace fff::rpc

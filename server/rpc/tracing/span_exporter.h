#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/rpc/tracing/request_span.h"
#include "server/rpc/tracing/span_sender.h"

namespace fff::rpc {

struct SpanExporterOptions {
  std::string receiver;  // in the process log
  ResourceAttributes resource;
  // Told of spans that the receiver has taken, and of those that it has not, on
  // any thread.
  std::function<void(uint64_t spans)> on_exported = [](uint64_t) {};
  std::function<void(uint64_t spans)> on_dropped = [](uint64_t) {};
  // How long spans wait for others before they are sent, and how long the
  // receiver may take.
  absl::Duration gather = absl::Seconds(1);
  absl::Duration timeout = absl::Seconds(10);
  // Between the first two tries of a batch; twice as much from try to try.
  absl::Duration retry = absl::Seconds(1);
};

// Sends the spans of requests to a receiver, in batches, on a thread of its
// own: whoever adds one never waits. A batch is tried five times where that may
// help. What comes meanwhile and does not fit any more is dropped and counted;
// the process log says once that it began and once that it ended, at most every
// minute. Thread-safe.
class SpanExporter {
 public:
  // Requests that wait, some hundred bytes each and 2 KiB at most.
  static constexpr size_t kWaitingMax = 4096;
  static constexpr size_t kBatchMax = 512;
  static constexpr int kTriesMax = 5;

  SpanExporter(SpanExporterOptions options, std::unique_ptr<SpanSender> sender);
  // Stop(now) unless that was called.
  ~SpanExporter();

  // False when it was dropped.
  bool Add(RequestSpan span);

  // Sends what waits, each batch once, until `deadline`; the rest is dropped.
  // Blocks until then at most. Spans that are added later are dropped.
  void Stop(absl::Time deadline);

 private:
  void Loop();
  bool ending();
  // Blocks until there is a batch; none once Stop was called and nothing waits.
  std::vector<RequestSpan> AwaitBatch();
  // False when the receiver is away at the end, so that nothing more is tried.
  bool Export(const std::vector<RequestSpan>& batch);
  void Encode(const std::vector<RequestSpan>& batch,
              otlp::ExportTraceServiceRequest& request) const;
  // Blocks until then, or until Stop is called.
  void AwaitRetry(absl::Duration delay);
  void CountTaken(uint64_t spans, const Sent& sent);
  void CountDropped(uint64_t spans);
  void DropWaiting();
  // On the exporter's thread: begins or ends the time of failures.
  void Report(const absl::Status& status);

  const SpanExporterOptions options_;
  const std::unique_ptr<SpanSender> sender_;
  std::atomic<uint64_t> dropped_{0};
  absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<RequestSpan> waiting_ ABSL_GUARDED_BY(mutex_);

  // The exporter's own.
  bool failing_ = false;       // and the process log says so
  uint64_t dropped_told_ = 0;  // those dropped before that
  absl::Time next_report_ = absl::InfinitePast();
  absl::Time next_rejected_report_ = absl::InfinitePast();

  std::thread thread_;
};

}  // namespace fff::rpc

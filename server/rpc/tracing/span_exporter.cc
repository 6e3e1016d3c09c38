#include "server/rpc/tracing/span_exporter.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/log.h"
#include "server/base/thread.h"

namespace fff::rpc {
namespace {

// Who made the spans. FFF_VERSION comes from CMake.
constexpr char kScopeName[] = "fff-server";
constexpr absl::Duration kRetryDelayMax = absl::Seconds(30);
constexpr absl::Duration kReportPause = absl::Minutes(1);

uint64_t SpansOf(const std::vector<RequestSpan>& requests) {
  uint64_t spans = 0;
  for (const RequestSpan& request : requests) spans += request.spans();
  return spans;
}

}  // namespace

SpanExporter::SpanExporter(SpanExporterOptions options,
                           std::unique_ptr<SpanSender> sender)
    : options_(std::move(options)), sender_(std::move(sender)) {
  {
    absl::MutexLock lock(&mutex_);
    waiting_.reserve(kWaitingMax);  // so that no request pays for its growth
  }
  thread_ = base::StartThread("fff-spans", [this] { Loop(); });
}

SpanExporter::~SpanExporter() { Stop(absl::InfinitePast()); }

bool SpanExporter::Add(RequestSpan span) {
  const uint64_t spans = span.spans();
  {
    absl::MutexLock lock(&mutex_);
    if (!ending_ && waiting_.size() < kWaitingMax) {
      waiting_.push_back(std::move(span));
      return true;
    }
  }
  CountDropped(spans);
  return false;
}

void SpanExporter::Stop(absl::Time deadline) {
  if (!thread_.joinable()) return;
  bool in_time = false;
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    in_time = mutex_.AwaitWithDeadline(absl::Condition(&ended_), deadline);
  }
  if (!in_time) sender_->Cancel();
  thread_.join();
}

void SpanExporter::Loop() {
  while (true) {
    const std::vector<RequestSpan> batch = AwaitBatch();
    if (batch.empty()) break;
    // A receiver that is away shall not hold up the end.
    if (!Export(batch)) DropWaiting();
  }
  absl::MutexLock lock(&mutex_);
  ended_ = true;
}

bool SpanExporter::ending() {
  absl::MutexLock lock(&mutex_);
  return ending_;
}

std::vector<RequestSpan> SpanExporter::AwaitBatch() {
  const auto some = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return ending_ || !waiting_.empty();
  };
  const auto enough = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return ending_ || waiting_.size() >= kBatchMax;
  };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&some));
  mutex_.AwaitWithTimeout(absl::Condition(&enough), options_.gather);
  const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(
                                          std::min(kBatchMax, waiting_.size()));
  std::vector<RequestSpan> batch(std::make_move_iterator(waiting_.begin()),
                                 std::make_move_iterator(end));
  waiting_.erase(waiting_.begin(), end);
  return batch;
}

bool SpanExporter::Export(const std::vector<RequestSpan>& batch) {
  google::protobuf::Arena arena;  // a batch has some ten thousand messages
  auto* request =
      google::protobuf::Arena::CreateMessage<otlp::ExportTraceServiceRequest>(
          &arena);
  Encode(batch, *request);
  const uint64_t spans = SpansOf(batch);
  absl::Duration delay = options_.retry;
  for (int attempt = 1;; ++attempt) {
    const bool at_end = ending();
    const Sent sent = sender_->Send(*request, options_.timeout);
    Report(sent.status);
    if (sent.status.ok()) {
      CountTaken(spans, sent);
      return true;
    }
    if (at_end || attempt == kTriesMax || !sent.retry) {
      CountDropped(spans);
      return !at_end;
    }
    AwaitRetry(std::max(delay, sent.retry_delay.value_or(delay)));
    delay *= 2;
  }
}

void SpanExporter::Encode(const std::vector<RequestSpan>& batch,
                          otlp::ExportTraceServiceRequest& request) const {
  otlp::ResourceSpans& process = *request.add_resource_spans();
  SetResource(options_.resource, *process.mutable_resource());
  otlp::ScopeSpans& scope = *process.add_scope_spans();
  scope.mutable_scope()->set_name(kScopeName);
  scope.mutable_scope()->set_version(FFF_VERSION);
  for (const RequestSpan& span : batch) AppendSpans(span, scope);
}

void SpanExporter::AwaitRetry(absl::Duration delay) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&ending_),
                          std::min(delay, kRetryDelayMax));
}

void SpanExporter::CountTaken(uint64_t spans, const Sent& sent) {
  const uint64_t rejected = static_cast<uint64_t>(
      std::clamp<int64_t>(sent.rejected, 0, static_cast<int64_t>(spans)));
  if (spans > rejected) options_.on_exported(spans - rejected);
  if (rejected == 0) return;
  CountDropped(rejected);
  if (absl::Now() < next_rejected_report_) return;
  next_rejected_report_ = absl::Now() + kReportPause;
  base::LogWarning(absl::StrCat(options_.receiver, " refused ", rejected,
                                " of ", spans,
                                " spans: ", base::Printable(sent.reason)));
}

void SpanExporter::CountDropped(uint64_t spans) {
  dropped_.fetch_add(spans, std::memory_order_relaxed);
  options_.on_dropped(spans);
}

void SpanExporter::DropWaiting() {
  uint64_t spans = 0;
  {
    absl::MutexLock lock(&mutex_);
    spans = SpansOf(waiting_);
    waiting_.clear();
  }
  if (spans > 0) CountDropped(spans);
}

void SpanExporter::Report(const absl::Status& status) {
  if (status.ok() != failing_) return;
  if (!status.ok()) {
    // A receiver on the brink fails and works in turns.
    if (absl::Now() < next_report_) return;
    next_report_ = absl::Now() + kReportPause;
    base::LogError(absl::StrCat(
        "cannot export spans to ", options_.receiver, ": ",
        base::Printable(status.ToString()),
        "; those that cannot wait are dropped and counted until that works "
        "again"));
  } else {
    const uint64_t dropped = dropped_.load(std::memory_order_relaxed);
    base::LogInfo(absl::StrCat("spans are exported to ", options_.receiver,
                               " again; ", dropped - dropped_told_,
                               " were dropped"));
    dropped_told_ = dropped;
  }
  failing_ = !status.ok();
}

}  // namespace fff::rpc

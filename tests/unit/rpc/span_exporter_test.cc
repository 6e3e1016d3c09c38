#include "server/rpc/tracing/span_exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace fff::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Sent Failure(bool retry) {
  Sent sent;
  sent.status = absl::UnavailableError("nobody there");
  sent.retry = retry;
  return sent;
}

// What a receiver gets, and what it answers: `answers` in their order, then OK.
struct Receiver {
  absl::Mutex mutex;
  bool open ABSL_GUARDED_BY(mutex) = true;  // else it lets its senders wait
  bool cancelled ABSL_GUARDED_BY(mutex) = false;
  int begun ABSL_GUARDED_BY(mutex) = 0;
  std::deque<Sent> answers ABSL_GUARDED_BY(mutex);
  std::vector<otlp::ExportTraceServiceRequest> got ABSL_GUARDED_BY(mutex);

  void Open(bool now) {
    absl::MutexLock lock(&mutex);
    open = now;
  }
  void Answer(std::vector<Sent> with) {
    absl::MutexLock lock(&mutex);
    answers.assign(with.begin(), with.end());
  }
  void AwaitBegun(int batches) {
    absl::MutexLock lock(&mutex);
    const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex) {
      return begun >= batches;
    };
    mutex.Await(absl::Condition(&there));
  }
  // Requests of each batch, whose spans are three each.
  std::vector<int> Batches() {
    absl::MutexLock lock(&mutex);
    std::vector<int> sizes;
    for (const auto& request : got) {
      sizes.push_back(request.resource_spans(0).scope_spans(0).spans_size() /
                      3);
    }
    return sizes;
  }
};

class FakeSender final : public SpanSender {
 public:
  explicit FakeSender(Receiver* receiver) : receiver_(receiver) {}

  Sent Send(const otlp::ExportTraceServiceRequest& request,
            absl::Duration /*timeout*/) override {
    absl::MutexLock lock(&receiver_->mutex);
    ++receiver_->begun;
    const auto may = [this]() ABSL_SHARED_LOCKS_REQUIRED(receiver_->mutex) {
      return receiver_->open || receiver_->cancelled;
    };
    receiver_->mutex.Await(absl::Condition(&may));
    if (receiver_->cancelled) return Failure(true);
    receiver_->got.push_back(request);
    if (receiver_->answers.empty()) return {};
    Sent answer = receiver_->answers.front();
    receiver_->answers.pop_front();
    return answer;
  }

  void Cancel() override {
    absl::MutexLock lock(&receiver_->mutex);
    receiver_->cancelled = true;
  }

 private:
  Receiver* const receiver_;
};

class SpanExporterTest : public ::testing::Test {
 protected:
  SpanExporterTest() {
    options_.receiver = "collector:4317";
    options_.resource = {{"service.name", "test"}};
    options_.on_exported = [this](uint64_t spans) { exported_ += spans; };
    options_.on_dropped = [this](uint64_t spans) { dropped_ += spans; };
    options_.gather = absl::ZeroDuration();
    options_.retry = absl::ZeroDuration();
  }

  void Start() {
    exporter_ = std::make_unique<SpanExporter>(
        options_, std::make_unique<FakeSender>(&receiver_));
  }
  // Requests that were answered well: three spans each.
  void Add(size_t requests) {
    for (size_t i = 0; i < requests; ++i) exporter_->Add(RequestSpan());
  }
  void AwaitDropped(uint64_t spans) const {
    while (dropped_ < spans) std::this_thread::yield();
  }
  // Sends what waits.
  void Stop() { exporter_->Stop(absl::InfiniteFuture()); }

  SpanExporterOptions options_;
  std::atomic<uint64_t> exported_{0};
  std::atomic<uint64_t> dropped_{0};
  Receiver receiver_;
  std::unique_ptr<SpanExporter> exporter_;
};

TEST_F(SpanExporterTest, SendsWhatWaitsBeforeItEnds) {
  options_.gather = absl::InfiniteDuration();
  Start();
  Add(3);
  Stop();
  EXPECT_THAT(receiver_.Batches(), ElementsAre(3));
  EXPECT_EQ(exported_, 9u);
  EXPECT_EQ(dropped_, 0u);
  absl::MutexLock lock(&receiver_.mutex);
  const otlp::ResourceSpans& process = receiver_.got[0].resource_spans(0);
  EXPECT_EQ(process.resource().attributes(0).value().string_value(), "test");
  EXPECT_EQ(process.scope_spans(0).scope().name(), "fff-server");
  EXPECT_EQ(process.scope_spans(0).scope().version(), FFF_VERSION);
}

TEST_F(SpanExporterTest, SendsByItselfOnceTheTimeToGatherIsOver) {
  Start();
  Add(1);
  receiver_.AwaitBegun(1);
  Stop();
  EXPECT_THAT(receiver_.Batches(), ElementsAre(1));
}

TEST_F(SpanExporterTest, AFullBatchWaitsForNoTime) {
  options_.gather = absl::InfiniteDuration();
  Start();
  Add(SpanExporter::kBatchMax);
  receiver_.AwaitBegun(1);
  Stop();
  EXPECT_THAT(receiver_.Batches(), ElementsAre(SpanExporter::kBatchMax));
}

TEST_F(SpanExporterTest, WhatComesWhileTheReceiverIsBusyGoesInBatches) {
  receiver_.Open(false);
  Start();
  Add(1);
  receiver_.AwaitBegun(1);
  Add(SpanExporter::kBatchMax + 10);
  receiver_.Open(true);
  Stop();
  EXPECT_THAT(receiver_.Batches(), ElementsAre(1, SpanExporter::kBatchMax, 10));
}

TEST_F(SpanExporterTest, WhatDoesNotFitIsDroppedAtOnceAndCounted) {
  receiver_.Open(false);
  Start();
  Add(1);
  receiver_.AwaitBegun(1);
  for (size_t i = 0; i < SpanExporter::kWaitingMax; ++i) {
    ASSERT_TRUE(exporter_->Add(RequestSpan()));
  }
  EXPECT_FALSE(exporter_->Add(RequestSpan()));
  RequestSpan failed;
  failed.code = 5;
  EXPECT_FALSE(exporter_->Add(failed));
  EXPECT_EQ(dropped_, 4u);
  receiver_.Open(true);
  Stop();
  EXPECT_EQ(exported_, 3 * (SpanExporter::kWaitingMax + 1));
}

TEST_F(SpanExporterTest, ManyThreadsLoseNothingUnseen) {
  Start();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([this] { Add(3000); });
  for (std::thread& thread : threads) thread.join();
  Stop();
  EXPECT_EQ(exported_ + dropped_, 36'000u);
}

TEST_F(SpanExporterTest, TriesABatchAgainWhereThatMayPass) {
  receiver_.Answer({Failure(true), Failure(true)});
  Start();
  Add(1);
  receiver_.AwaitBegun(3);
  Stop();
  EXPECT_THAT(receiver_.Batches(), ElementsAre(1, 1, 1));
  EXPECT_EQ(exported_, 3u);
  EXPECT_EQ(dropped_, 0u);
}

TEST_F(SpanExporterTest, DropsABatchThatCannotPass) {
  receiver_.Answer({Failure(false)});
  Start();
  Add(1);
  AwaitDropped(3);
  Add(1);
  Stop();
  EXPECT_EQ(dropped_, 3u);
  EXPECT_EQ(exported_, 3u);
}

TEST_F(SpanExporterTest, GivesABatchUpAfterSomeTries) {
  receiver_.Answer(std::vector<Sent>(SpanExporter::kTriesMax, Failure(true)));
  Start();
  Add(1);
  AwaitDropped(3);
  Add(1);
  Stop();
  EXPECT_EQ(dropped_, 3u);
  EXPECT_EQ(exported_, 3u);
}

TEST_F(SpanExporterTest, CountsWhatTheReceiverRefusesOfABatch) {
  Sent some;
  some.rejected = 2;
  some.reason = "too old";
  Sent nonsense;
  nonsense.rejected = 1'000'000;
  receiver_.Answer({some, nonsense});
  Start();
  testing::internal::CaptureStderr();
  Add(1);
  receiver_.AwaitBegun(1);
  Add(1);
  Stop();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("collector:4317 refused 2 of 3 spans: too old"));
  EXPECT_EQ(exported_, 1u);
  EXPECT_EQ(dropped_, 5u);
}

TEST_F(SpanExporterTest, TheEndWaitsForNoReceiverPastItsTime) {
  receiver_.Open(false);
  Start();
  Add(5);
  receiver_.AwaitBegun(1);
  Add(3 * SpanExporter::kBatchMax);
  exporter_->Stop(absl::InfinitePast());
  EXPECT_EQ(exported_, 0u);
  EXPECT_EQ(dropped_, 3 * (5 + 3 * SpanExporter::kBatchMax));
  // The first batch was tried once more, the others were not.
  absl::MutexLock lock(&receiver_.mutex);
  EXPECT_EQ(receiver_.begun, 2);
}

TEST_F(SpanExporterTest, TheEndDoesNotWaitForTheNextTry) {
  options_.retry = absl::InfiniteDuration();
  receiver_.Answer({Failure(true), Failure(true)});
  Start();
  Add(1);
  receiver_.AwaitBegun(1);
  Stop();  // tries once more
  EXPECT_THAT(receiver_.Batches(), ElementsAre(1, 1));
  EXPECT_EQ(dropped_, 3u);
}

TEST_F(SpanExporterTest, SpansAfterTheEndAreDropped) {
  Start();
  Stop();
  EXPECT_FALSE(exporter_->Add(RequestSpan()));
  EXPECT_EQ(dropped_, 3u);
  Stop();  // once more changes nothing
}

TEST_F(SpanExporterTest, TellsOnceThatItFailsAndOnceThatItWorksAgain) {
  receiver_.Answer({Failure(true), Failure(true), Failure(false)});
  Start();
  testing::internal::CaptureStderr();
  Add(1);
  AwaitDropped(3);
  Add(1);
  Stop();
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("cannot export spans to collector:4317: "
                             "UNAVAILABLE: nobody there; "));
  EXPECT_THAT(log.substr(log.find("cannot export") + 1),
              Not(HasSubstr("cannot export")));
  EXPECT_THAT(log,
              HasSubstr("spans are exported to collector:4317 again; 3 were "
                        "dropped"));
}

}  // namespace
}  // namespace fff::rpc

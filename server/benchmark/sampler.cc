#include "server/benchmark/sampler.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "server/base/clock.h"

namespace fff::benchmark {
namespace {

// steady_clock costs 20 to 30 ns a reading here: 0.1 % of a sample.
constexpr double kSampleSecondsMin = 50e-6;
constexpr int64_t kRepetitionsMax = int64_t{1} << 20;
// Refilling the caches costs milliseconds at most, nothing beside such a call.
constexpr double kLongCallSeconds = 0.05;
// Quantiles do not get better, only memory larger.
constexpr size_t kSamplesMax = 100000;

}  // namespace

Sampler::Sampler(const model::Model& model, const InputRows& inputs,
                 absl::Span<const tensor::MutableRows> outputs,
                 engine::ExecutionContext& context, CacheFlusher* flusher)
    : model_(model),
      inputs_(inputs),
      outputs_(outputs),
      context_(context),
      flusher_(flusher) {}

double Sampler::TimeCalls(int64_t calls) {
  if (flusher_ != nullptr) flusher_->Flush();
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < calls; ++i) {
    model_.Run({inputs_.inputs(next_batch_++), outputs_, {}}, context_);
  }
  return base::SecondsSince(start) / static_cast<double>(calls);
}

void Sampler::Calibrate() {
  call_s_ = TimeCalls(1);
  if (call_s_ < kLongCallSeconds) call_s_ = TimeCalls(1);
  if (flusher_ != nullptr) return;
  while (call_s_ * static_cast<double>(repetitions_) < kSampleSecondsMin &&
         repetitions_ < kRepetitionsMax) {
    repetitions_ *= 2;
    call_s_ = TimeCalls(repetitions_);
  }
}

void Sampler::SampleBlock(double block_s) {
  const auto start = std::chrono::steady_clock::now();
  if (flusher_ == nullptr && call_s_ < kLongCallSeconds) TimeCalls(1);
  do {
    const double call_s = TimeCalls(repetitions_);
    if (samples_s_.size() < kSamplesMax) samples_s_.push_back(call_s);
  } while (base::SecondsSince(start) < block_s);
  spent_s_ += base::SecondsSince(start);
}

}  // namespace fff::benchmark

#include "server/engine/kernel_stopwatch.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "server/base/check.h"
#include "server/base/clock.h"

namespace fff::engine {
namespace {

using Clock = std::chrono::steady_clock;

// Shorter samples are repeated: reading the clock takes 30 ns.
constexpr double kSampleSecondsMin = 10e-6;
constexpr int64_t kRepetitionsMax = 1024;
constexpr int64_t kFloatsMax = int64_t{16} << 20;
// Different rows that small batches go round, of a few MB at most: 64 rows of
// 65,535 numbers took 0.2 s to draw.
constexpr int64_t kRowsInAllMin = 64;
constexpr int64_t kDrawnFloatsMax = int64_t{512} << 10;

// Rows that touch other nodes and leaves from row to row.
tensor::FloatBuffer RandomRows(int64_t size) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  tensor::FloatBuffer values(size);
  for (float& value : values.span()) value = normal(random);
  return values;
}

}  // namespace

KernelStopwatch::KernelStopwatch(std::vector<const Kernel*> kernels,
                                 int64_t input_width, int64_t output_width)
    : kernels_(std::move(kernels)),
      input_width_(input_width),
      output_width_(output_width),
      rows_max_(kFloatsMax / (input_width + output_width)),
      context_(/*threads=*/1) {
  context_.set_finite_input(true);
}

void KernelStopwatch::Prepare(int64_t rows) {
  rows_ = rows;
  rows_in_all_ = std::max(
      rows, std::min({kRowsInAllMin, rows_max_,
                      std::max<int64_t>(1, kDrawnFloatsMax / input_width_)}));
  calls_.assign(kernels_.size(), 0);
  turns_.assign(kernels_.size(), 0);
  if (x_.size() < rows_in_all_ * input_width_) {
    x_ = RandomRows(rows_in_all_ * input_width_);
  }
  if (y_.size() < rows * output_width_) {
    y_ = tensor::FloatBuffer(rows * output_width_);
  }
}

double KernelStopwatch::TimeCalls(size_t k, int64_t calls) {
  const Kernel& kernel = *kernels_[k];
  const int64_t different = std::max<int64_t>(1, rows_in_all_ / rows_);
  const auto start = Clock::now();
  for (int64_t i = 0; i < calls; ++i) {
    const int64_t first = turns_[k]++ % different * rows_;
    kernel.Run({x_.data() + first * input_width_, rows_, input_width_},
               {y_.data(), rows_, output_width_}, {}, context_);
  }
  return base::SecondsSince(start) / static_cast<double>(calls);
}

double KernelStopwatch::Sample(size_t k, int64_t rows) {
  FFF_CHECK(k < kernels_.size() && rows > 0 && rows <= rows_max_);
  if (rows != rows_) Prepare(rows);
  if (calls_[k] == 0) {
    // Also faults pages in and builds what is built on first use.
    TimeCalls(k, 1);
    const double once = TimeCalls(k, 1);
    calls_[k] = std::clamp<int64_t>(
        static_cast<int64_t>(kSampleSecondsMin / std::max(once, 1e-9)) + 1, 1,
        kRepetitionsMax);
  }
  return TimeCalls(k, calls_[k]);
}

}  // namespace fff::engine

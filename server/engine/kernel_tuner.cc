#include "server/engine/kernel_tuner.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>

#include "server/engine/execution_context.h"
#include "server/tensor/float_array.h"

namespace fff::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTurns = 5;
// Shorter samples are repeated: reading the clock takes 30 ns.
constexpr double kSampleSecondsMin = 10e-6;
constexpr int64_t kRepetitionsMax = 1024;
constexpr double kTie = 1.05;
constexpr int64_t kFloatsMax = int64_t{16} << 20;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Rows that touch other nodes and leaves from row to row.
tensor::FloatBuffer RandomRows(int64_t size) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  tensor::FloatBuffer values(size);
  for (float& value : values.span()) value = normal(random);
  return values;
}

// The batch of one measurement: calls take its rows by turns, so that small
// batches do not stay on one path.
struct Batches {
  const tensor::FloatBuffer& x;
  tensor::FloatBuffer& y;
  int64_t input_width;
  int64_t output_width;
  int64_t rows_in_all;
};

double TimeCalls(const Kernel& kernel, const Batches& batches, int64_t rows,
                 int64_t calls, ExecutionContext& context) {
  const int64_t different = std::max<int64_t>(1, batches.rows_in_all / rows);
  const auto start = Clock::now();
  for (int64_t i = 0; i < calls; ++i) {
    const int64_t first = i % different * rows;
    kernel.Run({batches.x.data() + first * batches.input_width, rows,
                batches.input_width},
               {batches.y.data(), rows, batches.output_width}, {}, context);
  }
  return SecondsSince(start) / static_cast<double>(calls);
}

TunedTimes MeasureAt(absl::Span<const Kernel* const> kernels,
                     const Batches& batches, int64_t rows,
                     ExecutionContext& context) {
  TunedTimes times;
  times.rows = rows;
  std::vector<int64_t> calls;
  for (const Kernel* kernel : kernels) {
    // Also faults pages in and builds what is built on first use.
    TimeCalls(*kernel, batches, rows, 1, context);
    const double once = TimeCalls(*kernel, batches, rows, 1, context);
    calls.push_back(std::clamp<int64_t>(
        static_cast<int64_t>(kSampleSecondsMin / std::max(once, 1e-9)) + 1, 1,
        kRepetitionsMax));
    times.seconds.push_back(std::numeric_limits<double>::infinity());
  }
  for (int turn = 0; turn < kTurns; ++turn) {
    for (size_t k = 0; k < kernels.size(); ++k) {
      times.seconds[k] =
          std::min(times.seconds[k],
                   TimeCalls(*kernels[k], batches, rows, calls[k], context));
    }
  }
  return times;
}

}  // namespace

std::vector<TunedTimes> MeasureKernels(absl::Span<const Kernel* const> kernels,
                                       int64_t input_width,
                                       int64_t output_width, int64_t rows_max,
                                       double budget_s) {
  std::vector<TunedTimes> all;
  const int64_t rows_fit =
      std::min(rows_max, kFloatsMax / (input_width + output_width));
  if (budget_s <= 0 || rows_fit < 1) return all;
  const auto start = Clock::now();
  ExecutionContext context(/*threads=*/1);
  tensor::FloatBuffer x;
  tensor::FloatBuffer y;
  double last_s = 0;
  for (int64_t rows = 1; rows <= rows_fit; rows *= 2) {
    // Twice the rows take about twice the time, drawing them included.
    if (rows > 1 && SecondsSince(start) + 2 * last_s > budget_s) break;
    const auto began = Clock::now();
    const int64_t rows_in_all = std::max(rows, std::min<int64_t>(64, rows_fit));
    if (x.size() < rows_in_all * input_width) {
      x = RandomRows(rows_in_all * input_width);
    }
    if (y.size() < rows * output_width) {
      y = tensor::FloatBuffer(rows * output_width);
    }
    all.push_back(MeasureAt(kernels,
                            {x, y, input_width, output_width, rows_in_all},
                            rows, context));
    last_s = SecondsSince(began);
  }
  return all;
}

size_t FastestKernel(absl::Span<const double> seconds, size_t predicted) {
  const auto least = std::min_element(seconds.begin(), seconds.end());
  if (seconds[predicted] <= *least * kTie) return predicted;
  return static_cast<size_t>(least - seconds.begin());
}

}  // namespace fff::engine

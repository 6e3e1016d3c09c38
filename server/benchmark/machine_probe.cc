#include "server/benchmark/machine_probe.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>

#include "server/base/clock.h"
#include "server/base/cpu_info.h"
#include "server/engine/kernel_plan.h"
#include "server/tensor/random.h"

namespace fff::benchmark {
namespace {

constexpr int64_t kMiB = 1 << 20;
constexpr int kCopies = 5;
constexpr int kProducts = 8;
constexpr int64_t kPeakWidth = 1024;
// A slow machine repeats less often: under emulation a product takes seconds.
constexpr double kRepeatSeconds = 1;

int64_t LastCacheBytes() {
  const base::CpuInfo cpu = base::ReadCpuInfo();
  const int64_t known = std::max(cpu.l2_bytes, cpu.l3_bytes);
  return known > 0 ? known : 32 * kMiB;
}

// Seconds of the fastest of up to `times` calls, after one that also pays for
// page faults and start-up. One more is timed at least.
template <class Call>
double FastestSeconds(int times, const Call& call) {
  call();
  const auto begin = std::chrono::steady_clock::now();
  double best_s = 0;
  for (int i = 0; i < times; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    const double seconds = base::SecondsSince(start);
    if (i == 0 || seconds < best_s) best_s = seconds;
    if (base::SecondsSince(begin) > kRepeatSeconds) break;
  }
  return best_s;
}

}  // namespace

double MeasureCopyGbps(engine::ExecutionContext& context) {
  const int64_t bytes = std::clamp(4 * LastCacheBytes(), 64 * kMiB, 256 * kMiB);
  const int64_t floats = bytes / static_cast<int64_t>(sizeof(float));
  tensor::FloatBuffer from(floats);
  tensor::FloatBuffer to(floats);
  std::fill_n(from.data(), floats, 1.0F);
  const auto copy = [&](int64_t begin, int64_t end, int) {
    std::memcpy(to.data() + begin, from.data() + begin,
                static_cast<size_t>(end - begin) * sizeof(float));
  };
  const int64_t grain = std::max<int64_t>(1, floats / context.threads());
  const double best_s = FastestSeconds(
      kCopies, [&] { context.ParallelFor(floats, grain, copy); });
  return best_s > 0 ? 2 * static_cast<double>(bytes) / best_s / 1e9 : 0;
}

double MeasurePeakGflops(engine::ExecutionContext& context) {
  auto weights = std::make_shared<graph::DenseWeights>();
  weights->problem.input_width = kPeakWidth;
  weights->problem.output_width = kPeakWidth;
  const tensor::FloatArray x = tensor::RandomNormal(kPeakWidth * kPeakWidth);
  weights->w = x;
  tensor::FloatBuffer y(kPeakWidth * kPeakWidth);
  const auto plan = engine::PlanDense(weights, {});
  if (!plan.ok()) return 0;
  constexpr double kFlops = 2.0 * kPeakWidth * kPeakWidth * kPeakWidth;
  const double best_s = FastestSeconds(kProducts, [&] {
    plan->Run({x.data(), kPeakWidth, kPeakWidth},
              {y.data(), kPeakWidth, kPeakWidth}, {}, context);
  });
  return best_s > 0 ? kFlops / best_s / 1e9 : 0;
}

CacheFlusher::CacheFlusher()
    : buffer_(2 * LastCacheBytes() / static_cast<int64_t>(sizeof(float))) {}

void CacheFlusher::Flush() {
  // A new value each time, so that no write can be left out.
  next_ += 1;
  std::fill_n(buffer_.data(), buffer_.size(), next_);
}

}  // namespace fff::benchmark

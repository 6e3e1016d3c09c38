#include "server/engine/device/host_copies.h"

#include <algorithm>
#include <limits>

#include "server/base/check.h"
#include "server/base/status_macros.h"

namespace fff::engine {
namespace {

// Waking a thread takes up to 50 us, in which one thread copies 256 KiB. The
// least that is worth a thread of its own takes it 10 us.
constexpr int64_t kSharedBytesMin = int64_t{256} << 10;
constexpr int64_t kThreadBytesMin = int64_t{64} << 10;
constexpr double kFewerThreadsCost = 1.1;
// Larger than what a core caches, as batches are that need several threads.
constexpr int64_t kSampleBytes = int64_t{8} << 20;
constexpr int64_t kSampleWidth = 1024;
constexpr int kSamples = 3;

// Seconds of a copy in and one out; the least of a few, after one that faults
// pages in and wakes the threads.
double TimeCopies(HostCopies& copies, const Device& device, void* locked,
                  tensor::MutableRows rows) {
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= kSamples; ++i) {
    const double start = device.NowSeconds();
    copies.In({rows.data, rows.rows, rows.width}, WeightType::kFp32, rows.width,
              locked);
    copies.Out(locked, WeightType::kFp32, rows.width, rows);
    if (i > 0) least = std::min(least, device.NowSeconds() - start);
  }
  return least;
}

}  // namespace

int ThreadsToCopyWith(const std::vector<std::pair<int, double>>& measured) {
  FFF_CHECK(!measured.empty());
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [threads, seconds] : measured) {
    least = std::min(least, seconds);
  }
  for (const auto& [threads, seconds] : measured) {
    if (seconds <= kFewerThreadsCost * least) return threads;
  }
  return measured[0].first;  // no clock
}

absl::StatusOr<std::unique_ptr<HostCopies>> HostCopies::Measured(
    Device& device, int threads_max) {
  FFF_ASSIGN_OR_RETURN(const Buffer locked,
                       Buffer::MakeHost(device, kSampleBytes));
  std::vector<float> floats(kSampleBytes / sizeof(float));
  const tensor::MutableRows rows = {
      floats.data(), static_cast<int64_t>(floats.size()) / kSampleWidth,
      kSampleWidth};
  std::vector<std::pair<int, double>> measured;
  for (int threads = 1; threads <= std::max(threads_max, 1); threads *= 2) {
    HostCopies copies(threads);
    measured.emplace_back(threads,
                          TimeCopies(copies, device, locked.data(), rows));
  }
  return std::make_unique<HostCopies>(ThreadsToCopyWith(measured));
}

int HostCopies::threads() const {
  absl::MutexLock lock(&mutex_);
  return context_.threads();
}

void HostCopies::Share(int64_t rows, int64_t row_bytes,
                       absl::FunctionRef<void(int64_t, int64_t)> copy) {
  if (rows * row_bytes < kSharedBytesMin) {
    copy(0, rows);
    return;
  }
  absl::MutexLock lock(&mutex_);
  context_.ParallelFor(
      rows, std::max<int64_t>(1, kThreadBytesMin / row_bytes),
      [&](int64_t begin, int64_t end, int) { copy(begin, end); });
}

void HostCopies::In(tensor::ConstRows x, WeightType type, int64_t pitch,
                    void* to) {
  const int64_t stride = pitch * BytesOf(type);
  char* const bytes = static_cast<char*>(to);
  Share(x.rows, stride, [&](int64_t begin, int64_t end) {
    if (x.width == pitch) {
      NarrowRow(type, x.row(begin), (end - begin) * pitch,
                bytes + begin * stride);
      return;
    }
    for (int64_t r = begin; r < end; ++r) {
      NarrowRow(type, x.row(r), x.width, bytes + r * stride);
    }
  });
}

void HostCopies::Out(const void* from, WeightType type, int64_t pitch,
                     tensor::MutableRows y) {
  const int64_t stride = pitch * BytesOf(type);
  const char* const bytes = static_cast<const char*>(from);
  Share(y.rows, stride, [&](int64_t begin, int64_t end) {
    if (y.width == pitch) {
      WidenRow(type, bytes + begin * stride, (end - begin) * pitch,
               y.row(begin));
      return;
    }
    for (int64_t r = begin; r < end; ++r) {
      WidenRow(type, bytes + r * stride, y.width, y.row(r));
    }
  });
}

}  // namespace fff::engine

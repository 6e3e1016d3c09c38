#include "tests/gpu/copies_bench.h"

#include <cstdio>
#include <string>
#include <vector>

#include "server/base/check.h"
#include "server/base/cpu_info.h"
#include "server/engine/device/program.h"
#include "tests/gpu/timed_chain.h"

namespace fff::gpu {
namespace {

constexpr int64_t kRows[] = {1, 16, 64, 256, 1024, 4096, 16384};
constexpr int64_t kRowsMax = 16384;
constexpr int64_t kBatches = 3;  // of kRowsMax rows
constexpr int kRepeats = 15;

struct Setting {
  int threads = 8;
  int lanes_per_batch = 3;
  int64_t piece_rows = 0;  // 0: the program's own choice
  double tuning_seconds = 0.1;
};

class CopiesBench {
 public:
  CopiesBench(engine::Device& device, const engine::DeviceChain& chain)
      : device_(device),
        chain_(chain),
        x_(Noise(kBatches * kRowsMax, chain.input_width, chain.input_width)),
        y_(static_cast<size_t>(kRowsMax * chain.input_width)) {}

  // One line of microseconds, a column per batch size.
  void Print(const Setting& setting) {
    engine::HostCopies copies(setting.threads);
    engine::DeviceOptions options;
    options.lanes_per_batch = setting.lanes_per_batch;
    options.rows_max = setting.piece_rows;
    options.tuning_seconds = setting.tuning_seconds;
    const auto program = engine::Program::Make(engine::GraphOf(chain_), options,
                                               {&device_}, copies);
    FFF_CHECK(program.ok());
    std::printf("%7d %5d %6d %6.1f", setting.threads, setting.lanes_per_batch,
                static_cast<int>(setting.piece_rows), setting.tuning_seconds);
    const int64_t width = chain_.input_width;
    for (const int64_t rows : kRows) {
      const auto seconds =
          TimeCalls(**program, {x_.data(), kBatches * kRowsMax, width},
                    {y_.data(), rows, width}, kRepeats);
      std::printf(" %9.1f", seconds.ok() ? 1e6 * *seconds : -1);
    }
    std::printf("\n");
    std::fflush(stdout);
  }

 private:
  engine::Device& device_;
  const engine::DeviceChain& chain_;
  std::vector<float> x_;
  std::vector<float> y_;
};

}  // namespace

std::unique_ptr<engine::HostCopies> MeasuredCopies(engine::Device& device) {
  const engine::UseDevice use(device);
  auto copies =
      engine::HostCopies::Measured(device, (base::AvailableCpus() + 1) / 2);
  FFF_CHECK(copies.ok());
  return *std::move(copies);
}

void MeasureCopies(engine::Device& device, const engine::DeviceChain& chain) {
  std::printf("chosen: %d of %d threads\n", MeasuredCopies(device)->threads(),
              base::AvailableCpus());
  CopiesBench bench(device, chain);
  std::printf("threads lanes  piece tuning  us at rows:");
  for (const int64_t rows : kRows) std::printf(" %d", static_cast<int>(rows));
  std::printf("\n");
  for (int threads = 1; threads <= base::AvailableCpus(); threads *= 2) {
    bench.Print({threads});
  }
  for (const int lanes : {1, 2, 4}) bench.Print({8, lanes});
  for (const int64_t piece : {512, 1024, 2048, 4096}) {
    bench.Print({8, 3, piece});
  }
  bench.Print({8, 3, 0, 0});  // small batches with copies
}

}  // namespace fff::gpu

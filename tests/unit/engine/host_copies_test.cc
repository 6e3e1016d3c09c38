// Rows between a caller's memory and page-locked memory.
#include "server/engine/device/host_copies.h"

#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/engine/fake_device.h"
#include "tests/unit/engine/small_layers.h"

namespace fff::engine {
namespace {

// Some batches of the grid are shared by threads, some are not; with and
// without padding.
TEST(HostCopiesTest, RowsOfEverySizeGoInAndComeBack) {
  HostCopies copies(3);
  for (const int64_t width : {1, 7, 8, 1000}) {
    for (const int64_t rows : {1, 2, 100, 1001}) {
      const int64_t pitch = PitchOf(width);
      const tensor::FloatArray x = Integers(rows * width, rows);
      std::vector<float> locked(static_cast<size_t>(rows * pitch), -7);
      copies.In({x.data(), rows, width}, WeightType::kFp32, pitch,
                locked.data());
      std::vector<float> back(static_cast<size_t>(rows * width));
      copies.Out(locked.data(), WeightType::kFp32, pitch,
                 {back.data(), rows, width});
      EXPECT_EQ(back, std::vector<float>(x.data(), x.data() + x.size()));
      for (int64_t i = 0; i < rows * pitch; ++i) {
        if (i % pitch < width) continue;
        ASSERT_EQ(locked[static_cast<size_t>(i)], -7) << "padding was written";
      }
    }
  }
}

TEST(HostCopiesTest, Bf16IsHalfAsLarge) {
  HostCopies copies(2);
  const int64_t rows = 3000;
  const int64_t width = 64;
  const tensor::FloatArray x = Integers(rows * width, 1);
  std::vector<uint16_t> locked(static_cast<size_t>(rows * width) + 1, 9);
  copies.In({x.data(), rows, width}, WeightType::kBf16, width, locked.data());
  EXPECT_EQ(locked.back(), 9);
  std::vector<float> back(static_cast<size_t>(rows * width));
  copies.Out(locked.data(), WeightType::kBf16, width,
             {back.data(), rows, width});
  EXPECT_EQ(back, std::vector<float>(x.data(), x.data() + x.size()));
}

TEST(HostCopiesTest, ManyBatchesAtOnce) {
  HostCopies copies(2);
  std::vector<std::thread> batches;
  for (int i = 0; i < 4; ++i) {
    batches.emplace_back([&copies, i] {
      const int64_t rows = 500 + i;
      const tensor::FloatArray x = Integers(rows * 512, i);
      std::vector<float> locked(static_cast<size_t>(rows * 512));
      for (int turn = 0; turn < 5; ++turn) {
        copies.In({x.data(), rows, 512}, WeightType::kFp32, 512, locked.data());
      }
      EXPECT_EQ(locked, std::vector<float>(x.data(), x.data() + x.size()));
    });
  }
  for (std::thread& batch : batches) batch.join();
}

TEST(ThreadsToCopyWithTest, TheFewestThatAreAsFastAsTheFastest) {
  using Measured = std::vector<std::pair<int, double>>;
  EXPECT_EQ(ThreadsToCopyWith({{1, 5.0}}), 1);
  EXPECT_EQ(ThreadsToCopyWith({{1, 9.7}, {2, 3.9}, {4, 1.2}, {8, 0.67}}), 8);
  EXPECT_EQ(ThreadsToCopyWith({{1, 9.7}, {2, 3.9}, {4, 0.7}, {8, 0.67}}), 4);
  EXPECT_EQ(ThreadsToCopyWith({{1, 1.0}, {2, 1.0}, {4, 2.0}}), 1);
  EXPECT_EQ(ThreadsToCopyWith(Measured{{1, 0}, {2, 0}}), 1) << "no clock";
}

TEST(HostCopiesTest, MeasuresNoMoreThreadsThanThereAre) {
  FakeDevice device;
  const UseDevice use(device);
  for (const int threads_max : {0, 1, 3}) {
    const auto copies = HostCopies::Measured(device, threads_max);
    ASSERT_TRUE(copies.ok()) << copies.status();
    EXPECT_EQ((*copies)->threads(), 1) << "the fake's clock stands still";
  }
}

TEST(HostCopiesTest, WithoutPageLockedMemoryThereAreNone) {
  FakeDevice device(1 << 20);
  const UseDevice use(device);
  EXPECT_TRUE(
      absl::IsResourceExhausted(HostCopies::Measured(device, 2).status()));
}

}  // namespace
}  // namespace fff::engine

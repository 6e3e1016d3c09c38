// What lies where on a device: rows with a pitch, weights, pieces of a batch.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/device/chain.h"
#include "server/engine/device/lane.h"
#include "tests/unit/engine/device_chain.h"
#include "tests/unit/engine/fake_device.h"
#include "tests/unit/engine/small_layers.h"

namespace fff::engine {
namespace {

using testing::ElementsAre;

TEST(NarrowRowTest, Bf16RoundsToTheNearestAndTiesToEven) {
  const std::vector<float> from = {1.0F, 1.0F + 0x1p-8F, 1.0F + 0x1.8p-7F,
                                   -1.0F - 0x1.1p-8F, 3.4e38F};
  std::vector<uint16_t> narrow(from.size());
  NarrowRow(WeightType::kBf16, from.data(), 5, narrow.data());
  std::vector<float> back(from.size());
  WidenRow(WeightType::kBf16, narrow.data(), 5, back.data());
  EXPECT_THAT(back, ElementsAre(1.0F, 1.0F, 1.0F + 0x1p-6F, -1.0F - 0x1p-7F,
                                std::numeric_limits<float>::infinity()));
}

TEST(NarrowRowTest, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  uint16_t narrow = 0;
  NarrowRow(WeightType::kBf16, &nan, 1, &narrow);
  float back = 0;
  WidenRow(WeightType::kBf16, &narrow, 1, &back);
  EXPECT_TRUE(std::isnan(back));
}

TEST(NarrowRowTest, Fp32IsCopied) {
  const std::vector<float> from = {1.5F, -0.0F, 3e-39F};
  std::vector<float> to(3);
  NarrowRow(WeightType::kFp32, from.data(), 3, to.data());
  EXPECT_EQ(std::memcmp(from.data(), to.data(), 3 * sizeof(float)), 0);
}

TEST(UploadTest, RowsArePaddedWithZerosToTheirPitch) {
  FakeDevice device;
  const UseDevice use(device);
  const std::vector<float> numbers = {1, 2, 3, 4, 5, 6};
  const auto buffer =
      Upload(device, WeightType::kFp32,
             {2, 3, [&](int64_t row) { return numbers.data() + row * 3; }});
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  EXPECT_EQ(buffer->size(), 2 * 8 * 4);
  const float* const got = buffer->As<const float>();
  EXPECT_THAT(std::vector<float>(got, got + 16),
              ElementsAre(1, 2, 3, 0, 0, 0, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0));
}

TEST(UploadTest, AStrideReadsAMatrixTransposed) {
  FakeDevice device;
  const UseDevice use(device);
  const std::vector<float> numbers = {1, 2, 3, 4, 5, 6};  // [2, 3]
  const auto buffer =
      Upload(device, WeightType::kBf16,
             {3, 2, [&](int64_t row) { return numbers.data() + row; }, 3});
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  std::vector<float> got(24);
  WidenRow(WeightType::kBf16, buffer->data(), 24, got.data());
  EXPECT_THAT(std::vector<float>(
                  {got[0], got[1], got[8], got[9], got[16], got[17], got[2]}),
              ElementsAre(1, 4, 2, 5, 3, 6, 0));
}

TEST(UploadTest, NoRowsTakeNoMemory) {
  FakeDevice device;
  const UseDevice use(device);
  const auto buffer = Upload(device, WeightType::kFp32, {0, 3, nullptr});
  ASSERT_TRUE(buffer.ok()) << buffer.status();
  EXPECT_EQ(buffer->data(), nullptr);
  EXPECT_EQ(device.allocations, 0);
}

TEST(BufferTest, CopiesShareTheMemoryAndTheLastOneFreesIt) {
  FakeDevice device;
  const UseDevice use(device);
  auto made = Buffer::Make(device, 100);
  ASSERT_TRUE(made.ok()) << made.status();
  Buffer first = *std::move(made);
  made = Buffer();
  Buffer second = first;
  EXPECT_EQ(second.data(), first.data());
  first = Buffer();
  EXPECT_EQ(device.live_bytes, 100);
  second = Buffer();
  EXPECT_EQ(device.live_bytes, 0);
}

// Three trees, two decisions, rows of 16 and 8 elements of bf16.
PathShape Shape() {
  PathShape shape;
  shape.type = WeightType::kBf16;
  shape.x_pitch = 16;
  shape.y_pitch = 8;
  shape.trees = 3;
  shape.decisions = 2;
  return shape;
}

TEST(PieceOfTest, MovesRowsLeavesAndMargins) {
  char x[1000] = {};
  char y[1000] = {};
  int32_t leaves[60] = {};
  float margins[120] = {};
  const RowArgs piece = PieceOf(Shape(), {x, y, leaves, margins, 20}, 5, 7);
  EXPECT_EQ(piece.x, x + 5 * 16 * 2);
  EXPECT_EQ(piece.y, y + 5 * 8 * 2);
  EXPECT_EQ(piece.leaves, leaves + 5 * 3);
  EXPECT_EQ(piece.margins, margins + 5 * 3 * 2);
  EXPECT_EQ(piece.rows, 7);
}

TEST(PieceOfTest, WhatIsNotWantedStaysNull) {
  const RowArgs piece =
      PieceOf(Shape(), {nullptr, nullptr, nullptr, nullptr, 20}, 5, 7);
  EXPECT_EQ(piece.leaves, nullptr);
  EXPECT_EQ(piece.margins, nullptr);
}

TEST(InPiecesTest, CutsEveryRowOnce) {
  std::vector<int> rows;
  char x[1000] = {};
  const auto note = [&](const RowArgs& piece) {
    rows.push_back(piece.rows);
    return absl::OkStatus();
  };
  const RowArgs all = {x, x, nullptr, nullptr, 20};
  ASSERT_TRUE(InPieces(Shape(), all, 8, note).ok());
  EXPECT_THAT(rows, ElementsAre(8, 8, 4));
  rows.clear();
  ASSERT_TRUE(InPieces(Shape(), all, 100, note).ok());
  EXPECT_THAT(rows, ElementsAre(20));
}

TEST(InPiecesTest, TheFirstErrorEndsIt) {
  int calls = 0;
  char x[1000] = {};
  const absl::Status status =
      InPieces(Shape(), {x, x, nullptr, nullptr, 20}, 5, [&](const RowArgs&) {
        return ++calls == 2 ? absl::InternalError("second") : absl::OkStatus();
      });
  EXPECT_EQ(status, absl::InternalError("second"));
  EXPECT_EQ(calls, 2);
}

TEST(ScratchNeedTest, CoversTheLargerOfEach) {
  ScratchNeed need = {10, 4, 0};
  need.Cover({5, 8, 1});
  EXPECT_EQ(need.bytes, 10);
  EXPECT_EQ(need.buckets, 8);
  EXPECT_EQ(need.workspace_bytes, 1);
}

TEST(ScratchNeedDeathTest, MoreBucketsThanTheSortHasAreABug) {
  ScratchNeed need;
  EXPECT_DEATH(need.Cover({0, kBucketsMax + 1, 0}), "check failed");
}

TEST(OutputLayoutTest, PartsAreAlignedAndApart) {
  FakeDevice device;
  const UseDevice use(device);
  DeviceChain ops;
  ops.input_width = 8;
  ops.ops = {IntegerPath(8, 8, 3, 3), ActivationOp{}, IntegerLeaf(8, 4, 5, 2)};
  DeviceOptions options;
  options.rows_max = 8;
  const auto chain = Chain::Make(GraphOf(ops), options, device);
  ASSERT_TRUE(chain.ok()) << chain.status();
  const OutputLayout layout(**chain, 3, /*margins=*/true);
  EXPECT_EQ(layout.leaves(0), 3 * 8 * 4);                 // behind y
  EXPECT_EQ(layout.leaves(2), layout.leaves(0) + 48);     // 36 bytes of 9
  EXPECT_EQ(layout.margins(0), layout.leaves(2) + 16);    // 12 bytes of 3
  EXPECT_EQ(layout.margins(2), layout.margins(0) + 112);  // 108 of 27
  EXPECT_EQ(layout.bytes(), layout.margins(2) + 32);      // 24 of 6
  EXPECT_LT(OutputLayout(**chain, 3, false).bytes(), layout.bytes());
}

}  // namespace
}  // namespace fff::engine

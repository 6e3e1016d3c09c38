#include "server/model/memory_need.h"

#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/importer/import.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(MemoryNeed, ASumThatIsLargerThanWhatIsFreeIsRefused) {
  const std::vector<MemoryPart> parts = {
      {"checkpoint", 700}, {"nothing", 0}, {"its tensors as float32", 301}};
  EXPECT_TRUE(CheckFits(parts, 1001).ok());
  EXPECT_TRUE(CheckFits(parts, 0).ok()) << "nobody can tell";
  const absl::Status status = CheckFits(parts, 1000);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("needs at least 1001 bytes of memory: 700 "
                              "(checkpoint) + 301 (its tensors as float32)"),
                    HasSubstr("found 1000 bytes free"),
                    testing::Not(HasSubstr("nothing"))));
}

TEST(MemoryNeed, ANetworkThatIsSmallFitsWithItsTwin) {
  const auto made =
      test::SyntheticCheckpoint().AddLinearPair("", 8, 7, 4).Build();
  const auto graph = importer::Import(importer::ModelConfig(), made);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_TRUE(CheckKernelsFit(*graph, true).ok());
}

TEST(MemoryNeed, WhatCannotBeReadIsLeftToWhoeverReadsIt) {
  EXPECT_TRUE(CheckCheckpointFits(testing::TempDir(), "none.pt").ok());
  EXPECT_EQ(CheckpointBytes(testing::TempDir(), "none.pt"), 0);
  const std::string file = "memory_need_test.safetensors";
  std::ofstream(absl::StrCat(testing::TempDir(), "/", file)) << "12345678{";
  EXPECT_TRUE(CheckCheckpointFits(testing::TempDir(), file).ok());
  EXPECT_EQ(CheckpointBytes(testing::TempDir(), file), 9);
}

}  // namespace
}  // namespace fff::model

// Every published file of tests/data/reference opens with the names and shapes
// that its README and case.json promise.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/checkpoint/checkpoint.h"
#include "tests/unit/checkpoint/test_bytes.h"

namespace fff::checkpoint {
namespace {

struct ReferenceFile {
  std::string path;
  std::string format;
  // "name dtype shape" of every tensor, by name.
  std::vector<std::string> tensors;
};

std::vector<std::string> Describe(const Checkpoint& checkpoint) {
  std::vector<std::string> lines;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    lines.push_back(absl::StrCat(name, " ", tensor::Name(tensor.data_type), " ",
                                 tensor::ToString(tensor.shape)));
  }
  return lines;
}

// An FFF of the leaf family: input, leaf width, output, leaves.
std::vector<std::string> Leaf(int i, int l, int o, int leaves) {
  const int nodes = leaves - 1;
  return {absl::StrCat("b1s F32 [", leaves, ", ", l, "]"),
          absl::StrCat("b2s F32 [", leaves, ", ", o, "]"),
          "depth I64 []",
          absl::StrCat("node_biases F32 [", nodes, ", 1]"),
          absl::StrCat("node_weights F32 [", nodes, ", ", i, "]"),
          absl::StrCat("w1s F32 [", leaves, ", ", i, ", ", l, "]"),
          absl::StrCat("w2s F32 [", leaves, ", ", l, ", ", o, "]")};
}

std::vector<std::string> With(std::vector<std::string> tensors,
                              const std::vector<std::string>& more) {
  tensors.insert(tensors.end(), more.begin(), more.end());
  std::sort(tensors.begin(), tensors.end());
  return tensors;
}

// What load-balanced training adds.
std::vector<std::string> Usage(int leaves) {
  return {absl::StrCat("f F32 [", leaves, "]"),
          absl::StrCat("leaf_usage F32 [", leaves, "]"),
          absl::StrCat("node_usage F32 [", leaves - 1, "]")};
}

std::vector<std::string> Io(int rows, int i, int o, bool without_bias = false) {
  std::vector<std::string> tensors = {
      absl::StrCat("x F32 [", rows, ", ", i, "]"),
      absl::StrCat("y F32 [", rows, ", ", o, "]")};
  if (without_bias) {
    tensors.push_back(
        absl::StrCat("y_without_leaf_output_bias F32 [", rows, ", ", o, "]"));
  }
  return tensors;
}

std::vector<std::string> Bert(int width, int nodes) {
  return {absl::StrCat("linear_in.bias F32 [", nodes, "]"),
          absl::StrCat("linear_in.weight F32 [", nodes, ", ", width, "]"),
          absl::StrCat("linear_out.weight F32 [", width, ", ", nodes, "]")};
}

std::vector<std::string> Pair(const char* in, const char* out, int nodes, int i,
                              int o) {
  return {absl::StrCat(in, " F32 [", nodes, ", ", i, "]"),
          absl::StrCat(out, " F32 [", nodes, ", ", o, "]")};
}

std::vector<ReferenceFile> ReferenceFiles() {
  const std::vector<std::string> magic = {
      "k F32 []", "magic_b1 F32 [1, 8]", "magic_b2 F32 [1, 10]",
      "magic_w1 F32 [1, 784, 8]", "magic_w2 F32 [1, 8, 10]"};
  std::vector<ReferenceFile> files = {
      {"checkpoints/FashionMNIST_l1_d4-0.803", "torch",
       With(Leaf(784, 1, 10, 16), Usage(16))},
      {"checkpoints/FashionMNIST_l8_d4-0.8669", "torch",
       With(Leaf(784, 8, 10, 16), Usage(16))},
      {"checkpoints/FashionMNIST_l16_d3-0.8738", "torch",
       With(Leaf(784, 16, 10, 8), Usage(8))},
      {"checkpoints/model_l8_d4_a1_h1_master3-95.1", "torch",
       With(With(Leaf(784, 8, 10, 16), Usage(16)), magic)}};
  const auto vector = [&files](const std::string& name,
                               std::vector<std::string> model,
                               std::vector<std::string> io) {
    const std::string folder = absl::StrCat("vectors/", name, "/");
    files.push_back(
        {folder + "model.safetensors", "safetensors", std::move(model)});
    files.push_back({folder + "io.safetensors", "safetensors", std::move(io)});
  };
  vector("fastfeedforward-mnist-shape", Leaf(784, 8, 10, 16),
         Io(48, 784, 10, true));
  vector("fastfeedforward-gelu", Leaf(96, 16, 40, 64), Io(32, 96, 40, true));
  vector("ultrafastbert-1x6", Bert(128, 127), Io(48, 128, 128));
  vector("ultrafastbert-3x4", Bert(96, 93), Io(48, 96, 96));
  vector("ultrafastbert-bmm-d7", Pair("w1s", "w2s", 255, 128, 64),
         Io(48, 128, 64));
  vector("sapient-128x64", Pair("X", "Y", 127, 128, 64), Io(48, 128, 64));
  vector("sapient-256x256-d9", Pair("X", "Y", 511, 256, 256), Io(32, 256, 256));
  return files;
}

TEST(ReferenceFilesTest, OpenWithTheirNamesAndShapes) {
  for (const ReferenceFile& file : ReferenceFiles()) {
    const auto checkpoint = OpenCheckpoint(
        absl::StrCat(FFF_TEST_DATA_DIR, "/reference/", file.path));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ(checkpoint->format(), file.format) << file.path;
    EXPECT_EQ(absl::StrJoin(Describe(*checkpoint), "\n"),
              absl::StrJoin(file.tensors, "\n"))
        << file.path;
  }
}

TEST(ReferenceFilesTest, HoldFiniteWeights) {
  for (const ReferenceFile& file : ReferenceFiles()) {
    const auto checkpoint = OpenCheckpoint(
        absl::StrCat(FFF_TEST_DATA_DIR, "/reference/", file.path));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    for (const auto& [name, unused] : checkpoint->tensors()) {
      const auto floats = checkpoint->Floats(name);
      ASSERT_TRUE(floats.ok()) << floats.status();
      for (const float value : floats->span()) {
        ASSERT_LT(std::abs(value), 1e9f) << file.path << " " << name;
      }
    }
  }
}

TEST(ReferenceFilesTest, StateTheirDepth) {
  const auto depth = [](const std::string& path) {
    return OpenCheckpoint(absl::StrCat(FFF_TEST_DATA_DIR, "/reference/", path))
        ->Integer("depth")
        .value();
  };
  EXPECT_EQ(depth("checkpoints/FashionMNIST_l8_d4-0.8669"), 4);
  EXPECT_EQ(depth("checkpoints/FashionMNIST_l16_d3-0.8738"), 3);
  EXPECT_EQ(depth("vectors/fastfeedforward-gelu/model.safetensors"), 6);
}

}  // namespace
}  // namespace fff::checkpoint

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/checkpoint/checkpoint.h"
#include "server/model/builder.h"
#include "server/model/model_files.h"
#include "tests/unit/model/synthetic_checkpoint.h"

// The published checkpoints' stated accuracy on all 10,000 FashionMNIST test
// images, which Debian's package dataset-fashion-mnist installs.
namespace fff::model {
namespace {

using importer::LayerConfig;
using importer::ModelConfig;
constexpr char kImages[] = "t10k-images-idx3-ubyte.gz";
constexpr char kLabels[] = "t10k-labels-idx1-ubyte.gz";
constexpr int64_t kCount = 10000;
constexpr int64_t kPixels = 784;

// The bytes of a gzipped IDX file after its header of `header_bytes`.
std::vector<uint8_t> ReadIdx(const std::string& name, int64_t header_bytes,
                             int64_t bytes) {
  const std::string path = "/usr/share/datasets/fashion-mnist/" + name;
  const gzFile file = gzopen(path.c_str(), "rb");
  EXPECT_NE(file, nullptr) << path
                           << ": install Debian's dataset-fashion-mnist";
  if (file == nullptr) return {};
  std::vector<uint8_t> values(static_cast<size_t>(header_bytes + bytes));
  const int read =
      gzread(file, values.data(), static_cast<unsigned>(values.size()));
  gzclose(file);
  EXPECT_EQ(read, static_cast<int>(values.size())) << path;
  values.erase(values.begin(), values.begin() + header_bytes);
  return values;
}

struct TestImages {
  std::vector<float> rows;  // [10000, 784], (pixel / 255 - 0.5) / 0.5
  std::vector<uint8_t> labels;
};

const TestImages& Images() {
  static const TestImages* const kRead = [] {
    auto* images = new TestImages;
    for (const uint8_t pixel : ReadIdx(kImages, 16, kCount * kPixels)) {
      images->rows.push_back((static_cast<float>(pixel) / 255.0F - 0.5F) /
                             0.5F);
    }
    images->labels = ReadIdx(kLabels, 8, kCount);
    return images;
  }();
  return *kRead;
}

int CountRight(const Model& model) {
  const std::vector<float> y = test::RunModel(model, Images().rows, {}, 2);
  int right = 0;
  for (size_t row = 0; row < static_cast<size_t>(kCount); ++row) {
    const auto begin = y.begin() + static_cast<int64_t>(row) * 10;
    right += std::max_element(begin, begin + 10) - begin ==
                     int64_t{Images().labels[row]}
                 ? 1
                 : 0;
  }
  return right;
}

struct Published {
  const char* file;
  const char* convention;
  int right;  // of 10,000
};

class AccuracyTest : public ::testing::TestWithParam<Published> {};

TEST_P(AccuracyTest, IsTheStatedOne) {
  ASSERT_EQ(Images().labels.size(), static_cast<size_t>(kCount));
  const auto opened = checkpoint::OpenCheckpoint(
      std::string(FFF_TEST_DATA_DIR "/reference/checkpoints/") +
      GetParam().file);
  ASSERT_TRUE(opened.ok()) << opened.status();
  LayerConfig layer;
  layer.convention = GetParam().convention;
  ModelConfig config;
  config.layers = {layer};
  const auto model = test::BuildFrom(config, *opened);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_NEAR(CountRight(**model), GetParam().right, 2);
}

const Published kPublished[] = {
    {"FashionMNIST_l8_d4-0.8669", "fastfeedforward", 8669},
    {"FashionMNIST_l16_d3-0.8738", "fastfeedforward", 8738},
    {"FashionMNIST_l1_d4-0.803", "fastfeedforward", 8028},
    // Without the leaves' output bias, as release 0.2.1 evaluates.
    {"FashionMNIST_l8_d4-0.8669", "fastfeedforward-0.2.1", 8650},
    {"FashionMNIST_l16_d3-0.8738", "fastfeedforward-0.2.1", 8709},
    {"FashionMNIST_l1_d4-0.803", "fastfeedforward-0.2.1", 6087},
};

INSTANTIATE_TEST_SUITE_P(Published, AccuracyTest,
                         ::testing::ValuesIn(kPublished));

TEST(DemoModelAccuracyTest, FffAndItsDenseTwinAreBothTrained) {
  ASSERT_EQ(Images().labels.size(), static_cast<size_t>(kCount));
  const std::string dir =
      std::string(FFF_SOURCE_DIR) + "/deploy/models/fashion-mnist";
  const auto config = ReadModelConfig(dir);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto version = LoadVersion(dir + "/1", *config, {});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_GE(CountRight(*version->fff), 9000);
  EXPECT_GE(CountRight(*version->dense.model), 9000);
}

// The demo model's 10,000 answers in fewer bits.
TEST(DemoModelAccuracyTest, ReducedPrecisionIsWithinTwoPointsOfFp32) {
  ASSERT_EQ(Images().labels.size(), static_cast<size_t>(kCount));
  const std::string dir =
      std::string(FFF_SOURCE_DIR) + "/deploy/models/fashion-mnist";
  auto config = ReadModelConfig(dir);
  ASSERT_TRUE(config.ok()) << config.status();
  int fp32 = 0;
  for (const graph::Precision precision : graph::kPrecisions) {
    config->precision = precision;
    const auto version = LoadVersion(dir + "/1", *config, {});
    ASSERT_TRUE(version.ok()) << version.status();
    const int right = CountRight(*version->fff);
    RecordProperty(std::string(graph::Name(precision)), right);
    if (fp32 == 0) fp32 = right;
    EXPECT_NEAR(right, fp32, 0.02 * kCount) << graph::Name(precision);
  }
}

}  // namespace
}  // namespace fff::model

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/model/model_files.h"
#include "server/model/precision_report.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using importer::ModelConfig;
namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Of a layer of sap-fff, which no tensor tells.
ModelConfig ConfigWith(graph::Precision precision) {
  ModelConfig config;
  config.precision = precision;
  config.layers.resize(1);
  config.layers[0].convention = "sap-fff";
  return config;
}

// One path layer of 32 inputs, 24 outputs and 63 nodes.
test::SyntheticCheckpoint PathCheckpoint() {
  test::SyntheticCheckpoint checkpoint;
  checkpoint.AddRandom("X", {63, 32}).AddRandom("Y", {63, 24});
  return checkpoint;
}

std::shared_ptr<const Model> Built(graph::Precision precision) {
  const auto model =
      test::BuildFrom(ConfigWith(precision), PathCheckpoint().Build());
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

TEST(PrecisionTest, TheLayerSaysItsPrecisionAndHoldsFewerBytes) {
  const auto fp32 = Built(graph::Precision::kFp32);
  const auto bf16 = Built(graph::Precision::kBf16);
  const auto int8 = Built(graph::Precision::kInt8);
  const std::string text = fp32->layers()[0].description;
  EXPECT_EQ(bf16->layers()[0].description, text + ", bf16 weights");
  EXPECT_EQ(int8->layers()[0].description, text + ", int8 weights");
  EXPECT_LT(bf16->weights_bytes(), fp32->weights_bytes());
  EXPECT_LT(int8->weights_bytes(), bf16->weights_bytes());
  EXPECT_EQ(bf16->cost().weight_bytes, fp32->cost().weight_bytes / 2);
  EXPECT_EQ(int8->cost().weight_bytes, fp32->cost().weight_bytes / 4);
  EXPECT_EQ(int8->cost().flops, fp32->cost().flops);
}

TEST(PrecisionTest, Bf16IsWhatFp32MakesOfTheRoundedWeights) {
  // Weights that bf16 holds exactly: nothing may change.
  test::SyntheticCheckpoint checkpoint;
  std::vector<float> x;
  for (int i = 0; i < 15 * 8; ++i) x.push_back(static_cast<float>(i % 7 - 3));
  checkpoint.Add("X", {15, 8}, x).Add("Y", {15, 8}, x);
  const auto fp32 = test::BuildFrom(ConfigWith(graph::Precision::kFp32),
                                    checkpoint.Build(), BuildOptions());
  const auto bf16 = test::BuildFrom(ConfigWith(graph::Precision::kBf16),
                                    checkpoint.Build(), BuildOptions());
  ASSERT_TRUE(fp32.ok() && bf16.ok());
  const PrecisionReport report =
      ReportPrecision(graph::Precision::kBf16, **fp32, **bf16,
                      RandomReportRows((*fp32)->graph()));
  EXPECT_EQ(report.ToString().find("bf16: 0 of 1024 routes changed against "
                                   "fp32 on 1024 random rows, largest output "
                                   "difference 0 (outputs up to "),
            0u)
      << report.ToString();
}

TEST(PrecisionTest, TheReportCountsRoutesAndTheLargestDifference) {
  const auto fp32 = Built(graph::Precision::kFp32);
  const auto int8 = Built(graph::Precision::kInt8);
  const ReportRows rows = RandomReportRows(fp32->graph());
  const PrecisionReport report =
      ReportPrecision(graph::Precision::kInt8, *fp32, *int8, rows);
  EXPECT_EQ(report.rows, 1024);
  EXPECT_EQ(report.routes, 1024);
  EXPECT_GT(report.routes_changed, 0);
  EXPECT_LT(report.routes_changed, 200);
  EXPECT_GT(report.outputs[0].difference_max, 0);
  EXPECT_GT(report.outputs[0].max, 1);
  const PrecisionReport none =
      ReportPrecision(graph::Precision::kFp32, *fp32, *fp32, rows);
  EXPECT_EQ(none.routes_changed, 0);
  EXPECT_EQ(none.outputs[0].difference_max, 0);
}

TEST(PrecisionTest, AWeightBeyondBf16IsAnErrorThatNamesItsPlace) {
  test::SyntheticCheckpoint checkpoint;
  checkpoint.Add("X", {1, 2}, {1.0F, 3.4e38F}).Add("Y", {1, 2}, {1.0F, 2.0F});
  const auto model =
      test::BuildFrom(ConfigWith(graph::Precision::kBf16), checkpoint.Build());
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("layers[0] (fff): X: row 0, column 1: found 3.4e+38, "
                        "which has no finite value in bf16"));
}

// A version directory of its own with a path layer of 128 -> 64.
class PrecisionFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (fs::temp_directory_path() / "fff_precision_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    fs::copy_file(fs::path(FFF_TEST_DATA_DIR) /
                      "reference/vectors/sapient-128x64/model.safetensors",
                  dir_ / "model.safetensors");
  }
  void TearDown() override { fs::remove_all(dir_); }

  // One tensor of zeros and ones.
  void WriteRows(const std::string& file, int64_t rows, int64_t width) {
    std::vector<float> values(static_cast<size_t>(rows * width));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = i % 3 == 0 ? 1.0F : 0.0F;
    }
    const size_t bytes = values.size() * sizeof(float);
    const std::string header =
        R"({"rows":{"dtype":"F32","shape":[)" + std::to_string(rows) + "," +
        std::to_string(width) + R"(],"data_offsets":[0,)" +
        std::to_string(bytes) + "]}}";
    const uint64_t size = header.size();
    std::ofstream out(dir_ / file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&size), sizeof(size));
    out << header;
    out.write(reinterpret_cast<const char*>(values.data()),
              static_cast<std::streamsize>(bytes));
  }
  absl::StatusOr<LoadedVersion> Load(graph::Precision precision,
                                     const std::string& rows = "") {
    ModelConfig config = ConfigWith(precision);
    config.precision_rows = rows;
    return LoadVersion(dir_.string(), config, {});
  }

  fs::path dir_;
};

TEST_F(PrecisionFilesTest, AVersionInFp32HasNoReport) {
  const auto version = Load(graph::Precision::kFp32);
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_FALSE(version->precision.has_value());
  EXPECT_EQ(version->dense.description.find("fp32"), std::string::npos);
}

TEST_F(PrecisionFilesTest, AReducedVersionIsReportedOnRandomRows) {
  const auto version = Load(graph::Precision::kInt8);
  ASSERT_TRUE(version.ok()) << version.status();
  ASSERT_TRUE(version->precision.has_value());
  EXPECT_EQ(version->precision->precision, graph::Precision::kInt8);
  EXPECT_EQ(version->precision->rows_source, "random rows");
  EXPECT_EQ(version->precision->rows, kReportRowsRandom);
  EXPECT_THAT(version->dense.description,
              HasSubstr("; weights fp32, the FFF's are int8"));
}

TEST_F(PrecisionFilesTest, RowsOfAFileAreTakenWhenTheConfigNamesOne) {
  WriteRows("rows.safetensors", 7, 128);
  const auto version = Load(graph::Precision::kBf16, "rows.safetensors");
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->precision->rows, 7);
  EXPECT_THAT(version->precision->ToString(),
              HasSubstr(" on 7 rows of rows.safetensors, "));
}

TEST_F(PrecisionFilesTest, TheRowsAreNoSecondCheckpoint) {
  fs::rename(dir_ / "model.safetensors", dir_ / "weights.bin");
  WriteRows("rows.safetensors", 7, 128);
  EXPECT_TRUE(Load(graph::Precision::kBf16, "rows.safetensors").ok());
  EXPECT_EQ(Load(graph::Precision::kBf16).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(PrecisionFilesTest, RowsOfAnotherWidthAreRefused) {
  WriteRows("rows.safetensors", 7, 127);
  const auto version = Load(graph::Precision::kBf16, "rows.safetensors");
  EXPECT_EQ(version.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(version.status().message(),
            (dir_ / "rows.safetensors").string() +
                ": tensor \"rows\": found shape [7, 127], wanted [rows, 128] "
                "with 1 to 65536 rows, or their dimensions behind the rows");
}

TEST_F(PrecisionFilesTest, RowsThatAreNotThereAreAnError) {
  const auto version = Load(graph::Precision::kInt8, "gone.safetensors");
  EXPECT_EQ(version.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(version.status().message()),
              HasSubstr("gone.safetensors"));
}

}  // namespace
}  // namespace fff::model

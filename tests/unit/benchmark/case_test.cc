#include "server/benchmark/case.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/benchmark/runner.h"

namespace fff::benchmark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kLeafCase[] = R"(
# a comment
about: a sentence   # and another comment
convention: fastfeedforward
input_width: 784
leaf_width: 8
output_width: 10
depth: 4
dense: width 128
rows: 1 2048
weights: cold
engine: auto
precision: int8
)";

std::string ErrorOf(absl::string_view text) {
  const auto spec = ParseCase("probe", text);
  EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(spec.status().message());
}

TEST(CaseTest, ReadsEveryKey) {
  const auto spec = ParseCase("probe", kLeafCase);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->name, "probe");
  EXPECT_EQ(spec->about, "a sentence");
  EXPECT_EQ(spec->convention, "fastfeedforward");
  EXPECT_EQ(spec->input_width, 784);
  EXPECT_EQ(spec->leaf_width, 8);
  EXPECT_EQ(spec->output_width, 10);
  EXPECT_EQ(spec->depth, 4);
  EXPECT_EQ(spec->dense, DenseOpponent::kWidth);
  EXPECT_EQ(spec->dense_width, 128);
  EXPECT_THAT(spec->rows, ElementsAre(1, 2048));
  EXPECT_TRUE(spec->cold_weights);
  EXPECT_EQ(spec->engine, importer::EngineChoice::kAuto);
  EXPECT_EQ(spec->precision, graph::Precision::kInt8);
}

TEST(CaseTest, DepthCountsAsTheConventionCountsIt) {
  const auto nodes = [](absl::string_view convention) {
    return ParseCase("probe", absl::StrCat("convention: ", convention,
                                           "\ninput_width: 4\noutput_width: 4\n"
                                           "depth: 3\n"))
        ->nodes();
  };
  EXPECT_EQ(nodes("sap-fff"), 7);
  EXPECT_EQ(nodes("ultrafastbert"), 15);
  EXPECT_EQ(nodes("ultrafastbert-bmm"), 15);
}

TEST(CaseTest, ThePrecisionOfACaseIsFp32UnlessChanged) {
  const auto spec = FindCase("path-768-l12");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->precision, graph::Precision::kFp32);
  const auto changed = WithPrecision(*spec, "bf16");
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->precision, graph::Precision::kBf16);
  EXPECT_EQ(changed->name, spec->name + "-bf16");
  EXPECT_EQ(WithPrecision(*spec, "fp32")->name, spec->name);
  const auto wrong = WithPrecision(*spec, "fp8");
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr("precision: got 'fp8', wanted fp32, bf16 or int8"));
}

TEST(CaseTest, TheEngineOfACaseIsFffUnlessChanged) {
  const auto spec = FindCase("path-768-t128-l5");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->engine, importer::EngineChoice::kFff);
  const auto changed = WithEngine(*spec, "auto");
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->engine, importer::EngineChoice::kAuto);
  EXPECT_EQ(changed->name, spec->name);
  const auto wrong = WithEngine(*spec, "dense");
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr("engine: got 'dense', wanted fff or auto"));
}

TEST(CaseTest, UnknownKeyNamesLineAndAllowedKeys) {
  EXPECT_THAT(ErrorOf("about: x\nwidth: 3\n"),
              ::testing::AllOf(HasSubstr("case probe, line 2, width"),
                               HasSubstr("input_width")));
}

TEST(CaseTest, KeyGivenTwiceIsAnError) {
  EXPECT_THAT(ErrorOf("depth: 3\ndepth: 4\n"), HasSubstr("given twice"));
}

TEST(CaseTest, UnknownConventionListsTheKnownOnes) {
  EXPECT_THAT(ErrorOf("convention: tree\n"),
              ::testing::AllOf(HasSubstr("got 'tree'"),
                               HasSubstr("ultrafastbert-bmm")));
}

TEST(CaseTest, NumbersOutOfRangeAreErrors) {
  EXPECT_THAT(ErrorOf("depth: 24\n"), HasSubstr("got '24'"));
  EXPECT_THAT(ErrorOf("input_width: 0\n"), HasSubstr("from 1 to"));
  EXPECT_THAT(ErrorOf("input_width: many\n"), HasSubstr("got 'many'"));
  EXPECT_THAT(ErrorOf("rows: 1 65537\n"), HasSubstr("65537"));
  EXPECT_THAT(ErrorOf("rows:\n"), HasSubstr("0 batch sizes"));
  EXPECT_THAT(ErrorOf("dense: sparse\n"), HasSubstr("got 'sparse'"));
  EXPECT_THAT(ErrorOf("weights: tepid\n"), HasSubstr("wanted warm or cold"));
}

TEST(CaseTest, MissingShapeIsAnError) {
  EXPECT_THAT(ErrorOf("about: nothing else\n"), HasSubstr("are required"));
}

TEST(CaseTest, LeafWidthBelongsToTheLeafFamilyAlone) {
  EXPECT_THAT(ErrorOf("convention: sap-fff\ninput_width: 4\noutput_width: 4\n"
                      "depth: 2\nleaf_width: 3\n"),
              HasSubstr("leaf_width is 3"));
  EXPECT_THAT(ErrorOf("convention: fastfeedforward\ninput_width: 4\n"
                      "output_width: 4\ndepth: 2\n"),
              HasSubstr("fastfeedforward needs it"));
}

TEST(CaseTest, SeveralTreesNeedTheConventionThatHasThem) {
  EXPECT_THAT(ErrorOf("convention: sap-fff\ninput_width: 4\noutput_width: 4\n"
                      "depth: 2\ntrees: 2\n"),
              HasSubstr("trees is 2"));
}

TEST(CaseTest, WeightsAboveTheBoundAreRefusedBeforeAnythingIsAllocated) {
  EXPECT_THAT(ErrorOf("convention: sap-fff\ninput_width: 16777216\n"
                      "output_width: 16777216\ndepth: 23\n"),
              HasSubstr("wanted at most 3 GB"));
}

constexpr char kNetworkCase[] =
    "about: two layers\nconfig: {\"layers\":\nconfig: []}\n"
    "tensor: a.{3..5}.weight 4,3 ones\ntensor: b 7 12\ntensor: c 2,5\n";

TEST(CaseTest, ANetworkHasItsConfigAndItsTensors) {
  const auto spec = ParseCase("probe", kNetworkCase);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_TRUE(spec->is_network());
  EXPECT_EQ(spec->config, "{\"layers\":\n[]}\n");
  ASSERT_EQ(spec->tensors.size(), 5U);
  EXPECT_EQ(spec->tensors[0].name, "a.3.weight");
  EXPECT_EQ(spec->tensors[2].name, "a.5.weight");
  EXPECT_THAT(spec->tensors[2].shape, ElementsAre(4, 3));
  EXPECT_EQ(spec->tensors[2].fan_in, 0);
  EXPECT_EQ(spec->tensors[2].fill, 1);
  EXPECT_EQ(spec->tensors[3].fan_in, 12);
  EXPECT_EQ(spec->tensors[4].fan_in, 5);
  EXPECT_EQ(spec->weights_bytes(), 4 * (3 * 12 + 7 + 10));
}

TEST(CaseTest, WhatANetworkCannotBeIsAnError) {
  const std::string network = kNetworkCase;
  EXPECT_THAT(ErrorOf("config: {}\n"), HasSubstr("both config and tensor"));
  EXPECT_THAT(ErrorOf("tensor: a 1\n"), HasSubstr("both config and tensor"));
  EXPECT_THAT(ErrorOf(network + "depth: 3\n"), HasSubstr("are of one layer"));
  EXPECT_THAT(ErrorOf(network + "dense: linear\n"), HasSubstr("width N"));
  EXPECT_THAT(ErrorOf(network + "tensor: d\n"), HasSubstr("SIZE,SIZE"));
  EXPECT_THAT(ErrorOf(network + "tensor: d 0\n"), HasSubstr("whole number"));
  EXPECT_THAT(ErrorOf(network + "tensor: d 3 twos\n"),
              HasSubstr("whole number"));
  for (const char* name : {"d{1..", "d{1-2}", "d{3..2}", "d{-1..2}",
                           "d{0..99999999999999999999}", "d{0..5000}"}) {
    EXPECT_THAT(ErrorOf(absl::StrCat(network, "tensor: ", name, " 3\n")),
                HasSubstr("{FIRST..LAST}"));
  }
  EXPECT_THAT(ErrorOf(network + "tensor: d 16777216,16777216\n"),
              HasSubstr("GB"));
  EXPECT_FALSE(WithDepth(*ParseCase("probe", network), 3).ok());
}

TEST(CaseTest, TextAboveTheBoundIsRefused) {
  EXPECT_THAT(ErrorOf(std::string(kCaseBytesMax + 1, '#')),
              HasSubstr("wanted at most"));
}

TEST(CaseTest, EveryEmbeddedCaseParsesAndSaysWhatItIs) {
  ASSERT_GE(EmbeddedCases().size(), 20U);
  for (const EmbeddedCase& embedded : EmbeddedCases()) {
    const auto spec = FindCase(embedded.name);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_FALSE(spec->about.empty()) << embedded.name;
    EXPECT_GT(spec->weights_bytes(), 0) << embedded.name;
    BenchmarkOptions options;
    options.batch_rows = spec->rows;
    EXPECT_TRUE(CheckOptions(options).ok()) << embedded.name;
  }
}

TEST(CaseTest, TheDesignsFourCasesHaveTheShapesOfTheirNames) {
  const auto path = FindCase("path-768-l12");
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(path->nodes(), 4095);
  EXPECT_EQ(path->weights_bytes(), 4095 * 2 * 768 * 4);
  const auto sap = FindCase("sap-16384-d14");
  ASSERT_TRUE(sap.ok()) << sap.status();
  EXPECT_EQ(sap->nodes(), 16383);
  EXPECT_EQ(sap->dense, DenseOpponent::kLinear);
  const auto small = FindCase("leaf-784-8-10-d4");
  ASSERT_TRUE(small.ok()) << small.status();
  EXPECT_EQ((int64_t{1} << small->depth) * small->leaf_width, 128);
  const auto large = FindCase("leaf-768-32-768-d12");
  ASSERT_TRUE(large.ok()) << large.status();
  EXPECT_EQ((int64_t{1} << large->depth) * large->leaf_width, 131072);
}

TEST(CaseTest, TableOneOfTheFirstPaperIsThereInBothInputWidths) {
  for (const int64_t input : {256, 784}) {
    for (const int64_t width : {16, 32, 64, 128}) {
      for (const int64_t leaf : {8, 4, 2, 1}) {
        int depth = 0;
        while ((leaf << depth) < width) ++depth;
        const auto spec =
            FindCase(absl::StrCat("leaf-", input, "-", leaf, "-10-d", depth));
        ASSERT_TRUE(spec.ok()) << spec.status();
        EXPECT_EQ(spec->input_width, input);
        EXPECT_EQ(spec->leaf_width, leaf);
        EXPECT_EQ((int64_t{1} << spec->depth) * leaf, width);
        EXPECT_EQ(spec->dense, DenseOpponent::kNeurons);
      }
    }
  }
}

TEST(CaseTest, ManyShallowTreesHaveAboutTheNeuronsOfOneDeepOne) {
  const auto one = FindCase("path-768-l12");
  const auto many = FindCase("path-768-t128-l5");
  ASSERT_TRUE(one.ok() && many.ok());
  const int64_t neurons = many->trees * many->nodes();
  EXPECT_EQ(many->nodes(), 31);
  EXPECT_LT(20 * std::abs(neurons - one->nodes()), one->nodes());
}

TEST(CaseTest, AnotherDepthIsAnotherWidthUnderTheSameRules) {
  const auto spec = FindCase("leaf-784-8-10-d4");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto deeper = WithDepth(*spec, 6);
  ASSERT_TRUE(deeper.ok()) << deeper.status();
  EXPECT_EQ(deeper->name, "leaf-784-8-10-d4-d6");
  EXPECT_EQ(deeper->nodes(), 63);
  EXPECT_THAT(std::string(WithDepth(*spec, 24).status().message()),
              HasSubstr("case leaf-784-8-10-d4, depth: got '24'"));
  EXPECT_THAT(std::string(WithDepth(*spec, 23).status().message()),
              HasSubstr("wanted at most 3 GB"));
}

TEST(CaseTest, UnknownNameListsTheCasesThereAre) {
  const auto spec = FindCase("path-1");
  EXPECT_EQ(spec.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(spec.status().message(), HasSubstr("path-768-l12"));
}

}  // namespace
}  // namespace fff::benchmark

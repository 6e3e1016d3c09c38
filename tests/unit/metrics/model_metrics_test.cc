#include "server/metrics/model_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace fff::metrics {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

std::vector<uint64_t> Values(const LeafVisits& visits) {
  std::vector<uint64_t> values;
  for (size_t b = 0; b < visits.buckets(); ++b) {
    values.push_back(visits.Value(b));
  }
  return values;
}

std::vector<int32_t> AllLeaves(int depth) {
  std::vector<int32_t> leaves;
  for (int32_t leaf = 0; leaf < (1 << depth); ++leaf) leaves.push_back(leaf);
  return leaves;
}

TEST(LeafVisits, OfATreeWithoutDecisionsHasOneBucket) {
  LeafVisits visits({0, 0});
  visits.Record({0, 0, 0});
  EXPECT_THAT(Values(visits), ElementsAre(3));
}

TEST(LeafVisits, OfDepthOneCountsBothLeaves) {
  LeafVisits visits({0, 1});
  visits.Record({1, 0, 1, 1});
  EXPECT_THAT(Values(visits), ElementsAre(1, 3));
}

TEST(LeafVisits, UpToFourLevelsHasABucketALeaf) {
  LeafVisits visits({0, 4});
  EXPECT_EQ(visits.buckets(), 16u);
  visits.Record(AllLeaves(4));
  visits.Record({0, 15, 15});
  std::vector<uint64_t> wanted(16, 1);
  wanted[0] = 2;
  wanted[15] = 3;
  EXPECT_EQ(Values(visits), wanted);
}

TEST(LeafVisits, OfDeepTreesCountsTheSubtreesOfTheFirstFourLevels) {
  LeafVisits visits({0, 12});
  EXPECT_EQ(visits.buckets(), kSubtrees);
  visits.Record(AllLeaves(12));
  EXPECT_THAT(Values(visits), Each(4096 / 16));
  // 256 leaves lie below each subtree: 255 is the last of the first, 256 the
  // first of the second.
  LeafVisits edges({0, 12});
  edges.Record({0, 255, 256, 4095});
  EXPECT_EQ(edges.Value(0), 2u);
  EXPECT_EQ(edges.Value(1), 1u);
  EXPECT_EQ(edges.Value(15), 1u);
}

TEST(LeafVisits, OfTheDeepestTreeStaysInBounds) {
  LeafVisits visits({0, 23});
  visits.Record({0, (1 << 23) - 1});
  EXPECT_EQ(visits.buckets(), kSubtrees);
  EXPECT_EQ(visits.Value(0), 1u);
  EXPECT_EQ(visits.Value(15), 1u);
}

TEST(LeafVisits, OfNoRowsStaysZero) {
  LeafVisits visits({0, 2});
  visits.Record({});
  EXPECT_THAT(Values(visits), Each(0));
}

TEST(StatusCodeName, SpellsEveryCodeAndUnknownBeyond) {
  EXPECT_EQ(StatusCodeName(0), "OK");
  EXPECT_EQ(StatusCodeName(1), "CANCELLED");
  EXPECT_EQ(StatusCodeName(3), "INVALID_ARGUMENT");
  EXPECT_EQ(StatusCodeName(4), "DEADLINE_EXCEEDED");
  EXPECT_EQ(StatusCodeName(5), "NOT_FOUND");
  EXPECT_EQ(StatusCodeName(8), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(StatusCodeName(14), "UNAVAILABLE");
  EXPECT_EQ(StatusCodeName(16), "UNAUTHENTICATED");
  EXPECT_EQ(StatusCodeName(17), "UNKNOWN");
  EXPECT_EQ(StatusCodeName(-1), "UNKNOWN");
  std::set<std::string> names;
  for (int code = 0; code < static_cast<int>(kStatusCodes); ++code) {
    names.insert(std::string(StatusCodeName(code)));
  }
  EXPECT_EQ(names.size(), kStatusCodes);
}

TEST(MethodName, IsTheNameOfTheCall) {
  EXPECT_EQ(Name(Method::kPredict), "Predict");
  EXPECT_EQ(Name(Method::kPredictDense), "PredictDense");
  EXPECT_EQ(Name(Method::kModelInfer), "ModelInfer");
  EXPECT_EQ(Name(Method::kPredictStream), "PredictStream");
  EXPECT_EQ(Name(Method::kModelStreamInfer), "ModelStreamInfer");
}

ModelMetrics MakeMetrics() { return ModelMetrics({"m", "1", "fff", "cpu"}); }

TEST(RecordRequest, CountsByMethodAndCodeAndTimesByMethod) {
  ModelMetrics metrics = MakeMetrics();
  metrics.RecordRequest(Method::kPredict, 0, 20'000);
  metrics.RecordRequest(Method::kPredict, 3, 30'000);
  metrics.RecordRequest(Method::kModelInfer, 0, 50'000);
  EXPECT_EQ(metrics.requests[0][0].Value(), 1u);
  EXPECT_EQ(metrics.requests[0][3].Value(), 1u);
  EXPECT_EQ(metrics.requests[1][0].Value(), 0u);
  EXPECT_EQ(metrics.requests[2][0].Value(), 1u);
  EXPECT_EQ(metrics.request_duration[0].Snapshot().count, 2u);
  EXPECT_EQ(metrics.request_duration[0].Snapshot().sum, 50'000u);
  EXPECT_EQ(metrics.request_duration[1].Snapshot().count, 0u);
  EXPECT_EQ(metrics.request_duration[2].Snapshot().sum, 50'000u);
}

TEST(RecordRequest, AddsTimeOfSuccessAndFailureApart) {
  ModelMetrics metrics = MakeMetrics();
  metrics.RecordRequest(Method::kPredict, 0, 100);
  metrics.RecordRequest(Method::kModelInfer, 0, 20);
  metrics.RecordRequest(Method::kPredictDense, 8, 3);
  EXPECT_EQ(metrics.success_ns.Value(), 120u);
  EXPECT_EQ(metrics.fail_ns.Value(), 3u);
}

TEST(RecordRequest, CountsACodeOutsideGrpcsRangeAsUnknown) {
  ModelMetrics metrics = MakeMetrics();
  metrics.RecordRequest(Method::kPredict, 99, 1);
  metrics.RecordRequest(Method::kPredict, -5, 1);
  EXPECT_EQ(metrics.requests[0][2].Value(), 2u);
}

}  // namespace
}  // namespace fff::metrics

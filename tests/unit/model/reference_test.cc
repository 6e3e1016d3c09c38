#include <cctype>
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/checkpoint/checkpoint.h"
#include "server/engine/reference/bounds.h"
#include "server/model/builder.h"
#include "tests/unit/model/synthetic_checkpoint.h"

// The public implementations' own outputs, and the checkpoints that were
// published: tests/data/reference.
namespace fff::model {
namespace {

using importer::ModelConfig;
using importer::ParseModelConfig;
using test::RunModel;
using ::testing::HasSubstr;

const char kReference[] = FFF_TEST_DATA_DIR "/reference/";

checkpoint::Checkpoint Open(const std::string& path) {
  auto opened = checkpoint::OpenCheckpoint(kReference + path);
  EXPECT_TRUE(opened.ok()) << opened.status();
  return *std::move(opened);
}

std::vector<float> Values(const checkpoint::Checkpoint& from,
                          const std::string& name) {
  const auto values = from.Floats(name);
  EXPECT_TRUE(values.ok()) << values.status();
  return {values->span().begin(), values->span().end()};
}

ModelConfig Config(const std::string& json) {
  const auto config = ParseModelConfig(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

// What one row should give, and how far fp32 may be away from it.
struct Expected {
  std::vector<engine::Route> routes;  // one per tree
  std::vector<engine::Bounded> outputs;
  bool ambiguous = false;  // some |z| is inside its rounding bound
};

Expected ExpectRow(const graph::Op& fff, const float* x) {
  Expected expected;
  if (const auto* path = std::get_if<graph::FffPath>(&fff)) {
    std::vector<int32_t> leaves;
    for (int64_t tree = 0; tree < path->problem().trees; ++tree) {
      expected.routes.push_back(
          engine::ExactPathRoute(*path->weights, x, tree));
      leaves.push_back(expected.routes.back().leaf);
    }
    expected.outputs = engine::PathOutputs(*path->weights, x, leaves);
  } else {
    const auto& weights = *std::get<graph::FffLeaf>(fff).weights;
    expected.routes.push_back(engine::ExactLeafRoute(weights, x));
    expected.outputs =
        engine::LeafOutputs(weights, x, expected.routes.back().leaf);
  }
  for (const engine::Route& route : expected.routes) {
    for (const engine::Bounded& z : route.z) {
      if (std::abs(z.value) <= z.bound) expected.ambiguous = true;
    }
  }
  return expected;
}

struct Vector {
  const char* name;
  const char* json;
  const char* y;  // the tensor of io.safetensors that must come out
  const char* convention;
};

class VectorTest : public ::testing::TestWithParam<Vector> {};

// Holds routes, margins and outputs against double precision, and the outputs
// also against what the public code computed. Both are fp32 evaluations of one
// formula, so they may differ by twice the bound.
TEST_P(VectorTest, ReproducesThePublicCode) {
  const std::string dir = std::string("vectors/") + GetParam().name;
  const checkpoint::Checkpoint weights = Open(dir + "/model.safetensors");
  const checkpoint::Checkpoint io = Open(dir + "/io.safetensors");
  const std::vector<float> x = Values(io, "x");
  const std::vector<float> wanted = Values(io, GetParam().y);
  const ModelConfig config = Config(GetParam().json);
  const auto model = test::BuildFrom(config, weights);
  ASSERT_TRUE(model.ok()) << model.status();
  const LayerFacts& layer = (*model)->layers()[0];
  EXPECT_THAT(layer.description,
              HasSubstr(std::string(GetParam().convention) + ": "));
  const graph::Op& fff = (*model)->graph().nodes()[0].op;

  const auto in = static_cast<size_t>((*model)->input().width());
  const auto out = static_cast<size_t>((*model)->output().width());
  const size_t rows = x.size() / in;
  const auto trees = static_cast<size_t>(layer.routing.trees);
  const auto decisions = static_cast<size_t>(layer.routing.decisions);
  std::vector<int32_t> leaves(rows * trees, -1);
  std::vector<float> margins(rows * trees * decisions, std::nanf(""));
  const std::vector<engine::RouteSink> sinks = {
      {leaves.data(), margins.data()}};
  const std::vector<float> y = RunModel(**model, x, sinks);
  ASSERT_EQ(y.size(), wanted.size());

  size_t ambiguous = 0;
  for (size_t row = 0; row < rows; ++row) {
    const Expected expected = ExpectRow(fff, x.data() + row * in);
    if (expected.ambiguous) {
      ++ambiguous;
      continue;
    }
    for (size_t tree = 0; tree < trees; ++tree) {
      const engine::Route& route = expected.routes[tree];
      const size_t at = row * trees + tree;
      ASSERT_EQ(leaves[at], route.leaf) << "row " << row << " tree " << tree;
      ASSERT_EQ(route.z.size(), decisions);
      for (size_t d = 0; d < decisions; ++d) {
        ASSERT_NEAR(margins[at * decisions + d], route.z[d].value,
                    route.z[d].bound);
      }
    }
    for (size_t o = 0; o < out; ++o) {
      const engine::Bounded& output = expected.outputs[o];
      ASSERT_NEAR(y[row * out + o], output.value, output.bound);
      ASSERT_NEAR(y[row * out + o], wanted[row * out + o], 2 * output.bound);
    }
  }
  EXPECT_EQ(ambiguous, 0u);
}

const char kDetected[] = "{}";
const char kSap[] = R"({"layers": [{"type": "fff", "convention": "sap-fff"}]})";
const Vector kVectors[] = {
    {"fastfeedforward-mnist-shape", kDetected, "y", "fastfeedforward"},
    {"fastfeedforward-mnist-shape",
     R"({"layers": [{"type": "fff", "convention": "fastfeedforward-0.2.1"}]})",
     "y_without_leaf_output_bias", "fastfeedforward-0.2.1"},
    {"fastfeedforward-gelu",
     R"({"layers": [{"type": "fff", "activation": "gelu"}]})", "y",
     "fastfeedforward"},
    {"fastfeedforward-gelu",
     R"({"layers": [{"type": "fff", "convention": "fastfeedforward-0.2.1",
                     "activation": "gelu"}]})",
     "y_without_leaf_output_bias", "fastfeedforward-0.2.1"},
    {"ultrafastbert-1x6", kDetected, "y", "ultrafastbert"},
    {"ultrafastbert-3x4", R"({"layers": [{"type": "fff", "trees": 3}]})", "y",
     "ultrafastbert"},
    {"ultrafastbert-bmm-d7",
     R"({"layers": [{"type": "fff", "convention": "ultrafastbert-bmm"}]})", "y",
     "ultrafastbert-bmm"},
    {"sapient-128x64", kSap, "y", "sap-fff"},
    {"sapient-256x256-d9", kSap, "y", "sap-fff"},
};

std::string VectorName(const ::testing::TestParamInfo<Vector>& tested) {
  std::string name =
      std::string(tested.param.name) + "_" + tested.param.convention;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, VectorTest, ::testing::ValuesIn(kVectors),
                         VectorName);

TEST(VectorTest, TheTwoReleasesDiffer) {
  const checkpoint::Checkpoint io =
      Open("vectors/fastfeedforward-mnist-shape/io.safetensors");
  EXPECT_NE(Values(io, "y"), Values(io, "y_without_leaf_output_bias"));
}

TEST(VectorTest, TreesMustBeToldWhereTheyCannotBeSeen) {
  const auto model = test::BuildFrom(
      ModelConfig(), Open("vectors/ultrafastbert-3x4/model.safetensors"));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("trees=3 (5 levels each)"));
}

struct Published {
  const char* file;
  const char* described;
};

TEST(PublishedCheckpointTest, EveryOneBuildsAsItWasPublished) {
  const Published all[] = {
      {"FashionMNIST_l8_d4-0.8669",
       "fastfeedforward: 784 -> (8) -> 10, depth 4 (16 leaves), relu"},
      {"FashionMNIST_l16_d3-0.8738",
       "fastfeedforward: 784 -> (16) -> 10, depth 3 (8 leaves), relu"},
      {"FashionMNIST_l1_d4-0.803",
       "fastfeedforward: 784 -> (1) -> 10, depth 4 (16 leaves), relu"},
      {"model_l8_d4_a1_h1_master3-95.1",
       "master-leaf: 784 -> (8) -> 10, depth 4 (16 leaves), relu"}};
  for (const Published& published : all) {
    const checkpoint::Checkpoint opened =
        Open(std::string("checkpoints/") + published.file);
    EXPECT_EQ(opened.format(), "torch");
    const auto model = test::BuildFrom(ModelConfig(), opened, BuildOptions());
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_THAT((*model)->layers()[0].description,
                HasSubstr(published.described));
    const auto twin = test::BuildCostTwinFrom(ModelConfig(), opened);
    ASSERT_TRUE(twin.ok()) << twin.status();
    EXPECT_EQ(twin->model->output().width(), 10);
  }
}

// The published master leaf, from the raw tensors and the paper's formula.
TEST(PublishedCheckpointTest, TheMasterLeafFollowsItsFormula) {
  const checkpoint::Checkpoint opened =
      Open("checkpoints/model_l8_d4_a1_h1_master3-95.1");
  const auto model = test::BuildFrom(ModelConfig(), opened, BuildOptions());
  ASSERT_TRUE(model.ok()) << model.status();
  const graph::Op& fff = (*model)->graph().nodes()[0].op;
  const std::vector<float> w1 = Values(opened, "magic_w1");
  const std::vector<float> b1 = Values(opened, "magic_b1");
  const std::vector<float> w2 = Values(opened, "magic_w2");
  const std::vector<float> b2 = Values(opened, "magic_b2");
  const double share = 1 / (1 + std::exp(-double{Values(opened, "k")[0]}));
  const size_t width = b1.size();
  const std::vector<float> x = test::RandomRows(40, 784);
  const std::vector<float> y = RunModel(**model, x);
  constexpr double kUnit = 1.0 / (1 << 24);
  for (size_t row = 0; row < 40; ++row) {
    const Expected tree = ExpectRow(fff, x.data() + row * 784);
    if (tree.ambiguous) continue;
    std::vector<double> hidden(width);
    std::vector<double> hidden_size(width);
    for (size_t m = 0; m < width; ++m) {
      hidden[m] = b1[m];
      hidden_size[m] = std::abs(b1[m]);
      for (size_t i = 0; i < 784; ++i) {
        const double product = double{x[row * 784 + i]} * w1[i * width + m];
        hidden[m] += product;
        hidden_size[m] += std::abs(product);
      }
      hidden[m] = std::max(hidden[m], 0.0);
    }
    for (size_t o = 0; o < 10; ++o) {
      double master = b2[o];
      double size = std::abs(b2[o]);
      for (size_t m = 0; m < width; ++m) {
        master += hidden[m] * w2[m * 10 + o];
        size += hidden_size[m] * std::abs(w2[m * 10 + o]);
      }
      const double wanted =
          share * tree.outputs[o].value + (1 - share) * master;
      // 784 + 1 terms, then width + 1, then the blend of four roundings.
      const double bound = tree.outputs[o].bound +
                           (784 + static_cast<double>(width) + 6) * kUnit *
                               (size + std::abs(tree.outputs[o].value));
      ASSERT_NEAR(y[row * 10 + o], wanted, bound) << "row " << row;
    }
  }
}

}  // namespace
}  // namespace fff::model

// Networks of several outputs: how config.json's layers become them, and that
// the CPU, the dense twin, a precision and an example treat each by itself.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/reference/bounds.h"
#include "server/graph/passes.h"
#include "server/importer/model_config.h"
#include "server/model/precision_report.h"
#include "server/model/proof.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using graph::Graph;
using test::RandomRows;
using test::SyntheticCheckpoint;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kIn = 24;
constexpr int64_t kHidden = 32;

// A trunk, what it makes, a head with an FFF layer, and the main head.
constexpr char kTwoHeads[] = R"([
    {"type": "linear", "prefix": "trunk.", "activation": "relu"},
    {"type": "output", "name": "hidden"},
    {"type": "output", "name": "kind", "labels": ["a", "b", "c"], "layers": [
        {"type": "fff", "prefix": "kind.", "convention": "fastfeedforward"}]},
    {"type": "linear", "prefix": "main."}])";

SyntheticCheckpoint Tensors() {
  SyntheticCheckpoint tensors;
  tensors.AddRandom("trunk.weight", {kHidden, kIn});
  tensors.AddRandom("trunk.bias", {kHidden});
  tensors.AddRandom("main.weight", {5, kHidden}).AddRandom("main.bias", {5});
  return tensors.AddLeafLayer("kind.", kHidden, 4, 3, 3);
}

std::string Config(const std::string& layers, const std::string& more = "",
                   const std::string& input = R"({"shape": [24]})") {
  return absl::StrCat(R"({"input": )", input,
                      R"(, "output": {"name": "scores"}, "layers": )", layers,
                      more, "}");
}

importer::ModelConfig Parsed(const std::string& config) {
  const auto parsed = importer::ParseModelConfig(config, "config.json");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *parsed;
}

absl::StatusOr<Graph> Made(const std::string& config,
                           const SyntheticCheckpoint& tensors = Tensors()) {
  return importer::Import(Parsed(config), tensors.Build());
}

std::shared_ptr<const Model> TwoHeads(const std::string& more = "") {
  auto model =
      test::BuildFrom(Parsed(Config(kTwoHeads, more)), Tensors().Build());
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

std::vector<std::string> NamesOf(const Graph& graph) {
  std::vector<std::string> names;
  for (const graph::Port& port : graph.outputs()) names.push_back(port.name);
  return names;
}

SampleOutputs Answer(const Model& model, const std::vector<float>& x) {
  const auto rows = static_cast<int64_t>(x.size()) / model.input().width();
  const tensor::TypedRows in =
      tensor::ConstRows{x.data(), rows, model.input().width()};
  SampleOutputs y(model.graph().outputs(), rows);
  engine::ExecutionContext context(/*threads=*/2);
  model.Run({engine::KernelInputs({&in, 1}), y.rows(), {}}, context);
  return y;
}

// The numbers of a row are within the bounds of double precision.
void ExpectWithin(const std::vector<engine::Bounded>& wanted, const float* got,
                  const std::string& what) {
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_NEAR(got[i], wanted[i].value, wanted[i].bound) << what << " " << i;
  }
}

TEST(OutputLayers, ComeBehindTheMainOutputInTheirOrder) {
  const auto graph = Made(Config(kTwoHeads));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(NamesOf(*graph), ElementsAre("scores", "hidden", "kind"));
  EXPECT_THAT(graph->outputs()[0].shape, ElementsAre(5));
  EXPECT_THAT(graph->outputs()[1].shape, ElementsAre(kHidden));
  EXPECT_THAT(graph->outputs()[2].labels, ElementsAre("a", "b", "c"));
  std::vector<std::string> layers;
  for (size_t i = 0; i < graph->layers().size(); ++i) {
    layers.push_back(
        absl::StrCat(graph->layers()[i].type, " ", graph->DescribeLayer(i)));
  }
  ASSERT_THAT(layers, SizeIs(5));
  EXPECT_EQ(layers[1], "output output \"hidden\": rows of width 32");
  EXPECT_EQ(layers[3], "output output \"kind\": rows of width 3");
}

// Each head against double precision on the trunk that was computed, which is
// held against that of the rows.
TEST(OutputLayers, AreComputedWithinTheBoundsOfTheReference) {
  const auto model = TwoHeads();
  const auto whole = model->WholeGraph();
  ASSERT_TRUE(whole.ok()) << whole.status();
  const Graph& graph = *whole;
  const auto& trunk = std::get<graph::Linear>(graph.nodes()[0].op).weights;
  const auto& kind = std::get<graph::FffLeaf>(graph.nodes()[1].op).weights;
  const auto& main = std::get<graph::Linear>(graph.nodes()[2].op).weights;
  for (const int64_t rows : {1, 3, 64, 700}) {
    const std::vector<float> x = RandomRows(rows, kIn);
    const SampleOutputs y = Answer(*model, x);
    for (int64_t r = 0; r < rows; ++r) {
      const float* const hidden = y.rows(1).row(r);
      ExpectWithin(engine::DenseOutputs(*trunk, x.data() + r * kIn), hidden,
                   "hidden");
      ExpectWithin(engine::DenseOutputs(*main, hidden), y.rows(0).row(r),
                   "scores");
      const engine::Route route = engine::ExactLeafRoute(*kind, hidden);
      ExpectWithin(engine::LeafOutputs(*kind, hidden, route.leaf),
                   y.rows(2).row(r), "kind");
    }
  }
}

TEST(OutputLayers, MayNestAndTapWithinBlocks) {
  SyntheticCheckpoint tensors;
  tensors.AddRandom("a.weight", {4, 4}).AddRandom("b.weight", {4, 4});
  tensors.AddRandom("h.weight", {2, 4});
  const auto graph = Made(Config(R"([{"type": "residual", "layers": [
                    {"type": "linear", "prefix": "a."},
                    {"type": "output", "name": "inner"}]},
                 {"type": "output", "name": "head", "layers": [
                    {"type": "linear", "prefix": "b."},
                    {"type": "output", "name": "within"},
                    {"type": "linear", "prefix": "h."}]}])",
                                 "", R"({"shape": [4]})"),
                          tensors);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(NamesOf(*graph),
              ElementsAre("scores", "inner", "within", "head"));
  const auto model = BuildGraph(*graph, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> x = RandomRows(6, 4);
  const SampleOutputs y = Answer(**model, x);
  // The residual's sum does not take the place of what was tapped.
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_FLOAT_EQ(y.rows(0).data[i], y.rows(1).data[i] + x[i]);
  }
}

TEST(OutputLayers, ABranchThatFlattensLeavesThePicturesBehindItAlone) {
  SyntheticCheckpoint tensors;
  tensors.AddRandom("c.weight", {2, 1, 3, 3}).AddRandom("h.weight", {3, 8});
  tensors.AddRandom("d.weight", {4, 2, 2, 2});
  const auto graph = Made(Config(R"([{"type": "conv2d", "prefix": "c."},
                      {"type": "output", "name": "head", "layers": [
                         {"type": "flatten"},
                         {"type": "linear", "prefix": "h."}]},
                      {"type": "output", "name": "picture"},
                      {"type": "conv2d", "prefix": "d."}])",
                                 "", R"({"shape": [1, 4, 4]})"),
                          tensors);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->outputs()[0].shape, ElementsAre(4, 1, 1));
  EXPECT_THAT(graph->outputs()[1].shape, ElementsAre(3));
  EXPECT_THAT(graph->outputs()[2].shape, ElementsAre(2, 2, 2));
  // Passes make the graph anew.
  const auto dense = graph::Densify(*graph);
  ASSERT_TRUE(dense.ok()) << dense.status();
  EXPECT_THAT(dense->outputs()[2].shape, ElementsAre(2, 2, 2));
}

TEST(OutputLayers, OfSequencesHaveATokenOrARowEach) {
  SyntheticCheckpoint tensors;
  tensors.AddRandom("a.weight", {4, 4}).AddRandom("h.weight", {2, 4});
  const auto graph =
      Made(Config(R"([{"type": "linear", "prefix": "a."},
                      {"type": "output", "name": "class", "layers": [
                         {"type": "pool", "over": "mean"},
                         {"type": "linear", "prefix": "h."}]}])",
                  "", R"([{"name": "x", "shape": ["sequence", 4]}])"),
           tensors);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_TRUE(graph->outputs()[0].sequence);
  EXPECT_FALSE(graph->outputs()[1].sequence);
  // Of several outputs no tail could be computed by itself.
  EXPECT_EQ(graph->positions(), nullptr);
  const auto wanted = Made(Config(R"([{"type": "linear", "prefix": "a."},
                 {"type": "output", "name": "b"}])",
                                  "",
                                  R"([{"name": "x", "shape": ["sequence", 4]},
                 {"name": "p", "type": "int64", "role": "positions"}])"),
                           tensors.Remove("h.weight"));
  EXPECT_THAT(std::string(wanted.status().message()),
              HasSubstr("it has several outputs"));
}

TEST(OutputLayers, NameTheirPlaceWhenTheWeightsDoNotFit) {
  const auto labels = Made(Config(R"([{"type": "linear", "prefix": "trunk."},
                 {"type": "output", "name": "h", "labels": ["a", "b"]}])"));
  EXPECT_EQ(labels.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(labels.status().message()),
              HasSubstr("test.safetensors: layers[1] (output): labels: found 2 "
                        "labels, wanted 32, one per column of the output"));
  const auto width = Made(Config(
      R"([{"type": "output", "name": "h", "layers": [
             {"type": "linear", "prefix": "main."}]},
          {"type": "linear", "prefix": "trunk."}])"));
  EXPECT_THAT(
      std::string(width.status().message()),
      HasSubstr("layers[0].layers[0] (linear): got rows of width 24 from"));
  SyntheticCheckpoint words;
  words.AddRandom("w.weight", {9, 4});
  const auto ids = Made(
      Config(R"([{"type": "output", "name": "ids"},
                 {"type": "embedding", "prefix": "w."}])",
             "", R"([{"name": "x", "type": "int32", "shape": ["sequence"]}])"),
      words);
  EXPECT_THAT(std::string(ids.status().message()),
              HasSubstr("layers[0] (output): got"));
}

TEST(OutputLayers, AreThoseOfTheDenseTwinToo) {
  const auto twin =
      test::BuildCostTwinFrom(Parsed(Config(kTwoHeads)), Tensors().Build());
  ASSERT_TRUE(twin.ok()) << twin.status();
  const Graph& graph = twin->model->graph();
  EXPECT_THAT(NamesOf(graph), ElementsAre("scores", "hidden", "kind"));
  EXPECT_THAT(graph.outputs()[2].labels, IsEmpty());  // they mean nothing there
  // The trunk and the main head have no FFF layer: the same numbers.
  const std::vector<float> x = RandomRows(5, kIn);
  const SampleOutputs dense = Answer(*twin->model, x);
  const SampleOutputs fff = Answer(*TwoHeads(), x);
  for (const size_t output : {0, 1}) {
    const tensor::ConstRows wanted = fff.rows(output);
    for (int64_t i = 0; i < wanted.rows * wanted.width; ++i) {
      ASSERT_NEAR(dense.rows(output).data[i], wanted.data[i], 1e-5);
    }
  }
}

TEST(OutputLayers, OfATrainedTwinAreFoundByTheirNames) {
  const auto fff = Made(Config(kTwoHeads));
  ASSERT_TRUE(fff.ok()) << fff.status();
  SyntheticCheckpoint tensors("dense.safetensors");
  tensors.AddRandom("t.weight", {kHidden, kIn});
  tensors.AddRandom("k.weight", {3, kHidden});
  tensors.AddRandom("m.weight", {5, kHidden});
  const auto import = [&](const std::string& outputs) {
    return importer::ImportDense(
        Parsed(Config(
            kTwoHeads,
            absl::StrCat(R"(, "dense_layers": [
                {"type": "linear", "prefix": "t."},)",
                         outputs, R"({"type": "linear", "prefix": "m."}])"))),
        tensors.Build(), *fff);
  };
  const std::string kind = R"({"type": "output", "name": "kind", "layers": [
      {"type": "linear", "prefix": "k."}]},)";
  const std::string hidden = R"({"type": "output", "name": "hidden"},)";
  const auto good = import(kind + hidden);
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_THAT(NamesOf(*good), ElementsAre("scores", "hidden", "kind"));
  EXPECT_THAT(good->outputs()[2].labels, SizeIs(3));
  EXPECT_THAT(std::string(import(kind).status().message()),
              HasSubstr("dense.safetensors: the dense network has no output "
                        "\"hidden\", which the FFF model has"));
  EXPECT_THAT(std::string(import(kind + hidden +
                                 R"({"type": "output", "name": "more"},)")
                              .status()
                              .message()),
              HasSubstr("has 4 outputs, wanted 3"));
  const std::string narrow = R"({"type": "output", "name": "hidden",
      "layers": [{"type": "linear", "prefix": "k."}]},)";
  EXPECT_THAT(
      std::string(import(narrow + R"({"type": "output", "name": "kind"},)")
                      .status()
                      .message()),
      HasSubstr("for output \"hidden\" the width 3, wanted 32"));
}

TEST(OutputLayers, EachIsHeldAgainstFp32InItsPrecision) {
  const auto fp32 = TwoHeads();
  const auto int8 = TwoHeads(R"(, "precision": "int8")");
  const PrecisionReport report = ReportPrecision(
      graph::Precision::kInt8, *fp32, *int8, RandomReportRows(fp32->graph()));
  ASSERT_THAT(report.outputs, SizeIs(3));
  EXPECT_EQ(report.outputs[0].difference_max, 0);  // no FFF layer before it
  EXPECT_EQ(report.outputs[1].difference_max, 0);
  EXPECT_GT(report.outputs[2].difference_max, 0);
  EXPECT_THAT(report.ToString(),
              HasSubstr("largest output difference 0 (outputs up to "));
  EXPECT_THAT(report.ToString(), HasSubstr(", of \"kind\" "));
}

// The file's `names` hold what the model answers; the first number of the last
// one is off by `moved`.
absl::StatusOr<Proof> Proven(const std::vector<std::string>& names,
                             float moved) {
  const auto model = TwoHeads();
  const std::vector<float> x = RandomRows(4, kIn);
  const SampleOutputs y = Answer(*model, x);
  SyntheticCheckpoint file("example.safetensors");
  file.Add("input.input", {4, kIn}, x);
  for (size_t i = 0; i < y.size(); ++i) {
    const std::string& name = model->graph().outputs()[i].name;
    if (std::find(names.begin(), names.end(), name) == names.end()) continue;
    const tensor::ConstRows rows = y.rows(i);
    std::vector<float> values(rows.data, rows.data + rows.rows * rows.width);
    if (name == names.back()) values[0] += moved;
    file.Add(absl::StrCat("output.", name), {rows.rows, rows.width}, values);
  }
  const auto example = Example::Read(file.Build(), model->graph());
  if (!example.ok()) return example.status();
  return Prove(*model, *example, FindRounding(*model, *example));
}

TEST(OutputLayers, AnExampleProvesThoseThatItHas) {
  EXPECT_TRUE(Proven({"scores", "hidden", "kind"}, 0).ok());
  EXPECT_TRUE(Proven({"hidden"}, 0).ok());
  EXPECT_THAT(
      std::string(Proven({"scores", "hidden"}, 0.5F).status().message()),
      HasSubstr("output \"hidden\", row 0, column 0: got "));
  EXPECT_THAT(std::string(Proven({"scores"}, -0.5F).status().message()),
              HasSubstr("output \"scores\", row 0, column 0: got "));
  EXPECT_THAT(std::string(Proven({}, 0).status().message()),
              HasSubstr("tensor \"output.scores\": is missing"));
}

}  // namespace
}  // namespace fff::model

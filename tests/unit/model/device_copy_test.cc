#include "server/model/device_copy.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/compile.h"
#include "server/model/device_build.h"
#include "server/model/model.h"
#include "server/model/proof.h"
#include "tests/unit/model/synthetic_checkpoint.h"

namespace fff::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// A device that answers every row with 7 and may fail.
struct FakeDevice {
  absl::Status build;
  absl::Status run;
  int runs = 0;
};

class FakeProgram : public engine::DeviceProgram {
 public:
  explicit FakeProgram(FakeDevice* device) : device_(device) {}
  absl::Status Run(const engine::Batch& batch,
                   engine::ExecutionContext&) const override {
    const tensor::MutableRows y = batch.outputs[0];
    ++device_->runs;
    if (device_->run.ok()) std::fill_n(y.data, y.rows * y.width, 7.0F);
    return device_->run;
  }
  absl::Status health() const override { return device_->run; }
  absl::Span<const engine::NodeReport> report() const override {
    return report_;
  }
  int64_t device_bytes() const override { return 1; }

 private:
  FakeDevice* device_;
  std::vector<engine::NodeReport> report_ = {
      {{{1, "few", "why"}, {16, "many", "why"}}, {}}};
};

class FakeEngine : public engine::DeviceEngine {
 public:
  explicit FakeEngine(FakeDevice* device) : device_(device) {}
  const std::vector<engine::DeviceFacts>& devices() const override {
    return devices_;
  }
  std::string Describe() const override { return "fake"; }
  absl::StatusOr<std::unique_ptr<engine::DeviceProgram>> Build(
      const graph::Graph&, const engine::DeviceOptions&) const override {
    if (!device_->build.ok()) return device_->build;
    return std::make_unique<FakeProgram>(device_);
  }

 private:
  FakeDevice* device_;
  std::vector<engine::DeviceFacts> devices_ = {{}};
};

// y = 2 x, one column.
graph::Graph Doubles() {
  auto weights = std::make_shared<graph::DenseWeights>();
  weights->problem = {1, 1, graph::Activation::kIdentity, false};
  weights->w = tensor::FloatArray::CopyOf({2.0F});
  graph::GraphBuilder builder;
  const graph::ValueId x =
      builder.AddInput({"x", tensor::DataType::kF32, {1}, {}});
  builder.BeginLayer({"linear", "", "", "", 1, 1});
  const graph::ValueId y = *builder.Add(graph::Linear{{weights}}, x);
  EXPECT_TRUE(
      builder.AddOutput({"y", tensor::DataType::kF32, {1}, {}}, y).ok());
  return std::move(builder).Build();
}

class DeviceCopyTest : public testing::Test {
 protected:
  DeviceCopyTest() {
    placement_.engine = std::make_shared<FakeEngine>(&device_);
    placement_.use = Placement::Use::kAlways;
    placement_.on_failure = [this](const absl::Status& status) {
      failures_.emplace_back(status.message());
    };
    Serve(nullptr);
  }

  void Serve(std::unique_ptr<const DeviceCopy> copy) {
    model_ = std::make_unique<Model>(Doubles(), *engine::Compile(Doubles(), {}),
                                     std::move(copy));
  }

  absl::StatusOr<std::unique_ptr<DeviceCopy>> Copy() {
    const auto cpu = engine::Compile(Doubles(), {});
    return CopyToDevice(Doubles(), **cpu, placement_);
  }

  std::vector<float> Run(const std::vector<float>& x) {
    std::vector<float> y(x.size(), -1);
    const auto rows = static_cast<int64_t>(x.size());
    engine::ExecutionContext context(1);
    model_->Run(engine::RowsBatch({x.data(), rows, 1}, {y.data(), rows, 1}),
                context);
    return y;
  }

  FakeDevice device_;
  Placement placement_;
  std::vector<std::string> failures_;
  std::unique_ptr<Model> model_;
};

TEST_F(DeviceCopyTest, ANetworkOfSeveralOutputsStaysOnTheCpu) {
  graph::GraphBuilder builder;
  const graph::ValueId x =
      builder.AddInput({"x", tensor::DataType::kF32, {1}, {}});
  builder.BeginLayer({"linear"});
  const graph::ValueId y = *builder.Add(Doubles().nodes()[0].op, x);
  ASSERT_TRUE(builder.AddOutput({"y", tensor::DataType::kF32, {}}, y).ok());
  ASSERT_TRUE(builder.AddOutput({"again", tensor::DataType::kF32, {}}, y).ok());
  const graph::Graph graph = std::move(builder).Build();
  const auto cpu = engine::Compile(graph, {});
  const auto copy = CopyToDevice(graph, **cpu, placement_);
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(*copy, nullptr);
}

TEST_F(DeviceCopyTest, TakesBatchesFromItsSizeOn) {
  auto copy = Copy();
  ASSERT_TRUE(copy.ok()) << copy.status();
  (*copy)->set_rows_min(3);
  Serve(*std::move(copy));
  EXPECT_THAT(Run({1, 2}), ElementsAre(2, 4));
  EXPECT_THAT(Run({1, 2, 3}), ElementsAre(7, 7, 7));
  EXPECT_EQ(device_.runs, 1);
  EXPECT_EQ(model_->device(), "cpu+cuda:0");
}

TEST_F(DeviceCopyTest, ListsTheKernelsOfBothSides) {
  auto copy = Copy();
  ASSERT_TRUE(copy.ok());
  (*copy)->set_rows_min(4);
  Serve(*std::move(copy));
  const auto steps = model_->KernelSteps(0);
  ASSERT_GE(steps.size(), 3U);
  EXPECT_EQ(steps[0].rows_min, 1);
  EXPECT_EQ(steps[steps.size() - 2].rows_min, 4);
  EXPECT_EQ(steps[steps.size() - 2].kernel, "cuda:0 few");
  EXPECT_EQ(steps.back().rows_min, 16);
  EXPECT_EQ(steps.back().kernel, "cuda:0 many");
}

TEST_F(DeviceCopyTest, WithAllBatchesOnTheDeviceListsItsKernelsAlone) {
  auto copy = Copy();
  ASSERT_TRUE(copy.ok());
  Serve(*std::move(copy));
  EXPECT_THAT(model_->KernelSteps(0), SizeIs(2));
  EXPECT_EQ(model_->device(), "cuda:0");
}

TEST_F(DeviceCopyTest, TheCpuAnswersWhenTheDeviceFailsAndItIsToldOnce) {
  auto copy = Copy();
  ASSERT_TRUE(copy.ok());
  Serve(*std::move(copy));
  device_.run = absl::InternalError("CUDA: an illegal memory access");
  EXPECT_THAT(Run({1, 2}), ElementsAre(2, 4));
  EXPECT_THAT(Run({5}), ElementsAre(10));
  EXPECT_THAT(failures_, ElementsAre("CUDA: an illegal memory access"));
  EXPECT_EQ(model_->device_copy()->health(), device_.run);
}

TEST_F(DeviceCopyTest, AModelThatMustBeThereButDoesNotFitIsAnError) {
  device_.build = absl::ResourceExhaustedError("12 bytes wanted, 3 free");
  const auto copy = Copy();
  EXPECT_EQ(copy.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(copy.status().message()), HasSubstr("12 bytes"));
}

TEST_F(DeviceCopyTest, AModelThatMayBeThereButDoesNotFitStaysOnTheCpu) {
  placement_.use = Placement::Use::kMeasured;
  device_.build = absl::ResourceExhaustedError("12 bytes wanted, 3 free");
  const auto copy = Copy();
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(*copy, nullptr);
}

TEST_F(DeviceCopyTest, WithoutAnEngineThereIsNone) {
  placement_.engine = nullptr;
  const auto copy = Copy();
  ASSERT_TRUE(copy.ok());
  EXPECT_EQ(*copy, nullptr);
  EXPECT_EQ(model_->device(), "cpu");
}

TEST_F(DeviceCopyTest, AnExampleIsHeldAgainstTheDeviceToo) {
  auto copy = Copy();
  ASSERT_TRUE(copy.ok()) << copy.status();
  Serve(*std::move(copy));
  const auto prove = [this](float x) {
    test::SyntheticCheckpoint file;
    file.Add("input.x", {1, 1}, {x}).Add("output.y", {1, 1}, {2 * x});
    const auto example = *Example::Read(file.Build(), model_->graph());
    return Prove(*model_, example, FindRounding(*model_, example));
  };
  const auto proof = prove(3.5F);  // 7 is right
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_EQ(proof->devices, "cpu and " + model_->device());
  EXPECT_THAT(std::string(prove(4).status().message()),
              HasSubstr("the answer on " + model_->device() + " is another"));
  device_.run = absl::InternalError("gone");
  EXPECT_EQ(prove(3.5F).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace fff::model

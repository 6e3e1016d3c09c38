#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "server/model/device_copy.h"
#include "server/serving/batching/scheduler.h"
#include "tests/unit/serving/test_layer.h"
#include "tests/unit/serving/test_servable.h"

// Batches of a model that has a copy on a device.
namespace fff::serving {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// y = 3x, so that a test sees which side computed; waits and logs as
// DoublingLayer does.
class TriplingProgram final : public engine::DeviceProgram {
 public:
  TriplingProgram(Gate* gate, RunLog* log) : gate_(gate), log_(log) {}
  absl::Status Run(const engine::Batch& batch,
                   engine::ExecutionContext&) const override {
    const tensor::ConstRows x = batch.inputs[0].floats();
    const tensor::MutableRows y = batch.outputs[0];
    log_->Add("device", x.rows);
    gate_->Enter();
    for (int64_t i = 0; i < x.rows * x.width; ++i) y.data[i] = 3 * x.data[i];
    return absl::OkStatus();
  }
  absl::Status health() const override { return absl::OkStatus(); }
  absl::Span<const engine::NodeReport> report() const override {
    return report_;
  }
  int64_t device_bytes() const override { return 1; }

 private:
  Gate* const gate_;
  RunLog* const log_;
  const std::vector<engine::NodeReport> report_ =
      std::vector<engine::NodeReport>(1);
};

class DeviceBatchTest : public ::testing::Test {
 protected:
  // Batches of `rows_min` rows and more run on the device. 96 rows would take
  // 30 ms: long enough for workers to share them.
  std::shared_ptr<const Servable> OnDeviceFrom(int64_t rows_min) {
    DoublingLayer::Options layer;
    layer.gate = &gate_;
    layer.log = &log_;
    return OnDeviceFrom(rows_min, {layer});
  }
  std::shared_ptr<const Servable> OnDeviceFrom(
      int64_t rows_min, const std::vector<DoublingLayer::Options>& layers) {
    auto copy = std::make_unique<model::DeviceCopy>(
        std::make_unique<TriplingProgram>(&gate_, &log_), model::Placement());
    copy->set_rows_min(rows_min);
    ModelOptions more;
    more.device_copy = std::move(copy);
    auto servable = MakeServable(MakeModel(layers, std::move(more)));
    servable->estimate().Add(96, 30'000'000);
    return servable;
  }

  // The outputs of 96 rows of 1 for which two workers are free, once `batches`
  // batches stand at the gate together.
  std::vector<float> Answer(const std::shared_ptr<const Servable>& servable,
                            int batches) {
    Scheduler scheduler(2);
    while (scheduler.idle_workers() < 2) std::this_thread::yield();
    TestTask task(std::vector<float>(96, 1));
    EXPECT_EQ(scheduler.Submit(servable, &task), absl::OkStatus());
    gate_.AwaitEntered(batches);
    gate_.Open();
    EXPECT_EQ(task.Await(), absl::OkStatus());
    return task.output();
  }

  Gate gate_;
  RunLog log_;
};

TEST_F(DeviceBatchTest, WorkersDoNotShareABatchForADevice) {
  EXPECT_THAT(Answer(OnDeviceFrom(96), 1), Each(3));
  EXPECT_THAT(log_.layers(), ElementsAre("device"));
  EXPECT_THAT(log_.rows(), ElementsAre(96));
}

TEST_F(DeviceBatchTest, WorkersShareWhatIsTooSmallForTheDevice) {
  EXPECT_THAT(Answer(OnDeviceFrom(97), 2), Each(2));
  EXPECT_THAT(log_.rows(), ElementsAre(48, 48));
}

TEST_F(DeviceBatchTest, OfWhatADeviceComputesNoLayersTimeIsKnown) {
  gate_.Open();
  DoublingLayer::Options routed;
  routed.name = "routed";
  routed.routing = {graph::RoutingShape::Family::kPath, 1, 4, 3};
  const auto servable = OnDeviceFrom(2, {DoublingLayer::Options(), routed});
  const metrics::LayerTimes& times = *servable->parts().layer_times;
  BatchRunner runner(/*threads=*/1);
  const auto run = [&](int64_t rows) {
    for (uint32_t i = 0; i < LayerSampler::kEvery; ++i) {
      TestTask task(std::vector<float>(static_cast<size_t>(rows), 1));
      const Piece piece = {&task, 0, rows};
      runner.Run(*servable, {&piece, 1});
    }
  };
  run(2);
  EXPECT_EQ(times.sums().batches, 0u);
  run(1);
  EXPECT_EQ(times.sums().batches, 1u);
  // Where it computes all of them, nothing is sampled.
  EXPECT_EQ(
      OnDeviceFrom(1, {DoublingLayer::Options(), routed})->parts().node_groups,
      nullptr);
}

}  // namespace
}  // namespace fff::serving

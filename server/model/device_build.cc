#include "server/model/device_build.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/engine/execution_context.h"

namespace fff::model {
namespace {

using Clock = std::chrono::steady_clock;

// Batch sizes at which both sides are measured, one thread on the CPU's side.
constexpr int64_t kMeasuredRows[] = {1, 8, 64, 512};
constexpr int kRepeats = 3;
// A side that takes longer is measured once.
constexpr double kSecondsOnce = 0.05;
// Rows of a measurement are no wider than this all together.
constexpr int64_t kFloatsMax = int64_t{16} << 20;

std::vector<float> RandomRows(int64_t rows, int64_t width) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(rows * width));
  for (float& value : values) value = normal(random);
  return values;
}

// Least seconds of a few runs.
template <class Run>
double LeastSeconds(const Run& run) {
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRepeats; ++i) {
    const Clock::time_point start = Clock::now();
    run();
    const std::chrono::duration<double> spent = Clock::now() - start;
    least = std::min(least, spent.count());
    if (least > kSecondsOnce) break;
  }
  return least;
}

// The least measured batch size from which on the device wins at every one, or
// a number that no batch reaches.
absl::StatusOr<int64_t> MeasureRowsMin(const Model& model,
                                       const DeviceCopy& copy) {
  engine::ExecutionContext context(/*threads=*/1);
  const int64_t in = model.input().width();
  const int64_t out = model.output().width();
  int64_t rows_min = std::numeric_limits<int64_t>::max();
  absl::Status status;
  for (const int64_t rows : kMeasuredRows) {
    if (rows > 1 && rows * std::max(in, out) > kFloatsMax) break;
    const std::vector<float> x = RandomRows(rows, in);
    std::vector<float> y(static_cast<size_t>(rows * out));
    const tensor::ConstRows from = {x.data(), rows, in};
    const tensor::MutableRows to = {y.data(), rows, out};
    const double cpu = LeastSeconds([&] { model.Run(from, to, {}, context); });
    const double device =
        LeastSeconds([&] { status.Update(copy.Run(from, to, {})); });
    FFF_RETURN_IF_ERROR(status);
    if (device >= cpu) {
      rows_min = std::numeric_limits<int64_t>::max();
    } else {
      rows_min = std::min(rows_min, rows);
    }
  }
  return rows_min;
}

engine::DeviceChain ChainOf(const Model& model, const LayerOps& ops,
                            std::vector<int>& op_of_layer) {
  engine::DeviceChain chain;
  chain.input_width = model.input().width();
  for (const std::vector<engine::DeviceOp>& layer : ops) {
    op_of_layer.push_back(layer.empty() ? -1
                                        : static_cast<int>(chain.ops.size()));
    chain.ops.insert(chain.ops.end(), layer.begin(), layer.end());
  }
  return chain;
}

absl::StatusOr<std::unique_ptr<DeviceCopy>> Build(const Model& model,
                                                  const LayerOps& ops,
                                                  const Placement& placement) {
  std::vector<int> op_of_layer;
  const engine::DeviceChain chain = ChainOf(model, ops, op_of_layer);
  if (chain.ops.empty()) {
    return absl::UnimplementedError("no layer computes anything");
  }
  engine::DeviceOptions options;
  options.precision = placement.precision;
  options.devices = placement.devices;
  FFF_ASSIGN_OR_RETURN(auto program, placement.engine->Build(chain, options));
  auto copy = std::make_unique<DeviceCopy>(std::move(program),
                                           std::move(op_of_layer), placement);
  if (placement.use == Placement::Use::kAlways) return copy;
  FFF_ASSIGN_OR_RETURN(const int64_t rows_min, MeasureRowsMin(model, *copy));
  copy->set_rows_min(rows_min);
  return copy;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceCopy>> CopyToDevice(
    const Model& model, const LayerOps& ops, const Placement& placement) {
  std::unique_ptr<DeviceCopy> none;
  if (placement.engine == nullptr) return none;
  auto copy = Build(model, ops, placement);
  if (placement.use == Placement::Use::kAlways) return copy;
  if (!copy.ok()) {
    base::LogWarning(absl::StrCat("stays on the CPU: ", DeviceName(placement),
                                  ": ", copy.status().message()));
    return none;
  }
  if ((*copy)->rows_min() == std::numeric_limits<int64_t>::max()) {
    base::LogInfo(absl::StrCat("stays on the CPU: faster than ",
                               DeviceName(placement),
                               " at every measured batch size"));
    return none;
  }
  return copy;
}

int64_t RoutesChanged(const Model& model, int64_t sample) {
  if (model.device_copy() == nullptr) return 0;
  const std::vector<float> x = RandomRows(sample, model.input().width());
  std::vector<float> y(static_cast<size_t>(sample * model.output().width()));
  const tensor::ConstRows from = {x.data(), sample, model.input().width()};
  const tensor::MutableRows to = {y.data(), sample, model.output().width()};
  std::vector<std::vector<int32_t>> leaves[2];
  engine::ExecutionContext context(/*threads=*/1);
  for (auto& side : leaves) {
    std::vector<engine::RouteSink> sinks(model.layers().size());
    side.resize(sinks.size());
    for (size_t i = 0; i < sinks.size(); ++i) {
      side[i].resize(
          static_cast<size_t>(sample * model.layers()[i]->routing().trees));
      sinks[i].leaves = side[i].data();
    }
    if (&side == &leaves[0]) {
      model.RunOnCpu(from, to, sinks, context);
    } else if (!model.device_copy()->Run(from, to, sinks).ok()) {
      return sample;
    }
  }
  int64_t changed = 0;
  for (int64_t row = 0; row < sample; ++row) {
    bool differs = false;
    for (size_t i = 0; i < leaves[0].size(); ++i) {
      const int64_t trees = model.layers()[i]->routing().trees;
      const auto first = static_cast<long>(row * trees);
      differs |= !std::equal(leaves[0][i].begin() + first,
                             leaves[0][i].begin() + first + trees,
                             leaves[1][i].begin() + first);
    }
    changed += differs ? 1 : 0;
  }
  return changed;
}

}  // namespace fff::model

#include "server/model/device_build.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/engine/execution_context.h"
#include "server/tensor/random.h"

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

// Least seconds of a few runs.
template <class Run>
double LeastSeconds(const Run& run) {
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRepeats; ++i) {
    const Clock::time_point start = Clock::now();
    run();
    least = std::min(least, base::SecondsSince(start));
    if (least > kSecondsOnce) break;
  }
  return least;
}

// The least measured batch size from which on the device wins at every one, or
// a number that no batch reaches.
absl::StatusOr<int64_t> MeasureRowsMin(const graph::Graph& graph,
                                       const engine::Executable& cpu,
                                       const DeviceCopy& copy) {
  engine::ExecutionContext context(/*threads=*/1);
  const int64_t in = graph.inputs()[0].width();
  const int64_t out = graph.outputs()[0].width();
  int64_t rows_min = std::numeric_limits<int64_t>::max();
  absl::Status status;
  for (const int64_t rows : kMeasuredRows) {
    if (rows > 1 && rows * std::max(in, out) > kFloatsMax) break;
    const tensor::FloatArray x = tensor::RandomNormal(rows * in);
    tensor::FloatBuffer y(rows * out);
    const engine::RowsBatch batch({x.data(), rows, in}, {y.data(), rows, out});
    const double cpu_s =
        LeastSeconds([&] { status.Update(cpu.Run(batch, context)); });
    const double device_s =
        LeastSeconds([&] { status.Update(copy.Run(batch, context)); });
    FFF_RETURN_IF_ERROR(status);
    if (device_s >= cpu_s) {
      rows_min = std::numeric_limits<int64_t>::max();
    } else {
      rows_min = std::min(rows_min, rows);
    }
  }
  return rows_min;
}

absl::StatusOr<std::unique_ptr<DeviceCopy>> Build(const graph::Graph& graph,
                                                  const engine::Executable& cpu,
                                                  const Placement& placement) {
  if (graph.nodes().empty()) {
    return absl::UnimplementedError("no layer computes anything");
  }
  engine::DeviceOptions options;
  options.precision = placement.precision;
  options.devices = placement.devices;
  FFF_ASSIGN_OR_RETURN(auto program, placement.engine->Build(graph, options));
  auto copy = std::make_unique<DeviceCopy>(std::move(program), placement);
  if (placement.use == Placement::Use::kAlways) return copy;
  FFF_ASSIGN_OR_RETURN(const int64_t rows_min,
                       MeasureRowsMin(graph, cpu, *copy));
  copy->set_rows_min(rows_min);
  return copy;
}

// What keeps the network off every device; "" when nothing does.
std::string WhyNotOnDevices(const graph::Graph& graph) {
  if (graph.outputs().size() > 1) {
    return absl::StrCat("devices compute one output, this network has ",
                        graph.outputs().size());
  }
  for (const graph::Node& node : graph.nodes()) {
    const bool whole_rows = node.tokens == 1 && !node.per_token;
    if (graph::OnDevices(node.op) && whole_rows) continue;
    return absl::StrCat("no device kernel for ", graph::NameOf(node.op),
                        graph::OnDevices(node.op) ? " over tokens" : "");
  }
  return "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceCopy>> CopyToDevice(
    const graph::Graph& graph, const engine::Executable& cpu,
    const Placement& placement) {
  std::unique_ptr<DeviceCopy> none;
  if (placement.engine == nullptr) return none;
  if (const std::string why = WhyNotOnDevices(graph); !why.empty()) {
    base::LogInfo(absl::StrCat("stays on the CPU: ", why));
    return none;
  }
  auto copy = Build(graph, cpu, placement);
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

}  // namespace fff::model

#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/engine/cuda/program.h"

namespace fff::engine::cuda {
namespace {

using Clock = std::chrono::steady_clock;

// Rows that a measurement cycles through: many leaves at one row a call, and
// more bytes than the second-level cache holds at many.
constexpr int64_t kPoolRowsMin = 256;
constexpr int64_t kPoolBytes = int64_t{192} << 20;
constexpr int64_t kSetsMax = 256;

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<long>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::vector<float> Noise(int64_t rows, int64_t width, int64_t pitch) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(rows * pitch), 0.0F);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < width; ++i) {
      values[static_cast<size_t>(r * pitch + i)] = normal(random);
    }
  }
  return values;
}

// Several sets of rows in device memory, each with its output.
struct Pool {
  int64_t sets = 0;
  int64_t x_bytes = 0;  // a set
  int64_t y_bytes = 0;
  DeviceBuffer x;
  DeviceBuffer y;
};

absl::StatusOr<Pool> MakePool(const Chain& chain, int64_t rows) {
  Pool pool;
  const int64_t x_pitch = PitchOf(chain.input_width());
  pool.x_bytes = rows * x_pitch * BytesOf(chain.type());
  pool.y_bytes = rows * PitchOf(chain.output_width()) * BytesOf(chain.type());
  const int64_t set_bytes = pool.x_bytes + pool.y_bytes;
  const int64_t by_bytes = std::max<int64_t>(2, kPoolBytes / set_bytes);
  pool.sets = std::min(
      {kSetsMax, by_bytes, std::max<int64_t>(2, kPoolRowsMin / rows + 2)});
  pool.sets = std::max<int64_t>(pool.sets, std::min<int64_t>(4, by_bytes));
  FFF_ASSIGN_OR_RETURN(pool.x, DeviceBuffer::Make(pool.sets * pool.x_bytes));
  FFF_ASSIGN_OR_RETURN(pool.y, DeviceBuffer::Make(pool.sets * pool.y_bytes));
  const std::vector<float> noise =
      Noise(pool.sets * rows, chain.input_width(), x_pitch);
  std::vector<char> narrow(static_cast<size_t>(pool.x.size()));
  NarrowRow(chain.type(), noise.data(), static_cast<int64_t>(noise.size()),
            narrow.data());
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaMemcpy(pool.x.data(), narrow.data(), narrow.size(),
                          cudaMemcpyHostToDevice),
               "copying rows"));
  return pool;
}

// All sets one after another as a graph, so that the processor's part in a
// launch does not count. Seconds a call, the median of `repeats` replays.
absl::StatusOr<double> TimeKernels(const Pool& pool, Lane& lane, int64_t rows,
                                   int repeats) {
  const auto queue_all = [&]() -> absl::Status {
    for (int64_t set = 0; set < pool.sets; ++set) {
      FFF_RETURN_IF_ERROR(
          lane.QueueKernels(pool.x.As<char>() + set * pool.x_bytes,
                            pool.y.As<char>() + set * pool.y_bytes, rows));
    }
    return absl::OkStatus();
  };
  FFF_RETURN_IF_ERROR(queue_all());
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaStreamSynchronize(lane.stream()), "warming up"));
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  FFF_RETURN_IF_ERROR(ToStatus(
      cudaStreamBeginCapture(lane.stream(), cudaStreamCaptureModeThreadLocal),
      "capturing"));
  const absl::Status queued = queue_all();
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaStreamEndCapture(lane.stream(), &graph), "capturing"));
  FFF_RETURN_IF_ERROR(queued);
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaGraphInstantiate(&executable, graph, 0), "making a graph"));
  cudaGraphDestroy(graph);
  cudaEvent_t start = nullptr;
  cudaEvent_t end = nullptr;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  std::vector<double> seconds;
  for (int i = 0; i < repeats + 2; ++i) {
    cudaEventRecord(start, lane.stream());
    cudaGraphLaunch(executable, lane.stream());
    cudaEventRecord(end, lane.stream());
    cudaEventSynchronize(end);
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, start, end);
    if (i < 2) continue;  // the first replay uploads the graph
    seconds.push_back(1e-3 * double{milliseconds} /
                      static_cast<double>(pool.sets));
  }
  cudaEventDestroy(start);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(executable);
  FFF_RETURN_IF_ERROR(ToStatus(cudaGetLastError(), "measuring"));
  return Median(std::move(seconds));
}

}  // namespace

absl::StatusOr<DeviceTiming> Program::Time(int64_t rows, int repeats) const {
  FFF_RETURN_IF_ERROR(health());
  const Chain& chain = *replicas_[0].chain;
  DeviceTiming timing;
  if (rows <= chain.rows_max()) {
    const Held held = Acquire();
    const UseDevice use(replicas_[held.replica].device);
    absl::StatusOr<double> seconds = absl::InternalError("not measured");
    const auto pool = MakePool(*replicas_[held.replica].chain, rows);
    seconds = pool.ok() ? TimeKernels(*pool, *held.lane, rows, repeats)
                        : absl::StatusOr<double>(pool.status());
    Release(held);
    if (!seconds.ok()) return seconds.status();
    timing.kernel_s = *seconds;
  }
  constexpr int64_t kHostSets = 8;
  const std::vector<float> x =
      Noise(kHostSets * rows, chain.input_width(), chain.input_width());
  std::vector<float> y(static_cast<size_t>(rows * chain.output_width()));
  std::vector<double> seconds;
  for (int i = 0; i < repeats + 2; ++i) {
    const auto start = Clock::now();
    FFF_RETURN_IF_ERROR(
        Run({x.data() + i % kHostSets * rows * chain.input_width(), rows,
             chain.input_width()},
            {y.data(), rows, chain.output_width()}, {}));
    const std::chrono::duration<double> spent = Clock::now() - start;
    if (i >= 2) seconds.push_back(spent.count());
  }
  timing.wall_s = Median(std::move(seconds));
  return timing;
}

}  // namespace fff::engine::cuda

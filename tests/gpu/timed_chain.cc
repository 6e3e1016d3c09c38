#include "tests/gpu/timed_chain.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "server/base/status_macros.h"
#include "server/engine/cuda/engine_object.h"
#include "server/engine/device/lane_tuning.h"
#include "server/engine/device/program.h"
#include "tests/unit/engine/device_chain.h"

extern "C" fff::engine::DeviceEngine* FffOpenCudaEngine(const char* tag,
                                                        char* error,
                                                        int error_size);

namespace fff::gpu {
namespace {

using Clock = std::chrono::steady_clock;
using engine::Buffer;

// Rows that a measurement cycles through: many leaves at one row per call, and
// more bytes than the second-level cache holds at many.
constexpr int64_t kPoolRowsMin = 256;
constexpr int64_t kPoolBytes = int64_t{192} << 20;
constexpr int64_t kSetsMax = 256;
constexpr int kWarmUps = 2;  // the first replay uploads the graph

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<long>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Several sets of rows in device memory, each with its output.
struct Pool {
  int64_t sets = 0;
  int64_t x_bytes = 0;  // of a set
  int64_t y_bytes = 0;
  Buffer x;
  Buffer y;
};

absl::StatusOr<Pool> MakePool(const engine::Chain& chain, int64_t rows) {
  Pool pool;
  const int64_t x_pitch = engine::PitchOf(chain.input_width());
  const int64_t element = engine::BytesOf(chain.type());
  pool.x_bytes = rows * x_pitch * element;
  pool.y_bytes = rows * engine::PitchOf(chain.output_width()) * element;
  const int64_t set_bytes = pool.x_bytes + pool.y_bytes;
  const int64_t by_bytes = std::max<int64_t>(2, kPoolBytes / set_bytes);
  pool.sets = std::min(
      {kSetsMax, by_bytes, std::max<int64_t>(2, kPoolRowsMin / rows + 2)});
  pool.sets = std::max<int64_t>(pool.sets, std::min<int64_t>(4, by_bytes));
  FFF_ASSIGN_OR_RETURN(pool.x,
                       Buffer::Make(chain.device(), pool.sets * pool.x_bytes));
  FFF_ASSIGN_OR_RETURN(pool.y,
                       Buffer::Make(chain.device(), pool.sets * pool.y_bytes));
  const std::vector<float> noise =
      Noise(pool.sets * rows, chain.input_width(), x_pitch);
  std::vector<char> narrow(static_cast<size_t>(pool.x.size()));
  engine::NarrowRow(chain.type(), noise.data(),
                    static_cast<int64_t>(noise.size()), narrow.data());
  FFF_RETURN_IF_ERROR(
      chain.device().CopyIn(pool.x.data(), narrow.data(), pool.x.size()));
  return pool;
}

}  // namespace

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

absl::StatusOr<double> TimeCalls(const engine::DeviceProgram& program,
                                 tensor::ConstRows x, tensor::MutableRows y,
                                 int repeats) {
  const int64_t batches = x.rows / y.rows;
  std::vector<double> seconds;
  for (int i = 0; i < repeats + kWarmUps; ++i) {
    const tensor::ConstRows batch = {x.row(i % batches * y.rows), y.rows,
                                     x.width};
    const auto start = Clock::now();
    FFF_RETURN_IF_ERROR(engine::RunProgram(program, batch, y, {}));
    const std::chrono::duration<double> spent = Clock::now() - start;
    if (i >= kWarmUps) seconds.push_back(spent.count());
  }
  return Median(std::move(seconds));
}

absl::StatusOr<std::unique_ptr<TimedChain>> TimedChain::Make(
    const engine::DeviceChain& chain, const engine::DeviceOptions& options,
    engine::Device& device, engine::HostCopies& copies) {
  auto made = std::unique_ptr<TimedChain>(new TimedChain(device));
  const graph::Graph graph = engine::GraphOf(chain);
  engine::DeviceOptions served = options;
  served.rows_max = 0;
  FFF_ASSIGN_OR_RETURN(made->program_,
                       engine::Program::Make(graph, served, {&device}, copies));
  const engine::UseDevice use(device);
  FFF_ASSIGN_OR_RETURN(made->chain_,
                       engine::Chain::Make(graph, options, device));
  FFF_ASSIGN_OR_RETURN(made->lane_,
                       engine::Lane::Make(made->chain_.get(), &copies));
  FFF_ASSIGN_OR_RETURN(made->steps_, TuneOnLane(options.tuning_seconds,
                                                *made->chain_, *made->lane_));
  return made;
}

std::string TimedChain::KernelAt(int64_t rows) const {
  std::string kernel;
  for (const auto& step : steps_[0]) {
    if (step.rows_min <= rows) kernel = step.kernel;
  }
  return kernel;
}

// All sets one after another as a recording, so that the processor's part in a
// launch does not count.
absl::StatusOr<double> TimedChain::TimeKernels(int64_t rows, int repeats) {
  FFF_ASSIGN_OR_RETURN(const Pool pool, MakePool(*chain_, rows));
  const auto queue_all = [&]() -> absl::Status {
    for (int64_t set = 0; set < pool.sets; ++set) {
      FFF_RETURN_IF_ERROR(
          lane_->QueueKernels(pool.x.As<char>() + set * pool.x_bytes,
                              pool.y.As<char>() + set * pool.y_bytes, rows));
    }
    return absl::OkStatus();
  };
  engine::Stream& stream = lane_->stream();
  FFF_RETURN_IF_ERROR(queue_all());
  FFF_RETURN_IF_ERROR(stream.Synchronize());
  FFF_ASSIGN_OR_RETURN(const auto recording, stream.Record(queue_all));
  std::vector<double> seconds;
  for (int i = 0; i < repeats + kWarmUps; ++i) {
    FFF_ASSIGN_OR_RETURN(const double all_s, stream.Time([&] {
      return stream.Replay(*recording);
    }));
    if (i >= kWarmUps) seconds.push_back(all_s / double(pool.sets));
  }
  return Median(std::move(seconds));
}

absl::StatusOr<DeviceTiming> TimedChain::Time(int64_t rows, int repeats) {
  constexpr int64_t kHostSets = 8;
  const int64_t in = chain_->input_width();
  const int64_t out = chain_->output_width();
  const std::vector<float> x = Noise(kHostSets * rows, in, in);
  std::vector<float> y(static_cast<size_t>(rows * out));
  DeviceTiming timing;
  FFF_ASSIGN_OR_RETURN(timing.wall_s,
                       TimeCalls(*program_, {x.data(), kHostSets * rows, in},
                                 {y.data(), rows, out}, repeats));
  const engine::UseDevice use(device_);
  FFF_ASSIGN_OR_RETURN(timing.kernel_s, TimeKernels(rows, repeats));
  return timing;
}

double MeasureCopyRate(engine::Device& device) {
  constexpr int64_t kBytes = int64_t{512} << 20;
  const engine::UseDevice use(device);
  const auto buffer = Buffer::Make(device, 2 * kBytes);
  if (!buffer.ok()) return 0;
  const auto made = device.MakeStream();
  if (!made.ok()) return 0;
  engine::Stream& stream = **made;
  double rate = 0;
  for (int i = 0; i < 5; ++i) {  // the best of a few
    const auto seconds = stream.Time([&] {
      cudaMemcpyAsync(buffer->As<char>() + kBytes, buffer->data(), kBytes,
                      cudaMemcpyDeviceToDevice,
                      static_cast<cudaStream_t>(stream.native()));
      return absl::OkStatus();
    });
    if (seconds.ok()) rate = std::max(rate, 2.0 * double(kBytes) / *seconds);
  }
  return rate;
}

std::string DescribeCuda() {
  char error[512] = "";
  const std::unique_ptr<engine::DeviceEngine> engine(
      FffOpenCudaEngine(engine::cuda::kEngineTag, error, int{sizeof(error)}));
  return engine == nullptr ? error : engine->Describe();
}

}  // namespace fff::gpu

#include "server/engine/cuda/cuda_device.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/engine/cuda/kernel_lists.h"
#include "server/engine/cuda/launch.h"

namespace fff::engine::cuda {
namespace {

// What path_row asks for at most, which 8.0 and 9.0 have; and what is left to
// its static part.
constexpr int kSharedBytesMax = 160 << 10;
constexpr int kStaticSharedBytes = 1 << 10;

class Graph : public Recording {
 public:
  explicit Graph(cudaGraphExec_t graph) : graph_(graph) {}
  ~Graph() override { cudaGraphExecDestroy(graph_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  cudaGraphExec_t get() const { return graph_; }

 private:
  cudaGraphExec_t graph_;
};

class Event {
 public:
  Event() { cudaEventCreate(&event_); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaStream : public Stream {
 public:
  explicit CudaStream(cudaStream_t stream) : stream_(stream) {}
  ~CudaStream() override { cudaStreamDestroy(stream_); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void* native() const override { return stream_; }
  absl::Status CopyIn(void* device, const void* host, int64_t bytes) override {
    return Copy(device, host, bytes, cudaMemcpyHostToDevice);
  }
  absl::Status CopyOut(void* host, const void* device, int64_t bytes) override {
    return Copy(host, device, bytes, cudaMemcpyDeviceToHost);
  }
  absl::Status Synchronize() override {
    return ToStatus(cudaStreamSynchronize(stream_), "waiting for a stream");
  }

  absl::StatusOr<std::unique_ptr<Recording>> Record(Queue queue) override {
    FFF_RETURN_IF_ERROR(ToStatus(
        cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
        "capturing"));
    const absl::Status queued = queue();
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(stream_, &graph);
    FFF_RETURN_IF_ERROR(queued);
    FFF_RETURN_IF_ERROR(ToStatus(ended, "capturing"));
    cudaGraphExec_t executable = nullptr;
    const cudaError_t made = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    FFF_RETURN_IF_ERROR(ToStatus(made, "making a graph"));
    return std::make_unique<Graph>(executable);
  }
  absl::Status Replay(const Recording& recording) override {
    return ToStatus(
        cudaGraphLaunch(static_cast<const Graph&>(recording).get(), stream_),
        "starting a graph");
  }

  absl::StatusOr<double> Time(Queue queue) override {
    const Event start;
    const Event end;
    cudaEventRecord(start.get(), stream_);
    FFF_RETURN_IF_ERROR(queue());
    cudaEventRecord(end.get(), stream_);
    FFF_RETURN_IF_ERROR(ToStatus(cudaEventSynchronize(end.get()), "measuring"));
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, start.get(), end.get());
    return 1e-3 * double{milliseconds};
  }

 private:
  absl::Status Copy(void* to, const void* from, int64_t bytes,
                    cudaMemcpyKind kind) {
    return ToStatus(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream_),
        "copying rows");
  }

  cudaStream_t stream_;
};

}  // namespace

absl::Status ToStatus(cudaError_t error, absl::string_view doing) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message =
      absl::StrCat("CUDA: ", doing, ": ", cudaGetErrorName(error), ": ",
                   cudaGetErrorString(error));
  return error == cudaErrorMemoryAllocation
             ? absl::ResourceExhaustedError(message)
             : absl::InternalError(message);
}

absl::Status Launched() { return ToStatus(cudaGetLastError(), "launching"); }

absl::StatusOr<bool> AllowShared(std::initializer_list<SharedNeed> needs) {
  for (const SharedNeed& need : needs) {
    const cudaError_t set = cudaFuncSetAttribute(
        need.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, need.bytes);
    if (set == cudaErrorInvalidValue) {
      cudaGetLastError();  // no lasting error
      return false;
    }
    FFF_RETURN_IF_ERROR(ToStatus(set, "shared memory"));
  }
  return true;
}

absl::StatusOr<std::vector<std::unique_ptr<CudaDevice>>> CudaDevice::FindAll() {
  int count = 0;
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaGetDeviceCount(&count), "looking for devices"));
  std::vector<std::unique_ptr<CudaDevice>> devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    FFF_RETURN_IF_ERROR(
        ToStatus(cudaGetDeviceProperties(&properties, i), "properties"));
    devices.push_back(
        std::unique_ptr<CudaDevice>(new CudaDevice(i, properties)));
  }
  return devices;
}

CudaDevice::CudaDevice(int index, const cudaDeviceProp& properties) {
  facts_.index = index;
  facts_.name = properties.name;
  facts_.architecture = absl::StrCat("sm_", properties.major, properties.minor);
  facts_.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  facts_.processors = properties.multiProcessorCount;
  traits_.processors = properties.multiProcessorCount;
  traits_.has_clusters = properties.major >= 9;
  traits_.shared_bytes_max = std::min(
      kSharedBytesMax,
      static_cast<int>(properties.sharedMemPerBlockOptin) - kStaticSharedBytes);
}

absl::StatusOr<std::shared_ptr<void>> CudaDevice::SharedMatmul(
    absl::StatusOr<std::shared_ptr<void>> (*make)()) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<void> handle = matmul_.lock();
  if (handle != nullptr) return handle;
  FFF_ASSIGN_OR_RETURN(handle, make());
  matmul_ = handle;
  return handle;
}

const KernelTable& CudaDevice::kernels() const {
  static const KernelTable table = {PathKernels(), LeafKernels(),
                                    DenseKernels(), RowsKernels()};
  return table;
}

absl::StatusOr<std::shared_ptr<void>> CudaDevice::Allocate(int64_t bytes) {
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<size_t>(bytes));
  if (error != cudaSuccess) {
    cudaGetLastError();  // a refused allocation is no lasting error
    size_t free = 0;
    size_t total = 0;
    cudaMemGetInfo(&free, &total);
    return ToStatus(
        error, absl::StrCat("allocating ", bytes, " bytes of device memory, ",
                            free, " of ", total, " free"));
  }
  std::shared_ptr<void> memory(data, cudaFree);
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaMemset(data, 0, static_cast<size_t>(bytes)), "zeroing"));
  return memory;
}

absl::StatusOr<std::shared_ptr<void>> CudaDevice::AllocateHost(int64_t bytes) {
  void* data = nullptr;
  const cudaError_t error = cudaMallocHost(&data, static_cast<size_t>(bytes));
  if (error != cudaSuccess) {
    cudaGetLastError();
    return ToStatus(error, absl::StrCat("allocating ", bytes,
                                        " bytes of page-locked memory"));
  }
  std::memset(data, 0, static_cast<size_t>(bytes));
  return std::shared_ptr<void>(data, cudaFreeHost);
}

absl::Status CudaDevice::CopyIn(void* device, const void* host, int64_t bytes) {
  return ToStatus(cudaMemcpy(device, host, static_cast<size_t>(bytes),
                             cudaMemcpyHostToDevice),
                  "copying weights");
}

absl::StatusOr<std::unique_ptr<Stream>> CudaDevice::MakeStream() {
  cudaStream_t stream = nullptr;
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
               "making a stream"));
  return std::make_unique<CudaStream>(stream);
}

absl::Status CudaDevice::LastingError() const {
  return ToStatus(cudaPeekAtLastError(), "lasting error");
}

double CudaDevice::NowSeconds() const {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int CudaDevice::Enter() {
  int before = 0;
  cudaGetDevice(&before);
  cudaSetDevice(facts_.index);
  return before;
}

void CudaDevice::Leave(int before) { cudaSetDevice(before); }

}  // namespace fff::engine::cuda

// dense_cublaslt: y = act(x.W^T + b) by cuBLASLt with bias and activation in
// its epilogue.
//
//   x [rows, x_pitch], W [y_pitch, x_pitch] (zero rows below output_width)
//   -> y [rows, y_pitch]
//
// As cuBLASLt sees it, column-major: y^T = W (transposed) x^T, all leading
// dimensions multiples of 8, so that every algorithm qualifies. fp32 means fp32
// products. tf32 lets the tensor cores round the factors to 10 bits. bf16
// rounds weights and rows, outputs too, and sums in fp32. erf-GELU has no
// epilogue: in fp32 it is a pass of its own. In tf32 and bf16 cuBLASLt's tanh
// form stands for it, which is off by less than those precisions are. cuBLASLt
// proposes eight algorithms; the fastest is found by measurement when the
// program is built. FLOPs per row: 2 * input_width * output_width.
#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/status_macros.h"
#include "server/engine/cuda/cuda_device.h"
#include "server/engine/cuda/launch.h"
#include "server/engine/cuda/rows/row_launches.h"
#include "server/engine/device/kernel_table.h"

namespace fff::engine::cuda {
namespace {

constexpr int kAlgorithmsMax = 8;
constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;
// Batch sizes whose algorithms are kept; above it the list starts anew.
constexpr size_t kSizesKeptMax = 4096;

absl::Status ToStatus(cublasStatus_t status, absl::string_view doing) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  const std::string message =
      absl::StrCat("cuBLASLt: ", doing, ": ", cublasLtGetStatusName(status));
  return status == CUBLAS_STATUS_ALLOC_FAILED
             ? absl::ResourceExhaustedError(message)
             : absl::InternalError(message);
}

using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t,
                               decltype(&cublasLtMatrixLayoutDestroy)>;
using Description = std::unique_ptr<cublasLtMatmulDescOpaque_t,
                                    decltype(&cublasLtMatmulDescDestroy)>;
using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t,
                                   decltype(&cublasLtMatmulPreferenceDestroy)>;

absl::StatusOr<Layout> MakeLayout(cudaDataType_t type, int64_t rows,
                                  int64_t columns) {
  cublasLtMatrixLayout_t layout = nullptr;
  FFF_RETURN_IF_ERROR(ToStatus(
      cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(rows),
                                 static_cast<uint64_t>(columns), rows),
      "layout"));
  return Layout(layout, cublasLtMatrixLayoutDestroy);
}

// What is specific to a batch size.
struct Sized {
  Layout x;
  Layout y;
  std::vector<cublasLtMatmulAlgo_t> algorithms;
};

bool FusesActivation(const DenseShape& shape) {
  switch (shape.problem.activation) {
    case Activation::kIdentity:
    case Activation::kRelu:
    case Activation::kGeluTanh:
      return true;
    case Activation::kGelu:
      return shape.type != WeightType::kFp32 || shape.tf32;
    default:
      return false;
  }
}

cublasLtEpilogue_t EpilogueFor(Activation activation, bool fused, bool bias) {
  if (!fused || activation == Activation::kIdentity) {
    return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  }
  if (activation == Activation::kRelu) {
    return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
  }
  return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
}

// One product as cuBLASLt describes it, and what it proposes for each batch
// size.
class Product : public KernelState {
 public:
  Product(const DenseShape& shape, std::shared_ptr<void> handle)
      : shape_(shape),
        handle_(std::move(handle)),
        element_(shape.type == WeightType::kBf16 ? CUDA_R_16BF : CUDA_R_32F) {}

  absl::Status Describe() {
    FFF_ASSIGN_OR_RETURN(w_layout_,
                         MakeLayout(element_, shape_.x_pitch, shape_.y_pitch));
    cublasLtMatmulDesc_t description = nullptr;
    FFF_RETURN_IF_ERROR(ToStatus(
        cublasLtMatmulDescCreate(
            &description,
            shape_.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
            CUDA_R_32F),
        "description"));
    description_.reset(description);
    const DenseProblem& p = shape_.problem;
    FFF_RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T));
    FFF_RETURN_IF_ERROR(
        Set(CUBLASLT_MATMUL_DESC_EPILOGUE,
            EpilogueFor(p.activation, FusesActivation(shape_), p.has_bias)));
    if (!p.has_bias) return absl::OkStatus();
    return Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, shape_.bias);
  }

  absl::StatusOr<std::shared_ptr<const Sized>> SizedFor(int64_t rows) const {
    absl::MutexLock lock(&mutex_);
    std::shared_ptr<const Sized>& kept = sized_[rows];
    if (kept == nullptr) {
      auto made = MakeSized(rows);
      if (!made.ok()) return made.status();
      if (sized_.size() > kSizesKeptMax) {
        sized_.clear();
        return sized_[rows] = *std::move(made);
      }
      kept = *std::move(made);
    }
    return kept;
  }

  absl::Status Multiply(const LaunchArgs& launch) const {
    FFF_ASSIGN_OR_RETURN(const std::shared_ptr<const Sized> sized,
                         SizedFor(launch.rows.rows));
    const float one = 1;
    const float zero = 0;
    const size_t algorithm = std::min(static_cast<size_t>(launch.variant),
                                      sized->algorithms.size() - 1);
    return ToStatus(
        cublasLtMatmul(
            Handle(), description_.get(), &one, shape_.w, w_layout_.get(),
            launch.rows.x, sized->x.get(), &zero, launch.rows.y, sized->y.get(),
            launch.rows.y, sized->y.get(), &sized->algorithms[algorithm],
            launch.scratch.workspace, static_cast<size_t>(kWorkspaceBytes),
            static_cast<cudaStream_t>(launch.stream)),
        "matmul");
  }

 private:
  cublasLtHandle_t Handle() const {
    return static_cast<cublasLtHandle_t>(handle_.get());
  }
  template <class T>
  absl::Status Set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    return ToStatus(cublasLtMatmulDescSetAttribute(
                        description_.get(), attribute, &value, sizeof(value)),
                    "attribute");
  }
  absl::StatusOr<std::shared_ptr<const Sized>> MakeSized(int64_t rows) const {
    FFF_ASSIGN_OR_RETURN(Layout x, MakeLayout(element_, shape_.x_pitch, rows));
    FFF_ASSIGN_OR_RETURN(Layout y, MakeLayout(element_, shape_.y_pitch, rows));
    cublasLtMatmulPreference_t made = nullptr;
    FFF_RETURN_IF_ERROR(
        ToStatus(cublasLtMatmulPreferenceCreate(&made), "preference"));
    const Preference preference(made, cublasLtMatmulPreferenceDestroy);
    const auto workspace = static_cast<uint64_t>(kWorkspaceBytes);
    FFF_RETURN_IF_ERROR(
        ToStatus(cublasLtMatmulPreferenceSetAttribute(
                     made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                     sizeof(workspace)),
                 "preference"));
    cublasLtMatmulHeuristicResult_t found[kAlgorithmsMax];
    int count = 0;
    FFF_RETURN_IF_ERROR(
        ToStatus(cublasLtMatmulAlgoGetHeuristic(
                     Handle(), description_.get(), w_layout_.get(), x.get(),
                     y.get(), y.get(), made, kAlgorithmsMax, found, &count),
                 absl::StrCat("choosing an algorithm for ", rows, " rows")));
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < count; ++i) algorithms.push_back(found[i].algo);
    if (algorithms.empty()) {
      return absl::UnimplementedError(absl::StrCat("cuBLASLt computes no ",
                                                   shape_.problem.ToString(),
                                                   " for ", rows, " rows"));
    }
    return std::make_shared<const Sized>(
        Sized{std::move(x), std::move(y), std::move(algorithms)});
  }

  const DenseShape shape_;
  const std::shared_ptr<void> handle_;
  const cudaDataType_t element_;
  Layout w_layout_{nullptr, cublasLtMatrixLayoutDestroy};
  Description description_{nullptr, cublasLtMatmulDescDestroy};
  mutable absl::Mutex mutex_;
  mutable std::map<int64_t, std::shared_ptr<const Sized>> sized_
      ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::shared_ptr<void>> MakeHandle() {
  cublasLtHandle_t handle = nullptr;
  FFF_RETURN_IF_ERROR(ToStatus(cublasLtCreate(&handle), "starting"));
  return std::shared_ptr<void>(handle, [](void* made) {
    cublasLtDestroy(static_cast<cublasLtHandle_t>(made));
  });
}

bool Supports(const DenseShape&) { return true; }

// The algorithms that cuBLASLt proposes. One where it proposes none, whose
// launch says why.
std::vector<int> Variants(const DenseShape&, const Ask& ask) {
  size_t count = 1;
  if (ask.state != nullptr) {
    const auto sized =
        static_cast<const Product&>(*ask.state).SizedFor(ask.rows);
    if (sized.ok()) count = (*sized)->algorithms.size();
  }
  std::vector<int> algorithms(count);
  std::iota(algorithms.begin(), algorithms.end(), 0);
  return algorithms;
}

ScratchNeed Needs(const DenseShape&, int64_t) {
  return {0, 0, kWorkspaceBytes};
}

absl::StatusOr<std::shared_ptr<const KernelState>> Prepare(
    const DenseShape& shape, const DenseWeights&, Device& device) {
  FFF_ASSIGN_OR_RETURN(
      std::shared_ptr<void> handle,
      static_cast<CudaDevice&>(device).SharedMatmul(MakeHandle));
  auto product = std::make_shared<Product>(shape, std::move(handle));
  FFF_RETURN_IF_ERROR(product->Describe());
  return product;
}

absl::Status LaunchAll(const DenseShape& shape, const LaunchArgs& launch) {
  FFF_RETURN_IF_ERROR(
      static_cast<const Product&>(*launch.state).Multiply(launch));
  if (FusesActivation(shape)) return absl::OkStatus();
  RowArgs rows = launch.rows;
  rows.x = rows.y;
  return ActivateRows(shape, shape.problem.activation, rows, launch.stream);
}

}  // namespace

DeviceDenseKernel DenseCublaslt() {
  return {"dense_cublaslt", {}, Supports, Variants, Needs, LaunchAll, Prepare};
}

}  // namespace fff::engine::cuda

// dense_cublaslt: y = act(x.W^T + b) by cuBLASLt with bias and activation in
// its epilogue.
//
//   x [rows, x_pitch], W [y_pitch, x_pitch] (zero rows below output_width)
//   -> y [rows, y_pitch]
//
// As cuBLASLt sees it, column-major: y^T = W (transposed) x^T, all leading
// dimensions multiples of 8, so that every algorithm qualifies. fp32 means
// fp32 products; tf32 lets the tensor cores round the factors to 10 bits; bf16
// rounds weights and rows, outputs too, and sums in fp32. erf-GELU has no
// epilogue: in fp32 it is a pass of its own, in tf32 and bf16 cuBLASLt's tanh
// form stands for it, which is off by less than those precisions are. Which of
// the eight algorithms that cuBLASLt proposes is fastest is measured when the
// program is built. FLOPs a row: 2 * input_width * output_width.
#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/status_macros.h"
#include "server/engine/cuda/device_layer.h"

namespace fff::engine::cuda {
namespace {

constexpr int kAlgorithmsMax = 8;
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

bool FusesActivation(Activation activation, Precision precision) {
  switch (activation) {
    case Activation::kIdentity:
    case Activation::kRelu:
    case Activation::kGeluTanh:
      return true;
    case Activation::kGelu:
      return precision != Precision::kFp32;
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

class DenseLayer : public DeviceLayer {
 public:
  DenseLayer(const DenseProblem& problem, const LayerBuild& build)
      : problem_(problem),
        build_(build),
        fused_(FusesActivation(problem.activation, build.precision)),
        type_(TypeFor(build.precision)),
        element_(type_ == WeightType::kBf16 ? CUDA_R_16BF : CUDA_R_32F),
        k_(PitchOf(problem.input_width)),
        m_(PitchOf(problem.output_width)) {}

  absl::Status UploadWeights(const DenseWeights& weights) {
    const std::vector<float> zeros(static_cast<size_t>(problem_.input_width),
                                   0.0F);
    FFF_ASSIGN_OR_RETURN(
        w_, Upload(type_, {m_, problem_.input_width, [&](int64_t row) {
                             return row < problem_.output_width
                                        ? weights.w.data() +
                                              row * problem_.input_width
                                        : zeros.data();
                           }}));
    if (problem_.has_bias) {
      FFF_ASSIGN_OR_RETURN(
          bias_, Upload(type_, {1, problem_.output_width,
                                [&](int64_t) { return weights.bias.data(); }}));
    }
    FFF_ASSIGN_OR_RETURN(w_layout_, MakeLayout(element_, k_, m_));
    return Describe();
  }

  int64_t output_width() const override { return problem_.output_width; }
  int64_t weights_bytes() const override { return w_.size() + bias_.size(); }
  ScratchNeed Needs(int64_t) const override {
    ScratchNeed need;
    need.multiplies = true;
    return need;
  }
  std::vector<Candidate> Candidates(int64_t rows, Which) const override {
    std::vector<Candidate> found;
    const auto sized = SizedFor(rows);
    const size_t count = sized.ok() ? (*sized)->algorithms.size() : 1;
    for (size_t i = 0; i < count; ++i) {
      found.push_back({"dense_cublaslt", static_cast<int>(i)});
    }
    return found;
  }

  absl::Status Launch(const Candidate& candidate, const RowArgs& rows,
                      const Scratch& scratch,
                      cudaStream_t stream) const override {
    FFF_ASSIGN_OR_RETURN(const std::shared_ptr<const Sized> sized,
                         SizedFor(rows.rows));
    const float one = 1;
    const float zero = 0;
    const size_t algorithm = std::min(static_cast<size_t>(candidate.variant),
                                      sized->algorithms.size() - 1);
    FFF_RETURN_IF_ERROR(ToStatus(
        cublasLtMatmul(Handle(), description_.get(), &one, w_.data(),
                       w_layout_.get(), rows.x, sized->x.get(), &zero, rows.y,
                       sized->y.get(), rows.y, sized->y.get(),
                       &sized->algorithms[algorithm], scratch.matmul_workspace,
                       static_cast<size_t>(kMatmulWorkspaceBytes), stream),
        "matmul"));
    if (fused_) return absl::OkStatus();
    const RowShape shape = {rows.rows, static_cast<int>(problem_.output_width),
                            static_cast<int>(m_)};
    return cuda::ToStatus(
        ActivateRows(type_, problem_.activation, rows.y, rows.y, shape, stream),
        "activate_rows");
  }

 private:
  cublasLtHandle_t Handle() const {
    return static_cast<cublasLtHandle_t>(build_.matmul.get());
  }

  template <class T>
  absl::Status Set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    return ToStatus(cublasLtMatmulDescSetAttribute(
                        description_.get(), attribute, &value, sizeof(value)),
                    "attribute");
  }

  absl::Status Describe() {
    cublasLtMatmulDesc_t description = nullptr;
    FFF_RETURN_IF_ERROR(
        ToStatus(cublasLtMatmulDescCreate(&description,
                                          build_.precision == Precision::kTf32
                                              ? CUBLAS_COMPUTE_32F_FAST_TF32
                                              : CUBLAS_COMPUTE_32F,
                                          CUDA_R_32F),
                 "description"));
    description_.reset(description);
    FFF_RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T));
    FFF_RETURN_IF_ERROR(
        Set(CUBLASLT_MATMUL_DESC_EPILOGUE,
            EpilogueFor(problem_.activation, fused_, problem_.has_bias)));
    if (!problem_.has_bias) return absl::OkStatus();
    const void* bias = bias_.data();
    return Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
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

  absl::StatusOr<std::shared_ptr<const Sized>> MakeSized(int64_t rows) const {
    FFF_ASSIGN_OR_RETURN(Layout x, MakeLayout(element_, k_, rows));
    FFF_ASSIGN_OR_RETURN(Layout y, MakeLayout(element_, m_, rows));
    cublasLtMatmulPreference_t made = nullptr;
    FFF_RETURN_IF_ERROR(
        ToStatus(cublasLtMatmulPreferenceCreate(&made), "preference"));
    const Preference preference(made, cublasLtMatmulPreferenceDestroy);
    const auto workspace = static_cast<uint64_t>(kMatmulWorkspaceBytes);
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
                                                   problem_.ToString(), " for ",
                                                   rows, " rows"));
    }
    return std::make_shared<const Sized>(
        Sized{std::move(x), std::move(y), std::move(algorithms)});
  }

  DenseProblem problem_;
  LayerBuild build_;
  bool fused_;
  WeightType type_;
  cudaDataType_t element_;
  int64_t k_;
  int64_t m_;
  DeviceBuffer w_;
  DeviceBuffer bias_;
  Layout w_layout_{nullptr, cublasLtMatrixLayoutDestroy};
  Description description_{nullptr, cublasLtMatmulDescDestroy};
  mutable absl::Mutex mutex_;
  mutable std::map<int64_t, std::shared_ptr<const Sized>> sized_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::shared_ptr<void>> MakeMatmulHandle() {
  cublasLtHandle_t handle = nullptr;
  FFF_RETURN_IF_ERROR(ToStatus(cublasLtCreate(&handle), "starting"));
  return std::shared_ptr<void>(handle, [](void* made) {
    cublasLtDestroy(static_cast<cublasLtHandle_t>(made));
  });
}

absl::StatusOr<std::unique_ptr<DeviceLayer>> MakeDenseLayer(
    const DenseWeights& weights, const LayerBuild& build) {
  auto layer = std::make_unique<DenseLayer>(weights.problem, build);
  FFF_RETURN_IF_ERROR(layer->UploadWeights(weights));
  return layer;
}

}  // namespace fff::engine::cuda

#include "server/engine/cuda/chain.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/status_macros.h"

namespace fff::engine::cuda {
namespace {

using LayerPtr = std::unique_ptr<DeviceLayer>;

struct MakeLayer {
  const LayerBuild& build;
  int64_t width;  // of the rows that enter

  absl::StatusOr<LayerPtr> operator()(
      const std::shared_ptr<const PathWeights>& weights) const {
    return MakePathLayer(*weights, build);
  }
  absl::StatusOr<LayerPtr> operator()(
      const std::shared_ptr<const LeafWeights>& weights) const {
    return MakeLeafLayer(*weights, build);
  }
  absl::StatusOr<LayerPtr> operator()(
      const std::shared_ptr<const DenseWeights>& weights) const {
    return MakeDenseLayer(*weights, build);
  }
  absl::StatusOr<LayerPtr> operator()(const MasterLeafOp& op) const {
    return MakeMasterLeafLayer(op, build);
  }
  absl::StatusOr<LayerPtr> operator()(const ActivationOp& op) const {
    return MakeActivationLayer(op, width, build);
  }
  absl::StatusOr<LayerPtr> operator()(const LayerNormOp& op) const {
    return MakeLayerNormLayer(op, build);
  }
};

// What path_row asks for at most, which 8.0 and 9.0 have; and what is left to
// its static part.
constexpr int kSharedBytesMax = 160 << 10;
constexpr int kStaticSharedBytes = 1 << 10;

// Some kernels add in an order of their own: where an FFF layer follows, a near
// tie there would go by the batch size. Where nothing else can compute the
// layer, the first of them stays.
void KeepOneOrderOfSums(std::vector<Candidate>& found) {
  static constexpr absl::string_view kOthers[] = {
      "leaf_grouped", "leaf_tensor", "leaf_wide", "path_masked", "path_tensor"};
  const auto differs = [](const Candidate& candidate) {
    return absl::c_linear_search(kOthers, candidate.kernel);
  };
  const bool all_differ = absl::c_all_of(found, differs);
  const std::string first = found[0].kernel;
  const auto goes = [&](const Candidate& candidate) {
    return all_differ ? candidate.kernel != first : differs(candidate);
  };
  found.erase(std::remove_if(found.begin(), found.end(), goes), found.end());
}

bool Multiplies(const DeviceOp& op) {
  return std::holds_alternative<std::shared_ptr<const DenseWeights>>(op) ||
         std::holds_alternative<MasterLeafOp>(op);
}

absl::StatusOr<LayerBuild> DescribeDevice(Precision precision) {
  int device = 0;
  cudaDeviceProp properties;
  FFF_RETURN_IF_ERROR(ToStatus(cudaGetDevice(&device), "current device"));
  FFF_RETURN_IF_ERROR(
      ToStatus(cudaGetDeviceProperties(&properties, device), "properties"));
  LayerBuild build;
  build.precision = precision;
  build.processors = properties.multiProcessorCount;
  build.has_clusters = properties.major >= 9;
  build.shared_bytes_max = std::min(
      kSharedBytesMax,
      static_cast<int>(properties.sharedMemPerBlockOptin) - kStaticSharedBytes);
  return build;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Chain>> Chain::Make(const DeviceChain& chain,
                                                   const DeviceOptions& options,
                                                   int64_t rows_max) {
  FFF_ASSIGN_OR_RETURN(LayerBuild build, DescribeDevice(options.precision));
  build.rows_max = rows_max;
  build.named = !options.kernel_name.empty();
  if (std::any_of(chain.ops.begin(), chain.ops.end(), Multiplies)) {
    FFF_ASSIGN_OR_RETURN(build.matmul, MakeMatmulHandle());
  }
  auto made = std::unique_ptr<Chain>(new Chain());
  made->input_width_ = chain.input_width;
  made->rows_max_ = rows_max;
  made->type_ = TypeFor(options.precision);
  made->kernel_name_ = options.kernel_name;
  int64_t width = chain.input_width;
  for (size_t i = 0; i < chain.ops.size(); ++i) {
    FFF_ASSIGN_OR_RETURN(LayerPtr layer,
                         std::visit(MakeLayer{build, width}, chain.ops[i]));
    width = layer->output_width();
    made->layers_.push_back(std::move(layer));
    const std::vector<Candidate> candidates = made->Candidates(i, 1);
    if (candidates.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "no CUDA kernel named \"", options.kernel_name, "\" for layer ", i));
    }
    made->choices_.push_back({{1, candidates[0]}});
  }
  return made;
}

int64_t Chain::output_width() const {
  return layers_.empty() ? input_width_ : layers_.back()->output_width();
}

int64_t Chain::weights_bytes() const {
  int64_t bytes = 0;
  for (const auto& layer : layers_) bytes += layer->weights_bytes();
  return bytes;
}

ScratchNeed Chain::needs() const {
  ScratchNeed all;
  for (const auto& layer : layers_) {
    const ScratchNeed need = layer->Needs(rows_max_);
    all.bytes = std::max(all.bytes, need.bytes);
    all.buckets = std::max(all.buckets, need.buckets);
    all.multiplies = all.multiplies || need.multiplies;
  }
  return all;
}

int64_t Chain::between_pitch() const {
  int64_t pitch = 0;
  for (size_t i = 0; i + 1 < layers_.size(); ++i) {
    pitch = std::max(pitch, PitchOf(layers_[i]->output_width()));
  }
  return pitch;
}

bool Chain::RoutesBehind(size_t i) const {
  return std::any_of(layers_.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                     layers_.end(),
                     [](const LayerPtr& layer) { return layer->trees() > 0; });
}

std::vector<Candidate> Chain::Candidates(size_t i, int64_t rows) const {
  const bool named = !kernel_name_.empty() && layers_[i]->trees() > 0;
  std::vector<Candidate> found = layers_[i]->Candidates(
      rows, named ? DeviceLayer::Which::kAll : DeviceLayer::Which::kWorthwhile);
  if (!named) {
    if (RoutesBehind(i)) KeepOneOrderOfSums(found);
    return found;
  }
  const auto other = [this](const Candidate& candidate) {
    return candidate.kernel != kernel_name_ &&
           candidate.ToString() != kernel_name_;
  };
  found.erase(std::remove_if(found.begin(), found.end(), other), found.end());
  return found;
}

void Chain::Choose(size_t i, std::vector<Choice> choices) {
  choices_[i] = std::move(choices);
}

const Candidate& Chain::ChosenFor(size_t i, int64_t rows) const {
  const std::vector<Choice>& choices = choices_[i];
  size_t step = 0;
  while (step + 1 < choices.size() && choices[step + 1].rows_min <= rows) {
    ++step;
  }
  return choices[step].candidate;
}

}  // namespace fff::engine::cuda

#include "server/engine/device/chain.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "server/base/check.h"
#include "server/base/status_macros.h"
#include "server/engine/device/make_layer.h"

namespace fff::engine {
namespace {

// Page-locked memory of a lane, each way: pieces this large already copy at
// full speed, and smaller ones overlap better. With 4 MiB 16,384 rows of 768
// took 2.6 ms instead of 2.1 (an H200, 8 threads that copy).
constexpr int64_t kLaneBytes = int64_t{16} << 20;
constexpr int64_t kLaneRowsMin = 64;

int64_t LaneRows(int64_t input_width, int64_t output_width, int64_t rows_max) {
  if (rows_max > 0) return rows_max;
  const int64_t row_bytes = (PitchOf(input_width) + PitchOf(output_width)) *
                            static_cast<int64_t>(sizeof(float));
  return std::max(kLaneRowsMin, 2 * kLaneBytes / row_bytes);
}

template <class Goes>
void Remove(std::vector<Candidate>& from, const Goes& goes) {
  from.erase(std::remove_if(from.begin(), from.end(), goes), from.end());
}

// Some kernels add in an order of their own: where an FFF layer follows, a near
// tie there would go by the batch size. Where nothing else can compute the
// layer, the first of them stays.
void KeepOneOrderOfSums(const DeviceLayer& layer,
                        std::vector<Candidate>& found) {
  const auto differs = [&layer](const Candidate& candidate) {
    return layer.Traits(candidate.kernel).own_order_of_sums;
  };
  const bool all_differ = absl::c_all_of(found, differs);
  const size_t first = found[0].kernel;
  Remove(found, [&](const Candidate& candidate) {
    return all_differ ? candidate.kernel != first : differs(candidate);
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<Chain>> Chain::Make(const graph::Graph& graph,
                                                   const DeviceOptions& options,
                                                   Device& device) {
  if (graph.inputs().size() != 1 || graph.outputs().size() != 1) {
    return absl::UnimplementedError(absl::StrCat(
        device.kind(), " takes graphs of one input and one output"));
  }
  auto made = std::unique_ptr<Chain>(new Chain(graph, device));
  for (const graph::Node& node : graph.nodes()) {
    const Place& out = made->place(node.out);
    const Place& first = made->place(node.in[0]);
    // The one op of two inputs adds to its first, where that lies.
    if (graph::MayOverwrite(node.op) &&
        (out.where != first.where || out.index != first.index)) {
      return absl::UnimplementedError(
          absl::StrCat(device.kind(), " computes ", graph::NameOf(node.op),
                       " only where nothing else reads its first input"));
    }
    auto layer = MakeLayer(node.op, device);
    if (layer == nullptr || node.tokens != 1 || node.per_token) {
      return absl::UnimplementedError(absl::StrCat(
          device.kind(), " has no kernel for ", graph::NameOf(node.op),
          layer == nullptr ? "" : " over the tokens of a row"));
    }
    made->layers_.push_back(std::move(layer));
    made->nodes_.push_back({{}, node.in, node.out, node.layer});
  }
  if (made->place(graph.output_value(0)).where != Place::Where::kOutput) {
    return absl::UnimplementedError("no layer computes anything");
  }
  made->build_.type = options.precision == Precision::kBf16 ? WeightType::kBf16
                                                            : WeightType::kFp32;
  made->build_.tf32 = options.dense_tf32;
  made->build_.kernel_name = options.kernel_name;
  made->build_.rows_max =
      LaneRows(made->input_width_, made->output_width_, options.rows_max);
  FFF_RETURN_IF_ERROR(made->UploadLayers());
  return made;
}

absl::Status Chain::UploadLayers() {
  for (size_t i = 0; i < layers_.size(); ++i) {
    FFF_RETURN_IF_ERROR(layers_[i]->Upload(build_));
    const std::vector<Candidate> candidates = Candidates(i, 1);
    if (candidates.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("no ", device_.kind(), " kernel named \"",
                       build_.kernel_name, "\" for layer ", i));
    }
    choices_.push_back({{1, candidates[0], "the first"}});
  }
  return absl::OkStatus();
}

int64_t Chain::weights_bytes() const {
  int64_t bytes = 0;
  for (const auto& layer : layers_) bytes += layer->weights_bytes();
  return bytes;
}

ScratchNeed Chain::needs() const {
  ScratchNeed all;
  for (const auto& layer : layers_) all.Cover(layer->Needs(rows_max()));
  return all;
}

std::vector<int64_t> Chain::slot_pitches() const {
  std::vector<int64_t> pitches;
  for (const int64_t width : memory_.slot_widths) {
    pitches.push_back(PitchOf(width));
  }
  return pitches;
}

bool Chain::RoutesBehind(size_t i) const {
  return std::any_of(layers_.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                     layers_.end(),
                     [](const auto& layer) { return layer->trees() > 0; });
}

std::vector<Candidate> Chain::Candidates(size_t i, int64_t rows) const {
  const DeviceLayer& layer = *layers_[i];
  const std::string& wanted = build_.kernel_name;
  const bool named = !wanted.empty() && layer.trees() > 0;
  std::vector<Candidate> found = layer.Candidates(rows, named);
  if (named) {
    Remove(found, [&](const Candidate& candidate) {
      return layer.KernelName(candidate.kernel) != wanted &&
             layer.Name(candidate) != wanted;
    });
  } else if (RoutesBehind(i)) {
    KeepOneOrderOfSums(layer, found);
  }
  return found;
}

void Chain::Choose(std::vector<Choices> choices) {
  FFF_CHECK(choices.size() == layers_.size());
  choices_ = std::move(choices);
}

}  // namespace fff::engine

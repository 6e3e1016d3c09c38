#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/benchmark/report.h"
#include "server/model/model.h"

// Dense networks to hold an FFF model against besides the one it is served
// with, so that no reader has to ask for the fair one.
namespace fff::benchmark {

// Weights of one baseline; kernels may pack a second copy.
inline constexpr int64_t kBaselineWeightsBytesMax = int64_t{1} << 30;

// A dense network and what it stands for.
struct Opponent {
  BaselineKind kind = BaselineKind::kNeurons;
  std::string description;
  std::shared_ptr<const model::Model> model;
  int64_t version = 0;  // of kOtherVersion
};

struct Baselines {
  std::vector<Opponent> opponents;
  std::string left_out;  // why one is missing; empty when none is
};

// The baselines of kind kNeurons and kInferenceWidth that are not `primary`.
// Where the model has other layers than those that route, also
// kWithoutFeedforward. Every layer of `fff` that routes becomes two linear
// layers: input width to N with the layer's activation, N to output width. The
// other layers are those of `fff` and share its weights. New weights are random
// from `seed`, so such a network shows cost alone. Left out, with the reason,
// are:
//   - those of more than weights_bytes_max
//   - all of them when the model runs on a device (they would run on the CPU)
//   - those of a model that does not route. Allocates the weights; errors are
//   those of planning kernels.
absl::StatusOr<Baselines> BuildBaselines(
    const model::Model& fff, BaselineKind primary, uint64_t seed,
    int64_t weights_bytes_max = kBaselineWeightsBytesMax);

// The network with every layer that routes as two linear layers with `width`
// neurons between, of kind kChosen; random as above.
absl::StatusOr<Opponent> BuildOfWidth(const model::Model& fff, int64_t width,
                                      uint64_t seed);

}  // namespace fff::benchmark

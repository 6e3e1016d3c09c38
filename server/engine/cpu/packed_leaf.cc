#include "server/engine/cpu/packed_leaf.h"

#include <utility>

namespace fff::engine {

PackedLeaf::PackedLeaf(std::shared_ptr<const LeafWeights> weights)
    : weights_(std::move(weights)) {
  const LeafProblem& p = problem();
  if (p.leaf_width >= kTransposedBelow || p.precision != Precision::kFp32) {
    return;
  }
  tensor::FloatBuffer packed(p.leaves() * p.input_width * p.leaf_width);
  const float* from = weights_->w1.data();
  float* to = packed.data();
  for (int64_t leaf = 0; leaf < p.leaves(); ++leaf) {
    for (int64_t i = 0; i < p.input_width; ++i) {
      for (int64_t j = 0; j < p.leaf_width; ++j) {
        to[j * p.input_width + i] = from[i * p.leaf_width + j];
      }
    }
    from += p.input_width * p.leaf_width;
    to += p.input_width * p.leaf_width;
  }
  transposed_ = std::move(packed).Freeze();
}

}  // namespace fff::engine

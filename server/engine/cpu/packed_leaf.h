#pragma once

#include <cstdint>
#include <memory>

#include "server/engine/weights.h"

namespace fff::engine {

// Whether all leaves together stay in a last-level cache of usual size.
inline bool LeavesInCache(const LeafProblem& p) {
  return p.leaves() * p.leaf_width * (p.input_width + p.output_width) * 4 <=
         (int64_t{24} << 20);
}

// A leaf layer with its first matrix in the order in which the CPU kernels read
// it. Immutable and thread-safe after construction.
class PackedLeaf {
 public:
  // Leaves narrower than this hold w1 transposed: a row of w1 would fill only a
  // part of a vector. Measured at 784 -> (8): 2.0 times as fast.
  static constexpr int64_t kTransposedBelow = 16;

  explicit PackedLeaf(std::shared_ptr<const LeafWeights> weights);

  const LeafProblem& problem() const { return weights_->problem; }
  const LeafWeights& weights() const { return *weights_; }
  // True: W1 is [leaf_width, input_width]; else [input_width, leaf_width].
  bool transposed() const { return !transposed_.empty(); }
  const float* W1(int64_t leaf) const {
    const LeafProblem& p = problem();
    const float* all = transposed() ? transposed_.data() : weights_->w1.data();
    return all + leaf * p.input_width * p.leaf_width;
  }
  const float* B1(int64_t leaf) const {
    return weights_->b1.data() + leaf * problem().leaf_width;
  }
  const float* W2(int64_t leaf) const {
    const LeafProblem& p = problem();
    return weights_->w2.data() + leaf * p.leaf_width * p.output_width;
  }
  // Null when the layer has no output bias.
  const float* B2(int64_t leaf) const {
    if (!problem().has_output_bias) return nullptr;
    return weights_->b2.data() + leaf * problem().output_width;
  }
  // Beyond the weights it was given.
  int64_t packed_bytes() const { return transposed_.size() * 4; }

 private:
  std::shared_ptr<const LeafWeights> weights_;
  tensor::FloatArray transposed_;  // [leaves, leaf_width, input_width] or empty
};

}  // namespace fff::engine

#pragma once

#include <cstdint>
#include <memory>

#include "server/engine/cpu/router.h"
#include "server/engine/weights.h"

namespace fff::engine {

// Whether all leaves together stay in a last-level cache of usual size.
inline bool LeavesInCache(const LeafProblem& p) {
  return p.leaves() * p.leaf_width * (p.input_width + p.output_width) *
             BytesAWeight(p.precision) <=
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
  // True: W1 is [leaf_width, input_width], as it always is in reduced
  // precision; else [input_width, leaf_width].
  bool transposed() const {
    return problem().precision != Precision::kFp32 || !transposed_.empty();
  }
  // W is float, Bf16 or int8_t, as the layer holds its weights.
  template <class W>
  WeightRows<W> Nodes() const {
    return RowsOf<W>(weights_->node_weights, problem().input_width,
                     weights_->reduced_node_weights);
  }
  template <class W>
  WeightRows<W> W1(int64_t leaf) const {
    const LeafProblem& p = problem();
    if (transposed()) {
      return RowsOf<W>(transposed_, p.input_width, weights_->reduced_w1)
          .From(leaf * p.leaf_width);
    }
    return RowsOf<W>(weights_->w1, p.leaf_width, weights_->reduced_w1)
        .From(leaf * p.input_width);
  }
  const float* B1(int64_t leaf) const {
    return weights_->b1.data() + leaf * problem().leaf_width;
  }
  template <class W>
  WeightRows<W> W2(int64_t leaf) const {
    const LeafProblem& p = problem();
    return RowsOf<W>(weights_->w2, p.output_width, weights_->reduced_w2)
        .From(leaf * p.leaf_width);
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

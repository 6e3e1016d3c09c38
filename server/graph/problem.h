#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "server/graph/activation.h"

// What a kernel has to compute, as plain values. Two fast feedforward families
// and the dense layer they are held against. Nodes are in heap order: root 0,
// children 2n+1 (left) and 2n+2 (right). NaN in a node's z goes left.
namespace fff::graph {

// 2^24 nodes a tree; with the element bound of tensor/shape.h this keeps every
// index inside int64 and every node id inside int32.
inline constexpr int kLevelsMax = 24;
inline constexpr int64_t kTreesMax = 65536;
inline constexpr int64_t kWidthMax = int64_t{1} << 24;

// Where z = 0 goes. kRight: right when z >= 0. kLeft: right only when z > 0.
enum class Tie { kRight, kLeft };

// How the large weights of a layer are held; sums are in fp32 always.
enum class Precision {
  kFp32,  // exact: routes as fp32 arithmetic decides them
  kBf16,  // weights in bf16, rounded to nearest even
  kInt8,  // weights in 8 bits with one fp32 scale a neuron; CPU kernels alone
};
// What a checkpoint's weights may be held in; what config.json names.
inline constexpr Precision kPrecisions[] = {Precision::kFp32, Precision::kBf16,
                                            Precision::kInt8};
absl::string_view Name(Precision precision);
// ", int8 weights"; empty for fp32. For descriptions.
std::string PrecisionText(Precision precision);
// Bytes of one weight.
inline int64_t BytesAWeight(Precision precision) {
  if (precision == Precision::kInt8) return 1;
  return precision == Precision::kBf16 ? 2 : 4;
}

// Path family (UltraFastBERT, arXiv 2311.10770): every visited node
// contributes. For each tree, over `levels` nodes n from the root:
//   z = X[n].x + b[n];  y += act(z) * Y[n];  n = 2n+1 + right(z).
struct PathProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  int levels = 0;  // >= 1; nodes a tree = 2^levels - 1
  int64_t trees = 1;
  Tie tie = Tie::kRight;
  Activation activation = Activation::kIdentity;
  bool has_bias = false;
  Precision precision = Precision::kFp32;  // of X and Y

  int64_t nodes() const { return (int64_t{1} << levels) - 1; }  // a tree
  std::string ToString() const;
};

// Leaf family (fastfeedforward, arXiv 2308.14711): inner nodes only route.
//   `depth` decisions z = W[n].x + b[n] lead to one of 2^depth leaves;
//   y = act(x.w1[leaf] + b1[leaf]).w2[leaf] + b2[leaf].
struct LeafProblem {
  int64_t input_width = 0;
  int64_t leaf_width = 0;
  int64_t output_width = 0;
  int depth = 0;  // 0: one plain feedforward layer
  Tie tie = Tie::kRight;
  Activation activation = Activation::kRelu;
  bool has_output_bias = true;
  Precision precision = Precision::kFp32;  // of W, w1 and w2

  int64_t nodes() const { return (int64_t{1} << depth) - 1; }
  int64_t leaves() const { return int64_t{1} << depth; }
  std::string ToString() const;
};

// y = act(x.W^T + b).
struct DenseProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  Activation activation = Activation::kIdentity;
  bool has_bias = false;
  std::string ToString() const;
};

}  // namespace fff::graph

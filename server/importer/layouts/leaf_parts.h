#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/graph/op.h"
#include "server/importer/convention.h"
#include "server/importer/layouts/tensor_shapes.h"
#include "server/importer/tensor_reader.h"
#include "server/tensor/float_array.h"

// What the readers of leaf family layouts have in common.
namespace fff::importer {

// The matrices of one tree in the order in which kernels hold them, see
// graph::LeafWeights. A bias that is empty is 0.
struct LeafParts {
  int depth = 0;
  int64_t in = 0;
  int64_t width = 0;  // of a leaf's hidden layer
  int64_t out = 0;
  tensor::FloatArray nodes;        // [2^depth - 1, in]
  tensor::FloatArray node_biases;  // [2^depth - 1]
  tensor::FloatArray w1;           // [2^depth, in, width]
  tensor::FloatArray b1;           // [2^depth, width]
  tensor::FloatArray w2;           // [2^depth, width, out]
  tensor::FloatArray b2;           // [2^depth, out]

  int64_t leaves() const { return int64_t{1} << depth; }
  int64_t node_count() const { return leaves() - 1; }
};

// The op with config.json's tie, activation and output bias, else the
// convention's. INVALID_ARGUMENT where the activation is not said, or an output
// bias is asked for that is not there.
absl::StatusOr<graph::Op> LeafOp(const LayerConfig& config,
                                 const Convention& convention, LeafParts parts);

// Leaves y = act(x.w + b) of w [2^depth, in, out] as two products, one of them
// with the identity: on the narrower side, or behind an activation.
absl::StatusOr<graph::Op> AffineLeafOp(const LayerConfig& config,
                                       const Convention& convention,
                                       LeafParts parts, tensor::FloatArray w,
                                       tensor::FloatArray b);

// The depth of a tree of `rows` nodes, at least 1. The message names the
// tensor.
absl::StatusOr<int> DepthOfNodes(const TensorShapes& tensors,
                                 absl::string_view name, int64_t rows);

// Empty when the tensor is not there.
absl::StatusOr<tensor::FloatArray> FloatsIfThere(
    const TensorShapes& tensors, absl::string_view name,
    absl::Span<const int64_t> shape, TensorReader& reader);

// Each of `count` matrices [rows, columns] transposed.
tensor::FloatArray TransposedEach(absl::Span<const float> from, int64_t count,
                                  int64_t rows, int64_t columns);

// Tensors "head0tail", "head1tail", ..., `count` of them.
struct Numbered {
  std::string head;
  std::string tail;
  int64_t count;

  std::string Name(int64_t i) const;
};

// One behind the other; each has this shape.
absl::StatusOr<tensor::FloatArray> Stacked(const TensorShapes& tensors,
                                           const Numbered& names,
                                           const tensor::Shape& shape,
                                           TensorReader& reader);
// The same of biases [width]; empty where the first is not there.
absl::StatusOr<tensor::FloatArray> StackedBiases(const TensorShapes& tensors,
                                                 const Numbered& names,
                                                 int64_t width,
                                                 TensorReader& reader);
// INVALID_ARGUMENT unless just as many are there.
absl::Status CheckCount(const TensorShapes& tensors, const Numbered& names);

// Elements [begin, begin + count) of the same storage.
tensor::FloatArray Slice(const tensor::FloatArray& of, int64_t begin,
                         int64_t count);

}  // namespace fff::importer

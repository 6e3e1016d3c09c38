#pragma once

#include <cstdint>

#include "server/graph/packed_copies.h"
#include "server/graph/problem.h"
#include "server/graph/reduced_matrix.h"
#include "server/tensor/float_array.h"

// Weights of one problem in the order in which checkpoints hold them, fp32,
// row-major. Immutable and shared; a kernel that wants another layout packs its
// own copy when it is made.
//
// A layer of reduced precision (reduced_weights.h) holds its matrices in the
// reduced_... fields, which are empty otherwise, and its biases in fp32; the
// fp32 matrices are then empty, unless they hold the same values once more.
namespace fff::graph {

struct PathWeights {
  PathProblem problem;
  tensor::FloatArray x;     // [trees * nodes, input_width]
  tensor::FloatArray bias;  // [trees * nodes]; empty iff !has_bias
  tensor::FloatArray y;     // [trees * nodes, output_width]
  ReducedMatrix reduced_x;
  ReducedMatrix reduced_y;
};

struct LeafWeights {
  LeafProblem problem;
  tensor::FloatArray node_weights;  // [nodes, input_width]
  tensor::FloatArray node_biases;   // [nodes]
  tensor::FloatArray w1;            // [leaves, input_width, leaf_width]
  tensor::FloatArray b1;            // [leaves, leaf_width]
  tensor::FloatArray w2;            // [leaves, leaf_width, output_width]
  tensor::FloatArray b2;  // [leaves, output_width]; empty iff !has_output_bias
  ReducedMatrix reduced_node_weights;
  ReducedMatrix
      reduced_w1;  // [leaves * leaf_width, input_width]: w1 transposed
  ReducedMatrix reduced_w2;  // [leaves * leaf_width, output_width]
};

struct DenseWeights {
  DenseProblem problem;
  // [output_width, input_width], as torch.nn.Linear. Empty where kernels hold
  // all that is needed, in `copies` (passes.h, WithoutRows).
  tensor::FloatArray w;
  tensor::FloatArray bias;   // [output_width]; empty iff !has_bias
  PackedCopies copies = {};  // of w
};

}  // namespace fff::graph

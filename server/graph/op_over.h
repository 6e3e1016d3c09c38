#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "server/graph/problem.h"
#include "server/tensor/data_type.h"
#include "server/tensor/shape.h"

// What an op is made of: the types of values, what an op says of itself, and
// OpOver, which says what most ops say.
namespace fff::graph {

// Sequences longer than this are no rows: attention takes tokens^2 scores.
inline constexpr int64_t kTokensMax = 65536;

// Bytes of so many fp32 numbers.
inline int64_t FloatBytes(int64_t floats) {
  return floats * static_cast<int64_t>(sizeof(float));
}

// One dimension of a value. kRows: the requests' samples, which any cut may
// divide. kTokens: the tokens of all rows. kFixed: `size` elements always.
struct Dim {
  enum class Kind : uint8_t { kFixed, kRows, kTokens };
  Kind kind = Kind::kFixed;
  int64_t size = 0;  // of kFixed
};

struct ValueType {
  tensor::DataType data_type = tensor::DataType::kF32;
  absl::InlinedVector<Dim, 4> dims;

  // float32 [rows, width].
  static ValueType Rows(int64_t width);
  // float32 [rows, shape].
  static ValueType Rows(absl::Span<const int64_t> shape);
  // float32 [tokens, width]: of sequences of any length.
  static ValueType Tokens(int64_t width);
  bool per_token() const { return dims[0].kind == Dim::Kind::kTokens; }
  // The same with other fixed dimensions.
  ValueType Shaped(absl::Span<const int64_t> shape) const;
  // Elements of one row or token: the product of the fixed dimensions.
  int64_t width() const;
  tensor::Shape shape() const;   // the fixed dimensions: of one row
  std::string ToString() const;  // "F32 [rows, 784]"
};

// What the wire says of the routing of one op. Ops that route have trees >= 1;
// the others trees == 0.
struct RoutingShape {
  enum class Family { kNone, kLeaf, kPath };
  Family family = Family::kNone;
  int64_t trees = 0;
  int decisions = 0;   // margins per row, token and tree
  int depth = 0;       // levels above the bottom one; 2^depth leaves per tree
  int64_t tokens = 1;  // of one row that take ways of their own: Node::tokens
  bool per_token = false;  // Node::per_token

  // Of one row; of one token where rows are sequences of any length.
  int64_t ways() const { return tokens * trees; }
};

// What costs per row assume of sequences of any length, unless a network takes
// shorter ones alone.
inline constexpr int64_t kNominalTokens = 128;

// What one row costs, for reports. A multiply and an add are two flops;
// element-wise work counts one flop per element and step. Bytes are those of
// the weights that one row alone touches.
struct Cost {
  double flops = 0;
  double weight_bytes = 0;
};

// The neurons of an op: dot products with its input that are activated. What a
// dense layer needs to be a fair opponent of a layer that routes.
struct NeuronCount {
  int64_t all = 0;   // that training sees: nodes (path), hidden units (leaf)
  int64_t used = 0;  // dot products of one row, routing decisions included
  Activation activation = Activation::kIdentity;
};

// How often an op on `input_width` elements is applied to a value: once to all
// of a row's, else to each token of a row whose last dimension is as wide; 0
// where it fits neither way.
int64_t TokensOf(const ValueType& in, int64_t input_width);
// See OpOver::Output.
ValueType OutputOf(const ValueType& in, int64_t input_width,
                   int64_t output_width);

// What holds for every op over one set of weights W with a `problem`.
template <class W>
struct OpOver {
  using Weights = W;
  static constexpr size_t kInputs = 1;
  static constexpr tensor::DataType kInputType = tensor::DataType::kF32;
  // Whether the output may lie where the first input does.
  static constexpr bool kMayOverwrite = false;
  // False: devices have no kernel; a network with such an op runs on the CPU.
  static constexpr bool kOnDevices = true;
  std::shared_ptr<const W> weights;

  const auto& problem() const { return weights->problem; }
  std::string Describe() const { return problem().ToString(); }
  // Whether there is one more input: an int32 for each token of the first, so
  // many per row of it.
  bool masked() const { return false; }
  int64_t mask_width() const { return 0; }
  // Whether it sees all tokens of sequences of any length.
  bool spans_sequences() const { return false; }
  int64_t tokens_max() const { return kTokensMax; }  // of a sequence
  int64_t weights_bytes() const { return 0; }
  RoutingShape routing() const { return {}; }
  NeuronCount neurons() const { return {}; }
  // The output's type where `in` is that of the first input. Here: an op on the
  // last dimension keeps those in front; one on whole rows makes flat ones.
  ValueType Output(const ValueType& in) const {
    return OutputOf(in, problem().input_width, problem().output_width);
  }
};

}  // namespace fff::graph

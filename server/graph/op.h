#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/graph/network.h"
#include "server/graph/problem.h"
#include "server/graph/weights.h"
#include "server/tensor/data_type.h"

// THE list of operations. An op is attributes and shared weights as plain
// values; what it says of itself (shapes, cost, description, its dense and its
// reduced form) are members of its struct, so an op that leaves one out does
// not compile. What computes it is chosen by engine::Compile.
namespace fff::graph {

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

struct FffPath : OpOver<PathWeights> {
  static constexpr absl::string_view kName = "fff_path";
  // The output rows as the checkpoint's columns, [output_width, trees * nodes],
  // or empty: what the dense twin shares instead of transposing y once more.
  // Reduce drops them, so a served graph has none.
  tensor::FloatArray y_columns;

  std::string Describe() const;
  Cost cost() const;
  int64_t weights_bytes() const;
  RoutingShape routing() const;
  NeuronCount neurons() const;
};

struct FffLeaf : OpOver<LeafWeights> {
  static constexpr absl::string_view kName = "fff_leaf";
  std::string Describe() const;
  Cost cost() const;
  int64_t weights_bytes() const;
  RoutingShape routing() const;
  NeuronCount neurons() const;
};

struct Linear : OpOver<DenseWeights> {
  static constexpr absl::string_view kName = "linear";
  std::string Describe() const;
  Cost cost() const;
  int64_t weights_bytes() const;
  NeuronCount neurons() const;
};

struct Activate : OpOver<ActivationWeights> {
  static constexpr absl::string_view kName = "activation";
  Cost cost() const;
  ValueType Output(const ValueType& in) const { return in; }
};

struct LayerNorm : OpOver<LayerNormWeights> {
  static constexpr absl::string_view kName = "layer_norm";
  Cost cost() const;
  int64_t weights_bytes() const;
};

struct Blend : OpOver<BlendWeights> {
  static constexpr absl::string_view kName = "blend";
  static constexpr size_t kInputs = 2;
  static constexpr bool kMayOverwrite = true;
  Cost cost() const;
  ValueType Output(const ValueType& in) const { return in; }
};

struct Conv2d : OpOver<Conv2dWeights> {
  static constexpr absl::string_view kName = "conv2d";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  int64_t weights_bytes() const;
  ValueType Output(const ValueType& in) const;
};

struct Pool2d : OpOver<Pool2dWeights> {
  static constexpr absl::string_view kName = "pool2d";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  ValueType Output(const ValueType& in) const;
};

struct Scale : OpOver<ScaleWeights> {
  static constexpr absl::string_view kName = "scale";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  int64_t weights_bytes() const;
  ValueType Output(const ValueType& in) const { return in; }
};

struct Rearrange : OpOver<RearrangeWeights> {
  static constexpr absl::string_view kName = "rearrange";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  int64_t weights_bytes() const;
  ValueType Output(const ValueType& in) const;
};

struct Add : OpOver<AddWeights> {
  static constexpr absl::string_view kName = "add";
  static constexpr bool kOnDevices = false;
  static constexpr size_t kInputs = 2;
  static constexpr bool kMayOverwrite = true;
  Cost cost() const;
  ValueType Output(const ValueType& in) const { return in; }
};

struct Gate : OpOver<GateWeights> {
  static constexpr absl::string_view kName = "gate";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
};

struct Softmax : OpOver<SoftmaxWeights> {
  static constexpr absl::string_view kName = "softmax";
  static constexpr bool kMayOverwrite = true;
  static constexpr bool kOnDevices = false;
  Cost cost() const;
};

struct Attention : OpOver<AttentionWeights> {
  static constexpr absl::string_view kName = "attention";
  static constexpr bool kOnDevices = false;
  bool masked() const { return problem().masked; }
  int64_t mask_width() const { return std::max(problem().tokens, int64_t{1}); }
  bool spans_sequences() const { return problem().tokens == 0; }
  Cost cost() const;
  ValueType Output(const ValueType& in) const;
};

struct PoolTokens : OpOver<PoolTokensWeights> {
  static constexpr absl::string_view kName = "pool_tokens";
  static constexpr bool kOnDevices = false;
  bool masked() const { return problem().masked; }
  int64_t mask_width() const { return std::max(problem().tokens, int64_t{1}); }
  bool spans_sequences() const { return problem().tokens == 0; }
  Cost cost() const;
  ValueType Output(const ValueType& in) const;
};

struct Embedding : OpOver<EmbeddingWeights> {
  static constexpr absl::string_view kName = "embedding";
  static constexpr tensor::DataType kInputType = tensor::DataType::kI32;
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  int64_t weights_bytes() const;
  ValueType Output(const ValueType& in) const;
};

struct Positions : OpOver<PositionsWeights> {
  static constexpr absl::string_view kName = "positions";
  static constexpr bool kMayOverwrite = true;
  static constexpr bool kOnDevices = false;
  bool spans_sequences() const { return true; }
  int64_t tokens_max() const { return problem().count; }
  Cost cost() const;
  int64_t weights_bytes() const;
};

using Op = std::variant<FffPath, FffLeaf, Linear, Activate, LayerNorm, Blend,
                        Conv2d, Pool2d, Scale, Rearrange, Add, Gate, Softmax,
                        Attention, PoolTokens, Embedding, Positions>;

// Calls `f` with the op's struct.
template <class F>
decltype(auto) Visit(const Op& op, F&& f) {
  return std::visit(std::forward<F>(f), op);
}

// "linear".
absl::string_view NameOf(const Op& op);
size_t InputsOf(const Op& op);  // with the mask
int64_t TokensMaxOf(const Op& op);
int64_t InputWidthOf(const Op& op);
bool MayOverwrite(const Op& op);
bool OnDevices(const Op& op);
RoutingShape RoutingOf(const Op& op);
inline bool Routes(const Op& op) { return RoutingOf(op).trees > 0; }

// The type of the op's output. INVALID_ARGUMENT says got and wanted.
absl::StatusOr<ValueType> Infer(const Op& op, absl::Span<const ValueType> in);

}  // namespace fff::graph

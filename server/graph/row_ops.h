#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "server/graph/op_over.h"
#include "server/graph/problem.h"
#include "server/tensor/float_array.h"

// The ops on the elements of one row, or of one token, at a time: each with its
// problem, its weights and what it says of itself (op_over.h).
namespace fff::graph {

// y = act(x), element by element; both widths are the same.
struct ActivationProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  Activation activation = Activation::kIdentity;
  std::string ToString() const;
};

struct ActivationWeights {
  ActivationProblem problem;
};

struct Activate : OpOver<ActivationWeights> {
  static constexpr absl::string_view kName = "activation";
  Cost cost() const;
  ValueType Output(const ValueType& in) const { return in; }
};

// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias per row, the
// variance without Bessel's correction (torch.nn.LayerNorm); both widths are
// the same. Where it is not centred, 0 stands for the mean, also in the
// variance (torch.nn.RMSNorm, arXiv 1910.07467).
struct LayerNormProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  double epsilon = 0;
  bool has_bias = false;
  bool centred = true;
  std::string ToString() const;
};

struct LayerNormWeights {
  LayerNormProblem problem;
  tensor::FloatArray weight;  // [width]
  tensor::FloatArray bias;    // [width]; empty iff !has_bias
};

struct LayerNorm : OpOver<LayerNormWeights> {
  static constexpr absl::string_view kName = "layer_norm";
  Cost cost() const;
  int64_t weights_bytes() const;
};

// y = share * a + (1 - share) * b, element by element; both inputs and y are of
// one width.
struct BlendProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  float share = 1;
  std::string ToString() const;
};

struct BlendWeights {
  BlendProblem problem;
};

struct Blend : OpOver<BlendWeights> {
  static constexpr absl::string_view kName = "blend";
  static constexpr size_t kInputs = 2;
  static constexpr bool kMayOverwrite = true;
  Cost cost() const;
  ValueType Output(const ValueType& in) const { return in; }
};

// y[c, i] = x[c, i] * scale[c] + shift[c]: batch normalisation in eval, and
// pixels as people have them. Both widths are channels * inner.
struct ScaleProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  int64_t channels = 0;
  int64_t inner = 1;  // elements per channel, one behind the other
  std::string ToString() const;
};

struct ScaleWeights {
  ScaleProblem problem;
  tensor::FloatArray scale;  // [channels]
  tensor::FloatArray shift;  // [channels]
};

struct Scale : OpOver<ScaleWeights> {
  static constexpr absl::string_view kName = "scale";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  int64_t weights_bytes() const;
  ValueType Output(const ValueType& in) const { return in; }
};

// y = a + b, element by element: the end of a residual block.
struct AddProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  std::string ToString() const;
};

struct AddWeights {
  AddProblem problem;
};

struct Add : OpOver<AddWeights> {
  static constexpr absl::string_view kName = "add";
  static constexpr bool kOnDevices = false;
  static constexpr size_t kInputs = 2;
  static constexpr bool kMayOverwrite = true;
  Cost cost() const;
  ValueType Output(const ValueType& in) const { return in; }
};

// y[i] = value[i] * act(gate[i]), of the two halves of x (torch.nn.GLU, arXiv
// 2002.05202). The gate is the second half, or the first.
struct GateProblem {
  int64_t input_width = 0;  // 2 * output_width
  int64_t output_width = 0;
  Activation activation = Activation::kSigmoid;
  bool gate_first = false;
  std::string ToString() const;
};

struct GateWeights {
  GateProblem problem;
};

struct Gate : OpOver<GateWeights> {
  static constexpr absl::string_view kName = "gate";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
};

// y = exp(x) / sum of exp(x); both widths are the same.
struct SoftmaxProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  std::string ToString() const;
};

struct SoftmaxWeights {
  SoftmaxProblem problem;
};

struct Softmax : OpOver<SoftmaxWeights> {
  static constexpr absl::string_view kName = "softmax";
  static constexpr bool kMayOverwrite = true;
  static constexpr bool kOnDevices = false;
  Cost cost() const;
};

// The list of this file's ops, for the one of all (op.h).
using RowOps =
    std::variant<Activate, LayerNorm, Blend, Scale, Add, Gate, Softmax>;

}  // namespace fff::graph

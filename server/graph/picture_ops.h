#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "server/graph/op_over.h"
#include "server/graph/problem.h"
#include "server/tensor/float_array.h"
#include "server/tensor/shape.h"

// The ops that see pictures, [channels, height, width] row-major, one picture
// per row: each with its problem, its weights and what it says of itself
// (op_over.h).
namespace fff::graph {

// A picture's size.
struct Picture {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;

  int64_t size() const { return channels * height * width; }
  tensor::Shape shape() const { return {channels, height, width}; }
  std::string ToString() const;  // "3x32x32"
};

// Of a window that moves over a picture: rows and columns.
struct Pair {
  int64_t height = 1;
  int64_t width = 1;
};

// Positions of a window of `size` (dilated) on `length` padded at both ends;
// below 1 where it does not fit.
int64_t WindowPositions(int64_t length, int64_t size, int64_t stride,
                        int64_t padding, int64_t dilation);

// y[o, i, j] = act(b[o] + sum over c, u, v of
//   w[o, c, u, v] * x[g + c, i * stride - padding + u * dilation, ...]),
// zeros around the picture (torch.nn.Conv2d). Channels are cut into `groups`
// that see only their own.
struct Conv2dProblem {
  int64_t input_width = 0;   // from.size()
  int64_t output_width = 0;  // to.size()
  Picture from;
  Picture to;
  Pair kernel;
  Pair stride;
  Pair padding = {0, 0};
  Pair dilation;
  int64_t groups = 1;
  Activation activation = Activation::kIdentity;
  bool has_bias = false;
  std::string ToString() const;
};

struct Conv2dWeights {
  Conv2dProblem problem;
  tensor::FloatArray w;     // [to.channels, from.channels / groups, kernel]
  tensor::FloatArray bias;  // [to.channels]; empty iff !has_bias
};

struct Conv2d : OpOver<Conv2dWeights> {
  static constexpr absl::string_view kName = "conv2d";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  int64_t weights_bytes() const;
  ValueType Output(const ValueType& in) const;
};

// The greatest element of a window, or the mean over its whole size, padding
// counted as zeros (torch.nn.MaxPool2d, AvgPool2d); channel by channel. A NaN
// in a window is its result.
struct Pool2dProblem {
  enum class Kind { kMax, kMean };
  int64_t input_width = 0;   // from.size()
  int64_t output_width = 0;  // to.size()
  Kind kind = Kind::kMax;
  Picture from;
  Picture to;
  Pair size;
  Pair stride;
  Pair padding = {0, 0};
  std::string ToString() const;
};

struct Pool2dWeights {
  Pool2dProblem problem;
};

struct Pool2d : OpOver<Pool2dWeights> {
  static constexpr absl::string_view kName = "pool2d";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  ValueType Output(const ValueType& in) const;
};

// The list of this file's ops, for the one of all (op.h).
using PictureOps = std::variant<Conv2d, Pool2d>;

}  // namespace fff::graph

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/graph/problem.h"
#include "server/tensor/float_array.h"
#include "server/tensor/shape.h"

// What stands around FFF layers in whole networks: convolution, pooling,
// attention and what moves elements. Problems and weights as in problem.h and
// weights.h. A picture is [channels, height, width] row-major, a sequence
// [tokens, width]; both are one row of a batch. Where rows are sequences of any
// length, the values of all tokens of a batch stand one behind the other; what
// sees more than one token then has `tokens` 0 in its problem.
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

// y[i] = x[index[i]] + addend[i]; an index of -1 stands for a zero. Patches,
// tokens of a picture, a class token, positions, the first token.
struct RearrangeProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  tensor::Shape to;  // its product is output_width
  bool moves = false;
  bool adds = false;
  std::string what;  // for people: "patches of 4x4"
  std::string ToString() const;
};

struct RearrangeWeights {
  RearrangeProblem problem;
  std::vector<int32_t>
      index;  // [output_width]; empty iff !moves: y[i] is x[i]'s
  tensor::FloatArray addend;  // [output_width]; empty iff !adds
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

// y = exp(x) / sum of exp(x); both widths are the same.
struct SoftmaxProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;
  std::string ToString() const;
};

struct SoftmaxWeights {
  SoftmaxProblem problem;
};

// Sequences longer than this are no rows: attention takes tokens^2 scores.
inline constexpr int64_t kTokensMax = 65536;

// y[t] = table[id[t]] (torch.nn.Embedding), ids int32 within the table.
struct EmbeddingProblem {
  int64_t input_width = 1;
  int64_t output_width = 0;
  int64_t count = 0;  // rows of the table
  std::string ToString() const;
};

struct EmbeddingWeights {
  EmbeddingProblem problem;
  tensor::FloatArray table;  // [count, output_width]
};

// y[t] = x[t] + table[place of t in its sequence], sequences of any length up
// to that of the table. (Where all rows have the same length, Rearrange does.)
struct PositionsProblem {
  int64_t input_width = 0;
  int64_t output_width = 0;  // as input_width
  int64_t count = 0;         // rows of the table
  std::string ToString() const;
};

struct PositionsWeights {
  PositionsProblem problem;
  tensor::FloatArray table;  // [count, output_width]
};

// Scaled dot product attention over a sequence (arXiv 1706.03762, 3.2). From
// x [tokens, 3 * heads * head_width], the queries q, keys k and values v:
//   s[i, j] = scale * q[i] . k[j] + (mask[j] != 0 ? 0 : mask_value)
//   y[i] = sum over j of softmax(s[i])[j] v[j]
// per head, heads side by side in y [tokens, heads * head_width]. The mask is
// an int32 per token and may be absent, which says 1 of all. Where it says 0 of
// all of a row's tokens, it changes nothing (softmax does not see a constant).
struct AttentionProblem {
  // How the columns of x are laid out: all q, all k, all v (kBlocks, each by
  // head), or q, k, v of one head after the other (kHeads).
  enum class Layout { kBlocks, kHeads };
  int64_t input_width = 0;   // tokens (or 1) * 3 * heads * head_width
  int64_t output_width = 0;  // tokens (or 1) * heads * head_width
  int64_t tokens = 0;        // of every row; 0: sequences of any length
  int64_t heads = 1;
  int64_t head_width = 0;
  Layout layout = Layout::kBlocks;
  bool causal = false;  // j > i is left out
  bool exclude_self =
      false;  // j == i is left out, but where it is all there is
  float scale = 1;
  bool masked = false;  // has a second input, the mask
  float mask_value = 0;

  int64_t width() const { return heads * head_width; }
  std::string ToString() const;
};

struct AttentionWeights {
  AttentionProblem problem;
};

// One vector from a sequence, column by column over its tokens; with a mask
// over those of which it says 1 (of none: over all), without over all.
struct PoolTokensProblem {
  enum class Over { kMean, kMax, kLogSumExp, kFirst };
  int64_t input_width = 0;   // tokens (or 1) * width
  int64_t output_width = 0;  // width
  int64_t tokens = 0;        // of every row; 0: sequences of any length
  Over over = Over::kMean;
  bool masked = false;  // has a second input, an int32 per token or absent
  std::string ToString() const;
};

struct PoolTokensWeights {
  PoolTokensProblem problem;
};

}  // namespace fff::graph

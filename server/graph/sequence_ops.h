#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/graph/op_over.h"
#include "server/tensor/float_array.h"
#include "server/tensor/shape.h"

// The ops that see several tokens of a row, or make or move them: each with its
// problem, its weights and what it says of itself (op_over.h). A sequence is
// [tokens, width]. Where rows are sequences of any length, the values of all
// tokens of a batch stand one behind the other; what sees more than one token
// then has `tokens` 0 in its problem.
namespace fff::graph {

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

struct Rearrange : OpOver<RearrangeWeights> {
  static constexpr absl::string_view kName = "rearrange";
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  int64_t weights_bytes() const;
  ValueType Output(const ValueType& in) const;
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

struct PoolTokens : OpOver<PoolTokensWeights> {
  static constexpr absl::string_view kName = "pool_tokens";
  static constexpr bool kOnDevices = false;
  bool masked() const { return problem().masked; }
  int64_t mask_width() const { return std::max(problem().tokens, int64_t{1}); }
  bool spans_sequences() const { return problem().tokens == 0; }
  Cost cost() const;
  ValueType Output(const ValueType& in) const;
};

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

struct Embedding : OpOver<EmbeddingWeights> {
  static constexpr absl::string_view kName = "embedding";
  static constexpr tensor::DataType kInputType = tensor::DataType::kI32;
  static constexpr bool kOnDevices = false;
  Cost cost() const;
  int64_t weights_bytes() const;
  ValueType Output(const ValueType& in) const;
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

struct Positions : OpOver<PositionsWeights> {
  static constexpr absl::string_view kName = "positions";
  static constexpr bool kMayOverwrite = true;
  static constexpr bool kOnDevices = false;
  bool spans_sequences() const { return true; }
  int64_t tokens_max() const { return problem().count; }
  Cost cost() const;
  int64_t weights_bytes() const;
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

struct Attention : OpOver<AttentionWeights> {
  static constexpr absl::string_view kName = "attention";
  static constexpr bool kOnDevices = false;
  bool masked() const { return problem().masked; }
  int64_t mask_width() const { return std::max(problem().tokens, int64_t{1}); }
  bool spans_sequences() const { return problem().tokens == 0; }
  Cost cost() const;
  ValueType Output(const ValueType& in) const;
};

// The list of this file's ops, for the one of all (op.h).
using SequenceOps =
    std::variant<Rearrange, PoolTokens, Embedding, Positions, Attention>;

}  // namespace fff::graph

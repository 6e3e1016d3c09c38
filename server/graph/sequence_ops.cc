#include "server/graph/sequence_ops.h"

#include "absl/strings/str_cat.h"

namespace fff::graph {
namespace {

// Exponential, sum, product and maximum of one score.
constexpr double kSoftmaxSteps = 4;

std::string TokensText(int64_t tokens) {
  return tokens == 0 ? "all tokens" : absl::StrCat(tokens, " tokens");
}

absl::string_view NameOf(PoolTokensProblem::Over over) {
  switch (over) {
    case PoolTokensProblem::Over::kMean:
      return "mean";
    case PoolTokensProblem::Over::kMax:
      return "max";
    case PoolTokensProblem::Over::kLogSumExp:
      return "logsumexp";
    case PoolTokensProblem::Over::kFirst:
      return "first";
  }
  return "";
}

}  // namespace

std::string RearrangeProblem::ToString() const {
  return absl::StrCat(what, " to ", tensor::ToString(to));
}

Cost Rearrange::cost() const {
  return {problem().adds ? static_cast<double>(problem().output_width) : 0,
          static_cast<double>(weights_bytes())};
}

int64_t Rearrange::weights_bytes() const {
  return FloatBytes(static_cast<int64_t>(weights->index.size()) +
                    weights->addend.size());
}

ValueType Rearrange::Output(const ValueType& in) const {
  return in.Shaped(problem().to);
}

std::string PoolTokensProblem::ToString() const {
  return absl::StrCat(NameOf(over), " of ", TokensText(tokens), " of ",
                      output_width, masked ? ", masked" : "");
}

Cost PoolTokens::cost() const {
  return {static_cast<double>(problem().input_width), 0};
}

ValueType PoolTokens::Output(const ValueType& in) const {
  const PoolTokensProblem& p = problem();
  if (spans_sequences()) return ValueType::Rows(p.output_width);
  if (in.width() == p.input_width) return in.Shaped({p.output_width});
  return OutputOf(in, p.input_width, p.output_width);
}

std::string EmbeddingProblem::ToString() const {
  return absl::StrCat(count, " rows of ", output_width);
}

Cost Embedding::cost() const {
  const auto width = static_cast<double>(problem().output_width);
  return {0, width * sizeof(float)};
}

int64_t Embedding::weights_bytes() const {
  return FloatBytes(weights->table.size());
}

ValueType Embedding::Output(const ValueType& in) const {
  ValueType out = in;
  out.data_type = tensor::DataType::kF32;
  out.dims.back().size = problem().output_width;
  return out;
}

std::string PositionsProblem::ToString() const {
  return absl::StrCat("of ", count, " tokens of ", output_width);
}

Cost Positions::cost() const {
  const auto width = static_cast<double>(problem().output_width);
  return {width, width * sizeof(float)};
}

int64_t Positions::weights_bytes() const {
  return FloatBytes(weights->table.size());
}

std::string AttentionProblem::ToString() const {
  return absl::StrCat(
      heads, heads == 1 ? " head of " : " heads of ", head_width, " over ",
      TokensText(tokens), causal ? ", causal" : "",
      exclude_self ? ", without a token's own" : "", masked ? ", masked" : "");
}

Cost Attention::cost() const {
  const AttentionProblem& p = problem();
  // Of one token of a sequence of any length.
  const auto of_tokens =
      static_cast<double>(p.tokens > 0 ? p.tokens * p.tokens : kNominalTokens);
  const double pairs =
      of_tokens * static_cast<double>(p.heads) * (p.causal ? 0.5 : 1.0);
  return {pairs * (4 * static_cast<double>(p.head_width) + kSoftmaxSteps), 0};
}

ValueType Attention::Output(const ValueType& in) const {
  if (spans_sequences()) return in.Shaped({problem().width()});
  return in.Shaped({problem().tokens, problem().width()});
}

}  // namespace fff::graph

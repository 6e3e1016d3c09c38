#include "server/graph/network.h"

#include "absl/strings/str_cat.h"

namespace fff::graph {
namespace {

std::string Text(const Pair& pair) {
  return absl::StrCat(pair.height, "x", pair.width);
}

bool IsOne(const Pair& pair) { return pair.height == 1 && pair.width == 1; }

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

std::string Picture::ToString() const {
  return absl::StrCat(channels, "x", height, "x", width);
}

int64_t WindowPositions(int64_t length, int64_t size, int64_t stride,
                        int64_t padding, int64_t dilation) {
  const int64_t span = dilation * (size - 1) + 1;
  const int64_t room = length + 2 * padding - span;
  return room < 0 ? 0 : room / stride + 1;
}

std::string Conv2dProblem::ToString() const {
  std::string text =
      absl::StrCat(from.ToString(), " -> ", to.ToString(), ", ", Text(kernel));
  if (!IsOne(stride)) absl::StrAppend(&text, ", stride ", Text(stride));
  if (padding.height != 0 || padding.width != 0) {
    absl::StrAppend(&text, ", padding ", Text(padding));
  }
  if (!IsOne(dilation)) absl::StrAppend(&text, ", dilation ", Text(dilation));
  if (groups != 1) absl::StrAppend(&text, ", ", groups, " groups");
  if (!has_bias) absl::StrAppend(&text, " without bias");
  if (activation != Activation::kIdentity) {
    absl::StrAppend(&text, ", ", Name(activation));
  }
  return text;
}

std::string Pool2dProblem::ToString() const {
  return absl::StrCat(kind == Kind::kMax ? "max of " : "mean of ", Text(size),
                      ", ", from.ToString(), " -> ", to.ToString());
}

std::string ScaleProblem::ToString() const {
  return absl::StrCat(channels,
                      channels == 1 ? " channel of " : " channels of ", inner);
}

std::string RearrangeProblem::ToString() const {
  return absl::StrCat(what, " to ", tensor::ToString(to));
}

std::string AddProblem::ToString() const {
  return absl::StrCat("of ", input_width);
}

std::string GateProblem::ToString() const {
  return absl::StrCat(gate_first ? "first" : "second", " half of ", input_width,
                      " by ", Name(activation));
}

std::string SoftmaxProblem::ToString() const {
  return absl::StrCat("over ", input_width);
}

std::string EmbeddingProblem::ToString() const {
  return absl::StrCat(count, " rows of ", output_width);
}

std::string PositionsProblem::ToString() const {
  return absl::StrCat("of ", count, " tokens of ", output_width);
}

std::string AttentionProblem::ToString() const {
  return absl::StrCat(
      heads, heads == 1 ? " head of " : " heads of ", head_width, " over ",
      TokensText(tokens), causal ? ", causal" : "",
      exclude_self ? ", without a token's own" : "", masked ? ", masked" : "");
}

std::string PoolTokensProblem::ToString() const {
  return absl::StrCat(NameOf(over), " of ", TokensText(tokens), " of ",
                      output_width, masked ? ", masked" : "");
}

}  // namespace fff::graph

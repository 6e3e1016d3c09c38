#include "server/graph/op.h"

// The members of the ops of network.h.
namespace fff::graph {
namespace {

// Exponential, sum, product and maximum of one score.
constexpr double kSoftmaxSteps = 4;

}  // namespace

Cost Conv2d::cost() const {
  const Conv2dProblem& p = problem();
  const int64_t channels = p.from.channels / p.groups;
  const double products =
      static_cast<double>(p.kernel.height * p.kernel.width * channels) *
      static_cast<double>(p.output_width);
  return {2 * products, static_cast<double>(weights_bytes())};
}

int64_t Conv2d::weights_bytes() const {
  return FloatBytes(weights->w.size() + weights->bias.size());
}

ValueType Conv2d::Output(const ValueType& in) const {
  return in.Shaped(problem().to.shape());
}

Cost Pool2d::cost() const {
  const Pool2dProblem& p = problem();
  return {static_cast<double>(p.size.height * p.size.width * p.output_width),
          0};
}

ValueType Pool2d::Output(const ValueType& in) const {
  return in.Shaped(problem().to.shape());
}

Cost Scale::cost() const {
  return {2 * static_cast<double>(problem().input_width),
          static_cast<double>(weights_bytes())};
}

int64_t Scale::weights_bytes() const {
  return FloatBytes(weights->scale.size() + weights->shift.size());
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

Cost Add::cost() const {
  return {static_cast<double>(problem().input_width), 0};
}

Cost Gate::cost() const {
  return {2 * static_cast<double>(problem().output_width), 0};
}

Cost Softmax::cost() const {
  return {kSoftmaxSteps * static_cast<double>(problem().input_width), 0};
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

Cost PoolTokens::cost() const {
  return {static_cast<double>(problem().input_width), 0};
}

ValueType PoolTokens::Output(const ValueType& in) const {
  const PoolTokensProblem& p = problem();
  if (spans_sequences()) return ValueType::Rows(p.output_width);
  if (in.width() == p.input_width) return in.Shaped({p.output_width});
  return OutputOf(in, p.input_width, p.output_width);
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

Cost Positions::cost() const {
  const auto width = static_cast<double>(problem().output_width);
  return {width, width * sizeof(float)};
}

int64_t Positions::weights_bytes() const {
  return FloatBytes(weights->table.size());
}

}  // namespace fff::graph

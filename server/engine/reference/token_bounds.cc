// The oracles of the ops over tokens, in double, with their bounds.
#include <algorithm>
#include <cmath>

#include "server/engine/reference/bounds.h"
#include "server/engine/reference/rounding.h"

namespace fff::engine {
namespace {

// A vector exp is within 2 ulp, and within the least subnormal below that.
constexpr double kExpError = 4 * kUnitRoundoff;
constexpr double kExpUnderflow = 2 * kHalfSubnormal;
constexpr double kLogError = 8 * kUnitRoundoff;

// exp(z - greatest) where both are known to a bound. What the greatest is off
// by is common to all terms of a softmax, so it only counts where the
// difference is rounded and where exp underflows.
Bounded ExpBelow(const Bounded& z, const Bounded& greatest) {
  const double below = z.value - greatest.value;
  const double value = std::exp(below);
  const double rounding =
      kUnitRoundoff * (std::abs(below) + z.bound + greatest.bound);
  const double relative =
      std::expm1(z.bound + rounding) * (1 + kExpError) + kExpError;
  return {value, value * relative + kExpUnderflow * std::exp(greatest.bound)};
}

// numerator / denominator, the denominator > 0; at most three roundings.
Bounded Quotient(const Bounded& numerator, const Bounded& denominator) {
  const double value = numerator.value / denominator.value;
  const double least = denominator.value - denominator.bound;
  if (!(least > 0)) return {value, kInfinity};
  const double inherited =
      (numerator.bound + std::abs(value) * denominator.bound) / least;
  return {value, inherited + Gamma(3) * (std::abs(value) + inherited) +
                     2 * kHalfSubnormal};
}

// `row` with what the problem says of all rows, and no mask that says 0 of all
// tokens.
TokensOfRow Resolved(int64_t problem_tokens, const TokensOfRow& row) {
  TokensOfRow resolved = row;
  if (problem_tokens > 0) resolved.tokens = problem_tokens;
  if (row.mask != nullptr && std::all_of(row.mask, row.mask + resolved.tokens,
                                         [](int32_t m) { return m == 0; })) {
    resolved.mask = nullptr;
  }
  return resolved;
}

// Where one head's q, k and v of a token are, and which tokens see each other.
struct Head {
  const graph::AttentionProblem& problem;
  const float* x;
  TokensOfRow row;
  int64_t head;

  // part: 0 q, 1 k, 2 v.
  const float* At(int64_t token, int64_t part) const {
    const graph::AttentionProblem& p = problem;
    const bool by_heads = p.layout == graph::AttentionProblem::Layout::kHeads;
    const int64_t before = by_heads ? 3 * head + part : part * p.heads + head;
    return x + token * 3 * p.width() + before * p.head_width;
  }
  bool Sees(int64_t query, int64_t key) const {
    if (problem.causal && key > query) return false;
    const bool alone = row.tokens == 1 || (problem.causal && query == 0);
    return !problem.exclude_self || key != query || alone;
  }
};

Bounded Score(const Head& head, int64_t query, int64_t key) {
  const double scale = head.problem.scale;
  const Bounded dot = BoundedDot(head.At(key, 1), 1, head.At(query, 0),
                                 head.problem.head_width, 0, /*roundings=*/1);
  Bounded score = {scale * dot.value,
                   std::abs(scale) * dot.bound + kHalfSubnormal};
  if (head.row.mask != nullptr && head.row.mask[key] == 0) {
    // The sum is rounded where it is, far from 0 as the mask's value may be.
    score.value += double{head.problem.mask_value};
    score.bound += kUnitRoundoff * (std::abs(score.value) + score.bound);
  }
  const bool fits = std::abs(score.value) + score.bound < kFloatMax;
  return fits ? score : Bounded{score.value, kInfinity};
}

// y [head_width] of one query.
void AttendQuery(const Head& head, int64_t query, Bounded* y) {
  const graph::AttentionProblem& p = head.problem;
  std::vector<int64_t> keys;
  std::vector<Bounded> scores;
  Bounded greatest = {-kInfinity, 0};
  for (int64_t key = 0; key < head.row.tokens; ++key) {
    if (!head.Sees(query, key)) continue;
    keys.push_back(key);
    scores.push_back(Score(head, query, key));
    greatest.value = std::max(greatest.value, scores.back().value);
    greatest.bound = std::max(greatest.bound, scores.back().bound);
  }
  const auto terms = static_cast<int64_t>(keys.size());
  Bounded sum;
  std::vector<Bounded> columns(static_cast<size_t>(p.head_width));
  std::vector<double> magnitudes(columns.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const Bounded weight = ExpBelow(scores[i], greatest);
    sum.value += weight.value;
    sum.bound += weight.bound;
    const float* v = head.At(keys[i], 2);
    for (size_t c = 0; c < columns.size(); ++c) {
      columns[c].value += weight.value * v[c];
      columns[c].bound += weight.bound * std::abs(v[c]);
      magnitudes[c] += weight.value * std::abs(v[c]);
    }
  }
  sum.bound = SumBound(terms, sum.value, sum.bound);
  for (size_t c = 0; c < columns.size(); ++c) {
    columns[c].bound = SumBound(terms, magnitudes[c], columns[c].bound);
    y[c] = Quotient(columns[c], sum);
  }
}

Bounded MeanOf(const std::vector<Bounded>& values) {
  Bounded sum;
  double magnitude = 0;
  for (const Bounded& v : values) {
    sum.value += v.value;
    magnitude += std::abs(v.value);
  }
  const auto terms = static_cast<int64_t>(values.size());
  sum.bound = SumBound(terms, magnitude, 0);
  return Quotient(sum, {static_cast<double>(terms), 0});
}

Bounded GreatestOf(const std::vector<Bounded>& values) {
  Bounded greatest = values.front();
  for (const Bounded& v : values) {
    if (v.value > greatest.value || std::isnan(v.value)) greatest = v;
  }
  return greatest;
}

Bounded LogSumExpOf(const std::vector<Bounded>& values) {
  const Bounded greatest = GreatestOf(values);
  if (!std::isfinite(greatest.value)) return greatest;
  Bounded sum;
  for (const Bounded& v : values) {
    const Bounded term = ExpBelow(v, greatest);
    sum.value += term.value;
    sum.bound += term.bound;
  }
  sum.bound =
      SumBound(static_cast<int64_t>(values.size()), sum.value, sum.bound);
  const double least = sum.value - sum.bound;
  if (!(least > 0)) return {greatest.value + std::log(sum.value), kInfinity};
  const double log = std::log(sum.value);
  const double inherited = sum.bound / least;
  const double log_error = inherited + kLogError * (log + inherited);
  return {greatest.value + log,
          log_error + Gamma(1) * (std::abs(greatest.value) + log + log_error)};
}

}  // namespace

std::vector<Bounded> AttentionOutputs(const graph::AttentionWeights& weights,
                                      const float* x, const TokensOfRow& row) {
  const graph::AttentionProblem& p = weights.problem;
  const TokensOfRow of = Resolved(p.tokens, row);
  std::vector<Bounded> outputs(static_cast<size_t>(of.tokens * p.width()));
  for (int64_t token = 0; token < of.tokens; ++token) {
    for (int64_t head = 0; head < p.heads; ++head) {
      AttendQuery({p, x, of, head}, token,
                  outputs.data() + token * p.width() + head * p.head_width);
    }
  }
  return outputs;
}

std::vector<Bounded> PoolTokensOutputs(const graph::PoolTokensWeights& weights,
                                       const float* x, const TokensOfRow& row) {
  const graph::PoolTokensProblem& p = weights.problem;
  const TokensOfRow of = Resolved(p.tokens, row);
  std::vector<Bounded> outputs;
  for (int64_t c = 0; c < p.output_width; ++c) {
    std::vector<Bounded> values;
    for (int64_t t = 0; t < of.tokens; ++t) {
      if (of.mask != nullptr && of.mask[t] == 0) continue;
      values.push_back({x[t * p.output_width + c], 0});
    }
    switch (p.over) {
      case graph::PoolTokensProblem::Over::kMean:
        outputs.push_back(MeanOf(values));
        break;
      case graph::PoolTokensProblem::Over::kMax:
        outputs.push_back(GreatestOf(values));
        break;
      case graph::PoolTokensProblem::Over::kLogSumExp:
        outputs.push_back(LogSumExpOf(values));
        break;
      case graph::PoolTokensProblem::Over::kFirst:
        outputs.push_back(values.front());
        break;
    }
  }
  return outputs;
}

std::vector<Bounded> SoftmaxOutputs(const graph::SoftmaxProblem& problem,
                                    const float* x) {
  const int64_t width = problem.input_width;
  const Bounded greatest = {*std::max_element(x, x + width), 0};
  Bounded sum;
  std::vector<Bounded> outputs;
  for (int64_t i = 0; i < width; ++i) {
    outputs.push_back(ExpBelow({x[i], 0}, greatest));
    sum.value += outputs.back().value;
    sum.bound += outputs.back().bound;
  }
  sum.bound = SumBound(width, sum.value, sum.bound);
  for (Bounded& output : outputs) output = Quotient(output, sum);
  return outputs;
}

}  // namespace fff::engine

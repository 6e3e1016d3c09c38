#include "server/engine/reference/bounds.h"

#include <cmath>

#include "server/engine/reference/rounding.h"

namespace fff::engine {
namespace {

// Roundings of a sum beyond one a term: int8 weights meet their scale once, in
// fp32, after (the dot product) or before (the weighted sum) the terms.
int64_t ScaleRoundings(Precision precision) {
  return precision == Precision::kInt8 ? 1 : 0;
}

// Accumulates sum a[j] * w[j] where both magnitudes and inherited errors count.
class Sum {
 public:
  explicit Sum(Precision precision)
      : is_int8_(precision == Precision::kInt8),
        terms_(ScaleRoundings(precision)) {}
  void Add(const Bounded& a, double w) {
    value_ += a.value * w;
    magnitude_ += std::abs(a.value * w);
    // 0 * infinity: an unknown factor times nothing is nothing.
    if (w != 0) inherited_ += a.bound * std::abs(w);
    ++terms_;
  }
  Bounded Finish() const {
    // A factor that met its scale may be subnormal, and off by half a subnormal
    // times the whole number that it then meets.
    const double halves =
        is_int8_ ? 128.0 * static_cast<double>(terms_) * kHalfSubnormal : 0;
    return {value_, SumBound(terms_, magnitude_, inherited_) + halves};
  }

 private:
  double value_ = 0;
  double magnitude_ = 0;
  double inherited_ = 0;
  bool is_int8_;
  int64_t terms_;
};

// Walks `decisions` nodes; `z_of(node)` evaluates one, `right_at(level, z)`
// says where to go.
template <class ZOf, class RightAt>
Route Walk(int decisions, int steps, const ZOf& z_of, const RightAt& right_at) {
  Route route;
  int64_t node = 0;
  for (int level = 0; level < decisions; ++level) {
    route.z.push_back(z_of(node));
    if (level < steps) {
      node = 2 * node + 1 + (right_at(level, route.z.back().value) ? 1 : 0);
    }
  }
  route.leaf = static_cast<int32_t>(node - ((int64_t{1} << steps) - 1));
  return route;
}

auto Forced(int steps, int32_t leaf) {
  return [steps, leaf](int level, double) {
    return ((leaf >> (steps - 1 - level)) & 1) != 0;
  };
}

auto Free(Tie tie) {
  return [tie](int, double z) { return GoesRight(tie, z); };
}

auto PathZ(const PathWeights& weights, const float* x, int64_t tree) {
  return [&weights, x, tree](int64_t node) {
    const PathProblem& p = weights.problem;
    const int64_t row = tree * p.nodes() + node;
    return BoundedDot(weights.x.data() + row * p.input_width, 1, x,
                      p.input_width, p.has_bias ? weights.bias[row] : 0.0,
                      ScaleRoundings(p.precision));
  };
}

auto LeafZ(const LeafWeights& weights, const float* x) {
  return [&weights, x](int64_t node) {
    const LeafProblem& p = weights.problem;
    return BoundedDot(weights.node_weights.data() + node * p.input_width, 1, x,
                      p.input_width, weights.node_biases[node],
                      ScaleRoundings(p.precision));
  };
}

}  // namespace

Bounded BoundedDot(const float* w, int64_t w_stride, const float* x, int64_t n,
                   double bias, int64_t roundings) {
  double value = bias;
  double magnitude = std::abs(bias);
  for (int64_t i = 0; i < n; ++i) {
    const double product = double{w[i * w_stride]} * double{x[i]};
    value += product;
    magnitude += std::abs(product);
  }
  return {value, SumBound(n + roundings, magnitude, 0)};
}

Bounded BoundedActivation(Activation activation, const Bounded& z) {
  const graph::ActivationInfo& info = graph::InfoOf(activation);
  const double value = info.exact(z.value);
  if (activation == Activation::kIdentity || activation == Activation::kRelu) {
    return {value, z.bound};
  }
  // 4e-7 relative to max(|value|, min(1, |z|)): see the table in
  // cpu/activation-inl.h; oneDNN's eltwise keeps 1e-6 of the same.
  const double scale =
      std::fmax(std::abs(value), std::fmin(1, std::abs(z.value)));
  return {value, info.slope_max * z.bound + 1e-6 * scale + kHalfSubnormal};
}

bool GoesRight(Tie tie, double z) {
  return tie == Tie::kRight ? z >= 0 : z > 0;  // NaN: false
}

Route ExactPathRoute(const PathWeights& weights, const float* x, int64_t tree) {
  const PathProblem& p = weights.problem;
  return Walk(p.levels, p.levels - 1, PathZ(weights, x, tree), Free(p.tie));
}

Route ExactLeafRoute(const LeafWeights& weights, const float* x) {
  const LeafProblem& p = weights.problem;
  return Walk(p.depth, p.depth, LeafZ(weights, x), Free(p.tie));
}

Route PathRouteTo(const PathWeights& weights, const float* x, int64_t tree,
                  int32_t leaf) {
  const int steps = weights.problem.levels - 1;
  return Walk(steps + 1, steps, PathZ(weights, x, tree), Forced(steps, leaf));
}

Route LeafRouteTo(const LeafWeights& weights, const float* x, int32_t leaf) {
  const int depth = weights.problem.depth;
  return Walk(depth, depth, LeafZ(weights, x), Forced(depth, leaf));
}

std::vector<Bounded> PathOutputs(const PathWeights& weights, const float* x,
                                 absl::Span<const int32_t> leaves) {
  const PathProblem& p = weights.problem;
  std::vector<Sum> sums(static_cast<size_t>(p.output_width), Sum(p.precision));
  for (int64_t tree = 0; tree < p.trees; ++tree) {
    const int32_t leaf = leaves[static_cast<size_t>(tree)];
    const Route route = PathRouteTo(weights, x, tree, leaf);
    for (int level = 0; level < p.levels; ++level) {
      const Bounded a =
          BoundedActivation(p.activation, route.z[static_cast<size_t>(level)]);
      const int64_t node =
          ((int64_t{1} << level) - 1) + (leaf >> (p.levels - 1 - level));
      const float* y =
          weights.y.data() + (tree * p.nodes() + node) * p.output_width;
      for (size_t o = 0; o < sums.size(); ++o) sums[o].Add(a, double{y[o]});
    }
  }
  std::vector<Bounded> outputs;
  for (const Sum& sum : sums) outputs.push_back(sum.Finish());
  return outputs;
}

std::vector<Bounded> LeafOutputs(const LeafWeights& weights, const float* x,
                                 int32_t leaf) {
  const LeafProblem& p = weights.problem;
  std::vector<Sum> sums(static_cast<size_t>(p.output_width), Sum(p.precision));
  const float* w1 = weights.w1.data() + leaf * p.input_width * p.leaf_width;
  const float* w2 = weights.w2.data() + leaf * p.leaf_width * p.output_width;
  for (int64_t j = 0; j < p.leaf_width; ++j) {
    const Bounded a = BoundedActivation(
        p.activation, BoundedDot(w1 + j, p.leaf_width, x, p.input_width,
                                 weights.b1[leaf * p.leaf_width + j],
                                 ScaleRoundings(p.precision)));
    for (size_t o = 0; o < sums.size(); ++o) {
      sums[o].Add(a, w2[j * p.output_width + static_cast<int64_t>(o)]);
    }
  }
  std::vector<Bounded> outputs;
  for (size_t o = 0; o < sums.size(); ++o) {
    if (p.has_output_bias) {
      sums[o].Add({1, 0},
                  weights.b2[leaf * p.output_width + static_cast<int64_t>(o)]);
    }
    outputs.push_back(sums[o].Finish());
  }
  return outputs;
}

std::vector<Bounded> DenseOutputs(const DenseWeights& weights, const float* x) {
  const DenseProblem& p = weights.problem;
  std::vector<Bounded> outputs;
  for (int64_t o = 0; o < p.output_width; ++o) {
    outputs.push_back(BoundedActivation(
        p.activation,
        BoundedDot(weights.w.data() + o * p.input_width, 1, x, p.input_width,
                   p.has_bias ? weights.bias[o] : 0.0)));
  }
  return outputs;
}

std::vector<Bounded> LayerNormOutputs(const graph::LayerNormWeights& weights,
                                      const float* x) {
  const int64_t width = weights.problem.input_width;
  const auto n = static_cast<double>(width);
  double mean = 0;
  double size = 0;
  for (int64_t i = 0; weights.problem.centred && i < width; ++i) {
    mean += x[i] / n;
    size += std::abs(double{x[i]}) / n;
  }
  double variance = 0;
  for (int64_t i = 0; i < width; ++i) {
    variance += (x[i] - mean) * (x[i] - mean) / n;
  }
  const double deviation = std::sqrt(variance + weights.problem.epsilon);
  // How far a centred value may be off through the mean; relative errors of the
  // variance (its sum, the mean's error in each term) and of what follows it.
  const double mean_error = Gamma(width + 1) * size;
  const double ratio = mean_error / deviation;
  const double relative = Gamma(width + 4) + 2 * ratio + ratio * ratio;
  std::vector<Bounded> outputs;
  for (int64_t i = 0; i < width; ++i) {
    const double weight = weights.weight[i];
    const double bias = weights.bias.empty() ? 0.0 : weights.bias[i];
    const double centred = x[i] - mean;
    const double centred_error =
        mean_error + Gamma(1) * (std::abs(centred) + mean_error);
    const double normal = centred / deviation;
    const double error = centred_error / deviation * (1 + relative) +
                         std::abs(normal) * (relative + Gamma(4));
    const double value = normal * weight + bias;
    outputs.push_back(
        {value, std::abs(weight) * error +
                    Gamma(2) * (std::abs(normal * weight) + std::abs(bias)) +
                    2 * kHalfSubnormal});
  }
  return outputs;
}

std::vector<Bounded> GateOutputs(const graph::GateProblem& problem,
                                 const float* x) {
  const int64_t width = problem.output_width;
  const float* const gate = problem.gate_first ? x : x + width;
  const float* const value = problem.gate_first ? x + width : x;
  std::vector<Bounded> outputs;
  for (int64_t i = 0; i < width; ++i) {
    const Bounded open = BoundedActivation(problem.activation, {gate[i], 0});
    const double product = open.value * value[i];
    const double inherited = open.bound * std::abs(double{value[i]});
    outputs.push_back({product, inherited +
                                    Gamma(1) * (std::abs(product) + inherited) +
                                    kHalfSubnormal});
  }
  return outputs;
}

}  // namespace fff::engine

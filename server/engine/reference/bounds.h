#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/weights.h"
#include "server/graph/row_ops.h"
#include "server/graph/sequence_ops.h"

// The oracle's arithmetic in double, with a bound on what any fp32 evaluation
// of the same formula may be away from it. Bounds follow Higham, "Accuracy and
// Stability of Numerical Algorithms", chapter 3. A sum of n products in any
// order, with or without fused multiply-add, is off by at most
//   gamma_n * sum |w_i x_i|, gamma_n = n u / (1 - n u), u = 2^-24
// plus n halves of the least subnormal. Where a partial sum may overflow float
// the bound is infinite. All functions are pure.
namespace fff::engine {

// |fp32 result - value| <= bound.
struct Bounded {
  double value = 0;
  double bound = 0;
};

// sum w[i * w_stride] * x[i] + bias over n terms, with `roundings` more than
// one a term and one of the bias.
Bounded BoundedDot(const float* w, int64_t w_stride, const float* x, int64_t n,
                   double bias, int64_t roundings = 0);

// act(z) for a z that is itself only known to z.bound, computed in fp32 by a
// kernel that keeps the accuracy stated in cpu/activation-inl.h.
Bounded BoundedActivation(Activation activation, const Bounded& z);

// True when z sends a row right.
bool GoesRight(Tie tie, double z);

// One row through one tree (path family) or the router (leaf family).
struct Route {
  int32_t leaf = 0;        // position on the bottom level
  std::vector<Bounded> z;  // one a decision, root first
};

// The route that double precision takes. `tree` counts from 0.
Route ExactPathRoute(const PathWeights& weights, const float* x, int64_t tree);
Route ExactLeafRoute(const LeafWeights& weights, const float* x);

// The z values along a route that somebody else chose.
Route PathRouteTo(const PathWeights& weights, const float* x, int64_t tree,
                  int32_t leaf);
Route LeafRouteTo(const LeafWeights& weights, const float* x, int32_t leaf);

// One row's outputs [output_width] given its leaves ([trees], or one).
std::vector<Bounded> PathOutputs(const PathWeights& weights, const float* x,
                                 absl::Span<const int32_t> leaves);
std::vector<Bounded> LeafOutputs(const LeafWeights& weights, const float* x,
                                 int32_t leaf);
std::vector<Bounded> DenseOutputs(const DenseWeights& weights, const float* x);
// The bound holds for two passes, the mean first: sums of n terms in any order.
std::vector<Bounded> LayerNormOutputs(const graph::LayerNormWeights& weights,
                                      const float* x);
// y [output_width] of x [2 * output_width].
std::vector<Bounded> GateOutputs(const graph::GateProblem& problem,
                                 const float* x);
// In token_bounds.cc. The bounds hold for exps of what is below the maximum,
// within 2 ulp, and a logarithm within 4; for sums in any order.
// One row, x [tokens, its width]. Its tokens are those of the problem unless
// that takes sequences of any length; mask [tokens] may be null.
struct TokensOfRow {
  int64_t tokens = 0;
  const int32_t* mask = nullptr;
};
std::vector<Bounded> AttentionOutputs(const graph::AttentionWeights& weights,
                                      const float* x,
                                      const TokensOfRow& row = {});
std::vector<Bounded> SoftmaxOutputs(const graph::SoftmaxProblem& problem,
                                    const float* x);
std::vector<Bounded> PoolTokensOutputs(const graph::PoolTokensWeights& weights,
                                       const float* x,
                                       const TokensOfRow& row = {});

}  // namespace fff::engine

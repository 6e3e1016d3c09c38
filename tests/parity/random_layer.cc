#include "tests/parity/random_layer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace fff::parity {
namespace {

float Draw(Values values, double scale, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  switch (values) {
    case Values::kIntegers:
      return static_cast<float>(static_cast<int>(random() % 5) - 2);
    case Values::kDenormal:
      return static_cast<float>(normal(random) * 1e-39);
    case Values::kHuge:
      return static_cast<float>(normal(random) * 3e18);
    default:
      return static_cast<float>(normal(random) * scale);
  }
}

// Puts NaN, an infinity or both infinities into a row.
void Poison(int64_t kind, int64_t width, float* row, std::mt19937_64& random) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto any = [&] {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(width));
  };
  if (kind == 0) {
    row[any()] = std::numeric_limits<float>::quiet_NaN();
  } else {
    row[any()] = kInfinity;
    if (kind == 2) row[any()] = -kInfinity;
  }
}

double Scale(int64_t width) {
  return 1 / std::sqrt(static_cast<double>(std::max<int64_t>(width, 1)));
}

}  // namespace

std::string Name(Values values) {
  switch (values) {
    case Values::kNormal:
      return "normal";
    case Values::kIntegers:
      return "integers";
    case Values::kDenormal:
      return "denormal";
    case Values::kHuge:
      return "huge";
    case Values::kOnePath:
      return "one_path";
    case Values::kSkewed:
      return "skewed";
    case Values::kPoisoned:
      return "poisoned";
  }
  return "?";
}

tensor::FloatArray RandomArray(int64_t size, Values values, double scale,
                               std::mt19937_64& random) {
  tensor::FloatBuffer buffer(size);
  for (float& value : buffer.span()) value = Draw(values, scale, random);
  return std::move(buffer).Freeze();
}

std::shared_ptr<const graph::PathWeights> RandomPath(
    const graph::PathProblem& problem, Values values, uint64_t seed) {
  std::mt19937_64 random(seed);
  auto weights = std::make_shared<graph::PathWeights>();
  const int64_t nodes = problem.trees * problem.nodes();
  weights->problem = problem;
  weights->x = RandomArray(nodes * problem.input_width, values,
                           Scale(problem.input_width), random);
  if (problem.has_bias) weights->bias = RandomArray(nodes, values, 0.1, random);
  // Output rows stay moderate, so that huge z do not hide every output.
  weights->y =
      RandomArray(nodes * problem.output_width, Values::kNormal, 1, random);
  return weights;
}

std::shared_ptr<const graph::LeafWeights> RandomLeaf(
    const graph::LeafProblem& problem, Values values, uint64_t seed) {
  std::mt19937_64 random(seed);
  auto weights = std::make_shared<graph::LeafWeights>();
  const graph::LeafProblem& p = problem;
  weights->problem = p;
  const double scale = Scale(p.input_width);
  weights->node_weights =
      RandomArray(p.nodes() * p.input_width, values, scale, random);
  weights->node_biases = RandomArray(p.nodes(), values, 0.1, random);
  weights->w1 = RandomArray(p.leaves() * p.input_width * p.leaf_width, values,
                            scale, random);
  weights->b1 = RandomArray(p.leaves() * p.leaf_width, values, 0.1, random);
  weights->w2 = RandomArray(p.leaves() * p.leaf_width * p.output_width,
                            Values::kNormal, Scale(p.leaf_width), random);
  if (p.has_output_bias) {
    weights->b2 =
        RandomArray(p.leaves() * p.output_width, Values::kNormal, 0.1, random);
  }
  return weights;
}

std::shared_ptr<const graph::DenseWeights> RandomDense(
    const graph::DenseProblem& problem, Values values, uint64_t seed) {
  std::mt19937_64 random(seed);
  auto weights = std::make_shared<graph::DenseWeights>();
  weights->problem = problem;
  weights->w = RandomArray(problem.input_width * problem.output_width, values,
                           Scale(problem.input_width), random);
  if (problem.has_bias) {
    weights->bias = RandomArray(problem.output_width, values, 0.1, random);
  }
  return weights;
}

std::vector<float> RandomRows(int64_t rows, int64_t width, Values values,
                              uint64_t seed) {
  std::mt19937_64 random(seed ^ 0x9e3779b97f4a7c15u);
  std::vector<float> x(static_cast<size_t>(rows * width));
  // Subnormal weights meet ordinary inputs: subnormal squares are plain zeros.
  const Values drawn = values == Values::kDenormal ? Values::kNormal : values;
  for (float& value : x) value = Draw(drawn, 1, random);
  for (int64_t r = 1; r < rows; ++r) {
    const bool copy =
        values == Values::kOnePath || (values == Values::kSkewed && r % 3 != 0);
    if (copy) std::copy(x.begin(), x.begin() + width, x.begin() + r * width);
  }
  if (values == Values::kPoisoned) {
    for (int64_t r = 0; r < rows; r += 3) {
      Poison(r / 3 % 3, width, x.data() + r * width, random);
    }
  }
  return x;
}

tensor::FloatArray Unaligned(const tensor::FloatArray& array) {
  if (array.empty()) return array;
  auto storage = std::make_shared<std::vector<float>>();
  storage->reserve(static_cast<size_t>(array.size()) + 1);
  storage->push_back(0);
  storage->insert(storage->end(), array.span().begin(), array.span().end());
  const absl::Span<const float> values(storage->data() + 1,
                                       static_cast<size_t>(array.size()));
  return tensor::FloatArray(std::move(storage), values);
}

}  // namespace fff::parity

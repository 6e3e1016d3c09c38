// Pooling against double precision, with computed bounds.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/kernel_list.h"
#include "tests/unit/engine/picture_rows.h"

namespace fff::engine {
namespace {

struct PoolCase {
  graph::Picture from;
  graph::Pair size;
  graph::Pair stride = {1, 1};
  graph::Pair padding = {0, 0};
};

const PoolCase kPoolCases[] = {
    {{1, 1, 1}, {1, 1}},
    {{6, 28, 28}, {2, 2}, {2, 2}},
    {{3, 7, 9}, {2, 3}},
    {{5, 11, 13}, {3, 3}, {2, 2}, {1, 1}},
    {{2, 9, 50}, {1, 4}, {3, 3}, {0, 2}},
    {{4, 35, 33}, {3, 3}, {1, 1}, {1, 1}},
    {{4, 5, 70}, {3, 2}, {1, 2}, {1, 0}},
    {{17, 7, 7}, {7, 7}, {7, 7}},         // the whole picture
    {{2, 3, 2}, {2, 2}, {1, 1}, {3, 2}},  // windows wholly in the padding
};

std::shared_ptr<const graph::Pool2dWeights> Pool(
    const PoolCase& c, graph::Pool2dProblem::Kind kind) {
  auto weights = std::make_shared<graph::Pool2dWeights>();
  graph::Pool2dProblem& p = weights->problem;
  p.kind = kind;
  p.from = c.from;
  p.to.channels = c.from.channels;
  p.size = c.size;
  p.stride = c.stride;
  p.padding = c.padding;
  SetWidths(p.size, {1, 1}, p);
  return weights;
}

// What of a window lies on the picture.
std::vector<float> WindowAt(const graph::Pool2dProblem& p, const float* x,
                            int64_t c, int64_t i, int64_t j) {
  std::vector<float> window;
  for (int64_t u = 0; u < p.size.height; ++u) {
    for (int64_t v = 0; v < p.size.width; ++v) {
      const int64_t row = i * p.stride.height - p.padding.height + u;
      const int64_t column = j * p.stride.width - p.padding.width + v;
      if (!IsOn(p.from, row, column)) continue;
      window.push_back(x[(c * p.from.height + row) * p.from.width + column]);
    }
  }
  return window;
}

void ExpectGreatest(float got, const std::vector<float>& window) {
  const bool has_nan = std::any_of(window.begin(), window.end(),
                                   [](float value) { return value != value; });
  if (has_nan) {
    EXPECT_TRUE(std::isnan(got)) << got;
  } else if (window.empty()) {
    EXPECT_EQ(got, -std::numeric_limits<float>::infinity());
  } else {
    EXPECT_EQ(got, *std::max_element(window.begin(), window.end()));
  }
}

// A sum of all elements, padding too, and one rounding of the division.
void ExpectMean(float got, const graph::Pool2dProblem& p,
                std::vector<float> window) {
  const int64_t elements = p.size.height * p.size.width;
  window.resize(static_cast<size_t>(elements), 0);
  const std::vector<float> ones(window.size(), 1);
  const Bounded sum = BoundedDot(ones.data(), 1, window.data(), elements, 0);
  const auto n = static_cast<double>(elements);
  const double value = sum.value / n;
  const double exact = sum.bound / n;
  ExpectWithin(got,
               {value, exact + 0x1p-24 * (std::abs(value) + exact) + 0x1p-150},
               "mean");
}

void ExpectPooled(const graph::Pool2dProblem& p, const std::vector<float>& x,
                  const std::vector<float>& y) {
  const int64_t rows = static_cast<int64_t>(x.size()) / p.input_width;
  ASSERT_EQ(static_cast<int64_t>(y.size()), rows * p.output_width);
  for (int64_t row = 0; row < rows; ++row) {
    ForEachOutput(p.to, [&](int64_t at, int64_t c, int64_t i, int64_t j) {
      SCOPED_TRACE(p.ToString() + " row " + std::to_string(row) + " element " +
                   std::to_string(at));
      const float got = y[static_cast<size_t>(row * p.output_width + at)];
      const std::vector<float> window =
          WindowAt(p, x.data() + row * p.input_width, c, i, j);
      if (p.kind == graph::Pool2dProblem::Kind::kMax) {
        ExpectGreatest(got, window);
      } else {
        ExpectMean(got, p, window);
      }
    });
  }
}

class Pool2dTest
    : public testing::TestWithParam<KernelEntry<graph::Pool2dWeights>> {
 protected:
  // body(weights, kernel) for every shape and both kinds.
  template <class Body>
  void ForEachPool(const Body& body) const {
    for (const PoolCase& c : kPoolCases) {
      for (const auto kind : {graph::Pool2dProblem::Kind::kMax,
                              graph::Pool2dProblem::Kind::kMean}) {
        const auto weights = Pool(c, kind);
        ASSERT_TRUE(GetParam().supports(weights->problem));
        ASSERT_GT(GetParam().cost(weights->problem, 1), 0);
        body(weights->problem, *GetParam().make(weights));
      }
    }
  }
};

TEST_P(Pool2dTest, EveryShapeWithAnyNumberOfRowsAndThreads) {
  ForEachPool([](const graph::Pool2dProblem& p, const Kernel& kernel) {
    for (const int64_t rows : {0, 1, 9}) {
      for (const int threads : {1, 3}) {
        const std::vector<float> x = Random(rows * p.input_width, 7);
        ExpectPooled(p, x, Compute(kernel, p, x, threads));
      }
    }
  });
}

TEST_P(Pool2dTest, ARowIsTheSameAloneAndInABatch) {
  ForEachPool([](const graph::Pool2dProblem& p, const Kernel& kernel) {
    ExpectRowsToBeIndependent(kernel, p);
  });
}

TEST_P(Pool2dTest, NanIsTheResultOfEachWindowThatHoldsOne) {
  ForEachPool([](const graph::Pool2dProblem& p, const Kernel& kernel) {
    // Every place of a row holds it once.
    for (int64_t at = 0; at < p.input_width; at += 1 + p.input_width / 40) {
      std::vector<float> x = Random(2 * p.input_width, 8);
      x[static_cast<size_t>(at)] = kNan;
      ExpectPooled(p, x, Compute(kernel, p, x));
    }
  });
}

TEST_P(Pool2dTest, InfinitiesAreValuesLikeOthers) {
  const auto weights =
      Pool({{1, 2, 4}, {2, 2}, {2, 2}}, graph::Pool2dProblem::Kind::kMax);
  const float infinity = std::numeric_limits<float>::infinity();
  const auto kernel = GetParam().make(weights);
  EXPECT_EQ(Compute(*kernel, weights->problem,
                    {-infinity, -infinity, 1, 2,  //
                     -infinity, -infinity, infinity, -infinity}),
            (std::vector<float>{-infinity, infinity}));
}

INSTANTIATE_TEST_SUITE_P(Kernels, Pool2dTest,
                         testing::ValuesIn(KernelsOf<graph::Pool2d>()),
                         NameOf<KernelEntry<graph::Pool2dWeights>>);

}  // namespace
}  // namespace fff::engine

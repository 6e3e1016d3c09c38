#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/kernel.h"
#include "server/engine/reference/bounds.h"
#include "server/engine/weights.h"
#include "server/tensor/random.h"

// What the tests of kernels on pictures share.
namespace fff::engine {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline std::vector<float> Random(int64_t count, uint64_t seed) {
  const tensor::FloatArray values = tensor::RandomNormal(count, seed);
  return {values.span().begin(), values.span().end()};
}

template <class Problem>
void SetWidths(const graph::Pair& size, const graph::Pair& dilation,
               Problem& p) {
  p.to.height =
      graph::WindowPositions(p.from.height, size.height, p.stride.height,
                             p.padding.height, dilation.height);
  p.to.width = graph::WindowPositions(p.from.width, size.width, p.stride.width,
                                      p.padding.width, dilation.width);
  p.input_width = p.from.size();
  p.output_width = p.to.size();
}

// The kernel's answers to x of whole rows; y is poisoned first.
template <class Problem>
std::vector<float> Compute(const Kernel& kernel, const Problem& p,
                           const std::vector<float>& x, int threads = 1) {
  ExecutionContext context(threads);
  const int64_t rows = static_cast<int64_t>(x.size()) / p.input_width;
  std::vector<float> y(static_cast<size_t>(rows * p.output_width), kNan);
  kernel.Run({x.data(), rows, p.input_width}, {y.data(), rows, p.output_width},
             {}, context);
  return y;
}

template <class Problem>
std::vector<float> RowOf(const Problem& p, const std::vector<float>& x,
                         int64_t row) {
  const auto begin = x.begin() + row * p.input_width;
  return {begin, begin + p.input_width};
}

// Whatever the threads, and beside whichever rows: the same bits.
template <class Problem>
void ExpectRowsToBeIndependent(const Kernel& kernel, const Problem& p) {
  constexpr int64_t kRows = 7;
  const std::vector<float> x = Random(kRows * p.input_width, 9);
  const std::vector<float> y = Compute(kernel, p, x);
  for (const int threads : {2, 3, 8}) {
    EXPECT_EQ(Compute(kernel, p, x, threads), y) << threads << " threads";
  }
  for (int64_t row = 0; row < kRows; ++row) {
    const auto begin = y.begin() + row * p.output_width;
    const std::vector<float> wanted(begin, begin + p.output_width);
    for (const int threads : {1, 3}) {
      EXPECT_EQ(Compute(kernel, p, RowOf(p, x, row), threads), wanted)
          << "row " << row << " alone, " << threads << " threads";
    }
  }
}

// body(output, channel, i, j) for every element of one row's answer.
template <class Body>
void ForEachOutput(const graph::Picture& to, const Body& body) {
  int64_t output = 0;
  for (int64_t c = 0; c < to.channels; ++c) {
    for (int64_t i = 0; i < to.height; ++i) {
      for (int64_t j = 0; j < to.width; ++j) body(output++, c, i, j);
    }
  }
}

inline bool IsOn(const graph::Picture& picture, int64_t i, int64_t j) {
  return i >= 0 && i < picture.height && j >= 0 && j < picture.width;
}

inline void ExpectWithin(float got, const Bounded& wanted,
                         const std::string& where) {
  if (std::isnan(wanted.value)) {
    EXPECT_TRUE(std::isnan(got)) << where << " is " << got;
  } else {
    EXPECT_NEAR(got, wanted.value, wanted.bound) << where;
  }
}

template <class Entry>
std::string NameOf(const testing::TestParamInfo<Entry>& entry) {
  return std::string(entry.param.name);
}

}  // namespace fff::engine

#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "server/engine/kernel.h"
#include "server/tensor/random.h"

// What tests of single CPU kernels share.
namespace fff::engine {

inline std::vector<float> Random(int64_t count, uint64_t seed) {
  const tensor::FloatArray values = tensor::RandomNormal(count, seed);
  return {values.span().begin(), values.span().end()};
}

// y [rows, width] from inputs of `rows` rows each; what the kernel leaves out
// is NaN.
inline std::vector<float> Compute(const Kernel& kernel,
                                  const std::vector<std::vector<float>>& inputs,
                                  int64_t rows, int64_t width,
                                  int threads = 1) {
  ExecutionContext context(threads);
  std::vector<tensor::TypedRows> in;
  for (const std::vector<float>& x : inputs) {
    const auto size = static_cast<int64_t>(x.size());
    in.push_back(tensor::ConstRows{x.data(), rows, rows > 0 ? size / rows : 1});
  }
  std::vector<float> y(static_cast<size_t>(rows * width), std::nanf(""));
  kernel.RunOn(in, {y.data(), rows, width}, {}, context);
  return y;
}

// Row `row` of what has `rows` rows.
inline std::vector<float> RowOf(const std::vector<float>& values, int64_t rows,
                                int64_t row) {
  const int64_t width = static_cast<int64_t>(values.size()) / rows;
  const float* first = values.data() + row * width;
  return {first, first + width};
}

// Every test once per instruction set that this machine has.
class OnEveryTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

inline std::string TargetName(const testing::TestParamInfo<int64_t>& target) {
  return hwy::TargetName(target.param);
}

}  // namespace fff::engine

#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
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
  kernel.RunOn(KernelInputs(in), {y.data(), rows, width}, {}, context);
  return y;
}

// Where sequences of these lengths begin, and where the last ends.
inline std::vector<int64_t> StartsOf(const std::vector<int64_t>& lengths) {
  std::vector<int64_t> starts = {0};
  for (const int64_t length : lengths) starts.push_back(starts.back() + length);
  return starts;
}

// `rows` rows of ints; no data where there are none.
inline tensor::TypedRows IntsOf(const std::vector<int32_t>& ints,
                                int64_t rows) {
  const auto size = static_cast<int64_t>(ints.size());
  return {tensor::DataType::kI32, ints.empty() ? nullptr : ints.data(), rows,
          rows > 0 ? size / rows : 1};
}

// y [rows, width] of sequences of `lengths`.
inline std::vector<float> ComputeSequences(
    const Kernel& kernel, absl::Span<const tensor::TypedRows> in,
    const std::vector<int64_t>& lengths, int64_t rows, int64_t width,
    int threads = 1) {
  ExecutionContext context(threads);
  const std::vector<int64_t> starts = StartsOf(lengths);
  std::vector<float> y(static_cast<size_t>(rows * width), std::nanf(""));
  kernel.RunOn(KernelInputs(in, Sequences(starts)), {y.data(), rows, width}, {},
               context);
  return y;
}

// Values [first, first + count) per token of what has `width` of them.
template <class T>
std::vector<T> TokensOf(const std::vector<T>& values, int64_t first,
                        int64_t count, int64_t width = 1) {
  const auto begin = values.begin() + first * width;
  return values.empty() ? values : std::vector<T>(begin, begin + count * width);
}

// Masks of `tokens` tokens by `kind`: 0 left padding, 1 right padding, 2
// holes, 3 none counts, 4 all count.
inline std::vector<int32_t> MaskOf(int64_t tokens, int kind) {
  std::vector<int32_t> mask;
  for (int64_t t = 0; t < tokens; ++t) {
    const bool kinds[] = {t >= tokens / 3, t <= tokens / 3, t % 3 == 1, false,
                          true};
    mask.push_back(kinds[kind] ? 1 : 0);
  }
  return mask;
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

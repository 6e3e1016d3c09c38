// Every CUDA kernel over the grid of problems of tests/parity against the
// double-precision oracle, within computed bounds. fp32 as it is; bf16 and tf32
// with numbers that bf16 holds exactly, so that the same bounds apply. For bf16
// the rounding of the outputs is added. Outputs are poisoned before each run.
// Without a device every test is skipped.
#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/gpu/device_kernel.h"
#include "tests/parity/cases.h"
#include "tests/parity/check.h"
#include "tests/parity/random_layer.h"

namespace fff::gpu {
namespace {

using engine::DeviceOptions;
using graph::Precision;
using parity::Result;
using parity::Tally;
using parity::Values;

constexpr int64_t kCheckedRows = 48;

// The nearest number of 8 significant bits.
float Rounded(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  bits += 0x7fffu + ((bits >> 16) & 1u);
  bits &= 0xffff0000u;
  std::memcpy(&value, &bits, sizeof(bits));
  return value;
}

tensor::FloatArray Rounded(const tensor::FloatArray& array) {
  tensor::FloatBuffer buffer(array.size());
  for (int64_t i = 0; i < array.size(); ++i) {
    buffer.data()[i] = Rounded(array[i]);
  }
  return std::move(buffer).Freeze();
}

auto WithRounded(const graph::PathWeights& weights) {
  auto rounded = std::make_shared<graph::PathWeights>(weights);
  rounded->x = Rounded(weights.x);
  rounded->y = Rounded(weights.y);
  return rounded;
}
auto WithRounded(const graph::LeafWeights& weights) {
  auto rounded = std::make_shared<graph::LeafWeights>(weights);
  rounded->node_weights = Rounded(weights.node_weights);
  rounded->w1 = Rounded(weights.w1);
  rounded->w2 = Rounded(weights.w2);
  return rounded;
}
auto WithRounded(const graph::DenseWeights& weights) {
  auto rounded = std::make_shared<graph::DenseWeights>(weights);
  rounded->w = Rounded(weights.w);
  // cuBLASLt takes the bias in the type of its outputs.
  if (weights.problem.has_bias) rounded->bias = Rounded(weights.bias);
  return rounded;
}

// One family: how its layers are drawn, run and checked.
struct PathFamily {
  using Problem = graph::PathProblem;
  using Weights = graph::PathWeights;
  static constexpr auto Cases = parity::PathCases;
  static constexpr auto Draw = parity::RandomPath;
  static constexpr auto Run = parity::RunPath;
  static constexpr auto Check = parity::CheckPath;
};
struct LeafFamily {
  using Problem = graph::LeafProblem;
  using Weights = graph::LeafWeights;
  static constexpr auto Cases = parity::LeafCases;
  static constexpr auto Draw = parity::RandomLeaf;
  static constexpr auto Run = parity::RunLeaf;
  static constexpr auto Check = parity::CheckLeaf;
};
struct DenseFamily {
  using Problem = graph::DenseProblem;
  using Weights = graph::DenseWeights;
  static constexpr auto Cases = parity::DenseCases;
  static constexpr auto Draw = parity::RandomDense;
  static constexpr auto Run = parity::RunDense;
  static constexpr auto Check = parity::CheckDense;
};

struct Choice {
  std::string kernel;  // "": as planned
  Precision precision;
  bool tf32 = false;  // fp32 weights, factors of 10 bits
  bool rounds() const { return tf32 || precision != Precision::kFp32; }
};

// Subnormal bf16 factors lie below what bf16 keeps; the rest of the kinds of
// numbers have 8 significant bits or can be rounded to them. cuBLASLt's ReLU
// makes 0 of NaN behind a product in tf32, which no served layer uses.
bool Fits(const Choice& choice, Values values) {
  if (choice.tf32 && values == Values::kPoisoned) return false;
  return !choice.rounds() || values != Values::kDenormal;
}

// cuBLASLt's GELU in reduced precision is the tanh form.
bool Fits(const Choice& choice, const graph::DenseProblem& problem) {
  return !choice.rounds() || problem.activation != graph::Activation::kGelu;
}
template <class Problem>
bool Fits(const Choice&, const Problem&) {
  return true;
}

// What writing the outputs adds, relative to them. Of the activations that
// cuBLASLt does not fuse, bf16 also rounds what goes in: f(z (1 + u)) differs
// from f(z) by up to (1 + |z|) u |f(z)| for these three, and |z| stays below 8
// in the grid.
double Roundoff(const Choice& choice, const graph::DenseProblem& problem) {
  if (choice.precision != Precision::kBf16) return parity::kFloatRoundoff;
  const bool unfused = problem.activation == graph::Activation::kSilu ||
                       problem.activation == graph::Activation::kTanh ||
                       problem.activation == graph::Activation::kSigmoid;
  return unfused ? 10 * 0x1p-9 : 0x1p-8;
}
template <class Problem>
double Roundoff(const Choice& choice, const Problem&) {
  return choice.precision == Precision::kBf16 ? 0x1p-8 : parity::kFloatRoundoff;
}

// Short grids are for the sanitizers, under which everything is slow.
bool ShortGrid() { return getenv("FFF_GPU_SHORT_GRID") != nullptr; }

template <class Family>
void CheckOne(const Choice& choice,
              const parity::Case<typename Family::Problem>& c, Tally& tally) {
  std::shared_ptr<const typename Family::Weights> weights =
      Family::Draw(c.problem, c.values, 7);
  if (choice.rounds()) weights = WithRounded(*weights);
  DeviceOptions options;
  options.kernel_name = choice.kernel;
  options.precision = choice.precision;
  options.dense_tf32 = choice.tf32;
  options.tuning_seconds = choice.kernel.empty() ? 0.05 : 0;
  const auto kernel = MakeDeviceKernel(*Engine(), weights, options);
  if (absl::IsInvalidArgument(kernel.status())) return;  // cannot compute this
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  for (const int64_t rows : c.batches) {
    if (ShortGrid() && rows > 70) continue;
    SCOPED_TRACE("rows " + std::to_string(rows));
    auto x = parity::RandomRows(rows, c.problem.input_width, c.values, 11);
    if (choice.rounds()) {
      for (float& value : x) value = Rounded(value);
    }
    const Result one = Family::Run(**kernel, c.problem, x, 1);
    ASSERT_TRUE((*kernel)->status().ok()) << (*kernel)->status();
    Tally mine;
    const double roundoff = Roundoff(choice, c.problem);
    EXPECT_TRUE(Family::Check(*weights, x, one, kCheckedRows, mine, roundoff));
    if (c.values == Values::kIntegers) {
      EXPECT_EQ(mine.rerouted, 0);
    }
    if (c.values == Values::kNormal) {
      tally.rows += mine.rows;
      tally.rerouted += mine.rerouted;
    }
    const Result again = Family::Run(**kernel, c.problem, x, 1);
    EXPECT_TRUE(parity::SameBits(one.y, again.y)) << "differs between runs";
    EXPECT_EQ(one.leaves, again.leaves);
  }
}

template <class Family>
void CheckGrid(const Choice& choice) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  if (choice.kernel == "path_tensor" && LacksSharedMemory()) {
    GTEST_SKIP() << "too little shared memory";
  }
  Tally tally;
  for (const auto& c : Family::Cases()) {
    if (!Fits(choice, c.values) || !Fits(choice, c.problem)) continue;
    if (ShortGrid() && c.problem.input_width > 800) continue;
    SCOPED_TRACE(c.problem.ToString() + " " + parity::Name(c.values));
    CheckOne<Family>(choice, c, tally);
  }
  EXPECT_GT(tally.rows, 20);
  EXPECT_LE(tally.rerouted, tally.rows / 200);
}

class PathKernels : public testing::TestWithParam<Choice> {};
TEST_P(PathKernels, AgreeWithTheOracle) { CheckGrid<PathFamily>(GetParam()); }
class LeafKernels : public testing::TestWithParam<Choice> {};
TEST_P(LeafKernels, AgreeWithTheOracle) { CheckGrid<LeafFamily>(GetParam()); }
class DenseKernels : public testing::TestWithParam<Choice> {};
TEST_P(DenseKernels, AgreeWithTheOracle) { CheckGrid<DenseFamily>(GetParam()); }

std::vector<Choice> Choices(const std::vector<std::string>& kernels,
                            const std::vector<Precision>& precisions) {
  std::vector<Choice> choices;
  for (const Precision precision : precisions) {
    for (const std::string& kernel : kernels) {
      choices.push_back({kernel, precision, false});
    }
  }
  return choices;
}

std::string ChoiceName(const testing::TestParamInfo<Choice>& info) {
  std::string name = info.param.kernel.empty() ? "planned" : info.param.kernel;
  std::replace(name.begin(), name.end(), '/', '_');
  return absl::StrCat(
      name, "_", info.param.tf32 ? "tf32" : graph::Name(info.param.precision));
}

INSTANTIATE_TEST_SUITE_P(
    Gpu, PathKernels,
    testing::ValuesIn(Choices({"", "path_walk", "path_row", "path_grouped",
                               "path_wide"},
                              {Precision::kFp32, Precision::kBf16})),
    ChoiceName);
INSTANTIATE_TEST_SUITE_P(GpuTensor, PathKernels,
                         testing::ValuesIn(Choices({"path_tensor",
                                                    "path_masked"},
                                                   {Precision::kBf16})),
                         ChoiceName);
INSTANTIATE_TEST_SUITE_P(
    Gpu, LeafKernels,
    testing::ValuesIn(Choices({"", "leaf_walk", "leaf_row", "leaf_wide",
                               "leaf_grouped"},
                              {Precision::kFp32, Precision::kBf16})),
    ChoiceName);
INSTANTIATE_TEST_SUITE_P(GpuTensor, LeafKernels,
                         testing::ValuesIn(Choices({"leaf_tensor/128",
                                                    "leaf_tensor/64"},
                                                   {Precision::kBf16})),
                         ChoiceName);
INSTANTIATE_TEST_SUITE_P(Gpu, DenseKernels,
                         testing::Values(Choice{"", Precision::kFp32},
                                         Choice{"", Precision::kFp32, true},
                                         Choice{"", Precision::kBf16}),
                         ChoiceName);

// More rows than the scratch of one launch holds.
TEST(PathKernels, MaskedBatchesRunInPieces) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  if (ShortGrid()) GTEST_SKIP() << "a long batch";
  const graph::PathProblem problem = {
      40, 56, 3, 40, graph::Tie::kRight, graph::Activation::kGelu, true};
  Tally tally;
  CheckOne<PathFamily>({"path_masked", Precision::kBf16, false},
                       {problem, Values::kNormal, {1030, 2100}}, tally);
  EXPECT_GT(tally.rows, 80);
}
TEST(LeafKernels, TensorBatchesRunInPieces) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  if (ShortGrid()) GTEST_SKIP() << "a long batch";
  const graph::LeafProblem problem = {
      16, 6000, 24, 1, graph::Tie::kRight, graph::Activation::kRelu, true};
  Tally tally;
  CheckOne<LeafFamily>({"leaf_tensor/128", Precision::kBf16, false},
                       {problem, Values::kNormal, {2100, 4000}}, tally);
  EXPECT_GT(tally.rows, 80);
}

// Rows of zeros, among others: their z is the bias in every order.
TEST(PathKernels, MaskedRowsOfZerosGoByTheBias) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  const graph::PathProblem problem = {
      40, 56, 4, 6, graph::Tie::kLeft, graph::Activation::kGelu, true};
  const auto weights =
      WithRounded(*parity::RandomPath(problem, Values::kNormal, 3));
  auto x = parity::RandomRows(100, 40, Values::kNormal, 5);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = i / 40 % 3 == 0 ? 0.0F : Rounded(x[i]);
  }
  DeviceOptions options;
  options.kernel_name = "path_masked";
  options.precision = Precision::kBf16;
  const auto kernel =
      MakeDeviceKernel<graph::PathWeights>(*Engine(), weights, options);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  Tally tally;
  EXPECT_TRUE(parity::CheckPath(*weights, x,
                                parity::RunPath(**kernel, problem, x, 1), 100,
                                tally, 0x1p-8));
  EXPECT_EQ(tally.rerouted, 0);
}

// A row takes the same way, bit for bit, whichever of the kernels it meets.
TEST(PathKernels, ShareTheOrderOfTheirSums) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  const graph::PathProblem problem = {
      784, 70, 9, 1, graph::Tie::kLeft, graph::Activation::kGelu, true};
  const auto weights = parity::RandomPath(problem, Values::kNormal, 3);
  const auto x = parity::RandomRows(333, 784, Values::kNormal, 5);
  std::vector<Result> results;
  for (const char* name : {"path_walk", "path_row", "path_grouped"}) {
    DeviceOptions options;
    options.kernel_name = name;
    const auto kernel = MakeDeviceKernel(*Engine(), weights, options);
    ASSERT_TRUE(kernel.ok()) << kernel.status();
    results.push_back(parity::RunPath(**kernel, problem, x, 1));
  }
  for (const Result& result : results) {
    EXPECT_EQ(result.leaves, results[0].leaves);
    EXPECT_TRUE(parity::SameBits(result.margins, results[0].margins));
    EXPECT_TRUE(parity::SameBits(result.y, results[0].y));
  }
}

// Rows and nodes whose products cancel: every z is a rounding error, of either
// sign as the order of the sum will have it.
struct Cancelling {
  std::shared_ptr<graph::PathWeights> weights;
  std::vector<float> x;
};
Cancelling MakeCancelling(const graph::PathProblem& problem, int64_t rows) {
  Cancelling made;
  const auto drawn = parity::RandomPath(problem, Values::kNormal, 3);
  made.weights = WithRounded(*drawn);
  const int64_t width = problem.input_width;
  tensor::FloatBuffer weights(drawn->x.size());
  made.x = parity::RandomRows(rows, width, Values::kNormal, 5);
  for (float& value : made.x) value = Rounded(value);
  for (int64_t i = 0; i < weights.size(); ++i) {
    const bool mirrored = i % width >= width / 2;
    weights.data()[i] = made.weights->x[mirrored ? i - width / 2 : i];
  }
  for (size_t i = 0; i < made.x.size(); ++i) {
    const auto column = static_cast<int64_t>(i) % width;
    if (column >= width / 2) made.x[i] = -made.x[i - size_t(width / 2)];
  }
  made.weights->x = std::move(weights).Freeze();
  return made;
}

void ExpectTiesAlike(const graph::PathProblem& problem,
                     const std::vector<const char*>& kernels) {
  const Cancelling tied = MakeCancelling(problem, 3000);
  std::vector<Result> results;
  for (const char* name : kernels) {
    DeviceOptions options;
    options.kernel_name = name;
    options.precision = Precision::kBf16;
    options.rows_max = 3000;
    const auto kernel =
        MakeDeviceKernel<graph::PathWeights>(*Engine(), tied.weights, options);
    ASSERT_TRUE(kernel.ok()) << kernel.status();
    results.push_back(parity::RunPath(**kernel, problem, tied.x, 1));
    EXPECT_EQ(results.back().leaves, results[0].leaves) << name;
    EXPECT_TRUE(parity::SameBits(results.back().margins, results[0].margins));
  }
  const std::set<int32_t> leaves(results[0].leaves.begin(),
                                 results[0].leaves.end());
  const int64_t most = std::min<int64_t>(100, problem.nodes() / 4);
  EXPECT_GT(leaves.size(), static_cast<size_t>(most)) << problem.ToString();
}

TEST(PathKernels, DecideTiesOfBf16Alike) {
  if (Engine() == nullptr) GTEST_SKIP() << "no CUDA device";
  for (const int64_t width : {70, 768, 1000}) {
    std::vector<const char*> kernels = {"path_walk", "path_grouped"};
    if (!LacksSharedMemory()) kernels.push_back("path_tensor");
    ExpectTiesAlike(
        {width, 40, 12, 1, graph::Tie::kLeft, graph::Activation::kGelu, false},
        kernels);
    ExpectTiesAlike(
        {width, 40, 5, 7, graph::Tie::kLeft, graph::Activation::kGelu, false},
        {"path_walk", "path_masked"});
  }
}

}  // namespace
}  // namespace fff::gpu

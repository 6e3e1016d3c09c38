#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "server/engine/kernel_list.h"
#include "server/engine/reference/bounds.h"

namespace fff::engine {
namespace {

constexpr Activation kAll[] = {Activation::kIdentity, Activation::kRelu,
                               Activation::kGelu,     Activation::kGeluTanh,
                               Activation::kSilu,     Activation::kTanh,
                               Activation::kSigmoid};

// values[i] = act(values[i]), by the kernel.
void Activate(Activation activation, absl::Span<float> values) {
  auto weights = std::make_shared<graph::ActivationWeights>();
  weights->problem = {1, 1, activation};
  const auto rows = static_cast<int64_t>(values.size());
  const std::vector<float> x(values.begin(), values.end());
  ExecutionContext context(1);
  KernelsOf<graph::Activate>()[0].make(weights)->Run(
      {x.data(), rows, 1}, {values.data(), rows, 1}, {}, context);
}

// The error that cpu/activation-inl.h promises.
double Promise(Activation activation, double z, double exact) {
  if (activation == Activation::kIdentity || activation == Activation::kRelu) {
    return 0;
  }
  return 5e-7 * std::fmax(std::abs(exact), std::fmin(1.0, std::abs(z))) +
         0x1p-149;
}

// Every `step`-th float of the whole range, both signs, subnormals included.
std::vector<float> FloatRange(uint32_t step) {
  std::vector<float> values;
  for (uint64_t bits = 0; bits <= 0x7f7fffffu; bits += step) {
    for (const uint32_t sign : {0u, 0x80000000u}) {
      const uint32_t pattern = static_cast<uint32_t>(bits) | sign;
      float value;
      std::memcpy(&value, &pattern, sizeof(value));
      values.push_back(value);
    }
  }
  return values;
}

void ExpectWithinPromise(Activation activation,
                         const std::vector<float>& inputs) {
  std::vector<float> outputs = inputs;
  Activate(activation, absl::MakeSpan(outputs));
  double worst = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const double z = inputs[i];
    const double exact = graph::InfoOf(activation).exact(z);
    const double error = std::abs(outputs[i] - exact);
    const double promise = Promise(activation, z, exact);
    ASSERT_LE(error, promise) << Name(activation) << "(" << z << ") is "
                              << outputs[i] << ", exactly " << exact;
    if (promise > 1e-30) worst = std::fmax(worst, error / promise);
  }
  testing::Test::RecordProperty(std::string(Name(activation)),
                                std::to_string(worst));
}

class ActivationTest : public testing::TestWithParam<Activation> {};

TEST_P(ActivationTest, KeepsItsPromiseOverTheWholeFloatRange) {
  ExpectWithinPromise(GetParam(), FloatRange(4099));
}

TEST_P(ActivationTest, KeepsItsPromiseDenselyAroundZero) {
  std::vector<float> inputs;
  for (int i = -400000; i <= 400000; ++i) {
    inputs.push_back(static_cast<float>(i) * 5e-5f);
  }
  ExpectWithinPromise(GetParam(), inputs);
}

TEST_P(ActivationTest, KeepsItsPromiseOnEveryInstructionSet) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    ExpectWithinPromise(GetParam(), FloatRange(100003));
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
}

TEST_P(ActivationTest, NanStaysNan) {
  float values[] = {std::numeric_limits<float>::quiet_NaN(), 1,
                    -std::numeric_limits<float>::quiet_NaN()};
  Activate(GetParam(), absl::MakeSpan(values));
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_FALSE(std::isnan(values[1]));
  EXPECT_TRUE(std::isnan(values[2]));
}

TEST_P(ActivationTest, InfinitiesGiveTheLimits) {
  const float infinity = std::numeric_limits<float>::infinity();
  float values[] = {infinity, -infinity};
  Activate(GetParam(), absl::MakeSpan(values));
  EXPECT_EQ(values[0], graph::InfoOf(GetParam()).exact(infinity));
  EXPECT_EQ(values[1], graph::InfoOf(GetParam()).exact(-infinity));
}

TEST_P(ActivationTest, ZeroOfEitherSignGivesTheValueAtZero) {
  float values[] = {0.0f, -0.0f};
  Activate(GetParam(), absl::MakeSpan(values));
  const float wanted = GetParam() == Activation::kSigmoid ? 0.5f : 0.0f;
  EXPECT_EQ(values[0], wanted);
  EXPECT_EQ(values[1], wanted);
}

TEST_P(ActivationTest, TouchesOnlyTheGivenValuesAtAnyLength) {
  for (size_t count = 0; count < 40; ++count) {
    std::vector<float> values(count + 2, 0.75f);
    Activate(GetParam(), absl::MakeSpan(values).subspan(1, count));
    EXPECT_EQ(values.front(), 0.75f);
    EXPECT_EQ(values.back(), 0.75f);
    for (size_t i = 1; i <= count; ++i) EXPECT_EQ(values[i], values[1]);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ActivationTest, testing::ValuesIn(kAll),
    [](const testing::TestParamInfo<Activation>& activation) {
      return std::string(Name(activation.param));
    });

}  // namespace
}  // namespace fff::engine

#include "server/importer/activation_names.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace fff::importer {
namespace {

using graph::Activation;

TEST(ActivationNamesTest, OneFunctionHasManySpellings) {
  const std::pair<const char*, Activation> spellings[] = {
      {"ReLU", Activation::kRelu},
      {"RELU", Activation::kRelu},
      {"nn.ReLU", Activation::kRelu},
      {"torch.nn.ReLU()", Activation::kRelu},
      {"torch.nn.functional.relu", Activation::kRelu},
      {"GELU", Activation::kGelu},
      {"GELU(approximate='none')", Activation::kGelu},
      {"gelu-erf", Activation::kGelu},
      {"gelu_python", Activation::kGelu},
      {"GELU(approximate='tanh')", Activation::kGeluTanh},
      {"gelu tanh", Activation::kGeluTanh},
      {"gelu_new", Activation::kGeluTanh},
      {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"SiLU", Activation::kSilu},
      {"swish", Activation::kSilu},
      {"Tanh", Activation::kTanh},
      {"F.sigmoid", Activation::kSigmoid},
      {"Identity", Activation::kIdentity},
      {"linear", Activation::kIdentity}};
  for (const auto& [text, activation] : spellings) {
    EXPECT_EQ(ActivationNamed(text), activation) << text;
  }
}

TEST(ActivationNamesTest, AnotherFunctionIsNotTakenForOneThatIsServed) {
  for (const char* text :
       {"", "()", "quick_gelu", "LeakyReLU", "PReLU", "ReLU6", "hard_swish",
        "hardsigmoid", "tanhshrink", "logsigmoid", "GELUglu", "relu2", "elu",
        "nn.", "relu,gelu", "gelu(approximate='other')"}) {
    EXPECT_EQ(ActivationNamed(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace fff::importer

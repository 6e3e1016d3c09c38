// Files that torch wrote: tests/data/checkpoint/make_fixtures.py.
#include <sys/stat.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint.h"
#include "tests/unit/checkpoint/test_bytes.h"

namespace fff::checkpoint {
namespace {

using tensor::DataType;
using tensor::Shape;
using Floats = std::vector<float>;

absl::StatusOr<Checkpoint> OpenFixture(const std::string& name) {
  return OpenCheckpoint(absl::StrCat(FFF_TEST_DATA_DIR, "/checkpoint/", name));
}

Checkpoint MustOpen(const std::string& name) {
  absl::StatusOr<Checkpoint> checkpoint = OpenFixture(name);
  if (!checkpoint.ok()) {
    ADD_FAILURE() << checkpoint.status();
    return Checkpoint(name, "torch", {}, nullptr);
  }
  return *std::move(checkpoint);
}

void ExpectTensor(const Checkpoint& checkpoint, const std::string& name,
                  const Shape& shape, const Floats& values) {
  const NamedTensor* tensor = checkpoint.Find(name);
  ASSERT_NE(tensor, nullptr) << name;
  EXPECT_EQ(tensor->shape, shape) << name;
  EXPECT_EQ(Elements<float>(checkpoint, name, DataType::kF32), values) << name;
}

TEST(TorchFilesTest, MaterialisesViews) {
  const Checkpoint checkpoint = MustOpen("strided.pt");
  EXPECT_EQ(checkpoint.tensors().size(), 11u);
  ExpectTensor(checkpoint, "transposed", {6, 4},
               {0, 6, 12, 18, 1, 7,  13, 19, 2, 8,  14, 20,
                3, 9, 15, 21, 4, 10, 16, 22, 5, 11, 17, 23});
  ExpectTensor(checkpoint, "rows", {2, 6},
               {6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17});
  ExpectTensor(checkpoint, "column", {4}, {2, 8, 14, 20});
  ExpectTensor(checkpoint, "block", {2, 3}, {8, 9, 10, 14, 15, 16});
  ExpectTensor(checkpoint, "every_second", {2, 2}, {0, 3, 12, 15});
  ExpectTensor(checkpoint, "expanded", {3, 6},
               {6, 7, 8, 9, 10, 11, 6, 7, 8, 9, 10, 11, 6, 7, 8, 9, 10, 11});
  ExpectTensor(checkpoint, "scalar", {}, {15});
  ExpectTensor(checkpoint, "permuted", {4, 2, 3},
               {0, 4, 8,  12, 16, 20, 1, 5, 9,  13, 17, 21,
                2, 6, 10, 14, 18, 22, 3, 7, 11, 15, 19, 23});
  ExpectTensor(checkpoint, "diagonal", {4}, {0, 7, 14, 21});
  ExpectTensor(checkpoint, "empty", {4, 0}, {});
}

TEST(TorchFilesTest, ReadsEveryDataType) {
  const Checkpoint checkpoint = MustOpen("dtypes.pt");
  const std::pair<const char*, DataType> numbers[] = {
      {"float32", DataType::kF32}, {"float64", DataType::kF64},
      {"float16", DataType::kF16}, {"bfloat16", DataType::kBF16},
      {"int64", DataType::kI64},   {"int32", DataType::kI32},
      {"int16", DataType::kI16},   {"int8", DataType::kI8},
      {"uint8", DataType::kU8}};
  for (const auto& [name, type] : numbers) {
    ASSERT_NE(checkpoint.Find(name), nullptr) << name;
    EXPECT_EQ(checkpoint.Find(name)->data_type, type) << name;
    const auto floats = checkpoint.Floats(name);
    ASSERT_TRUE(floats.ok()) << floats.status();
    EXPECT_EQ(Floats(floats->span().begin(), floats->span().end()),
              (Floats{0, 1, 2, 3, 4}))
        << name;
  }
  EXPECT_EQ(Elements<uint8_t>(checkpoint, "bool", DataType::kBool),
            (std::vector<uint8_t>{0, 1, 1, 1, 1}));
}

TEST(TorchFilesTest, ReadsParametersAndBuffers) {
  for (const char* name : {"parameter.pt", "parameter_with_state.pt"}) {
    ExpectTensor(MustOpen(name), "weight", {2, 3}, {0, 1, 2, 3, 4, 5});
  }
  for (const char* name : {"module_state.pt", "protocol4.pt", "cuda.pt",
                           "deflated.pt", "nested_state_dict.pt",
                           "nested_model_state_dict.pt", "nested_model.pt"}) {
    const Checkpoint checkpoint = MustOpen(name);
    EXPECT_EQ(checkpoint.format(), "torch");
    EXPECT_EQ(checkpoint.tensors().size(), 2u) << name;
    ExpectTensor(checkpoint, "weight", {2, 3}, {0, 1, 2, 3, 4, 5});
    EXPECT_EQ(checkpoint.Integer("steps").value(), 7) << name;
  }
}

TEST(TorchFilesTest, SharesStorages) {
  const Checkpoint checkpoint = MustOpen("shared.pt");
  ExpectTensor(checkpoint, "a", {5}, {0, 1, 2, 3, 4});
  ExpectTensor(checkpoint, "tail", {2}, {3, 4});
  EXPECT_EQ(checkpoint.Find("a")->bytes.data(),
            checkpoint.Find("b")->bytes.data());
}

TEST(TorchFilesTest, KeepsNumbersAndLeavesOutTheRest) {
  const Checkpoint checkpoint = MustOpen("scalars.pt");
  EXPECT_EQ(checkpoint.tensors().size(), 4u);
  EXPECT_EQ(checkpoint.Integer("depth").value(), 4);
  EXPECT_EQ(checkpoint.Find("depth")->data_type, DataType::kI64);
  EXPECT_TRUE(checkpoint.Find("depth")->shape.empty());
  EXPECT_EQ(checkpoint.Integer("negative").value(), -(int64_t{1} << 40));
  EXPECT_EQ(checkpoint.Find("k")->data_type, DataType::kF64);
  EXPECT_EQ(checkpoint.Floats("k").value()[0], 0.75f);
}

TEST(TorchFilesTest, ExecutesNothingOfAPickleThatCallsTheSystem) {
  const Checkpoint checkpoint = MustOpen("malicious.pt");
  // Python names the module that defines os.system.
  EXPECT_EQ(checkpoint.others().at("x"), "posix.system");
  ExpectTensor(checkpoint, "w", {2}, {0, 1});
  struct stat unused;
  EXPECT_NE(stat("/tmp/fff-must-not-exist", &unused), 0);
}

TEST(TorchFilesTest, RefusesWholeModules) {
  ExpectInvalid(OpenFixture("module.pt"),
                "the top level is a whole object, of "
                "torch.nn.modules.linear.Linear, which code would have to make "
                "(nothing was executed); save tensors only: "
                "torch.save(model.state_dict(), path)");
}

TEST(TorchFilesTest, RefusesOtherTopLevelsNamesAndTypes) {
  ExpectInvalid(OpenFixture("tensor.pt"), "the top level is tensor");
  ExpectInvalid(OpenFixture("int_key.pt"),
                "no dict of names to tensors is in the file");
  ExpectInvalid(OpenFixture("nested_twice.pt"),
                "2 dicts could be the weights: \"model\", \"state_dict\"");
  ExpectInvalid(MustOpen("complex.pt").Floats("w"),
                "complex.pt: tensor \"w\": is of torch.ComplexFloatStorage");
}

TEST(TorchFilesTest, TakesTheEntryThatIsNamed) {
  const std::string path =
      absl::StrCat(FFF_TEST_DATA_DIR, "/checkpoint/nested_twice.pt");
  const auto checkpoint = OpenCheckpoint(path, "model");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ExpectTensor(*checkpoint, "weight", {2, 3}, {0, 1, 2, 3, 4, 5});
  ExpectTensor(MustOpen("nested_elsewhere.pt"), "weight", {2, 3},
               {0, 1, 2, 3, 4, 5});
  ExpectInvalid(OpenCheckpoint(path, "ema"),
                "\"checkpoint_entry\": \"ema\" is not in the file");
}

}  // namespace
}  // namespace fff::checkpoint

#include "server/checkpoint/state_dict.h"

#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint.h"
#include "tests/unit/checkpoint/pickle_writer.h"
#include "tests/unit/checkpoint/test_bytes.h"

namespace fff::checkpoint {
namespace {

using pickled::Dict;
using pickled::Int;
using pickled::kStart;
using pickled::kStop;
using pickled::Tensor;
using pickled::Text;

// Names that the state_dict in `body` has, or the error.
absl::StatusOr<std::vector<std::string>> Names(const std::string& body) {
  const std::string pickle = kStart + body + kStop;
  const absl::StatusOr<Unpickled> unpickled = Unpickle(AsBytes(pickle));
  if (!unpickled.ok()) return unpickled.status();
  const auto entries = ReadStateDict(*unpickled);
  if (!entries.ok()) return entries.status();
  std::vector<std::string> names;
  for (const StateEntry& entry : *entries) names.emplace_back(entry.name);
  return names;
}

using Strings = std::vector<std::string>;

TEST(StateDictTest, KeepsTensorsAndNumbersInOrder) {
  const std::string pickle =
      kStart +
      Dict(Text("w") + Tensor() + Text("n") + Int(-5) + Text("f") +
           std::string("G\x3f\xf8\0\0\0\0\0\0", 9) + Text("none") + "N" +
           Text("flag") + "\x88" + Text("text") + Text("x") + Text("list") +
           "]" + Text("dict") + "}") +
      kStop;
  const auto unpickled = Unpickle(AsBytes(pickle));
  ASSERT_TRUE(unpickled.ok()) << unpickled.status();
  const auto entries = ReadStateDict(*unpickled);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].name, "w");
  EXPECT_TRUE(std::holds_alternative<PickleTensorRef>((*entries)[0].value));
  EXPECT_EQ(std::get<int64_t>((*entries)[1].value), -5);
  EXPECT_EQ(std::get<double>((*entries)[2].value), 1.5);
}

TEST(StateDictTest, LooksBelowTheUsualKeys) {
  for (const char* key : {"state_dict", "model_state_dict", "model"}) {
    EXPECT_EQ(Names(Dict(Text("loss") + Tensor() + Text(key) +
                         Dict(Text("w") + Tensor())))
                  .value(),
              Strings{"w"});
  }
}

TEST(StateDictTest, TakesATensorCalledModelAsATensor) {
  EXPECT_EQ(Names(Dict(Text("model") + Tensor())).value(), Strings{"model"});
}

TEST(StateDictTest, LooksOneLevelDeepOnly) {
  ExpectInvalid(
      Names(Dict(Text("model") +
                 Dict(Text("model") + Dict(Text("w") + Tensor())))),
      "the state_dict holds no tensor; its keys are: model; a dict of tensors "
      "may also stand below \"state_dict\", \"model_state_dict\" or \"model\"");
}

TEST(StateDictTest, RefusesTwoCandidates) {
  ExpectInvalid(Names(Dict(Text("model") + Dict(Text("w") + Tensor()) +
                           Text("state_dict") + Dict(Text("w") + Tensor()))),
                "the top level has a dict below \"model\" and below "
                "\"state_dict\"; save only the state_dict that is meant");
}

TEST(StateDictTest, RefusesWhatHoldsNoTensor) {
  ExpectInvalid(Names("}"), "holds no tensor; its keys are: none");
  ExpectInvalid(Names(Dict(Text("net") + Dict(Text("w") + Tensor()) +
                           Text("epoch") + Int(3))),
                "holds no tensor; its keys are: net, epoch;");
  std::string many;
  for (int i = 10; i < 40; ++i) many += Text(absl::StrCat("k", i)) + "N";
  ExpectInvalid(Names(Dict(many)), "k29 and 10 more;");
}

TEST(StateDictTest, RefusesAnotherTopLevel) {
  ExpectInvalid(Names(Tensor()), "the top level is tensor, want a state_dict");
  ExpectInvalid(Names("]"), "the top level is list, want a state_dict");
}

TEST(StateDictTest, RefusesBadNames) {
  ExpectInvalid(Names(Dict(Int(3) + Tensor())),
                "a name in the state_dict is int, want str");
  ExpectInvalid(Names(Dict(Text("w") + Tensor() + Text("w") + Tensor())),
                "tensor name \"w\" occurs twice");
  ExpectInvalid(Names(Dict(Text("w\xff") + Tensor())),
                "tensor name \"w\\xff\" is not UTF-8");
  ExpectInvalid(Names(Dict(Text(std::string(1025, 'n')) + Tensor())),
                "has 1025 bytes, at most 1024 are allowed");
}

TEST(StateDictTest, RefusesTooManyEntries) {
  std::string items;
  for (int i = 0; i <= kTensorsMax; ++i) {
    items += Text(absl::StrCat(i)) + "Ns";
  }
  ExpectInvalid(Names("}" + items),
                "the state_dict has 65537 entries, at most 65536 are allowed");
}

}  // namespace
}  // namespace fff::checkpoint

#include "server/checkpoint/state_dict.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/checkpoint/checkpoint.h"
#include "tests/unit/checkpoint/pickle_writer.h"
#include "tests/unit/checkpoint/test_bytes.h"

namespace fff::checkpoint {
namespace {

using pickled::Dict;
using pickled::Global;
using pickled::Int;
using pickled::kStart;
using pickled::kStop;
using pickled::Tensor;
using pickled::TensorSpec;
using pickled::Text;
using pickled::Tuple;

// Names that the state_dict in `body` has, or the error.
absl::StatusOr<std::vector<std::string>> Names(const std::string& body,
                                               const std::string& entry = "") {
  const std::string pickle = kStart + body + kStop;
  const absl::StatusOr<Unpickled> unpickled = Unpickle(AsBytes(pickle));
  if (!unpickled.ok()) return unpickled.status();
  const auto state = ReadStateDict(*unpickled, entry);
  if (!state.ok()) return state.status();
  std::vector<std::string> names;
  for (const StateEntry& named : state->entries) names.push_back(named.name);
  return names;
}

using Strings = std::vector<std::string>;

void ExpectNotFound(const absl::StatusOr<Strings>& result,
                    const std::string& part) {
  EXPECT_EQ(result.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(result.status().message()), testing::HasSubstr(part));
}

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
  const auto state = ReadStateDict(*unpickled);
  ASSERT_TRUE(state.ok()) << state.status();
  const std::vector<StateEntry>& entries = state->entries;
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].name, "w");
  EXPECT_TRUE(std::holds_alternative<PickleTensorRef>(entries[0].value));
  EXPECT_EQ(std::get<int64_t>(entries[1].value), -5);
  EXPECT_EQ(std::get<double>(entries[2].value), 1.5);
  EXPECT_EQ(state->others.at("list"), "list");
  EXPECT_EQ(state->others.count("text"), 0u);
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

// A tensor [2, 3], a vector, a scalar, and one of bytes.
std::string Matrix() { return Tensor(); }
std::string Vector(const std::string& type = "FloatStorage") {
  TensorSpec spec;
  spec.storage_type = type;
  spec.size = Tuple(Int(6));
  spec.strides = Tuple(Int(1));
  return Tensor(spec);
}
std::string Score() {
  TensorSpec spec;
  spec.size = spec.strides = ")";
  return Tensor(spec);
}
std::string Weights() { return Dict(Text("w") + Matrix()); }

TEST(StateDictTest, FindsTheOnlyDictOfTensorsWhereverItStands) {
  for (const char* path :
       {"network", "state_dict.model", "model.state_dict", "params",
        "checkpoint.state_dict", "module", "a.b.c.d"}) {
    std::string body = Weights();
    const std::vector<std::string> keys = absl::StrSplit(path, '.');
    for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
      body = Dict(Text("epoch") + Int(3) + Text("cfg") +
                  Dict(Text("name") + Text("fff")) + Text(*key) + body);
    }
    EXPECT_EQ(Names(body).value(), Strings{"w"}) << path;
  }
}

TEST(StateDictTest, PassesWhatHoldsNoWeights) {
  const std::string adam =
      Dict(Text("state") + Dict(Int(0) + Dict(Text("exp_avg") + Matrix())) +
           Text("param_groups") + "]");
  const std::string by_name =
      Dict(Text("state") + Dict(Text("w") + Dict(Text("exp_avg") + Matrix())) +
           Text("param_groups") + "]");
  const std::string scores =
      Dict(Text("best_score") + Score() + Text("history") + Vector());
  const std::string random = Dict(Text("cpu") + Vector("ByteStorage"));
  for (const std::string& beside :
       {adam, by_name, scores, random, Dict(Text("name") + Text("fff")),
        std::string("}"), std::string("]"), Matrix(), Score()}) {
    EXPECT_EQ(
        Names(Dict(Text("x") + beside + Text("model") + Weights())).value(),
        Strings{"w"});
    EXPECT_EQ(Names(Dict(Text("state_dict") + Weights() + Text("model") +
                         (beside == Matrix() ? "}" : beside)))
                  .value(),
              Strings{"w"});
  }
  // Inside a state_dict: its extra state.
  EXPECT_EQ(Names(Dict(Text("w") + Matrix() + Text("x._extra_state") +
                       Weights() + Text("_extra_state") + Weights()))
                .value(),
            Strings{"w"});
}

TEST(StateDictTest, TakesADictInsideAsAPartOfTheState) {
  const std::string module =
      Dict(Text("weight") + Vector() + Text("depth") + Int(3));
  EXPECT_EQ(Names(Dict(Text("w") + Matrix() + Text("norm") + module)).value(),
            (Strings{"w", "norm.weight", "norm.depth"}));
  // Of which one that holds scores alone is none.
  EXPECT_EQ(Names(Dict(Text("w") + Matrix() + Text("best") +
                       Dict(Text("loss") + Score())))
                .value(),
            Strings{"w"});
}

TEST(StateDictTest, RefusesTwoCandidates) {
  const std::string two =
      Dict(Text("model") + Weights() + Text("ema") +
           Dict(Text("decay") + Int(1) + Text("state_dict") + Weights()));
  ExpectInvalid(Names(two),
                "2 dicts could be the weights: \"model\", \"ema.state_dict\"; "
                "say which in config.json, for example \"checkpoint_entry\": "
                "\"model\"");
  ExpectInvalid(Names("(" + Weights() + Weights() + "l"),
                "2 dicts could be the weights: \"0\", \"1\"");
  ExpectInvalid(Names(Dict(Text("generator") + Weights() +
                           Text("discriminator") + Weights())),
                "\"generator\", \"discriminator\"");
  // One dict under two names leaves no choice.
  EXPECT_EQ(Names(Dict(Text("model") + Weights() + "q\7" + Text("ema") + "h\7"))
                .value(),
            Strings{"w"});
}

TEST(StateDictTest, TakesTheEntryThatIsNamed) {
  const std::string two =
      Dict(Text("model") + Dict(Text("a") + Matrix()) + Text("ema") +
           Dict(Text("state_dict") + Dict(Text("b") + Matrix()) + Text("n") +
                Int(1)));
  EXPECT_EQ(Names(two, "model").value(), Strings{"a"});
  EXPECT_EQ(Names(two, "ema.state_dict").value(), Strings{"b"});
  EXPECT_EQ(Names(two, "ema").value(), Strings{"b"});
  // With several inside, all are parts.
  EXPECT_EQ(Names(two, ".").value(), (Strings{"model.a", "ema.state_dict.b"}));
}

TEST(StateDictTest, PrefersTheKeyThatIsTheWholePath) {
  const auto one = [](const char* name) { return Dict(Text(name) + Matrix()); };
  EXPECT_EQ(Names(Dict(Text("a") + Dict(Text("b") + one("x")) + Text("a.b") +
                       one("y")),
                  "a.b")
                .value(),
            Strings{"y"});
  EXPECT_EQ(Names(Dict(Text("a.b") + Dict(Text("c.d") + one("x")) + Text("e") +
                       one("y")),
                  "a.b.c.d")
                .value(),
            Strings{"x"});
  ExpectInvalid(Names(Dict(Text("a") + Dict(Text("b.c") + one("x")) +
                           Text("a.b") + Dict(Text("c") + one("y"))),
                      "a.b.c"),
                "\"checkpoint_entry\": \"a.b.c\" can be read in 2 ways");
}

TEST(StateDictTest, RefusesAnEntryThatIsNotThere) {
  const std::string body =
      Dict(Text("model") + Weights() + Text("epoch") + Int(3));
  ExpectInvalid(Names(body, "ema"),
                "\"checkpoint_entry\": \"ema\" is not in the file; its dicts "
                "of tensors are \"model\"");
  ExpectInvalid(Names(body, "model.w"),
                "\"model.w\" names tensor, want a dict of names to tensors");
  ExpectInvalid(Names(body, "epoch"), "names int, want a dict");
  ExpectInvalid(Names("(" + Weights() + Weights() + "l", "."),
                "names list, want a dict of names to tensors; inside are");
}

TEST(StateDictTest, LooksIntoDictsOfUnknownClasses) {
  const std::string box =
      Global("addict", "Dict") + ")R(" + Text("w") + Matrix() + "u";
  EXPECT_EQ(Names(Dict(Text("state_dict") + box)).value(), Strings{"w"});
  ExpectInvalid(Names(Dict(Text("net") + box + Text("ema") + Weights())),
                "2 dicts could be the weights");
}

TEST(StateDictTest, SurvivesCyclesAndDeepNesting) {
  // A dict inside itself, and one below 100,000 others.
  EXPECT_EQ(Names("}q\7(" + Text("self") + "h\7" + Text("w") + Matrix() + "u")
                .value(),
            Strings{"w"});
  std::string deep = Weights();
  std::string ends;
  for (int i = 0; i < 30000; ++i) ends += "s";
  std::string starts;
  for (int i = 0; i < 30000; ++i) starts += "}" + Text("x");
  ExpectNotFound(Names(starts + deep + ends), "no dict of names to tensors");
}

// Each took minutes while a long value was looked at once per mention.
TEST(StateDictTest, LooksAtLongValuesOnce) {
  std::string items = Text("w") + Matrix() + "s";
  std::string inside;
  for (int i = 0; i < 200000; ++i) inside += Text("a") + "Ns";
  items += Text("first") + "}" + inside + "q\7" + "s";
  for (int i = 0; i < 60000; ++i) {
    items += Text(absl::StrCat("m", i)) + "h\7s";
  }
  EXPECT_EQ(Names("}" + items).value(), Strings{"w"});
  std::string sparse =
      "(" + std::string(60000, 'N') + "tq\7" + "0}" + Text("w") + Matrix() +
      "s" + Global("torch._utils", "_rebuild_sparse_tensor") + "q\x8" + "0";
  for (int i = 0; i < 60000; ++i) {
    sparse += Text(absl::StrCat(i)) + "h\x8Nh\7\x86Rs";
  }
  EXPECT_EQ(Names(sparse).value().size(), 60001u);
}

// Dicts of a vocabulary, more than there may be tensors.
TEST(StateDictTest, PassesManyDictsInside) {
  std::string words;
  for (int i = 0; i < 2 * kTensorsMax; ++i) {
    words += Text(absl::StrCat(i)) + "}s";
  }
  EXPECT_EQ(Names("}" + Text("w") + Matrix() + "s" + Text("words") + "}" +
                  words + "s")
                .value(),
            Strings{"w"});
}

TEST(StateDictTest, RefusesWhatHoldsNoTensor) {
  ExpectNotFound(Names("}"), "the keys of the top level are: none");
  ExpectNotFound(Names(Dict(Text("net") + Global("models", "Net") + ")\x81" +
                            Text("epoch") + Int(3))),
                 "the top level are: net (models.Net), epoch;");
  std::string many;
  for (int i = 10; i < 40; ++i) many += Text(absl::StrCat("k", i)) + "N";
  ExpectNotFound(Names(Dict(many)), "k29 and 10 more;");
}

TEST(StateDictTest, RefusesAnotherTopLevel) {
  ExpectNotFound(Names(Tensor()), "the top level is tensor, want a state_dict");
  ExpectNotFound(Names("]"), "the top level is list, want a state_dict");
  ExpectNotFound(Names(Global("models", "Net") + ")\x81}b"),
                 "the top level is a whole object, of models.Net, which code "
                 "would have to make (nothing was executed); save tensors "
                 "only: torch.save(model.state_dict(), path)");
}

TEST(StateDictTest, RefusesBadNames) {
  ExpectNotFound(Names(Dict(Int(3) + Tensor())),
                 "the keys of the top level are: int");
  EXPECT_EQ(Names(Dict(Int(3) + Tensor() + Text("w") + Tensor())).value(),
            Strings{"w"});
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
  ExpectInvalid(Names("}" + items + Text("w") + Tensor() + "s"),
                "the state_dict has more than 65536 entries");
}

}  // namespace
}  // namespace fff::checkpoint

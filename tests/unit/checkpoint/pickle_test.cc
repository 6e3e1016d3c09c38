#include "server/checkpoint/pickle.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/pickle_literals.h"
#include "server/checkpoint/pickle_stack.h"
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

absl::StatusOr<Unpickled> Evaluate(const std::string& body) {
  // A copy of exact size, so that a sanitizer sees a read beyond the end.
  static std::vector<std::byte> copy;
  const std::string pickle = kStart + body;
  copy.assign(AsBytes(pickle).begin(), AsBytes(pickle).end());
  copy.shrink_to_fit();
  return Unpickle(copy);
}

void ExpectRefused(const std::string& body, absl::string_view part) {
  ExpectInvalid(Evaluate(body), part);
}

// The value that `body` leaves, if it has type T.
template <typename T>
T RootOf(const std::string& body) {
  const absl::StatusOr<Unpickled> result = Evaluate(body + kStop);
  if (!result.ok()) {
    ADD_FAILURE() << result.status();
    return T();
  }
  const T* value = result->heap.As<T>(result->root);
  if (value == nullptr) {
    ADD_FAILURE() << KindName(result->heap.at(result->root));
    return T();
  }
  return *value;
}

TEST(PickleTest, ReadsNumbers) {
  EXPECT_EQ(RootOf<int64_t>("K\xff"), 255);
  EXPECT_EQ(RootOf<int64_t>("M\xff\xff"), 65535);
  EXPECT_EQ(RootOf<int64_t>("J\xff\xff\xff\xff"), -1);
  EXPECT_EQ(RootOf<int64_t>(std::string("\x8a\0", 2)), 0);
  EXPECT_EQ(RootOf<int64_t>("\x8a\1\xff"), -1);
  EXPECT_EQ(RootOf<int64_t>(std::string("\x8a\2\xff\0", 4)), 255);
  EXPECT_EQ(RootOf<int64_t>(Int(-(int64_t{1} << 40))), -(int64_t{1} << 40));
  EXPECT_EQ(RootOf<int64_t>("\x8b" + Packed(uint32_t{1}) + "\x7f"), 127);
  EXPECT_EQ(RootOf<double>(std::string("G\x3f\xf8\0\0\0\0\0\0", 9)), 1.5);
  EXPECT_EQ(RootOf<bool>("\x88"), true);
  EXPECT_EQ(RootOf<bool>("\x89"), false);
}

TEST(PickleTest, CarriesWhatItNeverLooksAt) {
  EXPECT_EQ(RootOf<PickleOpaque>("\x8a\x9" + std::string(9, 'x')).kind,
            "int above 64 bits");
  EXPECT_EQ(RootOf<PickleOpaque>("C\2xy").kind, "bytes");
  EXPECT_EQ(RootOf<PickleOpaque>(Global("torch", "device") +
                                 Tuple(Text("cuda:0")) + "R")
                .kind,
            "device");
}

TEST(PickleTest, ReadsStringsOfEveryProtocol) {
  EXPECT_EQ(RootOf<absl::string_view>(Text("ab")), "ab");
  EXPECT_EQ(RootOf<absl::string_view>("\x8c\2ab"), "ab");
  EXPECT_EQ(RootOf<absl::string_view>("U\2ab"), "ab");
  EXPECT_EQ(RootOf<absl::string_view>("T" + Packed(uint32_t{2}) + "ab"), "ab");
  EXPECT_EQ(RootOf<absl::string_view>("\x8d" + Packed(uint64_t{2}) + "ab"),
            "ab");
}

TEST(PickleTest, BuildsContainers) {
  EXPECT_EQ(RootOf<PickleTuple>(")").items.size(), 0u);
  EXPECT_EQ(RootOf<PickleTuple>("NNN\x87").items.size(), 3u);
  EXPECT_EQ(RootOf<PickleTuple>(Tuple("NNNN")).items.size(), 4u);
  EXPECT_EQ(RootOf<PickleList>("]Na(NNe").items.size(), 3u);
  EXPECT_EQ(RootOf<PickleDict>("}NNs(NNNNu").items.size(), 3u);
  EXPECT_EQ(RootOf<PickleDict>(pickled::EmptyOrderedDict()).items.size(), 0u);
  EXPECT_EQ(RootOf<PickleTuple>(Global("torch", "Size") +
                                Tuple(Tuple(Int(2) + Int(3))) + "R")
                .items.size(),
            2u);
}

TEST(PickleTest, RemembersValues) {
  EXPECT_EQ(RootOf<int64_t>("K\7q\5Nh\5"), 7);
  EXPECT_EQ(RootOf<int64_t>("K\7r" + Packed(uint32_t{1} << 31) + "Nj" +
                            Packed(uint32_t{1} << 31)),
            7);
  EXPECT_EQ(RootOf<int64_t>(std::string("K\7\x94N\x94h\0", 7)), 7);
  ExpectRefused("h\3", "opcode BINGET (0x68): memo 3 was never written");
}

TEST(PickleTest, SurvivesCyclesAndDeepNesting) {
  // A list inside itself, then one list inside another 100,000 deep.
  EXPECT_EQ(RootOf<PickleList>(std::string("]q\0h\0a", 6)).items.size(), 1u);
  std::string nested;
  for (int i = 0; i < 100000; ++i) nested += "\x85";
  EXPECT_EQ(RootOf<PickleTuple>("N" + nested).items.size(), 1u);
}

TEST(PickleTest, PopsValuesAndMarks) {
  EXPECT_EQ(RootOf<int64_t>("K\1K\2"
                            "0"),
            1);
  EXPECT_EQ(RootOf<int64_t>("K\1(NN1"), 1);
  EXPECT_EQ(RootOf<int64_t>("K\1(0"), 1);
  EXPECT_EQ(RootOf<PickleTuple>("K\1"
                                "2\x86")
                .items.size(),
            2u);
}

TEST(PickleTest, RebuildsTensorsAndParameters) {
  const auto result = Evaluate(Tensor({"HalfStorage", "7", 9, 3}) + kStop);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto* ref = result->heap.As<PickleTensorRef>(result->root);
  ASSERT_NE(ref, nullptr);
  const PickleTensor& tensor = result->heap.tensor(*ref);
  EXPECT_EQ(tensor.storage.data_type, tensor::DataType::kF16);
  EXPECT_EQ(tensor.storage.key, "7");
  EXPECT_EQ(tensor.storage.numel, 9);
  EXPECT_EQ(tensor.view.offset, 3);
  EXPECT_EQ(tensor.view.shape, (tensor::Shape{2, 3}));
  EXPECT_EQ(tensor.view.strides, (tensor::Shape{3, 1}));
  RootOf<PickleTensorRef>(Global("torch._utils", "_rebuild_parameter") +
                          Tuple(Tensor() + "\x88" + "}") + "R");
  RootOf<PickleTensorRef>(
      Global("torch._utils", "_rebuild_parameter_with_state") +
      Tuple(Tensor() + "\x88" + "}" + "}") + "R");
  TensorSpec with_metadata;
  with_metadata.rest += "}";
  RootOf<PickleTensorRef>(Tensor(with_metadata));
}

TEST(PickleTest, ReadsUntypedStoragesAsBytes) {
  const std::string id =
      Tuple(Text("storage") + Global("torch.storage", "UntypedStorage") +
            Text("0") + Text("cpu") + Int(24));
  const auto storage = RootOf<PickleTuple>(Tuple(id + "Q"));
  EXPECT_EQ(storage.items.size(), 1u);
}

TEST(PickleTest, RefusesEveryOtherGlobal) {
  ExpectRefused(Global("os", "system") + Tuple(Text("true")) + "R.",
                "pickle byte 2: opcode GLOBAL (0x63): global os.system is not "
                "allowed in a checkpoint (nothing was executed); save tensors "
                "only: torch.save(model.state_dict(), path)");
  ExpectRefused("\x8c\2os\x8c\6system\x93",
                "opcode STACK_GLOBAL (0x93): global os.system is not allowed");
  ExpectRefused(Global("builtins", "eval"), "global builtins.eval is not");
  ExpectRefused(Global("torch", "ComplexFloatStorage"),
                "global torch.ComplexFloatStorage is not allowed");
  ExpectRefused(Global("collections.OrderedDict", "OrderedDict"),
                "global collections.OrderedDict.OrderedDict is not allowed");
  ExpectRefused(Global("o\x1bs", "sys\xfftem"),
                "global o\\x1bs.sys\\xfftem is not allowed");
}

TEST(PickleTest, RefusesEveryOtherOpcode) {
  ExpectRefused("(ios\nsystem\n",
                "pickle byte 3: opcode INST (0x69): not allowed in a "
                "checkpoint, here with global os.system");
  ExpectRefused(")\x81", "opcode NEWOBJ (0x81): not allowed in a checkpoint");
  ExpectRefused("\x92", "opcode NEWOBJ_EX (0x92): not allowed");
  ExpectRefused("\x82\1", "opcode EXT1 (0x82): not allowed");
  ExpectRefused("(o", "opcode OBJ (0x6f): not allowed");
  ExpectRefused("Px\n", "opcode PERSID (0x50): not allowed");
  ExpectRefused("I01\n", "opcode INT (0x49): not allowed");
  ExpectRefused("\x8f", "opcode EMPTY_SET (0x8f): not allowed");
  ExpectRefused("\xff", "opcode unknown (0xff): not allowed");
}

TEST(PickleTest, AllowsExactlyItsOpcodes) {
  const std::string allowed =
      "(.012JKMNQRTUXabc}ehj]qrst)uGBC\x80\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d"
      "\x8e\x93\x94\x95";
  for (int byte = 0; byte < 256; ++byte) {
    const auto opcode = static_cast<char>(byte);
    const auto result = Evaluate(std::string(1, opcode));
    ASSERT_FALSE(result.ok());
    const bool refused =
        std::string(result.status().message()).find("not allowed in a") !=
        std::string::npos;
    EXPECT_EQ(refused, allowed.find(opcode) == std::string::npos) << byte;
  }
}

TEST(PickleTest, RefusesCallsThatTorchDoesNotMake) {
  const std::string rebuild = Global("torch._utils", "_rebuild_tensor_v2");
  ExpectRefused(rebuild + Tuple("N") + "R",
                "opcode REDUCE (0x52): _rebuild_tensor_v2 has 1 arguments, "
                "want 6 to 7");
  ExpectRefused(rebuild + Tuple("NNNNNN") + "R",
                "_rebuild_tensor_v2: argument 1 is None, want a storage");
  ExpectRefused(Global("collections", "OrderedDict") + Tuple("]") + "R",
                "OrderedDict has 1 arguments, want 0");
  ExpectRefused(Global("torch", "FloatStorage") + ")R", "calls a storage type");
  ExpectRefused("N)R", "calls None with tuple, want a global and a tuple");
  ExpectRefused(Global("torch", "Size") + "]R", "calls global with list");
  ExpectRefused(Global("torch", "Size") + Tuple("]") + "R",
                "torch.Size: argument 1 is list, want a tuple");
  ExpectRefused(Global("torch._utils", "_rebuild_parameter") + "N\x88}\x87R",
                "_rebuild_parameter: argument 1 is None, want a tensor");
}

TEST(PickleTest, RefusesTensorsBeyondTheirStorage) {
  TensorSpec spec;
  spec.numel = 5;
  ExpectRefused(Tensor(spec),
                "_rebuild_tensor_v2: shape [2, 3], strides [3, 1] and offset 0 "
                "need 6 elements, but storage \"0\" has 5");
  spec.numel = 6;
  spec.offset = 1;
  ExpectRefused(Tensor(spec), "need 7 elements, but storage \"0\" has 6");
  spec.offset = -1;
  ExpectRefused(Tensor(spec), "storage offset -1 is negative");
  spec.offset = 0;
  spec.strides = Tuple(Int(int64_t{1} << 62) + Int(int64_t{1} << 62));
  ExpectRefused(Tensor(spec), "reach beyond 2^63 elements");
  spec.strides = Tuple(Int(-3) + Int(1));
  ExpectRefused(Tensor(spec), "strides [-3, 1] hold a negative one");
  spec.strides = Tuple(Int(1));
  ExpectRefused(Tensor(spec), "shape has 2 dimensions, but 1 strides");
}

TEST(PickleTest, RefusesTensorArgumentsOfOtherTypes) {
  TensorSpec spec;
  spec.size = Tuple(Text("2") + Int(3));
  ExpectRefused(Tensor(spec), "argument 3 holds str, want a tuple of int");
  spec.size = "]";
  ExpectRefused(Tensor(spec), "argument 3 is list, want a tuple of int (size)");
  spec.size = Tuple(std::string(9, 'N'));
  ExpectRefused(Tensor(spec), "rank 9 is above the maximum of 8");
  spec = {};
  spec.rest += Dict(Text("neg") + "\x88");
  ExpectRefused(Tensor(spec), "a conjugated or negated view) is not supported");
}

TEST(PickleTest, RefusesOtherPersistentIds) {
  const auto id = [](const std::string& items) { return Tuple(items) + "Q"; };
  const std::string type = Global("torch", "FloatStorage");
  ExpectRefused(Text("0") + "Q", "persistent id is str, want a tuple");
  ExpectRefused(id("NN"), "persistent id has 2 arguments, want 5");
  ExpectRefused(id(Text("module") + type + Text("0") + Text("cpu") + Int(1)),
                "persistent id is for \"module\", want \"storage\"");
  ExpectRefused(id(Text("storage") + Text("FloatStorage") + Text("0") +
                   Text("cpu") + Int(1)),
                "argument 2 is str, want a storage type");
  ExpectRefused(id(Text("storage") + Global("torch", "Size") + Text("0") +
                   Text("cpu") + Int(1)),
                "argument 2 is a global that is no storage type");
  ExpectRefused(id(Text("storage") + type + Int(0) + Text("cpu") + Int(1)),
                "argument 3 is int, want a str (the storage's key)");
  ExpectRefused(id(Text("storage") + type + Text("0") + Text("cpu") + Int(-1)),
                "storage \"0\" has -1 elements, want 0 to");
}

TEST(PickleTest, RefusesMisuseOfTheStack) {
  ExpectRefused(".", "opcode STOP (0x2e): the stack is empty");
  ExpectRefused("(.", "opcode STOP (0x2e): the stack is empty");
  ExpectRefused("0", "opcode POP (0x30): the stack is empty");
  ExpectRefused("1", "opcode POP_MARK (0x31): there is no mark");
  ExpectRefused("t", "opcode TUPLE (0x74): there is no mark");
  ExpectRefused("N\x86",
                "opcode TUPLE2 (0x86): wants 2 values, the stack has 1");
  ExpectRefused("N(N\x86", "wants 2 values, the stack has 1");
  ExpectRefused("NNa", "appends to None, want a list");
  ExpectRefused("NNNs", "sets an item of None, want a dict");
  ExpectRefused("}(Nu", "a key has no value");
  ExpectRefused("]Nb", "sets attributes of list, want a dict");
  ExpectRefused("NN\x93", "takes None and None, want two str");
}

TEST(PickleTest, RefusesTruncationEverywhere) {
  const std::string whole =
      Dict(Text("w") + Tensor() + Text("depth") + "K\4" + Text("k") +
           std::string("G\x3f\xf8\0\0\0\0\0\0", 9)) +
      kStop;
  ASSERT_TRUE(Evaluate(whole).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto result = Evaluate(whole.substr(0, size));
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument)
        << size;
  }
  ExpectRefused("J123", "opcode BININT (0x4a): the pickle ends in the middle");
  ExpectRefused("N", "pickle byte 3: the pickle ends without STOP");
  ExpectRefused("X" + Packed(uint32_t{9}) + "ab",
                "opcode BINUNICODE (0x58): promises 9 bytes, the pickle has 2 "
                "left");
  ExpectRefused("\x8d" + Packed(~uint64_t{0}),
                "promises 18446744073709551615 bytes");
}

TEST(PickleTest, RefusesOtherProtocols) {
  ExpectInvalid(
      Unpickle(AsBytes("\x80\1N.")),
      "opcode PROTO (0x80): protocol 1 is not supported, want 2 to 5");
  ExpectInvalid(Unpickle(AsBytes("\x80\6N.")), "protocol 6 is not supported");
}

TEST(PickleTest, RefusesPicklesAboveItsBounds) {
  ExpectRefused(Text(std::string(kPickleStringBytesMax + 1, 'x')) + kStop,
                "has 1048577 bytes, at most 1048576 are allowed");
  ExpectRefused(std::string(kPickleStackMax + 1, 'N'),
                "more than 65536 values on the stack");
  ExpectRefused(std::string(kPickleMarksMax + 1, '('),
                "more than 256 open marks");
  std::string steps;
  for (size_t i = 0; i < kPickleOpcodesMax; ++i)
    steps += i % 2 == 0 ? "N" : "0";
  ExpectRefused(steps, "the pickle has more than 4194304 opcodes");
  ExpectRefused(std::string(kPickleBytesMax, 'N'),
                "the pickle has 33554434 bytes, at most 33554432 are allowed");
}

}  // namespace
}  // namespace fff::checkpoint

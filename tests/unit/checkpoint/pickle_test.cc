#include "server/checkpoint/pickle.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/pickle_literals.h"
#include "server/checkpoint/pickle_stack.h"
#include "server/checkpoint/torch_tensors.h"
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

void ExpectRefusal(const std::string& body, absl::string_view part) {
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
  EXPECT_EQ(RootOf<PickleOpaque>("\x8a\x9" + std::string(9, 'x')).name,
            "int above 64 bits");
  EXPECT_EQ(RootOf<PickleOpaque>("C\2xy").name, "bytes");
  EXPECT_EQ(RootOf<PickleOpaque>(Global("torch", "device") +
                                 Tuple(Text("cuda:0")) + "R")
                .name,
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
  ExpectRefusal("h\3", "opcode BINGET (0x68): memo 3 was never written");
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

// What messages call the value that `body` leaves.
std::string KindOf(const std::string& body) {
  const absl::StatusOr<Unpickled> result = Evaluate(body + kStop);
  if (!result.ok()) return std::string(result.status().message());
  return KindName(result->heap.at(result->root));
}

TEST(PickleTest, CarriesWhatUnknownGlobalsMake) {
  const std::string system = Global("os", "system");
  EXPECT_EQ(KindOf(system + Tuple(Text("true")) + "R"), "os.system");
  EXPECT_EQ(KindOf("\x8c\2os\x8c\6system\x93"), "os.system");
  EXPECT_EQ(KindOf(system + ")\x81"), "os.system");      // NEWOBJ
  EXPECT_EQ(KindOf(system + ")}\x92"), "os.system");     // NEWOBJ_EX
  EXPECT_EQ(KindOf("(" + system + "NNo"), "os.system");  // OBJ
  EXPECT_EQ(KindOf("(NNios\nsystem\n"), "os.system");    // INST
  EXPECT_EQ(KindOf(system + ")R)R}b"), "os.system");     // and state
  EXPECT_EQ(KindOf(system + ")RNa(NNe"), "os.system");   // a list's items
  EXPECT_EQ(KindOf(system + ")RNNs"), "dict");           // a dict's items
  EXPECT_EQ(KindOf("\x82\1)R"), "extension");            // EXT1
  EXPECT_EQ(KindOf(std::string("\x84\1\0\0\0", 5)), "extension");
  EXPECT_EQ(KindOf(Global("o\x1bs", "sys\xfftem")), "o\\x1bs.sys\\xfftem");
  EXPECT_EQ(KindOf(Global("collections.OrderedDict", "OrderedDict")),
            "collections.OrderedDict.OrderedDict");
  EXPECT_EQ(KindOf(Global("collections", "Counter") + Tuple("}") + "R"),
            "collections.Counter");
}

TEST(PickleTest, CarriesSetsAndBuffers) {
  EXPECT_EQ(KindOf("\x8f(NK\1\x90"), "set");
  EXPECT_EQ(KindOf("(NK\1\x91"), "frozenset");
  EXPECT_EQ(KindOf("\x96" + Packed(uint64_t{2}) + "xy"), "bytes");
  EXPECT_EQ(KindOf("\x97\x98"), "buffer");
  ExpectRefusal("](N\x90", "adds items to list, want a set");
}

TEST(PickleTest, ReadsTheLinesOfOldProtocols) {
  EXPECT_EQ(RootOf<int64_t>("I-7\n"), -7);
  EXPECT_EQ(RootOf<bool>("I01\n"), true);
  EXPECT_EQ(RootOf<int64_t>("L12L\n"), 12);
  EXPECT_EQ(KindOf("L123456789012345678901L\n"), "int above 64 bits");
  EXPECT_EQ(RootOf<double>("F1.5\n"), 1.5);
  EXPECT_EQ(RootOf<absl::string_view>("S'ab'\n"), "ab");
  EXPECT_EQ(RootOf<absl::string_view>("Vab\n"), "ab");
  EXPECT_EQ(KindOf("S'a\\n'\n"), "str with escapes");
  EXPECT_EQ(RootOf<int64_t>("I7\np5\nNg5\n"), 7);
  EXPECT_EQ(RootOf<PickleList>("(NNl").items.size(), 2u);
  EXPECT_EQ(RootOf<PickleDict>("(NNd").items.size(), 1u);
  EXPECT_EQ(KindOf("P7\n"), "persistent id");
  ExpectRefusal("Fx\n", "its operand is no number");
  ExpectRefusal("Sx\n", "its operand has no quotes");
  ExpectRefusal("S'\n", "its operand has no quotes");
  ExpectRefusal("px\n", "its operand is no index");
  ExpectRefusal("(Nd", "a key has no value");
  ExpectRefusal("(o", "it has no class");
}

TEST(PickleTest, RefusesBytesThatAreNoOpcode) {
  ExpectRefusal("\xff",
                "pickle byte 2: opcode unknown (0xff): it is not of "
                "pickle's protocols 0 to 5");
  for (int byte = 0; byte < 256; ++byte) {
    const auto result = Evaluate(std::string(1, static_cast<char>(byte)));
    if (result.ok()) continue;
    const std::string message(result.status().message());
    EXPECT_EQ(message.find("opcode unknown") != std::string::npos,
              message.find("it is not of pickle's") != std::string::npos)
        << byte;
  }
}

TEST(PickleTest, RefusesToCallPlainData) {
  ExpectRefusal("N)R", "opcode REDUCE (0x52): calls None, want a global");
  ExpectRefusal("])\x81", "calls list, want a global");
  ExpectRefusal("\x92", "opcode NEWOBJ_EX (0x92): the stack is empty");
}

// Why the tensor that `body` leaves cannot be read; "" when it can.
std::string WhyUnreadable(const std::string& body) {
  const absl::StatusOr<Unpickled> result = Evaluate(body + kStop);
  if (!result.ok()) return std::string(result.status().message());
  const auto* ref = result->heap.As<PickleTensorRef>(result->root);
  if (ref == nullptr) return KindName(result->heap.at(result->root));
  return result->heap.tensor(*ref).unreadable;
}

void ExpectUnreadable(const std::string& body, const std::string& part) {
  EXPECT_THAT(WhyUnreadable(body), testing::HasSubstr(part));
}

TEST(PickleTest, KeepsTensorsThatTorchDoesNotWriteUnread) {
  const std::string rebuild = Global("torch._utils", "_rebuild_tensor_v2");
  ExpectUnreadable(rebuild + Tuple("N") + "R",
                   "cannot be built: _rebuild_tensor_v2 has 1 arguments, want "
                   "6 to 7");
  ExpectUnreadable(rebuild + Tuple("NNNNNN") + "R",
                   "_rebuild_tensor_v2: argument 1 is None, want a storage");
  ExpectUnreadable(Global("torch._utils", "_rebuild_parameter") + "N\x88}\x87R",
                   "_rebuild_parameter: argument 1 is None, want a tensor");
  ExpectUnreadable(Tensor() + "}b", "has a state of its own");
  EXPECT_EQ(KindOf(Global("torch", "FloatStorage") + ")R"), "storage");
  EXPECT_EQ(KindOf(Global("torch", "Size") + "]R"), "torch.Size");
}

TEST(PickleTest, KeepsTensorsBeyondTheirStorageUnread) {
  TensorSpec spec;
  spec.numel = 5;
  ExpectUnreadable(Tensor(spec),
                   "_rebuild_tensor_v2: shape [2, 3], strides [3, 1] and "
                   "offset 0 need 6 elements, but storage \"0\" has 5");
  spec.numel = 6;
  spec.offset = 1;
  ExpectUnreadable(Tensor(spec), "need 7 elements, but storage \"0\" has 6");
  spec.offset = -1;
  ExpectUnreadable(Tensor(spec), "storage offset -1 is negative");
  spec.offset = 0;
  spec.strides = Tuple(Int(int64_t{1} << 62) + Int(int64_t{1} << 62));
  ExpectUnreadable(Tensor(spec), "reach beyond 2^63 elements");
  spec.strides = Tuple(Int(-3) + Int(1));
  ExpectUnreadable(Tensor(spec), "strides [-3, 1] hold a negative one");
  spec.strides = Tuple(Int(1));
  ExpectUnreadable(Tensor(spec), "shape has 2 dimensions, but 1 strides");
}

TEST(PickleTest, KeepsTensorsOfOtherArgumentsUnread) {
  TensorSpec spec;
  spec.size = Tuple(Text("2") + Int(3));
  ExpectUnreadable(Tensor(spec), "argument 3 holds str, want a tuple of int");
  spec.size = "]";
  ExpectUnreadable(Tensor(spec),
                   "argument 3 is list, want a tuple of int (size)");
  spec.size = Tuple(std::string(9, 'N'));
  ExpectUnreadable(Tensor(spec), "rank 9 is above the maximum of 8");
  spec = {};
  spec.rest += Dict(Text("neg") + "\x88");
  ExpectUnreadable(Tensor(spec), "is a conjugated or negated view");
}

TEST(PickleTest, KeepsTensorsOfOtherFormsUnread) {
  TensorSpec spec;
  spec.storage_type = "ComplexFloatStorage";
  ExpectUnreadable(Tensor(spec),
                   "is of torch.ComplexFloatStorage, which is not read");
  spec.storage_type = "QInt8Storage";
  ExpectUnreadable(Tensor(spec),
                   "is of torch.QInt8Storage, which is not read; convert the "
                   "file with python -m fff_client.export");
  const auto call = [](const char* name, const std::string& arguments) {
    return Global("torch._utils", name) + Tuple(arguments) + "R";
  };
  const std::string shape = Tuple(Int(2) + Int(3));
  ExpectUnreadable(
      call("_rebuild_sparse_tensor", "N" + Tuple(Tensor() + Tensor() + shape)),
      "is sparse, which is not read");
  ExpectUnreadable(call("_rebuild_qtensor", "NN" + shape + shape + ")\x88}"),
                   "is quantised, which is not read");
  ExpectUnreadable(
      call("_rebuild_meta_tensor_no_storage", "N" + shape + shape + "\x88"),
      "is on the meta device: the file has no data for it");
  ExpectUnreadable(call("_rebuild_nested_tensor", "NNNN"),
                   "is made by torch._utils._rebuild_nested_tensor");
}

// As torch 2 writes dtypes without a storage type of their own.
std::string TensorV3(const std::string& type) {
  TensorSpec spec;
  spec.numel = 24;
  return Global("torch._utils", "_rebuild_tensor_v3") +
         Tuple(Tuple(Text("storage") +
                     Global("torch.storage", "UntypedStorage") + Text("0") +
                     Text("cpu") + Int(24)) +
               "Q" + Int(0) + spec.size + spec.strides + spec.rest +
               Global("torch", type)) +
         "R";
}

TEST(PickleTest, TellsTheDataTypeOfBytes) {
  ExpectUnreadable(TensorV3("uint16"), "is of torch.uint16, which is not read");
  ExpectUnreadable(TensorV3("float8_e4m3fn"), "is of torch.float8_e4m3fn");
  EXPECT_EQ(WhyUnreadable(TensorV3("float32")), "");
  ExpectUnreadable(TensorV3("float64"),
                   "need 6 elements, but storage \"0\" has 3");
  ExpectUnreadable(TensorV3("Size"), "argument 7 is a global that is no dtype");
}

TEST(PickleTest, ReadsTensorsWithAttributes) {
  const auto with = [](const std::string& type, const std::string& module,
                       const std::string& name) {
    TensorSpec of;
    of.storage_type = type;
    return Global("torch._tensor", "_rebuild_from_type_v2") +
           Tuple(Global("torch._utils", "_rebuild_tensor_v2") +
                 Global(module, name) +
                 Tuple(pickled::Storage(of) + Int(0) + of.size + of.strides +
                       of.rest) +
                 Dict(Text("tag") + Text("x"))) +
           "R";
  };
  EXPECT_EQ(WhyUnreadable(with("FloatStorage", "torch", "Tensor")), "");
  EXPECT_EQ(
      WhyUnreadable(with("CharStorage", "torch.nn.parameter", "Parameter")),
      "");
  EXPECT_EQ(WhyUnreadable(with("HalfStorage", "mine", "Tagged")), "");
  ExpectUnreadable(with("CharStorage", "bitsandbytes.nn", "Int8Params"),
                   "holds integers of the class bitsandbytes.nn.Int8Params");
  const std::string from = Global("torch._tensor", "_rebuild_from_type_v2");
  ExpectUnreadable(from + Tuple(from + "N)}") + "R", "calls itself");
  ExpectUnreadable(from + Tuple("NN)}") + "R", "argument 1 is None, want a");
}

TEST(PickleTest, RefusesOtherPersistentIds) {
  const auto id = [](const std::string& items) { return Tuple(items) + "Q"; };
  const std::string type = Global("torch", "FloatStorage");
  EXPECT_EQ(KindOf(Text("0") + "Q"), "persistent id");
  EXPECT_EQ(KindOf(id(Text("module") + type)), "persistent id");
  EXPECT_EQ(KindOf(id(Text("storage") + Global("x", "Y") + Text("0") +
                      Text("cpu") + Int(1))),
            "x.Y");
  ExpectRefusal(id(Text("storage") + "N"),
                "persistent id has 2 arguments, want 5");
  ExpectRefusal(id(Text("storage") + Text("FloatStorage") + Text("0") +
                   Text("cpu") + Int(1)),
                "argument 2 is str, want a storage type");
  ExpectRefusal(id(Text("storage") + Global("torch", "Size") + Text("0") +
                   Text("cpu") + Int(1)),
                "argument 2 is a global that is no storage type");
  ExpectRefusal(id(Text("storage") + type + Int(0) + Text("cpu") + Int(1)),
                "argument 3 is int, want a str (the storage's key)");
  ExpectRefusal(id(Text("storage") + type + Text("0") + Text("cpu") + Int(-1)),
                "storage \"0\" has -1 elements, want 0 to");
}

TEST(PickleTest, RefusesMisuseOfTheStack) {
  ExpectRefusal(".", "opcode STOP (0x2e): the stack is empty");
  ExpectRefusal("(.", "opcode STOP (0x2e): the stack is empty");
  ExpectRefusal("0", "opcode POP (0x30): the stack is empty");
  ExpectRefusal("1", "opcode POP_MARK (0x31): there is no mark");
  ExpectRefusal("t", "opcode TUPLE (0x74): there is no mark");
  ExpectRefusal("N\x86",
                "opcode TUPLE2 (0x86): wants 2 values, the stack has 1");
  ExpectRefusal("N(N\x86", "wants 2 values, the stack has 1");
  ExpectRefusal("NNa", "appends to None, want a list");
  ExpectRefusal("NNNs", "sets an item of None, want a dict");
  ExpectRefusal("}(Nu", "a key has no value");
  ExpectRefusal("]Nb", "sets attributes of list, want an object");
  ExpectRefusal("NN\x93", "takes None and None, want two str");
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
  ExpectRefusal("J123", "opcode BININT (0x4a): the pickle ends in the middle");
  ExpectRefusal("N", "pickle byte 3: the pickle ends without STOP");
  ExpectRefusal("X" + Packed(uint32_t{9}) + "ab",
                "opcode BINUNICODE (0x58): promises 9 bytes, the pickle has 2 "
                "left");
  ExpectRefusal("\x8d" + Packed(~uint64_t{0}),
                "promises 18446744073709551615 bytes");
}

TEST(PickleTest, RefusesOtherProtocols) {
  ExpectInvalid(
      Unpickle(AsBytes("\x80\6N.")),
      "opcode PROTO (0x80): protocol 6 is not supported, want 0 to 5");
}

TEST(PickleTest, RefusesPicklesAboveItsBounds) {
  ExpectRefusal(std::string(kPickleStackMax + 1, 'N'),
                "more than 65536 values on the stack");
  ExpectRefusal(std::string(kPickleMarksMax + 1, '('),
                "more than 256 open marks");
  std::string steps;
  for (size_t i = 0; i < kPickleOpcodesMax; ++i)
    steps += i % 2 == 0 ? "N" : "0";
  ExpectRefusal(steps, "the pickle has more than 4194304 opcodes");
  ExpectInvalid(Unpickle(std::vector<std::byte>(kPickleBytesMax + 1)),
                "the pickle has 134217729 bytes, at most 134217728 are");
  std::string tensors = Global("torch._utils", "_rebuild_x") + "q\1";
  for (size_t i = 0; i <= kPickleTensorsMax; ++i) tensors += "h\1)R0";
  ExpectRefusal(tensors, "more than 262144 tensors");
}

}  // namespace
}  // namespace fff::checkpoint

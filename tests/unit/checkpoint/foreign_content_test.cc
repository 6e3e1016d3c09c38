#include "server/checkpoint/foreign_content.h"

#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/unit/checkpoint/pickle_writer.h"
#include "tests/unit/checkpoint/test_bytes.h"
#include "tests/unit/checkpoint/zip_writer.h"

namespace fff::checkpoint {
namespace {

using Kind = FileContent::Kind;

TEST(ForeignContentTest, IsNamedForWhatItIs) {
  const std::pair<std::string, const char*> contents[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 3\n",
       "this is a Git LFS pointer, not the file itself; fetch that with git "
       "lfs pull"},
      {"version https://hawser.github.com/spec/v1\noid", "a Git LFS pointer"},
      {"/annex/objects/SHA256E-s1--ab.pt\n", "a git-annex pointer"},
      {"outs:\n- md5: ab\n  path: m.pt\n", "a DVC pointer"},
      {"<!DOCTYPE html><html>", "this is a web page (HTML)"},
      {"\n\n  <html lang=en>", "this is a web page (HTML)"},
      {"\xef\xbb\xbf<HTML>", "this is a web page (HTML)"},
      {"<?xml version=\"1.0\"?><Error><Code>AccessDenied", "an XML document"},
      {"{\"error\": \"not found\"}", "this is JSON, not a checkpoint"},
      {"[1, 2]", "this is JSON"},
      {"{\"weight_map\": {}}", "an index of shards; name it"},
      {"epoch: 3\nlr: 0.1\n",
       "this is text, which begins with \"epoch: 3\\x0a"},
      {"\x1f\x8b\x08 and so on", "this is gzip, not a checkpoint; unpack it"},
      {std::string("\xfd"
                   "7zXZ\0\0",
                   7),
       "this is xz"},
      {"BZh91AY&SY\x01\x02", "this is bzip2"},
      {"\x28\xb5\x2f\xfd\x04", "this is zstd"},
      {"\x04\x22\x4d\x18\x40", "this is lz4"},
      {"7z\xbc\xaf\x27\x1c", "this is a 7z archive"},
      {"GGUF\3\1\1\1", "this is GGUF"},
      {"\x89HDF\r\n\x1a\n", "this is HDF5"},
      {std::string("\x93NUMPY\1\0v\0", 10), "this is an array of numpy (.npy)"},
      {"\x08\x07\x12\x07pytorch\x1a", "this is an ONNX model"},
      {"\x08\x0a:\x10\x01", "this is an ONNX model"},
      {"\x08\x01\x12\x80\x01", "this is a SavedModel of TensorFlow"},
      {std::string("\x18\1\1\1TFL3", 8), "a model of TensorFlow Lite"},
      {std::string("\x18\0\0\0\0\0\0\0\xa3\x7fK\"\t\0\0\x1a\rbrain.Event:2",
                   30),
       "a log of TensorBoard"},
      {"\x81\xa6params\x82", "this is msgpack (Flax"},
      {std::string(4096, '\0'), "this begins with zero bytes only"},
      {"", "this file is empty"},
  };
  for (const auto& [content, what] : contents) {
    ExpectInvalid(ParseText(content), absl::StrCat("file: ", ""));
    EXPECT_THAT(std::string(ParseText(content).status().message()),
                testing::HasSubstr(what));
  }
}

std::string NamesOf(const std::vector<std::string>& names) {
  std::vector<ZipItem> items;
  for (const std::string& name : names) items.push_back(MakeItem(name, "x"));
  return std::string(ParseText(WriteZip(items)).status().message());
}

TEST(ForeignContentTest, ZipArchivesAreNamedForWhatTheyAre) {
  using testing::HasSubstr;
  EXPECT_THAT(NamesOf({"m/data.pkl", "m/constants.pkl", "m/version",
                       "m/code/__torch__.py"}),
              HasSubstr("this is TorchScript (torch.jit.save), a program; save "
                        "its weights"));
  EXPECT_THAT(NamesOf({"serialized_exported_program.json", "version"}),
              HasSubstr("this is a .pt2"));
  EXPECT_THAT(NamesOf({"m/archive_format", "m/models/model.json",
                       "m/data/weights/weight_0"}),
              HasSubstr("this is a .pt2"));
  EXPECT_THAT(NamesOf({"m/.data/extern_modules", "m/net/net.pkl"}),
              HasSubstr("an archive of torch.package"));
  EXPECT_THAT(NamesOf({"X.npy", "Y.npy"}), HasSubstr("this is .npz"));
  EXPECT_THAT(NamesOf({"config.json", "model.weights.h5"}),
              HasSubstr("a model of Keras"));
  EXPECT_THAT(NamesOf({"run/notes.txt", "run/model.safetensors"}),
              HasSubstr("this is a zip archive of \"run/model.safetensors\"; "
                        "unpack it"));
  EXPECT_THAT(NamesOf({"word/document.xml"}),
              HasSubstr("a zip archive of 1 files, the first"));
}

class InspectTest : public testing::Test {
 protected:
  Kind KindOf(const std::string& content) {
    const std::string path = absl::StrCat(testing::TempDir(), "inspected");
    std::ofstream(path, std::ios::binary) << content;
    const auto inspected = InspectFile(path);
    EXPECT_TRUE(inspected.ok()) << inspected.status();
    return inspected.ok() ? inspected->kind : Kind::kOther;
  }
  static std::string Archive(const std::string& body) {
    return WriteZip({MakeItem("m/data.pkl", pickled::kStart + body + "."),
                     MakeItem("m/data/0", std::string(24, 'x'))});
  }
  static std::string Safetensors(const std::string& shape) {
    const std::string header = absl::StrCat(
        R"({"w":{"dtype":"U8","shape":)", shape, R"(,"data_offsets":[0,6]}})");
    return Packed(static_cast<uint64_t>(header.size())) + header + "123456";
  }
};

TEST_F(InspectTest, TellsCheckpointsFromWhatStandsBesideThem) {
  using pickled::Dict;
  using pickled::Tensor;
  using pickled::Text;
  const std::string weights = Dict(Text("w") + Tensor());
  EXPECT_EQ(KindOf(Archive(weights)), Kind::kWeights);
  EXPECT_EQ(KindOf(Archive(Dict(Text("state_dict") + weights))),
            Kind::kWeights);
  EXPECT_EQ(KindOf(Safetensors("[2,3]")), Kind::kWeights);
  // An optimiser's, a scheduler's, arguments, a vector.
  EXPECT_EQ(KindOf(Archive(
                Dict(Text("state") +
                     Dict(pickled::Int(0) + Dict(Text("exp_avg") + Tensor())) +
                     Text("param_groups") + "]"))),
            Kind::kNoWeights);
  EXPECT_EQ(KindOf(Archive(Dict(Text("last_epoch") + pickled::Int(3)))),
            Kind::kNoWeights);
  EXPECT_EQ(
      KindOf(Archive(pickled::Global("transformers", "Arguments") + ")\x81}b")),
      Kind::kNoWeights);
  EXPECT_EQ(KindOf(Safetensors("[6]")), Kind::kNoWeights);
  EXPECT_EQ(KindOf("lr: 0.1\n"), Kind::kOther);
  EXPECT_EQ(KindOf(WriteZip({MakeItem("X.npy", "x")})), Kind::kOther);
  EXPECT_EQ(KindOf("\xfe\xfe\xfe\xfe\xfe\xfe\xfe\xfe"), Kind::kOther);
}

TEST_F(InspectTest, ADamagedOrAmbiguousCheckpointIsOne) {
  using pickled::Dict;
  using pickled::Tensor;
  using pickled::Text;
  const std::string weights = Dict(Text("w") + Tensor());
  EXPECT_EQ(KindOf(Archive(Dict(Text("a") + weights + Text("b") + weights))),
            Kind::kWeights);
  EXPECT_EQ(KindOf(Safetensors("[2,3]").substr(0, 60)), Kind::kWeights);
  EXPECT_EQ(KindOf("PK\3\4 cut short"), Kind::kWeights);
}

}  // namespace
}  // namespace fff::checkpoint

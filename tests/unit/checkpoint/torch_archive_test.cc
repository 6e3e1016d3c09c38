#include "server/checkpoint/torch_archive.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "tests/unit/checkpoint/pickle_writer.h"
#include "tests/unit/checkpoint/test_bytes.h"
#include "tests/unit/checkpoint/zip_writer.h"

namespace fff::checkpoint {
namespace {

using pickled::Dict;
using pickled::Int;
using pickled::kStart;
using pickled::kStop;
using pickled::Tensor;
using pickled::TensorSpec;
using pickled::Text;
using pickled::Tuple;
using tensor::DataType;

std::string SixFloats() { return Packed(0.f, 1.f, 2.f, 3.f, 4.f, 5.f); }

std::string Pickle(const std::string& tensor = Tensor()) {
  return kStart + Dict(Text("w") + tensor) + kStop;
}

// An archive of one tensor; a test replaces or adds entries.
std::vector<ZipItem> Items(const std::string& pickle = Pickle()) {
  return {MakeItem("m/data.pkl", pickle), MakeItem("m/data/0", SixFloats())};
}
std::vector<ZipItem> With(const std::string& name, const std::string& content) {
  std::vector<ZipItem> items = Items();
  items.push_back(MakeItem(name, content));
  return items;
}

void ExpectRefused(const std::vector<ZipItem>& items, absl::string_view part) {
  ExpectInvalid(ParseText(WriteZip(items)), part);
}

TEST(TorchArchiveTest, ReadsATensor) {
  const auto checkpoint = ParseText(WriteZip(Items()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->format(), "torch");
  EXPECT_EQ(checkpoint->Find("w")->shape, (tensor::Shape{2, 3}));
  EXPECT_EQ(Elements<float>(*checkpoint, "w", DataType::kF32),
            (std::vector<float>{0, 1, 2, 3, 4, 5}));
}

TEST(TorchArchiveTest, KeepsItsMemoryWithoutTheFile) {
  tensor::FloatArray floats;
  {
    const auto checkpoint = ParseText(WriteZip(Items()));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    floats = checkpoint->Floats("w").value();
  }
  EXPECT_EQ(floats[5], 5.0f);
}

TEST(TorchArchiveTest, AcceptsAnyPrefix) {
  for (const std::string prefix : {"", "archive/", "a b/c/"}) {
    const auto checkpoint =
        ParseText(WriteZip({MakeItem(prefix + "data/0", SixFloats()),
                            MakeItem(prefix + "data.pkl", Pickle())}));
    EXPECT_TRUE(checkpoint.ok()) << prefix << ": " << checkpoint.status();
  }
}

TEST(TorchArchiveTest, ReadsOnlyStoragesThatTheStateDictUses) {
  std::vector<ZipItem> items = With("m/data/1", "unused");
  items.back().crc ^= 1;  // damaged, but nobody asks
  EXPECT_TRUE(ParseText(WriteZip(items)).ok());
}

TEST(TorchArchiveTest, RefusesArchivesWithoutExactlyOnePickle) {
  ExpectRefused({MakeItem("m/data/0", SixFloats())},
                "file: this is a zip archive of 1 files, the first "
                "\"m/data/0\", and not a torch archive: none is a data.pkl");
  ExpectRefused({}, "not a torch archive: none of the 0 entries");
  ExpectRefused(With("n/data.pkl", Pickle()),
                "the zip archive has two pickles, \"m/data.pkl\" and "
                "\"n/data.pkl\"; want one data.pkl");
}

TEST(TorchArchiveTest, ChecksByteOrderAndVersion) {
  EXPECT_TRUE(ParseText(WriteZip(With("m/byteorder", "little"))).ok());
  ExpectRefused(With("m/byteorder", "big"),
                "byteorder is \"big\", want \"little\"");
  EXPECT_TRUE(ParseText(WriteZip(With("m/version", "3\n"))).ok());
  ExpectRefused(With("m/version", "11"), "version is \"11\", want 1 to 10");
  ExpectRefused(With("m/version", "0"), "version is \"0\", want 1 to 10");
  ExpectRefused(With("m/version", "x"), "version is \"x\", want 1 to 10");
  ExpectRefused(With("m/version", std::string(65, '1')),
                "zip entry \"m/version\" has 65 bytes, at most 64 are allowed");
}

TEST(TorchArchiveTest, RefusesAMissingStorage) {
  ExpectRefused({MakeItem("m/data.pkl", Pickle())},
                "tensor \"w\": zip entry \"m/data/0\" is missing");
  TensorSpec spec;
  spec.key = "../data.pkl";
  ExpectRefused(Items(Pickle(Tensor(spec))),
                "tensor \"w\": zip entry \"m/data/../data.pkl\" is missing");
}

TEST(TorchArchiveTest, RefusesAStorageOfAnotherSize) {
  TensorSpec spec;
  spec.numel = 7;
  ExpectRefused(Items(Pickle(Tensor(spec))),
                "tensor \"w\": storage \"0\" has 24 bytes, but 7 elements of "
                "F32 take 28");
  spec.numel = 6;
  spec.storage_type = "DoubleStorage";
  ExpectRefused(Items(Pickle(Tensor(spec))),
                "storage \"0\" has 24 bytes, but 6 elements of F64 take 48");
}

// As torch.serialization.set_crc32_options(False) and skip_data write it.
std::vector<ZipItem> WithoutCrcs(std::vector<ZipItem> items, size_t from) {
  for (size_t i = from; i < items.size(); ++i) items[i].crc = 0;
  return items;
}

TEST(TorchArchiveTest, ReadsArchivesWithoutCrcs) {
  const auto checkpoint =
      ParseText(WriteZip(WithoutCrcs(With("m/byteorder", "little"), 0)));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Floats("w").value()[5], 5.0f);
  // One of two storages may be zeros.
  TensorSpec zeros;
  zeros.key = "1";
  std::vector<ZipItem> items =
      Items(kStart + Dict(Text("w") + Tensor() + Text("bias") + Tensor(zeros)) +
            kStop);
  items.push_back(MakeItem("m/data/1", std::string(24, '\0')));
  EXPECT_TRUE(ParseText(WriteZip(items)).ok());
  EXPECT_TRUE(ParseText(WriteZip(WithoutCrcs(items, 0))).ok());
  // But not where the pickle's CRC shows that there are CRCs.
  ExpectRefused(
      WithoutCrcs(items, 1),
      "tensor \"bias\": storage \"1\" holds nothing but zero bytes and "
      "has no CRC: its data were skipped");
}

TEST(TorchArchiveTest, RefusesArchivesWhoseDataWereSkipped) {
  std::vector<ZipItem> items = Items();
  items[1] = MakeItem("m/data/0", std::string(24, '\0'));
  ExpectRefused(WithoutCrcs(items, 1), "its data were skipped when the file");
  ExpectRefused(WithoutCrcs(items, 0),
                "file: every tensor holds nothing but zero bytes, and the "
                "archive has no CRCs");
  // Data that were put in later are taken, zeros that have a CRC as well.
  EXPECT_TRUE(ParseText(WriteZip(WithoutCrcs(Items(), 1))).ok());
  EXPECT_TRUE(ParseText(WriteZip(items)).ok());
}

TEST(TorchArchiveTest, NamesTensorsThatCannotBeRead) {
  TensorSpec spec;
  spec.storage_type = "QUInt8Storage";
  const std::string items = Text("w") + Tensor() + Text("z") + Tensor(spec) +
                            Text("n") + pickled::Global("numpy", "dtype") +
                            ")R";
  const auto checkpoint =
      ParseText(WriteZip(Items(kStart + Dict(items) + kStop)));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(checkpoint->Floats("w").ok());
  EXPECT_EQ(checkpoint->Find("z")->shape, (tensor::Shape{2, 3}));
  ExpectInvalid(checkpoint->Floats("z"),
                "file: tensor \"z\": is of torch.QUInt8Storage, which is "
                "not read; convert the file with python -m fff_client.export");
  ExpectInvalid(checkpoint->Integer("z"), "which is not read");
  EXPECT_EQ(checkpoint->Floats("n").status().message(),
            "file: tensor \"n\" is no tensor but numpy.dtype");
}

TEST(TorchArchiveTest, RefusesADamagedStorage) {
  std::vector<ZipItem> items = Items();
  items[1].crc ^= 1;
  ExpectRefused(items,
                "tensor \"w\": zip entry \"m/data/0\": is damaged (24 of 24 "
                "bytes): CRC error");
}

TEST(TorchArchiveTest, RefusesADamagedPickle) {
  ExpectRefused({MakeItem("m/data.pkl", "\x80\2cos\nsystem\n.")},
                "the top level is a whole object, of os.system");
  ExpectRefused({MakeItem("m/data.pkl", "")}, "the pickle ends without STOP");
}

TEST(TorchArchiveTest, CopiesViews) {
  TensorSpec spec;
  spec.size = Tuple(Int(3) + Int(2));
  spec.strides = Tuple(Int(1) + Int(3));
  const auto checkpoint = ParseText(WriteZip(Items(Pickle(Tensor(spec)))));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(Elements<float>(*checkpoint, "w", DataType::kF32),
            (std::vector<float>{0, 3, 1, 4, 2, 5}));
}

TEST(TorchArchiveTest, BoundsWhatViewsMayTake) {
  TensorSpec spec;  // 2^40 elements out of six
  spec.size = Tuple(Int(1 << 20) + Int(1 << 20));
  spec.strides = Tuple(Int(0) + Int(0));
  ExpectRefused(Items(Pickle(Tensor(spec))),
                "tensor \"w\": shape [1048576, 1048576] with strides [0, 0] "
                "takes 4398046511104 bytes; copies of views have 1678");
  // Each fits, all together do not.
  spec.size = Tuple(Int(1 << 10) + Int(1 << 10));
  std::string many;
  for (int i = 0; i < 5; ++i) many += Text(absl::StrCat(i)) + Tensor(spec);
  ExpectRefused(Items(kStart + Dict(many) + kStop), "copies of views have");
}

TEST(TorchArchiveTest, ReadsTensorsOfNoElements) {
  TensorSpec spec;
  spec.size = Tuple(Int(0) + Int(3));
  const auto checkpoint = ParseText(WriteZip(Items(Pickle(Tensor(spec)))));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->Find("w")->shape, (tensor::Shape{0, 3}));
  EXPECT_TRUE(checkpoint->Floats("w")->empty());
}

TEST(TorchArchiveTest, SurvivesEveryTruncationAndBitFlip) {
  const std::string whole = WriteZip(With("m/version", "3"));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ParseText(whole.substr(0, size)).ok()) << size;
  }
  int refused = 0;
  for (size_t i = 0; i < whole.size() * 8; ++i) {
    std::string flipped = whole;
    flipped[i / 8] = static_cast<char>(flipped[i / 8] ^ (1 << (i % 8)));
    refused += ParseText(flipped).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace fff::checkpoint

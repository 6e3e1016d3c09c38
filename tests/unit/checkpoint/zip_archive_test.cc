#include "server/checkpoint/zip_archive.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "tests/unit/checkpoint/test_bytes.h"
#include "tests/unit/checkpoint/zip_writer.h"

namespace fff::checkpoint {
namespace {

void ExpectRefused(const std::string& archive, absl::string_view part) {
  ExpectInvalid(ZipArchive::Open(AsBytes(archive)).status(), part);
}
void ExpectNameRefused(const std::string& name, absl::string_view part) {
  ExpectRefused(WriteZip({MakeItem(name, "x")}), part);
}

// Reads the one entry of `archive` and returns its text.
absl::StatusOr<std::string> ReadOnly(const std::string& archive) {
  const auto opened = ZipArchive::Open(AsBytes(archive));
  if (!opened.ok()) return opened.status();
  const auto bytes = opened->Read(opened->entries().begin()->second);
  if (!bytes.ok()) return bytes.status();
  return std::string(reinterpret_cast<const char*>(bytes->data.get()),
                     bytes->size);
}

// `size` zero bytes through deflate. A block with fixed codes (RFC
// 1951, 3.2.6): the literal 0, then matches of 258 bytes at distance 1, 13 bits
// each.
class DeflatedZeros {
 public:
  explicit DeflatedZeros(int matches)
      : size(1 + 258u * static_cast<uint32_t>(matches)) {
    Bits(1, 1);     // last block
    Bits(1, 2);     // fixed codes
    Code(0x30, 8);  // literal 0
    for (int i = 0; i < matches; ++i) {
      Code(0xc5, 8);  // length 258
      Code(0, 5);     // distance 1
    }
    Code(0, 7);  // end of block
    if (used_ > 0) bytes += static_cast<char>(pending_);
  }

  uint32_t size;
  std::string bytes;

 private:
  void Bits(uint32_t value, int count) {
    for (int i = 0; i < count; ++i) {
      pending_ |= ((value >> i) & 1u) << used_;
      if (++used_ == 8) {
        bytes += static_cast<char>(pending_);
        pending_ = 0;
        used_ = 0;
      }
    }
  }
  // Codes are packed from their highest bit on.
  void Code(uint32_t value, int count) {
    for (int i = count; i-- > 0;) Bits((value >> i) & 1u, 1);
  }

  uint32_t pending_ = 0;
  int used_ = 0;
};

ZipItem ZerosItem(const std::string& name, int matches) {
  const DeflatedZeros zeros(matches);
  ZipItem item = MakeItem(name, zeros.bytes);
  item.method = 8;
  item.size = zeros.size;
  item.crc = Crc32(std::string(zeros.size, '\0'));
  return item;
}

TEST(ZipArchiveTest, ReadsStoredEntries) {
  const std::string archive =
      WriteZip({MakeItem("a/data.pkl", "hello"), MakeItem("a/data/0", ""),
                MakeItem("a/b/", "")});
  const auto opened = ZipArchive::Open(AsBytes(archive));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->entries().size(), 3u);
  ASSERT_NE(opened->Find("a/data.pkl"), nullptr);
  EXPECT_EQ(opened->Find("data.pkl"), nullptr);
  const auto bytes = opened->Read(*opened->Find("a/data.pkl"));
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes->data.get()),
                        bytes->size),
            "hello");
  EXPECT_EQ(opened->Read(*opened->Find("a/data/0"))->size, 0u);
}

TEST(ZipArchiveTest, ReadsDeflatedEntries) {
  EXPECT_EQ(ReadOnly(WriteZip({ZerosItem("a", 10)})).value(),
            std::string(2581, '\0'));
}

TEST(ZipArchiveTest, RefusesWhatIsNoArchive) {
  ExpectRefused("PK\3\4 and nothing more", "damaged zip archive: ");
  ExpectRefused("", "damaged zip archive: ");
  const std::string whole = WriteZip({MakeItem("a/data.pkl", "hello")});
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(ZipArchive::Open(AsBytes(whole.substr(0, size))).ok()) << size;
  }
}

TEST(ZipArchiveTest, RefusesPathTricks) {
  constexpr absl::string_view kParts =
      "its name is absolute or has an empty, \".\" or \"..\" part";
  ExpectNameRefused("/etc/passwd",
                    "zip entry \"/etc/passwd\": its name is absolute");
  ExpectNameRefused("a/../../etc/passwd", kParts);
  ExpectNameRefused("..", kParts);
  ExpectNameRefused("a//b", kParts);
  ExpectNameRefused("a/./b", kParts);
  ExpectNameRefused("/", kParts);
  ExpectNameRefused("a\\..\\b", "has a control character or a backslash");
  ExpectNameRefused("a\nb", "zip entry \"a\\x0ab\": its name has a control");
  ExpectNameRefused("a\xff", "its name is not UTF-8");
  ExpectNameRefused(std::string(1025, 'n'), "its name has 1025 bytes, want 1");
}

TEST(ZipArchiveTest, RefusesDuplicateNames) {
  ExpectRefused(WriteZip({MakeItem("a", "1"), MakeItem("a", "2")}),
                "zip entry \"a\" occurs twice");
}

TEST(ZipArchiveTest, RefusesEncryptionAndOtherMethods) {
  ZipItem item = MakeItem("a", "123456789012345");
  item.flags = 1;
  ExpectRefused(WriteZip({item}), "zip entry \"a\": is encrypted");
  item.flags = 0;
  item.method = 14;
  ExpectRefused(WriteZip({item}),
                "zip entry \"a\": has compression method 14, want 0 (stored) "
                "or 8 (deflate)");
}

TEST(ZipArchiveTest, RefusesZipBombs) {
  // 2,000 matches: 516,001 bytes out of about 3,254. Three such entries stay
  // below the slack of 1 MiB plus 32 times the archive; ten do not.
  std::vector<ZipItem> items;
  for (int i = 0; i < 2; ++i) items.push_back(ZerosItem(absl::StrCat(i), 2000));
  EXPECT_TRUE(ZipArchive::Open(AsBytes(WriteZip(items))).ok());
  for (int i = 2; i < 10; ++i)
    items.push_back(ZerosItem(absl::StrCat(i), 2000));
  ExpectRefused(WriteZip(items), "inflate to more than");
  ZipItem huge = MakeItem("a", "x");
  huge.method = 8;
  huge.size = 0xfffffffeu;
  ExpectRefused(WriteZip({huge}),
                "zip entry \"a\": the entries up to this one inflate to more "
                "than 1051808 bytes, the maximum for an archive of 101");
}

TEST(ZipArchiveTest, RefusesEntriesThatClaimMoreThanTheArchive) {
  ZipItem item = MakeItem("a", "x");
  item.size = item.compressed_size = 1000000;
  ExpectRefused(WriteZip({item}), "more compressed bytes than the");
  item.compressed_size = 1;
  ExpectRefused(WriteZip({item}),
                "is stored without compression, but 1000000 bytes are to come "
                "out of 1");
}

TEST(ZipArchiveTest, RefusesDamagedData) {
  ZipItem stored = MakeItem("a", "hello");
  stored.crc ^= 1;
  ExpectInvalid(ReadOnly(WriteZip({stored})), "is damaged (5 of 5 bytes): ");
  ZipItem deflated = ZerosItem("a", 10);
  deflated.crc ^= 1;
  ExpectInvalid(ReadOnly(WriteZip({deflated})), "is damaged");
  deflated = ZerosItem("a", 10);
  deflated.content[5] = '\xff';
  ExpectInvalid(ReadOnly(WriteZip({deflated})), "is damaged");
}

TEST(ZipArchiveTest, RefusesALyingSize) {
  ZipItem less = ZerosItem("a", 10);
  less.size -= 1;
  ExpectInvalid(ReadOnly(WriteZip({less})), "is damaged (2580 of 2580 bytes)");
  ZipItem more = ZerosItem("a", 10);
  more.size += 1;
  ExpectInvalid(ReadOnly(WriteZip({more})), "is damaged (2581 of 2582 bytes)");
}

TEST(ZipArchiveTest, RefusesADirectoryThatPointsElsewhere) {
  std::string archive = WriteZip({MakeItem("a", "hello")});
  const size_t directory = archive.find("PK\1\2");
  archive[directory + 42] = '\x7f';  // offset of the local header
  const auto result = ReadOnly(archive);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ZipArchiveTest, RefusesMoreEntriesThanItHasBytesFor) {
  ExpectRefused(ZipEnd64(uint64_t{1} << 40, uint64_t{1} << 40, 0),
                "damaged zip archive: ");  // libzip says why
}

TEST(ZipArchiveTest, RefusesTooManyEntries) {
  std::vector<ZipItem> items;
  for (uint64_t i = 0; i <= kZipEntriesMax; ++i) {
    items.push_back(MakeItem(absl::StrCat(i), ""));
  }
  ExpectRefused(WriteZip(items),
                "the zip archive has 262145 entries, at most 262144 are "
                "allowed");
}

}  // namespace
}  // namespace fff::checkpoint

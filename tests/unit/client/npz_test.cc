#include "client/cli/formats/npz.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zip.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/formats/npy.h"
#include "client/cli/rows/input_part.h"
#include "client/cli/rows/read_file.h"

namespace fff::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

using Files = std::vector<std::pair<std::string, std::string>>;

// A zip archive of these files.
std::string Zip(const Files& files, int method = ZIP_CM_DEFLATE) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* memory = zip_source_buffer_create(nullptr, 0, 0, &error);
  zip_source_keep(memory);
  zip_t* archive = zip_open_from_source(memory, ZIP_TRUNCATE, &error);
  for (const auto& [name, contents] : files) {
    zip_source_t* source =
        zip_source_buffer(archive, contents.data(), contents.size(), 0);
    const zip_int64_t index =
        zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8);
    EXPECT_GE(index, 0);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), method,
                             0);
  }
  EXPECT_EQ(zip_close(archive), 0);
  zip_stat_t stat;
  zip_source_stat(memory, &stat);
  std::string bytes(stat.size, '\0');
  EXPECT_EQ(zip_source_open(memory), 0);
  zip_source_read(memory, bytes.data(), bytes.size());
  zip_source_close(memory);
  zip_source_free(memory);
  return bytes;
}

std::string Npy(const std::vector<float>& values) {
  return WriteNpy(values, {1, static_cast<int64_t>(values.size())});
}

v1::GetModelResponse Model(const std::vector<std::string>& inputs) {
  v1::GetModelResponse model;
  for (const std::string& name : inputs) {
    v1::TensorMetadata* port = model.add_inputs();
    port->set_name(name);
    port->add_shape(2);
  }
  return model;
}

using Parts = absl::StatusOr<std::vector<InputPart>>;

Parts Split(const InputArgument& argument,
            const std::vector<std::string>& inputs, const Files& files) {
  return SplitInput(argument, Model(inputs), Zip(files));
}

std::string ErrorOf(const Parts& parts) {
  EXPECT_EQ(parts.status().code(), kInvalid);
  return std::string(parts.status().message());
}

const Files kPair = {{"x.npy", Npy({1, 2})}, {"y.npy", Npy({3, 4})}};

TEST(NpzTest, ReadsStoredAndDeflatedArrays) {
  for (const int method : {ZIP_CM_STORE, ZIP_CM_DEFLATE}) {
    const std::string bytes = Zip(kPair, method);
    ASSERT_TRUE(IsZip(bytes));
    auto archive = NpzArchive::Open(bytes);
    ASSERT_TRUE(archive.ok()) << archive.status();
    EXPECT_EQ(*archive->Read(*archive->Find("y")), Npy({3, 4}));
    EXPECT_EQ(archive->Find("z"), nullptr);
    EXPECT_EQ(archive->ListText(), "x float32 (1, 2), y float32 (1, 2)");
  }
}

TEST(NpzTest, WhatIsWrittenIsRead) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto bytes = WriteNpz(
      {{"a", WriteNpy(values, {2, 3})}, {"b/c", WriteNpy(values, {3, 2})}});
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  auto archive = NpzArchive::Open(*bytes);
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_EQ(archive->ListText(), "a float32 (2, 3), b/c float32 (3, 2)");
  const std::string file = *archive->Read(*archive->Find("b/c"));
  EXPECT_THAT(*NpyFloats(*ParseNpy(file)), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(WriteNpz({{"a", "x"}, {"a", "y"}}).status().code(), kInvalid);
}

TEST(NpzTest, ArchivesWithoutArraysAndCutOnesAreErrors) {
  EXPECT_THAT(
      NpzArchive::Open(Zip({{"word/document.xml", "<x/>"}})).status().message(),
      HasSubstr("1 entries without an array"));
  const std::string bytes = Zip(kPair);
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(NpzArchive::Open(bytes.substr(0, length)).ok()) << length;
  }
}

TEST(NpzTest, DamagedArraysAreErrors) {
  std::string bytes = Zip({{"x.npy", Npy({1, 2})}}, ZIP_CM_STORE);
  bytes[bytes.find("NUMPY")] = 'M';
  auto archive = NpzArchive::Open(bytes);
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_THAT(archive->Read(archive->arrays()[0]).status().message(),
              AllOf(HasSubstr("'x'"), HasSubstr("damaged")));
}

// Makes the directory say that the entry with that number unpacks to `size`.
void StateSize(size_t entry, uint32_t size, std::string* bytes) {
  size_t at = bytes->find("PK\x01\x02");
  for (; entry > 0; --entry) at = bytes->find("PK\x01\x02", at + 1);
  for (size_t i = 0; i < 4; ++i) {
    (*bytes)[at + 24 + i] = static_cast<char>(size >> (8 * i) & 0xFF);
  }
}

TEST(NpzTest, ArraysBeyondTheBoundAreRefusedBeforeTheyAreUnpacked) {
  std::string bytes = Zip({{"x.npy", std::string(1000, '\0')}});
  StateSize(0, 2000000000, &bytes);
  auto archive = NpzArchive::Open(bytes);
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_THAT(archive->Read(archive->arrays()[0]).status().message(),
              AllOf(HasSubstr("unpacks to 2000000000 bytes"),
                    HasSubstr("1073741824 for all arrays together")));
}

TEST(NpzTest, TheBoundHoldsForAllArraysTogether) {
  const std::string zeros(1000, '\0');
  std::string bytes = Zip({{"a.npy", zeros}, {"b.npy", zeros}});
  StateSize(0, 1073741000, &bytes);
  auto archive = NpzArchive::Open(bytes);
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_THAT(archive->Read(archive->arrays()[0]).status().message(),
              HasSubstr("damaged (1000 of 1073741000 bytes)"));
  EXPECT_THAT(archive->Read(archive->arrays()[1]).status().message(),
              HasSubstr("unpacks to 1000 bytes, wanted at most 824"));
}

TEST(NpzTest, ListsTheFirstOfManyAndWhatHoldsNoNumbers) {
  Files files = {{"odd.npy", "text"}};
  for (int i = 0; i < 20; ++i) {
    files.emplace_back(absl::StrCat("arr_", i, ".npy"), Npy({1}));
  }
  const std::string bytes = Zip(files);
  EXPECT_THAT(NpzArchive::Open(bytes)->ListText(),
              AllOf(HasSubstr("odd (no numbers), arr_0 float32 (1, 1)"),
                    HasSubstr("and 5 more")));
}

// --- from archives to inputs

TEST(SplitInputTest, OtherFilesAreOnePart) {
  const auto parts = SplitInput({"", "x.csv", ""}, Model({"x"}), "1,2\n");
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(parts->at(0).contents, "1,2\n");
  EXPECT_EQ(SplitInput({"z", "x.csv", ""}, Model({"x"}), "1").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(ErrorOf(SplitInput({"", "x.csv", "k"}, Model({"x"}), "1")),
              HasSubstr("x.csv: got the key 'k', wanted a .npz"));
}

TEST(SplitInputTest, TheOnlyArrayIsTheInput) {
  const auto parts =
      Split({"", "a.npz", ""}, {"x", "y"}, {{"arr_0.npy", Npy({1, 2})}});
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(parts->at(0).argument.name, "");
  EXPECT_EQ(parts->at(0).port.name(), "x");
  EXPECT_EQ(parts->at(0).argument.file, "a.npz:arr_0");
  const auto named = Split({"y", "a.npz", ""}, {"x", "y"},
                           {{"x.npy", Npy({1, 2})}, {"note.txt", "hi"}});
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(named->at(0).port.name(), "y");
}

TEST(SplitInputTest, ArraysGoToTheInputsOfTheirNames) {
  const auto parts = Split({"", "a.npz", ""}, {"y", "x", "z"}, kPair);
  ASSERT_TRUE(parts.ok()) << parts.status();
  ASSERT_EQ(parts->size(), 2U);
  EXPECT_EQ(parts->at(0).port.name(), "y");
  EXPECT_EQ(parts->at(0).contents, Npy({3, 4}));
  EXPECT_EQ(parts->at(1).argument.name, "x");
  const auto one = Split({"x", "a.npz", ""}, {"y", "x"}, kPair);
  ASSERT_EQ(one->size(), 1U);
  EXPECT_EQ(one->at(0).contents, Npy({1, 2}));
  const auto only = Split({"", "a.npz", ""}, {"z", "x"}, {kPair[0]});
  EXPECT_EQ(only->at(0).port.name(), "x");
}

TEST(SplitInputTest, AKeyChoosesAnArray) {
  const auto parts = Split({"p", "a.npz", "y"}, {"p"}, kPair);
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(parts->at(0).contents, Npy({3, 4}));
  EXPECT_EQ(ErrorOf(Split({"p", "a.npz", "w"}, {"p"}, kPair)),
            "a.npz: got no array 'w'; there is: x float32 (1, 2), y float32 "
            "(1, 2)");
}

TEST(SplitInputTest, ArraysWithoutAnInputAreListed) {
  EXPECT_EQ(ErrorOf(Split({"", "a.npz", ""}, {"p", "q"}, kPair)),
            "a.npz: got 2 arrays, none of them named p or q; choose with "
            "[NAME=]FILE:KEY from x float32 (1, 2), y float32 (1, 2)");
}

TEST(SplitInputTest, TruthIsTheOnlyArrayOrThatOfTheKey) {
  EXPECT_EQ(*OnlyPart({"", "y.csv", ""}, "1\n"), "1\n");
  EXPECT_EQ(*OnlyPart({"", "a.npz", ""}, Zip({kPair[0]})), Npy({1, 2}));
  EXPECT_EQ(*OnlyPart({"", "a.npz", "y"}, Zip(kPair)), Npy({3, 4}));
  EXPECT_THAT(OnlyPart({"", "a.npz", ""}, Zip(kPair)).status().message(),
              HasSubstr("got 2 arrays, wanted one: choose with FILE:KEY"));
  EXPECT_EQ(OnlyPart({"", "y.csv", "k"}, "1\n").status().code(), kInvalid);
}

TEST(InputArgumentTest, AKeyStandsBehindTheFileThatIsThere) {
  const std::string path = ::testing::TempDir() + "/npz_test=a:b.npz";
  ASSERT_TRUE(WriteFile(path, "1").ok());
  const InputArgument whole = ParseInputArgument(path);
  EXPECT_EQ(whole.file, path);
  EXPECT_EQ(whole.key, "");
  const InputArgument keyed = ParseInputArgument("ids=" + path + ":x:y");
  EXPECT_EQ(keyed.name, "ids");
  EXPECT_EQ(keyed.file, path);
  EXPECT_EQ(keyed.key, "x:y");
  EXPECT_EQ(ParseInputArgument(path + ":x").name, "");
  EXPECT_EQ(ParseInputArgument("ids=/nonexistent:x").file, "/nonexistent:x");
}

}  // namespace
}  // namespace fff::cli

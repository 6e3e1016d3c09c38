#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint.h"
#include "tests/unit/checkpoint/test_bytes.h"
#include "tests/unit/checkpoint/zip_writer.h"

namespace fff::checkpoint {
namespace {

constexpr absl::string_view kHint =
    "convert it with python -m fff_client.export, or with any torch of version "
    "1.6 or later: "
    "torch.save(torch.load(path, map_location=\"cpu\"), path)";

std::string WriteFile(const std::string& name, const std::string& content) {
  std::string path = absl::StrCat(testing::TempDir(), name);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(OpenCheckpointTest, RecognisesByContentNotByName) {
  const std::string header = "{}";
  const std::string path = WriteFile(
      "model.pt", Packed(static_cast<uint64_t>(header.size())) + header);
  const auto checkpoint = OpenCheckpoint(path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->format(), "safetensors");
  EXPECT_EQ(checkpoint->source(), path);
}

TEST(OpenCheckpointTest, NamesTheFileInErrors) {
  const std::string path = WriteFile("model.safetensors", "PK\3\4");
  ExpectInvalid(OpenCheckpoint(path),
                absl::StrCat(path, ": damaged zip archive: "));
}

TEST(OpenCheckpointTest, SaysNotFound) {
  const absl::Status status = OpenCheckpoint("/nonexistent/model.pt").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              testing::HasSubstr("/nonexistent/model.pt"));
}

TEST(OpenCheckpointTest, RefusesADirectory) {
  ExpectInvalid(OpenCheckpoint(testing::TempDir()), "not a regular file");
}

TEST(OpenCheckpointTest, RefusesAnEmptyFile) {
  ExpectInvalid(OpenCheckpoint(WriteFile("empty", "")),
                "this file is empty; copy it again");
}

TEST(OpenCheckpointTest, TellsHowToConvertLegacyFiles) {
  const std::string folder = absl::StrCat(FFF_TEST_DATA_DIR, "/checkpoint/");
  ExpectInvalid(OpenCheckpoint(folder + "legacy.pt"),
                "this is a pickle without a zip archive, torch's format "
                "before 1.6; ");
  ExpectInvalid(OpenCheckpoint(folder + "legacy.pt"), kHint);
  ExpectInvalid(OpenCheckpoint(folder + "bare.pkl"),
                "this is a pickle that torch.save did not write");
  std::string tar(512, '\0');
  tar.replace(0, 8, "storages");
  tar.replace(257, 5, "ustar");
  ExpectInvalid(ParseText(tar),
                "this is a tar file, torch's format before 0.1.10; ");
  ExpectInvalid(ParseText(tar), kHint);
  tar.replace(0, 8, "./model.");
  ExpectInvalid(ParseText(tar), "this is a tar archive, not a checkpoint");
}

TEST(OpenCheckpointTest, SaysWhenTheContentIsNeither) {
  ExpectInvalid(ParseText("\xfe\xfe\xfe\xfe\xfe\xfe\xfe\xfe and so on"),
                "file: not a torch archive, and not safetensors: the header "
                "length of ");
}

}  // namespace
}  // namespace fff::checkpoint

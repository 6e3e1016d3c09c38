#include "server/base/mapped_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fff::base {
namespace {

std::string TestPath(const std::string& name) {
  return absl::StrCat(testing::TempDir(), "mapped_file_test_", getpid(), "_",
                      name);
}

std::string WriteFile(const std::string& name, const std::string& content) {
  std::string path = TestPath(name);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string Text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()),
          file.bytes().size()};
}

void ExpectError(const std::string& path, absl::StatusCode code,
                 const std::string& part) {
  const absl::Status status = MappedFile::Open(path).status();
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(path));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part));
}

TEST(MappedFileTest, HoldsTheWholeFile) {
  const std::string content = std::string(10000, 'x') + std::string("\0y", 2);
  const std::string path = WriteFile("whole", content);
  const auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->path(), path);
  EXPECT_EQ(Text(**file), content);
}

TEST(MappedFileTest, MapsAnEmptyFileToNoBytes) {
  const auto file = MappedFile::Open(WriteFile("empty", ""));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->bytes().empty());
}

TEST(MappedFileTest, OutlivesTheNameOfTheFile) {
  const std::string path = WriteFile("replaced", "old");
  const auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  const std::string other = WriteFile("new", "new");
  ASSERT_EQ(std::rename(other.c_str(), path.c_str()), 0);
  EXPECT_EQ(Text(**file), "old");
  EXPECT_EQ(Text(**MappedFile::Open(path)), "new");
}

TEST(MappedFileTest, SaysWhenThereIsNoFile) {
  ExpectError("/nonexistent/model.pt", absl::StatusCode::kNotFound,
              "cannot open");
}

TEST(MappedFileTest, RefusesADirectory) {
  ExpectError(testing::TempDir(), absl::StatusCode::kInvalidArgument,
              "not a regular file");
}

TEST(MappedFileTest, RefusesADevice) {
  ExpectError("/dev/zero", absl::StatusCode::kInvalidArgument,
              "not a regular file");
}

TEST(MappedFileTest, RefusesAFifoWithoutWaitingForAWriter) {
  const std::string path = TestPath("fifo");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  ExpectError(path, absl::StatusCode::kInvalidArgument, "not a regular file");
  unlink(path.c_str());
}

TEST(MappedFileDeathTest, SaysWhenReadingIsForbidden) {
  const std::string path = WriteFile("secret", "x");
  ASSERT_EQ(chmod(path.c_str(), 0), 0);
  const auto open_as_nobody = [&path] {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(1);  // root reads anything
    ExpectError(path, absl::StatusCode::kPermissionDenied, "cannot open");
    _exit(testing::Test::HasFailure() ? 1 : 0);
  };
  EXPECT_EXIT(open_as_nobody(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace fff::base

#include "server/base/file_bytes.h"

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
  return absl::StrCat(testing::TempDir(), "file_bytes_test_", getpid(), "_",
                      name);
}

std::string WriteFile(const std::string& name, const std::string& content) {
  std::string path = TestPath(name);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string Text(const FileBytes& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()),
          file.bytes().size()};
}

void ExpectError(const std::string& path, absl::StatusCode code,
                 const std::string& part) {
  const absl::Status status = FileBytes::Read(path).status();
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(path));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part));
}

TEST(FileBytesTest, HoldsTheWholeFile) {
  const std::string content = std::string(10000, 'x') + std::string("\0y", 2);
  const std::string path = WriteFile("whole", content);
  const auto file = FileBytes::Read(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->path(), path);
  EXPECT_EQ(Text(**file), content);
}

TEST(FileBytesTest, ReadsAnEmptyFileAsNoBytes) {
  const auto file = FileBytes::Read(WriteFile("empty", ""));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->bytes().empty());
}

TEST(FileBytesTest, PagesOfAPartGoWithItsLastOwner) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto file =
      FileBytes::Read(WriteFile("parts", std::string(6 * page, 'x')));
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Span<const std::byte> bytes = (*file)->bytes();
  const size_t middle = 3 * page + 10;
  std::shared_ptr<const void> first =
      FileBytes::KeepPart(*file, bytes.subspan(10, middle - 10));
  const auto second = FileBytes::KeepPart(*file, bytes.subspan(middle));
  std::shared_ptr<const void> again = first;
  first = nullptr;
  EXPECT_EQ(Text(**file), std::string(6 * page, 'x'));
  again = nullptr;
  // Pages 1 and 2 have no owner any more; 0 and 3 have bytes of others.
  EXPECT_EQ(Text(**file), std::string(page, 'x') + std::string(2 * page, '\0') +
                              std::string(3 * page, 'x'));
}

TEST(FileBytesTest, OutlivesTheNameOfTheFile) {
  const std::string path = WriteFile("replaced", "old");
  const auto file = FileBytes::Read(path);
  ASSERT_TRUE(file.ok());
  const std::string other = WriteFile("new", "new");
  ASSERT_EQ(std::rename(other.c_str(), path.c_str()), 0);
  EXPECT_EQ(Text(**file), "old");
  EXPECT_EQ(Text(**FileBytes::Read(path)), "new");
}

// A mapping would show the new bytes, or fault beyond the new end.
TEST(FileBytesTest, KeepsItsBytesWhenTheFileIsRewrittenInPlace) {
  const std::string path = WriteFile("rewritten", std::string(10000, 'x'));
  const auto file = FileBytes::Read(path);
  ASSERT_TRUE(file.ok());
  WriteFile("rewritten", "short");
  EXPECT_EQ(Text(**file), std::string(10000, 'x'));
}

// Files of sysfs promise a page and hold less, as a file does that is truncated
// between stat and read.
TEST(FileBytesTest, SaysWhenTheFileEndsBeforeItsSize) {
  const std::string path = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (access(path.c_str(), R_OK) != 0) GTEST_SKIP() << path << " is not there";
  ExpectError(path, absl::StatusCode::kAborted, "changed while it was read");
}

TEST(FileBytesTest, RefusesAFileLargerThanTheMemory) {
  const std::string path = WriteFile("sparse", "x");
  ASSERT_EQ(truncate(path.c_str(), off_t{1} << 42), 0);
  ExpectError(path, absl::StatusCode::kResourceExhausted,
              "more than the memory of");
  unlink(path.c_str());
}

TEST(FileBytesTest, SaysWhenThereIsNoFile) {
  ExpectError("/nonexistent/model.pt", absl::StatusCode::kNotFound,
              "cannot open");
}

TEST(FileBytesTest, RefusesADirectory) {
  ExpectError(testing::TempDir(), absl::StatusCode::kInvalidArgument,
              "not a regular file");
}

TEST(FileBytesTest, RefusesADevice) {
  ExpectError("/dev/zero", absl::StatusCode::kInvalidArgument,
              "not a regular file");
}

TEST(FileBytesTest, RefusesAFifoWithoutWaitingForAWriter) {
  const std::string path = TestPath("fifo");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  ExpectError(path, absl::StatusCode::kInvalidArgument, "not a regular file");
  unlink(path.c_str());
}

TEST(FileBytesDeathTest, SaysWhenReadingIsForbidden) {
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

#include "tests/unit/serving/temp_repository.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace fff::serving {

namespace fs = std::filesystem;

namespace {

// Memory where there is some: a disk may take a millisecond a directory, and a
// test makes thousands.
std::string ParentDirectory() {
  const char* const memory = "/dev/shm";
  return access(memory, W_OK) == 0 ? memory : ::testing::TempDir();
}

}  // namespace

TempRepository::TempRepository() {
  std::string name = absl::StrCat(ParentDirectory(), "/fff-XXXXXX");
  if (mkdtemp(name.data()) == nullptr) {
    ADD_FAILURE() << "cannot make a temporary directory like " << name;
  }
  root_ = name;
}

TempRepository::~TempRepository() {
  std::error_code ignored;
  // A test may have closed the root or what lies in it.
  fs::permissions(root_, fs::perms::owner_all, ignored);
  for (const auto& entry : fs::directory_iterator(root_, ignored)) {
    if (entry.is_symlink(ignored)) continue;
    fs::permissions(entry, fs::perms::owner_all, ignored);
  }
  fs::remove_all(root_, ignored);
}

void TempRepository::AddDirectory(const std::string& directory) {
  fs::create_directories(root_ / directory);
}

void TempRepository::AddFile(const std::string& file,
                             absl::string_view content) {
  fs::create_directories((root_ / file).parent_path());
  std::ofstream out(root_ / file, std::ios::binary);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  EXPECT_TRUE(out.good()) << file;
}

void TempRepository::AddModel(const std::string& model, int version,
                              const std::string& vector) {
  const fs::path directory = root_ / model / absl::StrCat(version);
  fs::create_directories(directory);
  fs::copy_file(absl::StrCat(FFF_TEST_DATA_DIR, "/reference/vectors/", vector,
                             "/model.safetensors"),
                directory / "model.safetensors");
}

}  // namespace fff::serving

#include "server/serving/repository/repository_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/unit/serving/temp_repository.h"

namespace fff::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// "name: 1 2" for every model found, with its own error, or the error of all.
std::vector<std::string> Scan(const std::string& path) {
  const auto found = ScanRepository(path);
  if (!found.ok()) return {found.status().ToString()};
  std::vector<std::string> lines;
  for (const ScannedModel& model : found->models) {
    std::string line = absl::StrCat(model.name, ":");
    for (const ScannedVersion& version : model.versions) {
      absl::StrAppend(&line, " ", version.version);
    }
    if (!model.status.ok()) {
      absl::StrAppend(&line, " ", model.status.ToString());
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

// Runs as another user while it lives when the tests run as root, who may read
// everything.
class OrdinaryUser {
 public:
  OrdinaryUser() : was_root_(geteuid() == 0) {
    if (was_root_) {
      EXPECT_EQ(seteuid(65534), 0);
    }
  }
  ~OrdinaryUser() {
    if (was_root_) {
      EXPECT_EQ(seteuid(0), 0);
    }
  }
  OrdinaryUser(const OrdinaryUser&) = delete;
  OrdinaryUser& operator=(const OrdinaryUser&) = delete;

 private:
  const bool was_root_;
};

TEST(ScanRepository, FindsModelsByNameAndVersionsByNumber) {
  const TempRepository repository;
  EXPECT_THAT(Scan(repository.path()), IsEmpty());
}

TEST(ScanRepository, OrdersModelsByNameAndVersionsByNumber) {
  TempRepository repository;
  for (const char* directory : {"b/2", "b/10", "b/1", "a/3"}) {
    repository.AddDirectory(directory);
  }
  EXPECT_THAT(Scan(repository.path()), ElementsAre("a: 3", "b: 1 2 10"));
}

TEST(ScanRepository, SaysWhereEachModelIs) {
  TempRepository repository;
  repository.AddDirectory("a/1");
  const auto models = ScanRepository(repository.path());
  ASSERT_TRUE(models.ok());
  EXPECT_EQ(models->models.at(0).directory, repository.path() + "/a");
}

TEST(ScanRepository, AModelWithoutVersionsIsOneWhenItHasAConfig) {
  TempRepository repository;
  repository.AddFile("configured/config.json", "{}");
  repository.AddFile("notes/readme.txt", "no model");
  EXPECT_THAT(Scan(repository.path()), ElementsAre("configured:"));
}

TEST(ScanRepository, PassesOverFilesAndHiddenDirectories) {
  TempRepository repository;
  repository.AddFile("README.md", "text");
  repository.AddDirectory(".git/1");
  repository.AddDirectory("..data/1");
  repository.AddDirectory("a/1");
  repository.AddFile("a/2", "a file is no version");
  EXPECT_THAT(Scan(repository.path()), ElementsAre("a: 1"));
}

TEST(ScanRepository, TakesPositiveNumbersForVersions) {
  TempRepository repository;
  for (const char* version :
       {"+1", "-1", "0", "00", "1.5", "1 ", " 1", "v1", "1e3", "0x1",
        "9223372036854775808", "99999999999999999999"}) {
    repository.AddDirectory(absl::StrCat("a/", version));
  }
  EXPECT_THAT(Scan(repository.path()), IsEmpty());
  repository.AddDirectory("a/9223372036854775807");
  EXPECT_THAT(Scan(repository.path()), ElementsAre("a: 9223372036854775807"));
}

TEST(ScanRepository, ZerosInFrontOfANumberDoNotMatter) {
  TempRepository repository;
  repository.AddDirectory("a/0001");
  repository.AddDirectory("a/010");
  EXPECT_THAT(Scan(repository.path()), ElementsAre("a: 1 10"));
  const auto found = ScanRepository(repository.path());
  EXPECT_EQ(found->models.at(0).versions.at(0).folder, "0001");
  EXPECT_THAT(found->misfits, IsEmpty());
}

TEST(ScanRepository, OfTwoSpellingsThePlainOneCountsOrNone) {
  TempRepository repository;
  for (const char* folder : {"a/1", "a/01", "a/02", "a/002", "a/3"}) {
    repository.AddDirectory(folder);
  }
  EXPECT_THAT(Scan(repository.path()), ElementsAre("a: 1 3"));
  const auto found = ScanRepository(repository.path());
  EXPECT_EQ(found->models.at(0).versions.at(0).folder, "1");
  EXPECT_THAT(found->models.at(0).misfits,
              HasSubstr("got folders '002', '01', '02', wanted versions"));
}

// Kubernetes mounts config maps and some volumes as links.
TEST(ScanRepository, FollowsLinksToDirectories) {
  TempRepository elsewhere;
  elsewhere.AddDirectory("stored/1");
  TempRepository repository;
  std::filesystem::create_directory_symlink(elsewhere / "stored",
                                            repository / "linked");
  repository.AddDirectory("a");
  std::filesystem::create_directory_symlink(elsewhere / "stored/1",
                                            repository / "a/4");
  EXPECT_THAT(Scan(repository.path()), ElementsAre("a: 4", "linked: 1"));
}

TEST(ScanRepository, PassesOverLinksThatLeadNowhere) {
  TempRepository repository;
  std::filesystem::create_directory_symlink("/nonexistent/model",
                                            repository / "dangling");
  std::filesystem::create_directory_symlink("loop", repository / "loop");
  repository.AddDirectory("a/1");
  std::filesystem::create_directory_symlink("/nonexistent/version",
                                            repository / "a/2");
  EXPECT_THAT(Scan(repository.path()), ElementsAre("a: 1"));
}

TEST(ScanRepository, ANameThatCannotBeServedIsThatModelsFailure) {
  for (const std::string name : {"a:dense", "a\nb", "a\x7f", "a\xff"}) {
    TempRepository repository;
    repository.AddDirectory(name + "/1");
    repository.AddDirectory("z/1");
    EXPECT_THAT(
        Scan(repository.path()),
        ElementsAre(
            ::testing::AllOf(
                HasSubstr("INVALID_ARGUMENT: model directory '"),
                HasSubstr("cannot be a model name: ':', control characters and "
                          "what is not UTF-8 are not allowed, at most 256 "
                          "bytes")),
            "z: 1"));
  }
}

TEST(ScanRepository, NamesAControlCharacterPrintably) {
  TempRepository repository;
  repository.AddDirectory("a\nb/1");
  EXPECT_THAT(Scan(repository.path())[0], HasSubstr("'a\\x0ab'"));
}

TEST(ScanRepository, AllowsBlanksDotsAndUnicodeInNames) {
  TempRepository repository;
  repository.AddDirectory("my model v1.2/1");
  repository.AddDirectory("zw\xc3\xb6lf/1");
  EXPECT_THAT(Scan(repository.path()),
              ElementsAre("my model v1.2: 1", "zw\xc3\xb6lf: 1"));
}

TEST(ScanRepository, AnUnservableNameOfADirectoryThatIsNoModelIsNoError) {
  TempRepository repository;
  repository.AddDirectory("a:b/notes");
  EXPECT_THAT(Scan(repository.path()), IsEmpty());
}

TEST(ScanRepository, OfADirectoryThatIsNotThereIsNotFound) {
  const auto models = ScanRepository("/nonexistent/models");
  EXPECT_EQ(models.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(models.status().message()),
              HasSubstr("cannot read directory /nonexistent/models"));
}

TEST(ScanRepository, OfAFileIsAnError) {
  TempRepository repository;
  repository.AddFile("file", "text");
  const auto models = ScanRepository((repository / "file").string());
  EXPECT_FALSE(models.ok());
  EXPECT_THAT(std::string(models.status().message()),
              HasSubstr("cannot read directory"));
}

TEST(ScanRepository, OfADirectoryThatMayNotBeReadIsPermissionDenied) {
  TempRepository repository;
  repository.AddDirectory("a/1");
  namespace fs = std::filesystem;
  fs::permissions(repository.path(), fs::perms::none);
  const OrdinaryUser user;
  const auto models = ScanRepository(repository.path());
  EXPECT_EQ(models.status().code(), absl::StatusCode::kPermissionDenied);
}

// One bad upload must not take the others down: it is listed, so that loading
// it fails with its own reason.
TEST(ScanRepository, ListsAModelThatMayNotBeRead) {
  TempRepository repository;
  repository.AddDirectory("closed/1");
  repository.AddDirectory("open/1");
  namespace fs = std::filesystem;
  fs::permissions(repository.path(), fs::perms::all);
  fs::permissions(repository / "open", fs::perms::all);
  fs::permissions(repository / "closed", fs::perms::none);
  const OrdinaryUser user;
  EXPECT_THAT(Scan(repository.path()),
              ElementsAre(::testing::StartsWith("closed: PERMISSION_DENIED"),
                          "open: 1"));
}

// The root of an ext4 volume holds one that only root may read.
TEST(ScanRepository, PassesOverLostAndFound) {
  TempRepository repository;
  repository.AddDirectory("lost+found");
  repository.AddDirectory("a/1");
  namespace fs = std::filesystem;
  fs::permissions(repository.path(), fs::perms::all);
  fs::permissions(repository / "a", fs::perms::all);
  fs::permissions(repository / "lost+found", fs::perms::none);
  const OrdinaryUser user;
  EXPECT_THAT(Scan(repository.path()), ElementsAre("a: 1"));
}

TEST(ScanRepository, RefusesMoreModelsThanItsBound) {
  TempRepository repository;
  for (size_t i = 0; i < kModelsMax; ++i) {
    repository.AddDirectory(absl::StrCat("m", i, "/1"));
  }
  EXPECT_EQ(ScanRepository(repository.path())->models.size(), kModelsMax);
  repository.AddDirectory("one-more/1");
  EXPECT_EQ(ScanRepository(repository.path()).status(),
            absl::ResourceExhaustedError(absl::StrCat(repository.path(),
                                                      " holds more than 4096 "
                                                      "models")));
}

TEST(ScanRepository, MoreVersionsThanTheBoundAreThatModelsFailure) {
  TempRepository repository;
  repository.AddDirectory("b/1");
  for (size_t i = 1; i <= kVersionsMax; ++i) {
    repository.AddDirectory(absl::StrCat("a/", i));
  }
  EXPECT_EQ(ScanRepository(repository.path())->models.at(0).versions.size(),
            kVersionsMax);
  repository.AddDirectory("a/999999");
  EXPECT_THAT(
      Scan(repository.path()),
      ElementsAre(absl::StrCat("a: RESOURCE_EXHAUSTED: ", repository.path(),
                               "/a holds more than 4096 versions"),
                  "b: 1"));
}

// The identity of version 1 of model "a".
std::string Identity(const TempRepository& repository) {
  return VersionIdentity((repository / "a/1").string());
}

TEST(VersionIdentity, IsTheSameWhileNothingChanges) {
  TempRepository repository;
  repository.AddFile("a/1/model.safetensors", "weights");
  EXPECT_EQ(Identity(repository), Identity(repository));
  const auto found = ScanRepository(repository.path());
  EXPECT_EQ(found->models.at(0).versions.at(0).identity, Identity(repository));
}

TEST(VersionIdentity, ChangesWithContentNamesAndReplacement) {
  TempRepository repository;
  repository.AddFile("a/1/model.safetensors", "weights");
  std::string before = Identity(repository);
  const auto expect_change = [&](const char* what) {
    EXPECT_NE(Identity(repository), before) << what;
    before = Identity(repository);
  };
  repository.AddFile("a/1/model.safetensors", "longer weights");
  expect_change("size");
  namespace fs = std::filesystem;
  const fs::path file = repository / "a/1/model.safetensors";
  fs::last_write_time(file,
                      fs::last_write_time(file) + std::chrono::seconds(1));
  expect_change("time");
  repository.AddFile("other", "another weight");
  fs::last_write_time(repository / "other", fs::last_write_time(file));
  fs::rename(repository / "other", file);
  expect_change("another file of the same size and time");
  repository.AddFile("a/1/dense.safetensors", "twin");
  expect_change("a new file");
  fs::remove_all(repository / "a/1");
  expect_change("gone");
  EXPECT_EQ(before, "");
}

// Written in place by a tool that puts the times back, as rsync and cp -p do.
TEST(VersionIdentity, ChangesWithWhatIsWrittenInPlace) {
  TempRepository repository;
  repository.AddFile("a/1/model.safetensors", "weights");
  namespace fs = std::filesystem;
  const fs::path file = repository / "a/1/model.safetensors";
  const auto time = fs::last_write_time(file);
  const std::string before = Identity(repository);
  // The clock of a file system may tick every four milliseconds.
  for (int i = 0; i < 1000 && Identity(repository) == before; ++i) {
    repository.AddFile("a/1/model.safetensors", "weighty");
    fs::last_write_time(file, time);
  }
  EXPECT_NE(Identity(repository), before);
}

TEST(FileIdentity, IsOfTimesAndSizeNotOfInodes) {
  struct stat info = {};
  info.st_size = 7;
  info.st_mtim = {100, 5};
  info.st_ctim = {200, 6};
  info.st_ino = 1;
  info.st_dev = 2;
  const std::string identity = FileIdentity(info);
  info.st_ino = 11;  // mounts of object stores do so
  info.st_dev = 12;
  info.st_nlink = 3;
  info.st_atim = {300, 7};
  EXPECT_EQ(FileIdentity(info), identity);
  const auto expect_change = [&](auto change) {
    struct stat other = info;
    change(other);
    EXPECT_NE(FileIdentity(other), identity);
  };
  expect_change([](struct stat& s) { s.st_size = 8; });
  expect_change([](struct stat& s) { s.st_mtim.tv_sec = 101; });
  expect_change([](struct stat& s) { s.st_mtim.tv_nsec = 6; });
  expect_change([](struct stat& s) { s.st_ctim.tv_sec = 201; });
  expect_change([](struct stat& s) { s.st_ctim.tv_nsec = 7; });
}

// Uploads in progress are often hidden files that are renamed at the end.
TEST(VersionIdentity, PassesOverHiddenFiles) {
  TempRepository repository;
  repository.AddFile("a/1/model.safetensors", "weights");
  const std::string before = Identity(repository);
  repository.AddFile("a/1/.model.safetensors.part", "half");
  EXPECT_EQ(Identity(repository), before);
}

TEST(VersionIdentity, OfAnEmptyDirectoryIsNotThatOfNone) {
  TempRepository repository;
  repository.AddDirectory("a/1");
  EXPECT_NE(Identity(repository), "");
  EXPECT_EQ(VersionIdentity("/nonexistent/a/1"), "");
}

TEST(ScanModel, FindsOneModel) {
  TempRepository repository;
  repository.AddDirectory("a/2");
  repository.AddFile("a/config.json", "{}");
  const auto model = ScanModel(repository.path(), "a");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->name, "a");
  EXPECT_EQ(model->directory, repository.path() + "/a");
  EXPECT_EQ(model->versions.at(0).version, 2);
  EXPECT_NE(model->config_identity, "");
}

TEST(ScanModel, OfWhatIsNoModelIsNotFound) {
  TempRepository repository;
  repository.AddDirectory("notes");
  repository.AddFile("file", "text");
  for (const char* name : {"b", "notes", "file"}) {
    EXPECT_EQ(ScanModel(repository.path(), name).status().code(),
              absl::StatusCode::kNotFound)
        << name;
  }
}

// Names come from callers: none may lead out of the repository.
TEST(ScanModel, RefusesNamesThatAreNone) {
  TempRepository repository;
  repository.AddDirectory("inside/1");
  repository.AddDirectory("inside/nested/1");
  const std::string inside = (repository / "inside").string();
  for (const std::string name : {"", ".", "..", "../inside", "nested/../nested",
                                 "/", "a:dense", "a\nb", ".git", "\xff"}) {
    EXPECT_EQ(ScanModel(inside, name).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
}

}  // namespace
}  // namespace fff::serving

#include "server/serving/repository/misfits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/serving/repository/model_registry.h"
#include "server/serving/repository/repository_scan.h"
#include "tests/unit/serving/temp_repository.h"

namespace fff::serving {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kCheckpoint[] = "model.safetensors";

// "name: reason" of what the scan passed over.
std::vector<std::string> Misfits(const TempRepository& repository,
                                 const std::string& below = "") {
  const auto found = ScanRepository((repository / below).string());
  if (!found.ok()) return {found.status().ToString()};
  std::vector<std::string> lines;
  for (const Misfit& misfit : found->misfits) {
    lines.push_back(absl::StrCat(misfit.name, ": ", misfit.reason));
  }
  return lines;
}

TEST(LooksLikeVersion, IsWhatPeopleNameVersions) {
  for (const char* name :
       {"v1",      "V2",   "version3",   "version-4",
        "0",       "00",   "1.0",        "1.2.3",
        "+1",      "-1",   "1 ",         " 1",
        "0x1",     "1e3",  "latest",     "LATEST",
        "current", "best", "2024-01-31", "99999999999999999999"}) {
    EXPECT_TRUE(LooksLikeVersion(name)) << name;
  }
  for (const char* name : {"", "assets", "tokenizer", "v", "version", "docs",
                           "l8_d4", "1 model", "later"}) {
    EXPECT_FALSE(LooksLikeVersion(name)) << name;
  }
}

TEST(Misfits, AreFoldersMeantAsVersions) {
  for (const char* folder : {"v1", "0", "1.0", "latest"}) {
    TempRepository repository;
    repository.AddFile(absl::StrCat("m/", folder, "/", kCheckpoint), "x");
    EXPECT_THAT(Misfits(repository),
                ElementsAre(absl::StrCat(
                    "m: got the folder '", folder,
                    "', wanted versions named 1, 2, ..., one folder per "
                    "number")));
    EXPECT_THAT(ScanRepository(repository.path())->models, IsEmpty());
  }
}

TEST(Misfits, AreFoldersWithACheckpointWhateverTheirName) {
  TempRepository repository;
  repository.AddFile("m/1/model.pt", "x");
  repository.AddFile("m/trained on tuesday/last.ckpt", "x");
  repository.AddFile("m/assets/labels.txt", "x");
  repository.AddDirectory("m/tokenizer");
  EXPECT_THAT(Misfits(repository),
              ElementsAre(AllOf(HasSubstr("m: got the folder 'trained on "
                                          "tuesday'"),
                                Not(HasSubstr("assets")))));
  EXPECT_EQ(ScanRepository(repository.path())->models.size(), 1u);
}

TEST(Misfits, AreFilesWhereAVersionFolderIsWanted) {
  TempRepository repository;
  repository.AddFile("bare/model.pt", "x");
  repository.AddFile("named/1", "x");
  EXPECT_THAT(Misfits(repository),
              ElementsAre("bare: got 'model.pt' outside of a version folder, "
                          "wanted bare/1/model.pt",
                          HasSubstr("named: got '1', wanted folders of these "
                                    "names")));
}

TEST(Misfits, AreLinksThatLeadNowhere) {
  TempRepository repository;
  repository.AddDirectory("a/1");
  std::filesystem::create_directory_symlink("/nonexistent/version",
                                            repository / "a/2");
  EXPECT_THAT(Misfits(repository),
              ElementsAre(HasSubstr("a: got '2', wanted folders")));
}

TEST(Misfits, TellOfARepositoryOneLevelTooHigh) {
  TempRepository repository;
  repository.AddFile(absl::StrCat("models/m/1/", kCheckpoint), "x");
  EXPECT_THAT(Misfits(repository),
              ElementsAre(absl::StrCat(
                  "models: got a folder of models ('m'), wanted a model: to "
                  "serve them, give --model-repository=",
                  repository.path(), "/models")));
}

TEST(Misfits, TellOfARepositoryOneLevelTooDeep) {
  TempRepository repository;
  repository.AddFile(absl::StrCat("m/1/", kCheckpoint), "x");
  EXPECT_THAT(Misfits(repository, "m"),
              ElementsAre(AllOf(HasSubstr("1: a folder named by a number"),
                                HasSubstr(absl::StrCat("--model-repository=",
                                                       repository.path())))));
}

TEST(Misfits, TellOfARepositoryTwoLevelsTooDeep) {
  TempRepository repository;
  repository.AddFile(absl::StrCat("m/1/", kCheckpoint), "x");
  EXPECT_THAT(
      Misfits(repository, "m/1"),
      ElementsAre(AllOf(
          HasSubstr("model.safetensors: got a file, wanted a folder per model"),
          HasSubstr(absl::StrCat("--model-repository=", repository.path())))));
}

TEST(Misfits, TellOfARepositoryTwoLevelsTooHigh) {
  TempRepository repository;
  repository.AddFile(absl::StrCat("a/models/m/1/", kCheckpoint), "x");
  EXPECT_THAT(Misfits(repository),
              ElementsAre(AllOf(HasSubstr("a: got a folder of models ('m')"),
                                HasSubstr(absl::StrCat(
                                    "--model-repository=", repository.path(),
                                    "/a/models")))));
}

TEST(Misfits, TellOfAModelWhoseVersionIsAFile) {
  TempRepository repository;
  repository.AddFile("m/1", "x");
  EXPECT_THAT(
      Misfits(repository, "m"),
      ElementsAre(HasSubstr("1: got a file, wanted a folder per model")));
}

TEST(Misfits, TellOfALinkThatLeadsNowhere) {
  TempRepository repository;
  std::filesystem::create_directory_symlink("/nonexistent/model",
                                            repository / "dangling");
  std::filesystem::create_directory_symlink("loop", repository / "loop");
  EXPECT_THAT(Misfits(repository),
              ElementsAre(HasSubstr("dangling: got a link that leads nowhere"),
                          HasSubstr("loop: got a link that leads nowhere")));
}

TEST(Misfits, GiveWholePathsForARelativeRepository) {
  TempRepository repository;
  repository.AddFile(absl::StrCat("m/1/", kCheckpoint), "x");
  const std::filesystem::path before = std::filesystem::current_path();
  for (const auto& [where, name] :
       {std::pair<std::string, std::string>{"m", "."},
        {"", "m"},
        {"", "./m/"}}) {
    std::filesystem::current_path(repository / where);
    const auto found = ScanRepository(name);
    ASSERT_TRUE(found.ok());
    ASSERT_EQ(found->misfits.size(), 1u);
    EXPECT_THAT(found->misfits[0].reason,
                ::testing::EndsWith(absl::StrCat(
                    "--model-repository=",
                    std::filesystem::canonical(repository.path()).string())));
  }
  std::filesystem::current_path(before);
}

// It is one whole reason why the model cannot be loaded.
TEST(Misfits, OfAModelWithoutVersionsAreItsOwnFailure) {
  TempRepository repository;
  repository.AddFile("m/config.json", "{}");
  repository.AddFile("m/v1/model.pt", "x");
  EXPECT_THAT(Misfits(repository), IsEmpty());
  EXPECT_THAT(ScanRepository(repository.path())->models.at(0).misfits,
              HasSubstr("got the folder 'v1'"));
}

TEST(Misfits, AreNotWhatIsNoBusinessOfTheServer) {
  TempRepository repository;
  repository.AddFile("README.md", "x");
  repository.AddFile("scripts/util/run.sh", "x");
  repository.AddFile("docs/page.md", "x");
  repository.AddDirectory("being made");
  repository.AddFile(".git/1/model.pt", "x");
  repository.AddFile(absl::StrCat("m/1/", kCheckpoint), "x");
  repository.AddFile("m/config.json", "{}");
  repository.AddFile("m/README.md", "x");
  repository.AddFile("m/.2/model.pt", "x");
  repository.AddFile("m/2.tmp/model.pt", "x");
  repository.AddFile("m/upload-3/model.pt", "x");
  EXPECT_THAT(Misfits(repository), IsEmpty());
}

TEST(Misfits, AreNamedPrintablyAndNotAll) {
  TempRepository repository;
  for (int i = 0; i < 9; ++i) {
    repository.AddDirectory(absl::StrCat("m/v", i));
  }
  repository.AddDirectory("m/+1\n");
  EXPECT_THAT(Misfits(repository),
              ElementsAre(AllOf(HasSubstr("'+1\\x0a'"), HasSubstr("'v3' and 5 "
                                                                  "more"))));
}

TEST(Misfits, AreBounded) {
  TempRepository repository;
  for (size_t i = 0; i < kMisfitsMax + 10; ++i) {
    repository.AddDirectory(absl::StrCat("m", i, "/v1"));
  }
  const auto found = ScanRepository(repository.path());
  EXPECT_EQ(found->misfits.size(), kMisfitsMax);
  EXPECT_EQ(found->misfits.front().name, "m0");
  EXPECT_EQ(found->misfits.at(1).name, "m1");
  EXPECT_EQ(found->misfits.at(2).name, "m10") << "the first by name";
  EXPECT_TRUE(found->misfits_cut);
}

TEST(ModelRegistry, ListsMisfitsByNameAndIsReady) {
  metrics::ServerMetrics metrics("1");
  ModelRegistry registry(&metrics);
  VersionStatus unloaded;
  unloaded.model_name = "m";
  unloaded.version = 1;
  unloaded.state = VersionState::kUnloaded;
  registry.Publish({unloaded}, false);
  registry.SetMisfits({{"a", "got this", ""}, {"m", "got that", ""}});
  registry.SetComplete();
  const std::vector<VersionStatus> all = registry.List();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].model_name, "a");
  EXPECT_EQ(all[0].reason, "passed over: got this");
  EXPECT_EQ(all[1].version, 0);
  EXPECT_EQ(all[1].state, VersionState::kFailed);
  EXPECT_EQ(all[2].version, 1);
  EXPECT_TRUE(registry.Ready());
  EXPECT_THAT(std::string(registry.Find("a", 0).status().message()),
              HasSubstr("got this"));
  EXPECT_THAT(std::string(registry.Find("m", 7).status().message()),
              HasSubstr("got that"));
  registry.SetMisfits({});
  EXPECT_EQ(registry.List().size(), 1u);
}

}  // namespace
}  // namespace fff::serving

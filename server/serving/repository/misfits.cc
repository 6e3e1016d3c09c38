#include "server/serving/repository/misfits.h"

#include <algorithm>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/serving/repository/version_name.h"

namespace fff::serving {
namespace {

namespace fs = std::filesystem;

constexpr size_t kEntriesMax = 1024;  // of a folder, that are looked at
constexpr size_t kNamedMax = 5;       // of what a sentence tells

bool IsDigit(char c) {
  return absl::ascii_isdigit(static_cast<unsigned char>(c));
}

std::string Quoted(absl::string_view name) {
  return absl::StrCat("'", base::Printable(name), "'");
}

// "'a', 'b' and 3 more".
std::string SomeNames(const std::vector<std::string>& names) {
  const size_t named = std::min(names.size(), kNamedMax);
  std::string text = absl::StrJoin(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(named), ", ",
      [](std::string* out, const std::string& name) {
        out->append(Quoted(name));
      });
  if (names.size() > named) {
    absl::StrAppend(&text, " and ", names.size() - named, " more");
  }
  return text;
}

// What is under way: "2.tmp", "upload-3".
bool IsUnderWay(absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(name);
  for (const char* part : {"tmp", "temp", "partial", "upload", "~"}) {
    if (absl::StrContains(lower, part)) return true;
  }
  return false;
}

struct Content {
  std::vector<std::string> folders;
  std::vector<std::string> files;
};

// Sorted; empty where the folder cannot be read.
Content ContentOf(const fs::path& directory) {
  Content content;
  std::error_code error;
  fs::directory_iterator it(directory, error);
  for (size_t i = 0;
       !error && it != fs::directory_iterator() && i < kEntriesMax;
       it.increment(error), ++i) {
    const std::string name = it->path().filename().string();
    if (IsPassedOver(name)) continue;
    std::error_code ignored;
    auto& list = it->is_directory(ignored) ? content.folders : content.files;
    list.push_back(name);
  }
  std::sort(content.folders.begin(), content.folders.end());
  std::sort(content.files.begin(), content.files.end());
  return content;
}

std::vector<std::string> Checkpoints(const Content& content) {
  std::vector<std::string> found;
  std::copy_if(content.files.begin(), content.files.end(),
               std::back_inserter(found), LooksLikeCheckpoint);
  return found;
}

bool HoldsCheckpoint(const fs::path& directory) {
  return !Checkpoints(ContentOf(directory)).empty();
}

// Without a slash at the end, which would be one more level.
fs::path Absolute(const fs::path& path) {
  std::error_code error;
  const fs::path whole = fs::absolute(path, error);
  fs::path normal = (error ? path : whole).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

bool HoldsVersion(const fs::path& directory) {
  const std::vector<std::string> folders = ContentOf(directory).folders;
  return std::any_of(folders.begin(), folders.end(),
                     [](const std::string& folder) {
                       return ParseVersion(folder).has_value();
                     });
}

// Folders that are meant as versions and files that belong into one.
struct Strays {
  std::vector<std::string> folders;
  std::vector<std::string> checkpoints;
  std::vector<std::string> no_folders;  // files and links named by a number
};

Strays StraysOf(const fs::path& model,
                const std::vector<std::string>& versions) {
  const Content content = ContentOf(model);
  Strays strays;
  for (const std::string& folder : content.folders) {
    const bool served =
        std::find(versions.begin(), versions.end(), folder) != versions.end();
    if (served || IsUnderWay(folder)) continue;
    if (LooksLikeVersion(folder) || HoldsCheckpoint(model / folder)) {
      strays.folders.push_back(folder);
    }
  }
  for (const std::string& file : content.files) {
    if (IsUnderWay(file)) continue;
    if (ParseVersion(file).has_value()) strays.no_folders.push_back(file);
    if (LooksLikeCheckpoint(file)) strays.checkpoints.push_back(file);
  }
  return strays;
}

std::string Sentence(const fs::path& model, const Strays& strays) {
  std::vector<std::string> parts;
  if (!strays.folders.empty()) {
    parts.push_back(absl::StrCat(
        "got ", strays.folders.size() > 1 ? "folders " : "the folder ",
        SomeNames(strays.folders),
        ", wanted versions named 1, 2, ..., one "
        "folder per number"));
  }
  if (!strays.no_folders.empty()) {
    parts.push_back(absl::StrCat("got ", SomeNames(strays.no_folders),
                                 ", wanted folders of these names: they are "
                                 "files, or links that lead nowhere"));
  }
  if (!strays.checkpoints.empty()) {
    parts.push_back(absl::StrCat(
        "got ", SomeNames(strays.checkpoints),
        " outside of a version folder, wanted ",
        base::Printable(
            (fs::path(model.filename()) / "1" / strays.checkpoints.front())
                .string())));
  }
  return absl::StrJoin(parts, "; ");
}

// "" unless models are in the folder.
std::string WhyNoRepository(const fs::path& directory,
                            const std::vector<std::string>& folders) {
  std::vector<std::string> models;
  for (const std::string& folder : folders) {
    if (HoldsVersion(directory / folder)) models.push_back(folder);
  }
  if (models.empty()) return "";
  return absl::StrCat("got a folder of models (", SomeNames(models),
                      "), wanted a model: to serve them, give "
                      "--model-repository=",
                      base::Printable(Absolute(directory).string()));
}

}  // namespace

bool LooksLikeVersion(absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(name);
  for (const char* word : {"latest", "newest", "current", "stable", "best",
                           "final", "prod", "production"}) {
    if (lower == word) return true;
  }
  absl::string_view number = lower;
  if (!absl::ConsumePrefix(&number, "version")) {
    absl::ConsumePrefix(&number, "v");
  }
  while (!number.empty() && absl::StrContains("+-_. ", number.front())) {
    number.remove_prefix(1);
  }
  number = absl::StripAsciiWhitespace(number);
  return !number.empty() && IsDigit(number.front()) &&
         std::all_of(number.begin(), number.end(), [](char c) {
           return IsDigit(c) || absl::StrContains("._-+eabcdfx", c);
         });
}

bool LooksLikeCheckpoint(absl::string_view name) {
  for (const char* end : {".safetensors", ".pt", ".pth", ".bin", ".ckpt",
                          ".safetensors.index.json", ".bin.index.json"}) {
    if (absl::EndsWithIgnoreCase(name, end)) return true;
  }
  return false;
}

std::string MisfitsOfModel(const fs::path& model,
                           const std::vector<std::string>& versions) {
  return Sentence(model, StraysOf(model, versions));
}

std::string WhyNoModel(const fs::path& directory) {
  const Content content = ContentOf(directory);
  const fs::path repository = Absolute(directory).parent_path();
  if (ParseVersion(directory.filename().string()).has_value() &&
      !Checkpoints(content).empty()) {
    return absl::StrCat(
        "a folder named by a number with a checkpoint in it is a version, "
        "wanted a model: if ",
        base::Printable(repository.string()),
        " is one model, the repository is the folder above it, "
        "--model-repository=",
        base::Printable(repository.parent_path().string()));
  }
  std::string sentence = WhyNoRepository(directory, content.folders);
  if (!sentence.empty()) return sentence;
  // One level more, in a few folders.
  constexpr size_t kFoldersMax = 16;
  for (size_t i = 0; i < std::min(content.folders.size(), kFoldersMax); ++i) {
    const fs::path below = directory / content.folders[i];
    std::string of_folder = WhyNoRepository(below, ContentOf(below).folders);
    if (!of_folder.empty()) return of_folder;
  }
  return MisfitsOfModel(directory, {});
}

std::string WhyNoModelFile(const fs::path& file) {
  const std::string name = file.filename().string();
  std::error_code ignored;
  if (fs::is_symlink(file, ignored) && !fs::exists(file, ignored)) {
    return "got a link that leads nowhere, wanted a folder";
  }
  const bool meant =
      LooksLikeCheckpoint(name) || ParseVersion(name).has_value();
  if (!meant || IsUnderWay(name)) return "";
  const fs::path repository = Absolute(file).parent_path();
  std::string reason = absl::StrCat(
      "got a file, wanted a folder per model with a folder per version: ",
      "NAME/1/", base::Printable(name));
  if (ParseVersion(repository.filename().string()).has_value()) {
    absl::StrAppend(
        &reason, "; if ", base::Printable(repository.string()),
        " is a version, the repository is two folders above it, "
        "--model-repository=",
        base::Printable(repository.parent_path().parent_path().string()));
  }
  return reason;
}

}  // namespace fff::serving

#include "server/model/dense_file.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"
#include "server/model/small_files.h"

namespace fff::model {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSiblingsMax = 1024;  // of a version, that are looked at

absl::StatusOr<std::vector<std::string>> DenseFilesOf(const fs::path& dir) {
  std::vector<std::string> found;
  for (const char* name : kDenseFiles) {
    FFF_ASSIGN_OR_RETURN(const bool exists, FileExists((dir / name).string()));
    if (exists) found.emplace_back(name);
  }
  return found;
}

bool IsNumber(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
}

// "1/dense.safetensors" of the other versions, in the order of their names.
std::vector<std::string> DenseFilesBeside(const fs::path& version) {
  std::vector<std::string> found;
  std::error_code error;
  fs::directory_iterator it(version.parent_path(), error);
  for (size_t seen = 0;
       !error && it != fs::directory_iterator() && seen < kSiblingsMax;
       it.increment(error), ++seen) {
    const std::string name = it->path().filename().string();
    if (!IsNumber(name) || name == version.filename()) continue;
    const auto files = DenseFilesOf(it->path());
    if (!files.ok() || files->empty()) continue;
    found.push_back(absl::StrCat(name, "/", files->front()));
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

bool IsDenseFile(absl::string_view name) {
  return std::find(std::begin(kDenseFiles), std::end(kDenseFiles), name) !=
         std::end(kDenseFiles);
}

absl::StatusOr<std::string> FindDenseFile(const std::string& version_dir) {
  FFF_ASSIGN_OR_RETURN(const std::vector<std::string> found,
                       DenseFilesOf(version_dir));
  return found.empty() ? std::string() : found.front();
}

std::vector<std::string> DenseFileNotes(const std::string& version_dir) {
  const fs::path version = version_dir;
  const auto own = DenseFilesOf(version);
  if (!own.ok()) return {};
  if (own->size() > 1) {
    const std::vector<std::string> others(own->begin() + 1, own->end());
    return {absl::StrCat(absl::StrJoin(others, ", "), " is passed over, since ",
                         own->front(), " is there")};
  }
  if (own->size() == 1) return {};
  const std::vector<std::string> beside = DenseFilesBeside(version);
  if (beside.empty()) return {};
  return {absl::StrCat("no trained dense network stands in version ",
                       version.filename().string(), ", but ",
                       absl::StrJoin(beside, ", "),
                       " does; the dense twin here is a cost baseline, whose "
                       "outputs mean nothing")};
}

}  // namespace fff::model

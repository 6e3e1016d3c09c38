#include "server/app/demo_models.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace fff::app {
namespace {

std::filesystem::path Share() {
  std::error_code error;  // an empty path, which is then named as missing
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return program.parent_path().parent_path() / "share" / "fff-serving";
}

// As a shell takes it for one word.
std::string Quoted(const std::string& path) {
  constexpr char kPlain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./+,";
  if (path.find_first_not_of(kPlain) == std::string::npos) return path;
  return absl::StrCat("'", absl::StrReplaceAll(path, {{"'", "'\\''"}}), "'");
}

}  // namespace

std::string DemoRepository() { return (Share() / "models").string(); }

std::string DemoCommand(absl::string_view server) {
  const auto samples = Share() / "samples/fashion-mnist";
  return absl::StrCat(
      "fffctl --server=", server, " predict --model=fashion-mnist --input=",
      Quoted((samples / "images.idx3-ubyte").string()),
      " --truth=", Quoted((samples / "labels.idx1-ubyte").string()));
}

}  // namespace fff::app

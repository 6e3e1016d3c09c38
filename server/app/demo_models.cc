#include "server/app/demo_models.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace fff::app {
namespace {

std::filesystem::path Share() {
  std::error_code error;  // an empty path, which is then named as missing
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return program.parent_path().parent_path() / "share" / "fff-serving";
}

}  // namespace

std::string DemoRepository() { return (Share() / "models").string(); }

std::string DemoCommand(absl::string_view server) {
  const std::string samples = (Share() / "samples/fashion-mnist").string();
  return absl::StrCat("fffctl --server=", server,
                      " predict --model=fashion-mnist --input=", samples,
                      "/images.idx3-ubyte --truth=", samples,
                      "/labels.idx1-ubyte");
}

}  // namespace fff::app

#include "server/serving/repository/version_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace fff::serving {

std::optional<int64_t> ParseVersion(const std::string& folder) {
  int64_t version = 0;
  const bool digits =
      !folder.empty() && std::all_of(folder.begin(), folder.end(), [](char c) {
        return absl::ascii_isdigit(static_cast<unsigned char>(c));
      });
  if (!digits || !absl::SimpleAtoi(folder, &version) || version < 1) {
    return std::nullopt;
  }
  return version;
}

bool IsPassedOver(const std::string& name) {
  return name[0] == '.' || name == "lost+found";
}

}  // namespace fff::serving

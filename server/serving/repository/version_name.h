#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace fff::serving {

// The version that a folder of that name is: "1", "20", and with zeros in front
// "007"; nothing for other names, for 0 and above 2^63 - 1.
std::optional<int64_t> ParseVersion(const std::string& folder);

// Hidden folders and files, and the folder that only root may read at the root
// of every ext4 volume.
bool IsPassedOver(const std::string& name);

}  // namespace fff::serving

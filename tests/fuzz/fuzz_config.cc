// The input is a config.json.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "server/base/log.h"
#include "server/importer/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string json(reinterpret_cast<const char*>(data), size);
  const auto config = fff::importer::ParseModelConfig(json, "fuzz.json");
  if (config.ok()) {
    const size_t layers = config->layers.size() + config->dense_layers.size();
    if (layers > 2 * fff::importer::kLayersMax) std::abort();
    return 0;
  }
  const std::string message(config.status().message());
  if (!absl::StartsWith(message, "fuzz.json") ||
      fff::base::Printable(message, message.size()) != message) {
    std::abort();
  }
  return 0;
}

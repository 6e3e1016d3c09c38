#include "server/importer/layers/layer_fields.h"

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "server/checkpoint/checkpoint.h"
#include "server/importer/activation_names.h"

namespace fff::importer {

using graph::Activation;

std::optional<Activation> ReadActivation(JsonFields& fields) {
  const nlohmann::json* value = fields.Find("activation");
  if (value != nullptr && value->is_string()) {
    const auto named = ActivationNamed(value->get_ref<const std::string&>());
    if (named.has_value()) return named;
  }
  std::vector<JsonFields::Named<Activation>> allowed;
  for (const Activation activation : graph::kActivations) {
    allowed.emplace_back(graph::Name(activation), activation);
  }
  return fields.OneOf<Activation>("activation", allowed);
}

void ReadPrefix(JsonFields& fields, LayerConfig& config) {
  config.prefix =
      fields.String("prefix", checkpoint::kTensorNameBytesMax).value_or("");
}

}  // namespace fff::importer

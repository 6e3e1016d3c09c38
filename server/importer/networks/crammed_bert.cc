#include "server/importer/networks/crammed_bert.h"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/importer/networks/crammed_layers.h"

namespace fff::importer {
namespace {

using checkpoint::Checkpoint;
using TensorMap = Checkpoint::TensorMap;

constexpr char kModule[] = "module.";
constexpr char kDecoder[] = "decoder.weight";
constexpr char kFirstQkv[] =
    "encoder.layers.0.attn.self_attention.query_key_value.weight";

bool AllStartWith(const TensorMap& tensors, absl::string_view prefix) {
  return absl::c_all_of(tensors, [&](const auto& entry) {
    return absl::StartsWith(entry.first, prefix);
  });
}

TensorMap Stripped(const TensorMap& tensors) {
  if (!AllStartWith(tensors, kModule)) return tensors;
  TensorMap stripped;
  for (const auto& [name, tensor] : tensors) {
    stripped.emplace(name.substr(sizeof(kModule) - 1), tensor);
  }
  return stripped;
}

std::vector<EdgeConfig> Inputs() {
  EdgeConfig ids;
  ids.name = "input_ids";
  ids.data_type = tensor::DataType::kI64;
  ids.sequence = true;
  EdgeConfig mask = ids;
  mask.name = "attention_mask";
  mask.mask = true;
  mask.optional = true;
  return {ids, mask};
}

// The file's head tells; where it has both, "architectures" does.
absl::StatusOr<bool> Classifies(const CrammedArch& arch,
                                const Checkpoint& checkpoint) {
  const bool head = checkpoint.Find("head.weight") != nullptr;
  const bool decoder = checkpoint.Find(kDecoder) != nullptr &&
                       checkpoint.Find(kCrammedEmbedding) != nullptr;
  if (head && decoder) {
    if (arch.classifies.has_value()) return *arch.classifies;
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint.source(),
        ": found both \"head.weight\" and \"decoder.weight\"; say which to "
        "serve in a config.json with \"model_type\": \"",
        kCrammedBertType,
        "\": \"architectures\": [\"ScriptableLMForSequenceClassification\"] or "
        "[\"ScriptableLMForPreTraining\"]"));
  }
  if (arch.classifies.value_or(head) == head) return head;
  return absl::InvalidArgumentError(absl::StrCat(
      arch.source, ": architectures: found ",
      *arch.classifies ? "a sequence classifier" : "a masked-language model",
      ", but ", checkpoint.source(), head ? " has" : " has no",
      " tensor \"head.weight\""));
}

// Nothing was said of the inputs.
bool IsDefault(const std::vector<EdgeConfig>& inputs) {
  return inputs.size() == 1 && inputs[0].name.empty() &&
         inputs[0].shape.empty() && !inputs[0].sequence &&
         inputs[0].data_type == tensor::DataType::kF32;
}

// One of two tied weights under both names; the other kind's head left out.
TensorMap Prepared(TensorMap tensors, bool classifies) {
  const auto alias = [&tensors](const char* missing, const char* other) {
    const auto found = tensors.find(other);
    if (found == tensors.end()) return;
    const checkpoint::NamedTensor tensor = found->second;
    tensors.emplace(missing, tensor);
  };
  alias(kCrammedEmbedding, kDecoder);
  if (!classifies) alias(kDecoder, kCrammedEmbedding);
  const std::vector<absl::string_view> unused =
      classifies
          ? std::vector<absl::string_view>{"decoder.", "prediction_head."}
          : std::vector<absl::string_view>{"pooler.", "head."};
  for (auto it = tensors.begin(); it != tensors.end();) {
    const bool drop = absl::c_any_of(unused, [&](absl::string_view prefix) {
      return absl::StartsWith(it->first, prefix);
    });
    it = drop ? tensors.erase(it) : std::next(it);
  }
  return tensors;
}

}  // namespace

bool IsCrammedBert(const checkpoint::Checkpoint& checkpoint) {
  const TensorMap& tensors = checkpoint.tensors();
  const auto has = [&](const std::string& name) {
    return tensors.count(name) > 0 ||
           tensors.count(absl::StrCat(kModule, name)) > 0;
  };
  return has(kFirstQkv) && (has(kCrammedEmbedding) || has(kDecoder));
}

absl::StatusOr<KnownNetwork> CrammedBert(
    const ModelConfig& config, const checkpoint::Checkpoint& checkpoint) {
  if (!IsDefault(config.inputs)) {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint.source(),
                     ": this is a crammed BERT, which has inputs of its own; "
                     "leave \"input\" out or list the \"layers\", too"));
  }
  const CrammedArch arch = config.crammed_bert.value_or(CrammedArch());
  const Checkpoint named =
      checkpoint.WithTensors(Stripped(checkpoint.tensors()));
  FFF_ASSIGN_OR_RETURN(const bool classifies, Classifies(arch, named));
  KnownNetwork known = {
      config, named.WithTensors(Prepared(named.tensors(), classifies))};
  FFF_ASSIGN_OR_RETURN(known.config.layers,
                       CrammedLayers(arch, known.checkpoint, classifies));
  known.config.inputs = Inputs();
  if (const auto* head = known.checkpoint.Find("head.weight");
      classifies && config.output.labels.empty() && head != nullptr &&
      !head->shape.empty() &&
      static_cast<int64_t>(arch.labels.size()) == head->shape[0]) {
    known.config.output.labels = arch.labels;
  }
  return known;
}

}  // namespace fff::importer

#include "server/importer/layer_loader.h"

#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/status_macros.h"
#include "server/importer/layers/layer_types.h"
#include "server/importer/tensor_reader.h"

namespace fff::importer {
namespace {

// Endings of what public code saves and inference does not need: attention's
// scale, which follows from the heads, and the numbers of the positions.
constexpr absl::string_view kBuffers[] = {".norm_factor", ".position_ids"};

// After repeats are unrolled.
constexpr int kLayersInAllMax = 4096;

std::string ModuleOf(absl::string_view name) {
  const size_t dot = name.rfind('.');
  return std::string(name.substr(0, dot == absl::string_view::npos ? 0 : dot));
}

// `repeated`: what stands before the index of a repeat's blocks; blocks beyond
// its count are leftovers, too.
absl::Status CheckLeftovers(bool all_prefixed,
                            const std::set<std::string>& repeated,
                            const TensorReader& reader) {
  std::set<std::string> modules;
  for (const std::string& name : reader.used()) modules.insert(ModuleOf(name));
  std::vector<std::string> leftovers;
  for (const auto& entry : reader.checkpoint().tensors()) {
    const std::string& name = entry.first;
    if (reader.used().count(name) > 0 || entry.second.optional) continue;
    if (IsCounter(name, entry.second.shape) ||
        absl::c_any_of(kBuffers, [&name](absl::string_view ending) {
          return absl::EndsWith(name, ending);
        })) {
      continue;
    }
    const bool block = absl::c_any_of(repeated, [&](const std::string& head) {
      return name.size() > head.size() && absl::StartsWith(name, head) &&
             absl::ascii_isdigit(static_cast<unsigned char>(name[head.size()]));
    });
    if (all_prefixed && !block && modules.count(ModuleOf(name)) == 0) continue;
    leftovers.push_back(name);
  }
  if (leftovers.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      leftovers.size(), leftovers.size() == 1 ? " tensor" : " tensors",
      " that no layer uses: ", QuotedNames(leftovers),
      "; list every layer in config.json (python3 -m fff_client.export "
      "--module FILE.py:NAME writes it for a PyTorch network), or give each "
      "its \"prefix\" to take it out of a larger file"));
}

// The entry with `outer` in front of every name.
LayerConfig Prefixed(LayerConfig config, const std::string& outer) {
  const auto put = [&outer](std::string& name) {
    if (!name.empty()) name = absl::StrCat(outer, name);
  };
  config.prefix = absl::StrCat(outer, config.prefix);
  put(config.tensor);
  put(config.scale_tensor);
  for (std::string& prefix : config.qkv) prefix = absl::StrCat(outer, prefix);
  if (config.out.has_value()) config.out = absl::StrCat(outer, *config.out);
  return config;
}

// Reads the weights of a list of layers, repeats unrolled.
class Loader {
 public:
  // `whole_file`: a tensor that no layer uses is an error wherever it stands.
  Loader(const checkpoint::Checkpoint& checkpoint, const Names& names,
         bool whole_file)
      : reader_(checkpoint), names_(names), all_prefixed_(!whole_file) {}

  absl::StatusOr<std::vector<LoadedLayer>> Run(
      absl::Span<const LayerConfig> configs) {
    std::vector<LoadedLayer> loaded;
    FFF_RETURN_IF_ERROR(Load(configs, names_.key, "", loaded));
    FFF_RETURN_IF_ERROR(base::Annotate(
        CheckLeftovers(all_prefixed_, repeated_, reader_), names_.source));
    return loaded;
  }

 private:
  // `outer` stands in front of every name.
  absl::Status Load(absl::Span<const LayerConfig> configs,
                    const std::string& list, const std::string& outer,
                    std::vector<LoadedLayer>& loaded) {
    for (size_t i = 0; i < configs.size(); ++i) {
      FFF_RETURN_IF_ERROR(
          LoadOne(configs[i], absl::StrCat(list, "[", i, "]"), outer, loaded));
    }
    return absl::OkStatus();
  }

  absl::Status LoadOne(const LayerConfig& config, const std::string& place,
                       const std::string& outer,
                       std::vector<LoadedLayer>& loaded) {
    const LayerType& type = LayerTypeOf(config);
    const std::string inside = absl::StrCat(place, ".layers");
    if (type.nests == Nests::kRepeated) {
      if (const size_t at = config.prefix.find(kRepeatIndex);
          at != std::string::npos) {
        repeated_.insert(absl::StrCat(outer, config.prefix.substr(0, at)));
      }
      for (int64_t n = 0; n < config.count; ++n) {
        const std::string prefix = absl::StrReplaceAll(
            config.prefix, {{kRepeatIndex, absl::StrCat(n)}});
        FFF_RETURN_IF_ERROR(
            Load(config.layers, inside, absl::StrCat(outer, prefix), loaded));
      }
      return absl::OkStatus();
    }
    if (++layers_ > kLayersInAllMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          names_.source, ": ", place, ": the network has more than ",
          kLayersInAllMax, " layers"));
    }
    LoadedLayer layer;
    if (type.nests != Nests::kNothing) {
      layer.layer.type = config.type;
      FFF_RETURN_IF_ERROR(Load(config.layers, inside, outer, layer.inside));
      if (type.nests == Nests::kBranch) layer.output = config.output;
    } else {
      const LayerConfig named = Prefixed(config, outer);
      all_prefixed_ &= !type.reads_tensors || !named.prefix.empty();
      auto read = type.load(named, reader_);
      if (!read.ok()) {
        return base::Annotate(read.status(),
                              absl::StrCat(names_.source, ": ", place));
      }
      layer = *std::move(read);
    }
    layer.place = place;
    loaded.push_back(std::move(layer));
    return absl::OkStatus();
  }

  TensorReader reader_;
  const Names& names_;
  bool all_prefixed_;
  std::set<std::string> repeated_;
  int layers_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<LoadedLayer>> LoadLayers(
    absl::Span<const LayerConfig> configs,
    const checkpoint::Checkpoint& checkpoint, const Names& names,
    bool whole_file) {
  auto loaded = Loader(checkpoint, names, whole_file).Run(configs);
  if (loaded.ok()) return loaded;
  const std::string unread =
      DescribeUnread(checkpoint, loaded.status().message());
  if (unread.empty()) return loaded;
  return absl::Status(loaded.status().code(),
                      absl::StrCat(loaded.status().message(), "; ", unread));
}

std::vector<std::string> AssumedOf(absl::Span<const LoadedLayer> layers) {
  std::vector<std::string> all;
  for (const LoadedLayer& layer : layers) {
    std::vector<std::string> found = AssumedOf(layer.inside);
    if (!layer.assumed.empty()) {
      found.push_back(absl::StrCat(layer.place, ": ", layer.assumed));
    }
    for (std::string& one : found) {
      if (!absl::c_linear_search(all, one)) all.push_back(std::move(one));
    }
  }
  return all;
}

int64_t FirstWidth(absl::Span<const LoadedLayer> layers) {
  for (const LoadedLayer& layer : layers) {
    if (layer.output.has_value()) continue;
    if (layer.reshapes || !layer.inside.empty()) return 0;
    if (layer.input_width > 0) return layer.input_width;
  }
  return 0;
}

}  // namespace fff::importer

#include "server/importer/shards.h"

#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/importer/json_fields.h"
#include "server/importer/strict_json.h"

namespace fff::importer {
namespace {

using checkpoint::Checkpoint;
using nlohmann::json;

constexpr size_t kFileNameBytesMax = 255;

bool IsPlainName(const std::string& name) {
  return !name.empty() && name.size() <= kFileNameBytesMax &&
         name.front() != '.' && base::Printable(name) == name &&
         name.find_first_of("/\\") == std::string::npos;
}

absl::Status Wrong(const std::string& source, absl::string_view key,
                   absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(source, ": ", base::Printable(key), ": ", what));
}

}  // namespace

absl::StatusOr<ShardIndex> ParseShardIndex(absl::string_view text,
                                           const std::string& source) {
  if (text.size() > kIndexBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": found ", text.size(), " bytes, at most ",
                     kIndexBytesMax, " are allowed"));
  }
  FFF_ASSIGN_OR_RETURN(const json document, ParseStrictJson(text, source));
  if (!document.is_object() || !document.contains("weight_map") ||
      !document["weight_map"].is_object() || document["weight_map"].empty()) {
    return Wrong(source, "weight_map",
                 "wanted an object {tensor: file} with one entry or more");
  }
  ShardIndex index;
  index.source = source;
  std::set<std::string> files;
  for (const auto& item : document["weight_map"].items()) {
    const json& file = item.value();
    if (!file.is_string() || !IsPlainName(file.get_ref<const std::string&>())) {
      return Wrong(source, absl::StrCat("weight_map.", item.key()),
                   absl::StrCat("found ", DescribeJson(file),
                                ", wanted the name of a file of the same "
                                "folder that does not begin with a dot"));
    }
    index.weight_map.emplace(item.key(), file.get<std::string>());
    files.insert(file.get<std::string>());
  }
  if (files.size() > kShardsMax) {
    return Wrong(source, "weight_map",
                 absl::StrCat("names ", files.size(), " files, at most ",
                              kShardsMax, " are allowed"));
  }
  index.files.assign(files.begin(), files.end());
  return index;
}

absl::StatusOr<Checkpoint> Joined(const ShardIndex& index,
                                  absl::Span<const Checkpoint> shards) {
  Checkpoint::TensorMap tensors;
  std::map<std::string, const Checkpoint*> owner;
  for (const Checkpoint& shard : shards) {
    for (const auto& [name, tensor] : shard.tensors()) {
      if (tensor.optional) continue;
      const auto [first, added] = owner.emplace(name, &shard);
      if (!added) {
        return absl::InvalidArgumentError(
            absl::StrCat(index.source, ": tensor \"", base::Printable(name),
                         "\" is in both ", first->second->source(), " and ",
                         shard.source()));
      }
      tensors.emplace(name, tensor);
    }
  }
  // Aliases last, so that a tensor of another shard goes before one.
  Checkpoint::TextMap others;
  for (const Checkpoint& shard : shards) {
    tensors.insert(shard.tensors().begin(), shard.tensors().end());
    others.insert(shard.others().begin(), shard.others().end());
  }
  for (const auto& [name, file] : index.weight_map) {
    if (tensors.count(name) > 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(index.source, ": tensor \"", base::Printable(name),
                     "\" is missing, wanted it in ", file));
  }
  if (tensors.size() > checkpoint::kTensorsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        index.source, ": found ", tensors.size(), " tensors, at most ",
        checkpoint::kTensorsMax, " are allowed"));
  }
  auto storage = std::make_shared<const std::vector<Checkpoint>>(shards.begin(),
                                                                 shards.end());
  const std::string format = shards.empty() ? "" : shards[0].format();
  return Checkpoint(index.source, format, std::move(tensors),
                    std::move(storage), std::move(others));
}

}  // namespace fff::importer
